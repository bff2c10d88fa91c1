# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of one actor in this process: csrc/execute.c on an encoded plan.

The caller is root and in the host's namespaces; its steps open, mount detached and configure. What they made comes
back by name of slot, and is written into the buffer, so that the monitor finds it there. Must not import runtime.
"""

from __future__ import annotations

import os
from struct import pack_into, unpack_from

from minirt.errors import InvalidValue
from minirt.kernel._csrc import ffi, lib
from minirt.kernel.flat import ACTORS, Flat


class StepError(OSError):
    """Step `index` of the plan, counted from 0, failed with `errno`. What the steps before it opened is closed."""

    def __init__(self, index: int, errno: int) -> None:
        super().__init__(errno, os.strerror(errno))
        self.index = index


def run(flat: Flat, actor: str = "host") -> dict[str, int]:
    """Run every step of `actor` in order; {slot: descriptor} of all that was opened, the receiver's to close.
    StepError; InvalidValue: the buffer is not a plan."""
    plan = ffi.cast("struct mrt_plan *", ffi.from_buffer(flat.buffer))
    if lib.mrt_check(plan, len(flat.buffer)):
        raise InvalidValue("the encoded plan is damaged")
    memory = ffi.new("char *[]", lib.mrt_link_size(plan) // ffi.sizeof("char *"))
    context = ffi.new("struct mrt_context *")
    lib.mrt_link(context, plan, memory)
    stamps = ffi.new("uint64_t[]", plan.step_count) if flat.stamps >= 0 else ffi.NULL
    context.stamps = stamps
    layout = f"@{len(flat.slots)}i"
    before = unpack_from(layout, flat.buffer, flat.offset)
    failed = lib.mrt_run(context, ACTORS[actor], 0, plan.step_count)
    after = [context.fds[index] for index in range(len(before))]
    made = {
        name: after[index] for name, index in flat.slots.items() if after[index] >= 0 and after[index] != before[index]
    }
    if failed:
        for descriptor in made.values():
            os.close(descriptor)
        raise StepError(context.failure.step, context.failure.error)
    pack_into(layout, flat.buffer, flat.offset, *after)
    if flat.stamps >= 0:
        os.pwrite(flat.stamps, ffi.buffer(stamps), 0)
    return made
