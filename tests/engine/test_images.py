"""The three images: built from the one Dockerfile, checked from inside and outside."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
TARGETS = {"app": "10001:10001", "backup": "10001:10001", "proxy": "10002:10002"}
ENTRYPOINT = ["sh", "-c"]
#: The image of each step that the builds of a test went through, in their order.
STEPS: list[str] = []


def build(
    client: docker.DockerClient, bases: Mapping[str, str], target: str, *, path: Path = ROOT, **args: str
) -> tuple[str, list[str]]:
    """Build one target; the image's id and what the engine said, line by line."""
    said: list[str] = []
    arguments = {**bases, **args}
    for piece in client.api.build(
        path=str(path), target=target, buildargs=arguments, rm=True, forcerm=True, decode=True
    ):
        assert "error" not in piece, "".join(said[-20:]) + str(piece)
        said.append(str(piece.get("stream", "")))
        if "aux" in piece and "ID" in piece["aux"]:
            image = str(piece["aux"]["ID"])
    lines = [line for line in "".join(said).splitlines() if line.strip()]
    STEPS.extend(line.split()[-1] for line in lines if re.fullmatch(r" ---> [0-9a-f]{12}", line))
    return image, lines


def shell(client: docker.DockerClient, image: str, script: str, **more: Any) -> str:
    """What a script prints that runs in the image as its own user, as the stack would run it."""
    output = client.containers.run(
        image,
        [script],
        entrypoint=ENTRYPOINT,
        remove=True,
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        tmpfs={"/tmp": ""},
        **more,
    )
    return bytes(output).decode()


@pytest.fixture(scope="module")
def images(client: docker.DockerClient, bases: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The three images' ids by target. They stay: the build cache is made of them."""
    yield {target: build(client, bases, target)[0] for target in TARGETS}


@pytest.fixture
def cleared(client: docker.DockerClient) -> Iterator[None]:
    """What a test's own builds leave behind goes; the layers that were there before stay."""
    before = {image.id for image in client.images.list(all=True)}
    STEPS.clear()
    yield
    for short in reversed(STEPS):
        with contextlib.suppress(docker.errors.APIError):
            if client.images.get(short).id not in before:
                client.images.remove(short, noprune=True)


@pytest.fixture
def checkout(tmp_path: Path, cleared: None) -> Path:
    """The files that a build may see, in a folder of the test's own."""
    for name in ("service", "config", "orchestrator"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a linter of this Python's environment."""
    beside = Path(sys.executable).with_name(name)
    return subprocess.run([str(beside), *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


def test_hadolint_finds_nothing() -> None:
    found = tool("hadolint", "--no-color", "Dockerfile")
    assert found.stdout == ""
    assert found.returncode == 0
    assert "hadolint ignore" not in (ROOT / "Dockerfile").read_text()


def test_gixy_finds_nothing(client: docker.DockerClient, images: dict[str, str], tmp_path: Path) -> None:
    # The whole configuration as Nginx itself reads it, with the base's own files.
    dump = tmp_path / "nginx.conf"
    dump.write_text(shell(client, images["proxy"], "nginx -e stderr -T 2>/dev/null", extra_hosts={"app": "127.0.0.1"}))
    for path in (str(dump), "config/nginx/nginx.conf"):
        found = tool("gixy", "-f", "json", path)
        assert json.loads(found.stdout) == []
        assert found.returncode == 0
    assert "log_format json" in dump.read_text()


def test_nginx_accepts_the_configuration_without_a_warning(client: docker.DockerClient, images: dict[str, str]) -> None:
    said = shell(client, images["proxy"], "nginx -e stderr -t 2>&1", extra_hosts={"app": "127.0.0.1"})
    assert "successful" in said
    assert "[warn]" not in said


@pytest.mark.parametrize("target", TARGETS)
def test_users_are_numeric_and_not_root(client: docker.DockerClient, images: dict[str, str], target: str) -> None:
    config = client.images.get(images[target]).attrs["Config"]
    assert config["User"] == TARGETS[target]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    assert config["Labels"]["org.opencontainers.image.description"]
    assert shell(client, images[target], "id -u").strip() == TARGETS[target].partition(":")[0]


def test_folders_that_become_volumes_have_one_owner(client: docker.DockerClient, images: dict[str, str]) -> None:
    # A volume takes its owner from the image that first mounts it, and which one that is must not matter.
    expected = {
        "app": {"/data": "10001:10001 750", "/static": "10001:10001 755"},
        "backup": {"/data": "10001:10001 750", "/backups": "10001:10001 750"},
        "proxy": {"/static": "10001:10001 755", "/etc/nginx/upstream": "10002:10002 755"},
    }
    for target, folders in expected.items():
        said = shell(client, images[target], f"stat -c '%n %u:%g %a' {' '.join(folders)}").splitlines()
        assert dict(line.split(" ", 1) for line in said) == folders


@pytest.mark.parametrize("target", ["app", "backup"])
def test_only_what_runs_is_inside(client: docker.DockerClient, images: dict[str, str], target: str) -> None:
    files = shell(client, images[target], "find /opt").splitlines()
    assert not [
        path for path in files if re.search(r"/(pip|setuptools|wheel)([-/]|$)|requirements|/tests?/|\.pyi$", path)
    ]
    assert "no pip" in shell(client, images[target], "python -c 'import pip' 2>/dev/null || echo no pip")
    package = "service" if target == "app" else "orchestrator"
    assert {path.split("/")[3] for path in files if path.startswith("/opt/app/")} <= {
        package,
        "gunicorn.conf.py",
        "__pycache__",
    }
    if target == "app":
        assert "/opt/app/service/develop.py" not in files, "a debugger"
    if target == "backup":
        assert not [path for path in files if re.fullmatch(r"/opt/app/orchestrator/(?!__init__)\w+\.py", path)]


@pytest.mark.parametrize("target", ["app", "backup"])
def test_everything_is_compiled(client: docker.DockerClient, images: dict[str, str], target: str) -> None:
    files = shell(client, images[target], "find /opt -name '*.py' -o -name '*.pyc'").splitlines()
    sources = {path.removesuffix(".py") for path in files if path.endswith(".py")}
    compiled = {re.sub(r"__pycache__/(.*)\.cpython-\d+\.pyc$", r"\1", path) for path in files if path.endswith(".pyc")}
    assert sources
    assert sources - compiled == set()


def test_the_parts_written_in_c_are_there(client: docker.DockerClient, images: dict[str, str]) -> None:
    version = shell(
        client, images["app"], "python -c 'import markupsafe._speedups, apsw; print(apsw.sqlite_lib_version())'"
    )
    # The first SQLite without the WAL-reset corruption is 3.51.3.
    assert tuple(map(int, version.split("."))) > (3, 51, 2)


def test_the_service_adds_little_to_its_base(
    client: docker.DockerClient, images: dict[str, str], bases: Mapping[str, str]
) -> None:
    base = client.images.get(bases["PYTHON_IMAGE"]).attrs["Size"]
    for target in ("app", "backup"):
        assert client.images.get(images[target]).attrs["Size"] - base <= 25_000_000


def test_an_extra_ca_is_not_kept(client: docker.DockerClient, bases: Mapping[str, str], cleared: None) -> None:
    mark = uuid.uuid4().hex
    # A comment beside no certificate: pip must go on trusting what the base knows.
    builder, _ = build(client, bases, "builder", BUILD_CA=f"# {mark}")
    assert mark in shell(client, builder, "tail -n 2 /opt/ca.pem")
    app, _ = build(client, bases, "app", BUILD_CA=f"# {mark}")
    image = client.images.get(app)
    assert mark not in json.dumps([image.attrs, image.history()])
    assert "none" in shell(client, app, f"grep -rsq {mark} /opt /etc /usr/local || echo none")
    assert "none" in shell(client, app, "ls /opt/ca.pem /opt/pip.conf 2>/dev/null || echo none")


def test_a_changed_service_file_reinstalls_nothing(
    client: docker.DockerClient, bases: Mapping[str, str], checkout: Path
) -> None:
    before, _ = build(client, bases, "app", path=checkout)
    changed = checkout / "service" / "__init__.py"
    changed.write_text(changed.read_text() + f"\nMARK = '{uuid.uuid4().hex}'\n")
    after, said = build(client, bases, "app", path=checkout)
    steps = [number for number, line in enumerate(said) if line.startswith("Step ")]
    done = [said[number] for number in steps if "Using cache" not in said[number + 1]]
    # How long that takes is in the benchmark's table; that nothing else is done is why it is quick.
    assert not [line for line in done if "--require-hashes" in line or "pip" in line], done
    assert all(" COPY " in line or "compileall" in line or " FROM " in line or " ARG " in line for line in done), done
    layers = [client.images.get(image).attrs["RootFS"]["Layers"] for image in (before, after)]
    assert layers[0][:-1] == layers[1][:-1]
    assert layers[0][-1] != layers[1][-1]


def test_files_that_no_stage_copies_change_nothing(
    client: docker.DockerClient, bases: Mapping[str, str], checkout: Path
) -> None:
    before = [build(client, bases, target, path=checkout)[0] for target in TARGETS]
    for name in (
        "README.md",
        "tests/test_x.py",
        "service/__pycache__/x.pyc",
        ".env",
        "service/.x.swp",
        "orchestrator/x.py",
    ):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text("x")
    assert [build(client, bases, target, path=checkout)[0] for target in TARGETS] == before


def test_a_private_checkout_makes_readable_images(
    client: docker.DockerClient, bases: Mapping[str, str], checkout: Path
) -> None:
    for path in checkout.rglob("*"):
        # The requirements stay as they are, only to keep their layer and the time it takes.
        if path.name != "requirements.txt":
            path.chmod(0o700 if path.is_dir() else 0o600)
    app, _ = build(client, bases, "app", path=checkout)
    shell(client, app, "python -c 'import service' && test -x /usr/local/bin/probe")
    proxy, _ = build(client, bases, "proxy", path=checkout)
    shell(client, proxy, "test -x /etc/nginx/entrypoint && nginx -e stderr -t", extra_hosts={"app": "127.0.0.1"})
    backup, _ = build(client, bases, "backup", path=checkout)
    shell(client, backup, "python -c 'import orchestrator.agent'")
