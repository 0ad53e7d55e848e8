"""The review sheet: accounts near a line, for people to judge; written as CSV and read back in.

The sheet is opened in spreadsheets, so no cell may begin a formula; it comes back edited by hand, so
nothing in it is trusted: sizes are bounded, every row is checked, all findings are told together.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from fintel.bench.intervals import Share
from fintel.bench.margins import BANDS, SIDES, Line, draw
from fintel.bench.measured import Measured
from fintel.bench.sheets import as_given, read_text, rows_of, safe_cell
from fintel.errors import Diagnostic, Location, RuleError

#: What a reviewer may write under ``disposition``; left empty it was not looked at.
DISPOSITIONS = ("suspicious", "clean", "unclear")
CURRENT, SUGGESTED = "current", "suggested"
LINES = (CURRENT, SUGGESTED)
_PLACE = ("side", "band", "population")
_FIXED = (
    "rule", "logic", "key", "account_id", "segment", "jurisdiction", "drawn_for",
    *(f"{line}_{what}" for line in LINES for what in _PLACE), "nearest_at",
)  # fmt: skip
_ANSWERS = ("disposition", "reviewer", "note")
_NEEDED = ("rule", "logic", "key", "drawn_for", "disposition")

MAX_BYTES = 20_000_000
MAX_ROWS = 100_000
MAX_CELL = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Reviewed:
    """One account that was looked at, by its key (``key_of`` its id). ``places``: side and band at each
    line that it was drawn for, with the number of accounts there."""

    key: str
    disposition: str
    places: Mapping[str, tuple[str, str, int]]


@dataclass(frozen=True)
class Review:
    """A sheet that was read: ``reviewed`` are the rows with a disposition, ``rows`` are all."""

    rule: str
    logic: str
    rows: int
    reviewed: tuple[Reviewed, ...]

    def judged(self, accounts: Iterable[str]) -> tuple[dict[str, frozenset[str]], int]:
        """Which of some accounts have each disposition; and how many rows are of none of them."""
        names = {key_of(account): account for account in accounts}
        found: dict[str, set[str]] = {d: set() for d in DISPOSITIONS}
        for one in self.reviewed:
            if one.key in names:
                found[one.disposition].add(names[one.key])
        known = sum(len(ids) for ids in found.values())
        return {d: frozenset(ids) for d, ids in found.items()}, len(self.reviewed) - known


@dataclass(frozen=True)
class BandYield:
    """Suspicious among the judged of one side and band. ``population``: all accounts there.

    An ``unclear`` one is not judged. The expected number in the band is the share times the population.
    """

    line: str
    side: str
    band: str
    population: int
    share: Share

    def as_dict(self) -> dict[str, object]:
        """Plain values for ``--json``."""
        low, high = self.share.interval
        expected = None
        if self.share.value is not None:
            expected = [self.share.value * self.population, low * self.population, high * self.population]
        return {
            "line": self.line, "side": self.side, "band": self.band, "population": self.population,
            "yield": self.share.as_dict(), "expected": expected,
        }  # fmt: skip


def write(measured: Measured, lines: Sequence[Line], *, each: int = 10, seed: int = 7) -> tuple[str, int]:
    """The sheet as CSV text and its number of accounts: up to ``each`` of every side and band of each line.

    Every account stands in it once, however many lines it was drawn for, in random order: the order
    must not tell the reviewer where the line is.
    """
    drawn = draw(list(lines), each=each, seed=seed)
    strata = [
        {(side, band): n for side, band, n in one.strata().select("side", "band", "population").iter_rows()}
        for one in lines
    ]
    accounts = np.unique(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)
    accounts = np.random.default_rng([seed, 14]).permutation(accounts)
    chosen = [set(d.tolist()) for d in drawn]
    out = io.StringIO()
    sheet = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    sheet.writerow([*_FIXED, *(f"measure {name}" for name in measured.measures), *_ANSWERS])
    for account in accounts.tolist():
        about = measured.accounts.row(account, named=True)
        places: dict[str, tuple[str, str, str]] = {}
        for number, one in enumerate(lines):
            stands = one.accounts.row(account, named=True)
            place = (stands["side"], stands["band"] or "")
            places[one.name] = (*place, str(strata[number].get(place, "")))
        # measures at the entry that comes nearest to the first line that it was drawn for
        first = next(i for i, rows in enumerate(chosen) if account in rows)
        point = int(lines[first].accounts["point"][account])
        cells = [
            measured.rule.id, measured.rule.fingerprint, key_of(about["account_id"]), about["account_id"],
            about["segment"] or "", about["jurisdiction"] or "",
            " ".join(one.name for one, rows in zip(lines, chosen, strict=True) if account in rows),
            *(cell for name in LINES for cell in places.get(name, ("", "", ""))),
            (_EPOCH + timedelta(microseconds=int(measured.time[point]))).strftime("%Y-%m-%dT%H:%M:%SZ"),
        ]  # fmt: skip
        numbers = [_number(float(values[point])) for values in measured.measures.values()]
        sheet.writerow([*(safe_cell(c) for c in cells), *numbers, *("" for _ in _ANSWERS)])
    return out.getvalue(), accounts.size


def key_of(account_id: str) -> str:
    """What names an account in a sheet: a spreadsheet turns long numbers into short ones, not this."""
    return "k" + hashlib.sha256(account_id.encode()).hexdigest()[:20]


def _number(value: float) -> str:
    return "" if value != value else f"{value:.6g}"


def read(path: Path) -> Review:
    """Read a sheet that people filled in; columns separated by comma, semicolon or tab.

    Raises
    ------
    RuleError: it is no review sheet, or rows in it are wrong: with every finding, by line.
    """
    text = read_text(path, MAX_BYTES, RuleError)
    try:
        return _parse(text, str(path))
    except csv.Error as error:
        raise RuleError(f"{path.name} is no CSV: {error}") from error


def _parse(text: str, name: str) -> Review:
    lines = rows_of(text)
    header = [h.strip() for h in next(lines, [])][:1000]
    missing = [n for n in _NEEDED if n not in header]
    if missing or len(set(header)) < len(header):
        what = f"has no column {', '.join(missing)}" if missing else "has a column twice"
        raise RuleError(f"{name} is no review sheet: it {what}", hint="fintel rules tune RULE --sheet FILE writes one")
    found: list[Diagnostic] = []
    reviewed: dict[str, Reviewed] = {}
    about: set[tuple[str, str]] = set()
    rows = 0
    for cells in lines:
        here = Location(name, lines.line_num)
        if not any(c.strip() for c in cells):
            continue
        rows += 1
        if rows > MAX_ROWS:
            raise RuleError(f"{name} has more than {MAX_ROWS:,} rows")
        if len(cells) != len(header) or any(len(c) > MAX_CELL for c in cells):
            found.append(
                Diagnostic("R001", f"a row of {len(cells)} cells under {len(header)} columns, or one too long", here)
            )
            continue
        row = {h: as_given(c.strip()) for h, c in zip(header, cells, strict=True)}
        about.add((row["rule"], row["logic"]))
        found.extend(Diagnostic("R001", why, here, hint) for why, hint in _check(row))
        if row["disposition"] and not found:
            one = _reviewed(row)
            before = reviewed.setdefault(one.key, one)
            if before.disposition != one.disposition:
                found.append(Diagnostic("R001", "an account is judged twice, and not alike", here))
    if len(about) > 1:
        found.append(Diagnostic("R001", "rows of several rules or versions", Location(name), "one sheet each"))
    if found:
        raise RuleError(str(found[0]), found[:100], hint=found[0].hint)
    if not about:
        raise RuleError(f"{name} has no rows")
    rule, logic = next(iter(about))
    return Review(rule, logic, rows, tuple(reviewed.values()))


def _check(row: Mapping[str, str]) -> Iterable[tuple[str, str | None]]:
    given = row["disposition"].lower()
    if given and given not in DISPOSITIONS:
        yield f"disposition '{row['disposition'][:40]}'", f"one of: {', '.join(DISPOSITIONS)}, or empty"
    if not re.fullmatch(r"k[0-9a-f]{20}", row["key"]):
        yield "key was changed", "leave this column as it was"
    for line in row["drawn_for"].split():
        if line not in LINES:
            yield f"drawn_for '{line[:40]}'", f"of: {', '.join(LINES)}"
            continue
        side, band, population = (row.get(f"{line}_{what}", "") for what in _PLACE)
        if side not in SIDES or band not in BANDS or not re.fullmatch(r"[0-9]{1,9}", population):
            yield f"{line}_side, {line}_band or {line}_population was changed", "leave these columns as they were"


def _reviewed(row: Mapping[str, str]) -> Reviewed:
    places = {
        line: (row[f"{line}_side"], row[f"{line}_band"], int(row[f"{line}_population"]))
        for line in row["drawn_for"].split()
    }
    return Reviewed(row["key"], row["disposition"].lower(), places)


def yields(review: Review) -> list[BandYield]:
    """Yield of every side and band, from the accounts drawn for that line: those of the other line
    are no random sample of the band."""
    counted: dict[tuple[str, str, str], list[int]] = {}
    for one in review.reviewed:
        if one.disposition == "unclear":
            continue
        for line, (side, band, population) in one.places.items():
            tally = counted.setdefault((line, side, band), [0, 0, population])
            tally[0] += one.disposition == "suspicious"
            tally[1] += 1
    order = {(s, b): i for i, (s, b) in enumerate([(s, b) for s in SIDES for b in BANDS])}
    return [
        BandYield(line, side, band, population, Share(hits, of))
        for (line, side, band), (hits, of, population) in sorted(
            counted.items(), key=lambda item: (item[0][0], order[item[0][1], item[0][2]])
        )
    ]
