"""The connection to an engine, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import urllib3
from docker import APIClient
from docker.errors import APIError, DockerException

from orchestrator import disk
from orchestrator.address import Address
from orchestrator.errors import EngineError, NoEngine


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turns docker-py's errors into ours: `doing` is what was tried, such as "start container x"."""
    try:
        yield
    except APIError as error:
        explanation = str(error.explanation or error).strip().rstrip(".")
        hint = disk.hint({}, explanation, local=False)
        raise EngineError(f"could not {doing}: {explanation}", hint=hint) from error
    except (DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        # urllib3's own errors are those of a stream that docker-py reads past requests.
        raise NoEngine(
            f"the engine went away (could not {doing}).",
            hint="see `docker version`, then run the command again; it goes on from what is there.",
            detail=(str(error),),
        ) from error


class Api(APIClient):
    """docker-py's, which trusts the engine's own authority where there is one: for requests, REQUESTS_CA_BUNDLE would
    come before that."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        verify = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)


class Client:
    """An engine's API. `address` is the engine's, `url` where it is reached from here, which is a tunnel's end if the
    address is one of ssh."""

    def __init__(self, api: APIClient, address: Address, url: str) -> None:
        self.api = api
        self.address = address
        self.url = url
        self.host = address.url

    @property
    def is_local(self) -> bool:
        return self.host.startswith("unix://")
