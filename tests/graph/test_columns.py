"""The catalogue of edge columns, and what they say of accounts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from fintel.graph.columns import FAMILIES, account_columns, columns, parts, reference
from fintel.graph.layout import Settings
from fintel.graph.state import edge_features
from tests.graph.payments import HOUR, SETTINGS, large, network_of


def test_the_page_is_made_from_the_catalogue(root: Path) -> None:
    assert (root / "docs/reference/graph-columns.md").read_text(encoding="utf-8") == reference()


def test_every_column_says_what_it_is() -> None:
    found = columns()
    assert len({c.name for c in found}) == len(found)
    assert all(c.doc and c.unit for c in found)
    assert {c.family for c in found} == {*FAMILIES, "bounds"}
    for column in found:
        if column.window is not None and column.name.rsplit("_", 1)[1][:-1].isdigit():
            assert column.name.endswith(f"_{Settings.label(column.window)}"), column.name


def test_results_have_the_columns_of_the_catalogue() -> None:
    told = edge_features(large(100), SETTINGS)
    assert told.columns == [c.name for c in columns(SETTINGS)]
    types = {"count": pl.Int32, "real": pl.Float32}
    assert {c.name: told.schema[c.name] for p in parts(SETTINGS) for c in p.columns} == {
        c.name: types[c.kind] for p in parts(SETTINGS) for c in p.columns
    }
    assert told.schema["truncated"] == pl.UInt8


def test_bounds_are_never_silent() -> None:
    """A hub that a small cap cannot see through is marked, and only by a bound."""
    network = large()
    assert edge_features(network, Settings(cap=4, budget=20))["truncated"].sum() > 0
    assert edge_features(large(300), Settings(cap=10_000, budget=10**6))["truncated"].sum() == 0


def test_accounts_have_the_largest_and_latest_of_their_payments() -> None:
    net = network_of(
        [(0, 1, 0, 5), (0, 2, HOUR, 7), (1, 0, 2 * HOUR, 5), (0, 1, 30 * HOUR, 1), (2, 2, 31 * HOUR, 1)], 4
    )
    told = account_columns(net, edge_features(net, SETTINGS), settings=SETTINGS)
    assert told["account_id"].to_list() == ["n0", "n1", "n2", "n3"]
    assert told["fan_out_3h_max"].to_list() == [2, 1, 0, None]
    assert told["payments_out_3h_last"].to_list() == [1, 0, 0, None]
    assert told["max_out_3h_max"].to_list() == [base(7), base(5), None, None]
    assert told["received_cycles_2_10h_max"].to_list() == [1, 0, 0, None]
    assert told["paid_cycles_2_10h_sum"].to_list() == [0, 1, 0, None]
    early = account_columns(
        net,
        edge_features(net, SETTINGS),
        as_of=datetime.fromtimestamp(3600, UTC),
        within=timedelta(minutes=30),
        settings=SETTINGS,
    )
    assert early["fan_out_3h_max"].to_list() == [2, None, 0, None]


def base(units: int) -> float:
    return float(np.float32(units / 100_000))
