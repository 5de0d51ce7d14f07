"""The verbs: call, print, exit code.

Until a verb runs, only the standard library is imported: help needs no more.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import bootstrap
from orchestrator.arguments import INIT_OPTIONS, PROGRAM, parser
from orchestrator.errors import FAILED, Interrupted, OrchestratorError, UsageError

if TYPE_CHECKING:
    from orchestrator.report import Reporter
    from orchestrator.session import Session

ROOT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str]) -> int:
    """Runs one command line and returns the process's exit code."""
    top = parser()
    try:
        options = top.parse_args(argv)
    except UsageError as error:
        return bootstrap.tell(error, json="--json" in argv)
    for name, value in (("environment", "production"), ("json", False), ("verbose", False), ("yes", False)):
        setattr(options, name, getattr(options, name, value))
    if options.verb is None:
        top.print_help()
        return 0
    try:
        return VERBS[options.verb](options)
    except KeyboardInterrupt:
        return bootstrap.tell(Interrupted("interrupted"), json=options.json)
    except BrokenPipeError:
        # Whoever read our output has had enough (`| head`); Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OrchestratorError as error:
        if options.verbose:
            import traceback

            traceback.print_exc()
        return bootstrap.tell(error, json=options.json)


def _give_way() -> None:
    """On the machine of the service, its requests come first: this process takes what time they leave."""
    os.nice(10)


def _reporter(options: argparse.Namespace) -> Reporter:
    from orchestrator.report import Reporter

    return Reporter(verbose=options.verbose)


def _session(options: argparse.Namespace) -> Session:
    from orchestrator.engine import connect
    from orchestrator.session import Session
    from orchestrator.settings import load
    from orchestrator.stack import build_stack

    settings = load(ROOT, options.environment, os.environ)
    return Session(settings, build_stack(settings), connect(settings.engine_environment), _reporter(options))


@contextmanager
def _until_interrupted(endless: bool) -> Iterator[None]:
    """What goes on until Ctrl-C has ended well when that comes."""
    try:
        yield
    except KeyboardInterrupt:
        if not endless:
            raise


def _answer(options: argparse.Namespace, result: dict[str, Any], text: str) -> int:
    """Prints a verb's result: one JSON document, or the text for people."""
    from orchestrator.report import document

    print(document(result) if options.json else text)
    return 0


def _ask(options: argparse.Namespace) -> Callable[[str], bool] | None:
    """How a person is asked: None where nobody can answer."""
    from orchestrator.packages import terminal

    return (lambda _: True) if options.yes else terminal()


def _consent(options: argparse.Namespace, why: str) -> Callable[[str], None]:
    """A question that must be answered with yes before something goes on; where nobody can be asked, `why` is told."""
    ask = _ask(options)

    def confirm(question: str) -> None:
        if ask is None:
            raise UsageError(f"{why}.", hint="say so with --yes.")
        if not ask(question):
            raise UsageError("nothing was done.")

    return confirm


def setup(options: argparse.Namespace, *, consent: bool = False) -> int:
    from orchestrator.setup import setup as run

    result = run(
        ROOT, options.environment, consent=consent or options.yes, ask=_ask(options), report=_reporter(options)
    )
    images = ", ".join(result["images"].values())
    return _answer(options, result, f"ready: engine {result['engine']}, base images {images}")


def init(options: argparse.Namespace) -> int:
    from orchestrator import init as verb

    given = {name: getattr(options, name) for name in INIT_OPTIONS if hasattr(options, name)}
    ask = None if options.yes else verb.terminal()
    if ask is None and not options.yes:
        raise UsageError(
            "init asks, and nobody can answer here.", hint="--yes takes what it suggests; see its options."
        )
    result = verb.init(ROOT, options.folder, given, ask, environ=os.environ)
    return _answer(options, result, verb.text(result))


def deploy(options: argparse.Namespace) -> int:
    if options.setup:
        from orchestrator.setup import setup as prepare

        prepare(ROOT, options.environment, consent=True, ask=None, report=_reporter(options))
    from orchestrator.deploy import deploy as run

    _give_way()
    result = run(_session(options), no_build=options.no_build)
    if result["result"] == "unchanged":
        return _answer(options, result, f"nothing to do: release {result['release']} serves at {result['url']}")
    text = f"release {result['release']} serves at {result['url']} ({result['seconds']:.1f} s)"
    return _answer(options, result, text)


def releases(options: argparse.Namespace) -> int:
    from orchestrator import releases as verb

    result = verb.releases(_session(options))
    return _answer(options, result, verb.text(result))


def rollback(options: argparse.Namespace) -> int:
    from orchestrator.deploy import rollback as run

    _give_way()
    confirm = _consent(options, "going back over a migration runs the older release on the newer schema")
    result = run(_session(options), options.release, confirm)
    if result["result"] == "unchanged":
        return _answer(options, result, f"nothing to do: release {result['release']} serves at {result['url']}")
    text = f"back to release {result['release']}, which serves at {result['url']} ({result['seconds']:.1f} s)"
    return _answer(options, result, text)


def maintenance(options: argparse.Namespace) -> int:
    from orchestrator import maintenance as verb

    result = verb.maintenance(_session(options), options.state)
    return _answer(options, result, verb.text(result))


def plan(options: argparse.Namespace) -> int:
    from orchestrator.deploy import plan as run

    result = run(_session(options))
    lines = [
        f"{step['step'].replace('-', ' ')} {step['target']}" + (f" ({step['cause']})" if step["cause"] else "")
        for step in result["steps"]
    ]
    return _answer(options, result, "\n".join(lines) or "nothing to do: everything is as the settings want it")


def status(options: argparse.Namespace) -> int:
    from orchestrator import status as verb

    max_age = verb.allowed_age(options.max_age)
    session = _session(options)
    if not options.watch:
        state = verb.status(session, max_age)
        _answer(options, state, verb.text(state))
        return 0 if state["snapshot_age"]["ok"] else FAILED
    if max_age:
        raise UsageError("--watch and --max-age do not go together", hint="`--max-age` is for a monitoring program.")
    if options.json:
        raise UsageError("--watch and --json do not go together", hint="call `status --json` as often as you like.")
    with _until_interrupted(True):
        verb.watch(session)
    return 0


def backup(options: argparse.Namespace) -> int:
    from orchestrator.backups import backup as run
    from orchestrator.report import size

    result = run(_session(options), options.to)
    text = f"snapshot {result['snapshot']}: {size(result['bytes'])}, sha256 {result['sha256']}"
    text += f"\ncopied to {result['file']}" if "file" in result else ""
    text += "".join(f"\n{one['snapshot']} is on {one['remote']}" for one in result.get("copied", ()))
    return _answer(options, result, text)


def backups(options: argparse.Namespace) -> int:
    from orchestrator import rehearse
    from orchestrator.backups import backups as run
    from orchestrator.report import size, table

    result = run(_session(options), options.remote)
    rows = [
        [
            entry["snapshot"],
            entry.get("created", "-"),
            size(entry["bytes"]) if entry.get("bytes") else "-",
            entry.get("release") or "-",
            rehearse.short(entry.get("rehearsed")),
            ", ".join(entry.get("kept", ())) or "-",
            f"broken: {entry['error']}" if entry.get("error") else entry.get("reason", ""),
        ]
        for entry in result["snapshots"]
    ]
    columns = ["SNAPSHOT", "CREATED", "SIZE", "RELEASE", "REHEARSED", "KEPT AS", "REASON"]
    text = table(columns, rows) if rows else "no snapshots yet"
    return _answer(options, result, text)


def verify(options: argparse.Namespace) -> int:
    from orchestrator import rehearse
    from orchestrator.restore import Wanted
    from orchestrator.restore import verify as run

    wanted = Wanted(options.snapshot, options.remote, options.key)
    if options.rehearse:
        _give_way()
    result = (rehearse.rehearse if options.rehearse else run)(_session(options), wanted)
    rows = sum(database["rows"] for database in result["databases"])
    databases = ", ".join(database["path"] for database in result["databases"])
    what = f"{databases or 'no databases'} with {rows} rows, {result['files']} files"
    more = f"\n{rehearse.text(result['rehearsal'])}" if options.rehearse else ""
    return _answer(options, result, f"snapshot {result['snapshot']} is good: {what}{more}")


def restore(options: argparse.Namespace) -> int:
    from orchestrator.restore import Wanted
    from orchestrator.restore import restore as run

    if bool(options.snapshot) == bool(options.at):
        raise UsageError("restore wants a SNAPSHOT or --at TIME.", hint="`backups` lists the snapshots.")
    wanted = Wanted(options.snapshot, options.remote, options.key)
    confirm = _consent(options, "restore replaces the data")
    result = run(_session(options), wanted, confirm, at=options.at)
    text = f"restored {result['restored']} ({result['seconds']:.1f} s)"
    if options.at:
        text += f", as of the last change before it ({result['state_of']})"
    if result["undo"]:
        text += f"; what was there before is snapshot {result['safety_snapshot']}: `{result['undo']}` brings it back"
    return _answer(options, result, text)


def logs(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from orchestrator import logs as verb

    if options.json:
        raise UsageError("logs has no --json", hint="the services write JSON lines; `logs app | cat` shows them.")
    want = verb.wanted(
        tail=options.tail,
        level=options.level,
        request=options.request,
        since=options.since,
        until=options.until,
        now=datetime.now(UTC),
    )
    session = _session(options)
    with _until_interrupted(options.follow):
        verb.logs(session, options.service, want, follow=options.follow)
    return 0


def watch(options: argparse.Namespace) -> int:
    from orchestrator.watch import watch as run

    if options.json:
        raise UsageError("watch has no --json", hint="`status --json` says how things are.")
    run(_session(options))
    return 0


def execute(options: argparse.Namespace) -> int:
    from orchestrator.logs import execute as run

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise UsageError("exec needs a command", hint=f"for example: {PROGRAM} exec app sh")
    return run(_session(options), options.service, command)


def down(options: argparse.Namespace) -> int:
    from orchestrator.deploy import down as run

    session = _session(options)
    if options.volumes:
        confirm = _consent(options, "down --volumes deletes the data and all snapshots")
        confirm(f"Delete the volumes of {session.stack.project}: its data and all its snapshots?")
    result = run(session, volumes=options.volumes)
    kept = "" if options.volumes else "; the data is kept"
    return _answer(options, result, "nothing to do" if result["result"] == "unchanged" else f"down{kept}")


def doctor(options: argparse.Namespace) -> int:
    from orchestrator import doctor as verb

    result = verb.doctor(ROOT, options.environment, os.environ)
    _answer(options, result, verb.text(result))
    return 0 if result["ok"] else FAILED


def compose(options: argparse.Namespace) -> int:
    from orchestrator.compose import FILE, render
    from orchestrator.settings import for_compose
    from orchestrator.stack import build_stack

    text = render(build_stack(for_compose(ROOT, options.environment, os.environ)))
    path = ROOT / FILE
    current = path.is_file() and path.read_text(encoding="utf-8") == text
    if options.check and not current:
        raise OrchestratorError(f"{FILE} is not what the settings give", hint=f"run `{PROGRAM} compose`.")
    if not current:
        path.write_text(text, encoding="utf-8")
    return _answer(options, {"file": FILE, "current": current}, f"{FILE} is current" if current else f"wrote {FILE}")


def completion(options: argparse.Namespace) -> int:
    from orchestrator import completion as verb

    if options.of in ("snapshots", "releases"):
        words = verb.words(_session(options), options.of)
        return _answer(options, {options.of: words}, "\n".join(words))
    text = verb.script(options.of)
    return _answer(options, {"script": text}, text)


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "setup": setup,
    "init": init,
    "deploy": deploy,
    "plan": plan,
    "releases": releases,
    "rollback": rollback,
    "status": status,
    "backup": backup,
    "backups": backups,
    "maintenance": maintenance,
    "verify": verify,
    "restore": restore,
    "logs": logs,
    "watch": watch,
    "exec": execute,
    "down": down,
    "doctor": doctor,
    "compose": compose,
    "completion": completion,
}
