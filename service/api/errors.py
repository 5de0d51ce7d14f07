"""What goes wrong in the API, as problem documents."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from service import search, store
from service.answers import problem
from service.api.shapes import as_json
from service.importing import ImportRefusedError
from service.links import InvalidLinkError
from service.models import Link


class BadRequestError(Exception):
    """The request can't be used as it is; what `service.answers.problem` needs to say so."""

    def __init__(self, status: int, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.more = more


class ChangedMeanwhileError(Exception):
    """If-Match named another version of the link than this one."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.name)
        self.link = link


def register(blueprint: Blueprint) -> None:
    """Have the blueprint answer all of them."""
    blueprint.register_error_handler(BadRequestError, _bad_request)
    blueprint.register_error_handler(InvalidLinkError, _invalid)
    blueprint.register_error_handler(ChangedMeanwhileError, _changed_meanwhile)
    blueprint.register_error_handler(store.LinkExistsError, _taken)
    blueprint.register_error_handler(store.NoSuchChangeError, _no_such_change)
    blueprint.register_error_handler(search.BadCursorError, _bad_cursor)
    blueprint.register_error_handler(ImportRefusedError, _import_refused)


def _bad_request(error: BadRequestError) -> Response:
    return problem(error.status, error.detail, **error.more)


def _invalid(error: InvalidLinkError) -> Response:
    entries = [{"field": field, "message": message} for field, message in error.errors.items()]
    return problem(422, f"The link is not valid: {error}.", errors=entries)


def _changed_meanwhile(error: ChangedMeanwhileError) -> Response:
    detail = f"{error.link.name} is not as If-Match says any more: look at it again, and change what is there now."
    answer = problem(412, detail, link=as_json(error.link))
    answer.headers["ETag"] = store.etag(error.link)
    return answer


def _taken(error: store.LinkExistsError) -> Response:
    answer = problem(409, f"{error.link.name} exists already.", link=as_json(error.link))
    answer.headers["ETag"] = store.etag(error.link)
    return answer


def _no_such_change(error: store.NoSuchChangeError) -> Response:
    return problem(404, str(error))


def _bad_cursor(_error: search.BadCursorError) -> Response:
    return problem(400, "cursor is not one that this list gave out.")


def _import_refused(error: ImportRefusedError) -> Response:
    return problem(422, str(error), **error.report.as_json())
