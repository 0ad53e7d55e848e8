"""Columns of payments for a scorer of payments: each as of the payment, all before it and itself, nothing after.

The graph stage's columns of both ends and its motifs, and beside them the amount, how unusual it is for both ends,
novelty, currency and rail. The hour and the weekday only if they are asked for: where labels come from a generator or
from one team's working day they say when somebody labelled, not who launders.

Nothing here names an account: an id, a name or an absolute time is never a column.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.domain.schema import CHANNELS, INSTRUMENTS, MONEY_SCALE, MONEY_UNITS
from fintel.errors import ModelError, did_you_mean
from fintel.graph import columns as graph_columns
from fintel.graph.layout import GraphColumn, Settings
from fintel.graph.network import Network
from fintel.graph.state import GraphState

Tables = Mapping[str, pl.LazyFrame]
Array = npt.NDArray[Any]
#: How many payments of how many are done.
Progress = Callable[[int, int], None]

#: Families by name: what each says.
FAMILIES: dict[str, str] = {
    "amount": "how much, how round, and how much more than these two ends pay and get",
    **graph_columns.FAMILIES,
    "novelty": "how long both ends were silent, and how long ago this bank and this currency were used last",
    "places": "whether the payment leaves the bank or the country",
    "currency": "the currency, one column each",
    "rail": "instrument and channel, one column each",
    "clock": "hour of the day and day of the week",
}
#: All but the clock.
DEFAULT = tuple(name for name in FAMILIES if name != "clock")
#: The most frequent currencies have a column; the rest have none.
MOST_CURRENCIES = 16
#: Payments whose graph columns are held at once.
BATCH = 131_072
_SECOND, _DAY = 10**6, 86_400
_AGENTS, _COUNTRIES = (("debtor_agent", "creditor_agent"), ("debtor_country", "creditor_country"))
_GRAPH = tuple(graph_columns.FAMILIES)


@dataclass(frozen=True)
class Recipe:
    """Which columns. ``currencies``: ISO 4217 codes that have one. ``settings``: windows and bounds of the graph's."""

    families: tuple[str, ...] = DEFAULT
    currencies: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        for name in self.families:
            if name not in FAMILIES:
                raise ModelError(f"there is no family '{name}' of payment columns", hint=did_you_mean(name, FAMILIES))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        own = [name for family in self.families if family in _OWN for name in _OWN[family](self)]
        return (*own, *(c.name for c in self._graph_columns()))

    @property
    def graph_families(self) -> tuple[str, ...]:
        """Families of the graph stage among the recipe's."""
        return tuple(name for name in self.families if name in _GRAPH)

    def _graph_columns(self) -> Sequence[GraphColumn]:
        return graph_columns.columns(self.settings, self.graph_families) if self.graph_families else ()


_OWN: dict[str, Callable[[Recipe], Sequence[str]]] = {
    "amount": lambda _: ("amount", "amount_zeros", "amount_over_paid", "amount_over_got"),
    "novelty": lambda _: ("payer_idle", "payee_idle", "currency_gap", "bank_gap"),
    "places": lambda _: ("within_bank", "cross_border"),
    "currency": lambda recipe: tuple(f"currency_{code.lower()}" for code in recipe.currencies),
    "rail": lambda _: (
        *(f"instrument_{i}" for i in INSTRUMENTS),
        *(f"channel_{c}" for c in CHANNELS),
        "instrument_gap",
    ),
    "clock": lambda _: ("hour_sin", "hour_cos", "weekday"),
}


def frequent_currencies(tables: Tables, before: datetime) -> tuple[str, ...]:
    """The currencies that are used most before a moment (that of the end of training), at most ``MOST_CURRENCIES``."""
    seen = tables["transactions"].filter(pl.col("booked_at") < before).group_by("currency").len().collect()
    most = seen.drop_nulls().sort("len", "currency", descending=[True, False]).head(MOST_CURRENCIES)
    return tuple(sorted(most["currency"]))


def payment_columns(
    tables: Tables, network: Network, recipe: Recipe, *, into: Array | None = None, progress: Progress | None = None
) -> Array:
    """The columns of every payment of a network: float32 (m, columns), NaN where one is not known.

    Parameters
    ----------
    network: of ``tables``, as of whatever moment.
    into: where to write, float32 (m, columns): a memory map, say, where m is large. Beside it memory holds the
        graph's state and the graph columns of ``BATCH`` payments.
    progress: called with the payments done and their number.
    """
    shape = len(network), len(recipe.names)
    out = np.empty(shape, np.float32) if into is None else into
    if out.shape != shape or out.dtype != np.float32:
        raise ValueError(f"into must be float32 {shape}")
    own = [name for family in recipe.families if family in _OWN for name in _OWN[family](recipe)]
    payments = _looked_back(_facts(tables, network), recipe)
    rowwise = _rowwise(recipe)
    state = GraphState(recipe.settings, families=recipe.graph_families, nodes=len(network.nodes), edges=len(network))
    for begin in range(0, len(network), BATCH):
        rows = slice(begin, min(begin + BATCH, len(network)))
        told = payments[rows].with_columns(**rowwise).select(pl.col(own).cast(pl.Float32).fill_null(math.nan))
        out[rows, : len(own)] = told.to_numpy()
        if recipe.graph_families:
            graph = state.update(network.source[rows], network.target[rows], network.time[rows], network.amount[rows])
            for place, name in enumerate(graph, len(own)):
                out[rows, place] = graph[name]
        if progress is not None:
            progress(rows.stop, len(network))
    return out


def _facts(tables: Tables, network: Network) -> pl.DataFrame:
    """What the own columns are made of, in the network's order."""
    found = tables["transactions"].select(
        *(pl.col(name).cast(pl.Categorical) for name in ("currency", "instrument", "channel", *_AGENTS, *_COUNTRIES)),
        "local_offset_minutes",
        raw=pl.col("amount").to_physical().cast(pl.Int64),
    )
    units = pl.Series(network.amount)
    log = (1 + pl.col("units").cast(pl.Float64) / MONEY_UNITS).log(2)
    return (
        found.collect()[network.row]
        .with_columns(payer=network.source, payee=network.target, time=network.time, units=units)
        .with_columns(amount=pl.when(pl.col("units") >= 0).then(log))
    )


def _looked_back(payments: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """With the columns that look at earlier payments; they need all payments at once."""
    if "amount" in recipe.families:
        payments = payments.with_columns(
            amount_over_paid=_over_earlier("payer"), amount_over_got=_over_earlier("payee")
        )
    if "novelty" in recipe.families:
        payments = payments.with_columns(
            *_idle(payments), currency_gap=_gap("payer", "currency"), bank_gap=_gap("payer", "creditor_agent")
        )
    return payments.with_columns(instrument_gap=_gap("payer", "instrument")) if "rail" in recipe.families else payments


def _over_earlier(by: str) -> pl.Expr:
    """Log2 of the amount over the geometric mean of the earlier amounts of the same ``by``."""
    value = pl.col("amount")
    seen = value.cum_count().over(by) - value.is_not_null().cast(pl.UInt32)
    total = value.fill_null(0.0).cum_sum().over(by) - value.fill_null(0.0)
    return (value - pl.when(seen > 0).then(total / seen)).cast(pl.Float32)


def _idle(payments: pl.DataFrame) -> list[pl.Series]:
    """Seconds since each end paid or was paid before, null the first time."""
    ends = ("payer", "payee")
    at = payments.select("time", edge=pl.int_range(pl.len(), dtype=pl.UInt32))
    both = pl.concat(
        at.with_columns(node=payments[end], end=pl.lit(number, pl.UInt8)) for number, end in enumerate(ends)
    ).sort("edge", "end")
    # A payment to oneself has two ends at one account: what came before it came before both.
    twice = pl.col("edge").shift(1).over("node") == pl.col("edge")
    before = [pl.col("time").shift(number).over("node") for number in (1, 2)]
    since = pl.col("time") - pl.when(twice).then(before[1]).otherwise(before[0])
    gaps = both.select("end", gap=(since / _SECOND).cast(pl.Float32))
    return [gaps.filter(pl.col("end") == number)["gap"].alias(f"{end}_idle") for number, end in enumerate(ends)]


def _gap(*by: str) -> pl.Expr:
    """Seconds since the same values of ``by`` stood together before; null the first time, or where one is not known."""
    known = pl.all_horizontal(pl.col(name).is_not_null() for name in by)
    since = (pl.col("time") - pl.col("time").shift(1).over(*by)) / _SECOND
    return pl.when(known).then(since).cast(pl.Float32)


def _rowwise(recipe: Recipe) -> dict[str, pl.Expr]:
    """Columns that need their own row only."""
    raw = pl.col("raw")
    zeros = pl.sum_horizontal((raw % 10**k == 0).cast(pl.Int32) for k in range(MONEY_SCALE, 13))
    text = {name: pl.col(name).cast(pl.String) for name in (*_AGENTS, *_COUNTRIES)}
    found: dict[str, pl.Expr] = {"amount_zeros": pl.when(raw != 0).then(zeros)}
    if "places" in recipe.families:
        found["within_bank"] = text[_AGENTS[0]] == text[_AGENTS[1]]
        found["cross_border"] = text[_COUNTRIES[0]] != text[_COUNTRIES[1]]
    if "currency" in recipe.families:
        found |= _one_hot("currency", recipe.currencies)
    if "rail" in recipe.families:
        found |= _one_hot("instrument", INSTRUMENTS) | _one_hot("channel", CHANNELS)
    if "clock" in recipe.families:
        local = pl.col("time") // _SECOND + 60 * pl.col("local_offset_minutes").fill_null(0)
        angle = (local % _DAY) / _DAY * (2 * math.pi)
        # The first of January 1970 was a Thursday.
        found |= {"hour_sin": angle.sin(), "hour_cos": angle.cos(), "weekday": (local // _DAY + 3) % 7}
    return found


def _one_hot(name: str, values: Sequence[str]) -> dict[str, pl.Expr]:
    """One column a value, 1 or 0; not known where the field is empty."""
    return {f"{name}_{v.lower()}": pl.col(name).cast(pl.String) == v for v in values}
