"""From evidence to a queue: bits that add up, damped within a family, frozen with the run.

A score is evidence in bits (log2 odds): ``prior + Σ reasons.bits = score``, exactly. Without labels
a rule's bits come from its level, but are never more than its rarity allows: what one account in
twenty shows cannot tell much, whatever it is called. They are scaled by how far past its thresholds
the account is and by how much of its turnover the evidence makes. Several rules of one typology are
not independent, so the second counts half, the third a quarter, and so on; nor are typologies, for a
busy account touches many, so the second typology's reasons count half as well. What the graph says (money from
accounts that somebody pointed at) is one more such family. With a model, its exact contributions join as further
reasons, and rules and graph are weighed as fitted on held-out time, each as if alone.

This is the order of the queue. Where to stop reading it (capacity) and what must be read at all (a
risk decision) are other questions: nothing here is cut off.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from fintel.domain.detection import Level
from fintel.domain.schema import ALERTS, REASONS
from fintel.frames import empty, fit
from fintel.graph.suspicion import GraphRisk
from fintel.models.learned import Learned

#: Bits of one hit at full weight. Low alone leaves the odds against; critical alone tips them.
LEVEL_BITS: Mapping[str, float] = {Level.LOW: 2.0, Level.MEDIUM: 4.0, Level.HIGH: 6.5, Level.CRITICAL: 9.0}
DAMPING = 0.5
GRAIN = 2.0**20
#: Share of suspicious accounts that a rule may be hoped to find: with the share of all accounts that it
#: finds, it bounds the likelihood ratio of a hit.
_FOUND = 0.2
#: Until a population has shown how rare a rule's hits are: one account in two hundred, weighing as much as
#: a thousand accounts do.
_ASSUMED, _ASSUMED_OF = 5.0, 1000.0
#: What a bare hit is worth, what its strength adds, what its share of the turnover adds.
_BARE, _STRENGTH, _SHARE = 0.4, 0.3, 0.3


@dataclass(frozen=True)
class Ranking:
    """``alerts`` and ``reasons`` (schemas in ``domain.schema``; ``run_id`` as given)."""

    alerts: pl.DataFrame
    reasons: pl.DataFrame


def prior_bits(probability: float) -> float:
    """Log2 odds of a base rate."""
    return math.log2(probability / (1 - probability))


def rank(
    episodes: pl.DataFrame,
    accounts: pl.DataFrame,
    *,
    run_id: str,
    prior: float,
    learned: Learned | None = None,
    risk: GraphRisk | None = None,
) -> Ranking:
    """Rank every account that has a reason.

    Parameters
    ----------
    episodes: as ``domain.schema.EPISODES``.
    accounts: as ``domain.schema.ACCOUNTS`` (only ids, party and holding are read). Where it is
        empty, every account counts as own.
    prior: base rate of suspicious accounts, 0 to 0.5; a model brings its own.
    risk: reasons that the graph gives, from seeds as of the run.
    """
    base = round((learned.base if learned else prior_bits(prior)) * GRAIN) / GRAIN
    found = [_rule_evidence(episodes, learned.rule_weight if learned else 1.0, _ceilings(episodes, accounts))]
    if risk is not None:
        found.append(_graph_evidence(risk, learned.graph_weight if learned else 1.0))
    # Fitted weights know what the parts have in common; without them, families are damped together.
    parts = [_damped(one) for one in found] if learned else [_damped(pl.concat(found))]
    if learned is not None:
        parts.append(
            learned.contributions.select(
                "account_id",
                origin=pl.lit("model"),
                name="name",
                typology=pl.lit(None, dtype=pl.String),
                episode_id=pl.lit(None, dtype=pl.String),
                bits_full=_exact(pl.col("bits")),
                damping=pl.lit(1.0),
                bits=_exact(pl.col("bits")),
                text="text",
            )
        )
    reasons = pl.concat(parts)
    if reasons.is_empty():
        return Ranking(empty(ALERTS), empty(REASONS))
    reasons = reasons.sort(
        "account_id", pl.col("bits").abs(), "origin", "name", descending=[False, True, False, False]
    ).with_columns(reason=(pl.int_range(pl.len()).over("account_id") + 1).cast(pl.Int64), run_id=pl.lit(run_id))
    alerts = _with_probability(_alerts(reasons, episodes, accounts, base, run_id), reasons, learned)
    return Ranking(alerts, fit(reasons, REASONS))


def _with_probability(alerts: pl.DataFrame, reasons: pl.DataFrame, learned: Learned | None) -> pl.DataFrame:
    """Alerts with the calibrated probability of what a model scored; ranks stay by score, for steps tie."""
    if learned is None or learned.calibration is None:
        return alerts
    p = learned.calibration.probability(alerts["score"].to_numpy(), base_rate=learned.base_rate)
    scored = reasons.filter(pl.col("origin") == "model")["account_id"].unique()
    known = pl.when(pl.col("account_id").is_in(scored.implode())).then(pl.Series(p, dtype=pl.Float64))
    return fit(alerts.with_columns(probability=known), ALERTS)


def _exact(bits: pl.Expr) -> pl.Expr:
    """Bits as multiples of 2**-20: such numbers add up without rounding, in any order."""
    return (bits * GRAIN).round() / GRAIN


def _ceilings(episodes: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """``rule_id``, ``ceiling``: most bits that a hit of each rule can be worth on these own accounts.

    A hit multiplies the odds by P(hit | suspicious) / P(hit | not), at most ``_FOUND`` over the share of
    accounts hit. No ceiling where the feed does not describe accounts: nobody knows of how many.
    """
    own = accounts.filter(pl.col("holding") == "own").select("account_id").unique()
    rules = episodes.select("rule_id").unique()
    if own.is_empty():
        return rules.with_columns(ceiling=pl.lit(float("inf")))
    hit = episodes.join(own, on="account_id", how="semi").group_by("rule_id").agg(hit=pl.col("account_id").n_unique())
    share = (pl.col("hit").fill_null(0) + _ASSUMED) / (own.height + _ASSUMED_OF)
    return rules.join(hit, on="rule_id", how="left").select(
        "rule_id", ceiling=(_FOUND / share).log(2).clip(lower_bound=0)
    )


def _rule_evidence(episodes: pl.DataFrame, weight: float, ceilings: pl.DataFrame) -> pl.DataFrame:
    """One row a rule and account, from its strongest episode, each account's strongest first."""
    level = pl.col("level").replace_strict(dict(LEVEL_BITS), return_dtype=pl.Float64)
    worth = pl.min_horizontal(level, "ceiling")
    full = _exact(weight * worth * (_BARE + _STRENGTH * pl.col("strength") + _SHARE * pl.col("share")))
    again = pl.when(pl.col("times") > 1).then(pl.format(" ({} times)", "times")).otherwise(pl.lit(""))
    return (
        episodes.join(ceilings, on="rule_id", how="left", maintain_order="left")
        .with_columns(bits_full=full, times=pl.len().over("account_id", "rule_id"))
        .sort("account_id", "bits_full", "ended_at", "episode_id", descending=[False, True, True, False])
        .unique(["account_id", "rule_id"], keep="first", maintain_order=True)
        .select(
            "account_id",
            family="typology",
            origin=pl.lit("rule"),
            name="rule_id",
            typology="typology",
            episode_id="episode_id",
            bits_full="bits_full",
            text=pl.col("reason") + again,
        )
    )


def _graph_evidence(risk: GraphRisk, weight: float) -> pl.DataFrame:
    """One row a kind of seed and account, in the same form: a family of its own."""
    return (
        risk.reasons.with_columns(bits_full=_exact(weight * pl.col("bits")))
        .sort("account_id", "bits_full", "seed_kind", descending=[False, True, False])
        .select(
            "account_id",
            family=pl.lit("graph"),
            origin=pl.lit("graph"),
            name=pl.format("money-from-{}", "seed_kind"),
            typology=pl.lit(None, dtype=pl.String),
            episode_id="path_id",
            bits_full="bits_full",
            text="text",
        )
    )


def _damped(evidence: pl.DataFrame) -> pl.DataFrame:
    """Reasons: within a family the second counts half; likewise the second family."""
    placed = evidence.with_columns(place=pl.int_range(pl.len()).over("account_id", "family"))
    families = (
        placed.with_columns(within=pl.col("bits_full") * pl.lit(DAMPING).pow("place"))
        .group_by("account_id", "family")
        .agg(pl.col("within").sum())
        .sort("account_id", "within", "family", descending=[False, True, False])
        .select("account_id", "family", order=pl.int_range(pl.len()).over("account_id"))
    )
    return (
        placed.join(families, on=["account_id", "family"], how="left", maintain_order="left")
        .with_columns(damping=pl.lit(DAMPING).pow(pl.col("place") + pl.col("order")))
        .select(
            "account_id",
            "origin",
            "name",
            "typology",
            "episode_id",
            "bits_full",
            "damping",
            bits=_exact(pl.col("bits_full") * pl.col("damping")),
            text="text",
        )
    )


def _alerts(
    reasons: pl.DataFrame, episodes: pl.DataFrame, accounts: pl.DataFrame, base: float, run_id: str
) -> pl.DataFrame:
    scored = reasons.group_by("account_id", maintain_order=True).agg(
        score=base + pl.col("bits").sum(),
        reasons=pl.len().cast(pl.Int64),
        typologies=pl.col("typology").drop_nulls().unique(maintain_order=True).str.join(";"),
        summary=pl.col("text").filter(pl.col("bits") > 0).first(),
    )
    spans = episodes.group_by("account_id").agg(first_at=pl.col("started_at").min(), last_at=pl.col("ended_at").max())
    holders = accounts.select("account_id", "party_id", "holding")
    undescribed = "own" if accounts.is_empty() else "external"
    ranked = (
        scored.join(spans, on="account_id", how="left")
        .join(holders, on="account_id", how="left")
        .with_columns(pl.col("holding").fill_null(undescribed))
        # Own customers are whom the institution can act on: they are numbered first.
        .sort(pl.col("holding") == "own", "score", "account_id", descending=[True, True, False])
        .with_columns(
            pl.col("summary").fill_null("no reason speaks for suspicion"),
            prior=pl.lit(base),
            run_id=pl.lit(run_id),
            rank=(pl.int_range(pl.len()) + 1).cast(pl.Int64),
        )
    )
    ids = [alert_id(run_id, account) for account in ranked["account_id"]]
    return fit(ranked.with_columns(alert_id=pl.Series(ids, dtype=pl.String)), ALERTS)


def mark_suppressed(ranking: Ranking, episodes: pl.DataFrame, suppressed: pl.DataFrame) -> Ranking:
    """The same ranking with what is suppressed marked; scores and ranks stay as they are.

    A reason is suppressed if every episode of its rule on the account is; an account, if every rule that
    found it is, and a model does not speak against it in sum. Money from others is no conduct of the account's own and
    does not bring it back.

    Parameters
    ----------
    suppressed: ``episode_id, suppressed`` (in words, why), one row an episode.
    """
    if suppressed.is_empty():
        return ranking
    told = (
        episodes.join(suppressed, on="episode_id", how="left", maintain_order="left")
        .group_by("account_id", name="rule_id")
        .agg(whole=pl.col("suppressed").is_not_null().all(), why=pl.col("suppressed").drop_nulls().first())
        .filter("whole")
        .select("account_id", "name", "why", origin=pl.lit("rule"))
    )
    marked = ranking.reasons.join(told, on=["account_id", "name", "origin"], how="left", maintain_order="left")
    reasons = marked.with_columns(suppressed="why").drop("why")
    by_rule, by_model = pl.col("origin") == "rule", pl.col("origin") == "model"
    open_ = (by_rule & pl.col("suppressed").is_null()).any() | (pl.col("bits").filter(by_model).sum() > 0)
    why = (
        reasons.group_by("account_id", maintain_order=True)
        .agg(open=open_, why=pl.col("suppressed").drop_nulls().unique(maintain_order=True).str.join("; "))
        .filter(~pl.col("open") & (pl.col("why") != ""))
        .select("account_id", "why")
    )
    alerts = ranking.alerts.join(why, on="account_id", how="left", maintain_order="left")
    return Ranking(fit(alerts.with_columns(suppressed="why").drop("why"), ALERTS), fit(reasons, REASONS))


def unsuppressed(alerts: pl.DataFrame) -> pl.DataFrame:
    """Alerts without those that somebody has looked into and suppressed until a day."""
    return alerts.filter(pl.col("suppressed").is_null())


def alert_id(run_id: str, account_id: str) -> str:
    """Twelve hex digits that name an alert of a run."""
    return hashlib.blake2b(f"{run_id}\x1f{account_id}".encode(), digest_size=6).hexdigest()


def queue(alerts: pl.DataFrame, *, budget: int, holdings: tuple[str, ...] = ("own",)) -> pl.DataFrame:
    """The first ``budget`` alerts of the given holdings, most suspicious first."""
    return (
        alerts.filter(pl.col("holding").is_in(list(holdings)))
        .sort("score", "rank", descending=[True, False])
        .head(budget)
    )
