"""restore and verify: a snapshot is proven beside the live files, and takes their place by renames while nobody has the
volume mounted; what was there is kept as a snapshot of its own.

A container that is never started marks a restore that has not ended, so that every command sees it, whatever else was
taken away; the agent's journal on the volume says how far it got.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator import agent_run, create_args, labels, lock, maintenance, offsite, proxy
from orchestrator.errors import EngineError, OrchestratorError, RolledBack, UsageError
from orchestrator.interrupts import terminated_as_interrupt, undisturbed
from orchestrator.model import ServiceSpec
from orchestrator.perform import perform, wait_healthy
from orchestrator.proxy_plan import proof
from orchestrator.release import live_containers
from orchestrator.services import wait_timeout
from orchestrator.session import Session
from orchestrator.stack import OUTBOUND
from orchestrator.state import Observed, ObservedContainer, parse_container
from orchestrator.steps import SwitchTraffic

LATEST = "latest"
MIGRATION_TIMEOUT = 600.0


@dataclass(frozen=True)
class Wanted:
    """Which snapshot is meant: an id, the beginning of one, `latest`, or an archive's file; of a remote with `remote`.
    `key` is the file of the secret age key where it is encrypted."""

    snapshot: str
    remote: str = ""
    key: Path | None = None


def verify(session: Session, wanted: Wanted) -> dict[str, Any]:
    """Reads a snapshot again and proves it: checksums, integrity, foreign keys, rows. Raises when it is not good."""
    observed = session.engine.observe(session.stack.project)
    entry = chosen(session, observed, here(session, observed, wanted))
    with session.report.step(f"verify {entry['snapshot']}"):
        answer = _agent(session, observed, "verify", entry["snapshot"])
    if wanted.remote:
        offsite.tell(session, observed, wanted.remote, entry["snapshot"])
    return {key: value for key, value in answer.items() if key != "event"}


def here(session: Session, observed: Observed, wanted: Wanted) -> str:
    """What names the snapshot in the backups volume, after it was brought there from a remote or a file."""
    keys = offsite.secret_keys(wanted.key)
    if wanted.remote:
        remote = offsite.remote_of(session.stack.remotes, wanted.remote)
        entry = choose(offsite.listed(session, observed, remote), wanted.snapshot)
        return offsite.fetch(session, observed, remote, entry["snapshot"], keys)
    if offsite.is_file(wanted.snapshot):
        return offsite.receive(session, observed, Path(wanted.snapshot), keys)
    return wanted.snapshot


def chosen(session: Session, observed: Observed, wanted: str) -> dict[str, Any]:
    """The snapshot of the volume that is meant. Raises UsageError."""
    return choose(_agent(session, observed, "list")["snapshots"], wanted)


def choose(listed: Sequence[Mapping[str, Any]], wanted: str) -> dict[str, Any]:
    """The listed snapshot that is meant: its id, the beginning of one, or `latest`. Raises UsageError."""
    good = [entry for entry in listed if not entry.get("error")]
    if wanted == LATEST:
        proven = [entry for entry in good if not entry.get("raw")]
        if not proven:
            raise UsageError("there is no good snapshot.", hint="`backup` takes one.")
        return dict(proven[0])
    found = [entry for entry in good if entry["snapshot"] == wanted]
    found = found or [entry for entry in good if entry["snapshot"].startswith(wanted)]
    if len(found) != 1:
        broken = next((e for e in listed if e["snapshot"].startswith(wanted) and e.get("error")), None)
        if broken and not found:
            raise UsageError(f"snapshot {broken['snapshot']} is not usable: {broken['error']}.")
        what = f"is the beginning of {len(found)} snapshots" if found else "is no snapshot"
        raise UsageError(f"{wanted} {what}.", hint="`backups` lists them.")
    return dict(found[0])


def restore(session: Session, wanted: Wanted, confirm: Callable[[str], None], *, at: str = "") -> dict[str, Any]:
    """Brings a snapshot back, or, out of the replica, the state `at` a moment. `confirm` is told what will be replaced,
    and raises to refuse."""
    began = time.monotonic()
    stack, engine, report = session.stack, session.engine, session.report
    observed = engine.observe(stack.project)
    if at:
        what, prepare = f"the state of {at}", ["--at", at]
    else:
        entry = chosen(session, observed, here(session, observed, wanted))
        what, prepare = f"snapshot {entry['snapshot']} of {entry.get('created')}", [str(entry["snapshot"])]
    confirm(f"Replace the data of {stack.project} by {what}? What is there now is kept as a snapshot.")
    with lock.held(stack.project, agent_run.image(observed, session), engine, report.say):
        recover(session, engine.observe(stack.project))
        run = _Restore(session, engine.observe(stack.project), what, prepare)
        with terminated_as_interrupt():
            safety = run.run()
    undo = f"restore {safety}" if safety else ""
    return {
        "restored": run.prepared["snapshot"],
        "state_of": run.prepared.get("state_of", run.prepared["created"]),
        "safety_snapshot": safety,
        "undo": undo,
        "seconds": round(time.monotonic() - began, 3),
        "warnings": report.warnings,
    }


def recover(session: Session, observed: Observed) -> None:
    """Ends a restore whose run was killed: back to what was, or forward if it had been proven. For whoever holds the
    lock."""
    marks = [container for container in observed.oneoffs if container.role == labels.ROLE_RESTORE]
    if not marks:
        return
    engine, report = session.engine, session.report
    with report.step("put right a restore that was killed"), undisturbed():
        hosts = proxy.upstream_hosts(observed.upstream)
        run = _Restore(session, observed, "", ())
        apps = observed.of(session.stack.upstream)
        run.apps = tuple(c for c in apps if c.name in hosts) if session.stack.proxied else apps[-1:]
        # The killed run's last request to stop one may still be under way: ours waits for its end.
        for name in engine.mounting(run.volume):
            engine.stop_container(name, run.grace(name))
        answer = _agent(session, observed, "restore", "recover", writable=True)
        run.stopped = [container.name for container in observed.of("backup")]
        try:
            run.start_apps()
        except OrchestratorError as error:
            report.warn(f"after the restore: {error.message}")
        run.open()
    words = {"restored": "it had succeeded", "undone": "the data is what it was before"}
    report.warn(f"a restore was killed: {words.get(answer['result'], 'it had changed nothing')}")


def unfinished(observed: Observed) -> bool:
    """Whether a restore was begun that has not ended."""
    return any(container.role == labels.ROLE_RESTORE for container in observed.oneoffs)


def _agent(
    session: Session, observed: Observed, *command: str, writable: bool = False, outbound: bool = False
) -> dict[str, Any]:
    """Runs the agent once on the project's volumes."""
    with agent_run.once(session, observed, command, writable=writable, outbound=outbound) as name:
        return agent_run.result(name, session.engine, session.report)


def _reopen(session: Session, observed: Observed) -> None:
    """Ends the maintenance that a restore has begun; one that a person began stays."""
    running = [container for container in observed.of("proxy") if container.running]
    if running and maintenance.is_of_restore(observed.proxy.maintenance):
        session.engine.run_in(running[-1].name, ("rm", "-f", maintenance.PATH))


class _Restore:
    """One restore of `what`, which the agent knows by the arguments `prepare`. `observed` is the stack before it."""

    def __init__(self, session: Session, observed: Observed, what: str, prepare: Sequence[str]) -> None:
        self.session, self.observed, self.what, self.prepare = session, observed, what, prepare
        self.prepared: dict[str, Any] = {}
        self.engine, self.stack, self.report = session.engine, session.stack, session.report
        self.volume = self.stack.data_volume.name
        self.stopped: list[str] = []
        self.proxies = [container for container in observed.of("proxy") if container.running]
        self.apps = live_containers(self.stack, observed)

    def run(self) -> str:
        """The id of the safety snapshot ("" where there was nothing). Raises RolledBack, all as it was, when the app is
        not healthy with the restored data, or anything else fails."""
        # Before anything is interrupted: unpacked and proven beside the live files.
        with self.report.step(f"prove and unpack {self.what}"):
            arguments = ("restore", "prepare", *self.prepare)
            # A replica may be elsewhere.
            outbound = "--at" in arguments and any(network.key == OUTBOUND for network in self.stack.networks)
            self.prepared = _agent(self.session, self.observed, *arguments, writable=True, outbound=outbound)
        for warning in self.prepared.get("warnings", ()):
            self.report.warn(warning)
        try:
            self._close()
            with self.report.step("keep what is there now, and put the snapshot in its place"):
                safety = str(self._agent("switch")["safety_snapshot"])
            self._prove()
            self._agent("finish")
        except (Exception, KeyboardInterrupt) as error:
            self._back(error)
        with undisturbed():
            self.open()
        return safety

    def _agent(self, step: str) -> dict[str, Any]:
        release = self.apps[0].release if self.apps else ""
        return _agent(self.session, self.observed, "restore", step, "--release", release, writable=True)

    def _close(self) -> None:
        """Marks the restore, answers 503, and stops every container that has the volume mounted."""
        command = ("restore", "recover")
        body = agent_run.body(self.session, self.observed, command, role=labels.ROLE_RESTORE)
        self.engine.create_container(self._mark, body)
        if self.proxies and not self.observed.proxy.maintenance.strip():
            since = datetime.now(UTC).isoformat(timespec="seconds")
            text = maintenance.of_restore(since, self.what)
            self.engine.write_files(self.proxies[-1].name, proxy.FOLDER, {proxy.MAINTENANCE: text})
        for name in self.engine.mounting(self.volume):
            self.stopped.append(name)
            with self.report.step(f"stop container {name} (it has the data mounted)"):
                self.engine.stop_container(name, self.grace(name))

    @property
    def _mark(self) -> str:
        return f"{self.stack.project}-restore"

    def grace(self, name: str) -> float:
        """Seconds that a container has to stop."""
        found = next((c for c in self.observed.containers if c.name == name), None)
        spec = next((s for s in self.stack.services if found and s.name == found.service), None)
        return spec.stop_grace_period if spec else 10.0

    def _prove(self) -> None:
        """The release that serves can live with the data: it is migrated, healthy, and answers through the proxy."""
        if not self.apps:
            return
        spec = self.stack.service(self.stack.upstream)
        if spec.migrate:
            self._migrate(spec, self.apps[0])
        self.start_apps()

    def _migrate(self, spec: ServiceSpec, app: ObservedContainer) -> None:
        """A snapshot may be older than the schema; the safety snapshot is what a migration here needs before it."""
        body = create_args.oneoff_body(
            self.stack, spec, image=app.image_id, command=spec.migrate, role=labels.ROLE_STEP, release=app.release
        )
        name = f"{self.stack.project}-restore-migrate"
        doing = self.report.step("bring the restored data to the schema of the release")
        with doing, agent_run.container(name, body, self.engine):
            self.engine.start_container(name)
            if code := self.engine.wait(name, MIGRATION_TIMEOUT):
                raise OrchestratorError(
                    f"the migration of the restored data failed with code {code}.",
                    detail=tuple(self.engine.logs(name)[-10:]),
                )

    def start_apps(self) -> None:
        """The app, healthy and reached by the proxy again."""
        timeout = wait_timeout(self.stack.service(self.stack.upstream))
        for app in self.apps:
            with self.report.step(f"start container {app.name}"):
                self.engine.start_container(app.name)
        for app in self.apps:
            with self.report.step(f"wait healthy {app.name}"):
                wait_healthy(app.name, timeout, self.engine)
        if self.proxies:
            port, path = proof(self.stack)
            # A container that was started has another address.
            step = SwitchTraffic(self.proxies[-1].name, "the address may be another one", port=port, path=path)
            with self.report.step(str(step)):
                perform(step, self.engine, self.report)

    def _back(self, error: BaseException) -> None:
        """Everything as it was: the files, then the containers. Always raises."""
        told = error if isinstance(error, OrchestratorError) else OrchestratorError(_named(error))
        with undisturbed():
            # Until the first was stopped, nothing has changed and the app goes on.
            for app in self.apps if self.stopped else ():
                self.engine.stop_container(app.name, self.grace(app.name))
            with self.report.step("undo: bring back what was there"):
                self._agent("undo")
            if self.apps and self.stopped:
                self.start_apps()
            self.open()
        raise RolledBack(
            told.message, hint=f"{told.hint} Rolled back: the data is what it was.".strip(), detail=told.detail
        ) from error

    def open(self) -> None:
        """Starts what was stopped, and answers again."""
        for name in self.stopped:
            self._start_again(name)
        _reopen(self.session, self.engine.observe(self.stack.project))
        self.engine.remove_container(self._mark)

    def _start_again(self, name: str) -> None:
        """What was stopped for the restore runs again, but for a one-off command, such as a snapshot by hand: that has
        failed, and its caller takes its container away. One that cannot be started must not keep the service closed."""
        try:
            if not parse_container(self.engine.inspect(name)).oneoff:
                self.engine.start_container(name)
        except EngineError as error:
            self.report.warn(f"{name} was stopped for the restore and does not run again: {error.message}")


def _named(error: BaseException) -> str:
    return "interrupted." if isinstance(error, KeyboardInterrupt) else f"a defect of the orchestrator: {error!r}."
