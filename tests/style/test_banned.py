# SPDX-License-Identifier: Apache-2.0
"""Calls that do not belong into minirt, each with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import source

CALLS = {
    "os.system": "a shell between us and the program: quoting, and a PATH that is not ours",
    "os.popen": "a shell between us and the program",
    "subprocess.getoutput": "a shell between us and the program",
    "pickle.load": "executes what it reads",
    "pickle.loads": "executes what it reads",
    "marshal.loads": "crashes on what it does not expect",
    "eval": "executes what it reads",
    "exec": "executes what it reads",
    "tempfile.mktemp": "a name that somebody else can take first",
    "os.putenv": "does not change os.environ",
}
METHODS = {
    "extractall": "follows what a hostile archive says (CVE-2007-4559); image/unpack.py is the one door",
    "extract": "follows what a hostile archive says (CVE-2007-4559); image/unpack.py is the one door",
}
KEYWORDS = {
    "preexec_fn": "runs Python between fork and exec, where another thread may hold any lock",
    "shell": "quoting is not a defence: argv lists only",
}
PRINTING = {
    "print": "libraries return or raise; only cli prints",
    "sys.exit": "libraries return or raise; only cli exits",
    "exit": "libraries return or raise; only cli exits",
    "quit": "libraries return or raise; only cli exits",
}


def dotted(node: ast.expr) -> str:
    """os.path.join as it is written, "" for anything that is not a dotted name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else f".{node.attr}"
    return ""


def reasons(call: ast.Call, inside: bool, prints: bool) -> Iterator[str]:
    name = dotted(call.func)
    if name in CALLS:
        yield f"{name}: {CALLS[name]}"
    method = name.rpartition(".")[2]
    if inside and "." in name and method in METHODS:
        yield f"{name}: {METHODS[method]}"
    if inside and not prints and name in PRINTING:
        yield f"{name}: {PRINTING[name]}"
    for keyword in call.keywords:
        off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
        if keyword.arg in KEYWORDS and not off:
            yield f"{keyword.arg}=: {KEYWORDS[keyword.arg]}"


def test_no_banned_call() -> None:
    wrong = []
    for path in source.python_files():
        place = str(path.relative_to(source.TOP))
        inside = place.startswith("minirt/")
        prints = place.startswith(("minirt/cli/", "minirt/__main__"))
        for node in ast.walk(source.tree(path)):
            if isinstance(node, ast.Call):
                wrong += [f"{place}:{node.lineno}: {reason}" for reason in reasons(node, inside, prints)]
    assert not wrong, "\n".join(wrong)


def test_no_except_that_hides_everything() -> None:
    """`except:` also takes KeyboardInterrupt; a BaseException that is not raised again is lost. cli may end it."""
    wrong = []
    for path in source.python_files():
        for node in ast.walk(source.tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            broad = node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "BaseException")
            ends = any(isinstance(inner, ast.Raise) or "_exit" in ast.dump(inner) for inner in ast.walk(node))
            last_door = str(path).startswith(str(source.TOP / "minirt/cli"))
            if node.type is None or (broad and not ends and not last_door):
                wrong.append(f"{path.relative_to(source.TOP)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


def test_c_calls() -> None:
    """No call that starts a shell, formats without a bound or is not safe after clone."""
    banned = ("system(", "popen(", "strcpy(", "strcat(", "sprintf(", "gets(", "alloca(")
    wrong = []
    for path in source.files(".c", ".h", folders=("csrc", "bench")):
        if path.parent.name == "tests":
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            words = line.replace("(", "( ").split()
            wrong += [f"{path}:{number}: {word}" for word in words if word in banned]
    assert not wrong, "\n".join(wrong)
