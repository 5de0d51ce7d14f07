"""The history of releases: one record for each time that a release took, or failed to take, the traffic.

Records are JSON files on the proxy's upstream volume, one a file, so they outlive containers and `down`, and one that
was cut short by a dying engine spoils no other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from orchestrator.diff import differences, short
from orchestrator.errors import OrchestratorError, UsageError

#: Below the folder of the upstream file.
FOLDER = "releases"
#: Older records than this many are removed.
KEPT = 50
#: How it ended. `interrupted`: the run was killed, and the next one did not finish it.
DEPLOYED, ROLLED_BACK, FAILED, INTERRUPTED = "deployed", "rolled_back", "failed", "interrupted"


@dataclass(frozen=True)
class Record:
    """`created` is ISO, UTC. `previous` is the release that served before, `spec` the app's fingerprint (secrets only
    as digests), `snapshot` the one taken before this release's migration, `reason` why it failed."""

    release: str
    created: str
    result: str
    image: str = ""
    image_id: str = ""
    previous: str = ""
    user: str = ""
    host: str = ""
    action: str = "deploy"
    migrated: bool = False
    snapshot: str = ""
    reason: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """Its name below FOLDER: in order of time, and one release may have several."""
        return f"{self.created.replace(':', '').replace('-', '')}-{self.release}.json"

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def parse(files: Mapping[str, str]) -> tuple[Record, ...]:
    """The records in FOLDER's files, oldest first; one that can't be read is none."""
    known = {f.name for f in fields(Record)}
    found = []
    for name in sorted(files):
        if not name.endswith(".json"):
            continue
        try:
            document = json.loads(files[name])
            found.append(Record(**{key: value for key, value in document.items() if key in known}))
        except (ValueError, TypeError, AttributeError):
            continue
    return tuple(sorted(found, key=lambda record: record.created))


def superfluous(files: Iterable[str]) -> tuple[str, ...]:
    """The oldest of the records' files, beyond those that are kept."""
    return tuple(sorted(files)[:-KEPT])


def good(records: Iterable[Record]) -> dict[str, Record]:
    """The releases that have served, each by its last such record, the one that served last at the end."""
    found: dict[str, Record] = {}
    for record in records:
        if record.result == DEPLOYED:
            found.pop(record.release, None)
            found[record.release] = record
    return found


def serving_at(records: Iterable[Record], moment: str) -> str:
    """The release that served at a time (ISO, UTC); "" if the history does not reach back to it."""
    served = [r.release for r in records if r.result == DEPLOYED and r.created[:19] <= moment[:19]]
    return served[-1] if served else ""


def kept_images(records: Iterable[Record], keep: int) -> frozenset[str]:
    """The ids of the images of the last `keep` releases that have served."""
    return frozenset(record.image_id for record in list(good(records).values())[-keep:])


def changes(record: Record, before: Record | None) -> list[str]:
    """What is different from the release that served before; secrets masked."""
    if before is None:
        return []
    image = (
        [f"image: {short(before.image_id)} -> {short(record.image_id)}"] if record.image_id != before.image_id else []
    )
    return image + differences(before.spec, record.spec)


def before(record: Record, records: Iterable[Record]) -> Record | None:
    """The last record of the release that `record` took the place of."""
    earlier = [r for r in records if r.release == record.previous and r.created < record.created and r.spec]
    return earlier[-1] if earlier else None


def target(records: tuple[Record, ...], live: str, wanted: str, images: frozenset[str]) -> Record:
    """The release that `rollback` goes to: the one `wanted`, or the good one that served before `live`.

    `images` are the ids of the images that the engine has. Raises UsageError or OrchestratorError.
    """
    served = good(records)
    if wanted:
        return _named(records, served, live, wanted, images)
    # What a release took the place of when it was deployed: a rollback to it must not lead forward again.
    first = {record.release: record for record in reversed(records) if record.result == DEPLOYED}
    order = sorted(first, key=lambda release: first[release].created)
    seen, at = {live}, live
    while at in first:
        # After a `down` nobody served before; then it is the one that was deployed last until then.
        earlier = order[: order.index(at)]
        at = first[at].previous if first[at].previous in first else (earlier or [""])[-1]
        if at in seen:
            break
        seen.add(at)
        if at in served and served[at].image_id in images:
            return served[at]
    raise OrchestratorError(
        "there is no earlier good release to go back to.", hint="`releases` shows what there has been."
    )


def _named(
    records: tuple[Record, ...], served: Mapping[str, Record], live: str, wanted: str, images: frozenset[str]
) -> Record:
    names = {record.release for record in records}
    matching = sorted(name for name in names if name == wanted) or sorted(n for n in names if n.startswith(wanted))
    if len(matching) != 1:
        problem = f"is the beginning of {len(matching)} releases" if matching else "is no release of this project"
        raise UsageError(f"{wanted} {problem}.", hint="`releases` lists them.")
    (name,) = matching
    if name == live:
        raise UsageError(f"release {name} serves already.", hint="`releases` lists the others.")
    if name not in served:
        raise UsageError(f"release {name} never served: it {_ended(records, name)}.", hint="`releases` lists them.")
    if served[name].image_id not in images:
        raise OrchestratorError(
            f"the image of release {name} is gone.", hint="check its commit out and `deploy`, or name another release."
        )
    return served[name]


def _ended(records: Iterable[Record], name: str) -> str:
    words = {ROLLED_BACK: "was rolled back", FAILED: "failed", INTERRUPTED: "was interrupted"}
    return words.get([r.result for r in records if r.release == name][-1], "did not end well")


def migrations_since(records: Iterable[Record], release: Record) -> tuple[Record, ...]:
    """The records after the last one of `release` whose releases have changed the schema, oldest first."""
    return tuple(r for r in records if r.created > release.created and r.migrated)
