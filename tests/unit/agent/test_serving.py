"""Which release a snapshot says that it is of: the note for this container, else the container's own environment."""

from __future__ import annotations

import socket

import pytest

from orchestrator.agent import serving, store
from orchestrator.agent.serving import Serving

from .conftest import Place, make_database, run_agent

HOST = "0123456789ab"
MADE = {"RELEASE": "r1", "ENGINE": "20"}


@pytest.mark.parametrize(
    ("note", "found"),
    [
        (None, Serving("r1", "20")),
        (Serving("r2", "29").note(HOST + "cdef"), Serving("r2", "29")),
        (Serving("r2", "29").note("another" * 5), Serving("r1", "20")),
        (Serving("r2", "29").note(HOST)[:-5], Serving("r1", "20")),
        ('{"container": "0123456789ab"}', Serving("r1", "20")),
        ("[]", Serving("r1", "20")),
    ],
    ids=["none", "ours", "of a container before", "cut", "half", "something else"],
)
def test_what_serves(place: Place, note: str | None, found: Serving) -> None:
    if note is not None:
        (place.backups / serving.FILE).write_text(note)
    assert serving.read(place.backups, MADE, HOST) == found


def test_a_host_name_of_a_persons_own_is_no_container() -> None:
    assert not Serving("r2").note("abc").startswith(socket.gethostname())
    assert len(HOST) == serving.SHORT


def test_a_scheduled_snapshot_names_them(place: Place) -> None:
    make_database(place.data / "links.db")
    done = run_agent("snapshot", *place.arguments, "--reason", "schedule", **MADE)
    assert done.code == 0, done.stderr
    (entry,) = store.entries(place.backups)
    assert entry.detail is not None
    assert (entry.detail.manifest.release, entry.detail.manifest.engine) == ("r1", "20")
    told = run_agent("snapshot", *place.arguments, "--release", "", **MADE)
    assert told.last["release"] == "", "who says that there is none knows better"
