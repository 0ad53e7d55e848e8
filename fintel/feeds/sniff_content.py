"""What a column holds, judged by a sample of its values alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import polars as pl

from fintel.feeds import values
from fintel.feeds.identity import account_id

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
_NUMBER = r"^[+-]?(?:[0-9]+|[0-9]{1,3}(?:[., '][0-9]{3})+)(?:[.,][0-9]+)?$"


@dataclass(frozen=True, slots=True)
class Content:
    """What a column's sample looks like. ``filled`` is the share of rows that have a value;
    ``formats`` are all date formats that fit every value; ``currency`` allows a few unknown names."""

    filled: float
    distinct: int
    number: bool
    whole: bool
    negative: bool
    decimal: str | None
    thousands: str | None
    decimal_doubt: bool
    formats: tuple[str, ...]
    times: tuple[str, ...]
    epoch: str | None
    iban: bool
    currency: bool
    country: bool
    scientific: bool
    length: float
    words: tuple[str, ...]


def inspect(column: pl.Series) -> Content:
    """Look at a sample of text values (cleaned: no empty ones)."""
    some = column.drop_nulls()
    text = some.unique(maintain_order=True)
    frame = text.alias("t").to_frame()
    number = bool(len(text)) and bool(text.str.contains(_NUMBER).all())
    whole = bool(len(text)) and bool(text.str.contains(r"^[0-9]+$").all())
    decimal, thousands, doubt = _signs(text) if number else (None, None, False)
    looked = frame.select(
        iban=(account_id(pl.col("t"), pl.lit("x")) != pl.concat_str(pl.lit("x|"), pl.col("t"))).all(),
        currency=values.looked_up(pl.col("t"), values.currencies(), 1).value.is_not_null().mean() >= 0.8,
        country=values.looked_up(pl.col("t"), values.countries(), 1).value.is_not_null().all(),
        scientific=values.identifier(pl.col("t")).code.is_not_null().any(),
    ).row(0)
    iban, currency, country, scientific = (bool(len(text)) and bool(x) for x in looked)
    return Content(
        filled=len(some) / len(column) if len(column) else 0.0,
        distinct=len(text),
        number=number,
        whole=whole,
        negative=number and bool(text.str.starts_with("-").any()),
        decimal=decimal,
        thousands=thousands,
        decimal_doubt=doubt,
        formats=tuple(f for f in _FORMATS if _fits(text, f)) if len(text) else (),
        times=tuple(f for f in _TIMES if _is_time(text, f)) if len(text) else (),
        epoch=_epoch(text) if whole else None,
        iban=iban,
        currency=currency,
        country=country,
        scientific=scientific,
        length=float(str(text.str.len_chars().mean() or 0)),
        words=tuple(text.head(40).to_list()),
    )


def _fits(text: pl.Series, form: str) -> bool:
    """Whether every value is a date in this format, between 1950 and 2100."""
    first = values.moment(pl.col("t"), (form,), "UTC")
    for some in (text.head(1), text):
        at = some.alias("t").to_frame().select(first.wall.alias("w"))["w"]
        if at.null_count() or not at.dt.year().is_between(1950, 2100).all():
            return False
    return True


def _is_time(text: pl.Series, form: str) -> bool:
    dated = pl.Series("t", ["2000-01-01 " + t for t in text.head(500).to_list()])
    return _fits(dated, f"%Y-%m-%d {form}")


def _epoch(text: pl.Series) -> str | None:
    """Seconds or milliseconds since 1970, if every value would be between 2000 and 2100."""
    number = text.cast(pl.Int64, strict=False)
    for unit, name in ((1, "epoch_s"), (1000, "epoch_ms")):
        if number.is_between(946_684_800 * unit, 4_102_444_800 * unit).all():
            return name
    return None


def _signs(text: pl.Series) -> tuple[str, str | None, bool]:
    """(decimal sign, thousands sign, unsure) of numbers, by all of them together."""
    last = text.str.extract(r"([., '])[0-9]*$", 1)
    both = text.str.contains(r"[., '][0-9]{3}[.,]")
    if both.any():
        decimal = str(last.filter(both)[0])
        return decimal, str(text.filter(both).str.extract(r"([., '])[0-9]{3}[.,]", 1)[0]), False
    several = text.str.contains(r"([., '])[0-9]{3}[., '][0-9]{3}")
    if several.any():
        thousands = str(last.filter(several)[0])
        return ("," if thousands == "." else "."), thousands, False
    signs = set(last.drop_nulls().to_list()) & {".", ","}
    if len(signs) != 1:
        return ".", None, len(signs) == 2
    sign = signs.pop()
    three = text.filter(last.is_not_null()).str.contains(r"^[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}$").all()
    return sign, None, bool(three)
