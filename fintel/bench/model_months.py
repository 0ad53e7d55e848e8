"""Accounts to judge a saved model by, that it has not learned from: later months, or the training made again.

*later*: months that begin after the last training snapshot. The model scores each month's end, the rules run
as of then, and nobody counts who taught the model: accounts that were labelled suspicious in training, and
everybody in their groups. *again*: where there is no such month, the training is made again in folds of groups
with the card's parameters, each account judged by a model without its group. Then the way of training is
judged over one period, and nothing is said of the future.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl

from fintel.config import Settings
from fintel.domain.schema import LABELS
from fintel.errors import ModelError
from fintel.frames import empty
from fintel.models.account_rows import Rules
from fintel.models.dataset import Sampling
from fintel.models.labels import groups, label_rows, read_truth
from fintel.models.queues import check_judged
from fintel.models.saved import Model
from fintel.models.scorer import BoostedScorer
from fintel.models.training import Trained, margins, train
from fintel.ranking import rank
from fintel.rules.model import Library
from fintel.rules.runner import Progress, detect_tables

Tables = Mapping[str, pl.LazyFrame]
Way = Literal["later", "again"]
#: Rankings in the order in which they are told.
RULES, MODEL, BOTH, CHAMPION = "rules", "model", "both", "champion"
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Judged:
    """``rows``: a row an account and month: ``account_id, month, group, label, money`` and a column (bits) for
    each of ``rankings``. ``activity``: ``account_id, at, amount`` of illicit payments in these months.
    ``days``: length of a month; None where there is one period of all time.
    """

    rows: pl.DataFrame
    rankings: tuple[str, ...]
    way: Way
    activity: pl.DataFrame
    days: int | None
    notes: tuple[str, ...]


def illicit_payments(tables: Tables) -> pl.DataFrame:
    """``account_id, at, amount`` (base currency, Decimal or null) of labelled accounts' labelled payments.

    A payment between two labelled accounts is moved by both, and stands here twice.
    """
    labels = tables.get("labels", empty(LABELS).lazy())
    named = labels.filter(pl.col("suspicious") & (pl.col("subject_type") == "transaction"))
    paid = tables["transactions"].join(
        named.select("subject_id").unique(), left_on="transaction_id", right_on="subject_id", how="semi"
    )
    sides = [
        paid.select(account_id=f"{side}_account_id", at="booked_at", amount="amount_base")
        for side in ("debtor", "creditor")
    ]
    accounts = read_truth(tables).accounts
    found = pl.concat(sides).drop_nulls("account_id").collect(engine="streaming")
    return found.join(accounts, on="account_id", how="semi").sort("account_id", "at", "amount")


def typologies(tables: Tables) -> pl.DataFrame:
    """``account_id, typology`` of suspicious accounts; one account may have several."""
    labels = tables.get("labels", empty(LABELS).lazy()).filter(pl.col("suspicious")).collect().lazy()
    named = labels.select(pl.col("typology").drop_nulls().unique().sort()).collect().to_series()
    parts = [
        read_truth({**tables, "labels": labels.filter(pl.col("typology") == one)}).accounts.select(
            "account_id", typology=pl.lit(one)
        )
        for one in named
    ]
    return pl.concat([pl.DataFrame(schema={"account_id": pl.String, "typology": pl.String}), *parts])


def months_after(model: Model, as_of: datetime, days: int) -> tuple[datetime, ...]:
    """Last instants of months that begin after the model's last training snapshot, the latest at ``as_of``."""
    learned_until = max(model.card.training.snapshots)
    span = timedelta(days=days)
    return tuple(as_of - span * n for n in reversed(range(max(0, (as_of + _TICK - learned_until) // span))))


def judge(
    tables: Tables, model: Model, library: Library, settings: Settings, *, as_of: datetime, days: int,
    champion: Model | None, progress: Progress,
) -> Judged:  # fmt: skip
    """Score accounts that the model has not learned from.

    Parameters
    ----------
    days: length of a month, and how far its label looks back. champion: another model to compare with.

    Raises
    ------
    ModelError: there are no labels to judge by, in later months or by training again.
    """
    models = [m for m in (model, champion) if m is not None]
    ends = min((months_after(m, as_of, days) for m in models), key=len)
    if not ends:
        return judge_again(
            tables, model, library, settings, progress=progress,
            why=f"no {days} days lie between the last training snapshot and {as_of:%Y-%m-%d}", champion=champion,
        )  # fmt: skip
    judged = judge_later(tables, model, library, settings, ends=ends, days=days, champion=champion, progress=progress)
    try:
        check_judged(judged.rows, ())
    except ModelError as error:
        why = f"{error} after the last training snapshot"
        return judge_again(tables, model, library, settings, progress=progress, why=why, champion=champion)
    return judged


def judge_later(
    tables: Tables, model: Model, library: Library, settings: Settings, *, ends: Sequence[datetime], days: int,
    champion: Model | None, progress: Progress,
) -> Judged:  # fmt: skip
    """Score months by the model as it is; see the module's text."""
    models = {MODEL: model} if champion is None else {MODEL: model, CHAMPION: champion}
    rows = score_months(
        tables, models, ends, Rules(library, settings.base_currency), threads=settings.threads, progress=progress
    )
    parts = []
    for number, end in enumerate(ends):
        progress("rules at month ends", number, len(ends))
        found = rule_bits(tables, library, settings, end, since=end - timedelta(days=days), progress=progress)
        parts.append(found.with_columns(month=pl.lit(end)))
    fusion = model.card.fusion
    fused = fusion.base + fusion.model_weight * pl.col(MODEL) + fusion.rule_weight * pl.col(RULES)
    rows = (
        rows.join(pl.concat(parts), on=["account_id", "month"], how="left", maintain_order="left")
        .with_columns(pl.col(RULES).fill_null(0.0))
        .with_columns(fused.alias(BOTH))
    )
    rows, notes = label_months(tables, rows, models.values(), days)
    if model.card.training.as_of > ends[0] - timedelta(days=days):
        notes.append("weights of 'both' were fitted on some of the same months; those of 'rules' and 'model' were not")
    activity = illicit_payments(tables)
    rows = _with_money(rows, activity, days)
    inside = (pl.col("at") > ends[0] - timedelta(days=days)) & (pl.col("at") <= ends[-1])
    seen = activity.filter(inside).join(rows.filter(pl.col("label") == 1), on="account_id", how="semi")
    return Judged(rows, (RULES, MODEL, BOTH, *list(models)[1:]), "later", seen, days, tuple(notes))


def score_months(
    tables: Tables, models: Mapping[str, Model], ends: Sequence[datetime], rules: Rules, *, threads: int,
    progress: Progress,
) -> pl.DataFrame:  # fmt: skip
    """``account_id, month`` and each model's bits under its name, of own accounts at each month's end."""
    parts = []
    for number, end in enumerate(ends):
        progress("models at month ends", number, len(ends))
        scored = [
            margins(tables, one, end, threads=threads, rules=rules).rename({"bits": name})
            for name, one in models.items()
        ]
        part = scored[0]
        for other in scored[1:]:
            part = part.join(other, on="account_id", how="inner", maintain_order="left")
        parts.append(part.with_columns(month=pl.lit(end)))
    return pl.concat(parts)


def label_months(
    tables: Tables, rows: pl.DataFrame, models: Iterable[Model], days: int, *, known_by: datetime | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """Rows with ``label`` (active in the ``days`` up to the month's end) and ``group``, without accounts that
    taught a model or are of a group with one, and without labelled accounts that were not active then.

    ``known_by``: labels known later are not seen.
    """
    keys = rows.select("account_id", (pl.col("month") + _TICK).alias("as_of"))
    rows = rows.with_columns(label_rows(keys, read_truth(tables, known_by), days).alias("label")).drop_nulls("label")
    grouped = groups(tables)
    taught = grouped.join(_taught(tables, models), on="account_id", how="semi")
    tainted = grouped.join(taught, on="group", how="semi")
    suspicious = rows.filter(pl.col("label") == 1)
    left_out = suspicious.join(tainted, on="account_id", how="semi")["account_id"].n_unique()
    rows = rows.join(tainted, on="account_id", how="anti", maintain_order="left")
    notes = []
    if left_out:
        notes.append(f"{left_out} suspicious accounts of these months taught the model and are not counted")
    return _with_groups(rows, grouped), notes


def rule_bits(
    tables: Tables, library: Library, settings: Settings, end: datetime, *, since: datetime | None, progress: Progress
) -> pl.DataFrame:
    """``account_id, rules``: bits of the rules as of ``end``, of episodes that ended after ``since``."""
    found = detect_tables(
        tables, library, base_currency=settings.base_currency, as_of=end, threads=settings.threads, progress=progress
    ).episodes
    if since is not None:
        found = found.filter(pl.col("ended_at") > since)
    accounts = tables["accounts"].select("account_id", "party_id", "holding").collect()
    ranked = rank(found, accounts, run_id="", prior=settings.ranking.prior).alerts
    return ranked.select("account_id", rules=pl.col("score") - pl.col("prior"))


def judge_again(
    tables: Tables, model: Model, library: Library, settings: Settings, *, why: str, champion: Model | None,
    progress: Progress, seed: int | None = None,
) -> Judged:  # fmt: skip
    """Make the training again and take its held-out margins; see the module's text."""
    card = model.card.training
    by_rules = rule_bits(tables, library, settings, card.as_of, since=None, progress=progress)
    progress("training again", 0, 0)
    trained = train_again(tables, model, settings, by_rules, seed=model.card.seed if seed is None else seed)
    days = round(card.before_days)
    rows = trained.held_out.with_columns(month=pl.lit(card.as_of))
    activity = illicit_payments(tables).filter(pl.col("at") <= card.as_of)
    rows = _with_money(rows, activity, days)
    notes = [
        f"{why}: the training was made again in folds of groups, and accounts are judged by models without their group",
        *trained.evaluation.notes,
    ]
    if trained.model.card.trees_sha256 != model.card.trees_sha256:
        notes.append("the lake or the software has changed since: the training made again gave other trees")
    if champion is not None:
        notes.append("the champion is left out: it has learned from these accounts")
    return Judged(rows, (RULES, MODEL, BOTH), "again", activity, None, tuple(dict.fromkeys(notes)))


def train_again(tables: Tables, model: Model, settings: Settings, by_rules: pl.DataFrame, *, seed: int) -> Trained:
    """Train with a card's parameters, plan and moment."""
    card = model.card.training
    known = BoostedScorer().get_params()
    chosen: dict[str, Any] = {name: value for name, value in card.parameters.items() if name in known}
    snapshots = card.snapshots
    step = round((snapshots[-1] - snapshots[-2]) / timedelta(days=1)) if len(snapshots) > 1 else Sampling().step_days
    return train(
        tables,
        settings=settings.model_copy(update={"seed": seed}),
        as_of=card.as_of,
        rule_scores=by_rules.rename({RULES: "score"}),
        sampling=Sampling(known_by=card.labels_known_by, plan=card.plan, step_days=step),
        scorer=BoostedScorer(**chosen),
    )


def _taught(tables: Tables, models: Iterable[Model]) -> pl.DataFrame:
    """``account_id`` of accounts that were positive in a model's training."""
    parts = [pl.DataFrame(schema={"account_id": pl.String})]
    for model in models:
        card = model.card.training
        truth = read_truth(tables, card.labels_known_by)
        seen = truth.activity.filter(pl.col("at") < max(card.snapshots)).select("account_id")
        undated = truth.accounts.join(truth.activity, on="account_id", how="anti").select("account_id")
        parts += [seen, undated]
    return pl.concat(parts).unique()


def _with_groups(rows: pl.DataFrame, grouped: pl.DataFrame) -> pl.DataFrame:
    """``group`` of each row; an account that is not labelled is its own."""
    own = rows.select("account_id").unique().sort("account_id").with_row_index("place")
    own = own.join(grouped, on="account_id", how="left", maintain_order="left")
    own = own.with_columns(group=pl.coalesce("group", -1 - pl.col("place").cast(pl.Int64))).drop("place")
    return rows.join(own, on="account_id", how="left", maintain_order="left")


def _with_money(rows: pl.DataFrame, activity: pl.DataFrame, days: int) -> pl.DataFrame:
    """``money``: the row's labelled value in the ``days`` up to its month's end; null where no payment is labelled."""
    months = rows.select("month").unique()
    sums = (
        activity.join(months, how="cross")
        .filter((pl.col("at") <= pl.col("month")) & (pl.col("at") > pl.col("month") - timedelta(days=days)))
        .group_by("account_id", "month")
        .agg(money=pl.col("amount").sum().cast(pl.Float64))
    )
    return rows.join(sums, on=["account_id", "month"], how="left", maintain_order="left")
