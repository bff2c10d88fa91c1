# SPDX-License-Identifier: Apache-2.0
"""Giving a --format template its values, and printing them as Go's fmt does (pkg.go.dev/text/template, fmt).

Data are what JSON knows. A field that does not exist is an error, as it is in Docker. functions.py holds what a
template may call and how a value prints. Pure.
"""

from __future__ import annotations

from minirt.cli.functions import FUNCTIONS, MISSING, show, true
from minirt.cli.template import parse
from minirt.errors import InvalidValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirt.cli.template import Node


class Record(dict[str, object]):
    """A row of `ps`: fields that print, and methods ({{.Label "key"}}) that don't."""

    __slots__ = ("methods",)

    def __init__(self, fields: dict[str, object], methods: dict[str, object]) -> None:
        super().__init__(fields)
        self.methods = methods


class _Scope:
    """The dot, the variables, and the text so far."""

    __slots__ = ("dot", "out", "variables")

    def __init__(self, dot: object) -> None:
        self.dot = dot
        self.variables: dict[str, object] = {"$": dot}
        self.out: list[str] = []


def render(template: list[Node] | str, data: object) -> str:
    """The template's text for `data`. Raises InvalidValue: "template: …"."""
    scope = _Scope(data)
    _walk(parse(template) if isinstance(template, str) else template, scope)
    return "".join(scope.out)


def _fault(reason: str) -> InvalidValue:
    return InvalidValue(f"template: {reason}", "'{{json .}}' prints every field that there is")


def _walk(nodes: list[Node], scope: _Scope) -> None:
    for node in nodes:
        kind = node[0]
        if kind == "text":
            scope.out.append(node[1])
        elif kind == "print":
            scope.out.append(show(_pipeline(node[1], scope)))
        elif kind == "set":
            value = _pipeline(node[2], scope)
            if not node[3] and node[1] not in scope.variables:
                raise _fault(f"undefined variable {node[1]!r}")
            scope.variables[node[1]] = value
        elif kind == "range":
            _range(node, scope)
        else:
            _branch(node, scope)


def _branch(node: Node, scope: _Scope) -> None:
    kind, names, pipeline, body, other = node
    value = _pipeline(pipeline, scope)
    kept = dict(scope.variables)
    if names:
        scope.variables[names[0]] = value
    if not true(value):
        _walk(other, scope)
    elif kind == "if":
        _walk(body, scope)
    else:
        dot, scope.dot = scope.dot, value
        _walk(body, scope)
        scope.dot = dot
    scope.variables = kept


def _range(node: Node, scope: _Scope) -> None:
    """Lists by index, maps by sorted key, a number n as 0 … n-1; the else branch when there is nothing."""
    _, names, pipeline, body, other = node
    value = _pipeline(pipeline, scope)
    pairs: list[tuple[object, object]]
    if isinstance(value, dict):
        pairs = sorted(value.items())
    elif isinstance(value, (list, tuple)):
        pairs = list(enumerate(value))
    elif isinstance(value, int) and not isinstance(value, bool):
        pairs = [(number, number) for number in range(value)]
    elif value is None or value is MISSING:
        pairs = []
    else:
        raise _fault(f"range can't iterate over {show(value)}")
    if not pairs:
        _walk(other, scope)
        return
    dot, kept = scope.dot, dict(scope.variables)
    for key, item in pairs:
        scope.dot = item
        if len(names) == 2:
            scope.variables[names[0]] = key
        if names:
            scope.variables[names[-1]] = item
        _walk(body, scope)
    scope.dot, scope.variables = dot, kept


def _pipeline(commands: list[list[Node]], scope: _Scope) -> object:
    value: object = MISSING
    for place, command in enumerate(commands):
        value = _command(command, scope, [value] if place else [])
    return value


def _command(operands: list[Node], scope: _Scope, extra: list[object]) -> object:
    head = operands[0]
    if head[0] == "call":
        if head[1] in ("and", "or"):
            return _short_circuit(head[1] == "or", operands[1:], scope, extra)
        return _call(head[1], [_operand(operand, scope) for operand in operands[1:]] + extra)
    value = _operand(head, scope)
    if callable(value):
        return _apply(value, head[1][-1], [_operand(operand, scope) for operand in operands[1:]] + extra)
    if len(operands) > 1 or extra:
        raise _fault("can't give argument to non-function")
    return value


def _short_circuit(stop_on: bool, operands: list[Node], scope: _Scope, extra: list[object]) -> object:
    value: object = None
    for operand in operands:
        value = _operand(operand, scope)
        if true(value) == stop_on:
            return value
    return extra[0] if extra else value


def _operand(operand: Node, scope: _Scope) -> object:
    kind = operand[0]
    if kind == "dot":
        return _field(scope.dot, operand[1])
    if kind == "variable":
        if operand[1] not in scope.variables:
            raise _fault(f"undefined variable {operand[1]!r}")
        return _field(scope.variables[operand[1]], operand[2])
    if kind == "group":
        return _field(_pipeline(operand[1], scope), operand[2])
    if kind == "call":
        return _call(operand[1], [])
    return operand[1]


def _field(value: object, path: tuple[str, ...]) -> object:
    """Descend by name. A callable field (`.Label "key"` of ps) is left for `_call`."""
    for name in path:
        if isinstance(value, dict):
            if name not in value and isinstance(value, Record) and name in value.methods:
                return value.methods[name]
            if name not in value:
                raise _fault(f"executing at <.{'.'.join(path)}>: map has no entry for key {name!r}")
            value = value[name]
        elif value is None or value is MISSING:
            raise _fault(f"executing at <.{'.'.join(path)}>: nil pointer evaluating .{name}")
        else:
            raise _fault(f"executing at <.{'.'.join(path)}>: can't evaluate field {name} in {show(value)}")
    return value


def _call(name: str, arguments: list[object]) -> object:
    function = FUNCTIONS.get(name)
    if function is None:
        raise InvalidValue(
            f'failed to parse template: function "{name}" not defined',
            "'{{json .}}' prints all fields",
        )
    return _apply(function, name, arguments)


def _apply(function: object, name: str, arguments: list[object]) -> object:
    try:
        return function(*arguments)  # type: ignore[operator]
    except (TypeError, AttributeError, LookupError, ValueError, OverflowError, MemoryError):
        raise _fault(f"error calling {name}: wrong number or type of arguments") from None
