# SPDX-License-Identifier: Apache-2.0
"""[aliases] of registries.conf: a short name that is not here means what the alias says, for pull, run and create."""

from __future__ import annotations

from pathlib import Path

import pytest

from registries import Registry
from runner import Minirt
from sample_images import busybox

pytestmark = pytest.mark.kernel


def test_alias_of_a_short_name(minirt: Minirt, registry: Registry, tmp_path: Path) -> None:
    """Pulled once, found afterwards; whoever writes docker.io means it, and is asked for nothing here."""
    registry.put(busybox(), "aliased:1")
    full = f"{registry.host}/aliased:1"
    conf = tmp_path / "registries.conf"
    conf.write_text(
        f'[aliases]\n"short" = "{registry.host}/aliased"\n[[registry]]\nlocation = "docker.io"\nblocked = true\n'
    )
    minirt.environment["CONTAINERS_REGISTRIES_CONF"] = str(conf)
    minirt.fails("run", "--pull=never", "short:1", "true", code=125, says=f"no such image: {full}")
    first = minirt("run", "--rm", "short:1", "echo", "hello")
    assert (first.code, first.out) == (0, "hello")
    assert first.stderr.splitlines()[0] == f"Unable to find image '{full}' locally"
    registry.forget()
    again = minirt("run", "--rm", "--pull=never", "short:1", "echo", "hello")
    assert (again.code, again.out, again.stderr) == (0, "hello", "")
    identity = minirt.ok("create", "short:1", "true")
    assert minirt.ok("ps", "-a", "--no-trunc", "--filter", f"id={identity}", "--format", "{{.Image}}") == full
    assert registry.log == []
    always = minirt("run", "--rm", "--pull=always", "short:1", "true")
    assert always.code == 0 and f"Status: Image is up to date for {full}" in always.stderr
    assert minirt.ok("pull", "-q", "short:1") == full
    for name in ("docker.io/library/short:1", "docker.io/short:1", "library/short:1", "other:1"):
        minirt.fails("run", "--rm", name, "true", code=125, says=f'registry "docker.io" is blocked by "{conf}"')
