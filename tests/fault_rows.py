"""The rows of the fault table that are played on a project that serves."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests import standin
from tests.engine.stack import Result, until
from tests.faults import GRACE, Fault, Ran, Row, Stage, listener, run, words


def _exits_at_once(stage: Stage) -> None:
    stage.command("echo no such table: sheep >&2; exit 7")


def _exits_later(stage: Stage) -> None:
    stage.command("sleep 1.5; echo the sheep are out >&2; exit 8")


def _never_healthy(stage: Stage) -> None:
    never = f"command = {words('sh', '-c', 'echo the sheep sleep; exit 1')}"
    stage.settings(('path = "/health"', never), ('start_period = "30s"', 'start_period = "1s"'))


def _missing_binary(stage: Stage) -> None:
    stage.settings((standin.COMMAND, 'command = ["no-such-program"]\n'))


def _too_many_cpus(stage: Stage) -> None:
    line = '"/static" }\nmemory = "256m"\ncpus = '
    stage.settings((f"{line}1.0", f"{line}512.0"))


def _memory(stage: Stage) -> None:
    script = "print('eating', flush=True); x = b'x' * 1_000_000_000"
    stage.settings((standin.COMMAND, f"command = {words('python', '-c', script)}\n"))


def _local_only(stage: Stage) -> None:
    stage.settings(('path = "/health"', f'path = "{standin.LOCAL_PATH}"'))


def _migration(stage: Stage) -> None:
    standin.migrating(stage.project.root, stage.number)


def _migration_undone(stage: Stage, result: Result, row: Row) -> None:
    snapshots = [entry["snapshot"] for entry in stage.project.json("backups")["snapshots"]]
    row.must(any(name in result.stdout for name in snapshots), f"none of {snapshots} is named in {result.stdout}")


def _hook(stage: Stage, when: str) -> None:
    hook = words("sh", "-c", "echo the hook says no; exit 9")
    (line,) = (line for line in stage.good.splitlines() if line.startswith(f"{when} = ["))
    stage.settings((line, f"{when} = [{hook}]"))


def _nothing_done(stage: Stage, result: Result, row: Row) -> None:
    done = [step["step"] for step in result.json.get("steps", []) if "seconds" in step]
    row.must(set(done) <= {"build-image", "run-hook"}, f"done: {done}")


@contextlib.contextmanager
def _port_taken(stage: Stage) -> Iterator[None]:
    # Entered before `deploy` runs; the traffic goes on where the old one listens.
    with listener() as port:
        stage.project.more["HTTP_PORT"] = str(port)
        try:
            yield
        finally:
            del stage.project.more["HTTP_PORT"]


def _stubborn(stage: Stage) -> None:
    """What serves before is a release whose program never hears of SIGTERM, since its parent keeps it to itself."""
    stage.command("trap '' TERM; gunicorn -c /opt/app/gunicorn.conf.py 'service.standin:create_app()' & wait")
    stage.number += 1
    standin.change(stage.project.root, stage.number)
    stage.project.run("deploy")
    stage.config.write_text(stage.good)


def _killed_after_its_grace(stage: Stage, result: Result, row: Row) -> None:
    codes = [event.code for event in stage.events.found if event.action == "die" and event.service == "app"]
    row.must(codes == ["137"], f"the old one ended with {codes}")
    seconds = [step["seconds"] for step in result.json["steps"] if step["step"] == "stop-container"]
    row.must(len(seconds) == 1 and GRACE <= seconds[0] < GRACE + 3, f"its stop took {seconds} s of {GRACE} s grace")


def _two(stage: Stage) -> Ran:
    """The first one's result; the second one's is left in `stage.second`."""
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run, stage.project, "deploy")
        until(lambda: stage.project.lock() or first.done(), 60, "the first one has the lock", 0.05)
        stage.second = stage.project.run("deploy", check=False)
        assert not first.done(), "the first one has ended before the second one"
        return first.result()


def _second_refused(stage: Stage, result: Result, row: Row) -> None:
    row.code = f"{result.code}, the second one {stage.second.code}"
    row.must(stage.second.code == 4, f"the second one: {stage.second}")
    said = re.search(
        r"another deployment of \S+ is under way: \S+ on \S+ \(process \d+\), since 20", stage.second.stderr
    )
    row.must(said, f"the second one says: {stage.second.stderr}")
    standin.slow(stage.project.root)


FAULTS = (
    Fault("exits at once", _exits_at_once, ("app exited with code 7", "no such table: sheep"), exits=True),
    Fault("exits after 1.5 s", _exits_later, ("app exited with code 8", "the sheep are out"), exits=True),
    Fault("never healthy", _never_healthy, ("app did not become healthy", "the sheep sleep")),
    Fault(
        "missing binary",
        _missing_binary,
        ("app exited with code 127", "exec no-such-program failed: No such file or directory"),
        exits=True,
    ),
    Fault("the engine refuses the container", _too_many_cpus, ("ange of CPUs",)),
    Fault(
        "killed for memory", _memory, ("app exited with code 137 (killed, perhaps for memory)", "eating"), exits=True
    ),
    Fault(
        "the old release ignores SIGTERM",
        lambda _: None,
        code=0,
        served="new",
        new_seen=True,
        before=_stubborn,
        check=_killed_after_its_grace,
    ),
    Fault(
        "two at once",
        lambda stage: standin.slow(stage.project.root, boot_seconds=2.0),
        code=0,
        served="new",
        new_seen=True,
        run=_two,
        check=_second_refused,
    ),
    Fault(
        "healthy, but no answer through the proxy",
        _local_only,
        ("the new release does not answer through the proxy", standin.LOCAL_PATH),
        new_seen=True,
    ),
    Fault(
        "failing migration",
        _migration,
        ("the migration failed with code 1", "this migration is broken"),
        check=_migration_undone,
    ),
    Fault(
        "failing hook before",
        lambda stage: _hook(stage, "before"),
        ("ended with code 9", "the hook says no"),
        check=_nothing_done,
    ),
    Fault(
        "failing hook after",
        lambda stage: _hook(stage, "after"),
        ("ended with code 9", "the hook says no"),
        new_seen=True,
    ),
    Fault("HTTP_PORT changes to one that is taken", _port_taken, ("is in use by",), new_seen=True),
)
