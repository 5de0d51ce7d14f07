"""What works on other engines: the engine tests that matter, on one after the other, each got from Debian's packages,
unpacked and not installed, and run beside the usual engine with a network of its own; one of them by a user without
rights.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import docker

from tests import peers
from tests.engine.own_engine import OwnEngine, copy_images, folder_of_its_own
from tests.engine.stack import ROOT, until

#: What is run on each engine, by the column that shows it: tests of `tests/engine`.
TESTS: Mapping[str, Sequence[str]] = {
    "deploy, drift, down": (
        "test_deploy.py::test_a_first_deployment",
        "test_deploy.py::test_an_edited_setting_changes_only_its_service",
        "test_deploy.py::test_down_keeps_the_data",
    ),
    "hardening, networks": (
        "test_deploy.py::test_containers_are_hardened",
        "test_deploy.py::test_networks_let_out_what_they_must_and_no_more",
    ),
    "status, logs, exec, doctor": (
        "test_deploy.py::test_status",
        "test_deploy.py::test_logs_of_proxy_and_app_share_one_request_id",
        "test_deploy.py::test_logs_follow",
        "test_deploy.py::test_exec_passes_output_and_exit_code",
        "test_deploy.py::test_doctor",
    ),
    "`watch`": ("test_deploy.py::test_an_unhealthy_container_is_started_again",),
    "release, rollback": (
        "test_release.py::test_releases_and_rollbacks_fail_no_request",
        "test_release.py::test_replicas_go_up_and_down_and_one_may_die",
        "test_release.py::test_a_migration_has_a_snapshot_before_it",
    ),
    "the proxy": (
        "test_release.py::test_a_changed_configuration_is_reloaded",
        "test_release.py::test_a_new_proxy_interrupts_for_a_moment_and_says_so",
    ),
    "backup, restore": (
        "test_backup.py::test_snapshots_hold_every_acknowledged_write",
        "test_backup.py::test_a_snapshot_and_its_report",
        "test_restore.py::test_there_and_back_again",
    ),
    "equal to Compose's": ("test_compose.py::test_a_fresh_checkout_comes_up_equal_and_is_taken_over",),
}
#: The user of an engine without root, and the ids it may give to others.
USER, SUBORDINATE = 64_321, "64321:700000:65536"
#: What one needs besides the engine, as Debian 12 has it: it runs with this machine's libraries.
TOOLS = ("slirp4netns", "libslirp0", "uidmap", "rootlesskit")

ROOTLESS = "usr/share/docker.io/contrib/dockerd-rootless.sh"


@dataclass(frozen=True)
class Kind:
    """An engine of a suite of Debian's, "" being the one that is installed here."""

    name: str
    suite: str = ""
    options: tuple[str, ...] = ()
    rootless: bool = False

    def folder(self) -> Path:
        """Where its programs are, below `usr`."""
        # Not runc, which needs that suite's C library, and is, like the containers' init, this machine's.
        packages = ("docker.io", "containerd", "rootlesskit")
        return peers.unpacked(f"engine-{self.suite}", self.suite, packages) if self.suite else Path("/")


KINDS = (
    Kind("Debian 12's"),
    Kind("Debian 13's", "trixie"),
    Kind("Debian unstable's", "sid"),
    Kind("Debian unstable's, images in containerd's store", "sid", ("--feature=containerd-snapshotter=true",)),
    Kind("Debian unstable's, without root", "sid", rootless=True),
)


def tools() -> Path:
    """Where TOOLS are."""
    return peers.unpacked("engine-tools", "bookworm", TOOLS)


@dataclass
class Beside(OwnEngine):
    """An engine that reaches the network by slirp4netns, which changes nothing of the machine's. `programs` are put
    before the PATH."""

    kind: Kind = KINDS[0]
    way_out: subprocess.Popen[bytes] | None = None

    def programs(self) -> str:
        found = [self.folder / "engine", self.folder / "tools"] if self.kind.rootless else [self.kind.folder(), tools()]
        return ":".join([*(f"{folder}/usr/{name}" for folder in found for name in ("sbin", "bin")), os.environ["PATH"]])

    @property
    def environment(self) -> dict[str, str]:
        libraries = next(tools().glob("usr/lib/*-linux-gnu"))
        if self.kind.rootless:
            libraries = self.folder / "tools" / libraries.relative_to(tools())
        return dict(os.environ) | {"PATH": self.programs(), "LD_LIBRARY_PATH": str(libraries)}

    def start(self) -> None:
        (self.folder / "exec").mkdir(exist_ok=True)
        if self.kind.rootless:
            self._launch(["unshare", "--mount", "bash", "-c", self._without_root(), "bash", *self._options()])
        else:
            wait = "ip link set lo up; until ip addr show tap0 2>/dev/null | grep -q inet; do sleep 0.1; done"
            script = f'{wait}; exec dockerd --dns=10.0.2.3 "$@"'
            self._launch(["unshare", "--net", "bash", "-c", script, "bash", *self._options()])
            assert self.process
            here, number = Path("/proc/self/ns/net").readlink(), self.process.pid
            until(lambda: Path(f"/proc/{number}/ns/net").readlink() != here, 10, "a network of its own", 0.05)
            with (self.folder / "log").open("ab") as log:
                self.way_out = subprocess.Popen(
                    ["slirp4netns", "--configure", "--disable-host-loopback", str(number), "tap0"],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        until(self.answers, 60, "the engine answers", 0.2)

    def _options(self) -> list[str]:
        folders = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
        options = ["-H", self.url, *(f"{option}={self.folder / name}" for option, name in folders.items())]
        return [*options, *self.kind.options]

    def _launch(self, command: Sequence[str]) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _without_root(self) -> str:
        """A user's engine, in a mount namespace where that user exists, may have ids of its own and open a tunnel."""
        for name in ("home", "run", "data", "exec", "engine", "tools"):
            (self.folder / name).mkdir(exist_ok=True)
            os.chown(self.folder / name, USER, USER)
        os.chown(self.folder, USER, USER)
        user = f"user:x:{USER}:{USER}::{self.folder}/home:/bin/sh"
        (self.folder / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{user}\n")
        (self.folder / "sub").write_text(SUBORDINATE + "\n")
        return f"""
            set -e; cd {self.folder}
            # Of the user who got them, whose folders nobody else may enter.
            mount --bind {self.kind.folder()} engine; mount --bind {tools()} tools
            mknod -m 666 tun c 10 200; mount --bind tun /dev/net/tun
            mount --bind passwd /etc/passwd
            for name in subuid subgid; do mount --bind sub /etc/$name; done
            export HOME={self.folder}/home XDG_RUNTIME_DIR={self.folder}/run
            exec setpriv --reuid {USER} --regid {USER} --clear-groups engine/{ROOTLESS} "$@"
        """

    def inside(self) -> list[str]:
        """What to put before a command that is to reach the ports that its containers publish."""
        assert self.process
        return [] if self.kind.rootless else ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", "--"]

    def remove(self) -> None:
        if self.process and self.process.poll() is None:
            self.end(signal.SIGTERM)
        if self.way_out:
            self.way_out.kill()
            self.way_out.wait()
        super().remove()


@contextlib.contextmanager
def running(kind: Kind) -> Iterator[Beside]:
    with folder_of_its_own() as folder:
        engine = Beside(folder, kind=kind)
        try:
            engine.start()
            yield engine
        finally:
            engine.remove()


def measured(only: str = "", earlier: str = "") -> tuple[str, bool]:
    """The table, as Markdown; and whether every test of every engine that could be run has passed. `only`: a
    name or a part of some; the other engines keep the lines that they have in the table of `earlier`."""
    usual = docker.from_env(timeout=300)
    bases = peers.bases(usual)
    lines = [
        f"| engine | version, API | storage | {' | '.join(TESTS)} |",
        f"|---|---|---|{'---|' * len(TESTS)}",
    ]
    failed: list[str] = []
    chosen = [kind for kind in KINDS if kind.name == only] or [kind for kind in KINDS if only in kind.name]
    for kind in KINDS:
        if kind not in chosen:
            lines += [row for row in earlier.splitlines() if row.startswith(f"| {kind.name} |")]
            failed += [row for row in earlier.splitlines() if row.startswith(f"{kind.name}: ")]
            continue
        try:
            cells, wrong = _row(kind, usual, bases)
        except (OSError, AssertionError) as error:
            last = (str(error).strip().splitlines() or [""])[-1]
            cells, wrong = [f"did not start: {last}", "", *("" for _ in TESTS)], ["start"]
        lines.append(f"| {kind.name} | {' | '.join(cells)} |")
        failed += [f"{kind.name}: {name}" for name in wrong]
    notes = ["", *failed] if failed else []
    return "\n".join([*lines, *notes]), not failed


def _row(kind: Kind, usual: docker.DockerClient, bases: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The cells of one engine, and the names of the tests that failed there."""
    with running(kind) as engine, contextlib.closing(docker.DockerClient(engine.url, timeout=300)) as client:
        version, info = client.version(), client.info()
        copy_images(usual, client, list(bases.values()))
        cells = [f"{version['Version'].partition('+')[0]}, {version['ApiVersion']}", str(info["Driver"])]
        wrong = []
        for counts, names in _tested(engine, bases).values():
            cells.append(counts)
            wrong += names
        return cells, wrong


def _tested(engine: Beside, bases: Mapping[str, str]) -> dict[str, tuple[str, list[str]]]:
    """For each column, how many tests passed of how many, and the names of those that did not."""
    report = engine.folder / "tests.xml"
    wanted = [f"tests/engine/{name}" for group in TESTS.values() for name in group]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", f"--junitxml={report}", *wanted]
    environment = dict(os.environ) | dict(bases) | {"DOCKER_HOST": engine.url}
    print(f"  {engine.kind.name}", file=sys.stderr, flush=True)
    subprocess.run([*engine.inside(), *command], cwd=ROOT, env=environment, stdout=sys.stderr, check=False)
    cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - pytest has written it
    found = {}
    for column, group in TESTS.items():
        mine = [case for case in cases if _name(case) in group and case.find("skipped") is None]
        wrong = [str(case.get("name")) for case in mine if {"failure", "error"} & {part.tag for part in case}]
        found[column] = (f"{len(mine) - len(wrong)} of {len(mine)}", wrong)
    return found


def _name(case: ElementTree.Element) -> str:
    """A case as TESTS names it, whatever its parameters."""
    module = str(case.get("classname")).rpartition(".")[2]
    return f"{module}.py::{str(case.get('name')).partition('[')[0]}"
