# SPDX-License-Identifier: Apache-2.0
"""What `prune --filter` lets pass: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE] (docker-image-prune(1)). Pure."""

from __future__ import annotations


class Filter:
    """until_ns: made before it; None for any time. labels: all of them; without: none of them, each "KEY" or
    "KEY=VALUE". An image or container that does not say when it was made is older than all others."""

    __slots__ = ("labels", "until_ns", "without")

    def __init__(self) -> None:
        self.until_ns: int | None = None
        self.labels: list[str] = []
        self.without: list[str] = []

    def passes(self, created_ns: int, labels: dict[str, str]) -> bool:
        if self.until_ns is not None and created_ns >= self.until_ns:
            return False
        if not all(_has(labels, wanted) for wanted in self.labels):
            return False
        return not (self.without and all(_has(labels, wanted) for wanted in self.without))


def _has(labels: dict[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
