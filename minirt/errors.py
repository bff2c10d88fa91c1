# SPDX-License-Identifier: Apache-2.0
"""Every way that minirt fails, as one tree. Libraries raise; only `cli` prints and exits.

    MinirtError
    ├── UsageError               the command line is malformed: a flag            exit 125
    │   └── CommandError         no such command, too few or too many arguments   exit 1, as Docker has it
    ├── InvalidValue             one value is malformed: a flag's, an image's, a file's
    │   └── SpecError            config.json: every fault, each with its JSON pointer
    ├── NotFound                 no such container, image, bundle
    │   └── NoSuchImage          the store has none of that name: run and create pull it then
    ├── Conflict                 a name is taken, an image in use, a container in the wrong state
    ├── HostError                this host cannot do it: not root, a kernel feature, a cgroup controller
    ├── StoreError               what lies on disk is damaged, full or not writable
    ├── ImageError               an archive, layer or document of an image is malformed or hostile
    ├── RegistryError            a registry refused, could not be reached, or broke off
    ├── StepFailed               one step of a plan failed: its number, its call, its errno
    └── ExecFailed               the workload's program could not be executed     exit 126 or 127

Imports nothing of minirt.
"""


class MinirtError(Exception):
    """What went wrong in one line (lower case, the offending value quoted, no full stop), and its remedy.

    `exit_code` is what the command exits with where Docker has a fixed one; None leaves it to the verb
    (125 for run and create, 1 elsewhere).
    """

    exit_code: int | None = None

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(MinirtError):
    exit_code = 125


class CommandError(UsageError):
    exit_code = 1


class InvalidValue(MinirtError):
    pass


class SpecError(InvalidValue):
    """All faults of one config.json: `faults` is a list of (JSON pointer, what is wrong)."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        self.faults = faults
        super().__init__(
            "config.json: " + "; ".join(f"{pointer or '/'}: {fault}" for pointer, fault in faults),
            "see the OCI runtime specification, config.md",
        )


class NotFound(MinirtError):
    pass


class NoSuchImage(NotFound):
    pass


class Conflict(MinirtError):
    pass


class HostError(MinirtError):
    pass


class StoreError(MinirtError):
    pass


class ImageError(MinirtError):
    pass


class RegistryError(MinirtError):
    pass


class StepFailed(MinirtError):
    """Step `index` of a plan failed with `errno`; the text is derived from the step (plan/text.py)."""

    def __init__(self, message: str, remedy: str, index: int, errno: int) -> None:
        super().__init__(message, remedy)
        self.index = index
        self.errno = errno


class ExecFailed(MinirtError):
    """127: there is no such program; 126: there is, but it cannot be executed."""

    def __init__(self, message: str, exit_code: int, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.exit_code = exit_code
