"""Forms of text as regular expressions: handles, aliases in brackets, telephone numbers.

Matching takes time linear in the text whatever the pattern (Rust's regex crate: no look-around, no
backreferences), and a pattern whose automaton would be large is refused when it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fintel.rules.list_types import PatternList

MAX_PATTERN = 300


def pattern_fault(pattern: str) -> str | None:
    """Why a pattern cannot be used, or None."""
    if len(pattern) > MAX_PATTERN:
        return f"longer than {MAX_PATTERN} characters"
    try:
        empty = pl.Series([""]).str.contains(_anywhere(pattern)).item()
    except pl.exceptions.ComputeError as error:
        return str(error).strip().splitlines()[-1]
    return "it fits an empty text, and so every text" if empty else None


def _anywhere(pattern: str) -> str:
    return f"(?i)(?:{pattern})"


def match_patterns(texts: pl.Series, lists: Sequence[PatternList]) -> pl.DataFrame:
    """Which lists each text fits: one boolean column a list; null where the text is null."""
    columns = []
    for found in lists:
        fits = [texts.str.contains(_anywhere(p.pattern)) for p in found.patterns]
        none = texts.is_null().not_() & False
        columns.append((pl.DataFrame(fits).select(pl.any_horizontal(pl.all())).to_series() if fits else none)
                       .alias(found.name))  # fmt: skip
    return pl.DataFrame(columns)
