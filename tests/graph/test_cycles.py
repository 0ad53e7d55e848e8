"""Temporal cycles against enumeration of every sequence of payments."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import hours, payments, run, same

from fintel.graph import kernels_cycles
from fintel.graph.layout import Settings

WINDOW = 8


def part(hops=5, budget=100_000, cap=512, window=WINDOW):
    chosen = Settings(cycle_windows=(hours(window),), cycle_hops=hops, budget=16 * budget, cap=cap)
    return kernels_cycles.parts(chosen)[0]


def sequences(rows, e, hops, window=WINDOW):
    """Every sequence of payments, the last of them ``e``, that comes back to where it set out."""
    u, v, t, _ = rows[e]
    found = []

    def back(path, accounts):
        first = rows[path[0]]
        for g in range(path[0]):
            source, target, when, _ = rows[g]
            if target != first[0] or source == target or not t - window < when < first[2]:
                continue
            if source == v:
                found.append((g, *path))
            elif source not in accounts and len(path) + 1 < hops:
                back((g, *path), accounts | {source})

    if u != v:
        back((e,), {u, v})
    return found


def expected(rows, e, hops):
    found = sequences(rows, e, hops)
    chosen = {}
    for path in found:
        accounts = tuple(rows[g][0] for g in path)
        chosen[accounts] = max(chosen.get(accounts, ()), path[::-1])
    lengths = [len(accounts) for accounts in chosen]
    kept = [
        (len(path) > 2, min(amounts) / max(amounts), -len(path))
        for path in chosen.values()
        if min(amounts := [rows[g][3] for g in path]) >= 0 and max(amounts) > 0
    ]
    _, retention, longer = max(kept, default=(False, None, 0))
    conserved = sum(
        all(rows[f][3] > 0 and 0.85 * rows[f][3] <= rows[g][3] <= 1.05 * rows[f][3] for f, g in pairwise(path))
        for path in found
    )
    return {
        "cycles_2_8h": lengths.count(2),
        "cycles_3_8h": lengths.count(3),
        "cycles_4_8h": lengths.count(4),
        "cycles_5_6_8h": lengths.count(5) + lengths.count(6),
        "cycles_7_up_8h": sum(n >= 7 for n in lengths),
        "cycle_shortest_8h": min(lengths, default=0),
        "cycle_searched_8h": hops if rows[e][0] != rows[e][1] else 0,
        "cycles_conserved_8h": conserved,
        "cycle_kept_8h": -longer,
        "cycle_retention_8h": None if retention is None else np.float32(retention),
        "cycle_duration_8h": 3600 * (rows[e][2] - max(rows[path[0]][2] for path in found)) if found else None,
    }


def check(rows, hops, nodes=6):
    columns, truncated = run(part(hops), rows, nodes)
    assert not truncated.any()
    for e in range(len(rows)):
        for name, value in expected(rows, e, hops).items():
            got = columns[name][e]
            if value is None:
                assert np.isnan(got), (e, name, got)
            else:
                assert got == value, (e, name, got, value)


@settings(max_examples=300, deadline=None)
@given(payments(), st.integers(2, 7))
def test_cycles_equal_enumeration(rows, hops):
    check(rows, hops)


@settings(max_examples=60, deadline=None)
@given(payments(nodes=11, most=60, hours=30), st.integers(7, 10))
def test_long_cycles_equal_enumeration(rows, hops):
    check(rows, hops, nodes=11)


@pytest.mark.parametrize("chunk", [1, 3, 7])
@settings(max_examples=60, deadline=None)
@given(rows=payments(most=40), budget=st.sampled_from([3, 20, 1000]), cap=st.sampled_from([1, 3, 512]))
def test_arriving_in_pieces_changes_nothing(chunk, rows, budget, cap):
    chosen = part(5, budget, cap)
    assert same(run(chosen, rows), run(chosen, rows, chunk=chunk))


@settings(max_examples=150, deadline=None)
@given(payments(most=40), st.integers(1, 60), st.sampled_from([1, 2, 512]))
def test_short_of_budget_is_said_and_what_was_searched_is_complete(rows, budget, cap):
    hops = 6
    columns, truncated = run(part(hops, budget, cap), rows)
    for e in range(len(rows)):
        truth = expected(rows, e, hops)
        searched = columns["cycle_searched_8h"][e]
        for h, name in ((2, "cycles_2_8h"), (3, "cycles_3_8h"), (4, "cycles_4_8h"), (6, "cycles_5_6_8h")):
            assert columns[name][e] <= truth[name]
            if h <= searched:
                assert columns[name][e] == truth[name]
        assert columns["cycles_conserved_8h"][e] <= truth["cycles_conserved_8h"]
        if not truncated[e]:
            assert searched == truth["cycle_searched_8h"]
            assert columns["cycles_conserved_8h"][e] == truth["cycles_conserved_8h"]


def test_a_ring_of_ten_is_closed_by_its_last_payment_only():
    rows = [(k, (k + 1) % 10, k, 1000 - 20 * k) for k in range(10)]
    columns, _ = run(part(10, window=24), rows, nodes=10)
    assert columns["cycles_7_up_1d"].tolist() == [0] * 9 + [1]
    assert columns["cycle_retention_1d"][9] == np.float32(0.82)
    assert columns["cycles_conserved_1d"][9] == 1
    assert columns["cycle_duration_1d"][9] == 9 * 3600


@pytest.mark.parametrize(
    "hops",
    [
        # x is paid late by v itself, but early through a: only that money can go on at 3.
        [("v", "a", 1), ("a", "x", 2), ("x", "y", 3), ("v", "x", 5), ("y", "u", 15), ("u", "v", 20)],
        # x pays u early itself, but late through b: only that payment can carry what x gets at 16.
        [("v", "y", 1), ("x", "u", 15), ("y", "x", 16), ("x", "b", 18), ("b", "u", 20), ("u", "v", 22)],
    ],
    ids=["arrives earlier by a detour", "leaves later by a detour"],
)
def test_the_sets_that_rule_cycles_out_know_the_better_way(hops):
    rows = [("uvabxy".index(source), "uvabxy".index(target), hour, 100) for source, target, hour in hops]
    columns, _ = run(part(10, window=24), rows)
    assert columns["cycles_5_6_1d"][-1] == 1
