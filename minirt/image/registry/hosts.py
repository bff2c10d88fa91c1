# SPDX-License-Identifier: Apache-2.0
"""registries.conf, version 2 (containers-registries.conf(5)): where the images of a name come from.

The first main file that exists counts, then every drop-in of its registries.conf.d in order: a [[registry]] of the
same prefix and an alias of the same name are replaced, the rest is added. unqualified-search-registries is checked
and not used: a short name is Docker Hub's, as in Docker, unless [aliases] names it. No name asks several registries.
Files with nothing but comments and aliases are read by hand: tomllib costs 20 ms.
"""

from __future__ import annotations

import os

from minirt.errors import HostError, InvalidValue
from minirt.image.registry import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SYSTEM = "/etc/containers/registries.conf"
_WHAT = "registries.conf"
_PULLS = ("all", "digest-only", "tag-only")


class Place:
    """One place to get a name from: what replaces the prefix, and how it is spoken to."""

    __slots__ = ("location", "insecure", "pull")

    def __init__(self, location: str, insecure: bool, pull: str = "all") -> None:
        self.location = location
        self.insecure = insecure
        self.pull = pull


class Rule:
    """One [[registry]], from the file `source`."""

    __slots__ = ("prefix", "registry", "blocked", "mirrors", "source")

    def __init__(self, prefix: str, registry: Place, blocked: bool, mirrors: list[Place], source: str) -> None:
        self.prefix = prefix
        self.registry = registry
        self.blocked = blocked
        self.mirrors = mirrors
        self.source = source


class Hosts:
    """What all files together say."""

    __slots__ = ("rules", "aliases", "helpers")

    def __init__(self) -> None:
        self.rules: dict[str, Rule] = {}
        self.aliases: dict[str, tuple[str, str]] = {}  # name: (repository, file)
        self.helpers: list[str] = []  # credential-helpers

    def find(self, name: str) -> tuple[Rule, int] | None:
        """The rule with the longest prefix that fits the repository `name`, and how much of the name it covers."""
        fitting = [(rule, size) for rule in self.rules.values() if (size := covered(name, rule.prefix)) >= 0]
        return max(fitting, key=lambda one: len(one[0].prefix)) if fitting else None


def covered(name: str, prefix: str) -> int:
    """How many characters of `name` the prefix covers, -1 where it does not fit: it ends before "/" or at the end.

    "*.example.com" fits every host below example.com, with any port, and not example.com itself. Without a wildcard
    another port is another registry.
    """
    if prefix.startswith("*."):
        at = name.find(prefix[1:])
        if at < 1 or "/" in name[:at]:
            return -1
        size = at + len(prefix) - 1
        return size if name[size : size + 1] in ("", "/", ":") else -1
    if name.startswith(prefix):
        return len(prefix) if name[len(prefix) : len(prefix) + 1] in ("", "/") else -1
    return -1


def places(found: Rule, name: str, size: int, digest: bool, push: bool) -> list[tuple[str, bool]]:
    """(repository, insecure) to ask in order: mirrors, which only pulls use, then the registry itself."""
    check(found)
    wanted = ("all", "digest-only" if digest else "tag-only")
    usable = [] if push else [mirror for mirror in found.mirrors if mirror.pull in wanted]
    return [
        (place.location + name[size:] if place.location else name, place.insecure)
        for place in [*usable, found.registry]
    ]


def check(found: Rule) -> None:
    """HostError where the registry is blocked."""
    if found.blocked:
        raise HostError(
            f'registry "{found.prefix}" is blocked by "{found.source}"',
            f"use another registry, or remove blocked = true from {found.source}",
        )


def load(environ: Mapping[str, str]) -> Hosts:
    """Reads $CONTAINERS_REGISTRIES_CONF, or the user's file, or the host's, and the drop-ins that belong to it."""
    hosts = Hosts()
    chosen = environ.get("CONTAINERS_REGISTRIES_CONF")
    own = f"{files.home(environ)}/.config/containers/registries.conf"
    folders = [f"{chosen}.d"] if chosen else [f"{SYSTEM}.d", f"{own}.d"]
    for path in [chosen] if chosen else [own, SYSTEM]:
        if found := files.read(path, _WHAT):
            _add(hosts, path, found[0])
            break
        if chosen:
            raise HostError(f'cannot read {_WHAT} "{path}": no such file', "correct CONTAINERS_REGISTRIES_CONF")
    for folder in folders:
        for name in files.names(folder, f"{_WHAT}.d"):
            path = os.path.join(folder, name)
            if name.endswith(".conf") and (found := files.read(path, _WHAT)):
                _add(hosts, path, found[0])
    return hosts


def _add(hosts: Hosts, path: str, data: bytes) -> None:
    try:
        document = _parse(data.decode())
    except UnicodeDecodeError as error:
        raise _malformed(path, f"it is not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise _malformed(path, str(error)) from None
    if isinstance(document.get("registries"), dict):
        raise _malformed(path, "it is written in version 1 of the format", "write [[registry]] tables (version 2)")
    _strings(document.get("unqualified-search-registries", []), "unqualified-search-registries", path)
    if "credential-helpers" in document:
        hosts.helpers = _strings(document["credential-helpers"], "credential-helpers", path)
    for table in _list(document.get("registry", []), "registry", path):
        rule = _rule(table, path)
        hosts.rules[rule.prefix] = rule
    aliases = document.get("aliases", {})
    if not isinstance(aliases, dict):
        raise _malformed(path, "aliases is not a table")
    for name, value in aliases.items():
        if not isinstance(value, str):
            raise _malformed(path, f"the alias {name!a} is not a string")
        hosts.aliases.pop(name, None)
        if value:
            hosts.aliases[name] = (value, path)


def _parse(text: str) -> dict[str, Any]:
    """TOML. Where every line is empty, a comment, [aliases] or "a" = "b" no parser is needed."""
    aliases: dict[str, str] = {}
    inside = False
    for line in text.split("\n"):
        line = line.strip()
        if not line or line[0] == "#":
            continue
        if line == "[aliases]" and not inside:
            inside = True
            continue
        parts = line.split('"')
        simple = len(parts) == 5 and parts[0] == parts[4] == "" and parts[2].strip(" \t") == "="
        if not inside or not simple or "\\" in line or not line.isprintable() or parts[1] in aliases:
            import tomllib

            return tomllib.loads(text)
        aliases[parts[1]] = parts[3]
    return {"aliases": aliases}


def _rule(table: object, path: str) -> Rule:
    if not isinstance(table, dict):
        raise _malformed(path, "registry is not a list of tables", "write [[registry]]")
    prefix, location = _text(table, "prefix", path), _location(table, path)
    prefix = prefix.rstrip("/").lower() or location
    where = f'registry "{prefix}"'
    if not location and not prefix.startswith("*."):
        raise _malformed(path, f"{where} has no location", 'only a prefix of the form "*.example.com" may do without')
    if "*" in prefix[1:] or (prefix.startswith("*") and not prefix.startswith("*.")):
        raise _malformed(path, f"{where}: only *.example.com is a wildcard")
    if "://" in prefix:
        raise _malformed(path, f"{where}: a prefix has no scheme", "write HOST[:PORT][/PATH]")
    by_digest = _flag(table, "mirror-by-digest-only", path)
    mirrors = []
    for mirror in _list(table.get("mirror", []), f"{where}: mirror", path):
        if not isinstance(mirror, dict):
            raise _malformed(path, f"{where}: mirror is not a list of tables", "write [[registry.mirror]]")
        mirrors.append(_mirror(mirror, by_digest, where, path))
    place = Place(location, _flag(table, "insecure", path))
    return Rule(prefix, place, _flag(table, "blocked", path), mirrors, path)


def _mirror(table: dict[str, object], by_digest: bool, where: str, path: str) -> Place:
    location = _location(table, path)
    if not location:
        raise _malformed(path, f"{where}: a mirror has no location")
    pull = _text(table, "pull-from-mirror", path)
    if pull and pull not in _PULLS:
        raise _malformed(path, f"{where}: pull-from-mirror is {pull!a}", f"write one of {', '.join(_PULLS)}")
    if pull and by_digest:
        raise _malformed(path, f"{where}: pull-from-mirror and mirror-by-digest-only exclude each other")
    return Place(location, _flag(table, "insecure", path), pull or ("digest-only" if by_digest else "all"))


def _location(table: dict[str, object], path: str) -> str:
    location = _text(table, "location", path).rstrip("/").lower()
    if "://" in location:
        raise _malformed(path, f"the location {location!a} has a scheme", "write HOST[:PORT][/PATH]")
    return location


def _text(table: dict[str, object], key: str, path: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise _malformed(path, f"{key} is not a string of printable characters")
    return value


def _flag(table: dict[str, object], key: str, path: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise _malformed(path, f"{key} is neither true nor false")
    return value


def _list(value: object, key: str, path: str) -> list[object]:
    if not isinstance(value, list):
        raise _malformed(path, f"{key} is not a list")
    return value


def _strings(value: object, key: str, path: str) -> list[str]:
    found = [one for one in _list(value, key, path) if isinstance(one, str)]
    if not isinstance(value, list) or len(found) != len(value):
        raise _malformed(path, f"{key} is not a list of strings")
    return found


def _malformed(path: str, why: str, remedy: str = "") -> InvalidValue:
    return InvalidValue(f'malformed {_WHAT} "{path}": {why}', remedy or f"correct {path}")
