# SPDX-License-Identifier: Apache-2.0
"""A plan as the executor reads it: one buffer of offsets and numbers, laid out as csrc/plan.h says.

    struct mrt_plan | struct mrt_step[] | strings, string lists, bytes | int32 slots[] | struct mrt_settings

Words become numbers here, and only here: the values come from the compiler (csrc/bindings), so a word that no
header defines is an error with its name. A step's arguments keep their order and are sorted by type into the
arrays that csrc/ops.h describes. Must not import runtime.
"""

from __future__ import annotations

from struct import Struct, pack_into

from minirt.errors import InvalidValue
from minirt.kernel._csrc import lib
from minirt.plan.netlink import Batch, Request, Socket
from minirt.plan.step import Blob, Caps, Fd, Flags, Gids, Plan, Step, Strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.kernel.settings import Settings

HEAD = Struct("@8I")  # struct mrt_plan
STEP = Struct("@2H2h2h4h6Q4I4I")  # struct mrt_step
SETTINGS = Struct("@I5i12IQ")  # struct mrt_settings
ACTORS = {"host": lib.MRT_HOST, "monitor": lib.MRT_MONITOR, "init": lib.MRT_INIT}
_MONITORS_SLOTS = ("pidfd", "report", "stdin_w", "stdout_r", "stderr_r")  # in the order of slot_pidfd …
_NO_SLOT = 0xFFFFFFFF
_MASK = 0xFFFFFFFFFFFFFFFF
_NO_TOLERANCE = (0, 0, 0, 0)
_numbers: dict[str, int] = {"0": 0}
_ops: dict[str, int] = {}
_tolerances: dict[tuple[str, ...], tuple[int, ...]] = {(): _NO_TOLERANCE}


class Flat:
    """buffer: the encoded plan. slots: index by name; their numbers lie at `offset`. stamps: settings.stamps."""

    __slots__ = ("buffer", "slots", "offset", "stamps")

    def __init__(self, buffer: bytearray, slots: dict[str, int], offset: int, stamps: int) -> None:
        self.buffer = buffer
        self.slots = slots
        self.offset = offset
        self.stamps = stamps


def number(words: str) -> int:
    """ "MS_NOSUID|MS_NODEV" or "S_IFREG|0o644" as the kernel's headers have it. InvalidValue: no such word."""
    value = _numbers.get(words)
    if value is None:
        value = 0
        for word in words.split("|"):
            value |= _word(word)
        _numbers[words] = value
    return value


def _word(word: str) -> int:
    if word[:1].isdigit():
        try:
            return int(word, 8 if word.isdigit() and word[0] == "0" else 0)  # as C has it
        except ValueError:
            raise InvalidValue(f"malformed number: {word!r}") from None
    value = getattr(lib, word, None)
    if type(value) is not int:
        raise InvalidValue(f"no such constant: {word!r}", "name it in csrc/bindings/constants.txt and build again")
    return value


def encode(plan: Plan, settings: Settings | None = None, inherited: dict[str, int] = {}) -> Flat:  # noqa: B006
    """The plan's buffer; `inherited` gives the descriptors of slots that the caller brings. InvalidValue: an unknown
    operation, constant or errno, too many arguments or slots, or a NUL inside of a string."""
    writer = _Writer(len(plan.steps), inherited)
    place = HEAD.size
    for step in plan.steps:
        writer.step(place, step)
        place += STEP.size
    return writer.finish(len(plan.steps), settings, inherited)


class _Writer:
    """The buffer while it grows. known: where a string or list lies already."""

    __slots__ = ("buffer", "slots", "known", "host_made")

    def __init__(self, steps: int, inherited: dict[str, int]) -> None:
        self.buffer = bytearray(HEAD.size + steps * STEP.size)
        self.slots = {name: index for index, name in enumerate(inherited)}
        self.known: dict[object, tuple[int, int]] = {}
        self.host_made: set[str] = set()

    def slot(self, name: str) -> int:
        index = self.slots.get(name)
        if index is None:
            if name == "cwd":
                return int(lib.MRT_CWD)
            if len(self.slots) >= lib.MRT_SLOTS:
                raise InvalidValue(f"more than {lib.MRT_SLOTS} descriptors in one plan")
            index = self.slots[name] = len(self.slots)
        return index

    def data(self, data: bytes) -> tuple[int, int]:
        """Where the bytes lie, and how many; a NUL follows them."""
        offset = len(self.buffer)
        self.buffer += data
        self.buffer.append(0)
        return offset, len(data)

    def text(self, text: str) -> tuple[int, int]:
        found = self.known.get(text)
        if found is None:
            data = text.encode("utf-8", "surrogateescape")
            if 0 in data:
                raise InvalidValue(f"a NUL byte in {text!r}")
            found = self.known[text] = self.data(data)
        return found

    def strings(self, strings: tuple[str, ...]) -> tuple[int, int]:
        """A string list: one behind the other, each with its NUL; the length is their number."""
        found = self.known.get(strings)
        if found is None:
            for text in strings:
                if "\0" in text:
                    raise InvalidValue(f"a NUL byte in {text!r}")
            data = "\0".join(strings).encode("utf-8", "surrogateescape")
            found = self.known[strings] = (self.data(data)[0], len(strings))
        return found

    def place(self, argument: object) -> tuple[int, int]:
        """Where an argument that is no number and no descriptor lies."""
        if isinstance(argument, Strings):
            return self.strings(argument)
        if isinstance(argument, Blob):
            return self.data(argument.data)
        if isinstance(argument, Gids):
            return self.data(Struct(f"@{len(argument)}I").pack(*argument))
        if isinstance(argument, Socket):
            from minirt.kernel import netlink

            return self.data(netlink.socket_address(argument))
        if isinstance(argument, bytes | bytearray):
            return self.data(bytes(argument))
        raise InvalidValue(f"an argument of no known type: {argument!r}")

    def request(self, at: int, request: Request | Batch) -> tuple[int, int, int]:
        """Where a request lies, how long it is, and where in it the number of a descriptor belongs. No two steps of
        a plan use the same sequence numbers, so that none takes the answer to another for its own."""
        from minirt.kernel import netlink

        sequence = (at // STEP.size + 1) * netlink.SEQUENCES
        data, descriptor = netlink.encode(request, sequence & 0xFFFFFFFF, number)
        return (*self.data(data), descriptor)

    def step(self, at: int, step: Step) -> None:
        fds: list[int] = []
        numbers: list[int] = []
        offsets: list[int] = []
        lengths: list[int] = []
        for argument in step.args:
            kind = type(argument)
            if kind is Fd:
                fds.append(self.slot(argument.name))  # type: ignore[attr-defined]
            elif kind is Flags:
                numbers.append(number(argument))  # type: ignore[arg-type]
            elif kind is int:
                numbers.append(argument & _MASK)  # type: ignore[operator]
            elif kind is Caps:
                numbers.append(_caps(argument))  # type: ignore[arg-type]
            elif kind is Request or kind is Batch:
                offset, length, where = self.request(at, argument)  # type: ignore[arg-type]
                offsets.append(offset)
                lengths.append(length)
                numbers.append(where)
            else:
                if kind is str:
                    offset, length = self.text(argument)  # type: ignore[arg-type]
                else:
                    offset, length = self.place(argument) if argument is not None else (0, 0)
                offsets.append(offset)
                lengths.append(length)
        while offsets and not offsets[-1]:  # what was left out at the end
            offsets.pop()
            lengths.pop()
        if len(fds) > 2 or len(numbers) > 6 or len(offsets) > 4 or len(step.out) > 2:
            raise InvalidValue(f"too many arguments: {step!r}")
        self._pack(at, step, fds, numbers, offsets, lengths)

    def _pack(
        self, at: int, step: Step, fds: list[int], numbers: list[int], offsets: list[int], lengths: list[int]
    ) -> None:
        outs = [self.slot(name) for name in step.out]
        if outs and step.actor == "host":
            if not self.host_made.isdisjoint(step.out):
                raise InvalidValue(f"a second descriptor for the slot {step.out[0]!r}: the first one would be lost")
            self.host_made.update(step.out)
        elif step.op == "close" and step.actor == "host":
            self.host_made.discard(step.args[0].name)  # type: ignore[attr-defined]
        op = _ops.get(step.op)
        if op is None:
            op = _ops[step.op] = _word("MRT_OP_" + step.op)
        STEP.pack_into(
            self.buffer, at, op, ACTORS[step.actor],
            *fds, *(-1, -1)[len(fds):], *outs, *(-1, -1)[len(outs):],
            *(_tolerances.get(step.tolerate) or _tolerance(step.tolerate)),
            *numbers, *(0, 0, 0, 0, 0, 0)[len(numbers):],
            *offsets, *(0, 0, 0, 0)[len(offsets):], *lengths, *(0, 0, 0, 0)[len(lengths):],
        )  # fmt: skip

    def finish(self, steps: int, settings: Settings | None, inherited: dict[str, int]) -> Flat:
        """Slots and settings behind everything else, and the head in front."""
        if settings is not None:
            self.slot("report")
        texts = self._settings_texts(settings) if settings is not None else ()
        offset = self._align()
        self.buffer += bytes(4 * len(self.slots))
        numbers = [inherited.get(name, -1) for name in self.slots]
        pack_into(f"@{len(numbers)}i", self.buffer, offset, *numbers)
        settings_offset = 0
        if settings is not None:
            settings_offset = self._align()
            self.buffer += self._settings(settings, texts)
        HEAD.pack_into(
            self.buffer, 0, lib.MRT_MAGIC, lib.MRT_VERSION, len(self.buffer), steps, HEAD.size, offset,
            len(self.slots), settings_offset,
        )  # fmt: skip
        return Flat(self.buffer, self.slots, offset, settings.stamps if settings is not None else -1)

    def _align(self) -> int:
        self.buffer += bytes(-len(self.buffer) % 8)
        return len(self.buffer)

    def _settings_texts(self, settings: Settings) -> tuple[int, ...]:
        """cgroup_name, title, cleanup, cleanup_count, events, subject."""
        offset, count = self.strings(tuple(settings.cleanup)) if settings.cleanup else (0, 0)
        name = self.text(settings.cgroup_name)[0] if settings.cgroup_name else 0
        others = (settings.title, settings.events, settings.subject)
        title, events, subject = [self.text(text)[0] if text else 0 for text in others]
        return (name, title, offset, count, events, subject)

    def _settings(self, settings: Settings, texts: tuple[int, ...]) -> bytes:
        return SETTINGS.pack(
            settings.flags, settings.control, settings.run_dir, settings.container_dir, settings.cgroup_parent,
            settings.stamps, *texts, *(self.slots.get(name, _NO_SLOT) for name in _MONITORS_SLOTS),
            settings.log_files, settings.log_size,
        )  # fmt: skip


def _caps(names: Caps) -> int:
    """Bit n for capability number n (linux/capability.h)."""
    mask = 0
    for name in names:
        mask |= 1 << number(name)
    return mask


def _tolerance(names: tuple[str, ...]) -> tuple[int, ...]:
    if len(names) > 4:
        raise InvalidValue(f"more than 4 errors to tolerate: {', '.join(names)}")
    found = tuple(_word(name) for name in names)
    _tolerances[names] = found + _NO_TOLERANCE[len(found) :]
    return _tolerances[names]
