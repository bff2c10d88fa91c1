# SPDX-License-Identifier: Apache-2.0
"""The shape of the code: short files, short functions, a docstring and a licence line at the top, no leftovers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import source

FILE_LINES = 400
FUNCTION_LINES = 60
DOCSTRING_LINES = 12
VAGUE = {"utils", "util", "common", "helpers", "helper", "misc"}
LEFTOVERS = re.compile(r"\b(T[O]DO|F[I]XME|X[X]X)\b")

CODE = source.files(".py", ".c", ".h", ".sql", ".build")


def relative(path: Path) -> str:
    return str(path.relative_to(source.TOP))


@pytest.mark.parametrize("path", CODE, ids=relative)
def test_file(path: Path) -> None:
    """Fewer than 400 lines, an SPDX line first, nothing left to do, a name that says something."""
    lines = path.read_text().splitlines()
    assert len(lines) < FILE_LINES, f"{len(lines)} lines: it has become two files"
    if lines:
        first = lines[1] if lines[0].startswith("#!") else lines[0]
        assert "SPDX-License-Identifier: Apache-2.0" in first
    assert path.stem not in VAGUE
    for number, line in enumerate(lines, 1):
        assert not LEFTOVERS.search(line), f"{path}:{number}: {line.strip()}"


def test_python_functions_are_short() -> None:
    long = []
    for path in source.python_files():
        for node in ast.walk(source.tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size >= FUNCTION_LINES:
                    long.append(f"{relative(path)}:{node.lineno}: {node.name} has {size} lines")
    assert not long, "\n".join(long)


def c_functions(path: Path) -> list[tuple[int, str, int]]:
    """(line, head, lines) of each function: it opens on a line that ends in ") {" and closes with "}" at the margin."""
    found: list[tuple[int, str, int]] = []
    start = head = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if start is None and re.match(r"[A-Za-z_]", line):
            head, start = line, number if re.search(r"\)\s*\{$|^\{$", line) else None
        elif start is None and re.match(r"\s.*\)\s*\{$", line) and head and not head.endswith((";", "}")):
            start = number
        elif line.startswith("}"):
            if start is not None:
                found.append((start, str(head), number - start + 1))
            start = head = None
    return found


def test_c_functions_are_short() -> None:
    functions = [(path, *found) for path in source.files(".c") for found in c_functions(path)]
    assert functions, "found no function at all: the pattern is wrong"
    long = [
        f"{relative(path)}:{line}: {head.strip()} has {size} lines"
        for path, line, head, size in functions
        if size >= FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def docstring(path: Path) -> str:
    return ast.get_docstring(source.tree(path)) or ""


@pytest.mark.parametrize("path", source.python_files(), ids=relative)
def test_module_says_what_it_is(path: Path) -> None:
    """Every module opens with what it is; an empty __init__ need not."""
    if path.name == "__init__.py" and not source.tree(path).body:
        return
    text = docstring(path)
    assert text, f"{relative(path)} does not say what it is"
    prose = [line for line in text.splitlines() if not line.startswith("    ")]  # a drawing or a table is indented
    assert len(prose) <= DOCSTRING_LINES


@pytest.mark.parametrize("path", source.files(".c", ".h"), ids=relative)
def test_c_file_says_what_it_is(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[1].strip() == "*", "an empty line after the licence line"
    assert len(lines[2].lstrip(" *")) > 20, "a sentence that says what it is"
