# SPDX-License-Identifier: Apache-2.0
"""The prune verbs, system df, volumes and history: Docker's words, and only what is unused goes."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

import forge
from forge import Forged, entry, tar
from runner import Minirt

pytestmark = pytest.mark.kernel


def load(minirt: Minirt, *layers: bytes, name: str, **config: object) -> str:
    forged = Forged(*layers, name=name)
    forged.config["config"].update(config)
    forged.config["created"] = "2024-01-02T03:04:05Z"
    source = minirt.root.parent / "archive.tar"
    source.write_bytes(forge.archive(forged.files()))
    minirt.ok("load", "-i", source)
    return minirt.ok("images", "-a", "-q", name) if name else ""


def dangling(minirt: Minirt, *layers: bytes, **config: object) -> str:
    """An image whose name another one has taken."""
    identity = load(minirt, *layers, name="taken:1", **config)
    load(minirt, tar(entry("taker")), name="taken:1")
    return identity


def small(name: str) -> bytes:
    return tar(entry(name, data=name.encode() * 1000))


def test_only_dangling_images_without_all(minirt: Minirt) -> None:
    gone = dangling(minirt, small("one"))
    kept = load(minirt, small("two"), name="kept:1")
    lines = minirt.ok("image", "prune", "-f").splitlines()
    assert lines[0] == "Deleted Images:" and lines[1].startswith(f"deleted: sha256:{gone}")
    assert lines[-2] == "" and re.fullmatch(r"Total reclaimed space: [0-9.]+kB", lines[-1])
    assert kept in minirt.ok("images", "-q").split() and gone not in minirt.ok("images", "-aq").split()
    assert minirt.ok("image", "prune", "-f") == "Total reclaimed space: 0B"


def test_all_spares_what_a_container_has(minirt: Minirt) -> None:
    load(minirt, small("two"), name="unused:1")
    minirt.ok("create", "localhost/busybox", "true")
    lines = minirt.ok("image", "prune", "-a", "-f").splitlines()
    assert "untagged: unused:1" in lines and not [line for line in lines if "busybox" in line]
    assert minirt.ok("images", "--format", "{{.Repository}}") == "localhost/busybox"


def test_filters(minirt: Minirt) -> None:
    load(minirt, small("a"), name="a:1", Labels={"keep": "yes", "kind": "x"})
    load(minirt, small("b"), name="b:1", Labels={"kind": "y"})
    load(minirt, small("c"), name="c:1")

    def left(*filters: str) -> list[str]:
        words = [word for one in filters for word in ("--filter", one)]
        minirt.ok("image", "prune", "-a", "-f", *words)
        return sorted(minirt.ok("images", "--format", "{{.Repository}}").split())

    assert left("label!=kind") == ["a", "b"]
    assert left("until=2023-01-01") == ["a", "b"]
    assert left("label=kind", "label!=keep=yes") == ["a"]
    assert left("until=24h", "label=kind=x") == []
    for text in ("nope=1", "until=yesterday", "dangling=perhaps"):
        minirt.fails("image", "prune", "-f", "--filter", text, code=1, says="invalid")
    minirt.fails("image", "prune", "-f", "--filter", "until", code=125)


def test_the_question(minirt: Minirt) -> None:
    """Only y goes on; an end of input is a no."""
    dangling(minirt, small("one"))
    for answer in ("n\n", "", "yes please\n", "\n"):
        result = minirt("image", "prune", input=answer)
        assert result.code == 0 and result.out.endswith("continue? [y/N] "), result
        assert "all dangling images" in result.stdout
    assert "Deleted Images:" in minirt.ok("image", "prune", input="Y\n")


def test_containers_and_their_space(minirt: Minirt) -> None:
    old = minirt.ok(
        "run", "-d", "--label", "old", "localhost/busybox", "dd", "if=/dev/zero", "of=/f", "bs=1M", "count=3"
    )
    minirt.ok("wait", old)
    made = minirt.ok("create", "localhost/busybox", "true")
    running = minirt.ok("run", "-d", "localhost/busybox", "sleep", "1000")
    assert minirt.ok("container", "prune", "-f", "--filter", "label!=old").splitlines()[:2] == [
        "Deleted Containers:",
        made,
    ]
    lines = minirt.ok("container", "prune", "-f").splitlines()
    assert lines[1] == old and lines[-1].startswith("Total reclaimed space: 3.") and lines[-1].endswith("MB")
    assert minirt.ok("ps", "-aq", "--no-trunc") == running


def test_system_prune_takes_all_that_is_idle(minirt: Minirt) -> None:
    minirt.ok("create", "-v", "/anonymous", "-v", "named:/named", "localhost/busybox", "true")
    running = minirt.ok("run", "-d", "-v", "/held", "localhost/busybox", "sleep", "1000")
    load(minirt, small("one"), name="unused:1")
    abandoned = minirt.root / "staging/feedfacefeedface"
    (abandoned / "layers/x/deep").mkdir(parents=True)
    (minirt.root / "partial" / ("a" * 64)).write_bytes(b"half")
    assert "all dangling images" in minirt("system", "prune", input="n").stdout
    minirt.fails("system", "prune", "-f", "--volumes", "--filter", "until=1h", code=1, says="not supported")
    assert len(minirt.ok("volume", "ls", "-q").split()) == 3
    lines = minirt.ok("system", "prune", "-a", "-f", "--volumes").splitlines()
    assert {"Deleted Containers:", "Deleted Volumes:", "Deleted Images:", "untagged: unused:1"} <= set(lines)
    assert not abandoned.exists() and os.listdir(minirt.root / "partial") == []
    assert minirt.ok("ps", "-aq", "--no-trunc") == running
    assert "named" in minirt.ok("volume", "ls", "-q").split() and len(minirt.ok("volume", "ls", "-q").split()) == 2
    minirt.ok("rm", "-f", "-v", running)
    minirt.ok("system", "prune", "-a", "-f", "--volumes")
    assert minirt.ok("volume", "ls", "-q") == "named"
    assert minirt.ok("volume", "prune", "-a", "-f").splitlines()[1] == "named"
    for place in ("images/blobs/sha256", "layers", "trash", "staging", "containers", "volumes"):
        assert os.listdir(minirt.root / place) == [], place


def test_df_agrees_with_what_prune_gives_back(minirt: Minirt) -> None:
    load(minirt, small("base"), small("one"), name="one:1")
    load(minirt, small("base"), small("two"), name="two:1")
    rows = [json.loads(line) for line in minirt.ok("system", "df", "--format", "json").splitlines()]
    assert [row["Type"] for row in rows] == ["Images", "Containers", "Local Volumes"]
    assert (rows[0]["TotalCount"], rows[0]["Active"]) == ("2", "0")
    assert rows[0]["Reclaimable"] == f"{rows[0]['Size']} (100%)"
    table = minirt.ok("system", "df", "-v")
    assert "SHARED SIZE" in table and re.search(r"^one +1 ", table, re.MULTILINE)
    lines = minirt.ok("image", "prune", "-a", "-f").splitlines()
    assert lines[-1] == f"Total reclaimed space: {rows[0]['Size']}"
    assert minirt.ok("system", "df", "--format", "{{.Size}}").split() == ["0B", "0B", "0B"]
    minirt.fails("system", "df", "-v", "--format", "json", code=1, says="conflict")


def test_volumes(minirt: Minirt) -> None:
    assert minirt.ok("volume", "create", "data") == "data" == minirt.ok("volume", "create", "data")
    anonymous = minirt.ok("volume", "create")
    assert len(anonymous) == 64
    minirt.ok("run", "--rm", "-v", "data:/x", "localhost/busybox", "sh", "-c", "echo hi > /x/file")
    found = json.loads(minirt.ok("volume", "inspect", "data"))[0]
    assert (Path(found["Mountpoint"]) / "file").read_text() == "hi\n"
    user = minirt.ok("create", "-v", "data:/x", "localhost/busybox", "true")
    minirt.fails("volume", "rm", "data", code=1, says=f"remove data: volume is in use - [{user}]")
    assert minirt.ok("volume", "ls", "-q", "-f", "dangling=true") == anonymous
    assert minirt.ok("volume", "prune", "-f").splitlines()[1] == anonymous
    minirt.ok("rm", user)
    assert minirt.ok("volume", "rm", "data") == "data"
    assert os.listdir(minirt.root / "volumes") == []
    minirt.fails("volume", "rm", "data", code=1, says="get data: no such volume")
    minirt.ok("volume", "rm", "-f", "data")
    for name in ("../x", "/abs", "a", "a/b", "a:b", "..", "x" * 300, "-"):
        assert minirt("volume", "create", name).code in (1, 125), name
    assert minirt.ok("volume", "ls", "-q") == ""


def test_a_volume_is_open_to_every_user_inside_whatever_the_umask(minirt: Minirt) -> None:
    before = os.umask(0o077)
    try:
        minirt.ok("volume", "create", "data")
    finally:
        os.umask(before)
    minirt.ok("run", "--rm", "-u", "1000", "-v", "data:/x", "localhost/busybox", "ls", "/x")


def test_a_volume_of_that_name_made_again_is_empty(minirt: Minirt) -> None:
    """What a killed `volume rm` left is neither found again nor kept."""
    minirt.ok("volume", "create", "data")
    place = Path(minirt.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "data"))
    (place / "old").write_text("x")
    place.parent.rename(minirt.root / "volumes/.removed-0123456789abcdef")  # killed before its row went
    minirt.ok("run", "--rm", "-v", "data:/x", "localhost/busybox", "sh", "-c", "test ! -e /x/old")
    minirt.ok("volume", "rm", "data")
    assert os.listdir(minirt.root / "volumes") == []


def test_history(minirt: Minirt) -> None:
    forged = Forged(small("one"), small("two"), name="h:1")
    long = "RUN something " + "very " * 20 + "long"
    forged.config["history"] = [
        {"created": "2024-01-02T03:04:05Z", "created_by": "ADD file"},
        {"created_by": "ENV A=b", "empty_layer": True, "comment": "no layer"},
        {"created": "nonsense", "created_by": long},
    ]
    (minirt.root.parent / "h.tar").write_bytes(forge.archive(forged.files()))
    minirt.ok("load", "-i", minirt.root.parent / "h.tar")
    lines = minirt.ok("history", "h:1").splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert lines[1].startswith(minirt.ok("images", "-q", "h")) and "…" in lines[1]
    assert [line.split()[0] for line in lines[2:]] == ["<missing>"] * 2
    assert "0B" in lines[2] and "no layer" in lines[2]
    assert long in minirt.ok("history", "--no-trunc", "h:1")
    sizes = minirt.ok("history", "-H=false", "--format", "{{.Size}} {{.CreatedAt}}", "h:1").splitlines()
    assert sizes[1] == "0 N/A" and sizes[2].endswith("2024-01-02T03:04:05Z") and int(sizes[2].split()[0]) > 3000
    assert minirt.ok("history", "-q", "h:1").splitlines()[1:] == ["<missing>"] * 2
    minirt.fails("history", "nope", code=1, says="no such image: nope")
    assert minirt.ok("image", "history", "localhost/busybox").splitlines()[1].split()[1] == "N/A"


def test_tree_and_which(minirt: Minirt) -> None:
    load(minirt, small("base"), small("one"), name="one:1")
    load(minirt, small("base"), tar(entry(".wh.base")), name="two:1")
    tree = minirt.ok("image", "tree").splitlines()
    assert "shared by 2 images" in tree[0] and sum("├─" in line or "└─" in line for line in tree) == 2
    assert any("1 whiteout" in line for line in tree) and any("← two:1 (" in line for line in tree)
    nodes = json.loads(minirt.ok("image", "tree", "--format", "json", "one:1"))
    assert [(node["Number"], node["On"]) for node in nodes] == [(1, None), (2, 1)]
    assert nodes[0]["Contents"]["Bytes"] == 4000 and nodes[1]["Images"][0]["RepoTags"] == ["one:1"]
    assert "file of 4kB (0644 0:0), from layer 1 of 2" in minirt.ok("image", "which", "one:1", "/base")
    gone = minirt("image", "which", "two:1", "base")
    assert gone.code == 1 and "removed by layer 2, which has a whiteout of /base" in gone.stdout
    shell = minirt.ok("image", "which", "localhost/busybox", "/bin/sh").splitlines()
    assert "symlink to /bin/busybox" in shell[0] and shell[2].startswith("/bin/busybox: file of ")
    assert json.loads(minirt.ok("image", "which", "--format", "json", "one:1", "one"))[0]["InImage"]
    minirt.fails("image", "which", "nope", "/x", code=1, says="no such image")
    assert minirt("image", "which", "one:1", "\x1b[31m/\udcff").code == 1


def test_a_history_that_strangers_wrote(minirt: Minirt) -> None:
    """Of any shape, with control bytes: shown without them, and without a traceback."""
    for number, history in enumerate(
        ([1, None, {"created_by": 5}], {"x": 1}, "text", [{"created_by": "\x1b[2J\n\t\u202e"}] * 9)
    ):
        forged = Forged(small("one"), small("two"), name=f"odd:{number}")
        forged.config["history"] = history
        (minirt.root.parent / "odd.tar").write_bytes(forge.archive(forged.files()))
        minirt.ok("load", "-i", minirt.root.parent / "odd.tar")
        for words in (("history", "--no-trunc"), ("image", "tree"), ("history", "--format", "{{.CreatedBy}}")):
            shown = minirt.ok(*words, f"odd:{number}")
            assert "\x1b" not in shown or words[1] == "--format", shown


def test_cra_16_a_container_whose_layers_are_unknown(minirt: Minirt) -> None:
    """CRA-16: its row is damaged: nothing is collected before it is removed, and the message says which it is."""
    import sqlite3

    made = minirt.ok("create", "--name", "odd", "localhost/busybox", "true")
    with sqlite3.connect(minirt.root / "minirt.db") as database:
        database.execute("UPDATE containers SET options = '{' WHERE id = ?", (made,))
    database.close()
    minirt.fails("rmi", "-f", "localhost/busybox", code=1, says="the stored options of container odd are damaged")
    minirt.fails("image", "prune", "-af", code=1, says="minirt rm -f odd")
    assert "container odd" in minirt("system", "check").stdout
    minirt.ok("rm", "-f", "odd")
    minirt.ok("rmi", "localhost/busybox")


def test_nothing_there_yet(minirt: Minirt) -> None:
    """An empty host: every verb answers, none makes an image."""
    began = time.time()
    assert minirt.ok("image", "prune", "-af") == "Total reclaimed space: 0B"
    assert minirt.ok("system", "prune", "-af", "--volumes") == "Total reclaimed space: 0B"
    assert minirt.ok("image", "tree") == ""
    assert minirt.ok("system", "check").endswith("all is well")
    assert len(minirt.ok("system", "df").splitlines()) == 4
    assert minirt.ok("images", "-aq") == "" and began > 0
