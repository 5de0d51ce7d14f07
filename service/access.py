"""Who may do what, as the environment says it. Pure: the settings of `service.auth`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

AUTH = ("open", "password", "proxy")
READ = ("open", "closed")
EDIT = ("owner", "anyone")
WEB_SCHEMES = frozenset({"http", "https"})
# What runs or reads something where the link is followed; no setting allows these.
UNSAFE_SCHEMES = frozenset({"about", "blob", "data", "file", "filesystem", "javascript", "vbscript", "view-source"})
SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")
# Set by our own proxy or by servers on the way, so they can't carry a name.
TAKEN_HEADERS = frozenset({"authorization", "cookie", "host", "x-forwarded-for", "x-real-ip", "x-request-id"})

MAX_PERSON = 100  # characters
PERSON = re.compile(r"\w[\w.@+:|-]*")
LOOPBACK = "127.0.0.1,::1"


@dataclass(frozen=True)
class Access:
    """`trusted` are the addresses whose `user_header` counts where `auth` is proxy; `forwarders` those that may say,
    by X-Forwarded-For, on whose behalf they ask: our own proxy's network. `admins` are folded names."""

    auth: str = "open"
    read: str = "open"
    edit: str = "owner"
    read_only: bool = False
    user_header: str = "X-Forwarded-User"
    trusted: tuple[Network, ...] = ()
    forwarders: tuple[Network, ...] = ()
    admins: frozenset[str] = frozenset()
    schemes: frozenset[str] = WEB_SCHEMES
    session_days: int = 30


def read_access(environment: Mapping[str, str], problems: list[str]) -> Access:
    """Check and collect the variables; what is wrong is added to `problems`, each with its variable's name."""
    reader = _Reader(environment, problems)
    auth = reader.choice("AUTH", AUTH)
    access = Access(
        auth=auth,
        read=reader.choice("READ", READ),
        edit=reader.choice("EDIT", EDIT),
        read_only=reader.choice("READ_ONLY", ("false", "true")) == "true",
        user_header=reader.text("PROXY_USER_HEADER", "X-Forwarded-User"),
        trusted=reader.networks("PROXY_TRUSTED", ""),
        forwarders=reader.networks("FORWARDED_ALLOW_IPS", LOOPBACK),
        admins=frozenset(reader.words("ADMINS", fold_person, is_person, "names of people")),
        schemes=WEB_SCHEMES
        | set(reader.words("SCHEMES", str.lower, lambda s: bool(SCHEME.fullmatch(s)), "schemes such as mailto")),
        session_days=reader.number("SESSION_DAYS", 30, 3650),
    )
    if not HEADER.fullmatch(access.user_header) or access.user_header.lower() in TAKEN_HEADERS:
        problems.append(f"PROXY_USER_HEADER={access.user_header!r} must be the name of a header of its own")
    if auth == "proxy" and not environment.get("PROXY_TRUSTED", "").strip():
        problems.append("AUTH=proxy needs PROXY_TRUSTED: the address of the proxy whose word is taken")
    if auth == "open" and access.read == "closed":
        problems.append("READ=closed needs AUTH=password or AUTH=proxy: nobody could sign in")
    for scheme in sorted(access.schemes & UNSAFE_SCHEMES):
        problems.append(f"SCHEMES must not hold {scheme}: such a link runs or reads something where it is followed")
    return access


def fold_person(name: str) -> str:
    """The form by which people's names are the same: without case."""
    return unicodedata.normalize("NFKC", name).casefold()


def is_person(name: str) -> bool:
    """True when somebody may be called by this folded name."""
    return len(name) <= MAX_PERSON and PERSON.fullmatch(name) is not None


def address_of(text: str) -> Address | None:
    """The address that `text` says, or None; an IPv4 address in an IPv6 one is itself."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def within(address: Address | None, networks: Iterable[Network]) -> bool:
    """True when `address` is in one of the networks."""
    return address is not None and any(address in network for network in networks)


@dataclass(frozen=True)
class _Reader:
    environment: Mapping[str, str]
    problems: list[str]

    def text(self, name: str, default: str) -> str:
        # An empty variable is what Compose makes of an unset one, so it means the default.
        return self.environment.get(name, "").strip() or default

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, allowed[0]).lower()
        if value in allowed:
            return value
        self.problems.append(f"{name}={value!r} must be one of {', '.join(allowed)}")
        return allowed[0]

    def number(self, name: str, default: int, highest: int) -> int:
        value = self.text(name, str(default))
        if value.isascii() and value.isdigit() and len(value) < 5 and 1 <= int(value) <= highest:
            return int(value)
        self.problems.append(f"{name}={value!r} must be a whole number from 1 to {highest}")
        return default

    def words(self, name: str, clean: Callable[[str], str], good: Callable[[str], bool], what: str) -> list[str]:
        found = [clean(word) for word in re.split(r"[\s,]+", self.text(name, "")) if word]
        if wrong := [word for word in found if not good(word)]:
            self.problems.append(f"{name} must hold {what}, with commas between; {wrong[0]!r} is none")
        return found

    def networks(self, name: str, default: str) -> tuple[Network, ...]:
        found: list[Network] = []
        for word in re.split(r"[\s,]+", self.text(name, default)):
            try:
                if word:
                    found.append(ip_network(word, strict=False))
            except ValueError:
                self.problems.append(f"{name} must hold addresses or networks such as 10.0.0.0/8; {word!r} is none")
        return tuple(found)
