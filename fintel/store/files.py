"""Parquet files of the lake: written aside, synced, renamed; invisible until a catalogue row names them.

Layout under the lake's folder (relative paths, '/' between):

    data/<table>/<feed>-<part>.parquet           rows that a feed added
    data/<table>/replaced-<n>-<part>.parquet     rows after the n-th replacement of the table
    data/quarantine/<feed>-<table>-<part>.parquet
    runs/<run>/<table>.parquet                   a run's results; 'runs/<run>.<n>/' after a replacement

Equal rows give equal bytes: no time stamp and no machine name goes into a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fintel.errors import StoreError

#: Rows of a data file. Bounds memory: sorting and de-duplicating happen on one file's rows.
BLOCK_ROWS = 500_000
ROW_GROUP_ROWS = 250_000

IDENTIFIER = re.compile(r"[0-9A-Za-z_]{1,64}")
RUN_ID = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_-]{0,63}")
_NAME = r"[0-9A-Za-z_]+(?:-[0-9A-Za-z_]+)*"
PATH = re.compile(rf"data/[a-z_]+/{_NAME}-[0-9]{{5}}\.parquet|runs/[0-9A-Za-z_-]+(?:\.[0-9]+)?/[a-z_]+\.parquet")
_PART = ".part"
_SPILL = re.compile(r"duckdb_temp_[0-9A-Za-z_.-]+")
SPILL = "spill"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file: path relative to the lake, rows, bytes, SHA-256, and whose it is."""

    path: str
    table: str
    rows: int
    bytes: int
    sha256: str
    feed_id: str | None = None
    run_id: str | None = None


def sync(path: Path) -> None:
    """Force a file or folder to disk, so that what is named after it never precedes it."""
    if os.name == "nt" and path.is_dir():  # Windows has no handle on a folder to sync
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_unchanged(root: Path, file: DataFile) -> None:
    """Raises StoreError where the file's bytes are not those that were written."""
    if _digest(root / file.path) != file.sha256:
        raise StoreError(
            f"the lake is damaged: {file.path} is not what the run wrote",
            location=root,
            hint="bring the file back, or run the detection again",
        )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def land(
    root: Path,
    path: str,
    rows: pl.DataFrame | pl.LazyFrame,
    table: str,
    *,
    feed_id: str | None = None,
    run_id: str | None = None,
) -> DataFile:
    """Write ``rows`` to ``path`` under ``root``, durably and under its final name only when whole."""
    final = root / path
    aside = final.with_name(final.name + _PART)
    final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    rows.lazy().sink_parquet(aside, compression="zstd", row_group_size=ROW_GROUP_ROWS, maintain_order=True)
    sha256 = _digest(aside)
    count = pl.scan_parquet(aside, glob=False).select(pl.len()).collect().item()
    sync(aside)
    aside.replace(final)
    sync(final.parent)
    sync(final.parent.parent)
    return DataFile(path, table, count, final.stat().st_size, sha256, feed_id, run_id)


def discard(root: Path, paths: Iterable[str]) -> None:
    """Remove files (whole or half written) and the run folders that this leaves empty."""
    for path in paths:
        final = root / path
        final.unlink(missing_ok=True)
        final.with_name(final.name + _PART).unlink(missing_ok=True)
        if path.startswith("runs/"):
            _remove_if_empty(final.parent)


def sweep(root: Path, visible: Collection[str]) -> None:
    """Remove what a killed process left: files of our own naming that no catalogue row names.

    Links are never followed and anything with another name is never touched.
    """
    for kind in ("data", "runs"):
        for folder in _folders(root / kind):
            for entry in _files(folder):
                path = f"{kind}/{folder.name}/{entry.name}"
                if PATH.fullmatch(path.removesuffix(_PART)) and path not in visible:
                    _unlink(entry)
            if kind == "runs":
                _remove_if_empty(folder)
    spill = root / SPILL
    if spill.is_dir() and not spill.is_symlink():
        for entry in _files(spill):
            if _SPILL.fullmatch(entry.name):
                _unlink(entry)
        _remove_if_empty(spill)


def _unlink(path: Path) -> None:
    # Windows keeps a file that somebody reads; it goes another time.
    with contextlib.suppress(PermissionError):
        path.unlink(missing_ok=True)


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir() or folder.is_symlink():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink())


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.is_symlink())


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


class Cutter:
    """Cuts a stream of frames into blocks of exactly ``rows`` rows, however the stream was cut.

    So the same rows make the same files, whatever the reader's batch size.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._kept: list[pl.DataFrame] = []
        self._height = 0

    def push(self, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Take a frame; give the blocks that are full now."""
        start = 0
        while self._height + frame.height - start >= self._rows:
            take = self._rows - self._height
            self._kept.append(frame.slice(start, take))
            start += take
            yield from self.rest()
        if start < frame.height:
            self._kept.append(frame.slice(start))
            self._height += frame.height - start

    def rest(self) -> Iterator[pl.DataFrame]:
        """Give what is left, if anything."""
        if self._kept:
            block = pl.concat(self._kept)
            self._kept.clear()
            self._height = 0
            yield block
