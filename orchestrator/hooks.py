"""Commands of the settings, run on this machine before and after a release."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from contextlib import suppress
from threading import Timer

from orchestrator.errors import OrchestratorError
from orchestrator.report import Reporter
from orchestrator.steps import RunHook


def run(step: RunHook, report: Reporter) -> None:
    """Runs the command to its end, its output on ours; OrchestratorError when it fails or takes too long.

    It runs in the current folder with this process's environment and what the step adds, in a process group of its
    own, so that nothing it started outlives it.
    """
    last: deque[str] = deque(maxlen=20)
    try:
        child = subprocess.Popen(
            step.command,
            env=dict(os.environ) | dict(step.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise OrchestratorError(
            f"the hook {step.target} could not be started: {error.strerror}.", hint="see [release] in the settings."
        ) from error
    late: list[bool] = []

    def end_all() -> None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    def expire() -> None:
        late.append(True)
        end_all()

    timer = Timer(step.timeout, expire)
    timer.start()
    try:
        for line in child.stdout or ():
            last.append(line.rstrip())
            report.say(f"     {line.rstrip()}")
        code = child.wait()
    finally:
        timer.cancel()
        end_all()
        child.wait()
        if child.stdout:
            child.stdout.close()
    if code != 0 or late:
        how = f"did not end within {step.timeout:g} s" if late else f"ended with code {code}"
        raise OrchestratorError(f"the hook {step.target} {how}.", detail=tuple(last))
