"""What a column holds, judged by a sample of its values alone."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fintel.feeds import values
from fintel.feeds.identity import account_id
from fintel.feeds.sniff_fit import ONE_IN, ONE_IN_NAMED, Dates, Example, Numbers, counted, dates, epoch, numbers, times
from fintel.feeds.sniff_words import PAYMENT


@dataclass(frozen=True, slots=True)
class Content:
    """What a column's sample looks like. ``filled`` is the share of rows that have a value;
    dates, times of day, epochs and numbers allow a few misfits, ``currency`` a few unknown names."""

    filled: float
    distinct: int
    numbers: Numbers
    dates: Dates
    times: tuple[str, ...]
    time_misfits: Example | None
    epoch: str | None
    epoch_misfits: Example | None
    iban: bool
    currency: bool
    country: bool
    scientific: bool
    length: float
    words: tuple[str, ...]

    @property
    def number(self) -> bool:
        """Nearly all values are numbers."""
        return self.numbers.decimal is not None

    @property
    def whole(self) -> bool:
        """And none of the numbers has more than digits."""
        return self.numbers.whole

    @property
    def formats(self) -> tuple[str, ...]:
        """The date formats that fit the most values, if nearly all fit."""
        return self.dates.formats


def inspect(column: pl.Series, lines: pl.Series, header: str) -> Content:
    """Look at a sample of text values (cleaned: no empty ones), the lines they stand in, and whether the
    header says that they are dates or amounts: then more of them may be misfits."""
    found = counted(column, lines)
    text = found["t"]
    name = values.fold(header)

    def one_in(*targets: str) -> int:
        return ONE_IN_NAMED if any(name in PAYMENT[t] for t in targets) else ONE_IN

    amounts = numbers(found, one_in("amount", "_debit", "_credit"))
    clock, clock_misfits = times(found, one_in("_time"))
    since, since_misfits = epoch(found, one_in("booked_at"))
    looked = (
        text.to_frame()
        .select(
            iban=(account_id(pl.col("t"), pl.lit("x")) != pl.concat_str(pl.lit("x|"), pl.col("t"))).all(),
            currency=values.looked_up(pl.col("t"), values.currencies(), 1).value.is_not_null().mean() >= 0.8,
            country=values.looked_up(pl.col("t"), values.countries(), 1).value.is_not_null().all(),
            scientific=values.identifier(pl.col("t")).code.is_not_null().any(),
        )
        .row(0)
    )
    iban, currency, country, scientific = (bool(len(text)) and bool(x) for x in looked)
    return Content(
        filled=int(found["n"].sum()) / len(column) if len(column) else 0.0,
        distinct=len(text),
        numbers=amounts,
        dates=dates(found, one_in("booked_at")),
        times=clock,
        time_misfits=clock_misfits,
        epoch=since,
        epoch_misfits=since_misfits,
        iban=iban,
        currency=currency,
        country=country,
        scientific=scientific,
        length=float(str(text.str.len_chars().mean() or 0)),
        words=tuple(text.head(40).to_list()),
    )
