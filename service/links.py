"""What a link's name and target may be, and where a request for one leads. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from werkzeug.urls import iri_to_uri

from service import targets
from service.access import WEB_SCHEMES
from service.golang import now
from service.targets import URL_SAFE

MAX_NAME = 100  # characters
MAX_URL = 2048  # characters; longer addresses break in proxies and browsers of others

NAME = re.compile(r"\w[\w\-.]*")
# Keys of paths that are no links: the application or the proxy serves them, or browsers ask for them unasked.
RESERVED = frozenset({"static", "health", "livez", "favicon.ico", "robots.txt"})
# What a chat or a mail glues to the end of an address.
TRAILING = ".,()[]{}"

# Those that targets may have: what `allow_schemes` was told.
_schemes = WEB_SCHEMES


class InvalidLinkError(Exception):
    """`errors` has a message for each wrong field ("name", "url")."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors.items()))
        self.errors = errors


@dataclass(frozen=True)
class Asked:
    """A request's path in parts: `name` is decoded; `rest` (after the next slash) and `query` are quoted as sent."""

    name: str
    rest: str
    query: str


def allow_schemes(schemes: frozenset[str]) -> None:
    """Says once, at the start, which schemes targets may have; `service.access` has seen to it that they are safe."""
    global _schemes  # noqa: PLW0603 - a setting of the process, as the database is
    _schemes = schemes


def fold(name: str) -> str:
    """The key by which names are the same: without case and hyphens."""
    return unicodedata.normalize("NFC", name).lower().replace("-", "")


def is_name(name: str) -> bool:
    """True when a link may have this name."""
    return len(name) <= MAX_NAME and NAME.fullmatch(name) is not None and fold(name) not in RESERVED


def name_problem(value: object) -> str | None:
    """Why `value` can't be a name, or None."""
    if not isinstance(value, str):
        return "must be text" if value is not None else "is missing"
    name = unicodedata.normalize("NFC", value.strip())
    if not name:
        return "is missing"
    if len(name) > MAX_NAME or len(fold(name)) > MAX_NAME:
        return f"has more than {MAX_NAME} characters"
    if fold(name) in RESERVED:
        return "is reserved for the service itself"
    if not NAME.fullmatch(name):
        return "must begin with a letter or digit and hold only letters, digits, hyphens, dots and underscores"
    return None


def url_problem(value: object) -> str | None:  # noqa: PLR0911 - a list of rules, each with its message
    """Why `value` can't be a target, or None."""
    if not isinstance(value, str):
        return "must be text" if value is not None else "is missing"
    url = value.strip()
    if not url:
        return "is missing"
    if len(url) > MAX_URL:
        return f"has more than {MAX_URL} characters"
    if targets.is_template(url):
        return targets.check(url, _schemes)
    # Control characters, surrogates, format characters and spaces split headers or hide what an address is.
    if any(unicodedata.category(character)[0] in "CZ" for character in url) or "\\" in url:
        return "must not hold spaces, backslashes or control characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a valid address"
    if parts.scheme not in _schemes:
        others = (f"{scheme}:" for scheme in sorted(_schemes - WEB_SCHEMES))
        return f"must begin with {' or '.join(('http://', 'https://', *others))}"
    if not host and parts.scheme in WEB_SCHEMES:
        return "has no host"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or password"
    try:
        fits = ascii_url(url).isascii()
    except ValueError:
        fits = False
    return None if fits else "has a host that is not valid"


def ascii_url(url: str) -> str:
    """The address as a header can carry it. Raises ValueError for a host without an ASCII form."""
    return url if url.isascii() else iri_to_uri(url)


def take_apart(raw: str) -> Asked:
    """Read a request's target as it was sent (`/name/rest?query`; an absolute form loses its scheme and host)."""
    path, _, query = _quoted(raw).partition("?")
    if "://" in path and not path.startswith("/"):
        path = "/" + path.split("://", 1)[1].partition("/")[2]
    name, _, rest = path.removeprefix("/").partition("/")
    return Asked(unquote(name, errors="replace"), rest, query)


def spellings(name: str) -> list[str]:
    """The names to look for, best first: as asked, then without punctuation glued to its end."""
    return [spelling for spelling in dict.fromkeys((name, name.rstrip(TRAILING))) if is_name(spelling)]


def resolve(url: str, rest: str, query: str, user: str = "") -> str:
    """Where a request for a link to `url` goes: the rest of its path appended, its query added after the target's.

    A template says itself where the rest goes. `rest` and `query` are quoted, as `take_apart` gives them; `user` is ""
    where nobody is signed in. The result is ASCII and safe in a header. Raises targets.TargetError, of a template.
    """
    if targets.is_template(url):
        return targets.expand(url, rest, query, user, now(), _schemes)
    if not rest and not query:
        return ascii_url(url)
    parts = urlsplit(ascii_url(url))
    path, fragment = parts.path, parts.fragment
    if rest and fragment.startswith(("/", "!/")):
        # The page routes by its fragment, so that is where its path goes on.
        fragment = f"{fragment.removesuffix('/')}/{rest}"
    elif rest:
        path = f"{path.removesuffix('/')}/{rest}"
    joined = "&".join(part for part in (parts.query, query) if part)
    return urlunsplit((parts.scheme, parts.netloc, path, joined, fragment))


def _quoted(sent: str) -> str:
    try:
        # Bytes outside ASCII, which some clients send unquoted, come from WSGI as latin-1.
        return quote(sent.encode("latin-1"), safe=URL_SAFE)
    except UnicodeEncodeError:
        return quote(sent.encode("utf-8", "replace"), safe=URL_SAFE)
