"""Parquet and JSON Lines, handed on as text like any other feed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from fintel.errors import FeedError
from fintel.feeds.base import MAX_COLUMNS, MAX_RECORD, MAX_SHOWN, BadRow, RawChunk, column_name
from fintel.feeds.codes import BAD_BYTES, BAD_JSON, NUL, TOO_LONG
from fintel.feeds.mapping import FileSpec
from fintel.feeds.streams import BOMB_BYTES, BOMB_RATIO, blocks

_SAMPLE_LINES = 2_000
_NESTED = (pl.List, pl.Array, pl.Struct, pl.Object, pl.Binary)
#: Whole numbers below this are exact in a float; above it digits are already lost.
_EXACT = 2.0**53
#: Keeps numbers as the text that stands in the file.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
#: Lines, and bytes of them, decoded before their Python objects are let go.
_LINES, _LINE_BYTES = 20_000, 16 << 20
#: A chunk is handed on once it holds this many bytes, whatever the number of rows asked for.
_MAX_CHUNK_BYTES = 256 << 20
#: Rows of a Parquet file read first, to learn how heavy they are.
_FIRST_SLICE = 2_000
#: Bytes of the lines that a header is made of.
_SAMPLE_BYTES = 64 << 20


class ParquetReader:
    """A Parquet file. ``source_row`` counts rows from 1."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._schema = pl.read_parquet_schema(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            hint = "export it once more, or rename it if it is CSV or JSON Lines"
            raise FeedError(f"not a readable Parquet file: {error}", hint=hint, location=path) from error
        if len(self._schema) > MAX_COLUMNS:
            raise FeedError(f"{path.name} has {len(self._schema):,} columns; {MAX_COLUMNS:,} are allowed")
        self.header = tuple(self._schema)

    def chunks(self, columns: Sequence[int], rows: int) -> Iterator[RawChunk]:
        """See ``Reader``."""
        names = list(self._schema)
        # Without a column to read the rows could not be counted off.
        wanted = list(columns) or list(range(len(names)))[:1]
        for i in wanted:
            if isinstance(self._schema[names[i]], _NESTED):
                raise FeedError(f"{self._path.name}: column '{names[i]}' is nested; flatten it first")
        text = [_as_text(names[i], self._schema[names[i]]).alias(column_name(i)) for i in wanted]
        done = 0
        try:
            for parts in _gathered(self._slices([names[i] for i in wanted], rows), rows):
                whole = pl.concat([part.select(text) for part in parts])
                number = pl.int_range(done + 1, done + whole.height + 1, dtype=pl.Int64)
                yield _without_nul(whole.with_columns(source_row=number))
                done += whole.height
        except pl.exceptions.PolarsError as error:
            raise FeedError(f"{self._path.name} is damaged: {error}", location=self._path) from error
        if not done:
            schema = {**{column_name(i): pl.String for i in columns}, "source_row": pl.Int64}
            yield RawChunk(pl.DataFrame(schema=schema))

    def _slices(self, names: list[str], rows: int) -> Iterator[tuple[pl.DataFrame, pl.Series]]:
        """Rows as they stand in the file, and the text bytes of each.

        A value of a dictionary is held once however often it stands in the column, so a few bytes may
        speak of terabytes: nothing is turned into text before its size is known.
        """
        lazy = pl.scan_parquet(self._path).select(names)
        count = int(lazy.select(pl.len()).collect().item())
        total, step, at = 0, _FIRST_SLICE, 0
        self._bounded(count * len(names))
        while at < count:
            native = lazy.slice(at, min(step, rows)).collect()
            if not native.height:
                raise FeedError(f"{self._path.name} is damaged: {count:,} rows are stated, {at:,} found")
            heavy = _text_bytes(native)
            total += int(heavy.sum())
            self._bounded(total)
            yield native, heavy
            at += native.height
            # The next slice is as large as rows like these allow, but not much larger at once.
            fitting = _MAX_CHUNK_BYTES * native.height // max(int(heavy.sum()), 1)
            step = max(1, min(8 * step, fitting))

    def _bounded(self, size: int) -> None:
        packed = self._path.stat().st_size
        if size > max(BOMB_BYTES, packed * BOMB_RATIO):
            raise FeedError(f"{self._path.name} unpacks to far more than it should", location=self._path)


def _text_bytes(native: pl.DataFrame) -> pl.Series:
    """Bytes of text in each row; other values are short."""
    sizes = [
        (pl.col(n).str.len_bytes() if dtype == pl.String else pl.col(n).cat.len_bytes()).cast(pl.Int64)
        for n, dtype in native.schema.items()
        if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum))
    ]
    if not sizes:
        return pl.Series([0], dtype=pl.Int64).new_from_index(0, native.height)
    return native.select(pl.sum_horizontal(sizes).alias("size"))["size"]


def _gathered(slices: Iterable[tuple[pl.DataFrame, pl.Series]], rows: int) -> Iterator[list[pl.DataFrame]]:
    """Pieces that make a chunk: at most ``rows`` rows, and ``_MAX_CHUNK_BYTES`` of text or one row."""
    parts: list[pl.DataFrame] = []
    held = size = 0
    for native, heavy in slices:
        for piece, weights in _pieces(native, heavy):
            while piece.height:
                weight = int(weights.head(rows - held).sum())
                if parts and size + weight > _MAX_CHUNK_BYTES:
                    yield parts
                    parts, held, size = [], 0, 0
                    continue
                some, piece, weights = piece.head(rows - held), piece.slice(rows - held), weights.slice(rows - held)
                parts.append(some)
                held, size = held + some.height, size + weight
                if held == rows:
                    yield parts
                    parts, held, size = [], 0, 0
    if parts:
        yield parts


def _pieces(native: pl.DataFrame, heavy: pl.Series) -> Iterator[tuple[pl.DataFrame, pl.Series]]:
    """A slice cut so that no piece has more text than a chunk may have and one row besides."""
    if int(heavy.sum()) <= _MAX_CHUNK_BYTES:
        yield native, heavy
        return
    at = 0
    for height in (heavy.cum_sum() // _MAX_CHUNK_BYTES).rle().struct.field("len"):
        yield native.slice(at, height), heavy.slice(at, height)
        at += height


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as the text that a CSV export would hold. Whole floats lose their '.0'."""
    column = pl.col(name)
    if dtype.is_float():
        whole = column.is_finite() & (column == column.floor()) & (column.abs() < _EXACT)
        as_int = pl.when(whole).then(column).cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(whole).then(as_int).otherwise(column.fill_nan(None).cast(pl.String))
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            return column.dt.convert_time_zone("UTC").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
        return column.dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")
    return column.cast(pl.String)


def _without_nul(frame: pl.DataFrame) -> RawChunk:
    """Rows with a NUL or an over-long value apart from the others."""
    names = [n for n in frame.columns if n != "source_row"]
    if not names:
        return RawChunk(frame)
    nul = pl.any_horizontal(pl.col(n).str.contains("\0", literal=True).fill_null(False) for n in names)
    long = pl.any_horizontal((pl.col(n).str.len_bytes() > MAX_RECORD).fill_null(False) for n in names)
    marked = frame.with_columns(_mark=pl.when(nul).then(NUL).when(long).then(TOO_LONG).otherwise(0))
    bad = marked.filter(pl.col("_mark") > 0)
    if not bad.height:
        return RawChunk(frame)
    text = pl.concat_str(names, separator=",", ignore_nulls=True).str.slice(0, MAX_SHOWN)
    rows = [BadRow(row, mark, shown) for row, mark, shown in bad.select("source_row", "_mark", text).iter_rows()]
    return RawChunk(marked.filter(pl.col("_mark") == 0).drop("_mark"), rows)


class JsonLinesReader:
    """A JSON Lines file: one object a line; nested objects are reached by dots (``debtor.name``).

    Numbers are kept as the text that stands in the file, so no digit is lost. The header is made of
    the keys of the first 2,000 lines (or, of long ones, the first 64 MB).
    """

    def __init__(self, path: Path, spec: FileSpec) -> None:
        self._path = path
        self._encoding = spec.encoding
        keys: dict[str, None] = {}
        read = 0
        for _, line in islice(self._lines(), _SAMPLE_LINES):
            keys.update(dict.fromkeys(_object(line) or ()))
            # Within the loop: a line may have tens of thousands, each a new one.
            if len(keys) > MAX_COLUMNS:
                raise FeedError(f"{path.name} has more than {MAX_COLUMNS:,} keys; as many are allowed", location=path)
            read += len(line)
            if read > _SAMPLE_BYTES:
                break
        self.header = tuple(keys)

    def chunks(self, columns: Sequence[int], rows: int) -> Iterator[RawChunk]:
        """See ``Reader``."""
        wanted = {self.header[i]: column_name(i) for i in columns}
        schema = dict.fromkeys(wanted.values(), pl.String)
        lines = self._lines()
        left, size, parts = rows, 0, list[RawChunk]()
        first = True
        while (some := _some(lines, min(left, _LINES))) or first or parts:
            first = False
            parts.append(self._part(some, wanted, schema))
            left -= len(some)
            size += sum(len(line) for _, line in some)
            if not left or not some or size >= _MAX_CHUNK_BYTES:
                yield RawChunk(pl.concat([p.frame for p in parts]), [b for p in parts for b in p.bad])
                left, size, parts = rows, 0, []

    def _part(
        self, some: list[tuple[int, bytes]], wanted: dict[str, str], schema: dict[str, type[pl.String]]
    ) -> RawChunk:
        objects = [_object(line) for _, line in some]
        bad = [
            BadRow(number, _why(line), line[: 4 * MAX_SHOWN].decode("utf-8", "replace")[:MAX_SHOWN])
            for (number, line), found in zip(some, objects, strict=True)
            if found is None
        ]
        good = [found for found in objects if found is not None]
        frame = pl.DataFrame(
            {short: [o.get(name) for o in good] for name, short in wanted.items()}, schema=schema
        ).with_columns(
            source_row=pl.Series([n for (n, _), o in zip(some, objects, strict=True) if o is not None], dtype=pl.Int64)
        )
        checked = _without_nul(frame)
        return RawChunk(checked.frame, sorted(bad + checked.bad, key=lambda b: b.source_row))

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Line number and bytes of every line that is not blank; an over-long one is cut."""
        number, rest = 1, b""
        for block in blocks(self._path, self._encoding):
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                if line.strip():
                    yield number, line
                number += 1
            rest = rest[: MAX_RECORD + 1]
        if rest.strip():
            yield number, rest


def _some(lines: Iterator[tuple[int, bytes]], most: int) -> list[tuple[int, bytes]]:
    """The next lines: at most so many, and about ``_LINE_BYTES``."""
    taken: list[tuple[int, bytes]] = []
    size = 0
    for number, line in islice(lines, most):
        taken.append((number, line))
        size += len(line)
        if size >= _LINE_BYTES:
            break
    return taken


def _object(line: bytes) -> dict[str, str | None] | None:
    """The object's values as text, dotted keys for nested ones; None if it is not one."""
    if len(line) > MAX_RECORD:
        return None
    try:
        found = _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    flat: dict[str, str | None] = {}
    _flatten(found, "", flat, 0)
    return flat


def _flatten(value: dict[str, Any], prefix: str, flat: dict[str, str | None], depth: int) -> None:
    for key, item in value.items():
        if item is None or isinstance(item, str):
            flat[prefix + key] = item
        elif isinstance(item, bool):
            flat[prefix + key] = "true" if item else "false"
        elif isinstance(item, dict) and depth < 4:
            _flatten(item, f"{prefix}{key}.", flat, depth + 1)
        else:
            flat[prefix + key] = json.dumps(item, ensure_ascii=False)


def _why(line: bytes) -> int:
    if len(line) > MAX_RECORD:
        return TOO_LONG
    try:
        line.decode()
    except UnicodeDecodeError:
        return BAD_BYTES
    return BAD_JSON
