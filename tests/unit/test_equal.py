"""The comparison of two stacks: it finds what differs, and lets by only what is listed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests import equal
from tests.equal import V1, V2, Difference, Documents, compare, flat, stale

ID, OTHER_ID = "0f" * 32, "1e" * 32


def inspected(project: str, port: str, number: str) -> dict[str, Any]:
    """A container as the engine describes it, as far as matters here."""
    return {
        "Id": number,
        "ResolvConfPath": f"/var/lib/docker/containers/{number}/resolv.conf",
        "Config": {
            "Hostname": number[:12],
            "User": "7:7",
            "Cmd": ["a", "b"],
            "Env": ["ONE=1", f"HERE={project}"],
            "StopTimeout": None,
        },
        "HostConfig": {
            "Memory": 1024,
            "ReadonlyRootfs": True,
            "CapAdd": None,
            "SecurityOpt": ["one", "two"],
            "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]},
        },
        "Mounts": [
            {"Type": "volume", "Name": f"{project}_data", "Destination": "/data", "RW": True},
            {"Type": "volume", "Name": f"{project}_more", "Destination": "/more", "RW": False},
        ],
        "NetworkSettings": {"Networks": {f"{project}_inner": {"Aliases": ["app", number[:12]]}}},
    }


def stack(project: str, port: str, number: str) -> Documents:
    return Documents(
        {"app": inspected(project, port, number)},
        {f"{project}_inner": {"Name": f"{project}_inner", "Internal": True, "Options": {}}},
        {f"{project}_data": {"Name": f"{project}_data", "Driver": "local", "Options": None}},
        {project: "PROJECT", port: "PORT", number: "ID-app", number[:12]: "ID-app"},
    )


OURS = stack("t-1", "15001", ID)


@pytest.fixture
def theirs() -> Any:
    return copy.deepcopy(stack("t-22", "15002", OTHER_ID))


@pytest.fixture(autouse=True)
def _none_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equal, "DIFFERENCES", ())


def test_names_of_its_own_and_ways_of_writing_nothing_are_no_difference(theirs: Any) -> None:
    app = theirs.containers["app"]
    app["Config"]["StopTimeout"], app["HostConfig"]["CapAdd"] = 0, []
    app["HostConfig"]["Binds"] = app["Config"]["Domainname"] = ""
    app["Config"]["Env"].reverse()
    app["HostConfig"]["SecurityOpt"].reverse()
    app["Mounts"].reverse()
    theirs.volumes["t-22_data"]["Options"] = {}
    assert compare(OURS, theirs, V1) == ([], set())


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("Config.User", "", "container app, Config.User: '7:7' by deploy, None by Compose v1"),
        ("Config.Cmd", ["b", "a"], "container app, Config.Cmd.0: 'a' by deploy, 'b' by Compose v1"),
        ("Config.Env", ["ONE=2", "HERE=t-22"], "Config.Env.ONE: 'ONE=1' by deploy, 'ONE=2'"),
        ("Config.Env", ["ONE=1", "HERE=t-22", "MORE="], "Config.Env.MORE: None by deploy, 'MORE='"),
        ("Config.New", 1, "Config.New: None by deploy, 1"),
        ("HostConfig.Memory", 0, "HostConfig.Memory: 1024 by deploy, None"),
        ("HostConfig.ReadonlyRootfs", False, "HostConfig.ReadonlyRootfs: True by deploy, None"),
        ("HostConfig.SecurityOpt", ["one"], "HostConfig.SecurityOpt.two: True by deploy, None"),
        ("HostConfig.PortBindings", {}, "HostConfig.PortBindings.8080/tcp.0.HostIp"),
        ("Mounts", [], "Mounts./data.Type"),
        ("NetworkSettings.Networks", {}, "NetworkSettings.Networks.PROJECT_inner.Aliases.app"),
        ("NetworkSettings.Networks.t-22_inner.Aliases", ["app"], "Networks.PROJECT_inner.Aliases.ID-app: True"),
    ],
)
def test_a_difference_is_found(path: str, value: object, found: str, theirs: Any) -> None:
    document = theirs.containers["app"]
    *above, last = path.split(".")
    for name in above:
        document = document[name]
    document[last] = value
    assert found in "\n".join(compare(OURS, theirs, V1)[0])


def test_differences_of_networks_volumes_and_in_what_there_is_are_found(theirs: Any) -> None:
    theirs.networks["t-22_inner"]["Internal"] = False
    theirs.volumes["t-22_data"]["Driver"] = "other"
    theirs.volumes["t-22_more"] = {"Name": "t-22_more"}
    theirs.containers["more"] = {"Id": "x"}
    assert compare(OURS, theirs, V2)[0] == [
        "container more, Id: None by deploy, 'x' by Compose v2",
        "network PROJECT_inner, Internal: True by deploy, None by Compose v2",
        "volume PROJECT_data, Driver: 'local' by deploy, 'other' by Compose v2",
        "volume PROJECT_more, Name: None by deploy, 'PROJECT_more' by Compose v2",
    ]


def test_what_is_allowed_is_let_by_and_must_happen(theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs.containers["app"]["Config"] |= {"User": "8:8", "Labels": {"a.b": "c"}}
    rules = (
        Difference("container", ("Config.User", "Config.Labels.*"), "so it is"),
        Difference("container", ("Config.Cmd.*",), "never happens"),
        Difference("network", ("Config.User",), "another kind"),
        Difference("container", ("Config.User",), "another version", (V2,)),
    )
    monkeypatch.setattr(equal, "DIFFERENCES", rules)
    wrong, used = compare(OURS, theirs, V1)
    assert (wrong, used) == ([], {rules[0]})
    assert stale(used, V1) == ["Config.Cmd.*", "Config.User"]
    assert stale(used, V2) == ["Config.Cmd.*", "Config.User", "Config.User"]


def test_a_short_name_in_a_longer_word_is_left() -> None:
    assert flat({"a": "t-1-app t-12 15001 115001 x15001"}, OURS.own) == {"a": "PROJECT-app t-12 PORT 115001 x15001"}
