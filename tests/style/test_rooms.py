# SPDX-License-Identifier: Apache-2.0
"""The rooms: imports point downwards, rooms on one line do not know each other, and there is no cycle."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import source

LINES = (
    ("errors",),
    ("model",),
    ("plan", "kernel", "cgroup"),
    ("runtime", "image", "network"),
    ("engine",),
    ("learn",),
    ("cli",),
)
"""From the ground up, as ARCHITECTURE.md draws them."""
LEVEL = {room: level for level, rooms in enumerate(LINES) for room in rooms}

ALLOWED = {
    ("kernel", "minirt.plan.step"): "steps are the vocabulary that kernel executes: values without I/O",
    ("kernel", "minirt.plan.netlink"): "requests are steps' arguments, which kernel makes bytes of: values without I/O",
    ("kernel", "minirt.plan.facts"): "what a plan depends on, filled in by kernel.host: values without I/O",
}
"""(room, module): why this sideways import is right."""

MODULES = {source.name(path): path for path in source.python_files("minirt")}


def room(module: str) -> str:
    """minirt.plan.step -> plan; the package itself and __main__ belong to cli."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LEVEL else "cli"


def graph(types: bool) -> dict[str, set[str]]:
    edges: dict[str, set[str]] = defaultdict(set)
    for module, path in MODULES.items():
        edges[module].update(target for _, target in source.imports(path, set(MODULES), types))
    return edges


def test_imports_point_downwards() -> None:
    wrong = []
    for module, path in MODULES.items():
        here = room(module)
        for line, target in source.imports(path, set(MODULES)):
            there = room(target)
            if here == there or target == "minirt" or (here, target) in ALLOWED:
                continue
            if LEVEL[there] >= LEVEL[here]:
                wrong.append(f"{path.relative_to(source.TOP)}:{line}: {here} must not know {target}")
    assert not wrong, "\n".join(wrong)


def test_every_exception_is_in_use() -> None:
    used = {(room(module), target) for module, targets in graph(types=True).items() for target in targets}
    assert set(ALLOWED) <= used, "an exception that nothing needs any more"


def test_no_import_cycle() -> None:
    edges, done = graph(types=False), set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, "import cycle: " + " → ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in sorted(edges[module]):
                if target != "minirt":
                    visit(target, (*path, module))
            done.add(module)

    for module in sorted(MODULES):
        visit(module, ())


def test_only_kernel_crosses_into_c() -> None:
    for module, path in MODULES.items():
        text = path.read_text()
        crosses = "_csrc" in text or "import ctypes" in text or "import cffi" in text
        assert not crosses or room(module) == "kernel", f"{path}: kernel is the only room that touches C"


def test_every_module_has_a_room() -> None:
    outside = [
        path
        for path in MODULES.values()
        if len(path.relative_to(source.TOP).parts) == 2 and path.stem not in ("__init__", "__main__", "errors")
    ]
    assert outside == []
    folders = {path.name for path in Path(source.TOP / "minirt").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} <= set(LEVEL)
