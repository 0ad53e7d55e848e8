"""Statistics of both ends against sums written down from the definition, in fractions."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings

from fintel.graph.layout import MICROSECOND, Settings
from fintel.graph.network import Network
from fintel.graph.state import edge_features
from tests.graph.payments import HOUR, SETTINGS, network_of, networks

UNITS = 100_000


def expected(network: Network, e: int, node: int, side: str, window: int) -> dict[str, float]:
    own, other = (network.source, network.target) if side == "out" else (network.target, network.source)
    now = network.time[e]
    mine = [
        f for f in range(e + 1)
        if own[f] == node and own[f] != other[f] and now - window < network.time[f] <= now
    ]  # fmt: skip
    known = [Fraction(int(network.amount[f]), UNITS) for f in mine if network.amount[f] >= 0]
    n = len(known)
    told = dict.fromkeys(("sum", "mean", "std", "skew", "max", "gap"), float("nan"))
    if not mine:
        told["sum"] = 0.0
    if len(mine) > 1:
        told["gap"] = (int(network.time[mine[-1]]) - int(network.time[mine[0]])) / (len(mine) - 1) / 1e6
    if n:
        mean = sum(known) / n
        second, third = (sum((x - mean) ** k for x in known) / n for k in (2, 3))
        told |= {"sum": float(sum(known)), "mean": float(mean), "std": sqrt(second), "max": float(max(known))}
        if n > 2 and second > 0:
            told["skew"] = float(third) / sqrt(second) ** 3
    return told | {"fan": len({int(other[f]) for f in mine}), "payments": len(mine)}


def check(network: Network, chosen: Settings) -> None:
    told = edge_features(network, chosen, families=["statistics"])
    for e in range(len(network)):
        for role, ends in (("source", network.source), ("target", network.target)):
            for side in ("out", "in"):
                for window in chosen.windows:
                    truth = expected(network, e, int(ends[e]), side, window // MICROSECOND)
                    for what, value in truth.items():
                        name = f"{role}_{what}_{side}_{chosen.label(window)}"
                        assert told[name][e] == pytest.approx(value, rel=2e-7, nan_ok=True), (name, e)


@given(networks())
@settings(max_examples=80, deadline=None)
def test_equal_to_their_definition(network: Network) -> None:
    check(network, SETTINGS)


def test_spread_of_amounts_that_differ_in_the_last_digit() -> None:
    base = 10**15
    check(network_of([(0, 1, h * HOUR, base + h % 2) for h in range(12)], 2), SETTINGS)


def test_a_large_amount_leaves_nothing_behind() -> None:
    rows = [(0, 1, 0, 10**17)] + [(0, 1, (h + 41) * HOUR, a) for h, a in enumerate((1, 2, 4, 7))]
    network = network_of(rows, 2)
    told = edge_features(network, SETTINGS, families=["statistics"])
    alone = edge_features(network_of(rows[1:], 2), SETTINGS, families=["statistics"])
    assert told[1:].equals(alone)


def test_sums_that_do_not_fit_are_unknown_and_then_right_again() -> None:
    rows = [(0, 1, 0, 2**62)] * 5 + [(0, 1, (h + 41) * HOUR, a) for h, a in enumerate((1, 2, 4, 7))]
    told = edge_features(network_of(rows, 2), SETTINGS, families=["statistics"])
    assert np.isnan(told["source_sum_out_40h"][4])
    assert told["source_payments_out_40h"][4] == 5
    alone = edge_features(network_of(rows[5:], 2), SETTINGS, families=["statistics"])
    assert told[5:].equals(alone)
