# SPDX-License-Identifier: Apache-2.0
"""From argv to an exit code: the only place that turns an error into a message (docker-run(1), exit status).

    125      minirt itself failed before there was a workload: run, create, a malformed command line
    126 127  the workload's program cannot be executed, does not exist
    128+n    the workload, or minirt itself, was ended by signal n
    1        any other verb failed
    else     the workload's own

A verb is imported when it is called. No traceback reaches a user unless --debug asks for it.
"""

from __future__ import annotations

import errno
import os

from minirt.cli import commands, interrupt, output
from minirt.cli.parse import Command, HelpWanted, Parsed, parse
from minirt.cli.session import Session
from minirt.errors import CommandError, MinirtError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

SIGPIPE = 13
FOR_MORE = "Run 'minirt --help' for more information"


def main(argv: list[str]) -> int:
    """Run one command line (without the program's name). Returns the exit code; raises nothing."""
    failure = 1
    try:
        occupy_standard_descriptors()
        name_yourself()
        interrupt.install()
        parsed = parse(commands.GLOBAL, argv)
        output.debug = parsed.flag("debug")
        if parsed.flag("version"):
            return _show(_version())
        if not parsed.arguments:
            return _overview()
        module, rest = _verb(parsed.arguments)
        command: Command = module.COMMAND
        failure = getattr(module, "FAILURE", 1)
        session = Session(parsed.text("root"), parsed.text("state"))
        try:
            return int(module.run(session, _arguments(command, rest)))
        finally:
            session.close()
    except _Done as done:
        return done.code
    except HelpWanted:
        return _overview()
    except BaseException as error:
        return _end(error, failure)


def name_yourself() -> None:
    """What ps shows: the interpreter would be "python3" (proc_pid_comm(5))."""
    try:
        fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # no /proc, or not writable: a name is not worth a failure
    try:
        os.write(fd, b"minirt")
    finally:
        os.close(fd)


def occupy_standard_descriptors() -> None:
    """Where the caller closed 0, 1 or 2, put something there that fails: no descriptor of ours may land on it.

    /dev/null the wrong way round, so that a read of 0 and a write to 1 or 2 still say EBADF.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            got = os.open("/dev/null", os.O_WRONLY if fd == 0 else os.O_RDONLY)
            if got != fd:
                os.dup2(got, fd)
                os.close(got)
            os.set_inheritable(fd, True)


class _Done(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _verb(words: list[str]) -> tuple[ModuleType, list[str]]:
    """The verb's module and the words after it; a group's name takes a second word."""
    word, rest = words[0], words[1:]
    if word in commands.GROUPS:
        return _grouped(word, rest)
    if word == "help":
        raise _Done(main([*rest, "--help"]))
    name = commands.module_of(word)
    if name is None:
        raise CommandError(f"unknown command: minirt {word}", FOR_MORE)
    return _load(name), rest


def _grouped(group: str, rest: list[str]) -> tuple[ModuleType, list[str]]:
    if not rest or rest[0] in ("--help", "-h"):
        from minirt.cli import help

        raise _Done(_show(help.group(group)))
    name = commands.ALIASES[group].get(rest[0])
    if name is None:
        more = f"Run 'minirt {group} --help' for more information"
        if rest[0].startswith("-"):
            raise UsageError(f"unknown flag: {rest[0]}", more)
        raise CommandError(f"unknown command: minirt {group} {rest[0]}", more)
    return _load(name), rest[1:]


def _load(name: str) -> ModuleType:
    module: ModuleType = __import__(f"minirt.cli.verbs.{name}", fromlist=("run",))
    return module


def _arguments(command: Command, rest: list[str]) -> Parsed:
    try:
        return parse(command, rest)
    except HelpWanted:
        from minirt.cli import help

        raise _Done(_show(help.page(command))) from None


def _version() -> str:
    from minirt import __version__

    return f"minirt version {__version__}\n"


def _overview() -> int:
    from minirt.cli import help

    return _show(help.overview())


def _show(text: str) -> int:
    try:
        output.raw(output.encode(text))
    except BaseException as error:
        return _end(error, 1)
    return 0


def _end(error: BaseException, failure: int) -> int:
    """One line for whatever ended the command, and the exit code it stands for."""
    if isinstance(error, output.StdoutGone):
        return 128 + SIGPIPE
    if isinstance(error, interrupt.Interrupted):
        output.complain(f"interrupted by {_signal_name(error.signo)}")
        return 128 + error.signo
    if isinstance(error, KeyboardInterrupt):
        output.complain("interrupted by SIGINT")
        return 130
    if isinstance(error, MinirtError):
        output.complain(error.message, error.remedy)
        return failure if error.exit_code is None else error.exit_code
    if isinstance(error, OSError):
        output.complain(*_os_error(error))
        return failure
    output.complain(
        f"internal error: {type(error).__name__}: {error}",
        "this is a fault of minirt: run it again as 'minirt --debug …' and report what it prints",
    )
    return failure


def _os_error(error: OSError) -> tuple[str, str]:
    """An error of the kernel that no room explained: still one line, and what to try."""
    if error.errno == errno.ENOENT and error.filename is None and _is_lost():
        return "the current directory does not exist any more", "go to one that does: cd /"
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    message = ": ".join([*names, os.strerror(error.errno) if error.errno else str(error)])
    if error.errno in (errno.EPERM, errno.EACCES) and os.geteuid() != 0:
        return message, "run minirt as root: sudo minirt …"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return message, "free some space, or move the store with --root"
    if error.errno == errno.EROFS:
        return message, "choose a writable place with --root and --state"
    return message, "run it again as 'minirt --debug …' to see where"


def _is_lost() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _signal_name(signo: int) -> str:
    from minirt.model import signals

    return signals.name(signo)
