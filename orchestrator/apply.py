"""Applies a plan: runs each step, and undoes what was done when one fails. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby

from orchestrator import proxy
from orchestrator.engine import Engine
from orchestrator.errors import EngineError, Interrupted, NoEngine, OrchestratorError, RolledBack
from orchestrator.interrupts import terminated_as_interrupt, undisturbed
from orchestrator.perform import perform
from orchestrator.report import Reporter
from orchestrator.steps import (
    CopyProxyConfig,
    CreateContainer,
    CreateNetwork,
    Drain,
    ForgetRelease,
    Migrate,
    MovePort,
    Plan,
    RecordRelease,
    RemoveContainer,
    RemoveImage,
    RemoveNetwork,
    RemoveVolume,
    StartContainer,
    Step,
    StopContainer,
    SwitchTraffic,
    UseProxyConfig,
    WaitHealthy,
    WriteUpstream,
)

#: Steps that only take away what is no longer needed; from the first one behind all others no way leads back.
CLEAN_UP = (Drain, StopContainer, RemoveContainer, RemoveNetwork, RemoveVolume, RemoveImage)
#: Seconds that a container has to stop in an undo. It has no requests any more, and a process that is only starting
#: up ignores SIGTERM: a longer grace would be waited out.
UNDO_GRACE = 3.0


def apply(plan: Plan, engine: Engine, report: Reporter) -> None:
    """Runs every step. When one fails, or on Ctrl-C or SIGTERM, what was done is undone and the error raised.

    RolledBack: something served before and still does. An error that is `in_place`: all that is new is proven and
    serves, and only what it replaced is still there. Any other: everything is as it was.
    """
    begins = max((at for at, step in enumerate(plan, 1) if not isinstance(step, CLEAN_UP)), default=0)
    done: list[Step] = []
    with terminated_as_interrupt():
        try:
            for group in side_by_side(plan.steps[:begins]):
                # Noted before it runs: killed half-way, a step may have had its effect.
                done.extend(group)
                _perform_all(group, engine, report, done)
        except (Exception, KeyboardInterrupt) as error:
            told = _told(error, plan, undo(done, engine, report))
            if told is error:
                raise
            raise told from error
        try:
            for step in plan.steps[begins:]:
                _clean_up(step, engine, report)
        except KeyboardInterrupt as error:
            raise _unfinished(Interrupted("interrupted.")) from error
        except NoEngine as error:
            raise _unfinished(error) from error
        except Exception as error:
            raise _unfinished(_defect(error)) from error


def _clean_up(step: Step, engine: Engine, report: Reporter) -> None:
    """What serves is proven: that something of the old could not be removed is no failure of it, but is told."""
    try:
        with report.step(str(step)):
            perform(step, engine, report)
    except NoEngine:
        raise
    except OrchestratorError as error:
        report.warn(f"{error.message.rstrip('.')}; the next `deploy` tries again")


def _defect(error: BaseException) -> OrchestratorError:
    return OrchestratorError(f"a defect of the orchestrator: {error!r}.")


def _unfinished(error: OrchestratorError) -> OrchestratorError:
    error.hint = "what the settings want is in place; `deploy` removes what is left of the old."
    error.in_place = True
    return error


def side_by_side(steps: Iterable[Step]) -> Iterator[tuple[Step, ...]]:
    """The steps in order; those of one kind that may be taken at the same time as one group."""
    for (alongside, _), steps_of_kind in groupby(steps, key=lambda step: (step.alongside, type(step))):
        group = tuple(steps_of_kind)
        yield from (group,) if alongside else ((step,) for step in group)


def _perform_all(group: tuple[Step, ...], engine: Engine, report: Reporter, done: list[Step]) -> None:
    """Runs a step; several at the same time, each on a connection of its own. When all have ended, raises the error
    of the first that failed."""

    def one(step: Step, connection: Engine) -> None:
        with report.step(str(step)):
            try:
                perform(step, connection, report)
            except EngineError:
                if isinstance(step, CreateContainer | CreateNetwork):
                    done.remove(step)  # refused, perhaps since somebody else has the name: not ours to remove
                raise

    if len(group) == 1:
        one(group[0], engine)
        return
    with ThreadPoolExecutor(max_workers=len(group)) as pool:
        for running in [pool.submit(one, step, engine.twin()) for step in group]:
            running.result()


def _told(error: BaseException, plan: Plan, failures: tuple[str, ...]) -> OrchestratorError:
    if isinstance(error, OrchestratorError):
        message, hint, detail = error.message, error.hint, error.detail
    elif isinstance(error, KeyboardInterrupt):
        message, hint, detail = "interrupted.", "", ()
    else:
        message, hint, detail = _defect(error).message, "--verbose shows where.", ()
    detail += failures
    if failures:
        failed = NoEngine if isinstance(error, NoEngine) else OrchestratorError
        return failed(message, hint="some of it could not be undone; `deploy` puts it right.", detail=detail)
    if plan.serving:
        served = f" {plan.previous or plan.release} serves on." if plan.previous or plan.release else ""
        return RolledBack(
            message, hint=f"{hint} Rolled back:{served or ' what served before serves on.'}".strip(), detail=detail
        )
    told = error if isinstance(error, OrchestratorError) else Interrupted(message)
    if not isinstance(error, OrchestratorError | KeyboardInterrupt):
        told = OrchestratorError(message)
    told.hint, told.detail = hint or "everything is as it was, but for new volumes.", detail
    return told


def undo(done: list[Step], engine: Engine, report: Reporter) -> tuple[str, ...]:
    """Takes back the steps, the last one first; says what could not be taken back. Volumes stay: they may hold data."""
    failures: list[str] = []
    with undisturbed():
        for step in reversed(done):
            for back in inverse(step, done):
                try:
                    with report.step(f"undo: {back}"):
                        perform(back, engine, report)
                except OrchestratorError as error:
                    failures.append(error.message)
    return tuple(failures)


def inverse(step: Step, done: list[Step]) -> tuple[Step, ...]:  # noqa: PLR0911 - one flat table of steps
    """The steps that take one of those that were `done` back, or none."""
    removed = {other.target for other in done if isinstance(other, RemoveContainer)}
    stopped = {other.target for other in done if isinstance(other, StopContainer)} - removed
    match step:
        case CreateNetwork():
            return (RemoveNetwork(step.target, ""),)
        case CreateContainer():
            return (RemoveContainer(step.target, ""),)
        case StartContainer() if step.target not in removed and step.target not in stopped:
            return (StopContainer(step.target, "", grace=UNDO_GRACE),)
        case StopContainer() if step.target in stopped:
            return (StartContainer(step.target, ""),)
        case WriteUpstream() if step.previous:
            return (replace(step, cause="", content=step.previous, previous=""),)
        case SwitchTraffic() if step.previous:
            ready = tuple(WaitHealthy(host, "") for host in proxy.upstream_hosts(step.previous) if host in stopped)
            # Not asked for: what served before is not this plan's to prove.
            back = replace(step, cause="", content=step.previous, previous="", path="")
            return (*ready, back, Drain(step.target, "", timeout=step.drain))
        case Migrate():
            # It removes them itself, unless that is what failed.
            return tuple(RemoveContainer(name, "") for name in step.containers)
        case CopyProxyConfig():
            return (RemoveContainer(step.helper, ""),)
        case RecordRelease():
            return (ForgetRelease(step.target, "", file=step.record.file),)
        case MovePort():
            return (replace(step, cause="", target=step.source, source=step.target),)
        case UseProxyConfig():
            return (replace(step, cause="", image_id=step.previous, previous=step.image_id),)
        case _:
            return ()
