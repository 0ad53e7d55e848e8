"""Networks of payments to measure on: an even, a hub-heavy and a dense one of our own, and ``fintel synth``.

Ours are drawn as many studies draw them: activity of accounts by a power law, 60 % of payments inside a small book
of regular payees, a rhythm of the day, log-normal amounts, whole seconds, and 0.11 % of payments planted in seven
shapes that take 0.2 to 1.8 days. The power follows from the share of the busiest payer. Who is paid often is another
than who pays often (employers here, shops there); in ``core`` it is the same, so that busy accounts pay each other
round and round. Equal arguments give equal networks. Files are kept in a folder and reused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from population import lake, say
from scipy.optimize import brentq

from fintel.domain.schema import MONEY_UNITS
from fintel.graph.network import Network, network
from fintel.pipeline import canonical_tables
from fintel.store.lake import Lake

Array = Any
Generator = np.random.Generator

SECOND = 1_000_000
_DAY = 86_400
_BEGUN = 1_735_689_600  # 1 January 2025
_PLANTED = 0.0011
_REGULAR = 0.6
_BOOK = 8
#: Of the payments of ``fintel synth`` this share has both sides in the bank's view (measured at 2,000 accounts).
_BOTH_SIDES = 0.883
#: Share of a day's payments by hour.
_HOURS = np.array([1, 1, 1, 1, 1, 2, 4, 7, 10, 11, 11, 11, 12, 11, 10, 10, 10, 10, 9, 8, 7, 5, 3, 2], float)


@dataclass(frozen=True)
class Shape:
    """Accounts for each million payments; the share of payments that the busiest payer makes, and as much of those
    outside its book the busiest payee gets; whether who pays much is paid much."""

    accounts: int
    busiest: float
    words: str
    same: bool = False


SHAPES = {
    "even": Shape(100_000, 0.004, "100,000 accounts a million payments, the busiest makes 0.4 %"),
    "hub": Shape(100_000, 0.03, "the same, but the busiest makes 3 %"),
    "dense": Shape(20_000, 0.004, "20,000 accounts a million payments: five a day of each"),
    "core": Shape(20_000, 0.001, "as dense, and busy payers are busy payees: cycles abound", same=True),
}
DAYS = 10


def drawn(folder: Path, shape: str, payments: int, seed: int) -> Path:
    """The file of one of our own networks."""
    target = folder / f"{shape}-{payments}-{seed}.npz"
    if not target.is_file():
        say(f"drawing {shape}, {payments:,} payments")
        _write(target, **draw(SHAPES[shape], payments, seed))
    return target


def synthetic(folder: Path, payments: int, seed: int, days: int = 365) -> tuple[Path, dict[str, float]]:
    """The file of a network of ``fintel synth`` with about so many payments, and the seconds that ``network`` took."""
    target = folder / f"synth-{payments}-{seed}.npz"
    seconds: dict[str, float] = {}
    if not target.is_file():
        store = lake(folder, round(payments / _BOTH_SIDES), days, seed)
        with Lake.open(store) as opened:
            begun = time.perf_counter()
            net = network(canonical_tables(opened))
            seconds["lake to network"] = round(time.perf_counter() - begun, 2)
        say(f"synth: {len(net):,} payments with both sides, {seconds['lake to network']} s from the lake")
        _write(target, net.source, net.target, net.time, net.amount, np.zeros(len(net), np.uint8))
    return target, seconds


def loaded(file: Path, payments: int | None = None) -> tuple[Network, Array]:
    """The network of a file, or of its first payments, and which of them are planted (0: none, else the shape)."""
    with np.load(file) as held:
        arrays = {name: held[name][:payments] for name in ("source", "target", "time", "amount", "planted")}
    size = arrays["source"].size
    nodes = int(max(arrays["source"].max(initial=-1), arrays["target"].max(initial=-1))) + 1
    net = Network(
        arrays["source"], arrays["target"], arrays["time"], arrays["amount"],
        row=np.arange(size, dtype=np.uint32), nodes=pl.Series("node", range(nodes)).cast(pl.String),
    )  # fmt: skip
    return net, arrays["planted"]


def _write(target: Path, source: Array, target_node: Array, when: Array, amount: Array, planted: Array) -> None:
    part = target.with_suffix(".part.npz")
    np.savez(part, source=source, target=target_node, time=when, amount=amount, planted=planted)
    part.rename(target)


def draw(shape: Shape, payments: int, seed: int) -> dict[str, Array]:
    """Columns of a network: nodes numbered by first appearance, payments in order of time."""
    rng = np.random.default_rng([seed, payments])
    accounts = max(round(shape.accounts * payments / 1_000_000), 200)
    weights = _activity(accounts, shape.busiest)
    popular = weights if shape.same else weights[rng.permutation(accounts)]
    planted = _planting(rng, accounts, round(_PLANTED * payments))
    life = payments - planted[0].size
    source = rng.choice(accounts, life, p=weights)
    book = rng.choice(accounts, (accounts, _BOOK), p=popular)
    # Squared, so that the first of the book is paid most.
    slot = (_BOOK * rng.random(life) ** 2).astype(np.int64)
    target = np.where(rng.random(life) < _REGULAR, book[source, slot], rng.choice(accounts, life, p=popular))
    target = np.where(target == source, (target + 1) % accounts, target)
    hour = rng.choice(24, life, p=_HOURS / _HOURS.sum())
    when = rng.integers(0, DAYS, life) * _DAY + hour * 3_600 + rng.integers(0, 3_600, life)
    level = 4.2 + 0.8 * rng.standard_normal(accounts)
    amount = np.exp(level[source] + 0.9 * rng.standard_normal(life))
    columns = [
        np.concatenate(two)
        for two in zip((source, target, when, amount, np.zeros(life, np.uint8)), planted, strict=True)
    ]
    order = np.argsort(columns[2], kind="stable")
    source, target, when, amount, mark = (column[order] for column in columns)
    source, target = _by_appearance(source, target)
    cents = np.maximum(np.round(amount * 100), 1).astype(np.int64)
    return {
        "source": source, "target_node": target, "when": (when + _BEGUN) * SECOND,
        "amount": cents * (MONEY_UNITS // 100), "planted": mark,
    }  # fmt: skip


def _activity(accounts: int, busiest: float) -> Array:
    """Shares of accounts by the power law whose first has ``busiest``."""
    ranks = np.arange(1, accounts + 1, dtype=float)

    def too_steep(power: float) -> float:
        return float(1 / (ranks**-power).sum() - busiest)

    weights = ranks ** -float(brentq(too_steep, 0, 3))
    return weights / weights.sum()


def _by_appearance(source: Array, target: Array) -> tuple[Array, Array]:
    both = np.column_stack([source, target]).ravel()
    known, first, code = np.unique(both, return_index=True, return_inverse=True)
    number = np.empty(known.size, np.int32)
    number[np.argsort(first)] = np.arange(known.size, dtype=np.int32)
    both = number[code.ravel()]
    return np.ascontiguousarray(both[0::2]), np.ascontiguousarray(both[1::2])


def _planting(rng: Generator, accounts: int, payments: int) -> tuple[Array, ...]:
    """About so many payments in shapes: source, target, seconds from the begin, amount, number of the shape."""
    parts: list[tuple[Array, ...]] = []
    count, turn = 0, 0
    while count < payments:
        kind = turn % len(_MOTIFS)
        steps, shares = _MOTIFS[kind](rng)
        who = rng.choice(accounts, max(max(step) for step in steps) + 1, replace=False)
        begin = rng.uniform(0, DAYS - 1.8) * _DAY
        offset = np.sort(rng.uniform(0, rng.uniform(0.2, 1.8) * _DAY, len(steps)))
        ends = np.array(steps)
        amount = rng.lognormal(8, 0.6) * np.array(shares)
        mark = np.full(len(steps), kind + 1, np.uint8)
        parts.append((who[ends[:, 0]], who[ends[:, 1]], (begin + offset).astype(np.int64), amount, mark))
        count, turn = count + len(steps), turn + 1
    if not parts:
        return tuple(np.zeros(0, kind) for kind in (np.int64, np.int64, np.int64, float, np.uint8))
    return tuple(np.concatenate([part[i] for part in parts]) for i in range(5))


_Motif = tuple[list[tuple[int, int]], list[float]]


def _fan_out(rng: Generator) -> _Motif:
    k = int(rng.integers(5, 16))
    return [(0, 1 + i) for i in range(k)], [1 / k] * k


def _fan_in(rng: Generator) -> _Motif:
    k = int(rng.integers(5, 16))
    return [(1 + i, 0) for i in range(k)], [1 / k] * k


def _cycle(rng: Generator) -> _Motif:
    k = int(rng.integers(3, 9))
    return [(i, (i + 1) % k) for i in range(k)], [0.98**i for i in range(k)]


def _scatter_gather(rng: Generator) -> _Motif:
    k = int(rng.integers(3, 9))
    return [(0, 2 + i) for i in range(k)] + [(2 + i, 1) for i in range(k)], [1 / k] * k + [0.98 / k] * k


def _gather_scatter(rng: Generator) -> _Motif:
    k = int(rng.integers(3, 9))
    return [(1 + i, 0) for i in range(k)] + [(0, 1 + k + i) for i in range(k)], [1 / k] * k + [0.98 / k] * k


def _bipartite(rng: Generator) -> _Motif:
    a, b = (int(x) for x in rng.integers(2, 5, 2))
    return [(i, a + j) for i in range(a) for j in range(b)], [1 / (a * b)] * (a * b)


def _chain(rng: Generator) -> _Motif:
    k = int(rng.integers(3, 8))
    return [(i, i + 1) for i in range(k)], [0.98**i for i in range(k)]


_MOTIFS: tuple[Callable[[Generator], _Motif], ...] = (
    _fan_out, _fan_in, _cycle, _scatter_gather, _gather_scatter, _bipartite, _chain,
)  # fmt: skip
