"""The proxy's volume: which containers it sends requests to, which configuration it runs, what was released before.

`upstream.conf` is the record of which release is live. All scripts here run inside the proxy, as its user.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.errors import UsageError
from orchestrator.model import Stack

FOLDER = "/etc/nginx/upstream"
FILE = "upstream.conf"
PATH = f"{FOLDER}/{FILE}"
#: While this file is there, Nginx answers 503 to everybody but the container itself. Its text says since when.
MAINTENANCE = "maintenance"
#: Says which configuration the proxy runs instead of its image's own; see `config/nginx/use`.
CONFIG_MARK = "config"
_SERVER = re.compile(r"^\s*server\s+([A-Za-z0-9_.-]+):\d+\b[^;]*;", re.MULTILINE)
_USE = "/etc/nginx/use"


@dataclass(frozen=True)
class Volume:
    """What stands on the proxy's volume. `config` is (beginning of a proxy container's id, id of the image whose
    configuration it runs instead of its own), or empty; `records` the files of the releases' history by name."""

    upstream: str = ""
    maintenance: str = ""
    config: tuple[str, str] | tuple[()] = ()
    records: Mapping[str, str] = field(default_factory=dict)


def required(stack: Stack, what: str) -> None:
    """Raises UsageError where the stack has no proxy, which is needed `what` for."""
    if not stack.proxied:
        raise UsageError(
            f"{stack.project} has no proxy, and it takes one {what}.",
            hint="it is a verb for production; see `services.proxy.replicas`.",
        )


def parse_volume(files: Mapping[str, bytes], records_folder: str) -> Volume:
    """From the volume's files, by path below FOLDER."""
    prefix = f"{records_folder}/"
    texts = {name: content.decode(errors="replace") for name, content in files.items()}
    words = texts.get(CONFIG_MARK, "").split()
    return Volume(
        upstream=texts.get(FILE, ""),
        maintenance=texts.get(MAINTENANCE, ""),
        config=(words[0], words[3]) if len(words) == 4 else (),
        records={name.removeprefix(prefix): text for name, text in texts.items() if name.startswith(prefix)},
    )


def upstream_file(hosts: Iterable[str], port: int) -> str:
    """The file that sends all requests to `hosts`, in turn.

    `max_fails=0`: with one target, marking it as failed would only turn one error into ten seconds of errors; with
    several, a request that one refuses goes to the next at once.
    """
    servers = "".join(f"    server {host}:{port} max_fails=0;\n" for host in hosts)
    return f"upstream app {{\n{servers}    keepalive 32;\n}}\n"


def upstream_hosts(text: str) -> tuple[str, ...]:
    """The hosts that an upstream file names."""
    return tuple(_SERVER.findall(text))


def switch(upstream: str, port: int = 0, path: str = "") -> tuple[str, ...]:
    """The command that puts an upstream file into effect: written beside, renamed, tested, reloaded, and `path` asked
    for through `port`. The old file is in effect again, and the exit code not 0, when Nginx does not take it or the
    answer is not 200. With "" the file that is there is read again; without a path nothing is asked."""
    return (_USE, "upstream", upstream, str(port), path)


def use_config(config: str, image: str, config_image: str) -> tuple[str, ...]:
    """The command that makes Nginx run the configuration in the volume's folder `config`, or its image's own with "".

    `image` is the id of the container's image, `config_image` of the one that the configuration comes from; both are
    only noted, for whoever looks at the volume.
    """
    return (_USE, "config", config, image, config_image)


def drained(seconds: int) -> tuple[str, ...]:
    """The command that waits, `seconds` at most, until no worker of an earlier configuration is left; else exit 1."""
    return (_USE, "drained", str(seconds))


def config_folder(image_id: str) -> str:
    """Where on the volume an image's configuration is put."""
    return f"config-{image_id.removeprefix('sha256:')[:12]}"
