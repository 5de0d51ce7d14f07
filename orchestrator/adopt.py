"""A proxy that Compose has started stays where it is what ours would be: another one would interrupt for a moment.

The generated docker-compose.yml says in a label what the container was made of, as ours do. Its image was built by
another builder, so its id says nothing: what counts is that its base, its configuration as an image and its scripts are
ours. Nginx's own configuration may differ, since that is changed by a reload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator import context, create_args
from orchestrator.engine import Engine, context_files
from orchestrator.session import Session
from orchestrator.state import Observed, ObservedContainer
from orchestrator.steps import Image

#: Where the Dockerfile puts files of the checkout that are no configuration: by the path there.
PLACES = {context.NGINX: "/etc/nginx/", "config/probe": "/usr/local/bin/probe"}


def adopt(observed: Observed, session: Session, images: Mapping[str, Image]) -> Observed:
    """The same with the mark of our image on each proxy of another tool that is as good as ours."""
    if not session.stack.proxied:
        return observed
    stack, engine, wanted = session.stack, session.engine, images["proxy"]
    foreign = [
        c
        for c in observed.of("proxy")
        if c.healthy and not c.fixed and c.spec == create_args.fingerprint(stack.service("proxy"))
    ]
    if not foreign or not wanted.id:
        return observed
    ours = engine.image_document(wanted.id)
    base = engine.image_document(stack.build.args["NGINX_IMAGE"])
    root = session.settings.root
    equal = {
        c.id for c in foreign if _equal(engine.image_document(c.image_id), ours, base) and _scripts(c, root, engine)
    }
    marked = tuple(replace(c, fixed=wanted.fixed) if c.id in equal else c for c in observed.containers)
    return replace(observed, containers=marked)


def _equal(theirs: Mapping[str, Any], ours: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    """Whether two images are made alike on the same base, whatever their files."""
    layers = base["RootFS"]["Layers"]
    on_base = all(image["RootFS"]["Layers"][: len(layers)] == layers for image in (theirs, ours))
    names = ("User", "Env", "Cmd", "Entrypoint", "WorkingDir", "StopSignal", "ExposedPorts")
    return on_base and all((theirs["Config"].get(name) or None) == (ours["Config"].get(name) or None) for name in names)


def _scripts(container: ObservedContainer, root: Path, engine: Engine) -> bool:
    """Whether the container has the checkout's scripts."""
    allowed = context_files(root)
    return all(
        engine.read_file(container.name, place + path.removeprefix(source)).encode() == (root / path).read_bytes()
        for source, place in PLACES.items()
        for path in context.files_below(root, (source,), allowed)
        if not context.reloadable(path)
    )
