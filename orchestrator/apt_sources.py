"""Where the host's apt gets its packages, so that a base image gets them there too."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

# Host settings of apt without which its mirror may not answer.
OPTIONS = re.compile(
    r"""^(Acquire::(?:https?::[\w.:-]+|Retries|ForceIPv[46]|Check-Valid-Until|Check-Date) "[^"]*";)$""", re.MULTILINE
)


def mirrors(sources: Mapping[str, str], codename: str) -> tuple[str, ...]:
    """The host's own mirrors of `codename`, its updates and security fixes, as one-line entries, each once.

    `sources` maps file names to texts: `.sources` is deb822, anything else one-line entries. Empty when the host's apt
    names none; mmdebstrap then takes the distribution's default.
    """
    suites = {codename, f"{codename}-updates", f"{codename}-security"}
    entries: dict[str, None] = {}
    for name, text in sources.items():
        for uri, suite, components, signed_by in _deb822(text) if name.endswith(".sources") else _one_line(text):
            wanted = [part for part in components if part in {"main", "universe"}]
            if suite in suites and "main" in wanted and not uri.startswith("cdrom:"):
                option = f"[signed-by={signed_by}] " if signed_by else ""
                entries[f"deb {option}{uri} {suite} {' '.join(wanted)}"] = None
    return tuple(entries)


def _deb822(text: str) -> Iterator[tuple[str, str, list[str], str]]:
    for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)):
        fields = {
            key.lower(): value for key, value in re.findall(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        }
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "").strip().lower() == "no":
            continue
        signed_by = fields.get("signed-by", "").strip()
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                # An inline key is no path; apt then asks its own trusted keys.
                path = signed_by if signed_by.startswith("/") else ""
                yield uri, suite, fields.get("components", "").split(), path


def _one_line(text: str) -> Iterator[tuple[str, str, list[str], str]]:
    for line in text.splitlines():
        found = re.match(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line.strip())
        if found:
            options, uri, suite, components = found.groups()
            signed_by = re.search(r"signed-by=(\S+)", options or "")
            yield uri, suite, components.split(), signed_by[1] if signed_by else ""


def options(dump: str) -> tuple[str, ...]:
    """Those lines of `apt-config dump` that the mirror may need: proxies, TLS, and a tolerant clock."""
    return tuple(OPTIONS.findall(dump))


def read_sources() -> dict[str, str]:
    """This machine's apt sources that we may read: file name to text."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]
    return {
        path.name: path.read_text(encoding="utf-8", errors="replace")
        for path in files
        if path.suffix in {".list", ".sources"} and path.is_file() and os.access(path, os.R_OK)
    }
