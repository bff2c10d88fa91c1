# SPDX-License-Identifier: Apache-2.0
"""The command line's grammar against Docker's answers (docker 28.2, asked without a daemon)."""

from __future__ import annotations

import pytest

from minirt.cli import commands, container_flags, parse
from minirt.cli.parse import BOOL, INT, LIST, STRING, Command, HelpWanted, Option
from minirt.errors import UsageError

SAMPLE = Command(
    "run",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "…",
    (
        Option("interactive", "i"),
        Option("tty", "t"),
        Option("rm"),
        Option("sig-proxy", default=True),
        Option("publish", "p", LIST),
        Option("env", "e", LIST),
        Option("name", "", STRING),
        Option("timeout", "T", INT),
        Option("attach", "a", LIST, check=container_flags._stream),
    ),
    minimum=1,
    interspersed=False,
)
FREE = Command("stop", "", "", (Option("time", "t", INT),), minimum=1)


@pytest.mark.parametrize(
    ("argv", "values", "arguments"),
    [
        ("-it img sh", {"interactive": True, "tty": True}, "img sh"),
        ("-ti=false img", {"tty": True, "interactive": False}, "img"),
        (
            "-p80 -p 81 -p=82 --publish 83 --publish=84 img",
            {"publish": ["80", "81", "82", "83", "84"]},
            "img",
        ),
        ("-itp80 img", {"interactive": True, "tty": True, "publish": ["80"]}, "img"),
        ("--rm img --rm -it", {"rm": True}, "img --rm -it"),
        ("--rm=1 --rm=F img", {"rm": False}, "img"),
        ("--sig-proxy=false img", {"sig-proxy": False}, "img"),
        ("--name a --name=b img", {"name": "b"}, "img"),
        ("--name= img", {"name": ""}, "img"),
        ("-e A=B=C -e -x img", {"env": ["A=B=C", "-x"]}, "img"),
        ("-- -img sh", {}, "-img sh"),
        ("- a", {}, "- a"),
        ("-T 0x10 img", {"timeout": 16}, "img"),
        ("-T -1 img", {"timeout": -1}, "img"),
        ("--name -- img", {"name": "--"}, "img"),
    ],
)
def test_words(argv: str, values: dict[str, object], arguments: str) -> None:
    parsed = parse.parse(SAMPLE, argv.split())
    assert parsed.arguments == arguments.split()
    assert parsed.given == values.keys()
    assert {name: parsed.values[name] for name in values} == values


REFUSALS = [
    ("-x", "unknown shorthand flag: 'x' in -x"),
    ("-itx foo", "unknown shorthand flag: 'x' in -x"),
    ("-ixt foo", "unknown shorthand flag: 'x' in -xt"),
    ("--foo x", "unknown flag: --foo"),
    ("--foo=", "unknown flag: --foo"),
    ("--interactiv a", "unknown flag: --interactiv"),
    ("--no-rm a", "unknown flag: --no-rm"),
    ("-p", "flag needs an argument: 'p' in -p"),
    ("--name", "flag needs an argument: --name"),
    ("--=x", "bad flag syntax: --=x"),
    ("---x", "bad flag syntax: ---x"),
    (
        "--rm=maybe a",
        'invalid argument "maybe" for "--rm" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
    ),
    (
        "-T x a",
        'invalid argument "x" for "-T, --timeout" flag: strconv.ParseInt: parsing "x": invalid syntax',
    ),
    (
        "-T 1.5 a",
        'invalid argument "1.5" for "-T, --timeout" flag: strconv.ParseInt: parsing "1.5": invalid syntax',
    ),
    (
        "-T ٣ a",
        'invalid argument "٣" for "-T, --timeout" flag: strconv.ParseInt: parsing "٣": invalid syntax',
    ),
    (f"-T {2**63} a", "value out of range"),
    (
        "-ax a",
        'invalid argument "x" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR',
    ),
    ("", "'minirt run' requires at least 1 argument"),
    ("--name a", "'minirt run' requires at least 1 argument"),
]


@pytest.mark.parametrize(("argv", "message"), REFUSALS)
def test_refused(argv: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse.parse(SAMPLE, argv.split())
    assert caught.value.message.endswith(message)
    assert caught.value.remedy == "Run 'minirt run --help' for more information"
    assert caught.value.exit_code == (1 if "requires" in message else 125)


def test_options_after_arguments() -> None:
    """`docker stop web -t 3` works; `docker run img -t` does not."""
    parsed = parse.parse(FREE, ["web", "-t", "3", "db", "--", "-t"])
    assert (parsed.arguments, parsed.number("time")) == (["web", "db", "-t"], 3)


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["-it", "--help"], ["--help=true"]])
def test_help(argv: list[str]) -> None:
    with pytest.raises(HelpWanted):
        parse.parse(SAMPLE, argv)


def test_help_after_the_image_is_the_workloads() -> None:
    assert parse.parse(SAMPLE, ["img", "--help"]).arguments == ["img", "--help"]


@pytest.mark.parametrize(
    ("minimum", "maximum", "count", "message"),
    [
        (0, 0, 1, "accepts no arguments"),
        (1, 1, 0, "requires 1 argument"),
        (2, 2, 3, "requires 2 arguments"),
        (2, None, 1, "requires at least 2 arguments"),
        (0, 1, 2, "requires at most 1 argument"),
    ],
)
def test_how_many(minimum: int, maximum: int | None, count: int, message: str) -> None:
    command = Command("x", "", "", minimum=minimum, maximum=maximum)
    with pytest.raises(UsageError) as caught:
        parse.parse(command, ["a"] * count)
    assert caught.value.message == f"'minirt x' {message}"


def every_command() -> list[Command]:
    words = [*commands.COMMON, *commands.OTHERS, *commands.HIDDEN]
    grouped = [verb for table in commands.ALIASES.values() for verb in table.values()]
    names = dict.fromkeys([*map(commands.module_of, words), *grouped])
    return [__import__(f"minirt.cli.verbs.{name}", fromlist=["COMMAND"]).COMMAND for name in names]


def test_tables_hold_no_name_twice() -> None:
    for command in every_command():
        names = [option.name for option in command.options]
        letters = [option.short for option in command.options if option.short]
        assert len(names) == len(set(names)), command.name
        assert len(letters) == len(set(letters)), command.name


def test_every_visible_option_is_explained() -> None:
    for command in every_command():
        for option in command.options:
            assert option.hidden or option.help, f"{command.name} --{option.name}"
            assert option.kind != BOOL or not option.metavar


def test_groups_lead_to_verbs() -> None:
    for table in commands.ALIASES.values():
        for verb in table.values():
            module = __import__(f"minirt.cli.verbs.{verb}", fromlist=["run"])
            assert callable(module.run)
