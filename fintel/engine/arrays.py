"""Entries as arrays: what windows need, and nothing else.

Entries stream through in batches; each batch's masks are evaluated at once and packed as bits; a time
is an integer of microseconds, money an integer of 10**-5, everything that is only compared for
equality a small integer. A row of twelve codes, four values and two hundred masks takes 130 bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.domain.schema import MONEY_UNITS, SEEN_ENTRIES, Type
from fintel.engine import order
from fintel.engine.conditions import Conditions, Flags, Program

Ints = npt.NDArray[np.int64]
_Counts = tuple[Ints, Ints]
#: Masks in a word.
BITS = 64
#: Entries in a batch, and batches at once beside the one that is being read: enough to keep every core
#: busy, few enough to stay small beside the arrays.
BATCH_ROWS = 250_000
BATCHES_AT_ONCE = 2

#: A float (degrees, kilometres) becomes an integer of a millionth.
FLOAT_UNITS = 1_000_000

#: Stands for null among integers that become codes.
_NULL = np.iinfo(np.int64).min
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

    def translated(self, column: str, other: str) -> Ints:
        """For each code of ``column``, the code that ``other`` has for the same text, or -1; and -1 last, for null."""
        mine, theirs = self.dictionary[column].cast(pl.String), self.dictionary[other].cast(pl.String)
        known = pl.DataFrame({"text": theirs}).with_row_index("code").filter(pl.col("text").is_not_null())
        found = pl.DataFrame({"text": mine}).join(known, on="text", how="left", maintain_order="left")["code"]
        return np.append(found.cast(pl.Int64).fill_null(-1).to_numpy(), -1)

    def mask(self, index: int, rows: npt.NDArray[Any] | None = None) -> npt.NDArray[np.uint8]:
        """One mask as 0/1 bytes, for all entries or for some rows."""
        word = self.words[index // BITS]
        return order.bit(word if rows is None else word[rows], index % BITS)  # type: ignore[no-any-return]


def scale_of(column: str) -> int:
    """What divides a column's integers to give its value."""
    kind = SEEN_ENTRIES[column].type
    return MONEY_UNITS if kind is Type.MONEY else FLOAT_UNITS if kind is Type.FLOAT else 1


def _as_integer(column: str) -> pl.Expr:
    kind = SEEN_ENTRIES[column].type
    if kind is Type.MONEY:
        return pl.col(column).to_physical().cast(pl.Int64)
    if kind in (Type.TIMESTAMP, Type.DATE):
        return pl.col(column).to_physical().cast(pl.Int64)
    if kind is Type.FLOAT:
        return (pl.col(column) * FLOAT_UNITS).round().cast(pl.Int64)
    return pl.col(column).cast(pl.Int64)


def as_seen_by_masks(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with money as floats: a correctly rounded quotient keeps order and equality."""
    money = [c.name for c in SEEN_ENTRIES.columns if c.type is Type.MONEY]
    return frame.with_columns(pl.col(money).cast(pl.Float64))


def order_by_time(transactions: pl.LazyFrame, row: str) -> npt.NDArray[np.uint32]:
    """Row numbers of payments by (booked_at, transaction_id)."""
    ids = transactions.select(row, "booked_at", "transaction_id").collect(engine="streaming")
    return ids.sort("booked_at", "transaction_id")[row].cast(pl.UInt32).to_numpy()


def load(
    entries: pl.LazyFrame,
    payments_in_order: npt.NDArray[np.uint32],
    *,
    masks: Conditions | Sequence[pl.Expr],
    flags: Mapping[str, Flags] | None = None,
    values: Sequence[str] = (),
    codes: Sequence[str] = ("account_id",),
    row: str = "row",
) -> Entries:
    """Read entries into arrays.

    Parameters
    ----------
    entries: ``features.entries.entries(..., row=row)``.
    payments_in_order: ``order_by_time`` of the same payments.
    masks: conditions over entries with money as float (``as_seen_by_masks``); null selects
        nothing and is counted in ``undecided``.
    flags: what is known of the values of a column, by name; entries have the column ``place`` of each.
    values: numeric columns to keep as integers (null becomes 0: select them by a mask).
    codes: columns to keep as codes.

    Raises
    ------
    polars.exceptions.PolarsError: an expression does not fit the columns.
    """
    conditions = masks if isinstance(masks, Conditions) else Conditions(masks)
    flags = flags or {}
    wanted = {*conditions.columns(), *(f.place for f in flags.values()), *(f.column for f in flags.values())}
    program = conditions.compiled()
    categories = {name: pl.Categories.random(f"fintel-{name}", pl.UInt32) for name in _text(codes)}
    if "account_id" in categories and "counterparty_id" in categories:
        categories["counterparty_id"] = categories["account_id"]
    # Money is an integer for values and a float for masks: two views of the same rows.
    numbers = [_as_integer(name).fill_null(0).alias(f"v {name}") for name in values]
    keys = [_key(name, categories.get(name)).alias(f"c {name}") for name in codes]
    frame = as_seen_by_masks(entries.with_columns(*numbers, *keys)).select(
        pl.col(row).cast(pl.UInt32).alias(" row"),
        (pl.col("direction") == "out").cast(pl.UInt8).alias(" side"),
        pl.col("booked_at").to_physical().alias(" time"),
        *[f"v {name}" for name in values],
        *[f"c {name}" for name in codes],
        *sorted(wanted),
    )
    types: dict[str, npt.DTypeLike] = {" row": np.uint32, " side": np.uint8, " time": np.int64}
    types |= {f"v {name}": np.int64 for name in values}
    types |= {f"c {name}": np.int32 if name in categories else np.int64 for name in codes}
    room = _Room(2 * payments_in_order.size, types, len(conditions))
    with ThreadPoolExecutor(BATCHES_AT_ONCE, thread_name_prefix="fintel-load") as pool:
        waiting: deque[Future[_Counts]] = deque()
        for batch in frame.collect_batches(chunk_size=BATCH_ROWS, engine="streaming"):
            waiting.append(pool.submit(room.fill, room.reserve(batch.height), batch, program, flags))
            if len(waiting) > BATCHES_AT_ONCE:
                room.count(waiting.popleft().result())
        while waiting:
            room.count(waiting.popleft().result())
    time, row_numbers, side = (room.array(f" {name}") for name in ("time", "row", "side"))
    coded: dict[str, npt.NDArray[np.int32]] = {}
    dictionary: dict[str, pl.Series] = {}
    for name in codes:
        if name in categories:
            coded[name], dictionary[name] = room.array(f"c {name}"), categories[name].to_series()
        else:
            coded[name], dictionary[name] = _dense(room.array(f"c {name}"))
    return Entries(
        time=time,
        row=row_numbers,
        side=side,
        order=order.time_order(time, row_numbers, side, payments_in_order),
        words=tuple(room.array(name) for name in room.words),
        values={name: room.array(f"v {name}") for name in values},
        scales={name: scale_of(name) for name in values},
        codes=coded,
        dictionary=dictionary,
        selected=tuple(room.selected.tolist()),
        undecided=tuple(room.undecided.tolist()),
    )


class _Room:
    """Arrays that fill up batch by batch; what is never written costs no memory."""

    def __init__(self, size: int, types: Mapping[str, npt.DTypeLike], masks: int) -> None:
        self.words = tuple(f"w {number}" for number in range(-(-masks // BITS)))
        self.selected = np.zeros(masks, np.int64)
        self.undecided = np.zeros(masks, np.int64)
        self._size = size
        self._used = 0
        self._columns = tuple(types)
        self._arrays = {name: np.empty(size, type) for name, type in types.items()}
        self._arrays |= {name: np.zeros(size, np.int64) for name in self.words}

    def reserve(self, rows: int) -> slice:
        """Places for the next so many rows."""
        here = slice(self._used, self._used + rows)
        if here.stop > self._size:
            raise ValueError("entries of payments that are not in order")
        self._used = here.stop
        return here

    def fill(self, here: slice, batch: pl.DataFrame, program: Program, flags: Mapping[str, Flags]) -> _Counts:
        """Put a batch's columns, and its masks as bits, in their places; how many each mask selects and cannot decide.

        Batches have places of their own, so several threads may fill at once.
        """
        for name in self._columns:
            column = batch[name]
            if column.dtype == pl.UInt32 and name.startswith("c "):
                column = column.cast(pl.Int32).fill_null(-1)
            self._arrays[name][here] = column.to_numpy()
        return program.evaluate(batch, flags, [self._arrays[name][here] for name in self.words])

    def count(self, counts: _Counts) -> None:
        """Add a batch's counts."""
        self.selected += counts[0]
        self.undecided += counts[1]

    def array(self, name: str) -> npt.NDArray[Any]:
        """What is in a column, or in a word of masks, by now."""
        return self._arrays[name][: self._used]


def _text(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if SEEN_ENTRIES[name].type not in _NUMERIC]


def _key(name: str, categories: pl.Categories | None) -> pl.Expr:
    if categories is None:
        return _as_integer(name).fill_null(_NULL)
    return pl.col(name).cast(pl.Categorical(categories)).to_physical()


def _dense(column: Ints) -> tuple[npt.NDArray[np.int32], pl.Series]:
    """Integers as codes in their order; the dictionary gives them as text."""
    values = pl.Series(column)
    known = values.unique().sort()
    known = known.filter(known != _NULL)
    codes = known.search_sorted(values).cast(pl.Int32).to_numpy(writable=True)
    codes[column == _NULL] = -1
    return codes, known.cast(pl.String)
