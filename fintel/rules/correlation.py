"""Correlation rules: findings of other rules that come together on one subject, or across an edge.

A component is there at its first hit of each day. A correlation is judged at each such moment of one
of its components, looking back over its span: nothing later is seen, and nothing later changes what
was there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import reduce

import polars as pl

from fintel.domain.schema import CLAUSES, EPISODES, EVIDENCE
from fintel.frames import fit
from fintel.rules.model import Correlation, Rule
from fintel.rules.wording import fill, number_in_words, parameter_in_words

_NO_MOMENTS = pl.Schema({"episode_id": pl.String(), "at": pl.Datetime("us", "UTC")})
#: Components whose own reasons stand in a correlation's.
_TOLD = 2


@dataclass(frozen=True)
class Findings:
    """Episodes, clauses and evidence of rules, as ``domain.schema`` has them.

    ``moments``: ``episode_id``, ``at``: the first hit of each episode on each day (UTC).
    """

    episodes: pl.DataFrame
    clauses: pl.DataFrame
    evidence: pl.DataFrame
    moments: pl.DataFrame = field(default_factory=_NO_MOMENTS.to_frame)

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            pl.concat([self.episodes, other.episodes]),
            pl.concat([self.clauses, other.clauses]),
            pl.concat([self.evidence, other.evidence]),
            pl.concat([self.moments, other.moments]),
        )

    def in_order(self) -> Findings:
        """The same, in the order of the tables."""
        return Findings(
            self.episodes.sort("rule_id", "account_id", "started_at", "partition"),
            self.clauses.sort("episode_id", "clause"),
            self.evidence.sort("episode_id", "measure", "entry_id"),
            self.moments,
        )


@dataclass(frozen=True)
class Correlated:
    """What one correlation found, and at how many moments it was judged and held."""

    findings: Findings
    candidates: int
    hits: int


def correlate(rule: Rule, parameters: Mapping[str, float], found: Findings, payments: pl.LazyFrame) -> Correlated:
    """Judge one correlation rule.

    Parameters
    ----------
    parameters: values of the rule's parameters.
    found: findings of the rules that it names (others are passed over).
    payments: booked payments (``debtor_account_id``, ``creditor_account_id``, ``booked_at``), read only
        for a correlation across an edge.
    """
    wanted = rule.correlation
    assert wanted is not None  # the caller's choice
    at_least = parameters[wanted.at_least[1:]] if wanted.at_least.startswith(":") else float(wanted.at_least)
    events = _events(found, wanted, payments)
    moments = events.select("account_id", "at").unique().sort("account_id", "at")
    counted = reduce(
        lambda frame, name: _add_count(frame, events, name, wanted.timespan),
        [f"{group} {rule_id}" for group in ("all", "any") for rule_id in getattr(wanted, group)],
        moments,
    )
    if wanted.ordered:
        counted = _add_chain(counted, events, wanted)
    held = counted.with_columns(
        any=pl.sum_horizontal(pl.col(f"any {r}") > 0 for r in wanted.any) if wanted.any else pl.lit(0),
        all=pl.sum_horizontal(pl.col(f"all {r}") > 0 for r in wanted.all) if wanted.all else pl.lit(0),
    ).filter(
        (pl.col("all") >= len(wanted.all))
        & ((pl.col("any") >= at_least) if wanted.any else pl.lit(value=True))
        & (pl.col("chained") if wanted.ordered else pl.lit(value=True))
    )
    hits = _joined(held, wanted.timespan)
    together = _findings(rule, wanted, at_least, hits, events, found)
    together = replace(together, moments=_moments(held, together.episodes))
    return Correlated(together, moments.height, held.height)


def _moments(held: pl.DataFrame, episodes: pl.DataFrame) -> pl.DataFrame:
    """The first moment of each day at which an episode held: an episode's moments lie up to its end."""
    ends = episodes.select("account_id", "ended_at", "episode_id").sort("ended_at")
    within = (
        held.select("account_id", "at")
        .sort("at")
        .join_asof(ends, left_on="at", right_on="ended_at", by="account_id", strategy="forward", check_sortedness=False)
    )
    days = within.group_by("episode_id", pl.col("at").dt.date().alias("day")).agg(pl.col("at").min())
    return days.select("episode_id", "at").sort("episode_id", "at")


def _events(found: Findings, wanted: Correlation, payments: pl.LazyFrame) -> pl.DataFrame:
    """``account_id``, ``at``, ``part`` (group and rule), ``episode_id``: when a component is there for an account."""
    parts = []
    for group in ("all", "any", "ordered"):
        theirs = found.episodes.filter(pl.col("rule_id").is_in(getattr(wanted, group)))
        named = theirs.select("account_id", "episode_id", part=pl.format("{} {}", pl.lit(group), "rule_id"))
        mine = named.join(found.moments, on="episode_id", maintain_order="left")
        parts.append(_over_edges(mine, payments, wanted.timespan) if group == wanted.across else mine)
    return pl.concat([p.select("account_id", "at", "part", "episode_id") for p in parts]).sort("account_id", "at")


def _over_edges(events: pl.DataFrame, payments: pl.LazyFrame, span: timedelta) -> pl.DataFrame:
    """Events of an account, for each account that paid it or was paid by it at most ``span`` before or after.

    They count from when both were there: at a payment, for the other side's last event before it; and at the
    other side's first event after a payment.
    """
    sides = ("debtor_account_id", "creditor_account_id")
    with_events = events["account_id"].unique()
    edges = [
        payments.filter(pl.col(theirs).is_in(with_events.implode()) & pl.col(ours).is_not_null())
        .filter(pl.col(theirs) != pl.col(ours))
        .select(account_id=ours, other=theirs, paid_at="booked_at")
        .collect(engine="streaming")
        for ours, theirs in (sides, sides[::-1])
    ]
    paid = pl.concat(edges).unique().sort("other", "paid_at")
    found = []
    for part in events["part"].unique(maintain_order=True):
        theirs_ = events.filter(pl.col("part") == part).select("at", "episode_id", other="account_id", there="at")
        theirs_ = theirs_.sort("other", "at")
        for strategy in ("backward", "forward"):
            near = paid.join_asof(
                theirs_, left_on="paid_at", right_on="at", by="other", strategy=strategy,
                allow_exact_matches=strategy == "backward", check_sortedness=False,
            )  # fmt: skip
            apart = (pl.col("paid_at") - pl.col("there")).abs()
            found.append(
                near.filter(apart < span).select(
                    "account_id", pl.max_horizontal("there", "paid_at").alias("at"), "episode_id", part=pl.lit(part)
                )
            )
    return pl.concat(found).unique() if found else events.clear().select("account_id", "at", "episode_id", "part")


def _add_count(moments: pl.DataFrame, events: pl.DataFrame, part: str, span: timedelta) -> pl.DataFrame:
    """A column ``part``: whether such an event lies in (t - span, t], as 0 or 1."""
    mine = events.filter(pl.col("part") == part).select("account_id", "at", last="at").sort("account_id", "at")
    joined = moments.join_asof(mine, on="at", by="account_id", strategy="backward", check_sortedness=False)
    near = pl.col("last") > pl.col("at") - span
    return joined.with_columns(near.fill_null(value=False).cast(pl.Int64).alias(part)).drop("last")


def _add_chain(moments: pl.DataFrame, events: pl.DataFrame, wanted: Correlation) -> pl.DataFrame:
    """A column ``chained``: the ordered components stand one after another within the span, the last one now."""
    chain = moments.with_columns(link=pl.col("at"))
    for place, rule_id in enumerate(reversed(wanted.ordered)):
        mine = events.filter(pl.col("part") == f"ordered {rule_id}").select("account_id", before="at").sort(
            "account_id", "before"
        )  # fmt: skip
        # strictly earlier than the link after it; the last component stands at the moment itself
        chain = chain.sort("account_id", "link", nulls_last=True).join_asof(
            mine.with_columns(found=pl.col("before")), left_on="link", right_on="before", by="account_id",
            strategy="backward", allow_exact_matches=place == 0, check_sortedness=False,
        )  # fmt: skip
        known = pl.when(pl.col("found") == pl.col("at")).then("found") if place == 0 else pl.col("found")
        chain = chain.with_columns(link=known).drop("found", "before", strict=False)
    chained = (pl.col("link") > pl.col("at") - wanted.timespan).fill_null(value=False)
    return chain.with_columns(chained=chained).drop("link").sort("account_id", "at")


def _joined(held: pl.DataFrame, span: timedelta) -> pl.DataFrame:
    """Moments that held, joined where they touch: the one with most components stands for all."""
    fresh = (pl.col("at") - pl.col("at").shift(1).over("account_id") > span).fill_null(value=True)
    numbered = held.sort("account_id", "at").with_columns(
        number=fresh.cum_sum(), components=pl.col("all") + pl.col("any")
    )
    ends = numbered.group_by("number").agg(ended=pl.col("at").max(), hits=pl.len())
    best = numbered.sort("number", "components", "at", descending=[False, True, True]).unique(
        "number", keep="first", maintain_order=True
    )
    return best.join(ends, on="number", maintain_order="left")


def _findings(
    rule: Rule, wanted: Correlation, at_least: float, hits: pl.DataFrame, events: pl.DataFrame, found: Findings
) -> Findings:
    """Episodes with a clause and the evidence of each component in the span of the peak."""
    # Spans of different hits do not overlap, so that an event belongs to the next one or to none.
    peaks = hits.select("number", "account_id", "ended", "hits", "at", peak="at", any_of="any").sort("account_id", "at")
    inside = (
        events.join_asof(peaks, on="at", by="account_id", strategy="forward", check_sortedness=False)
        .filter(pl.col("at") > pl.col("peak") - wanted.timespan)
        .unique(["number", "part", "episode_id"], keep="last", maintain_order=True)
        .with_columns(component=pl.col("part").str.splitn(" ", 2).struct.field("field_1"))
    )
    theirs = found.episodes.select("episode_id", "started_at", "peak_entry_id", "strength", "share", theirs="reason")
    inside = inside.join(theirs, on="episode_id", how="left", maintain_order="left").sort(
        "number", "at", "episode_id", "part"
    )
    episodes = inside.group_by("number", maintain_order=True).agg(
        pl.col("account_id", "peak", "ended", "hits", "any_of").first(),
        pl.col("started_at").min(),
        pl.col("peak_entry_id").last(),
        pl.col("strength").mean(),
        pl.col("share").max(),
        first=pl.col("episode_id").first(),
        components=pl.col("component").unique(maintain_order=True),
    )
    own = inside.sort("number", "strength", "episode_id", descending=[False, True, False])
    own = own.unique(["number", "component"], keep="first", maintain_order=True)
    told = dict(own.group_by("number", maintain_order=True).agg(pl.col("theirs").head(_TOLD)).iter_rows())
    fixed = {name: parameter_in_words(p) for name, p in rule.parameters.items()}
    ids, reasons = [], []
    for row in episodes.iter_rows(named=True):
        key = "\x1f".join((rule.id, rule.fingerprint, row["account_id"], row["first"]))
        ids.append(hashlib.blake2b(key.encode(), digest_size=8).hexdigest())
        said = {
            "all": ", ".join(c for c in row["components"] if c in wanted.all),
            "any": ", ".join(c for c in row["components"] if c in wanted.any),
            "ordered": ", then ".join(wanted.ordered),
        }
        reasons.append(f"{fill(rule.reason, fixed | said)}: {'; '.join(told[row['number']])}")
    episodes = episodes.with_columns(
        run_id=pl.lit(""), episode_id=pl.Series(ids, dtype=pl.String), rule_id=pl.lit(rule.id),
        partition="account_id", typology=pl.lit(rule.typology), level=pl.lit(rule.level), peak_at="peak",
        ended_at="ended", reason=pl.Series(reasons, dtype=pl.String),
    )  # fmt: skip
    named = inside.select("number", "episode_id", "component", "peak", "any_of").join(
        episodes.select("number", mine="episode_id"), on="number", maintain_order="left"
    )
    return Findings(
        fit(episodes.select(EPISODES.names), EPISODES),
        _clauses(wanted, at_least, named, found),
        _evidence(named, found),
    )


def _clauses(wanted: Correlation, at_least: float, named: pl.DataFrame, found: Findings) -> pl.DataFrame:
    """One clause a component (how many of its episodes), and one for ``any`` of several."""
    rows = found.evidence.group_by("episode_id").agg(rows=pl.col("entry_id").n_unique())
    counted = (
        named.unique(["mine", "component", "episode_id"], maintain_order=True)
        .join(rows, on="episode_id", how="left", maintain_order="left")
        .group_by("mine", "component", "peak", maintain_order=True)
        .agg(observed=pl.len().cast(pl.Float64), evidence_rows=pl.col("rows").sum())
    )
    needed = [*wanted.all, *wanted.ordered]
    parts = counted.with_columns(
        kind=pl.lit("episodes"), operator=pl.when(pl.col("component").is_in(needed)).then(pl.lit(">=")),
        threshold=pl.when(pl.col("component").is_in(needed)).then(1.0),
    ).rename({"component": "measure"})  # fmt: skip
    if wanted.any:
        several = named.select("mine", "peak", "any_of").unique("mine", maintain_order=True)
        parts = pl.concat(
            [
                parts,
                several.select(
                    "mine", pl.lit("any").alias("measure"), "peak", observed=pl.col("any_of").cast(pl.Float64),
                    evidence_rows=pl.lit(0).cast(parts.schema["evidence_rows"]), kind=pl.lit("rules"),
                    operator=pl.lit(">="), threshold=pl.lit(at_least),
                ),
            ]
        )  # fmt: skip
    order = {name: place for place, name in enumerate((*wanted.all, *wanted.ordered, "any", *wanted.any), start=1)}
    numbered = parts.with_columns(place=pl.col("measure").replace_strict(order, default=len(order) + 1)).sort(
        "mine", "place"
    )
    table = numbered.select(
        run_id=pl.lit(""), episode_id="mine", clause=pl.int_range(pl.len()).over("mine") + 1, measure="measure",
        kind="kind", column=pl.lit("*"), window_from=pl.col("peak") - wanted.timespan, window_to="peak",
        observed="observed", operator="operator", threshold="threshold", unit="kind",
        own_normal=pl.lit(None, dtype=pl.Float64), own_points=pl.lit(0), peer_group=pl.lit("not compared"),
        peer_percentile=pl.lit(None, dtype=pl.Float64), evidence_rows="evidence_rows",
        evidence_truncated=pl.lit(value=False),
    )  # fmt: skip
    return fit(table, CLAUSES)


def _evidence(named: pl.DataFrame, found: Findings) -> pl.DataFrame:
    """The components' entries, under the component's name."""
    table = (
        named.select("mine", "episode_id", "component")
        .join(found.evidence.drop("run_id", "measure"), on="episode_id", maintain_order="left")
        .select(run_id=pl.lit(""), episode_id="mine", measure="component", entry_id="entry_id",
                transaction_id="transaction_id")
        .unique(maintain_order=True)
    )  # fmt: skip
    return fit(table, EVIDENCE)


def in_words(wanted: Correlation, parameters: Mapping[str, float]) -> Sequence[str]:
    """What a correlation asks for, one line a group."""
    count = parameters[wanted.at_least[1:]] if wanted.at_least.startswith(":") else float(wanted.at_least)
    lines = []
    if wanted.all:
        lines.append(f"all of {', '.join(wanted.all)}")
    if wanted.any:
        lines.append(f"at least {number_in_words(count)} of {', '.join(wanted.any)}")
    if wanted.ordered:
        lines.append(f"one after another: {', then '.join(wanted.ordered)}")
    return lines
