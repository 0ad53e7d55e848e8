"""The engine: however payments arrive, the same numbers; nothing sees the future."""

from __future__ import annotations

import io
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fintel.errors import FintelError
from fintel.graph import columns, state
from fintel.graph.layout import EDGE, Settings
from fintel.graph.network import Network
from fintel.graph.state import GraphState, edge_features
from tests.graph.payments import HOUR, SETTINGS, large, network_of, networks


def part_of(network: Network, begin: int, end: int) -> tuple[np.ndarray, ...]:
    return tuple(a[begin:end] for a in (network.source, network.target, network.time, network.amount))


def replayed(network: Network, chunk: int, graph: GraphState, begin: int = 0) -> pl.DataFrame:
    """Columns of a network that arrives in chunks."""
    told = [graph.update(*part_of(network, b, b + chunk)) for b in range(begin, len(network), chunk)]
    return pl.DataFrame({name: np.concatenate([t[name] for t in told]) for name in told[0]})


def same(left: pl.DataFrame, right: pl.DataFrame) -> None:
    assert set(left.columns) == set(right.columns)
    for name in left.columns:
        a, b = left[name].to_numpy(), right[name].to_numpy()
        assert a.dtype == b.dtype
        assert np.array_equal(a.view(np.uint8), b.view(np.uint8)), name


@pytest.mark.parametrize("chunk", [1, 7, 128, 10**6])
@pytest.mark.parametrize("chosen", [SETTINGS, Settings(cap=4, budget=20)], ids=["wide", "narrow"])
def test_batch_is_replay(chunk: int, chosen: Settings) -> None:
    network = large()
    same(replayed(network, chunk, GraphState(chosen)), edge_features(network, chosen))


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network = large()
    alone = replayed(network, 1_000, GraphState())
    monkeypatch.setattr(state, "_THREADED", 10)
    same(replayed(network, 1_000, GraphState()), alone)


@given(networks(), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_small_batch_is_replay(network: Network, chunk: int) -> None:
    if len(network):
        same(replayed(network, chunk, GraphState(SETTINGS, nodes=1, edges=1)), edge_features(network, SETTINGS))


@given(networks(), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_later_payments_change_nothing(network: Network, kept: int) -> None:
    early = Network(*(part_of(network, 0, kept)), row=network.row[:kept], nodes=network.nodes)
    same(edge_features(early, SETTINGS), edge_features(network, SETTINGS)[:kept])


def test_a_payment_never_counts_itself_twice() -> None:
    told = edge_features(network_of([(0, 1, 0, 5)], 2))
    assert told["source_payments_out_1d"][0] == told["source_fan_out_1d"][0] == 1
    assert told["target_payments_in_1d"][0] == told["target_fan_in_1d"][0] == 1
    assert told["source_payments_in_1d"][0] == told["target_payments_out_1d"][0] == 0


def test_equal_times_stand_in_their_order() -> None:
    told = edge_features(network_of([(0, 1, HOUR, 5), (0, 2, HOUR, 5), (0, 3, HOUR, 5)], 4))
    assert told["source_payments_out_1d"].to_list() == [1, 2, 3]


@given(networks(nodes=4))
@settings(max_examples=60, deadline=None)
def test_self_transfers_move_nothing(network: Network) -> None:
    moves = np.flatnonzero(network.source != network.target)
    without = Network(
        *(a[moves] for a in (network.source, network.target, network.time, network.amount, network.row)), network.nodes
    )
    same(edge_features(network, SETTINGS)[moves], edge_features(without, SETTINGS))


def test_snapshot_goes_on_where_it_was() -> None:
    network, half = large(), 1_500
    whole = edge_features(network, SETTINGS)
    graph = GraphState(SETTINGS)
    graph.update(*part_of(network, 0, half))
    file = io.BytesIO()
    np.savez_compressed(file, **graph.snapshot())
    graph.update(*part_of(network, half, half + 10))  # what comes later must not touch the snapshot
    file.seek(0)
    restored = GraphState.restore(np.load(file, allow_pickle=False), SETTINGS)
    assert len(restored) == half
    same(replayed(network, 64, restored, half), whole[half:])


def test_a_snapshot_of_something_else_is_refused() -> None:
    graph = GraphState(SETTINGS, families=["statistics"])
    graph.update([0], [1], [5], [7])
    taken = graph.snapshot()
    with pytest.raises(FintelError, match="other settings"):
        GraphState.restore(taken, Settings(), families=["statistics"])
    with pytest.raises(FintelError, match="other settings"):
        GraphState.restore(taken, SETTINGS)
    with pytest.raises(FintelError, match="no array 'edges'"):
        GraphState.restore({"form": taken["form"]}, SETTINGS, families=["statistics"])


@pytest.mark.parametrize(
    ("field", "values", "why"),
    [
        ("source", [0, 1, 2_000_000_000], "names node 2,000,000,000"),
        ("target", [1, 2**20, 0], "names node 1,048,576"),
        ("target", [1, -7, 0], "no number from 0"),
        ("time", [1, 3, 2], "not in order of time"),
    ],
)
def test_a_snapshot_with_wrong_payments_is_refused(field: str, values: list[int], why: str) -> None:
    graph = GraphState()
    graph.update([0, 1, 2], [1, 2, 0], [1, 2, 3], [5, 5, 5])
    taken = graph.snapshot()
    taken["edges"][field] = values
    with pytest.raises(FintelError, match=why):
        GraphState.restore(taken)


@pytest.mark.parametrize(
    "wrong", [np.zeros(3), np.zeros((3, 1), EDGE), np.zeros((), EDGE)], ids=["type", "two", "none"]
)
def test_a_snapshot_of_another_shape_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(FintelError, match="no array 'edges'"):
        GraphState.restore(GraphState().snapshot() | {"edges": wrong})


@given(networks(), st.binary(min_size=8, max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_links_in_a_snapshot_are_not_believed(network: Network, noise: bytes, data: st.DataObject) -> None:
    half = data.draw(st.integers(0, len(network)))
    graph = GraphState(SETTINGS)
    graph.update(*part_of(network, 0, half))
    taken = graph.snapshot()
    for field in set(EDGE.names or ()) - {"source", "target", "time", "amount"}:
        taken["edges"][field] = np.frombuffer(noise, EDGE[field])[0]
    taken |= {"links.nodes": np.full(3, 2_000_000_000, np.int32)}
    restored = GraphState.restore(taken, SETTINGS)
    if half < len(network):
        same(replayed(network, 7, restored, half), replayed(network, 7, graph, half))


def test_room_for_more_nodes_must_be_asked_for() -> None:
    graph = GraphState(families=["statistics"])
    graph.update([50], [1], [5], [7])
    with pytest.raises(FintelError, match="names node 50, and there are 50"):
        GraphState.restore(graph.snapshot(), families=["statistics"], nodes=50)
    assert len(GraphState.restore(graph.snapshot(), families=["statistics"], nodes=51)) == 1


def test_forgetting_what_no_window_reaches_changes_nothing() -> None:
    network, half = large(days=60), 2_000
    whole = edge_features(network, SETTINGS, families=["statistics"])
    graph = GraphState(SETTINGS, families=["statistics"])
    graph.update(*part_of(network, 0, half))
    shorter = graph.forget(int(network.time[half] - 40 * HOUR))
    assert 0 < len(shorter) < half
    same(replayed(network, 50, shorter, half), whole[half:])


def test_out_of_order_is_refused_and_changes_nothing() -> None:
    graph = GraphState()
    graph.update([0, 1], [1, 2], [10, 20], [1, 1])
    with pytest.raises(FintelError, match="older than one that was taken already: 19 after 20"):
        graph.update([0], [1], [19], [1])
    with pytest.raises(FintelError, match="not in order of time: 31 stands before 30"):
        graph.update([0, 0, 0], [1, 1, 1], [20, 31, 30], [1, 1, 1])
    with pytest.raises(FintelError, match="names a node"):
        graph.update([-1], [1], [40], [1])
    with pytest.raises(FintelError, match="names a node"):
        graph.update([1], [2**31], [40], [1])
    with pytest.raises(ValueError, match="one length"):
        graph.update([1, 2], [2], [40], [1])
    assert len(graph) == 2
    assert graph.update([0], [1], [20], [1])["source_payments_out_1d"].tolist() == [2]


def test_no_payments() -> None:
    assert edge_features(network_of([], 0)).shape == (0, len(columns.columns()))
    assert {len(v) for v in GraphState().update([], [], [], []).values()} == {0}


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="rising"):
        Settings(windows=(timedelta(days=2), timedelta(days=1)))
    with pytest.raises(ValueError, match="cycle_hops"):
        Settings(cycle_hops=1)
    with pytest.raises(FintelError) as caught:
        columns.columns(families=["statistic"])
    assert caught.value.hint == "did you mean 'statistics'?"
