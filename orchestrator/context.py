"""What an image is made of: the stages of the Dockerfile that a target needs, their files, and a digest of it all.

The digest is the image's tag, so "is there anything to build?" is answered by looking whether that tag exists, and a
changed file rebuilds the images that copy it and no other.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import UsageError

DOCKERFILE = "Dockerfile"
#: A build argument that decides whom pip trusts, not what the image is.
UNCOUNTED_ARGS = frozenset({"BUILD_CA"})
#: Where Nginx's configuration is; its files have an ending, the scripts beside them have none.
NGINX = "config/nginx/"


@dataclass(frozen=True)
class Stage:
    """One FROM: its name, base (a stage or an image, variables unresolved), instructions, and what it copies."""

    name: str
    base: str
    instructions: tuple[str, ...]
    stages: tuple[str, ...]
    sources: tuple[str, ...]


def _instructions(text: str) -> list[str]:
    """One string an instruction: comments gone, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [part.strip() for part in "\n".join(lines).replace("\\\n", " ").splitlines()]


def parse_dockerfile(text: str) -> tuple[tuple[str, ...], dict[str, Stage]]:
    """The instructions before the first FROM, and the stages by name."""
    head: list[str] = []
    groups: list[list[str]] = []
    for instruction in _instructions(text):
        if re.match(r"FROM\s", instruction, re.IGNORECASE):
            groups.append([instruction])
        elif groups:
            groups[-1].append(instruction)
        else:
            head.append(instruction)
    stages: dict[str, Stage] = {}
    for index, group in enumerate(groups):
        words = group[0].split()
        name = words[3] if len(words) == 4 else str(index)
        copied: list[str] = []
        sources: list[str] = []
        for instruction in group[1:]:
            if re.match(r"(COPY|ADD)\s", instruction, re.IGNORECASE):
                arguments = instruction.split()[1:]
                origin = [word.removeprefix("--from=") for word in arguments if word.startswith("--from=")]
                copied += origin
                if not origin:
                    sources += [word for word in arguments[:-1] if not word.startswith("--")]
        stages[name] = Stage(name, words[1], tuple(group), tuple(copied), tuple(sources))
    return tuple(head), stages


def needed(stages: Mapping[str, Stage], target: str) -> tuple[Stage, ...]:
    """The stages that a target is made of, in the file's order; UsageError if there is no such target."""
    if target not in stages:
        raise UsageError(
            f"{DOCKERFILE} has no stage {target!r}.",
            hint=f"set `target` in the configuration to one of: {', '.join(stages)}.",
        )
    wanted: set[str] = set()
    open_names = [target]
    while open_names:
        stage = stages[open_names.pop()]
        if stage.name not in wanted:
            wanted.add(stage.name)
            open_names += [name for name in (stage.base, *stage.stages) if name in stages]
    return tuple(stage for stage in stages.values() if stage.name in wanted)


def resolve(text: str, args: Mapping[str, str]) -> str:
    """`${NAME}` replaced by the build argument's value."""
    return re.sub(r"\$\{?(\w+)\}?", lambda match: args.get(match[1], match[0]), text)


def bases(stages: Iterable[Stage], names: Iterable[str], args: Mapping[str, str]) -> tuple[str, ...]:
    """The images that stages begin from, other than one another."""
    known = set(names)
    found = (resolve(stage.base, args) for stage in stages if stage.base not in known)
    return tuple(dict.fromkeys(found))


def files_below(root: Path, sources: Iterable[str], allowed: frozenset[str]) -> list[str]:
    """The files below `sources` that `.dockerignore` lets through, sorted."""
    prefixes = tuple(source.strip("/") for source in sources)
    return sorted(
        name
        for name in allowed
        if any(name == p or name.startswith(p + "/") for p in prefixes) and (root / name).is_file()
    )


def covered(files: Iterable[str], mounted: Iterable[str], named: Iterable[str]) -> frozenset[str]:
    """The files that a container sees as they are in the checkout, where `mounted` is, so that it needs no other image
    when they change. One that a Dockerfile names by itself decides what the image has besides, such as requirements."""
    prefixes = tuple("" if path == "." else path for path in mounted)
    kept = {name.strip("/").removeprefix("./") for name in named}
    return frozenset(
        name
        for name in files
        if name not in kept and any(not p or name == p or name.startswith(p + "/") for p in prefixes)
    )


@dataclass(frozen=True)
class Recipe:
    """How one target is built: its digest, its base images and its files (paths relative to the root). `fixed` is the
    digest without the files that a running container can be given instead, `schema` that of the files that a migration
    is made of; each "" if there are none."""

    target: str
    digest: str
    bases: tuple[str, ...]
    files: tuple[str, ...]
    fixed: str = ""
    schema: str = ""


def recipe(
    root: Path,
    target: str,
    args: Mapping[str, str],
    allowed: frozenset[str],
    base_ids: Mapping[str, str],
    migrate_files: tuple[str, ...] = (),
    mounted: tuple[str, ...] = (),
) -> Recipe:
    """`allowed` are the paths that `.dockerignore` lets through; `base_ids` maps base images to ids ("" if absent).
    What is `mounted` over the image's files does not count."""
    text = (root / DOCKERFILE).read_text(encoding="utf-8")
    head, stages = parse_dockerfile(text)
    chain = needed(stages, target)
    images = bases(chain, stages, args)
    files = files_below(root, (source for stage in chain for source in stage.sources), allowed)
    mentioned = "\n".join(line for stage in chain for line in stage.instructions)
    parts: list[bytes] = []
    for name in sorted(args.keys() - UNCOUNTED_ARGS):
        if re.search(rf"\b{re.escape(name)}\b", mentioned):
            parts.append(f"arg {name}={args[name]}\n".encode())
    for line in head:
        # The default of a global argument is part of what uses it, and of nothing else.
        argument = re.match(r"ARG\s+(\w+)", line, re.IGNORECASE)
        if argument and argument[1] not in args and re.search(rf"\b{argument[1]}\b", mentioned):
            parts.append(f"{line}\n".encode())
    parts += [("\n".join(stage.instructions) + "\n").encode() for stage in chain]
    parts += [f"base {base_ids.get(image, '')}\n".encode() for image in images]
    settable = [name for name in files if reloadable(name)]
    uncounted = covered(files, mounted, (source for stage in chain for source in stage.sources)) | set(settable)
    parts += [_counted(root, name) for name in files if name not in uncounted]
    fixed = hashlib.sha256(b"".join(parts))
    digest = fixed.copy()
    for name in settable:
        digest.update(_counted(root, name))
    schema = b"".join(_counted(root, name) for name in files_below(root, migrate_files, frozenset(files)))
    return Recipe(
        target,
        digest.hexdigest()[:12],
        images,
        tuple(files),
        fixed.hexdigest()[:12] if settable else "",
        hashlib.sha256(schema).hexdigest()[:12] if schema else "",
    )


def folder_recipe(
    root: Path,
    args: Mapping[str, str],
    allowed: frozenset[str],
    base_ids: Mapping[str, str],
    mounted: tuple[str, ...] = (),
) -> Recipe:
    """How the image of a folder with a Dockerfile of its own is made: of all its files that its .dockerignore lets
    through, whatever that Dockerfile does with them, but for those that are `mounted`."""
    text = read_dockerfile(root)
    images = folder_bases(root, args)
    files = tuple(sorted(name for name in allowed if (root / name).is_file() and name != DOCKERFILE))
    parts = [text.encode(), *(f"base {base_ids.get(image, '')}\n".encode() for image in images)]
    parts += [f"arg {name}={args[name]}\n".encode() for name in sorted(args.keys() - UNCOUNTED_ARGS) if name in text]
    _, stages = parse_dockerfile(text)
    uncounted = covered(files, mounted, (source for stage in stages.values() for source in stage.sources))
    parts += [_counted(root, name) for name in files if name not in uncounted]
    return Recipe("", hashlib.sha256(b"".join(parts)).hexdigest()[:12], images, files)


def folder_bases(root: Path, args: Mapping[str, str]) -> tuple[str, ...]:
    """The base images of a folder's Dockerfile, by the build arguments and its own defaults for others."""
    head, stages = parse_dockerfile(read_dockerfile(root))
    defaults = (re.match(r"ARG\s+(\w+)=(\S+)", line, re.IGNORECASE) for line in head)
    known = {match[1]: match[2].strip("\"'") for match in defaults if match} | dict(args)
    return bases(stages.values(), stages, known)


def read_dockerfile(root: Path) -> str:
    """The text of a folder's Dockerfile; UsageError if there is none."""
    try:
        return (root / DOCKERFILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"there is no Dockerfile to build from in {root}.",
            hint="`build` names the folder that holds it; `init` writes one for a Flask app.",
        ) from error


def reloadable(name: str) -> bool:
    """Whether a running Nginx takes another version of the file by a reload: its configuration, not its scripts."""
    return name.startswith(NGINX) and "." in name.removeprefix(NGINX)


def _counted(root: Path, name: str) -> bytes:
    path = root / name
    return f"file {name} {_mode(path):o} {path.stat().st_size}\n".encode() + path.read_bytes()


def base_images(root: Path, targets: Iterable[str], args: Mapping[str, str]) -> tuple[str, ...]:
    """Every base image of the targets."""
    _, stages = parse_dockerfile((root / DOCKERFILE).read_text(encoding="utf-8"))
    return tuple(dict.fromkeys(image for target in targets for image in bases(needed(stages, target), stages, args)))


def _mode(path: Path) -> int:
    """Whether it can be run is all that counts: a checkout's umask must not change an image."""
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def tar_of(root: Path, files: Iterable[str]) -> bytes:
    """The build context: the Dockerfile and the files, the same bytes for the same content on any machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in (DOCKERFILE, *files):
            path = root / name
            content = path.read_bytes()
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), _mode(path)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
