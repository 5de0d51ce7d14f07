"""python -m orchestrator.agent VERB: one JSON object a line on stdout, log lines on stderr, exit code 0, 1 or 2."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.agent.events import Progress

HEALTH = Path(__file__).with_name("health.sh")


def main(arguments: list[str]) -> int:
    if arguments == ["health"]:
        # The check is the shell script, here and for those who call it without Python: one truth.
        os.execv("/bin/sh", ["sh", str(HEALTH)])  # noqa: S606 - one fixed script, nothing from outside
    from orchestrator.agent.errors import AgentError, StoppedError, explain
    from orchestrator.agent.events import emit, log

    options = _parse(arguments)
    os.umask(0o077)  # People's data: for its owner only.
    _catch_signals()
    try:
        return _run(options)
    except StoppedError as error:
        if options.verb == "schedule":
            return 0
        emit("error", message=error.message, hint=error.hint, code=error.code)
        return 1
    except Exception as error:
        told = explain(error)
        if not isinstance(error, AgentError):
            log("debug", "what failed", error=repr(error))
        emit("error", message=told.message, hint=told.hint, code=told.code)
        return 2 if told.code == "usage" else 1


def _parse(arguments: list[str]) -> Options:
    import argparse

    backups = argparse.ArgumentParser(add_help=False)
    backups.add_argument("--backups", type=Path, default=Path("/backups"), help="where snapshots are kept")
    source = argparse.ArgumentParser(add_help=False)
    source.add_argument("--source", type=Path, default=Path("/data"), help="the volume to back up")
    run = argparse.ArgumentParser(add_help=False)
    run.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for another run to end")
    run.add_argument("--quiet", action="store_true", help="no progress events")
    parser = argparse.ArgumentParser(prog="python -m orchestrator.agent", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    snapshot = verbs.add_parser("snapshot", parents=[source, backups, run], help="take a snapshot now")
    snapshot.add_argument("--release", help="the release that serves; without it, as serving.py finds it")
    snapshot.add_argument("--reason", default="manual", help="why: manual, schedule, before-migration, ...")
    listing = verbs.add_parser("list", parents=[backups], help="the snapshots, newest first")
    listing.add_argument("--from", dest="remote", default="", metavar="REMOTE", help="those of a remote")
    verbs.add_parser("copy", parents=[backups, run], help="copy what the remotes lack (BACKUP_REMOTES), and check it")
    tell = verbs.add_parser("tell", parents=[backups, run], help="say on a remote what was learned here of a snapshot")
    tell.add_argument("snapshot", metavar="ID")
    tell.add_argument("--from", dest="remote", required=True, metavar="REMOTE")
    fetch = verbs.add_parser("fetch", parents=[backups, run], help="bring a remote's snapshot into this volume")
    fetch.add_argument("snapshot", metavar="ID")
    fetch.add_argument("--from", dest="remote", required=True, metavar="REMOTE")
    fetch.add_argument("--key", action="store_true", help="the first line of stdin is the secret keys")
    receive = verbs.add_parser("receive", parents=[backups, run], help="take an archive from stdin into this volume")
    receive.add_argument("--bytes", type=int, required=True, help="its size; before it comes a line of secret keys")
    verify = verbs.add_parser("verify", parents=[backups, run], help="read a snapshot again and prove it")
    verify.add_argument("snapshot", metavar="ID")
    restore = verbs.add_parser("restore", parents=[source, backups, run], help="bring a snapshot back, step by step")
    restore.add_argument("step", choices=("prepare", "switch", "undo", "finish", "recover"))
    restore.add_argument("snapshot", metavar="ID", nargs="?", default="")
    restore.add_argument("--at", default="", metavar="TIME", help="instead of ID: a moment, out of the replica")
    restore.add_argument("--release", default=os.environ.get("RELEASE", ""), help="the release that serves (RELEASE)")
    rehearse = verbs.add_parser("rehearse", parents=[source, backups, run], help="a restore to an empty volume, judged")
    rehearse.add_argument("step", choices=("restore", "judge"))
    rehearse.add_argument("snapshot", metavar="ID")
    rehearse.add_argument("--evidence", default="{}", metavar="JSON", help="what was found out meanwhile")
    verbs.add_parser("schedule", parents=[source, backups], help="take snapshots by BACKUP_SCHEDULE; the service")
    verbs.add_parser("notify", parents=[backups, run], help="send standard input, a JSON object, to BACKUP_WEBHOOK_URL")
    verbs.add_parser("health", help="whether the schedule is alive and the last good snapshot young enough")
    return parser.parse_args(arguments, namespace=Options())


class Options:
    """What the command line said; each verb sets its own."""

    verb: str
    source: Path
    backups: Path
    wait: float
    quiet: bool
    release: str | None
    reason: str
    snapshot: str
    step: str
    evidence: str
    at: str
    remote: str
    key: bool
    bytes: int


def _catch_signals() -> None:
    import signal

    from orchestrator.agent.errors import StoppedError

    def stop(number: int, _frame: FrameType | None) -> None:
        # A second signal must not interrupt the removal of what the first one interrupted.
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        raise StoppedError(signal.Signals(number).name)

    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, stop)


def _run(options: Options) -> int:
    from orchestrator.agent.events import Progress, emit

    progress = Progress(None if getattr(options, "quiet", True) else emit)
    if options.verb in {"snapshot", "verify", "rehearse"}:
        os.nice(10)  # The service's own work comes first.
    if options.verb == "snapshot":
        from orchestrator.agent import serving
        from orchestrator.agent.snapshot import take

        done = take(
            options.source,
            options.backups,
            release=serving.read(options.backups).release if options.release is None else options.release,
            reason=options.reason,
            wait=options.wait,
            progress=progress,
        )
        emit("done", **done.to_dict())
    elif options.verb == "verify":
        from orchestrator.agent.verify import verify

        emit("done", **verify(options.backups, options.snapshot, wait=options.wait, progress=progress))
    elif options.verb == "restore":
        emit("done", **_restore(options, progress))
    elif options.verb == "rehearse":
        emit("done", **_rehearse(options, progress))
    elif options.verb in {"copy", "tell", "fetch", "receive"} or (options.verb == "list" and options.remote):
        emit("done", **_elsewhere(options, progress))
    elif options.verb == "list":
        emit("done", snapshots=_listed(options.backups))
    elif options.verb == "notify":
        import json

        from orchestrator.agent.webhook import post

        post(os.environ.get("BACKUP_WEBHOOK_URL", ""), json.load(sys.stdin))
        emit("done")
    else:
        from orchestrator.agent.schedule import Scheduler
        from orchestrator.agent.schedule_config import Config

        Scheduler(Config.of(os.environ), options.source, options.backups).run()
    return 0


def _listed(backups: Path) -> list[dict[str, Any]]:
    """The snapshots, newest first, each with why the schedule will keep it; an empty `kept`: it may go, or was not
    judged (see retention.py)."""
    from datetime import UTC, datetime

    from orchestrator.agent.retention import Retain, reasons
    from orchestrator.agent.store import entries

    there = entries(backups)
    try:
        retain = Retain.of(os.environ.get("BACKUP_RETAIN", ""))
    except ValueError:
        retain = Retain()  # A list must be had even where the schedule refuses its settings.
    kept = reasons(there, retain, datetime.now(UTC))
    return [entry.to_dict() | {"kept": list(kept.get(entry.snapshot, ()))} for entry in there]


def _elsewhere(options: Options, progress: Progress) -> dict[str, Any]:
    """The verbs about snapshots that are, or come from, somewhere else."""
    from orchestrator.agent import age, incoming, offsite
    from orchestrator.agent.rclone import Remote

    if options.verb == "copy":
        os.nice(10)
        config = offsite.Config.of(os.environ)
        return offsite.copy_all(options.backups, config, wait=options.wait, progress=progress)
    if options.verb == "tell":
        return offsite.tell(options.backups, Remote(options.remote), options.snapshot)
    if options.verb == "list":
        return {"snapshots": [copy.to_dict() for copy in offsite.listed(Remote(options.remote))[0]]}
    # By stdin: neither the command line nor the environment nor any disk ever holds a secret key.
    given = sys.stdin.buffer.readline(64 * 1024).split() if options.verb == "receive" or options.key else []
    identities = [age.identity(word.decode("ascii", errors="replace")) for word in given]
    if options.verb == "receive":
        source = sys.stdin.buffer
        size, wait = options.bytes, options.wait
        made = incoming.receive(options.backups, source, size, identities, wait=wait, progress=progress)
    else:
        remote = Remote(options.remote)
        made = offsite.fetch(
            options.backups, remote, options.snapshot, identities, wait=options.wait, progress=progress
        )
    return {"snapshot": made.snapshot, "bytes": made.bytes, "sha256": made.sha256}


def _restore(options: Options, progress: Progress) -> dict[str, Any]:
    from orchestrator.agent import restore

    if options.step == "prepare" and options.at:
        return _restore_at(options, progress)
    if options.step == "prepare":
        return restore.prepare(options.source, options.backups, options.snapshot, wait=options.wait, progress=progress)
    if options.step == "switch":
        return restore.switch(
            options.source, options.backups, release=options.release or "", wait=options.wait, progress=progress
        )
    ends = {"undo": restore.undo, "finish": restore.finish, "recover": restore.recover}
    return ends[options.step](options.source)


def _rehearse(options: Options, progress: Progress) -> dict[str, Any]:
    from orchestrator.agent import rehearsal

    source, backups, snapshot = options.source, options.backups, options.snapshot
    if options.step == "restore":
        return rehearsal.bring(source, backups, snapshot, wait=options.wait, progress=progress)
    return rehearsal.judge(source, backups, snapshot, options.evidence, wait=options.wait, progress=progress)


def _restore_at(options: Options, progress: Progress) -> dict[str, Any]:
    from datetime import UTC, datetime

    from orchestrator.agent.errors import AgentError
    from orchestrator.agent.point import parse_moment, prepare_at
    from orchestrator.agent.replica import Replication

    moment = parse_moment(options.at, datetime.now(UTC))
    replication = Replication.of(os.environ)
    if replication is None:
        raise AgentError("Nothing is replicated here.", hint="See backup.replicate in the README.", code="usage")
    return prepare_at(options.source, options.backups, moment, replication, wait=options.wait, progress=progress)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
