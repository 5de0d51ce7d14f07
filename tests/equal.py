"""Whether two stacks on an engine are the same: what it says of their containers, networks and volumes, field by field.

`DIFFERENCES` is all in which a stack that Compose has brought up may differ from one that `deploy` made. It is what the
README shows, and a row that no longer happens is an error, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.engine.stack import SERVICE, Project

Document = Mapping[str, Any]
#: The versions of Compose.
V1, V2 = "v1", "v2"


@dataclass(frozen=True)
class Difference:
    """Fields of one kind of object (`*` is any text) that may differ with these versions of Compose, and why."""

    kind: str
    fields: tuple[str, ...]
    because: str
    versions: tuple[str, ...] = (V1, V2)


_ADDRESSES = tuple(
    f"NetworkSettings.Networks.*.{name}"
    for name in ("EndpointID", "NetworkID", "IPAddress", "IPPrefixLen", "Gateway", "MacAddress")
)
DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "container",
        ("Id", "Created", "State.Pid", "State.StartedAt", "State.Health.Log.*", "ExecIDs.*", "GraphDriver.Data.*"),
        "times, health probes, and ids that the engine gives to each anew",
    ),
    Difference(
        "container",
        ("NetworkSettings.SandboxID", "NetworkSettings.SandboxKey", *_ADDRESSES),
        "the same for its place in the networks",
    ),
    Difference(
        "container",
        (
            "Name",
            "NetworkSettings.Networks.*.DNSNames.PROJECT*",
            "NetworkSettings.Networks.*.Aliases.PROJECT*",
            "NetworkSettings.Networks.*.Aliases.ID*",
        ),
        "a container of ours is named after its release, since two of them run side by side for a while; v1 makes the "
        "id an alias and v2 the name, by which containers are found without that, too",
    ),
    Difference(
        "container",
        ("Config.Image", "Image", "ImageManifestDescriptor.*"),
        "each has built its own from one Dockerfile; ours is tagged with the digest of what it was made of",
    ),
    Difference(
        "container",
        ("Config.Env.RELEASE", "Config.Env.ENGINE"),
        "`compose` stands for the release; snapshots note the engine's version where it is known",
    ),
    Difference(
        "container",
        ("Config.Labels.orchestrator.*",),
        "what plans are made from; Compose's proxy has `orchestrator.spec`, by which it stays where it is",
    ),
    Difference(
        "container",
        (
            "Config.Labels.com.docker.compose.config-hash",
            "Config.Labels.com.docker.compose.image",
            "Config.Labels.com.docker.compose.project.working_dir",
        ),
        "Compose's notes on how it made the container; the folder of the checkout is no business of the engine's",
    ),
    Difference(
        "container",
        (
            "Config.Labels.com.docker.compose.depends_on",
            "Config.Labels.com.docker.compose.project.config_files",
            "Config.Labels.com.docker.compose.version",
        ),
        "the same; ours are as v1 writes them",
        (V2,),
    ),
    Difference(
        "container",
        ("HostConfig.Binds.*", "HostConfig.Mounts.*", "Mounts.*.Mode"),
        "two ways to ask for a volume; what came of it, in `Mounts`, is the same",
        (V1,),
    ),
    Difference(
        "container",
        ("Config.AttachStdout", "Config.AttachStderr"),
        "says that Compose v2 would show the output; the engine does nothing with it",
        (V2,),
    ),
    Difference(
        "network",
        ("Id", "Created", "Containers.*", "IPAM.Config.*.Subnet", "IPAM.Config.*.Gateway"),
        "ids, times and addresses; which containers are in it is compared on their side",
    ),
    Difference("network", ("Attachable",), "means something in Swarm alone", (V1,)),
    Difference("network", ("Labels.com.docker.compose.version",), "ours are as v1 writes them", (V2,)),
    Difference("volume", ("CreatedAt",), "times"),
    Difference("volume", ("Labels.com.docker.compose.version",), "ours are as v1 writes them", (V2,)),
)
#: Lists whose order means nothing.
SETS = ("Aliases", "Binds", "CapAdd", "CapDrop", "DNSNames", "SecurityOpt")


@dataclass(frozen=True)
class Documents:
    """The inspect documents of one stack: containers by service, networks and volumes by their names. `own` are texts
    that are its alone, with what stands for them in a comparison."""

    containers: Mapping[str, Document]
    networks: Mapping[str, Document]
    volumes: Mapping[str, Document]
    own: Mapping[str, str] = field(default_factory=dict)


def documents(project: Project) -> Documents:
    """What the engine says of a project's stack."""
    api = project.client.api
    containers = {c.labels[SERVICE]: api.inspect_container(str(c.id)) for c in project.containers()}
    own = {project.name: "PROJECT", str(project.port): "PORT"}
    for service, document in containers.items():
        own |= {document["Id"]: f"ID-{service}", document["Id"][:12]: f"ID-{service}"}
    return Documents(
        containers,
        {name: api.inspect_network(name) for name in project.networks()},
        {name: api.inspect_volume(name) for name in project.volumes()},
        own,
    )


def compare(ours: Documents, theirs: Documents, version: str) -> tuple[list[str], set[Difference]]:
    """What differs and may not, a line each; and the allowed differences that were found."""
    wrong, used = [], set()
    for kind in ("container", "network", "volume"):
        here, there = (flat(getattr(stack, f"{kind}s"), stack.own) for stack in (ours, theirs))
        for path in sorted(here.keys() | there.keys()):
            name, _, inside = path.partition(".")
            one, other = here.get(path), there.get(path)
            if one == other:
                continue
            allowed = [
                rule
                for rule in DIFFERENCES
                if rule.kind == kind
                and version in rule.versions
                and any(fnmatchcase(inside, pattern) for pattern in rule.fields)
            ]
            used.update(allowed)
            if not allowed:
                wrong.append(f"{kind} {name}, {inside}: {one!r} by deploy, {other!r} by Compose {version}")
    return wrong, used


def stale(used: Iterable[Difference], version: str) -> list[str]:
    """What is allowed with a version of Compose, and was not found."""
    found = set(used)
    return [", ".join(rule.fields) for rule in DIFFERENCES if version in rule.versions and rule not in found]


def flat(document: object, own: Mapping[str, str] = {}) -> dict[str, object]:
    """Every field that says something, by its path. Nothing set is the same however it is written: null, 0, false and
    what is empty."""
    longest_first = "|".join(map(re.escape, sorted(own, key=len, reverse=True)))
    names = re.compile(rf"(?<![0-9a-z])(?:{longest_first})(?![0-9a-z])")

    def plain(text: str) -> str:
        return names.sub(lambda match: own[match[0]], text) if own else text

    return {plain(path): plain(value) if isinstance(value, str) else value for path, value in _leaves(document, "")}


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for key, inner in _entries(path.rpartition(".")[2], value):
            yield from _leaves(inner, f"{path}.{key}")
    elif value:
        yield path, value


def _entries(name: str, values: list[Any]) -> Iterable[tuple[str, Any]]:
    """What tells the entries of a list apart, and the entries."""
    if name == "Env":
        return [(entry.partition("=")[0], entry) for entry in values]
    if name == "Mounts":
        return [(mount.get("Destination") or mount["Target"], mount) for mount in values]
    if name in SETS:
        return [(entry, True) for entry in values]
    return [(str(number), entry) for number, entry in enumerate(values)]


def table() -> str:
    """The allowed differences as the README shows them."""
    lines = ["| of a | fields | with | because |", "|---|---|---|---|"]
    for rule in DIFFERENCES:
        versions = "both" if len(rule.versions) > 1 else rule.versions[0]
        fields = ", ".join(f"`{name}`" for name in rule.fields)
        lines.append(f"| {rule.kind} | {fields} | {versions} | {rule.because} |")
    return "\n".join(lines) + "\n"
