"""Builds the images whose tag is not there yet, with progress; a failing step shows its own last output."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator import context, disk, labels
from orchestrator.engine import Engine, context_files
from orchestrator.errors import EngineError, OrchestratorError, UsageError
from orchestrator.model import ServiceSpec, Stack
from orchestrator.report import Reporter, size
from orchestrator.schema import size as parse_size
from orchestrator.settings import Settings
from orchestrator.steps import BuildImage, Image

#: Linux takes no single argument of a process that is longer, and RUN gets build arguments as environment.
CA_LIMIT = 120_000
_STEP = re.compile(r"^Step (\d+)/(\d+) : (.*)", re.DOTALL)


def recipes(stack: Stack, root: Path, engine: Engine) -> dict[str, context.Recipe]:
    """How the image of each service with a build target is made, by service."""
    targets = {service.name: service for service in stack.services if service.target}
    folders = {service.name: root / service.folder for service in stack.services if service.folder}
    allowed = context_files(root)
    base_ids = {
        image: engine.image_id(image)
        for image in context.base_images(root, (str(spec.target) for spec in targets.values()), stack.build.args)
    }
    found = {
        name: context.recipe(
            root, str(spec.target), stack.build.args, allowed, base_ids, spec.migrate_files, _mounted(spec, root)
        )
        for name, spec in targets.items()
    }
    for name, folder in folders.items():
        ids = {image: engine.image_id(image) for image in context.folder_bases(folder, stack.build.args)}
        mounted = _mounted(stack.service(name), folder)
        found[name] = context.folder_recipe(folder, stack.build.args, context_files(folder), ids, mounted)
    return found


def _mounted(spec: ServiceSpec, root: Path) -> tuple[str, ...]:
    """What of the checkout a service sees instead of its image's, relative to where that is built from."""
    return tuple(os.path.relpath(bind.source, root) for bind in spec.binds)


def images_of(stack: Stack, made: Mapping[str, context.Recipe], engine: Engine) -> dict[str, Image]:
    """The image of each service; without an id where it is still to be built or pulled."""
    found: dict[str, Image] = {}
    for service in stack.services:
        reference = f"{service.image}:{made[service.name].digest}" if service.name in made else service.image
        found[service.name] = image = engine.image(reference)
        if service.name in made and not image.id:
            found[service.name] = Image(reference, "", made[service.name].fixed, made[service.name].schema)
    return found


def missing(stack: Stack, images: Mapping[str, Image]) -> tuple[BuildImage, ...]:
    """The builds that a deployment begins with."""
    return tuple(
        BuildImage(
            images[service.name].reference,
            "no image of its current files",
            service.target or "",
            service.folder,
            marks(images[service.name]),
        )
        for service in stack.services
        if service.is_built and not images[service.name].id
    )


def marks(image: Image) -> dict[str, str]:
    """The labels that an image gets besides its Dockerfile's."""
    return {key: value for key, value in ((labels.FIXED, image.fixed), (labels.SCHEMA, image.schema)) if value}


def extra_ca(settings: Settings) -> str:
    """The text of BUILD_CA_FILE; UsageError if it can't be what a build needs."""
    if not settings.host.BUILD_CA_FILE:
        return ""
    path = settings.root / settings.host.BUILD_CA_FILE
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"BUILD_CA_FILE: {path} cannot be read: {error}") from error
    if "BEGIN CERTIFICATE" not in text or len(text) > CA_LIMIT:
        raise UsageError(f"BUILD_CA_FILE: {path} must hold certificates in PEM form, {CA_LIMIT // 1000} kB at most.")
    return text


def require_disk(settings: Settings, engine: Engine) -> None:
    """Refuses to begin a build that would fill the engine's disk; a remote engine's disk can't be seen from here."""
    found = disk.free(engine.info(), local=engine.is_local)
    if found is None:
        return
    (free, folder), wanted = found, int(str(parse_size(settings.host.BUILD_MIN_FREE)))
    if free < wanted:
        raise OrchestratorError(
            f"only {size(free)} are free for images in {folder}; a build wants {size(wanted)}.",
            hint="free some (`docker system prune` removes what nothing uses), or lower BUILD_MIN_FREE.",
        )


def build(steps: Iterable[BuildImage], stack: Stack, settings: Settings, engine: Engine, report: Reporter) -> None:
    """Builds and tags each image; OrchestratorError carries the failing step's last output."""
    steps = tuple(steps)
    if not steps:
        return
    require_disk(settings, engine)
    args = dict(stack.build.args) | {"BUILD_CA": extra_ca(settings)}
    allowed = context_files(settings.root)
    _, stages = context.parse_dockerfile((settings.root / context.DOCKERFILE).read_text(encoding="utf-8"))
    for step in steps:
        with report.step(str(step)):
            if step.folder:
                folder = settings.root / step.folder
                files = [name for name in context_files(folder) if (folder / name).is_file()]
                tar = context.tar_of(folder, sorted(set(files) - {context.DOCKERFILE}))
            else:
                # All files, since the classic builder runs every stage that stands before the target.
                everything = tuple(source for stage in stages.values() for source in stage.sources)
                tar = context.tar_of(settings.root, context.files_below(settings.root, everything, allowed))
            _build_one(step, tar, args, engine, report)
            repository = step.target.rpartition(":")[0]
            # What `docker-compose up` looks for.
            engine.tag(step.target, repository, "latest")


def _build_one(step: BuildImage, tar: bytes, args: Mapping[str, str], engine: Engine, report: Reporter) -> None:
    last: deque[str] = deque(maxlen=20)
    stage, current, began = "", "", time.monotonic()

    def finished() -> None:
        if current and time.monotonic() - began >= 1:
            report.say(f"     {current} {time.monotonic() - began:.1f} s")

    try:
        messages = engine.build(tar, tag=step.target, target=step.build_target, args=args, marks=step.marks)
        first = next(messages, {})
    except EngineError as error:
        # Refused before its first step, for which the engine unpacks the context.
        error.hint = disk.hint(engine.info(), error.message, local=engine.is_local)
        raise
    for message in itertools.chain((first,), messages):
        if "error" in message:
            text = str(message["error"]).strip()
            raise OrchestratorError(
                f"the {step.build_target} image could not be built: {text}.",
                hint=disk.hint(engine.info(), "\n".join((text, *last)), local=engine.is_local)
                or _build_hint(current, text, last),
                detail=(f"in: {current}", *last),
            )
        line = str(message.get("stream", "")).rstrip()
        if match := _STEP.match(line):
            finished()
            instruction = " ".join(match[3].split())
            if named := re.match(r"FROM \S+ AS (\S+)", instruction, re.IGNORECASE):
                stage = named[1]
            current, began = f"{stage}, step {match[1]}/{match[2]}: {instruction[:90]}", time.monotonic()
            last.clear()
            report.doing(current)
        elif line.strip() and not line.lstrip().startswith("--->"):
            last.extend(part for part in line.splitlines() if part.strip())
    finished()


def _build_hint(current: str, text: str, last: Iterable[str]) -> str:
    output = "\n".join((text, *last))
    if ": FROM " in current:
        return "run `python3 -m orchestrator setup`, which gets the base images, or set PYTHON_IMAGE and NGINX_IMAGE."
    if "CERTIFICATE_VERIFY_FAILED" in output or "SSLError" in output:
        return "a proxy on the way shows its own certificate: set BUILD_CA_FILE to the file of its authority."
    if "Could not find a version" in output or "No matching distribution" in output:
        return "pip found no such package for this base; see its requirements, and the network of the engine."
    return "the lines above are the failing step's own output."


def require_images(stack: Stack, images: Mapping[str, Image], engine: Engine, report: Reporter) -> dict[str, Image]:
    """Pulls the images of services that are not built here, where they are missing."""
    found = dict(images)
    for service in stack.services:
        if found[service.name].id:
            continue
        if service.is_built:
            raise OrchestratorError(
                f"there is no image of the current files for {service.name}.",
                hint="run `deploy` without --no-build.",
            )
        with report.step(f"pull image {service.image}"):
            pull(service.image, engine)
        found[service.name] = engine.image(service.image)
    return found


def pull(reference: str, engine: Engine) -> None:
    """Pulls an image; OrchestratorError when it is not to be had."""
    try:
        for message in engine.pull(reference):
            if "error" in message:
                raise EngineError(str(message["error"]))
    except EngineError as error:
        raise OrchestratorError(
            f"image {reference} is not to be had: {error.message}",
            hint="check its name and the engine's way to the registry.",
        ) from error
