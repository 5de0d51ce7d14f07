"""Static files: names by content, published whole and additively."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.assets import Assets, PublishError, hashed_name, load, publish


def _assets(name: str, body: bytes) -> Assets:
    return Assets({name: hashed_name(name, body)}, {hashed_name(name, body): body})


def test_pages_refer_to_what_the_application_serves(client: FlaskClient) -> None:
    addresses = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', client.get("/").text))
    assert len(addresses) == 3
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
    assert client.get("/static/app.css").status_code == 404
    assert client.get("/static/../service/db.py").status_code == 404


def test_publishing_adds_and_repeats_nothing(tmp_path: Path) -> None:
    old, new = _assets("app.css", b"old"), _assets("app.css", b"new")
    assert publish(old, tmp_path) == list(old.content)
    assert publish(old, tmp_path) == []
    publish(new, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {**old.content, **new.content}
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in tmp_path.iterdir())


def test_a_torn_file_is_mended(tmp_path: Path) -> None:
    assets = _assets("app.css", b"whole")
    name = next(iter(assets.content))
    (tmp_path / name).write_bytes(b"wh")
    assert publish(assets, tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == b"whole"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="can't be published"):
        publish(_assets("app.css", b"x"), tmp_path / "none")


def test_the_own_files_load() -> None:
    assert set(load().hashed) == {"app.css", "app.js", "icon.svg"}
