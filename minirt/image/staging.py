# SPDX-License-Identifier: Apache-2.0
"""Work in progress: blobs and layers of one load or pull, in a directory of their own until all of them are
verified.

The directory is held by flock(2) as long as its process lives; one that nobody holds was left by a killed process
and is removed by the next one that stages. Nothing outside of it changes before commit.py moves it into the store,
but for what has come of blobs (partial.py). What the store has and this work needs is pinned: garbage collection
spares it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from minirt.errors import ImageError, RegistryError, StoreError
from minirt.image import intake, manifest, partial
from minirt.image import progress as told
from minirt.image.expand import Limits
from minirt.image.flow import Flow, WriteBack
from minirt.image.intake import Layer
from minirt.image.layout import Layout
from minirt.image.progress import Progress
from minirt.image.records import LayerRecord, layer_document, layer_record
from minirt.image.stream import Sum, verified
from minirt.image.tree import remove_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from minirt.image.partial import Partial

__all__ = ["Layer", "Staging", "pinned"]

JOBS = 3


class Staging:
    """A context manager. `blobs` are the digests staged here; `layers` the records of layers, unpacked here or
    already in the store; `changed` those of them (diff_ids) of which something new is known. `progress` is told from
    several threads."""

    __slots__ = (
        "layout",
        "limits",
        "progress",
        "path",
        "blobs",
        "layers",
        "changed",
        "stopping",
        "_fd",
        "_held",
        "_flows",
        "_back",
    )

    def __init__(self, layout: Layout, limits: Limits | None = None, progress: Progress | None = None) -> None:
        self.layout = layout
        self.limits = limits or Limits()
        self.progress = progress or Progress()
        self.blobs: set[str] = set()
        self.layers: dict[str, LayerRecord] = {}
        self.changed: set[str] = set()
        self._held: dict[str, Partial] = {}
        self.stopping: Callable[[], None] | None = None  # ends what a layer's source waits for
        self._flows: list[Flow] = []

    def __enter__(self) -> Staging:
        try:
            with _door(self.layout) as door:
                _remove_abandoned(door)
                self.path = os.path.join(self.layout.root, "staging", os.urandom(8).hex())
                os.mkdir(self.path, 0o700)
                self._back = WriteBack(self.path)
                self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(self._fd, fcntl.LOCK_EX)
            for name in ("blobs", "layers", "records"):
                os.mkdir(os.path.join(self.path, name), 0o700)
            partial.remove_abandoned(self.layout)
        except OSError as error:
            raise StoreError(f"write to the store {self.layout.root!r}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._back.end()
        if not any(flow.running() for flow in self._flows):  # else one may still write to a partial blob
            for held in self._held.values():
                held.close()
        parent = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_directory(parent, os.path.basename(self.path))
        finally:
            os.close(parent)
            os.close(self._fd)

    def blob_path(self, digest_hex: str) -> str:
        """Where a blob that is staged lies now."""
        held = self._held.get(digest_hex)
        return held.path if held is not None else os.path.join(self.path, "blobs", digest_hex)

    def layer_path(self, diff_id: str) -> str:
        """Where the layer lies now: here, or in the store."""
        staged = os.path.join(self.path, "layers", diff_id)
        return staged if os.path.isdir(staged) else self.layout.layer_path(diff_id)

    def record_path(self, diff_id: str) -> str:
        return os.path.join(self.path, "records", diff_id)

    def write_record(self, diff_id: str) -> None:
        """The layer's record, as it will be in the store: to the disk with all the rest."""
        with open(self.record_path(diff_id), "wb", buffering=0) as file:
            file.write(layer_document(self.layers[diff_id]))

    def pin(self, *wanted: str) -> set[str]:
        """Those of `wanted` ("blob HEX", "layer HEX") that the store has. They stay there as long as this work
        does."""
        with self.layout.locked():
            return self._pin(wanted)

    def _pin(self, wanted: Iterable[str]) -> set[str]:
        places = {"blob": self.layout.blob_path, "layer": self.layout.layer_path}
        there = set()
        for line in wanted:
            kind, _, digest_hex = line.partition(" ")
            if os.path.lexists(places[kind](digest_hex)):
                there.add(line)
        with open(os.path.join(self.path, "pins"), "ab", buffering=0) as file:
            file.write("".join(f"{line}\n" for line in sorted(there)).encode())
        return there

    def add_document(self, data: bytes) -> manifest.Descriptor:
        """Stages a config or manifest; its descriptor states neither media type nor annotations."""
        seen = Sum()
        for _ in seen.passing(intake.kept(iter((data,)), os.path.join(self.path, "document"))):
            pass
        os.rename(os.path.join(self.path, "document"), os.path.join(self.path, "blobs", seen.hex))
        self.blobs.add(seen.hex)
        return manifest.Descriptor({"digest": f"sha256:{seen.hex}", "size": len(data)}, "document")

    def add_layers(self, wanted: list[Layer], jobs: int = JOBS) -> None:
        """Layers from a registry, `jobs` at once. What has come of a blob survives a failure of ours, and is not
        asked for again. Waits for whoever fetches one of the blobs."""
        missing = self._missing(wanted)
        for layer in missing:
            self.progress.tell(layer.blob.hex, told.PULLING)
        self._claim(sorted({layer.blob.hex for layer in missing}))
        missing = self._missing(missing)
        try:
            self._run(missing, self._fetching, jobs)
        except StoreError:
            for held in self._held.values():  # the disk is full: nothing of this stays on it
                held.empty()
            raise

    def add_local(self, wanted: list[Layer], jobs: int = JOBS) -> None:
        """Layers whose bytes are at hand: an archive's, or the store's own."""
        self._run(self._missing(wanted), self._copying, jobs)

    def add_known(self, chunks: Iterable[bytes], blob: manifest.Descriptor, diff_id: str) -> None:
        """A layer whose blob's digest is known. One that the store has, as blob and unpacked, is not read."""
        self.add_local([Layer(blob, diff_id, lambda offset: iter(chunks))], 1)

    def add_unknown(self, chunks: Iterable[bytes], diff_id: str) -> manifest.Descriptor:
        """A layer whose blob's digest is found out; the descriptor of it, with the media type that it has."""
        return self.add_archived([(lambda: iter(chunks), diff_id)], 1)[0]

    def add_archived(
        self, sources: list[tuple[Callable[[], Iterator[bytes]], str]], jobs: int = JOBS
    ) -> list[manifest.Descriptor]:
        """Layers (bytes, diff_id) of which only the diff_id is known; the descriptors of their blobs."""
        found: dict[str, manifest.Descriptor] = {}
        works: dict[str, list[Callable[[Flow], None]]] = {}

        def adding(source: Callable[[], Iterator[bytes]], diff_id: str) -> Callable[[Flow], None]:
            def add(stages: Flow) -> None:
                stored = None if diff_id in found else self._stored(diff_id)
                if stored is None:
                    blob = intake.Unknown(diff_id)
                    path = os.path.join(self.path, "blobs", f"of-{diff_id}")
                    self._take(stages, intake.kept(blob.passing(source()), path), diff_id)
                    os.rename(path, os.path.join(self.path, "blobs", blob.hex))
                    self._note(blob.hex, diff_id)
                    stored = blob.descriptor()
                found[diff_id] = stored

            return add

        for source, diff_id in sources:
            works.setdefault(diff_id, []).append(adding(source, diff_id))
        self._flow([_one_by_one(several) for several in works.values()], jobs)
        return [found[diff_id] for _, diff_id in sources]

    def _stored(self, diff_id: str) -> manifest.Descriptor | None:
        """A blob in the store that is known to hold this unpacked layer: then no other one is needed."""
        record = self.layers.get(diff_id) or layer_record(self.layout, diff_id)
        if record is None:
            return None
        for blob in sorted(record.blobs, key=lambda blob: (blob != diff_id, blob)):
            wanted = {f"blob {blob}", f"layer {diff_id}"}
            if self.pin(*wanted) != wanted:
                continue
            self.layers.setdefault(diff_id, record)
            with open(self.layout.blob_path(blob), "rb", buffering=0) as file:
                return intake.described(file.read(6), blob, os.fstat(file.fileno()).st_size)
        return None

    def _missing(self, wanted: list[Layer]) -> list[Layer]:
        """Those that the store does not have as blob and unpacked, each once. The others are noted and pinned."""
        missing: dict[str, Layer] = {}
        with self.layout.locked():
            for layer in wanted:
                blob, diff_id = layer.blob, layer.diff_id
                if blob.hex in missing and missing[blob.hex].diff_id != diff_id:
                    raise ImageError(f"malformed image: {blob.digest[:19]} cannot be two different layers")
                record = self.layers.get(diff_id)
                if blob.hex in self.blobs and record is not None and blob.hex in record.blobs:
                    continue
                record = layer_record(self.layout, diff_id)
                whole = record is not None and blob.hex in record.blobs
                if record is None or not whole or not self.layout.has_blob(blob.hex, blob.size):
                    missing.setdefault(blob.hex, layer)
                    continue
                self._pin((f"blob {blob.hex}", f"layer {diff_id}"))
                self.layers.setdefault(diff_id, record)
                self.progress.tell(blob.hex, told.EXISTS)
        return list(missing.values())

    def _claim(self, digests: list[str]) -> None:
        """Takes the partial blobs, in order. Whoever holds a later one already does not wait for an earlier one:
        it fetches its own copy."""
        for digest_hex in digests:
            if digest_hex in self._held:
                continue
            held = partial.claim(self.layout, digest_hex, wait=False)
            if held is None and all(other < digest_hex for other in self._held):
                self.progress.tell(digest_hex, told.WAITING)
                held = partial.claim(self.layout, digest_hex, wait=True)
            if held is not None:
                self._held[digest_hex] = held

    def _run(self, layers: list[Layer], make: Callable[[Layer], Callable[[Flow], None]], jobs: int) -> None:
        """Two blobs that hold the same layer are taken one after the other: the second is only checked."""
        works: dict[str, list[Callable[[Flow], None]]] = {}
        for layer in layers:
            works.setdefault(layer.diff_id, []).append(make(layer))
        self._flow([_one_by_one(several) for several in works.values()], jobs)

    def _flow(self, works: list[Callable[[Flow], None]], jobs: int) -> None:
        if not works:
            return
        with Flow(self.stopping) as flow:
            self._flows.append(flow)
            flow.each(works, jobs)

    def _fetching(self, layer: Layer) -> Callable[[Flow], None]:
        blob = layer.blob
        held = self._held.get(blob.hex)
        if held is None or self.layout.has_blob(blob.hex, blob.size):
            return self._copying(layer)

        what = f"layer {blob.digest[:19]}"
        faults: list[ImageError] = []  # of the blob itself, whatever came of it further on

        def attempt(stages: Flow) -> None:
            chunks = verified(held.chunks(layer.source, blob.size), blob.hex, blob.size, what)
            noted = intake.noting(chunks, faults)
            self._take(stages, intake.watched(noted, blob, self.progress), layer.diff_id)

        def look_again(stages: Flow) -> None:
            """A layer that cannot be unpacked: is it the image's fault, or did the blob come in damaged?"""
            with contextlib.suppress(ImageError, RegistryError):
                chunks = held.chunks(layer.source, blob.size)
                for _ in intake.noting(verified(chunks, blob.hex, blob.size, what), faults):
                    stages.check()

        def fetch(stages: Flow) -> None:
            resumed = held.size() > 0
            try:
                with stages.inner() as first:
                    attempt(first)
            except ImageError as error:
                if not faults and not stages.running():
                    look_again(stages)
                held.empty()
                if not faults or not resumed or stages.running():
                    raise (faults or [error])[0] from None
                self._forget(layer.diff_id)
                attempt(stages)
            self._note(blob.hex, layer.diff_id)
            self.progress.tell(blob.hex, told.COMPLETE)

        return fetch

    def _copying(self, layer: Layer) -> Callable[[Flow], None]:
        """The blob is the store's own, or comes in one go: nothing of it is kept if that fails."""
        blob = layer.blob
        what = f"layer {blob.digest[:19]}"

        def copy(stages: Flow) -> None:
            if self.layout.has_blob(blob.hex, blob.size) and self.pin(f"blob {blob.hex}"):
                self._take(stages, self.layout.blob(blob.hex, blob.size, what), layer.diff_id)
                self._know(blob.hex, layer.diff_id)
            else:
                chunks = verified(layer.source(0), blob.hex, blob.size, what)
                self._take(stages, intake.kept(chunks, self.blob_path(blob.hex)), layer.diff_id)
                self._note(blob.hex, layer.diff_id)
            self.progress.tell(blob.hex, told.COMPLETE)

        return copy

    def _take(self, stages: Flow, chunks: Iterator[bytes], diff_id: str) -> None:
        record = self.layers.get(diff_id) or layer_record(self.layout, diff_id)
        chunks = self._back.counting(chunks)
        if record is None:
            target = os.path.join(self.path, "layers", diff_id)
            record = intake.take(stages, chunks, target, diff_id, self.limits)
        else:
            self.pin(f"layer {diff_id}")
            intake.check(stages, chunks, diff_id, self.limits)
        self.layers[diff_id] = record

    def _forget(self, diff_id: str) -> None:
        """Removes what a failed attempt has unpacked."""
        parent = os.open(os.path.join(self.path, "layers"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(FileNotFoundError):
                remove_directory(parent, diff_id)
        finally:
            os.close(parent)

    def _note(self, blob: str, diff_id: str) -> None:
        self.blobs.add(blob)
        self._know(blob, diff_id)

    def _know(self, blob: str, diff_id: str) -> None:
        self.layers[diff_id].blobs.add(blob)
        self.changed.add(diff_id)


def _one_by_one(works: list[Callable[[Flow], None]]) -> Callable[[Flow], None]:
    def work(stages: Flow) -> None:
        for one in works:
            one(stages)

    return work


def pinned(layout: Layout) -> set[str]:
    """What work in progress needs of the store, as `pin` has it. To be asked under the layout's lock; pins of a killed
    process count until the next one that stages removes them."""
    found: set[str] = set()
    folder = os.path.join(layout.root, "staging")
    for name in os.listdir(folder):
        gone = contextlib.suppress(FileNotFoundError, NotADirectoryError)
        with gone, open(os.path.join(folder, name, "pins")) as file:
            found.update(file.read().splitlines())
    return found


@contextlib.contextmanager
def _door(layout: Layout) -> Iterator[int]:
    """Staging directories are made and removed one at a time, so that none is seen before it is held."""
    fd = os.open(os.path.join(layout.root, "staging"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _remove_abandoned(door: int) -> None:
    for name in os.listdir(door):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=door)
        except FileNotFoundError:  # its owner has just finished
            continue
        except NotADirectoryError:  # nothing of ours; a link is none either
            os.unlink(name, dir_fd=door)
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_directory(door, name)
        except BlockingIOError:
            pass
        finally:
            os.close(fd)
