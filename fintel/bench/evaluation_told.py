"""An evaluation in words and tables, the same on a screen and on a page."""

from __future__ import annotations

from collections.abc import Callable

from fintel.bench.model_evaluation import Evaluated
from fintel.models.evaluation import Estimate
from fintel.models.reliability import TOP
from fintel.models.subgroups import SMALL, Rate, Ratio

#: Title, columns, rows; without rows there is nothing to tell.
Told = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
_NONE = "–"


def facts(found: Evaluated) -> list[str]:
    """What was judged, how, and what the numbers cannot say."""
    months = len(next(iter(found.queues.values())).months)
    period = f"{months} month{'s' * (months > 1)} of {found.days} days" if found.days else "one period"
    how = {
        "later": f"Judged on {period} up to {found.as_of:%Y-%m-%d} that the model has not seen.",
        "again": f"Judged on {period} up to {found.as_of:%Y-%m-%d}, the training made again in folds of groups.",
    }[found.way]
    return [
        f"{how} {found.accounts:,} own accounts, {found.positives:,} suspicious; a random order reaches "
        f"{found.base_rate:.4f}. Intervals hold 95 %; those of queues are drawn by groups (schemes, holders).",
        *(f"{note[:1].upper()}{note[1:]}." for note in found.notes),
    ]


def _queues(found: Evaluated) -> Told:
    rows: list[tuple[str, ...]] = []
    for name, queue in found.queues.items():
        for at in queue.capacities:
            first = at is queue.capacities[0]
            area = str(queue.average_precision) if first else ""
            money = _NONE if at.money is None else str(at.money)
            rows.append((name if first else "", area, f"{at.capacity:,}", str(at.precision), str(at.recall), money))
    columns = ("ranking", "average precision", "read a month", "precision", "recall", "recall of money")
    return "What reading the first accounts of each month gives", columns, rows


def _gains(found: Evaluated) -> Told:
    rows: list[tuple[str, ...]] = [
        (name, _signed(gain.average_precision), _signed(gain.recall), "yes" if gain.average_precision.low > 0 else "no")
        for name, gain in found.gains.items()
    ]
    columns = ("difference", "average precision", f"recall at {found.capacities[0]:,}", "better beyond chance")
    return "One ranking beside another, drawn together", columns, rows


def _signed(value: Estimate) -> str:
    return f"{value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


def _steps(found: Evaluated) -> Told:
    rows: list[tuple[str, ...]] = [
        (f"{step.first:,}–{step.last:,}", name, f"{step.found:.2f}", str(step.precision))
        for name, queue in found.queues.items()
        for step in queue.steps
        if name in ("rules", "both")
    ]
    rows.sort(key=lambda row: int(row[0].partition("–")[0].replace(",", "")))
    return "The next analyst", ("accounts", "ranking", "suspicious a month", "precision"), rows


def _months(found: Evaluated) -> Told:
    rows: list[tuple[str, ...]] = [
        (f"{m.until:%Y-%m-%d}", name, f"{m.accounts:,}", f"{m.positives:,}", f"{m.average_precision:.3f}",
         f"{m.precision:.3f}", f"{m.recall:.3f}")
        for name, queue in found.queues.items()
        for m in queue.months
    ]  # fmt: skip
    columns = ("month up to", "ranking", "accounts", "suspicious", "average precision", "precision", "recall")
    return f"Month by month, {found.capacities[0]:,} accounts read", columns, sorted(rows, key=lambda r: r[0])


def _seeds(found: Evaluated) -> Told:
    if found.seeds is None:
        return "", (), []
    rows: list[tuple[str, ...]] = [
        (name, f"{found.seeds.mean[name]:.3f}", f"{found.seeds.deviation[name]:.3f}", f"{min(v):.3f} to {max(v):.3f}")
        for name, v in found.seeds.average_precision.items()
    ]
    title = f"Average precision of {len(found.seeds.seeds)} trainings with other seeds"
    return title, ("ranking", "mean", "standard deviation", "range"), rows


def _typologies(found: Evaluated) -> Told:
    rows: list[tuple[str, ...]] = [
        (
            t.typology,
            name,
            f"{t.accounts}",
            f"{t.groups}",
            f"{t.found:.1f}",
            f"{t.recall:.3f} [{t.low:.3f}, {t.high:.3f}]",
        )
        for name, recalls in found.typologies.items()
        for t in recalls
    ]
    columns = ("typology", "ranking", "accounts", "groups", "found", "recall")
    return (
        f"Recall by typology, {found.capacities[0]:,} accounts read a month",
        columns,
        sorted(rows, key=lambda r: r[0]),
    )


def _first_hits(found: Evaluated) -> Told:
    rows: list[tuple[str, ...]] = []
    for name, h in found.first_hits.items():
        days = _NONE if h.days_median is None else f"{h.days_median:.0f} / {h.days_ninth_decile:.0f}"
        within = " / ".join(f"{share:.0%}" for share in h.within.values())
        stopped = _NONE if h.stopped is None else f"{h.stopped:.0%}"
        money = f"{h.money_before:,.0f} + {h.money_missed:,.0f} of {h.money:,.0f}"
        rows.append((name, f"{h.found} of {h.subjects}", days, within, money, stopped))
    columns = (
        "ranking", "found", "days to it: median / 90 %", "within 7 / 30 / 90 days",
        f"{found.base_currency} moved before it + never found", "moved after it",
    )  # fmt: skip
    return "First hits: from the first illicit payment to the first alert", columns, rows


def _calibration(found: Evaluated) -> Told:
    told = found.calibration
    rows: list[tuple[str, ...]] = [
        (f"{b.rows:,}", f"{b.probability:.5f}", f"{b.share:.5f} [{b.low:.5f}, {b.high:.5f}]") for b in told.bins
    ]
    title = (
        f"Calibration of 'both': error {told.error:.4f}, of the most suspicious {TOP:.0%} {told.top_error:.4f}; "
        f"Brier skill {told.skill:.3f}"
    )
    return title, ("accounts", "probability told", "came true"), rows


def _subgroups(found: Evaluated) -> Told:
    rows: list[tuple[str, ...]] = [
        (g.attribute, g.group, f"{g.accounts:,}", f"{g.alert_rate.value:.4f}", _ratio(g.alert_ratio),
         _rate(g.precision), _rate(g.false_alerts), _ratio(g.false_alert_ratio), _rate(g.recall), g.mark)
        for g in found.subgroups
    ]  # fmt: skip
    rows += [
        (s.attribute, f"{s.groups} groups of fewer than {SMALL}", _NONE if s.accounts is None else f"{s.accounts:,}",
         *("not told" for _ in range(6)), "")
        for s in found.suppressed
    ]  # fmt: skip
    columns = (
        "attribute", "group", "accounts", "alert rate", "to the others", "precision", "false alerts", "to the others",
        "recall", "outside 4/5 to 5/4",
    )  # fmt: skip
    return (
        "Subgroups: error rates of the queue of 'both', by what customers are",
        columns,
        sorted(rows, key=lambda r: r[0]),
    )


def _rate(rate: Rate | None) -> str:
    return _NONE if rate is None else f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"


def _ratio(ratio: Ratio | None) -> str:
    return _NONE if ratio is None else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _line(found: Evaluated) -> Told:
    if found.line is None:
        return "", (), []
    rows: list[tuple[str, ...]] = []
    for b in found.line.bands:
        above = "below" if b.above is None else f"{b.above:.2f} to"
        share = "nobody reviewed" if b.precision is None else f"{b.precision:.3f} [{b.low:.3f}, {b.high:.3f}]"
        expected = _NONE if b.expected is None else f"{b.expected:.1f} [{b.expected_low:.1f}, {b.expected_high:.1f}]"
        rows.append((f"{above} {b.below:.2f}", f"{b.accounts:,}", f"{b.suspicious} of {b.reviewed}", share, expected))
    title = f"Below the line of {found.line.threshold:.2f} bits, by reviews of source '{found.line.source}'"
    return title, ("bits", "accounts", "suspicious of reviewed", "precision", "suspicious accounts left unread"), rows


#: Every table, in the order in which they are read.
TABLES: tuple[Callable[[Evaluated], Told], ...] = (
    _queues, _gains, _months, _seeds, _steps, _typologies, _first_hits, _calibration, _line, _subgroups,
)  # fmt: skip
