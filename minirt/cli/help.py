# SPDX-License-Identifier: Apache-2.0
"""Help pages in Docker's layout, made from the same tables that read the command line. Pure."""

from __future__ import annotations

from minirt.cli import commands
from minirt.cli.parse import Command, Option

WIDTH = 80


def page(command: Command) -> str:
    """`minirt VERB --help`."""
    text = f"Usage:  minirt {command.name} {command.usage}".rstrip() + f"\n\n{command.summary}\n"
    if command.aliases:
        text += "\nAliases:\n  " + ", ".join(f"minirt {name}" for name in command.aliases) + "\n"
    options = [option for option in command.options if not option.hidden]
    if options:
        text += "\nOptions:\n" + _options(options)
    if command.notes:
        text += "\n" + command.notes + "\n"
    return text


def overview() -> str:
    """`minirt --help`."""
    text = f"Usage:  minirt {commands.GLOBAL.usage}\n\n{commands.GLOBAL.summary}\n"
    for title, table in (
        ("Common Commands", commands.COMMON),
        ("Management Commands", commands.GROUPS),
        ("Commands", commands.OTHERS),
    ):
        text += f"\n{title}:\n" + "".join(f"  {name:<11} {line}\n" for name, line in table.items())
    text += "\nGlobal Options:\n" + _options(list(commands.GLOBAL.options))
    return text + "\nRun 'minirt COMMAND --help' for more information on a command.\n"


def group(name: str) -> str:
    """`minirt container --help`."""
    summaries = {**commands.COMMON, **commands.OTHERS, **commands.ONLY_GROUPED}
    text = f"Usage:  minirt {name} COMMAND\n\n{commands.GROUPS[name]}\n\nCommands:\n"
    for word, verb in sorted(commands.ALIASES[name].items()):
        text += f"  {word:<11} {summaries.get(verb.removesuffix('_'), 'Display detailed information')}\n"
    return text + f"\nRun 'minirt {name} COMMAND --help' for more information on a command.\n"


def _options(options: list[Option]) -> str:
    """`  -s, --name kind   What it does`, every description in one column, wrapped at 80."""
    heads = []
    for option in options:
        short = f"-{option.short}, " if option.short else "    "
        heads.append(f"  {short}--{option.name} {option.metavar}".rstrip())
    column = max(map(len, heads)) + 3
    text = ""
    for option, head in zip(options, heads, strict=True):
        lines = _wrap(option.help + _default(option), max(WIDTH - column, 30))
        text += head.ljust(column) + ("\n" + " " * column).join(lines) + "\n"
    return text


def _default(option: Option) -> str:
    if option.default in (None, False, ""):
        return ""
    shown = {True: "true"}.get(option.default, option.default)  # type: ignore[call-overload]
    return f' (default "{shown}")' if isinstance(option.default, str) else f" (default {shown})"


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines
