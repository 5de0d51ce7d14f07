"""Applies a plan: runs each step, waits, and undoes what was done when one fails. It decides nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby

from orchestrator import ports, proxy, state
from orchestrator.engine import Engine
from orchestrator.errors import EngineError, Interrupted, OrchestratorError, RolledBack
from orchestrator.report import Reporter
from orchestrator.steps import (
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    Plan,
    ReloadProxy,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
    StartContainer,
    Step,
    StopContainer,
    WaitExit,
    WaitHealthy,
    WriteUpstream,
)

#: Seconds that requests in flight have before their target is told to stop, which then has a grace of its own.
DRAIN = 10.0
#: Seconds that a container has to stop in an undo. It has no requests any more, and a process that is only starting
#: up ignores SIGTERM: a longer grace would be waited out.
UNDO_GRACE = 3.0


def apply(plan: Plan, engine: Engine, report: Reporter) -> None:
    """Runs every step. When one fails, or on Ctrl-C or SIGTERM, what was done is undone and the error raised.

    RolledBack: something served before and still does. Any other OrchestratorError: everything is as it was, or all
    that is new is in place and only what it replaced could not be removed.
    """
    done: list[Step] = []
    try:
        with _terminated_as_interrupt():
            for group in side_by_side(plan):
                # Noted before it runs: killed half-way, a step may have had its effect.
                done.extend(group)
                _perform_all(group, engine, report, done)
    except (OrchestratorError, KeyboardInterrupt) as error:
        if _only_cleaning_up(plan, done):
            raise _unfinished(error) from error
        failures = undo(done, engine, report)
        raise _told(error, plan, failures) from error


def _only_cleaning_up(plan: Plan, done: list[Step]) -> bool:
    """Whether all was proven and the first of what it replaced has been removed: from there no way leads back."""
    clean_up = (StopContainer, RemoveContainer, RemoveNetwork, RemoveVolume)
    begins = max((at for at, step in enumerate(plan, 1) if not isinstance(step, clean_up)), default=0)
    return any(not isinstance(step, StopContainer) for step in done[begins:])


def _unfinished(error: OrchestratorError | KeyboardInterrupt) -> OrchestratorError:
    hint = "what the settings want is in place; `deploy` removes what is left of the old."
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted.", hint=hint)
    return type(error)(error.message, hint=hint, detail=error.detail)


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
                perform(step, connection)
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


def _told(error: OrchestratorError | KeyboardInterrupt, plan: Plan, failures: tuple[str, ...]) -> OrchestratorError:
    if isinstance(error, OrchestratorError):
        message, hint, detail = error.message, error.hint, error.detail
    else:
        message, hint, detail = "interrupted.", "", ()
    detail += failures
    if failures:
        return OrchestratorError(message, hint="some of it could not be undone; `deploy` puts it right.", detail=detail)
    if plan.serving:
        served = f" {plan.previous or plan.release} serves on." if plan.previous or plan.release else ""
        return RolledBack(
            message, hint=f"{hint} Rolled back:{served or ' what served before serves on.'}".strip(), detail=detail
        )
    kind = Interrupted if isinstance(error, KeyboardInterrupt) else type(error)
    return kind(message, hint=hint or "everything is as it was.", detail=detail)


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that both leave the stack whole."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals wait: an impatient second Ctrl-C must not leave half of an undo."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def perform(step: Step, engine: Engine) -> None:  # noqa: PLR0912 - one flat table of steps
    """One step on the engine."""
    match step:
        case CreateNetwork():
            engine.create_network(step.body)
        case RemoveNetwork():
            engine.remove_network(step.target)
        case CreateVolume():
            engine.create_volume(step.body)
        case RemoveVolume():
            engine.remove_volume(step.target)
        case CreateContainer():
            engine.create_container(step.target, step.body, step.more_networks, step.alias)
        case StartContainer():
            start(step.target, engine)
        case StopContainer():
            engine.stop_container(step.target, step.grace)
        case RemoveContainer():
            engine.remove_container(step.target)
        case WaitHealthy():
            wait_healthy(step.target, step.timeout, engine)
        case WaitExit():
            wait_exit(step.target, step.timeout, engine)
        case WriteUpstream():
            engine.write_file(step.target, proxy.FOLDER, proxy.FILE, step.content.encode())
        case ReloadProxy():
            reload_proxy(step.target, engine)
        case _:
            raise TypeError(f"no such step: {step!r}")


def undo(done: list[Step], engine: Engine, report: Reporter) -> tuple[str, ...]:
    """Takes back the steps, the last one first; says what could not be taken back. Volumes stay: they may hold data."""
    failures: list[str] = []
    with _undisturbed():
        for step in reversed(done):
            for back in inverse(step, done):
                try:
                    with report.step(f"undo: {back}"):
                        perform(back, engine)
                except OrchestratorError as error:
                    failures.append(error.message)
    return tuple(failures)


def inverse(step: Step, done: list[Step]) -> tuple[Step, ...]:  # noqa: PLR0911 - one flat table of steps
    """The steps that take one of those that were `done` back, or none."""
    removed = {other.target for other in done if isinstance(other, RemoveContainer)}
    stopped = {other.target for other in done if isinstance(other, StopContainer)} - removed
    reloaded = any(isinstance(other, ReloadProxy) for other in done)
    match step:
        case CreateNetwork():
            return (RemoveNetwork(step.target, ""),)
        case CreateContainer():
            return (RemoveContainer(step.target, ""),)
        case StartContainer() if step.target not in removed:
            # It may hold the port of the one that is to be started again.
            return (StopContainer(step.target, "", grace=UNDO_GRACE),)
        case StopContainer() if step.target in stopped:
            return (StartContainer(step.target, ""),)
        case WriteUpstream() if step.previous:
            back = WriteUpstream(step.target, "", content=step.previous)
            if not reloaded:
                return (back,)
            host = proxy.upstream_host(step.previous)
            ready = (WaitHealthy(host, ""),) if host in stopped else ()
            return (*ready, back, ReloadProxy(step.target, ""))
        case _:
            return ()


def start(name: str, engine: Engine) -> None:
    """Starts a container; when a port is taken, the error says by whom."""
    try:
        engine.start_container(name)
    except EngineError as error:
        if "port is already allocated" in error.message or "address already in use" in error.message:
            raise ports.taken(name, engine) from error
        raise


def reload_proxy(name: str, engine: Engine) -> None:
    """Nginx's own test comes first: a bad configuration must never reach a running proxy.

    Returns when no worker of the old configuration is left, or after DRAIN seconds: Nginx reloads after the command
    has returned, and until then its old workers send requests to the old target, which is stopped next.
    """
    _in_proxy(name, proxy.TEST, engine)
    before = _workers(name, engine)
    _in_proxy(name, proxy.RELOAD, engine)
    until = time.monotonic() + DRAIN
    now = _workers(name, engine)
    while before & now and time.monotonic() < until:
        time.sleep(0.1)
        now = _workers(name, engine)
    if before and not now - before:
        raise OrchestratorError("Nginx did not take the new configuration.", detail=_log(name, engine))


def _in_proxy(name: str, command: tuple[str, ...], engine: Engine) -> None:
    code, output = engine.run_in(name, command)
    if code != 0:
        lines = tuple(output.strip().splitlines()[-10:])
        raise OrchestratorError("Nginx refuses the new configuration.", detail=lines)


def _workers(name: str, engine: Engine) -> frozenset[str]:
    return proxy.workers(engine.run_in(name, proxy.WORKERS)[1])


def wait_healthy(name: str, timeout: float, engine: Engine) -> None:
    """Returns when the container is healthy; raises at once when it exits.

    `timeout` is counted in seconds from the container's start.
    """
    document = engine.inspect(name)
    container = state.parse_container(document)
    if container.healthy:
        return
    _fail_if_ended(container, engine)
    for event, code in engine.events(name, container.started, timeout):
        if event == "health_status: healthy":
            return
        if event in ("die", "oom", "destroy"):
            raise _ended(container, "137" if event == "oom" else code, engine)
        if event == "health_status: unhealthy":
            break
    document = engine.inspect(name)
    container = state.parse_container(document)
    if container.healthy:
        return
    _fail_if_ended(container, engine)
    probe = state.last_probe(document)
    evidence = (f"its probe says: {probe[-500:]}",) if probe else ("its probe has not answered once.",)
    raise OrchestratorError(f"{container.service} did not become healthy.", detail=evidence + _log(name, engine))


def _fail_if_ended(container: state.ObservedContainer, engine: Engine) -> None:
    if not container.running or container.restarts:
        raise _ended(container, str(container.exit_code), engine)


def _ended(container: state.ObservedContainer, code: str, engine: Engine) -> OrchestratorError:
    memory = container.oom_killed or code == "137"
    why = f"exited with code {code}{' (killed, perhaps for memory)' if memory else ''}" if code else "was removed"
    return OrchestratorError(f"{container.service} {why}.", detail=_log(container.name, engine))


def _log(name: str, engine: Engine) -> tuple[str, ...]:
    lines = tuple(f"  {line}" for line in engine.logs(name))
    return ("its last log lines:", *lines) if lines else ("it wrote no log.",)


def wait_exit(name: str, timeout: float, engine: Engine) -> None:
    """Returns when a one-off container has ended well."""
    code = engine.wait(name, timeout)
    if code != 0:
        raise OrchestratorError(f"{name} failed with code {code}.", detail=_log(name, engine))
