"""Rings: networkx is the oracle of what hangs together; offices tie nobody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import networkx as nx
import polars as pl
import pytest
from graph_cases import START, network, transactions
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fintel.domain.schema import ACCOUNTS, IDENTIFIERS, TRANSACTIONS
from fintel.features.identifiers import MAX_SHARING
from fintel.frames import fit
from fintel.graph.rings import LARGEST, Rings, ring_payers, rings


def tables(
    known: list[tuple[str, str, str]],
    owners: dict[str, str | None],
    devices: Sequence[tuple[str, str]] = (),
    days: int = 0,
) -> dict[str, pl.LazyFrame]:
    """Identifiers (party, type, value) seen ``days`` after START, accounts with holders, devices that ordered payments."""
    identifiers = pl.DataFrame(known, schema=["party_id", "type", "value"], orient="row").with_columns(
        first_seen=pl.lit(START + timedelta(days=days))
    )
    accounts = pl.DataFrame(
        {"account_id": list(owners), "party_id": list(owners.values())}, schema_overrides={"party_id": pl.String}
    )
    paid = transactions([(account, "shop", 1.0, 100) for account, _ in devices])
    paid = paid.with_columns(device_id=pl.Series([d for _, d in devices], dtype=pl.String))
    return {
        "identifiers": fit(identifiers, IDENTIFIERS).lazy(),
        "accounts": fit(accounts, ACCOUNTS).lazy(),
        "transactions": fit(paid, TRANSACTIONS).lazy(),
    }


def groups(found: Rings) -> set[frozenset[str]]:
    return {frozenset(part["holder_id"]) for _, part in found.ties.group_by("ring_id")}


values = st.lists(
    st.tuples(
        st.integers(0, 14).map(lambda i: f"p{i:02d}"),
        st.sampled_from(["phone", "email", "device", "wallet"]),
        st.integers(0, 9).map(lambda i: f"1234567{i}"),
    ),
    max_size=30,
)


@given(
    values, st.lists(st.tuples(st.integers(0, 14).map(lambda i: f"acc{i:02d}"), st.sampled_from(["12345670", "d2"])))
)
@settings(max_examples=100, deadline=None)
def test_equals_components_in_any_order(known: list[Any], devices: list[Any]) -> None:
    owners = {f"acc{i:02d}": f"p{i:02d}" if i % 3 else None for i in range(15)}
    found = rings(tables(known, owners, devices))
    graph = nx.Graph()
    graph.add_edges_from((party, (kind, value)) for party, kind, value in known)
    graph.add_edges_from((owners[a] or f"account:{a}", ("device", d)) for a, d in devices)
    parts = [{node for node in part if isinstance(node, str)} for part in nx.connected_components(graph)]
    assert groups(found) == {frozenset(part) for part in parts if len(part) > 1}
    tied = {holder for part in groups(found) for holder in part}
    assert set(found.members["account_id"]) == {a for a, p in owners.items() if (p or f"account:{a}") in tied}
    for account, direct in found.features.select("account_id", "tied_holders").rows():
        holder = owners[account] or f"account:{account}"
        assert direct == len({other for value in graph[holder] for other in graph[value]} - {holder})
    again = rings(tables(known[::-1], dict(reversed(owners.items())), devices[::-1]))
    for name in ("rings", "members", "ties", "features", "skipped"):
        assert_frame_equal(getattr(again, name), getattr(found, name))


@pytest.mark.parametrize("parties", [MAX_SHARING, MAX_SHARING + 1])
def test_an_office_ties_nobody(parties: int) -> None:
    known = [(f"p{i:02d}", "phone", "5550100") for i in range(parties)]
    found = rings(tables(known, {f"a{i:02d}": f"p{i:02d}" for i in range(parties)}))
    if parties <= MAX_SHARING:
        assert found.rings.select("holders", "accounts", "values", "kinds").row(0) == (parties, parties, 1, "phone")
        assert found.skipped.is_empty()
    else:
        assert found.rings.is_empty()
        assert found.features.is_empty()
        assert found.skipped["reason"].to_list() == ["common value"] * parties
        assert found.skipped["holders"].to_list() == [parties] * parties


def test_a_ring_of_hundreds_falls_apart_or_is_said_to_be_left_out() -> None:
    # Rings of four tied by an e-mail each, all of them strung together by phones of forty parties.
    count = LARGEST * 2
    strung = [(f"p{i:03d}", "phone", f"5550{(i + s) % count // 40:03d}") for i in range(count) for s in (0, 20)]
    pieces = [(f"p{i:03d}", "email", f"{i // 4}@x") for i in range(count)]
    owners = {f"a{i:03d}": f"p{i:03d}" for i in range(count)}
    found = rings(tables([*strung, *pieces], owners))
    assert groups(found) == {frozenset(f"p{i + j:03d}" for j in range(4)) for i in range(0, count, 4)}
    # A chain of pairs has no value to do without.
    chain = [(f"p{i + s:03d}", "phone", f"5551{i:03d}") for i in range(count - 1) for s in (0, 1)]
    found = rings(tables(chain, owners))
    assert found.rings.is_empty()
    assert set(found.skipped["account_id"]) == set(owners)
    assert set(found.skipped["reason"]) == {"ring too large"}
    assert rings(tables(chain, owners), largest=count).rings["holders"].to_list() == [count]


def test_what_is_known_later_ties_nothing() -> None:
    known = [("p1", "email", "a@x"), ("p2", "email", "A@X ")]
    owners = {"a1": "p1", "a2": "p2"}
    soon = START + timedelta(hours=2)
    assert rings(tables(known, owners), as_of=soon).rings.height == 1
    assert rings(tables(known, owners, days=1), as_of=soon).rings.is_empty()
    devices = [("a1", "phone-7"), ("a2", "Phone 7")]
    assert rings(tables([], owners, devices), as_of=soon).ties["type"].unique().to_list() == ["device"]
    assert rings(tables([], owners, devices), as_of=START).rings.is_empty()


def test_different_senders_one_address() -> None:
    known = [(p, "address", "Main 1") for p in ("p1", "p2", "p3")] + [(p, "phone", "5550100") for p in ("p5", "p6")]
    owners = {"a1": "p1", "a2": "p2", "a3": "p3", "b3": "p3", "a4": "p4", "a5": "p5", "a6": "p6"}
    paid = [("a1", "to", 1, 1), ("a1", "to", 2, 1), ("a2", "to", 1, 1), ("a3", "to", 1, 1), ("b3", "to", 1, 1)]
    paid += [("a4", "to", 1, 1), ("a5", "to", 1, 1), ("a6", "to", 1, 1), ("a1", "a2", 1, 1), ("a4", "a2", 3, 1)]
    paid += [("a3", "one", 1, 1), ("b3", "one", 1, 1)]
    found = rings(tables(known, owners))
    told = ring_payers(network(transactions(paid)), found)
    ring = found.members.filter(pl.col("account_id") == "a1")["ring_id"][0]
    # Two accounts of one holder ('one') are no two senders.
    assert told.rows() == [("a2", 0, 0, 0, None, 0.5), ("to", 6, 2, 4, ring, None)]
