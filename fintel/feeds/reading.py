"""Read a feed: find its files, open them, hand on conformed batches."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Dict
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

import polars as pl

from fintel.errors import FeedError, did_you_mean
from fintel.feeds.base import CHUNK_ROWS, Batch, Reader, identify
from fintel.feeds.columnar import JsonLinesReader, ParquetReader
from fintel.feeds.conform import Plan, conform
from fintel.feeds.delimited import DelimitedReader
from fintel.feeds.mapping import FileSpec, Mapping, Name, Names
from fintel.feeds.mapping_checks import DEFAULTS, TABLES, specs

_PACKED = (".gz", ".zst", ".zstd")
_FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".psv": "csv", ".dat": "csv",
}  # fmt: skip
#: Files of a folder that are looked at; a folder with more is not a feed.
_MAX_FILES = 10_000
#: What to say to who brings an empty file.
EMPTY = "a feed needs at least its header; export it once more"


def read(
    path: Path | Dict[str, Path],
    mapping: Mapping,
    *,
    source: str | None = None,
    base_currency: str = "USD",
    rates: pl.DataFrame | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> Iterator[Batch]:
    """Conformed batches of a feed.

    Parameters
    ----------
    path: a file; a folder, whose files are told apart by the mapping's ``match`` and ``requires``;
        or files by their names in the mapping.
    source: first part of derived ids and the value of ``source``; the mapping's own unless given.
    base_currency: ISO 4217; what ``amount_base`` is in.
    rates: as ``domain.schema.RATES``. Rates that the feed itself brings are read first and added.
    chunk_rows: rows read at once; memory grows with it, results do not depend on it.

    Raises
    ------
    FeedError: no file fits the mapping, a file is damaged, or it lacks a column that is mapped.
        A row that does not conform never raises.
    """
    if chunk_rows < 1:
        raise FeedError("chunk_rows is at least 1")
    known = rates
    for name, file in _rates_first(select(path, mapping), mapping):
        spec = mapping.files[name]
        reader = open_reader(file, spec)
        feed = identify(file, source or mapping.source, mapping.mapping, mapping.text)
        plan = Plan(name, spec, feed, resolve(reader.header, spec, file), base_currency, known)
        brought: list[pl.DataFrame] = []
        for chunk in reader.chunks(plan.used(), chunk_rows):
            for batch in conform(chunk, plan):
                if batch.table == "rates":
                    brought.append(batch.frame)
                yield batch
        if brought:
            known = pl.concat([*([known] if known is not None else []), *brought], how="diagonal")


def select(path: Path | Dict[str, Path], mapping: Mapping) -> list[tuple[str, Path]]:
    """Which file is read by which part of the mapping, in the order of the mapping."""
    if not isinstance(path, Path):
        for name in path:
            if name not in mapping.files:
                hint = did_you_mean(name, mapping.files) or f"it has: {', '.join(mapping.files)}"
                raise FeedError(f"mapping '{mapping.mapping}' has no file '{name}'", hint=hint)
        return [(part, path[part]) for part in mapping.files if part in path]
    if not path.exists():
        raise not_there(path)
    files = [path] if path.is_file() else files_of(path)
    fitting = [(part_by_name(file, mapping), file) for file in files]
    if path.is_file() and fitting[0][0] is None:
        fitting = [(part_by_header(path, mapping), path)]
    chosen = [(name, file) for name, file in fitting if name is not None]
    if not chosen:
        wanted = "; ".join(_wanted(name, spec) for name, spec in mapping.files.items())
        message = f"nothing in {path.name} fits mapping '{mapping.mapping}'"
        raise FeedError(message, hint=f"it wants {wanted}", location=path)
    order = list(mapping.files)
    return sorted(chosen, key=lambda c: (order.index(c[0]), c[1].name))


def not_there(path: Path) -> FeedError:
    """There is no such file; the hint names one that is called much alike, or what the folder holds."""
    folder = path.parent
    try:
        names = sorted(f.name for f in islice(folder.iterdir(), _MAX_FILES) if not f.name.startswith("."))
    except OSError as error:
        return FeedError(f"there is no {path}", hint=f"folder {folder}: {error.strerror}")
    some = f"{folder.resolve()} holds {', '.join(names[:5]) or 'nothing'}{', …' if names[5:] else ''}"
    return FeedError(f"there is no {path}", hint=did_you_mean(path.name, names) or some)


def files_of(folder: Path) -> list[Path]:
    """The files that stand in a folder itself, by name; hidden ones and links are left out.

    Who may write into a feed's folder is not thereby given what the reader may read.
    """
    found = sorted(f for f in folder.iterdir() if not f.is_symlink() and f.is_file() and not f.name.startswith("."))
    if len(found) > _MAX_FILES:
        raise FeedError(f"{folder} holds {len(found):,} files; {_MAX_FILES:,} are allowed")
    return found


def format_of(path: Path, spec: FileSpec) -> str:
    """csv, parquet or jsonl: as the mapping says, else by the name's ending."""
    if spec.format != "auto":
        return spec.format
    name = path.name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return _FORMATS.get(Path(name).suffix, "csv")


def open_reader(path: Path, spec: FileSpec) -> Reader:
    """The reader for a file."""
    kind = format_of(path, spec)
    if kind == "parquet":
        return ParquetReader(path)
    if kind == "jsonl":
        return JsonLinesReader(path, spec)
    return DelimitedReader(path, spec)


def resolve(header: tuple[str, ...], spec: FileSpec, path: Path) -> dict[Names, int | None]:
    """Where each source column that the mapping names stands; None for an absent optional one.

    Raises
    ------
    FeedError: a column is missing, or its name stands twice in the header; names the nearest one.
    """
    positions: dict[Names, int | None] = {}
    for fill in spec.fill:
        for target, column in specs(fill).items():
            required = TABLES[fill.table][target].required and (fill.table, target) not in DEFAULTS
            for names in column.sources():
                at = _position(header, names, path)
                if at is None and (required or not column.optional):
                    hint = did_you_mean(str(names[0]), header) or f"it has: {', '.join(header[:40])}"
                    what = " or ".join(f"'{n}'" for n in names)
                    message = f"{path.name} has no column {what}, wanted for {fill.table}.{target}"
                    raise FeedError(message, hint=hint)
                positions[names] = at
        others = [c.column for c in fill.skip_where] + list(fill.id_columns or ())
        for names in others:
            at = _position(header, names, path)
            if at is None:
                close = did_you_mean(str(names[0]), header)
                raise FeedError(f"{path.name} has no column '{names[0]}'", hint=close)
            positions[names] = at
    return positions


def _position(header: tuple[str, ...], names: tuple[Name, ...], path: Path) -> int | None:
    for name in names:
        if isinstance(name, int):
            if name < len(header):
                return name
            continue
        found = [i for i, h in enumerate(header) if h == name] or [
            i for i, h in enumerate(header) if h.lower() == name.strip().lower()
        ]
        if len(found) > 1:
            where = " and ".join(str(i) for i in found)
            raise FeedError(f"{path.name} has the column '{name}' twice", hint=f"name it by position: {where}")
        if found:
            return found[0]
    return None


def header_of(path: Path, spec: FileSpec) -> tuple[str, ...] | None:
    """The header read by this specification, or None if it cannot be."""
    try:
        return open_reader(path, spec).header
    except FeedError:
        return None


def part_by_name(path: Path, mapping: Mapping) -> str | None:
    """The part of a mapping that fits a file by its name and its header."""
    for name, spec in mapping.files.items():
        named = any(fnmatch(path.name.lower(), m.lower()) for m in spec.match)
        if named and (not spec.requires or _has_required(path, spec)):
            return name
    return None


def part_by_header(path: Path, mapping: Mapping) -> str | None:
    """The part of a mapping that fits a file whatever it is called; the only part, if there is one
    that asks for no columns."""
    for name, spec in mapping.files.items():
        if (spec.requires and _has_required(path, spec)) or (not spec.requires and len(mapping.files) == 1):
            return name
    return None


def _has_required(path: Path, spec: FileSpec) -> bool:
    header = header_of(path, spec)
    return header is not None and {r.lower() for r in spec.requires} <= {h.lower() for h in header}


def _rates_first(chosen: list[tuple[str, Path]], mapping: Mapping) -> list[tuple[str, Path]]:
    return sorted(chosen, key=lambda c: all(f.table != "rates" for f in mapping.files[c[0]].fill))


def _wanted(name: str, spec: FileSpec) -> str:
    columns = f" with columns {', '.join(spec.requires)}" if spec.requires else ""
    return f"{name}: {' or '.join(spec.match)}{columns}"
