"""The best way that money can have gone from one account to another: payments at strictly rising times.

*Best* is: fewest payments; of those the way whose smallest payment is largest (money that got through); of those the
one that arrives earliest. One pass over the payments a step, nothing grows with the number of ways.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.errors import FintelError
from fintel.graph.layout import MICROSECOND
from fintel.graph.network import Network

Array = npt.NDArray[Any]

_jit = numba.njit(nogil=True, cache=True)

#: Payments of a way at most, unless said otherwise.
HOPS = 6
_NEVER = np.iinfo(np.int64).max


def way(network: Network, source: str, target: str, *, hops: int = HOPS) -> pl.DataFrame:
    """The best way from ``source`` to ``target``: rows of ``Network.frame`` in time order, with ``hop`` from 1.

    Empty if there is none of at most ``hops`` payments. An unknown amount counts as zero. Raises ``FintelError`` if no
    payment names one of the two, if they are one, or if ``hops`` is not from 1 to 32.
    """
    if not 1 <= hops <= 32:
        raise FintelError("a way has from 1 to 32 payments")
    numbers = network.numbers(pl.Series([source, target], dtype=pl.String))
    for number, name in zip(numbers.tolist(), (source, target), strict=True):
        if number < 0:
            raise FintelError(f"no payment names the account '{name}'")
    if numbers[0] == numbers[1]:
        raise FintelError("a way leads from one account to another", hint="fintel graph motifs --kind cycle")
    edges = _way(
        network.source, network.target, network.time, network.amount, len(network.nodes), numbers[0], numbers[1], hops
    )
    return chosen(network, edges).with_row_index("hop", offset=1)


def chosen(network: Network, edges: Array) -> pl.DataFrame:
    """Rows of ``Network.frame`` for these edges only, without making the whole frame."""
    part = Network(
        network.source[edges], network.target[edges], network.time[edges], network.amount[edges], network.row[edges],
        network.nodes,
    )  # fmt: skip
    return part.frame.with_columns(edge=pl.Series(edges, dtype=pl.UInt32))


def between(network: Network, since: datetime | None, until: datetime | None) -> Network:
    """The network of the payments in [since, until], with the same nodes."""
    begin = 0 if since is None else int(np.searchsorted(network.time, _micros(since), "left"))
    end = len(network) if until is None else int(np.searchsorted(network.time, _micros(until), "right"))
    if (begin, end) == (0, len(network)):
        return network
    return _part(network, slice(begin, max(begin, end)))


def about(network: Network, members: Array, steps: int) -> Network:
    """The network of the payments of these accounts (numbers), and of those up to ``steps`` payments from them."""
    mine = np.zeros(len(network.nodes) + 1, bool)
    mine[members] = True
    for _ in range(steps):
        touched = mine[network.source] | mine[network.target]
        mine[network.source[touched]] = True
        mine[network.target[touched]] = True
    return _part(network, np.flatnonzero(mine[network.source] | mine[network.target]))


def near_in_time(network: Network, members: Array, within: int) -> Network:
    """The network of the payments that lie less than ``within`` µs from some payment of these accounts (numbers)."""
    mine = np.zeros(len(network.nodes) + 1, bool)
    mine[members] = True
    moments = network.time[mine[network.source] | mine[network.target]]
    if not moments.size:
        return _part(network, slice(0, 0))
    after = np.searchsorted(moments, network.time, "left")
    ahead = moments[np.minimum(after, moments.size - 1)] - network.time
    behind = network.time - moments[np.maximum(after - 1, 0)]
    close = ((ahead >= 0) & (ahead < within)) | ((behind >= 0) & (behind < within))
    return _part(network, np.flatnonzero(close))


def _part(network: Network, part: Array | slice) -> Network:
    return Network(
        network.source[part], network.target[part], network.time[part], network.amount[part], network.row[part],
        network.nodes,
    )  # fmt: skip


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


@_jit
def _steps(source: Array, target: Array, time: Array, nodes: int, begin: int, end: int, hops: int) -> int:
    """Payments of the shortest way in time order; 0 if there is none."""
    arrival = np.full(nodes, _NEVER, np.int64)
    arrival[begin] = np.iinfo(np.int64).min
    for k in range(1, hops + 1):
        after = arrival.copy()
        for e in range(time.size):
            if time[e] > arrival[source[e]] and time[e] < after[target[e]]:
                after[target[e]] = time[e]
        if after[end] != _NEVER:
            return k
        arrival = after
    return 0


@_jit
def _way(
    source: Array, target: Array, time: Array, amount: Array, nodes: int, begin: int, end: int, hops: int
) -> Array:
    """Edges of the best way, in order."""
    length = _steps(source, target, time, nodes, begin, end, hops)
    size = time.size
    before = np.full((max(length, 1), size), -1, np.int32)
    width = np.full(size, -1, np.int64)
    for e in range(size):
        if source[e] == begin and target[e] != begin:
            width[e] = max(amount[e], 0)
    for k in range(1, length):
        best = np.full(nodes, -1, np.int32)
        wider = np.full(size, -1, np.int64)
        first = 0
        for e in range(size):
            while time[first] < time[e]:
                v = target[first]
                if width[first] >= 0 and (best[v] < 0 or width[first] > width[best[v]]):
                    best[v] = first
                first += 1
            f = best[source[e]]
            if f >= 0 and target[e] != begin and source[e] != target[e]:
                wider[e] = min(width[f], max(amount[e], 0))
                before[k, e] = f
        width = wider
    last = -1
    if length > 0:
        for e in range(size):
            if target[e] == end and width[e] >= 0 and (last < 0 or width[e] > width[last]):
                last = e
    found = np.zeros(length, np.int64)
    for k in range(length - 1, -1, -1):
        found[k] = last
        last = before[k, last]
    return found
