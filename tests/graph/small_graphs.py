"""Random small graphs, and a part run over them: what the tests of motif kernels share."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from hypothesis import strategies as st

from fintel.graph import kernels_pairs
from fintel.graph.layout import EDGE, Part

HOUR = 3_600_000_000
#: Amounts close to each other, so that conservation holds often and fails often; -1 is unknown.
AMOUNTS = (-1, 0, 100, 94, 90, 85, 80, 105, 106, 50, 200)


@st.composite
def payments(draw, nodes=6, most=28, hours=14):
    """``(source, target, hour, amount)`` in time order, with equal times, parallels and self-transfers."""
    # The size is drawn first: lists left to themselves are mostly short, and then hardly anything happens in them.
    size = draw(st.one_of(st.integers(1, most), st.integers(most // 2, most)))
    node = st.integers(0, draw(st.integers(1, nodes - 1)))
    one = st.tuples(node, node, st.integers(0, draw(st.integers(1, hours))), st.sampled_from(AMOUNTS))
    rows = draw(st.lists(one, min_size=size, max_size=size))
    return sorted(rows, key=lambda row: row[2])


def filled(rows, unit=HOUR):
    edges = np.zeros(len(rows), EDGE)
    for name, k in (("source", 0), ("target", 1), ("time", 2), ("amount", 3)):
        edges[name] = [row[k] * unit if name == "time" else row[k] for row in rows]
    return edges


def run(part: Part, rows, nodes=6, chunk=None, unit=HOUR):
    """Columns by name and the truncated flags, with payments linked and processed ``chunk`` at a time (None: all at once)."""
    edges = filled(rows, unit)
    links = kernels_pairs.empty(nodes, 4)
    state = part.empty(nodes, 1)
    step = chunk or len(rows)
    columns = {c.name: [] for c in part.columns}
    flags = []
    for begin in range(0, len(rows), step):
        end = min(begin + step, len(rows))
        at = begin
        while (at := kernels_pairs.link(edges, at, end, links)) < end:
            links = kernels_pairs.more(links)
        state = part.grown(state, nodes, end)
        size = end - begin
        integers = np.zeros((part.integers, size), np.int32)
        reals = np.zeros((len(part.columns) - part.integers, size), np.float32)
        truncated = np.zeros(size, np.uint8)
        at = begin
        while (at := part.advance(edges, at, end, begin, part.settings, state, integers, reals, truncated)) < end:
            state = part.more(state)
        for column, values in zip(part.columns, [*integers, *reals], strict=True):
            columns[column.name].append(values)
        flags.append(truncated)
    return {name: np.concatenate(values) for name, values in columns.items()}, np.concatenate(flags)


def same(one, other):
    """Whether two results of :func:`run` are equal to the bit."""
    return np.array_equal(one[1], other[1]) and all(
        np.array_equal(values, other[0][name], equal_nan=True) for name, values in one[0].items()
    )


def hours(n):
    return timedelta(hours=n)
