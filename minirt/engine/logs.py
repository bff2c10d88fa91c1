# SPDX-License-Identifier: Apache-2.0
"""`logs`: what a container has printed, from the files that its monitor writes (CRI log format, kubelet's cri-api
logging design: "time stream tag text", tag F for a whole line and P for a part of one).

The files are log, the present one, then log.1, log.2, …, older and older. A reader holds one open at a time and
at its end takes the next younger one, so rotation loses nothing and repeats nothing. Memory is bounded: a line
without an end comes in parts. Must not import anything of the kernel.
"""

from __future__ import annotations

import os
import time

from minirt.engine import lifecycle, moment, reconcile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirt.engine.store import Engine

CHUNK_BYTES = 65536
LINE_LIMIT_BYTES = 1 << 20  # a longer one was not written by a monitor: it is given as it is, in pieces
POLL_S = 0.04

# (stream "stdout" or "stderr", nanoseconds since the epoch, bytes; a whole line ends in a newline)
if TYPE_CHECKING:
    Record = tuple[str, int, bytes]


def read(
    engine: Engine,
    ref: str,
    follow: bool = False,
    tail: int | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> Iterator[Record]:
    """Every record from `since_ns` to `until_ns`, at most the last `tail` lines of what is there now. `follow`
    goes on until the container has ended and everything it printed was given.

    Raises NotFound at once, before the first record is asked for.
    """
    row = engine.find(ref)
    path = f"{engine.roots.container(row.id)}/log"

    def alive() -> bool:
        return reconcile.look(engine, row).status in lifecycle.ALIVE

    return records(path, follow, tail, since_ns, until_ns, alive)


def records(
    path: str,
    follow: bool,
    tail: int | None,
    since_ns: int | None,
    until_ns: int | None,
    alive: Callable[[], bool],
) -> Iterator[Record]:
    """`read` for the log at `path`; `alive` says whether more may come."""
    reader = Reader(path, tail)
    try:
        for record in reader.follow(alive) if follow else reader.present():
            if until_ns is not None and record[1] > until_ns:
                return
            if since_ns is None or record[1] >= since_ns:
                yield record
    finally:
        reader.close()


class Reader:
    """Reads one container's log from its oldest file, or from its last `tail` lines, to its end."""

    __slots__ = ("_fd", "_path", "_rest")

    def __init__(self, path: str, tail: int | None = None) -> None:
        self._path = path
        self._rest = b""
        self._fd = -1
        self._begin(tail)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begin(self, tail: int | None) -> None:
        """Open the file to begin with, at the offset to begin at."""
        if tail is None:
            present = numbers(self._path)
            self._fd = _open(_name(self._path, present[-1])) if present else -1
            return
        wanted = max(tail, 0)
        for number in numbers(self._path):
            fd = _open(_name(self._path, number))
            if fd < 0:
                continue
            self.close()
            self._fd = fd
            found, offset = last_lines(fd, wanted)
            os.lseek(fd, offset, os.SEEK_SET)
            wanted -= found
            if wanted <= 0:
                break

    def present(self) -> Iterator[Record]:
        """All that has been written by now, through every younger file."""
        while True:
            yield from self._drain()
            if not self._advance():
                return

    def follow(self, alive: Callable[[], bool]) -> Iterator[Record]:
        """As `present`, and then what comes, until nobody is left to write."""
        while True:
            last = not alive()  # asked before reading: what is written before the end is read after it
            yield from self.present()
            if last:
                return
            time.sleep(POLL_S)

    def _drain(self) -> Iterator[Record]:
        if self._fd < 0:
            self._fd = _open(self._path)
        while self._fd >= 0 and (data := os.read(self._fd, CHUNK_BYTES)):
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            for line in lines:
                yield parse(line)
            if len(self._rest) > LINE_LIMIT_BYTES:
                yield ("stdout", 0, self._rest)
                self._rest = b""

    def _advance(self) -> bool:
        """At the end of the open file: go to the next younger one. False: this is the youngest.

        The monitor renames from the oldest to the youngest, so a file that is no longer called log has got its
        last byte before we look: it is read once more before it is left.
        """
        if self._fd < 0:
            return False
        following = self._open_following()
        if following < 0:
            return False
        if os.lseek(self._fd, 0, os.SEEK_CUR) < os.fstat(self._fd).st_size:
            os.close(following)
            return True  # more came: read it before going on
        self.close()
        self._fd, self._rest = following, b""
        return True

    def _open_following(self) -> int:
        """The file that came after the open one, -1 for none.

        Names only grow, from the oldest file on. So what was opened is the next one if the open file still has its
        name and the names between are still free (in the middle of a rotation one is); else it may be a later one.
        """
        while number := self._number():
            for younger in range(number - 1, -1, -1):
                following = _open(_name(self._path, younger))
                if following < 0:
                    continue
                between = range(younger + 1, number)
                if os.fstat(self._fd).st_nlink == 0 or (
                    self._is(number) and not any(_identity(_name(self._path, one)) for one in between)
                ):
                    return following
                os.close(following)
                break
            else:
                return -1
        return -1

    def _is(self, number: int) -> bool:
        here = os.fstat(self._fd)
        return _identity(_name(self._path, number)) == (here.st_dev, here.st_ino)

    def _number(self) -> int:
        """Which file the open one is now; one more than the oldest if it is not there any more."""
        for _ in range(5):
            present = numbers(self._path)
            for number in range(present[-1] + 2 if present else 1):
                if self._is(number):
                    return number
            if os.fstat(self._fd).st_nlink == 0:
                break
            time.sleep(0.001)  # it is being renamed this moment
        return present[-1] + 1 if present else 1


def parse(line: bytes) -> Record:
    """One line of the file. What is no CRI line (torn by a crash) is given whole, with moment 0."""
    stamp, _, rest = line.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    tag, blank, text = rest.partition(b" ")
    try:
        moment_ns = moment.parse(stamp.decode("ascii"))
    except ValueError:
        return ("stdout", 0, line + b"\n")
    if stream not in (b"stdout", b"stderr") or not blank:
        return ("stdout", 0, line + b"\n")
    whole = tag.split(b":")[0] != b"P"
    return (stream.decode(), moment_ns, text + b"\n" if whole else text)


def last_lines(fd: int, count: int) -> tuple[int, int]:
    """(how many of the last `count` whole lines are in the file, the offset of the first of them). Parts of a
    line count with the line that they belong to. Reads backwards in blocks."""
    position = os.fstat(fd).st_size
    if count <= 0:
        return 0, position
    found, start, carry = 0, position, b""  # carry: the beginning of a line whose earlier bytes come next
    while position > 0:
        size = min(CHUNK_BYTES, position)
        position -= size
        block = os.pread(fd, size, position) + carry
        end = len(block)
        while True:
            newline = block.rfind(b"\n", 0, max(end - 1, 0)) if end else -1
            if newline < 0:
                break
            line_start = newline + 1
            if _ends_line(block[line_start:end]):
                if found == count:
                    return found, start
                found += 1
            start = position + line_start
            end = newline + 1
        carry = block[:end] if end <= LINE_LIMIT_BYTES else b""
    if carry:
        if _ends_line(carry) and found == count:
            return found, start
        found += _ends_line(carry)
        start = 0
    return found, start


def _ends_line(line: bytes) -> bool:
    """Whether this record is the last of a line: its tag is F (or it is no record at all)."""
    words = line[:64].split(b" ", 3)
    return len(words) < 3 or words[2].split(b":")[0] != b"P"


def numbers(path: str) -> list[int]:
    """Which of log (0), log.1 (1), … there are, the youngest first."""
    directory, name = os.path.split(path)
    found = []
    try:
        entries = os.listdir(directory)
    except FileNotFoundError:
        return []
    for entry in entries:
        if entry == name:
            found.append(0)
        elif entry.startswith(name + ".") and entry[len(name) + 1 :].isdecimal():
            found.append(int(entry[len(name) + 1 :]))
    return sorted(found)


def _name(path: str, number: int) -> str:
    return f"{path}.{number}" if number else path


def _identity(name: str) -> tuple[int, int] | None:
    try:
        status = os.stat(name, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return (status.st_dev, status.st_ino)


def _open(name: str) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
