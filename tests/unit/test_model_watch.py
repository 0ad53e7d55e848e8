"""A model watched on months after its training: performance where labels have come, and honest months."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from models_cases import START, Tables, population

from fintel.bench.model_drift import maturity, watch
from fintel.bench.model_months import MODEL, label_months, months_after, score_months
from fintel.config import RankingSettings, Settings
from fintel.models.account_rows import Rules
from fintel.models.labels import read_truth
from fintel.models.saved import Model, restore, save
from fintel.models.training import train
from fintel.pipeline import silent
from fintel.rules.model import Library

SETTINGS = Settings(threads=1, seed=3, ranking=RankingSettings(budget=20))
DAY = timedelta(days=1)
TRAINED, NOW = START + 280 * DAY, START + 400 * DAY


@pytest.fixture(scope="module")
def long_tables() -> Tables:
    return population(days=400, accounts=400, schemes=90)


@pytest.fixture(scope="module")
def model(long_tables: Tables) -> Model:
    return train(long_tables, settings=SETTINGS, as_of=TRAINED).model


def test_months_begin_after_the_last_snapshot_and_leave_out_who_taught(long_tables: Tables, model: Model) -> None:
    ends = months_after(model, NOW, 30)
    learned_until = max(model.card.training.snapshots)
    assert (
        ends[-1] == NOW and learned_until <= ends[0] - 30 * DAY + timedelta(microseconds=1) < learned_until + 30 * DAY
    )
    rows = score_months(long_tables, {MODEL: model}, ends, Rules(), threads=1, progress=silent)
    judged, notes = label_months(long_tables, rows, [model], 30)
    truth = read_truth(long_tables)
    known = read_truth(long_tables, model.card.training.labels_known_by)
    taught = set(known.activity.filter(pl.col("at") < learned_until)["account_id"])
    assert (
        taught
        and not taught & set(judged["account_id"])
        and any("taught the model" in n for n in notes)
        is bool(
            taught & set(rows.join(truth.activity.filter(pl.col("at") > learned_until), on="account_id")["account_id"])
        )
    )
    for account, month, label in judged.select("account_id", "month", "label").iter_rows():
        active = truth.activity.filter(
            (pl.col("account_id") == account) & (pl.col("at") <= month) & (pl.col("at") > month - 30 * DAY)
        )
        if label == 1:
            assert active.height
    assert judged["label"].sum() >= 10


def test_performance_waits_for_labels_and_sees_when_they_say_otherwise(long_tables: Tables, model: Model) -> None:
    # labels come 32 days after a scheme begins
    delay = maturity(long_tables, NOW)
    assert delay is not None and timedelta(days=30) <= delay <= timedelta(days=33)
    found = watch(long_tables, model, Library(), SETTINGS, as_of=NOW, days=None, progress=silent)
    assert found.performance is not None and found.performance.verdict == "steady"
    assert max(found.performance.months) + delay <= NOW
    assert found.performance.lift > 3
    assert found.score is not None and found.score.verdict == "steady"
    # the same schemes, but other accounts are blamed: the model has become worthless
    clean = set(long_tables["accounts"].collect()["account_id"]) - set(read_truth(long_tables).accounts["account_id"])
    blamed = dict(zip(sorted(read_truth(long_tables).accounts["account_id"]), sorted(clean), strict=False))
    late = (pl.col("known_at") > TRAINED) & (pl.col("subject_type") == "account")
    other = pl.when(late).then(pl.col("subject_id").replace(blamed)).otherwise("subject_id")
    turned = {**long_tables, "labels": long_tables["labels"].filter(late | (pl.col("known_at") <= TRAINED))}
    turned["labels"] = turned["labels"].with_columns(subject_id=other)
    worse = watch(turned, model, Library(), SETTINGS, as_of=NOW, days=None, progress=silent)
    assert worse.performance is None or worse.performance.lift < found.performance.lift / 2
    # without labels there is nothing to say, and it is said
    blind = watch(
        {**long_tables, "labels": long_tables["labels"].limit(0)},
        model,
        Library(),
        SETTINGS,
        as_of=NOW,
        days=None,
        progress=silent,
    )
    assert blind.performance is None and "performance is not measured" in blind.notes[0]


def test_a_card_from_before_scores_were_kept_still_opens(model: Model, tmp_path) -> None:  # noqa: ANN001
    from fintel.models.saved import identify

    old = model.card.model_copy(update={"training": model.card.training.model_copy(update={"score_quantiles": ()})})
    card = identify(old, model.trees)
    folder = save(Model(model.scorer, card, model.trees), tmp_path)
    assert "score_quantiles" not in (folder / "card.json").read_text(encoding="ascii")
    assert restore(folder).model_id == card.model_id
    assert "score_quantiles" in (save(model, tmp_path) / "card.json").read_text(encoding="ascii")
