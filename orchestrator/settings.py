"""Typed settings: `config/<environment>.toml` says what the stack is, `.env` and the environment what this host is.

Precedence: environment, `.env`, TOML. Every error is reported at once, with its file, key, value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import asdict

from orchestrator.checked import checked, keys
from orchestrator.errors import UsageError
from orchestrator.interpolation import interpolated, used_variables
from orchestrator.schema import Backup, File, Host, Release, Services, binds
from orchestrator.sources import Problems, Toml, Variables, read_env_file, read_toml


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
    release: Release
    warnings: tuple[str, ...] = ()
    origin: Mapping[str, str] = field(default_factory=dict)

    #: The environment as docker's client reads it: a DOCKER_HOST of `.env` counts where the process has none.
    engine_environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def chosen(self, name: str) -> bool:
        """Whether a variable was set for this host, in the environment or in `.env`."""
        return not self.origin.get(name, "config/").startswith("config/")


def _host(
    project: str,
    table: Mapping[str, Any],
    root: Path,
    environment: str,
    env_file: Variables,
    environ: Mapping[str, str],
    problems: Problems,
) -> tuple[Host | None, dict[str, str]]:
    """The host's variables by precedence, and where each comes from; a wrong one is reported with that place.

    `table` is the TOML files' [host]. The project's name stands beside it, where no other environment inherits it.
    """
    toml = read_toml(root, environment, Problems()) or Toml(f"config/{environment}.toml", {})
    values: dict[str, Any] = dict(table)
    origin = {name: toml.where(["host", name]) for name in values}
    if named := values.pop("COMPOSE_PROJECT_NAME", None):
        problems.add(toml.where(["host"]), "host.COMPOSE_PROJECT_NAME", named, "is said by `project`, above all tables")
    values["COMPOSE_PROJECT_NAME"], origin["COMPOSE_PROJECT_NAME"] = project, f"config/{environment}.toml"
    for name in keys(Host):
        for source, place in ((env_file.values, env_file.origin.get(name, "")), (environ, "environment")):
            if source.get(name):
                values[name] = source[name]
                origin[name] = place
    if environment != "production" and origin["COMPOSE_PROJECT_NAME"] != f"config/{environment}.toml":
        # The variable names the production project; another environment must never share its data.
        values["COMPOSE_PROJECT_NAME"] += f"-{environment}"

    def problem(key: list[str], value: object, text: str) -> None:
        problems.add(origin.get(key[0], f"config/{environment}.toml"), key[0], value, text)

    return checked(values, Host, problem), origin


def read_file(root: Path, environment: str) -> File:
    """`config/<environment>.toml`, checked; UsageError names every error in it."""
    problems = Problems()
    file = read_toml(root, environment, problems)
    if file is not None:
        project = file.merged().get("project")
        if file.base and project == file.base.merged().get("project"):
            allowed = f"must not be that of {file.base.name}, whose data it would share"
            problems.add(file.name, "project", project, allowed)

        def problem(key: list[str], value: object, text: str) -> None:
            path = ".".join(key)
            if value is None or isinstance(value, dict):
                problems.append(f"{file.where(key)}: {path or 'the file'}: {text}")
            else:
                problems.add(file.where(key), path, value, text)

        found = checked(file.merged(), File, problem)
        if found is not None and environment == "production":
            problems += [
                f"{file.name}: {text}; say so in another environment" for text in _only_elsewhere(found.services)
            ]
        if found is not None and not problems:
            return found
    raise _refusal(problems)


def _only_elsewhere(services: Services) -> list[str]:
    """What production must not be."""
    found = [
        f"services.app.volumes: {path} is of this machine, of which nothing is mounted" for path in binds(services.app)
    ]
    off = [name for name, service in asdict(services).items() if not service.replicas]
    return found + [f"services.{name}.replicas = 0: it is needed" for name in off]


def only_here(bind: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return ip_address(bind).is_loopback
    except ValueError:
        return False


def _refusal(problems: Problems) -> UsageError:
    return UsageError(
        "one setting is wrong." if len(problems) == 1 else f"{len(problems)} settings are wrong.",
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
        toml = read_toml(root, environment, Problems())
        table = toml.merged().get("host") if toml else None
        _host("unknown", table if isinstance(table, Mapping) else {}, root, environment, env_file, environ, problems)
        raise _refusal(problems) from None
    host, origin = _host(file.project, file.host, root, environment, env_file, environ, problems)
    services = interpolated(file.services, dict(env_file.values) | dict(environ), where, problems)
    if host and not services.proxy.replicas and not only_here(host.HTTP_BIND):
        told = (
            "must be of this machine alone, such as 127.0.0.1: no proxy is before the app, and a debugger runs any code"
        )
        problems.add(origin["HTTP_BIND"], "HTTP_BIND", host.HTTP_BIND, told)
    if problems or host is None:
        raise _refusal(problems)
    from_file = {k: v for k, v in env_file.values.items() if k.startswith("DOCKER_")}
    known = set(keys(Host)) | used_variables(file.services).keys() | from_file.keys()
    engine_environment = from_file | {k: v for k, v in environ.items() if v or k not in from_file}
    if environ.get("DOCKER_CONTEXT") and not environ.get("DOCKER_HOST"):
        engine_environment["DOCKER_HOST"] = ""  # the environment's choice of an engine comes before that of `.env`
    unused = [f"{env_file.origin[name]}: {name} is not used by anything" for name in env_file.values.keys() - known]
    return Settings(
        root,
        environment,
        host,
        services,
        file.backup,
        file.release,
        tuple(sorted(unused)),
        origin,
        engine_environment,
    )


def for_compose(root: Path, environment: str, environ: Mapping[str, str] | None = None) -> Settings:
    """The same settings with the host's variables left as `${NAME:-default}`, and paths relative to the checkout, for
    `docker-compose.yml`.

    A webhook that `.env` or `environ` sets decides that the file has a network for it, and then it must be set.
    """
    file = read_file(root, environment)
    defaults = {name: str(key.default) for name, key in keys(Host).items() if not key.required}
    defaults |= {"COMPOSE_PROJECT_NAME": file.project} | {name: str(value) for name, value in file.host.items()}
    values = {name: f"${{{name}:-{defaults[name]}}}" for name in keys(Host)}
    if environment != "production":
        # As `load` names it.
        base = read_file(root, "production").project
        values["COMPOSE_PROJECT_NAME"] = f"${{COMPOSE_PROJECT_NAME:-{base}}}-{environment}"
    if not file.services.proxy.replicas:
        values["HTTP_BIND"] = "127.0.0.1"
    if environ is not None:
        given = dict(read_env_file(root / ".env", Problems()).values) | dict(environ)
        if given.get("BACKUP_WEBHOOK_URL"):
            values["BACKUP_WEBHOOK_URL"] = "${BACKUP_WEBHOOK_URL:?it was set when this file was generated}"
    host = Host(**values)
    return Settings(Path(), environment, host, file.services, file.backup, file.release)
