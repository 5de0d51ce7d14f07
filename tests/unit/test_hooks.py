"""Commands around a release, run as real processes of this machine."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from orchestrator import hooks
from orchestrator.errors import OrchestratorError
from orchestrator.report import Reporter
from orchestrator.steps import RunHook
from tests.unit.stacks import quiet


def hook(*command: str, **more: Any) -> RunHook:
    return RunHook(" ".join(command), "", command=command, **more)


def gone(pid: int) -> bool:
    """Whether a process has ended, waited for a moment."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_output_is_shown_and_errors_too() -> None:
    out = io.StringIO()
    hooks.run(hook("sh", "-c", "echo one; echo two >&2"), Reporter(out))
    assert out.getvalue().split() == ["one", "two"]


def test_environment_is_ours_and_what_the_step_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "1")
    out = io.StringIO()
    hooks.run(hook("sh", "-c", "echo $MINE $RELEASE", environment={"RELEASE": "r1"}), Reporter(out))
    assert out.getvalue().strip() == "1 r1"


def test_nothing_is_read_from_our_input() -> None:
    hooks.run(hook("cat"), quiet())


def test_failure_has_the_last_lines() -> None:
    with pytest.raises(OrchestratorError, match=r"the hook sh -c .* ended with code 7") as caught:
        hooks.run(hook("sh", "-c", "seq 30; exit 7"), quiet())
    assert caught.value.detail == tuple(str(number) for number in range(11, 31))


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(OrchestratorError) as caught:
        hooks.run(hook("sh", "-c", r"printf '\377\n'; exit 1"), quiet())
    assert caught.value.detail == ("\ufffd",)


@pytest.mark.parametrize("command", ["no-such-command-here", "/etc"])
def test_command_that_can_not_be_started(command: str) -> None:
    with pytest.raises(OrchestratorError, match=f"the hook {command} could not be started") as caught:
        hooks.run(hook(command), quiet())
    assert "[release]" in caught.value.hint


@pytest.mark.parametrize(
    "script", ["sleep 60 & echo $! >{file}; wait", "sleep 60 & echo $! >{file}; exit 0"], ids=["waits", "leaves"]
)
def test_one_that_takes_too_long_has_failed_with_all_that_it_started(script: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(OrchestratorError, match=r"did not end within 0.3 s"):
        hooks.run(hook("sh", "-c", script.format(file=tmp_path / "pid"), timeout=0.3), quiet())
    assert time.monotonic() - began < 10
    assert gone(int((tmp_path / "pid").read_text()))


def test_nothing_that_it_started_outlives_it(tmp_path: Path) -> None:
    hooks.run(hook("sh", "-c", f"sleep 60 >/dev/null 2>&1 & echo $! >{tmp_path / 'pid'}"), quiet())
    assert gone(int((tmp_path / "pid").read_text()))


def test_ctrl_c_ends_it() -> None:
    out = io.StringIO()
    timer = Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        hooks.run(
            hook(sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"), Reporter(out)
        )
    timer.join()
    assert gone(int(out.getvalue()))
