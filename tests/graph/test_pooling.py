"""Folds of the graph's columns over an account's payments."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fintel.features.recipes import Pooled
from fintel.graph.pooling import pooled
from tests.graph.payments import HOUR, network_of


@pytest.mark.parametrize(("ratio", "told"), [(3.25, 3.25), (1e11, 1e11), (1e16, 1e12), (9e18, 1e12)])
def test_a_ratio_of_the_largest_to_the_smallest_payment_is_bounded(ratio: float, told: float) -> None:
    net = network_of([(0, 1, HOUR, 1), (0, 1, 2 * HOUR, 10**16)], 2)
    columns = pl.DataFrame({"gather_scatter_passed out": [0.5, ratio], "gather_scatter_passed": [0.5, ratio]})
    never = np.full(2, np.iinfo(np.int64).max)
    recipe = {"passed": Pooled("gather_scatter_passed", "max", 7, "out")}
    found = pooled(net, columns, never, recipe, np.array([0]), np.array([3 * HOUR]))
    assert found["passed"].tolist() == [np.float32(told)]
