"""Who may use a lake: one writer, any number of readers.

DuckDB's own lock keeps a second *process* out while a writer holds the catalogue. These advisory
locks add what it does not: a second writer in the *same* process is refused, and a writer knows
whether readers still look at files that no catalogue row names any more. They die with their
process, so a killed one leaves nothing locked. Where the platform has no ``flock`` (Windows),
DuckDB's lock stands alone and open files cannot be deleted anyway.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import TracebackType

from fintel.errors import StoreError

if sys.platform != "win32":
    import fcntl

WRITER = ".writer.lock"
READERS = ".readers.lock"


class Lock:
    """An advisory lock on a file, held until ``release``."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @classmethod
    def exclusive(cls, path: Path) -> Lock | None:
        """The lock for this holder alone; None if somebody holds it. Raises StoreError where it is a link."""
        if sys.platform == "win32":
            return cls(None)
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    @classmethod
    def shared(cls, path: Path) -> Lock:
        """The lock together with other readers. Without effect on a medium that cannot be written.

        Raises StoreError where the lock is a link.
        """
        if sys.platform == "win32":
            return cls(None)
        try:
            descriptor = _open(path)
        except OSError:
            return cls(None)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return cls(descriptor)

    def release(self) -> None:
        """Give the lock back. Twice does no harm."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _open(path: Path) -> int:
    """Open or make a lock file, never through a link: a lake from elsewhere could point it anywhere."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StoreError("the lock of a lake must be a file, not a link", location=path) from error
        raise
