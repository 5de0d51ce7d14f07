"""Observed: what the engine has, parsed from its inspect documents."""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestrator import history, labels, proxy
from orchestrator.history import Record


@dataclass(frozen=True)
class Limits:
    """What of a container anybody can change behind our back with `docker update` or `docker network disconnect`."""

    memory: int
    nano_cpus: int
    pids: int
    restart: str
    networks: frozenset[str]


@dataclass(frozen=True)
class ObservedContainer:
    """`state` and `health` are the engine's words; `health` is "none" without a health check. Times are ISO, UTC."""

    id: str
    name: str
    service: str
    number: int
    image: str
    image_id: str
    state: str
    health: str
    exit_code: int
    restarts: int
    created: str
    started: str
    role: str
    oneoff: bool
    release: str
    spec: Mapping[str, Any] | None
    limits: Limits
    oom_killed: bool = False
    #: Of its image; see labels.
    fixed: str = ""
    schema: str = ""

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def healthy(self) -> bool:
        return self.running and self.health in ("healthy", "none")


@dataclass(frozen=True)
class ObservedNetwork:
    id: str
    name: str
    key: str
    internal: bool


@dataclass(frozen=True)
class Observed:
    """One project on one engine. `images` maps the tags of its repositories to ids, `built` those ids to when they were
    built; `records` is its history; `scratch` are those of the volumes that a rehearsal has made."""

    containers: tuple[ObservedContainer, ...] = ()
    networks: tuple[ObservedNetwork, ...] = ()
    volumes: frozenset[str] = frozenset()
    images: Mapping[str, str] = field(default_factory=dict)
    built: Mapping[str, datetime] = field(default_factory=dict)
    proxy: proxy.Volume = field(default_factory=proxy.Volume)
    records: tuple[Record, ...] = ()
    scratch: frozenset[str] = frozenset()

    @property
    def upstream(self) -> str:
        """The proxy's upstream file."""
        return self.proxy.upstream

    def of(self, service: str) -> tuple[ObservedContainer, ...]:
        """The service's containers, without one-off ones, oldest first."""
        mine = (c for c in self.containers if c.service == service and not c.oneoff)
        return tuple(sorted(mine, key=lambda c: (c.created, c.name)))

    @property
    def oneoffs(self) -> tuple[ObservedContainer, ...]:
        return tuple(c for c in self.containers if c.oneoff)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def parse_container(document: Mapping[str, Any]) -> ObservedContainer:
    """From `GET /containers/{id}/json`. A foreign or broken spec label is read as none."""
    config, state, host = document["Config"], document["State"], document["HostConfig"]
    label: Mapping[str, str] = config.get("Labels") or {}
    try:
        spec = json.loads(label[labels.SPEC])
    except (KeyError, ValueError):
        spec = None
    return ObservedContainer(
        id=document["Id"],
        name=str(document["Name"]).removeprefix("/"),
        service=label.get(labels.SERVICE, ""),
        number=_number(label.get(labels.NUMBER, "")),
        image=config.get("Image", ""),
        image_id=document["Image"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", "none"),
        exit_code=int(state.get("ExitCode", 0)),
        restarts=int(document.get("RestartCount", 0)),
        created=document["Created"],
        started=state.get("StartedAt", ""),
        role=label.get(labels.ROLE, ""),
        oneoff=label.get(labels.ONEOFF, "False") == "True",
        release=label.get(labels.RELEASE, ""),
        spec=spec if isinstance(spec, dict) else None,
        limits=Limits(
            memory=int(host.get("Memory") or 0),
            # Compose writes the same limit as a share of each 100 ms, in microseconds.
            nano_cpus=int(host.get("NanoCpus") or 0) or int(host.get("CpuQuota") or 0) * 10_000,
            pids=int(host.get("PidsLimit") or 0),
            restart=(host.get("RestartPolicy") or {}).get("Name") or "no",
            networks=frozenset((document.get("NetworkSettings") or {}).get("Networks") or {}) - {"none"},
        ),
        oom_killed=bool(state.get("OOMKilled")),
        fixed=label.get(labels.FIXED, ""),
        schema=label.get(labels.SCHEMA, ""),
    )


def parse_network(document: Mapping[str, Any]) -> ObservedNetwork:
    """From `GET /networks`."""
    return ObservedNetwork(
        id=document["Id"],
        name=document["Name"],
        key=(document.get("Labels") or {}).get(labels.NETWORK_KEY, ""),
        internal=bool(document.get("Internal")),
    )


def scratch_volumes(documents: Iterable[Mapping[str, Any]], project: str) -> frozenset[str]:
    """From `GET /volumes`: the names of those that a rehearsal of this project has made. By their labels alone: a name
    may be anybody's."""
    marks = {labels.PROJECT: project, labels.ROLE: labels.ROLE_REHEARSAL}.items()
    return frozenset(volume["Name"] for volume in documents if marks <= (volume.get("Labels") or {}).items())


def parse_volume(files: Mapping[str, bytes]) -> tuple[proxy.Volume, tuple[Record, ...]]:
    """From the files of the proxy's volume: its state, and the history of releases."""
    volume = proxy.parse_volume(files, history.FOLDER)
    return volume, history.parse(volume.records)


def moment(iso: str) -> datetime:
    """The engine's time, which has more digits than Python reads, to the second."""
    return datetime.fromisoformat(iso[:19] + "+00:00")


def unix_time(iso: str) -> tuple[int, str]:
    """`2026-11-24T10:15:02.123456789Z` as whole seconds and the fraction's digits."""
    whole, _, fraction = iso.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")), (fraction or "0")[:9]


def last_probe(document: Mapping[str, Any]) -> str:
    """The output of a container's most recent health probe, or ""."""
    log = (document["State"].get("Health") or {}).get("Log") or []
    return str(log[-1].get("Output", "")).strip() if log else ""
