"""The verbs about snapshots: call, print, exit code."""

from __future__ import annotations

import argparse

from orchestrator import command
from orchestrator.errors import UsageError


def backup(options: argparse.Namespace) -> int:
    from orchestrator.backups import backup as run
    from orchestrator.report import size

    result = run(command.session(options), options.to)
    text = f"snapshot {result['snapshot']}: {size(result['bytes'])}, sha256 {result['sha256']}"
    text += f"\ncopied to {result['file']}" if "file" in result else ""
    text += "".join(f"\n{one['snapshot']} is on {one['remote']}" for one in result.get("copied", ()))
    return command.answer(options, result, text)


def backups(options: argparse.Namespace) -> int:
    from orchestrator import rehearse
    from orchestrator.backups import backups as run
    from orchestrator.report import size, table

    result = run(command.session(options), options.remote)
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
    return command.answer(options, result, text)


def verify(options: argparse.Namespace) -> int:
    from orchestrator import rehearse
    from orchestrator.restore import Wanted
    from orchestrator.restore import verify as run

    wanted = Wanted(options.snapshot, options.remote, options.key)
    if options.rehearse:
        command.give_way()
    result = (rehearse.rehearse if options.rehearse else run)(command.session(options), wanted)
    rows = sum(database["rows"] for database in result["databases"])
    databases = ", ".join(database["path"] for database in result["databases"])
    what = f"{databases or 'no databases'} with {rows} rows, {result['files']} files"
    more = f"\n{rehearse.text(result['rehearsal'])}" if options.rehearse else ""
    return command.answer(options, result, f"snapshot {result['snapshot']} is good: {what}{more}")


def restore(options: argparse.Namespace) -> int:
    from orchestrator.restore import Wanted
    from orchestrator.restore import restore as run

    if bool(options.snapshot) == bool(options.at):
        raise UsageError("restore wants a SNAPSHOT or --at TIME.", hint="`backups` lists the snapshots.")
    wanted = Wanted(options.snapshot, options.remote, options.key)
    confirm = command.consent(options, "restore replaces the data")
    result = run(command.session(options), wanted, confirm, at=options.at)
    text = f"restored {result['restored']} ({result['seconds']:.1f} s)"
    if options.at:
        text += f", as of the last change before it ({result['state_of']})"
    if result["undo"]:
        text += f"; what was there before is snapshot {result['safety_snapshot']}: `{result['undo']}` brings it back"
    return command.answer(options, result, text)
