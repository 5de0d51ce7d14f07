"""Which proxy of another tool is as good as ours."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator import create_args, labels
from orchestrator.adopt import adopt
from orchestrator.plan import reconcile
from orchestrator.session import Session
from orchestrator.steps import MovePort
from tests.unit.memory_engine import MemoryEngine
from tests.unit.stacks import IMAGES, NOW, PROXY, STACK, by_compose, engine, quiet

SCRIPTS = {"config/nginx/use": b"use", "config/nginx/entrypoint": b"enter", "config/probe": b"probe"}
PLACES = {"/etc/nginx/use": b"use", "/etc/nginx/entrypoint": b"enter", "/usr/local/bin/probe": b"probe"}


def image(*layers: str, **config: Any) -> dict[str, Any]:
    return {"RootFS": {"Layers": list(layers)}, "Config": {"User": "10002", "Env": ["A=1"], **config}}


class Bench:
    """What Compose has started, on an engine that knows what its images and containers are made of."""

    def __init__(self, root: Path) -> None:
        self.engine = engine()
        by_compose(self.engine)
        ours = IMAGES["proxy"].id
        self.documents = {"python": image(), "nginx:alpine": image("base"), ours: image("base", "ours")}
        self.documents["theirs"] = image("base", "theirs", "more")
        self.files: dict[str, bytes] = dict(PLACES)
        self.root = root
        for name, content in SCRIPTS.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        (root / "config/nginx/nginx.conf").write_bytes(b"may differ")

    def moves(self, label: str | None = None, **changes: Any) -> list[MovePort]:
        """The steps of a deployment that interrupt."""

        class Known(MemoryEngine):
            def image_document(known, reference: str) -> dict[str, Any]:  # noqa: N805
                return self.documents[reference]

            def read_file(known, container: str, path: str) -> str:  # noqa: N805
                assert container == "shop_proxy_1"
                return self.files.get(path, b"").decode()

        target = self.engine.copy()
        target.__class__ = Known
        observed = target.observe("shop")
        spec = json.loads(create_args.spec_label(PROXY) if label is None else label)
        proxy = replace(observed.of("proxy")[0], spec=spec, image_id="theirs", fixed="", **changes)
        seen = replace(observed, containers=tuple(proxy if c.id == proxy.id else c for c in observed.containers))
        settings = SimpleNamespace(root=self.root)
        session = Session(settings, STACK, target, quiet())  # type: ignore[arg-type]
        plan = reconcile(STACK, adopt(seen, session, IMAGES), IMAGES, NOW)
        return [step for step in plan if isinstance(step, MovePort)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_one_that_is_as_ours_stays(bench: Bench) -> None:
    assert bench.moves() == []


def test_another_base(bench: Bench) -> None:
    bench.documents["theirs"] = image("older", "theirs")
    assert bench.moves()


@pytest.mark.parametrize(
    "config", [{"User": "0"}, {"Env": []}, {"Entrypoint": ["/other"]}, {"ExposedPorts": {"1": {}}}]
)
def test_another_image_configuration(bench: Bench, config: dict[str, Any]) -> None:
    bench.documents["theirs"] = image("base", "theirs", **config)
    assert bench.moves()


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("content", [b"older", b""])
def test_another_script(bench: Bench, path: str, content: bytes) -> None:
    bench.files[path] = content
    assert bench.moves()


def test_other_settings(bench: Bench) -> None:
    other = create_args.spec_label(replace(PROXY, memory=1))
    assert bench.moves(label=other)


def test_a_sick_one(bench: Bench) -> None:
    assert bench.moves(health="unhealthy")


def test_the_label_that_compose_gives_is_the_one_we_give() -> None:
    body = create_args.container_body(STACK, PROXY, image="i", image_id="", release="", number=1)
    assert body["Labels"][labels.SPEC] == create_args.spec_label(PROXY)
