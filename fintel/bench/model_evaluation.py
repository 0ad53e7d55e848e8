"""The whole evaluation of a saved model: everything that is measured, in one value that can be written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict

from fintel.bench.model_months import BOTH, CHAMPION, MODEL, RULES, Judged, rule_bits, train_again, typologies
from fintel.config import Settings
from fintel.errors import ModelError
from fintel.models.below_line import Band, below_the_line
from fintel.models.dataset import AT_LEAST
from fintel.models.first_hits import FirstHits, first_hits, summarise
from fintel.models.places import TypologyRecall, chance_read, typology_recalls
from fintel.models.queues import Gain, Queue, read_queues
from fintel.models.reliability import Reliability, reliability
from fintel.models.saved import Model
from fintel.models.subgroups import Subgroup, Suppressed, attributes, subgroups
from fintel.rules.model import Library
from fintel.rules.runner import Progress

Tables = dict[str, pl.LazyFrame]
Floats = npt.NDArray[np.float64]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Seeds(_Frozen):
    """The training made again with other seeds (of trees and of folds): average precision of each, their mean
    and standard deviation, by ranking."""

    seeds: tuple[int, ...]
    average_precision: dict[str, tuple[float, ...]]
    mean: dict[str, float]
    deviation: dict[str, float]


class Line(_Frozen):
    """What the threshold leaves unread. ``source``: whose labels are the random sample."""

    threshold: float
    source: str
    bands: tuple[Band, ...]


class Evaluated(_Frozen):
    """A model, judged. By ranking: ``queues``, ``typologies``, ``first_hits``; ``gains`` by 'model less rules' and
    so on. Subgroups and calibration are those of 'both', which detection uses.
    """

    model_id: str
    as_of: datetime
    way: Literal["later", "again"]
    days: int | None
    base_currency: str
    accounts: int
    positives: int
    base_rate: float
    capacities: tuple[int, ...]
    queues: dict[str, Queue]
    gains: dict[str, Gain]
    typologies: dict[str, tuple[TypologyRecall, ...]]
    first_hits: dict[str, FirstHits]
    calibration: Reliability
    subgroups: tuple[Subgroup, ...]
    suppressed: tuple[Suppressed, ...]
    seeds: Seeds | None
    line: Line | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Options:
    """``capacities``: accounts read a month, the first is told everywhere; ``step``: what one more analyst reads.
    ``threshold``: bits of 'both' at which reading stops (None: the first capacity's cut in the last month).
    ``reviewed``: label source of a random review sample below the line."""

    capacities: tuple[int, ...]
    step: int
    threshold: float | None = None
    reviewed: str | None = None


def measure(judged: Judged, tables: Tables, model: Model, options: Options, *, as_of: datetime, seed: int) -> Evaluated:
    """Measure everything that needs no further training.

    Raises
    ------
    ModelError: what was judged holds one class only, a score is no number, or the sample of ``reviewed`` is
        not there.
    """
    rows, notes = judged.rows, list(judged.notes)
    capacity = options.capacities[0]
    found = rows.filter(pl.col("label") == 1)["account_id"].n_unique()
    if found < AT_LEAST:
        notes.append(f"{found} suspicious accounts to judge by are too few to rely on (at least {AT_LEAST})")
    ways = {name: name for name in judged.rankings}
    queues, gains = read_queues(
        rows, ways, capacities=options.capacities, step=options.step, against=_pairs(judged.rankings), seed=seed
    )
    described = pl.concat([rows, attributes(tables, rows)], how="horizontal")
    groups, hidden = subgroups(described, chance_read(rows, BOTH, capacity))
    named = typologies(tables)
    hits: dict[str, FirstHits] = {}
    if judged.days is None:
        notes.append("first hits are not measured: there is one period, and no order of months")
    elif judged.activity.is_empty():
        notes.append("first hits are not measured: labels name no payments of these months")
    else:
        hits = {name: summarise(_hits(judged, name, capacity)) for name in judged.rankings}
        notes.append(f"an alert is the end of the first month ({judged.days} days) in whose queue an account stands")
    if not rows["money"].is_not_null().any():
        notes.append("money is not measured: labels name no payments")
    return Evaluated(
        model_id=model.model_id,
        as_of=as_of,
        way=judged.way,
        days=judged.days,
        base_currency=model.card.base_currency,
        accounts=rows["account_id"].n_unique(),
        positives=found,
        base_rate=float(rows["label"].cast(pl.Float64).to_numpy().mean()),
        capacities=options.capacities,
        queues=queues,
        gains={f"{a} less {b}": gain for (a, b), gain in gains.items()},
        typologies={name: typology_recalls(rows, name, capacity, named) for name in judged.rankings},
        first_hits=hits,
        calibration=reliability(rows["label"].cast(pl.Float64).to_numpy(), probability(rows[BOTH].to_numpy())),
        subgroups=groups,
        suppressed=hidden,
        seeds=None,
        line=_line(judged, tables, options),
        notes=tuple(notes),
    )


def probability(bits: Floats) -> Floats:
    """Of log2 odds."""
    return 1.0 / (1.0 + np.exp2(-np.clip(bits, -1000, 1000)))


def _hits(judged: Judged, name: str, capacity: int) -> pl.DataFrame:
    inside = judged.rows.filter(chance_read(judged.rows, name, capacity) >= 0.5)
    return first_hits(judged.activity, inside.select("account_id", at="month"))


def _pairs(rankings: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [(name, RULES) for name in rankings if name != RULES]
    return [*pairs, (MODEL, CHAMPION)] if CHAMPION in rankings else pairs


def _line(judged: Judged, tables: Tables, options: Options) -> Line | None:
    if options.reviewed is None:
        return None
    last = judged.rows.filter(pl.col("month") == pl.col("month").max())
    scores = last[BOTH].to_numpy()
    place = min(options.capacities[0], scores.size) - 1
    threshold = options.threshold if options.threshold is not None else float(np.sort(scores)[::-1][place])
    said = (
        tables["labels"]
        .filter((pl.col("label_source") == options.reviewed) & (pl.col("subject_type") == "account"))
        .select(account_id="subject_id", suspicious="suspicious", known_at="known_at")
        .collect()
        .sort("known_at")
        .unique("account_id", keep="last")
    )
    if said.is_empty():
        raise ModelError(
            f"no account has a label of source '{options.reviewed}'",
            hint="the source of labels that a random sample was given: select distinct label_source from labels",
        )
    sample = last.select("account_id", score=BOTH).join(said, on="account_id").select("score", "suspicious")
    return Line(threshold=threshold, source=options.reviewed, bands=below_the_line(scores, sample, threshold))


def over_seeds(
    tables: Tables, model: Model, library: Library, settings: Settings, number: int, *, progress: Progress
) -> Seeds | None:
    """Train again with ``number`` other seeds; None of 0.

    The held-out average precision of each ranking, as when the model was trained.
    """
    if not number:
        return None
    by_rules = rule_bits(tables, library, settings, model.card.training.as_of, since=None, progress=progress)
    seeds = tuple(model.card.seed + 1 + i for i in range(number))
    found: dict[str, list[float]] = {}
    for done, seed in enumerate(seeds):
        progress("other seeds", done, number)
        for name, way in train_again(tables, model, settings, by_rules, seed=seed).evaluation.rankings.items():
            found.setdefault(name, []).append(way.average_precision.value)
    return Seeds(
        seeds=seeds,
        average_precision={name: tuple(values) for name, values in found.items()},
        mean={name: float(np.mean(values)) for name, values in found.items()},
        deviation={name: float(np.std(values, ddof=1)) if number > 1 else 0.0 for name, values in found.items()},
    )
