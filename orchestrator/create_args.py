"""ServiceSpec -> the Engine API's documents, and the hash that tells whether a container is still what is wanted.

The documents are the API's own (docker-py's `create_container_from_config` takes them as they are), so what a field
becomes is readable in the API reference. Durations there are nanoseconds, sizes bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from orchestrator import labels
from orchestrator.errors import OrchestratorError
from orchestrator.model import SECRET_NAME, Bind, Healthcheck, Mount, Network, Port, ServiceSpec, Stack, Volume

#: The engine's own weight of a container's processor time, and that of one that starts or stops beside the release
#: that serves, which comes first where processors are scarce.
CPU_SHARES, GIVES_WAY = 1024, 32


def fingerprint(spec: ServiceSpec) -> dict[str, Any]:
    """What of a service decides whether its container must be replaced, as JSON values; secrets only as digests."""
    document = dataclasses.asdict(spec)
    for elsewhere in (
        "image",
        "target",
        "folder",
        "depends_on",
        "migrate",
        "migrate_check",
        "migrate_files",
        "replicas",
    ):
        # Which image it is, is known by the image's id; the others change nothing in a container.
        del document[elsewhere]
    if not spec.binds:
        # As before there were any: a container of an older version of ours is still right.
        del document["binds"]
    document["environment"] = {key: _masked(key, value) for key, value in spec.environment.items()}
    normal: dict[str, Any] = json.loads(json.dumps(document, sort_keys=True))
    return normal


def restored(document: Mapping[str, Any], today: ServiceSpec, image: str) -> tuple[ServiceSpec, tuple[str, ...]]:
    """The service that a fingerprint was made of, and the names of its secrets that have another value today.

    A fingerprint holds no secret, so secrets are `today`'s: a credential that was changed since must not come back.
    Raises OrchestratorError for one that this version does not understand.
    """
    changed: list[str] = []
    environment: dict[str, str] = {}
    try:
        for name, value in document["environment"].items():
            if SECRET_NAME.search(name) and value:
                environment[name] = today.environment.get(name, "")
                if _masked(name, environment[name]) != value:
                    changed.append(name)
            else:
                environment[name] = value
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in document.items()
            if key not in ("environment", "mounts", "binds", "ports", "healthcheck")
        }
        check = document["healthcheck"]
        spec = dataclasses.replace(
            today,
            image=image,
            target=None,
            folder="",
            environment=environment,
            mounts=tuple(Mount(**mount) for mount in document["mounts"]),
            binds=tuple(Bind(**bind) for bind in document.get("binds", ())),
            ports=tuple(Port(**port) for port in document["ports"]),
            healthcheck=check and Healthcheck(**check | {"test": tuple(check["test"])}),
            **plain,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise OrchestratorError(
            f"the settings of that release are not understood ({error}).", hint="check its commit out and `deploy`."
        ) from error
    return spec, tuple(changed)


def _masked(name: str, value: str) -> str:
    if SECRET_NAME.search(name) and value:
        return "sha256:" + hashlib.sha256(value.encode()).hexdigest()[:16]
    return value


def spec_label(spec: ServiceSpec) -> str:
    """The fingerprint as the text of a label."""
    return json.dumps(fingerprint(spec), sort_keys=True)


def config_hash(spec: ServiceSpec) -> str:
    """sha256 of the fingerprint, hexadecimal."""
    return hashlib.sha256(spec_label(spec).encode()).hexdigest()


def resource_labels(stack: Stack, kind: str, key: str) -> dict[str, str]:
    """The labels of a network or volume; never a config-hash, which makes Compose v5 plan to recreate volumes."""
    return {labels.PROJECT: stack.project, kind: key, labels.VERSION: labels.COMPOSE_VERSION}


def network_body(stack: Stack, network: Network) -> dict[str, Any]:
    return {
        "Name": network.name,
        "Driver": "bridge",
        "Internal": network.internal,
        "CheckDuplicate": True,
        "Labels": resource_labels(stack, labels.NETWORK_KEY, network.key),
    }


def scratch_body(stack: Stack, name: str) -> dict[str, Any]:
    """A volume of a rehearsal. Not one of Compose's: no key of the stack's is its."""
    return {
        "Name": name,
        "Driver": "local",
        "Labels": {labels.PROJECT: stack.project, labels.ROLE: labels.ROLE_REHEARSAL},
    }


def volume_body(stack: Stack, volume: Volume) -> dict[str, Any]:
    return {"Name": volume.name, "Driver": "local", "Labels": resource_labels(stack, labels.VOLUME_KEY, volume.key)}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000_000)


def healthcheck(spec: ServiceSpec) -> dict[str, Any]:
    """The API's HealthConfig; a service without one has its image's switched off, so that ours alone counts."""
    check = spec.healthcheck
    if check is None:
        return {"Test": ["NONE"]}
    return {
        "Test": ["CMD", *check.test],
        "Interval": _nanoseconds(check.interval),
        "Timeout": _nanoseconds(check.timeout),
        "StartPeriod": _nanoseconds(check.start_period),
        "Retries": check.retries,
    }


def host_config(stack: Stack, spec: ServiceSpec) -> dict[str, Any]:
    return {
        "Mounts": [
            {
                "Type": "volume",
                "Source": stack.volume(mount.volume).name,
                "Target": mount.target,
                "ReadOnly": mount.read_only,
            }
            for mount in spec.mounts
        ]
        + [{"Type": "bind", "Source": b.source, "Target": b.target, "ReadOnly": True} for b in spec.binds],
        "NetworkMode": network_names(stack, spec)[0] if spec.networks else "none",
        "PortBindings": {f"{p.target}/tcp": [{"HostIp": p.bind, "HostPort": p.published}] for p in spec.ports},
        "RestartPolicy": {"Name": spec.restart},
        "Memory": spec.memory,
        "MemorySwap": spec.memory,
        "NanoCpus": round(spec.cpus * 1_000_000_000),
        "PidsLimit": spec.pids,
        # The engine's init passes signals on even while the service's own process is still starting up.
        "Init": True,
        "ReadonlyRootfs": True,
        "Tmpfs": dict(spec.tmpfs),
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": spec.log_max_size, "max-file": str(spec.log_max_file)},
        },
    }


def network_names(stack: Stack, spec: ServiceSpec) -> tuple[str, ...]:
    by_key = {network.key: network.name for network in stack.networks}
    return tuple(by_key[key] for key in spec.networks)


def service_labels(stack: Stack, spec: ServiceSpec, *, image_id: str, release: str, number: int) -> dict[str, str]:
    digest = config_hash(spec)
    return {
        labels.PROJECT: stack.project,
        labels.SERVICE: spec.name,
        labels.NUMBER: str(number),
        labels.ONEOFF: "False",
        "com.docker.compose.config-hash": digest,
        "com.docker.compose.image": image_id,
        labels.VERSION: labels.COMPOSE_VERSION,
        "com.docker.compose.project.working_dir": "/",
        "com.docker.compose.project.config_files": "docker-compose.yml",
        labels.ROLE: labels.ROLE_SERVICE,
        labels.SPEC: spec_label(spec),
        labels.RELEASE: release,
    }


def container_body(
    stack: Stack, spec: ServiceSpec, *, image: str, image_id: str, release: str, number: int
) -> dict[str, Any]:
    """The API's container-create document of a service."""
    environment: Mapping[str, str] = dict(spec.environment) | ({"RELEASE": release} if release else {})
    body: dict[str, Any] = {
        "Image": image,
        "User": spec.user,
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "Labels": service_labels(stack, spec, image_id=image_id, release=release, number=number),
        "StopTimeout": round(spec.stop_grace_period),
        "Healthcheck": healthcheck(spec),
        "ExposedPorts": {f"{port.target}/tcp": {} for port in spec.ports},
        "HostConfig": host_config(stack, spec),
    }
    if spec.command:
        body["Cmd"] = list(spec.command)
    if spec.networks:
        body["NetworkingConfig"] = {"EndpointsConfig": {network_names(stack, spec)[0]: {"Aliases": [spec.name]}}}
    return body


def oneoff_body(
    stack: Stack,
    spec: ServiceSpec,
    *,
    image: str,
    command: tuple[str, ...],
    role: str,
    release: str = "",
    network: str = "none",
    stdin: bool = False,
) -> dict[str, Any]:
    """A container of the service's image, user, data and limits that runs one command and is then removed.

    It gets no network unless one is named: a migration and a snapshot need the volume alone. `stdin` lets it be given
    something when it starts.
    """
    alone = alone_body(stack, spec, image=image, role=role, release=release)
    body = alone | {"Cmd": list(command), "Healthcheck": {"Test": ["NONE"]}}
    body["HostConfig"] = body["HostConfig"] | {"NetworkMode": network}
    if stdin:
        body |= {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
    return body


def alone_body(stack: Stack, spec: ServiceSpec, *, image: str, role: str, release: str = "") -> dict[str, Any]:
    """The service as it is, its health check too, but seen and reached by nobody: no network, no port, no restart."""
    alone = dataclasses.replace(spec, networks=(), ports=(), restart="no")
    body = container_body(stack, alone, image=image, image_id="", release=release, number=1)
    marks = {
        labels.PROJECT: stack.project,
        labels.SERVICE: spec.name,
        labels.NUMBER: "1",
        labels.ONEOFF: "True",
        labels.VERSION: labels.COMPOSE_VERSION,
        labels.ROLE: role,
    }
    return body | {"Labels": marks}
