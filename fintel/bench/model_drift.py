"""A model watched: drift of what it is given and of what it says, and its performance where labels have come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

import polars as pl

from fintel.bench.model_months import MODEL, label_months, months_after, score_months
from fintel.config import Settings
from fintel.errors import ModelError
from fintel.models.account_rows import Rules
from fintel.models.drift import Drift, Performance, judge_performance, measure_drift
from fintel.models.labels import read_truth
from fintel.models.queues import check_judged, read_queues
from fintel.models.saved import Model
from fintel.models.training import model_rows
from fintel.rules.model import Library
from fintel.rules.runner import Progress

Tables = Mapping[str, pl.LazyFrame]
_TICK = timedelta(microseconds=1)
#: Share of labels that must have come before a month counts as mature.
MATURE = 0.8
_MONTH = 30


def watch(
    tables: Tables, model: Model, library: Library, settings: Settings, *, as_of: datetime, days: int | None,
    progress: Progress,
) -> Drift:  # fmt: skip
    """Compare the lake as of a moment with what the model was trained on.

    Parameters
    ----------
    as_of: the last instant seen. days: length of the months that performance is measured on; None = how far
        a label looked back in training, so that base rates are alike (30 where that was all time).

    Raises
    ------
    ModelError: no account has an entry by then.
    """
    progress("features", 0, 0)
    rules = Rules(library, settings.base_currency)
    now = model_rows(tables, model, as_of, rules, settings.threads)
    if now.is_empty():
        raise ModelError(f"no account has an entry by {as_of:%Y-%m-%d}", hint="take a later --as-of")
    margin = model.scorer.decision_function(now.select(model.card.names).to_numpy())
    card = model.card.training
    span = days or (round(card.before_days) if card.plan == "time" else _MONTH)
    performance, notes = performed(tables, model, rules, settings, as_of=as_of, days=span, progress=progress)
    if as_of < card.as_of:
        notes.append(f"{as_of:%Y-%m-%d} is before the model was trained ({card.as_of:%Y-%m-%d})")
    if len(card.snapshots) == 1:
        notes.append("training had one snapshot: what hangs on the day of the week or month has moved with the day")
    scores = pl.Series(MODEL, margin / math.log(2))
    return measure_drift(model.card, now, scores, as_of=as_of, performance=performance, notes=notes)


def maturity(tables: Tables, as_of: datetime) -> timedelta | None:
    """How long after an account's first illicit payment ``MATURE`` of the labels known by now came; None where
    labels have no dated payments."""
    truth = read_truth(tables, as_of)
    began = truth.activity.group_by("account_id").agg(pl.col("at").min())
    delay = truth.accounts.join(began, on="account_id").select(pl.col("known_at") - pl.col("at")).to_series()
    return None if delay.is_empty() else delay.dt.total_microseconds().quantile(MATURE, "higher") * _TICK  # type: ignore[operator]


def performed(
    tables: Tables, model: Model, rules: Rules, settings: Settings, *, as_of: datetime, days: int, progress: Progress
) -> tuple[Performance | None, list[str]]:
    """Average precision over months after training whose labels are mature; else None, and why."""
    delay = maturity(tables, as_of)
    if delay is None:
        return None, ["performance is not measured: no labels with dated payments are known"]
    ends = [end for end in months_after(model, as_of, days) if end + delay <= as_of]
    wait = f"{MATURE:.0%} of labels come within {delay / timedelta(days=1):.0f} days"
    if not ends:
        return None, [f"performance is not measured: {wait}, and no month since training is as old"]
    rows = score_months(tables, {MODEL: model}, ends, rules, threads=settings.threads, progress=progress)
    rows, notes = label_months(tables, rows, [model], days, known_by=as_of)
    rows = rows.with_columns(money=pl.lit(None, dtype=pl.Float64))
    try:
        check_judged(rows, [MODEL])
    except ModelError as error:
        return None, [*notes, f"performance is not measured: {error}"]
    budget = settings.ranking.budget
    queues, _ = read_queues(rows, {MODEL: MODEL}, capacities=[budget], step=budget, seed=settings.seed)
    found = rows.filter(pl.col("label") == 1)["account_id"].n_unique()
    base_rate = float(rows["label"].cast(pl.Float64).to_numpy().mean())
    told = judge_performance(
        queues[MODEL].average_precision, base_rate, model.card,
        months=ends, accounts=rows["account_id"].n_unique(), positives=found,
    )  # fmt: skip
    return told, [*notes, f"performance: labels count as come after {wait.partition(' within ')[2]}"]
