"""The proxy's image at work, before a stand-in application that answers with what it was asked."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest

from tests.engine.proxy_bench import Bench
from tests.engine.stack import until

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def images(client: docker.DockerClient, bases: Mapping[str, str]) -> Mapping[str, str]:
    return {
        target: str(client.images.build(path=str(ROOT), target=target, buildargs=dict(bases), rm=True)[0].id)
        for target in ("app", "proxy")
    }


@pytest.fixture
def bench(client: docker.DockerClient, images: Mapping[str, str]) -> Iterator[Bench]:
    """An application under the name `app` and a proxy before it."""
    made = Bench(client, images, f"proxytest-{uuid.uuid4().hex[:8]}")
    client.networks.create(f"{made.name}-in", internal=True)
    client.networks.create(f"{made.name}-out")
    for suffix in ("static", "up"):
        client.volumes.create(f"{made.name}-{suffix}")
    try:
        made.app("app")
        made.proxy()
        yield made
    finally:
        made.remove()


def test_what_the_app_is_told(bench: Bench) -> None:
    answer = bench.ask(
        "/",
        Host="go.example:8080",
        X_Request_ID="chosen-by-the-client",
        X_Forwarded_For="6.6.6.6",
        X_Forwarded_Proto="https",
        X_Forwarded_Host="evil.example",
        Forwarded="for=6.6.6.6",
        Proxy="http://evil.example",
    )
    told = dict(answer.json["headers"])
    assert told["host"] == told["x-forwarded-host"] == "go.example:8080"
    assert "6.6.6.6" not in json.dumps(told)
    assert told["x-forwarded-for"] == told["x-real-ip"]
    assert told["x-forwarded-proto"] == "http"
    assert "proxy" not in told
    # One id, the proxy's: to the app, to the client and in the log.
    assert len(told["x-request-id"]) == 32
    assert answer.all("X-Request-ID") == [told["x-request-id"]]
    # Nginx writes the line after it has answered, and the engine takes a moment to read it.
    until(lambda: told["x-request-id"] in bench.log(), 10, "the request in the access log", every=0.02)
    line = next(json.loads(line) for line in bench.log().splitlines() if told["x-request-id"] in line)
    assert (line["method"], line["uri"], line["status"], line["upstream_status"]) == ("GET", "/", 200, "200")
    assert line["request_time"] >= 0


def test_a_host_that_is_none_is_not_passed_on(bench: Bench) -> None:
    answer = bench.ask("/", Host="go.example/evil")
    assert answer.status == 400 or dict(answer.json["headers"])["host"] != "go.example/evil"


def test_headers_are_sent_once_and_the_apps_own_win(bench: Bench) -> None:
    for path, frame in (("/", "DENY"), ("/framed", "SAMEORIGIN"), ("/.proxy/health", "DENY"), ("/static/no", "DENY")):
        answer = bench.ask(path)
        assert answer.all("X-Frame-Options") == [frame]
        assert answer.all("X-Content-Type-Options") == ["nosniff"]
        assert len(answer.all("Referrer-Policy")) == len(answer.all("X-Request-ID")) == 1
        assert answer.all("Server") == ["nginx"]


def test_a_long_header_of_the_app_comes_through(bench: Bench) -> None:
    """Such as the target of a redirect."""
    answer = bench.ask("/long")
    assert (answer.status, [len(value) for value in answer.all("X-Long")]) == (200, [12000])


def test_connections_to_the_app_are_kept(bench: Bench) -> None:
    # Two workers, each with its own: many requests need few connections.
    assert len({bench.ask("/").json["peer"] for _ in range(12)}) <= 4


def test_compression(bench: Bench) -> None:
    answer = bench.ask("/", Accept_Encoding="gzip")
    assert answer.all("Content-Encoding") == ["gzip"]
    assert answer.all("Vary") == ["Accept-Encoding"]
    assert len(answer.body) < 1000


def test_static_files(bench: Bench) -> None:
    writer = "echo 'body{}' | tee /static/app.0123456789ab.css >/static/plain.css"
    bench.client.containers.run(
        bench.images["app"],
        ["sh", "-c", writer],
        remove=True,
        network_mode="none",
        volumes={f"{bench.name}-static": {"bind": "/static"}},
    )
    hashed = bench.ask("/static/app.0123456789ab.css")
    assert hashed.status == 200
    assert hashed.all("Content-Type") == ["text/css; charset=utf-8"]
    assert hashed.all("Cache-Control") == ["public, max-age=31536000, immutable"]
    assert bench.ask("/static/app.0123456789ab.css", If_None_Match=hashed.all("ETag")[0]).status == 304
    assert bench.ask("/static/plain.css").all("Cache-Control") == ["no-cache"]
    # What is not on the volume is the app's to answer, and to say how long it may be kept.
    for path in ("/static/app.ba9876543210.css", "/static/"):
        missing = bench.ask(path)
        assert missing.status == 200
        assert b'"name": "app"' in missing.body
        assert len(missing.all("Cache-Control")) <= 1
    for path in ("/static../etc/nginx/nginx.conf", "/static/%2e%2e/etc/nginx/nginx.conf"):
        assert b"worker_processes" not in bench.ask(path).body


def test_too_large_a_body_never_reaches_the_app(bench: Bench) -> None:
    assert bench.ask("/", "POST", b"x" * 1_000_000).status == 200
    assert bench.ask("/", "POST", b"x" * 1_100_000).status == 413


def test_an_import_may_be_larger(bench: Bench) -> None:
    """And past what the proxy's memory holds: it is passed on as it comes."""
    for path in ("/.import", "/.api/import?dry_run=1"):
        assert bench.ask(path, "POST", b"x" * 30_000_000).status == 200
        assert bench.ask(path, "POST", b"x" * 35_000_000).status == 413
    assert bench.ask("/.api/importer", "POST", b"x" * 1_100_000).status == 413


def test_the_probe(bench: Bench) -> None:
    proxy = bench.containers["proxy"]
    code, said = proxy.exec_run(["probe", "8080", "/.proxy/health"])
    assert (code, said.strip()) == (0, b"ok")
    code, said = proxy.exec_run(["probe", "8080", "busy"])
    assert code == 1
    assert said
    code, said = proxy.exec_run(["probe", "8099", "/"])
    assert code == 1
    assert said.strip()
    assert "/.proxy/health" not in bench.log()


def test_an_app_that_is_gone(bench: Bench) -> None:
    busy = bench.ask("/busy")
    assert busy.status == 503
    assert busy.json["name"] == "app"
    bench.containers["app"].kill()
    for method in ("GET", "POST"):
        page = bench.ask("/wiki", method, Accept="text/html,*/*")
        assert page.status in {502, 504}
        assert page.all("Content-Type") == ["text/html; charset=utf-8"]
        assert page.all("Retry-After") == ["2"]
        assert page.all("Cache-Control") == []
        assert b"Back in a moment" in page.body
        assert b"nginx" not in page.body.lower()
        # No other host and no file: the page is whole by itself.
        assert b"http:" not in page.body
        assert b"src=" not in page.body
    for answer in (bench.ask("/.api/links"), bench.ask("/wiki", Accept="application/json")):
        assert answer.status in {502, 504}
        assert answer.json["error"] == "unavailable"
        assert answer.all("Content-Type") == ["application/json; charset=utf-8"]
    assert bench.ask("/.proxy/health").status == 200
    assert bench.ask("/.proxy/pages/unavailable.html").status == 404


def test_a_reload_takes_the_new_upstream(bench: Bench) -> None:
    proxy = bench.containers["proxy"]
    bench.app("candidate")
    bench.point_at("candidate")
    assert proxy.exec_run(["nginx", "-t", "-q"]).exit_code == 0
    assert bench.ask("/").json["name"] == "app"
    proxy.kill("SIGHUP")
    time.sleep(0.5)
    assert bench.ask("/").json["name"] == "candidate"
    bench.point_at("nobody")
    refused = proxy.exec_run(["nginx", "-t", "-q"])
    assert refused.exit_code == 1
    assert b"host not found" in refused.output
    assert bench.ask("/").json["name"] == "candidate"


def test_a_start_without_the_named_release_falls_back(bench: Bench) -> None:
    proxy = bench.containers["proxy"]
    bench.point_at("gone")
    proxy.stop(timeout=10)
    bench.start_proxy()
    assert bench.ask("/").json["name"] == "app"
    said = [line for line in bench.log().splitlines() if line.startswith("proxy: ")]
    assert len(said) == 1
    assert 'host not found in upstream "gone:8000"' in said[0]
    assert bench.upstream() == (ROOT / "config/nginx/upstream/upstream.conf").read_text()


def test_a_start_with_nothing_behind_keeps_the_record(bench: Bench) -> None:
    proxy = bench.containers["proxy"]
    bench.point_at("gone")
    proxy.stop(timeout=10)
    bench.containers["app"].kill()
    proxy.start()
    assert proxy.wait(timeout=30)["StatusCode"] == 1
    bench.app("gone")
    bench.start_proxy()
    assert bench.ask("/").json["name"] == "gone"


def test_it_stops_at_once_when_idle(bench: Bench) -> None:
    started = time.monotonic()
    bench.containers["proxy"].stop(timeout=20)
    assert time.monotonic() - started < 5
    assert bench.containers["proxy"].wait()["StatusCode"] == 0
