# SPDX-License-Identifier: Apache-2.0
"""The grammar of the flags that hold more than a word: -v, --tmpfs, --ulimit, --sysctl, --log-opt, --security-opt,
--pid … (docker-run(1); network_flags.py has those about networks). One function per flag, Docker's words for what
is wrong.

Text in, values out: no file is looked at, no kernel asked. Must not import anything but errors and model.
"""

from __future__ import annotations

import os

from minirt.errors import InvalidValue
from minirt.model import sysctls

PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable")
TMPFS_WORDS = (
    "ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "sync", "async", "noatime", "atime",
    "nodiratime", "diratime", "relatime", "strictatime", *PROPAGATIONS,
)  # fmt: skip
TMPFS_KEYS = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol")
ULIMITS = {
    "core": "CORE", "cpu": "CPU", "data": "DATA", "fsize": "FSIZE", "locks": "LOCKS", "memlock": "MEMLOCK",
    "msgqueue": "MSGQUEUE", "nice": "NICE", "nofile": "NOFILE", "nproc": "NPROC", "rss": "RSS",
    "rtprio": "RTPRIO", "rttime": "RTTIME", "sigpending": "SIGPENDING", "stack": "STACK", "as": "AS",
}  # fmt: skip
HOST_GATEWAY = "host-gateway"
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
LOG_SIZE_BYTES, LOG_FILES = 10 * 1000 * 1000, 3
UNLIMITED = (1 << 64) - 1


class Volume:
    """One -v: `source` is a host path, a volume's name, or "" for a volume without a name."""

    __slots__ = ("destination", "propagation", "read_only", "relabel", "source")

    def __init__(self, source: str, destination: str) -> None:
        self.source = source
        self.destination = destination
        self.read_only = False
        self.propagation = "rprivate"
        self.relabel = ""

    @property
    def is_bind(self) -> bool:
        return self.source.startswith("/")


def volume(text: str) -> Volume:
    """[source:]destination[:options]. Options: ro, rw, z, Z, a propagation, nocopy; a relative source beginning
    with "." is a path, as Docker's client has it; other sources without a slash are names of volumes."""
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise InvalidValue(f"invalid volume specification: '{text}'", "write -v SOURCE:/DESTINATION[:ro]")
    source = parts[0] if len(parts) > 1 else ""
    found = Volume(_source(source, text), destination(parts[min(1, len(parts) - 1)], text))
    for word in parts[2].split(",") if len(parts) == 3 else ():
        if word in ("ro", "rw"):
            found.read_only = word == "ro"
        elif word in PROPAGATIONS:
            found.propagation = word
        elif word in ("z", "Z"):
            found.relabel = word
        elif word != "nocopy":
            raise InvalidValue(f"invalid mode: {parts[2]}", "ro, rw, z, Z, nocopy or a propagation such as rslave")
    return found


def _source(text: str, whole: str) -> str:
    if text.startswith(("/", "./", "../")) or text in (".", ".."):
        return os.path.abspath(text)
    allowed = text.isascii() and text.replace("_", "").replace(".", "").replace("-", "").isalnum()
    if text and not (allowed and text[0].isalnum() and 2 <= len(text) <= 128):
        raise InvalidValue(
            f'"{text}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are '
            f"allowed. If you intended to pass a host directory, use absolute path",
            f"it stands in -v {whole}",
        )
    return text


def destination(text: str, whole: str) -> str:
    """An absolute path inside the container, made plain; not "/" itself."""
    if not text.startswith("/") or "\0" in text:
        raise InvalidValue(
            f"invalid volume specification: '{whole}': invalid mount path: '{text}' mount path must be absolute"
        )
    plain = os.path.normpath(text)
    if plain in ("/", "//"):
        raise InvalidValue(f"invalid volume specification: '{whole}': invalid specification: destination can't be '/'")
    return plain


def tmpfs(text: str) -> tuple[str, list[str]]:
    """destination[:options] → (destination, options for the OCI mount)."""
    path, _, words = text.partition(":")
    options = []
    for word in words.split(",") if words else ():
        key, equals, value = word.partition("=")
        if key in TMPFS_KEYS and equals and value:
            options.append(f"size={size(value, '--tmpfs')}" if key == "size" and value[-1] != "%" else word)
        elif word in TMPFS_WORDS:
            options.append(word)
        else:
            raise InvalidValue(f'invalid tmpfs option ["{word}"]', "see tmpfs(5): size=64m, mode=1777, ro, noexec …")
    return destination(path, text), options


def size(text: str, flag: str) -> int:
    """Bytes: a number with b, k, m, g, t and an optional b or ib behind it; 1024 each (go-units RAMInBytes)."""
    digits, unit = text.rstrip("bBiIkKmMgGtTpP"), text[len(text.rstrip("bBiIkKmMgGtTpP")) :].lower()
    factor = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}.get(unit[:1], 0)
    whole, dot, fraction = digits.partition(".")
    if unit[1:] not in ("", "b", "ib") or not (whole + fraction).isdecimal() or (dot and not fraction) or not whole:
        raise InvalidValue(f'invalid argument "{text}" for "{flag}": invalid size: \'{text}\'', "write 64m or 1g")
    bytes_ = int(float(digits) * 1024**factor) if dot else int(digits) * 1024**factor
    if bytes_ >= 1 << 63:
        raise InvalidValue(f'invalid argument "{text}" for "{flag}": out of range')
    return bytes_


def ulimit(text: str) -> tuple[str, int, int]:
    """name=soft[:hard] → ("RLIMIT_NOFILE", soft, hard); -1 is unlimited."""
    name, equals, limits = text.partition("=")
    soft_text, colon, hard_text = limits.partition(":")
    if not equals or not name:
        raise InvalidValue(f"invalid ulimit argument: {text}", "write --ulimit nofile=1024:4096")
    if name not in ULIMITS:
        raise InvalidValue(f"invalid ulimit type: {name}", "one of " + " ".join(ULIMITS))
    soft = _limit(soft_text, text)
    hard = _limit(hard_text, text) if colon else soft
    if soft > hard:
        raise InvalidValue(f"ulimit soft limit must be less than or equal to hard limit: {soft_text} > {hard_text}")
    return f"RLIMIT_{ULIMITS[name]}", soft, hard


def _limit(text: str, whole: str) -> int:
    if text == "-1":
        return UNLIMITED
    if not (text.isascii() and text.isdecimal()) or int(text) > UNLIMITED:
        raise InvalidValue(f"invalid ulimit argument: {whole}: '{text}' is not a number")
    return int(text)


def sysctl(text: str, own: frozenset[str]) -> tuple[str, str]:
    """key=value. `own`: the kinds of namespace that the container has for itself; another's sysctls are refused."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidValue(f'invalid sysctl: "{text}"', "write --sysctl net.ipv4.ip_forward=1")
    fault = sysctls.fault(key, value, own)
    if fault:
        raise InvalidValue(f"sysctl {key!a} is not allowed: {fault}")
    return key, value


def log_options(words: list[str]) -> tuple[int, int]:
    """max-size=, max-file= → (bytes at which the log is rotated, 0 = never; how many files in all)."""
    limit_bytes, files = LOG_SIZE_BYTES, LOG_FILES
    for word in words:
        key, _, value = word.partition("=")
        if key == "max-size":
            limit_bytes = 0 if value == "-1" else size(value, "--log-opt max-size")
        elif key == "max-file" and value.isascii() and value.isdecimal() and 1 <= int(value) <= 1000:
            files = int(value)
        elif key == "max-file":
            raise InvalidValue(f"invalid value for max-file: {value}", "from 1 to 1000")
        else:
            raise InvalidValue(f"unknown log opt '{key}'", "max-size=10m, max-file=3")
    return limit_bytes, files


class Security:
    """seccomp: "" the default profile, "unconfined", or the path of a profile. writable_cgroups: the container may make
    cgroups below its own."""

    __slots__ = ("no_new_privileges", "seccomp", "writable_cgroups")

    def __init__(self) -> None:
        self.no_new_privileges = False
        self.seccomp = ""
        self.writable_cgroups = False


def security(words: list[str]) -> Security:
    found = Security()
    for word in words:
        key, separator, value = word.partition("=" if "=" in word else ":")
        if key == "no-new-privileges" and value in ("", "true", "false"):
            found.no_new_privileges = value != "false"
        elif key == "writable-cgroups" and value in ("", "true", "false"):
            found.writable_cgroups = value != "false"
        elif key == "seccomp" and value:
            found.seccomp = "" if value in ("default", "builtin") else value
        elif key in ("apparmor", "label") and value in ("unconfined", "disable"):
            pass  # there is none to switch off
        else:
            number = "" if separator or key in ("no-new-privileges", "writable-cgroups") else " 1"
            raise InvalidValue(
                f'invalid --security-opt{number}: "{word}"',
                "no-new-privileges, seccomp=FILE|unconfined, writable-cgroups",
            )
    return found


def namespace(flag: str, text: str, words: tuple[str, ...]) -> tuple[str, str]:
    """ "", host, private, none or container:X → (mode, container). `words` are those that the flag knows."""
    mode, colon, container = text.partition(":")
    if colon and mode == "container" and "container" in words and container:
        return "container", container
    if not colon and (mode == "" or mode in words) and mode != "container":
        return mode, ""
    shown = "|".join("container:NAME" if word == "container" else word for word in words)
    raise InvalidValue(f"--{flag}: invalid {flag.upper()} mode: {text}", f"write --{flag} {shown}")


def hostname(text: str) -> str:
    """sethostname(2): at most 64 bytes; letters, digits, dot, hyphen and, as Docker, underscore."""
    plain = _HOST_CHARACTERS.issuperset(text.replace("_", "-"))
    if text and (len(text) > 64 or not plain or text[0] in "-." or text[-1] in "-."):
        raise InvalidValue(
            f"invalid hostname: {ascii(text)[1:-1]}", "at most 64 letters, digits, dots, hyphens and underscores"
        )
    return text


def extra_host(text: str) -> tuple[str, str]:
    """--add-host name:address (or name=address) → (address, name). HOST_GATEWAY stands for the host's address."""
    name, _, address = text.partition("=" if "=" in text else ":")
    address = address.strip("[]")
    plausible = frozenset("0123456789abcdefABCDEF:.").issuperset(address) and {".", ":"} & set(address)
    known = plausible or address == HOST_GATEWAY
    if not name or not known or not _HOST_CHARACTERS.issuperset(name.replace("_", "-")):
        raise InvalidValue(f'invalid argument "{text}" for "--add-host": bad format for add-host: "{text}"')
    return address, name
