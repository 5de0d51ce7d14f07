"""The upstream file: which container the proxy sends requests to. It is the record of which release is live."""

from __future__ import annotations

import re

FOLDER = "/etc/nginx/upstream"
FILE = "upstream.conf"
PATH = f"{FOLDER}/{FILE}"
#: Checks the whole configuration, the new upstream file included.
TEST = ("nginx", "-t", "-q")
RELOAD = ("nginx", "-s", "reload")
#: Lists the worker processes, those of earlier configurations that still finish their requests included.
WORKERS = ("sh", "-c", "grep -l 'nginx: [w]orker process' /proc/[0-9]*/cmdline")
_SERVER = re.compile(r"^\s*server\s+([A-Za-z0-9_.-]+):\d+\b[^;]*;", re.MULTILINE)


def upstream_file(host: str, port: int) -> str:
    """The file that sends all requests to `host`.

    `max_fails=0`: with one target, marking it as failed would only turn one error into ten seconds of errors.
    """
    return f"upstream app {{\n    server {host}:{port} max_fails=0;\n    keepalive 32;\n}}\n"


def workers(output: str) -> frozenset[str]:
    """The process ids in what WORKERS prints; a process that ended meanwhile only leaves a complaint there."""
    return frozenset(re.findall(r"^/proc/(\d+)/cmdline$", output, re.MULTILINE))


def upstream_host(text: str) -> str:
    """The host that an upstream file names, or "" when it names none."""
    match = _SERVER.search(text)
    return match[1] if match else ""
