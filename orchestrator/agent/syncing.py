"""Brings a file to the disk in small amounts while it is written, so that no flood of dirty pages makes the commits of
others wait."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

#: In bytes. While one amount is on its way, another is written: twice this is dirty at most.
SYNC_EVERY = 4 * 1024 * 1024


class Syncer:
    """Told of what was `wrote`, syncs each amount beside the writing of the next one. An error of the disk is raised by
    one of the following calls."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._unsynced = descriptor, 0
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None

    def wrote(self, count: int) -> None:
        """So many bytes more, which the kernel has."""
        self._unsynced += count
        if self._unsynced >= SYNC_EVERY:
            self._wait()
            self._running = self._pool.submit(os.fdatasync, self._descriptor)
            self._unsynced = 0

    def finish(self) -> None:
        """All is on the disk, the file's own data about it too."""
        self._wait()
        os.fsync(self._descriptor)

    def close(self) -> None:
        """The descriptor is used no more."""
        self._pool.shutdown()

    def _wait(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.result()


@contextmanager
def syncing(descriptor: int) -> Iterator[Syncer]:
    syncer = Syncer(descriptor)
    try:
        yield syncer
    finally:
        syncer.close()
