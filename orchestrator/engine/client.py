"""The connection to an engine, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import requests
import urllib3
from docker import APIClient
from docker.errors import APIError, DockerException

from orchestrator.errors import EngineError, NoEngine


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turns docker-py's errors into ours: `doing` is what was tried, such as "start container x"."""
    try:
        yield
    except APIError as error:
        explanation = str(error.explanation or error).strip().rstrip(".")
        raise EngineError(f"could not {doing}: {explanation}") from error
    except (DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        # urllib3's own errors are those of a stream that docker-py reads past requests.
        raise NoEngine(
            f"the engine went away (could not {doing}).",
            hint="see `docker version`, then run the command again; it goes on from what is there.",
            detail=(str(error),),
        ) from error


class Client:
    """An engine's API at `host`; `environ` is what it was found by."""

    def __init__(self, api: APIClient, host: str, environ: Mapping[str, str]) -> None:
        self.api = api
        self.host = host
        self.environ = environ

    @property
    def is_local(self) -> bool:
        return self.host.startswith("unix://")
