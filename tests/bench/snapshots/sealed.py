"""What it costs to encrypt a large archive for a remote and to decrypt it: `python -m tests.bench.snapshots.sealed FILE
BYTES` does both in one process and prints its memory and times."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.agent import age
from tests.bench.snapshots.bounds import Bound
from tests.bench.snapshots.counted import largest
from tests.bench.snapshots.processes import ROOT, say

MEMORY, MB = 100e6, 1e6


class _Hash:
    """A file that is only hashed."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return len(data)


def main(arguments: Sequence[str]) -> int:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    given, size = Path(arguments[0]), int(arguments[1])
    sealed = given.with_name(f"{given.name}.age")
    with given.open("wb") as file:
        file.truncate(size)  # zeros will do: to a cipher all bytes are the same
    key, began = X25519PrivateKey.generate(), time.monotonic()
    with given.open("rb") as source, sealed.open("xb") as target:
        age.encrypt(source, target, [key.public_key().public_bytes_raw()], lambda _: None)
    halfway, found = time.monotonic(), _Hash()
    with sealed.open("rb") as source:
        age.decrypt(source, found, [key.private_bytes_raw()], lambda _: None)  # type: ignore[arg-type]
    took = {"encrypt": halfway - began, "decrypt": time.monotonic() - halfway, "memory": largest()}
    with given.open("rb") as file:
        right = hashlib.file_digest(file, "sha256").digest() == found.digest.digest()
    right = right and sealed.stat().st_size == age.encrypted_size(size, 1)
    for path in (given, sealed):
        path.unlink()
    print(json.dumps(took | {"right": right}))
    return 0


def sealed(folder: Path, megabytes: float) -> list[Bound]:
    """The memory of it at that size, and that it is the same again."""
    say(f"an archive of {megabytes:.0f} MB, encrypted and decrypted")
    command = [sys.executable, "-m", "tests.bench.snapshots.sealed", str(folder / "x"), str(int(megabytes * MB))]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    took = json.loads(done.stdout)
    figure = f"memory of encrypting {megabytes:.0f} MB ({took['encrypt']:.1f} s) and back ({took['decrypt']:.1f} s)"
    met = bool(took["right"]) and took["memory"] <= MEMORY
    return [Bound(figure, f"{took['memory'] / MB:.0f} MB", f"at most {MEMORY / MB:.0f} MB, the same again", met)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
