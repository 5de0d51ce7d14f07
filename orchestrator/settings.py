"""Typed settings: `config/<environment>.toml` says what the stack is, `.env` and the environment what this host is.

Precedence: environment, `.env`, TOML. Every error is reported at once, with its file, key, value and what is allowed.
"""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv.parser import parse_stream
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from orchestrator.errors import UsageError
from orchestrator.model import SECRET_NAME, RestartPolicy, masked

ENVIRONMENTS = ("production", "development")
_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<kind>[-?])(?P<text>[^}]*))?\})")


def duration(value: object) -> object:
    """`"1m30s"` as seconds; anything else is handed on for the type to refuse."""
    if isinstance(value, str) and re.fullmatch(r"(\d+h)?(\d+m)?(\d+(\.\d+)?s)?(\d+ms)?", value) and value:
        units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
        return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|h|m|s)", value))
    raise ValueError('must be a duration such as "30s" or "1m30s"')


def size(value: object) -> object:
    """`"256m"` as bytes."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)([kmgt])b?", value.lower())):
        return int(match[1]) * 1024 ** (" kmgt".index(match[2]))
    raise ValueError('must be a size such as "256m" or "1g"')


Duration = Annotated[float, BeforeValidator(duration)]
Size = Annotated[int, BeforeValidator(size)]
User = Annotated[str, StringConstraints(pattern=r"^[1-9]\d*:\d+$")]
Project = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,29}$")]
PortText = Annotated[
    str, StringConstraints(pattern=r"^([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])$")
]
Address = Annotated[str, StringConstraints(pattern=r"^(\d{1,3}(\.\d{1,3}){3}|::1?|[0-9a-f:]+:[0-9a-f]*)$")]
ImageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][\w./:@-]*$")]
VolumePath = Annotated[str, StringConstraints(pattern=r"^/[^:]+(:ro)?$")]
VolumeKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Health(_Strict):
    """A container's health check: an HTTP `path` on the service's port, or a `command`."""

    path: Annotated[str, StringConstraints(pattern=r"^/\S*$")] | None = None
    command: list[str] | None = None
    interval: Duration
    timeout: Duration
    start_period: Duration
    retries: Annotated[int, Field(ge=1, le=100)] = 3

    @model_validator(mode="after")
    def _one_way(self) -> Health:
        if (self.path is None) == (self.command is None):
            raise ValueError("needs either `path` or `command`")
        return self


class Service(_Strict):
    """One service: a build `target` of the Dockerfile or a ready `image`."""

    target: str | None = None
    image: ImageName | None = None
    user: User
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    command: list[str] = Field(default_factory=list)
    migrate: list[str] = Field(default_factory=list)
    environment: dict[str, str] = Field(default_factory=dict)
    volumes: dict[VolumeKey, VolumePath] = Field(default_factory=dict)
    memory: Size
    cpus: Annotated[float, Field(gt=0, le=1024)]
    pids: Annotated[int, Field(ge=8, le=1_000_000)]
    restart: RestartPolicy = "unless-stopped"
    stop_grace_period: Duration
    health: Health

    @model_validator(mode="after")
    def _one_source(self) -> Service:
        if (self.target is None) == (self.image is None):
            raise ValueError("needs either `target` or `image`")
        if self.health.path is not None and self.port is None:
            raise ValueError("needs `port`, since `health.path` is asked there")
        return self


class Services(_Strict):
    app: Service
    proxy: Service
    backup: Service


class Backup(_Strict):
    """When snapshots are taken, how many are kept, and how old the newest may be."""

    schedule: Annotated[str, StringConstraints(pattern=r"^\S+( \S+){4}$")]
    retain: Annotated[int, Field(ge=1, le=10_000)]
    max_age: Annotated[str, StringConstraints(pattern=r"^\d+[smhd]$")]


class Host(_Strict):
    """What this host is. Each is an environment variable, a line of `.env`, or its default from the TOML file."""

    COMPOSE_PROJECT_NAME: Project = Field(description="the project: prefix of every container, network and volume")
    HTTP_BIND: Address = Field("127.0.0.1", description="the address that the proxy is published on")
    HTTP_PORT: PortText = Field("8080", description="the port that the proxy is published on")
    PYTHON_IMAGE: ImageName = Field("python:3.13-alpine", description="base of the app and backup images")
    NGINX_IMAGE: ImageName = Field("nginx:alpine", description="base of the proxy image")
    BUILD_CA_FILE: str = Field("", description="a PEM file that the build trusts besides; the images do not keep it")
    BUILD_MIN_FREE: Annotated[str, StringConstraints(pattern=r"^\d+[kmgt]$")] = Field(
        "1g", description="disk that must be free before a build"
    )


class _File(_Strict):
    project: Project
    host: dict[str, Any] = Field(default_factory=dict)
    services: Services
    backup: Backup


@dataclass(frozen=True)
class Settings:
    """All settings of one environment. `root` is the folder that holds Dockerfile, config/ and .env.

    `origin` says for each of the host's variables where its value comes from.
    """

    root: Path
    environment: str
    host: Host
    services: Services
    backup: Backup
    warnings: tuple[str, ...] = ()
    origin: Mapping[str, str] = field(default_factory=dict)

    #: The environment as docker's client reads it: a DOCKER_HOST of `.env` counts where the process has none.
    engine_environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def chosen(self, name: str) -> bool:
        """Whether a variable was set for this host, in the environment or in `.env`."""
        return not self.origin.get(name, "config/").startswith("config/")


@dataclass(frozen=True)
class Variables:
    """The host's variables, and where each was said (for messages)."""

    values: Mapping[str, str]
    origin: Mapping[str, str] = field(default_factory=dict)


class Problems(list[str]):
    """Everything that is wrong, collected so that one run tells it all."""

    def add(self, where: str, key: str, value: object, allowed: str) -> None:
        self.append(f"{where}: {key} = {masked(key, value)!r}: {allowed}")


def read_env_file(path: Path, problems: Problems) -> Variables:
    """The variables of `.env` (none if there is no such file); values are taken literally."""
    values: dict[str, str] = {}
    origin: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Variables({})
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path.name}: cannot be read: {error}")
        return Variables({})
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            name = (binding.key or binding.original.string).strip().split("=")[0][:40]
            problems.append(f"{path.name}:{binding.original.line}: {name!r}: a line must be NAME=value or a # comment")
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
            origin[binding.key] = f"{path.name}:{binding.original.line}"
    return Variables(values, origin)


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Compose's `${NAME:-default}`, `${NAME:?why}` and `$$`; ValueError says what is missing."""

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        value = variables.get(match["name"], "")
        if value:
            return value
        if match["kind"] == "-":
            return match["text"]
        why = f": {match['text']}" if match["text"] else ""
        raise ValueError(f"{match['name']} is not set{why}; set it in the environment or in .env")

    return _VARIABLE.sub(replace, text)


def variables_in(text: str) -> dict[str, str]:
    """Each variable that `text` mentions, with its default ("" where it has none)."""
    found = _VARIABLE.finditer(text)
    return {m["name"]: (m["text"] or "") if m["kind"] == "-" else "" for m in found if m["name"]}


_ALLOWED = {
    "extra_forbidden": "there is no such key",
    "missing": "is missing",
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "float_type": "must be a number",
}
_PATTERNS = {
    "COMPOSE_PROJECT_NAME": "must be 1 to 30 of a-z, 0-9, - and _, beginning with a letter or digit",
    "project": "must be 1 to 30 of a-z, 0-9, - and _, beginning with a letter or digit",
    "HTTP_BIND": "must be an IP address, such as 127.0.0.1 or 0.0.0.0",
    "HTTP_PORT": "must be a port, 1 to 65535",
    "PYTHON_IMAGE": "must be an image's name, such as python:3.13-alpine",
    "NGINX_IMAGE": "must be an image's name, such as nginx:alpine",
    "BUILD_MIN_FREE": 'must be a size such as "1g"',
    "user": 'must be a numeric user and group that is not root, such as "10001:10001"',
    "schedule": 'must be a cron expression of five fields, such as "0 3 * * *"',
    "max_age": 'must be an age such as "26h"',
    "path": "must be a path that begins with /",
}


def _allowed(error: Any) -> str:
    kind, key, message = error["type"], str(error["loc"][-1]) if error["loc"] else "", str(error["msg"])
    if kind in ("string_pattern_mismatch", "string_type") and key in _PATTERNS:
        return _PATTERNS[key]
    if kind == "string_pattern_mismatch" and "volumes" in error["loc"]:
        return 'must be an absolute path, such as "/data" or "/data:ro"'
    return _ALLOWED.get(kind, message.removeprefix("Value error, "))


def _collect(error: ValidationError, where: str, problems: Problems) -> None:
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part != "[key]")
        if item["type"] == "missing":
            problems.append(f"{where}: {key}: is missing")
        elif isinstance(item["input"], dict | BaseModel):
            problems.append(f"{where}: {key}: {_allowed(item)}")
        else:
            problems.add(where, key, item["input"], _allowed(item))


def _host(
    file: _File, environment: str, env_file: Variables, environ: Mapping[str, str], problems: Problems
) -> tuple[Host, dict[str, str]]:
    """The host's variables by precedence, and where each comes from; a wrong one is reported with that place."""
    values: dict[str, Any] = {"COMPOSE_PROJECT_NAME": file.project} | dict(file.host)
    origin = dict.fromkeys(values, f"config/{environment}.toml")
    for name in Host.model_fields:
        for source, place in ((env_file.values, env_file.origin.get(name, "")), (environ, "environment")):
            if source.get(name):
                values[name] = source[name]
                origin[name] = place
    if environment != "production" and origin["COMPOSE_PROJECT_NAME"] != f"config/{environment}.toml":
        # The variable names the production project; another environment must never share its data.
        values["COMPOSE_PROJECT_NAME"] += f"-{environment}"
    try:
        return Host.model_validate(values), origin
    except ValidationError as error:
        for item in error.errors(include_url=False):
            key = str(item["loc"][0])
            problems.add(origin.get(key, f"config/{environment}.toml"), key, item["input"], _allowed(item))
        return Host.model_construct(**values), origin


def _interpolated(services: Services, values: Mapping[str, str], where: str, problems: Problems) -> Services:
    changed: dict[str, Service] = {}
    for name, service in services:
        environment = {}
        for key, text in service.environment.items():
            try:
                environment[key] = interpolate(text, values)
            except ValueError as error:
                problems.append(f"{where}: services.{name}.environment.{key}: {error}")
        changed[name] = service.model_copy(update={"environment": environment})
    return services.model_copy(update=changed)


def read_file(root: Path, environment: str) -> _File:
    """`config/<environment>.toml`, checked; UsageError names every error in it."""
    problems = Problems()
    where = f"config/{environment}.toml"
    try:
        return _File.model_validate(tomllib.loads((root / where).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{where}: cannot be read: {error}")
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{where}: is not TOML: {error}")
    except ValidationError as error:
        _collect(error, where, problems)
    raise _refusal(problems)


def _refusal(problems: Problems) -> UsageError:
    count = "one setting is" if len(problems) == 1 else f"{len(problems)} settings are"
    return UsageError(
        f"{count} wrong.",
        hint="correct what is named above and run the command again; nothing was done.",
        detail=tuple(problems),
    )


def load(root: Path, environment: Literal["production", "development"] | str, environ: Mapping[str, str]) -> Settings:
    """The settings of one environment; UsageError lists every error there is, each with its file and key."""
    problems = Problems()
    env_file = read_env_file(root / ".env", problems)
    where = f"config/{environment}.toml"
    try:
        file = read_file(root, environment)
    except UsageError as error:
        problems.extend(error.detail)
        raise _refusal(problems) from None
    host, origin = _host(file, environment, env_file, environ, problems)
    services = _interpolated(file.services, dict(env_file.values) | dict(environ), where, problems)
    if problems:
        raise _refusal(problems)
    from_file = {k: v for k, v in env_file.values.items() if k.startswith("DOCKER_")}
    known = set(Host.model_fields) | used_variables(file.services).keys() | from_file.keys()
    engine_environment = from_file | dict(environ)
    unused = [f"{env_file.origin[name]}: {name} is not used by anything" for name in env_file.values.keys() - known]
    return Settings(root, environment, host, services, file.backup, tuple(sorted(unused)), origin, engine_environment)


def for_compose(root: Path, environment: str) -> Settings:
    """The same settings with the host's variables left as `${NAME:-default}`, for `docker-compose.yml`."""
    file = read_file(root, environment)
    defaults = {name: str(info.default) for name, info in Host.model_fields.items() if info.default is not None}
    defaults |= {"COMPOSE_PROJECT_NAME": file.project} | {name: str(value) for name, value in file.host.items()}
    unresolved: dict[str, Any] = {name: f"${{{name}:-{defaults[name]}}}" for name in Host.model_fields}
    host = Host.model_construct(**unresolved)
    return Settings(root, environment, host, file.services, file.backup)


def used_variables(services: Services) -> dict[str, str]:
    """The variables that the services' environment mentions, each with its default."""
    found: dict[str, str] = {}
    for _, service in services:
        for text in service.environment.values():
            found |= variables_in(text)
    return found


def env_example(root: Path) -> str:
    """`.env.example`: every variable of the host with its default, commented out."""
    file = read_file(root, "production")
    values = {"COMPOSE_PROJECT_NAME": file.project} | {name: str(value) for name, value in file.host.items()}
    lines = ["# What this host is. Copy to .env and change what differs; the environment comes before this file.", ""]
    for name, info in Host.model_fields.items():
        lines += [f"# {info.description}", f"#{name}={values.get(name, info.default)}", ""]
    for name, default in sorted(used_variables(file.services).items()):
        secret = " (a secret: never commit it)" if SECRET_NAME.search(name) else ""
        lines += [f"# handed to the services{secret}", f"#{name}={default}", ""]
    lines += ["# where the engine is, such as ssh://user@server; the local one if unset", "#DOCKER_HOST=", ""]
    return "\n".join(lines)
