"""The OpenAPI document, made of the table of operations and of the schemas that the code itself goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response

from service import auth, db
from service.answers import answer_json
from service.api.operations import JSON, Operation, known
from service.api.shapes import NAME, SCHEMAS, TEXT

PROBLEM = "application/problem+json"
REFUSALS = {
    400: "The request can't be read: a parameter, a cursor or the body's JSON",
    401: "Nobody is signed in, or the token is not good",
    403: "Whoever asks may not do this",
    404: "There is no such link, or what else the address names",
    409: "Another link has the name; it is in `link`",
    412: "The link is not as If-Match says any more; what it is now is in `link`",
    413: "The body is too large",
    415: "The body is of another type",
    422: "What the body says can't be; `errors` has each mistake. There are rules that a schema can't tell, such as "
    "which addresses and names are good",
    503: "The data can't be reached at the moment; try again",
}
ABOUT = (
    "Links by their names. Times are UTC, to the second. A link's ETag names its version: send it as If-Match with a "
    "change, and the change is made only if nobody was quicker. Members and parameters that are not described are "
    "refused."
)


def register(blueprint: Blueprint) -> None:
    """Add the document's route."""
    blueprint.add_url_rule("/openapi.json", "openapi", _answer, methods=["GET"])


def _answer() -> Response:
    db.ensure_open()
    auth.require("read")
    return answer_json(document())


def document() -> dict[str, Any]:
    """The document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in known():
        path = paths.setdefault(f"/.api{operation.path}", {})
        path[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Go links", "version": "1", "description": ABOUT},
        "paths": paths,
        "security": [{}, {"token": []}],
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, shape in operation.answers.items():
        answers[str(status)] = _answered(status, shape)
    for status in operation.statuses():
        answers[str(status)] = {"description": REFUSALS[status], "content": {PROBLEM: {"schema": _ref("Problem")}}}
    described: dict[str, Any] = {
        "operationId": operation.view.__module__.rpartition(".")[2] + "." + operation.view.__name__,
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": answers,
    }
    if operation.body:
        body = {"schema": _ref(operation.body), "example": operation.example}
        described["requestBody"] = {"required": True, "content": {JSON: body}}
    if operation.files:
        lines = {
            "schema": {"type": "string", "description": "JSON lines, as /.api/export gives them"},
            "example": operation.example,
        }
        described["requestBody"] = {"required": True, "content": dict.fromkeys(operation.files, lines)}
    return described


def _answered(status: int, shape: str | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": {200: "Done", 201: "Made", 204: "Done; there is nothing to say"}[status]}
    if shape in SCHEMAS:
        answer["content"] = {JSON: {"schema": _ref(str(shape))}}
    elif shape:
        answer["content"] = {shape: {"schema": {"type": "string"}}}
    headers = {}
    if shape == "Link":
        headers["ETag"] = {"required": True, "schema": {"type": "string"}, "description": "the link's version"}
    if shape == "Link" and status == 201:
        headers["Location"] = {"required": True, "schema": {"type": "string"}}
    return {**answer, "headers": headers} if headers else answer


def _parameters(operation: Operation) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": TEXT if name == "token" else NAME,
            "example": operation.named[name],
        }
        for name in operation.path_parameters
    ]
    found += [
        {"name": each.name, "in": "query", "description": each.description, "schema": each.schema}
        for each in operation.query
    ]
    if operation.matched:
        found.append(
            {
                "name": "If-Match",
                "in": "header",
                "description": "the ETag of the version that the change is meant for",
                "schema": {"type": "string"},
            }
        )
    return found


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
