"""Why a model scores an account as it does: exact contributions, in bits, in words.

TreeSHAP splits each margin exactly into a base and one value a feature; divided by ln 2 they are bits
like a rule's. Features of one family say the same thing over several windows, so their bits are added
and told by the feature that says most of it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.errors import ModelError
from fintel.features.catalog import BY_NAME, Feature
from fintel.features.recipes import Growth
from fintel.models.saved import Card, FeatureCard
from fintel.models.scorer import BoostedScorer
from fintel.models.treeshap import MOST_FEATURES, contributions, forest

Floats = npt.NDArray[np.float64]
#: How far contributions may be from the margin, of it and of one unit of log odds.
_AGREES = 1e-6
#: Doublings that are told apart: beyond, a number has no words.
_FAR = 64.0
#: What ``Learned.contributions`` holds.
REASONS = pl.Schema({"account_id": pl.String, "name": pl.String, "bits": pl.Float64, "text": pl.String})
_TOLD = {"row": pl.Int64, "name": pl.String, "bits": pl.Float64, "text": pl.String}


def bits(scorer: BoostedScorer, x: Floats) -> tuple[Floats, float]:
    """Contributions in bits, (rows, features), and the base; base + row sum = margin / ln 2.

    Raises
    ------
    ModelError: they do not add up to the margins, so they explain another score.
    """
    if not x.shape[0]:
        return np.zeros_like(x), 0.0
    of = forest(scorer.booster_)
    if of.widest > MOST_FEATURES:
        values = scorer.contributions(x)
    else:
        values = contributions(of, x, threads=scorer.threads or os.cpu_count() or 1)
    margins = scorer.decision_function(x)
    if not np.allclose(values.sum(axis=1), margins, rtol=_AGREES, atol=_AGREES):
        raise ModelError(
            "the model's contributions do not add up to its scores", hint="train it again, with fewer leaves"
        )
    values = values / math.log(2)
    return values[:, :-1], float(values[0, -1])


def reasons(card: Card, account_ids: Sequence[str], x: Floats, parts: Floats) -> pl.DataFrame:
    """One row an account and family with a contribution: ``account_id, name, bits, text``.

    ``name`` is the family's feature that says most; the rows of an account add up to its contributions ``parts``
    (rows, features), in bits.
    """
    families: dict[str, list[int]] = {}
    for i, name in enumerate(card.names):
        families.setdefault(BY_NAME[name].family, []).append(i)
    told = [_of_family(card, np.array(index), x, parts) for index in families.values()]
    rows = pl.concat(t.with_columns(family=pl.lit(n)) for n, t in enumerate(told))
    accounts = pl.Series("account_id", account_ids, dtype=pl.String)
    ordered = rows.sort("row", "family")
    return ordered.select(accounts.gather(ordered["row"]), "name", "bits", "text").cast(REASONS)


def _of_family(card: Card, index: npt.NDArray[np.int64], x: Floats, parts: Floats) -> pl.DataFrame:
    """``row, name, bits, text`` of the rows to which a family contributes."""
    mine = parts[:, index]
    total = mine.sum(axis=1)
    at = np.flatnonzero(total)
    said = mine[at] * np.sign(total[at])[:, None]
    here = np.arange(at.size)
    first = said.argmax(axis=1)
    texts = _texts(card, index[first], x[at, index[first]])
    if index.size > 1 and at.size:
        most = said[here, first]
        said[here, first] = -np.inf
        second = said.argmax(axis=1)
        # Two features of a family are told where the second says at least half as much.
        both = np.flatnonzero(said[here, second] >= 0.5 * most)
        more = _texts(card, index[second[both]], x[at[both], index[second[both]]])
        texts = texts.scatter(both, texts.gather(both) + "; " + more)
    names = pl.Series(card.names, dtype=pl.String).gather(index[first])
    return pl.DataFrame({"row": at, "name": names, "bits": total[at], "text": texts}, schema_overrides=dict(_TOLD))


def _texts(card: Card, feature: npt.NDArray[np.int64], value: Floats) -> pl.Series:
    """The words of each feature and value; each different value is put into words once."""
    asked = pl.DataFrame({"feature": feature, "value": value})
    different = asked.unique(maintain_order=True)
    words = [describe(card.features[f], v, card.base_currency) for f, v in different.iter_rows()]
    known = different.with_columns(text=pl.Series(words, dtype=pl.String))
    joined = asked.join(known, on=["feature", "value"], how="left", nulls_equal=True, maintain_order="left")
    return joined["text"]


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
        return f"{_short(2.0 ** min(max(value, -_FAR), _FAR))} times"
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
