"""Small pictures as SVG text: payments over time, and how reasons add up to a score.

Pure functions from values to strings, without a plotting library. Colours follow the reader's light
or dark setting; nothing is told by colour alone (in stands above the line and out below, evidence is
filled and context hollow). Every text is escaped: names come from strangers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from html import escape
from typing import Protocol

from fintel.errors import ReportError
from fintel.reports.text import clean

#: The style of every picture; a page that embeds one allows it by its hash.
STYLE = """
svg.fintel{font:12px system-ui,sans-serif;--ink:#1d2530;--soft:#5c6773;--line:#c9d0d8;--in:#1767b3;--out:#b4530a;--sum:#5c6773;background:transparent}
svg.fintel text{fill:var(--ink)}svg.fintel .soft{fill:var(--soft)}svg.fintel .axis{stroke:var(--line);stroke-width:1}
svg.fintel .in{stroke:var(--in)}svg.fintel .out{stroke:var(--out)}svg.fintel .in.full,svg.fintel .up{fill:var(--in)}
svg.fintel .out.full,svg.fintel .down{fill:var(--out)}svg.fintel .hollow{fill:none;opacity:.7}svg.fintel .total{fill:var(--sum)}
svg.fintel .stem{stroke-width:1.5}svg.fintel .hollow .stem{stroke-width:.8}
@media (prefers-color-scheme:dark){svg.fintel{--ink:#e8ecf1;--soft:#9aa7b4;--line:#3a444f;--in:#6db3f2;--out:#f0a35e;--sum:#9aa7b4}}
"""  # noqa: E501

MAX_MARKS = 400
MAX_STEPS = 14


class Payment(Protocol):
    """What ``timeline`` needs of a payment; ``CaseTransaction`` has it."""

    @property
    def day(self) -> date: ...
    @property
    def direction(self) -> str: ...
    @property
    def amount(self) -> Decimal: ...
    @property
    def amount_base(self) -> Decimal | None: ...
    @property
    def evidence(self) -> bool: ...


class Addend(Protocol):
    """What ``waterfall`` needs of a reason; ``Reason`` and ``CaseReason`` have it."""

    @property
    def text(self) -> str: ...
    @property
    def bits(self) -> float: ...


@dataclass(frozen=True, slots=True)
class _Mark:
    day: date
    direction: str
    evidence: bool
    value: float
    payments: int


def timeline(transactions: Iterable[Payment], currency: str, *, width: int = 760) -> str:
    """Amounts over time: in above the line, out below, evidence filled.

    Payments of one day, direction and kind are one mark; when there are more than ``MAX_MARKS`` of
    these, days are joined into equal spans. Payments without a value in ``currency`` are counted in
    the caption and not drawn.
    """
    rows = list(transactions)
    valued = [t for t in rows if t.amount_base is not None]
    title = f"Payments over time, {clean(currency, 3)}"
    if not valued:
        return _svg(width, 60, title, "No payment has a value.", [_words(10, 35, "No payment has a value.")])
    marks, span = _marks(valued)
    first, last = min(t.day for t in valued), max(t.day for t in valued)
    days = max((last - first).days, 1)
    top = max(m.value for m in marks) or 1.0
    left, right, height = 70, 16, 260
    middle, reach = 130.0, 96.0
    body: list[str] = [f'<line class="axis" x1="{left}" y1="{middle:g}" x2="{width - right}" y2="{middle:g}"/>']
    for share in (1.0, 0.5):
        for sign in (-1, 1):
            # Square roots: one large payment must not flatten the small ones that matter here.
            y = middle + sign * reach * math.sqrt(share)
            body.append(
                f'<line class="axis" stroke-dasharray="2 4" x1="{left}" y1="{y:.1f}" '
                f'x2="{width - right}" y2="{y:.1f}"/>'
            )
            body.append(_words(left - 8, y + 4, _short(share * top), "end", "soft"))
    for label, y in (("in", middle - 4), ("out", middle + 14)):
        body.append(_words(left - 8, y, label, "end"))
    for m in sorted(marks, key=lambda m: m.evidence):
        x = left + (width - left - right) * ((m.day - first).days / days if last > first else 0.5)
        sign = -1 if m.direction == "in" else 1
        y = middle + sign * reach * math.sqrt(m.value / top)
        kind = f"{'in' if m.direction == 'in' else 'out'} {'full' if m.evidence else 'hollow'}"
        radius = min(3.0 + math.log2(m.payments), 8.0)
        what = f"{m.day.isoformat()}: {m.payments} {m.direction}, {m.value:,.2f} {clean(currency, 3)}"
        what += " (evidence)" if m.evidence else ""
        body.append(
            f'<g class="{kind}"><title>{escape(what)}</title>'
            f'<line class="stem" x1="{x:.1f}" y1="{middle:g}" x2="{x:.1f}" y2="{y:.1f}"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/></g>'
        )
    body += _day_labels(first, last, left, width - right, height - 8)
    caption = f"Filled: evidence. Hollow: other payments. Heights are square roots; a mark is {span}."
    if len(valued) < len(rows):
        caption += f" {len(rows) - len(valued)} payments without a value are not drawn."
    body.append(_words(left, 16, caption, "start", "soft"))
    inflow = sum(m.value for m in marks if m.direction == "in")
    outflow = sum(m.value for m in marks if m.direction != "in")
    told = f"{len(valued)} payments from {first} to {last}: {inflow:,.2f} in, {outflow:,.2f} out."
    return _svg(width, height, title, told, body)


def _marks(rows: Sequence[Payment]) -> tuple[list[_Mark], str]:
    first, last = min(t.day for t in rows), max(t.day for t in rows)
    step = 1
    while True:
        sums: dict[tuple[int, str, bool], tuple[float, int]] = {}
        for t in rows:
            key = ((t.day - first).days // step, t.direction, t.evidence)
            value, n = sums.get(key, (0.0, 0))
            sums[key] = (value + float(t.amount_base or 0), n + 1)
        if len(sums) <= MAX_MARKS or step > (last - first).days:
            break
        step *= 2
    found = [_Mark(first + timedelta(days=k * step), d, e, v, n) for (k, d, e), (v, n) in sums.items()]
    return found, "one day" if step == 1 else f"{step} days"


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _day_labels(first: date, last: date, left: float, right: float, y: float) -> list[str]:
    if first == last:
        return [_words((left + right) / 2, y, first.isoformat(), "middle", "soft")]
    ends = [_words(left, y, first.isoformat(), "start", "soft"), _words(right, y, last.isoformat(), "end", "soft")]
    if (last - first).days >= 2:
        half = first + (last - first) / 2
        ends.append(_words((left + right) / 2, y, half.isoformat(), "middle", "soft"))
    return ends


def _words(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(clean(text))}</text>'


def _svg(width: int, height: int, title: str, told: str, body: Sequence[str]) -> str:
    return (
        f'<svg class="fintel" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title, quote=True)}">'
        f"<title>{escape(title)}</title><desc>{escape(told)}</desc><style>{STYLE}</style>" + "".join(body) + "</svg>"
    )


def _steps(prior: float, reasons: Sequence[Addend], score: float) -> list[tuple[str, float]]:
    """Label and bits of each step; many small ones are one. Raises when they do not add up."""
    total = prior + math.fsum(r.bits for r in reasons)
    if not math.isclose(total, score, abs_tol=1e-6):
        raise ReportError(f"reasons do not add up: {total:.6f} bits, score {score:.6f}")
    steps = [(clean(r.text) or "(no words)", r.bits) for r in reasons]
    if len(steps) > MAX_STEPS:
        rest = steps[MAX_STEPS - 1 :]
        steps = [*steps[: MAX_STEPS - 1], (f"{len(rest)} smaller reasons", math.fsum(b for _, b in rest))]
    return steps


def waterfall(prior: float, reasons: Sequence[Addend], score: float, *, width: int = 760) -> str:
    """How prior and reasons add up to the score, in bits (log2 odds).

    Raises ReportError when they do not.
    """
    steps = _steps(prior, reasons, score)
    rows = [("Where everybody starts", prior, True), *((t, b, False) for t, b in steps), ("Score", score, True)]
    at, edges = 0.0, [0.0]
    bars: list[tuple[float, float]] = []
    for _, bits, whole in rows:
        start = 0.0 if whole else at
        at = bits if whole else at + bits
        bars.append((start, at))
        edges += [start, at]
    low, high = min(edges), max(edges)
    scale = (width - 400) / ((high - low) or 1.0)
    height = 26 * len(rows) + 34

    def x_of(bits: float) -> float:
        return 330 + (bits - low) * scale

    body = [f'<line class="axis" x1="{x_of(0):.1f}" y1="8" x2="{x_of(0):.1f}" y2="{height - 26}"/>']
    for place, ((label, bits, whole), (start, end)) in enumerate(zip(rows, bars, strict=True)):
        y = 10 + 26 * place
        left, right = sorted((x_of(start), x_of(end)))
        kind = "total" if whole else ("up" if bits >= 0 else "down")
        short = label if len(label) <= 46 else label[:45].rstrip() + "…"
        body.append(
            f"<g><title>{escape(f'{label}: {bits:+.2f} bits')}</title>"
            + _words(320, y + 14, short, "end")
            + f'<rect class="{kind}" x="{left:.1f}" y="{y + 2}" width="{max(right - left, 1):.1f}" height="15" rx="2"/>'
            + _words(right + 5, y + 14, f"{bits:+.2f}", "start", "soft")
            + "</g>"
        )
        if place + 1 < len(rows) - 1:
            body.append(f'<line class="axis" x1="{x_of(end):.1f}" y1="{y + 17}" x2="{x_of(end):.1f}" y2="{y + 28}"/>')
    body.append(_words(x_of(0), height - 10, "0 bits: even odds", "middle", "soft"))
    told = f"Prior {prior:+.2f}, " + ", ".join(f"{b:+.2f}" for _, b in steps) + f", score {score:+.2f} bits."
    return _svg(width, height, "How the reasons add up", told, body)


def waterfall_text(prior: float, reasons: Sequence[Addend], score: float, *, width: int = 80) -> str:
    """The same as plain text for a terminal, one line a step.

    Raises ReportError when the reasons do not add up.
    """
    steps = _steps(prior, reasons, score)
    rows = [("Where everybody starts", prior, True), *((t, b, False) for t, b in steps), ("Score", score, True)]
    bar = max(min(width // 3, 30), 10)
    room = max(width - bar - 12, 10)
    at, spans = 0.0, []
    for _, bits, whole in rows:
        start = 0.0 if whole else at
        at = bits if whole else at + bits
        spans.append((min(start, at), max(start, at)))
    low, high = min(s for s, _ in spans), max(e for _, e in spans)
    unit = bar / ((high - low) or 1.0)
    lines = []
    for (label, bits, whole), (start, end) in zip(rows, spans, strict=True):
        short = label if len(label) <= room else label[: room - 1] + "…"
        left = min(round((start - low) * unit), bar - 1)
        size = min(max(round((end - low) * unit) - left, 1), bar - left)
        sign = "=" if whole else ("+" if bits >= 0 else "-")
        lines.append(f"{short:<{room}} {' ' * left}{sign * size}{' ' * (bar - left - size)} {bits:+9.2f}")
    return "\n".join(line.rstrip() for line in lines)
