# SPDX-License-Identifier: Apache-2.0
"""What happened, as lines in <state>/events: written here by the commands, by the monitor for start, oom and die.

    {"timeNano":…,"Type":"container","Action":"create","ID":"…","Attributes":{"image":"busybox","name":"web"}}

Names of types, actions and attributes are Docker's (moby api/types/events, daemon/events.go). A command writes its
lines at once, with one write(2). A line that cannot be written is lost: nothing fails for that. event_stream.py reads
them. Must not import plan, runtime or image.
"""

from __future__ import annotations

import os
import time

from minirt.errors import MinirtError
from minirt.kernel import events as file_
from minirt.model import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.engine.db import Row
    from minirt.engine.record import Record
    from minirt.engine.store import Engine
    from minirt.model.network import Network

CONTAINER, IMAGE, NETWORK, VOLUME = "container", "image", "network", "volume"
SUBJECT_LIMIT_BYTES = 8000  # less than mrt_monitor.subject holds (csrc/monitor_parts.h)
COMMAND_LIMIT = 500  # of an exec's command line, in letters
RENAMED = "event"  # in run/<id>: see csrc/monitor_events.c


def path(engine: Engine) -> str:
    return f"{engine.roots.state}/events"


def add(engine: Engine, kind: str, action: str, identity: str, attributes: dict[str, str]) -> None:
    """To be written with the next `tell` or `flush`, or when the command ends."""
    engine.events.append(line(kind, action, identity, attributes, time.time_ns()))


def tell(engine: Engine, kind: str, action: str, identity: str, attributes: dict[str, str]) -> None:
    add(engine, kind, action, identity, attributes)
    flush(engine)


def flush(engine: Engine) -> None:
    lines, engine.events = b"".join(engine.events), []
    if not lines:
        return
    try:
        file_.append(path(engine), lines)
    except OSError:
        pass  # a full disk, no state directory: what the command has done is done


def line(kind: str, action: str, identity: str, attributes: dict[str, str], now_ns: int) -> bytes:
    head = f'{{"timeNano":{now_ns},"Type":"{kind}","Action":{json.dumps(action)},"ID":{json.dumps(identity)},'
    return f'{head}"Attributes":{_object(attributes)}}}\n'.encode()


def _object(attributes: dict[str, str]) -> str:
    """As JSON. What is not UTF-8 in an argument of ours is no text there, and is shown by question marks."""
    text = json.dumps(attributes)
    if "\\ud" in text:  # a pair of surrogates, or half of one
        text = json.dumps({_utf8(key): _utf8(value) for key, value in attributes.items()})
    return text


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def of_container(engine: Engine, row: Row, action: str, record: Record | None = None, **more: str) -> None:
    """`tell` about a container, with `more` attributes of the action's own."""
    tell(engine, CONTAINER, action, row.id, {**attributes(row, record), **more})


def of_network(engine: Engine, network: Network, action: str, container: str = "") -> None:
    about_network(engine, network, action, container)
    flush(engine)


def about_network(engine: Engine, network: Network, action: str, container: str = "") -> None:
    """`add` about a network, and the container that comes or goes."""
    own = {"name": network.name, "type": network.driver}
    add(engine, NETWORK, action, network.id, {"container": container, **own} if container else own)


def of_image(engine: Engine, action: str, identity: str, name: str) -> None:
    """identity: "sha256:…", or the name where an image is on its way from or to a registry (Docker)."""
    tell(engine, IMAGE, action, identity, {"name": name})


def attributes(row: Row, record: Record | None = None) -> dict[str, str]:
    """The labels, with image and name."""
    labels = record.labels if record is not None else _labels(row)
    return {**labels, "image": row.image, "name": row.name}


def _labels(row: Row) -> dict[str, str]:
    from minirt.engine.record import Record

    try:
        return Record.from_json(row.options).labels
    except MinirtError:
        return {}  # whoever removes a container with damaged options is not held up here


def subject(identity: str, about: dict[str, str]) -> str:
    """What the monitor puts behind the action of its own lines, open for more attributes. Labels that are too long for
    it are left out."""
    text = _subject(identity, about)
    if len(text) > SUBJECT_LIMIT_BYTES:
        text = _subject(identity, {key: about[key] for key in ("execID", "image", "name") if key in about})
    return text


def _subject(identity: str, about: dict[str, str]) -> str:
    return f',"ID":"{identity}","Attributes":{_object(about)}'.removesuffix("}")


def rename(engine: Engine, row: Row, old: str) -> None:
    """It is called row.name from now on, also for its monitor."""
    about = attributes(row)
    run_dir = engine.roots.run(row.id)
    try:
        descriptor = os.open(f"{run_dir}/.{RENAMED}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, subject(row.id, about).encode())
        finally:
            os.close(descriptor)
        os.rename(f"{run_dir}/.{RENAMED}", f"{run_dir}/{RENAMED}")
    except OSError:
        pass  # it does not run
    tell(engine, CONTAINER, "rename", row.id, {**about, "oldName": f"/{old}"})


def shown_command(words: list[str]) -> str:
    """Behind exec_create and exec_start."""
    text = _utf8(" ".join(words))
    return text if len(text) <= COMMAND_LIMIT else text[: COMMAND_LIMIT - 1] + "…"
