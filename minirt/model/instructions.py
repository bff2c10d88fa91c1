# SPDX-License-Identifier: Apache-2.0
"""Dockerfile instructions that change only an image's configuration: what `commit -c` and `import -c` take.

CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR, in the shell form and as JSON
lists, with Docker's meaning of each (Dockerfile reference; moby daemon/builder, `validCommitCommands`). Pure.
"""

from __future__ import annotations

import posixpath

from minirt.errors import InvalidValue
from minirt.model import json, signals
from minirt.model.words import expand, pairs, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Config = dict[str, Any]

_SHELL = ["/bin/sh", "-c"]
_REMEDY = "see the Dockerfile reference; for example: -c 'CMD [\"/bin/app\"]'"
_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_HEALTH = {
    "interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod", "start-interval": "StartInterval",
}  # fmt: skip


def apply(config: Config, changes: list[str]) -> Config:
    """The `config` of an image with the instructions applied in order. InvalidValue quotes the one at fault."""
    made = {key: _copied(value) for key, value in config.items()}
    command_set = False
    _check_text(changes)
    for line in _lines("\n".join(changes)):
        name, rest = _divide(line)
        rule = _RULES.get(name.upper())
        if rule is None:
            raise InvalidValue(f"{name.upper()[:40]!a} is not a valid change command", _known())
        if not rest:
            raise InvalidValue(f"{name.upper()} requires at least one argument", _REMEDY)
        rule(made, rest)
        command_set = command_set or name.upper() == "CMD"
        if name.upper() == "ENTRYPOINT" and not command_set:
            made.pop("Cmd", None)  # the old one was an argument of the old entry point
    return made


def _check_text(changes: list[str]) -> None:
    for change in changes:
        try:
            change.encode()
        except UnicodeEncodeError:
            raise InvalidValue(f"{change[:120]!a} is not UTF-8") from None
        if "\0" in change:
            raise InvalidValue(f"{change[:120]!a} holds a NUL")


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, list) else value


def _known() -> str:
    return "these are: " + ", ".join(_RULES)


def _lines(text: str) -> list[str]:
    """Instructions: a backslash at the end of a line joins it to the next, # begins a comment line."""
    found: list[str] = []
    joined = ""
    for raw in text.split("\n"):
        line = raw.strip(" \t\r")
        if line.startswith("#") or not line:
            continue
        if line.endswith("\\"):
            joined += line[:-1]
            continue
        found.append(joined + line)
        joined = ""
    return [*found, joined] if joined else found


def _divide(line: str) -> tuple[str, str]:
    parts = line.strip().split(None, 1)
    return parts[0], parts[1] if len(parts) == 2 else ""


def _command(config: Config, text: str) -> list[str]:
    """A JSON list of strings is the command itself; anything else goes to the shell, as it stands."""
    listed = _json_list(text)
    return listed if listed is not None else [*(config.get("Shell") or _SHELL), text]


def _json_list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except InvalidValue:
        return None
    if isinstance(found, list) and all(isinstance(item, str) for item in found):
        return found
    return None


def _cmd(config: Config, text: str) -> None:
    config["Cmd"] = _command(config, text)


def _entrypoint(config: Config, text: str) -> None:
    config["Entrypoint"] = _command(config, text)


def _variables(config: Config) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in config.get("Env") or [])


def _env(config: Config, text: str) -> None:
    environment = {word.partition("=")[0]: word for word in config.get("Env") or []}
    for key, value in pairs("ENV", text, _variables(config)):
        environment[key] = f"{key}={value}"
    config["Env"] = list(environment.values())


def _label(config: Config, text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(pairs("LABEL", text, _variables(config)))}


def _expose(config: Config, text: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in words(text, _variables(config)):
        for port in _ports(word):
            ports[port] = {}
    config["ExposedPorts"] = ports


def _ports(word: str) -> list[str]:
    """PORT[-PORT][/PROTOCOL] → "80/tcp" each."""
    numbers, _, protocol = word.partition("/")
    first, dash, last = numbers.partition("-")
    ends = [first, last if dash else first]
    valid = all(end.isascii() and end.isdigit() and len(end) <= 5 and int(end) <= 65535 for end in ends)
    if not valid or int(ends[0]) > int(ends[1]) or (protocol or "tcp").lower() not in ("tcp", "udp", "sctp"):
        raise InvalidValue(f"invalid containerPort: {word}", "EXPOSE PORT[-PORT][/tcp|/udp|/sctp]")
    return [f"{port}/{(protocol or 'tcp').lower()}" for port in range(int(ends[0]), int(ends[1]) + 1)]


def _user(config: Config, text: str) -> None:
    config["User"] = _one("USER", text, config)


def _workdir(config: Config, text: str) -> None:
    path = _one("WORKDIR", text, config)
    whole = posixpath.join("/", config.get("WorkingDir") or "/", path)
    config["WorkingDir"] = "/" + posixpath.normpath(whole).lstrip("/")


def _one(name: str, text: str, config: Config) -> str:
    """The whole line is one word, as for Docker's builder."""
    word = expand(text.strip(), _variables(config))
    if not word:
        raise InvalidValue(f"{name} {text!a} is empty", _REMEDY)
    return word


def _volume(config: Config, text: str) -> None:
    listed = _json_list(text)
    paths = words(text, _variables(config)) if listed is None else listed
    volumes = dict(config.get("Volumes") or {})
    for path in paths:
        if not path.strip():
            raise InvalidValue("VOLUME specified can not be an empty string", _REMEDY)
        volumes[path.strip()] = {}
    config["Volumes"] = volumes


def _stopsignal(config: Config, text: str) -> None:
    word = _one("STOPSIGNAL", text, config)
    signals.number(word)
    config["StopSignal"] = word


def _onbuild(config: Config, text: str) -> None:
    name = _divide(text)[0].upper()
    if name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise InvalidValue(f"{name} isn't allowed as an ONBUILD trigger", _REMEDY)
    config["OnBuild"] = [*(config.get("OnBuild") or []), text]


def _healthcheck(config: Config, text: str) -> None:
    found: dict[str, Any] = {}
    rest = text
    while rest.startswith("--"):
        flag, rest = _divide(rest)
        name, equals, value = flag[2:].partition("=")
        if equals and name in _HEALTH:
            found[_HEALTH[name]] = _duration(flag, value)
        elif equals and name == "retries" and value.isascii() and value.isdigit() and len(value) < 10:
            found["Retries"] = int(value)
        else:
            raise InvalidValue(
                f"unknown flag of HEALTHCHECK: {flag}", "--interval= --timeout= --start-period= --retries="
            )
    kind, command = _divide(rest) if rest else ("", "")
    if kind.upper() == "NONE":
        if command or found:
            raise InvalidValue("HEALTHCHECK NONE takes no arguments", _REMEDY)
        found["Test"] = ["NONE"]
    elif kind.upper() == "CMD" and command:
        listed = _json_list(command)
        found["Test"] = ["CMD-SHELL", command] if listed is None else ["CMD", *listed]
    else:
        raise InvalidValue(
            f"unknown type {kind.upper()!a} in HEALTHCHECK (try CMD)", "HEALTHCHECK [--FLAG=VALUE] CMD COMMAND"
        )
    config["Healthcheck"] = found


def _duration(flag: str, text: str) -> int:
    """Go's: 1m30s, 500ms; in nanoseconds, 0 or at least a millisecond."""
    total, rest = 0.0, text
    while rest:
        length = len(rest) - len(rest.lstrip("0123456789."))
        digits, rest = rest[:length], rest[length:]
        unit = next((name for name in ("ns", "us", "ms", "s", "m", "h") if rest.startswith(name)), "")
        if not unit or digits.count(".") > 1 or not digits.strip(".") or len(digits) > 15:
            raise InvalidValue(f"invalid duration in HEALTHCHECK {flag}", "write it as 30s, 500ms, 1m30s")
        total += float(digits) * _NANOSECONDS[unit]
        rest = rest[len(unit) :]
    if not text or 0 < total < 10**6 or total >= 2**63:
        raise InvalidValue(f"invalid duration in HEALTHCHECK {flag}", "at least 1ms")
    return int(total)


_RULES: dict[str, Callable[[Config, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
