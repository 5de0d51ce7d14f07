"""The Engine API's documents: labels, hardening, units, and the hash that says whether a container is still right."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator import create_args, labels
from orchestrator.errors import OrchestratorError
from orchestrator.model import ServiceSpec
from tests.unit.stacks import APP, BACKUP, PROXY, STACK


def body(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"image": "shop-app:aaa", "image_id": "sha256:1", "release": "r1", "number": 3} | more
    return create_args.container_body(STACK, APP, **given)


def test_labels_of_a_container() -> None:
    found = body()["Labels"]
    digest = create_args.config_hash(APP)
    assert json.loads(found.pop(labels.SPEC)) == create_args.fingerprint(APP)
    assert found == {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "app",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.container-number": "3",
        "com.docker.compose.config-hash": digest,
        "com.docker.compose.image": "sha256:1",
        "com.docker.compose.version": "1.29.2",
        "com.docker.compose.project.working_dir": "/",
        "com.docker.compose.project.config_files": "docker-compose.yml",
        "orchestrator.role": "service",
        "orchestrator.release": "r1",
    }


def test_volumes_and_networks_have_no_hash() -> None:
    volume = create_args.volume_body(STACK, STACK.volumes[0])
    network = create_args.network_body(STACK, STACK.networks[0])
    assert volume == {
        "Name": "shop_data",
        "Driver": "local",
        "Labels": {
            "com.docker.compose.project": "shop",
            "com.docker.compose.volume": "data",
            "com.docker.compose.version": "1.29.2",
        },
    }
    assert network["Labels"]["com.docker.compose.network"] == "internal"
    assert network["Internal"] is True
    assert not [key for key in (*volume["Labels"], *network["Labels"]) if "hash" in key]


@pytest.mark.parametrize("spec", STACK.services, ids=lambda spec: spec.name)
def test_hardening(spec: Any) -> None:
    made = create_args.container_body(STACK, spec, image="i", image_id="", release="", number=1)
    host = made["HostConfig"]
    assert made["User"].split(":")[0] not in ("", "0", "root")
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["PidsLimit"] > 0
    assert host["Memory"] == host["MemorySwap"] > 0
    assert host["NanoCpus"] > 0
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert "Privileged" not in host
    assert "Binds" not in host
    assert all(mount["Type"] == "volume" for mount in host["Mounts"])


def test_units() -> None:
    assert body()["Healthcheck"] == {
        "Test": ["CMD", "/usr/local/bin/probe", "8000", "/health"],
        "Interval": 1_000_000_000,
        "Timeout": 3_000_000_000,
        "StartPeriod": 30_000_000_000,
        "Retries": 3,
    }
    assert create_args.healthcheck(replace(APP, healthcheck=None)) == {"Test": ["NONE"]}
    assert create_args.host_config(STACK, replace(APP, cpus=0.1))["NanoCpus"] == 100_000_000


def test_networks() -> None:
    assert body()["NetworkingConfig"] == {"EndpointsConfig": {"shop_internal": {"Aliases": ["app"]}}}
    assert body()["HostConfig"]["NetworkMode"] == "shop_internal"
    backup = create_args.container_body(STACK, BACKUP, image="i", image_id="", release="", number=1)
    assert backup["HostConfig"]["NetworkMode"] == "none"
    assert "NetworkingConfig" not in backup
    assert create_args.network_names(STACK, PROXY) == ("shop_internal", "shop_edge")


def test_ports() -> None:
    made = create_args.container_body(STACK, PROXY, image="i", image_id="", release="", number=1)
    assert made["ExposedPorts"] == {"8080/tcp": {}}
    assert made["HostConfig"]["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}


def test_environment_has_the_release_and_its_secrets() -> None:
    assert body()["Env"] == ["LOG_LEVEL=info", "SECRET_KEY=hunter2", "RELEASE=r1"]
    assert body(release="")["Env"] == ["LOG_LEVEL=info", "SECRET_KEY=hunter2"]


def test_secrets_are_only_digests_in_labels() -> None:
    text = json.dumps(body()["Labels"])
    assert "hunter2" not in text
    changed = replace(APP, environment={"LOG_LEVEL": "info", "SECRET_KEY": "hunter3"})
    assert create_args.config_hash(changed) != create_args.config_hash(APP)
    empty = replace(APP, environment={"SECRET_KEY": ""})
    assert create_args.fingerprint(empty)["environment"] == {"SECRET_KEY": ""}


def test_hash_is_of_what_is_meant() -> None:
    turned = replace(APP, environment=dict(reversed(list(APP.environment.items()))))
    assert create_args.config_hash(turned) == create_args.config_hash(APP), "the order of variables means nothing"
    assert create_args.config_hash(replace(APP, cpus=1.5)) != create_args.config_hash(APP)


def test_fingerprint_survives_json() -> None:
    for spec in STACK.services:
        found = create_args.fingerprint(spec)
        assert json.loads(json.dumps(found)) == found


def test_one_off() -> None:
    made = create_args.oneoff_body(
        STACK, APP, image="i", command=("migrate", "now"), role=labels.ROLE_STEP, release="r2"
    )
    assert made["Cmd"] == ["migrate", "now"]
    assert made["Labels"] == {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "app",
        "com.docker.compose.oneoff": "True",
        "com.docker.compose.container-number": "1",
        "com.docker.compose.version": "1.29.2",
        "orchestrator.role": "step",
    }
    host = made["HostConfig"]
    assert (host["NetworkMode"], host["PortBindings"], host["RestartPolicy"]) == ("none", {}, {"Name": "no"})
    assert "NetworkingConfig" not in made
    assert made["Healthcheck"] == {"Test": ["NONE"]}
    assert host["Mounts"] == body()["HostConfig"]["Mounts"]
    assert (host["ReadonlyRootfs"], host["Memory"]) == (True, APP.memory)
    assert "RELEASE=r2" in made["Env"]


TODAY = replace(APP, image="shop-app:new", command=("new",), memory=1, environment={"SECRET_KEY": "hunter3"})


@pytest.mark.parametrize("spec", STACK.services, ids=lambda spec: spec.name)
def test_restored_is_what_the_fingerprint_was_made_of(spec: ServiceSpec) -> None:
    document = json.loads(json.dumps(create_args.fingerprint(spec)))
    found, changed = create_args.restored(document, spec, spec.image)
    assert (found, changed) == (replace(spec, target=None), ())
    assert create_args.config_hash(found) == create_args.config_hash(spec)
    given: dict[str, Any] = {"image": "i", "image_id": "", "release": "r", "number": 1}
    assert create_args.container_body(STACK, found, **given) == create_args.container_body(STACK, spec, **given)


def test_restored_takes_the_older_settings_and_todays_way_of_releasing() -> None:
    today = replace(TODAY, environment=APP.environment, migrate=("m",), replicas=3, depends_on=("x",))
    found, _ = create_args.restored(create_args.fingerprint(APP), today, "shop-app:old")
    assert (found.image, found.command, found.memory) == ("shop-app:old", (), APP.memory)
    assert (found.migrate, found.replicas, found.depends_on) == (("m",), 3, ("x",))


@pytest.mark.parametrize(
    ("environment", "restored", "changed"),
    [
        ({"SECRET_KEY": "hunter2"}, "hunter2", ()),
        ({"SECRET_KEY": "hunter3"}, "hunter3", ("SECRET_KEY",)),
        ({}, "", ("SECRET_KEY",)),
    ],
    ids=["the same", "another", "none"],
)
def test_secrets_are_todays_and_named(environment: dict[str, str], restored: str, changed: tuple[str, ...]) -> None:
    """A credential that was changed since must not come back, and can't: the record holds only its digest."""
    today = replace(APP, environment=environment)
    found, named = create_args.restored(create_args.fingerprint(APP), today, "i")
    assert dict(found.environment) == {"LOG_LEVEL": "info", "SECRET_KEY": restored}
    assert named == changed


def test_an_empty_secret_is_none() -> None:
    older = create_args.fingerprint(replace(APP, environment={"SECRET_KEY": ""}))
    found, changed = create_args.restored(older, TODAY, "i")
    assert (dict(found.environment), changed) == ({"SECRET_KEY": ""}, ())


@pytest.mark.parametrize(
    "change",
    [{"unheard_of": 1}, {"mounts": [{"nonsense": 1}]}, {"environment": None}, {"healthcheck": {"test": []}}],
    ids=lambda change: next(iter(change)),
)
def test_a_document_of_another_version_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(OrchestratorError, match="the settings of that release are not understood") as caught:
        create_args.restored(create_args.fingerprint(APP) | change, APP, "i")
    assert "check its commit out" in caught.value.hint


def test_an_empty_document_is_refused() -> None:
    with pytest.raises(OrchestratorError, match="not understood"):
        create_args.restored({}, APP, "i")
