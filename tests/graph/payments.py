"""Random payments for the tests of the graph stage."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from fintel.graph.layout import Settings
from fintel.graph.network import Network

HOUR = 3_600_000_000
SETTINGS = Settings(
    windows=(timedelta(hours=3), timedelta(hours=10), timedelta(hours=40)),
    meeting_windows=(timedelta(hours=3), timedelta(hours=10)),
    cycle_windows=(timedelta(hours=10), timedelta(hours=40)),
    dwell=timedelta(hours=6),
)
_AMOUNTS = st.one_of(
    st.integers(-1, 3),
    st.sampled_from([100_000_000, 100_000_001, 95_000_000, 90_000_000]),
    st.integers(0, 10**15),
)


def network_of(rows: list[tuple[int, int, int, int]], nodes: int) -> Network:
    """A network of (source, target, time, amount), in their order, whose times must not fall."""
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Network(
        source=columns[0].astype(np.int32),
        target=columns[1].astype(np.int32),
        time=np.ascontiguousarray(columns[2]),
        amount=np.ascontiguousarray(columns[3]),
        row=np.arange(len(rows), dtype=np.uint32),
        nodes=pl.Series("node", [f"n{i}" for i in range(nodes)], dtype=pl.String),
    )


def networks(nodes: int = 6, most: int = 40, hours: int = 50) -> Any:
    """Networks with equal times, self-transfers, parallel and unknown amounts."""
    row = st.tuples(
        st.integers(0, nodes - 1), st.integers(0, nodes - 1), st.integers(0, hours).map(lambda h: h * HOUR), _AMOUNTS
    )
    return st.lists(row, max_size=most).map(lambda rows: network_of(sorted(rows, key=lambda r: r[2]), nodes))


def large(payments: int = 3_000, nodes: int = 200, days: int = 30, seed: int = 1) -> Network:
    """Some accounts pay and are paid much more than others; a hub; a few self-transfers; whole seconds, so some are equal."""
    random = np.random.default_rng(seed)
    weight = 1 / (np.arange(nodes) + 2.0)
    ends = random.choice(nodes, (payments, 2), p=weight / weight.sum())
    time = np.sort(random.integers(0, days * 86_400 // 600, payments)) * 600_000_000
    amount = np.round(np.exp(random.normal(6, 1.5, payments)) * 100).astype(np.int64) * 1_000
    amount[random.random(payments) < 0.02] = -1
    return network_of(list(zip(*ends.T, time, amount, strict=True)), nodes)
