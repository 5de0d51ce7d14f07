"""watch: starts again what is unhealthy, which the engine itself never does (moby#28400).

Of the services that answer requests alone: an unhealthy backup service says that the last good snapshot is too old,
and a start would only break off the one that it may be taking.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator import lock
from orchestrator.errors import Locked, NoEngine, OrchestratorError
from orchestrator.interrupts import terminated_as_interrupt
from orchestrator.model import Stack
from orchestrator.perform import perform
from orchestrator.proxy_plan import ask, proof
from orchestrator.release import live_containers
from orchestrator.services import revive
from orchestrator.session import Session
from orchestrator.state import Observed, ObservedContainer
from orchestrator.steps import Step, SwitchTraffic

#: Seconds between two looks.
INTERVAL = 5.0
#: Seconds until the second attempt at a container, doubled each time, and the longest wait.
FIRST_WAIT, LONGEST_WAIT = 10.0, 600.0
#: Seconds without an attempt after which a container's trouble is over.
CALM = 1200.0
#: What the lock says that is under way.
REPAIR = "repair"


@dataclass(frozen=True)
class Trouble:
    """How often a container was started again, and when last, by a clock that only goes forward."""

    attempts: int
    last: float

    def due(self, now: float) -> bool:
        wait: float = min(FIRST_WAIT * 2 ** (self.attempts - 1), LONGEST_WAIT)
        return now - self.last >= wait


@dataclass
class Memory:
    """What is remembered between two looks. `started` says when each app container that the proxy knows has started."""

    troubles: dict[str, Trouble] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)
    said: str = ""


def due(stack: Stack, observed: Observed, troubles: Mapping[str, Trouble], now: float) -> tuple[ObservedContainer, ...]:
    """The unhealthy containers whose turn it is."""
    return tuple(
        container
        for service in (stack.upstream, "proxy")
        for container in observed.of(service)
        if container.running
        and container.health == "unhealthy"
        and (container.name not in troubles or troubles[container.name].due(now))
    )


def moved(stack: Stack, observed: Observed, started: Mapping[str, str]) -> tuple[ObservedContainer, ...]:
    """The serving app containers that have started since the proxy was told of them, and so may have another address.

    One that is not known yet was started by a release, which told the proxy; or by the engine, before we looked."""
    return tuple(
        container
        for container in live_containers(stack, observed)
        if container.healthy
        and container.started != started.get(container.name, container.started if not container.restarts else "")
    )


def repair(stack: Stack, observed: Observed, sick: tuple[ObservedContainer, ...]) -> tuple[Step, ...]:
    """Steps that start these again, and tell the proxy where they are; or, with none, only tell it."""
    steps: tuple[Step, ...] = ()
    for container in sick:
        part = revive(stack, stack.service(container.service), container)
        steps += part.start + part.wait
    proxy = next((c for c in reversed(observed.of("proxy")) if c.running), None)
    if proxy is None:
        return steps
    if not sick or any(c.service == stack.upstream for c in sick):
        port, path = proof(stack)
        drain = stack.releases.drain_timeout
        steps += (SwitchTraffic(proxy.name, "the address may be another one", port=port, path=path, drain=drain),)
    elif any(c.service == "proxy" for c in sick):
        steps += ask(stack, proxy.name)
    return steps


def watch(session: Session) -> None:
    """Looks at the stack until Ctrl-C or SIGTERM, and puts right what it may.

    Raises NoEngine if there is none at first; one that goes away later is waited for.
    """
    memory, report = Memory(), session.report
    session.engine.info()
    report.say(f"watching {session.stack.project}: what becomes unhealthy is started again")
    with terminated_as_interrupt():
        try:
            while True:
                _look(session, memory)
                time.sleep(INTERVAL)
        except KeyboardInterrupt:
            report.say("stopped watching; the stack goes on")


def _look(session: Session, memory: Memory) -> None:
    try:
        observed = session.engine.observe(session.stack.project)
        told = ""
        now = time.monotonic()
        memory.troubles = {name: t for name, t in memory.troubles.items() if now - t.last < CALM}
        sick = due(session.stack, observed, memory.troubles, now)
        if sick or moved(session.stack, observed, memory.started):
            _repair(session, memory, observed)
        else:
            _remember(session.stack, observed, memory)
    except Locked as error:
        # Whoever holds it puts things right, or has made them so.
        told = error.message
    except NoEngine as error:
        told = f"{error.message.rstrip('.')}; waiting for it"
    except OrchestratorError as error:
        told = error.message
        for line in error.detail:
            session.report.say(f"     {line}")
    if told and told != memory.said:
        session.report.say(told)
    memory.said = told


def _repair(session: Session, memory: Memory, observed: Observed) -> None:
    stack, engine, report = session.stack, session.engine, session.report
    image = observed.containers[0].image_id
    with lock.held(stack.project, image, engine, report.say, REPAIR):
        # Looked at again: until the lock was ours, somebody else may have changed things.
        observed = engine.observe(stack.project)
        now = time.monotonic()
        sick = due(stack, observed, memory.troubles, now)
        if not sick and not moved(stack, observed, memory.started):
            return
        for container in sick:
            before = memory.troubles.get(container.name)
            memory.troubles[container.name] = Trouble(before.attempts + 1 if before else 1, now)
        for step in repair(stack, observed, sick):
            with report.step(str(step)):
                perform(step, engine, report)
        _remember(stack, engine.observe(stack.project), memory)


def _remember(stack: Stack, observed: Observed, memory: Memory) -> None:
    """One that is stopped, or does not answer yet, is known as before: the proxy is told when it answers."""
    there = {container.name for container in observed.of(stack.upstream)}
    memory.started = {name: started for name, started in memory.started.items() if name in there}
    memory.started |= {c.name: c.started for c in live_containers(stack, observed) if c.healthy}
