"""A real terminal for the tests: a program runs on a pty that is its own, and what it draws is read here."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ESCAPES = re.compile(r"\x1b(\[[0-9;?>=]*[A-Za-z]|[=>]|\][^\x07]*\x07|[()][A-Z0-9])")


@dataclass
class Terminal:
    """`text` is all that was written so far."""

    process: subprocess.Popen[bytes]
    master: int
    text: str = field(default="")

    def plain(self) -> str:
        """What was written, without colours and movements."""
        return _ESCAPES.sub("", self.text).replace("\r", "")

    def read(self, seconds: float) -> bool:
        """Takes in what comes within that time; False when there is nothing more to come."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            try:
                piece = os.read(self.master, 65536)
            except OSError:  # the other end is closed
                return False
            self.text += piece.decode(errors="replace")
            return bool(piece)
        return True

    def until(self, wanted: str, seconds: float = 20) -> str:
        """Waits for a text, colours aside; what was written up to then, and forgets it."""
        end = time.monotonic() + seconds
        while wanted not in self.plain():
            assert time.monotonic() < end, f"{wanted!r} does not come:\n{self.plain()}"
            if not self.read(0.1):
                assert wanted in self.plain(), f"it ended without {wanted!r}:\n{self.plain()}"
                break
        seen, self.text = self.text, ""
        return seen

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self, seconds: float = 20) -> int:
        """Waits for the program's end; its exit code."""
        stop = time.monotonic() + seconds
        while self.read(0.05) and self.process.poll() is None:
            assert time.monotonic() < stop, f"it does not end:\n{self.plain()}"
        code = self.process.wait(max(1.0, stop - time.monotonic()))
        while select.select([self.master], [], [], 0)[0] and self.read(0):
            pass
        return code


@contextlib.contextmanager
def terminal(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str] = {}, rows: int = 40, columns: int = 160
) -> Iterator[Terminal]:
    """Runs a command on a terminal of that size, which Ctrl-C reaches; killed at the end of the block."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    variables = {**os.environ, "TERM": "xterm-256color", **env}
    for size in ("COLUMNS", "LINES"):  # they would come before the terminal's own
        variables.pop(size, None)
    if "NO_COLOR" in os.environ and env.get("NO_COLOR") == os.environ["NO_COLOR"]:
        del variables["NO_COLOR"]  # of whoever runs the tests
    try:
        process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            cwd=cwd,
            env=variables,
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
    finally:
        os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
