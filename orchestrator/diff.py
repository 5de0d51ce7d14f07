"""How two sets of settings differ, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def short(image_id: str) -> str:
    """The seven hexadecimal digits by which people know an image."""
    return image_id.removeprefix("sha256:")[:7]


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested JSON values with dotted keys; lists are leaves."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def human(key: str, value: Any) -> str:  # noqa: PLR0911 - one flat table
    """A value of the fingerprint as people write it in the settings."""
    if value is None or value in ("", [], {}):
        return "none"
    if key == "memory" and isinstance(value, int):
        return f"{value // 1024**2}m" if value % 1024**2 == 0 else f"{value} bytes"
    if key == "nano_cpus":
        return f"{value / 1e9:g}"
    if isinstance(value, str) and value.startswith("sha256:"):
        return "********"
    if isinstance(value, list):
        return " ".join(human("", item) for item in value)
    if isinstance(value, Mapping):
        return ",".join(f"{name}={human(name, inner)}" for name, inner in value.items() if inner not in (None, False))
    return f"{value:g}" if isinstance(value, float) else str(value)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed between two fingerprints: `memory: 128m -> 256m`."""
    before, after = dict(flatten(old)), dict(flatten(new))
    changed = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    return [f"{key}: {human(key, before.get(key))} -> {human(key, after.get(key))}" for key in changed]
