"""A model on disk: ``trees.txt`` (LightGBM's text) and ``card.json``. No pickle, nothing executable.

The card says everything else: features in order with their distribution in training, what it was
trained on, how it was judged, how it joins the rules, and fingerprints. Equal data, settings and
versions give equal bytes; the id is a hash of both files.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tempfile
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import lightgbm
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fintel.errors import ModelError
from fintel.features.catalog import BY_NAME
from fintel.models.calibration import CalibrationCard
from fintel.models.evaluation import Evaluation
from fintel.models.leakage_card import LeakageCard
from fintel.models.scorer import BoostedScorer
from fintel.models.trees import MOST_BYTES, MOST_VALUE, checked

FORMAT = "fintel-model/1"
CARD_FILE, TREES_FILE = "card.json", "trees.txt"
#: Quantiles of a feature in training, 0 to 100 %.
QUANTILES = 101
#: Sections of a card that models made by earlier versions do not have.
_LATER = ("calibration", "leakage")
_CARD_BYTES = 8_000_000
#: The files of a model, and how large each may be, in bytes.
FILES = {CARD_FILE: _CARD_BYTES, TREES_FILE: MOST_BYTES}

Name = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,60}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{12,64}$")]
Word = Annotated[str, Field(max_length=200)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FeatureCard(_Frozen):
    """A feature in training: share of rows that know it, and its quantiles over those."""

    name: Name
    known: float = Field(ge=0, le=1)
    quantiles: tuple[float, ...] = Field(max_length=QUANTILES)

    @field_validator("quantiles")
    @classmethod
    def _rising(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(b < a for a, b in itertools.pairwise(values)):
            raise ValueError("quantiles rise")
        return values

    def percentile(self, value: float) -> float:
        """Share of training rows below ``value``, in per cent."""
        return 100.0 * bisect_left(self.quantiles, value) / max(len(self.quantiles), 1)

    @property
    def median(self) -> float | None:
        """The middle value, None if it was never known."""
        return self.quantiles[len(self.quantiles) // 2] if self.quantiles else None


class TrainingCard(_Frozen):
    """What the model was trained on."""

    as_of: datetime
    labels_known_by: datetime
    plan: Literal["time", "grouped"]
    before_days: float
    after_days: float = 0.0
    gap_days: float
    snapshots: tuple[datetime, ...] = Field(max_length=10_000)
    rows: int
    accounts: int
    positives: int
    rounds: int
    rounds_chosen_by: Word
    parameters: dict[Name, float | int | bool | None]
    #: Quantiles (0 to 100 %) of the model's bits at the last moment it was judged at: what drift is measured
    #: against. Left out where empty, so that cards from before keep their id.
    score_quantiles: tuple[float, ...] = Field(default=(), max_length=QUANTILES, exclude_if=lambda value: not value)


class FusionCard(_Frozen):
    """How the parts join: base + model_weight × bits + rule_weight × rule bits + graph_weight × the graph's bits."""

    base: float = Field(ge=-MOST_VALUE, le=MOST_VALUE)
    model_weight: float = Field(ge=0, le=MOST_VALUE)
    rule_weight: float = Field(ge=0, le=MOST_VALUE)
    graph_weight: float = Field(default=1.0, ge=0, le=MOST_VALUE)
    fitted_on: int
    method: Word


class Card(_Frozen):
    """All of a model but its trees.

    ``calibration``: of the model's bits (``model``) and of the fused score (``both``); models made before
    there was any have none.
    """

    format: Literal["fintel-model/1"] = "fintel-model/1"
    model_id: Digest
    trees_sha256: Digest
    base_currency: str = Field(pattern=r"^[A-Z]{3}$")
    seed: int
    features: tuple[FeatureCard, ...] = Field(min_length=1, max_length=1_000)
    training: TrainingCard
    leakage: LeakageCard | None = None
    fusion: FusionCard
    evaluation: Evaluation
    calibration: dict[Literal["model", "both"], CalibrationCard] | None = None
    fingerprints: dict[Name, Word]
    versions: dict[Name, Word]

    @property
    def names(self) -> tuple[str, ...]:
        """Features in the model's order."""
        return tuple(f.name for f in self.features)


@dataclass(frozen=True)
class Model:
    """A scorer and its card."""

    scorer: BoostedScorer
    card: Card
    trees: str

    @property
    def model_id(self) -> str:
        """Hash of card and trees."""
        return self.card.model_id


def identify(card: Card, trees: str) -> Card:
    """The card with the id and checksum that its trees and it give."""
    digest = hashlib.sha256(trees.encode()).hexdigest()
    body = card.model_copy(update={"model_id": "0" * 16, "trees_sha256": digest})
    whole = hashlib.sha256(_json(body).encode()).hexdigest()[:16]
    return body.model_copy(update={"model_id": whole})


def _json(card: Card) -> str:
    body = card.model_dump(mode="json")
    # A section that came later is left out where it is empty, so that older models keep their ids.
    kept = {key: value for key, value in body.items() if key not in _LATER or value is not None}
    return json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def save(model: Model, folder: Path) -> Path:
    """Write ``<folder>/<model_id>/`` whole or not at all; an equal one is left as it is."""
    target = folder / model.model_id
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as made:
        fresh = Path(made) / model.model_id
        fresh.mkdir()
        (fresh / TREES_FILE).write_text(model.trees, encoding="ascii", newline="\n")
        (fresh / CARD_FILE).write_text(_json(model.card), encoding="ascii", newline="\n")
        os.replace(fresh, target)
    return target


def restore(folder: Path, *, threads: int = 0) -> Model:
    """Read a model that ``save`` wrote.

    Raises
    ------
    ModelError: a file is missing, too large, damaged or not a model; the card and the trees do not
        belong together; or it wants a feature that this version does not compute.
    """
    trees = _read(folder / TREES_FILE, MOST_BYTES)
    try:
        card = Card.model_validate_json(_read(folder / CARD_FILE, _CARD_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"card: {place}: {first['msg']}", location=folder / CARD_FILE) from error
    if identify(card, trees) != card:
        raise ModelError("card and trees do not belong together", location=folder, hint="fetch or train it again")
    for name in card.names:
        if name not in BY_NAME or not BY_NAME[name].model:
            raise ModelError(f"it needs the feature '{name}', which models do not have here", location=folder)
    scorer = scorer_of(trees, len(card.features), threads=threads, where=folder / TREES_FILE)
    return Model(scorer, card, trees)


def scorer_of(trees: str, features: int, *, threads: int = 0, where: Path | None = None) -> BoostedScorer:
    """A fitted scorer from checked text."""
    scorer = BoostedScorer(threads=threads)
    scorer.booster_ = lightgbm.Booster(model_str=checked(trees, features, where))
    scorer.classes_ = np.array([0.0, 1.0])
    scorer.n_features_in_ = features
    return scorer


def _read(path: Path, most: int) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", location=path, hint="fintel train makes one") from error
    if len(data) > most:
        raise ModelError(f"larger than {most:,} bytes", location=path)
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise ModelError("not plain text", location=path) from error
