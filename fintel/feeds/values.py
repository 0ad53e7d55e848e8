"""From text to typed values, as expressions: each gives the value and, where it fails, a code."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from functools import cache
from importlib import resources

import polars as pl

from fintel.feeds import codes
from fintel.feeds.mapping import FileSpec

_SPACES = "\u00a0\u202f\u2007"
_PLAIN_NUMBER = r"^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)$"
_SCIENTIFIC = r"^[0-9]+\.[0-9]*[eE][+-]?[0-9]{1,3}$|^[0-9][eE][+-][0-9]{1,3}$"
_WHOLE = r"^[+-]?[0-9]{1,18}(?:\.0*)?$"
_OFFSET = r"([+-])([0-9]{2}):?([0-9]{2})$"
_TRUE, _FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
#: Steps further than this from the start are no dates.
_MAX_STEPS = 10**9


@dataclass(frozen=True, slots=True)
class Value:
    """A canonical column in the making. ``code`` is null where ``value`` can be trusted."""

    value: pl.Expr
    code: pl.Expr
    shown: pl.Expr


def no_code() -> pl.Expr:
    """Nothing wrong."""
    return pl.lit(None, dtype=pl.Int16)


def failing(*cases: tuple[pl.Expr, int]) -> pl.Expr:
    """The code of the first case that holds."""
    return pl.coalesce(*(pl.when(case).then(pl.lit(code, dtype=pl.Int16)) for case, code in cases))


def clean(column: pl.Expr, null_values: tuple[str, ...]) -> pl.Expr:
    """Text without surrounding space; empty text and the stated words for nothing become null."""
    text = column.str.strip_chars()
    nothing = text == ""
    if null_values:
        nothing = nothing | text.is_in(list(null_values))
    return pl.when(~nothing).then(text)


def folded(text: pl.Expr) -> pl.Expr:
    """Text as lower-case letters and digits with single spaces: how names are looked up."""
    plain = text.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()
    return plain.str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()


def fold(text: str) -> str:
    """``folded`` for one word."""
    return str(pl.select(folded(pl.lit(text))).item())


@cache
def countries() -> Dict[str, str]:
    """Folded code or English name to ISO 3166-1 alpha-2."""
    return _table("countries.csv", ("alpha2", "alpha3"))


@cache
def currencies() -> Dict[str, str]:
    """Folded code or unambiguous English name to ISO 4217 (and a few crypto-asset tickers)."""
    return _table("currencies.csv", ("code",))


def _table(file: str, codes_: tuple[str, ...]) -> Dict[str, str]:
    text = (resources.files("fintel.feeds") / "tables" / file).read_text(encoding="utf-8")
    words: list[str] = []
    values: list[str] = []
    for row in csv.DictReader(text.splitlines()):
        for word in (*(row[c] for c in codes_), *row["names"].split(";")):
            if word:
                words.append(word)
                values.append(row[codes_[0]])
    keys = pl.Series(words).to_frame("w").select(folded(pl.col("w")))["w"]
    return dict(zip(keys.to_list(), values, strict=True))


def looked_up(text: pl.Expr, table: Dict[str, str], code: int) -> Value:
    """A code from a table of names; ``code`` where the name is unknown."""
    found = folded(text).replace_strict(table, default=None, return_dtype=pl.String)
    return Value(found, failing((text.is_not_null() & found.is_null(), code)), text)


def one_of(text: pl.Expr, allowed: tuple[str, ...]) -> Value:
    """One of a list of words, whatever the case."""
    word = text.str.to_lowercase()
    return Value(word, failing((text.is_not_null() & ~word.is_in(list(allowed)), codes.VALUE)), text)


def identifier(text: pl.Expr) -> Value:
    """An id as text; refused if a spreadsheet has turned it into a float."""
    return Value(text, failing((text.str.contains(_SCIENTIFIC), codes.SCIENTIFIC)), text)


def number_text(text: pl.Expr, decimal: str, thousands: str | None) -> tuple[pl.Expr, pl.Expr]:
    """(normalised number or null, bad): with a point and no thousands signs; nothing is guessed."""
    point = text
    for space in _SPACES:
        point = point.str.replace_all(space, " ", literal=True)
    if thousands is not None:
        t, d = re.escape(thousands), re.escape(decimal)
        grouped = point.str.contains(rf"^[+-]?[0-9]{{1,3}}(?:{t}[0-9]{{3}})+(?:{d}[0-9]*)?$")
        point = pl.when(grouped).then(point.str.replace_all(thousands, "", literal=True)).otherwise(point)
    if decimal != ".":
        # A point is then no decimal sign: make it one that no number has.
        point = point.str.replace_all(".", "?", literal=True).str.replace_all(decimal, ".", literal=True)
    good = point.str.contains(_PLAIN_NUMBER)
    return pl.when(good).then(point), text.is_not_null() & ~good


def money(
    text: pl.Expr, decimal: str, thousands: str | None, rounded: str, scale: int
) -> tuple[pl.Expr, list[tuple[pl.Expr, int]]]:
    """(decimal with ``scale`` digits behind the point, what may be wrong with it)."""
    plain, bad = number_text(text, decimal, thousands)
    whole_digits = plain.str.extract(r"^[+-]?0*([0-9]*)", 1).str.len_chars()
    behind = plain.str.extract(r"\.([0-9]*?)0*$", 1).str.len_chars()
    too_large = whole_digits > 18 - scale
    fits = pl.when(~too_large).then(plain)
    wrong = [(bad, codes.BAD_NUMBER), (too_large, codes.TOO_LARGE)]
    exact = fits.cast(pl.Decimal(18, scale), strict=False)
    if rounded != "round":
        return exact, [*wrong, (behind > scale, codes.DECIMALS)]
    # Only values with more digits take the longer way round.
    long = pl.when(behind > scale).then(fits).cast(pl.Decimal(38, 20), strict=False)
    half_even = long.round(scale, mode="half_to_even").cast(pl.Decimal(18, scale), strict=False)
    value = pl.when(behind > scale).then(half_even).otherwise(exact)
    lost = plain.is_not_null() & ~too_large & value.is_null()
    return value, [*wrong, (lost, codes.TOO_LARGE)]


def integer(text: pl.Expr) -> Value:
    """A whole number (``5.0`` counts as one)."""
    good = text.str.contains(_WHOLE)
    value = text.str.extract(r"^\+?(-?[0-9]+)", 1).cast(pl.Int64, strict=False)
    return Value(pl.when(good).then(value), failing((text.is_not_null() & ~good, codes.BAD_NUMBER)), text)


def floating(text: pl.Expr, decimal: str, thousands: str | None, most: float | None = None) -> Value:
    """A finite float, at most ``most`` away from zero."""
    plain, bad = number_text(text, decimal, thousands)
    value = plain.cast(pl.Float64, strict=False)
    wrong = [(bad, codes.BAD_NUMBER)]
    if most is not None:
        wrong.append((value.abs() > most, codes.DEGREES))
    return Value(value, failing(*wrong), text)


def truth(text: pl.Expr) -> Value:
    """Yes or no."""
    word = text.str.to_lowercase()
    value = pl.when(word.is_in(list(_TRUE))).then(True).when(word.is_in(list(_FALSE))).then(False)
    return Value(value, failing((text.is_not_null() & value.is_null(), codes.BAD_TRUTH)), text)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as read: the wall clock's time, UTC, and the offset between them in minutes."""

    wall: pl.Expr
    utc: pl.Expr
    offset: pl.Expr
    wrong: list[tuple[pl.Expr, int]]


def moment(text: pl.Expr, formats: tuple[str, ...], zone: str) -> Moment:
    """Times in one of the formats, tried in order, on a clock of ``zone`` unless the text has an
    offset. A time that stands twice (clocks went back) is taken as the earlier one."""
    walls: list[pl.Expr] = []
    utcs: list[pl.Expr] = []
    for form in formats:
        wall, utc = _parsed(text, form, zone)
        walls.append(wall)
        utcs.append(utc)
    wall, utc = pl.coalesce(walls), pl.coalesce(utcs)
    wrong = [
        (text.is_not_null() & wall.is_null(), codes.BAD_DATE),
        (wall.is_not_null() & utc.is_null(), codes.NO_SUCH_TIME),
    ]
    return Moment(wall, utc, _minutes_between(wall, utc), wrong)


def _parsed(text: pl.Expr, form: str, zone: str) -> tuple[pl.Expr, pl.Expr]:
    if form.startswith("epoch_"):
        unit = {"epoch_s": 1_000_000, "epoch_ms": 1000, "epoch_us": 1}[form]
        count = pl.when(text.str.contains(r"^-?[0-9]{1,16}$")).then(text).cast(pl.Int64, strict=False)
        near = pl.when(count.abs() < 2**62 // unit).then(count)
        at = (near * unit).cast(pl.Datetime("us"))
        return at, at.dt.replace_time_zone("UTC")
    form = re.sub(r"(?<!\.)\.%f", "%.f", form)
    if "%z" in form or "%#z" in form:
        form = re.sub("%#?z", "%#z", form)
        utc = text.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False)
        sign = pl.when(text.str.extract(_OFFSET, 1) == "-").then(-1).otherwise(1)
        hours, minutes = (text.str.extract(_OFFSET, i).cast(pl.Int64, strict=False) for i in (2, 3))
        ahead = (sign * (hours * 60 + minutes)).fill_null(0)
        return utc.dt.replace_time_zone(None) + pl.duration(minutes=ahead), utc
    wall = text.str.to_datetime(form, time_unit="us", strict=False)
    return wall, _to_utc(wall, zone)


def steps(text: pl.Expr, unit: str, start: str, zone: str) -> Moment:
    """Times counted in steps from a start."""
    count = integer(text)
    form = "%Y-%m-%d %H:%M:%S"[: {10: 8, 16: 14, 19: 17}[len(start)]]
    begin = pl.lit(start).str.to_datetime(form, time_unit="us")
    near = pl.when(count.value.abs() * _SECONDS[unit] <= _MAX_STEPS * 10).then(count.value)
    wall = begin + pl.duration(seconds=near * _SECONDS[unit])
    utc = _to_utc(wall, zone)
    wrong = [
        (count.code.is_not_null(), codes.BAD_DATE),
        (count.value.is_not_null() & near.is_null(), codes.DATE_RANGE),
        (wall.is_not_null() & utc.is_null(), codes.NO_SUCH_TIME),
    ]
    return Moment(wall, utc, _minutes_between(wall, utc), wrong)


def in_range(day: pl.Expr, first_year: int) -> pl.Expr:
    """Whether a date or time is neither before ``first_year`` nor after 2100."""
    return (day.dt.year() >= first_year) & (day.dt.year() <= 2100)


def delay(text: str) -> pl.Expr:
    """``30d`` as a duration."""
    return pl.duration(minutes=int(text[:-1]) * {"m": 1, "h": 60, "d": 1440}[text[-1]])


def _to_utc(wall: pl.Expr, zone: str) -> pl.Expr:
    if zone == "UTC":
        return wall.dt.replace_time_zone("UTC")
    if zone[0] in "+-":
        minutes = (int(zone[1:3]) * 60 + int(zone[4:6])) * (-1 if zone[0] == "-" else 1)
        return (wall - pl.duration(minutes=minutes)).dt.replace_time_zone("UTC")
    local = wall.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC")


def _minutes_between(wall: pl.Expr, utc: pl.Expr) -> pl.Expr:
    return (wall - utc.dt.replace_time_zone(None)).dt.total_minutes()


def separators(spec: FileSpec, decimal: str | None, thousands: str | None) -> tuple[str, str | None]:
    """The decimal and thousands signs of a column: its own, else the file's."""
    own = decimal or spec.decimal
    return own, thousands or (spec.thousands if spec.thousands != own else None)
