"""The hosts that are this service's own. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit


def own_host(host: str) -> str:
    """A host as it is compared: without case and the ports that addresses leave out."""
    return host.lower().removesuffix(":80").removesuffix(":443")


def split_hosts(text: str) -> frozenset[str]:
    """The setting HOSTS, with commas between. Raises ValueError naming what is no host."""
    found = set()
    for word in text.replace(",", " ").split():
        try:
            parts = urlsplit(f"//{word}")
            good = parts.netloc == word and bool(parts.hostname) and "@" not in word and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise ValueError(word)
        found.add(own_host(word))
    return frozenset(found)
