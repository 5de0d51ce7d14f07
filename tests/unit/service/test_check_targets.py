"""Dead targets, asked of a real server on this machine."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flask import Flask

from service import check_targets
from service.check_targets import check, check_all, main, read_links


class Answers(BaseHTTPRequestHandler):
    """/200 is answered with 200 and so on; some paths do more."""

    def do_HEAD(self) -> None:
        self.answer(405 if self.path == "/no-head" else None)

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/no-head" else None)

    def answer(self, status: int | None) -> None:
        if self.path == "/drips":
            for _ in range(100):
                self.wfile.write(b"H")
                time.sleep(0.1)
            return
        elsewhere = {"/round": "/round", "/moved": "/200", "/lost": "/404", "/file": "file:///etc/passwd"}
        if self.path in elsewhere:
            self.send_response(302)
            self.send_header("Location", elsewhere[self.path])
        else:
            self.send_response(status or int(self.path.removeprefix("/")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The server's address."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    listening.daemon_threads = True
    listening.block_on_close = False
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("/200", "ok"),
        ("/204", "ok"),
        ("/no-head", "ok"),
        ("/moved", "ok"),
        ("/401", "ok"),
        ("/403", "ok"),
        ("/404", "dead"),
        ("/410", "dead"),
        ("/500", "dead"),
        ("/lost", "dead"),
        ("/round", "dead"),
        ("/file", "unchecked"),
    ],
)
def test_what_an_answer_says(server: str, path: str, state: str) -> None:
    found = check("a", server + path, private=True)
    assert found.state == state, found
    assert found.reason


def test_a_private_address_is_not_asked(server: str) -> None:
    for url in (
        server + "/200",
        "http://localhost/",
        "http://[::1]/",
        "http://169.254.169.254/latest/",
        "http://10.1.2.3/",
    ):
        found = check("a", url, timeout=1)
        assert found.state == "unchecked", found
        assert "private" in found.reason


def test_nor_where_a_redirect_leads(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(_method: str, url: str, private: bool, _timeout: float) -> tuple[int, str | None]:
        asked.append(url)
        if "public" in url:
            return 302, server + "/200"
        check_targets._address("127.0.0.1", 80, private)
        raise AssertionError("asked")

    monkeypatch.setattr(check_targets, "_request", answer)
    assert check("a", "http://public.example/").state == "unchecked"
    assert asked == ["http://public.example/", server + "/200"]


def test_what_does_not_end_is_ended(server: str) -> None:
    start = time.monotonic()
    assert check("a", server + "/drips", private=True, timeout=0.3).state == "dead"
    assert time.monotonic() - start < 3


def test_nobody_listens_or_no_such_host() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert check("a", f"http://127.0.0.1:{taken.getsockname()[1]}/", private=True).state == "dead"
    found = check("a", "http://nowhere.invalid/", timeout=2)
    assert (found.state, found.reason) == ("dead", "there is no such host: nowhere.invalid")


def test_a_template_and_other_schemes_are_left_out() -> None:
    assert check("a", "https://example.com/{{.Path}}").state == "unchecked"
    assert check("a", "mailto:a@example.com").state == "unchecked"


def test_all_in_their_order(server: str) -> None:
    links = [(f"n{number}", f"{server}/{200 if number % 3 else 404}") for number in range(30)]
    found = list(check_all(links, private=True))
    assert [finding.name for finding in found] == [name for name, _ in links]
    assert [finding.state for finding in found].count("dead") == 10


def test_the_command(server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps({"Short": name, "Long": f"{server}/{name}"}) for name in ("200", "404")]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    assert main(["--private"]) == 1
    out = capsys.readouterr()
    assert out.out.split()[:2] == ["dead", "404"]
    assert out.err == "1 ok, 1 dead, 0 unchecked\n"

    monkeypatch.setattr("sys.stdin", io.StringIO(lines[0]))
    assert main(["--private", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "ok"

    monkeypatch.setattr("sys.stdin", io.StringIO("no export"))
    assert main([]) == 2
    assert "line 1" in capsys.readouterr().err


def test_of_the_database(server: str, app: Flask) -> None:
    client = app.test_client()
    for name in ("200", "404"):
        client.post("/.api/links", json={"name": f"n{name}", "url": f"{server}/{name}"})
    done = app.test_cli_runner().invoke(args=["check-targets", "--private", "--json"])
    assert done.exit_code == 1
    assert '"name": "n404"' in done.output
    assert "1 ok, 1 dead" in done.output


def test_lines_of_an_export() -> None:
    assert list(read_links(['{"Short": "a", "Long": "https://b"}', "", '{"Short": "c", "Long": "d"}'])) == [
        ("a", "https://b"),
        ("c", "d"),
    ]
