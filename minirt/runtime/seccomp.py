# SPDX-License-Identifier: Apache-2.0
"""The container's seccomp filter, compiled once and kept (seccomp(2); runtime-spec config-linux.md, "Seccomp").

libseccomp takes milliseconds, a file of the same bytes takes microseconds. A cached filter is found by what it was
compiled from, word for word: the file holds that text too and is used only if it is equal, so no two profiles can
be confused, whatever the checksum in its name. On a hit neither the profile's table nor libseccomp is imported.

The default profile is not spelled out in config.json but named by an annotation (DEFAULT below): it depends on the
kernel and the capabilities at start, not at creation.
"""

from __future__ import annotations

import os
from binascii import crc32

from minirt.errors import HostError, InvalidValue, MinirtError
from minirt.plan.step import Blob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.plan.facts import Host

ANNOTATION = "org.minirt.seccomp"  # "default": use the default profile; absent: linux.seccomp, or no filter
DEFAULT = "default"
_VERSION = "2"  # of the default profile and of how a filter is compiled: part of every key
_MAGIC = b"minirt filter\n"
_LIMIT_BYTES = 1 << 20


def filter_for(spec: dict[str, Any], host: Host, cache_dir: str) -> Blob | None:
    """struct sock_filter[] for this container; None: unconfined. `cache_dir` (<root>/cache) is made if missing; one
    that cannot be written costs time, not correctness."""
    by_default = spec.get("annotations", {}).get(ANNOTATION) == DEFAULT
    profile = spec.get("linux", {}).get("seccomp")
    if profile is None and not by_default:
        return None
    capabilities = _capabilities(spec)
    text = DEFAULT if by_default else _spelled(profile)
    kernel = f"{host.kernel[0]}.{host.kernel[1]}"
    key = "\n".join((_VERSION, kernel, host.arch, " ".join(capabilities), text)).encode()
    path = f"{cache_dir}/seccomp-{crc32(key):08x}-{len(key)}"
    code = _load(path, key)
    if code is None:
        code = _compile(profile if not by_default else None, capabilities, host)
        _store(cache_dir, path, key, code)
    return Blob(code, f"{'default profile' if by_default else 'profile of config.json'}, {len(code) // 8} instructions")


def _spelled(profile: dict[str, Any]) -> str:
    from minirt.model import json

    return json.dumps(profile)


def _capabilities(spec: dict[str, Any]) -> tuple[str, ...]:
    """What the workload may ever have: the rules of the default profile depend on it."""
    sets = spec.get("process", {}).get("capabilities", {})
    return tuple(sorted(sets.get("bounding", ())))


def _compile(profile: dict[str, Any] | None, capabilities: tuple[str, ...], host: Host) -> bytes:
    from minirt.kernel import seccomp

    if profile is None:
        from minirt.plan import seccomp_profile

        profile = seccomp_profile.profile(capabilities, host.arch)
    try:
        return bytes(seccomp.compile(profile, capabilities, host.arch))
    except MinirtError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidValue(f"cannot compile the seccomp profile: {error}") from error
    except OSError as error:
        raise HostError(f"cannot compile the seccomp profile: {error.strerror}") from error


def _load(path: str, key: bytes) -> bytes | None:
    """The filter in the file, if it was compiled from exactly `key`."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        data = os.read(file, _LIMIT_BYTES)
    except OSError:
        return None
    finally:
        os.close(file)
    head = _MAGIC + b"%d %d\n" % (len(key), _length(data)) + key
    code = data[len(head) :]
    if not data.startswith(head) or len(code) != _length(data) or len(code) % 8:
        return None
    return code


def _length(data: bytes) -> int:
    """The filter's length in bytes, as the second line of the file says; -1 if it does not."""
    line = data[len(_MAGIC) : len(_MAGIC) + 32].partition(b"\n")[0].split(b" ")
    return int(line[1]) if len(line) == 2 and line[1].isdigit() else -1


def _store(cache_dir: str, path: str, key: bytes, code: bytes) -> None:
    temporary = f"{path}.{os.getpid()}.new"
    try:
        os.makedirs(cache_dir, 0o700, exist_ok=True)
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, _MAGIC + b"%d %d\n" % (len(key), len(code)) + key + code)
        finally:
            os.close(file)
        os.rename(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
