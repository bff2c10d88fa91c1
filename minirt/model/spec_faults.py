# SPDX-License-Identifier: Apache-2.0
"""The faults of one document as they are found, and the checks of form that every part of it shares.

Each check returns a value of the right type, an empty one after a fault, so that the caller goes on and finds the
next. Pure; must import nothing of minirt.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a whole number"}
MAX_ID = (1 << 32) - 2  # the last one is "no such user" to the kernel


class Faults:
    """found: (JSON pointer, what is wrong), in the order of the document."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, pointer: str, fault: str) -> None:
        self.found.append((pointer, fault))

    @staticmethod
    def join(pointer: str, key: str) -> str:
        """RFC 6901: "~" and "/" of a member's name are escaped."""
        return pointer + "/" + str(key).replace("~", "~0").replace("/", "~1")

    def member(self, parent: dict[str, Any], pointer: str, key: str, type_: type) -> Any:
        """parent[key], or an empty value of the type where it is absent, null or of another type."""
        value = parent.get(key)
        if value is None:
            return type_()
        if not isinstance(value, type_) or (type_ is int and isinstance(value, bool)):
            self.add(self.join(pointer, key), f"must be {_NAMES[type_]}")
            return type_()
        return value

    def text(self, parent: dict[str, Any], pointer: str, key: str, required: bool = False) -> str:
        """A string that can be given to a system call: no NUL."""
        before = len(self.found)
        value: str = self.member(parent, pointer, key, str)
        if required and not value and len(self.found) == before:
            self.add(self.join(pointer, key), "is required")
        return value if self.plain(value, self.join(pointer, key)) else ""

    def plain(self, value: str, pointer: str) -> bool:
        if "\0" in value:
            self.add(pointer, "must not contain a NUL character")
            return False
        return True

    def path(self, parent: dict[str, Any], pointer: str, key: str, required: bool = False) -> str:
        value = self.text(parent, pointer, key, required)
        return value if not value or self.absolute(value, self.join(pointer, key)) else ""

    def absolute(self, value: str, pointer: str) -> bool:
        if not value.startswith("/"):
            self.add(pointer, f'"{value}" must be an absolute path')
            return False
        if len(value.encode("utf-8", "surrogateescape")) > 4095:
            self.add(pointer, "is longer than 4095 bytes")
            return False
        return True

    def texts(self, parent: dict[str, Any], pointer: str, key: str) -> list[str]:
        """A list of strings; members that are none are faults and left out."""
        found = []
        for index, value in enumerate(self.member(parent, pointer, key, list)):
            here = f"{self.join(pointer, key)}/{index}"
            if not isinstance(value, str):
                self.add(here, "must be a string")
            elif self.plain(value, here):
                found.append(value)
        return found

    def objects(self, parent: dict[str, Any], pointer: str, key: str) -> list[dict[str, Any]]:
        """A list of objects; a member that is none is a fault and an empty object."""
        found = []
        for index, value in enumerate(self.member(parent, pointer, key, list)):
            if not isinstance(value, dict):
                self.add(f"{self.join(pointer, key)}/{index}", "must be an object")
            found.append(value if isinstance(value, dict) else {})
        return found

    def number(
        self, parent: dict[str, Any], pointer: str, key: str, low: int, high: int, required: bool = False
    ) -> int:
        if parent.get(key) is None:
            if required:
                self.add(self.join(pointer, key), "is required")
            return low if low > 0 else 0
        value: int = self.member(parent, pointer, key, int)
        if not low <= value <= high:
            self.add(self.join(pointer, key), f"{value} must be from {low} to {high}")
        return value

    def one_of(
        self, parent: dict[str, Any], pointer: str, key: str, words: tuple[str, ...], required: bool = False
    ) -> str:
        value = self.text(parent, pointer, key, required)
        if value and value not in words:
            self.add(self.join(pointer, key), f'"{value}" is not one of {", ".join(words)}')
        return value

    def unsupported(self, parent: dict[str, Any], pointer: str, reasons: dict[str, str]) -> None:
        """Members that ask for something that is not there; an empty one asks for nothing."""
        for key, reason in reasons.items():
            if parent.get(key):
                self.add(self.join(pointer, key), reason)
