"""Images: what they are, making, naming, getting and removing them."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from docker.errors import APIError, ImageNotFound, NotFound
from docker.utils.build import exclude_paths

from orchestrator import labels
from orchestrator.engine.client import Client, translated
from orchestrator.steps import Image

#: Seconds for which the disk is asked about again, and what an engine says that passes: another one measures; or, with
#: images in containerd's store, a snapshot that a build had went while it was measured.
MEASURES = 20.0
PASSES = ("already running", "does not exist: not found")


def context_files(root: Path) -> frozenset[str]:
    """The paths below `root` that `.dockerignore` lets into a build, by docker-py's own reading of that file."""
    try:
        lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return frozenset(exclude_paths(str(root), patterns))


class Images(Client):
    """The calls of an engine that are about its images."""

    def image(self, reference: str) -> Image:
        """The image of a reference or id; without an id of its own if the engine has none."""
        with translated(f"look at image {reference}"):
            try:
                document = self.api.inspect_image(reference)  # type: ignore[no-untyped-call]
            except ImageNotFound:
                return Image(reference, "")
        marks = (document.get("Config") or {}).get("Labels") or {}
        return Image(reference, str(document["Id"]), marks.get(labels.FIXED, ""), marks.get(labels.SCHEMA, ""))

    def image_document(self, reference: str) -> dict[str, Any]:
        """All that the engine says of an image."""
        with translated(f"look at image {reference}"):
            document: dict[str, Any] = self.api.inspect_image(reference)  # type: ignore[no-untyped-call]
            return document

    def image_id(self, reference: str) -> str:
        """The image's id, or "" if the engine has none of that reference."""
        return self.image(reference).id

    def layers(self, image: str) -> dict[str, int]:
        """Bytes of each step that an image was made in, by what tells that step from all others; none if it is gone."""
        with translated(f"look at image {image}"):
            try:
                steps = self.api.history(image)  # type: ignore[no-untyped-call]
            except ImageNotFound:
                return {}
            return {f"{step['Created']} {step['CreatedBy']}": int(step["Size"]) for step in steps}

    def disk_usage(self) -> dict[str, Any]:
        """What the engine holds on disk, the sizes of volumes included; it measures, which takes a while, and fails
        when it is asked by two at once, or when something goes meanwhile: it is then asked again."""
        end = time.monotonic() + MEASURES
        with translated("measure the disk"):
            while True:
                try:
                    document: dict[str, Any] = self.api.df()
                    return document
                except APIError as error:
                    if not any(reason in str(error) for reason in PASSES) or time.monotonic() > end:
                        raise
                    time.sleep(0.1)

    def build(
        self, context: bytes, *, tag: str, target: str, args: Mapping[str, str], marks: Mapping[str, str] = {}
    ) -> Iterator[dict[str, Any]]:
        """Builds with the classic builder from a tar, with `marks` as labels; yields the engine's messages."""
        with translated(f"build {tag}"):
            yield from self.api.build(
                fileobj=io.BytesIO(context),
                custom_context=True,
                tag=tag,
                target=target,
                buildargs=dict(args),
                labels=dict(marks) or None,
                rm=True,
                forcerm=True,
                decode=True,
            )

    def tag(self, image: str, repository: str, tag: str) -> None:
        with translated(f"tag {repository}:{tag}"):
            self.api.tag(image, repository, tag=tag, force=True)

    def remove_image(self, reference: str) -> None:
        """Removes a tag, and the image with its last one; what is gone is done."""
        with translated(f"remove image {reference}"), suppress(NotFound):
            self.api.remove_image(reference)

    def pull(self, reference: str) -> Iterator[dict[str, Any]]:
        """Pulls an image; yields the engine's progress messages."""
        with translated(f"pull {reference}"):
            yield from self.api.pull(reference, stream=True, decode=True)

    def import_image(self, tar: Any, repository: str, tag: str, changes: list[str]) -> None:
        """Makes an image of one layer from an open root file system tar."""
        with translated(f"import {repository}:{tag}"):
            self.api.import_image_from_data(tar, repository=repository, tag=tag, changes=changes)
