"""Runs rclone: one command at a time, bounded in time, its progress and errors in our words.

rclone is configured by its own environment variables (RCLONE_CONFIG_<NAME>_TYPE and so on); no file, no secret in a
command line.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from orchestrator.agent.errors import AgentError
from orchestrator.agent.events import Progress

#: A server that does not answer fails within about a minute, one that goes away in the middle too.
BOUNDS = ("--contimeout", "10s", "--timeout", "30s", "--retries", "1", "--low-level-retries", "2")
LOG = ("--use-json-log", "--stats", "500ms", "--stats-log-level", "NOTICE")
KNOWN_HOSTS = "BACKUP_KNOWN_HOSTS"
_SECRET = re.compile(r"PASS|SECRET|KEY|TOKEN|CREDENTIAL|AUTH", re.IGNORECASE)

#: What an error of rclone's or a server's means: a pattern, what is said of the remote, a hint.
_MEANINGS: tuple[tuple[str, str, str], ...] = (
    (
        r"didn't find section|didn't find backend",
        "is not configured",
        "Set RCLONE_CONFIG_<NAME>_TYPE and what that type needs in [services.backup.environment], then `deploy`.",
    ),
    (
        r"no space left|disk quota|quotaexceeded|quota exceeded|insufficient ?storage|\b507\b|storage ?full|"
        r"ssh_fx_failure|out of space",
        "is full, or refuses to take more",
        "Free some space there, or lower what is kept; the next run copies what is missing.",
    ),
    (
        r"knownhosts|host key",
        "shows another host key than the known one",
        "Somebody may be in between. If the server has a new key, put it into BACKUP_KNOWN_HOSTS.",
    ),
    (
        r"\b403\b|\b401\b|accessdenied|forbidden|unauthorized|invalidaccesskeyid|signaturedoesnotmatch|"
        r"unable to authenticate|permission denied|access denied|reveal|base64 decode|failed to parse private key",
        "refuses the credentials, or what they may do",
        "Check the RCLONE_CONFIG_... values in .env, and the rights of that user; then `deploy`.",
    ),
    (
        r"nosuchbucket|invalidbucketname",
        "has no such bucket",
        "Make the bucket, or correct `remotes`.",
    ),
    (
        r"internalerror|internal server error|statuscode: 5\d\d",
        "fails at its own end; its disk may be full",
        "Look at that server's log and disk; the next run copies what is missing.",
    ),
    (
        r"no such host|connection refused|dial tcp|i/o timeout|network is unreachable|no route to host|"
        r"connection reset|broken pipe|connection lost|unexpected eof|\beof\b|deadline exceeded|server gave http|"
        r"transport is closing|use of closed|exceeded maximum number of attempts",
        "cannot be reached, or went away in the middle",
        "Check its address, and that it is up; the next run copies what is missing.",
    ),
)


def translate(remote: str, said: str, environ: Mapping[str, str]) -> AgentError:
    """What rclone said last about a remote, as one sentence and a hint; without any secret of the environment."""
    text = " ".join(scrubbed(said, environ).split())[-300:] or "rclone ended without a word"
    for pattern, meaning, hint in _MEANINGS:
        if re.search(pattern, said, re.IGNORECASE):
            return AgentError(f"{remote} {meaning} ({text}).", hint=hint)
    return AgentError(f"{remote} failed ({text}).", hint="The text in parentheses is rclone's own.")


def scrubbed(text: str, environ: Mapping[str, str]) -> str:
    """The text without the values of rclone's secret variables."""
    for name, value in environ.items():
        if name.startswith("RCLONE_") and _SECRET.search(name) and len(value) >= 4:
            text = text.replace(value, "********")
    return text


def is_missing(said: str) -> bool:
    """Whether it is only that nothing is there."""
    return bool(re.search(r"directory not found|object not found|nosuchkey", said, re.IGNORECASE))


class Failed(Exception):
    """rclone ended with an error; the text is its own last words."""


class Remote:
    """One folder of a remote, such as `offsite:bucket/golinks`."""

    def __init__(self, name: str, environ: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.environ = dict(os.environ if environ is None else environ)
        self._ways: tuple[tuple[str, ...], ...] = ((), ("--download",))

    def at(self, file: str) -> str:
        return f"{self.name}{'' if self.name.endswith((':', '/')) else '/'}{file}"

    def files(self) -> dict[str, int]:
        """The files of the folder and their bytes; none where there is no folder yet."""
        try:
            found = json.loads(self._run("lsjson", "--files-only", "--no-modtime", "--no-mimetype", self.name))
        except Failed as error:
            if is_missing(str(error)):
                return {}
            raise self._told(error) from error
        return {str(one["Name"]): int(one["Size"]) for one in found}

    def read_small(self, pattern: str) -> dict[str, bytes]:
        """The files of the folder whose name matches rclone's `pattern`, of 4 MiB at most each."""
        with tempfile.TemporaryDirectory() as folder:
            limits = ("--max-depth", "1", "--max-size", "4M", "--include", pattern)
            try:
                self._run("copy", *limits, self.name, folder)
            except Failed as error:
                if is_missing(str(error)):
                    return {}
                raise self._told(error) from error
            return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}

    def put(self, file: Path, name: str, progress: Progress | None = None) -> None:
        """Copies a file there. It has its name only when all of it is there, or else it is cut: so check it."""
        self._copy(str(file), self.at(name), progress)

    def get(self, name: str, file: Path, progress: Progress | None = None) -> None:
        self._copy(self.at(name), str(file), progress)

    def put_text(self, text: str, name: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_text(text, encoding="ascii")
            self.put(path, name)

    def sha256(self, name: str) -> str:
        """The sha256 of the file as it lies there: by the server where it can, else by reading all of it back. An MD5
        would not do: of large files, S3 only repeats the one that the writer told."""
        for more in self._ways:
            try:
                words = self._run("hashsum", "sha256", *more, self.at(name)).split()
            except Failed as error:
                if more:
                    raise self._told(error) from error
                words = []
            if not words and not more:
                self._ways = (("--download",),)  # Asked once; this server cannot.
            if words and re.fullmatch(r"[0-9a-f]{64}", words[0]):
                return words[0]
        return ""

    def remove(self, name: str) -> None:
        """Removing what is gone is done."""
        try:
            self._run("deletefile", self.at(name))
        except Failed as error:
            if not is_missing(str(error)):
                raise self._told(error) from error

    def _copy(self, source: str, target: str, progress: Progress | None) -> None:
        def tell(stats: Mapping[str, Any]) -> None:
            if progress is not None:
                progress.reach(int(stats.get("bytes") or 0))

        try:
            # --ignore-times: what lies there under the name is of a killed run, whatever its time and size.
            self._run("copyto", "--ignore-times", source, target, tell=tell)
        except Failed as error:
            raise self._told(error) from error

    def _told(self, error: Failed) -> AgentError:
        return translate(self.name, str(error), self.environ)

    def _run(self, *command: str, tell: Callable[[Mapping[str, Any]], None] | None = None) -> str:
        """What rclone prints. Raises Failed with its last words, AgentError where there is no rclone."""
        program = shutil.which("rclone", path=self.environ.get("PATH"))
        if program is None:
            raise AgentError("The backup image has no rclone.", hint="Run `deploy`: the settings have remotes since.")
        own = {"RCLONE_CONFIG": os.devnull, "GOMEMLIMIT": "96MiB"}
        with ExitStack() as stack:
            out = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            if known := self.environ.get(KNOWN_HOSTS):
                hosts = stack.enter_context(tempfile.NamedTemporaryFile("w", encoding="utf-8"))
                hosts.write(known.strip() + "\n")
                hosts.flush()
                own["RCLONE_SFTP_KNOWN_HOSTS_FILE"] = hosts.name
            said = self._wait([program, *command, *BOUNDS, *LOG], self.environ | own, out, tell)
            if said is not None:
                raise Failed(said)
            out.seek(0)
            return out.read()

    @staticmethod
    def _wait(
        command: list[str], environ: Mapping[str, str], out: Any, tell: Callable[[Mapping[str, Any]], None] | None
    ) -> str | None:
        """None after success, else what it said of the failure."""
        said: list[str] = []
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True, env=dict(environ)
        ) as child:
            try:
                for line in child.stderr or ():
                    level, text, stats = _parsed(line)
                    if stats and tell:
                        tell(stats)
                    if level in {"error", "critical"} or (text.startswith("Failed to") and not stats):
                        said = [*said[-9:], text]
            except BaseException:
                child.kill()  # What it has begun lies under a name that counts for nothing.
                raise
        return None if child.returncode == 0 else _best(said)


def _parsed(line: str) -> tuple[str, str, Mapping[str, Any]]:
    try:
        entry = json.loads(line)
        return str(entry.get("level")), str(entry.get("msg")), entry.get("stats") or {}
    except (ValueError, AttributeError):
        return "error", line.strip(), {}


def _best(said: list[str]) -> str:
    """The words that say why: the first of several about the same failure has the most of them."""
    return next((text for text in said if not text.startswith("Attempt ")), said[0] if said else "")
