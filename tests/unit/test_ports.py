"""Who holds a port."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from orchestrator import ports
from tests.unit.memory_engine import MemoryEngine

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(port: int, state: str, inode: int) -> str:
    return (
        f"   0: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000 0 {inode} 1 0\n"
    )


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc where nginx listens on 8080 over IPv6 and something connected uses 8081."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(HEADER + row(8081, "01", 11) + row(80, "0A", 12))
    (tmp_path / "net/tcp6").write_text(HEADER + row(8080, "0A", 13))
    for pid, name, inode in ((10, "curl", 11), (20, "nginx", 13)):
        (tmp_path / f"{pid}/fd").mkdir(parents=True)
        (tmp_path / f"{pid}/comm").write_text(f"{name}\n")
        (tmp_path / f"{pid}/fd/3").symlink_to(f"socket:[{inode}]")
    (tmp_path / "30").mkdir()
    return tmp_path


@pytest.mark.parametrize(("port", "told"), [(8080, "nginx (process 20)"), (8081, ""), (80, ""), (9, "")])
def test_process_that_listens(proc: Path, port: int, told: str) -> None:
    assert ports.process_listening(port, proc) == told


def test_without_a_proc(tmp_path: Path) -> None:
    assert ports.process_listening(80, tmp_path) == ""


def test_this_very_process() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert "(process " in ports.process_listening(port)


def wanting(engine: MemoryEngine, *published: str) -> None:
    engine.images["i"] = "sha256:i"
    bindings = {f"{n}/tcp": [{"HostPort": port}] for n, port in enumerate(published)}
    engine.create_container("c", {"Image": "i", "HostConfig": {"PortBindings": bindings}})


def test_taken_by_a_container() -> None:
    engine = MemoryEngine()
    wanting(engine, "8080")
    body = {"Image": "i", "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}}
    engine.create_container("lonely", body)
    engine.start_container("lonely")
    assert ports.taken("c", engine).message == "port 8080 is in use by container lonely."


def test_taken_by_a_process_is_only_known_here() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        engine = MemoryEngine()
        wanting(engine, port)
        assert f"port {port} is in use by " in ports.taken("c", engine).message
        engine.host = "ssh://user@server"
        assert ports.taken("c", engine).message == f"port {port} is in use."


def test_no_ports_at_all() -> None:
    engine = MemoryEngine({"i": "sha256:i"})
    engine.create_container("c", {"Image": "i", "HostConfig": {"PortBindings": None}})
    assert "HTTP_PORT" in ports.taken("c", engine).hint
