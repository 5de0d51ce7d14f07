"""An engine that is reached over TLS, with certificates made here, right and wrong ones."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.engine.own_engine import OwnEngine, folder_of_its_own

#: Folders of certificates: the right one; another authority's name for the engine; a client that the engine does not
#: know; none for the client; a key that is not the certificate's.
FOLDERS = ("good", "stranger", "unknown", "nobody", "mixed")


@dataclass(frozen=True)
class TlsEngine:
    folder: Path
    port: int

    def environment(self, folder: str = "good") -> dict[str, str]:
        url = f"tcp://127.0.0.1:{self.port}"
        return {"DOCKER_HOST": url, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(self.folder / folder)}


def _openssl(*words: str, cwd: Path) -> None:
    subprocess.run(["openssl", *words], cwd=cwd, check=True, capture_output=True)


def _authority(name: str, folder: Path) -> None:
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    _openssl(
        "req", "-x509", *words, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", cwd=folder
    )


def _certificate(name: str, authority: str, extensions: str, folder: Path) -> None:
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl("req", *words, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr", cwd=folder)
    (folder / "extensions").write_text(extensions)
    signed = ["-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", "2"]
    _openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-extfile", "extensions", "-out", f"{name}.pem", cwd=folder)


def certificates(folder: Path) -> None:
    """FOLDERS with ca.pem, cert.pem and key.pem, and `engine.pem`, `engine.key` of the authority `ours`."""
    _authority("ours", folder)
    _authority("theirs", folder)
    _certificate("engine", "ours", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n", folder)
    _certificate("client", "ours", "extendedKeyUsage=clientAuth\n", folder)
    _certificate("other", "theirs", "extendedKeyUsage=clientAuth\n", folder)
    made = {
        "good": ("ours.pem", "client.pem", "client.key"),
        "stranger": ("theirs.pem", "client.pem", "client.key"),
        "unknown": ("ours.pem", "other.pem", "other.key"),
        "nobody": ("ours.pem",),
        "mixed": ("ours.pem", "client.pem", "other.key"),
    }
    for name, files in made.items():
        (folder / name).mkdir()
        for source, target in zip(files, ("ca.pem", "cert.pem", "key.pem"), strict=False):
            shutil.copy(folder / source, folder / name / target)


@contextlib.contextmanager
def tls_engine() -> Iterator[TlsEngine]:
    """One with no image and no network, that listens on the loopback; gone with all it had at the end."""
    with folder_of_its_own() as folder:
        certificates(folder)
        listener = socket.create_server(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
        listen = ["-H", "fd://", "--tlsverify", "--tlscacert", str(folder / "ours.pem")]
        listen += ["--tlscert", str(folder / "engine.pem"), "--tlskey", str(folder / "engine.key")]
        engine = OwnEngine(folder, more=tuple(listen), listener=listener)
        try:
            engine.start()
            listener.close()
            yield TlsEngine(folder, port)
        finally:
            engine.remove()
