# SPDX-License-Identifier: Apache-2.0
"""The repository's own files as the style tests see them: what is source, and what a module imports (ast)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
FOLDERS = ("minirt", "csrc", "tests", "bench")


def files(*suffixes: str, folders: tuple[str, ...] = FOLDERS) -> list[Path]:
    """Every source file with one of the suffixes, sorted."""
    return sorted(
        path for folder in folders for path in (TOP / folder).rglob("*") if path.suffix in suffixes and path.is_file()
    )


def python_files(*folders: str) -> list[Path]:
    return files(".py", folders=folders or FOLDERS)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name(path: Path) -> str:
    """minirt/plan/step.py -> minirt.plan.step"""
    parts = path.relative_to(TOP).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def walk(node: ast.AST, types: bool) -> Iterator[ast.AST]:
    """Every node; without what only a type checker reads, if `types` is false."""
    for child in ast.iter_child_nodes(node):
        if types or not for_types_only(child):
            yield child
            yield from walk(child, types)


def imports(path: Path, known: set[str], types: bool = True) -> Iterator[tuple[int, str]]:
    """(line, module of minirt) of each import in the file, wherever it stands. `known` tells modules from names."""
    for node in walk(tree(path), types):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "minirt":
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "minirt":
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides its room"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield node.lineno, inner if inner in known else str(node.module)
