"""The state of the snapshots as a text file of Prometheus, for node_exporter's textfile collector. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from orchestrator.agent.manifest import PASSED, Entry, parse_time
from orchestrator.agent.notes import Notes
from orchestrator.agent.retention import is_past

FILE = "metrics.prom"
LAG_STEP = 15


def render(
    entries: Iterable[Entry],
    notes: Notes,
    *,
    project: str,
    max_age: timedelta,
    now: datetime,
    lag: float | None = None,
    remotes: Sequence[str] = (),
) -> str:
    """One gauge after the other; one whose time has not come yet is left out. `lag` is the replica's, in seconds;
    `remotes` are where copies go."""
    entries = tuple(entries)
    good = [entry for entry in entries if entry.good and is_past(entry, now)]
    newest = max(good, key=lambda entry: entry.created, default=None)
    proven = [parse_time(one.detail.verified) for one in good if one.detail is not None and one.detail.verified]
    rehearsals = [one.detail.rehearsed for one in good if one.detail is not None and one.detail.rehearsed]
    rehearsed = [parse_time(one.at) for one in rehearsals if one.result == PASSED]
    states = {
        "good": sum(entry.good for entry in entries),
        "raw": sum(entry.raw for entry in entries),
        "broken": sum(bool(entry.error) for entry in entries),
    }
    lines: list[str] = []

    def gauge(name: str, text: str, value: float | None, **labels: str) -> None:
        if value is not None:
            if not any(line.startswith(f"# TYPE snapshot_{name} ") for line in lines):
                lines.extend((f"# HELP snapshot_{name} {text}", f"# TYPE snapshot_{name} gauge"))
            told = ",".join(f'{key}="{_escaped(label)}"' for key, label in {"project": project, **labels}.items())
            lines.append(f"snapshot_{name}{{{told}}} {value:.15g}")

    detail = newest.detail if newest is not None else None
    gauge(
        "last_success_timestamp_seconds",
        "When the last good snapshot was taken, by whomever.",
        newest.created.timestamp() if newest is not None else None,
    )
    gauge("last_success_bytes", "Size of its archive.", detail.bytes if detail else None)
    gauge("last_success_duration_seconds", "How long it took.", detail.manifest.seconds if detail else None)
    gauge("last_attempt_timestamp_seconds", "When the schedule last tried, and ended.", notes.attempted)
    gauge(
        "last_attempt_success",
        "Whether that succeeded.",
        None if notes.attempted is None else float(not notes.failures),
    )
    gauge("consecutive_failures", "Failures of the schedule in a row.", notes.failures)
    gauge("max_age_seconds", "How old the last good snapshot may be.", max_age.total_seconds())
    gauge(
        "last_verified_timestamp_seconds",
        "When a good snapshot was last read again and proven.",
        max(proven).timestamp() if proven else None,
    )
    gauge(
        "last_rehearsed_timestamp_seconds",
        "When a restore of one was last rehearsed with success.",
        max(rehearsed).timestamp() if rehearsed else None,
    )
    # In steps, so that the file is not written every few seconds.
    gauge(
        "replica_lag_seconds",
        f"How far the replica is behind, in steps of {LAG_STEP} s.",
        None if lag is None else lag // LAG_STEP * LAG_STEP,
    )
    gauge(
        "copy_consecutive_failures", "Failures to copy off the host in a row.", notes.copy_failures if remotes else None
    )
    for remote in remotes:
        there = [one.created for one in good if one.detail is not None and remote in one.detail.remotes]
        gauge(
            "last_copied_timestamp_seconds",
            "When the newest good snapshot was taken of which a checked copy is there.",
            max(there).timestamp() if there else None,
            remote=remote,
        )
    for state, count in states.items():
        gauge("stored", "Snapshots there are.", count, state=state)
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
