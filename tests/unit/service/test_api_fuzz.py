"""Whatever is sent, nothing crashes and no answer is large."""

from __future__ import annotations

import io
import json
from typing import Any

from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import db, transfer
from service.fields import check_fields, check_some
from service.importing import ImportRefusedError, Rules, import_lines
from service.links import InvalidLinkError, fold, is_name, name_problem

LARGEST = 1_000_000  # bytes
BOUNDS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
VALUES = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner), max_leaves=6
)
NAMES = st.text(max_size=120) | st.sampled_from(["wiki", "WI-KI", "static", "-", "a" * 100, "İ" * 50])
URLS = st.sampled_from(
    ["https://example.com/", "https://ex ample.com", "javascript:1", "http://[", "https://é.example/"]
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMES | VALUES,
        "url": URLS | VALUES,
        "owner": VALUES,
        "description": VALUES,
        "tags": VALUES | st.lists(st.text(max_size=60), max_size=25),
        "expires": VALUES | st.sampled_from(["9999-12-31T23:59:59-23:59", "0001-01-01", "2026-02-30"]),
        "names": VALUES | st.lists(NAMES, max_size=3),
        "change": VALUES | st.integers(),
    },
)
MEMBERS = st.dictionaries(st.sampled_from(transfer.MEMBERS), VALUES | NAMES | URLS, max_size=8)


@BOUNDS
@given(body=BODIES | VALUES, name=NAMES.filter(lambda name: "\x00" not in name))
def test_bodies(app: Flask, body: Any, name: str) -> None:
    client = app.test_client()
    sent = json.dumps(body).encode()
    path = f"/.api/links/{''.join(f'%{byte:02X}' for byte in name.encode('utf-8', 'replace'))}"
    for method, address in (
        ("POST", "/.api/links"),
        ("PATCH", path),
        ("POST", f"{path}/undo"),
        ("POST", "/.api/undelete"),
        ("POST", "/.api/bulk"),
        ("POST", "/.api/import"),
        ("GET", path),
    ):
        answer = client.open(address, method=method, data=sent, content_type="application/json")
        assert answer.status_code < 500, (method, address, sent)
        assert len(answer.data) < LARGEST


@BOUNDS
@given(text=st.text(max_size=250), tag=st.text(max_size=60), cursor=st.text(max_size=40) | st.binary().map(repr))
def test_searches(app: Flask, text: str, tag: str, cursor: str) -> None:
    client = app.test_client()
    for query in ({"q": text, "tag": tag}, {"q": text, "sort": "clicks"}, {"cursor": cursor}, {tag: text}):
        answer = client.get("/.api/links", query_string=query)
        assert answer.status_code in (200, 400), (query, answer.text)


@BOUNDS
@given(lines=st.lists(MEMBERS.map(lambda line: json.dumps(line).encode()) | st.binary(max_size=40), max_size=6))
def test_imports(app: Flask, lines: list[bytes]) -> None:
    db.ensure_open()
    try:
        import_lines(io.BytesIO(b"\n".join(lines)), Rules("ann", existing="replace"))
    except ImportRefusedError as refused:
        assert len(json.dumps(refused.report.as_json())) < LARGEST
    exported = b"".join(transfer.export())
    again = import_lines(io.BytesIO(exported), Rules("ann", existing="replace", dry_run=True))
    assert (again.failed, again.created, again.replaced) == (0, 0, 0)


@settings(BOUNDS, max_examples=100)
@given(name=NAMES | VALUES, body=BODIES)
def test_names_and_fields(name: Any, body: dict[str, Any]) -> None:
    if name_problem(name) is None:
        assert is_name(name.strip()) or not name.isascii()
        assert fold(fold(name)) == fold(name)
    checked = {key: value for key, value in body.items() if key not in ("names", "change")}
    try:
        fields = check_fields(checked)
    except InvalidLinkError as error:
        assert error.errors
        return
    # What is clean stays as it is.
    assert check_some(vars(fields) | {"expires": None}) == vars(fields) | {"expires": None}
