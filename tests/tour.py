"""`python -m tests.tour [--write]`: plays the README's tour on an engine and prints what comes; --write puts it there.

`tests/engine/test_readme.py` plays it, too, and compares what does not change from one run to the next.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import docker

from orchestrator.host import engine_url
from tests import peers, readme
from tests.engine.stack import Project, copy_checkout, removed, until

#: As the tour names them; a project of the same length keeps its tables straight.
NAME, PORT, PERSON = "golinks", 8080, "ada@box"

_CHANGING = (
    (r"(?i)\d{8}T\d{6}Z?-[0-9a-f]{7}", "ID"),
    (r"\d{4}-\d\d-\d\d(T| )\d\d:\d\d(:\d\dZ| UTC)", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DAY"),
    (r"\b[0-9a-f]{7,64}\b", "DIGEST"),
    (r"\d+(\.\d+)? ?(s\b|min\b|B\b|kB\b|MB\b|GB\b|rows\b|%)", "N"),
    (r"[ \t]+", " "),
)


def typed(command: str, project: Project) -> str:
    """A command of the README with this project's names."""
    for word, here in (
        (f"127.0.0.1:{PORT}", f"127.0.0.1:{project.port}"),
        (NAME, project.name),
        (".venv/bin/python", "python"),
        ("python3", "python"),
    ):
        command = command.replace(word, here)
    return command


def environment(project: Project) -> dict[str, str]:
    """A shell's, which finds our Python first."""
    return project.env | {"PATH": f"{Path(sys.executable).parent}:{project.env['PATH']}"}


def run(command: str, project: Project) -> tuple[int, str]:
    """A command of the README as somebody types it in the checkout: its exit code, and all that it prints."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", typed(command, project)],
        cwd=project.root,
        env=environment(project),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


def played(command: str, project: Project) -> str:
    """What a command of the tour prints, with the tour's names and without the lines that only say what goes on; it
    must end with 0."""
    if command.endswith(" status"):  # who types it has read what was printed before
        until(lambda: all("healthy" in health.split() for health in project.health().values()), 60, "all is healthy")
    code, text = run(command, project)
    assert code == 0, f"{command} ended with {code}\n{text}"
    text = text.replace(project.name, NAME).replace(str(project.port), str(PORT))
    text = re.sub(r"\b\S+@\S+\b(?=  (deployed|rolled))", PERSON, text)
    gone = re.compile(r"^( {8}.* \.\.\.| {5}\S.* \d+\.\d s)$")
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if not gone.match(line))


def masked(output: str) -> list[str]:
    """The lines with all taken out that differs from run to run: times, ids, sizes, the order of what is done side by
    side."""
    for pattern, name in _CHANGING:
        output = re.sub(pattern, name, output)
    return sorted(line.strip() for line in output.splitlines())


def written(text: str, project: Project) -> str:
    """The README with its tour played anew."""

    def again(found: re.Match[str]) -> str:
        commands = [command for command, _ in readme.sessions(found[0])]
        return "```console\n" + "".join(f"$ {c}\n{played(c, project)}" for c in commands) + "```"

    return re.sub(r"^```console\n.*?^```$", again, text, flags=re.MULTILINE | re.DOTALL)


def main(argv: list[str]) -> int:
    client = docker.DockerClient.from_env(environment=dict(os.environ) | {"DOCKER_HOST": engine_url(os.environ)})
    name = f"t-{random.randrange(16**5):05x}"  # noqa: S311 - no secret
    with (
        tempfile.TemporaryDirectory() as folder,
        removed(Project(client, peers.bases(client), copy_checkout(Path(folder)), name, port=8765)) as project,
    ):
        text = written(readme.read(), project)
    print(readme.section(text, "A tour"))
    if "--write" in argv:
        readme.README.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
