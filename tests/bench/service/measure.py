"""All of `python -m tests.bench service`: redirects beside a bare Flask, memory over a million requests, and pages of a
large database. A real stack on the engine; wrk (`apt-get install wrk`) and the engine are on this machine.

Parts, for `--only`: schema, redirects, memory, pages.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from tests.bench.service import schema, wrk
from tests.bench.service.hello import address, hello
from tests.bench.snapshots.bounds import Bound, all_met, table
from tests.engine.stack import Project, copy_checkout, removed, until
from tests.peers import bases

#: What the issue allows: times a bare Flask, bytes, ms.
RATIO, MEMORY, PAGE = 1.15, 120e6, 50.0
#: What may come on top between a quarter of the requests and all of them; pools and caches fill up slowly.
GROWTH = 5e6
LINKS, CLICKS = 100_000, 10_000_000
MB = 1e6
#: Of each operation of the API, in each of schemathesis's longest phases.
EXAMPLES = 100
#: Times that each page is asked for.
ASKED = 20

#: What a person waits for, for `pages`; {name} is a link's, {cursor} one of the middle of the list.
PAGES = {
    "home": "/",
    "home, most followed first": "/?sort=clicks&order=desc",
    "home, a search": "/?q=roadmap",
    "list, the API's": "/.api/links?limit=50",
    "list, most followed first": "/.api/links?limit=50&sort=clicks&order=desc",
    "search, three letters": "/.api/links?q=roa",
    "search, a word": "/.api/links?q=roadmap",
    "search, two words": "/.api/links?q=payments+roadmap",
    "search, nothing found": "/.api/links?q=nothingatall",
    "a link, the API's": "/.api/links/{name}",
    "detail": "/.detail/{name}",
    "names asked for and not found": "/.missing",
}
NAMES = "import apsw\nfor row in apsw.Connection('/data/links.db').execute('SELECT name FROM link'): print(*row)"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Stand:
    """A stack with `LINKS` links. `direct` is the app's own address, `behind` the proxy's."""

    client: docker.DockerClient
    project: Project
    folder: Path
    names: Sequence[str]

    @property
    def direct(self) -> str:
        return f"http://{address(self.project.one('app'))}:8000"

    @property
    def behind(self) -> str:
        # Not by the port that is published here: the engine's own relay for loopback takes as much time as Nginx.
        return f"http://{address(self.project.one('proxy'))}:8080"

    def script(self) -> Path:
        return wrk.script(self.folder, "links", [f"/{name}" for name in self.names])


@contextlib.contextmanager
def stand(links: int, clicks: int) -> Iterator[Stand]:
    client = docker.from_env(timeout=900)
    with tempfile.TemporaryDirectory() as folder:
        root = copy_checkout(Path(folder) / "checkout")
        with removed(Project(client, bases(client), root)) as project:
            say("the stack")
            project.run("deploy")
            say(f"{links} links, {clicks} clicks")
            project.run("exec", "app", "flask", "seed", "--links", str(links), "--clicks", str(clicks), seconds=1800)
            names = project.run("exec", "app", "python", "-c", NAMES).stdout.split()
            assert len(names) == links
            yield Stand(client, project, Path(folder), names)


def redirects(where: Stand, rounds: int, seconds: float) -> list[Bound]:
    """In turn: a machine that slows down slows all of them."""
    found: list[Bound] = []
    ours = where.script()
    theirs, nothing = (wrk.script(where.folder, name, [f"/{name}"]) for name in ("", "nothing"))
    with hello(where.client, where.project) as (hello_direct, hello_behind):
        for title, asked in {
            "through gunicorn": ((where.direct, ours), (hello_direct, theirs), (hello_direct, nothing)),
            "through the proxy": ((where.behind, ours), (hello_behind, theirs), (hello_behind, nothing)),
        }.items():
            say(f"redirects {title}")
            for url, paths in asked:
                wrk.run(url, paths, 2)  # what is done only once
            runs = [[wrk.run(url, paths, seconds) for url, paths in asked] for _ in range(rounds)]
            for links, bare, least in runs:
                say(f"  {links.rate:.0f}, {bare.rate:.0f}, {least.rate:.0f}/s; p99 {links.p99:.1f}, {bare.p99:.1f} ms")
            found += compared(title, [run[0] for run in runs], [run[1] for run in runs])
            limit = statistics.median(least.rate / bare.rate for _, bare, least in runs)
            found.append(
                Bound(f"an answer {title} that takes no time at all / a bare Flask's", f"{limit:.2f}", "-", True)
            )
    return found


def compared(title: str, links: Sequence[wrk.Load], bare: Sequence[wrk.Load]) -> list[Bound]:
    """The rows of one way: ratios of the pairs, their median."""
    ratio = statistics.median(a.rate / b.rate for a, b in zip(links, bare, strict=True))
    tail = statistics.median(a.p99 / b.p99 for a, b in zip(links, bare, strict=True))
    rates = [statistics.median(one.rate for one in some) for some in (links, bare)]
    tails = [statistics.median(one.p99 for one in some) for some in (links, bare)]
    wrong = sum(one.wrong for one in (*links, *bare))
    return [
        Bound(
            f"redirects/s {title} / a bare Flask's answers ({rates[0]:.0f} and {rates[1]:.0f})",
            f"{ratio:.2f}",
            f"at least {RATIO}",
            ratio >= RATIO,
        ),
        Bound(
            f"p99 of those / its p99 ({tails[0]:.1f} and {tails[1]:.1f} ms)", f"{tail:.2f}", "at most 1", tail <= 1.0
        ),
        Bound(f"answers {title} that were errors", str(wrong), "0", wrong == 0),
    ]


def memory(where: Stand, requests: int) -> tuple[list[Bound], str]:
    """The app container's, after a quarter, half and all of the requests."""
    script, done = where.script(), 0
    # Started anew, for the seeding has left more than the service needs.
    where.project.one("app").restart(timeout=40)
    until(lambda: where.project.health()["app"] == "running healthy", 60, "the app is healthy")
    app = where.project.one("app")
    found = {0: used(app)}
    for upto in (requests // 4, requests // 2, requests):
        while done < upto:
            load = wrk.run(where.direct, script, 5)
            assert load.requests, "nothing was answered"
            done += load.requests
        found[done] = used(app)
        say(f"  {found[done].own / MB:.0f} MB after {done} requests, {found[done].shown / MB:.0f} with cached files")
    sizes = [one.own for one in found.values()]
    most, grown = max(sizes), sizes[-1] - sizes[1]
    lines = ["| requests | app container's memory | with cached files (`docker stats`) |", "|---|---|---|"]
    lines += [f"| {number} | {one.own / MB:.1f} MB | {one.shown / MB:.1f} MB |" for number, one in found.items()]
    return [
        Bound(
            f"app container's memory, up to {done} requests", f"{most / MB:.0f} MB", "at most 120 MB", most <= MEMORY
        ),
        Bound(f"grown after the first {requests // 4}", f"{grown / MB:.1f} MB", "at most 5 MB", grown <= GROWTH),
    ], "\n".join(lines)


@dataclass(frozen=True)
class Used:
    """In bytes. `own`: all but files' cache, which the kernel takes back when it needs to; of the database here, which
    is larger than the bound. `shown`: with the part of that cache that is in use, as `docker stats` has it."""

    own: float
    shown: float


def used(container: Container) -> Used:
    stats: Any = container.stats(stream=False)
    usage, details = float(stats["memory_stats"]["usage"]), stats["memory_stats"].get("stats", {})
    # With the first version of control groups the names begin with total_.
    active, inactive = (
        float(details.get(f"total_{name}", details.get(name, 0))) for name in ("active_file", "inactive_file")
    )
    return Used(usage - active - inactive, usage - inactive)


def pages(where: Stand) -> tuple[list[Bound], str]:
    """Each page `ASKED` times, from this machine to the app: the median counts."""
    lines = ["| page | median | worst | size |", "|---|---|---|---|"]
    rows: list[Bound] = []
    asked = {title: path.format(name=where.names[7]) for title, path in PAGES.items()}
    script = (
        "import json, sys, time, urllib.error, urllib.request as r\n"
        "o = r.build_opener(r.ProxyHandler({}))\n"
        "def ask(path):\n"
        "    b = time.perf_counter()\n"
        "    try:\n"
        "        with o.open('http://127.0.0.1:8000' + path) as a: status, size = a.status, len(a.read())\n"
        "    except urllib.error.HTTPError as e: status, size = e.code, 0\n"
        "    return status, size, (time.perf_counter() - b) * 1000\n"
        f"print(json.dumps({{t: [ask(p) for _ in range({ASKED})] for t, p in json.loads(sys.argv[1]).items()}}))"
    )
    # Asked inside the container: the time in the app, and little else.
    found = json.loads(where.project.run("exec", "app", "python", "-c", script, json.dumps(asked)).stdout)
    slowest = 0.0
    for title, answers in found.items():
        status, size, _ = answers[-1]
        times = [took for _, _, took in answers]
        if status != 200:
            lines.append(f"| {title} (`{PAGES[title]}`) | - | - | answered with {status} |")
            continue
        slowest = max(slowest, statistics.median(times))
        cells = [f"{title} (`{PAGES[title]}`)", f"{statistics.median(times):.1f} ms", f"{max(times):.0f} ms"]
        lines.append(f"| {' | '.join(cells)} | {size / 1000:.0f} kB |")
    figure = f"slowest page with {len(where.names)} links (median of {ASKED})"
    rows.append(Bound(figure, f"{slowest:.1f} ms", f"at most {PAGE:.0f} ms", slowest <= PAGE))
    return rows, "\n".join(lines)


def description() -> list[Bound]:
    """The API held against its own description, for long; in this process."""
    say("the API against its description")
    found = schema.checked(EXAMPLES)
    for line in (*found.failures, *found.slow):
        say(f"  {line}")
    total = sum(found.requests.values())
    failed, large = len(found.failures) + len(found.never_good), found.large
    return [
        Bound(f"failures that schemathesis finds in {total} requests", str(failed), "0", failed == 0),
        Bound("answers over 1 MB among them", str(large), "0", large == 0),
        Bound("answers slower than 100 ms among them", str(len(found.slow)), "0", not found.slow),
    ]


def measured(only: str, rounds: int, requests: int, links: int = LINKS, clicks: int = CLICKS) -> tuple[str, bool]:
    """The tables, as Markdown, and whether all bounds are met; `only`: the parts with this in their names."""
    rows: list[Bound] = []
    tables: list[str] = []
    if only in "schema":
        rows += description()
        if only:
            return table(rows), all_met(rows)
    with stand(links, clicks) as where:
        parts: dict[str, Callable[[], tuple[list[Bound], str]]] = {
            "redirects": lambda: (redirects(where, rounds, 5), ""),
            "memory": lambda: memory(where, requests),
            "pages": lambda: pages(where),
        }
        for name, part in parts.items():
            if only in name:
                began = time.monotonic()
                found, more = part()
                say(f"  {name}: {time.monotonic() - began:.0f} s")
                rows += found
                tables += [more] if more else []
    return "\n\n".join([table(rows), *tables]), all_met(rows)
