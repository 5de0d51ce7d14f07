"""The templates that targets may hold, read into a tree: a small part of Go's text/template. Pure, and runs nothing.

Every value's type is known when the tree is made, so what can't work is said to the person who types it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from service import patterns
from service.golang import FUNCTIONS, MEMBERS, Function, Page, kind
from service.patterns import ValueProblem
from service.template_text import Action, TemplateError, Text, Token, parts, string

MAX_SOURCE = 2048  # characters
MAX_DEPTH = 10  # of conditions and parentheses inside each other
MAX_PARTS = 100  # values, calls and conditions
MAX_MATCHES = 5  # regular expressions, each of which may take its time


@dataclass(frozen=True)
class Value:
    """A literal."""

    value: Any

    @property
    def type(self) -> type:
        """Of the value."""
        return type(self.value)


@dataclass(frozen=True)
class Dot:
    """What `.` stands for; `root`: what it stands for outside of any `with`."""

    type: type
    root: bool


@dataclass(frozen=True)
class Call:
    """A function, or a field or method of the first argument."""

    name: str
    function: Function
    arguments: tuple[Expression, ...]
    type: type


Expression = Value | Dot | Call


@dataclass(frozen=True)
class Output:
    """A value's text."""

    value: Expression


@dataclass(frozen=True)
class Branch:
    """`if`, or `with`, inside which `.` is the value."""

    value: Expression
    then: tuple[Node, ...]
    otherwise: tuple[Node, ...]
    rebinds: bool


Node = Text | Output | Branch
#: A field or method, and what it is called in the source.
Member = tuple[Token, Function]


def parse(source: str) -> tuple[Node, ...]:
    """The tree of a template. Raises TemplateError."""
    if len(source) > MAX_SOURCE:
        raise TemplateError(MAX_SOURCE, f"the target has more than {MAX_SOURCE} characters")
    return _Reader(source).whole()


@dataclass
class _Reader:
    source: str
    parts: list[Text | Action] = field(init=False)
    place: int = 0
    count: int = 0
    matches: int = 0

    def __post_init__(self) -> None:
        self.parts = list(parts(self.source))

    def whole(self) -> tuple[Node, ...]:
        nodes, ending = self._body(Dot(Page, root=True), 0)
        if ending is not None:
            raise TemplateError(ending.at, f"{{{{{ending.keyword()}}}}} has no if or with that it belongs to")
        return nodes

    def _body(self, dot: Dot, depth: int) -> tuple[tuple[Node, ...], Action | None]:
        """What stands up to the next `else` or `end` of this depth, and that one."""
        nodes: list[Node] = []
        while self.place < len(self.parts):
            part = self.parts[self.place]
            self.place += 1
            if isinstance(part, Text):
                nodes.append(part)
            elif part.keyword() in ("else", "end"):
                return tuple(nodes), part
            elif part.keyword() in ("if", "with"):
                nodes.append(self._branch(part, part.tokens, dot, depth + 1))
            else:
                nodes.append(Output(self._value(part.tokens, part, dot, depth)))
        return tuple(nodes), None

    def _branch(self, action: Action, tokens: Sequence[Token], dot: Dot, depth: int) -> Branch:
        self.counted(action.at, depth)
        value = self._value(tokens[1:], action, dot, depth)
        rebinds = tokens[0].text == "with"
        then, ending = self._body(Dot(value.type, root=False) if rebinds else dot, depth)
        otherwise: tuple[Node, ...] = ()
        if ending is not None and ending.keyword() == "else":
            if len(ending.tokens) > 1 and ending.tokens[1].text in ("if", "with"):
                return Branch(value, then, (self._branch(ending, ending.tokens[1:], dot, depth + 1),), rebinds)
            _nothing_more(ending)
            otherwise, ending = self._body(dot, depth)
        if ending is None or ending.keyword() != "end":
            raise TemplateError(action.at, f"{{{{{tokens[0].text}}}}} is never closed by {{{{end}}}}")
        _nothing_more(ending)
        return Branch(value, then, otherwise, rebinds)

    def _value(self, tokens: Sequence[Token], action: Action, dot: Dot, depth: int) -> Expression:
        return _Values(self, tokens, action.at, dot).whole(depth)

    def counted(self, at: int, depth: int) -> None:
        self.count += 1
        if self.count > MAX_PARTS:
            raise TemplateError(at, f"the template has more than {MAX_PARTS} parts")
        if depth > MAX_DEPTH:
            raise TemplateError(at, f"the template has more than {MAX_DEPTH} conditions or parentheses in each other")


def _nothing_more(action: Action) -> None:
    if len(action.tokens) > 1:
        raise TemplateError(action.tokens[1].at, f"nothing can stand behind {action.keyword()} here")


@dataclass
class _Values:
    """Reads what stands in one action."""

    reader: _Reader
    tokens: Sequence[Token]
    at: int
    dot: Dot
    place: int = 0

    def whole(self, depth: int) -> Expression:
        value = self._pipeline(depth)
        if self.place < len(self.tokens):
            raise TemplateError(self.tokens[self.place].at, "there is no ( for this )")
        return value

    def _next(self) -> Token | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def _pipeline(self, depth: int) -> Expression:
        value = self._command(None, depth)
        while (token := self._next()) and token.text == "|" and token.kind == "mark":
            self.place += 1
            value = self._command(value, depth)
        return value

    def _command(self, piped: Expression | None, depth: int) -> Expression:
        """An operand, or a function or method with its arguments; `piped` is the last of those."""
        token = self._next()
        if token is None or token.text in ("|", ")"):
            raise TemplateError(token.at if token else self.at, "a value is missing")
        if token.kind == "word" and token.text not in ("true", "false"):
            function = FUNCTIONS.get(token.text)
            if function is None:
                known = ", ".join(sorted(FUNCTIONS, key=str.lower))
                raise TemplateError(token.at, f"there is no {token.text} here; functions are {known}")
            self.place += 1
            return self._call(token, function, self._arguments(piped, depth))
        value, member = self._simple(depth)
        given = self._arguments(piped, depth)
        if member is not None:
            return self._call(member[0], member[1], [value, *given])
        if given:
            raise TemplateError(token.at, f"{token.text} takes no arguments")
        return value

    def _arguments(self, piped: Expression | None, depth: int) -> list[Expression]:
        given: list[Expression] = []
        while (token := self._next()) and not (token.kind == "mark" and token.text in "|)"):
            value, member = self._simple(depth)
            given.append(value if member is None else self._call(member[0], member[1], [value]))
        return given if piped is None else [*given, piped]

    def _simple(self, depth: int) -> tuple[Expression, Member | None]:
        """A value with its chain of fields, but for the last of those, which may be a method with arguments."""
        token = self.tokens[self.place]
        self.place += 1
        self.reader.counted(token.at, depth)
        value: Expression
        if token.kind in ("string", "raw"):
            value = Value(string(token))
        elif token.kind == "number":
            if len(token.text) > 10:
                raise TemplateError(token.at, "the number is too large")
            value = Value(int(token.text))
        elif token.kind == "word":
            if token.text not in ("true", "false"):
                raise TemplateError(token.at, f"put {token.text} and what belongs to it into parentheses")
            value = Value(token.text == "true")
        elif token.kind == "root":
            value = Dot(Page, root=True)
        elif token.kind == "dot":
            value = self.dot
        elif token.kind == "field":
            value = self.dot
            self.place -= 1
        elif token.text == "(":
            value = self._pipeline(depth + 1)
            if self._next() is None:
                raise TemplateError(token.at, "a ( is never closed")
            self.place += 1
        else:
            raise TemplateError(token.at, "a value is missing")
        return self._chain(value, token)

    def _chain(self, value: Expression, first: Token) -> tuple[Expression, Member | None]:
        last: Member | None = None
        while (name := self._next()) and name.kind == "field" and (name is first or not name.spaced):
            if last is not None:
                value = self._call(last[0], last[1], [value])
            self.place += 1
            members = MEMBERS.get(value.type, {})
            member = members.get(name.text[1:])
            if member is None:
                has = f"has {', '.join(f'.{known}' for known in members)}" if members else "has no fields"
                raise TemplateError(name.at, f"there is no {name.text}: {kind(value.type)} {has}")
            last = (name, member)
        return value, last

    def _call(self, name: Token, function: Function, arguments: list[Expression]) -> Call:
        """Raises TemplateError for wrong arguments."""
        self.reader.counted(name.at, 0)
        method = name.kind == "field"
        given = arguments[1:] if method else arguments
        called, wanted = name.text, len(function.params)
        if len(given) < wanted or (len(given) > wanted and function.more is None):
            at_least = "at least " if function.more else ""
            raise TemplateError(name.at, f"{called} takes {at_least}{wanted} arguments, not {len(given)}")
        params = [*function.params, *[function.more or object] * (len(given) - wanted)]
        for number, (value, param) in enumerate(zip(given, params, strict=True), 1):
            if value.type is not object and param is not object and kind(value.type) != kind(param):
                told = f"{called} takes {kind(param)} as argument {number}, not {kind(value.type)}"
                raise TemplateError(name.at, told)
        self._looked_at(name, given)
        types = {value.type for value in given}
        result = types.pop() if called in ("and", "or") and len(types) == 1 else function.result
        return Call(called, function, tuple(arguments), result)

    def _looked_at(self, name: Token, given: Sequence[Expression]) -> None:
        """What only the values' types, or a literal, tell."""
        if name.text == "Match":
            self.reader.matches += 1
            if self.reader.matches > MAX_MATCHES:
                raise TemplateError(name.at, f"the template has more than {MAX_MATCHES} regular expressions")
            if not isinstance(given[0], Value):
                raise TemplateError(
                    name.at, "Match takes a regular expression in quotes first, and then what is searched"
                )
            try:
                patterns.compiled(given[0].value)
            except ValueProblem as problem:
                raise TemplateError(name.at, f"the target {problem}") from None
        if name.text in ("eq", "ne", "lt", "le", "gt", "ge"):
            kinds = [kind(value.type) for value in given if value.type is not object]
            if "a time" in kinds or (name.text not in ("eq", "ne") and "a truth value" in kinds):
                raise TemplateError(name.at, f"{name.text} can't compare {kinds[0]}")
            if len(set(kinds)) > 1:
                raise TemplateError(name.at, f"{name.text} can't compare {kinds[0]} with {kinds[1]}")
