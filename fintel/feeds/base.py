"""What a reader hands on: chunks of raw rows, and batches of conformed ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import polars as pl

from fintel.domain.feed import FeedInfo

#: Rows of one chunk unless the caller says otherwise.
CHUNK_ROWS = 500_000
#: Bytes of one record or line; a longer one goes to quarantine.
MAX_RECORD = 262_144
#: Columns of a file; more are refused.
MAX_COLUMNS = 2_000
#: Amounts in the base currency above this go to quarantine: sums in units of 10^-5 must stay exact in
#: 64 bits. In its own currency a payment may be larger (a hundred billion rupiah is an ordinary sum).
MAX_AMOUNT = 10**11
#: Characters of a value that quarantine keeps.
MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not even be taken apart: its line, the F code, and how it begins."""

    source_row: int
    code: int
    value: str


@dataclass(frozen=True, slots=True)
class RawChunk:
    """Rows as text: columns ``c0``, ``c1``, … (positions in the file) and ``source_row``."""

    frame: pl.DataFrame
    bad: list[BadRow] = field(default_factory=list)

    @property
    def rows_read(self) -> int:
        """Rows of the file that this chunk accounts for."""
        return self.frame.height + len(self.bad)


class Reader(Protocol):
    """A file opened for reading. ``header`` is known at once; rows come in chunks."""

    @property
    def header(self) -> tuple[str, ...]:
        """Column names in order; empty text where the file has none."""
        ...

    def chunks(self, columns: Sequence[int], rows: int) -> Iterator[RawChunk]:
        """Chunks of at most ``rows`` rows with these columns as text; at least one chunk."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one canonical table from one chunk of one file.

    ``rows_read = frame.height + quarantine.height + rows_skipped``, always.
    """

    table: str
    feed: FeedInfo
    frame: pl.DataFrame
    quarantine: pl.DataFrame
    rows_read: int
    rows_skipped: int


def identify(path: Path, source: str, mapping: str, mapping_text: str) -> FeedInfo:
    """Checksums of a file under a mapping. Reads the whole file once."""
    whole = hashlib.sha256()
    size = 0
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            whole.update(block)
            size += len(block)
    both = whole.copy()
    both.update(mapping_text.encode())
    return FeedInfo(both.hexdigest()[:16], source, mapping, path.name, whole.hexdigest(), size)


def column_name(position: int) -> str:
    """Name of a source column inside a ``RawChunk``."""
    return f"c{position}"
