"""CSV that spreadsheets and other programs hand over: bounded, read as text, its formulas made harmless."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fintel.errors import ConfigError, RuleError
from fintel.reports.attachment import FORMULA

if TYPE_CHECKING:
    from _csv import Reader

#: What a spreadsheet takes for the start of a formula, the full-width signs included; where ';'
#: separates columns, what stands behind one begins a cell, in quotes or not.
_FORMULA = re.escape(FORMULA)
_BEGINS = re.compile(rf"(^|;)(?=[\s\"']*[{_FORMULA}])")
_ENDED = re.compile(rf"(^|;)'(?=[\s\"']*[{_FORMULA}])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2060\ufeff\u202a-\u202e\u2066-\u2069]")


def safe_cell(text: str) -> str:
    """A cell that no spreadsheet runs: what begins like a formula gets an apostrophe in front."""
    return _BEGINS.sub(r"\1'", _CONTROL.sub("", text))


def as_given(cell: str) -> str:
    """What ``safe_cell`` was given, but for control signs."""
    return _ENDED.sub(r"\1", cell)


def read_text(path: Path, most: int, refusal: type[ConfigError] | type[RuleError]) -> str:
    """The text of a file of at most ``most`` bytes, in UTF-8 with or without its mark.

    Raises
    ------
    ``refusal``: it cannot be read, is larger, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise refusal(f"{path.name} cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise refusal(f"{path.name} is larger than {most:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refusal(f"{path.name} is not UTF-8 at byte {error.start}", hint="save it as 'CSV UTF-8'") from error


def rows_of(text: str) -> Reader:
    """Rows of cells, separated by what the first line holds most of: comma, semicolon or tab."""
    separator = max((",", ";", "\t"), key=text.partition("\n")[0].count)
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator)
