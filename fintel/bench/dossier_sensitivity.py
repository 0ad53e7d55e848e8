"""What a saved model's score hangs on, from its trees and its card alone: no data are needed."""

from __future__ import annotations

import math

import numpy as np

from fintel.features.catalog import BY_NAME
from fintel.models.saved import Card, Model

_SHOWN = 20
_LOW, _HIGH = 5, 95


def fusion(card: Card) -> tuple[tuple[str, str], ...]:
    """Weights of model and rules in what detection ranks by, and what everybody starts from."""
    joined = card.fusion
    return (
        ("base, bits", f"{joined.base:+.3f}"),
        ("model", f"{joined.model_weight:.3f}"),
        ("rules", f"{joined.rule_weight:.3f}"),
    )


def families(model: Model) -> tuple[tuple[str, str, str], ...]:
    """``(family, features, share of gain)``, the greatest first."""
    gain = np.asarray(model.scorer.booster_.feature_importance("gain"), np.float64)
    names = model.card.names
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for name, value in zip(names, gain, strict=True):
        family = BY_NAME[name].family
        sums[family] = sums.get(family, 0.0) + float(value)
        counts[family] = counts.get(family, 0) + 1
    whole = math.fsum(sums.values()) or 1.0
    ordered = sorted(sums, key=lambda family: (-round(sums[family] / whole, 6), family))
    return tuple((family, str(counts[family]), f"{100 * sums[family] / whole:.1f} %") for family in ordered)


def single_features(model: Model) -> tuple[tuple[str, str, str, str], ...]:
    """``(feature, low, high, bits)``: the score's move from a feature's 5 % to its 95 % quantile in training, all
    others at their medians (unknown where they never were known); the greatest moves first."""
    cards = model.card.features
    middle = np.array([math.nan if f.median is None else f.median for f in cards])
    ends = np.array([[_at(f.quantiles, p) for f in cards] for p in (_LOW, _HIGH)])
    rows = np.repeat(middle[None, :], 2 * len(cards), axis=0)
    index = np.arange(len(cards))
    rows[index, index] = ends[0]
    rows[len(cards) + index, index] = ends[1]
    bits = model.scorer.decision_function(rows) / math.log(2)
    moves = np.round(bits[len(cards) :] - bits[: len(cards)], 3) + 0.0
    order = sorted((i for i in range(len(cards)) if moves[i] != 0), key=lambda i: (-abs(moves[i]), cards[i].name))
    return tuple(
        (cards[i].name, f"{ends[0, i]:,.4g}", f"{ends[1, i]:,.4g}", f"{moves[i]:+.3f}") for i in order[:_SHOWN]
    )


def _at(quantiles: tuple[float, ...], percent: int) -> float:
    return quantiles[round(percent / 100 * (len(quantiles) - 1))] if quantiles else math.nan
