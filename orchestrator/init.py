"""init: writes the first configuration for somebody's own app, by asking, with suggestions from the app's folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from orchestrator.detect import Found, look
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.settings import read_file
from orchestrator.sources import ENVIRONMENTS

CONFIG = "config/production.toml"
USER = "10001:10001"
LONGEST = 30  # characters of a project's name
HEADING = "# The stack of your own app, written by `python -m orchestrator init`; change it as you like.\n"

Ask = Callable[[str, str], str]
"""A question and its suggestion -> the answer."""


@dataclass(frozen=True)
class Answers:
    """What is asked; each is an option of the verb, too. `build` is the app's folder, or "" if `image` is ready made.
    A `module` is what gunicorn serves where a Dockerfile has to be written."""

    project: str = ""
    build: str = ""
    image: str = ""
    module: str = ""
    port: str = "8000"
    health: str = "/"
    command: str = ""
    data: str = "/data"
    variable: str = ""
    database: str = "app.db"
    migrate: str = ""
    static: str = ""


QUESTIONS: Mapping[str, str] = {
    "project": "Name of the project (prefix of its containers and volumes)",
    "module": "What gunicorn shall serve, since there is no Dockerfile yet: MODULE:APP",
    "port": "Port that the app listens on in its container",
    "health": "Path that answers 200 when the app can serve",
    "command": "Command, where it is another than the image's own",
    "data": "Folder in the container for the databases and all that must be kept",
    "database": "File name of the database in that folder",
    "variable": "Environment variable that tells the app the database's path, if there is one",
    "migrate": "Command that brings the database to the code's schema, if there is one",
    "static": "Folder in the container that the app fills with static files for Nginx, if it does",
}
_ALLOWED: Mapping[str, tuple[str, str]] = {
    "project": (r"[a-z0-9][a-z0-9_-]{0,29}", "lower-case letters, digits, - and _, 30 at most"),
    "image": (r"[a-z0-9][\w./:@-]*", "an image's name, such as shop:1.2"),
    "module": (r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(\))?", "MODULE:APP, such as shop.web:app or shop:create_app()"),
    "port": (r"[1-9]\d{0,4}", "a port above 0"),
    "health": (r"/[^\s\"\\]*", "a path that begins with /"),
    "data": (r"/[\w./-]*[\w-]", "an absolute path, and not / itself"),
    "database": (r"[\w][\w.-]*", "a file name"),
    "variable": (r"([A-Za-z_]\w*)?", "a variable's name, or nothing"),
    "static": (r"(/[\w./-]*[\w-])?", "an absolute path, or nothing"),
}


def suggestions(folder: Path, found: Found) -> Answers:
    """What the answers probably are."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")[:30]
    return Answers(
        project=plain or "app",
        module="" if found.dockerfile else found.module or "app:app",
        port=str(found.port or 8000),
        health=found.health or "/",
        variable=found.variable,
        database=found.databases[0] if found.databases else "app.db",
    )


def problem(name: str, value: str) -> str:
    """Why an answer will not do, or ""."""
    pattern, allowed = _ALLOWED.get(name, (r"[^\x00-\x1f]*", "one line"))
    good = re.fullmatch(pattern, value) and (name != "port" or int(value) <= 65535)
    return "" if good else f"must be {allowed}"


def ask_all(start: Answers, given: Mapping[str, str], ask: Ask | None) -> Answers:
    """The answers: those given as options, those of a person, else the suggestions. UsageError for a wrong one."""
    answers = start
    for name in (field.name for field in fields(Answers)):
        if name in given:
            value = given[name]
            if wrong := problem(name, value):
                raise UsageError(f"--{name} {value}: {wrong}.", hint="nothing was written.")
            answers = replace(answers, **{name: value})
    for name, question in QUESTIONS.items():
        if name in given or ask is None or (name == "module" and not answers.module):
            continue
        value = ask(question, getattr(answers, name))
        while wrong := problem(name, value):
            value = ask(f"It {wrong}. {question}", getattr(answers, name))
        answers = replace(answers, **{name: value})
    return answers


def configuration(answers: Answers, template: str) -> str:
    """The text of config/production.toml: ours, with the app's own part and what depends on it replaced."""
    part = re.compile(r"(?ms)^\[services\.app\].*?(?=^\[services\.proxy\])")
    text = part.sub(lambda _: _app(answers), template)
    text = re.sub(r"\A(#[^\n]*\n)*", lambda match: HEADING + match[0], text)
    text = re.sub(r'(?m)^project = ".*"$', lambda _: f"project = {quoted(answers.project)}", text)
    if not answers.static:
        text = text.replace('static_files = "/static:ro", ', "")
    return text.replace('sqlite_data = "/data:ro"', 'data = "/data:ro"')


def _app(answers: Answers) -> str:
    source = f"build = {quoted(answers.build)}" if answers.build else f"image = {quoted(answers.image)}"
    volumes = {"data": answers.data} | ({"static_files": answers.static} if answers.static else {})
    lines = ["[services.app]", source, f"user = {quoted(USER)}", f"port = {answers.port}"]
    lines += [f"command = {listed(answers.command)}"] if answers.command else []
    lines += [f"migrate = {listed(answers.migrate)}"] if answers.migrate else []
    lines += ["volumes = { " + ", ".join(f"{key} = {quoted(path)}" for key, path in volumes.items()) + " }"]
    lines += ['memory = "256m"', "cpus = 1.0", "pids = 128", 'restart = "unless-stopped"', 'stop_grace_period = "40s"']
    lines += ["", "[services.app.environment]"]
    if answers.variable:
        lines.append(f"{answers.variable} = {quoted(f'{answers.data}/{answers.database}')}")
    lines += ["", "[services.app.health]", f"command = {json.dumps(probe(answers))}"]
    lines += ['interval = "1s"', 'timeout = "5s"', "retries = 3", 'start_period = "30s"']
    return "\n".join([*lines, "", ""])


def probe(answers: Answers) -> list[str]:
    """A health check by what the image has: somebody else's holds no probe of ours."""
    url = f"http://127.0.0.1:{answers.port}{answers.health}"
    by_python = f"import urllib.request as r; r.urlopen({url!r}, timeout=4)"
    tries = (f"wget -q -O /dev/null {url}", f"curl -fsS -o /dev/null {url}", f'python3 -c "{by_python}"')
    return ["/bin/sh", "-c", f"unset http_proxy; {' || '.join(tries)}"]


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False)


def listed(command: str) -> str:
    """A command line as a TOML list of words. UsageError if its quotes do not match."""
    try:
        return json.dumps(shlex.split(command), ensure_ascii=False)
    except ValueError as error:
        raise UsageError(f"the command {command} can't be read ({error}).", hint="close its quotes.") from error


def beside(project: str) -> str:
    """The name of a project's development, as long as one may be."""
    name = f"{project}-development"
    return name if len(name) <= LONGEST else f"{project[: LONGEST - 4]}-dev"


def development(answers: Answers) -> str:
    """The text of config/development.toml: the same app, in a project and with data of its own; where the Dockerfile is
    ours, with its folder mounted."""
    text = f"""extends = "production"
project = {quoted(beside(answers.project))}

[host]
HTTP_PORT = "8081"

[services.backup]
replicas = 0
"""
    if not answers.module:
        return text
    # The image is the one that our Dockerfile describes.
    inside = answers.build.split("/")[0] not in (".", "..")
    source = f"./{answers.build}/" if inside else f"{answers.build}/"
    command = ["flask", "--app", answers.module, "run", "--debug", "--host", "0.0.0.0", "--port", answers.port]  # noqa: S104
    return f"""{text}
[services.app]
command = {json.dumps(command)} # reloads what was changed, and answers errors with a debugger

[services.app.volumes]
{quoted(source)} = "/app:ro"

[services.proxy]
replicas = 0
"""


def dockerfile(answers: Answers, found: Found) -> str:
    """A Dockerfile for a Flask app that has none; a change of code takes all above from the cache."""
    requirements = "-r requirements.txt " if found.requirements else "flask "
    copy = "COPY requirements.txt ./\n" if found.requirements else ""
    return f'''# Written by `python -m orchestrator init`; change it as you like. The orchestrator gives both arguments.
ARG PYTHON_IMAGE=python:3.13-alpine
FROM ${{PYTHON_IMAGE}}
# The certificate of an authority on the way that pip shall trust, too; the image does not keep it.
ARG BUILD_CA=""
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    PYTHONDONTWRITEBYTECODE=1 \\
    PYTHONUNBUFFERED=1
WORKDIR /app
{copy}RUN python3 -m venv /opt/venv \\
 && known=/etc/ssl/certs/ca-certificates.crt \\
 && if [ ! -s "$known" ]; then known=$(python -c "from pip._vendor import certifi; print(certifi.where())"); fi \\
 && cat "$known" > /tmp/ca.pem \\
 && printf '\\n%s\\n' "$BUILD_CA" >> /tmp/ca.pem \\
 && pip install --no-cache-dir --cert /tmp/ca.pem {requirements}gunicorn \\
 && rm /tmp/ca.pem
COPY . .
# A volume gets its owner from the folder of the image, when it is mounted for the first time.
RUN install -d -o 10001 -g 10001 -m 0750 {answers.data}
USER {USER}
EXPOSE {answers.port}
CMD ["gunicorn", "--bind", "0.0.0.0:{answers.port}", "--workers", "2", "--worker-tmp-dir", "/dev/shm", \\
     "--no-control-socket", "{answers.module}"]
'''


DOCKERIGNORE = "\n".join(
    (".git", ".venv", "venv", ".env", "**/__pycache__", "**/*.pyc", "**/*.db", "**/*.db-*", "**/*.sqlite*", "")
)


def init(
    root: Path, folder: Path | None, given: Mapping[str, str], ask: Ask | None, *, environ: Mapping[str, str]
) -> dict[str, Any]:
    """Writes the configuration for the app in `folder`, or of a ready image that `given` names; `project`, `written`,
    `kept` (the files before, by another name) and `todo`. Raises UsageError, with nothing written."""
    if (folder is None) == ("image" not in given):
        raise UsageError(
            "init wants the FOLDER of your app, or --image IMAGE.", hint="python -m orchestrator init ../shop"
        )
    if folder is not None and not folder.is_dir():
        raise UsageError(f"there is no folder {folder}.", hint="name that of your app.")
    current = read_file(root, "production").services.app
    if current.target != "app":
        raise UsageError(
            f"{CONFIG} describes an app of your own already; nothing was written.",
            hint=f"change it by hand, or get the one of this repository back (`git checkout {CONFIG}`) and begin anew.",
        )
    found = look(folder) if folder else Found(dockerfile=True)
    start = suggestions(folder, found) if folder else Answers(project=re.split(r"[/:@]", given["image"])[0][:30])
    build = os.path.relpath(folder.resolve(), root.resolve()) if folder else ""
    answers = ask_all(replace(start, build=build), given, ask)
    files = {
        root / CONFIG: configuration(answers, (root / CONFIG).read_text(encoding="utf-8")),
        root / "config/development.toml": development(answers),
    }
    if folder and not found.dockerfile:
        files[folder / "Dockerfile"] = dockerfile(answers, found)
        if not (folder / ".dockerignore").exists():
            files[folder / ".dockerignore"] = DOCKERIGNORE
    kept = _write(files)
    try:
        for environment in ENVIRONMENTS:
            read_file(root, environment)  # what was written must be right
    except UsageError:
        _restore(files, kept)
        raise
    return {
        "project": answers.project,
        "written": [os.path.relpath(path, root) for path in files],
        "kept": [os.path.relpath(path, root) for path in kept.values()],
        "todo": list(_todo(answers, folder, found, environ)),
    }


def _write(files: Mapping[Path, str]) -> dict[Path, Path]:
    """Writes the files; those that were there are kept beside them. The file to keep, by the file."""
    kept = {path: path.with_name(path.name + ".before-init") for path in files if path.exists()}
    for path, aside in kept.items():
        aside.write_bytes(path.read_bytes())
    done: list[Path] = []
    try:
        for path, text in files.items():
            part = path.with_name(path.name + ".part")
            part.write_text(text, encoding="utf-8")
            part.replace(path)
            done.append(path)
    except OSError as error:
        _restore(dict.fromkeys(done, ""), kept)
        raise OrchestratorError(
            f"{error.filename} could not be written: {error.strerror}.", hint="nothing was changed."
        ) from error
    return kept


def _restore(files: Mapping[Path, str], kept: Mapping[Path, Path]) -> None:
    for path in files:
        if path in kept:
            kept[path].replace(path)
        else:
            path.unlink(missing_ok=True)


def _todo(answers: Answers, folder: Path | None, found: Found, environ: Mapping[str, str]) -> Iterator[str]:
    """What a person must still see to."""
    owner = f"RUN install -d -o 10001 -g 10001 {answers.data}"
    if folder and found.dockerfile and answers.data not in (folder / "Dockerfile").read_text(errors="replace"):
        yield f"your Dockerfile must make {answers.data} the app's, which runs as {USER}: {owner}"
    if not answers.variable:
        yield f"the app must keep its database in {answers.data}; nothing tells it so"
    if environ.get("COMPOSE_PROJECT_NAME", answers.project) != answers.project:
        yield f"COMPOSE_PROJECT_NAME is {environ['COMPOSE_PROJECT_NAME']}, which comes before the project's name here"


def terminal() -> Ask | None:
    """Questions on the terminal, or None where nobody sits at one. Enter takes what is suggested, `-` means nothing."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str, suggestion: str) -> str:
        print(f"{question} [{suggestion or '-'}]: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise UsageError("the answers ended; nothing was written.")
        said = line.strip()
        return suggestion if not said else "" if said == "-" else said

    return ask


def text(result: Mapping[str, Any]) -> str:
    """What was done, and what comes next, for people."""
    lines = [f"wrote {', '.join(result['written'])}"]
    lines += [f"the file before is kept as {name}" for name in result["kept"]]
    lines += [f"see to it: {line}" for line in result["todo"]]
    return "\n".join([*lines, "next: python3 -m orchestrator deploy --setup"])
