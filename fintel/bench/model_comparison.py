"""Champion beside challenger on accounts that neither has learned from, as of one moment.

*later*: the last ``days`` up to the moment lie wholly after the last training snapshot of both. Both score as they
are; nobody counts who taught one of them, or is in a group with one who did. *again*: where there are no such days (or
too few suspicious accounts in them), both ways of training (a card's features, parameters and rounds) are made again in
the same folds of groups, and each account is judged by trees without its group. Then ways of training are compared, not
the very trees, and a note says so.

What is compared is what detection uses: the model joined with the rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from fintel.bench.model_months import label_months, months_after, rule_bits
from fintel.config import Settings
from fintel.errors import ModelError
from fintel.features.catalog import BY_NAME
from fintel.models.account_rows import Rules, account_rows
from fintel.models.comparison import Comparison, Way, compare, lacking_attributes
from fintel.models.dataset import AT_LEAST, Examples, Sampling, build, own_accounts
from fintel.models.drift import Drift, measure_drift
from fintel.models.fusion import crossed
from fintel.models.saved import Model
from fintel.models.scorer import BoostedScorer
from fintel.models.subgroups import attributes
from fintel.models.training import held_out
from fintel.rules.model import Library
from fintel.rules.runner import Progress

Tables = Mapping[str, pl.LazyFrame]
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Beside:
    """A comparison, and how far today's accounts lie from what each model learned from (None: no champion)."""

    as_of: datetime
    comparison: Comparison
    drift: Drift
    champion_drift: Drift | None


def compare_models(
    tables: Tables,
    challenger: Model,
    champion: Model | None,
    library: Library,
    settings: Settings,
    *,
    as_of: datetime,
    progress: Progress,
    days: int = 30,
) -> Beside:
    """Compare a challenger with the champion, or with rules alone where ``champion`` is None.

    Parameters
    ----------
    days: length of the period that both are judged on where it is later than their training.

    Raises
    ------
    ModelError: there is nothing to judge by, or the models' money is in different currencies.
    """
    models = {"challenger": challenger} | ({"champion": champion} if champion is not None else {})
    if champion is not None and champion.card.base_currency != challenger.card.base_currency:
        both = f"{champion.card.base_currency} and {challenger.card.base_currency}"
        raise ModelError(f"the models count money in {both}", hint="train the challenger with the lake's base currency")
    rules = Rules(library, settings.base_currency)
    progress("features", 0, 0)
    now = {name: _features(tables, model, as_of, rules, settings) for name, model in models.items()}
    judged, way, notes = _later(tables, models, now, library, settings, as_of=as_of, days=days, progress=progress)
    if judged is None:
        judged = _again(tables, models, library, settings, as_of=as_of, progress=progress)
    if champion is None:
        judged = judged.with_columns(champion="rules")
    judged = judged.with_columns(month=pl.lit(as_of))
    judged = pl.concat([judged, attributes(tables, judged)], how="horizontal").drop("month")
    lacking = lacking_attributes(judged)
    if lacking:
        notes.append(f"nothing is known of {', '.join(lacking)}: harm to such groups cannot be told")
    found = compare(
        judged.sort("account_id"), {name: model.model_id for name, model in models.items()}, way=way,
        budget=settings.ranking.budget, seed=settings.seed, notes=notes,
    )  # fmt: skip
    drifts = {name: _drift(models[name], now[name], as_of) for name in models}
    return Beside(as_of, found, drifts["challenger"], drifts.get("champion"))


def _features(tables: Tables, model: Model, as_of: datetime, rules: Rules, settings: Settings) -> pl.DataFrame:
    """The model's features of own accounts as of the moment, and its ``bits``."""
    rows = account_rows(
        tables, [as_of + _TICK], model.card.names, accounts=own_accounts(tables), rules=rules, threads=settings.threads
    )
    if rows.is_empty():
        raise ModelError("there are no accounts to compare on", hint="fintel feed add FILE")
    margin = model.scorer.decision_function(rows.select(model.card.names).to_numpy())
    return rows.with_columns(bits=pl.Series(margin / math.log(2)))


def _drift(model: Model, now: pl.DataFrame, as_of: datetime) -> Drift:
    values = now.select(pl.col(model.card.names).cast(pl.Float64))
    return measure_drift(model.card, values, now["bits"], as_of=as_of)


def _later(
    tables: Tables, models: Mapping[str, Model], now: Mapping[str, pl.DataFrame], library: Library, settings: Settings,
    *, as_of: datetime, days: int, progress: Progress,
) -> tuple[pl.DataFrame | None, Way, list[str]]:  # fmt: skip
    """Accounts of the last days, scored by the models as they are; None, and why, where they cannot be judged by."""
    if not all(months_after(model, as_of, days) for model in models.values()):
        why = f"no {days} days lie between the last training snapshot and {as_of:%Y-%m-%d}"
        return None, "again", [_why_again(why)]
    rows: pl.DataFrame | None = None
    for name, frame in now.items():
        part = frame.select("account_id", pl.col("bits").alias(name))
        rows = part if rows is None else rows.join(part, on="account_id", maintain_order="left")
    assert rows is not None
    rows, notes = label_months(tables, rows.with_columns(month=pl.lit(as_of)), models.values(), days)
    positives = int(rows["label"].sum())
    if positives < AT_LEAST:
        why = f"{positives} suspicious accounts that taught neither were active in the last {days} days"
        return None, "again", [_why_again(why)]
    found = rule_bits(tables, library, settings, as_of, since=as_of - timedelta(days=days), progress=progress)
    rows = rows.join(found, on="account_id", how="left", maintain_order="left").with_columns(
        pl.col("rules").fill_null(0.0)
    )
    fused = {
        name: m.card.fusion.base
        + m.card.fusion.model_weight * pl.col(name)
        + m.card.fusion.rule_weight * pl.col("rules")
        for name, m in models.items()
    }
    return rows.with_columns(**fused).drop("month"), "later", notes


def _why_again(why: str) -> str:
    return (
        f"{why}: both trainings were made again in the same folds of groups, so ways of training are compared, and "
        "nothing is said of the future"
    )


def _again(
    tables: Tables, models: Mapping[str, Model], library: Library, settings: Settings, *, as_of: datetime,
    progress: Progress,
) -> pl.DataFrame:  # fmt: skip
    """Both trainings in the same folds; labels as the model that knew more of them."""
    cards = [model.card.training for model in models.values()]
    families = sorted({BY_NAME[name].family for model in models.values() for name in model.card.names})
    known_by = max(as_of, *(card.labels_known_by for card in cards))
    sampling = Sampling(known_by=known_by, families=tuple(families))
    rules = Rules(library, settings.base_currency)
    examples = build(tables, as_of + _TICK, sampling, seed=settings.seed, threads=settings.threads, rules=rules)
    found = rule_bits(tables, library, settings, as_of, since=None, progress=progress)
    out: pl.DataFrame | None = None
    for number, (name, model) in enumerate(models.items()):
        progress("training again", number, len(models))
        part = held_out(*_way_of(model, examples, settings))
        part = part.join(found, on="account_id", how="left", maintain_order="left")
        part = part.with_columns(pl.col("rules").fill_null(0.0))
        part = part.with_columns(pl.Series(name, crossed(part))).drop("model")
        out = part if out is None else out.with_columns(part[name])
    assert out is not None
    return out


def _way_of(model: Model, examples: Examples, settings: Settings) -> tuple[Examples, dict[str, Any]]:
    """Examples with the model's features alone, and its parameters."""
    names = tuple(name for name in model.card.names if name in examples.names)
    if not names:
        raise ModelError(f"no feature of model {model.model_id} tells these accounts apart")
    columns = [examples.names.index(name) for name in names]
    known = BoostedScorer().get_params()
    signs = tuple(BY_NAME[name].sign or 0 for name in names)
    parameters = known | {k: v for k, v in model.card.training.parameters.items() if k in known}
    parameters |= {
        "rounds": model.card.training.rounds,
        "monotone": signs if any(signs) else None,
        "seed": model.card.seed,
        "threads": settings.threads,
    }
    return replace(examples, names=names, x=np.ascontiguousarray(examples.x[:, columns])), parameters
