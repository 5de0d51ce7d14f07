"""What the engine in memory and the real one must have in common. Run against both: see test_memory_engine.py and
tests/engine/test_contract.py."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orchestrator import labels
from orchestrator.engine import Engine
from orchestrator.errors import EngineError, OrchestratorError
from orchestrator.perform import wait_exit, wait_healthy

#: The commands of the contract's containers; the engine in memory has a script for each.
SLEEP = ("sleep", "60")
#: Waits a moment, so that its terminal can be resized.
TERMINAL = ("sh", "-c", "sleep 0.3; echo said; exit 4")
EXIT_3 = ("sh", "-c", "echo out; echo err >&2; exit 3")
SECOND = 1_000_000_000


class Contract:
    """`image` must have sh, sleep and true; everything is made under names that begin with `project`."""

    def __init__(self, engine: Engine, image: str, project: str) -> None:
        self.engine, self.image, self.project = engine, image, project

    def body(self, command: tuple[str, ...] = SLEEP, probe: str = "", **more: Any) -> dict[str, Any]:
        mark = {labels.PROJECT: self.project, labels.SERVICE: "app", labels.ONEOFF: "False"}
        health = {"Test": ["CMD", probe], "Interval": SECOND, "Timeout": SECOND, "Retries": 1} if probe else {}
        body = {"Image": self.image, "Cmd": list(command), "Labels": mark, "HostConfig": {"NetworkMode": "none"}}
        return body | ({"Healthcheck": health} if probe else {}) | more

    @contextmanager
    def container(self, name: str, body: dict[str, Any]) -> Iterator[str]:
        name = f"{self.project}-{name}"
        self.engine.create_container(name, body)
        try:
            yield name
        finally:
            self.engine.remove_container(name)

    def state(self, name: str) -> str:
        return str(self.engine.inspect(name)["State"]["Status"])

    # Each method below is one test

    def names_are_unique(self) -> None:
        with self.container("one", self.body()) as name:
            with pytest.raises(EngineError, match="already in use"):
                self.engine.create_container(name, self.body())
            assert self.state(name) == "created"

    def unknown_image_is_refused(self) -> None:
        with pytest.raises(EngineError, match=r"(?i)no such image"):
            self.engine.create_container(f"{self.project}-x", self.body(Image="ut-no-such-image:1"))
        assert self.engine.image_id("ut-no-such-image:1") == ""
        assert self.engine.image_id(self.image).startswith("sha256:")

    def starting_and_stopping_twice_is_done(self) -> None:
        with self.container("twice", self.body()) as name:
            self.engine.start_container(name)
            self.engine.start_container(name)
            assert self.state(name) == "running"
            self.engine.stop_container(name, 0)
            self.engine.stop_container(name, 0)
            assert self.state(name) == "exited"
            self.engine.start_container(name)
            assert self.state(name) == "running"

    def what_is_gone_is_stopped_and_removed(self) -> None:
        name = f"{self.project}-gone"
        self.engine.stop_container(name, 1)
        self.engine.remove_container(name)
        self.engine.remove_network(name)
        self.engine.remove_volume(name)
        assert self.engine.logs(name) == []
        assert self.engine.read_file(name, "/x") == ""
        assert self.engine.read_folder(name, "/x") == {}
        for call in (self.engine.inspect, self.engine.start_container):
            with pytest.raises(EngineError, match=r"(?i)no such container"):
                call(name)

    def a_running_container_is_removed_too(self) -> None:
        with self.container("forced", self.body()) as name:
            self.engine.start_container(name)
        with pytest.raises(EngineError):
            self.engine.inspect(name)

    def removal_by_id(self) -> None:
        with self.container("by-id", self.body()) as name:
            first = str(self.engine.inspect(name)["Id"])
            self.engine.remove_container(first)
            self.engine.create_container(name, self.body())
            self.engine.remove_container(first)
            assert self.engine.inspect(name)["Id"] != first

    def end_is_seen_with_code_and_log(self) -> None:
        with self.container("ends-too", self.body(EXIT_3)) as other, self.container("ends", self.body(EXIT_3)) as name:
            self.engine.start_container(name)
            started = str(self.engine.inspect(name)["State"]["StartedAt"])
            self.engine.start_container(other)  # its name begins with the first one's
            ends = [event for event in self.engine.events(name, started, 3) if event[0] == "die"]
            assert ends == [("die", "3")]
            assert self.engine.wait(name, 10) == 3
            assert sorted(self.engine.logs(name)) == ["err", "out"]
            assert b"".join(self.engine.output(name)) == b"out\n"
            with pytest.raises(OrchestratorError, match="failed with code 3"):
                wait_exit(name, 10, self.engine)
            with pytest.raises(OrchestratorError, match="app exited with code 3"):
                wait_healthy(name, 10, self.engine)

    def waiting_for_an_end_has_a_limit(self) -> None:
        with self.container("lasts", self.body()) as name:
            self.engine.start_container(name)
            with pytest.raises(OrchestratorError, match="did not end within 1 s"):
                self.engine.wait(name, 1)

    def health_is_waited_for(self) -> None:
        with self.container("well", self.body(probe="true")) as name:
            self.engine.start_container(name)
            assert self.engine.inspect(name)["State"]["Health"]["Status"] == "starting"
            wait_healthy(name, 20, self.engine)
            assert self.engine.inspect(name)["State"]["Health"]["Status"] == "healthy"

    def ill_health_is_told(self) -> None:
        with self.container("ill", self.body(probe="false")) as name:
            self.engine.start_container(name)
            with pytest.raises(OrchestratorError, match="app did not become healthy"):
                wait_healthy(name, 20, self.engine)

    def files_on_a_volume_outlive_the_container(self) -> None:
        volume = f"{self.project}_files"
        self.engine.create_volume({"Name": volume, "Driver": "local", "Labels": {labels.PROJECT: self.project}})
        self.engine.create_volume({"Name": volume, "Driver": "local", "Labels": {labels.PROJECT: self.project}})
        mounted = {"NetworkMode": "none", "Mounts": [{"Type": "volume", "Source": volume, "Target": "/files"}]}
        try:
            with self.container("writer", self.body(HostConfig=mounted)) as name:
                assert self.engine.read_file(name, "/files/a.conf") == ""
                self.engine.write_files(name, "/files", {"a.conf": "текст\n".encode(), "b/c.json": b"{}"})
                with pytest.raises(EngineError, match="in use"):
                    self.engine.remove_volume(volume)
            with self.container("reader", self.body(HostConfig=mounted)) as name:
                assert self.engine.read_file(name, "/files/a.conf") == "текст\n"
                found = {"a.conf": "текст\n".encode(), "b/c.json": b"{}"}
                assert self.engine.read_folder(name, "/files") == found
                data = b"".join(self.engine.archive(name, "/files/a.conf"))
                with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                    assert archive.getnames() == ["a.conf"]
                assert volume in self.engine.observe(self.project).volumes
        finally:
            self.engine.remove_volume(volume)
        assert volume not in self.engine.observe(self.project).volumes

    def volumes_of_a_rehearsal_are_known_by_their_labels(self) -> None:
        """Not by a name, which may be anybody's; and a volume keeps the labels that it was made with."""
        names = {"own": self.project, "theirs": f"{self.project}-other", "data": self.project}
        for key, project in names.items():
            marks = {labels.PROJECT: project} | ({} if key == "data" else {labels.ROLE: labels.ROLE_REHEARSAL})
            body = {"Name": f"{self.project}_rehearsal_{key}", "Driver": "local", "Labels": marks}
            self.engine.create_volume(body)
        try:
            observed = self.engine.observe(self.project)
            assert observed.scratch == {f"{self.project}_rehearsal_own"}
            assert observed.volumes >= {f"{self.project}_rehearsal_{key}" for key in names}
        finally:
            for key in names:
                self.engine.remove_volume(f"{self.project}_rehearsal_{key}")
        assert self.engine.observe(self.project).scratch == frozenset()

    def file_of_a_container_that_never_ran(self) -> None:
        """The lock's counter."""
        with self.container("counter", self.body()) as name:
            assert self.engine.read_file(name, "/heartbeat") == ""
            for text in ("1", "2"):
                self.engine.write_files(name, "/", {"heartbeat": text.encode()})
                assert self.engine.read_file(name, "/heartbeat") == text

    def commands_run_only_where_something_runs(self) -> None:
        with self.container("runs", self.body()) as name:
            with pytest.raises(EngineError, match="not running"):
                self.engine.run_in(name, ["true"])
            self.engine.start_container(name)
            assert self.engine.run_in(name, ["true"]) == (0, "")

    def a_command_with_a_terminal(self) -> None:
        with self.container("terminal", self.body()) as name:
            self.engine.start_container(name)
            with self.engine.open_terminal(name, TERMINAL) as (identity, connection, early):
                self.engine.resize_terminal(identity, 24, 80)
                said = early + b"".join(iter(lambda: connection.recv(100), b""))
            assert said.replace(b"\r", b"") == b"said\n"
            assert self.engine.exit_code(identity) == 4

    def networks(self) -> None:
        name = f"{self.project}_net"
        mark = {labels.PROJECT: self.project, labels.NETWORK_KEY: "net"}
        body = {"Name": name, "Driver": "bridge", "Internal": True, "Labels": mark}
        self.engine.create_network(body)
        try:
            with pytest.raises(EngineError, match="already exists"):
                self.engine.create_network(body)
            (seen,) = self.engine.observe(self.project).networks
            assert (seen.name, seen.key, seen.internal) == (name, "net", True)
            joined = {"EndpointsConfig": {name: {"Aliases": ["app"]}}}
            with self.container("joined", self.body(NetworkingConfig=joined, HostConfig={"NetworkMode": name})) as one:
                self.engine.start_container(one)
                (container,) = self.engine.observe(self.project).containers
                assert container.limits.networks == {name}
                with pytest.raises(EngineError, match="active endpoints"):
                    self.engine.remove_network(name)
        finally:
            self.engine.remove_network(name)
        assert self.engine.observe(self.project).networks == ()

    def observing(self) -> None:
        with self.container("seen", self.body()) as name:
            (container,) = self.engine.observe(self.project).containers
            assert (container.name, container.service, container.state) == (name, "app", "created")
            assert not container.oneoff
            assert self.engine.observe(f"{self.project}-other").containers == ()

    def images_of_a_project(self) -> None:
        found = self.engine.image(self.image)
        assert (found.reference, found.id) == (self.image, self.engine.image_id(self.image))
        assert self.engine.image(found.id).id == found.id
        assert self.engine.image("ut-no-such-image:1").id == ""
        name = f"{self.project}-app:1"
        assert dict(self.engine.observe(self.project).images) == {}
        self.engine.tag(self.image, f"{self.project}-app", "1")
        try:
            assert dict(self.engine.observe(self.project).images) == {name: found.id}
            assert dict(self.engine.observe(f"{self.project}-other").images) == {}
        finally:
            self.engine.remove_image(name)
        self.engine.remove_image(name)
        assert (self.engine.image_id(name), self.engine.image_id(self.image)) == ("", found.id)

    def an_image_in_use_is_not_removed(self) -> None:
        """With its last name, that is: while it has another, only the name goes."""
        name = f"{self.project}-app:1"
        self.engine.tag(self.image, f"{self.project}-app", "1")
        with self.container("user", self.body(Image=name)) as container:
            self.engine.start_container(container)
            self.engine.remove_image(name)
            assert self.engine.image_id(name) == ""
            assert self.state(container) == "running"

    def files_and_folders(self) -> None:
        with self.container("files", self.body()) as name:
            files = {"one": b"1", "deep/er/two": b"\x00\xff", "deep/three": b""}
            self.engine.write_files(name, "/tmp", files)
            assert self.engine.read_folder(name, "/tmp") == files
            assert self.engine.read_folder(name, "/tmp/deep") == {"er/two": b"\x00\xff", "three": b""}
            assert self.engine.read_folder(name, "/tmp/one") == {"": b"1"}
            assert self.engine.read_folder(name, "/nowhere") == {}
            self.engine.write_files(name, "/tmp", {"one": b"2"})
            assert self.engine.read_file(name, "/tmp/one") == "2"
            with pytest.raises(EngineError, match=r"(?i)no such container"):
                self.engine.write_files(f"{name}-gone", "/tmp", {"one": b"1"})

    def joining_and_leaving_a_network(self) -> None:
        """Twice is once; and a container that has left all of its networks can join them again."""
        name = f"{self.project}_net"
        mark = {labels.PROJECT: self.project, labels.NETWORK_KEY: "net"}
        self.engine.create_network({"Name": name, "Driver": "bridge", "Internal": False, "Labels": mark})

        def networks() -> frozenset[str]:
            (container,) = self.engine.observe(self.project).containers
            return container.limits.networks

        try:
            joined = {"EndpointsConfig": {name: {"Aliases": ["app"]}}}
            body = self.body(NetworkingConfig=joined, HostConfig={"NetworkMode": name})
            with self.container("moves", body) as container:
                self.engine.start_container(container)
                assert networks() == {name}
                for _ in range(2):
                    self.engine.disconnect_network(container, name)
                    assert networks() == frozenset()
                for _ in range(2):
                    self.engine.connect_network(container, name, "app")
                    assert networks() == {name}
                with pytest.raises(EngineError, match="not found"):
                    self.engine.connect_network(container, f"{name}-none", "app")
        finally:
            self.engine.remove_network(name)

    def a_port_has_one_owner(self) -> None:
        port = "18765"
        bound = {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}}
        body = self.body(HostConfig=bound, ExposedPorts={"80/tcp": {}})
        with self.container("first", body) as first, self.container("second", body) as second:
            self.engine.start_container(first)
            with pytest.raises(EngineError, match=r"port is already allocated|address already in use"):
                self.engine.start_container(second)
            (summary,) = self.engine.publishing(port)
            assert summary["Names"] == [f"/{first}"]


TESTS: dict[str, Callable[[Contract], None]] = {
    name: check
    for name, check in vars(Contract).items()
    if not name.startswith("_") and name not in ("body", "container", "state")
}
