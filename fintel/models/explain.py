"""Why a model scores an account as it does: exact contributions, in bits, in words.

TreeSHAP splits each margin exactly into a base and one value a feature; divided by ln 2 they are bits
like a rule's. Features of one family say the same thing over several windows, so their bits are added
and told by the feature that says most of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.features.catalog import BY_NAME, Feature
from fintel.features.recipes import Growth
from fintel.models.saved import Card, FeatureCard
from fintel.models.scorer import BoostedScorer

Floats = npt.NDArray[np.float64]
#: What ``Learned.contributions`` holds.
REASONS = pl.Schema({"account_id": pl.String, "name": pl.String, "bits": pl.Float64, "text": pl.String})


def bits(scorer: BoostedScorer, x: Floats) -> tuple[Floats, float]:
    """Contributions in bits, (rows, features), and the base; base + row sum = margin / ln 2."""
    if not x.shape[0]:
        return np.zeros_like(x), 0.0
    values = scorer.contributions(x) / math.log(2)
    return values[:, :-1], float(values[0, -1])


def reasons(card: Card, account_ids: Sequence[str], x: Floats, contributions: Floats) -> pl.DataFrame:
    """One row an account and family with a contribution: ``account_id, name, bits, text``.

    ``name`` is the family's feature that says most; the rows of an account add up to its contributions.
    """
    names = card.names
    families = list(dict.fromkeys(BY_NAME[n].family for n in names))
    members = {f: np.array([i for i, n in enumerate(names) if BY_NAME[n].family == f]) for f in families}
    rows: list[tuple[str, str, float, str]] = []
    for account, values, parts in zip(account_ids, x, contributions, strict=True):
        for family in families:
            index = members[family]
            total = math.fsum(parts[index])
            if total == 0.0:
                continue
            ordered = index[np.argsort(-parts[index] * math.copysign(1.0, total), kind="stable")]
            texts = [describe(card.features[ordered[0]], values[ordered[0]], card.base_currency)]
            if ordered.size > 1 and parts[ordered[1]] / parts[ordered[0]] >= 0.5:
                texts.append(describe(card.features[ordered[1]], values[ordered[1]], card.base_currency))
            rows.append((account, names[ordered[0]], total, "; ".join(texts)))
    return pl.DataFrame(rows, schema=REASONS, orient="row")


def describe(card: FeatureCard, value: float, base_currency: str) -> str:
    """A feature's value in words, beside what was usual in training.

    >>> # '18 different senders in 7 days, usual 1 (98th percentile)'
    """
    feature = BY_NAME[card.name]
    if math.isnan(value):
        return f"{feature.doc[0].lower()}{feature.doc[1:]}: not known"
    said = feature.words.replace("{value}", in_words(feature, value, base_currency))
    if card.median is None:
        return said
    usual = in_words(feature, card.median, base_currency)
    place = ordinal(min(99, max(1, math.floor(card.percentile(value)))))
    return f"{said}, usual {usual} ({place} percentile)"


def in_words(feature: Feature, value: float, base_currency: str) -> str:
    """A value with its unit, as people write it."""
    if isinstance(feature.recipe, Growth):
        return f"{_short(2.0**value)} times"
    match feature.unit:
        case "count":
            return f"{round(value):,}"
        case "base":
            return f"{base_currency} {value:,.0f}"
        case "share":
            return f"{100 * value:.0f} %"
        case "flag":
            return "yes" if value else "no"
        case "ratio":
            return _short(value)
        case _:
            unit = feature.unit.removesuffix("s") if round(value) == 1 else feature.unit
            return f"{value:,.0f} {unit}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th …"""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
