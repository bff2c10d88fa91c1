# SPDX-License-Identifier: Apache-2.0
"""Signals by name and number, as kill(1) and Docker's --stop-signal write them (signal(7), Linux on x86-64 and arm64).

Not Python's signal module, which imports enum (5 ms). Pure; must import nothing of minirt but errors.
"""

from minirt.errors import InvalidValue

NAMES: tuple[str, ...] = (
    "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
    "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
    "WINCH", "IO", "PWR", "SYS",
)  # fmt: skip
RTMIN, RTMAX = 34, 64  # 32 and 33 belong to the C library's threads
_ALIASES = {"IOT": 6, "CLD": 17, "POLL": 29, "RTMIN": RTMIN, "RTMAX": RTMAX}

SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP, SIGWINCH = 1, 2, 3, 9, 15, 17, 18, 19, 28


def number(text: str) -> int:
    """The number of "SIGTERM", "term", "15", "RTMIN+3" or "SIGRTMAX-1"; InvalidValue for anything else."""
    name = text.upper().removeprefix("SIG")
    if name.isascii() and name.isdigit() and len(name) < 4:
        found = int(name) if name == text else 0
    elif name in NAMES and name:
        found = NAMES.index(name)
    elif name in _ALIASES:
        found = _ALIASES[name]
    else:
        found = _real_time(name)
    if not 1 <= found <= RTMAX:
        raise InvalidValue(f"invalid signal: {text}", "name one as `kill -l` does, or give a number from 1 to 64")
    return found


def _real_time(name: str) -> int:
    base, sign, digits = name[:5], name[5:6], name[6:]
    if not (digits.isascii() and digits.isdigit() and len(digits) < 3):
        return 0
    if (base, sign) == ("RTMIN", "+"):
        found = RTMIN + int(digits)
    elif (base, sign) == ("RTMAX", "-"):
        found = RTMAX - int(digits)
    else:
        return 0
    return found if RTMIN <= found <= RTMAX else 0


def name(signo: int) -> str:
    """ "SIGTERM" for 15; real-time signals count from the nearer end; a number without a name is itself."""
    if 0 < signo < len(NAMES):
        return "SIG" + NAMES[signo]
    if RTMIN <= signo <= RTMAX:
        low = signo - RTMIN <= RTMAX - signo
        offset = signo - RTMIN if low else RTMAX - signo
        return ("SIGRTMIN" if low else "SIGRTMAX") + (f"{'+' if low else '-'}{offset}" if offset else "")
    return str(signo)
