# SPDX-License-Identifier: Apache-2.0
"""Documents stay true because they are executed: README's console blocks, its make targets, verbs and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import forge
import runner
import sample_images
import source
from registries import Registry

README = (source.TOP / "README.md").read_text()
DOCUMENTS = sorted([*source.TOP.glob("*.md"), *(source.TOP / "docs").rglob("*.md")])


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def console_lines() -> list[str]:
    lines = [line for block in blocks(README, "console") for line in block.splitlines()]
    return [line[2:] for line in lines if line.startswith("$ ")]


@pytest.mark.kernel
def test_console_blocks_of_the_readme(
    networked: runner.Minirt, make_registry: Callable[..., Registry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line that a newcomer is told to type works, in that order. The registries that it names are one of our
    own, by registries.conf."""
    mine = make_registry()
    release = forge.tar(forge.entry("etc/os-release", data=b"ID=debian\n"))
    mine.put(sample_images.busybox(release), "library/debian:12")
    places = [f'[[registry]]\nprefix = "{name}"\nlocation = "{mine.host}"\n' for name in ("docker.io", "example.org")]
    (tmp_path / "registries.conf").write_text("".join(places))
    monkeypatch.setitem(networked.environment, "CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    monkeypatch.chdir(tmp_path)
    lines = console_lines()
    assert len(lines) > 5
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "minirt", line
        networked.ok(*words[1:])


def test_make_targets_exist() -> None:
    makefile = (source.TOP / "Makefile").read_text()
    named = set(re.findall(r"`make ([a-z-]+)`", "".join(path.read_text() for path in DOCUMENTS)))
    named |= set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks(README, "sh")), re.MULTILINE))
    assert {"demo", "test", "install"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no target {target}"


def test_ci_runs_what_the_readme_says() -> None:
    commands = [line for line in (source.TOP / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert commands[-1] == "exec make test"
    assert "make test" in README


def test_links_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


@pytest.mark.kernel
def test_verbs_of_the_readme_exist(minirt: runner.Minirt) -> None:
    table = README.partition("## Verbs")[2].partition("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("|")]
    verbs = {words.split()[0] for row in rows for words in re.findall("`([a-z][a-z ]*)", row)}
    assert len(verbs) > 20
    for verb in sorted(verbs):
        assert "Usage:" in minirt.ok(verb, "--help"), verb


def paths_in_documents() -> list[tuple[str, str]]:
    """`folder/file.suffix` as a document names it."""
    pattern = r"`((?:minirt|csrc|tests|bench|engine|plan|model|cli|kernel)/[\w/.]+\.(?:py|c|h|sql))`"
    return [(path.name, found) for path in DOCUMENTS for found in re.findall(pattern, path.read_text())]


@pytest.mark.parametrize(("document", "path"), paths_in_documents())
def test_files_that_documents_name_exist(document: str, path: str) -> None:
    places = (source.TOP / path, source.TOP / "minirt" / path)
    assert any(Path(place).exists() for place in places), f"{document} names {path}"
