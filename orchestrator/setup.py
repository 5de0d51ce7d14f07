"""setup: makes this machine ready. The engine, the base images, and `.env` for what differs from the defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator import bases, host
from orchestrator.build import pull
from orchestrator.engine import Engine, connect
from orchestrator.errors import OrchestratorError
from orchestrator.report import Reporter
from orchestrator.settings import Settings, load

#: Which base each role's variable names.
ROLES: Mapping[str, bases.Role] = {"PYTHON_IMAGE": "python", "NGINX_IMAGE": "nginx"}


def setup(
    root: Path, environment: str, *, consent: bool, ask: Callable[[str], bool] | None, report: Reporter
) -> dict[str, Any]:
    """Makes the machine ready and says what it has; whatever is there already is left as it is."""
    settings = load(root, environment, os.environ)
    environ = settings.engine_environment
    host.ensure_engine(consent=consent, ask=ask, say=report.say, environ=environ)
    engine = connect(environ)
    found = {name: _base(name, settings, engine, report, install=consent) for name in ROLES}
    version = str(engine.version()["Version"])
    changed = {name: image for name, image in found.items() if image != getattr(settings.host, name)}
    if environment == "production":
        # Compose would otherwise name the project after the folder, and not find what `deploy` made.
        changed |= {"COMPOSE_PROJECT_NAME": settings.host.COMPOSE_PROJECT_NAME}
    written = write_env(root / ".env", changed)
    for name in written:
        report.say(f".env: {name}={changed[name]}")
    return {"ready": True, "engine": version, "images": found, "env": sorted(written)}


def _base(name: str, settings: Settings, engine: Engine, report: Reporter, *, install: bool) -> str:
    """The base image for a variable: the one it names, pulled if need be; where that is not to be had and nobody
    asked for it by name, one made from the distribution's packages."""
    image = str(getattr(settings.host, name))
    if engine.image_id(image):
        return image
    try:
        with report.step(f"pull image {image}"):
            pull(image, engine)
        return image
    except OrchestratorError as error:
        if settings.chosen(name):
            raise
        report.say(f"no registry has it for this engine ({error.message.rsplit(': ', 1)[-1]})")
    role = ROLES[name]
    tag = bases.base_tag(role, bases.host_distribution())
    if engine.image_id(tag):
        return tag
    making = report.step(f"make image {tag} from the distribution's packages")
    with making, bases.make_base(role, report.say, install=install) as base:
        repository, _, version = base.tag.rpartition(":")
        engine.import_image(base.tar, repository, version, list(base.changes))
    return tag


def write_env(path: Path, values: Mapping[str, str]) -> set[str]:
    """Adds the variables that `.env` does not set yet, in one step; returns their names."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = "# What this host is; see .env.example for all there is. Git ignores this file.\n"
    known = {line.partition("=")[0].strip() for line in text.splitlines() if not line.lstrip().startswith("#")}
    new = {name: value for name, value in values.items() if name not in known}
    if not new:
        return set()
    text = text if text.endswith("\n") or not text else text + "\n"
    text += "".join(f"{name}={value}\n" for name, value in new.items())
    part = path.with_name(path.name + ".part")
    try:
        # It may come to hold secrets, so it is its owner's alone from the first byte.
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OrchestratorError(f"{path} could not be written: {error}") from error
    return set(new)
