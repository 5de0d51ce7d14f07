"""One POST to the webhook. Its address is a secret: no message holds it."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any

from orchestrator.agent.errors import AgentError

#: Seconds for one try, and between two.
TIMEOUT = 10.0
PAUSE = 2.0
TRIES = 3
ANSWER_LIMIT = 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET, which tells nobody anything; and it could lead anywhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def is_url(text: str) -> bool:
    """Whether it may be a webhook's address."""
    return text.startswith(("http://", "https://")) and text.isascii() and text.isprintable() and " " not in text


def post(url: str, document: dict[str, Any]) -> None:
    """Delivered when this returns; raises AgentError after the last try."""
    if not is_url(url):
        raise AgentError("BACKUP_WEBHOOK_URL is not a http or https address.", code="usage")
    problem = ""
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE)
        problem = _try(url, json.dumps(document).encode())
        if not problem:
            return
    raise AgentError(f"The webhook {problem} ({TRIES} tries).")


def _try(url: str, body: bytes) -> str:
    """What went wrong; "" if nothing."""
    headers = {"Content-Type": "application/json", "User-Agent": "snapshot-agent"}
    try:
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - looked at by is_url
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as response:
            response.read(ANSWER_LIMIT)
    except urllib.error.HTTPError as error:
        with error:
            return f"answered {error.code}"
    except urllib.error.URLError as error:
        return f"cannot be reached: {getattr(error.reason, 'strerror', None) or type(error.reason).__name__}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        # Their text may hold the address.
        return f"cannot be reached: {type(error).__name__}"
    return ""
