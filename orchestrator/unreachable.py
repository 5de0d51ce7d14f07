"""Why an engine can't be talked to, as a person reads it: one sentence and what to do. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from orchestrator.address import Address
from orchestrator.errors import NoEngine

Known = tuple[tuple[str, str, str], ...]
"""What the text of a failure holds (a regular expression), the sentence for it, and the hint. `{where}` stands for the
address, `{shown}` for it with what chose it, `{login}` for it without a path, `{host}` for its host."""

_SSH: Known = (
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION|No .*host key is known",
        "the host key of {host} is not the one that ssh knows, or it knows none.",
        "`ssh {login}` once shows it and asks; compare it with the host's before you say yes.",
    ),
    (
        r"Permission denied \(|Too many authentication failures",
        "{host} does not let this user in by ssh.",
        "try `ssh {login}`; the key comes from ssh's agent or from ~/.ssh/config.",
    ),
    (r"Could not resolve hostname", "there is no host {host}.", "correct {shown}."),
    (
        r"administratively prohibited|forwarding .*(disabled|refused)|remote port forwarding failed",
        "the sshd of {host} does not allow forwarding to a socket.",
        "set AllowStreamLocalForwarding yes in its sshd_config.",
    ),
    (
        r"open failed|RemoteDisconnected|Connection aborted",
        "no Docker engine answers this user on {host}.",
        "there: is it running, and is the user in the group docker? A socket elsewhere is named so: "
        "ssh://user@host/run/user/1000/docker.sock",
    ),
    (
        r"Connection refused|timed out|No route to host|[Uu]nreachable|Connection closed|Connection reset",
        "{host} can't be reached by ssh.",
        "try `ssh {login}`: is it up, and is its port the right one?",
    ),
    (r"No such file or directory: 'ssh'", "there is no ssh on this machine.", "install OpenSSH's client."),
)
_TCP: Known = (
    (
        r"client sent an HTTP request to an HTTPS server",
        "the engine at {where} wants TLS.",
        "set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder of ca.pem, cert.pem and key.pem.",
    ),
    (
        r"certificate verify failed|CERTIFICATE_VERIFY_FAILED|doesn't match|hostname mismatch",
        "the certificate that {where} shows is not trusted.",
        "ca.pem in DOCKER_CERT_PATH (or in the context) must be of the authority that made it, for this very host.",
    ),
    (
        # Which of these it is depends on who is quicker: the refusal is sent after our side of the handshake.
        r"alert (certificate required|bad certificate|unknown ca|handshake failure|certificate expired)|"
        r"EOF occurred in violation of protocol|Connection reset|Broken pipe",
        "the engine at {where} does not accept our certificate.",
        "cert.pem and key.pem in DOCKER_CERT_PATH (or in the context) must be made by the engine's authority.",
    ),
    (
        r"PEM lib|KEY_VALUES_MISMATCH|NO_CERTIFICATE_OR_CRL|no start line|Could not find the TLS",
        "the certificate files for {where} are not a certificate and its key.",
        "look at ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH (or in the context).",
    ),
    (
        r"WRONG_VERSION_NUMBER|wrong version number|record layer failure",
        "the engine at {where} does not speak TLS.",
        "unset DOCKER_TLS_VERIFY; but an engine without TLS gives root to whoever reaches it.",
    ),
    (r"Name or service not known|getaddrinfo|NameResolutionError", "there is no host {host}.", "correct {shown}."),
    (
        r"refused|timed out|No route to host|[Uu]nreachable",
        "no Docker engine answers at {shown}.",
        "is it up, and does it listen there? `ssh://user@host` needs no port of its own.",
    ),
)


def unreachable(address: Address, text: str) -> NoEngine:
    """The error for an engine that can't be talked to; `text` is what came of trying."""
    parts = urlsplit(address.url)
    known = _SSH if parts.scheme == "ssh" else _TCP if parts.scheme in ("tcp", "http", "https") else ()
    for pattern, message, hint in known:
        if re.search(pattern, text, re.IGNORECASE if known is _TCP else 0):
            words = {"where": address.url, "host": parts.hostname or address.url, "shown": address.shown}
            words["login"] = f"{parts.scheme}://{parts.netloc}"
            return NoEngine(message.format(**words), hint=hint.format(**words), detail=_last(text))
    if not known and "Permission denied" in text:
        return NoEngine(
            f"the Docker engine at {address.url} refuses this user.",
            hint="add yourself to its group (`sudo usermod -aG docker $USER`) and log in anew, or use sudo.",
        )
    return NoEngine(
        f"no Docker engine answers at {address.shown}.",
        hint="`python3 -m orchestrator setup` installs and starts one; or set DOCKER_HOST to one that runs."
        if not known
        else "see what it says above.",
        detail=_last(text) if known else (),
    )


def _last(text: str) -> tuple[str, ...]:
    """The end of what was said: the beginning may be a banner."""
    return tuple(line.strip()[:300] for line in text.splitlines() if line.strip() and not line.startswith("@@@"))[-4:]
