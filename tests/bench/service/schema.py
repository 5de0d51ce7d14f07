"""The API held against its own description by schemathesis, with all of its checks, in this process."""

from __future__ import annotations

import gc
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from flask import Flask
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from service import create_app, db, people
from service.api.operations import known
from service.migrate import migrate
from service.models import Miss, Token

#: What refuses a request that the description allows, beyond the statuses that schemathesis takes for good: rules that
#: a schema can't tell (which addresses are good, which cursors a list gave out, which version a link has).
RULES = ["2xx", "400", "401", "403", "404", "409", "412", "422"]

SLOW = 0.1  # seconds
LARGE = 1_000_000  # bytes


@schemathesis.serializer("application/x-ndjson", "application/jsonl")
def _lines(_context: Any, value: Any) -> bytes:
    """Lines go as they are; what is no text (made to be refused) as JSON."""
    return value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()


@dataclass
class Checked:
    """`requests` by "METHOD /path" and status; `failures` and `slow` answers as lines to read; how many answers were
    large."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    large: int = 0
    failures: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)

    @property
    def never_good(self) -> list[str]:
        """Operations that no request has succeeded with: nothing is known about their answers."""
        good = {operation for operation, status in self.requests if 200 <= status < 300}
        return sorted(
            f"{each.method} /.api{each.path}" for each in known() if f"{each.method} /.api{each.path}" not in good
        )


#: How it is asked: by somebody with a name, since others have no tokens.
SETTINGS = {"LOG_LEVEL": "error", "AUTH": "password"}


def fill(app: Flask) -> dict[str, str]:
    """What the examples in the description are about, so that each of them is answered well; gives the headers that
    requests must have."""
    db.ensure_open()
    people.add("ada", "admin", "correct horse battery")
    own, secret = people.add_token("ada", "schemathesis", frozenset(people.SCOPES), None)
    people.add_token("ada", "to be revoked", frozenset({"read"}), None)
    # Where no number that is tried at random revokes it.
    Token.update(id=10**12).where(Token.id == own.id).execute()
    headers = {"Authorization": f"Bearer {secret}"}
    client = app.test_client()
    client.environ_base |= {"HTTP_AUTHORIZATION": headers["Authorization"]}
    client.post("/.api/links", json={"name": "gone", "url": "https://example.com/"})
    client.delete("/.api/links/gone")
    client.post("/.api/links", json={"name": "encyclopedia", "url": "https://example.com/", "tags": ["a"]})
    client.patch("/.api/links/encyclopedia", json={"name": "wiki"})
    client.patch("/.api/links/wiki", json={"expires": "2030-01-01"})
    client.post("/.api/links", json={"name": "handbook", "url": "https://example.com/"})
    client.patch("/.api/links/handbook", json={"name": "manual"})
    db.ensure_open()
    Miss.create(key="wkii", name="wkii", asked=2, first=1_700_000_000, last=1_700_000_100)
    db.close()
    return headers


def check(
    app: Flask,
    headers: Mapping[str, str],
    examples: int,
    seed: int | None = None,
    only: str = "",
    chains: bool = True,
) -> Checked:
    """Ask every operation in every way that schemathesis has; `examples` for each in its longest phases.
    `only`: this path alone; `chains`: also operations after each other, with what the one before has answered."""
    settings: dict[str, Any] = {
        "headers": dict(headers),
        "generation": {"max-examples": examples},
        "checks": {"positive_data_acceptance": {"expected-statuses": RULES}},
        "phases": {"stateful": {"enabled": chains, "generation": {"max-examples": examples}}},
    }
    if seed is not None:
        settings["seed"] = seed
    schema: Any = schemathesis.openapi.from_wsgi(
        "/.api/openapi.json", app, config=SchemathesisConfig.from_dict(settings)
    )
    if only:
        schema = schema.include(path=only)
    found = Checked()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _note(event.recorder, found)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            found.failures.append(f"schemathesis could not go on: {event!r} {vars_of(event)}")
    return found


def vars_of(event: Any) -> str:
    """What an error event says."""
    return str(getattr(event, "info", None) or getattr(event, "exception", ""))


def _note(recorder: Any, found: Checked) -> None:
    for case, node in recorder.cases.items():
        interaction = recorder.interactions.get(case)
        if interaction is not None and interaction.response is not None:
            label = f"{node.value.method} {node.value.operation.path}"
            found.requests[label, interaction.response.status_code] += 1
            took = interaction.response.elapsed
            if took > SLOW:
                found.slow.append(f"{label} took {took * 1000:.0f} ms, status {interaction.response.status_code}")
            found.large += len(interaction.response.content or b"") > LARGE
        for checked in recorder.checks.get(case, ()):
            if checked.failure_info is not None:
                failure = checked.failure_info
                found.failures.append(f"{checked.name}: {failure.failure.message}\n{failure.code_sample}")


def checked(examples: int) -> Checked:
    """The long run, on a database of its own."""
    with tempfile.TemporaryDirectory() as folder:
        migrate(f"sqlite:///{folder}/links.db")
        app = create_app({"DATABASE_PATH": f"{folder}/links.db", **SETTINGS})
        # Else what schemathesis keeps of all requests is looked through in the middle of one, for a fifth of a second.
        gc.disable()
        try:
            return check(app, fill(app), examples)
        finally:
            gc.enable()
            db.close()
