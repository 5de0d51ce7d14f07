"""Building: what is missing, what is refused beforehand, and what a failure says."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import build
from orchestrator.errors import EngineError, OrchestratorError, UsageError
from orchestrator.model import Stack
from orchestrator.report import Reporter
from orchestrator.settings import Settings, load
from orchestrator.stack import build_stack
from orchestrator.steps import BuildImage, Image
from tests.unit.memory_engine import MemoryEngine
from tests.unit.stacks import IMAGES, ROOT, STACK, quiet, with_service

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("service", "config", "orchestrator"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def settings_of(root: Path, **environ: str) -> Settings:
    return load(root, "production", environ)


def run(root: Path, engine: MemoryEngine, report: Reporter | None = None, **environ: str) -> tuple[BuildImage, ...]:
    """Builds whatever is missing, as `deploy` does."""
    settings = settings_of(root, **environ)
    stack = build_stack(settings)
    images = build.images_of(stack, build.recipes(stack, root, engine), engine)
    steps = build.missing(stack, images)
    build.build(steps, stack, settings, engine, report or quiet())
    return steps


def test_builds_what_is_missing_and_then_nothing(root: Path) -> None:
    engine = MemoryEngine({"python:3.13-alpine": "sha256:p", "nginx:alpine": "sha256:n"})
    steps = run(root, engine)
    assert [step.build_target for step in steps] == ["app", "proxy", "backup"]
    assert [made["tag"] for made in engine.builds] == [step.target for step in steps]
    assert {f"golinks-{name}:latest" for name in ("app", "proxy", "backup")} <= engine.images.keys()
    assert engine.builds[0]["args"]["PYTHON_IMAGE"] == "python:3.13-alpine"
    assert run(root, engine) == ()
    (root / "service/new.py").write_text("")
    assert [step.build_target for step in run(root, engine)] == ["app"]


def test_ready_images_are_not_built() -> None:
    stack = with_service("app", target=None, image="ghcr.io/x/y:1")
    engine = MemoryEngine({"ghcr.io/x/y:1": "sha256:y"})
    images = build.images_of(stack, {}, engine)
    assert images["app"] == Image("ghcr.io/x/y:1", "sha256:y")
    assert [step.build_target for step in build.missing(stack, images)] == ["proxy", "backup"]


STEP = {"stream": "Step 3/9 : RUN pip install flask"}


@pytest.mark.parametrize(
    ("messages", "hint"),
    [
        ([{"stream": "Step 1/9 : FROM ${NGINX_IMAGE} AS x"}, {"error": "pull access denied"}], "orchestrator setup"),
        (
            [STEP, {"stream": "SSLError(1, CERTIFICATE_VERIFY_FAILED)"}, {"error": "returned 1"}],
            "a proxy on the way shows its own certificate",
        ),
        ([STEP, {"stream": "ERROR: No matching distribution found"}, {"error": "returned 1"}], "no such package"),
        ([STEP, {"error": "write /x: no space left on device"}], "docker system prune"),
        ([STEP, {"stream": "gcc: not found"}, {"error": "returned 1"}], "the failing step's own output"),
        ([{"stream": "Step 2/9 : COPY --from=app /a /b"}, {"error": "no such file"}], "the failing step's own output"),
    ],
)
def test_hint_of_a_failed_build(root: Path, messages: list[dict[str, Any]], hint: str) -> None:
    engine = MemoryEngine()
    engine.build_messages = messages
    with pytest.raises(OrchestratorError) as caught:
        run(root, engine)
    assert hint in caught.value.hint
    assert caught.value.message.startswith("the app image could not be built: ")


def test_a_failing_step_shows_only_its_own_last_output(root: Path) -> None:
    engine = MemoryEngine()
    engine.build_messages = [
        {"stream": "Step 1/2 : RUN first\n"},
        {"stream": "of the first\n"},
        {"stream": "Step 2/2 : RUN second   with\tspaces\n"},
        {"stream": " ---> Running in 1234\n"},
        *({"stream": f"line {number}\n"} for number in range(30)),
        {"stream": "\n"},
        {"error": "returned a non-zero code: 1"},
    ]
    with pytest.raises(OrchestratorError) as caught:
        run(root, engine)
    assert "step 2/2" in caught.value.detail[0]
    assert caught.value.detail[0].endswith("RUN second with spaces")
    assert caught.value.detail[1:] == tuple(f"line {number}" for number in range(10, 30))


def test_the_extra_authority_reaches_the_build_only(root: Path) -> None:
    (root / "ca.pem").write_text(CERTIFICATE)
    engine = MemoryEngine()
    run(root, engine, BUILD_CA_FILE="ca.pem")
    assert {made["args"]["BUILD_CA"] for made in engine.builds} == {CERTIFICATE}
    assert run(root, engine) == (), "with or without it, the images are the same"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        (b"hello", "must hold certificates in PEM form"),
        (CERTIFICATE.encode() * 3000, "120 kB at most"),
        (b"\xff" + CERTIFICATE.encode(), "cannot be read"),
    ],
)
def test_bad_authority_is_refused_before_the_build(root: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        (root / "ca.pem").write_bytes(content)
    engine = MemoryEngine()
    with pytest.raises(UsageError, match=told):
        run(root, engine, BUILD_CA_FILE="ca.pem")
    assert not engine.builds


def test_disk_that_is_nearly_full(root: Path) -> None:
    engine = MemoryEngine()
    engine.facts = {"DockerRootDir": str(root)}
    settings = settings_of(root, BUILD_MIN_FREE="900000t")
    with pytest.raises(OrchestratorError, match=r"only .* are free for images in") as caught:
        build.require_disk(settings, engine)
    assert str(root) in caught.value.message
    assert "BUILD_MIN_FREE" in caught.value.hint
    with pytest.raises(OrchestratorError):
        run(root, engine, BUILD_MIN_FREE="900000t")
    assert not engine.builds
    build.require_disk(settings_of(root, BUILD_MIN_FREE="1k"), engine)
    engine.facts = {"DockerRootDir": str(root / "of-docker-desktop-s-machine")}
    build.require_disk(settings, engine)
    engine.facts, engine.host = {"DockerRootDir": str(root)}, "ssh://user@server"
    build.require_disk(settings, engine)


def test_no_build_says_which_image_is_missing() -> None:
    engine = MemoryEngine()
    images = IMAGES | {"proxy": Image("shop-proxy:zzz", "")}
    with pytest.raises(OrchestratorError, match="no image of the current files for proxy"):
        build.require_images(STACK, images, engine, quiet())
    assert build.require_images(STACK, IMAGES, engine, quiet()) == IMAGES


def test_ready_image_is_pulled() -> None:
    stack: Stack = with_service("app", target=None, image="x/y:1")
    engine = MemoryEngine()
    engine.pulled = {"x/y:1": "sha256:y"}
    images = IMAGES | {"app": Image("x/y:1", "")}
    assert build.require_images(stack, images, engine, quiet())["app"] == Image("x/y:1", "sha256:y")


def test_image_that_is_not_to_be_had() -> None:
    engine = MemoryEngine()
    engine.pull_messages = [{"status": "Pulling"}, {"error": "manifest unknown"}]
    with pytest.raises(OrchestratorError, match="image x/y:1 is not to be had: manifest unknown"):
        build.pull("x/y:1", engine)
    engine.fails = lambda *_: EngineError("could not pull x/y:1: denied")
    with pytest.raises(OrchestratorError, match="is not to be had: could not pull x/y:1: denied"):
        build.pull("x/y:1", engine)


def test_progress_and_time_of_a_build(root: Path) -> None:
    out = io.StringIO()
    report = Reporter(out)
    engine = MemoryEngine()
    engine.build_messages = [STEP]
    steps = run(root, engine, report)
    assert f"        {steps[0]} ...\n" in out.getvalue(), "announced, since it takes long"
    assert set(report.seconds) == {str(step) for step in steps}, "the report finds each by the step's own text"
    assert replace(steps[0], target="x").target == "x"
