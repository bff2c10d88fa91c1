# SPDX-License-Identifier: Apache-2.0
"""Moments as nanoseconds since the epoch, and as records write them (RFC 3339 in UTC, Go's RFC3339Nano).

datetime would cost 2 ms and knows no nanoseconds. What users write (10m, a date alone) is read by cli. Imports
nothing of minirt.
"""

from __future__ import annotations

import time

SECOND = 1_000_000_000
NEVER = "0001-01-01T00:00:00Z"  # Go's zero time: what Docker shows for a moment that has not come


def text(moment_ns: int | None) -> str:
    """2024-05-01T10:00:00.123456789Z, trailing zeros dropped; NEVER for None."""
    if moment_ns is None:
        return NEVER
    seconds, rest = divmod(moment_ns, SECOND)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + fraction + "Z"


def parse(stamp: str) -> int:
    """YYYY-MM-DDThh:mm:ss[.digits](Z|±hh:mm) → nanoseconds. ValueError for anything else."""
    date, separator, clock = stamp[:10], stamp[10:11], stamp[11:]
    if separator != "T" or date[4] != "-" or date[7] != "-" or clock[2:3] != ":" or clock[5:6] != ":":
        raise ValueError(stamp)
    days = _days(_number(date[:4]), _number(date[5:7]), _number(date[8:]))
    seconds = _number(clock[:2]) * 3600 + _number(clock[3:5]) * 60 + _number(clock[6:8])
    rest, offset_s = _zone(clock[8:])
    fraction = _number(rest[1:10].ljust(9, "0")) if rest[:1] == "." and len(rest) > 1 else 0
    if rest[:1] not in ("", "."):
        raise ValueError(stamp)
    return (days * 86400 + seconds - offset_s) * SECOND + fraction


def _zone(tail: str) -> tuple[str, int]:
    """(the fraction before the zone, seconds east of UTC)."""
    if tail[-1:] == "Z":
        return tail[:-1], 0
    sign, zone = tail[-6:-5], tail[-5:]
    if sign not in ("+", "-") or zone[2:3] != ":":
        raise ValueError(tail)
    offset_s = _number(zone[:2]) * 3600 + _number(zone[3:]) * 60
    return tail[:-6], -offset_s if sign == "-" else offset_s


def _number(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(digits)
    return int(digits)


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the Gregorian calendar, counted in years that begin with March."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError(f"{year}-{month}-{day}")
    era, of_era = divmod(year - (month <= 2), 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
