# SPDX-License-Identifier: Apache-2.0
"""`images` and `image inspect`: what the store has, in Docker's shape (docker-images(1), docker-image-inspect(1)).

One image may have many names: tags, and what registries call it (repository@digest). An image without any tag is
dangling. Must not import runtime or kernel.
"""

from __future__ import annotations

from minirt.errors import InvalidValue
from minirt.image import find, names
from minirt.image.layout import Layout
from minirt.model import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirt.engine.store import Engine
    from minirt.image.find import Listed
    from minirt.image.manifest import Descriptor
    from minirt.model.reference import Reference

ZERO_TIME = "0001-01-01T00:00:00Z"


class Known:
    """One image: `tags` and `digests` are its names in full, each with its repository."""

    __slots__ = ("digests", "listed", "tags")

    def __init__(self, listed: Listed) -> None:
        self.listed = listed
        self.tags: list[Reference] = []
        self.digests: list[Reference] = []

    def of_repository(self, repository: str) -> list[str]:
        """Its digests there."""
        return [str(one.digest) for one in self.digests if one.name == repository]


def images(engine: Engine) -> list[Known]:
    """Every image once, in the order of the store. Raises StoreError."""
    root = engine.roots.root
    found: dict[str, Known] = {}
    by_manifest: dict[str, Known] = {}
    for listed in find.images(root):
        known = found.setdefault(listed.id, Known(listed))
        by_manifest[listed.digest] = known
        if listed.name:
            named = reference.parse(listed.name)
            (known.tags if named.digest is None else known.digests).append(named)
    for descriptor in Layout(root).descriptors() if found else []:
        if descriptor.digest in by_manifest:
            _note(by_manifest[descriptor.digest], descriptor)
    return list(found.values())


def _note(known: Known, descriptor: Descriptor) -> None:
    there = {str(one) for one in known.digests}
    for text in names.digests_of(descriptor):
        try:
            named = reference.parse(text)
        except InvalidValue:
            continue  # another program's
        if named.digest is not None and str(named) not in there:
            there.add(str(named))
            known.digests.append(named)


def inspect(engine: Engine, text: str) -> dict[str, Any]:
    """Raises NotFound, InvalidValue, StoreError."""
    root = engine.roots.root
    image = find.find(root, text)
    known = next((one for one in images(engine) if one.listed.id == image.id), None)
    whole, comment = _document(root, image.id)
    layers = list(image.layers)
    return {
        "Id": image.id,
        "RepoTags": [one.short() for one in known.tags] if known else [],
        "RepoDigests": [one.short() for one in known.digests] if known else [],
        "Parent": "",
        "Comment": comment,
        "Created": whole.get("created") or ZERO_TIME,
        "DockerVersion": whole.get("docker_version") or "",
        "Author": whole.get("author") or "",
        "Config": _config(image.config),
        "Architecture": image.architecture,
        **({"Variant": whole["variant"]} if whole.get("variant") else {}),
        "Os": whole.get("os") or "linux",
        "Size": known.listed.size if known else 0,
        "GraphDriver": {
            "Data": {
                **({"LowerDir": ":".join(reversed(layers[:-1]))} if layers[1:] else {}),
                **({"UpperDir": layers[-1]} if layers else {}),
            },
            "Name": "overlay",
        },
        "RootFS": {"Type": "layers", "Layers": [f"sha256:{path.rpartition('/')[2]}" for path in layers]},
        "Metadata": {"LastTagTime": ZERO_TIME},
    }


def _document(root: str, identity: str) -> tuple[dict[str, Any], str]:
    """The configuration document and the comment of its last step."""
    from minirt.image import stored

    whole = stored.by_identity(Layout(root), identity).config
    history = whole.get("history")
    last = history[-1] if isinstance(history, list) and history else {}
    comment = last.get("comment") if isinstance(last, dict) else None
    return whole, comment if isinstance(comment, str) else ""


def _config(found: dict[str, Any]) -> dict[str, Any]:
    """Docker prints the members that OCI has not, too, at their zero values."""
    shown: dict[str, Any] = {
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False,
        "AttachStderr": False, "ExposedPorts": None, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None,
        "Cmd": None, "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None,
        "Labels": None,
    }  # fmt: skip
    if not found.get("ExposedPorts"):
        del shown["ExposedPorts"]
    return {**shown, **{key: value for key, value in found.items() if value is not None}}
