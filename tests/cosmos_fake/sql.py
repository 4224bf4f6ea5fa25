"""The part of the query language that the fake understands, as functions of a document.

Knows how such a query is read, and what it means where a property is missing or of another type: the result is
*undefined*, which is neither true nor false. What it cannot read raises `Unreadable`, so that a query which only the
service could answer never gets an answer from here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Value = Callable[[dict[str, Any], Mapping[str, Any]], Any]


class Unreadable(ValueError):
    """The query is outside of the subset."""


class Undefined:
    """What a missing property is, and what compares with another type."""


UNDEFINED: Final = Undefined()
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>-?\d+(?:\.\d+)?)|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<word>[@A-Za-z_][A-Za-z0-9_]*)|(?P<sign><=|>=|!=|<>|[=<>()\[\]{},.:*]))"""
)
_RANKS = {type(None): 1, bool: 2, int: 4, float: 4, str: 5, list: 6, dict: 7}


@dataclass
class Query:
    """A query, taken apart; *source* has the text of its parts, for the plan that rewrites it."""

    alias: str = "c"
    select: Value | None = None
    where: Value | None = None
    order: list[tuple[tuple[str, ...], bool]] = field(default_factory=list)
    counts: bool = False
    source: dict[str, str] = field(default_factory=dict)

    def takes(self, document: dict[str, Any], parameters: Mapping[str, Any]) -> bool:
        """Tell whether *document* is one of the results."""
        return self.where is None or self.where(document, parameters) is True

    def key(self, document: dict[str, Any]) -> tuple[Any, ...]:
        """Return what the results are sorted by."""
        return tuple(_Key(_at(document, path), down=down) for path, down in self.order)

    def row(self, document: dict[str, Any], parameters: Mapping[str, Any]) -> Any:
        """Return what the query selects of *document*."""
        return document if self.select is None else self.select(document, parameters)


class _Key:
    """A value that sorts as the service sorts: by type, then by value."""

    def __init__(self, value: Any, *, down: bool) -> None:
        self.rank: tuple[Any, ...] = (0,) if value is UNDEFINED else (_RANKS[type(value)], value)
        if value is None:
            self.rank = (1,)
        self.down = down

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.rank == other.rank

    def __lt__(self, other: _Key) -> bool:
        return self.rank > other.rank if self.down else self.rank < other.rank

    __hash__ = None  # type: ignore[assignment]


def parse(text: str) -> Query:
    """Read *text*; raise `Unreadable` for what is not in the subset."""
    return _Parser(text).query()


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return UNDEFINED
        document = document[name]
    return document


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.place, self.alias, self.counting = text, 0, "c", False
        found = re.search(r"\bFROM\s+(\w+)", text, re.IGNORECASE)
        if found:
            self.alias = found.group(1)

    # ---- tokens

    def peek(self) -> str:
        """Return the next token, '' at the end."""
        if not self.text[self.place :].strip():
            return ""
        found = _TOKEN.match(self.text, self.place)
        if found is None:
            msg = f"no token at {self.place} of {self.text!r}"
            raise Unreadable(msg)
        return found.group().strip()

    def take(self, *wanted: str) -> str:
        """Take the next token if it is one of *wanted* (any, without them); else return ''."""
        token = self.peek()
        if not token or (wanted and token.upper() not in wanted):
            return ""
        found = _TOKEN.match(self.text, self.place)
        assert found is not None
        self.place = found.end()
        return token

    def need(self, *wanted: str) -> str:
        """As `take`; raise `Unreadable` where it is another."""
        token = self.take(*wanted)
        if not token:
            msg = f"{wanted or 'a token'} expected at {self.place} of {self.text!r}"
            raise Unreadable(msg)
        return token

    # ---- the query

    def query(self) -> Query:
        """Read all of it."""
        made = Query(alias=self.alias)
        self.need("SELECT")
        start = self.place
        made.select = self.selection()
        made.counts = self.counting
        made.source["select"] = self.text[start : self.place].strip()
        self.need("FROM"), self.need()
        if self.take("WHERE"):
            start = self.place
            made.where = self.either()
            made.source["where"] = self.text[start : self.place].strip()
        if self.take("ORDER"):
            self.need("BY")
            start = self.place
            made.order = [self.ordering()]
            while self.take(","):
                made.order.append(self.ordering())
            made.source["order"] = self.text[start : self.place].strip()
        if self.peek():
            msg = f"{self.peek()} is outside of the subset"
            raise Unreadable(msg)
        return made

    def selection(self) -> Value | None:
        """Read what is selected; None for all of it."""
        if self.take("*"):
            return None
        if self.take("VALUE"):
            return self.count() if self.take("COUNT") else self.operand()
        parts = [self.named()]
        while self.take(","):
            parts.append(self.named())

        def row(document: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
            values = {name: value(document, parameters) for name, value in parts}
            return {name: value for name, value in values.items() if value is not UNDEFINED}

        return row

    def count(self) -> Value:
        """Read the only aggregate of the subset: all documents, counted."""
        self.need("("), self.need("1"), self.need(")")
        self.counting = True
        return _constant(1)

    def named(self) -> tuple[str, Value]:
        """Read one of the values that are selected, and its name."""
        start = self.place
        value = self.operand()
        name = self.text[start : self.place].strip().rpartition(".")[2]
        if self.take("AS"):
            name = self.need()
        return name, value

    def ordering(self) -> tuple[tuple[str, ...], bool]:
        """Read a property to sort by, and whether downwards."""
        path = self.path(self.need())
        return path, self.take("ASC", "DESC").upper() == "DESC"

    # ---- conditions

    def either(self) -> Value:
        """Read conditions joined by OR."""
        parts = [self.both()]
        while self.take("OR"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else _joined(parts, ends=True)

    def both(self) -> Value:
        """Read conditions joined by AND."""
        parts = [self.condition()]
        while self.take("AND"):
            parts.append(self.condition())
        return parts[0] if len(parts) == 1 else _joined(parts, ends=False)

    def condition(self) -> Value:
        """Read one comparison, or one in brackets, or the opposite of one."""
        if self.take("NOT"):
            inner = self.condition()

            def opposite(document: dict[str, Any], parameters: Mapping[str, Any]) -> Any:
                found = inner(document, parameters)
                return not found if isinstance(found, bool) else UNDEFINED

            return opposite
        if self.take("("):
            grouped = self.either()
            self.need(")")
            return grouped
        left = self.operand()
        if sign := self.take("=", "!=", "<>", "<", "<=", ">", ">="):
            return _compared(sign, left, self.operand())
        return self.choice(left) if self.take("IN") else left

    def choice(self, left: Value) -> Value:
        """Read the values of which *left* must be one."""
        self.need("(")
        choices = [self.operand()]
        while self.take(","):
            choices.append(self.operand())
        self.need(")")
        last: list[Any] = [None, None]  # the parameters of one query, and what they make of the choices

        def chosen(document: dict[str, Any], parameters: Mapping[str, Any]) -> Any:
            if last[0] is not parameters:
                values = [choice(document, parameters) for choice in choices]
                last[:] = [parameters, {(_RANKS[type(value)], value) for value in values}]
            value = left(document, parameters)
            return UNDEFINED if value is UNDEFINED else (_RANKS[type(value)], value) in last[1]

        return chosen

    def operand(self) -> Value:
        """Read a value: a literal, a parameter, a property, a call, an array, an object."""
        token = self.need()
        if token in {"[", "{"}:
            return self.array() if token == "[" else self.object()
        if token[0] == "@":
            return lambda _, parameters: parameters[token]
        if token[0] in "\"'":
            return _constant(json.loads(f'"{token[1:-1]}"'))
        if token[0].isdigit() or token[0] == "-" or token.lower() in {"true", "false", "null"}:
            return _constant(json.loads(token.lower()))
        if self.peek() == "(":
            return self.call(token.upper())
        path = self.path(token)
        return lambda document, _: _at(document, path)

    def path(self, token: str) -> tuple[str, ...]:
        """Read the rest of a property that begins with *token*, the alias."""
        if token != self.alias:
            msg = f"{token} is outside of the subset"
            raise Unreadable(msg)
        names = []
        while self.take("."):
            names.append(self.need())
        return tuple(names)

    def call(self, name: str) -> Value:
        """Read the arguments of a function."""
        self.need("(")
        arguments = [self.operand()]
        while self.take(","):
            arguments.append(self.operand())
        self.need(")")
        if name == "IS_DEFINED" and len(arguments) == 1:
            return lambda document, parameters: arguments[0](document, parameters) is not UNDEFINED
        msg = f"the function {name} is outside of the subset"
        raise Unreadable(msg)

    def array(self) -> Value:
        """Read the rest of an array."""
        parts = [self.operand()]
        while self.take(","):
            parts.append(self.operand())
        self.need("]")
        return lambda document, parameters: [part(document, parameters) for part in parts]

    def object(self) -> Value:
        """Read the rest of an object."""
        parts = [self.member()]
        while self.take(","):
            parts.append(self.member())
        self.need("}")

        def made(document: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
            values = {name: value(document, parameters) for name, value in parts}
            return {name: value for name, value in values.items() if value is not UNDEFINED}

        return made

    def member(self) -> tuple[str, Value]:
        """Read a name and its value."""
        name = json.loads(self.need())
        self.need(":")
        return name, self.operand()


def _constant(value: Any) -> Value:
    return lambda _document, _parameters: value


def _joined(parts: list[Value], *, ends: bool) -> Value:
    """Join by OR (*ends* True) or AND: the first result that decides, else undefined if one of them was."""

    def decided(document: dict[str, Any], parameters: Mapping[str, Any]) -> Any:
        answer: Any = not ends
        for part in parts:
            found = part(document, parameters)
            if found is ends:
                return ends
            if not isinstance(found, bool):
                answer = UNDEFINED
        return answer

    return decided


def _compared(sign: str, left: Value, right: Value) -> Value:
    def compared(document: dict[str, Any], parameters: Mapping[str, Any]) -> Any:
        one, other = left(document, parameters), right(document, parameters)
        if one is UNDEFINED or other is UNDEFINED or _RANKS[type(one)] != _RANKS[type(other)]:
            return UNDEFINED
        if sign in {"=", "!=", "<>"}:
            return (one == other) is (sign == "=")
        if one is None or isinstance(one, list | dict):
            return UNDEFINED
        return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign]

    return compared
