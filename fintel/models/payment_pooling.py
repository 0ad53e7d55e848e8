"""From payments to accounts: scores of an account's payments in a period, pooled to one.

Three ways, in natural log odds like a payment's margin p:

* ``max``: the highest;
* ``top_3``: the mean of the three highest (of fewer where there are fewer);
* ``noisy_or``: log odds that at least one is suspicious, if they were independent: 1 - prod(1 - sigmoid(p)) (Pearl,
  *Probabilistic Reasoning in Intelligent Systems*, 1988, 4.3.2).

A queue of payments and a queue of accounts with the same budget catch different accounts (arXiv 2604.23494): ``yields``
counts both, for payments by the accounts that they lead to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.errors import ModelError, did_you_mean
from fintel.frames import TIMESTAMP
from fintel.graph.layout import MICROSECOND
from fintel.graph.network import Network

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

#: ``pool``'s result. ``best``: the number of the network's edge that scores most.
POOLED: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "account_id": pl.String, "period": TIMESTAMP, "payments": pl.UInt32, "margin": pl.Float64, "best": pl.UInt32,
}  # fmt: skip


def pool(network: Network, margin: Floats, rows: slice, *, how: str, period: timedelta, begin: int) -> pl.DataFrame:
    """Accounts and periods with their payments' scores pooled: ``POOLED``, ordered by period and account.

    Both sides of a payment have its score; a payment to oneself counts once.

    Parameters
    ----------
    margin: log odds of the payments in ``rows``, of no others.
    how: a name in ``POOLINGS``.
    period: length of one; the first begins at ``begin`` (µs UTC), at or before the first payment.
    """
    if how not in POOLINGS:
        raise ModelError(f"there is no pooling '{how}'", hint=did_you_mean(how, POOLINGS) or ", ".join(POOLINGS))
    source, target, time = network.source[rows], network.target[rows], network.time[rows]
    if margin.shape != time.shape:
        raise ValueError(f"margin must be of the {time.size} payments in rows")
    if not margin.size:
        return pl.DataFrame(schema=dict(POOLED))
    length = period // MICROSECOND
    number = (time - begin) // length
    if number[0] < 0:
        raise ValueError("a payment lies before the first period")
    edge = np.arange(rows.start, rows.stop)
    other = source != target
    node = np.concatenate([source, target[other]])
    of, margins = (np.concatenate([a, a[other]]) for a in (number, margin))
    edges = np.concatenate([edge, edge[other]])
    order = np.lexsort((edges, -margins, node, of))
    node, of, margins, edges = node[order], of[order], margins[order], edges[order]
    first = np.flatnonzero(np.append(True, (node[1:] != node[:-1]) | (of[1:] != of[:-1])))
    found = pl.DataFrame(
        {
            "account_id": network.nodes.gather(node[first]),
            "period": pl.Series(begin + of[first] * length).cast(TIMESTAMP),
            "payments": np.diff(first, append=margins.size),
            "margin": POOLINGS[how](margins, first),
            "best": edges[first],
        }
    )
    return found.cast(pl.Schema(POOLED)).sort("period", "account_id")


def _highest(margins: Floats, first: Array) -> Floats:
    return margins[first]


def _top_3(margins: Floats, first: Array) -> Floats:
    count = np.diff(first, append=margins.size)
    total = margins[first].copy()
    for place in (1, 2):
        has = count > place
        total[has] += margins[first[has] + place]
    return np.asarray(total / np.minimum(count, 3))


def _noisy_or(margins: Floats, first: Array) -> Floats:
    # -log of the odds' complement: sum of softplus; log(exp(s) - 1) without overflow.
    nothing = np.add.reduceat(np.logaddexp(0.0, margins), first)
    return np.asarray(nothing + np.log(-np.expm1(-nothing)))


#: Ways of pooling. Each gets margins, highest first within an account and period, and where each of those begins.
POOLINGS: dict[str, Callable[[Floats, Array], Floats]] = {"max": _highest, "top_3": _top_3, "noisy_or": _noisy_or}


@dataclass(frozen=True)
class Yield:
    """What reading the first ``budget`` of a queue gives: ``hits`` reads of suspicious ones, ``accounts`` different
    accounts seen, ``caught`` of them suspicious; ``of``: all suspicious accounts."""

    budget: int
    hits: int
    accounts: int
    caught: int
    of: int


def yields(
    network: Network,
    margin: Floats,
    label: Floats,
    rows: slice,
    pooled: pl.DataFrame,
    suspicious: pl.Series,
    budget: int,
) -> tuple[Yield, Yield, float]:
    """Yields of the queue of payments and of the queue of accounts at one budget, and their overlap.

    Parameters
    ----------
    margin, label: of the payments in ``rows``. pooled: ``pool`` of the same, one period or more; an account counts by
        its best period. suspicious: ids of accounts. budget: payments, and accounts, that can be read.

    Returns
    -------
    Of payments, of accounts, and the Jaccard similarity of the accounts that both lead to.
    """
    guilty = np.zeros(len(network.nodes), bool)
    numbers = network.numbers(suspicious)
    guilty[numbers[numbers >= 0]] = True
    source, target = network.source[rows], network.target[rows]
    active = np.unique(np.concatenate([source, target]))
    of = int(guilty[active].sum())
    read = np.argsort(-margin, kind="stable")[:budget]
    led = np.unique(np.concatenate([source[read], target[read]]))
    payments = Yield(budget, int((label[read] == 1).sum()), led.size, int(guilty[led].sum()), of)
    best = pooled.group_by("account_id").agg(pl.col("margin").max())
    chosen = best.sort("margin", "account_id", descending=[True, False]).head(budget)["account_id"]
    seen = network.numbers(chosen)
    accounts = Yield(budget, int(guilty[seen].sum()), seen.size, int(guilty[seen].sum()), of)
    both = np.intersect1d(led, seen).size
    return payments, accounts, both / max(led.size + seen.size - both, 1)
