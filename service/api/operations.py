"""What an operation of the API is: the one table that routes, checks of requests and the OpenAPI document go by."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from service import auth, db
from service.answers import problem
from service.api.errors import BadRequestError
from service.api.shapes import SCHEMAS
from service.auth import Person

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
JSON = "application/json"
MAX_ECHO = 100  # characters of what was sent that an answer repeats


@dataclass(frozen=True)
class Parameter:
    """A query parameter: `read` makes its value of the text, or raises ValueError."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read: Callable[[str], Any]
    default: Any = None

    @property
    def allowed(self) -> str:
        """What the value may be, for the person who sent another one."""
        if "enum" in self.schema:
            return f"one of {', '.join(self.schema['enum'])}"
        if self.schema["type"] == "integer":
            return f"a whole number from {self.schema['minimum']} to {self.schema['maximum']}"
        return f"at most {self.schema['maxLength']} characters"


@dataclass(frozen=True)
class Call:
    """A request that has been checked: who asks, and with what."""

    person: Person
    query: Mapping[str, Any]
    body: Mapping[str, Any]


View = Callable[..., Response]


@dataclass(frozen=True)
class Operation:
    """One method of one path. `answers` are the good ones: status -> name in SCHEMAS, or None for no body.

    `body` is a name in SCHEMAS; `files` are the content types of a body that the view reads itself instead. `matched`:
    If-Match is obeyed. `refusals`: statuses besides those that each such operation has. `example`: of a body; `named`:
    examples of the path's parameters.
    """

    method: str
    path: str
    summary: str
    view: View
    answers: Mapping[int, str | None]
    scope: str = "read"
    query: Sequence[Parameter] = ()
    body: str | None = None
    files: Sequence[str] = ()
    matched: bool = False
    refusals: Sequence[int] = ()
    example: Any = None
    named: Mapping[str, str] = field(default_factory=lambda: {"name": "wiki"})

    @property
    def path_parameters(self) -> list[str]:
        """Their names, in order."""
        return re.findall(r"\{(\w+)\}", self.path)

    def statuses(self) -> list[int]:
        """All refusals that it may answer with, in order."""
        found = {400, 401, 403, 503, *self.refusals}
        if self.path_parameters:
            found.add(404)
        if self.body or self.files:
            found |= {413, 415, 422}
        if self.matched:
            found.add(412)
        return sorted(found)


def text(name: str, longest: int, description: str) -> Parameter:
    """Any text up to `longest` characters; "" if it is not given."""

    def read(value: str) -> str:
        if len(value) > longest:
            raise ValueError
        return value

    return Parameter(name, description, {"type": "string", "maxLength": longest}, read, "")


def number(name: str, default: int | None, highest: int, description: str, lowest: int = 1) -> Parameter:
    """A whole number."""

    def read(value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) <= len(str(highest))):
            raise ValueError
        if not lowest <= int(value) <= highest:
            raise ValueError
        return int(value)

    schema: dict[str, Any] = {"type": "integer", "minimum": lowest, "maximum": highest}
    if default is not None:
        schema["default"] = default
    return Parameter(name, description, schema, read, default)


def choice(name: str, allowed: Sequence[str], default: str | None, description: str) -> Parameter:
    """One of several words."""

    def read(value: str) -> str:
        if value not in allowed:
            raise ValueError
        return value

    schema: dict[str, Any] = {"type": "string", "enum": list(allowed)}
    if default is not None:
        schema["default"] = default
    return Parameter(name, description, schema, read, default)


def make_blueprint(operations: Iterable[Operation]) -> Blueprint:
    """The routes of all operations, and of what is none: an unknown path is 404, another method 405, each a problem."""
    blueprint = Blueprint("api", __name__, url_prefix="/.api")
    methods: dict[str, list[str]] = {}
    for operation in operations:
        methods.setdefault(operation.path, []).append(operation.method)
        _add(blueprint, operation.path, [operation.method], _checked(operation))
        _known.append(operation)
    for path, known in methods.items():
        _add(blueprint, path, [method for method in METHODS if method not in known], _other_method(known))
    _add(blueprint, "/<path:rest>", METHODS, _unknown)
    return blueprint


_known: list[Operation] = []


def known() -> Sequence[Operation]:
    """All operations, in the order of the document."""
    return _known


def _add(blueprint: Blueprint, path: str, methods: Sequence[str], view: View) -> None:
    rule = path.replace("{", "<").replace("}", ">")
    name = re.sub(r"\W+", "_", f"{'_'.join(methods)}{path}").lower()
    blueprint.add_url_rule(rule, name, view, methods=methods, provide_automatic_options=False)


def _checked(operation: Operation) -> View:
    @wraps(operation.view)
    def view(**path: str) -> Response:
        # First of all: who asks may be a row of the database.
        db.ensure_open()
        person = auth.require(operation.scope)
        query = _read_query(operation.query)
        body = _read_body(operation.body) if operation.body else {}
        return operation.view(Call(person, query, body), **path)

    return view


def _other_method(known: Sequence[str]) -> View:
    allowed = [*known, *(["HEAD"] if "GET" in known else []), "OPTIONS"]

    def view(**_path: str) -> Response:
        if request.method == "OPTIONS":
            return Response(status=204, headers={"Allow": ", ".join(allowed)})
        raise MethodNotAllowed(valid_methods=allowed)

    return _refuses(view)


def _refuses(view: View) -> View:
    """Mark a view that is no operation."""
    view.refuses = True  # type: ignore[attr-defined]
    return view


@_refuses
def _unknown(rest: str) -> Response:
    raise NotFound(f"The API has no such address: /.api/{rest[:MAX_ECHO]}. See /.api/openapi.json.")


def _read_query(parameters: Sequence[Parameter]) -> dict[str, Any]:
    values = {parameter.name: parameter.default for parameter in parameters}
    known = {parameter.name: parameter for parameter in parameters}
    for name, sent in request.args.lists():
        parameter = known.get(name)
        if parameter is None:
            names = ", ".join(known) or "none"
            raise BadRequestError(400, f"There is no query parameter {name[:MAX_ECHO]} here; there are: {names}.")
        try:
            if len(sent) > 1:
                raise ValueError
            values[name] = parameter.read(sent[0])
        except ValueError:
            raise BadRequestError(400, f"{name} must be given once, as {parameter.allowed}.") from None
    return values


def _read_body(shape: str) -> dict[str, Any]:
    """The body as an object with no other than the members of SCHEMAS[shape]. Raises BadRequestError."""
    if request.mimetype != JSON:
        raise BadRequestError(415, f"The body must be JSON, sent as Content-Type: {JSON}.")
    try:
        body = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise BadRequestError(400, "The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise BadRequestError(400, "The body must be a JSON object.")
    allowed = SCHEMAS[shape]["properties"]
    if unknown := sorted(set(body) - set(allowed)):
        entries = [{"field": name[:MAX_ECHO], "message": "is not known here"} for name in unknown[:20]]
        raise BadRequestError(422, f"Only {', '.join(sorted(allowed))} can be given here.", errors=entries)
    return body


def refusal(field_name: str, message: str) -> BadRequestError:
    """422 for one member of the body."""
    entries = [{"field": field_name, "message": message}]
    return BadRequestError(422, f"The body is not valid: {field_name}: {message}.", errors=entries)


def not_found(what: str = "link") -> Response:
    """404."""
    return problem(404, f"There is no such {what}.")
