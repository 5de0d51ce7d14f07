"""Why a container is not what the stack wants; no reason means that it is."""

from __future__ import annotations

from orchestrator import create_args
from orchestrator.diff import differences, human, short
from orchestrator.model import ServiceSpec, Stack
from orchestrator.state import Limits, ObservedContainer
from orchestrator.steps import Image


def _limits(stack: Stack, spec: ServiceSpec) -> Limits:
    return Limits(
        memory=spec.memory,
        nano_cpus=round(spec.cpus * 1_000_000_000),
        pids=spec.pids,
        restart=spec.restart,
        networks=frozenset(create_args.network_names(stack, spec)),
    )


def reasons(stack: Stack, spec: ServiceSpec, image: Image, container: ObservedContainer) -> tuple[str, ...]:
    """Every reason to replace `container`; none when it is what is wanted."""
    found: list[str] = []
    if container.image_id != image.id:
        wanted = short(image.id) if image.id else "to be built"
        found.append(f"image: {short(container.image_id)} -> {wanted}")
    new = create_args.fingerprint(spec)
    if container.spec is None:
        return (*found, "made by another tool")
    if container.spec != new:
        return (*found, *(differences(container.spec, new) or ["settings changed"]))
    wanted_limits = _limits(stack, spec)
    for name in ("memory", "nano_cpus", "pids", "restart"):
        is_now, wanted_value = getattr(container.limits, name), getattr(wanted_limits, name)
        if is_now != wanted_value:
            shown = "cpus" if name == "nano_cpus" else name
            found.append(f"{shown}: {human(name, is_now)} -> {human(name, wanted_value)} (changed from outside)")
    if container.limits.networks - wanted_limits.networks:
        # One that it has left, it joins again.
        found.append(f"networks: {', '.join(sorted(container.limits.networks))} (changed from outside)")
    return tuple(found)
