"""wrk, a load generator: run for some seconds, and what it found out."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CLIENTS = 16
#: A path at random for each request, all made before the clock starts.
SCRIPT = """
local requests = {}
-- Not before: the Host header is known from here on.
init = function()
  for path in io.lines("%s") do requests[#requests + 1] = wrk.format("GET", path) end
  math.randomseed(1)
end
request = function() return requests[math.random(#requests)] end
"""
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Load:
    """`rate` is in requests/s, `p99` in ms; `wrong` are answers that are neither 2xx nor 3xx, and errors of sockets."""

    rate: float
    p99: float
    requests: int
    wrong: int


def script(folder: Path, name: str, paths: Sequence[str]) -> Path:
    """The file that makes wrk ask for these paths."""
    listed = folder / f"paths-{name}.txt"
    listed.write_text("".join(f"{path}\n" for path in paths))
    made = folder / f"paths-{name}.lua"
    made.write_text(SCRIPT % listed)
    return made


def run(url: str, paths: Path, seconds: float) -> Load:
    """Raises OSError where there is no wrk."""
    command = shutil.which("wrk")
    if command is None:
        raise OSError("no wrk: `apt-get install wrk`")
    asked = [command, "-t1", f"-c{CLIENTS}", f"-d{seconds:.0f}s", "--latency", "-s", str(paths), url]
    return read(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)


def read(text: str) -> Load:
    """What wrk printed."""
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", text, re.MULTILINE)
    p99 = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    requests = re.search(r"^\s+(\d+) requests in ", text, re.MULTILINE)
    assert rate and p99 and requests, f"wrk said:\n{text}"
    wrong = re.search(r"^\s+Non-2xx or 3xx responses: (\d+)", text, re.MULTILINE)
    sockets = re.search(r"^\s+Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text, re.MULTILINE)
    failed = int(wrong[1] if wrong else 0) + sum(map(int, sockets.groups() if sockets else ()))
    return Load(float(rate[1]), float(p99[1]) * UNITS[p99[2]], int(requests[1]), failed)
