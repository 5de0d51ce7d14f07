"""Reads a manifest, trusting nothing in it: it may come from another machine. Pure; the standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.agent.manifest import (
    FAILED,
    FORMAT,
    PASSED,
    SIDECAR_KEYS,
    Database,
    Files,
    Manifest,
    ManifestError,
    Owner,
    Rehearsed,
    Snapshot,
    created_of,
    is_snapshot_id,
    parse_time,
)

_SHA256 = re.compile(r"[0-9a-f]{64}")


def parse_snapshot(document: object) -> Snapshot:
    """`<id>.json` -> Snapshot; raises ManifestError."""
    top = _mapping(document, "document")
    snapshot, sha256 = _text(top, "snapshot"), _sha256(top, "sha256")
    if not is_snapshot_id(snapshot):
        raise ManifestError(f"snapshot: not an id: {snapshot!r}")
    if not snapshot.endswith(sha256[:7]):
        raise ManifestError("sha256: does not belong to this id")
    verified = top.get("verified")
    if verified is not None:
        parse_time(_text(top, "verified"))
    manifest = parse_manifest({key: value for key, value in top.items() if key not in SIDECAR_KEYS})
    if parse_time(manifest.created) != created_of(snapshot):
        raise ManifestError("created: does not belong to this id")
    rehearsed = top.get("rehearsed")
    return Snapshot(
        snapshot=snapshot,
        bytes=_int(top, "bytes"),
        sha256=sha256,
        manifest=manifest,
        verified=verified,
        rehearsed=None if rehearsed is None else parse_rehearsed(_mapping(rehearsed, "rehearsed")),
        remotes={name: _mapping(copy, "remotes") for name, copy in _mapping(top.get("remotes", {}), "remotes").items()},
    )


def parse_rehearsed(one: Mapping[str, Any]) -> Rehearsed:
    """The value of `rehearsed` in `<id>.json`; raises ManifestError."""
    at, result = _text(one, "at"), _text(one, "result")
    parse_time(at)
    if result not in (PASSED, FAILED):
        raise ManifestError(f"result: neither {PASSED} nor {FAILED}: {result!r}")
    return Rehearsed(
        at=at,
        result=result,
        release=_text(one, "release"),
        image=_text(one, "image"),
        own_release=bool(one.get("own_release")),
        restore_seconds=None if one.get("restore_seconds") is None else _seconds(one, "restore_seconds"),
        boot_seconds=None if one.get("boot_seconds") is None else _seconds(one, "boot_seconds"),
        reason=str(one.get("reason") or ""),
    )


def parse_manifest(document: object) -> Manifest:
    """`manifest.json` -> Manifest; raises ManifestError."""
    top = _mapping(document, "document")
    version = _int(top, "format")
    if version != FORMAT:
        raise ManifestError(f"format: {version} is not known here, only {FORMAT}")
    created = _text(top, "created")
    parse_time(created)
    root, files = _mapping(top.get("root"), "root"), _mapping(top.get("files"), "files")
    warnings = _list(top, "warnings")
    databases = tuple(_database(_mapping(one, "databases")) for one in _list(top, "databases"))
    if not databases and not top.get("raw"):
        raise ManifestError("databases: none")
    return Manifest(
        created=created,
        release=_text(top, "release"),
        reason=_text(top, "reason"),
        sqlite=_text(top, "sqlite"),
        engine=_text(top, "engine") if "engine" in top else "",
        root=Owner(mode=_mode(root), uid=_int(root, "uid"), gid=_int(root, "gid")),
        databases=databases,
        files=Files(count=_int(files, "count"), bytes=_int(files, "bytes"), sha256=_sha256(files, "sha256")),
        warnings=tuple(str(warning) for warning in warnings),
        seconds=_seconds(top),
        raw=bool(top.get("raw")),
    )


def _database(one: Mapping[str, Any]) -> Database:
    tables = _mapping(one.get("tables"), "tables")
    violations = None if one.get("foreign_key_violations") is None else _int(one, "foreign_key_violations")
    return Database(
        path=_path(one),
        bytes=_int(one, "bytes"),
        sha256=_sha256(one, "sha256"),
        integrity=_text(one, "integrity"),
        foreign_key_violations=violations,
        user_version=_int(one, "user_version", signed=True),
        application_id=_int(one, "application_id", signed=True),
        journal_mode=_text(one, "journal_mode"),
        page_size=_int(one, "page_size"),
        tables={name: _int(tables, name) for name in tables},
        mode=_mode(one),
        uid=_int(one, "uid"),
        gid=_int(one, "gid"),
        read=_text(one, "read"),
    )


def _mapping(value: object, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ManifestError(f"{key}: not an object")
    return value


def _list(mapping: Mapping[str, Any], key: str) -> list[Any]:
    value = mapping.get(key)
    if not isinstance(value, list):
        raise ManifestError(f"{key}: not a list")
    return value


def _text(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    if not isinstance(value, str):
        raise ManifestError(f"{key}: not a text")
    return value


def _int(mapping: Mapping[str, Any], key: str, *, signed: bool = False) -> int:
    value = mapping.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or (value < 0 and not signed):
        raise ManifestError(f"{key}: not a whole number")
    return value


def _seconds(mapping: Mapping[str, Any], key: str = "seconds") -> float:
    value = mapping.get(key)
    return value if isinstance(value, float) else float(_int(mapping, key))


def _sha256(mapping: Mapping[str, Any], key: str) -> str:
    value = _text(mapping, key)
    if _SHA256.fullmatch(value) is None:
        raise ManifestError(f"{key}: not a sha256")
    return value


def _mode(mapping: Mapping[str, Any]) -> str:
    value = _text(mapping, "mode")
    if re.fullmatch(r"0?[0-7]{3,4}", value) is None:
        raise ManifestError(f"mode: not octal: {value!r}")
    return value


def _path(mapping: Mapping[str, Any]) -> str:
    """A restore writes to this path, so it never leaves the volume."""
    value = _text(mapping, "path")
    if not value or value.startswith("/") or "\0" in value or any(part in {"", ".", ".."} for part in value.split("/")):
        raise ManifestError(f"path: not inside the volume: {value!r}")
    return value
