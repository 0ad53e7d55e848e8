"""Amounts in the base currency."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from fintel.domain.schema import MONEY_SCALE
from fintel.feeds.base import MAX_AMOUNT
from fintel.frames import MONEY

#: Rates have ten digits behind the point.
_RATE_UNITS = 10**10
_LARGEST = MAX_AMOUNT * 10**MONEY_SCALE
_TOO_LARGE = "_too_large"


def convert(frame: pl.DataFrame, rates: pl.DataFrame | None, base: str) -> pl.DataFrame:
    """``frame`` with ``amount_base``: ``amount`` in the currency ``base``.

    An amount in the base currency stays as it is. Another is multiplied by the latest rate of its
    currency on or before the UTC day of ``booked_at`` and rounded half to even at 5 digits, in whole
    numbers throughout. Without such a rate the cell is empty, and so it is above ``MAX_AMOUNT``:
    ``convert_within`` tells the two apart.

    Parameters
    ----------
    frame: has ``amount`` (decimal 18,5), ``currency``, ``booked_at`` (UTC).
    rates: as ``domain.schema.RATES``; rows of another ``base`` are passed over. None: no rates.
    """
    return _converted(frame, rates, base).drop(_TOO_LARGE)


def convert_within(frame: pl.DataFrame, rates: pl.DataFrame | None, base: str) -> tuple[pl.DataFrame, pl.Series]:
    """As ``convert``, and for each row whether its converted amount is above ``MAX_AMOUNT``."""
    made = _converted(frame, rates, base)
    return made.drop(_TOO_LARGE), made[_TOO_LARGE]


def _converted(frame: pl.DataFrame, rates: pl.DataFrame | None, base: str) -> pl.DataFrame:
    same = pl.col("currency") == base
    own = pl.when(same & (pl.col("amount") <= MAX_AMOUNT)).then(pl.col("amount"))
    above = (same & (pl.col("amount") > MAX_AMOUNT)).fill_null(False)
    if rates is None or not rates.height:
        return frame.with_columns(own.alias("amount_base"), above.alias(_TOO_LARGE))
    known = (
        rates.filter(pl.col("base") == base)
        .unique(["date", "currency"], keep="last", maintain_order=True)
        .select("currency", _day="date", _rate="rate")
        .sort("_day")
    )
    days = frame.with_row_index("_row").with_columns(_day=pl.col("booked_at").dt.date()).sort("_day")
    joined = days.join_asof(known, on="_day", by="currency", strategy="backward", check_sortedness=False)
    product = pl.col("amount").to_physical().cast(pl.Int128) * pl.col("_rate").to_physical().cast(pl.Int128)
    whole, rest = product // _RATE_UNITS, product % _RATE_UNITS
    half = _RATE_UNITS // 2
    up = (rest > half) | ((rest == half) & (whole % 2 == 1))
    units = whole + up.cast(pl.Int128)
    fits = pl.when(units <= _LARGEST).then(units)
    unit = pl.lit(Decimal(1).scaleb(-MONEY_SCALE))
    foreign = (fits.cast(pl.Decimal(38, MONEY_SCALE)) * unit).cast(MONEY)
    return (
        joined.with_columns(
            pl.when(same).then(own).otherwise(foreign).alias("amount_base"),
            (above | (~same & (units > _LARGEST))).fill_null(False).alias(_TOO_LARGE),
        )
        .sort("_row")
        .select(list(dict.fromkeys([*frame.columns, "amount_base", _TOO_LARGE])))
    )
