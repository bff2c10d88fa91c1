# SPDX-License-Identifier: Apache-2.0
"""Platforms of images, "os/architecture[/variant]", and which of several suits best (OCI image-index.md).

The words and the order of preference are those of containerd's platforms package, which Docker uses: an arm64
machine also takes arm/v8, then v7, v6, v5; an amd64 machine of level v3 also takes v2, v1, and 386. Pure; imports
nothing but the error tree.
"""

from __future__ import annotations

from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SYSTEMS = {"macos": "darwin"}
_ARCHITECTURES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "aarch64": ("arm64", ""), "i386": ("386", ""),
    "i486": ("386", ""), "i586": ("386", ""), "i686": ("386", ""), "armhf": ("arm", "v7"), "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"), "armv8l": ("arm", "v8"),
}  # fmt: skip
_KNOWN = frozenset(
    "386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le ppc ppc64 ppc64le riscv riscv64 "
    "s390 s390x sparc sparc64 wasm".split()
)
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_REMEDY = "write OS/ARCHITECTURE[/VARIANT], like linux/amd64 or linux/arm/v7"


class Platform:
    """Normalised: arm64/v8 and amd64/v1 are arm64 and amd64, arm alone is arm/v7."""

    __slots__ = ("architecture", "system", "variant")

    def __init__(self, system: str, architecture: str, variant: str = "") -> None:
        architecture, said = _ARCHITECTURES.get(architecture.lower(), (architecture.lower(), ""))
        variant = variant.lower() or said
        if variant[:1].isdecimal():
            variant = f"v{variant}"
        if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
            variant = ""
        if architecture == "arm" and variant in ("", "vhf"):
            variant = "v7"
        self.system = _SYSTEMS.get(system.lower(), system.lower())
        self.architecture = architecture
        self.variant = variant

    def __str__(self) -> str:
        return f"{self.system}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Platform) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def order(self) -> list[Platform]:
        """What a machine of this platform runs, best first."""
        found = [self]
        if self.architecture == "amd64":
            found += [Platform(self.system, "amd64", f"v{level}") for level in range(_level(self, 1) - 1, 0, -1)]
            found.append(Platform(self.system, "386"))
        elif self.architecture == "arm64":
            found += [Platform(self.system, "arm64")] if self.variant else []
            found += [Platform(self.system, "arm", f"v{level}") for level in range(8, 4, -1)]
        elif self.architecture == "arm":
            found += [Platform(self.system, "arm", f"v{level}") for level in range(_level(self, 7) - 1, 4, -1)]
        return found


def _level(platform: Platform, absent: int) -> int:
    digits = platform.variant.removeprefix("v")
    return int(digits) if len(digits) == 1 and digits in "123456789" else absent


def parse(text: str, machine: str) -> Platform:
    """What --platform says; an operating system or an architecture alone is completed from `machine` (uname -m)."""
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(part and _LETTERS.issuperset(part) for part in parts):
        raise InvalidValue(f'"{text}" is an invalid OS-architecture-variant specifier', _REMEDY)
    if len(parts) == 1:
        alone = Platform("linux", parts[0])
        if alone.architecture in _KNOWN:
            return alone
        if parts[0].lower() != "linux":
            raise InvalidValue(f'"{text}": unknown operating system or architecture', _REMEDY)
        return Platform("linux", machine)
    return Platform(*parts)


def best(wanted: Platform, offered: list[Any]) -> int | None:
    """The place in `offered` (the platform objects of an index; None where it has none) of what suits best.

    A manifest that states no platform suits any machine, but less well than one that names this one.
    """
    stated = [_stated(one) for one in offered]
    for suited in wanted.order():
        for place, platform in enumerate(stated):
            if platform == suited:
                return place
    return next((place for place, one in enumerate(offered) if one is None), None)


def _stated(found: Any) -> Platform | None:
    if not isinstance(found, dict):
        return None
    words = [found.get(name, "") for name in ("os", "architecture", "variant")]
    return Platform(*words) if all(isinstance(word, str) for word in words) else None
