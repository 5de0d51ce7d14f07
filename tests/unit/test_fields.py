"""Every field of the model reaches the Compose document, the create arguments and the hash that says whether a
container is still what is wanted; or stands in a short list with the reason. A new field without a case fails."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import yaml

from orchestrator import compose, create_args, model
from orchestrator.model import Bind, Mount, Network, Port, ServiceSpec, Stack, Volume
from tests.unit.stacks import APP, CHECK, PROXY, STACK, with_releases, with_service

COMPOSE, API, HASH = "the Compose document", "the create arguments", "the hash"
Change = Callable[[], Stack]


@dataclass(frozen=True)
class Only:
    """Where alone a field is found, and why."""

    places: frozenset[str]
    because: str


def only(because: str, *places: str) -> Only:
    return Only(frozenset(places), because)


def app(**changes: Any) -> Change:
    """A change of the app; it must be one."""
    assert all(getattr(APP, name) != value for name, value in changes.items())
    return lambda: with_service("app", **changes)


def check(**changes: Any) -> Change:
    return app(healthcheck=replace(CHECK, test=("/usr/local/bin/probe", "8000", "/health"), **changes))


def stack(**changes: Any) -> Change:
    return lambda: replace(STACK, **changes)


def renamed(name: str) -> Change:
    """The app by another name, in the places that speak of it, too."""

    def change() -> Stack:
        services = (replace(APP, name=name), replace(PROXY, depends_on=(name,)), *STACK.services[2:])
        return replace(STACK, services=services, upstream=name)

    return change


CASES: dict[str, Change] = {
    "ServiceSpec.name": renamed("other"),
    "ServiceSpec.image": app(image="other"),
    "ServiceSpec.user": app(user="7:7"),
    "ServiceSpec.target": app(target="other"),
    "ServiceSpec.folder": app(folder="../other"),
    "ServiceSpec.command": app(command=("run",)),
    "ServiceSpec.environment": app(environment={"LOG_LEVEL": "debug"}),
    "ServiceSpec.mounts": app(mounts=()),
    "ServiceSpec.binds": app(binds=(Bind("code", "/code"),)),
    "Bind.source": app(binds=(Bind("../other", "/code"),)),
    "Bind.target": app(binds=(Bind("code", "/other"),)),
    "ServiceSpec.networks": app(networks=("edge",)),
    "ServiceSpec.ports": app(ports=(Port("127.0.0.2", "80", 8000),)),
    "ServiceSpec.depends_on": app(depends_on=("backup",)),
    "ServiceSpec.restart": app(restart="always"),
    "ServiceSpec.stop_grace_period": app(stop_grace_period=1.0),
    "ServiceSpec.memory": app(memory=1024**3),
    "ServiceSpec.cpus": app(cpus=2.0),
    "ServiceSpec.pids": app(pids=9),
    "ServiceSpec.tmpfs": app(tmpfs={"/run": "size=1m"}),
    "ServiceSpec.healthcheck": app(healthcheck=None),
    "ServiceSpec.log_max_size": app(log_max_size="1m"),
    "ServiceSpec.log_max_file": app(log_max_file=9),
    "ServiceSpec.migrate": app(migrate=("other",)),
    "ServiceSpec.migrate_check": app(migrate_check=("other",)),
    "ServiceSpec.migrate_files": app(migrate_files=("other",)),
    "ServiceSpec.replicas": app(replicas=2),
    "Healthcheck.test": app(healthcheck=replace(CHECK, test=("/other",))),
    "Healthcheck.interval": check(interval=7.0),
    "Healthcheck.timeout": check(timeout=7.0),
    "Healthcheck.start_period": check(start_period=7.0),
    "Healthcheck.retries": check(retries=7),
    "Mount.volume": app(mounts=(Mount("backups", "/data"),)),
    "Mount.target": app(mounts=(Mount("data", "/other"),)),
    "Mount.read_only": app(mounts=(Mount("data", "/data", read_only=True),)),
    "Port.bind": lambda: with_service("proxy", ports=(Port("127.0.0.2", "8080", 8080),)),
    "Port.published": lambda: with_service("proxy", ports=(Port("127.0.0.1", "9999", 8080),)),
    "Port.target": lambda: with_service("proxy", ports=(Port("127.0.0.1", "8080", 9999),)),
    "Network.key": lambda: replace(
        with_service("proxy", networks=("internal", "other")),
        networks=(STACK.networks[0], Network("other", "shop_edge", internal=False)),
    ),
    "Network.name": stack(networks=(STACK.networks[0], Network("edge", "other", internal=False))),
    "Network.internal": stack(networks=(STACK.networks[0], Network("edge", "shop_edge", internal=True))),
    "Volume.key": lambda: replace(
        with_service("proxy", mounts=(Mount("other", "/etc/nginx/upstream"),)),
        volumes=(STACK.volumes[0], Volume("other", "shop_upstream"), STACK.volumes[2]),
    ),
    "Volume.name": stack(volumes=(STACK.volumes[0], Volume("upstream", "other"), STACK.volumes[2])),
    "Build.args": stack(build=model.Build(args={"PYTHON_IMAGE": "other"})),
    "Releases.drain_timeout": lambda: with_releases(drain_timeout=1.0),
    "Releases.keep": lambda: with_releases(keep=1),
    "Releases.before": lambda: with_releases(before=(("other",),)),
    "Releases.after": lambda: with_releases(after=(("other",),)),
    "Releases.hook_timeout": lambda: with_releases(hook_timeout=1.0),
    "Stack.project": stack(project="other"),
    "Stack.environment": stack(environment="development"),
    "Stack.services": stack(services=STACK.services[:2]),
    "Stack.networks": stack(networks=(*STACK.networks, Network("more", "shop_more", internal=False))),
    "Stack.volumes": stack(volumes=(*STACK.volumes, Volume("more", "shop_more"))),
    "Stack.build": stack(build=model.Build(args={})),
    "Stack.upstream": stack(upstream="backup"),
    "Stack.upstream_port": stack(upstream_port=1),
    "Stack.url": stack(url="http://other/"),
    "Stack.releases": lambda: with_releases(keep=1),
    "Stack.remotes": stack(remotes=("other:",)),
}
_NAMED = "Compose names it after the project and the key itself; a container that has it differs by the key"
_ITS_OWN = "a network and a volume are compared by themselves"
_PLAN = "says how the plan goes about a release; Compose has none, and a container is the same"
_MIGRATION = "is a container of its own; under Compose, the service migrates when it starts"
EXCEPTIONS: dict[str, Only] = {
    "ServiceSpec.image": only("the create arguments get the digest that was built; it is compared by its id", COMPOSE),
    "ServiceSpec.target": only("says how the image is built", COMPOSE),
    "ServiceSpec.folder": only("says how the image is built", COMPOSE),
    "ServiceSpec.depends_on": only("is the order of the plan's steps", COMPOSE),
    "ServiceSpec.migrate": only(_MIGRATION),
    "ServiceSpec.migrate_check": only(_MIGRATION),
    "ServiceSpec.migrate_files": only(_MIGRATION),
    "ServiceSpec.replicas": only("are several equal containers, which the plan counts", COMPOSE),
    "Network.name": only(_NAMED, API),
    "Network.internal": only(_ITS_OWN, COMPOSE, API),
    "Volume.name": only(_NAMED, API),
    "Build.args": only("says how the image is built", COMPOSE),
    "Releases.drain_timeout": only(_PLAN),
    "Releases.keep": only(_PLAN),
    "Releases.before": only(_PLAN),
    "Releases.after": only(_PLAN),
    "Releases.hook_timeout": only(_PLAN),
    "Stack.project": only("Compose has it from COMPOSE_PROJECT_NAME; in the hash it would say nothing", API),
    "Stack.environment": only("says which file the settings came from"),
    "Stack.networks": only(_ITS_OWN, COMPOSE, API),
    "Stack.volumes": only(_ITS_OWN, COMPOSE, API),
    "Stack.build": only("says how images are built", COMPOSE),
    "Stack.upstream": only("the plan knows it; Compose's file gives it the name of its release", COMPOSE),
    "Stack.upstream_port": only("is in the upstream file, which Nginx's image has for Compose"),
    "Stack.url": only("is told to people"),
    "Stack.releases": only(_PLAN),
    "Stack.remotes": only("what the backup service has of it is in its environment"),
}


def composed(stack: Stack) -> Any:
    return yaml.safe_load(compose.render(stack))


def created(stack: Stack) -> Any:
    """All that the engine is told; without a container's labels, which hold the hash and change with everything."""
    containers = {
        spec.name: (
            create_args.container_body(stack, spec, image="i", image_id="id", release="r", number=1) | {"Labels": None},
            create_args.network_names(stack, spec)[1:],
        )
        for spec in stack.services
    }
    networks = [create_args.network_body(stack, network) for network in stack.networks]
    return containers, networks, [create_args.volume_body(stack, volume) for volume in stack.volumes]


def hashes(stack: Stack) -> list[str]:
    return [create_args.config_hash(spec) for spec in stack.services]


PLACES: dict[str, Callable[[Stack], object]] = {COMPOSE: composed, API: created, HASH: hashes}


def test_every_field_of_the_model_has_a_case() -> None:
    classes = [kind for _, kind in inspect.getmembers(model, dataclasses.is_dataclass) if isinstance(kind, type)]
    assert ServiceSpec in classes
    fields = {f"{kind.__name__}.{field.name}" for kind in classes for field in dataclasses.fields(kind)}
    assert fields == CASES.keys()
    assert fields >= EXCEPTIONS.keys()
    assert all(rule.because for rule in EXCEPTIONS.values())


@pytest.mark.parametrize("field", CASES)
def test_each_field_reaches_both_outputs_and_the_hash(field: str) -> None:
    changed = CASES[field]()
    assert changed != STACK
    reached = {place for place, made in PLACES.items() if made(changed) != made(STACK)}
    assert reached == (EXCEPTIONS[field].places if field in EXCEPTIONS else PLACES.keys())


@pytest.mark.parametrize("field", [field for field in CASES if field.split(".")[0] not in ("Stack", "Releases")])
def test_each_field_of_the_hash_comes_back_from_a_release_s_record(field: str) -> None:
    """A rollback makes a container of the record alone."""
    for spec in CASES[field]().services:
        document = json.loads(json.dumps(create_args.fingerprint(spec)))
        # Only a secret's value comes from today's settings.
        today = replace(APP, environment=spec.environment)
        back, _ = create_args.restored(document, today, spec.image)
        assert create_args.fingerprint(back) == create_args.fingerprint(spec)
