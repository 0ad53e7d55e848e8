"""Calibrated probabilities: right on held-out rows, rising, bounded, plain numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_cases import population
from pydantic import ValidationError
from sklearn.isotonic import IsotonicRegression
from typer.testing import CliRunner

from fintel.cli.main import app
from fintel.config import Settings
from fintel.domain.schema import ACCOUNTS, EPISODES
from fintel.errors import ModelError
from fintel.frames import empty
from fintel.models.calibration import Calibration, calibrate, calibration_card, reliability, shifted
from fintel.models.explain import REASONS
from fintel.models.learned import Learned
from fintel.models.saved import Model, identify, restore, save
from fintel.models.training import Trained, train
from fintel.ranking import rank


def drawn(rows: int, rate: float, seed: int = 0, bend: float = 1.0) -> tuple[Any, Any, Any]:
    """Scores whose log odds are wrong by a bend and a shift, labels, and the true probability."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(math.log2(rate / (1 - rate)), 2.5, rows)
    p = 1 / (1 + 2.0**-truth)
    return 3.0 + truth / 2 + bend * np.abs(truth) / 8, (rng.random(rows) < p).astype(float), p


@pytest.mark.parametrize(("method", "bend"), [("platt", 0.0), ("beta", 0.0), ("isotonic", 1.0)])
def test_probabilities_are_right_on_rows_not_seen(method: Any, bend: float) -> None:
    bits, label, _ = drawn(40_000, 0.05, bend=bend)
    found = calibrate(bits, label, method=method)
    bits, label, p = drawn(100_000, 0.05, seed=1, bend=bend)
    judged = reliability(found.probability(bits), label, bits)
    assert judged.error < 0.005
    assert judged.error_top <= 0.02
    assert judged.error_top < 2 * judged.chance_top
    assert judged.brier < judged.brier_of_base_rate
    assert np.abs(found.probability(bits) - p).mean() < 0.01
    # Where nothing was done, it is wrong: the figures can tell.
    assert reliability(1 / (1 + 2.0**-bits), label, bits).error_top > 0.1


def test_method_follows_the_number_of_positives() -> None:
    for rows, method in ((500, "platt"), (4_000, "beta"), (40_000, "isotonic")):
        assert calibrate(*drawn(rows, 0.05)[:2]).method == method
    bits, label, _ = drawn(40_000, 0.05)
    same = IsotonicRegression(out_of_bounds="clip").fit(bits, label).predict(bits)
    mine = calibrate(bits, label)
    assert np.quantile(np.abs(mine.probability(bits) - same), 0.999) < 0.02
    assert np.abs(mine.probability(bits) - same).mean() < 1e-3


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    method=st.sampled_from(["platt", "beta", "isotonic"]),
    positives=st.integers(1, 19),
    scale=st.sampled_from([1e-9, 1.0, 300.0, 1e6]),
)
def test_curves_rise_stay_inside_and_come_back_from_json(seed: int, method: Any, positives: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    bits = np.round(rng.normal(size=20), 1) * scale
    label = rng.permutation(np.arange(20) < positives).astype(float)
    found = calibrate(bits, label, method=method)
    at = np.sort(np.concatenate([bits, [-1e9, 0.0, 1e9], rng.normal(size=50) * scale]))
    p = found.probability(at)
    assert (np.diff(p) >= 0).all()
    assert (p >= 0).all()
    assert (p <= 1).all()
    assert Calibration.model_validate_json(found.model_dump_json()) == found


def test_base_rate_that_moves_shifts_the_odds() -> None:
    bits, label, _ = drawn(60_000, 0.10)
    found = calibrate(bits, label)
    rng = np.random.default_rng(5)
    kept = (label == 0) | (rng.random(label.size) < 0.1)  # suspicious accounts ten times rarer, alike otherwise
    bits, label = bits[kept], label[kept]
    moved = found.probability(bits, base_rate=label.mean())
    assert reliability(moved, label).error < 0.003
    assert reliability(found.probability(bits), label).error > 0.05
    assert shifted(np.array([0.0, 0.5, 1.0]), 0.1, 0.1).tolist() == [0.0, 0.5, 1.0]
    assert shifted(np.array([0.5]), 0.5, 0.2)[0] == pytest.approx(0.2)
    with pytest.raises(ModelError, match="between 0 and 1"):
        found.probability(bits, base_rate=1.0)


def test_table_is_by_hand() -> None:
    label = np.array([0.0, 0.0, 0.0, 1.0])
    judged = reliability(np.array([0.1, 0.1, 0.5, 0.9]), label, bins=2)
    assert judged.brier == pytest.approx((0.01 + 0.01 + 0.25 + 0.01) / 4)
    assert judged.error == pytest.approx((2 * 0.1 + 2 * abs(0.7 - 0.5)) / 4)
    assert judged.error_top == pytest.approx(0.1)
    assert [(b.rows, b.foretold, b.found) for b in judged.bins] == [(2, 0.1, 0.0), (2, pytest.approx(0.7), 0.5)]
    assert judged.bins[1].low == pytest.approx(0.0945, abs=1e-4)  # Wilson, 1 of 2
    assert judged.bins[1].high == pytest.approx(0.9055, abs=1e-4)


def test_one_positive_in_ten_thousand_is_calibrated_finitely() -> None:
    rng = np.random.default_rng(0)
    bits, label = rng.normal(size=10_000), np.zeros(10_000)
    label[7] = 1.0
    card = calibration_card(bits, label, rng.integers(0, 5, 10_000))
    assert card.calibration.method == "platt"
    assert card.reliability.error < 1e-3


def test_what_cannot_be_calibrated_is_said() -> None:
    with pytest.raises(ModelError, match="0 positives of 3"):
        calibrate(np.zeros(3), np.zeros(3))
    with pytest.raises(ModelError, match="not a number"):
        calibrate(np.array([0.0, np.nan]), np.array([0.0, 1.0]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"numbers": (1.0, 2.0, 3.0)}, "do not fit"),
        ({"numbers": (-1.0, 0.0)}, "falls"),
        ({"numbers": (float("nan"), 0.0)}, "finite"),
        ({"method": "pickle"}, "isotonic"),
        ({"knots": (0.0,), "heights": (0.5,)}, "others have none"),
        ({"method": "isotonic", "numbers": (), "knots": (1.0, 0.0), "heights": (0.1, 0.2)}, "rise"),
        ({"method": "isotonic", "numbers": (), "knots": (0.0, 1.0), "heights": (0.1, 1.2)}, "less than or equal"),
        ({"method": "isotonic", "numbers": (), "knots": (0.0,) * 2000, "heights": (0.1,) * 2000}, "at most 1000"),
        ({"base_rate": 0.0}, "greater than 0"),
    ],
)
def test_hostile_card_is_refused(change: dict[str, Any], why: str) -> None:
    good = {"method": "platt", "numbers": (1.0, 0.0), "base_rate": 0.1, "rows": 10, "positives": 1}
    Calibration.model_validate(good)
    with pytest.raises(ValidationError, match=why):
        Calibration.model_validate({**good, **change})


# -- in a model, beside the score


@pytest.fixture(scope="module")
def trained() -> Trained:
    made = population(accounts=400, schemes=50)
    accounts = made["accounts"].select("account_id", score=pl.int_range(pl.len()) % 7).collect()
    return train(made, settings=Settings(threads=1, seed=3), rule_scores=accounts)


def test_card_says_how_far_probabilities_can_be_trusted(trained: Trained) -> None:
    cards = trained.model.card.calibration
    assert cards is not None
    assert set(cards) == {"model", "both"}
    held = trained.held_out
    for name, card in cards.items():
        judged = card.reliability
        assert sum(b.rows for b in judged.bins) == held.height == card.calibration.rows
        assert judged.brier < judged.brier_of_base_rate
        found = card.calibration.probability(held[name].to_numpy())
        assert found.mean() == pytest.approx(held["label"].mean(), abs=0.01)


def test_models_made_before_probabilities_are_read_as_they_are(trained: Trained, tmp_path: Path) -> None:
    old = identify(trained.model.card.model_copy(update={"calibration": None}), trained.model.trees)
    folder = save(Model(trained.model.scorer, old, trained.model.trees), tmp_path)
    assert "calibration" not in (folder / "card.json").read_text()
    assert restore(folder).card == old
    new = save(trained.model, tmp_path)
    assert restore(new).card.calibration == trained.model.card.calibration


def test_probability_stands_beside_the_score_and_changes_no_rank() -> None:
    curve = calibrate(*drawn(40_000, 0.05)[:2])
    ids = [f"a{i:03d}" for i in range(200)]
    says = pl.DataFrame(
        {"account_id": ids, "name": "senders_30d", "bits": [i / 2000 for i in range(200)], "text": "t"}, schema=REASONS
    )
    plain = rank(empty(EPISODES), empty(ACCOUNTS), run_id="r", prior=0.01, learned=Learned(0.5, says))
    shown = rank(
        empty(EPISODES), empty(ACCOUNTS), run_id="r", prior=0.01, learned=Learned(0.5, says, calibration=curve)
    ).alerts
    assert plain.alerts["probability"].null_count() == 200
    assert shown.drop("probability").equals(plain.alerts.drop("probability"))
    assert shown["probability"].n_unique() < 200  # an isotonic curve has ties, the queue has none
    assert shown["score"].n_unique() == 200
    assert shown["probability"].to_list() == sorted(shown["probability"], reverse=True)


def test_command_shows_probabilities_and_shifts_them(trained: Trained, lake: Path) -> None:
    folder = save(trained.model, lake / "models")
    run = CliRunner()
    words = ["score", folder.name, "--lake", str(lake), "-n", "5"]
    done = run.invoke(app, words)
    assert done.exit_code == 0, done.stderr
    assert "probability" in done.stdout
    plain, rare = (
        json.loads(run.invoke(app, [*words, "--json", *more]).stdout)["accounts"]
        for more in ([], ["--base-rate", "0.0001"])
    )
    assert [r["account_id"] for r in plain] == [r["account_id"] for r in rare]
    assert all(0 < b["probability"] < a["probability"] < 1 for a, b in zip(plain, rare, strict=True))
    assert run.invoke(app, [*words, "--base-rate", "7"]).exit_code == 2
    old = identify(trained.model.card.model_copy(update={"calibration": None}), trained.model.trees)
    before = save(Model(trained.model.scorer, old, trained.model.trees), lake / "models")
    done = run.invoke(app, ["score", before.name, "--lake", str(lake), "-n", "5"])
    assert "before there were calibrated probabilities" in done.stderr
