"""What a model hands to the ranking."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Learned:
    """A model's part: ``base`` bits for everybody, and exact contributions.

    ``contributions``: ``account_id, name, bits, text``; with ``base`` they add up to the model's log2
    odds. ``rule_weight`` and ``graph_weight`` (0 or more) scale the reasons of rules and graph beside the model.
    """

    base: float
    contributions: pl.DataFrame
    rule_weight: float = 1.0
    graph_weight: float = 1.0
