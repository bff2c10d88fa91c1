# SPDX-License-Identifier: Apache-2.0
"""--format: the part of Go's text/template that people write for Docker (pkg.go.dev/text/template).

    {{.State.Status}}  {{json .}}  {{index .Config.Labels "key"}}  {{range .Mounts}}…{{else}}…{{end}}
    {{range $name, $network := .Networks}}  {{if eq .A "b"}}…{{else if …}}…{{end}}  {{with .X}}  {{$v := .Y}}
    {{- trimmed -}}  {{/* comment */}}  pipelines, parentheses, "strings", `raw`, numbers, true, false, nil

This file reads a template into a tree; evaluate.py gives it values. No code of the template's author runs: data
are dicts, lists, strings and numbers, and only the functions of evaluate.py can be called. Pure.
"""

from __future__ import annotations

from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Node = tuple[Any, ...]

# A node is a tuple: ("text", str) | ("print", pipeline) | ("if" | "with" | "range", names, pipeline, body, other)
#                  | ("set", name, pipeline, declared)
# A pipeline is a list of commands, a command a list of operands. An operand is one of
#   ("dot", path) | ("variable", name, path) | ("call", name) | ("value", value) | ("group", pipeline, path)
KEYWORDS = (
    "if",
    "else",
    "end",
    "range",
    "with",
    "define",
    "block",
    "template",
    "break",
    "continue",
)


def parse(text: str) -> list[Node]:
    """The template as nodes. Raises InvalidValue as Docker words it: "failed to parse template: …"."""
    pieces = _pieces(text)
    reader = _Reader(pieces)
    body, closing = reader.block(top=True)
    assert closing is None
    return body


def fault(reason: str) -> InvalidValue:
    return InvalidValue(
        f"failed to parse template: {reason}",
        "see https://pkg.go.dev/text/template for the grammar",
    )


def _pieces(text: str) -> list[tuple[str, str]]:
    """Cut at {{ and }}: ("text", …) and ("action", …), with the trim markers {{- and -}} obeyed."""
    pieces: list[tuple[str, str]] = []
    trim = False
    while True:
        before, opened, rest = text.partition("{{")
        left = bool(opened) and rest[:1] == "-" and rest[1:2] in (" ", "\t", "\n")
        before = before.lstrip() if trim else before
        before = before.rstrip() if left else before
        if before:
            pieces.append(("text", before))
        if not opened:
            return pieces
        rest = rest[1:] if left else rest
        stop = _action_end(rest)
        action, text = rest[:stop], rest[stop + 2 :]
        trim = action.endswith((" -", "\t-", "\n-"))
        action = (action[:-1] if trim else action).strip()
        if not action.startswith("/*"):
            pieces.append(("action", action))


def _action_end(text: str) -> int:
    """Where the }} is that closes the action: not one inside a string."""
    place, quote = 0, ""
    while place < len(text):
        letter = text[place]
        if quote:
            if letter == "\\" and quote == '"':
                place += 1
            elif letter == quote:
                quote = ""
        elif letter in '"`':
            quote = letter
        elif text.startswith("}}", place):
            return place
        place += 1
    raise fault("unclosed action")


class _Reader:
    """Pieces into blocks: `block` reads until {{end}} or {{else …}} and says which."""

    def __init__(self, pieces: list[tuple[str, str]]) -> None:
        self.pieces = pieces
        self.place = 0

    def block(self, top: bool = False) -> tuple[list[Node], str | None]:
        nodes: list[Node] = []
        while self.place < len(self.pieces):
            kind, text = self.pieces[self.place]
            self.place += 1
            if kind == "text":
                nodes.append(("text", text))
                continue
            word, _, rest = text.partition(" ")
            if word in ("end", "else"):
                if top:
                    raise fault(f"unexpected {{{{{word}}}}}")
                return nodes, text
            if word in ("if", "with", "range"):
                nodes.append(self.branch(word, rest.strip()))
            elif word in KEYWORDS:
                raise fault(f"{{{{{word}}}}} is not supported")
            else:
                nodes.append(_statement(text))
        if not top:
            raise fault("unexpected EOF: {{end}} is missing")
        return nodes, None

    def branch(self, word: str, head: str) -> Node:
        """{{if p}} body {{else if p}} … {{else}} other {{end}}; with and range alike."""
        tokens = _tokens(head)
        names: list[str] = []
        if ":=" in tokens:
            cut = tokens.index(":=")
            names = [name for name in tokens[:cut] if name != ","]
            tokens = tokens[cut + 1 :]
            if not names or len(names) > 2 or any(name[:1] != "$" for name in names):
                raise fault(f"bad variables in {{{{{word} {head}}}}}")
        pipeline = _pipeline(tokens)
        body, closing = self.block()
        other: list[Node] = []
        if closing is not None and closing != "end":
            chained = closing.partition(" ")[2].strip()
            if chained.startswith(("if ", "with ")):
                inner, _, head = chained.partition(" ")
                other = [self.branch(inner, head)]
            elif chained:
                raise fault(f"unexpected {{{{{closing}}}}}")
            else:
                other, closing = self.block()
                if closing != "end":
                    raise fault("expected {{end}} after {{else}}")
        return (word, names, pipeline, body, other)


def _statement(text: str) -> Node:
    """{{$v := pipeline}}, {{$v = pipeline}} or {{pipeline}}."""
    tokens = _tokens(text)
    if len(tokens) > 1 and tokens[0][:1] == "$" and tokens[1] in (":=", "="):
        return ("set", tokens[0], _pipeline(tokens[2:]), tokens[1] == ":=")
    return ("print", _pipeline(tokens))


def _tokens(text: str) -> list[str]:
    """Words, strings (quotes kept), ( ) | , := and =; a field right behind a parenthesis begins with a dot."""
    tokens: list[str] = []
    place = 0
    while place < len(text):
        letter = text[place]
        if letter.isspace():
            place += 1
        elif text.startswith(":=", place):
            tokens.append(":=")
            place += 2
        elif letter in "()|,=":
            glued = letter == ")" and text[place + 1 : place + 2] == "."
            tokens.append(").") if glued else tokens.append(letter)
            place += 1
        elif letter in '"`':
            stop = place + 1
            while stop < len(text) and text[stop] != letter:
                stop += 2 if text[stop] == "\\" and letter == '"' else 1
            if stop >= len(text):
                raise fault("unterminated quoted string")
            tokens.append(text[place : stop + 1])
            place = stop + 1
        else:
            stop = place
            while stop < len(text) and not text[stop].isspace() and text[stop] not in '()|,="`:':
                stop += 1
            if stop == place:
                raise fault(f"unexpected {letter!r} in command")
            tokens.append(text[place:stop])
            place = stop
    return tokens


def _pipeline(tokens: list[str]) -> list[list[Node]]:
    """Commands between bars at this depth of parentheses; each hands its value to the next as last argument."""
    commands: list[list[Node]] = [[]]
    place = 0
    while place < len(tokens):
        token = tokens[place]
        place += 1
        if token == "|":
            if not commands[-1]:
                raise fault("missing value for command")
            commands.append([])
        elif token == "(":
            stop = _closing(tokens, place)
            inner = _pipeline(tokens[place:stop])
            path: tuple[str, ...] = ()
            place = stop + 1
            if tokens[stop] == ").":
                path = tuple(tokens[place].strip(".").split("."))
                place += 1
            commands[-1].append(("group", inner, path))
        elif token in (")", ").", ",", "=", ":="):
            raise fault(f"unexpected {token!r} in command")
        else:
            commands[-1].append(_operand(token))
    if not commands[-1]:
        raise fault("missing value for command")
    return commands


def _closing(tokens: list[str], place: int) -> int:
    depth = 1
    for stop in range(place, len(tokens)):
        depth += 1 if tokens[stop] == "(" else -1 if tokens[stop] in (")", ").") else 0
        if depth == 0:
            return stop
    raise fault("unclosed left paren")


def _operand(token: str) -> Node:
    if token[0] == '"':
        return ("value", _unquote(token[1:-1]))
    if token[0] == "`":
        return ("value", token[1:-1])
    if token[0] == ".":
        return ("dot", _path(token[1:]))
    if token[0] == "$":
        name, _, path = token.partition(".")
        return ("variable", name, _path(path))
    if token in ("true", "false", "nil"):
        return ("value", {"true": True, "false": False, "nil": None}[token])
    if token[0].isdigit() or (token[0] in "-+" and token[1:2].isdigit()):
        try:
            return ("value", float(token) if "." in token else int(token, 0))
        except ValueError:
            raise fault(f"bad number syntax: {token!r}") from None
    if not token.replace("_", "a").isalnum():
        raise fault(f"unexpected {token!r} in command")
    return ("call", token)


def _path(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    path = tuple(text.split("."))
    if not all(path):
        raise fault(f"unexpected '.' in '.{text}'")
    return path


def _unquote(text: str) -> str:
    r"""Go's escapes: \n \t \r \\ \" \xhh \uhhhh."""
    if "\\" not in text:
        return text
    out, place = "", 0
    while place < len(text):
        letter = text[place]
        if letter != "\\":
            out += letter
            place += 1
            continue
        kind = text[place + 1 : place + 2]
        width = {"x": 2, "u": 4}.get(kind, 0)
        if width:
            try:
                out += chr(int(text[place + 2 : place + 2 + width], 16))
            except ValueError:
                raise fault("invalid syntax in string") from None
        elif kind and kind in 'ntr\\"':
            out += {"n": "\n", "t": "\t", "r": "\r"}.get(kind, kind)
        else:
            raise fault("invalid syntax in string")
        place += 2 + width
    return out
