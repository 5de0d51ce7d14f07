"""deploy, plan, rollback and down: observe, reconcile, apply, and the report of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from orchestrator import build, create_args, exposure, history, lock, mounted, proxy, restore
from orchestrator.adopt import adopt
from orchestrator.agent.serving import FILE as SERVING
from orchestrator.agent.serving import Serving
from orchestrator.apply import apply
from orchestrator.engine import Engine
from orchestrator.errors import OrchestratorError, RolledBack
from orchestrator.interrupts import undisturbed
from orchestrator.model import SNAPSHOTS, Stack
from orchestrator.perform import perform, write_record
from orchestrator.plan import plan_down, reconcile, without_rehearsal
from orchestrator.release import live_container
from orchestrator.report import Reporter
from orchestrator.session import Session
from orchestrator.state import Observed
from orchestrator.steps import BuildImage, CreateContainer, Image, Plan, RecordRelease, Step, WaitHealthy


def told(step: Step, report: Reporter | None = None) -> dict[str, Any]:
    """A step as JSON; with its time when it was applied."""
    entry: dict[str, Any] = {"step": step.name, "target": step.target, "cause": step.cause}
    if report and (taken := report.seconds.get(str(step))) is not None:
        entry["seconds"] = taken
    return entry


def _images(session: Session) -> tuple[dict[str, Image], tuple[BuildImage, ...]]:
    made = build.recipes(session.stack, session.settings.root, session.engine)
    images = build.images_of(session.stack, made, session.engine)
    return images, build.missing(session.stack, images)


def due(session: Session, observed: Observed) -> tuple[Step, ...]:
    """The steps to what the settings want, images to be built among them; none for a rehearsal that is under way."""
    images, builds = _images(session)
    if lock.held_for(session.stack.project, session.engine) == lock.REHEARSAL:
        observed = without_rehearsal(observed)
    return (*builds, *reconcile(session.stack, adopt(observed, session, images), images))


def plan(session: Session) -> dict[str, Any]:
    """What a deployment would do now, and why, and its warnings, if any; changes nothing."""
    mounted.require(session.stack, session.engine)
    steps = due(session, session.engine.observe(session.stack.project))
    for warning in exposure.warnings(session.settings):
        session.report.warn(warning)
    warned = {"warnings": session.report.warnings} if session.report.warnings else {}
    return {"steps": [told(step) for step in steps], **warned}


class _Run:
    """One deployment or rollback, and what is told of it. An OrchestratorError carries the report as `outcome`."""

    def __init__(self, session: Session) -> None:
        self.session, self.began = session, time.monotonic()
        self.builds: tuple[BuildImage, ...] = ()
        self.todo = Plan(())
        self.outcome: dict[str, Any] = {"result": "failed", "release": "", "previous": "", "url": session.stack.url}
        self.outcome |= {"seconds": 0.0, "steps": [], "warnings": session.report.warnings}

    def __call__(self, work: Callable[[_Run], None]) -> dict[str, Any]:
        session, outcome = self.session, self.outcome
        for warning in (*session.settings.warnings, *exposure.warnings(session.settings)):
            session.report.warn(warning)
        try:
            work(self)
            self._ended()
        except RolledBack as error:
            outcome |= {"result": "rolled_back", "release": self.todo.previous or self.todo.release}
            error.outcome = outcome
            raise
        except OrchestratorError as error:
            if error.in_place:
                self._ended()
            error.outcome = outcome
            raise
        finally:
            outcome["seconds"] = round(time.monotonic() - self.began, 3)
            outcome["steps"] = [told(step, session.report) for step in (*self.builds, *self.todo)]
            outcome |= session.report.facts
        return outcome

    def _ended(self) -> None:
        changed = any(not isinstance(step, WaitHealthy) for step in self.todo)
        self.outcome |= {
            "release": self.todo.release,
            "previous": self.todo.previous,
            "result": "changed" if changed else "unchanged",
        }

    def apply(self, planned: Callable[[Observed], Plan], image: str) -> None:
        """Applies what `planned` says under the lock, if anything; `image` is any that the engine has."""
        stack, engine, report = self.session.stack, self.session.engine, self.session.report
        observed = engine.observe(stack.project)
        self.todo = planned(observed)
        if not self.todo and not restore.unfinished(observed):
            lock.remove_dead(stack.project, engine, report.say)
            self._tell_backup(observed)
            return
        with lock.held(stack.project, image, engine, report.say):
            # Looked at again: until the lock was ours, somebody else may have changed things.
            observed = engine.observe(stack.project)
            if restore.unfinished(observed):
                restore.recover(self.session, observed)
                observed = engine.observe(stack.project)
            self.todo = _signed(planned(observed))
            _note_interrupted(observed, self.todo, self.session)
            try:
                apply(self.todo, engine, report)
            except OrchestratorError as error:
                if self.todo.record and not error.in_place:
                    _note_failure(self.todo.record, error, self.session)
                raise
            with undisturbed():
                self._tell_backup(observed)

    def _tell_backup(self, observed: Observed) -> None:
        """Notes for the schedule which release serves, for its manifests. Not a step: nothing depends on it, and what
        a killed run has not noted, the next one does."""
        made = [s.target for s in self.todo if isinstance(s, CreateContainer) and s.alias == "backup"]
        names = made or [container.name for container in observed.of("backup")]
        engine = self.session.engine
        if not names or not self.todo.release:
            return
        try:
            serving = Serving(self.todo.release, str(engine.version().get("Version", "")))
            text = serving.note(str(engine.inspect(names[-1])["Id"]))
            if engine.read_file(names[-1], f"{SNAPSHOTS}/{SERVING}") != text:
                engine.write_files(names[-1], SNAPSHOTS, {SERVING: text.encode()})
        except OrchestratorError as error:
            self.session.report.say(f"the backup service could not be told the release: {error.message}")


def _signed(todo: Plan) -> Plan:
    """The plan with our name in what it records."""
    if todo.record is None:
        return todo
    owner = lock.owner()
    record = replace(todo.record, user=owner["user"], host=owner["host"])
    steps = tuple(replace(step, record=record) if isinstance(step, RecordRelease) else step for step in todo)
    return replace(todo, steps=steps, record=record)


def _note(entry: history.Record, session: Session) -> None:
    """Writes a record of what did not end well; where that fails, too, the error itself is what matters."""
    try:
        proxies = session.engine.observe(session.stack.project).of("proxy")
        if proxies:
            write_record(proxies[-1].name, entry, session.engine)
    except OrchestratorError as error:
        session.report.say(f"the history could not be written: {error.message}")


def _note_failure(entry: history.Record, error: OrchestratorError, session: Session) -> None:
    result = history.ROLLED_BACK if isinstance(error, RolledBack) else history.FAILED
    facts = {key: session.report.facts[key] for key in ("migrated", "snapshot") if key in session.report.facts}
    _note(replace(entry, result=result, reason=error.message, **facts), session)
    if snapshot := facts.get("snapshot"):
        error.detail += (f"the snapshot {snapshot} was taken before the migration; `backups` lists it.",)


def _note_interrupted(observed: Observed, todo: Plan, session: Session) -> None:
    """Releases that a killed run has left containers of, and that this run does not finish, get their record."""
    known = {record.release for record in observed.records} | {todo.release, ""}
    for container in observed.of(session.stack.upstream):
        if container.release not in known and container.spec is not None and observed.records:
            known.add(container.release)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            _note(
                history.Record(
                    container.release,
                    now,
                    history.INTERRUPTED,
                    image=container.image,
                    image_id=container.image_id,
                    reason="the run that began it was killed",
                    spec=container.spec,
                ),
                session,
            )


def deploy(session: Session, *, no_build: bool = False) -> dict[str, Any]:
    """Brings the stack to what the settings say."""

    def work(run: _Run) -> None:
        stack, engine, report = session.stack, session.engine, session.report
        mounted.require(stack, engine)
        images, run.builds = _images(session)
        if run.builds and not no_build:
            build.build(run.builds, stack, session.settings, engine, report)
        images = {name: image if image.id else engine.image(image.reference) for name, image in images.items()}
        images = build.require_images(stack, images, engine, report)
        run.apply(lambda seen: reconcile(stack, adopt(seen, session, images), images), images["backup"].id)

    return _Run(session)(work)


def rollback(session: Session, wanted: str = "", confirm: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Brings back the previous good release, or the one `wanted`: its image and its settings, by the same plan. Nothing
    is built; the proxy and the backup service stay as they are. `confirm` is asked, and raises, where the schema has
    moved since."""

    def work(run: _Run) -> None:
        stack, engine, report = session.stack, session.engine, session.report
        proxy.required(stack, "to go back to a release")
        observed = engine.observe(stack.project)
        live = live_container(stack, observed)
        if live is None:
            raise OrchestratorError("no release serves, so there is nothing to go back from.", hint="run `deploy`.")
        record = history.target(observed.records, live.release, wanted, present_images(observed, engine))
        image = engine.image(record.image_id)
        image = replace(image, reference=record.image if engine.image_id(record.image) == image.id else image.id)
        today = stack.service(stack.upstream)
        spec, changed = create_args.restored(record.spec, today, image.reference)
        if changed:
            report.warn(f"secret values are today's: {', '.join(changed)}")
        migrations = history.migrations_since(observed.records, record)
        for moved in migrations:
            snapshot = f"; snapshot {moved.snapshot} was taken before" if moved.snapshot else ""
            report.warn(f"the schema has moved since: {moved.release} migrated it{snapshot}. The data stays as it is")
        if migrations:
            confirm(f"Go back to {record.release}, which was made for the older schema?")
        older = replace(stack, services=tuple(spec if s.name == spec.name else s for s in stack.services))
        images = {s.name: Image(s.image, "") for s in stack.services} | {spec.name: image}
        run.apply(lambda seen: reconcile(older, seen, images, again=record.release), image.id)

    return _Run(session)(work)


def present_images(observed: Observed, engine: Engine) -> frozenset[str]:
    """The ids of the images in the history that the engine still has."""
    ids = {record.image_id for record in observed.records if record.image_id}
    return frozenset(image_id for image_id in ids if engine.image_id(image_id))


def down(session: Session, *, volumes: bool) -> dict[str, Any]:
    """Takes the stack away; its data only with `volumes`."""
    stack, engine, report = session.stack, session.engine, session.report
    observed = engine.observe(stack.project)
    todo = plan_down(stack, observed, volumes=volumes)
    if not todo:
        lock.remove_dead(stack.project, engine, report.say)
        return {"result": "unchanged", "steps": []}
    if observed.containers:
        with lock.held(stack.project, observed.containers[0].image_id, engine, report.say):
            restore.recover(session, engine.observe(stack.project))
            _take_away(stack, engine, report, volumes=volumes)
    else:
        _take_away(stack, engine, report, volumes=volumes)
    return {"result": "changed", "steps": [told(step, report) for step in todo]}


def _take_away(stack: Stack, engine: Engine, report: Reporter, *, volumes: bool) -> None:
    # Nothing is undone: a `down` that was stopped half-way is finished by the next one.
    for step in plan_down(stack, engine.observe(stack.project), volumes=volumes):
        with report.step(str(step)):
            perform(step, engine, report)
