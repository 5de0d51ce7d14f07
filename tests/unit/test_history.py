"""The history of releases: reading it, and which release a rollback goes to."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from orchestrator import history
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.history import DEPLOYED, FAILED, INTERRUPTED, ROLLED_BACK, Record
from orchestrator.release import release_id
from tests.unit.stacks import NOW, RELEASE, STACK, deployed, later, planned


def record(name: str, minute: int, previous: str = "", result: str = DEPLOYED, **more: object) -> Record:
    created = f"2026-11-24T10:{minute:02d}:00+00:00"
    given = {"image_id": f"sha256:{name}", "spec": {"memory": minute * 1024**2}} | more
    return Record(name, created, result, previous=previous, **given)  # type: ignore[arg-type]


A, B, C = record("a1", 1), record("b1", 2, "a1"), record("c1", 3, "b1")
ALL = frozenset({"sha256:a1", "sha256:b1", "sha256:c1", "sha256:d1", "sha256:b2"})


def files(*records: Record) -> dict[str, str]:
    return {entry.file: entry.to_json() for entry in records}


def test_written_and_read() -> None:
    assert history.parse(files(C, A, B)) == (A, B, C), "oldest first"
    assert A.file == "20261124T100100+0000-a1.json"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", '"text"', "{}", '{"release": "x"}', A.to_json()[:50]], ids=range(9)
)
def test_a_broken_file_spoils_no_other(text: str) -> None:
    assert history.parse(files(A) | {"20261124T100000.json": text}) == (A,)


def test_other_files_and_keys_of_a_newer_version_are_passed_over() -> None:
    newer = json.dumps(json.loads(A.to_json()) | {"later": 1})
    assert history.parse({A.file: newer, "x.json.new": "{}", "notes.txt": B.to_json()}) == (A,)


def test_good_are_those_that_served_each_once_the_last_at_the_end() -> None:
    again = record("a1", 5, "c1", action="rollback")
    entries = (A, B, record("x1", 3, "b1", FAILED), record("y1", 3, "b1", ROLLED_BACK), C, again)
    assert list(history.good(entries)) == ["b1", "c1", "a1"]
    assert history.good(entries)["a1"] is again


def test_kept_images() -> None:
    assert history.kept_images((A, B, C), 2) == {"sha256:b1", "sha256:c1"}
    assert history.kept_images((A, B, C, record("a1", 5, "c1")), 2) == {"sha256:c1", "sha256:a1"}
    assert history.kept_images((), 2) == frozenset()


def test_superfluous_are_the_oldest() -> None:
    names = [f"{number:03d}.json" for number in range(history.KEPT + 2)]
    assert history.superfluous(reversed(names)) == ("000.json", "001.json")
    assert history.superfluous(names[: history.KEPT]) == ()


@pytest.mark.parametrize(
    ("records", "live", "images", "wanted"),
    [
        ((A, B, C), "c1", ALL, "b1"),
        ((A, B, C), "b1", ALL, "a1"),
        ((A, B, record("x1", 3, "b1", FAILED), record("d1", 4, "b1")), "d1", ALL, "b1"),
        ((A, B, C), "c1", ALL - {"sha256:b1"}, "a1"),
        ((A, B, C, record("b1", 5, "c1", action="rollback")), "b1", ALL, "a1"),
        ((A, B, record("d1", 6)), "d1", ALL, "b1"),
        ((A, record("b1", 2, "gone"), C), "b1", ALL, "a1"),
    ],
    ids=[
        "the one before",
        "chain",
        "not a failed one",
        "image gone",
        "back, not forward",
        "after down",
        "unknown before",
    ],
)
def test_target(records: tuple[Record, ...], live: str, images: frozenset[str], wanted: str) -> None:
    assert history.target(records, live, "", images).release == wanted


@pytest.mark.parametrize(
    ("records", "live", "images"),
    [
        ((), "", ALL),
        ((A,), "a1", ALL),
        ((A, B), "b1", frozenset()),
        ((A, B), "unknown", ALL),
        ((A, B, record("a1", 5, "b1", action="rollback")), "a1", ALL),
        ((record("a1", 1, "b1"), record("b1", 2, "a1")), "b1", frozenset({"sha256:b1"})),
    ],
    ids=["nothing", "the first", "all images gone", "not in the history", "back at the first", "round in circles"],
)
def test_no_target(records: tuple[Record, ...], live: str, images: frozenset[str]) -> None:
    with pytest.raises(OrchestratorError, match="no earlier good release") as caught:
        history.target(records, live, "", images)
    assert "`releases`" in caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "found"), [("a1", "a1"), ("a", "a1"), ("b1", "b1")], ids=["whole", "beginning", "whole of two"]
)
def test_named(wanted: str, found: str) -> None:
    records = (A, B, record("b1x", 3, "b1"), C)
    images = ALL | {"sha256:b1x"}
    assert history.target(records, "c1", wanted, images).release == found


@pytest.mark.parametrize(
    ("wanted", "kind", "told"),
    [
        ("b", UsageError, "b is the beginning of 2 releases"),
        ("z", UsageError, "z is no release of this project"),
        ("c1", UsageError, "release c1 serves already"),
        ("x1", UsageError, "release x1 never served: it failed"),
        ("y1", UsageError, "release y1 never served: it was rolled back"),
        ("i1", UsageError, "release i1 never served: it was interrupted"),
        ("b2", OrchestratorError, "the image of release b2 is gone"),
    ],
)
def test_named_and_refused(wanted: str, kind: type[OrchestratorError], told: str) -> None:
    bad = (record("x1", 4, "c1", FAILED), record("y1", 5, "c1", ROLLED_BACK), record("i1", 6, "c1", INTERRUPTED))
    with pytest.raises(OrchestratorError, match=told) as caught:
        history.target((A, B, record("b2", 3, "b1"), C, *bad), "c1", wanted, ALL - {"sha256:b2"})
    assert type(caught.value) is kind
    assert caught.value.hint


def test_changes_are_masked() -> None:
    one = replace(A, spec={"memory": 1024**2, "environment": {"API_KEY": "sha256:1", "LOG_LEVEL": "info"}})
    two = replace(B, spec={"memory": 2 * 1024**2, "environment": {"API_KEY": "sha256:2", "LOG_LEVEL": "info"}})
    assert history.changes(two, one) == [
        "image: a1 -> b1",
        "environment.API_KEY: ******** -> ********",
        "memory: 1m -> 2m",
    ]
    assert history.changes(one, None) == []
    assert history.changes(one, one) == []


def test_before_is_the_last_record_of_the_release_before() -> None:
    again = record("a1", 4, "b1")
    assert history.before(C, (A, B, C)) is B
    assert history.before(record("d1", 5, "a1"), (A, B, again)) is again
    assert history.before(A, (A, B)) is None


def test_migrations_since() -> None:
    moved = record("c1", 3, "b1", migrated=True)
    assert history.migrations_since((A, B, moved), A) == (moved,)
    assert history.migrations_since((A, B, moved), moved) == ()


def test_ids_of_releases_are_unique() -> None:
    """Two deployments of one image in one second, as scripts make them."""
    assert release_id(NOW, "sha256:aaaaaaa", [RELEASE]) == "20261124T101503-aaaaaaa"
    assert release_id(NOW, "sha256:aaaaaaa", [RELEASE, "20261124T101503-aaaaaaa"]) == "20261124T101504-aaaaaaa"


def test_an_undisturbed_deployment_is_noted() -> None:
    (noted,) = deployed().observe("shop").records
    assert (noted.release, noted.result, noted.image_id) == (RELEASE, DEPLOYED, "sha256:aaaaaaaaaaaa")
    assert noted.created == NOW.isoformat(timespec="seconds")
    assert noted.spec["memory"] == STACK.service("app").memory
    assert planned(deployed(), now=later()).record is None
