# SPDX-License-Identifier: Apache-2.0
"""The command line's grammar: tables of options in, values out, with Docker's semantics and Docker's words.

The rules are POSIX guidelines 3 to 10 (XBD 12.2) plus GNU long options, as Docker's pflag reads them. A verb is
one Command with a tuple of Options; this file knows no verb. It prints nothing and imports nothing but errors:
argparse would cost 7 ms of a 25 ms `run`. Help pages are in help.py.
"""

from __future__ import annotations

from minirt.errors import CommandError, UsageError

BOOL, STRING, INT, LIST, MAP, DURATION, BYTES = (
    "bool",
    "string",
    "int",
    "list",
    "map",
    "duration",
    "bytes",
)
TRUE = ("1", "t", "T", "TRUE", "true", "True")
FALSE = ("0", "f", "F", "FALSE", "false", "False")


class Option:
    """One flag: `--name`, perhaps `-s`. kind: BOOL, STRING, INT, LIST (repeatable), MAP, DURATION, BYTES.

    check: called with each text given, raises ValueError with the reason. metavar: what help shows instead of
    the kind. A hidden option works and is not listed.
    """

    __slots__ = ("check", "default", "help", "hidden", "kind", "metavar", "name", "short")

    def __init__(
        self,
        name: str,
        short: str = "",
        kind: str = BOOL,
        help: str = "",
        default: object = None,
        metavar: str = "",
        check: object = None,
        hidden: bool = False,
    ) -> None:
        self.name = name
        self.short = short
        self.kind = kind
        self.help = help
        self.default = default
        self.metavar = metavar or ("" if kind == BOOL else kind)
        self.check = check
        self.hidden = hidden

    def spelled(self) -> str:
        """How an error names the flag: "-t, --time" or "--rm"."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Command:
    """One verb: its usage line after its name, one line of what it does, its options, and how many arguments.

    maximum None: any number. `interspersed` False (run, create, exec, top): the first argument ends the options,
    because what follows belongs to the workload. aliases: other spellings, for the help page.
    """

    __slots__ = (
        "aliases",
        "interspersed",
        "maximum",
        "minimum",
        "name",
        "notes",
        "options",
        "summary",
        "usage",
    )

    def __init__(
        self,
        name: str,
        usage: str,
        summary: str,
        options: tuple[Option, ...] = (),
        minimum: int = 0,
        maximum: int | None = None,
        interspersed: bool = True,
        aliases: tuple[str, ...] = (),
        notes: str = "",
    ) -> None:
        self.name = name
        self.usage = usage
        self.summary = summary
        self.options = options
        self.minimum = minimum
        self.maximum = maximum
        self.interspersed = interspersed
        self.aliases = aliases
        self.notes = notes


class HelpWanted(Exception):
    """`--help` (or `-h` where the verb has no -h of its own) was given."""


class Parsed:
    """The values of one command line. `given` holds the names of the options that were really there."""

    __slots__ = ("arguments", "given", "values")

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.given: set[str] = set()
        self.arguments: list[str] = []

    def flag(self, name: str) -> bool:
        return bool(self.values.get(name, False))

    def text(self, name: str, absent: str = "") -> str:
        value = self.values.get(name)
        return value if isinstance(value, str) else absent

    def number(self, name: str) -> int | None:
        value = self.values.get(name)
        return value if isinstance(value, int) else None

    def list(self, name: str) -> list[str]:
        value = self.values.get(name)
        return value if isinstance(value, list) else []


def parse(command: Command, argv: list[str]) -> Parsed:
    """Read `argv` (without the verb) by the table of `command`. Raises UsageError or HelpWanted."""
    parsed = Parsed()
    options = {option.name: option for option in command.options}
    for option in command.options:
        if option.default is not None:
            parsed.values[option.name] = option.default
    position, count = 0, len(argv)
    while position < count:
        word = argv[position]
        position += 1
        if word == "--":
            parsed.arguments += argv[position:]
            break
        if word.startswith("--"):
            position = _long(command, options, parsed, argv, position)
        elif word.startswith("-") and word != "-":
            position = _short(command, options, parsed, argv, position)
        elif command.interspersed:
            parsed.arguments.append(word)
        else:
            parsed.arguments += argv[position - 1 :]
            break
    _count(command, len(parsed.arguments))
    return parsed


def usage_error(command: Command, message: str, kind: type[UsageError] = UsageError) -> UsageError:
    verb = f"{command.name} " if command.name else ""
    return kind(message, f"Run 'minirt {verb}--help' for more information")


def _long(command: Command, options: dict[str, Option], parsed: Parsed, argv: list[str], position: int) -> int:
    """`--name`, `--name=value`, `--name value`. Returns the position of the next unread word."""
    word = argv[position - 1]
    name, equals, value = word[2:].partition("=")
    if not name or name[0] == "-":
        raise usage_error(command, f"bad flag syntax: {word}")
    option = options.get(name)
    if option is None:
        if name == "help":
            if not equals or _boolean(command, Option("help"), value):
                raise HelpWanted
            return position
        raise usage_error(command, f"unknown flag: --{name}")
    if equals:
        _store(command, parsed, option, value)
    elif option.kind == BOOL:
        _store(command, parsed, option, "true")
    elif position == len(argv):
        raise usage_error(command, f"flag needs an argument: --{name}")
    else:
        _store(command, parsed, option, argv[position])
        position += 1
    return position


def _short(command: Command, options: dict[str, Option], parsed: Parsed, argv: list[str], position: int) -> int:
    """`-i`, `-it`, `-p80`, `-p=80`, `-p 80`, `-it=false`: a letter with a value takes the rest of the word."""
    rest = argv[position - 1][1:]
    while rest:
        letter, tail = rest[0], rest[1:]
        option = next((found for found in options.values() if found.short == letter), None)
        if option is None:
            if letter == "h":
                raise HelpWanted
            raise usage_error(command, f"unknown shorthand flag: '{letter}' in -{rest}")
        if len(rest) > 2 and tail[0] == "=":
            _store(command, parsed, option, tail[1:])
            return position
        if option.kind == BOOL:
            _store(command, parsed, option, "true")
            rest = tail
            continue
        if tail:
            _store(command, parsed, option, tail)
        elif position == len(argv):
            raise usage_error(command, f"flag needs an argument: '{letter}' in -{rest}")
        else:
            _store(command, parsed, option, argv[position])
            position += 1
        return position
    return position


def _store(command: Command, parsed: Parsed, option: Option, text: str) -> None:
    """Convert one text by the option's kind; a list grows, everything else is replaced (the last one wins)."""
    parsed.given.add(option.name)
    if option.check is not None:
        try:
            option.check(text)  # type: ignore[operator]
        except ValueError as error:
            raise _invalid(command, option, text, str(error)) from None
    if option.kind == BOOL:
        parsed.values[option.name] = _boolean(command, option, text)
    elif option.kind == INT:
        parsed.values[option.name] = _integer(command, option, text)
    elif option.kind in (LIST, MAP):
        grown = parsed.values.setdefault(option.name, [])
        assert isinstance(grown, list)
        grown.append(text)
    else:
        parsed.values[option.name] = text


def _boolean(command: Command, option: Option, text: str) -> bool:
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise _invalid(command, option, text, f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _integer(command: Command, option: Option, text: str) -> int:
    """A signed 64-bit number: decimal, 0x, 0o or 0b."""
    try:
        number = int(text, 0) if text[1:2].isalpha() or text[2:3].isalpha() else int(text, 10)
    except ValueError:
        number = None
    if number is None or not text.isascii() or text != text.strip():
        raise _invalid(command, option, text, f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if not -(2**63) <= number < 2**63:
        raise _invalid(command, option, text, f'strconv.ParseInt: parsing "{text}": value out of range')
    return number


def _invalid(command: Command, option: Option, text: str, reason: str) -> UsageError:
    return usage_error(command, f'invalid argument "{text}" for "{option.spelled()}" flag: {reason}')


def _count(command: Command, count: int) -> None:
    """Docker's words for too few and too many arguments."""
    if command.minimum <= count and (command.maximum is None or count <= command.maximum):
        return
    name = f"'minirt {command.name}'"
    if command.maximum == 0:
        raise usage_error(command, f"{name} accepts no arguments")
    if command.maximum is None:
        rule, number = "at least ", command.minimum
    elif command.minimum == command.maximum:
        rule, number = "", command.minimum
    elif count < command.minimum:
        rule, number = "at least ", command.minimum
    else:
        rule, number = "at most ", command.maximum
    words = f"{name} requires {rule}{number} argument{'' if number == 1 else 's'}"
    raise usage_error(command, words, CommandError)
