"""Rules, model and graph in one score: non-negative weights, fitted on what no part had seen."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import minimize

from fintel.models.saved import FusionCard

Floats = npt.NDArray[np.float64]

#: Pull of the fusion's weights towards 1, in nats a squared unit: a guard where positives are few.
_PULL = 1.0
_PARTS = ("model", "rules", "graph")
_METHOD = "non-negative logistic regression on held-out margins, weights pulled towards 1"


def crossed(judged: pl.DataFrame) -> Floats:
    """All parts together (bits, one a row), weights fitted without the account's fold."""
    fold = judged["fold"].to_numpy()
    out = np.zeros(judged.height)
    for k in np.unique(fold):
        here = fold == k
        base, *weights = fuse(judged.filter(pl.Series(~here)))
        part = judged.filter(pl.Series(here))
        out[here] = base + sum(
            weight * part[name].to_numpy() for name, weight in zip(_PARTS, weights, strict=True) if name in part.columns
        )
    return out


def fuse(judged: pl.DataFrame) -> tuple[float, float, float, float]:
    """Base, and non-negative weights of model, rules and graph, in bits; 1 for a part that is not there.

    Parameters
    ----------
    judged: ``label``, ``model`` and, if they are to be weighed, ``rules`` and ``graph``.
    """
    label = judged["label"].to_numpy()
    names = [name for name in _PARTS if name in judged.columns]
    parts = judged.select(names).to_numpy() * math.log(2)

    def loss(w: Floats) -> tuple[float, Floats]:
        z = w[0] + parts @ w[1:]
        rest = 1.0 / (1.0 + np.exp(-np.clip(z, -500, 500))) - label
        value = np.logaddexp(0.0, z).sum() - label @ z + 0.5 * _PULL * np.square(w[1:] - 1).sum()
        slope = np.concatenate([[rest.sum()], parts.T @ rest + _PULL * (w[1:] - 1)])
        return float(value), slope

    bounds = [(None, None)] + [(0.0, None)] * len(names)
    found = minimize(loss, np.concatenate([[0.0], np.ones(len(names))]), jac=True, method="L-BFGS-B", bounds=bounds)
    # Rounded, so that the last digits of an optimiser do not change a model's bytes.
    weights = [round(float(w), 9) for w in found.x]
    of = dict(zip(names, weights[1:], strict=True))
    return weights[0] / math.log(2), of["model"], of.get("rules", 1.0), of.get("graph", 1.0)


def fusion_card(judged: pl.DataFrame) -> FusionCard:
    """What a model's card says of ``fuse``."""
    base, model, rules, graph = fuse(judged)
    known = "rules" in judged.columns
    method = _METHOD if known else f"{_METHOD}; no rule scores were given, rules count in full"
    return FusionCard(
        base=base, model_weight=model, rule_weight=rules, graph_weight=graph, fitted_on=judged.height, method=method
    )
