"""Archives, manifests and copies that are not what they were, each of which must be refused with its reason.

Those that only the bytes betray are easy: a sha256 does. The others are archives that are in themselves right, made
as the agent makes them, with something in them that is not: a database copied while it was written to, a file that was
changed, left out or put in. They are what shows that more is looked at than one checksum.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import apsw

from orchestrator.agent import restore, store
from orchestrator.agent.archive import open_archive, sum_line
from orchestrator.agent.errors import AgentError
from orchestrator.agent.manifest import DATA_PREFIX, MANIFEST_MEMBER, SUMS_MEMBER, Snapshot
from orchestrator.agent.snapshot import take
from orchestrator.agent.verify import verify
from tests.bench.snapshots.bounds import Bound
from tests.bench.snapshots.processes import say

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: The members of an archive, by name, in their order.
Members = dict[str, tuple[tarfile.TarInfo, bytes]]
DATABASE = DATA_PREFIX + "links.db"
ROWS = 1500


def _database(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, mark INTEGER, text TEXT)").fetchall()
    connection.execute("CREATE INDEX t_mark ON t (mark)").fetchall()
    with connection:
        values = [(number, number * 7919 % ROWS, "x" * (number % 400)) for number in range(ROWS)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", values)
    connection.close()


def torn(path: Path, chance: random.Random) -> bytes:
    """The database as a plain copy finds it that is overtaken by writes: the first pages from before, the others from
    after. The file itself is as after the writes then."""
    before = path.read_bytes()
    connection = apsw.Connection(str(path))
    with connection:
        connection.execute("DELETE FROM t WHERE id % 5 = ?", (chance.randrange(5),)).fetchall()
        values = [(chance.getrandbits(40), "y" * chance.randrange(400)) for _ in range(ROWS // 4)]
        connection.executemany("INSERT INTO t (mark, text) VALUES (?, ?)", values)
        connection.executemany("UPDATE t SET mark = ? WHERE id = ?", [(-n, chance.randrange(ROWS)) for n in range(200)])
    connection.close()
    after = path.read_bytes()
    cut = chance.randrange(len(before) // 4, len(before) * 3 // 4) // 4096 * 4096
    return before[:cut] + after[cut:]


@dataclass
class Damages:
    """One good snapshot, the ways to damage it, and what each was refused for."""

    folder: Path
    chance: random.Random = field(default_factory=lambda: random.Random(4))  # noqa: S311
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    passed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data, self.backups, self.out = (self.folder / name for name in ("data", "backups", "out"))
        for made in (self.data, self.backups, self.out):
            made.mkdir()
        _database(self.data / "links.db")
        (self.data / "uploads").mkdir()
        for name in ("one", "two"):
            (self.data / "uploads" / name).write_bytes(self.chance.randbytes(3000))
        self.good = self._take()
        self.archive = store.archive_path(self.backups, self.good.snapshot).read_bytes()

    def _take(self) -> Snapshot:
        return take(self.data, self.backups, release="r1", reason="bench", wait=0)

    @property
    def archive_path(self) -> Path:
        return store.archive_path(self.backups, self.good.snapshot)

    @property
    def sidecar_path(self) -> Path:
        return store.sidecar_path(self.backups, self.good.snapshot)

    def members(self) -> Members:
        found: Members = {}
        with open_archive(BytesIO(self.archive)) as tar:
            for member in tar:
                content = tar.extractfile(member)
                found[member.name] = (member, content.read() if content is not None else b"")
        return found

    # What is done to the bytes of the archive.

    def flip(self) -> None:
        changed = bytearray(self.archive)
        changed[self.chance.randrange(len(changed))] ^= 1 << self.chance.randrange(8)
        self.archive_path.write_bytes(changed)

    def cut(self) -> None:
        self.archive_path.write_bytes(self.archive[: self.chance.randrange(len(self.archive))])

    def grow(self) -> None:
        self.archive_path.write_bytes(self.archive + self.chance.randbytes(self.chance.randrange(1, 5000)))

    def blank(self) -> None:
        """A block that never reached the disk."""
        start = self.chance.randrange(len(self.archive) - 4096)
        self.archive_path.write_bytes(self.archive[:start] + bytes(4096) + self.archive[start + 4096 :])

    def exchange(self) -> None:
        """Another snapshot's archive under this one's name."""
        (self.data / "uploads" / "one").write_bytes(self.chance.randbytes(3000))
        other = store.archive_path(self.backups, self._take().snapshot)
        other.replace(self.archive_path)

    def both(self) -> None:
        """Another snapshot's archive and manifest under this one's name."""
        (self.data / "uploads" / "one").write_bytes(self.chance.randbytes(3000))
        other = self._take().snapshot
        store.archive_path(self.backups, other).replace(self.archive_path)
        store.sidecar_path(self.backups, other).replace(self.sidecar_path)

    # What is done to the manifest beside it.

    def manifest(self) -> None:
        document = self.good.to_dict()
        where, key, value = self.chance.choice(
            [
                (document, "release", "another"),
                (document, "created", "2020-01-01T00:00:00Z"),
                (document, "sha256", document["sha256"][:7] + "0" * 57),
                (document, "bytes", document["bytes"] + 1),
                (document["databases"][0], "sha256", "0" * 64),
                (document["databases"][0], "path", "other.db"),
                (document["databases"][0], "user_version", 5),
                (document["databases"][0]["tables"], "t", ROWS + 1),
                (document["files"], "count", 1),
                (document["files"], "sha256", "0" * 64),
            ]
        )
        where[key] = value
        self.sidecar_path.write_text(json.dumps(document))

    def sidecar(self) -> None:
        """The file with the manifest, cut or with a flipped bit in it that is not only in white space."""
        text = bytearray(self.sidecar_path.read_bytes())
        if self.chance.random() < 0.5:
            del text[self.chance.randrange(len(text) - 3) :]
        else:
            at = self.chance.choice([index for index, byte in enumerate(text) if not bytes([byte]).isspace()])
            text[at] ^= 1
        self.sidecar_path.write_bytes(text)

    def no_archive(self) -> None:
        self.archive_path.unlink()

    def no_manifest(self) -> None:
        self.sidecar_path.unlink()

    # Archives that are right in themselves.

    def forge(self, members: Members, document: dict[str, Any], *, after: bytes = b"") -> None:
        """Puts an archive of these members, with the manifest, in place of the snapshot, every checksum above the
        manifest made anew."""
        plain = BytesIO()
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for member, content in members.values():
                member.size = len(content)
                tar.addfile(member, BytesIO(content))
            text = json.dumps(document).encode()
            for name, content in ((MANIFEST_MEMBER, text), *((("data/late", after),) if after else ())):
                last = tarfile.TarInfo(name)
                last.size = len(content)
                tar.addfile(last, BytesIO(content))
        archive = zstd.compress(plain.getvalue())
        sha256 = hashlib.sha256(archive).hexdigest()
        for path in (self.archive_path, self.sidecar_path):
            path.unlink()
        name = self.good.snapshot[:16] + sha256[:7]
        store.archive_path(self.backups, name).write_bytes(archive)
        top = document | {"snapshot": name, "bytes": len(archive), "sha256": sha256}
        store.sidecar_path(self.backups, name).write_text(json.dumps(top))

    def _parts(self) -> tuple[Members, dict[str, Any]]:
        members = self.members()
        return members, json.loads(members.pop(MANIFEST_MEMBER)[1])

    def _summed(self, members: Members, document: dict[str, Any]) -> None:
        """Makes the sums fit to the members."""
        parts = [(name, content) for name, (member, content) in members.items() if member.isreg()]
        lines = [sum_line(hashlib.sha256(content).hexdigest(), name) for name, content in parts if name != SUMS_MEMBER]
        text = b"".join(lines)
        members[SUMS_MEMBER] = (members[SUMS_MEMBER][0], text)
        document["files"]["sha256"] = hashlib.sha256(text).hexdigest()
        document["databases"][0]["sha256"] = hashlib.sha256(members[DATABASE][1]).hexdigest()
        document["databases"][0]["bytes"] = len(members[DATABASE][1])

    def torn_inside(self) -> None:
        """All checksums are those of the torn copy: only SQLite itself can tell."""
        members, document = self._parts()
        members[DATABASE] = (members[DATABASE][0], torn(self.data / "links.db", self.chance))
        self._summed(members, document)
        self.forge(members, document)

    def flipped_inside(self) -> None:
        """A bit of the database flipped after its sha256 was taken."""
        members, document = self._parts()
        content = bytearray(members[DATABASE][1])
        content[self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)
        members[DATABASE] = (members[DATABASE][0], bytes(content))
        self.forge(members, document)

    def upload_inside(self) -> None:
        members, document = self._parts()
        name = self.chance.choice([DATA_PREFIX + "uploads/one", DATA_PREFIX + "uploads/two"])
        content = bytearray(members[name][1])
        content[self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)
        members[name] = (members[name][0], bytes(content))
        self.forge(members, document)

    def swapped_inside(self) -> None:
        """The content of two uploads exchanged."""
        members, document = self._parts()
        one, two = DATA_PREFIX + "uploads/one", DATA_PREFIX + "uploads/two"
        members[one], members[two] = (members[one][0], members[two][1]), (members[two][0], members[one][1])
        self.forge(members, document)

    def missing_inside(self) -> None:
        members, document = self._parts()
        del members[self.chance.choice([DATABASE, DATA_PREFIX + "uploads/one", SUMS_MEMBER])]
        self.forge(members, document)

    def more_inside(self) -> None:
        """A file that nobody counted, or one after the manifest."""
        members, document = self._parts()
        if self.chance.random() < 0.5:
            self.forge(members, document, after=b"late")
            return
        more = tarfile.TarInfo(DATA_PREFIX + "more")
        self.forge({"more": (more, b"more"), **members}, document)

    # And a copy that is no snapshot yet.

    def torn_source(self) -> None:
        """The volume's database is itself a torn copy: no snapshot of it may be listed."""
        (self.data / "links.db").write_bytes(torn(self.data / "links.db", self.chance))

    def play(self, name: str, damage: Callable[[], None], number: int) -> None:
        """One damage; then everything that could take it for good is asked, and all is made as it was."""
        kept = shutil.copytree(self.data, self.folder / "kept")
        damage()
        if name == TORN_SOURCE:
            asked: list[Callable[[], object]] = [self._take]
        else:
            ids = {entry.snapshot for entry in store.entries(self.backups)}
            assert len(ids) == 1 or name == "another archive under its name", ids
            snapshot = self.good.snapshot if self.good.snapshot in ids else ids.pop()
            asked = [
                lambda: verify(self.backups, snapshot, wait=0),
                lambda: restore.prepare(self.out, self.backups, snapshot, wait=0),
            ]
        reasons = [self._refusal(ask) for ask in asked]
        left = [path.name for path in self.out.iterdir()]
        if all(reasons) and not left:
            self.refused[name, reasons[0]] += 1
        else:
            self.passed.append(f"{name}, number {number}: {reasons}, left {left}")
        for folder in (self.data, self.backups, self.out):
            shutil.rmtree(folder)
        kept.rename(self.data)
        self.out.mkdir()
        self.backups.mkdir()
        self.archive_path.write_bytes(self.archive)
        self.sidecar_path.write_text(json.dumps(self.good.to_dict(), indent=1) + "\n")

    def _refusal(self, ask: Callable[[], object]) -> str:
        """The reason, without what is different each time; "" when it was taken for good."""
        before = sorted(self.data.iterdir())
        try:
            ask()
        except AgentError as error:
            kept = sorted(self.data.iterdir()) == before
            return general(error.message) if error.code == "damaged" and kept else ""
        return ""


def general(message: str) -> str:
    """A message without names, numbers and places."""
    for found, instead in (
        (r"Snapshot \S+ is not (good|usable): ", ""),
        (r" \(.*\)", ""),
        (r"links\.db is damaged: .*", "SQLite finds it damaged"),
        (r"[0-9]+ bytes instead of [0-9]+", "another size than the manifest says"),
        (r"differs from its manifest in .*", "differs from its manifest"),
        (r"lacks .*", "lacks a database"),
    ):
        message = re.sub(found, instead, message)
    return message.rstrip(".")


TORN_SOURCE = "a torn copy on the volume, before a snapshot"


def damages(folder: Path, times: float = 1) -> tuple[list[Bound], str]:
    """`times` a hundred, at least one of each kind; and a table of what was refused and why."""
    say("damaged archives, manifests and copies")
    made = Damages(folder)
    kinds = (
        ("a bit of the archive flipped", made.flip, 20),
        ("the archive cut", made.cut, 8),
        ("the archive has more at its end", made.grow, 2),
        ("a block of the archive is zeros", made.blank, 6),
        ("another archive under its name", made.exchange, 2),
        ("another archive and manifest under its name", made.both, 2),
        ("a value in the manifest beside it changed", made.manifest, 10),
        ("the manifest beside it cut, or a bit flipped", made.sidecar, 6),
        ("the archive is missing", made.no_archive, 1),
        ("the manifest is missing", made.no_manifest, 1),
        ("a torn copy inside, all checksums right", made.torn_inside, 14),
        ("a bit of the database inside flipped", made.flipped_inside, 6),
        ("a bit of an upload inside flipped", made.upload_inside, 4),
        ("uploads exchanged inside", made.swapped_inside, 1),
        ("a part is missing inside", made.missing_inside, 3),
        ("there is more inside", made.more_inside, 4),
        (TORN_SOURCE, made.torn_source, 10),
    )
    for name, damage, count in kinds:
        for number in range(max(1, round(count * times))):
            made.play(name, damage, number)
    for problem in made.passed:
        say(f"  NOT REFUSED: {problem}")
    refused = sum(made.refused.values())
    count = refused + len(made.passed)
    lines = ["| refused because | times | what was done |", "|---|---|---|"]
    for reason in dict.fromkeys(reason for _, reason in made.refused):
        done = {name: number for (name, why), number in made.refused.items() if why == reason}
        told = "; ".join(f"{name} ({number})" for name, number in done.items())
        lines.append(f"| {reason} | {sum(done.values())} | {told} |")
    figure = "torn or bit-flipped archives and copies refused, by `verify` and by `restore` before it changes anything"
    return [Bound(figure, f"{refused} of {count}", "all", refused == count)], "\n".join(lines)
