"""From any Python to one with the requirements: what is decided, and one real environment made from an empty file."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator import bootstrap, make_venv
from orchestrator.errors import OrchestratorError, UsageError

PACKAGE = Path(bootstrap.__file__).parent

TEXT = """\
# a comment with docker==1
docker==7.2.0 \\
    --hash=sha256:00 \\
    --hash=sha256:11
Pydantic_Core==2.1
rich[extra]==15.0.0  # why
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:22
unpinned>=1
"""


def distribution(folder: Path, *names: str) -> Path:
    """A site-packages folder with these `.dist-info` folders."""
    for name in names:
        (folder / f"{name}.dist-info").mkdir(parents=True)
    return folder


def test_pins_are_the_exact_versions_without_marker() -> None:
    assert bootstrap.pins(TEXT) == {("docker", "7.2.0"), ("pydantic-core", "2.1"), ("rich", "15.0.0")}
    assert bootstrap.pins(TEXT, ("rich",)) == {("rich", "15.0.0")}


def test_included_files_are_part_of_the_requirements(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-r service/requirements.txt\n--constraint=limits.txt\nrich==1\n")
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "requirements.txt").write_text("-r more.txt\nflask==3\n")
    (tmp_path / "service" / "more.txt").write_text("peewee==4\n")
    (tmp_path / "limits.txt").write_text("click==8\n")
    names = {name for name, _ in bootstrap.pins(bootstrap.requirements_text(str(tmp_path)))}
    assert names == {"rich", "flask", "peewee", "click"}


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (("docker-7.2.0", "rich-15.0.0", "pydantic_core-2.1"), True),
        (("docker-5.0.3", "rich-15.0.0", "pydantic_core-2.1"), False),
        (("rich-15.0.0", "pydantic_core-2.1"), False),
    ],
)
def test_satisfied_by_versions_and_not_by_names(tmp_path: Path, installed: tuple[str, ...], expected: bool) -> None:
    (tmp_path / "docker").mkdir()
    path = [str(tmp_path / "absent"), str(distribution(tmp_path / "site", *installed)), str(tmp_path)]
    assert bootstrap.satisfied(bootstrap.pins(TEXT), path) is expected


@pytest.mark.parametrize(
    ("line", "teaches", "consents"),
    [
        ("", True, False),
        ("--help", True, False),
        ("deploy -h", True, False),
        ("--version", True, False),
        ("exec --help", True, False),
        ("exec app ls -h", False, False),
        ("exec app tool --yes", False, False),
        ("--yes exec app tool", False, True),
        ("logs -- --help", False, False),
        ("deploy --setup", False, True),
        ("deploy", False, False),
    ],
)
def test_what_the_command_line_asks_for(line: str, teaches: bool, consents: bool) -> None:
    argv = line.split()
    assert (bootstrap.teaches(argv), bootstrap.consents(argv)) == (teaches, consents)


@pytest.mark.parametrize("name", ["__init__.py", "__main__.py", "old_python.py"])
def test_an_old_python_can_read_the_first_files(name: str) -> None:
    ast.parse((PACKAGE / name).read_text(), feature_version=(3, 6))


def test_an_old_python_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from orchestrator import old_python

    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name == "python3.12" else None)
    assert old_python.explain("orchestrator") == 2
    assert "run it as: python3.12 -m orchestrator" in capsys.readouterr().err


def test_the_usual_path_imports_nothing_slow() -> None:
    code = "import sys; from orchestrator import bootstrap; bootstrap.ready('x', '', frozenset()); print(*sys.modules)"
    env = {**os.environ, "PYTHONPATH": bootstrap.ROOT}
    loaded = subprocess.run([sys.executable, "-S", "-c", code], env=env, capture_output=True, text=True, check=True)
    slow = {"re", "pathlib", "hashlib", "subprocess", "typing", "importlib.metadata", "dataclasses", "json"}
    assert not slow & set(loaded.stdout.split())


def test_one_made_by_hand_is_used_when_it_has_the_runtime(tmp_path: Path) -> None:
    venv = tmp_path / ".venv"
    distribution(venv / "lib" / "python3.11" / "site-packages", "docker-7.2.0", "rich-15.0.0")
    wanted = bootstrap.pins(TEXT, ("docker", "rich"))
    assert not bootstrap.ready(str(venv), TEXT, wanted), "it has no interpreter"
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(sys.executable)
    assert bootstrap.ready(str(venv), TEXT, wanted)
    assert not bootstrap.ready(str(venv), TEXT, bootstrap.pins(TEXT))


def test_the_stamp_knows_the_requirements_and_the_interpreter(tmp_path: Path) -> None:
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    stamp = venv / bootstrap.STAMP
    stamp.write_text(bootstrap.stamp_text(str(venv), TEXT))
    assert bootstrap.ready(str(venv), TEXT, frozenset())
    assert not bootstrap.ready(str(venv), TEXT + "more==1\n", frozenset())
    stamp.write_text(f"/usr/bin/python3.1\n{TEXT}")
    assert not bootstrap.ready(str(venv), TEXT, frozenset())
    stamp.write_text(bootstrap.UNFINISHED)
    assert not bootstrap.ready(str(venv), TEXT, frozenset())


def prepared(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A repository with a good `.venv` that the running interpreter can't replace; gives what would be exec'ed."""
    (root / "requirements.txt").write_text("no-such-thing==1\n")
    venv = root / ".venv"
    distribution(venv / "lib" / "python3.11" / "site-packages", "no_such_thing-1")
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(sys.executable)
    executed: list[str] = []
    monkeypatch.setattr(bootstrap, "execute", executed.append)
    monkeypatch.setenv(bootstrap.EXECUTED, "")
    return executed


def test_goes_on_in_the_environment_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executed = prepared(tmp_path, monkeypatch)
    bootstrap.enter(consent=False, root=str(tmp_path))
    assert executed == [str(tmp_path / ".venv/bin/python")]
    with pytest.raises(OrchestratorError, match="does not provide") as caught:
        bootstrap.enter(consent=False, root=str(tmp_path))
    assert ".venv" in caught.value.hint
    assert len(executed) == 1


def test_a_child_process_may_go_on_in_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executed = prepared(tmp_path, monkeypatch)
    monkeypatch.setenv(bootstrap.EXECUTED, str(os.getppid()))
    bootstrap.enter(consent=False, root=str(tmp_path))
    assert len(executed) == 1


def test_nothing_is_made_where_the_requirements_are(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(f"pytest=={pytest.__version__}\n")
    bootstrap.enter(consent=False, root=str(tmp_path))
    assert not (tmp_path / ".venv").exists()


def test_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="not writable") as caught:
        make_venv.make(str(tmp_path), wanted=frozenset(), consent=False)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        ("OSError: [Errno 28] No space left on device", "df -h"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "PIP_CERT"),
        ("WARNING: NewConnectionError(...)\nERROR: No matching distribution found for x", "HTTPS_PROXY"),
        ("ERROR: No matching distribution found for rich==99", "PIP_INDEX_URL"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "pip cache purge"),
        ("[Errno 13] Permission denied: '/x/.venv/lib'", "writable"),
        ("something new", "lines above"),
    ],
)
def test_hints(output: str, hint: str) -> None:
    assert hint in make_venv.hint_for(output, "/x")


def test_debians_package_for_an_interpreter() -> None:
    assert make_venv.venv_package("/usr/bin/python3", True, (3, 11)) == "python3-venv"
    assert make_venv.venv_package("/usr/bin/python3.12", False, (3, 12)) == "python3.12-venv"
    assert make_venv.venv_package("/opt/python/bin/python3", False, (3, 12)) == ""


def test_without_ensurepip_and_consent_it_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("orchestrator.packages.terminal", lambda: None)
    with pytest.raises(OrchestratorError, match="ensurepip is missing") as caught:
        make_venv._ensure_ensurepip("/usr/bin/python3.11", consent=False, say=lambda _: None)
    assert "--setup" in caught.value.hint
    assert "apt-get install" in caught.value.hint


def test_without_ensurepip_and_with_consent_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("orchestrator.packages.privilege", lambda: ())
    monkeypatch.setattr("orchestrator.packages.install", lambda names, **_: installed.extend(names))
    make_venv._ensure_ensurepip("/usr/bin/python3.99", consent=True, say=lambda _: None)
    assert installed == [f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"]


def test_errors_are_a_sentence_a_hint_and_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    error = OrchestratorError("It failed", hint="Do that.", detail=("last line",))
    assert bootstrap.tell(error, json=True) == 1
    out, err = capsys.readouterr()
    assert err == "  | last line\nerror: It failed.\nhint: Do that.\n"
    assert json.loads(out) == {"result": "failed", "error": "It failed", "hint": "Do that.", "detail": ["last line"]}


def test_a_real_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    root, venv = str(tmp_path), tmp_path / ".venv"
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# nothing\n")
    venv.mkdir()
    (venv / bootstrap.STAMP).write_text(bootstrap.UNFINISHED)
    (venv / "leftover").mkdir()

    make_venv.make(root, wanted=frozenset(), consent=False)
    assert bootstrap.ready(str(venv), "# nothing\n", frozenset())
    assert not (venv / "leftover").exists(), "one that was killed is begun anew"
    (tmp_path / "package.py").write_text("print('found')\n")
    command = [str(venv / "bin" / "python"), "-m", "package"]
    assert subprocess.run(command, cwd="/", capture_output=True, text=True, check=True).stdout == "found\n"
    assert "the virtual environment is ready" in capsys.readouterr().err

    make_venv.make(root, wanted=frozenset(), consent=False)
    assert capsys.readouterr().err == "", "nothing is left to do"

    requirements.write_text("no-such-thing==1\n")
    with pytest.raises(OrchestratorError, match="could not install") as caught:
        make_venv.make(root, wanted=frozenset(), consent=False)
    assert "no-such-thing" in caught.value.detail[-1]
    assert "PIP_INDEX_URL" in caught.value.hint
    assert not bootstrap.ready(str(venv), "no-such-thing==1\n", frozenset())


def test_the_second_of_two_waits_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (tmp_path / "requirements.txt").write_text("")
    second = threading.Thread(target=lambda: make_venv.make(str(tmp_path), wanted=frozenset(), consent=False))
    second.start()
    time.sleep(0.1)
    assert second.is_alive()
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / bootstrap.STAMP).write_text(bootstrap.stamp_text(str(venv), ""))
    os.close(lock)
    second.join(timeout=10)
    assert not second.is_alive()
    assert capsys.readouterr().err.strip().endswith("waiting for another process that makes the virtual environment")
