"""Meetings over mids against a search through every pair of payments in the window."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import hours, payments, run, same

from fintel.graph import kernels_meetings
from fintel.graph.layout import Settings

WINDOW = 6


def part(cap=512, window=WINDOW):
    return kernels_meetings.parts(Settings(meeting_windows=(hours(window),), cap=cap))[0]


def expected(rows, e, nodes, window=WINDOW):
    u, v, t, _ = rows[e]
    seen = [row for row in rows[: e + 1] if row[2] > t - window and row[0] != row[1]]
    paid = {
        (a, b): [(when, x) for s, r, when, x in seen if (s, r) == (a, b)] for a, b in product(range(nodes), repeat=2)
    }

    def mids(a, b):
        return [m for m in range(nodes) if len({a, m, b}) == 3 and paid[a, m] and paid[m, b]]

    def legs(a, m, b):
        return [(x, y) for (f, x), (g, y) in product(paid[a, m], paid[m, b]) if f < g]

    def ordered(a, b):
        return [m for m in mids(a, b) if legs(a, m, b)]

    def conserved(a, b):
        return [m for m in ordered(a, b) if any(x > 0 and 0.85 * x <= y <= 1.05 * x for x, y in legs(a, m, b))]

    if u == v:
        return dict.fromkeys((c.name for c in part().columns), 0)
    scatter = [n for w in range(nodes) if paid[v, w] and w != u and (n := len(mids(u, w))) >= 2]
    payers = [s for s in range(nodes) if paid[s, u] and s != v]
    gather = [n for s in payers if (n := len(mids(s, v))) >= 2]
    timely = [s for s in payers if min(paid[s, u])[0] < t and len(ordered(s, v)) >= 2]
    widths = [len(ordered(s, v)) for s in timely]
    kept = max((len(conserved(s, v)) for s in timely), default=0)
    width = max((h for h in range(1, nodes + 1) if sum(n >= h for n in widths) >= h), default=0)
    return {
        "scatter_payees_6h": len(scatter),
        "scatter_mids_6h": max(scatter, default=0),
        "gather_payers_6h": len(gather),
        "gather_mids_6h": max(gather, default=0),
        "gathered_payers_6h": len(widths),
        "gathered_mids_6h": max(widths, default=0),
        "gathered_conserved_6h": kept if kept >= 2 else 0,
        "stack_width_6h": width if width >= 2 else 0,
        "triangles_through_6h": len(mids(u, v)),
        "triangles_round_6h": len(mids(v, u)),
    }


@settings(max_examples=400, deadline=None)
@given(payments(nodes=6, most=45, hours=16))
def test_meetings_equal_search(rows):
    columns, truncated = run(part(), rows)
    assert not truncated.any()
    for e in range(len(rows)):
        for name, value in expected(rows, e, 6).items():
            assert columns[name][e] == value, (e, name)


@pytest.mark.parametrize("chunk", [1, 4, 7])
@settings(max_examples=80, deadline=None)
@given(rows=payments(nodes=7, most=60, hours=20), cap=st.sampled_from([1, 2, 512]))
def test_arriving_in_pieces_changes_nothing(chunk, rows, cap):
    assert same(run(part(cap), rows, nodes=7), run(part(cap), rows, nodes=7, chunk=chunk))


@settings(max_examples=200, deadline=None)
@given(payments(nodes=6, most=45, hours=16), st.integers(1, 3))
def test_hubs_make_counts_low_and_never_silently_where_the_payment_itself_is_concerned(rows, cap):
    """With a small cap no count is too high; without any truncated payment so far all are exact."""
    columns, truncated = run(part(cap), rows)
    for e in range(len(rows)):
        clean = not truncated[: e + 1].any()
        for name, value in expected(rows, e, 6).items():
            assert columns[name][e] == value if clean else columns[name][e] <= value, (e, name)


def test_a_planted_scatter_and_gather_over_many_mids():
    """A thousand mids: every one is counted, though each payment looks at the cap of them for their order."""
    mids = 1000
    rows = [(0, 2 + k, 0, 1000) for k in range(mids)] + [(2 + k, 1, 1, 950) for k in range(mids)]
    columns, truncated = run(part(), rows, nodes=mids + 2)
    assert columns["gather_mids_6h"][-1] == mids
    assert columns["gathered_mids_6h"][mids + 300] == columns["gathered_conserved_6h"][mids + 300] == 301
    assert columns["gathered_mids_6h"][-1] == 512
    assert truncated[-1]
    assert not truncated[: mids + 512].any()


def test_a_busy_hub_is_bounded_and_flagged():
    """A thousand payers and as many payees of one account: no path through it beyond the cap."""
    side = 1000
    rows = [(1 + k, 0, 0, 100) for k in range(side)] + [(0, 1 + side + k, 1, 100) for k in range(side)]
    columns, truncated = run(part(), rows, nodes=2 * side + 1)
    assert not truncated[:side].any()
    assert truncated[side:].all()
    assert np.count_nonzero(columns["gather_payers_6h"]) == 0
