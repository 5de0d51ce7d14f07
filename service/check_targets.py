"""Which links lead nowhere any more: `python -m service.check_targets [--private] [--json] <export.jsonl`.

Asks each target, by HEAD and, where that is refused, by GET, without reading what it answers. Reads what `/.export`
gives, on whatever machine has a way out; the service itself has none. Exit code 1 if a target is dead.
Nothing is asked at a private address, whichever name or redirect leads there, unless --private says so.
"""

from __future__ import annotations

import argparse
import http.client
import ipaddress
import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from urllib.parse import urljoin, urlsplit

from service.links import ascii_url

TIMEOUT = 10.0  # seconds for each step of a request
MAX_REDIRECTS = 5
AT_ONCE = 16
# These say that the target is there, and that it is not for everybody, or not now.
THERE = frozenset({401, 403, 405, 407, 429})
PORTS = {"http": 80, "https": 443}
AGENT = "golinks-check/1"


class NotAskedError(Exception):
    """The target can't be asked, or must not be; the message says why."""


@dataclass(frozen=True)
class Finding:
    """What is known of a link's target: `state` is "ok", "dead" or "unchecked"; `reason` says why in a few words."""

    name: str
    url: str
    state: str
    reason: str


def check(  # noqa: PLR0911 - what can go wrong, each with what to say of it
    name: str, url: str, *, private: bool = False, timeout: float = TIMEOUT
) -> Finding:
    """Ask one target."""
    if "{{" in url:
        return Finding(name, url, "unchecked", "a template: what it leads to depends on the request")
    address = url
    try:
        for _ in range(MAX_REDIRECTS + 1):
            status, following = _ask(address, private, timeout)
            if following is None:
                good = 200 <= status < 400 or status in THERE
                return Finding(name, url, "ok" if good else "dead", f"answers {status}")
            address = urljoin(address, following)
    except NotAskedError as error:
        return Finding(name, url, "unchecked", str(error))
    except socket.gaierror:
        return Finding(name, url, "dead", f"there is no such host: {urlsplit(address).hostname}")
    except ssl.SSLCertVerificationError as error:
        return Finding(name, url, "dead", f"its certificate is not good: {error.verify_message}")
    except TimeoutError:
        return Finding(name, url, "dead", f"no answer in {timeout:g} s")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Finding(name, url, "dead", str(error) or type(error).__name__)
    return Finding(name, url, "dead", f"more than {MAX_REDIRECTS} redirects")


def check_all(
    links: Iterable[tuple[str, str]], *, private: bool = False, timeout: float = TIMEOUT
) -> Iterator[Finding]:
    """Ask all targets, some at a time, and give what was found in the order of the links."""
    remaining = iter(links)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # Not all at once: an export may be long, and its reader slow.
        while batch := list(islice(remaining, AT_ONCE * 8)):
            yield from pool.map(lambda link: check(*link, private=private, timeout=timeout), batch)


def read_links(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name, target) of each line of an export. Raises ValueError with the line's number."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            members = json.loads(line)
            yield str(members["Short"]), str(members["Long"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"line {number} is not one of an export") from None


def as_text(finding: Finding) -> str:
    """A line for people."""
    return f"{finding.state:9} {finding.name}  {finding.url}  ({finding.reason})"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m service.check_targets", description="which targets of an export are dead"
    )
    parser.add_argument("--private", action="store_true", help="ask private addresses, too")
    parser.add_argument("--json", action="store_true", help="a JSON object a line, of all links")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds for each step of a request")
    chosen = parser.parse_args(arguments)
    try:
        findings = check_all(read_links(sys.stdin), private=chosen.private, timeout=chosen.timeout)
        return report(findings, as_json=chosen.json)
    except ValueError as error:
        sys.stderr.write(f"check_targets: {error}: feed it what /.export gives\n")
        return 2


def report(findings: Iterable[Finding], *, as_json: bool) -> int:
    """Print what was found, of good links only in JSON; 1 if one is dead, else 0."""
    counted = {"ok": 0, "dead": 0, "unchecked": 0}
    for finding in findings:
        counted[finding.state] += 1
        if as_json:
            sys.stdout.write(json.dumps(asdict(finding), ensure_ascii=False) + "\n")
        elif finding.state != "ok":
            sys.stdout.write(as_text(finding) + "\n")
        sys.stdout.flush()
    sys.stderr.write(", ".join(f"{count} {state}" for state, count in counted.items()) + "\n")
    return 1 if counted["dead"] else 0


def _ask(url: str, private: bool, timeout: float) -> tuple[int, str | None]:
    """The status, and where it redirects to. GET where HEAD is not answered well, which some servers don't."""
    status, following = _request("HEAD", url, private, timeout)
    if status >= 400 and status not in (401, 429):
        status, following = _request("GET", url, private, timeout)
    return status, following


def _request(method: str, url: str, private: bool, timeout: float) -> tuple[int, str | None]:
    parts = urlsplit(ascii_url(url))
    if parts.scheme not in PORTS or not parts.hostname:
        raise NotAskedError(f"leads to {parts.scheme or 'no'} address, which is not asked")
    port = parts.port or PORTS[parts.scheme]
    connection = _connection(parts.scheme, parts.hostname, port, private, timeout)
    # A timeout is for each piece that is read, and a server may send a byte at a time for ever.
    end = threading.Timer(timeout, _end, (connection.sock,))
    end.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, headers={"User-Agent": AGENT, "Accept": "*/*"})
        answer = connection.getresponse()
        following = answer.headers.get("Location") if answer.status in (301, 302, 303, 307, 308) else None
        return answer.status, following
    finally:
        end.cancel()
        connection.close()


def _end(opened: socket.socket) -> None:
    with suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)


def _connection(scheme: str, host: str, port: int, private: bool, timeout: float) -> http.client.HTTPConnection:
    """Connected to the very address that was looked at: a second look at the name could give another one."""
    address = _address(host, port, private)
    opened = socket.create_connection((address, port), timeout)
    try:
        if scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, timeout=timeout)
            opened = ssl.create_default_context().wrap_socket(opened, server_hostname=host)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
    except BaseException:
        opened.close()
        raise
    connection.sock = opened
    return connection


def _address(host: str, port: int, private: bool) -> str:
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for text in found:
        address = ipaddress.ip_address(text.partition("%")[0])
        inner = getattr(address, "ipv4_mapped", None) or address
        if not private and (not inner.is_global or inner.is_multicast):
            raise NotAskedError(f"leads to the private address {text}; --private asks it")
    return found[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
