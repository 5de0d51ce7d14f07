"""The API is what its description says: schemathesis asks every operation in every way it has."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.bench.service import schema

# Of the libraries' own; they are not what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Without a line of log for each statement: there are thousands."""
    return {**environment, **schema.SETTINGS}


def test_the_description_is_true(app: Flask) -> None:
    found = schema.check(app, schema.fill(app), examples=1, seed=1, chains=False)
    assert not found.failures, "\n\n".join(found.failures[:5])
    assert not found.never_good


def test_the_description_has_every_route_of_links_and_no_other(app: Flask, client: FlaskClient) -> None:
    described = client.get("/.api/openapi.json").json
    assert described is not None
    assert described["openapi"] == "3.1.0"
    routed = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if rule.endpoint.startswith("api.") and not getattr(app.view_functions[rule.endpoint], "refuses", False)
    }
    ours = {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert ours == {each for each in routed if each[1] not in ("head", "options")} - {("/.api/openapi.json", "get")}


def test_a_false_description_is_found_out(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.api import shapes

    headers = schema.fill(app)
    monkeypatch.setitem(shapes.SCHEMAS["Tags"]["properties"]["more"], "type", "integer")
    found = schema.check(app, headers, examples=1, seed=1, only="/.api/tags")
    assert any("response_schema_conformance" in failure for failure in found.failures)
