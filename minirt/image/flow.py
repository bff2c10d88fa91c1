# SPDX-License-Identifier: Apache-2.0
"""Work of a layer in stages, each in a thread of its own: received and hashed, decompressed and hashed, extracted.

A stage is an iterator of chunks; `ahead` lets one run before its consumer, as far as a bounded queue holds. hashlib,
the decompressors and csrc release the interpreter's lock while they work, so two stages use two processors. The
first failure stops every stage of the flow; whoever waits is woken by it. Knows no layer.
"""

from __future__ import annotations

import _thread
import os
import threading
from _queue import SimpleQueue
from collections import deque

from minirt.kernel import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any

STRETCH = 32 << 20
DEPTH = 6  # chunks of at most 1 MiB that wait before one stage
_PATIENCE_S = 5.0  # for a stage that is inside a system call when the flow stops
_LOOK_S = 0.2  # a signal that comes just before the main thread begins to wait does not end the wait


class Stopped(Exception):  # says what happened, and is nobody's error
    """Raised in the stages of a flow that has failed elsewhere."""


class _Queue:
    """Chunks on their way from one thread to another. `failed` is what ended the producer."""

    __slots__ = ("_filled", "_room", "failed")

    def __init__(self) -> None:
        self._filled: SimpleQueue[Any] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(DEPTH):
            self._room.put(None)
        self.failed: BaseException | None = None

    def put(self, item: Any) -> None:
        self._room.get()
        self._filled.put(item)

    def take(self) -> Any:
        """The next chunk; None at the end, and when the queue was woken."""
        item = self._filled.get()
        self._room.put(None)
        return item

    def end(self) -> None:
        """Nothing more comes, and nobody waits any longer."""
        self._filled.put(None)
        self._room.put(None)


class _Stage:
    """A thread. Not threading.Thread: in CPython 3.11 a join that a signal interrupts takes the thread for ended, and
    what it still writes to would be closed and reused."""

    __slots__ = ("_busy",)

    def __init__(self) -> None:
        self._busy = _thread.allocate_lock()

    def begin(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        def run() -> None:
            try:
                target(*arguments)
            finally:
                self._busy.release()

        self._busy.acquire()
        try:
            _thread.start_new_thread(run, ())
        except BaseException:
            self._busy.release()
            raise

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended by then."""
        if not self._busy.acquire(timeout=timeout_s):
            return False
        self._busy.release()
        return True

    def is_alive(self) -> bool:
        return self._busy.locked()


class Flow:
    """A context manager: at its end no stage runs any more. `stop` may be called by any thread; `stopping` is called
    by it, to end what stages wait for outside."""

    __slots__ = ("stopped", "stopping", "_queues", "_threads", "_inner", "_lock")

    def __init__(self, stopping: Callable[[], None] | None = None) -> None:
        self.stopped = False
        self.stopping = stopping
        self._queues: list[_Queue] = []
        self._threads: list[_Stage] = []
        self._inner: list[Flow] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Flow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(done=kind is None)
        for thread in self._threads:
            thread.wait(_PATIENCE_S)

    def stop(self, done: bool = False) -> None:
        self.stopped = True
        if self.stopping is not None and not done:
            self.stopping()
        with self._lock:
            for queue in self._queues:
                queue.end()
            inner = list(self._inner)
        for flow in inner:
            flow.stop()

    def inner(self) -> Flow:
        """A flow that stops with this one, and can stop alone."""
        flow = Flow()
        with self._lock:
            self._inner.append(flow)
            flow.stopped = self.stopped
        return flow

    def check(self) -> None:
        if self.stopped:
            raise Stopped

    def ahead(self, chunks: Iterable[Any]) -> Iterator[Any]:
        """What `chunks` yields, made by a thread of its own. Its failure is raised here."""
        queue = _Queue()
        with self._lock:
            self._queues.append(queue)
        self.start(self._produce, chunks, queue)
        return self._taken(queue)

    def _taken(self, queue: _Queue) -> Iterator[Any]:
        while (chunk := queue.take()) is not None:
            self.check()
            yield chunk
        if queue.failed is not None:
            raise queue.failed
        self.check()

    def _produce(self, chunks: Iterable[Any], queue: _Queue) -> None:
        try:
            for chunk in chunks:
                if self.stopped:
                    break
                queue.put(chunk)
        except Exception as error:  # raised again where the chunks are taken
            queue.failed = error
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
            queue.end()

    def running(self) -> bool:
        """Whether a stage is still inside a system call that did not end when the flow stopped."""
        return any(thread.is_alive() for thread in self._threads) or any(flow.running() for flow in self._inner)

    def each(self, works: list[Callable[[Flow], None]], jobs: int) -> None:
        """Calls all of `works`, at most `jobs` at once, each with a flow of its own, and raises the first failure when
        all of them have ended."""
        waiting, failures = deque(works), list[BaseException]()

        def worker() -> None:
            while waiting and not self.stopped:
                try:
                    work = waiting.popleft()
                except IndexError:
                    return
                try:
                    with self.inner() as stages:
                        work(stages)
                except Exception as error:  # the first one counts; the others are its consequence
                    failures.append(error)
                    self.stop()

        workers = [self.start(worker) for _ in range(min(jobs, len(works)))]
        try:
            for thread in workers:
                while not thread.wait(_LOOK_S):
                    pass
        except BaseException:  # Ctrl-C
            self.stop()
            raise
        if failures:
            raise failures[0]

    def start(self, target: Callable[..., None], *arguments: Any) -> _Stage:
        thread = _Stage()
        with self._lock:
            self._threads.append(thread)
        thread.begin(target, arguments)
        return thread


class WriteBack:
    """Writes to the disk what has been made so far, in the background, after every 32 MiB of blobs: the sync that the
    end waits for then finds little left. `path` lies in the file system. To be ended."""

    __slots__ = ("_path", "_size", "_wanted", "_ended", "_stage", "_lock")

    def __init__(self, path: str) -> None:
        self._path = path
        self._size = 0
        self._wanted = threading.Semaphore(0)
        self._ended = False
        self._stage: _Stage | None = None
        self._lock = threading.Lock()

    def end(self) -> None:
        self._ended = True
        self._wanted.release()
        if self._stage is not None:
            self._stage.wait(_PATIENCE_S)

    def counting(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            before, self._size = self._size, self._size + len(chunk)
            if before // STRETCH != self._size // STRETCH:
                self._want()

    def _want(self) -> None:
        with self._lock:
            if self._stage is None:
                self._stage = _Stage()
                self._stage.begin(self._sync, ())
        self._wanted.release()

    def _sync(self) -> None:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                while self._wanted.acquire() and not self._ended:
                    call.syncfs(fd)
            finally:
                os.close(fd)
        except OSError:
            pass  # the sync at the end fails too, and says so
