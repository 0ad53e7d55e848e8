"""Entries as arrays: what windows need, and nothing else.

Masks are evaluated once, in streaming batches, and packed as bits; a time is an integer of
microseconds, money an integer of 10**-5, everything that is only compared for equality a small
integer. Twenty million entries with sixty masks take about one gigabyte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.domain.schema import ENTRIES, MONEY_UNITS, Type

Ints = npt.NDArray[np.int64]
BITS = 63

#: Epoch of integer dates, so that codes of days stay small.
_NUMERIC = {Type.INT, Type.DATE, Type.TIMESTAMP, Type.BOOL}


@dataclass(frozen=True)
class Entries:
    """Arrays over all entries, in the order in which they were read.

    ``order`` (uint32, n) lists them by (time, credits before debits, transaction id).
    ``row`` is the payment's row number, ``side`` 0 for ``in`` and 1 for ``out``.
    ``words`` hold the masks, ``BITS`` to a word. ``codes`` map a column to small integers (-1 =
    null) and ``dictionary`` back; ``values`` are integers, ``scales`` what divides them.
    """

    time: Ints
    row: npt.NDArray[np.uint32]
    side: npt.NDArray[np.uint8]
    order: npt.NDArray[np.uint32]
    words: tuple[npt.NDArray[np.int64], ...]
    values: Mapping[str, Ints]
    scales: Mapping[str, int]
    codes: Mapping[str, npt.NDArray[np.int32]]
    dictionary: Mapping[str, pl.Series]
    selected: tuple[int, ...]
    undecided: tuple[int, ...]

    def __len__(self) -> int:
        return int(self.time.size)

    def mask(self, index: int, rows: npt.NDArray[Any] | None = None) -> npt.NDArray[np.uint8]:
        """One mask as 0/1 bytes, for all entries or for some rows."""
        word = self.words[index // BITS]
        chosen = word if rows is None else word[rows]
        return ((chosen >> (index % BITS)) & 1).astype(np.uint8)


def scale_of(column: str) -> int:
    """What divides a column's integers to give its value."""
    return MONEY_UNITS if ENTRIES[column].type is Type.MONEY else 1


def _as_integer(column: str) -> pl.Expr:
    kind = ENTRIES[column].type
    if kind is Type.MONEY:
        return pl.col(column).to_physical().cast(pl.Int64)
    if kind in (Type.TIMESTAMP, Type.DATE):
        return pl.col(column).to_physical().cast(pl.Int64)
    return pl.col(column).cast(pl.Int64)


def as_seen_by_masks(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with money as floats: a correctly rounded quotient keeps order and equality."""
    money = [c.name for c in ENTRIES.columns if c.type is Type.MONEY]
    return frame.with_columns(pl.col(money).cast(pl.Float64))


def order_by_time(transactions: pl.LazyFrame, row: str) -> npt.NDArray[np.uint32]:
    """Row numbers of payments by (booked_at, transaction_id)."""
    ids = transactions.select(row, "booked_at", "transaction_id").collect(engine="streaming")
    return ids.sort("booked_at", "transaction_id")[row].cast(pl.UInt32).to_numpy()


def load(
    entries: pl.LazyFrame,
    payments_in_order: npt.NDArray[np.uint32],
    *,
    masks: Sequence[pl.Expr],
    values: Sequence[str] = (),
    codes: Sequence[str] = ("account_id",),
    row: str = "row",
) -> Entries:
    """Read entries into arrays.

    Parameters
    ----------
    entries: ``features.entries.entries(..., row=row)``.
    payments_in_order: ``order_by_time`` of the same payments.
    masks: boolean expressions over entries with money as float (``as_seen_by_masks``); null selects
        nothing and is counted in ``undecided``.
    values: numeric columns to keep as integers (null becomes 0: select them by a mask).
    codes: columns to keep as codes.

    Raises
    ------
    polars.exceptions.PolarsError: an expression does not fit the columns.
    """
    categories = {name: pl.Categories.random(f"fintel-{name}", pl.UInt32) for name in _text(codes)}
    shared = categories.get("account_id")
    if shared is not None and "counterparty_id" in categories:
        categories["counterparty_id"] = shared
    packed = [
        pl.sum_horizontal(
            (expression.fill_null(value=False).cast(pl.Int64) * (1 << bit))
            for bit, expression in enumerate(masks[start : start + BITS])
        ).alias(f"w{start // BITS}")
        for start in range(0, len(masks), BITS)
    ]
    undecided = [expression.is_null().alias(f"u{i}") for i, expression in enumerate(masks)]
    numbers = [_as_integer(name).fill_null(0).alias(f"v_{name}") for name in values]
    keys = [
        (
            pl.col(name).cast(pl.Categorical(categories[name])).to_physical()
            if name in categories
            else _as_integer(name)
        ).alias(f"c_{name}")
        for name in codes
    ]
    # Money is an integer for values and a float for masks: two views of the same rows.
    base = entries.with_columns(*numbers, *keys)
    frame = (
        as_seen_by_masks(base)
        .select(
            pl.col(row).cast(pl.UInt32).alias("row"),
            (pl.col("direction") == "out").cast(pl.UInt8).alias("side"),
            pl.col("booked_at").to_physical().alias("time"),
            *packed,
            *undecided,
            *[f"v_{name}" for name in values],
            *[f"c_{name}" for name in codes],
        )
        .collect(engine="streaming")
    )
    coded: dict[str, npt.NDArray[np.int32]] = {}
    dictionary: dict[str, pl.Series] = {}
    for name in codes:
        coded[name], dictionary[name] = _dense(frame[f"c_{name}"], categories.get(name))
    words = tuple(frame[f"w{i}"].to_numpy() for i in range(len(packed)))
    counts = frame.select(pl.col(f"u{i}").sum() for i in range(len(masks))).row(0) if masks else ()
    time = frame["time"].to_numpy()
    row_numbers, side = frame["row"].to_numpy(), frame["side"].to_numpy()
    return Entries(
        time=time,
        row=row_numbers,
        side=side,
        order=_time_order(time, row_numbers, side, payments_in_order),
        words=words,
        values={name: frame[f"v_{name}"].to_numpy() for name in values},
        scales={name: scale_of(name) for name in values},
        codes=coded,
        dictionary=dictionary,
        selected=tuple(int((words[i // BITS] >> (i % BITS) & 1).sum()) for i in range(len(masks))),
        undecided=tuple(int(c) for c in counts),
    )


def _text(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if ENTRIES[name].type not in _NUMERIC]


def _dense(column: pl.Series, categories: pl.Categories | None) -> tuple[npt.NDArray[np.int32], pl.Series]:
    if categories is not None:
        return column.cast(pl.Int64).fill_null(-1).cast(pl.Int32).to_numpy(), categories.to_series()
    known = column.drop_nulls().unique().sort()
    codes = known.search_sorted(column.fill_null(0)).cast(pl.Int32)
    return codes.zip_with(column.is_not_null(), pl.Series([-1], dtype=pl.Int32)).to_numpy(), known.cast(pl.String)


def _time_order(
    time: Ints,
    row: npt.NDArray[np.uint32],
    side: npt.NDArray[np.uint8],
    payments_in_order: npt.NDArray[np.uint32],
) -> npt.NDArray[np.uint32]:
    runs = []
    size = int(max(row.max(initial=0), payments_in_order.max(initial=0))) + 1
    for direction in (0, 1):
        place = np.full(size, -1, np.int64)
        here = np.flatnonzero(side == direction)
        place[row[here]] = here
        run = place[payments_in_order]
        runs.append(run[run >= 0])
    both = np.concatenate(runs)
    # Two sorted runs, credits first: a stable sort merges them in linear time.
    return both[np.argsort(time[both], kind="stable")].astype(np.uint32)
