"""A model file from outside can be refused; it cannot run anything, hang, or read out of bounds."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from models_cases import population

from fintel.config import Settings
from fintel.errors import ModelError
from fintel.models import saved
from fintel.models.saved import CARD_FILE, TREES_FILE, Model, identify, restore, save
from fintel.models.training import train
from fintel.models.trees import checked


@pytest.fixture(scope="module")
def model() -> Model:
    return train(population(), settings=Settings(threads=1)).model


def test_model_comes_back_as_it_was(model: Model, tmp_path: Path) -> None:
    folder = save(model, tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == [CARD_FILE, TREES_FILE]
    assert [p.name for p in tmp_path.iterdir()] == [model.model_id]
    again = restore(folder)
    assert again.card == model.card
    x = np.random.default_rng(0).normal(0, 50, (500, len(model.card.features)))
    x[x > 60] = np.nan
    np.testing.assert_array_equal(again.scorer.decision_function(x), model.scorer.decision_function(x))
    np.testing.assert_array_equal(again.scorer.contributions(x), model.scorer.contributions(x))
    assert save(again, tmp_path) == folder


def test_checked_trees_are_lightgbms_own(model: Model) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    x = np.random.default_rng(0).normal(0, 50, (300, len(model.card.features)))
    own = lightgbm.Booster(model_str=model.trees).predict(x, raw_score=True)
    np.testing.assert_array_equal(model.scorer.decision_function(x), own)


def numbers(key: str, change: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    """Change a line of numbers of the first tree."""
    return lambda text: re.sub(
        rf"^{key}=(.*)$", lambda m: f"{key}={' '.join(change(m[1].split(' ')))}", text, count=1, flags=re.M
    )


HOSTILE: dict[str, Callable[[str], str]] = {
    "a feature out of range": numbers("split_feature", lambda v: ["99999", *v[1:]]),
    "a negative feature": numbers("split_feature", lambda v: ["-1", *v[1:]]),
    "a child out of range": numbers("left_child", lambda v: ["70000", *v[1:]]),
    "a leaf out of range": numbers("left_child", lambda v: ["-70000", *v[1:]]),
    "a loop": numbers("right_child", lambda v: [*v[:-1], "0"]),
    "a node with two parents": numbers("right_child", lambda v: [v[0], v[0], *v[2:]]),
    "too few numbers": numbers("threshold", lambda v: v[:-1]),
    "too many numbers": numbers("leaf_value", lambda v: [*v, "0"]),
    "not a number": numbers("leaf_value", lambda v: ["nan", *v[1:]]),
    "an expression": numbers("leaf_value", lambda v: ["__import__('os')", *v[1:]]),
    "a leaf beyond any log odds": numbers("leaf_value", lambda v: ["1e7", *v[1:]]),
    "more rows in a leaf than above it": numbers("leaf_count", lambda v: ["2000000000", *v[1:]]),
    "fewer rows in a node than below it": numbers("internal_count", lambda v: ["1", *v[1:]]),
    "a huge number": numbers("leaf_value", lambda v: ["1e308", *v[1:]]),
    "a long number": numbers("leaf_value", lambda v: ["1" * 5000, *v[1:]]),
    "a category split": numbers("decision_type", lambda v: ["1", *v[1:]]),
    "no rows in a leaf": numbers("leaf_count", lambda v: ["0", *v[1:]]),
    "more leaves than numbers": lambda t: t.replace("num_leaves=", "num_leaves=9", 1),
    "a million leaves": lambda t: re.sub("num_leaves=.*", "num_leaves=1000000", t, count=1),
    "categories": lambda t: t.replace("num_cat=0", "num_cat=1", 1),
    "a linear tree": lambda t: t.replace("is_linear=0", "is_linear=1", 1),
    "another objective": lambda t: t.replace("objective=binary sigmoid:1", "objective=custom", 1),
    "another number of features": lambda t: re.sub("max_feature_idx=.*", "max_feature_idx=3", t),
    "another version": lambda t: t.replace("version=v4", "version=v9", 1),
    "a line twice": lambda t: t.replace("num_cat=0", "num_cat=0\nnum_cat=0", 1),
    "trees out of order": lambda t: t.replace("Tree=0\n", "Tree=7\n", 1),
    "cut off": lambda t: t[: len(t) // 3],
    "empty": lambda _: "",
    "no trees": lambda t: t[: t.index("Tree=0")],
    "another language": lambda t: t.replace("num_cat=0", "num_cat=０", 1),
    "a pickle": lambda _: pickle.dumps({"a": 1}, protocol=0).decode("ascii"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_trees_are_refused(model: Model, what: str) -> None:
    changed = HOSTILE[what](model.trees)
    assert changed != model.trees
    with pytest.raises(ModelError):
        checked(changed, len(model.card.features))


def test_every_cut_and_flipped_byte_is_refused_or_harmless(model: Model) -> None:
    rng = np.random.default_rng(0)
    raw = bytearray(model.trees.encode())
    end = raw.index(b"end of trees")
    refused = 0
    for place in rng.integers(0, end, 150):
        damaged = raw.copy()
        damaged[place] = rng.integers(32, 127)
        try:
            text = checked(damaged.decode(), len(model.card.features))
        except ModelError:
            refused += 1
        else:
            saved.scorer_of(text, len(model.card.features)).decision_function(np.zeros((1, len(model.card.features))))
    assert refused > 20


def rewrite(folder: Path, change: Callable[[dict], None]) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    change(card)
    (folder / CARD_FILE).write_text(json.dumps(card))


def test_card_is_checked(model: Model, tmp_path: Path) -> None:
    def refused(change: Callable[[dict], None], why: str) -> None:
        folder = save(model, tmp_path / why.replace(" ", "-"))
        rewrite(folder, change)
        with pytest.raises(ModelError, match=why):
            restore(folder)

    refused(lambda c: c.update(command="rm -rf /"), "Extra inputs")
    refused(lambda c: c.update(format="fintel-model/9"), "fintel-model/1")
    refused(lambda c: c["fusion"].update(rule_weight=-1), "greater than")
    refused(lambda c: c["fusion"].update(base=1e308), "less than")
    refused(lambda c: c["fusion"].update(graph_weight=1e7), "less than or equal")
    refused(lambda c: c["features"][0].update(quantiles=[2.0, 1.0]), "quantiles rise")
    refused(lambda c: c["fusion"].update(rule_weight=2), "do not belong")
    refused(lambda c: c["features"].pop(), "not belong together")
    refused(lambda c: c["features"][0].update(name="../../etc/passwd"), "match pattern")
    refused(lambda c: c["features"][0].update(quantiles=[0.0] * 5000), "at most 101")


def test_feature_that_is_not_in_models_is_refused(model: Model, tmp_path: Path) -> None:
    features = (model.card.features[0].model_copy(update={"name": "party_age"}), *model.card.features[1:])
    card = identify(model.card.model_copy(update={"features": features}), model.trees)
    folder = save(Model(model.scorer, card, model.trees), tmp_path)
    with pytest.raises(ModelError, match="party_age"):
        restore(folder)


def test_missing_or_huge_files_are_named(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="No such file"):
        restore(tmp_path / "nowhere")
    folder = save(model, tmp_path)
    monkeypatch.setattr(saved, "_CARD_BYTES", 100)
    with pytest.raises(ModelError, match="larger than 100 bytes"):
        restore(folder)
    (folder / TREES_FILE).write_bytes(pickle.dumps(print))
    with pytest.raises(ModelError, match="plain text"):
        restore(folder)
