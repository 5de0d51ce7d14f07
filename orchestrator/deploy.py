"""deploy, plan and down: observe, reconcile, apply, and the report of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from orchestrator import build, lock
from orchestrator.apply import apply, perform
from orchestrator.engine import Engine
from orchestrator.errors import OrchestratorError, RolledBack
from orchestrator.model import Stack
from orchestrator.plan import plan_down, reconcile
from orchestrator.report import Reporter
from orchestrator.settings import Settings
from orchestrator.steps import BuildImage, Image, Plan, Step, WaitHealthy


@dataclass(frozen=True)
class Session:
    """What every verb that touches the engine works with."""

    settings: Settings
    stack: Stack
    engine: Engine
    report: Reporter


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


def plan(session: Session) -> dict[str, Any]:
    """What a deployment would do now, and why; changes nothing."""
    images, builds = _images(session)
    steps = (*builds, *reconcile(session.stack, session.engine.observe(session.stack.project), images))
    return {"steps": [told(step) for step in steps]}


def deploy(session: Session, *, no_build: bool = False) -> dict[str, Any]:
    """Brings the stack to what the settings say. An OrchestratorError carries the report as `outcome`."""
    began = time.monotonic()
    stack, engine, report = session.stack, session.engine, session.report
    for warning in session.settings.warnings:
        report.warn(warning)
    outcome: dict[str, Any] = {"result": "failed", "release": "", "previous": "", "url": stack.url}
    outcome |= {"seconds": 0.0, "steps": [], "warnings": report.warnings}
    builds: tuple[BuildImage, ...] = ()
    todo = Plan(())
    try:
        images, builds = _images(session)
        if not no_build:
            build.build(builds, stack, session.settings, engine, report)
        images = {
            name: image if image.id else Image(image.reference, engine.image_id(image.reference))
            for name, image in images.items()
        }
        images = build.require_images(stack, images, engine, report)
        todo = reconcile(stack, engine.observe(stack.project), images)
        if todo:
            with lock.held(stack.project, images["backup"].id, engine, report.say):
                # Looked at again: until the lock was ours, somebody else may have changed things.
                todo = reconcile(stack, engine.observe(stack.project), images)
                apply(todo, engine, report)
        outcome |= {"release": todo.release, "previous": todo.previous}
        changed = any(not isinstance(step, WaitHealthy) for step in todo)
        outcome["result"] = "changed" if changed else "unchanged"
    except RolledBack as error:
        outcome |= {"result": "rolled_back", "release": todo.previous or todo.release}
        error.outcome = outcome
        raise
    except OrchestratorError as error:
        error.outcome = outcome
        raise
    finally:
        outcome["seconds"] = round(time.monotonic() - began, 3)
        outcome["steps"] = [told(step, report) for step in (*builds, *todo)]
    return outcome


def down(session: Session, *, volumes: bool) -> dict[str, Any]:
    """Takes the stack away; its data only with `volumes`."""
    stack, engine, report = session.stack, session.engine, session.report
    observed = engine.observe(stack.project)
    todo = plan_down(stack, observed, volumes=volumes)
    if not todo:
        return {"result": "unchanged", "steps": []}
    if observed.containers:
        with lock.held(stack.project, observed.containers[0].image_id, engine, report.say):
            _take_away(stack, engine, report, volumes=volumes)
    else:
        _take_away(stack, engine, report, volumes=volumes)
    return {"result": "changed", "steps": [told(step, report) for step in todo]}


def _take_away(stack: Stack, engine: Engine, report: Reporter, *, volumes: bool) -> None:
    # Nothing is undone: a `down` that was stopped half-way is finished by the next one.
    for step in plan_down(stack, engine.observe(stack.project), volumes=volumes):
        with report.step(str(step)):
            perform(step, engine)
