"""What a rule asks of entries outside its partition: the other side of a payment, and peers.

Both are answered by a sweep of their own before the rule is evaluated, and looked up by anchor entry.
Neither sees the future: the other side's window ends with the payment itself, and peers are judged by
blocks of 30 days that ended before the entry's block began.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.engine.arrays import BITS, Entries
from fintel.engine.local import sweep
from fintel.engine.partition import Measure as Window
from fintel.engine.partition import Slice, partition
from fintel.rules.compiler import CompiledRule, Peers, mask_of

#: Peers are compared by blocks of 30 days (µs), counted from 1970.
BLOCK = 30 * 86_400_000_000
#: A smaller group of peers is widened by leaving out what it has in common, last named first.
PEERS_AT_LEAST = 30

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Twins:
    """Values of a measure on the other side: of entries ``entry`` (ascending), ``value``."""

    entry: Ints
    value: Floats

    def of(self, entries: npt.NDArray[np.int32]) -> Floats:
        """Values at entries (-1 = there is no other side): float64, NaN where unknown."""
        if self.entry.size == 0:
            return np.full(entries.size, np.nan)
        place = np.minimum(np.searchsorted(self.entry, entries), self.entry.size - 1)
        return np.where(self.entry[place] == entries, self.value[place], np.nan)


@dataclass(frozen=True)
class Usual:
    """What is usual among peers: for each block and group, the quantile; ``by`` columns as codes.

    ``tables``: the finest grouping first; each with ``block``, the codes of its columns, ``usual``
    and ``accounts``, and only groups that are large enough.
    """

    by: tuple[str, ...]
    tables: tuple[pl.DataFrame, ...]

    def at(self, data: Entries, entries: npt.NDArray[np.uint32]) -> pl.Series:
        """The usual value at entries: float64, null where there are too few peers."""
        asked = pl.DataFrame({"block": data.time[entries] // BLOCK} | {c: data.codes[c][entries] for c in self.by})
        found = []
        for kept in range(len(self.by), -1, -1):
            keys = ["block", *self.by[:kept]]
            table = self.tables[len(self.by) - kept].select(*keys, "usual")
            found.append(asked.join(table, on=keys, how="left", maintain_order="left")["usual"])
        return pl.select(pl.coalesce(found)).to_series()


class Across:
    """Answers of other partitions for the rules of a plan. ``prepare`` a rule, then ask what is ``given``."""

    def __init__(self, data: Entries, threads: int) -> None:
        self.data, self.threads = data, threads
        self._twin: npt.NDArray[np.int32] | None = None
        self._done: dict[tuple[Window, int], Twins] = {}
        self._usual: dict[tuple[str, str], Usual] = {}

    @property
    def twin(self) -> npt.NDArray[np.int32]:
        """For each entry, the entry of the same payment on the other side, or -1."""
        if self._twin is None:
            self._twin = _other_sides(self.data)
        return self._twin

    def prepare(self, rule: CompiledRule) -> None:
        """Sweep for what a rule asks of other partitions."""
        for window in rule.twins.values():
            key = (window, rule.anchor_mask)
            if key not in self._done:
                anchors = np.flatnonzero(self.data.mask(rule.anchor_mask))
                self._done[key] = _at_twins(self.data, window, self.twin[anchors], self.threads)
        for name, peers in rule.peers.items():
            self._usual[rule.rule.id, name] = _usual(self.data, rule, peers, self.threads)

    def given(self, piece: Slice, rule: CompiledRule) -> dict[str, pl.Series]:
        """Those measures of a rule that this knows, at its anchors in a slice."""
        if not rule.twins and not rule.peers:
            return {}
        entries = piece.rows[piece.anchors(rule.anchor)]
        found = {
            name: pl.Series(self._done[window, rule.anchor_mask].of(self.twin[entries]))
            for name, window in rule.twins.items()
        }
        return found | {name: self._usual[rule.rule.id, name].at(self.data, entries) for name in rule.peers}

    def evidence(self, rule: CompiledRule, peaks: pl.DataFrame, limit: int) -> pl.DataFrame:
        """Entries of the other side that make a rule's measures at the peaks of its episodes.

        ``peaks``: ``part`` and ``number`` (which name the episode) and ``entry``. All of a rule at once: each
        sweep looks at all entries.

        Columns ``part``, ``number``, ``entry``, ``rows`` (how many there are in truth), ``measure``.
        """
        names = {"part": pl.Int64(), "number": peaks.schema["number"]}
        schema = pl.Schema({**names, "entry": pl.Int64(), "rows": pl.Int64(), "measure": pl.String()})
        parts = [schema.to_frame()]
        asked = peaks.select(*names, twin=pl.Series(self.twin[peaks["entry"].to_numpy()]).cast(pl.Int64))
        asked = asked.filter(pl.col("twin") >= 0)
        for name, window in rule.twins.items() if asked.height else ():
            rows = _twin_entries(self.data, window, asked["twin"].unique().to_numpy(), limit, self.threads)
            parts.append(
                asked.join(rows, on="twin", maintain_order="left")
                .select(*names, "entry", "rows", measure=pl.lit(name))
                .cast(dict(schema))  # type: ignore[arg-type]
            )
        return pl.concat(parts)


def _other_sides(data: Entries) -> npt.NDArray[np.int32]:
    """For each entry, the entry of the same payment on the other side, or -1."""
    size = int(data.row.max(initial=0)) + 1
    place = np.full((2, size), -1, np.int32)
    place[data.side, data.row] = np.arange(len(data), dtype=np.int32)
    return place[1 - data.side, data.row]


def with_mask(data: Entries, entries: npt.NDArray[np.integer]) -> tuple[Entries, int]:
    """The same entries with one more mask, which selects some of them; and its number."""
    flags = np.zeros(len(data), np.int64)
    flags[entries] = 1
    number = BITS * len(data.words)
    return replace(data, words=(*data.words, flags)), number


def _at_twins(data: Entries, window: Window, twin: npt.NDArray[np.int32], threads: int) -> Twins:
    wanted, mask = with_mask(data, np.unique(twin[twin >= 0]))
    pieces = partition(wanted, ("account_id",), (mask_of(window.mask), mask))

    def evaluate(piece: Slice) -> tuple[Ints, Floats]:
        return piece.rows[piece.anchors(mask)].astype(np.int64), piece.measure(window, mask)

    found = list(sweep(pieces, evaluate, threads=threads))
    entry = np.concatenate([e for e, _ in found]) if found else np.empty(0, np.int64)
    value = np.concatenate([v for _, v in found]) if found else np.empty(0)
    order = np.argsort(entry)
    return Twins(entry[order], value[order])


def _twin_entries(data: Entries, window: Window, twins: Ints, limit: int, threads: int) -> pl.DataFrame:
    """The latest entries of the windows of entries of the other side.

    Columns ``twin``, ``entry``, ``rows`` (how many there are in truth).
    """
    accounts = data.codes["account_id"]
    asked = np.zeros(int(accounts.max(initial=-1)) + 2, np.bool_)  # the last place is for no account
    asked[accounts[twins]] = True
    nearby = data.mask(mask_of(window.mask)).view(np.bool_) & asked[accounts]
    wanted, mask = with_mask(data, twins)
    wanted, near = with_mask(wanted, np.flatnonzero(nearby))

    def evaluate(piece: Slice) -> pl.DataFrame:
        anchors = piece.anchors(mask)
        found = piece.window(near, mask, window.span, window.offset)
        rows, kept, counts = found.entries_of(np.arange(anchors.size), limit)
        return pl.DataFrame(
            {
                "twin": np.repeat(piece.rows[anchors].astype(np.int64), kept),
                "entry": piece.rows[rows].astype(np.int64),
                "rows": np.repeat(counts, kept),
            }
        )

    return pl.concat(sweep(partition(wanted, ("account_id",), (mask, near)), evaluate, threads=threads))


def _usual(data: Entries, rule: CompiledRule, peers: Peers, threads: int) -> Usual:
    """Quantiles of the accounts' highest values over the blocks before each block."""

    def highest(piece: Slice) -> pl.DataFrame:
        anchors = piece.anchors(rule.anchor)
        entries = piece.rows[anchors]
        columns = {name: data.codes[name][entries] for name in peers.by}
        frame = pl.DataFrame(
            {"account": data.codes["account_id"][entries], "block": piece.time[anchors] // BLOCK, **columns}
        )
        value = pl.Series("value", piece.measure(rule.windows[peers.of], rule.anchor)).fill_nan(None)
        return (
            frame.with_columns(value)
            .filter(pl.col("value").is_not_null())
            .group_by("account", "block")
            .agg(pl.col("value").max(), pl.col(list(peers.by)).last())
        )

    parts = list(sweep(partition(data, rule.rule.per, rule.masks), highest, threads=threads))
    empty = {"account": pl.Int32, "block": pl.Int64, "value": pl.Float64} | dict.fromkeys(peers.by, pl.Int32)
    known = pl.concat(parts) if parts else pl.DataFrame(schema=empty)
    # an account that two slices share (a partition by more than the account) counts once
    known = known.group_by("account", "block").agg(pl.col("value").max(), pl.col(list(peers.by)).last())
    later = known.join(pl.DataFrame({"ahead": range(1, peers.blocks + 1)}, schema={"ahead": pl.Int64}), how="cross")
    seen = (
        later.with_columns(block=pl.col("block") + pl.col("ahead"))
        .sort("account", "block", "ahead")
        .group_by("account", "block", maintain_order=True)
        .agg(pl.col("value").max(), pl.col(list(peers.by)).first())
    )
    tables = []
    for kept in range(len(peers.by), -1, -1):
        keys = ["block", *peers.by[:kept]]
        groups = seen.filter(pl.all_horizontal(pl.col(c) >= 0 for c in peers.by[:kept]) if kept else pl.lit(value=True))
        table = groups.group_by(keys).agg(
            usual=pl.col("value").quantile(peers.quantile, interpolation="linear"), accounts=pl.len()
        )
        tables.append(table.filter(pl.col("accounts") >= PEERS_AT_LEAST).sort(keys))
    return Usual(peers.by, tuple(tables))
