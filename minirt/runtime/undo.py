# SPDX-License-Identifier: Apache-2.0
"""What a start has made so far, and how to unmake it: pushed the moment the thing is made.

contextlib.ExitStack would do, but importing it costs more than a clone with every namespace. Imports nothing.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Undo:
    """`with Undo() as undo:` descriptors given to `close` are closed at the end in any case; what was given to
    `on_failure` is called, last first, only if the block raises. An undo that fails with OSError is passed over:
    the first error is the one to tell."""

    __slots__ = ("_descriptors", "_calls")

    def __init__(self) -> None:
        self._descriptors: list[int] = []
        self._calls: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def close(self, descriptor: int) -> int:
        """Close it at the end of the block. Returns it."""
        self._descriptors.append(descriptor)
        return descriptor

    def close_now(self, descriptor: int) -> None:
        """Close it here instead of at the end."""
        self._descriptors.remove(descriptor)
        os.close(descriptor)

    def release(self, descriptor: int) -> int:
        """It has a new owner: do not close it."""
        self._descriptors.remove(descriptor)
        return descriptor

    def on_failure(self, call: Callable[..., object], *args: object) -> None:
        self._calls.append((call, args))

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in reversed(self._descriptors):
            try:
                os.close(descriptor)
            except OSError:
                pass
        if kind is not None:
            for call, args in reversed(self._calls):
                try:
                    call(*args)
                except OSError:
                    pass
