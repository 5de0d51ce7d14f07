"""verify --rehearse: a snapshot is restored to volumes of its own, the release that it came from boots on them, and the
rows are counted; how it ended and how long it took is noted beside the snapshot.

The stack is not touched: no network, no port, none of its volumes but the snapshots, and a small share of the
processors. It holds the lock, so that no deployment takes away an image that is just booted, and so that whatever is
left of a rehearsal when the lock is free is nobody's.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from orchestrator import agent_run, compose, create_args, history, labels, lock, offsite, restore
from orchestrator.errors import EngineError, NoEngine, OrchestratorError, UsageError
from orchestrator.interrupts import terminated_as_interrupt, undisturbed
from orchestrator.model import SNAPSHOTS, ServiceSpec, Stack, Volume
from orchestrator.perform import perform, wait_healthy
from orchestrator.plan import rehearsal_left
from orchestrator.release import live_container
from orchestrator.services import wait_timeout
from orchestrator.session import Session
from orchestrator.state import Observed

#: Seconds that the booted app has to stop: what it does not write any more is nobody's.
GRACE = 3.0
#: Failures of the agent that say nothing about the snapshot.
NO_VERDICT = frozenset({"busy", "full", "stopped", "usage"})


@dataclass(frozen=True)
class Booted:
    """The release that a snapshot is rehearsed with. `own`: the snapshot came from it; `serves`: it serves now, so
    today's migration is its own. `changed` are secrets that have another value today."""

    release: str
    image: str
    spec: ServiceSpec
    own: bool
    serves: bool
    changed: tuple[str, ...] = ()
    warning: str = ""

    @property
    def name(self) -> str:
        """As people read it; what another tool has started has no id."""
        return f"release {self.release}" if self.release else "what serves"


def release_of(stack: Stack, observed: Observed, entry: dict[str, Any], present: Callable[[str], object]) -> Booted:
    """The release that the listed snapshot came from, by its own word, else by its time; where that is not known any
    more or its image is gone, the one that serves. `present` says whether an image is there. Raises
    OrchestratorError."""
    today = stack.service(stack.upstream)
    live = live_container(stack, observed)
    wanted = entry.get("release") or history.serving_at(observed.records, entry["created"])
    wanted = "" if wanted == compose.RELEASE else wanted
    if live and live.release == wanted and wanted:
        spec, changed = _spec(live.spec, today, live.image_id)
        return Booted(wanted, live.image_id, spec, own=True, serves=True, changed=changed)
    record = next((r for r in reversed(observed.records) if r.release == wanted and r.image_id and r.spec), None)
    if record and present(record.image_id):
        spec, changed = _spec(record.spec, today, record.image_id)
        return Booted(wanted, record.image_id, spec, own=True, serves=False, changed=changed)
    if not wanted:
        why = f"which release snapshot {entry['snapshot']} came from is not known"
    else:
        what = "the image of release" if record else "release"
        gone = "is gone" if record else "is not in the history"
        why = f"{what} {wanted}, which snapshot {entry['snapshot']} came from, {gone}"
    if live is None:
        raise OrchestratorError(
            f"{why}, and no release serves that it could be rehearsed with.",
            hint="`deploy` first; `verify` without --rehearse proves the snapshot itself.",
        )
    spec, changed = _spec(live.spec, today, live.image_id)
    warning = f"{why}; rehearsed with the release that serves"
    return Booted(live.release, live.image_id, spec, own=False, serves=True, changed=changed, warning=warning)


def _spec(document: Any, today: ServiceSpec, image: str) -> tuple[ServiceSpec, tuple[str, ...]]:
    """The settings that a release was made with; today's for a container that another tool has made."""
    if not document:
        return replace(today, image=image), ()
    return create_args.restored(document, today, image)


def scratch(stack: Stack, spec: ServiceSpec, token: str, *, kept: str = "") -> Stack:
    """The stack as a container of the service is to see it: with a new volume for each that it mounts, but for the one
    mounted at `kept`."""
    real = {volume.key: volume for volume in stack.volumes}
    volumes = [
        real[mount.volume]
        if mount.target == kept
        else Volume(mount.volume, f"{stack.project}_rehearsal_{token}_{mount.volume}")
        for mount in spec.mounts
    ]
    return replace(stack, volumes=tuple(dict.fromkeys(volumes)))


def rehearse(session: Session, wanted: restore.Wanted) -> dict[str, Any]:
    """Rehearses the restore of a snapshot. Raises OrchestratorError, with why in its `outcome`, when it does not
    pass."""
    stack, engine, report = session.stack, session.engine, session.report
    observed = engine.observe(stack.project)
    entry = restore.chosen(session, observed, restore.here(session, observed, wanted))
    if entry.get("raw"):
        raise UsageError(
            f"snapshot {entry['snapshot']} holds damaged data as it was, which no app can be asked to live with.",
            hint="`verify` without --rehearse says whether it is what was kept.",
        )
    image = agent_run.image(observed, session)
    with terminated_as_interrupt(), lock.held(stack.project, image, engine, report.say, lock.REHEARSAL):
        observed = engine.observe(stack.project)
        booted = release_of(stack, observed, entry, engine.image_id)
        if booted.warning:
            report.warn(booted.warning)
        if booted.changed:
            report.warn(f"secret values are today's: {', '.join(booted.changed)}")
        _take_away(session)
        try:
            answer = _Rehearsal(session, image, entry["snapshot"], booted).run()
        finally:
            with undisturbed():
                _take_away(session)
    if wanted.remote:
        offsite.tell(session, observed, wanted.remote, entry["snapshot"])
    return answer | {"warnings": report.warnings}


def _take_away(session: Session) -> None:
    """Everything that this rehearsal, or one that was killed, has made; what cannot be removed now is told."""
    engine, report = session.engine, session.report
    try:
        left = rehearsal_left(engine.observe(session.stack.project))
    except OrchestratorError as error:
        return report.warn(_remains(error))
    for step in left:
        try:
            perform(step, engine, report)
        except OrchestratorError as error:
            report.warn(_remains(error))
    return None


def _remains(error: OrchestratorError) -> str:
    return f"{error.message.rstrip('.')}; the next `deploy` takes away what the rehearsal has left"


class _Rehearsal:
    """One rehearsal of one snapshot, with the agent's `image`. What it makes is for the caller to take away."""

    def __init__(self, session: Session, image: str, snapshot: str, booted: Booted) -> None:
        self.session, self.image, self.snapshot, self.booted = session, image, snapshot, booted
        self.engine, self.report = session.engine, session.report
        token = secrets.token_hex(4)
        self.agent = session.stack.service("backup")
        self.agent_stack = scratch(session.stack, self.agent, token, kept=SNAPSHOTS)
        self.app_stack = scratch(session.stack, booted.spec, token)
        self.evidence: dict[str, Any] = {
            "release": booted.release,
            "image": booted.image,
            "own_release": booted.own,
        }

    def run(self) -> dict[str, Any]:
        """What `verify` says, and `rehearsal`."""
        try:
            self._restore()
            self._boot()
        except OrchestratorError as error:
            if isinstance(error, EngineError | NoEngine) or getattr(error, "code", "") in NO_VERDICT:
                raise  # nothing is known about the snapshot
            raise self._failed(error) from error
        with self.report.step("compare the rows with the snapshot's"):
            answer = self._ask("judge", "--evidence", json.dumps(self.evidence))
        if not answer["ok"]:
            told = OrchestratorError("the data is not what the snapshot holds.", detail=tuple(answer["differences"]))
            raise self._told(told, answer["rehearsal"])
        return {key: value for key, value in answer.items() if key not in ("event", "differences")}

    def _restore(self) -> None:
        for volume in dict.fromkeys((*self.agent_stack.volumes, *self.app_stack.volumes)):
            if volume not in self.session.stack.volumes:
                self.engine.create_volume(create_args.scratch_body(self.session.stack, volume.name))
        with self.report.step(f"restore {self.snapshot} to a volume of its own"):
            answer = self._ask("restore")
        self.evidence["restore_seconds"] = answer["seconds"]
        for warning in answer.get("warnings", ()):
            self.report.warn(warning)

    def _ask(self, step: str, *more: str) -> dict[str, Any]:
        """The agent's answer, on the volume of the rehearsal."""
        mounts = tuple(replace(mount, read_only=False) for mount in self.agent.mounts)
        command = ("rehearse", step, self.snapshot, *more)
        role = labels.ROLE_REHEARSAL
        body = create_args.oneoff_body(
            self.agent_stack, replace(self.agent, mounts=mounts), image=self.image, command=command, role=role
        )
        with agent_run.container(self._name(step), _modest(body), self.engine) as name:
            return agent_run.result(name, self.engine, self.report)

    def _name(self, part: str) -> str:
        return f"{self.session.stack.project}-rehearsal-{part}"

    def _boot(self) -> None:
        """The app, migrated as in a restore where it is the release that serves, healthy, and asked once more."""
        spec, booted = self.booted.spec, self.booted
        made: dict[str, Any] = {"image": booted.image, "role": labels.ROLE_REHEARSAL, "release": booted.release}
        if spec.migrate and booted.serves:
            body = create_args.oneoff_body(self.app_stack, spec, command=spec.migrate, **made)
            with self.report.step("bring the data to the schema of the release"):
                self._run_to_end(self._name("migrate"), _modest(body))
        body = create_args.alone_body(self.app_stack, spec, **made)
        name = self._name("app")
        doing = self.report.step(f"boot {booted.name} on it, without a network")
        with doing, agent_run.container(name, _modest(body), self.engine, grace=GRACE):
            began = time.monotonic()
            self.engine.start_container(name)
            wait_healthy(name, wait_timeout(spec), self.engine)
            self.evidence["boot_seconds"] = round(time.monotonic() - began, 3)
            if spec.healthcheck:
                self._probe(name, spec.healthcheck.test)

    def _run_to_end(self, name: str, body: dict[str, Any]) -> None:
        with agent_run.container(name, body, self.engine):
            self.engine.start_container(name)
            if code := self.engine.wait(name, restore.MIGRATION_TIMEOUT):
                lines = tuple(self.engine.logs(name)[-10:])
                raise OrchestratorError(f"the migration of the data failed with code {code}.", detail=lines)

    def _probe(self, name: str, test: tuple[str, ...]) -> None:
        code, output = self.engine.run_in(name, test)
        if code:
            lines = (*output.strip().splitlines()[-5:], *self.engine.logs(name)[-10:])
            raise OrchestratorError("the app was healthy, but is not any more.", detail=lines)

    def _failed(self, error: OrchestratorError) -> OrchestratorError:
        """Notes that the snapshot did not pass, and why; the error to tell."""
        evidence = self.evidence | {"reason": error.message}
        try:
            noted: dict[str, Any] = self._ask("judge", "--evidence", json.dumps(evidence))["rehearsal"]
        except OrchestratorError as problem:
            self.report.warn(f"that it failed could not be noted: {problem.message}")
            noted = evidence | {"result": "failed"}
        return self._told(error, noted)

    def _told(self, error: OrchestratorError, noted: dict[str, Any]) -> OrchestratorError:
        told = OrchestratorError(
            f"snapshot {self.snapshot} did not pass its rehearsal with {self.booted.name}: {error.message}",
            hint="the stack was not touched. Try another snapshot, see `backups`; take a new one.",
            detail=error.detail,
        )
        told.outcome = {"ok": False, "snapshot": self.snapshot, "rehearsal": noted, "warnings": self.report.warnings}
        return told


def _modest(body: dict[str, Any]) -> dict[str, Any]:
    """What serves comes first, where processors are scarce."""
    return body | {"HostConfig": body["HostConfig"] | {"CpuShares": create_args.GIVES_WAY}}


def short(rehearsed: dict[str, Any] | None) -> str:
    """The last rehearsal of a snapshot, as a table has it."""
    return f"{rehearsed['result']} {rehearsed['at'][:10]}" if rehearsed else "-"


def text(rehearsal: dict[str, Any]) -> str:
    """How a rehearsal that has passed went, as people read it."""
    return (
        f"rehearsed: restored in {rehearsal['restore_seconds']:.1f} s, release {rehearsal['release'] or '(none)'} "
        f"healthy on it after {rehearsal['boot_seconds']:.1f} s"
    )
