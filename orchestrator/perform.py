"""Performs one step of a plan on the engine. It decides nothing."""

from __future__ import annotations

import contextlib
import http.client
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from orchestrator import agent_run, create_args, history, hooks, migration, ports, proxy, state
from orchestrator.engine import Engine
from orchestrator.errors import EngineError, OrchestratorError
from orchestrator.report import Reporter
from orchestrator.steps import (
    AskProxy,
    CopyProxyConfig,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    Drain,
    ForgetRelease,
    JoinNetwork,
    Migrate,
    MovePort,
    RecordRelease,
    RemoveContainer,
    RemoveImage,
    RemoveNetwork,
    RemoveVolume,
    RunHook,
    StartContainer,
    Step,
    StopContainer,
    SwitchTraffic,
    UseProxyConfig,
    WaitExit,
    WaitHealthy,
    WriteUpstream,
)

#: Seconds that the first request through the proxy may take to be answered well, and between two tries.
PROOF, TRY_AGAIN = 5.0, 0.2
#: Seconds that one call of the engine waits for a drain.
DRAIN_CALL = 5
#: Seconds from its start that a container that gives way to the release that serves may be kept waiting for that.
GIVES_WAY_FOR = 5.0
#: Seconds within which a port that was handed over must answer.
PORT_ANSWERS = 10.0


def perform(step: Step, engine: Engine, report: Reporter) -> None:  # noqa: PLR0912, PLR0915 - one table
    """One step on the engine; what the outcome should tell goes to `report.facts`."""
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
            body = agent_run.with_engine(step.body, engine) if step.alias == "backup" else step.body
            engine.create_container(step.target, body, step.more_networks, step.alias)
        case StartContainer():
            start(step.target, engine)
        case StopContainer():
            if step.gives_way:
                _weigh(step.target, create_args.GIVES_WAY, engine)
            engine.stop_container(step.target, step.grace)
        case RemoveContainer():
            engine.remove_container(step.target)
        case JoinNetwork():
            engine.connect_network(step.target, step.network, step.alias)
        case WaitHealthy():
            wait_healthy(step.target, step.timeout, engine, report.say)
        case WaitExit():
            wait_exit(step.target, step.timeout, engine)
        case RunHook():
            hooks.run(step, report)
        case Migrate():
            migration.migrate(step, engine, report)
        case WriteUpstream():
            engine.write_files(step.target, proxy.FOLDER, {proxy.FILE: step.content.encode()})
        case SwitchTraffic():
            for host in proxy.upstream_hosts(step.content):
                _weigh(host, create_args.CPU_SHARES, engine)
            _in_proxy(step.target, proxy.switch(step.content, step.port, step.path), engine)
        case CopyProxyConfig():
            copy_config(step, engine)
        case UseProxyConfig():
            own = step.image_id == step.container_image
            folder = "" if own else proxy.config_folder(step.image_id)
            _in_proxy(step.target, proxy.use_config(folder, step.container_image, step.image_id), engine)
        case MovePort():
            move_port(step, engine, report)
        case AskProxy():
            ask(step, engine)
        case Drain():
            drain(step, engine, report)
        case RecordRelease():
            record(step, engine, report)
        case ForgetRelease():
            engine.run_in(step.target, ("rm", "-f", f"{proxy.FOLDER}/{history.FOLDER}/{step.file}"))
        case RemoveImage():
            engine.remove_image(step.target)
        case _:
            raise TypeError(f"no such step: {step!r}")


def start(name: str, engine: Engine) -> None:
    """Starts a container; when a port is taken, the error says by whom."""
    try:
        engine.start_container(name)
    except EngineError as error:
        raise _port_taken(name, error, engine) from error


def _weigh(name: str, shares: int, engine: Engine) -> None:
    """A container's share of the processors where they are scarce; without it all works, only less smoothly."""
    with contextlib.suppress(EngineError):
        engine.set_cpu_shares(name, shares)


def _port_taken(name: str, error: EngineError, engine: Engine) -> OrchestratorError:
    if "port is already allocated" in error.message or "address already in use" in error.message:
        return ports.taken(name, engine)
    return error


def _in_proxy(name: str, command: tuple[str, ...], engine: Engine) -> None:
    code, output = engine.run_in(name, command)
    if code != 0:
        lines = tuple(output.strip().splitlines()[-10:])
        unanswered = any("is not answered with 200 through the proxy" in line for line in lines)
        message = "the new release does not answer through the proxy." if unanswered else None
        raise OrchestratorError(message or "Nginx refuses the new configuration.", detail=lines)


def copy_config(step: CopyProxyConfig, engine: Engine) -> None:
    """Copies /etc/nginx of an image to the proxy's volume."""
    engine.create_container(step.helper, step.body)
    try:
        files = engine.read_folder(step.helper, "/etc/nginx")
    finally:
        engine.remove_container(step.helper)
    folder, volume = proxy.config_folder(step.image_id), proxy.FOLDER.rpartition("/")[2]
    wanted = {f"{folder}/{name}": text for name, text in files.items() if not name.startswith(f"{volume}/")}
    engine.write_files(step.target, proxy.FOLDER, wanted)


def move_port(step: MovePort, engine: Engine, report: Reporter) -> None:
    """Takes the port from one proxy and gives it to the other; `report.facts` gets for how long nobody answered there.

    The network of the port is left first: until the others are left, too, the engine publishes the port there.
    """
    address = ports.published(step.target, engine) if engine.is_local else None
    if address and address != ports.published(step.source, engine):
        ports.require_free(step.target, engine)  # before anything is interrupted
    with _Watch(address) as watch:
        for network in reversed(step.networks):
            engine.disconnect_network(step.source, network)
        try:
            for network in step.networks:
                engine.connect_network(step.target, network, step.alias)
        except EngineError as error:
            raise _port_taken(step.target, error, engine) from error
        watch.wait_answer()
    seconds = round(watch.longest, 3)
    report.facts["interrupted_seconds"] = max(report.facts.get("interrupted_seconds", 0.0), seconds)
    report.say(f"for {seconds:.2f} s nobody answered on the port")


class _Watch:
    """Asks Nginx itself at a published port, again and again, and notes the longest time between two good answers.

    Without an address, or where nobody answers there to begin with (the port of a remote engine, or of the one that we
    are a container of, may be out of reach), it is the time of the whole block.
    """

    def __init__(self, address: tuple[str, int] | None) -> None:
        self.address, self.longest = address, 0.0
        self._last = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Watch:
        if self.address and self._answers():
            self._last = time.monotonic()
            self._thread.start()
        else:
            self.address = None
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._note()

    def wait_answer(self) -> None:
        """Returns when Nginx answers; OrchestratorError after PORT_ANSWERS seconds."""
        end = time.monotonic() + PORT_ANSWERS
        while self.address and not self._answers():
            if time.monotonic() > end:
                raise OrchestratorError(f"nothing answers at {self.address[0]}:{self.address[1]}.")
            time.sleep(0.005)

    def _note(self) -> None:
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._answers():
                self._note()
            time.sleep(0.005)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(*(self.address or ("", 0)), timeout=0.3)
        try:
            connection.request("GET", "/.proxy/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def ask(step: AskProxy, engine: Engine) -> None:
    """One request for the app through the proxy must be answered with 200, within PROOF seconds."""
    until = time.monotonic() + PROOF
    while True:
        code, output = engine.run_in(step.target, ("/usr/local/bin/probe", str(step.port), step.path))
        if code == 0:
            return
        if time.monotonic() > until:
            lines = tuple(output.strip().splitlines()[-5:])
            raise OrchestratorError(f"{step.path} is not answered with 200 through the proxy.", detail=lines)
        time.sleep(TRY_AGAIN)


def drain(step: Drain, engine: Engine, report: Reporter) -> None:
    """Waits for the requests in flight; those that take longer are told of, and go on until the stop's grace ends."""
    left = math.ceil(step.timeout)
    while left > 0:
        code, _ = engine.run_in(step.target, proxy.drained(min(left, DRAIN_CALL)))
        if code == 0:
            return
        left -= DRAIN_CALL
    report.warn(f"requests were still in flight after {step.timeout:g} s; what is left when the grace ends is cut off")


def record(step: RecordRelease, engine: Engine, report: Reporter) -> None:
    """Writes the record, with what was found out on the way, and removes the oldest ones."""
    facts = {key: report.facts[key] for key in ("migrated", "snapshot") if key in report.facts}
    write_record(step.target, replace(step.record, **facts), engine)
    if step.superfluous:
        files = [f"{proxy.FOLDER}/{history.FOLDER}/{name}" for name in step.superfluous]
        engine.run_in(step.target, ("rm", "-f", *files))


def write_record(container: str, entry: history.Record, engine: Engine) -> None:
    engine.write_files(container, proxy.FOLDER, {f"{history.FOLDER}/{entry.file}": entry.to_json().encode()})


def wait_healthy(name: str, timeout: float, engine: Engine, say: Callable[[str], None] = lambda _: None) -> None:
    """Returns when the container is healthy; raises when it exits, and says so at once: while the engine starts it
    again, its log can't be read.

    `timeout` is counted in seconds from the container's start.
    """
    document = engine.inspect(name)
    container = state.parse_container(document)
    if container.healthy:
        return
    _fail_if_ended(container, engine, say)
    if _turned_healthy(container, min(timeout, GIVES_WAY_FOR), engine, say):
        return
    if document["HostConfig"].get("CpuShares") == create_args.GIVES_WAY:
        # On a machine that is busy with other things it would never get its turn.
        _weigh(name, create_args.CPU_SHARES, engine)
    if _turned_healthy(container, timeout, engine, say):
        return
    document = engine.inspect(name)
    container = state.parse_container(document)
    if container.healthy:
        return
    _fail_if_ended(container, engine, say)
    probe = state.last_probe(document)
    evidence = (f"its probe says: {probe[-500:]}",) if probe else ("its probe has not answered once.",)
    raise OrchestratorError(f"{container.service} did not become healthy.", detail=evidence + _log(name, engine))


def _turned_healthy(
    container: state.ObservedContainer, timeout: float, engine: Engine, say: Callable[[str], None]
) -> bool:
    """Whether it does, in these seconds from its start; raises when it ends."""
    for event, code in engine.events(container.name, container.started, timeout):
        if event in ("die", "oom", "destroy"):
            raise _ended(container, "137" if event == "oom" else code, engine, say)
        if event.startswith("health_status: "):
            return event == "health_status: healthy"
    return False


def _fail_if_ended(container: state.ObservedContainer, engine: Engine, say: Callable[[str], None]) -> None:
    if container.running and not container.restarts:
        return
    # The state of one that runs again has forgotten its exit code; of one that is just started again, it says 0.
    code = "" if container.running or not container.exit_code else str(container.exit_code)
    raise _ended(container, code or _first_exit(container, engine) or ("" if container.running else "0"), engine, say)


def _first_exit(container: state.ObservedContainer, engine: Engine) -> str:
    """The exit code of a container when it ended for the first time; "" if the engine has forgotten it."""
    began, again = (state.moment(text) for text in (container.created, container.started))
    for event, code in engine.events(container.name, container.created, (again - began).total_seconds() + 1):
        if event == "die":
            return code
    return ""


def _ended(
    container: state.ObservedContainer, code: str, engine: Engine, say: Callable[[str], None]
) -> OrchestratorError:
    memory = container.oom_killed or code == "137"
    gone = "ended and was started again" if container.restarts else "was removed"
    why = f"exited with code {code}{' (killed, perhaps for memory)' if memory else ''}" if code else gone
    say(f"     {container.service} {why}")
    return OrchestratorError(f"{container.service} {why}.", detail=_log(container.name, engine))


def _log(name: str, engine: Engine) -> tuple[str, ...]:
    lines = tuple(f"  {line}" for line in engine.logs(name))
    return ("its last log lines:", *lines) if lines else ("it wrote no log.",)


def wait_exit(name: str, timeout: float, engine: Engine) -> None:
    """Returns when a one-off container has ended well."""
    code = engine.wait(name, timeout)
    if code != 0:
        raise OrchestratorError(f"{name} failed with code {code}.", detail=_log(name, engine))
