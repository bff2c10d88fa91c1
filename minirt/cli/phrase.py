# SPDX-License-Identifier: Apache-2.0
"""Times, sizes and durations in Docker's words, both ways (RFC 3339, Go's time.ParseDuration, go-units).

Pure: a clock is an argument. Times are nanoseconds since the epoch.
"""

from __future__ import annotations

import time

from minirt.errors import InvalidValue

SECOND = 1_000_000_000
UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}


def ago(span_ns: int) -> str:
    """How Docker rounds a span: "Less than a second", "3 seconds", "About a minute", "2 hours", "5 weeks"."""
    seconds = max(span_ns, 0) // SECOND
    minutes, hours = seconds // 60, (seconds + 1800) // 3600
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return _many(seconds, "second")
    if minutes < 60:
        return "About a minute" if minutes == 1 else _many(minutes, "minute")
    if hours < 48:
        return "About an hour" if hours == 1 else _many(hours, "hour")
    for days, limit, word in ((1, 14, "day"), (7, 60, "week"), (30, 730, "month")):
        if hours < 24 * limit:
            return _many(hours // 24 // days, word)
    return _many(hours // 24 // 365, "year")


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def status(state: str, code: int | None, started_ns: int | None, finished_ns: int | None, now_ns: int) -> str:
    """The STATUS column. A code that nobody observed is said to be unknown, never 0."""
    if state in ("running", "paused"):
        up = "Up" if started_ns is None else f"Up {ago(now_ns - started_ns)}"
        return f"{up} (Paused)" if state == "paused" else up
    since = "" if finished_ns is None else f" {ago(now_ns - finished_ns)} ago"
    shown = "unknown" if code is None else str(code)
    if state == "exited":
        return f"Exited ({shown}){since}"
    if state == "restarting":
        return f"Restarting ({shown}){since}"
    return "Removal In Progress" if state == "removing" else state.capitalize()


def size(count: int, digits: int = 3) -> str:
    """Decimal units with so many significant digits, three as `docker images` shows: 41.2MB."""
    value, units = float(count), ("B", "kB", "MB", "GB", "TB", "PB")
    unit = 0
    while value >= 1000 and unit < len(units) - 1:
        value /= 1000
        unit += 1
    return f"{value:.{digits}g}{units[unit]}"


def stamp(time_ns: int) -> str:
    """RFC 3339 with nanoseconds in UTC: what `logs -t` puts before a line."""
    seconds, rest = divmod(time_ns, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def local(time_ns: int) -> str:
    """CreatedAt: "2026-01-02 15:04:05 +0100 CET"."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(time_ns // SECOND))


def duration(text: str) -> int:
    """Go's grammar: [-+]?(digits[.digits]unit)+ with unit ns us ms s m h, or "0". Returns nanoseconds."""
    rest, sign = text, 1
    if rest[:1] in ("-", "+"):
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return 0
    total = 0
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        unit = rest[len(digits) :]
        unit = unit[: len(unit) - len(unit.lstrip("nuµmsh"))]
        whole, _, fraction = digits.partition(".")
        if unit not in UNITS or not (whole + fraction).isdecimal():
            raise InvalidValue(f'invalid duration "{text}"', "write it like 90s, 10m or 1h30m")
        total += UNITS[unit] * int(whole or "0")
        total += UNITS[unit] * int(fraction or "0") // 10 ** len(fraction)
        rest = rest[len(digits) + len(unit) :]
    if not text.strip("+-"):
        raise InvalidValue(f'invalid duration "{text}"', "write it like 90s, 10m or 1h30m")
    return sign * total


def moment(text: str, now_ns: int) -> int:
    """A --since or --until: RFC 3339 (parts may be missing from the right), seconds since the epoch, or "10m" ago."""
    if text.replace(".", "", 1).isdecimal():
        whole, _, fraction = text.partition(".")
        return int(whole or "0") * SECOND + int((fraction + "0" * 9)[:9])
    try:
        return now_ns - duration(text)
    except InvalidValue:
        pass
    try:
        return _calendar(text)
    except (ValueError, OverflowError):
        remedy = "write 2026-01-02T15:04:05Z, seconds since the epoch, or a span like 10m"
        raise InvalidValue(f'invalid time "{text}"', remedy) from None


def _calendar(text: str) -> int:
    """RFC 3339 by hand: datetime costs 2 ms and knows no nanoseconds. No zone means local time."""
    date, _, clock = text.replace(" ", "T", 1).partition("T")
    zone, clock = _zone(clock)
    clock, _, fraction = clock.partition(".")
    if clock == "" and "T" in text:
        raise ValueError(text)
    parts = [*(clock or "00").split(":"), "00", "00"]
    parsed = time.strptime(f"{date}T{':'.join(parts[:3] if len(parts) < 6 else parts)}", "%Y-%m-%dT%H:%M:%S")
    nanoseconds = int((fraction + "0" * 9)[:9]) if fraction else 0
    if zone is None:
        return int(time.mktime(parsed)) * SECOND + nanoseconds
    import calendar

    return (calendar.timegm(parsed) - zone) * SECOND + nanoseconds


def _zone(clock: str) -> tuple[int | None, str]:
    """The offset in seconds east of UTC (None: not said), and the clock without it."""
    if clock.endswith(("Z", "z")):
        return 0, clock[:-1]
    for sign, factor in (("+", 1), ("-", -1)):
        if sign in clock:
            clock, _, offset = clock.partition(sign)
            hours, _, minutes = offset.partition(":")
            return factor * (int(hours) * 3600 + int(minutes or "0") * 60), clock
    return None, clock
