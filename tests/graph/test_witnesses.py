"""Witnesses: the payments behind a number of a payment are there, are of the past, and make that very number."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fintel.features.entries import Tables
from fintel.graph.entry_columns import entry_graph
from fintel.graph.network import network
from fintel.graph.witnesses import MOTIFS, WITNESS_OF, witnesses
from tests.graph.test_entry_columns import tables

DAY, WEEK, MONTH = (n * 24 * 3_600_000_000 for n in (1, 7, 30))
QUICK = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
ACCOUNTS = ("a", "b", "c", "d", "e", "f")
AMOUNTS = [100.0, 99.0, 95.0, 90.0, 86.0, 60.0, 250.0, None]
Rows = list[tuple[float, str | None, str | None, float | None]]


def payments(hours: int, most: int = 45) -> st.SearchStrategy[Rows]:
    row = st.tuples(
        st.integers(0, hours * 2).map(lambda half: half / 2), st.sampled_from(ACCOUNTS), st.sampled_from(ACCOUNTS),
        st.sampled_from(AMOUNTS),
    )  # fmt: skip
    return st.lists(row, min_size=5, max_size=most).map(lambda rows: sorted(rows, key=lambda r: r[0]))


def shown(feed: Tables):
    """By motif and payment: the column's value, what was found, and the payments as rows of the network."""
    known = network(feed)
    columns = (
        entry_graph(feed)
        .filter(pl.col("entry_id").str.ends_with("/out"))
        .with_columns(row=pl.col("entry_id").str.extract(r":(\d+)/").cast(pl.UInt32))
        .collect()
    )
    asked = pl.concat(
        columns.select("row", motif=pl.lit(name), counted=pl.col(m.column).cast(pl.Float64), value=m.column).cast(
            {"value": pl.Float64}
        )
        for name, m in MOTIFS.items()
    )
    found, legs = witnesses(known, asked.select("motif", "row", "counted"))
    at = {int(row): e for e, row in enumerate(known.row)}
    mine: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for motif, row, hop, leg in legs.select("motif", "row", "hop", "leg").iter_rows():
        mine.setdefault((motif, row), []).append((hop, at[leg]))
    numbers = {(m, r): (n, p) for m, r, n, p in found.select("motif", "row", "number", "payments").iter_rows()}
    assert set(numbers) == set(mine)
    return known, {(m, r): v for m, r, v in asked.select("motif", "row", "value").iter_rows()}, numbers, mine, at


def passes(known, f, g):
    x, y = int(known.amount[f]), int(known.amount[g])
    return x > 0 and y >= 0 and x * 0.85 <= y <= x * 1.05


def is_cycle(known, e, edges):
    assert edges[-1] == e and known.source[edges[0]] == known.target[e]
    assert all(known.target[f] == known.source[g] and known.time[f] < known.time[g] for f, g in pairwise(edges))
    assert known.time[edges[0]] > known.time[e] - WEEK
    assert len({int(known.source[f]) for f in edges}) == len(edges)


def kept_share(known, edges):
    amounts = known.amount[edges]
    return amounts.min() / amounts.max() if amounts.min() >= 0 and amounts.max() > 0 else None


def check(known, motif, value, number, e, legs):
    """That these payments are such a motif as of payment ``e``, of the size that the column says."""
    edges = [edge for _, edge in legs]
    into = [f for hop, f in legs if hop == 1]
    out = [f for hop, f in legs if hop == 2]
    u, v, t = int(known.source[e]), int(known.target[e]), int(known.time[e])
    assert len(set(edges)) == len(edges) and all(known.time[f] <= t and f <= e for f in edges)
    if motif.startswith("cycle") or motif == "triangle":
        is_cycle(known, e, edges)
        if motif in ("cycle", "cycle-kept"):
            assert value == len(edges)
        elif motif == "triangle":
            assert len(edges) == 3 and value >= 1
        elif motif == "cycle-conserved":
            assert value >= 1 and all(passes(known, f, g) for f, g in pairwise(edges))
        else:
            assert value == pytest.approx((t - known.time[edges[0]]) / 3.6e9, abs=1e-4)
    elif motif.endswith("chain"):
        assert value == len(edges) and edges[-1] == e
        low, high = (0.85, 1.05) if motif == "chain" else (0.5, 0.99)
        for f, g in pairwise(edges):
            assert known.target[f] == known.source[g] and 0 < known.time[g] - known.time[f] <= 2 * DAY
            assert known.amount[f] * low <= known.amount[g] <= known.amount[f] * high
    elif motif == "gather-scatter":
        assert all(known.target[f] == u for f in into) and all(known.source[f] == u for f in out)
        assert max(known.time[into]) < min(known.time[out]) and min(known.time[into]) > t - WEEK
        assert value == min(len({int(known.source[f]) for f in into}), len({int(known.target[f]) for f in out}))
    elif motif == "reciprocal":
        assert all((known.source[f], known.target[f]) == (v, u) for f in into) and e in out
        assert value == len(into) and all(t - MONTH < known.time[f] < t for f in into)
        assert all((known.source[f], known.target[f]) == (u, v) for f in out)
    else:
        assert all(known.target[g] == v and known.time[g] > t - DAY for g in out)
        ways = [
            (int(known.source[f]), int(known.target[f]))
            for f in into
            for g in out
            if known.target[f] == known.source[g] and known.time[f] < known.time[g]
            and (motif != "scatter-gather-conserved" or passes(known, f, g))
        ]  # fmt: skip
        assert all(known.time[f] > t - DAY for f in into)
        reached = {s: len({m for p, m in ways if p == s}) for s, _ in ways}
        if motif == "stack":
            assert len(reached) == value and min(reached.values()) >= value
        else:
            assert list(reached.values()) == [value] and {m for _, m in ways} == {int(known.target[f]) for f in into}
            assert motif == "scatter-gather-conserved" or u in {m for _, m in ways}
    assert value == pytest.approx(number, abs=1e-4)


@QUICK
@given(rows=st.one_of(payments(20), payments(24 * 6), payments(24 * 25)))
def test_a_number_and_its_witness_agree(rows: Rows) -> None:
    """Wherever a column says that there is a motif there is a witness, of that size; else there is none."""
    known, values, numbers, mine, at = shown(tables(rows))
    least = {"chain": 2, "peel-chain": 2, "cycle-fastest": 1e-12}
    for (motif, row), value in values.items():
        if value is None or value < least.get(motif, 1):
            assert (motif, row) not in numbers or value is None or motif == "cycle-kept"
            continue
        number, count = numbers[motif, row]
        assert count == len(mine[motif, row])
        check(known, motif, value, number, at[row], mine[motif, row])
    kept = entry_graph(tables(rows)).select("entry_id", "cycle_retention").collect()
    shares = {int(e.split(":")[1].split("/")[0]): v for e, v in kept.iter_rows()}
    for motif, row in mine:
        if motif == "cycle-kept":
            share = kept_share(known, [edge for _, edge in mine[motif, row]])
            assert shares[row] == pytest.approx(share, abs=1e-6)


def test_every_motif_is_witnessed_somewhere() -> None:
    """A property that holds of nothing holds: so each motif is planted once, with the payments that must come."""
    planted = {
        "cycle": [(0, "a", "b", 100), (5, "b", "c", 95), (9, "c", "a", 93)],
        "peel-chain": [(0, "a", "b", 100), (5, "b", "c", 80), (9, "c", "d", 60), (20, "d", "e", 50)],
        "stack": [(h, s, m, 100) for h, s in ((0, "a"), (1, "b")) for m in "cd"] + [(3, m, "e", 100) for m in "cd"],
        "gather-scatter": [(h, s, "x", 100) for h, s in enumerate("abc")] + [(30 + h, "x", s, 100) for h, s in enumerate("def")],
        "reciprocal": [(0, "a", "b", 100), (100, "b", "a", 50), (200, "a", "b", 50)],
    }  # fmt: skip
    also = {
        "cycle": ["triangle", "cycle-kept", "cycle-fastest", "cycle-conserved", "chain"],
        "stack": ["scatter-gather", "scatter-gather-conserved"],
    }
    seen = set()
    for name, rows in planted.items():
        _, _, _, mine, at = shown(tables([(float(h), u, v, float(x)) for h, u, v, x in rows]))
        last = len(rows) - 1
        for motif in (name, *also.get(name, ())):
            legs = mine[motif, last]
            seen.add(motif)
            if motif in ("scatter-gather", "scatter-gather-conserved"):
                assert len(legs) == 4
            else:
                assert sorted(e for _, e in legs) == list(range(len(rows)))
    assert seen == set(MOTIFS)


def test_a_hub_left_out_of_the_count_is_left_out_of_the_witness() -> None:
    """More accounts lie between than the hub policy let count: as many are shown as were counted."""
    rows = [(0.0, "s", m, 100.0) for m in "abchx"]
    rows += [(0.5, f"p{n:03d}", "h", 1.0) for n in range(140)]
    rows += [(1 + n / 10, m, "w", 98.0) for n, m in enumerate("habcx")]
    known, values, numbers, mine, at = shown(tables(rows))
    last = len(rows) - 1
    assert values["scatter-gather", last] == 4 == numbers["scatter-gather", last][0]
    check(known, "scatter-gather", 4, 4, at[last], mine["scatter-gather", last])


def test_what_a_limit_leaves_out_is_counted() -> None:
    rows = [(n / 10, f"p{n}", "x", 100.0) for n in range(30)] + [(24 + n / 10, "x", f"q{n}", 100.0) for n in range(30)]
    feed = tables(rows)
    asked = pl.DataFrame({"motif": ["gather-scatter", "cycle"], "row": [59, 59], "counted": [30.0, 0.0]})
    found, legs = witnesses(network(feed), asked, limit=20)
    assert found.rows() == [("gather-scatter", 59, 30.0, 60)]
    assert legs.group_by("hop").len().sort("hop").rows() == [(1, 10), (2, 10)]
    assert set(legs["leg"]) == {*range(20, 30), *range(50, 60)}


def test_rows_that_are_no_payments_between_two_have_none() -> None:
    feed = tables([(0.0, "a", None, 1.0), (1.0, "a", "a", 1.0), (2.0, "a", "b", 1.0)])
    asked = pl.DataFrame({"motif": ["cycle"] * 4, "row": [0, 1, 2, 99], "counted": [2.0] * 4})
    found, legs = witnesses(network(feed), asked)
    assert found.is_empty() and legs.is_empty()
    assert set(WITNESS_OF.values()) == set(MOTIFS) and np.all([m.unit for m in MOTIFS.values()])
