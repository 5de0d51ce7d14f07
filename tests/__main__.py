"""`python3 -m tests [--yes] [--no-engine] [PYTEST ARGUMENTS]`: sets up all that the tests need, then runs everything.

Makes the `.venv` when the requirements are not there, finds an engine or (asked, with --yes, or where CI is set)
installs and starts one, runs the checks and then pytest. An engine that was started here is stopped again, one that was
running is left alone. Standard library only until the environment is there.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is where an older Python is told
    from orchestrator import old_python

    sys.exit(old_python.explain("tests"))

import os
import signal
import subprocess
from types import FrameType

from orchestrator import bootstrap, daemon, host, packages
from orchestrator.errors import NoEngine, OrchestratorError

#: One more than there are cores on a small machine, for engine tests wait for containers much of the time. A file's
#: tests share a stack, so they stay together; the long files, those on an engine, begin, and the many short tests fill
#: up the end.
SIDE_BY_SIDE = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")


def main(argv: list[str]) -> int:
    """Set up, check and test; 0 only if all was good."""
    if argv and argv[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    consent = "--yes" in argv or bool(os.environ.get("CI"))
    arguments = [word for word in argv if word not in ("--yes", "--no-engine")]
    try:
        bootstrap.enter(consent=consent)
        engine, missing = (None, 0) if "--no-engine" in argv else provide_engine(consent)
    except OrchestratorError as error:
        return bootstrap.tell(error)
    os.chdir(bootstrap.ROOT)
    # Tools that came with the requirements are found; last, so that `python3` stays what it was.
    os.environ["PATH"] += os.pathsep + os.path.dirname(sys.executable)  # noqa: PTH120 - not resolved: it is a link
    try:
        checked = run([sys.executable, "-m", "tests.check"])
        # Its status 5, no tests at all, is a failure too.
        tested = run([sys.executable, "-m", "pytest", *SIDE_BY_SIDE, *arguments])
    finally:
        if engine is not None:
            daemon.stop(engine)
    # Silent from here on: the last line of all is pytest's.
    return checked or tested or missing


def provide_engine(consent: bool) -> tuple[daemon.Engine | None, int]:
    """(the engine that was started here or None, exit code): without one a person's engine tests are skipped."""
    say = bootstrap.progress()
    try:
        return host.ensure_engine(consent=consent, ask=packages.terminal(), say=say), 0
    except NoEngine as error:
        code = bootstrap.tell(error)
        say("going on without an engine")
        return None, code if consent else 0


def run(command: list[str]) -> int:
    """Run a command to its end and give its exit status; Ctrl-C and SIGTERM let it clean up first.

    The terminal (and `timeout`) send an interrupt to both of us; a SIGTERM reaches us alone and is passed on as one.
    """
    child = subprocess.Popen(command)

    def pass_on(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            child.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
