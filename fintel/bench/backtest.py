"""Rules over stored history: what each would have shown, whom it shares, and how often it was right.

One run as of the last day; an episode counts if its peak lies within the period. Months are of 30 days,
counted back from the end. Where nobody has looked there is no precision: it is *unlabelled*, not zero.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import polars as pl

from fintel.bench.intervals import SMALL, Group, Share, by_group
from fintel.bench.known import CLEARED, SUSPICIOUS, UNLABELLED, VICTIM, Accounts, Standings
from fintel.domain.detection import Outcome
from fintel.rules.model import Library
from fintel.rules.runner import Progress, detect_tables

MONTH = timedelta(days=30)
PER = 10_000
#: Other rules that are named as overlapping.
TOP = 5
TOGETHER = "all together"


@dataclass(frozen=True)
class Period:
    """What is looked at: from ``since`` to ``until``, both included."""

    since: datetime
    until: datetime

    @property
    def days(self) -> float:
        """Its length."""
        return (self.until - self.since).total_seconds() / 86_400

    @property
    def months(self) -> int:
        """How many months of 30 days it has; the first may be a shorter one."""
        return max(1, math.ceil(self.days / MONTH.days - 1e-6))

    @property
    def ends(self) -> tuple[datetime, ...]:
        """Last moment of each month, the oldest first."""
        return tuple(self.until - MONTH * n for n in reversed(range(self.months)))


@dataclass(frozen=True)
class Overlap:
    """Another rule with subjects in common: ``jaccard`` is shared / found by either."""

    rule_id: str
    shared: int
    jaccard: float


@dataclass(frozen=True)
class Part:
    """A segment or jurisdiction: its own accounts, the alerted ones, the precision (whole's, where few are
    labelled; None where none is anywhere) and false alarms (None where there are too few accounts)."""

    name: str
    own: int
    subjects: int
    precision: Group | None
    rate: float | None


@dataclass(frozen=True)
class Quality:
    """What labels say of alerted own accounts.

    ``precision``: suspicious of those with a label (victims count with the suspicious for a rule that looks
    for victims, else apart from both); None where nobody was looked at and cleared. ``floor``: of all
    alerted, as if everybody without a label were a false alarm. ``recall``: of those that the rule is there to
    find; None where none is known.
    """

    suspicious: int
    victims: int
    cleared: int
    unlabelled: int
    precision: Share | None
    floor: Share
    recall: Share | None


@dataclass(frozen=True)
class Tested:
    """One rule (or all together) over the period. ``months``: alerted accounts of each month. ``alone``: accounts
    that no other rule found. ``rate``: false alarms per 10,000 own accounts and 30 days; whoever has no label
    counts as one. ``reason``: why the rule cannot tell, then all counts are 0 and mean nothing."""

    name: str
    outcome: str
    reason: str | None = None
    hits: int = 0
    episodes: int = 0
    subjects: int = 0
    months: tuple[int, ...] = ()
    alone: int = 0
    overlaps: tuple[Overlap, ...] = ()
    quality: Quality | None = None
    rate: float = 0.0
    budget: float | None = None
    segments: tuple[Part, ...] = ()
    jurisdictions: tuple[Part, ...] = ()

    @property
    def told(self) -> bool:
        """The rule could see."""
        return self.outcome == Outcome.EVALUATED

    @property
    def verdict(self) -> str:
        """``within`` or ``over`` its budget; ``cannot tell``; ``no budget``."""
        if not self.told:
            return "cannot tell"
        if self.budget is None:
            return "no budget"
        return "within" if self.rate <= self.budget else "over"

    @property
    def monthly(self) -> float:
        """Alerted accounts a month, on average over the months."""
        return sum(self.months) / len(self.months) if self.months else 0.0


@dataclass(frozen=True)
class Backtest:
    """The outcome: ``rules`` in the order asked for, ``total`` of all of them together."""

    period: Period
    standings: Standings
    rules: tuple[Tested, ...]
    total: Tested
    notes: tuple[str, ...] = ()
    #: Accounts that each rule alerted, with the month (0 the oldest): ``rule_id, account_id, month``.
    alerts: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False)


def backtest(
    tables: Mapping[str, pl.LazyFrame],
    library: Library,
    rule_ids: Sequence[str],
    period: Period,
    known: Standings,
    *,
    base_currency: str = "USD",
    threads: int = 0,
    progress: Progress,
) -> Backtest:
    """Run a library as of the end of the period and judge some of its rules.

    ``library``: all that is run; rules that are not among ``rule_ids`` serve the overlap.
    """
    found = detect_tables(
        tables, library, base_currency=base_currency, as_of=period.until, threads=threads, progress=progress
    )
    episodes = _within(found.episodes, period, known)
    alerts = episodes.select("rule_id", "account_id", "month").unique().sort("rule_id", "account_id", "month")
    states = {r: (o, why) for r, o, why in found.rule_results.select("rule_id", "outcome", "reason").iter_rows()}
    judged = known.frame()
    subjects = alerts.select("rule_id", "account_id").unique()
    met = _met(subjects, _related(library))
    shared, alone = _shared(met, subjects), _alone(met, subjects)
    rules = []
    for rule_id in rule_ids:
        rule = library[rule_id]
        outcome, reason = states[rule_id]
        if outcome != Outcome.EVALUATED:
            rules.append(Tested(rule_id, outcome, reason, budget=rule.budget))
            continue
        mine = episodes.filter(pl.col("rule_id") == rule_id)
        # a rule that looks for victims is right about them; to others a victim is no find and no false alarm
        right = (SUSPICIOUS, VICTIM) if rule.role == "victim" else (SUSPICIOUS,)
        tested = _tested(rule_id, mine, period, judged, known.wanted(rule), right)
        others = tuple(Overlap(*row) for row in shared.get(rule_id, ())[:TOP])
        rules.append(replace(tested, alone=alone.get(rule_id, 0), overlaps=others, budget=rule.budget))
    chosen = episodes.filter(pl.col("rule_id").is_in(list(rule_ids)))
    typologies = dict.fromkeys(library[r].typology for r in rule_ids)
    wanted = frozenset[str]().union(*(known.of(t) for t in typologies)) - known.elsewhen
    total = _tested(TOGETHER, chosen, period, judged, wanted, (SUSPICIOUS,))
    notes = _notes(tables, library, rule_ids, period, known)
    kept = alerts.filter(pl.col("rule_id").is_in(list(rule_ids)))
    return Backtest(period, known, tuple(rules), total, notes, kept)


def _within(episodes: pl.DataFrame, period: Period, known: Standings) -> pl.DataFrame:
    """Episodes of own accounts that peak in the period, with their ``month`` (0 is the oldest)."""
    back = (pl.lit(period.until) - pl.col("peak_at")).dt.total_microseconds() // (MONTH // timedelta(microseconds=1))
    month = (period.months - 1 - back).clip(lower_bound=0)
    return (
        episodes.filter(pl.col("peak_at").is_between(period.since, period.until))
        .join(known.accounts.select("account_id"), on="account_id", how="semi")
        .with_columns(month=month.cast(pl.Int64))
    )


def _tested(
    name: str,
    episodes: pl.DataFrame,
    period: Period,
    judged: pl.DataFrame,
    wanted: Accounts,
    right: Collection[str],
) -> Tested:
    """Counts and quality of some episodes. ``right``: standings that are no false alarm."""
    alerts = episodes.select("account_id", "month").unique()
    months = dict(alerts.group_by("month").len().iter_rows())
    subjects = judged.join(alerts.select("account_id").unique(), on="account_id", how="semi")
    false = alerts.join(judged.filter(pl.col("standing").is_in([CLEARED, UNLABELLED])), on="account_id")
    return Tested(
        name,
        Outcome.EVALUATED,
        hits=int(episodes["hits"].sum()),
        episodes=episodes.height,
        subjects=subjects.height,
        months=tuple(months.get(n, 0) for n in range(period.months)),
        quality=_quality(subjects, judged, wanted, right),
        rate=_rate(false.height, judged.height, period),
        segments=_parts("segment", subjects, false, judged, period, right),
        jurisdictions=_parts("jurisdiction", subjects, false, judged, period, right),
    )


def _rate(alarms: int, own: int, period: Period) -> float:
    return alarms / own * PER * MONTH.days / period.days if own else 0.0


def _quality(subjects: pl.DataFrame, judged: pl.DataFrame, wanted: Accounts, right: Collection[str]) -> Quality:
    counts = dict(subjects.group_by("standing").len().iter_rows())
    victims, cleared, bare = (counts.get(s, 0) for s in (VICTIM, CLEARED, UNLABELLED))
    hits = sum(counts.get(s, 0) for s in right)
    found = len(wanted & set(subjects["account_id"]))
    return Quality(
        counts.get(SUSPICIOUS, 0), victims, cleared, bare,
        precision=Share(hits, hits + cleared) if _anybody_cleared(judged) else None,
        floor=Share(hits, hits + cleared + bare),
        recall=Share(found, len(wanted)) if wanted else None,
    )  # fmt: skip


def _anybody_cleared(judged: pl.DataFrame) -> bool:
    """Somebody was looked at and found clean; else every labelled account is suspicious, and a precision among
    them would be 1 whatever the rule does."""
    return not judged.filter(pl.col("standing") == CLEARED).is_empty()


def _parts(
    column: str,
    subjects: pl.DataFrame,
    false: pl.DataFrame,
    judged: pl.DataFrame,
    period: Period,
    right: Collection[str],
) -> tuple[Part, ...]:
    name = pl.col(column).fill_null("unknown")
    own = dict(judged.group_by(name).len().iter_rows())
    alarms = dict(false.group_by(name).len().iter_rows())
    hit = pl.col("standing").is_in(list(right))
    counted = subjects.group_by(name).agg(
        pl.len(), hit.sum(), (hit | (pl.col("standing") == CLEARED)).sum().alias("of")
    )
    rows = {str(n): (int(all_), int(hits), int(of)) for n, all_, hits, of in counted.iter_rows()}
    shares = {}
    if _anybody_cleared(judged):
        shares = {g.name: g for g in by_group((n, hits, of) for n, (_, hits, of) in rows.items())}
    return tuple(
        Part(n, own[n], all_, shares.get(n), _rate(alarms.get(n, 0), own[n], period) if own[n] >= SMALL else None)
        for n, (all_, _, _) in sorted(rows.items(), key=lambda item: (-item[1][0], item[0]))
    )


# -- rules beside each other


def _related(library: Library) -> pl.DataFrame:
    """``rule_id, other``: a correlation and what it rests on, both ways; they are bound to share accounts."""
    pairs = [(r.id, c) for r in library.rules if r.correlation is not None for c in r.correlation.components]
    rows = [*pairs, *((b, a) for a, b in pairs)]
    return pl.DataFrame(rows, schema={"rule_id": pl.String, "other": pl.String}, orient="row")


def _met(found: pl.DataFrame, related: pl.DataFrame) -> pl.DataFrame:
    """``rule_id, other, account_id``: what two rules both found, those apart that rest on each other."""
    other = found.rename({"rule_id": "other"})
    met = found.join(other, on="account_id").filter(pl.col("rule_id") != pl.col("other"))
    return met.join(related, on=["rule_id", "other"], how="anti")


def _shared(met: pl.DataFrame, found: pl.DataFrame) -> dict[str, list[tuple[str, int, float]]]:
    """For each rule the others with accounts in common, most alike first."""
    sizes = dict(found.group_by("rule_id").len().iter_rows())
    rows: dict[str, list[tuple[str, int, float]]] = {}
    for rule, other, both in met.group_by("rule_id", "other").len().iter_rows():
        rows.setdefault(rule, []).append((other, both, both / (sizes[rule] + sizes[other] - both)))
    return {rule: sorted(some, key=lambda row: (-row[2], -row[1], row[0])) for rule, some in rows.items()}


def _alone(met: pl.DataFrame, found: pl.DataFrame) -> dict[str, int]:
    """How many accounts each rule found that no other rule did."""
    alone = found.join(met.select("rule_id", "account_id").unique(), on=["rule_id", "account_id"], how="anti")
    return dict(alone.group_by("rule_id").len().iter_rows())


# -- what the period can and cannot say


def _notes(
    tables: Mapping[str, pl.LazyFrame], library: Library, rule_ids: Sequence[str], period: Period, known: Standings
) -> tuple[str, ...]:
    notes = []
    first = tables["transactions"].select(pl.col("booked_at").min()).collect(engine="streaming").item()
    reach = {rule_id: _reach(library, rule_id) for rule_id in rule_ids}
    short = [r for r, back in reach.items() if first is not None and period.since - back < first]
    if short:
        notes.append(
            f"payments begin on {first:%Y-%m-%d}: the windows of {len(short):,} of {len(reach):,} rules are not full "
            "at the beginning of the period, so they find less there"
        )
    if not known.suspicious and not known.cleared and not known.victims:
        notes.append(f"{UNLABELLED}: nothing is known of any account, so nothing about precision and recall")
    elif not known.cleared:
        notes.append("nobody was looked at and found clean: precision cannot be told, only its floor")
    if known.suspicious and len(known.suspicious) < SMALL:
        notes.append(f"only {len(known.suspicious)} accounts are known to be suspicious: recall says little")
    elsewhen = len((known.suspicious | known.victims) & known.elsewhen)
    if elsewhen:
        notes.append(f"{elsewhen:,} labelled accounts were active outside the period only: recall leaves them out")
    if period.days < MONTH.days:
        notes.append(f"the period has {period.days:.0f} days: rates per 30 days are extrapolated")
    return tuple(notes)


def _reach(library: Library, rule_id: str) -> timedelta:
    """How far back the windows of a rule go."""
    rule = library[rule_id]
    if rule.correlation is not None:
        known = {r.id for r in library.rules}
        parts = [_reach(library, c) for c in rule.correlation.components if c in known]
        return rule.correlation.timespan + max(parts, default=timedelta(0))
    spans = [m.timespan + m.offset for m in rule.measures.values()]
    return max([*spans, *(reach for s in rule.steps for _, reach in rule.chain(s))], default=timedelta(0))
