"""Settings of a rule judged by what they alert: the frontier, the suggested setting and its cost.

An *alert* is an account in a 30-day month (counted back from the last payment) in which the rule hits
it at least once. *Recall* is the part of the accounts known to be suspicious that a setting alerts at
all. Where nobody is known to be, there is no recall, and nothing is said in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.bench.intervals import SMALL, Group, Share, by_group
from fintel.bench.measured import Progress, measure, silent
from fintel.bench.settings import Wish, choose, make_settings, variants
from fintel.bench.swept import Halves, Known, Swept, setting_of, sweep_settings
from fintel.errors import RuleError
from fintel.rules.model import Library, Rule

Bools = npt.NDArray[np.bool_]
UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class Cost:
    """What a setting changes against the current one: alerts a month, accounts, and suspicious ones among them."""

    alerts_month: float
    accounts_gained: int
    accounts_lost: int
    positives_gained: int | None
    positives_lost: int | None


@dataclass(frozen=True)
class Choice:
    """A setting: which measures, which row, its parameters and what they give.

    ``recall`` is None where nobody is known to be suspicious. ``held_out``: recall on accounts that had
    no say in choosing (chosen on one half, judged on the other, both ways).
    """

    variant: int
    setting: int
    parameters: Mapping[str, float]
    accounts: int
    alerts_month: float
    recall: Share | None
    segments: tuple[Group, ...] = ()
    jurisdictions: tuple[Group, ...] = ()
    cost: Cost | None = None
    held_out: Share | None = None


@dataclass(frozen=True)
class Tuned:
    """The outcome. ``table``: one row a setting (``setting``, parameters, ``accounts, alerts_month,
    positives, recall, frontier``; the last three null where nobody is known to be suspicious)."""

    swept: tuple[Swept, ...]
    known: Known
    held: Mapping[str, str]
    table: pl.DataFrame
    current: Choice
    suggested: Choice | None
    chosen_by: str
    notes: tuple[str, ...] = ()

    @property
    def frontier(self) -> pl.DataFrame:
        """Settings that no other beats in both alerts and recall, by alerts."""
        return self.table.filter(pl.col("frontier")).sort("alerts_month", "setting")


def tune(
    tables: Mapping[str, pl.DataFrame | pl.LazyFrame],
    library: Library,
    rule: Rule,
    known: Known,
    *,
    vary: Sequence[Wish] = (),
    rerun: Sequence[Wish] = (),
    method: str = "random",
    number: int = 1000,
    budget: float | None = None,
    own: pl.Series | None = None,
    base_currency: str = "USD",
    as_of: datetime | None = None,
    seed: int = 7,
    threads: int = 0,
    progress: Progress = silent,
) -> Tuned:
    """Measure a rule once, try settings on it, and suggest one.

    Parameters
    ----------
    vary: parameters to sweep (see ``settings.choose``); ``rerun``: parameters to measure anew for given values.
    method, number: see ``settings.make_settings``.
    budget: alerts a month that the suggested setting may not exceed; those of the current one if None.
    own: ids of own accounts; all if None.

    Raises
    ------
    RuleError: a parameter or a number that does not fit, or the rule cannot tell on this data.
    """
    anew = variants(rule, rerun)
    chosen, held = choose(rule, vary, [w.name for w in rerun])
    axes, settings = make_settings(rule, chosen, method=method, number=number, seed=seed)
    if len(anew) * len(settings) < 2:
        raise RuleError(f"{rule.id} has nothing to sweep: " + "; ".join(f"{n} {w}" for n, w in held.items()))
    measured = measure(
        tables, library, [rule.tuned(values) for values in anew], base_currency=base_currency,
        as_of=as_of, own=own, threads=threads, progress=progress,
    )  # fmt: skip
    progress(f"{len(anew) * len(settings):,} settings", 0, 0)
    swept = sweep_settings(measured, library, axes, settings, known, rerun=anew, seed=seed, threads=threads)
    return judge(swept, known, held, budget=budget, seed=seed)


def with_setting(tuned: Tuned, wanted: Mapping[str, float]) -> Tuned:
    """The same outcome with a setting of the analyst's choice in place of the suggested one.

    Raises
    ------
    RuleError: it was not among the settings tried.
    """
    variant, setting = setting_of(tuned.swept, wanted)
    row = variant * len(tuned.swept[0].settings) + setting
    choice = _choice(tuned.swept, tuned.known, tuned.table["alerts_month"].to_numpy(), row, tuned.current)
    return replace(tuned, suggested=choice, chosen_by="the analyst")


def judge(
    swept: Sequence[Swept], known: Known, held: Mapping[str, str], *, budget: float | None = None, seed: int = 7
) -> Tuned:
    """Build the table of settings, find the frontier and suggest a setting.

    Parameters
    ----------
    swept: the first setting of the first is the current one.
    budget: alerts a month that may not be exceeded; those of the current setting if None.
    """
    labelled = bool(known.suspicious)
    counts = np.concatenate([s.counts for s in swept])
    alerts = counts[:, 1] / np.concatenate([np.full(len(s.counts), s.measured.months) for s in swept])
    positives = counts[:, 2] + counts[:, 3]
    frontier = _frontier(alerts, positives) if labelled else np.zeros(alerts.size, np.bool_)
    names = list(swept[0].values(0))
    rows = [s.values(i) for s in swept for i in range(len(s.settings))]
    table = pl.DataFrame(
        {
            "setting": np.arange(alerts.size),
            **{n: [r[n] for r in rows] for n in names},
            "accounts": counts[:, 0],
            "alerts_month": alerts,
            "positives": positives,
            "recall": positives / max(len(known.suspicious), 1),
            "frontier": frontier,
        }
    )
    if not labelled:
        table = table.with_columns(pl.when(pl.lit(value=False)).then(pl.col(n)).alias(n) for n in table.columns[-3:])
    limit = float(alerts[0]) if budget is None else budget
    told = "no more alerts a month than now" if budget is None else f"at most {budget:g} alerts a month"
    far = _distance(table.select(names).to_numpy())
    notes = [f"{len(swept[0].measured):,} anchor entries measured, {swept[0].stacks.boxes:,} tested"]
    if labelled:
        if len(known.suspicious) < SMALL:
            notes.append(f"only {len(known.suspicious)} accounts are known to be suspicious: recall says little")
        if not known.cleared:
            notes.append("yields count accounts that nobody has looked at as not suspicious")
        best = _best(alerts, positives, far, limit)
        if best is not None and not positives[best]:
            best = None
            notes.append(f"no setting with {told} alerts an account that is known to be suspicious")
        chosen_by = f"highest recall at {told}; then fewest alerts, then nearest to the current setting"
    elif budget is not None:
        best = _best(alerts, np.zeros(alerts.size, np.int64), far, limit, nearest=True)
        chosen_by = f"{UNLABELLED}: the setting nearest to the current one with {told}"
        notes.append("nobody is known to be suspicious, so nothing is known about what a setting misses")
    else:
        best = None
        chosen_by = f"{UNLABELLED}: no setting can be preferred; review a sheet (--sheet) or give --budget"
    current = _choice(swept, known, alerts, 0, None)
    suggested = None
    if best is not None:
        suggested = _choice(swept, known, alerts, best, current)
        if labelled:
            held_out = _held_out(counts, alerts, far, limit, Halves(known, seed).sizes)
            suggested = replace(suggested, held_out=held_out)
    elif (alerts > limit).all():
        notes.append(f"no setting gives {told}")
    return Tuned(tuple(swept), known, dict(held), table, current, suggested, chosen_by, tuple(notes))


def _frontier(alerts: npt.NDArray[np.float64], positives: npt.NDArray[np.int64]) -> Bools:
    """Settings such that none has more positives for as few alerts; of equal ones the first."""
    order = np.lexsort((np.arange(alerts.size), -positives, alerts))
    best = np.maximum.accumulate(positives[order])
    better = positives[order] > np.append(0, best[:-1])
    found = np.zeros(alerts.size, np.bool_)
    found[order[better]] = True
    return found


def _distance(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each setting is from the first: parameters scaled by their spread, summed."""
    spread = np.ptp(values, axis=0) if values.size else np.ones(values.shape[1])
    far: npt.NDArray[np.float64] = np.abs((values - values[:1]) / np.where(spread > 0, spread, 1.0)).sum(axis=1)
    return far


def _best(
    alerts: npt.NDArray[np.float64],
    positives: npt.NDArray[np.int64],
    far: npt.NDArray[np.float64],
    limit: float,
    *,
    nearest: bool = False,
) -> int | None:
    allowed = np.flatnonzero(alerts <= limit)
    if allowed.size == 0:
        return None
    second, third = (alerts, far) if not nearest else (far, alerts)
    order = np.lexsort((allowed, third[allowed], second[allowed], -positives[allowed]))
    return int(allowed[order[0]])


def _held_out(
    counts: npt.NDArray[np.int64],
    alerts: npt.NDArray[np.float64],
    far: npt.NDArray[np.float64],
    limit: float,
    sizes: tuple[int, int],
) -> Share:
    hits = 0
    for mine, other in ((2, 3), (3, 2)):
        best = _best(alerts, counts[:, mine], far, limit)
        hits += 0 if best is None else int(counts[best, other])
    return Share(hits, sum(sizes))


def _choice(
    swept: Sequence[Swept], known: Known, alerts: npt.NDArray[np.float64], row: int, current: Choice | None
) -> Choice:
    variant, setting = divmod(row, len(swept[0].settings))
    mine = swept[variant]
    accounts = mine.alerted(setting)
    labelled = bool(known.suspicious)
    judged = accounts.with_columns(hit=pl.col("account_id").is_in(list(known.suspicious)))
    cost = None
    if current is not None:
        before = swept[current.variant].alerted(current.setting)["account_id"]
        gained = set(accounts["account_id"]) - set(before)
        lost = set(before) - set(accounts["account_id"])
        cost = Cost(
            float(alerts[row]) - current.alerts_month,
            len(gained),
            len(lost),
            len(gained & known.suspicious) if labelled else None,
            len(lost & known.suspicious) if labelled else None,
        )
    return Choice(
        variant=variant,
        setting=setting,
        parameters=mine.values(setting),
        accounts=accounts.height,
        alerts_month=float(alerts[row]),
        recall=Share(int(judged["hit"].sum()), len(known.suspicious)) if labelled else None,
        segments=_groups(judged, known, "segment") if labelled else (),
        jurisdictions=_groups(judged, known, "jurisdiction") if labelled else (),
        cost=cost,
    )


def _groups(judged: pl.DataFrame, known: Known, column: str) -> tuple[Group, ...]:
    """Yield of each group of the alerted accounts: suspicious ones among those that were looked at, or
    among all where nobody was cleared."""
    if known.cleared:
        judged = judged.filter(pl.col("account_id").is_in(list(known.cleared | known.suspicious)))
    rows = judged.group_by(pl.col(column).fill_null("unknown")).agg(pl.col("hit").sum(), pl.len()).iter_rows()
    return tuple(by_group((str(name), int(hits), int(of)) for name, hits, of in rows))
