# SPDX-License-Identifier: Apache-2.0
"""What the monitor is told besides the plan: struct mrt_settings of csrc/monitor.h, in Python's types.

Values only; kernel/flat.py lays them into the plan's buffer. Must not import anything of minirt.
"""


class Settings:
    """flags: the sum of kernel.monitor's TTY, STDIN, LOG, RECORD, STDIN_ONCE, CLEAN_UP. Descriptors, -1 for none:
    control (the monitor's end of the channel), run_dir, container_dir, cgroup_parent (its child `cgroup_name` is
    removed after the end), stamps (a memfd of one 64-bit stamp a step). title: the monitor's name in ps. cleanup:
    an argv, its first a full path. events: the path of the file of events, "" for none; subject: what its lines say
    of this container, as in csrc/monitor.h. log_files: how many in all; log_size: bytes, 0 never rotates.
    """

    __slots__ = (
        "flags", "control", "run_dir", "container_dir", "cgroup_parent", "cgroup_name", "stamps", "title",
        "cleanup", "events", "subject", "log_files", "log_size",
    )  # fmt: skip

    def __init__(self) -> None:
        self.flags = 0
        self.control = -1
        self.run_dir = -1
        self.container_dir = -1
        self.cgroup_parent = -1
        self.cgroup_name = ""
        self.stamps = -1
        self.title = ""
        self.cleanup: tuple[str, ...] = ()
        self.events = ""
        self.subject = ""
        self.log_files = 0
        self.log_size = 0
