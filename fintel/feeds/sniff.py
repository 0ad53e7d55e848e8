"""Propose a mapping for an unknown file, and say what is unsure."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from fintel.errors import FeedError
from fintel.feeds import values
from fintel.feeds.base import column_name
from fintel.feeds.mapping import FileSpec, Mapping
from fintel.feeds.mapping_loader import load, shipped
from fintel.feeds.reading import EMPTY, files_of, format_of, not_there, open_reader, part_by_name
from fintel.feeds.sniff_content import Content, inspect
from fintel.feeds.sniff_words import PAYMENT
from fintel.feeds.sniff_yaml import write
from fintel.feeds.streams import opened, read_full

SAMPLE_ROWS = 5_000
_SAMPLE_BYTES = 1 << 20
_DELIMITERS = (",", ";", "\t", "|")
_ANY_FILL = [{"table": "transactions", "columns": "canonical"}]


@dataclass(frozen=True, slots=True)
class Guess:
    """One source column: what it is taken for (None: left out), how sure (0 to 1), and why."""

    position: int
    name: str
    target: str | None
    confidence: float
    content: Content


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed mapping. ``yaml`` is a valid mapping text with the doubts as comments; where the
    order of day and month cannot be told, its format matches nothing until a person chooses.
    ``recognised`` names the shipped mapping that fits, if one does."""

    recognised: str | None
    spec: FileSpec
    guesses: tuple[Guess, ...]
    doubts: tuple[str, ...]
    yaml: str


def recognise(path: Path) -> str | None:
    """The shipped mapping whose files stand at ``path`` (a file or folder), told by their headers.

    The mapping that fits most files wins; of equals, the one that asks for more columns.
    """
    if not path.exists():
        return None
    files = [path] if path.is_file() else files_of(path)
    best: tuple[int, int, str] | None = None
    for name in shipped():
        mapping = load(name)
        chosen = [(part, f) for f in files if (part := part_by_name(f, mapping)) is not None]
        if not chosen:
            continue
        fits = len({file for _, file in chosen})
        rank = (fits, sum(len(mapping.files[part].requires) for part, _ in chosen), name)
        best = max(best, rank) if best is not None else rank
    return best[2] if best is not None else None


def sniff(path: Path) -> Proposal:
    """Propose a mapping for a CSV, Parquet or JSON Lines file from its first 5,000 rows.

    Raises
    ------
    FeedError: not a file, empty, or no table can be made out.
    """
    if path.is_dir():
        raise FeedError(f"{path.name} is a folder", hint=f"name one file, e.g. {next(iter(files_of(path)), path)}")
    if not path.is_file():
        raise not_there(path)
    doubts: list[str] = []
    spec = _form(path, doubts)
    reader = open_reader(path, spec)
    columns = range(len(reader.header))
    chunk = next(iter(reader.chunks(columns, SAMPLE_ROWS)))
    if not chunk.frame.height:
        doubts.append("the file has no rows: names of columns are all there is to go by")
    if chunk.bad:
        share = f"{len(chunk.bad)} of the first {chunk.rows_read} rows"
        doubts.append(f"{share} cannot be taken apart; the first is line {chunk.bad[0].source_row}")
    sample = chunk.frame.select(values.clean(pl.col(column_name(i)), ()) for i in columns)
    lines = chunk.frame["source_row"]
    contents = [inspect(sample[column_name(i)], lines, reader.header[i]) for i in columns]
    guesses = _assign(reader.header, contents)
    for guess in guesses:
        if guess.target is None and guess.content.formats and not guess.content.numbers.digits:
            doubts.append(f"{guess.name!r} holds dates too and is not used")
        if guess.target is not None and guess.confidence < 0.7 and not guess.target.startswith("_"):
            doubts.append(f"{guess.name!r} is only perhaps {guess.target}")
    found = recognise(path)
    text, more = write(path, spec, reader.header, guesses, found, doubts)
    return Proposal(found, spec, guesses, (*doubts, *more), text)


def _form(path: Path, doubts: list[str]) -> FileSpec:
    """How the file is to be read: format, encoding, delimiter, where the header stands."""
    form = format_of(path, FileSpec.model_validate({"fill": _ANY_FILL}))
    if form != "csv":
        return FileSpec.model_validate({"format": form, "fill": _ANY_FILL})
    with opened(path) as stream:
        raw = read_full(stream, _SAMPLE_BYTES, path)
    if not raw.strip():
        raise FeedError("the file is empty", hint=EMPTY, location=path)
    encoding, text = _decoded(raw, doubts)
    lines = text.splitlines(keepends=True)
    if len(lines) > 1 and not text.endswith(("\n", "\r")):
        lines.pop()
    delimiter, width = _delimiter(lines)
    if width < 2:
        doubts.append("no delimiter was found: the file seems to have one column")
    header_row, skip = _header(lines, delimiter, width, doubts)
    return FileSpec.model_validate(
        {
            "format": "csv", "encoding": encoding, "delimiter": delimiter, "header_row": header_row,
            "skip_rows": skip, "fill": _ANY_FILL,
        }
    )  # fmt: skip


def _decoded(raw: bytes, doubts: list[str]) -> tuple[str, str]:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "auto", raw.decode("utf-16", "replace")
    zeros = (raw[:4000:2].count(0), raw[1:4000:2].count(0))
    if max(zeros) > len(raw[:4000]) // 8:
        encoding = "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
        doubts.append(f"the file has no byte order mark; every other byte is zero, so {encoding} is taken")
        return encoding, raw.decode(encoding, "replace")
    try:
        return "auto", codecs.utf_8_decode(raw, "strict", False)[0].removeprefix("\ufeff")
    except UnicodeDecodeError:
        doubts.append("the file is not UTF-8; Windows-1252 is taken, check letters with accents")
        return "cp1252", raw.decode("cp1252", "replace")


def _delimiter(lines: list[str]) -> tuple[str, int]:
    """The delimiter that gives the most lines the same number of fields, and that number."""
    best = (0.0, 1, ",")
    for delimiter in _DELIMITERS:
        widths = Counter(len(f) for f in _fields(lines[:200], delimiter) if f)
        if widths:
            width, often = max(widths.items(), key=lambda w: (w[1] * (w[0] > 1), w[0]))
            if width > 1:
                best = max(best, (often / widths.total(), width, delimiter))
    return best[2], best[1]


def _fields(lines: list[str], delimiter: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO("".join(lines).replace("\0", "")), delimiter=delimiter)
    try:
        return list(islice(reader, 200))
    except csv.Error:
        return [line.rstrip("\r\n").split(delimiter) for line in lines]


def _header(lines: list[str], delimiter: str, width: int, doubts: list[str]) -> tuple[int, int]:
    """(line of the header or 0, lines to skip)."""
    for i, line in enumerate(lines[:50]):
        try:
            fields = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            continue
        if len(fields) != width or sum(bool(f.strip()) for f in fields) < width / 2:
            continue
        content = [f.strip() for f in fields if f.strip()]
        if any(f.replace(".", "").replace(",", "").replace("-", "").isdigit() for f in content):
            doubts.append("the file seems to have no header: columns are named by position")
            return 0, i
        if i:
            doubts.append(f"{i} line(s) above the header are left out")
        return i + 1, 0
    return 1, 0


def _assign(header: tuple[str, ...], contents: list[Content]) -> tuple[Guess, ...]:
    """Give each target at most one column and each column at most one target, best matches first."""
    scored: list[tuple[float, int, str]] = []
    for i, (name, content) in enumerate(zip(header, contents, strict=True)):
        for target, words in PAYMENT.items():
            score = _by_name(values.fold(name), words) * _by_content(target, content)
            score = max(score, _by_content_alone(target, content))
            if score >= 0.4:
                scored.append((score, -i, target))
    taken: dict[int, tuple[str, float]] = {}
    used: set[str] = set()
    twice = [i for i, h in enumerate(header) if values.fold(h) in PAYMENT["own_account_id"]]
    if len(twice) == 2 and header[twice[0]] == header[twice[1]]:
        # Two columns of one name: payer first, as research sets have it; a doubt says so.
        taken = {twice[0]: ("debtor_account_id", 0.6), twice[1]: ("creditor_account_id", 0.6)}
        used = {"debtor_account_id", "creditor_account_id", "own_account_id"}
    for score, place, target in sorted(scored, reverse=True):
        if -place not in taken and target not in used:
            taken[-place] = (target, score)
            used.add(target)
    nothing: tuple[str | None, float] = (None, 0.0)
    return tuple(
        Guess(i, name, *taken.get(i, nothing), content)
        for i, (name, content) in enumerate(zip(header, contents, strict=True))
    )


def _by_name(name: str, words: tuple[str, ...]) -> float:
    """How well a folded header fits a list of names: 1 for the first exact one, less further down."""
    if name in words:
        return 1.0 - 0.15 * words.index(name) / len(words)
    padded = f" {name} "
    inside = [len(w) for w in words if f" {w} " in padded]
    return 0.5 + 0.25 * max(inside) / max(len(name), 1) if inside else 0.0


def _by_content(target: str, content: Content) -> float:
    """0 where the values forbid the target, up to 1 where they fit it."""
    if not content.distinct:
        return 0.6
    dated = bool(content.formats or content.epoch)
    if target == "booked_at":
        return 1.0 if content.formats else 0.7 if content.epoch else 0.0
    if target == "_time":
        return 1.0 if content.times and not content.formats else 0.0
    if target in ("place_latitude", "place_longitude"):
        # A misfit would have its whole row refused: places are not worth that.
        return 1.0 if content.number and not content.whole and content.numbers.misfits is None else 0.0
    if target in ("amount", "_debit", "_credit"):
        return 1.0 if content.number and not (content.formats and content.numbers.digits) else 0.0
    if target == "currency":
        return 1.0 if content.currency else 0.0
    if target in ("debtor_country", "creditor_country", "ip_country"):
        return 1.0 if content.country else 0.0
    if target == "_flag":
        return 1.0 if content.distinct <= 3 and not content.number else 0.0
    if target == "_label":
        few = {w.lower() for w in content.words} <= {"0", "1", "true", "false", "yes", "no"}
        return 1.0 if few else 0.0
    if target == "merchant_category_code":
        return 1.0 if content.whole and content.numbers.misfits is None and content.length == 4 else 0.0
    if target in ("instrument", "channel"):
        return 0.9 if content.distinct <= 40 and not content.number and not dated else 0.0
    if target.endswith("name") or target in ("remittance_information", "relationship"):
        return 0.0 if content.number or dated or content.iban else 0.9
    decimals = content.number and not content.whole
    return 0.0 if decimals or (bool(content.formats) and not content.numbers.digits) else 0.95


def _by_content_alone(target: str, content: Content) -> float:
    """Targets that can be told by values whatever the header says."""
    if not content.distinct or content.filled < 0.5:
        return 0.0
    if target == "booked_at" and content.formats and not content.numbers.digits:
        return 0.4
    if target == "currency" and content.currency and content.length == 3:
        return 0.4
    if target == "own_account_id" and content.iban:
        return 0.45
    if target == "counterparty_account_id" and content.iban:
        return 0.44
    return 0.0


def proposed(proposal: Proposal) -> Mapping:
    """The proposal as a mapping, checked like any other."""
    from fintel.feeds.mapping_loader import MappingError, parse

    mapping, found = parse(proposal.yaml, "proposal.yaml")
    if mapping is None or found:
        raise MappingError("the proposal is not a valid mapping", found)
    return mapping
