"""A backtest as plain values, and as one page with a picture."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from fintel.bench.backtest import Backtest, Part, Quality, Tested
from fintel.bench.charts import chart_page, drawing, drawing_parts, share_chart
from fintel.bench.intervals import Share
from fintel.bench.known import CLEARED, SUSPICIOUS, UNLABELLED, VICTIM
from fintel.bench.replay import Seen
from fintel.errors import MissingExtraError
from fintel.reports.text import clean
from fintel.rules.model import Library

#: Rules that are drawn: those with most alerted accounts.
DRAWN = 15
_WIDTH = 640


def as_dict(found: Backtest, library: Library, seen: Sequence[Seen] = (), feeds: Sequence[str] = ()) -> dict[str, Any]:
    """Everything as plain values; also the record that a promotion reads.

    ``feeds``: ids of the feeds that were looked at.
    """
    period, known = found.period, found.standings
    anything = known.suspicious or known.cleared or known.victims
    labels = {SUSPICIOUS: len(known.suspicious), VICTIM: len(known.victims), CLEARED: len(known.cleared)}
    return {
        "kind": "backtest",
        "from": period.since, "to": period.until, "days": period.days,
        "months": list(period.ends), "own_accounts": known.own, "feeds": list(feeds),
        "labels": labels if anything else UNLABELLED,
        "rules": [_rule_dict(r, library) for r in found.rules],
        "total": _tested_dict(found.total),
        "replay": [
            {"rule": s.name, "as_of": s.until, "subjects": s.subjects, "new": s.new, "hindsight": s.hindsight}
            for s in seen
        ],
        "notes": list(found.notes),
    }  # fmt: skip


def record_text(told: Mapping[str, Any]) -> str:
    """A record as JSON: what ``as_dict`` gives, days as ISO texts."""
    return json.dumps(told, default=datetime.isoformat, indent=2, allow_nan=False) + "\n"


def rests_on(library: Library, rule_id: str) -> dict[str, str]:
    """Fingerprints of everything that decides what a rule finds: its logic, its components', and the lists
    that any of them names."""
    rules = library.with_components((rule_id,)).rules
    texts = " ".join(
        text
        for r in rules
        for text in (r.anchor, r.when, *r.conditions.values(), *(s.where for s in r.steps.values()),
                     *(m.where or "" for m in r.measures.values()))
    )  # fmt: skip
    lists = {f"@{n}": library.list_fingerprint(n) for n in sorted(library.lists) if f"@{n}" in texts}
    return {**{r.id: r.fingerprint for r in rules}, **lists}


def _rule_dict(tested: Tested, library: Library) -> dict[str, Any]:
    rule = library[tested.name]
    about = {
        "rule": rule.id, "version": rule.version, "status": rule.status, "role": rule.role,
        "typology": rule.typology, "logic": rule.fingerprint, "rests_on": rests_on(library, rule.id),
        "outcome": str(tested.outcome), "reason": tested.reason, "budget": tested.budget, "verdict": tested.verdict,
    }  # fmt: skip
    if not tested.told:
        return about
    overlaps = [{"rule": o.rule_id, "shared": o.shared, "jaccard": o.jaccard} for o in tested.overlaps]
    return {**about, **_tested_dict(tested), "alone": tested.alone, "overlaps": overlaps}


def _tested_dict(tested: Tested) -> dict[str, Any]:
    quality = tested.quality
    assert quality is not None  # the rule could see
    return {
        "hits": tested.hits, "episodes": tested.episodes, "subjects": tested.subjects,
        "subjects_by_month": list(tested.months), "subjects_a_month": tested.monthly,
        "suspicious": quality.suspicious, "victims": quality.victims, "cleared": quality.cleared,
        "unlabelled": quality.unlabelled,
        "precision": _share(quality.precision), "precision_floor": _share(quality.floor),
        "recall": _share(quality.recall),
        "false_alarms_per_10000_and_30_days": tested.rate,
        "segments": [_part(p) for p in tested.segments], "jurisdictions": [_part(p) for p in tested.jurisdictions],
    }  # fmt: skip


def _part(part: Part) -> dict[str, Any]:
    shown = part.precision
    return {
        "group": part.name, "own_accounts": part.own, "subjects": part.subjects,
        "precision": UNLABELLED if shown is None else _share(shown.shown),
        "fallback": None if shown is None else shown.fallback or None,
        "false_alarms_per_10000_and_30_days": part.rate,
    }  # fmt: skip


def _share(share: Share | None) -> Any:
    return UNLABELLED if share is None or not share.of else share.as_dict()


def told(share: Share | None) -> str:
    """A share with its interval, or the word that stands for none."""
    return UNLABELLED if share is None or not share.of else str(share)


def labels_told(quality: Quality) -> str:
    """How the alerted accounts are labelled, in words."""
    counts = ((quality.suspicious, SUSPICIOUS), (quality.victims, "victims"), (quality.cleared, CLEARED))
    known = [f"{n:,} {word}" for n, word in counts if n]
    return ", ".join([*known, f"{quality.unlabelled:,} {UNLABELLED}"])


# -- the page


def backtest_page(found: Backtest) -> tuple[str, str]:
    """The page, and why it has no picture (empty where it has one).

    The picture needs Altair and its scripts; where they are not installed, the page says so and has the
    tables alone.
    """
    period = found.period
    facts = [
        f"{period.since:%Y-%m-%d} to {period.until:%Y-%m-%d}: {period.days:.0f} days, "
        f"{found.standings.own:,} own accounts, {len(found.rules):,} rules.",
        *(f"{note[:1].upper()}{note[1:]}." for note in found.notes),
    ]
    lacking = ""
    scripts: Sequence[str] = ()
    try:
        alt, package = drawing_parts()
    except MissingExtraError as error:
        lacking = f"no picture: {error} ({error.hint})"
        facts.append(f"{lacking[:1].upper()}{lacking[1:]}.")
    else:
        scripts = drawing(_picture(alt, found), package)
    return chart_page("Backtest of rules", facts, scripts, _table(found)), lacking


def _picture(alt: Any, found: Backtest) -> dict[str, Any]:
    seeing = sorted((r for r in found.rules if r.told), key=lambda r: (-r.subjects, r.name))[:DRAWN]
    ends = [f"{end:%Y-%m-%d}" for end in found.period.ends]
    shown = [*([found.total] if len(found.rules) > 1 else []), *seeing]
    monthly = [
        {"rule": clean(r.name, 60), "month": end, "accounts": count}
        for r in shown
        for end, count in zip(ends, r.months, strict=True)
    ]
    base = alt.Chart(alt.Data(values=monthly)).encode(
        x=alt.X("month:O", title="30 days up to", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("rule:N", title=None, sort=None, axis=alt.Axis(labelLimit=400)),
    )
    # several rules in one plot of lines cannot be told apart; a number in each field can be read
    colour = alt.Color("accounts:Q", scale=alt.Scale(scheme="blues"), title="alerted accounts")
    dark = alt.condition(f"datum.accounts > {max((n for r in shown for n in r.months), default=0) / 2}",
                         alt.value("white"), alt.value("black"))  # fmt: skip
    cells = base.mark_rect().encode(color=colour) + base.mark_text().encode(text="accounts:Q", color=dark)
    parts = [cells.properties(width=_WIDTH, title="Alerted accounts a month")]
    told_of = (
        ("Precision among labelled accounts", "precision", "share that is suspicious"),
        ("Recall in the period", "recall", "share that is found"),
    )
    for title, name, what in told_of:
        rows = [*_shares(shown, name)]
        if rows:
            parts.append(share_chart(alt, title, rows, what))
    chart: dict[str, Any] = alt.vconcat(*parts).resolve_scale(color="independent").to_dict()
    return chart


def _shares(rules: Iterable[Tested], name: str) -> Iterable[dict[str, Any]]:
    for tested in rules:
        share: Share | None = getattr(tested.quality, name)
        if share is not None and share.of:
            low, high = share.interval
            label = f"{clean(tested.name, 60)} ({share.hits} of {share.of})"
            yield {"group": label, "value": share.value, "low": low, "high": high, "basis": "own"}


_HEAD = (
    "rule", "hits", "episodes", "accounts", "a month", "alone", "labels of the accounts",
    "precision", "recall", "false per 10,000 in 30 days", "budget",
)  # fmt: skip


def _table(found: Backtest) -> str:
    rows = []
    for tested in (*found.rules, found.total):
        quality = tested.quality
        if quality is None:
            rows.append([tested.name, f"{tested.outcome}: {tested.reason}", *("" for _ in _HEAD[2:])])
            continue
        rows.append(
            [tested.name, f"{tested.hits:,}", f"{tested.episodes:,}", f"{tested.subjects:,}", f"{tested.monthly:.1f}",
             f"{tested.alone:,}" if tested is not found.total else "", labels_told(quality), told(quality.precision),
             told(quality.recall), f"{tested.rate:.2f}", _budget(tested)]
        )  # fmt: skip
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    cells = ("".join(f"<td>{html.escape(clean(c, 300))}</td>" for c in row) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{c}</tr>' for c in cells)}</table>"


def _budget(tested: Tested) -> str:
    return "" if tested.budget is None else f"{tested.verdict} {tested.budget:g}"
