"""The page of an evaluation: pictures and tables in one HTML file without scripts or network."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

from fintel.bench.charts import chart_page
from fintel.bench.evaluation_told import TABLES, facts
from fintel.bench.model_evaluation import Evaluated
from fintel.bench.model_months import BOTH, RULES
from fintel.bench.svg import Point, intervals, lines, reliability_picture, waterfall
from fintel.models.evaluation import Estimate
from fintel.reports.text import clean


def evaluation_page(found: Evaluated) -> str:
    """Everything that ``found`` holds: facts, pictures, tables."""
    pictures = [
        _precision_recall(found),
        _at(found, "Precision at K a month", "share of read accounts that is suspicious", lambda a: a.precision),
        _at(found, "Recall at K a month", "share of suspicious accounts that is read", lambda a: a.recall),
        _at(found, "Money at K a month", "share of labelled value in read accounts", lambda a: a.money),
        _steps(found),
        reliability_picture(
            "Calibration of 'both', bins of equal mass",
            [Point(f"{b.probability!r}", b.share, b.low, b.high) for b in found.calibration.bins],
        ),
        _typologies(found),
        *[_first_hits(found, name) for name in (RULES, BOTH) if name in found.first_hits],
    ]
    drawn = "".join(f"<p>{picture}</p>" for picture in pictures if picture)
    tables = "".join(_table(*table(found)) for table in TABLES)
    return chart_page(f"Evaluation of model {found.model_id}", facts(found), (), drawn + tables)


def _precision_recall(found: Evaluated) -> str:
    series: list[tuple[str, Sequence[tuple[float, float]]]] = [
        (name, found.queues[name].points) for name in found.queues
    ]
    return lines(
        f"Precision over recall, all months together (random order: {found.base_rate:.4f})",
        series, "recall", "precision",
    )  # fmt: skip


def _at(found: Evaluated, title: str, what: str, pick: Callable[[Any], Estimate | None]) -> str:
    rows = []
    for i, capacity in enumerate(found.capacities):
        picked = [(name, pick(queue.capacities[i])) for name, queue in found.queues.items()]
        points = [Point(name, e.value, e.low, e.high) for name, e in picked if e is not None]
        if points:
            rows.append((f"{capacity:,} accounts a month", points))
    return intervals(title, rows, f"{what}, 95 % interval") if rows else ""


def _steps(found: Evaluated) -> str:
    steps = {name: found.queues[name].steps for name in (RULES, BOTH) if name in found.queues}
    rows = []
    for i, step in enumerate(steps[BOTH]):
        points = [
            Point(name, those[i].precision.value, those[i].precision.low, those[i].precision.high)
            for name, those in steps.items()
        ]
        rows.append((f"accounts {step.first:,} to {step.last:,}", points))
    if not rows:
        return ""
    most = max(p.high for _, points in rows for p in points)
    top = next(t for t in (0.02, 0.04, 0.1, 0.2, 0.4, 1.0) if most <= t or t == 1.0)
    return intervals("Yield of the next analyst", rows, "precision of these accounts, 95 % interval", top=top)


def _typologies(found: Evaluated) -> str:
    told = {name: {t.typology: t for t in recalls} for name, recalls in found.typologies.items()}
    rows = [
        (
            f"{t.typology} ({t.accounts} accounts)",
            [Point(name, of[t.typology].recall, of[t.typology].low, of[t.typology].high) for name, of in told.items()],
        )
        for t in found.typologies[BOTH]
    ]
    return intervals(f"Recall by typology at {found.capacities[0]:,} accounts a month", rows, "recall, 95 % interval")


def _first_hits(found: Evaluated, name: str) -> str:
    hits = found.first_hits[name]
    if hits.money <= 0:
        return ""
    taken = [("moved before the first alert", hits.money_before), ("of accounts never found", hits.money_missed)]
    title = f"Money of {hits.subjects} suspicious accounts, {hits.found} of them found: queue of '{name}'"
    return waterfall(title, ("labelled value", hits.money), taken, "moved after the alert", found.base_currency)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    cells = ("".join(f"<td>{html.escape(clean(c, 300))}</td>" for c in row) for row in rows)
    body = "".join(f"<tr>{c}</tr>" for c in cells)
    return f"<h2>{html.escape(clean(title, 200))}</h2><table><tr>{head}</tr>{body}</table>"
