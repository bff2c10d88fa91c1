# SPDX-License-Identifier: Apache-2.0
"""`plan` and `run --explain`: the list that is shown is the list that is executed."""

from __future__ import annotations

import json

from runner import Minirt


def calls(text: str) -> list[str]:
    """The calls of a listing, without durations and columns."""
    return [str(step["call"]) for step in json.loads(text)]


def test_plan_of_the_embedded_image_needs_no_store(minirt: Minirt) -> None:
    shown = minirt.ok("plan", "localhost/busybox", "true")
    assert "fsopen(" in shown and "execve(" in shown and "manual" not in shown
    assert "host: the caller" in shown and "init: pid 1" in shown
    assert not minirt.root.exists()


def test_plan_takes_runs_options(minirt: Minirt) -> None:
    plain = minirt.ok("plan", "--json", "--rootfs", minirt.rootfs, "true")
    more = minirt.ok("plan", "--json", "-h", "box", "-v", "/tmp:/mnt:ro", "--rootfs", minirt.rootfs, "true")
    assert any("box" in call for call in calls(more))
    assert len(calls(more)) > len(calls(plain))
    assert any("-v" in str(step["asked"]) for step in json.loads(more))


def test_plan_grouped_by_what_it_isolates(minirt: Minirt) -> None:
    shown = minirt.ok("plan", "--why", "localhost/busybox")
    assert "\nseccomp: " in shown and "\ncapability: " in shown


def test_plan_of_a_bundle(minirt: Minirt) -> None:
    minirt.ok("create", "--name", "made", "--rootfs", minirt.rootfs, "true")
    bundle = minirt.ok("inspect", "-f", "{{.Minirt.Bundle}}", "made")
    assert "execve(" in minirt.ok("plan", "--bundle", bundle)
    assert "execve(" in minirt.ok("plan", "--container", "made")


def test_bundle_faults_are_all_reported(minirt: Minirt) -> None:
    folder = minirt.root.parent / "bundle"
    folder.mkdir()
    (folder / "config.json").write_text('{"ociVersion": "1.2.0", "process": {"cwd": 3}, "root": []}')
    errors = minirt.fails("plan", "--bundle", folder, code=125, says="/process/cwd")
    assert "/root" in errors
    (folder / "config.json").write_text("{")
    minirt.fails("plan", "--bundle", folder, code=125, says="config.json")


def test_explain_shows_durations_and_keeps_them(minirt: Minirt) -> None:
    result = minirt("run", "--name", "seen", "--explain", "--rootfs", minirt.rootfs, "echo", "hello")
    assert (result.code, result.stdout) == (0, "hello\n")
    assert "µs" in result.stderr and "system calls in" in result.stderr
    stored = minirt.ok("plan", "--container", "seen")
    assert "µs" in stored and stored.splitlines()[0] == result.stderr.splitlines()[0]


def test_explained_steps_are_the_planned_ones(minirt: Minirt) -> None:
    """Same calls in the same order, but for the ids and descriptors that only a birth knows."""

    def shape(text: str) -> list[tuple[object, object]]:
        return [(step["call"].partition("(")[0], step["kind"]) for step in json.loads(text)]

    planned = shape(minirt.ok("plan", "--json", "--rootfs", minirt.rootfs, "true"))
    minirt("run", "--name", "ee", "--explain", "--rootfs", minirt.rootfs, "true")
    executed = shape(minirt.ok("plan", "--json", "--container", "ee"))
    assert executed == planned
