# SPDX-License-Identifier: Apache-2.0
"""One thing that `doctor` looked at: what was found, how bad it is, and the remedy. Pure; must not import anything."""

OK, WARN, FAIL = "ok", "warn", "fail"


class Finding:
    """name: what was looked at. status: "ok", "warn" or "fail". what: what was found. remedy: "" if none is needed."""

    __slots__ = ("name", "status", "what", "remedy")

    def __init__(self, name: str, status: str, what: str, remedy: str = "") -> None:
        self.name = name
        self.status = status
        self.what = what
        self.remedy = remedy
