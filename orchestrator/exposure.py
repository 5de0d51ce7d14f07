"""Who can reach what the stack lets everybody do. Pure."""

from __future__ import annotations

from msgspec.structs import asdict

from orchestrator.settings import Settings, only_here


def warnings(settings: Settings) -> list[str]:
    """One sentence for each service that is open to all while the proxy is published beyond this machine."""
    bind = settings.host.HTTP_BIND
    if only_here(bind):
        return []
    found = []
    for name, service in asdict(settings.services).items():
        variable, _, value = service.open_to_all.partition("=")
        if variable and service.environment.get(variable, "").strip().lower() == value.lower():
            reached = f"{bind}:{settings.host.HTTP_PORT}"
            found.append(f"everybody who reaches {reached} may do everything in {name} ({variable}={value})")
    return found
