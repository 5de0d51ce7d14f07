"""The page that imports links: first it shows what would become of each line, then it does it."""

from __future__ import annotations

import io

from flask import render_template, request

from service import auth, importing
from service.views.common import author, blueprint, noted
from service.views.notices import MOST

MAX_BYTES = 1_000_000  # of one form, as much as the proxy lets through; the API takes more


@blueprint.get("/.import")
def import_page() -> str:
    """The form."""
    auth.require("write")
    return _page("", "skip")


@blueprint.post("/.import")
def import_links() -> str | tuple[str, int]:
    """What would become of the lines; with `step=import` what has: all of them are imported, or none."""
    author()
    request.max_content_length = request.max_form_memory_size = MAX_BYTES
    upload = request.files.get("file")
    lines = upload.read() if upload else b""
    if not lines.strip():
        lines = request.form.get("text", "").encode("utf-8", "replace")
    existing = request.form.get("existing", "skip")
    if existing not in importing.EXISTING:
        existing = "skip"
    text = lines.decode("utf-8", "replace")
    if not lines.strip():
        return _page(text, existing, nothing=True), 422
    if request.form.get("step") != "import":
        return _page(text, existing, _import(lines, existing, dry_run=True))
    try:
        with noted() as written:
            report = _import(lines, existing, dry_run=False)
    except importing.ImportRefusedError:
        # What was right when it was looked at is not any more: somebody was quicker.
        return _page(text, existing, _import(lines, existing, dry_run=True)), 409
    undo = f"{written.first}-{written.last}" if 0 <= written.last - written.first < MOST else ""
    return _page("", existing, report, done=True, undo=undo)


def _import(lines: bytes, existing: str, dry_run: bool) -> importing.Report:
    report = importing.import_lines(io.BytesIO(lines), importing.rules_for(auth.require("write"), existing, dry_run))
    report.as_json()  # puts the lines in order
    return report


def _page(
    text: str,
    existing: str,
    report: importing.Report | None = None,
    done: bool = False,
    undo: str = "",
    nothing: bool = False,
) -> str:
    return render_template(
        "import.html", text=text, existing=existing, report=report, done=done, undo=undo, nothing=nothing
    )
