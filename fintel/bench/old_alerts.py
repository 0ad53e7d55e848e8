"""Alerts of the system in use, from a CSV file that another program wrote: nothing in it is trusted."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fintel.bench.known import CLEARED, SUSPICIOUS
from fintel.bench.sheets import as_given, read_text, rows_of
from fintel.errors import ConfigError, Diagnostic, Location, Severity
from fintel.frames import TIMESTAMP

if TYPE_CHECKING:
    from _csv import Reader

MAX_BYTES = 200_000_000
MAX_ROWS = 2_000_000
MAX_CELL = 2_000
#: Bad rows that are told one by one; of the rest only how many.
MAX_TOLD = 100
NEEDED = ("account_id", "alerted_at")
OPTIONAL = ("rule", "disposition")
#: How systems say that an alert was worth it, and that it was not.
WORDS: dict[str, str] = {
    **dict.fromkeys(
        (
            "suspicious",
            "sar",
            "str",
            "smr",
            "filed",
            "reported",
            "escalated",
            "confirmed",
            "true positive",
            "tp",
            "yes",
            "true",
        ),
        SUSPICIOUS,
    ),
    **dict.fromkeys(
        (
            "clean",
            "cleared",
            "closed",
            "no action",
            "dismissed",
            "not suspicious",
            "false positive",
            "fp",
            "no",
            "false",
        ),
        CLEARED,
    ),
}
_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "account_id": pl.String,
    "alerted_at": TIMESTAMP,
    "rule": pl.String,
    "disposition": pl.String,
}


@dataclass(frozen=True)
class OldAlerts:
    """``alerts``: ``account_id, alerted_at, rule, disposition`` (``suspicious``, ``cleared`` or null), in the
    file's order. ``rows`` were read, of which ``bad`` are left out; ``findings`` say where and why.
    ``unknown``: words for a disposition that are none of ours."""

    alerts: pl.DataFrame
    rows: int
    bad: int
    findings: tuple[Diagnostic, ...]
    unknown: tuple[str, ...] = ()


def read_old_alerts(path: Path) -> OldAlerts:
    """Read the file; columns separated by comma, semicolon or tab, in any order, others passed over.

    A row that cannot be read is told with its line and left out.

    Raises
    ------
    ConfigError: the file as a whole cannot be read, or has no row that can.
    """
    text = read_text(path, MAX_BYTES, ConfigError)
    found = _rows(text, str(path))
    if found.alerts.is_empty():
        why = f"none of its {found.rows:,} rows can be read" if found.rows else "it has no rows"
        hint = str(found.findings[0]) if found.findings else f"columns: {', '.join((*NEEDED, *OPTIONAL))}"
        raise ConfigError(f"{path.name}: {why}", hint=hint)
    return found


def _rows(text: str, name: str) -> OldAlerts:
    lines = rows_of(text)
    places = _places(lines, name)
    good: list[tuple[str, datetime, str | None, str | None]] = []
    findings: list[Diagnostic] = []
    unknown: dict[str, None] = {}
    rows = bad = 0
    while True:
        try:
            cells = next(lines, None)
        except csv.Error as error:
            cells, wrong = [], str(error)
        else:
            wrong = ""
        if cells is None:
            break
        if not wrong and not any(c.strip() for c in cells):
            continue
        rows += 1
        if rows > MAX_ROWS:
            raise ConfigError(f"{name} has more than {MAX_ROWS:,} rows")
        row = wrong or _row(cells, places)
        if isinstance(row, str):
            bad += 1
            if bad <= MAX_TOLD:
                findings.append(Diagnostic("F001", row, Location(name, lines.line_num), severity=Severity.WARNING))
            continue
        account, moment, rule, word = row
        known = WORDS.get(word.lower()) if word else None
        if word and known is None and len(unknown) < MAX_TOLD:
            unknown[word] = None
        good.append((account, moment, rule, known))
    if bad > MAX_TOLD:
        what = f"{bad - MAX_TOLD:,} more rows that cannot be read"
        findings.append(Diagnostic("F001", what, Location(name), severity=Severity.WARNING))
    return OldAlerts(pl.DataFrame(good, schema=_SCHEMA, orient="row"), rows, bad, tuple(findings), tuple(unknown))


def _places(lines: Reader, name: str) -> dict[str, int]:
    """In which column each name stands."""
    try:
        header = [h.strip().lower() for h in next(lines, [])]
    except csv.Error as error:
        raise ConfigError(f"{name} is no CSV: {error}") from error
    missing = [n for n in NEEDED if n not in header]
    if missing:
        raise ConfigError(
            f"{name} has no column {', '.join(missing)}",
            hint=f"needed: {', '.join(NEEDED)}; optional: {', '.join(OPTIONAL)} ({_words()})",
        )
    twice = [n for n in (*NEEDED, *OPTIONAL) if header.count(n) > 1]
    if twice:
        raise ConfigError(f"{name} has the column {twice[0]} twice")
    return {n: header.index(n) for n in (*NEEDED, *OPTIONAL) if n in header}


def _words() -> str:
    """The words that a disposition may be, by what they mean."""
    sides = (SUSPICIOUS, CLEARED)
    return "; ".join(f"{side}: {', '.join(w for w, known in WORDS.items() if known == side)}" for side in sides)


def _row(cells: list[str], places: dict[str, int]) -> tuple[str, datetime, str | None, str] | str:
    """An alert, or what is wrong with the row."""
    if max(places.values()) >= len(cells):
        return f"a row of {len(cells)} cells"
    values = {n: as_given(cells[at].strip()) for n, at in places.items()}
    for name, value in values.items():
        if len(value) > MAX_CELL:
            return f"{name} has more than {MAX_CELL:,} letters"
    if not values["account_id"]:
        return "no account_id"
    try:
        moment = datetime.fromisoformat(values["alerted_at"])
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return f"alerted_at '{values['alerted_at'][:40]}' is no ISO date or time"
    return values["account_id"], moment, values.get("rule") or None, values.get("disposition", "")
