# SPDX-License-Identifier: Apache-2.0
"""From what a user calls an image to its config and layer directories: the first thing that `run` does.

Reads two small files (records.py says what they hold) and looks whether index.json is still the one they were made
from; nothing else. Only where something is missing are the modules that can repair it imported. Must not import
json, re, hashlib, tarfile, nor any module of this room at its top.
"""

from __future__ import annotations

import os

from minirt.errors import InvalidValue, NoSuchImage, StoreError
from minirt.model import json, reference
from minirt.model.image import EMBEDDED, Image, Listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["EMBEDDED", "Image", "Listed", "find", "images", "look"]
_EMBEDDED_WORDS = (EMBEDDED, EMBEDDED.removesuffix(":latest"))


def find(root: str, text: str) -> Image:
    """The image that `text` names: a name with or without tag, name@digest, an id or the unique beginning of one.

    As in Docker a name wins over an id. NotFound where there is none. localhost/busybox is made when first asked
    for.
    """
    name, identity = _identify(_names(root), text)
    if not identity and name == EMBEDDED:
        from minirt.image import embedded

        embedded.make(root)
        name, identity = _identify(_names(root), text)
    if not identity:
        raise _not_found(text)
    record = _record(root, identity)
    layers = tuple(os.path.join(root, "layers", diff_id) for diff_id in record["layers"])
    if not all(map(os.path.isdir, layers)):
        from minirt.image import restore

        restore.missing_layers(root, record)
    return _image(name, record, layers)


def look(root: str, text: str) -> Image:
    """As find(), but nothing is written and no privilege is needed: what `plan` asks. localhost/busybox is
    described even where the store cannot be read or does not have it."""
    try:
        name, identity = _identify(_names(root, repair=False), text)
        if identity:
            record = _load(os.path.join(root, "records", f"image-{identity}.json"))
            return _image(name, record, tuple(os.path.join(root, "layers", one) for one in record["layers"]))
    except (StoreError, OSError):
        if text not in _EMBEDDED_WORDS:
            raise
    if text in _EMBEDDED_WORDS:
        from minirt.image import embedded

        return embedded.describe(root)
    raise _not_found(text)


def _image(name: str, record: dict[str, Any], layers: tuple[str, ...]) -> Image:
    mode, uid, gid = record["root"]
    identity = f"sha256:{record['id']}"
    return Image(identity, name, record["config"], layers, (mode, uid, gid), record["architecture"])


def _not_found(text: str) -> NoSuchImage:
    return NoSuchImage(f"no such image: {text}", "minirt images lists them; minirt pull or load brings one in")


def images(root: str) -> list[Listed]:
    """All images, each under each of its names; those without a name last. Newest first is the caller's to
    sort."""
    names = _names(root)
    found = [Listed(name, _record(root, identity)) for name, identity in names["names"].items()]
    named = set(names["names"].values())
    dangling = dict.fromkeys(identity for identity in names["manifests"].values() if identity not in named)
    return found + [Listed("", _record(root, identity)) for identity in dangling]


def _identify(names: dict[str, Any], text: str) -> tuple[str, str]:
    """(name, id) of what `text` means; the id is "" where there is no such image."""
    known: dict[str, str] = names["names"]
    if text.startswith("sha256:") and not reference.digest_fault(text):
        digest = text[7:]
        identity = digest if digest in names["manifests"].values() else names["manifests"].get(digest, "")
        return _name_of(known, identity), identity
    if not reference.is_id(text):
        wanted = reference.parse(text).tagged()
        name = str(wanted)
        if name in known:
            return name, known[name]
        if wanted.digest:
            return name, _by_digest(names, wanted)
        if not reference.is_hex(text.removeprefix("sha256:")):
            return name, ""
    digits = text.removeprefix("sha256:")
    ids = {identity for identity in names["manifests"].values() if identity.startswith(digits)}
    if len(ids) > 1:
        raise InvalidValue(f"the id {text!r} is ambiguous: {len(ids)} images begin with it", "give more digits")
    identity = ids.pop() if ids else ""
    return _name_of(known, identity), identity


def _by_digest(names: dict[str, Any], wanted: reference.Reference) -> str:
    """name@digest, a tag in between does not count: what was pulled so, what a registry is known to call so, or a
    manifest of that digest which lies here under some tag of that repository."""
    assert wanted.digest is not None
    name = f"{wanted.name}@{wanted.digest}"
    known: str = names["names"].get(name) or names.get("digests", {}).get(name, "")
    if known:
        return known
    identity: str = names["manifests"].get(wanted.digest.partition(":")[2], "")
    repositories = {reference.parse(name).name for name, owner in names["names"].items() if owner == identity}
    return identity if wanted.name in repositories else ""


def _name_of(known: dict[str, str], identity: str) -> str:
    return next((name for name, owner in known.items() if owner == identity), "") if identity else ""


def _names(root: str, repair: bool = True) -> dict[str, Any]:
    """names.json, made anew where it does not fit index.json; nothing where there is no store yet."""
    path = os.path.join(root, "images", "index.json")
    try:
        there = os.stat(path)
    except FileNotFoundError:
        if _has_blobs(root) and not os.path.exists(path):
            raise StoreError(f"{path!r} is missing", "minirt system check --repair makes it again") from None
        return {"names": {}, "manifests": {}}
    except OSError as error:
        raise StoreError(
            f"read the store {root!r}: {error.strerror}", "run as root, or choose another by --root"
        ) from error
    names = _load_names(root)
    if names is not None and names["index"] == [there.st_mtime_ns, there.st_size, there.st_ino]:
        return names
    if repair:
        from minirt.image import restore

        restore.fresh_records(root)
        names = _load_names(root)
    if names is None:
        raise StoreError(f"the records of images in {root!r} cannot be read", "run as root")
    return names


def _has_blobs(root: str) -> bool:
    """Whether there is a store all the same: a new one gets its index before its first blob."""
    try:
        return bool(os.listdir(os.path.join(root, "images", "blobs", "sha256")))
    except OSError:
        return False


def _load_names(root: str) -> dict[str, Any] | None:
    try:
        names = _load(os.path.join(root, "records", "names.json"))
    except (OSError, InvalidValue):
        return None
    return names if {"index", "names", "manifests"} <= names.keys() else None


def _record(root: str, identity: str) -> dict[str, Any]:
    path = os.path.join(root, "records", f"image-{identity}.json")
    try:
        return _load(path)
    except (OSError, InvalidValue):
        from minirt.image import restore

        restore.fresh_records(root)
    try:
        return _load(path)
    except (OSError, InvalidValue) as error:
        raise StoreError(
            f"the record of image {identity[:12]} cannot be read: {error}", "load the image again"
        ) from error


def _load(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        found = json.loads(file.read())
    if not isinstance(found, dict):
        raise InvalidValue("a record is not an object")
    return found
