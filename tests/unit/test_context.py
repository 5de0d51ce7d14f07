"""What an image is made of: the Dockerfile's stages, their files, and the digest that says whether to build."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from orchestrator import context
from orchestrator.engine import context_files
from orchestrator.errors import UsageError
from tests.unit.stacks import ROOT

ARGS = {"PYTHON_IMAGE": "python:3.13-alpine", "NGINX_IMAGE": "nginx:alpine"}
IDS = {"python:3.13-alpine": "sha256:p", "nginx:alpine": "sha256:n"}
TARGETS = ("app", "proxy", "backup")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of everything that a build may see."""
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("service", "orchestrator", "config"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def digests(root: Path, args: dict[str, str] | None = None, ids: dict[str, str] | None = None) -> dict[str, str]:
    allowed = context_files(root)
    return {name: context.recipe(root, name, args or ARGS, allowed, ids or IDS).digest for name in TARGETS}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in TARGETS if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "targets"),
    [
        ("service/__init__.py", {"app"}),
        ("service/requirements.txt", {"app"}),
        ("config/gunicorn.conf.py", {"app"}),
        ("orchestrator/agent/archive.py", {"backup"}),
        ("orchestrator/__init__.py", {"backup"}),
        ("config/nginx/nginx.conf", {"proxy"}),
        ("config/probe", {"app", "proxy", "backup"}),
        ("config/production.toml", set()),
        ("orchestrator/plan.py", set()),
        ("README.md", set()),
    ],
)
def test_a_changed_file_changes_only_the_images_that_copy_it(root: Path, file: str, targets: set[str]) -> None:
    before = digests(root)
    with (root / file).open("a") as text:
        text.write("\n# changed\n")
    assert changed(before, digests(root)) == targets


@pytest.mark.parametrize("file", ["service/new.py", "service/static/x.css"])
def test_a_new_or_removed_file_counts(root: Path, file: str) -> None:
    before = digests(root)
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text("")
    assert changed(before, digests(root)) == {"app"}
    (root / file).unlink()
    assert digests(root) == before


@pytest.mark.parametrize("file", ["service/__pycache__/x.pyc", "service/.hidden", ".env", "service/x.pyc"])
def test_ignored_files_do_not_count(root: Path, file: str) -> None:
    before = digests(root)
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text("x")
    assert digests(root) == before


def test_umask_does_not_matter_but_a_program_is_one(root: Path) -> None:
    before = digests(root)
    for path in root.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700 | (0o077 if path.is_dir() else 0))
    assert digests(root) == before
    (root / "service/__init__.py").chmod(0o755)
    assert changed(before, digests(root)) == {"app"}


def test_time_does_not_matter(root: Path) -> None:
    before = digests(root)
    for path in root.rglob("*"):
        os.utime(path, (0, 0))
    assert digests(root) == before


@pytest.mark.parametrize(
    ("name", "targets"),
    [("PYTHON_IMAGE", {"app", "backup"}), ("NGINX_IMAGE", {"proxy"}), ("BUILD_CA", set()), ("UNUSED", set())],
)
def test_build_arguments(root: Path, name: str, targets: set[str]) -> None:
    same_base = IDS | {"other:1": IDS.get(ARGS.get(name, ""), "")}
    assert changed(digests(root), digests(root, ARGS | {name: "other:1"}, same_base)) == targets


def test_a_new_base_of_the_same_name(root: Path) -> None:
    assert changed(digests(root), digests(root, ids=IDS | {"nginx:alpine": "sha256:new"})) == {"proxy"}


def test_an_edited_stage_changes_what_is_made_of_it(root: Path) -> None:
    before = digests(root)
    path = root / "Dockerfile"
    text = path.read_text()
    path.write_text("# a new comment\n" + text)
    assert digests(root) == before, "comments make no image"
    path.write_text(text.replace("EXPOSE 8000", "EXPOSE 8001"))
    assert changed(before, digests(root)) == {"app"}
    path.write_text(text.replace(" AS builder\n", " AS builder\nRUN true\n"))
    assert changed(before, digests(root)) == {"app", "backup"}


def test_bases_of_the_targets() -> None:
    assert context.base_images(ROOT, TARGETS, ARGS) == ("python:3.13-alpine", "nginx:alpine")
    assert context.base_images(ROOT, ["proxy"], ARGS) == ("nginx:alpine",)


DOCKERFILE = """\
# syntax comment
ARG BASE=debian:12
ARG VERSION=1
FROM ${BASE} AS first
COPY --chown=1:1 a/ b.txt \\
     # in between
     /opt/
RUN one \\
 && two

from first as second
COPY --from=first /opt /opt
FROM scratch:$VERSION
ADD c /c
"""


def test_parsing() -> None:
    head, stages = context.parse_dockerfile(DOCKERFILE)
    assert head == ("ARG BASE=debian:12", "ARG VERSION=1")
    assert list(stages) == ["first", "second", "2"]
    assert stages["first"].base == "${BASE}"
    assert stages["first"].sources == ("a/", "b.txt")
    assert stages["first"].instructions[-1].split() == ["RUN", "one", "&&", "two"]
    assert (stages["second"].base, stages["second"].stages, stages["second"].sources) == ("first", ("first",), ())
    assert stages["2"].sources == ("c",)
    assert [stage.name for stage in context.needed(stages, "second")] == ["first", "second"]
    assert context.bases(context.needed(stages, "second"), stages, {"BASE": "x:1"}) == ("x:1",)


def test_default_of_a_global_argument_counts_where_it_is_used(tmp_path: Path) -> None:
    def digest(text: str, target: str) -> str:
        (tmp_path / "Dockerfile").write_text(text)
        return context.recipe(tmp_path, target, {"BASE": "x"}, frozenset(), {}).digest

    newer = DOCKERFILE.replace("VERSION=1", "VERSION=2")
    assert digest(DOCKERFILE, "2") != digest(newer, "2")
    assert digest(DOCKERFILE, "second") == digest(newer, "second")


def test_unknown_target() -> None:
    _, stages = context.parse_dockerfile(DOCKERFILE)
    with pytest.raises(UsageError, match="has no stage 'web'") as caught:
        context.needed(stages, "web")
    assert "first, second, 2" in caught.value.hint


def test_context_tar_is_the_same_everywhere(root: Path) -> None:
    files = context.recipe(root, "app", ARGS, context_files(root), IDS).files
    assert "service/__init__.py" in files
    before = context.tar_of(root, files)
    for path in root.rglob("*"):
        os.utime(path, (0, 0))
        if path.is_file():
            path.chmod(path.stat().st_mode & 0o700)
    assert context.tar_of(root, files) == before
    with tarfile.open(fileobj=io.BytesIO(before)) as archive:
        members = {member.name: member for member in archive}
    assert members["config/probe"].mode == 0o755
    assert members["service/__init__.py"].mode == 0o644
    assert {member.uid for member in members.values()} == {0}
    assert "Dockerfile" in members


def test_context_holds_what_the_dockerfile_copies() -> None:
    """No file that a stage copies is hidden by .dockerignore, and nothing else is sent."""
    allowed = context_files(ROOT)
    _, stages = context.parse_dockerfile((ROOT / "Dockerfile").read_text())
    sources = [source for stage in stages.values() for source in stage.sources]
    for source in sources:
        assert context.files_below(ROOT, [source], allowed), source
    sent = {name for name in allowed if (ROOT / name).is_file()} - {"Dockerfile", ".dockerignore"}
    assert sent == set(context.files_below(ROOT, sources, allowed))


def both(root: Path, ids: dict[str, str] | None = None) -> tuple[str, str]:
    made = context.recipe(root, "proxy", ARGS, context_files(root), ids or IDS)
    return made.digest, made.fixed


@pytest.mark.parametrize(
    ("file", "fixed"),
    [
        ("config/nginx/nginx.conf", False),
        ("config/nginx/headers.conf", False),
        ("config/nginx/pages/maintenance.html", False),
        ("config/nginx/new.conf", False),
        ("config/nginx/entrypoint", True),
        ("config/nginx/use", True),
        ("config/probe", True),
    ],
)
def test_a_changed_configuration_is_no_other_proxy(root: Path, file: str, *, fixed: bool) -> None:
    """What a running Nginx takes by a reload changes the image, but not what of it can't be changed in a container."""
    before = both(root)
    with (root / file).open("a") as text:
        text.write("\n# changed\n")
    after = both(root)
    assert after[0] != before[0]
    assert (after[1] != before[1]) == fixed


def test_another_base_or_dockerfile_is_another_proxy(root: Path) -> None:
    before = both(root)
    assert all(a != b for a, b in zip(before, both(root, IDS | {"nginx:alpine": "sha256:new"}), strict=True))
    path = root / "Dockerfile"
    path.write_text(path.read_text().replace("EXPOSE 8080", "EXPOSE 8081"))
    assert all(a != b for a, b in zip(before, both(root), strict=True))


@pytest.mark.parametrize("target", ["app", "backup"])
def test_others_have_nothing_that_can_be_changed_in_a_container(root: Path, target: str) -> None:
    assert context.recipe(root, target, ARGS, context_files(root), IDS).fixed == ""


def test_a_folder_with_a_dockerfile_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG OWN=own:1\nFROM ${OWN} AS x\nFROM ${PYTHON_IMAGE}\nCOPY . .\n")
    (tmp_path / ".dockerignore").write_text("secret\n")
    for name in ("code.py", "secret"):
        (tmp_path / name).write_text("1")

    def made(ids: dict[str, str] | None = None, args: dict[str, str] | None = None) -> context.Recipe:
        return context.folder_recipe(tmp_path, args or ARGS, context_files(tmp_path), ids or IDS)

    before = made()
    assert (before.bases, before.files) == (("own:1", "python:3.13-alpine"), (".dockerignore", "code.py"))
    (tmp_path / "secret").write_text("2")
    assert made() == before
    assert made(args=ARGS | {"NGINX_IMAGE": "other", "BUILD_CA": "x"}) == before, "it names neither"
    assert made(ids=IDS | {"own:1": "sha256:o"}).digest != before.digest
    (tmp_path / "code.py").write_text("2")
    assert made().digest != before.digest
    (tmp_path / "Dockerfile").unlink()
    with pytest.raises(UsageError, match="there is no Dockerfile to build from"):
        made()


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("service/views/home.py", False),
        ("service/templates/base.html", False),
        ("service/new.py", False),
        ("service/requirements.txt", True),
        ("config/probe", True),
        ("config/gunicorn.conf.py", True),
    ],
)
def test_what_is_mounted_needs_no_other_image(root: Path, file: str, *, counts: bool) -> None:
    """Requirements are named by the Dockerfile itself: they decide what else is in the image."""

    def digest(mounted: tuple[str, ...] = ("service",)) -> str:
        return context.recipe(root, "app", ARGS, context_files(root), IDS, (), mounted).digest

    before, whole = digest(), digest(())
    assert before != whole, "an image that lacks its code's count is no production image"
    with (root / file).open("a") as text:
        text.write("\n# changed\n")
    assert (digest() != before) == counts
    assert digest(()) != whole
    assert digest(("elsewhere", "../x", "serv")) == digest(())


def test_a_folder_that_is_mounted_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\nCOPY requirements.txt ./\nCOPY . .\n")
    for name in ("code.py", "requirements.txt"):
        (tmp_path / name).write_text("1")

    def digest() -> str:
        return context.folder_recipe(tmp_path, ARGS, context_files(tmp_path), IDS, (".",)).digest

    before = digest()
    (tmp_path / "code.py").write_text("2")
    assert digest() == before
    (tmp_path / "requirements.txt").write_text("2")
    assert digest() != before
