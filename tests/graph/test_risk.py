"""Risk: networkx is the oracle of the walk, brute force that of the chains, and reasons add up."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

import networkx as nx
import numpy as np
import polars as pl
import pytest
from graph_cases import NOW, START, network, payments, transactions
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fintel.domain.schema import ACCOUNTS, EPISODES, INTEL, LABELS
from fintel.frames import fit
from fintel.graph.network import network as of_tables
from fintel.graph.risk import DIRECTIONS, HUB, PASSING, Risk, risk, seeds
from fintel.graph.seeds import of_parties

PLAIN: dict[str, Any] = {"half_life": None, "hub": None}


def given_seeds(weights: dict[str, float]) -> pl.DataFrame:
    ids = list(weights)
    return pl.DataFrame(
        {"account_id": ids, "weight": [float(w) for w in weights.values()], "origin": "label", "reason": "known"},
        schema_overrides={"account_id": pl.String, "weight": pl.Float64},
    )


weighted = st.dictionaries(
    st.integers(0, 7).map(lambda i: f"a{i}"), st.floats(0.05, 1, allow_nan=False), min_size=1, max_size=4
)


def by_account(found: Risk, column: str) -> dict[str, float]:
    return dict(zip(found.frame["account_id"], found.frame[column], strict=True))


@given(payments(unknown=False), weighted)
@settings(max_examples=150, deadline=None)
def test_equals_networkx(rows: list[Any], weights: dict[str, float]) -> None:
    net = network(transactions(rows))
    weights = {a: w for a, w in weights.items() if a in net.nodes.to_list()}
    if not weights:
        return
    found = risk(net, given_seeds(weights), as_of=NOW, **PLAIN)
    graph = nx.DiGraph()
    graph.add_nodes_from(net.nodes)
    for payer, payee, _, cents in rows:
        if payer != payee:
            before = graph.get_edge_data(payer, payee, {"weight": 0})["weight"]
            graph.add_edge(payer, payee, weight=before + cents)
    for direction, walked in zip(DIRECTIONS, (graph, graph.reverse()), strict=True):
        wanted = nx.pagerank(walked, alpha=PASSING, personalization=weights, tol=1e-14, max_iter=10_000)
        got = getattr(found, direction).distribution
        assert got == pytest.approx([wanted[node] for node in net.nodes], abs=1e-8)


@given(payments(), weighted)
@settings(max_examples=100, deadline=None)
def test_split_adds_up_and_order_of_rows_is_nothing(rows: list[Any], weights: dict[str, float]) -> None:
    table = transactions(rows)
    net = network(table)
    found = risk(net, given_seeds(weights), as_of=NOW, hub=2)
    for direction in DIRECTIONS:
        parts = found.split(net.nodes.to_list(), direction).group_by("account_id").agg(pl.sum("risk"), pl.sum("share"))
        wanted = by_account(found, f"risk_{direction}")
        got = dict(zip(parts["account_id"], parts["risk"], strict=True))
        assert {a: got.get(a, 0.0) for a in wanted} == pytest.approx(wanted, abs=1e-12, rel=1e-12)
        assert parts["share"].to_list() == pytest.approx([1.0] * parts.height, abs=1e-12)
    shuffled = risk(
        network(table.sample(fraction=1, shuffle=True, seed=1)), given_seeds(weights).reverse(), as_of=NOW, hub=2
    )
    assert_frame_equal(shuffled.frame.sort("account_id"), found.frame.sort("account_id"), abs_tol=1e-12)


@given(payments(), payments(), weighted)
@settings(max_examples=60, deadline=None)
def test_later_payments_change_nothing(rows: list[Any], later: list[Any], weights: dict[str, float]) -> None:
    as_of = START + timedelta(hours=24 * 50)
    late = [(u, v, h + 24 * 50 + 0.001, cents) for u, v, h, cents in later]
    before = risk(network(transactions(rows)), given_seeds(weights), as_of=as_of)
    after = risk(network(transactions([*rows, *late])), given_seeds(weights), as_of=as_of)
    seen = after.frame.join(before.frame.select("account_id"), on="account_id", how="semi")
    assert_frame_equal(seen.sort("account_id"), before.frame.sort("account_id"), abs_tol=1e-14)
    for direction in DIRECTIONS:
        for account in before.network.nodes:
            left = before.path(account, direction).drop("row")
            assert_frame_equal(after.path(account, direction).drop("row"), left, abs_tol=1e-14)


def chains(net: Any, found: Risk, direction: str) -> dict[int, list[tuple[int, float, int]]]:
    """Every chain in time order that begins at a seed: (payments, strength, seed) by where it ends."""
    flow = getattr(found, direction)
    step = 1 if direction == "forward" else -1
    begin, end = (net.source, net.target)[::step]
    ends = defaultdict(list)
    queue = [(int(s), None, 0, float(flow.put_in[s]), int(s)) for s in np.flatnonzero(flow.put_in)]
    while queue:
        at, when, hops, strength, seed = queue.pop()
        ends[at].append((hops, strength, seed))
        for e in range(found.edges):
            if begin[e] == at and end[e] != at and (when is None or step * net.time[e] > when):
                passed = flow.passes[found.pairs.of_edge[e]]
                queue.append((int(end[e]), step * net.time[e], hops + 1, strength * passed, seed))
    return ends


@given(payments(accounts=5, most=11), weighted)
@settings(max_examples=100, deadline=None)
def test_chains_equal_brute_force(rows: list[Any], weights: dict[str, float]) -> None:
    net = network(transactions(rows))
    found = risk(net, given_seeds(weights), as_of=NOW)
    every = {direction: chains(net, found, direction) for direction in DIRECTIONS}
    for number, (account, hops, nearest) in enumerate(
        found.frame.select("account_id", "hops_to_seed", "nearest_seed").rows()
    ):
        both = [chain for direction in DIRECTIONS for chain in every[direction][number]]
        assert hops == min((h for h, *_ in both), default=None)
        if both:
            strongest = max(strength for h, strength, _ in both if h == hops)
            near = {net.nodes[seed] for h, strength, seed in both if h == hops and strength >= strongest * (1 - 1e-12)}
            assert nearest in near
        for direction in DIRECTIONS:
            path = found.path(account, direction)
            best = max((strength for h, strength, _ in every[direction][number] if h), default=0.0)
            own = getattr(found, direction).put_in[number]
            if best <= own:
                assert path.is_empty()
                continue
            path = path if direction == "forward" else path.reverse()
            assert path["risk"][-1] == pytest.approx(best, rel=1e-12)
            assert path["risk"][-1] <= by_account(found, f"risk_{direction}")[account] * (1 + 1e-12)
            assert path["booked_at"].is_sorted(descending=direction == "backward")
            assert path["booked_at"].is_unique().all()
            first, last = ("source", "target") if direction == "forward" else ("target", "source")
            assert path[first][0] in weights
            assert path[last][-1] == account
            assert path[last][:-1].to_list() == path[first][1:].to_list()


def test_decay_and_hub_are_what_they_say() -> None:
    old = (NOW - START).total_seconds() / 3600 - 24 * 30
    net = network(transactions([("s", "young", old + 24 * 30, 100), ("s", "old", old, 300)]))
    found = risk(net, given_seeds({"s": 1}), as_of=NOW, half_life=timedelta(days=30))
    assert by_account(found, "risk_forward") == pytest.approx(
        {"s": 1, "young": PASSING / 4, "old": PASSING * 3 / 4 / 2}, abs=1e-12
    )
    # A company with many payers: the suspicious one brings it what its share of their number is worth.
    many = HUB * 4
    crowd = [(f"p{i}", "company", 1.0, 100) for i in range(many - 1)]
    net = network(transactions([*crowd, ("s", "company", 1.0, 100), ("company", "supplier", 2.0, 100)]))
    found = risk(net, given_seeds({"s": 1}), as_of=NOW, half_life=None)
    reached = by_account(found, "risk_forward")
    assert reached["company"] == pytest.approx(PASSING / 4, abs=1e-12)
    assert reached["supplier"] == pytest.approx(PASSING**2 / 4, abs=1e-12)


def labels(rows: list[tuple[str, str, bool, int, float | None]]) -> pl.LazyFrame:
    """Labels (subject type, subject, suspicious, days after START, confidence)."""
    known = [START + timedelta(days=d) for *_, d, _ in rows]
    return fit(
        pl.DataFrame(
            {
                "subject_type": [r[0] for r in rows],
                "subject_id": [r[1] for r in rows],
                "suspicious": [r[2] for r in rows],
                "typology": ["OSEC"] * len(rows),
                "label_source": ["desk"] * len(rows),
                "known_at": known,
                "confidence": [r[4] for r in rows],
            },
            schema_overrides={"confidence": pl.Float64},
        ),
        LABELS,
    ).lazy()


def test_seeds_know_nothing_later() -> None:
    as_of = START + timedelta(days=10)
    table = transactions([("a", "b", 1, 100), ("b", "c", 2, 100), ("late", "c", 24 * 11, 100)])
    accounts = fit(pl.DataFrame({"account_id": ["a", "b", "c"], "party_id": ["pa", "pb", "pb"]}), ACCOUNTS).lazy()
    early = [("account", "a", True, 1, 0.9), ("party", "pb", True, 2, None), ("account", "z", True, 3, None)]
    cleared = [("account", "z", False, 4, None)]
    later = [("account", "c", False, 11, None), ("account", "a", False, 12, None), ("account", "d", True, 12, None)]
    intel = fit(
        pl.DataFrame(
            {
                "type": ["account", "account", "account"],
                "value": ["B", "a", "late"],
                "issuer": ["x"] * 3,
                "received_on": [START.date(), (START + timedelta(days=30)).date(), START.date()],
            }
        ),
        INTEL,
    ).lazy()
    peaks = [START + timedelta(days=d) for d in (5, 5, 5, 20)]
    episodes = fit(
        pl.DataFrame(
            {
                "account_id": ["e", "f", "a", "g"],
                "rule_id": ["r1", "r2", "r3", "r4"],
                "level": ["critical", "low", "high", "critical"],
                "peak_at": peaks,
            }
        ),
        EPISODES,
    )
    tables = {"transactions": table.lazy(), "accounts": accounts, "intel": intel}
    found = seeds({**tables, "labels": labels([*early, *cleared])}, as_of, episodes)
    assert found.select("account_id", "weight", "origin", "reasons").rows() == [
        ("a", 0.9, "label", 2),
        ("b", 1.0, "label", 2),
        ("c", 1.0, "label", 1),
        ("e", 0.5, "rule", 1),
    ]
    assert found["reason"].to_list()[1] == "holder found suspicious (OSEC) by desk"
    assert_frame_equal(seeds({**tables, "labels": labels([*early, *cleared, *later])}, as_of, episodes), found)
    parties = of_parties(found, tables)
    assert parties.select("account_id", "weight", "reasons").rows() == [("e", 0.5, 1), ("pa", 0.9, 2), ("pb", 1.0, 3)]
    net = of_tables(tables, as_of=as_of, by="party")
    assert dict(risk(net, parties, as_of=as_of).frame.select("account_id", "hops_to_seed").rows()) == {"pa": 0, "pb": 0}


def test_labels_of_payments_count_only_where_nothing_else_is_labelled() -> None:
    tables = {"transactions": transactions([("a", "b", 1, 100), ("b", None, 2, 100)]).lazy()}
    paid = [("transaction", "t:00000", True, 1, None), ("transaction", "t:00001", True, 1, 0.5)]
    assert seeds({**tables, "labels": labels(paid)}, NOW).select("account_id", "weight", "reasons").rows() == [
        ("a", 0.5, 1),
        ("b", 0.5, 2),
    ]
    named = [*paid, ("account", "c", True, 1, None)]
    assert seeds({**tables, "labels": labels(named)}, NOW)["account_id"].to_list() == ["c"]
    assert seeds(tables, NOW).is_empty()


def test_no_seed_no_payment_and_wrong_words() -> None:
    net = network(transactions([("a", "b", 1, 100)]))
    quiet = risk(net, given_seeds({}), as_of=NOW)
    assert quiet.frame["risk_forward"].to_list() == [0.0, 0.0]
    assert quiet.frame["nearest_seed"].null_count() == 2
    assert quiet.split(["a"]).is_empty()
    nothing = risk(net, given_seeds({"a": 1, "stranger": 1}), as_of=START)
    assert nothing.frame["risk_forward"].to_list() == [1.0, 0.0]
    assert nothing.path("b").is_empty()
    with pytest.raises(KeyError, match="nobody"):
        nothing.path("nobody")
    with pytest.raises(ValueError, match="sideways"):
        nothing.split(["a"], "sideways")
    with pytest.raises(ValueError, match="negative"):
        risk(net, given_seeds({"a": -1}), as_of=NOW)
    with pytest.raises(ValueError, match="passing"):
        risk(net, given_seeds({"a": 1}), as_of=NOW, passing=1.0)
