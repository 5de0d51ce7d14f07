"""Settings: what is read, what comes before what, and that one run tells every error there is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.checked import keys
from orchestrator.errors import UsageError
from orchestrator.interpolation import interpolate, used_variables, variables_in
from orchestrator.model import Bind, Port, masked
from orchestrator.schema import Host, Services
from orchestrator.settings import Settings, for_compose, load
from orchestrator.sources import ENVIRONMENTS, Problems, read_env_file
from orchestrator.stack import build_stack
from tests.generated import env_example
from tests.unit.stacks import ROOT

Edit = Callable[[str, str], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the configuration, without the `.env` that a developer may have."""
    (tmp_path / "config").mkdir()
    for environment in ENVIRONMENTS:
        shutil.copy(ROOT / "config" / f"{environment}.toml", tmp_path / "config")
    return tmp_path


@pytest.fixture
def edit(root: Path) -> Edit:
    """Replaces a text in production.toml, which must be there."""

    def replace(old: str, new: str) -> None:
        path = root / "config/production.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return replace


def errors(root: Path, environment: str = "production", **environ: str) -> tuple[str, ...]:
    with pytest.raises(UsageError) as caught:
        load(root, environment, environ)
    count = len(caught.value.detail)
    assert caught.value.message == ("one setting is wrong." if count == 1 else f"{count} settings are wrong.")
    assert caught.value.exit_code == 2
    return caught.value.detail


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_committed_files_load(root: Path, environment: str) -> None:
    settings = load(root, environment, {})
    assert settings.environment == environment
    assert not settings.warnings


def test_every_kind_of_error_at_once(root: Path, edit: Edit) -> None:
    edit('memory = "256m"', 'memory = "256 megabytes"')
    edit("port = 8000", 'port = "8000"')
    edit('user = "10001:10001"', 'user = "root"')
    edit("pids = 128", "pids = 1\nswap = 3")
    edit('restart = "unless-stopped"', 'restart = "sometimes"')
    edit('stop_grace_period = "40s"', "")
    edit('interval = "1s"', "interval = 1")
    edit('STATIC_ROOT = "/static"', "STATIC_ROOT = 5\nSECRET_KEY = 77")
    edit('HTTP_PORT = "8080"', "HTTP_PORT = 8080\nHTTP_PROT = '1'")
    (root / ".env").write_text("HTTP_BIND=localhost\n\nBAD LINE\n")
    where = "config/production.toml: "
    assert set(errors(root, PYTHON_IMAGE="UPPER CASE")) == {
        ".env:3: BAD: a line must be NAME=value or a # comment",
        where + 'services.app.memory = \'256 megabytes\': must be a size such as "256m" or "1g"',
        where + "services.app.port = '8000': must be a whole number",
        where
        + "services.app.user = 'root': must be a numeric user and group that is not root, such as \"10001:10001\"",
        where + "services.app.pids = 1: must be at least 8",
        where + "services.app.swap = 3: there is no such key",
        where + 'services.app.restart = \'sometimes\': must be "no", "always", "on-failure" or "unless-stopped"',
        where + "services.app.stop_grace_period: is missing",
        where + 'services.app.health.interval = 1: must be a duration such as "30s" or "1m30s"',
        where + "services.app.environment.STATIC_ROOT = 5: must be text in quotes",
        where + "services.app.environment.SECRET_KEY = '********': must be text in quotes",
        where + "HTTP_PORT = 8080: must be text in quotes: a port, 1 to 65535",
        where + "HTTP_PROT = '1': there is no such key",
        ".env:1: HTTP_BIND = 'localhost': must be an IP address, such as 127.0.0.1 or 0.0.0.0",
        "environment: PYTHON_IMAGE = 'UPPER CASE': must be an image's name, such as python:3.13-alpine",
    }


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[services.proxy]", "[services.web]", "services.web: there is no such key"),
        ('target = "app"\n', "", "services.app: needs one of `target`, `build` and `image`"),
        (
            'target = "app"\n',
            'target = "app"\nimage = "x"\n',
            "services.app: needs one of `target`, `build` and `image`",
        ),
        ("port = 8000\n", "", "services.app: needs `port`, since `health.path` is asked there"),
        ('path = "/health"\n', "", "services.app.health: needs either `path` or `command`"),
        ('sqlite_data = "/data"', 'sqlite_data = "data"', "services.app.volumes.sqlite_data = 'data': must be an abs"),
        ("last = 7", "last = 0", "backup.retain.last = 0: must be at least 1"),
        (
            'sqlite_data = "/data:ro"',
            'other = "/data:ro"',
            "services: `backup` must have a volume of the app at /data, a",
        ),
        (
            'sqlite_data = "/data:ro"',
            'sqlite_data = "/d:ro"',
            "services: `backup` must have a volume of the app at /dat",
        ),
        (
            'backups = "/backups"',
            'backups = "/b"',
            "services: `backup` must have a volume of the app at /data, and one",
        ),
        (
            'backups = "/backups"',
            'b = "/backups", u = "/data/u:ro"',
            "services: `backup` must have nothing else mounted i",
        ),
        ("keep = 5", "keep = 1", "release.keep = 1: must be at least 2"),
        ("keep = 5", "kept = 5", "release.kept = 5: there is no such key"),
        ('drain_timeout = "30s"', "drain_timeout = 30", "release.drain_timeout = 30: must be a duration"),
        ("after = []", 'hook_timeout = "soon"', "release.hook_timeout = 'soon': must be a duration"),
        ("before = []", 'before = ["true"]', "release.before = ['true']: must be a list of commands, each a list of w"),
        ("before = []", "before = [[]]", "release.before = [[]]: must be a list of commands, each a list of words"),
        ("after = []", 'after = [["x", 1]]', "release.after = [['x', 1]]: must be text in quotes"),
        ("[services.proxy]\n", "[services.proxy]\nreplicas = 2\n", "services: only `app` may have more than one"),
        ("[services.app]\n", "[services.app]\nreplicas = 0\n", "services: `app` must have at least one of `replicas`"),
        ("[services.app]\n", "[services.app]\nreplicas = 17\n", "services.app.replicas = 17: must be at most 16"),
        ("weekly = 4", "weekly = -1", "backup.retain.weekly = -1: must be at least 0"),
        ("weekly = 4", "hourly = 4", "backup.retain.hourly = 4: there is no such key"),
        ("daily = 7", "daily = true", "backup.retain.daily = True: must be a whole number"),
        ('max_age = "26h"', 'max_age = "0h"', "backup.max_age = '0h': must be an age such as"),
        ('schedule = "0 3 * * *"', 'schedule = "daily"', "backup.schedule = 'daily': must be a cron expression"),
        ("cpus = 1.0", "cpus = 0.0", "services.app.cpus = 0.0: must be more than 0"),
        ("cpus = 1.0", 'cpus = "1"', "services.app.cpus = '1': must be a number"),
        ('migrate = ["python"', 'migrate = [1, "python"', "services.app.migrate = "),
        ("[backup]", "backup = 3\n[other]", "other"),
        ('project = "golinks"', 'project = "Go Links"', "project = 'Go Links': must be 1 to 30 of a-z"),
        ('project = "golinks"', "project = ", "is not TOML: "),
        ('interval = "1s"', 'interval = ""', "services.app.health.interval = '': must be a duration"),
        ("[host]", "[host]\nCOMPOSE_PROJECT_NAME = 'x'", "host.COMPOSE_PROJECT_NAME = 'x': is said by `project`"),
        ("${LOG_LEVEL:-info}", "$LOG_LEVEL", "services.app.environment.LOG_LEVEL: a $ must begin ${NAME}"),
        ("${LOG_LEVEL:-info}", "${A:-${B}}", "services.app.environment.LOG_LEVEL: a $ must begin ${NAME}"),
        ("${LOG_LEVEL:-info}", "${LOG_LEVEL:?so that we see}", "LOG_LEVEL: LOG_LEVEL is not set: so that we see; set"),
    ],
)
def test_error_of_a_key(root: Path, edit: Edit, old: str, new: str, told: str) -> None:
    edit(old, new)
    found = errors(root)
    assert any(told in line for line in found), found
    assert all(line.startswith("config/production.toml: ") for line in found)


def test_missing_and_unreadable_files(root: Path) -> None:
    (root / "config/production.toml").unlink()
    (root / ".env").write_bytes(b"A=\xff\n")
    assert [line[:44] for line in errors(root)] == [
        ".env: cannot be read: 'utf-8' codec can't de",
        "config/production.toml: cannot be read: [Err",
    ]


def test_precedence_is_environment_then_env_file_then_toml(root: Path) -> None:
    assert load(root, "production", {}).host.HTTP_PORT == "8080"
    (root / ".env").write_text("# mine\nHTTP_PORT=8090\nexport HTTP_BIND=127.0.0.2\nNGINX_IMAGE='nginx:1'\n")
    settings = load(root, "production", {"HTTP_PORT": "9000", "HTTP_BIND": ""})
    assert settings.host.HTTP_PORT == "9000"
    assert settings.host.HTTP_BIND == "127.0.0.2", "an empty variable is none, as for Compose"
    assert settings.host.NGINX_IMAGE == "nginx:1"
    assert settings.origin["HTTP_PORT"] == "environment"
    assert settings.origin["HTTP_BIND"] == ".env:3"
    assert settings.origin["PYTHON_IMAGE"] == "config/production.toml"
    assert [settings.chosen(name) for name in ("HTTP_PORT", "NGINX_IMAGE", "PYTHON_IMAGE")] == [True, True, False]


def test_precedence_inside_a_services_environment(root: Path) -> None:
    assert load(root, "production", {}).services.app.environment["LOG_LEVEL"] == "info"
    (root / ".env").write_text("LOG_LEVEL=debug\n")
    assert load(root, "production", {}).services.app.environment["LOG_LEVEL"] == "debug"
    assert load(root, "production", {"LOG_LEVEL": "error"}).services.app.environment["LOG_LEVEL"] == "error"


def test_bad_env_lines_have_their_numbers_and_no_secrets(tmp_path: Path) -> None:
    problems = Problems()
    path = tmp_path / ".env"
    path.write_text("A=1\n\n\n# a comment\n\nSECRET_KEY hunter2\nNAME\nB='open\nMIIEowIBAAKCAQEAsecret/==\n\nC=3\n")
    found = read_env_file(path, problems)
    assert problems[:2] == [
        ".env:6: SECRET_KEY: a line must be NAME=value or a # comment",
        ".env:7: NAME: a line must be NAME=value or a # comment",
    ]
    assert "hunter2" not in str(problems)
    assert "MIIE" not in str(problems)
    assert found.values == {"A": "1", "C": "3"}
    assert found.origin == {"A": ".env:1", "C": ".env:11"}


def test_env_values_are_literal(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=${HOME}\nB=x # a comment\nC='a # b'\n")
    problems = Problems()
    assert read_env_file(path, problems).values == {"A": "${HOME}", "B": "x", "C": "a # b"}
    assert not problems
    assert read_env_file(tmp_path / "absent", problems).values == {}


def test_unused_variable_is_warned_of(root: Path) -> None:
    (root / ".env").write_text("HTTP_PROT=1\nHTTP_PORT=2\nDOCKER_HOST=ssh://u@h\nLOG_LEVEL=info\n")
    settings = load(root, "production", {})
    assert settings.warnings == (".env:1: HTTP_PROT is not used by anything",)
    assert settings.engine_environment == {"DOCKER_HOST": "ssh://u@h"}
    assert load(root, "production", {"DOCKER_HOST": "x"}).engine_environment["DOCKER_HOST"] == "x"


def test_releases_may_be_left_out(root: Path) -> None:
    path = root / "config/production.toml"
    text = path.read_text()
    path.write_text(text[: text.index("[release]")] + text[text.index("[backup]") :])
    found = load(root, "production", {}).release
    assert (found.drain_timeout, found.keep, found.before, found.after, found.hook_timeout) == (30.0, 5, [], [], 300.0)


def test_hooks_are_commands(root: Path, edit: Edit) -> None:
    edit("after = []", 'after = [["./check", "--all"], ["true"]]\nhook_timeout = "1m30s"')
    stack = build_stack(load(root, "production", {}))
    assert stack.releases.after == (("./check", "--all"), ("true",))
    assert (stack.releases.before, stack.releases.hook_timeout) == ((), 90.0)


def project(settings: Settings) -> str:
    return settings.host.COMPOSE_PROJECT_NAME


def test_development_never_shares_the_production_project(root: Path, edit: Edit) -> None:
    production = project(load(root, "production", {}))
    assert project(load(root, "development", {})) != production
    (root / ".env").write_text("COMPOSE_PROJECT_NAME=shop\n")
    assert project(load(root, "production", {})) == "shop"
    assert project(load(root, "development", {})) == "shop-development"
    assert project(load(root, "development", {"COMPOSE_PROJECT_NAME": "x"})) == "x-development"
    path = root / "config/development.toml"
    text = path.read_text()
    for own in ("", f'project = "{production}"'):
        path.write_text(re.sub(r"(?m)^project = .*$", own, text))
        told = "must not be that of config/production.toml, whose data it would share"
        assert errors(root, "development") == (f"config/development.toml: project = '{production}': {told}",)


def test_too_long_a_name_says_where_it_comes_from(root: Path) -> None:
    (found,) = errors(root, "development", COMPOSE_PROJECT_NAME="a" * 25)
    assert found.startswith("environment: COMPOSE_PROJECT_NAME = 'aaaaaaaaaaaaaaaaaaaaaaaaa-development': must be 1 to")


def test_an_environment_extends_another(root: Path, edit: Edit) -> None:
    edit("pids = 128", "pids = 77")
    development = load(root, "development", {})
    assert development.services.app.pids == 77
    assert development.services.app.environment["AUTH"] == "open"
    edit("pids = 77", "pids = 1")
    edit('HTTP_BIND = "127.0.0.1"', 'HTTP_BIND = "here"')
    assert [line.partition(" = ")[0] for line in errors(root, "development")] == [
        "config/production.toml: services.app.pids",
        "config/production.toml: HTTP_BIND",
    ], "an error is told with the file that it stands in"
    path = root / "config/development.toml"
    for wrong in ("development", "staging"):
        path.write_text(f'extends = "{wrong}"\nproject = "x"\n')
        assert f"extends = '{wrong}': must name another environment" in errors(root, "development")[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${A}", "1"),
        ("${A:-x}${B:-y}", "1y"),
        ("${EMPTY:-x}", "x"),
        ("${B:-}", ""),
        ("a$$b", "a$b"),
        ("$${A}", "${A}"),
        ("${A:?why}", "1"),
    ],
)
def test_interpolation(text: str, value: str) -> None:
    assert interpolate(text, {"A": "1", "EMPTY": ""}) == value


@pytest.mark.parametrize("text", ["$A", "${A", "a$", "${A-x}", "${1}", "${A:-${B}}"])
def test_what_compose_would_read_otherwise_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a plain one is written"):
        interpolate(text, {"A": "1"})


def test_missing_variable() -> None:
    with pytest.raises(ValueError, match=r"^B is not set; set it in the environment or in \.env$"):
        interpolate("${B}", {})


def test_variables_with_their_defaults() -> None:
    assert variables_in("${A:-1}/${B}/${C:?no}/$$/${D:-}") == {"A": "1", "B": "", "C": "", "D": ""}


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("SECRET_KEY", True),
        ("services.app.environment.KEY", True),
        ("DB_PASSWORD", True),
        ("GITHUB_TOKEN", True),
        ("DATABASE_URL", True),
        ("BACKUP_WEBHOOK_URL", True),
        ("api_key", True),
        ("KEYBOARD", False),
        ("MONKEY", False),
        ("LOG_LEVEL", False),
    ],
)
def test_secrets_are_masked_by_name(name: str, *, hidden: bool) -> None:
    assert (masked(name, "hunter2") == "********") == hidden
    assert masked(name, "") == ""


def test_wrong_secret_in_the_environment_is_masked(root: Path, edit: Edit) -> None:
    edit("[host]", "[host]\nAPI_TOKEN = 'hunter2'")
    assert errors(root) == ("config/production.toml: API_TOKEN = '********': there is no such key",)


def test_for_compose_leaves_the_hosts_variables_open(root: Path) -> None:
    (root / ".env").write_text("HTTP_PORT=9\n")
    host = for_compose(root, "production").host
    assert host.HTTP_PORT == "${HTTP_PORT:-8080}"
    assert host.COMPOSE_PROJECT_NAME == "${COMPOSE_PROJECT_NAME:-golinks}"


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "host", "https://", "https://user:hunter2@host/", "https://h/a b", "x"]
)
def test_a_wrong_webhook_is_refused_and_not_shown(root: Path, url: str) -> None:
    (found,) = errors(root, BACKUP_WEBHOOK_URL=url)
    told = "must be a http or https address, without a user in it"
    assert found == f"environment: BACKUP_WEBHOOK_URL = '********': {told}"


@pytest.mark.parametrize("url", ["http://10.0.0.1:9000", "https://hooks.example.com/T0/x?y=a@b", "http://[::1]:1/"])
def test_a_webhook_gives_the_backup_service_alone_a_way_out(root: Path, url: str) -> None:
    stack = build_stack(load(root, "production", {"BACKUP_WEBHOOK_URL": url}))
    assert [service.networks for service in stack.services] == [("internal",), ("internal", "edge"), ("outbound",)]
    assert [network.name for network in stack.networks if not network.internal] == ["golinks_edge", "golinks_outbound"]
    assert build_stack(load(root, "production", {})).service("backup").networks == ()
    written = build_stack(for_compose(root, "production", {"BACKUP_WEBHOOK_URL": url})).service("backup")
    assert written.networks == ("outbound",)
    assert url not in str(written), "the compose file holds no secret"
    assert build_stack(for_compose(root, "production", {})).service("backup").networks == ()


@pytest.mark.parametrize(("to", "networks"), [("s3://bucket/x", ("outbound",)), ("file:///backups/x", ()), ("", ())])
def test_a_replica_elsewhere_needs_a_way_out(root: Path, to: str, networks: tuple[str, ...]) -> None:
    path = root / "config/production.toml"
    text = re.sub(r"(?ms)^\[backup\.replicate\].*?(?=^\[|\Z)", "", path.read_text())
    path.write_text(f'{text}\n[backup.replicate]\nto = "{to}"\n')
    assert build_stack(load(root, "production", {})).service("backup").networks == networks


def settings_as_written(root: Path) -> Services:
    return for_compose(root, "production").services


def test_env_example_lists_every_variable_with_its_default(root: Path) -> None:
    text = env_example(root)
    found = dict(re.findall(r"(?m)^#([A-Z_]+)=(.*)$", text))
    settings = load(root, "production", {})
    for name in keys(Host):
        assert found.pop(name) == str(getattr(settings.host, name))
    assert found.pop("DOCKER_HOST") == ""
    assert found == used_variables(settings_as_written(root)), "and those that the services' environment mentions"
    assert found["LOG_LEVEL"] == "info"
    assert "# handed to the services (a secret: never commit it)\n#DATABASE_URL=" in text
    assert all(line.startswith("#") for line in text.splitlines() if line)


def test_env_example_as_env_changes_nothing(root: Path) -> None:
    plain = load(root, "production", {})
    (root / ".env").write_text(re.sub(r"(?m)^#(\w+=)", r"\1", env_example(root)))
    copied = load(root, "production", {})
    assert (copied.host, copied.services, copied.warnings) == (plain.host, plain.services, ())


def development(root: Path, old: str, new: str) -> None:
    path = root / "config/development.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_development_has_the_source_mounted_and_no_proxy(root: Path) -> None:
    stack = build_stack(load(root, "development", {"COMPOSE_PROJECT_NAME": "x"}))
    assert [spec.name for spec in stack.services] == ["app", "backup"]
    app = stack.service("app")
    assert app.binds == (Bind(str(root / "service"), "/opt/app/service"),)
    assert app.ports == (Port("127.0.0.1", "8081", 8000),)
    assert (stack.front, stack.proxied, stack.service("backup").replicas) == ("app", False, 0)
    assert {volume.name for volume in stack.volumes} == {
        "x-development_sqlite_data",
        "x-development_static_files",
        "x-development_backups",
    }
    production = build_stack(load(root, "production", {"COMPOSE_PROJECT_NAME": "x"}))
    assert not {volume.name for volume in production.volumes} & {volume.name for volume in stack.volumes}
    assert (production.front, production.service("app").binds, production.service("app").ports) == ("proxy", (), ())


@pytest.mark.parametrize("bind", ["0.0.0.1", "192.168.1.5", "::"])
def test_without_a_proxy_only_this_machine_reaches_the_app(root: Path, bind: str) -> None:
    (told,) = errors(root, "development", HTTP_BIND=bind)
    assert told.startswith(f"environment: HTTP_BIND = '{bind}': must be of this machine alone, such as 127.0.0.1")
    for here in ("127.0.0.1", "127.0.0.2", "::1"):
        load(root, "development", {"HTTP_BIND": here})
    load(root, "production", {"HTTP_BIND": bind})


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "[services.proxy]\n",
            "[services.proxy]\nreplicas = 0\n",
            "services.proxy.replicas = 0: it is needed; say so in",
        ),
        (
            "[services.backup]\n",
            "[services.backup]\nreplicas = 0\n",
            "services.backup.replicas = 0: it is needed; say so",
        ),
        (
            "volumes = { sqlite_data",
            'volumes = { "./service" = "/opt/app/service:ro", sqlite_data',
            "services.app.volumes: ./service is of this machine, of which nothing is mounted; say so in another",
        ),
    ],
)
def test_production_runs_everything_and_mounts_nothing(root: Path, edit: Edit, old: str, new: str, told: str) -> None:
    edit(old, new)
    (found,) = errors(root)
    assert found.startswith(f"config/production.toml: {told}")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("/opt/app/service:ro", "/opt/app/service", '`volumes` must have ./service read-only: "/opt/app/service:ro"'),
        (
            "[services.app]\n",
            "[services.app]\nreplicas = 2\n",
            "without a `proxy`, `app` needs its `port` and has one of",
        ),
        ('"./service"', '"/etc"', "must be an absolute path"),
        ('"./service"', '"a:b"', "must be an absolute path"),
        ("[services.backup]\n", '[services.backup]\nvolumes = { "./x" = "/x:ro" }\n', "only `app` may have folders of"),
    ],
)
def test_what_of_the_checkout_may_be_mounted(root: Path, old: str, new: str, told: str) -> None:
    development(root, old, new)
    assert told in " ".join(errors(root, "development"))


@pytest.mark.parametrize("bind", ["999.1.1.1", "127.0.0.256", "127.0.0", "127.0.0.1.", "127.0.0.01"])
def test_an_address_that_is_none_is_refused(root: Path, bind: str) -> None:
    (told,) = errors(root, "production", HTTP_BIND=bind)
    assert told == f"environment: HTTP_BIND = '{bind}': must be an IP address, such as 127.0.0.1 or 0.0.0.0"
