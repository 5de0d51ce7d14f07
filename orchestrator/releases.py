"""releases: what has served, what failed, and what was different each time."""

from __future__ import annotations

from typing import Any

from orchestrator import history, proxy
from orchestrator.deploy import present_images
from orchestrator.diff import short
from orchestrator.release import live_container
from orchestrator.report import table
from orchestrator.session import Session

ENDED = {
    history.DEPLOYED: "deployed",
    history.ROLLED_BACK: "failed, rolled back",
    history.FAILED: "failed",
    history.INTERRUPTED: "interrupted",
}


def releases(session: Session) -> dict[str, Any]:
    """The history, newest first. `changes` is against the release that served before; `image_present` says whether
    `rollback` can go back to it."""
    engine, stack = session.engine, session.stack
    proxy.required(stack, "to keep a history of releases")
    observed = engine.observe(stack.project)
    live = live_container(stack, observed)
    present = present_images(observed, engine)
    serving = live.release if live else ""
    entries = []
    for record in reversed(observed.records):
        entries.append(
            {
                "release": record.release,
                "created": record.created,
                "action": record.action,
                "result": record.result,
                "live": record.release == serving and record.result == history.DEPLOYED,
                "image": record.image,
                "image_id": record.image_id,
                "image_present": record.image_id in present,
                "user": record.user,
                "host": record.host,
                "previous": record.previous,
                "migrated": record.migrated,
                "snapshot": record.snapshot,
                "reason": record.reason,
                "changes": history.changes(record, history.before(record, observed.records)),
            }
        )
        if entries[-1]["live"]:
            serving = ""  # its earlier times are over
    return {"releases": entries}


def text(result: dict[str, Any]) -> str:
    """As people read it."""
    rows = []
    for entry in result["releases"]:
        ended = ENDED.get(entry["result"], entry["result"])
        if entry["action"] == "rollback" and entry["result"] == history.DEPLOYED:
            ended = "rolled back to"
        what = [entry["reason"]] if entry["reason"] else list(entry["changes"])
        if entry["snapshot"]:
            what.append(f"migrated; snapshot {entry['snapshot']} before")
        rows.append(
            [
                ("* " if entry["live"] else "  ") + entry["release"],
                f"{entry['created'][:16].replace('T', ' ')} UTC",
                f"{entry['user']}@{entry['host']}" if entry["user"] else "-",
                ended,
                short(entry["image_id"]) + ("" if entry["image_present"] else " (gone)"),
                "; ".join(what) or "-",
            ]
        )
    if not rows:
        return "no releases yet"
    return table(["  RELEASE", "WHEN", "BY", "ENDED", "IMAGE", "CHANGES"], rows) + "\n\n* serves now"
