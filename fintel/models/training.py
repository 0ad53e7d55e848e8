"""Train a model, judge it, score with it: what the pipeline and the command call."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any, Literal

import lightgbm
import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.config import Settings
from fintel.errors import ModelError
from fintel.features.catalog import BY_NAME, reference
from fintel.models.account_rows import Rules, account_rows
from fintel.models.calibration import CalibrationCard, calibration_card
from fintel.models.dataset import AT_LEAST, Examples, Sampling, Tables, build, own_accounts
from fintel.models.evaluation import Evaluation, average_precision, evaluate
from fintel.models.explain import REASONS, bits, reasons
from fintel.models.fusion import crossed, fusion_card
from fintel.models.leakage import Recompute, Waivers, audit
from fintel.models.learned import Learned
from fintel.models.saved import (
    QUANTILES,
    Card,
    FeatureCard,
    Model,
    TrainingCard,
    identify,
    scorer_of,
)
from fintel.models.scorer import BoostedScorer

Floats = npt.NDArray[np.float64]
GraphScores = Callable[[datetime, datetime], pl.DataFrame]

#: Numbers of trees that are tried on the later validation part.
CHECKPOINTS = (25, 50, 75, 100, 150, 200, 300)
_DEFAULT_ROUNDS = 150
_TICK = timedelta(microseconds=1)
_TUNABLE = ("leaves", "learning_rate", "min_rows", "columns", "l2", "positive_weight")


@dataclass(frozen=True)
class Trained:
    """A model, its evaluation, and what that rests on.

    ``held_out``: ``account_id, group, fold, label, model`` (bits, from a model that never saw the
    account's group) and, where rules were given, ``rules`` (bits) and ``both``.
    """

    model: Model
    evaluation: Evaluation
    held_out: pl.DataFrame


def train(
    tables: Tables,
    *,
    settings: Settings,
    as_of: datetime | None = None,
    rule_scores: pl.DataFrame | None = None,
    graph_scores: GraphScores | None = None,
    sampling: Sampling | None = None,
    scorer: BoostedScorer | None = None,
    fingerprints: Mapping[str, str] | None = None,
    rules: Rules | None = None,
    waivers: Waivers | None = None,
) -> Trained:
    """Train the account scorer on canonical tables and judge it beside the rules.

    Parameters
    ----------
    tables: lazy frames by name; ``transactions`` and ``labels`` needed, ``accounts``, ``parties`` used.
    as_of: the last instant seen; default the latest payment.
    rule_scores: ``account_id, score``: the rules' bits of each account as of then (0 if absent).
    graph_scores: called with a moment and the last instant of which labels count as seeds; gives ``account_id,
        score``, the graph's bits. Asked only under a plan by time, with labels known before the period that is judged:
        otherwise the labels to be found would be seeds. Elsewhere the graph's weight stays 1.
    sampling: rows and plan. scorer: parameters to use; rounds, seed, threads and signs are set here.
    fingerprints: of feeds and packs, kept in the card.
    rules: a library whose hits are features; None: there are none of rules.
    waivers: features that may tell the label alone, with reasons (``models.leakage``).

    Raises
    ------
    ModelError: no payments, too few labelled accounts to learn from or to judge by, or the learning set leaks.
    """
    last = as_of or tables["transactions"].select(pl.col("booked_at").max()).collect(engine="streaming").item()
    if last is None:
        raise ModelError("there are no payments to learn from", hint="fintel feed add FILE")
    examples = build(
        tables, last + _TICK, sampling or Sampling(), seed=settings.seed, threads=settings.threads, rules=rules
    )
    leakage = audit(
        examples, tables, _recomputed(examples, rules, settings.threads), waivers=waivers, seed=settings.seed
    )
    signs = tuple(BY_NAME[name].sign or 0 for name in examples.names)
    chosen: dict[str, Any] = (scorer or BoostedScorer()).get_params() | {
        "monotone": signs if any(signs) else None,
        "seed": settings.seed,
        "threads": settings.threads,
    }
    rounds, how = _choose_rounds(examples, chosen)
    parameters = chosen | {"rounds": rounds}
    judged = held_out(examples, parameters)
    if judged["label"].sum() < AT_LEAST:
        raise ModelError(f"{judged['label'].sum():.0f} labelled accounts to judge by; at least {AT_LEAST} are needed")
    ways = {"model": "model"}
    if rule_scores is not None:
        scores = rule_scores.select("account_id", rules=pl.col("score").cast(pl.Float64)).unique("account_id")
        judged = judged.join(scores, on="account_id", how="left", maintain_order="left")
        judged = judged.with_columns(pl.col("rules").fill_null(0.0))
        judged = judged.with_columns(both=pl.Series(crossed(judged)))
        ways = {"rules": "rules", "model": "model", "both": "both"}
    plan = examples.plan
    if rule_scores is not None and graph_scores is not None and plan.kind == "time":
        (at,) = plan.test_at
        known = graph_scores(at - _TICK, at - timedelta(days=plan.before_days))
        bits_of = known.select("account_id", graph=pl.col("score").cast(pl.Float64)).unique("account_id")
        judged = judged.join(bits_of, on="account_id", how="left", maintain_order="left")
        judged = judged.with_columns(pl.col("graph").fill_null(0.0))
        judged = judged.with_columns(pl.Series("with graph", crossed(judged)))
        ways["with graph"] = "with graph"
    evaluation = evaluate(
        judged, ways, plan=plan.kind, budgets=(settings.ranking.budget,), seed=settings.seed, notes=plan.notes
    )
    label = examples.rows["label"].to_numpy()
    final = BoostedScorer(**parameters).fit(
        examples.x[examples.fit], label[examples.fit], examples.weight[examples.fit]
    )
    # The trees alone: what follows them repeats parameters, the number of threads among them.
    trees = final.booster_.model_to_string().partition("\nend of trees")[0] + "\nend of trees\n"
    rows = examples.rows.filter(pl.Series(examples.fit))
    card = Card(
        model_id="0" * 16,
        trees_sha256="0" * 16,
        base_currency=settings.base_currency,
        seed=settings.seed,
        features=_features(examples),
        training=TrainingCard(
            as_of=last,
            labels_known_by=plan.known_by,
            plan=plan.kind,
            before_days=plan.before_days,
            after_days=plan.after_days,
            gap_days=plan.gap_days,
            snapshots=plan.fit_at,
            rows=rows.height,
            accounts=rows["account_id"].n_unique(),
            positives=rows.filter(pl.col("label") == 1)["account_id"].n_unique(),
            rounds=rounds,
            rounds_chosen_by=how,
            parameters={name: parameters[name] for name in _TUNABLE},
            score_quantiles=_score_quantiles(examples, final),
        ),
        leakage=leakage,
        fusion=fusion_card(judged),
        evaluation=evaluation,
        calibration=_calibrations(judged),
        fingerprints={**(fingerprints or {}), "rows": _digest(examples), "catalogue": _text_digest(reference())},
        versions={
            "fintel": version("fintel"),
            "lightgbm": lightgbm.__version__,
            "numpy": np.__version__,
            "polars": pl.__version__,
        },
    )
    # The model that is used is the one that a reader of the file gets.
    used = scorer_of(trees, len(card.features), threads=settings.threads)
    return Trained(Model(used, identify(card, trees), trees), evaluation, judged)


def _recomputed(examples: Examples, rules: Rules | None, threads: int) -> Recompute:
    """How the examples' features are made, at one moment by other tables."""
    plan = examples.plan
    first = min(*plan.fit_at, *plan.test_at)
    then = None if rules is None else replace(rules, known_before=first)

    def recompute(tables: Tables, moment: datetime, accounts: pl.Series) -> pl.DataFrame:
        return account_rows(
            tables, [moment], examples.names, accounts=accounts, rules=then, known_by=plan.known_by,
            apart=examples.apart, threads=threads,
        )  # fmt: skip

    return recompute


def margins(
    tables: Tables, model: Model, as_of: datetime, *, threads: int = 0, rules: Rules | None = None
) -> pl.DataFrame:
    """``account_id, bits`` (the model's margin) of every own account with an entry by ``as_of``.

    ``rules``: where features of rules come from, for a model that has any.
    """
    features = model_rows(tables, model, as_of, rules, threads)
    if features.is_empty():
        return pl.DataFrame(schema={"account_id": pl.String, "bits": pl.Float64})
    margin = model.scorer.decision_function(features.select(model.card.names).to_numpy())
    return features.select("account_id", bits=pl.Series(margin / math.log(2)))


def score(
    tables: Tables,
    model: Model,
    as_of: datetime,
    *,
    accounts: Sequence[str] | pl.Series = (),
    top: int = 1_000,
    threads: int = 0,
    rules: Rules | None = None,
    base_rate: float | None = None,
) -> Learned:
    """The model's part of a ranking.

    Contributions are given for the ``top`` own accounts by margin and for those in ``accounts`` (those
    with a rule's episode, say): explaining all is dear and nobody reads it.

    Parameters
    ----------
    as_of: the last instant seen, as of a run.
    rules: where features of rules come from, for a model that has any.
    base_rate: share of suspicious accounts, if it is another one than where the model was judged.

    Returns
    -------
    ``base``, contributions scaled as the card's fusion says, and its rule weight. An account's
    ``base`` + contributions are its calibrated log2 odds without rules.
    """
    features = model_rows(tables, model, as_of, rules, threads)
    fusion, calibrated = model.card.fusion, model.card.calibration or {}
    if features.is_empty():
        return Learned(fusion.base, pl.DataFrame(schema=REASONS), fusion.rule_weight, fusion.graph_weight)
    x = features.select(model.card.names).to_numpy()
    order = pl.DataFrame({"account_id": features["account_id"], "margin": model.scorer.decision_function(x)})
    best = order.with_row_index("row").sort("margin", "account_id", descending=[True, False]).head(top)
    asked = pl.Series("account_id", accounts, dtype=pl.String)
    wanted = order.select(pl.col("account_id").is_in(asked.implode())).to_series().to_numpy().copy()
    wanted[best["row"].to_numpy()] = True
    chosen = np.ascontiguousarray(x[wanted])
    contributions, base = bits(model.scorer, chosen)
    ids = features["account_id"].filter(pl.Series(wanted)).to_list()
    found = reasons(model.card, ids, chosen, contributions * fusion.model_weight)
    return Learned(
        fusion.base + fusion.model_weight * base,
        found,
        fusion.rule_weight,
        fusion.graph_weight,
        probabilities=_probabilities(order.filter(pl.Series(wanted)), calibrated.get("model"), base_rate),
        calibration=calibrated["both"].calibration if "both" in calibrated else None,
        base_rate=base_rate,
    )


def model_rows(tables: Tables, model: Model, as_of: datetime, rules: Rules | None, threads: int) -> pl.DataFrame:
    """``account_id, as_of`` and the model's features, and no others, of own accounts with an entry by ``as_of``."""
    own = own_accounts(tables)
    return account_rows(tables, [as_of + _TICK], model.card.names, accounts=own, rules=rules, threads=threads)


def _probabilities(margins: pl.DataFrame, card: CalibrationCard | None, base_rate: float | None) -> pl.DataFrame:
    """``account_id, probability`` by the model alone; null where its card has no calibration."""
    if card is None:
        return margins.select("account_id", probability=pl.lit(None, dtype=pl.Float64))
    p = card.calibration.probability(margins["margin"].to_numpy() / math.log(2), base_rate=base_rate)
    return margins.select("account_id", probability=pl.Series(p, dtype=pl.Float64))


def _choose_rounds(examples: Examples, parameters: Mapping[str, Any]) -> tuple[int, str]:
    """Early stopping on a later part: the last training snapshot, ranked by models that end a gap before
    it, one for each fold of groups, until twice as many trees rank no better. The evaluation's moment is
    not looked at."""
    plan, rows = examples.plan, examples.rows
    if plan.kind != "time":
        return _DEFAULT_ROUNDS, "fixed: no later part to validate on"
    at = rows["as_of"]
    later = examples.fit & (at == plan.fit_at[-1]).to_numpy()
    earlier = examples.fit & (at <= plan.fit_at[-1] - timedelta(days=plan.gap_days)).to_numpy()
    label = rows["label"].to_numpy()
    if min(_positives(rows, earlier), _positives(rows, later)) < AT_LEAST:
        return _DEFAULT_ROUNDS, "fixed: too few positives in an earlier and a later part"
    fold = rows["fold"].to_numpy()
    growing: list[tuple[npt.NDArray[np.bool_], BoostedScorer]] = []
    for k in np.unique(fold[later]):
        seen = earlier & (fold != k)
        if np.unique(label[seen]).size < 2:
            return _DEFAULT_ROUNDS, "fixed: too few positives in an earlier part"
        held = later & (fold == k)
        growing.append(
            (held, BoostedScorer(**parameters).prepare(examples.x[seen], label[seen], examples.weight[seen]))
        )
    margin = np.zeros(label.size)
    best, reached = 0, -1.0
    for before, rounds in zip((0, *CHECKPOINTS), CHECKPOINTS, strict=False):
        for held, scorer in growing:
            margin[held] = scorer.grow(rounds - before).decision_function(examples.x[held])
        precision = average_precision(label[later], margin[later])
        if precision > reached:
            best, reached = rounds, precision
        elif rounds >= 2 * best:
            break
    return best, f"average precision {reached:.3f} on the snapshot of {plan.fit_at[-1]:%Y-%m-%d}"


def _positives(rows: pl.DataFrame, chosen: npt.NDArray[np.bool_]) -> int:
    return rows.filter(pl.Series(chosen) & (pl.col("label") == 1))["account_id"].n_unique()


def held_out(examples: Examples, parameters: Mapping[str, Any]) -> pl.DataFrame:
    """Each account's highest margin (bits) at the judging moments, by a model without its group."""
    rows, x = examples.rows, examples.x
    label, fold = rows["label"].to_numpy(), rows["fold"].to_numpy()
    margin = np.full(rows.height, np.nan)
    for k in np.unique(fold[examples.test]):
        seen = examples.fit & (fold != k)
        if np.unique(label[seen]).size < 2:
            raise ModelError("all labelled accounts to learn from belong to one scheme", hint="label more schemes")
        held = examples.test & (fold == k)
        margin[held] = (
            BoostedScorer(**parameters).fit(x[seen], label[seen], examples.weight[seen]).decision_function(x[held])
        )
    return (
        rows.with_columns(model=pl.Series(margin / math.log(2)))
        .filter(pl.Series(examples.test))
        .group_by("account_id", "group", "fold")
        .agg(label=pl.col("truth").max(), model=pl.col("model").max())
        .sort("account_id")
    )


def _calibrations(judged: pl.DataFrame) -> dict[Literal["model", "both"], CalibrationCard]:
    """Of bits that no model had seen the account's group for, at the judging moments."""
    label, fold = judged["label"].cast(pl.Float64).to_numpy(), judged["fold"].to_numpy()
    kinds: tuple[Literal["model", "both"], ...] = ("model", "both")
    return {k: calibration_card(judged[k].to_numpy(), label, fold) for k in kinds if k in judged.columns}


def _features(examples: Examples) -> tuple[FeatureCard, ...]:
    cards = []
    for i, name in enumerate(examples.names):
        values = examples.x[examples.fit, i]
        known = values[~np.isnan(values)]
        quantiles = np.quantile(known, np.linspace(0, 1, QUANTILES), method="lower") if known.size else []
        cards.append(FeatureCard(name=name, known=known.size / values.size, quantiles=tuple(map(float, quantiles))))
    return tuple(cards)


def _score_quantiles(examples: Examples, scorer: BoostedScorer) -> tuple[float, ...]:
    """How the model's bits lie at the last judging moment: what drift of the score is measured against."""
    last = examples.test & (examples.rows["as_of"] == examples.plan.test_at[-1]).to_numpy()
    if not last.any():
        return ()
    margin = scorer.decision_function(examples.x[last]) / math.log(2)
    return tuple(map(float, np.quantile(margin, np.linspace(0, 1, QUANTILES), method="lower")))


def _digest(examples: Examples) -> str:
    mixed = hashlib.sha256(np.ascontiguousarray(examples.x).tobytes())
    mixed.update("\x1f".join(examples.rows["account_id"]).encode())
    mixed.update(examples.rows["label"].fill_null(-1.0).to_numpy().tobytes())
    return mixed.hexdigest()[:16]


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
