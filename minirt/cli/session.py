# SPDX-License-Identifier: Apache-2.0
"""What every verb is handed: where things are kept, and the engine, opened by the first verb that needs it."""

from __future__ import annotations

from minirt.cli import output
from minirt.errors import MinirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirt.engine.store import Engine


class Session:
    """The global flags of one command line."""

    __slots__ = ("_engine", "root", "state")

    def __init__(self, root: str = "", state: str = "") -> None:
        self.root = root
        self.state = state
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            from minirt.engine.paths import Roots
            from minirt.engine.store import Engine

            self._engine = Engine(Roots(self.root, self.state))
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


def each(references: list[str], verb: Callable[[str], object], show: bool = True) -> int:
    """Do one thing to each container, print its name as given when it worked, go on when it did not.

    Returns 0, or 1 when any of them failed.
    """
    failed = 0
    for reference in references:
        try:
            verb(reference)
        except MinirtError as error:
            output.complain(error.message, error.remedy)
            failed = 1
        else:
            if show:
                output.line(reference)
    return failed
