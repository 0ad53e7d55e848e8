"""Instances of motifs against brute force on small random networks: none is missed, none is wrong."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations, product

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fintel.errors import FintelError
from fintel.graph import instances_cycles, motifs
from fintel.graph.instances_found import Found
from fintel.graph.surroundings import around
from fintel.graph.ways import way
from tests.graph.payments import HOUR, network_of, networks
from tests.graph.payments import large as large_network

W = 10
WITHIN = timedelta(hours=W)
QUICK = settings(max_examples=60, deadline=None)
LOW, HIGH = 0.85, 1.05


def rows_of(net):
    return list(zip(net.source.tolist(), net.target.tolist(), (net.time // HOUR).tolist(), net.amount.tolist()))


def find(net, kind, **options):
    """Instances as (anchor, edges with hop) in the order told, edges as numbers."""
    told = motifs.find(net, kind, **{"within": WITHIN, "limit": 10**6, **options})
    at = {row: e for e, row in enumerate(net.row.tolist())}
    found = []
    for instance in told.instances.iter_rows(named=True):
        mine = told.edges.filter(pl.col("motif_id") == instance["motif_id"])
        edges = [(hop, at[row]) for hop, row in mine.select("hop", "row").iter_rows()]
        times = [int(net.time[e]) for _, e in edges]
        assert instance["payments"] == len(edges) == len({e for _, e in edges})
        assert instance["begun"] == mine["booked_at"].min() and instance["ended"] == mine["booked_at"].max()
        assert kind.endswith("chain") or kind == "smurfing" or max(times) - min(times) < W * HOUR
        assert all(net.source[e] != net.target[e] for _, e in edges)
        found.append((int(net.nodes.to_list().index(instance["account_id"])), edges))
    return found


def passed(x, y):
    return x > 0 and y >= 0 and LOW * x <= y <= HIGH * x


def windows(rows, chosen):
    """The payments of each window (t - W, t] among chosen ones, by its last payment."""
    for e in chosen:
        yield e, [f for f in chosen if f <= e and rows[f][2] > rows[e][2] - W]


def apart(rows, found):
    """Instances of one anchor do not overlap in time."""
    spans = defaultdict(list)
    for anchor, edges in found:
        order = sorted(e for _, e in edges)
        spans[anchor].append((order[0], order[-1]))
    for mine in spans.values():
        assert all(a[1] < b[0] for a, b in pairwise(sorted(mine)))


def strongest(rows, found, score, best):
    """The first instance of each anchor is as strong as any window; who has none has no strong window."""
    first = {}
    for anchor, edges in found:
        first.setdefault(anchor, score(anchor, edges))
    assert first == best


@QUICK
@given(networks(nodes=6, most=30, hours=30), st.integers(2, 3), st.booleans())
def test_fans(net, least, into):
    rows = rows_of(net)
    own, other = (1, 0) if into else (0, 1)
    best, expected = {}, set()
    for v in range(6):
        mine = [e for e, r in enumerate(rows) if r[own] == v and r[other] != v]
        for _, window in windows(rows, mine):
            if (fan := len({rows[f][other] for f in window})) >= least:
                best[v] = max(best.get(v, 0), fan)
                expected.update(window)
    found = find(net, "fan-in" if into else "fan-out", at_least=least)
    strongest(rows, found, lambda v, edges: len({rows[e][other] for _, e in edges}), best)
    # No payment of a window with enough counterparties is left untold, none of another is told.
    assert {e for _, edges in found for _, e in edges} == expected
    # As large as its window allows.
    for v, edges in found:
        order = sorted(e for _, e in edges)
        assert [e for e in range(order[0], order[-1] + 1) if rows[e][own] == v and rows[e][other] != v] == order


def turned(rows, v, window):
    """The largest min(payers before T, payees from T on)."""
    return max(
        min(
            len({rows[e][0] for e in window if rows[e][1] == v and rows[e][2] < t}),
            len({rows[e][1] for e in window if rows[e][0] == v and rows[e][2] >= t}),
        )
        for t in {rows[e][2] for e in window}
    )


@QUICK
@given(networks(nodes=5, most=30, hours=25), st.integers(1, 3))
def test_gather_scatter(net, least):
    rows = rows_of(net)
    best = {}
    for v in range(5):
        mine = [e for e, r in enumerate(rows) if v in r[:2] and r[0] != r[1]]
        most = max((turned(rows, v, window) for _, window in windows(rows, mine)), default=0)
        if most >= least:
            best[v] = most
    found = find(net, "gather-scatter", at_least=least)
    apart(rows, found)
    strongest(rows, found, lambda v, edges: turned(rows, v, [e for _, e in edges]), best)
    for v, edges in found:
        into, out = [e for hop, e in edges if hop == 1], [e for hop, e in edges if hop == 2]
        assert all(rows[e][1] == v for e in into) and all(rows[e][0] == v for e in out)
        first, last = min(rows[e][2] for e in into), max(rows[e][2] for e in out)
        assert all(rows[e][2] < last for e in into) and all(rows[e][2] > first for e in out)


@QUICK
@given(networks(nodes=4, most=30, hours=30))
def test_round_trips(net):
    rows = rows_of(net)
    found = find(net, "reciprocal")
    best = {}
    for pair in {tuple(sorted(r[:2])) for r in rows if r[0] != r[1]}:
        mine = [e for e, r in enumerate(rows) if tuple(sorted(r[:2])) == pair]
        most = max(min(sum(rows[f][0] == v for f in window) for v in pair) for _, window in windows(rows, mine))
        late = [
            e for e in mine if any(rows[f][0] == rows[e][1] and rows[e][2] - W < rows[f][2] < rows[e][2] for f in mine)
        ]
        if most and late:
            best[pair] = most
    first = {}
    for anchor, edges in found:
        pair = tuple(sorted(rows[edges[0][1]][:2]))
        sides = [sum(hop == side for hop, _ in edges) for side in (1, 2)]
        first.setdefault(pair, min(sides))
        assert all((rows[e][0] == anchor) == (hop == 1) for hop, e in edges)
    assert first == best


def ordered_mids(rows, s, w, window, conserved=False):
    return {
        rows[f][1]
        for f in window
        for g in window
        if rows[f][0] == s and rows[g][1] == w and rows[f][1] == rows[g][0] and rows[f][1] not in (s, w)
        and rows[f][2] < rows[g][2] and (not conserved or passed(rows[f][3], rows[g][3]))
    }  # fmt: skip


@QUICK
@given(networks(nodes=6, most=40, hours=20), st.integers(2, 3))
def test_scatter_gather(net, least):
    rows = rows_of(net)
    everything = list(range(len(rows)))
    best = {}
    for s, w in permutations(range(6), 2):
        ends = [e for e in everything if rows[e][1] == w]
        most = max(
            (len(ordered_mids(rows, s, w, window)) for e, window in windows(rows, everything) if e in ends), default=0
        )
        if most >= least:
            best[s, w] = most
    first = {}
    for s, edges in find(net, "scatter-gather", at_least=least):
        w = rows[edges[-1][1]][1]
        window = [e for _, e in edges]
        mids = ordered_mids(rows, s, w, window)
        first.setdefault((s, w), len(mids))
        # Every payment is of some way in order.
        assert {v for e in window for v in rows[e][:2]} == {s, w, *mids}
    assert first == best


@QUICK
@given(networks(nodes=5, most=24, hours=20), st.sampled_from([None, (0.05, 0.10)]))
def test_cycles_are_those_of_networkx_that_run_in_order(net, amounts):
    rows = rows_of(net)
    graph = nx.DiGraph([r[:2] for r in rows if r[0] != r[1]])
    of = defaultdict(list)
    for e, r in enumerate(rows):
        of[r[:2]].append(e)
    expected = set()
    for ring in nx.simple_cycles(graph):
        for k in range(len(ring)):
            turned_ring = ring[k:] + ring[:k]
            steps = list(pairwise([*turned_ring, turned_ring[0]]))
            for path in product(*(of[step] for step in steps)):
                times = [rows[e][2] for e in path]
                ordered = all(a < b for a, b in pairwise(times)) and times[-1] - times[0] < W
                if ordered and (not amounts or all(passed(rows[a][3], rows[b][3]) for a, b in pairwise(path))):
                    low = turned_ring.index(min(turned_ring))
                    expected.add(tuple(turned_ring[low:] + turned_ring[:low]))
    options = {"tolerance": amounts[0], "fee": amounts[1]} if amounts else {}
    seen = set()
    used = defaultdict(set)
    for anchor, edges in find(net, "cycle", at_least=2, **options):
        path = [e for _, e in edges]
        assert [hop for hop, _ in edges] == list(range(1, len(path) + 1)) and rows[path[0]][0] == anchor
        assert all(rows[a][1] == rows[b][0] and rows[a][2] < rows[b][2] for a, b in pairwise(path))
        assert rows[path[-1]][1] == anchor
        ring = [rows[e][0] for e in path]
        low = ring.index(min(ring))
        ring = tuple(ring[low:] + ring[:low])
        assert used[ring].isdisjoint(path)
        used[ring].update(path)
        seen.add(ring)
    assert seen == expected


def chain_lengths(rows, dwell, fits):
    length = []
    for e, (u, v, t, x) in enumerate(rows):
        before = [
            length[f]
            for f, (s, m, when, y) in enumerate(rows[:e])
            if u != v and m == u and s != m and s != v and t - dwell <= when < t and fits(y, x)
        ]
        length.append(1 + max(before, default=0) if u != v else 0)
    return length


@QUICK
@given(networks(nodes=5, most=30, hours=40))
def test_chains(net):
    rows = rows_of(net)
    length = chain_lengths(rows, W, passed)
    found = find(net, "chain", at_least=2)
    ends = {}
    for _, edges in found:
        path = [e for _, e in edges]
        assert all(rows[a][1] == rows[b][0] and passed(rows[a][3], rows[b][3]) for a, b in pairwise(path))
        assert all(rows[a][2] < rows[b][2] <= rows[a][2] + W for a, b in pairwise(path))
        ends[path[-1]] = len(path)
    # Each is the longest that ends there, and every payment of a chain is in one.
    assert all(length[e] == size for e, size in ends.items())
    inside = {e for _, edges in found for _, e in edges}
    assert {e for e, n in enumerate(length) if n >= 2} <= inside
    # None is part of another.
    sets = [frozenset(e for _, e in edges) for _, edges in found]
    assert not any(a < b for a in sets for b in sets)


@QUICK
@given(networks(nodes=5, most=30, hours=40))
def test_peel_chains(net):
    rows = rows_of(net)
    followed = {}
    for e, (u, v, t, x) in enumerate(rows):
        into = [
            f
            for f, (s, m, when, _) in enumerate(rows[:e])
            if u != v and m == u and s not in (m, v) and t - W <= when < t
        ]
        if into:
            largest = max(into, key=lambda f: (rows[f][3], f))
            if rows[largest][3] > 0 and x >= 0 and 0.5 * rows[largest][3] <= x <= 0.99 * rows[largest][3]:
                followed[e] = largest
    expected = set()
    for e in range(len(rows)):
        if e in followed and e not in followed.values():
            path = [e]
            while path[0] in followed:
                path.insert(0, followed[path[0]])
            expected.add(tuple(path))
    assert {tuple(e for _, e in edges) for _, edges in find(net, "peel-chain", at_least=2)} == expected


@QUICK
@given(networks(nodes=6, most=45, hours=16))
def test_stacks(net):
    rows = rows_of(net)
    everything = list(range(len(rows)))
    expected = set()
    for w in range(6):
        for e, window in windows(rows, everything):
            if rows[e][1] == w and rows[e][0] != w:
                wide = [s for s in range(6) if s != w and len(ordered_mids(rows, s, w, window)) >= 2]
                # The payment at hand is a leg of it.
                legs = [s for s in wide if rows[e][0] in ordered_mids(rows, s, w, window)]
                if len(legs) >= 2:
                    expected.add(w)
    held = set()
    for anchor, edges in find(net, "stack", at_least=2):
        held |= {anchor, *(rows[e][1] for hop, e in edges if hop == 2)}
        window = [e for _, e in edges]
        assert len([s for s in range(6) if s != anchor and len(ordered_mids(rows, s, anchor, window)) >= 2]) >= 2
    assert expected <= held


@QUICK
@given(networks(nodes=5, most=25, hours=20))
def test_triangles(net):
    rows = rows_of(net)
    expected = set()
    for e, (u, v, t, _) in enumerate(rows):
        for m in set(range(5)) - {u, v}:
            legs = [
                (f, g)
                for f in range(e)
                for g in range(e)
                if rows[f][:2] == (u, m) and rows[g][:2] == (m, v) and t - W < rows[f][2] < rows[g][2] < t
            ]
            latest = max((g for g in range(e) if rows[g][:2] == (m, v) and t - W < rows[g][2] < t), default=-1)
            if u != v and any(g == latest for _, g in legs):
                expected.add((u, m, v))
    found = set()
    for anchor, edges in find(net, "triangle"):
        f, g, e = (e for _, e in edges)
        assert rows[f][2] < rows[g][2] < rows[e][2] and rows[f][0] == anchor and rows[f][1] == rows[g][0]
        if rows[e][0] == anchor:
            assert rows[e][1] == rows[g][1]
            found.add((anchor, rows[f][1], rows[g][1]))
        else:
            assert rows[e][:2] == (rows[g][1], anchor)
    assert found == expected


def test_smurfing_is_two_meetings_over_the_same_mules():
    mules = (2, 3, 4)
    once = [(0, m, 1, 1000) for m in mules] + [(m, 1, 3, 980) for m in mules]
    other = [(5, m, 30, 500) for m in mules] + [(m, 1, 33, 500) for m in mules]
    lone = [(0, 6, 1, 700), (6, 1, 2, 700)]
    rows = sorted([*once, *other, *lone], key=lambda r: r[2])
    net = network_of([(u, v, h * HOUR, x * 100_000) for u, v, h, x in rows], 7)
    ((anchor, edges),) = find(net, "smurfing")
    assert anchor in (0, 5)
    assert sorted(e for _, e in edges) == [e for e, r in enumerate(rows) if 6 not in r[:2]]
    assert not find(
        network_of([(u, v, h * HOUR, x * 100_000) for u, v, h, x in sorted(once, key=lambda r: r[2])], 7), "smurfing"
    )


def test_a_burst_is_of_new_counterparties():
    calm = [(0, 1, 24 * d, 100) for d in range(60)]
    new = [(0, v, 24 * 60 + v, 100) for v in range(2, 9)]
    net = network_of([(u, v, h * HOUR, x) for u, v, h, x in [*calm, *new]], 9)
    told = motifs.find(net, "burst")
    assert told.instances["account_id"].to_list() == ["n0"]
    assert told.edges["row"].to_list() == list(range(60, 67))


def test_funnel_reads_cash_that_has_no_other_side():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    places = ["Reno", "Tulsa", "Boise", "Omaha"]
    table = pl.DataFrame(
        {
            "transaction_id": [f"t:{i}" for i in range(7)],
            "booked_at": [start + timedelta(hours=i) for i in range(7)],
            "amount_base": [900] * 7,
            "debtor_account_id": [None] * 4 + ["mule"] * 3,
            "creditor_account_id": ["mule"] * 4 + [None] * 3,
            "place_city": [*places, "El Paso", "El Paso", "El Paso"],
            "place_country": ["US"] * 7,
            "status": ["booked"] * 7,
        },
        schema_overrides={"amount_base": pl.Decimal(18, 5), "booked_at": pl.Datetime("us", "UTC")},
    ).with_columns(
        **{
            c: pl.lit(None, dtype=pl.String)
            for c in ("place_id", "debtor_country", "creditor_country", "debtor_agent", "creditor_agent", "reversal_of")
        }
    )
    net = network_of([(0, 1, 0, 1)], 2)
    told = motifs.find(net, "funnel", tables={"transactions": table.lazy()})
    assert told.instances.select("account_id", "payments", "accounts").rows() == [("mule", 7, 1)]
    assert told.edges["transaction_id"].to_list() == [f"t:{i}" for i in range(7)]
    assert told.edges["source"].to_list() == [None] * 4 + ["mule"] * 3
    # The same place out and in is no place in.
    home = table.with_columns(place_city=pl.Series(["Reno", "Reno", "Boise", "Omaha", "Reno", "Reno", "Reno"]))
    assert motifs.find(net, "funnel", tables={"transactions": home.lazy()}).instances.is_empty()
    with pytest.raises(FintelError, match="reads places"):
        motifs.find(net, "funnel")


def test_hubs_are_told_and_not_searched():
    rows = [(v, 0, v, 100) for v in range(1, 41)] + [(0, 41, 60, 100)]
    net = network_of([(u, v, t * 60_000_000, x) for u, v, t, x in rows], 42)
    told = motifs.find(net, "fan-in", cap=20)
    assert told.instances.is_empty()
    assert told.skipped.select("account_id").to_series().to_list() == ["n0"] and "hub" in told.skipped["reason"][0]
    whole = motifs.find(net, "fan-in")
    assert whole.instances["payments"].to_list() == [40] and whole.skipped.is_empty()


def test_what_a_limit_leaves_out_is_counted():
    net = large_network()
    every = motifs.find(net, "fan-out", at_least=3)
    some = motifs.find(net, "fan-out", at_least=3, limit=5)
    assert every.instances.height > 5
    assert some.instances.equals(every.instances.head(5))
    left_out = some.skipped.filter(pl.col("reason").str.contains("more than 5 instances"))
    assert left_out["edges"].sum() == every.instances.height - 5


@pytest.mark.parametrize("kind", sorted(set(motifs.KINDS) - {"funnel"}))
def test_ids_hang_on_the_payments_alone(kind):
    net = large_network(payments=1_500, nodes=60)
    told = motifs.find(net, kind, within=timedelta(hours=12), limit=10**6)
    assert told.instances["motif_id"].is_unique().all()
    again = motifs.find(net, kind, within=timedelta(hours=12), limit=10**6)
    assert told.instances.equals(again.instances) and told.edges.equals(again.edges)
    # Payments of others, later: nobody's instance changes but by growing.
    rows = [*zip(net.source.tolist(), net.target.tolist(), net.time.tolist(), net.amount.tolist())]
    later = rows + [(60, 61, rows[-1][2] + 40 * 24 * HOUR, 500_000), (61, 62, rows[-1][2] + 41 * 24 * HOUR, 500_000)]
    more = motifs.find(network_of(later, 63), kind, within=timedelta(hours=12), limit=10**6)
    assert set(told.instances["motif_id"]) <= set(more.instances["motif_id"])


def test_what_no_steps_were_left_for_is_told(monkeypatch):
    net = large_network(payments=1_500, nodes=60)
    every = motifs.find(net, "cycle", hops=4, limit=10**6)
    monkeypatch.setattr(instances_cycles, "STEPS", 1_000)
    monkeypatch.setattr(instances_cycles, "STEPS_EACH", 0)
    some = motifs.find(net, "cycle", hops=4, limit=10**6)
    assert 0 < some.instances.height < every.instances.height
    assert set(some.skipped["reason"]) == {instances_cycles.UNLOOKED}
    # The largest payments came first.
    closing = [m.edges.group_by("motif_id").agg(pl.last("amount_base"))["amount_base"] for m in (some, every)]
    assert closing[0].min() > closing[1].quantile(0.9)


def test_only_what_was_asked_for():
    net = large_network(payments=1_500, nodes=60)
    for kind in sorted(set(motifs.KINDS) - {"funnel"}):
        bounds = {"hops": 4, "within": timedelta(days=3), "limit": 10**6}
        every = motifs.find(net, kind, **bounds)
        mine = motifs.find(net, kind, accounts=["n3"], **bounds)
        with_n3 = every.edges.filter((pl.col("source") == "n3") | (pl.col("target") == "n3"))["motif_id"].unique()
        assert set(mine.instances["motif_id"]) == set(with_n3), kind
        assert mine.instances.equals(every.instances.filter(pl.col("motif_id").is_in(with_n3.implode()))), kind
    assert motifs.find(net, "cycle", accounts=["nobody"]).instances.is_empty()
    since, until = datetime(1970, 1, 5, tzinfo=UTC), datetime(1970, 1, 15, tzinfo=UTC)
    part = motifs.find(net, "cycle", since=since, until=until)
    assert part.edges["booked_at"].min() >= since and part.edges["booked_at"].max() <= until
    with pytest.raises(FintelError, match="no motif 'circle'"):
        motifs.find(net, "circle")
    with pytest.raises(FintelError, match="shares"):
        motifs.find(net, "cycle", tolerance=1.5)


@QUICK
@given(networks(nodes=5, most=20, hours=30))
def test_the_way_is_the_best_of_all(net):
    rows = rows_of(net)
    if not len(net):
        return
    named = {v for r in rows for v in r[:2]}
    for begin, end in permutations(sorted(named), 2):
        ways = []

        def on(path, at, after):
            if at == end:
                ways.append(path)
                return
            if len(path) < 4:
                for e, (u, v, t, _) in enumerate(rows):
                    if u == at and t > after and v not in (begin, at):
                        on([*path, e], v, t)

        on([], begin, -1)
        found = way(net, f"n{begin}", f"n{end}", hops=4)["row"].to_list()
        if not ways:
            assert found == []
            continue
        shortest = min(map(len, ways))
        widths = {tuple(p): min(max(rows[e][3], 0) for e in p) for p in ways if len(p) == shortest}
        assert widths[tuple(found)] == max(widths.values())


def test_hubs_are_one_node_of_the_surroundings():
    rows = [(0, 1, 1, 500), *[(1, v, 2, v) for v in range(2, 40)], (40, 0, 3, 100), (0, 41, 4, 50)]
    net = network_of([(u, v, t * HOUR, x * 100_000) for u, v, t, x in rows], 42)
    seen = around(net, "n0", hops=2, hub=30)
    assert dict(seen.nodes.select("node", "step").iter_rows()) == {"n0": 0, "n1": 1, "n40": -1, "n41": 1}
    assert seen.nodes.filter("hub").select("node", "counterparties").rows() == [("n1", 39)]
    wide = around(net, "n1", hub=30, most=10)
    group = wide.nodes.filter(pl.col("account_id").is_null())
    assert group.select("node", "counterparties", "behind").rows() == [("+payees:n1", 29, "n1")]
    # Nothing is lost: sums of lines are sums of payments.
    assert wide.edges["payments"].sum() == 39
    assert float(wide.edges["amount"].sum()) == 500 + sum(range(2, 40))
    with pytest.raises(FintelError, match="no payment of the period names 'nobody'"):
        around(net, "nobody")
    assert (seen.edges["first"] <= seen.edges["last"]).all()


LARGEST = 10**16  # the largest payment that feeds take, 1e11, in units of 1e-5


@pytest.mark.parametrize("payments", [99, 101, 1_900])
def test_sums_of_the_largest_payments_are_exact(payments):
    seen = around(network_of([(0, 1, t, LARGEST) for t in range(payments)], 2), "n0")
    assert seen.edges["amount"].to_list() == [10**11 * payments]
    fan = motifs.find(network_of([(0, v + 1, v, LARGEST) for v in range(400)], 401), "fan-out", cap=1_000)
    assert fan.instances["amount"].to_list() == [10**11 * 400]


def test_an_account_that_is_called_like_a_group_stays_itself():
    rows = [(v, 0, v, 100_000 * v) for v in range(1, 30)]
    net = network_of(rows, 30)
    names = net.nodes.to_list()
    names[29], names[28] = "+payers:n0", "++payers:n0"
    called = type(net)(net.source, net.target, net.time, net.amount, net.row, pl.Series(names))
    seen = around(called, "n0", most=5)
    assert seen.nodes["node"].is_unique().all()
    group = seen.nodes.filter(pl.col("account_id").is_null())
    assert group.select("node", "label", "counterparties").rows() == [("+++payers:n0", "25 payers of n0", 25)]
    lines = dict(seen.edges.select("source", "payments").iter_rows())
    assert lines == {"+payers:n0": 1, "++payers:n0": 1, "n27": 1, "n26": 1, "+++payers:n0": 25}
    assert seen.edges.sort("amount")["amount"].to_list() == [26, 27, 28, 29, sum(range(1, 26))]


@st.composite
def found_instances(draw):
    """Instances over few payments and fewer anchors, so that many stand in each other."""
    sets = draw(st.lists(st.frozensets(st.integers(0, 9), min_size=1), max_size=40))
    some = st.lists(st.integers(0, 2), min_size=len(sets), max_size=len(sets))
    sizes = [len(s) for s in sets]
    edge = np.array([e for s in sets for e in sorted(s)], np.int64)
    return Found(
        np.array(draw(some), np.int64), np.cumsum([0, *sizes]), edge, np.zeros_like(edge), np.full(len(sets), np.nan),
        np.array(draw(some), np.int64),
    )  # fmt: skip


def distinct_by_comparing_all(found):
    """Anchor and payments of those that stand in no stronger one of their anchor."""
    edges = [tuple(found.edge[a:b].tolist()) for a, b in pairwise(found.start.tolist())]
    order = sorted(
        range(len(found)),
        key=lambda i: (-found.score[i], -len(edges[i]), max(edges[i]), min(edges[i]), found.anchor[i]),
    )
    told = []
    for i in order:
        if not any(a == found.anchor[i] and set(edges[i]) <= set(e) for a, e in told):
            told.append((int(found.anchor[i]), edges[i]))
    return told


@given(found_instances(), st.integers(1, 50))
@settings(max_examples=200, deadline=None)
def test_the_bound_of_an_account_keeps_the_strongest_and_counts_the_rest(found, most):
    kept = motifs._distinct(found, most)
    told = [(int(a), tuple(kept.edge[b:e].tolist())) for a, (b, e) in zip(kept.anchor, pairwise(kept.start.tolist()))]
    whole = distinct_by_comparing_all(found)
    bounded = [(a, e) for k, (a, e) in enumerate(whole) if sum(b == a for b, _ in whole[:k]) < most]
    assert told == bounded
    left = sum(nodes.size for _, nodes in kept.skipped)
    assert left >= len(whole) - len(told) and (left == 0 or max(np.bincount(found.anchor)) > most)


def test_an_account_of_many_instances_takes_no_square_of_time():
    """8,000 round trips with one account: each is compared with those that share a payment with it, so none."""
    n = 8_000
    rows = [row for v in range(1, n + 1) for row in ((0, v, 2 * v * HOUR, 5), (v, 0, (2 * v + 1) * HOUR, 5))]
    net = network_of(rows, n + 1)
    told = motifs.find(net, "reciprocal", limit=20)
    assert told.instances.height == 20
    assert told.skipped["edges"].sum() == n - 20
    assert told.instances.equals(motifs.find(net, "reciprocal", limit=n).instances.head(20))
