"""What the engine tests share: the engine, base images, both versions of Compose, and projects that go again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping

import docker
import docker.errors
import pytest

from orchestrator.host import engine_url
from orchestrator.sockets import SocketState, socket_state
from tests import peers
from tests.cannot import cannot
from tests.engine.stack import Project, copy_checkout, removed

MakeProject = Callable[[], Project]


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    """The engine that the environment names."""
    host = engine_url(os.environ)
    # Asked first without docker-py, which leaves a socket open, and so a warning, where nobody answers.
    if host.startswith("unix://") and (state := socket_state(host[7:], 10)) is not SocketState.ANSWERS:
        cannot(f"no Docker engine at {host}: {state.value}")
    try:
        connection = docker.DockerClient.from_env(environment=dict(os.environ) | {"DOCKER_HOST": host}, timeout=120)
    except (docker.errors.DockerException, OSError) as error:
        cannot(f"no Docker engine: {error}")
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def bases(client: docker.DockerClient) -> Mapping[str, str]:
    """The base images as build arguments."""
    return peers.bases(client)


@pytest.fixture(scope="session")
def compose_v1() -> list[str]:
    """The command of Compose v1.29."""
    return _got(peers.compose_v1)


@pytest.fixture(scope="session")
def compose_v2() -> list[str]:
    """The command of Compose v2."""
    return _got(peers.compose_v2)


def _got(get: Callable[[], list[str]]) -> list[str]:
    try:
        return get()
    except OSError as error:
        cannot(str(error))


@pytest.fixture(scope="module")
def make_project(
    client: docker.DockerClient, bases: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeProject]:
    """Makes projects that last as long as the module's tests."""
    with contextlib.ExitStack() as stack:

        def make() -> Project:
            root = copy_checkout(tmp_path_factory.mktemp("checkout"))
            return stack.enter_context(removed(Project(client, bases, root)))

        yield make


@pytest.fixture
def project(
    client: docker.DockerClient, bases: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """A project of one test, with nothing deployed yet."""
    with removed(Project(client, bases, copy_checkout(tmp_path_factory.mktemp("checkout")))) as made:
        yield made
