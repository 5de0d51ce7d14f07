"""Import and export."""

from __future__ import annotations

from flask import Response, request

from service import importing, transfer
from service.answers import answer_json
from service.api.errors import BadRequestError
from service.api.operations import Call, Operation, choice
from service.importing import EXISTING

LINES = (transfer.CONTENT_TYPE, "application/jsonl", "application/json", "application/octet-stream", "text/plain")


def import_links(call: Call) -> Response:
    """The report; 422 with it if there are mistakes, and then nothing was changed."""
    if request.mimetype not in LINES:
        raise BadRequestError(415, f"The body must be lines of JSON, sent as Content-Type: {transfer.CONTENT_TYPE}.")
    request.max_content_length = importing.MAX_BYTES
    chosen = importing.rules_for(call.person, call.query["existing"], call.query["dry_run"] == "1")
    return answer_json(importing.import_lines(request.stream, chosen).as_json())


def export(_call: Call) -> Response:
    """All links."""
    return answer_export()


def answer_export() -> Response:
    """All links as a file."""
    answer = Response(transfer.export(), mimetype=transfer.CONTENT_TYPE)
    answer.headers["Content-Disposition"] = "attachment; filename=links.jsonl"
    answer.headers["Cache-Control"] = "no-store"
    return answer


OPERATIONS = (
    Operation(
        "POST",
        "/import",
        "Import lines of an export, of golink or of this service: all, or none if one is wrong",
        import_links,
        {200: "ImportReport"},
        scope="write",
        query=(
            choice("dry_run", ("0", "1"), "0", "1: change nothing, and say what would become of each line"),
            choice("existing", EXISTING, "skip", "what becomes of links that are there already"),
        ),
        files=LINES,
        example='{"Short":"docs","Long":"https://docs.example.com/","Owner":""}\n',
    ),
    Operation("GET", "/export", "All links, one a line", export, {200: transfer.CONTENT_TYPE}),
)
