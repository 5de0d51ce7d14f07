"""Who may import what, read from the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.stacks import ROOT

PACKAGE = ROOT / "orchestrator"
MODULES = sorted(PACKAGE.rglob("*.py"))
#: These only compute: a plan made by them can be printed, compared and tested without an engine.
PURE = (
    "schema",
    "settings",
    "model",
    "stack",
    "compose",
    "create_args",
    "labels",
    "state",
    "drift",
    "services",
    "steps",
    "plan",
    "release",
    "proxy",
    "proxy_plan",
    "history",
    "diff",
    "tars",
    "errors",
    "context",
)
EFFECTS = {
    "docker",
    "requests",
    "orchestrator.engine",
    "orchestrator.apply",
    "orchestrator.perform",
    "orchestrator.deploy",
    "subprocess",
}
#: What must also run on a Python without the requirements.
STDLIB_FIRST = (
    "bootstrap",
    "arguments",
    "cli",
    "command",
    "snapshot_verbs",
    "errors",
    "host",
    "address",
    "daemon",
    "packages",
    "sockets",
    "make_venv",
    "old_python",
)
THIRD_PARTY = {"docker", "requests", "msgspec", "pydantic", "yaml", "dotenv", "rich"}
LIMIT = 400


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """Every module that a file imports, in full; `from a import b` is a and a.b."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of(path: Path, package: str) -> list[str]:
    return [name for name in imports(path) if name == package or name.startswith(f"{package}.")]


def test_only_the_engine_imports_docker() -> None:
    found = {path.relative_to(PACKAGE).parent for path in MODULES if of(path, "docker") or of(path, "requests")}
    assert found == {Path("engine")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_orchestrator_knows_no_service_and_no_tests(path: Path) -> None:
    assert not of(path, "service")
    assert not of(path, "tests")


@pytest.mark.parametrize("path", sorted((PACKAGE / "agent").glob("*.py")), ids=lambda path: path.name)
def test_the_agent_knows_only_itself(path: Path) -> None:
    """It runs in an image that has nothing else of the orchestrator."""
    outside = [n for n in of(path, "orchestrator") if n != "orchestrator" and not n.startswith("orchestrator.agent")]
    assert not outside
    assert not of(path, "docker")


@pytest.mark.parametrize("path", sorted((ROOT / "service").rglob("*.py")), ids=lambda path: path.stem)
def test_the_service_does_not_know_who_deploys_it(path: Path) -> None:
    assert not of(path, "orchestrator")


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_have_no_effects(name: str) -> None:
    assert not EFFECTS & set(imports(PACKAGE / f"{name}.py"))


@pytest.mark.parametrize("name", STDLIB_FIRST)
def test_modules_before_the_virtual_environment_need_only_the_standard_library(name: str) -> None:
    found = set(imports(PACKAGE / f"{name}.py", top_level=True))
    assert not {name.partition(".")[0] for name in found} & THIRD_PARTY
    ours = {name.split(".")[1] for name in found if name.startswith("orchestrator.")}
    modules = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert ours & modules <= set(STDLIB_FIRST)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_grows_without_end(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LIMIT
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "every module says what it is"


def test_the_reading_of_imports_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("def f():\n    import docker.errors\n    from orchestrator import engine\n")
    assert of(path, "docker") == ["docker.errors"]
    assert "orchestrator.engine" in set(imports(path))
    assert not list(imports(path, top_level=True))
