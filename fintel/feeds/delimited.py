"""Delimited text (CSV and its kin), streamed: any delimiter, quoting, encoding, gzip or Zstandard."""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fintel.errors import FeedError, Location
from fintel.feeds.base import MAX_COLUMNS, MAX_RECORD, MAX_SHOWN, BadRow, RawChunk, column_name
from fintel.feeds.codes import BAD_BYTES, RAGGED
from fintel.feeds.mapping import FileSpec
from fintel.feeds.scan import BLANK, records
from fintel.feeds.streams import blocks

#: A chunk is handed on once it holds this many bytes, whatever the number of rows asked for.
_MAX_CHUNK_BYTES = 256 << 20

Ints = np.ndarray[Any, np.dtype[np.int64]]


class DelimitedReader:
    """A delimited file. The header is read at once, rows when asked for.

    ``source_row`` is the physical line on which a record begins, the first line of the file being
    1; line breaks inside quotes are counted, so the number is the one an editor shows.
    """

    def __init__(self, path: Path, spec: FileSpec) -> None:
        self._path = path
        self._spec = spec
        self._quote = spec.quote if spec.quote != "none" else None
        self.header = self._read_header()

    def chunks(self, columns: Sequence[int], rows: int) -> Iterator[RawChunk]:
        """See ``Reader``."""
        first_line = self._spec.header_row + 1 if self._spec.header_row else self._spec.skip_rows + 1
        frames: list[pl.DataFrame] = []
        bad: list[BadRow] = []
        held = size = 0
        yielded = False
        for part in self._parts(columns, first_line):
            frames.append(part.frame)
            bad += part.bad
            held += part.rows_read
            size += int(part.frame.estimated_size())
            if held >= rows or size > _MAX_CHUNK_BYTES:
                whole = RawChunk(pl.concat(frames), bad)
                for piece in _pieces(whole, rows):
                    if piece.rows_read == rows or size > _MAX_CHUNK_BYTES:
                        yield piece
                        yielded = True
                        frames, bad, held, size = [], [], 0, 0
                    else:
                        frames, bad, held = [piece.frame], piece.bad, piece.rows_read
                        size = int(piece.frame.estimated_size())
        if held or not yielded:
            yield RawChunk(pl.concat(frames) if frames else _empty(columns), bad)

    def _read_header(self) -> tuple[str, ...]:
        line, text = self._first_record()
        try:
            fields = next(csv.reader([text], delimiter=self._spec.delimiter, **self._dialect()), [])
        except csv.Error as error:
            raise FeedError(
                f"line {line} is no header: {error}",
                hint="check 'delimiter', 'quote' and 'header_row'; is it a text file?",
                location=Location(str(self._path), line),
            ) from error
        if len(fields) > MAX_COLUMNS:
            raise FeedError(f"{self._path.name} has {len(fields):,} columns; {MAX_COLUMNS:,} are allowed")
        if not self._spec.header_row:
            return ("",) * len(fields)
        if not any(f.strip() for f in fields):
            raise FeedError(f"{self._path.name} has no header on line {line}", hint="set 'header_row'")
        return tuple(unicodedata.normalize("NFC", f.strip()) for f in fields)

    def _dialect(self) -> dict[str, Any]:
        return {"quotechar": self._quote} if self._quote else {"quoting": csv.QUOTE_NONE}

    def _first_record(self) -> tuple[int, str]:
        """The header record, or the first row of a file without a header."""
        wanted = self._spec.header_row or self._spec.skip_rows + 1
        for line, data, found in self._records(wanted):
            starts, ends, _, _, marks = found
            for i in range(len(starts)):
                if marks[i] == BLANK and not self._spec.header_row:
                    continue
                return line, bytes(data[starts[i] : ends[i]]).decode("utf-8", "replace")
        if not self._spec.header_row:
            return wanted, ""
        raise FeedError(
            f"{self._path.name} is empty: there is no line {wanted}",
            hint="an empty feed needs at least its header",
            location=self._path,
        )

    def _records(self, first_line: int) -> Iterator[tuple[int, np.ndarray[Any, Any], tuple[Ints, ...]]]:
        """Blocks of whole records from physical line ``first_line`` on."""
        delimiter = ord(self._spec.delimiter)
        quote = ord(self._quote) if self._quote else -1
        skip = first_line - 1
        line = first_line
        rest = b""
        for block in blocks(self._path, self._spec.encoding):
            final = not block
            data = rest + block
            while skip and (end := data.find(b"\n")) >= 0:
                data = data[end + 1 :]
                skip -= 1
            if skip:
                rest = b""
                if final:
                    return
                continue
            array = np.frombuffer(data, np.uint8)
            found, consumed, next_line = records(array, delimiter, quote, line, final, MAX_RECORD)
            yield line, array, found
            line = next_line
            # Of a record longer than the limit only its beginning is kept: it is refused anyway.
            rest = data[consumed : consumed + 2 * MAX_RECORD]
            if final:
                return

    def _parts(self, columns: Sequence[int], first_line: int) -> Iterator[RawChunk]:
        width = len(self.header)
        for _, data, (starts, ends, lines, fields, marks) in self._records(first_line):
            marks = marks.copy()
            marks[(marks == 0) & (fields != width)] = RAGGED
            if self._spec.encoding in ("auto", "utf-8"):
                _mark_bad_bytes(data, starts, ends, marks)
            else:
                _mark_replaced(data, starts, marks)
            wrong = np.flatnonzero(marks > 0)
            bad = [BadRow(int(lines[i]), int(marks[i]), _shown(data, starts[i], ends[i])) for i in wrong]
            good = np.flatnonzero(marks == 0)
            frame = self._parse(_keep(data, starts, ends, marks), columns, width, len(good))
            yield RawChunk(frame.with_columns(source_row=pl.Series(lines[good], dtype=pl.Int64)), bad)

    def _parse(self, text: bytes, columns: Sequence[int], width: int, rows: int) -> pl.DataFrame:
        if not rows:
            return _empty(columns).drop("source_row")
        wanted = sorted(set(columns)) or [0]
        frame = pl.read_csv(
            io.BytesIO(text),
            has_header=False,
            separator=self._spec.delimiter,
            quote_char=self._quote,
            infer_schema=False,
            schema={column_name(i): pl.String for i in range(width)},
            columns=wanted,
            raise_if_empty=False,
        )
        if frame.height != rows:
            raise FeedError(
                f"{self._path.name}: {rows} records, {frame.height} rows; it cannot be read safely",
                hint="check 'delimiter' and 'quote'",
            )
        return frame.select([column_name(i) for i in columns] if columns else frame.columns)


def _empty(columns: Sequence[int]) -> pl.DataFrame:
    return pl.DataFrame(schema={**{column_name(i): pl.String for i in columns or [0]}, "source_row": pl.Int64})


def _pieces(chunk: RawChunk, rows: int) -> Iterator[RawChunk]:
    """Cut a chunk so that every piece but the last accounts for exactly ``rows`` rows."""
    good = chunk.frame["source_row"].to_numpy()
    wrong = np.fromiter((b.source_row for b in chunk.bad), np.int64, len(chunk.bad))
    order = np.sort(np.concatenate([good, wrong]))
    g = b = 0
    for begin in range(0, len(order), rows):
        last = order[min(begin + rows, len(order)) - 1]
        g2, b2 = int(np.searchsorted(good, last, "right")), int(np.searchsorted(wrong, last, "right"))
        yield RawChunk(chunk.frame.slice(g, g2 - g), chunk.bad[b:b2])
        g, b = g2, b2


def _keep(data: np.ndarray[Any, Any], starts: Ints, ends: Ints, marks: Ints) -> bytes:
    """The bytes of the good records only."""
    if not len(starts):
        return b""
    edges = np.append(starts[1:], ends[-1])
    if not marks.any():
        return bytes(data[: edges[-1]])
    good = np.concatenate([[False], marks == 0, [False]])
    begin = np.flatnonzero(~good[:-1] & good[1:])
    stop = np.flatnonzero(good[:-1] & ~good[1:]) - 1
    # A kept run ends with its own line break, so that the next run starts a new line.
    return b"\n".join(bytes(data[starts[i] : ends[j]]) for i, j in zip(begin, stop, strict=True))


def _shown(data: np.ndarray[Any, Any], start: int, end: int) -> str:
    return bytes(data[start : min(end, start + 4 * MAX_SHOWN)]).decode("utf-8", "replace")[:MAX_SHOWN]


def _mark_bad_bytes(data: np.ndarray[Any, Any], starts: Ints, ends: Ints, marks: Ints) -> None:
    """Mark records that are not UTF-8. Costs one pass, plus one step for each bad record."""
    if not len(starts):
        return
    view = data.tobytes()
    if view.isascii():
        return
    position, last = 0, int(ends[-1])
    while position < last:
        try:
            codecs.utf_8_decode(memoryview(view)[position:last], "strict", True)
        except UnicodeDecodeError as error:
            record = int(np.searchsorted(starts, position + error.start, "right")) - 1
            if marks[record] == 0:
                marks[record] = BAD_BYTES
            position = int(starts[record + 1]) if record + 1 < len(starts) else last
        else:
            return


def _mark_replaced(data: np.ndarray[Any, Any], starts: Ints, marks: Ints) -> None:
    """Mark records in which decoding had to put U+FFFD."""
    text = data.tobytes()
    position = text.find(b"\xef\xbf\xbd")
    while position >= 0 and len(starts):
        record = int(np.searchsorted(starts, position, "right")) - 1
        if marks[record] == 0:
            marks[record] = BAD_BYTES
        if record + 1 >= len(starts):
            return
        position = text.find(b"\xef\xbf\xbd", int(starts[record + 1]))
