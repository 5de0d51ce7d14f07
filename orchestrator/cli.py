"""The verbs: call, print, exit code.

Until a verb runs, only the standard library is imported: help needs no more.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from orchestrator import bootstrap, command, snapshot_verbs
from orchestrator.arguments import INIT_OPTIONS, PROGRAM, parser
from orchestrator.errors import FAILED, Interrupted, OrchestratorError, UsageError


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


def setup(options: argparse.Namespace) -> int:
    from orchestrator.setup import setup as run

    result = run(
        command.ROOT,
        options.environment,
        consent=options.yes,
        ask=command.person(options),
        report=command.reporter(options),
    )
    images = ", ".join(result["images"].values())
    return command.answer(options, result, f"ready: engine {result['engine']}, base images {images}")


def init(options: argparse.Namespace) -> int:
    from orchestrator import init as verb

    given = {name: getattr(options, name) for name in INIT_OPTIONS if hasattr(options, name)}
    ask = None if options.yes else verb.terminal()
    if ask is None and not options.yes:
        raise UsageError(
            "init asks, and nobody can answer here.", hint="--yes takes what it suggests; see its options."
        )
    result = verb.init(command.ROOT, options.folder, given, ask, environ=os.environ)
    return command.answer(options, result, verb.text(result))


def deploy(options: argparse.Namespace) -> int:
    if options.setup:
        from orchestrator.setup import setup as prepare

        prepare(command.ROOT, options.environment, consent=True, ask=None, report=command.reporter(options))
    from orchestrator.deploy import deploy as run

    command.give_way()
    result = run(command.session(options), no_build=options.no_build)
    if result["result"] == "unchanged":
        return command.answer(options, result, f"nothing to do: release {result['release']} serves at {result['url']}")
    text = f"release {result['release']} serves at {result['url']} ({result['seconds']:.1f} s)"
    return command.answer(options, result, text)


def releases(options: argparse.Namespace) -> int:
    from orchestrator import releases as verb

    result = verb.releases(command.session(options))
    return command.answer(options, result, verb.text(result))


def rollback(options: argparse.Namespace) -> int:
    from orchestrator.deploy import rollback as run

    command.give_way()
    confirm = command.consent(options, "going back over a migration runs the older release on the newer schema")
    result = run(command.session(options), options.release, confirm)
    if result["result"] == "unchanged":
        return command.answer(options, result, f"nothing to do: release {result['release']} serves at {result['url']}")
    text = f"back to release {result['release']}, which serves at {result['url']} ({result['seconds']:.1f} s)"
    return command.answer(options, result, text)


def maintenance(options: argparse.Namespace) -> int:
    from orchestrator import maintenance as verb

    result = verb.maintenance(command.session(options), options.state)
    return command.answer(options, result, verb.text(result))


def plan(options: argparse.Namespace) -> int:
    from orchestrator.deploy import plan as run

    result = run(command.session(options))
    lines = [
        f"{step['step'].replace('-', ' ')} {step['target']}" + (f" ({step['cause']})" if step["cause"] else "")
        for step in result["steps"]
    ]
    return command.answer(options, result, "\n".join(lines) or "nothing to do: everything is as the settings want it")


def status(options: argparse.Namespace) -> int:
    from orchestrator import status as verb

    max_age = verb.allowed_age(options.max_age)
    session = command.session(options)
    if not options.watch:
        state = verb.status(session, max_age)
        command.answer(options, state, verb.text(state))
        return 0 if state["snapshot_age"]["ok"] else FAILED
    if max_age:
        raise UsageError("--watch and --max-age do not go together", hint="`--max-age` is for a monitoring program.")
    if options.json:
        raise UsageError("--watch and --json do not go together", hint="call `status --json` as often as you like.")
    with command.until_interrupted(True):
        verb.watch(session)
    return 0


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
    session = command.session(options)
    with command.until_interrupted(options.follow):
        verb.logs(session, options.service, want, follow=options.follow)
    return 0


def watch(options: argparse.Namespace) -> int:
    from orchestrator.watch import watch as run

    if options.json:
        raise UsageError("watch has no --json", hint="`status --json` says how things are.")
    run(command.session(options))
    return 0


def execute(options: argparse.Namespace) -> int:
    from orchestrator.logs import execute as run

    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words:
        raise UsageError("exec needs a command", hint=f"for example: {PROGRAM} exec app sh")
    return run(command.session(options), options.service, words)


def down(options: argparse.Namespace) -> int:
    from orchestrator.deploy import down as run

    session = command.session(options)
    if options.volumes:
        confirm = command.consent(options, "down --volumes deletes the data and all snapshots")
        confirm(f"Delete the volumes of {session.stack.project}: its data and all its snapshots?")
    result = run(session, volumes=options.volumes)
    kept = "" if options.volumes else "; the data is kept"
    return command.answer(options, result, "nothing to do" if result["result"] == "unchanged" else f"down{kept}")


def doctor(options: argparse.Namespace) -> int:
    from orchestrator import doctor as verb

    result = verb.doctor(command.ROOT, options.environment, os.environ)
    command.answer(options, result, verb.text(result))
    return 0 if result["ok"] else FAILED


def compose(options: argparse.Namespace) -> int:
    from orchestrator.compose import files, stale

    texts = files(command.ROOT, os.environ)
    old = stale(command.ROOT, texts)
    if options.check and old:
        raise OrchestratorError(f"{old[0]} is not what the settings give", hint=f"run `{PROGRAM} compose`.")
    for name in old:
        (command.ROOT / name).write_text(texts[name], encoding="utf-8")
    return command.answer(
        options,
        {"files": list(texts), "written": old},
        f"wrote {', '.join(old)}" if old else f"current: {', '.join(texts)}",
    )


def completion(options: argparse.Namespace) -> int:
    from orchestrator import completion as verb

    if options.of in ("snapshots", "releases"):
        words = verb.words(command.session(options), options.of)
        return command.answer(options, {options.of: words}, "\n".join(words))
    text = verb.script(options.of)
    return command.answer(options, {"script": text}, text)


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "setup": setup,
    "init": init,
    "deploy": deploy,
    "plan": plan,
    "releases": releases,
    "rollback": rollback,
    "status": status,
    "backup": snapshot_verbs.backup,
    "backups": snapshot_verbs.backups,
    "maintenance": maintenance,
    "verify": snapshot_verbs.verify,
    "restore": snapshot_verbs.restore,
    "logs": logs,
    "watch": watch,
    "exec": execute,
    "down": down,
    "doctor": doctor,
    "compose": compose,
    "completion": completion,
}
