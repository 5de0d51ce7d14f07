"""What doctor reads from the engine's word of itself."""

from __future__ import annotations

from orchestrator.doctor import limits_hint


def test_limits_that_the_engine_does_not_keep_are_named() -> None:
    kept = {"MemoryLimit": True, "CpuCfsQuota": True, "PidsLimit": True}
    assert limits_hint(kept) == ""
    assert limits_hint({}) == "", "an engine that does not say"
    hint = limits_hint(kept | {"CpuCfsQuota": False, "PidsLimit": False})
    assert "limits of cpus, pids:" in hint
    assert "cgroup v2" in hint
