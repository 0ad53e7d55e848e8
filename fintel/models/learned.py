"""What a model hands to the ranking."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from fintel.models.calibration import Calibration

#: What ``Learned.probabilities`` holds.
PROBABILITIES = pl.Schema({"account_id": pl.String, "probability": pl.Float64})


@dataclass(frozen=True)
class Learned:
    """A model's part: ``base`` bits for everybody, and exact contributions.

    ``contributions``: ``account_id, name, bits, text``; with ``base`` they add up to the model's log2
    odds. ``rule_weight`` and ``graph_weight`` (0 or more) scale the reasons of rules and graph beside the model.
    ``probabilities``: ``account_id, probability`` by the model alone. ``calibration``: of scores that model and rules
    make together, at ``base_rate`` (None = as where it was judged).
    """

    base: float
    contributions: pl.DataFrame
    rule_weight: float = 1.0
    graph_weight: float = 1.0
    probabilities: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PROBABILITIES))
    calibration: Calibration | None = None
    base_rate: float | None = None
