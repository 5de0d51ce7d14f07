"""maintenance: Nginx answers 503 with a page to everybody, while the stack behind it goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator import proxy
from orchestrator.errors import OrchestratorError
from orchestrator.session import Session

PATH = f"{proxy.FOLDER}/{proxy.MAINTENANCE}"


def of_restore(since: str, snapshot: str) -> bytes:
    """The mark's text while a restore closes the stack."""
    return f"{since} restore of {snapshot}\n".encode()


def is_of_restore(text: str) -> bool:
    """Whether a restore has begun it, not a person."""
    return " restore of " in text


def maintenance(session: Session, wanted: str | None) -> dict[str, Any]:
    """Turns it "on" or "off", or only tells (None). The file that is its mark outlives restarts and deployments."""
    proxy.required(session.stack, "to answer 503 meanwhile")
    observed = session.engine.observe(session.stack.project)
    since = observed.proxy.maintenance.strip()
    running = [container for container in observed.of("proxy") if container.running]
    if wanted == "on" and not since:
        since = datetime.now(UTC).isoformat(timespec="seconds")
    if wanted is not None:
        if not running:
            raise OrchestratorError("no proxy runs here.", hint="run `deploy` first.")
        if wanted == "on":
            session.engine.write_files(running[-1].name, proxy.FOLDER, {proxy.MAINTENANCE: f"{since}\n".encode()})
        else:
            code, output = session.engine.run_in(running[-1].name, ("rm", "-f", PATH))
            if code != 0:
                raise OrchestratorError(f"maintenance could not be ended: {output.strip()}.")
            since = ""
    return {"maintenance": "on" if since else "off", "since": since, "url": session.stack.url}


def text(state: dict[str, Any]) -> str:
    """As people read it."""
    if state["maintenance"] == "off":
        return f"maintenance is off: {state['url']} is open"
    return f"maintenance is on since {state['since']}: {state['url']} answers 503; `maintenance off` ends it"
