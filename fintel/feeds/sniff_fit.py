"""Which reading nearly all values of a column fit: a date's format, a number's signs.

A few misfits do not hide what a column is, and have no say in how it is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import polars as pl

from fintel.feeds import values
from fintel.feeds.mapping_checks import swapped

#: Of so many values one may be a misfit; of fewer where the header says what the column is.
ONE_IN, ONE_IN_NAMED = 10, 5
#: Values that fit, where others do not: fewer may be chance.
LEAST = 5

_DAYS = (
    "%Y-%m-%d", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m.%d.%Y",
    "%Y.%m.%d", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%Y%m%d", "%d %b %Y", "%d %B %Y",
    "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%y",
)  # fmt: skip
_CLOCKS = (
    "", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S", "T%H:%M:%S.%f", "T%H:%M:%SZ", "T%H:%M:%S.%fZ",
    "T%H:%M", "T%H:%M:%S%z", "T%H:%M:%S.%f%z", " %H:%M:%S%z", " %H:%M:%S.%f%z", " %I:%M %p", " %I:%M:%S %p",
    ", %H:%M", ", %H:%M:%S",
)  # fmt: skip
_FORMATS = tuple(day + clock for day, clock in product(_DAYS, _CLOCKS))
_TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%H.%M", "%I:%M %p", "%I:%M:%S %p")
#: A time of day is tried as the time of this day.
_ANY_DAY, _ANY_DAY_FORMAT = "2000-01-01 ", "%Y-%m-%d "
_EPOCHS = {"epoch_s": 1, "epoch_ms": 1000}
#: The first group of a number and the sign behind it, where more signs follow.
_GROUPED = r"^[+-]?[0-9]{1,3}([., '])[0-9]{3}[., '][0-9]"


@dataclass(frozen=True, slots=True)
class Example:
    """The first of ``count`` rows (of ``total`` that have a value) of a kind: its line and value."""

    count: int
    total: int
    line: int
    value: str


@dataclass(frozen=True, slots=True)
class Dates:
    """How a column of dates is read.

    ``formats``: all that fit the most values, the one to take first; empty: these are no dates.
    ``rivals``: the two orders of day and month between which the values do not decide.
    ``against``: values that only the other order reads, where most that tell say this one.
    ``few``: values that tell the order, where so few do that they may be misfits themselves.
    """

    formats: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    against: Example | None = None
    few: Example | None = None
    misfits: Example | None = None


@dataclass(frozen=True, slots=True)
class Numbers:
    """How a column of numbers is read; ``decimal`` None: these are none. ``doubt``: the decimal sign
    is not proved. ``whole``: all that are numbers are bare digits; ``digits``: nearly all values are."""

    decimal: str | None = None
    thousands: str | None = None
    doubt: bool = False
    negative: bool = False
    whole: bool = False
    digits: bool = False
    misfits: Example | None = None


def counted(column: pl.Series, lines: pl.Series) -> pl.DataFrame:
    """Distinct values ``t`` as they come, the rows ``n`` that hold each, the first of them ``line``."""
    frame = pl.DataFrame({"t": column, "line": lines}).drop_nulls("t")
    return frame.group_by("t", maintain_order=True).agg(n=pl.len().cast(pl.Int64), line=pl.col("line").first())


def nearly_all(fitting: int, total: int, one_in: int) -> bool:
    """All of ``total``, or at least five of them and at most one in ``one_in`` left over."""
    return total > 0 and (fitting == total or (fitting >= LEAST and (total - fitting) * one_in <= total))


def dates(found: pl.DataFrame, one_in: int) -> Dates:
    """The formats that nearly all values fit, and whether day and month can be told apart.

    Parameters
    ----------
    found: as from ``counted``.
    """
    some = found.filter(pl.col("t").str.contains("^[0-9A-Za-z]") & (pl.col("t").str.count_matches("[0-9]") >= 4))
    if not nearly_all(_rows(some), _rows(found), one_in):
        return Dates()
    fitting = _fitting(found, some, _FORMATS, one_in)
    if not fitting:
        return Dates()
    first, fits = next(iter(fitting.items()))
    rivals, against, few = _order(found, first, fits, one_in)
    if rivals:
        fits |= _fits(found, [swapped(first)])[0]
    return Dates(tuple(fitting), rivals, against, few, _example(found, ~fits))


def times(found: pl.DataFrame, one_in: int) -> tuple[tuple[str, ...], Example | None]:
    """(formats of a time of day that nearly all values fit, the misfits)."""
    dated = found.with_columns(t=pl.lit(_ANY_DAY) + pl.col("t"))
    fitting = _fitting(dated, dated, [_ANY_DAY_FORMAT + form for form in _TIMES], one_in)
    misfits = _example(found, ~next(iter(fitting.values()))) if fitting else None
    return tuple(form.removeprefix(_ANY_DAY_FORMAT) for form in fitting), misfits


def epoch(found: pl.DataFrame, one_in: int) -> tuple[str | None, Example | None]:
    """(seconds or milliseconds since 1970, if nearly all values are between 2000 and 2100; the misfits)."""
    number = found["t"].cast(pl.Int64, strict=False)
    for name, unit in _EPOCHS.items():
        fits = number.is_between(946_684_800 * unit, 4_102_444_800 * unit).fill_null(value=False)
        if nearly_all(_rows(found, fits), _rows(found), one_in):
            return name, _example(found, ~fits)
    return None, None


def numbers(found: pl.DataFrame, one_in: int) -> Numbers:
    """The signs that numbers are written with, by all of them together, if nearly all are numbers.

    A value proves a decimal sign if no other reads it: 12,50 does, 1.234 does not. A thousands sign
    is taken only from a value that shows it beside another sign.
    """
    text = found["t"]
    point, comma = text.str.contains(_readable(".")), text.str.contains(_readable(","))
    if not nearly_all(_rows(found, point | comma), _rows(found), one_in):
        return Numbers()
    decimal, doubt = _decimal(found, point, comma)
    shown = found.filter(point if decimal == "." else comma)
    signs = shown.with_columns(sign=pl.col("t").str.extract(_GROUPED, 1)).filter(pl.col("sign") != decimal)
    counts = (
        signs.group_by("sign", maintain_order=True)
        .agg(pl.col("n").sum())
        .sort("n", descending=True, maintain_order=True)
    )
    thousands = str(counts["sign"][0]) if counts.height else None
    fits = ~found.select(bad=values.number_text(pl.col("t"), decimal, thousands)[1])["bad"]
    other = text.str.contains("." if decimal == "," else ",", literal=True)
    bare = text.str.contains(r"^[0-9]+$")
    return Numbers(
        decimal,
        thousands,
        doubt or bool((point & comma & other & ~fits).any()),
        bool((fits & text.str.starts_with("-")).any()),
        bool(bare.filter(point | comma).all()),
        nearly_all(_rows(found, bare), _rows(found), one_in),
        _example(found, ~fits),
    )


def _rows(found: pl.DataFrame, which: pl.Series | None = None) -> int:
    return int((found["n"] if which is None else found["n"].filter(which)).sum())


def _example(found: pl.DataFrame, which: pl.Series) -> Example | None:
    some = found.filter(which)
    if some.is_empty():
        return None
    return Example(_rows(some), _rows(found), int(some["line"][0]), str(some["t"][0]))


def _fitting(found: pl.DataFrame, some: pl.DataFrame, formats: Sequence[str], one_in: int) -> dict[str, pl.Series]:
    """Of the formats that nearly all values fit, those that the most fit, and which values do."""
    # More rows than may be misfits: a format that none of them fits is none that nearly all fit.
    first = some.filter(pl.col("n").cum_sum() - pl.col("n") <= _rows(found) // one_in)
    likely = [form for form, fits in zip(formats, _fits(first, formats), strict=True) if fits.any()]
    total = _rows(found)
    masks = dict(zip(likely, _fits(found, likely), strict=True))
    counts = {form: n for form, fits in masks.items() if nearly_all(n := _rows(found, fits), total, one_in)}
    most = max(counts.values(), default=0)
    return {form: masks[form] for form, n in counts.items() if n == most}


def _fits(found: pl.DataFrame, formats: Sequence[str]) -> list[pl.Series]:
    """For each format, which values are dates in it between 1950 and 2100."""
    walls = [values.moment(pl.col("t"), (form,), "UTC").wall for form in formats]
    years = found.select(
        wall.dt.year().is_between(1950, 2100).fill_null(value=False).alias(str(i)) for i, wall in enumerate(walls)
    )
    return years.get_columns()


def _order(
    found: pl.DataFrame, form: str, fits: pl.Series, one_in: int
) -> tuple[tuple[str, ...], Example | None, Example | None]:
    """(the two formats if the values do not decide, values against ``form``, values for it if few are).

    Only values that one order reads and the other does not tell anything.
    """
    other = swapped(form)
    if "%m" not in form or form.startswith("%Y"):
        return (), None, None
    others = _fits(found, [other])[0]
    ours, theirs = _rows(found, fits & ~others), _rows(found, others & ~fits)
    both = tuple(sorted([form, other]))
    if not ours and not theirs:
        return (both if other in _FORMATS else ()), None, None
    if theirs:
        against = _example(found, others & ~fits)
        proved = nearly_all(ours, ours + theirs, ONE_IN)
        return (() if proved else both), against, None
    few = nearly_all(_rows(found, others), _rows(found), one_in)
    return (), None, _example(found, fits & ~others) if few else None


def _decimal(found: pl.DataFrame, point: pl.Series, comma: pl.Series) -> tuple[str, bool]:
    """(decimal sign, whether that is not proved)."""
    points, commas = _rows(found, point & ~comma), _rows(found, comma & ~point)
    signed = found["t"].str.contains("[.,]")
    either = _rows(found, point & comma & signed)
    if not points and not commas:
        signs = found.filter(point & comma & signed)["t"].str.extract("([.,])", 1).unique().to_list()
        return (str(signs[0]) if len(signs) == 1 else "."), bool(signs)
    decimal = "." if points >= commas else ","
    proved = nearly_all(max(points, commas), points + commas, ONE_IN)
    few = either and nearly_all(either, either + points + commas, ONE_IN)
    return decimal, not proved or bool(few)


def _readable(decimal: str) -> str:
    """What is a number with this decimal sign, whatever its thousands sign."""
    signs = ("," if decimal == "." else r"\.", " ", "'")
    grouped = "|".join(rf"[1-9][0-9]{{0,2}}(?:{sign}[0-9]{{3}})+" for sign in signs)
    return rf"^[+-]?(?:[0-9]+|{grouped})(?:{re.escape(decimal)}[0-9]+)?$"
