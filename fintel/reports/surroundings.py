"""A picture of an account's surroundings as SVG: money goes from left to right, amounts on the lines, time as colour.

Lines run from early (blue) to late (orange); the day of the last payment stands on each line too, so that nothing is
told by colour alone. Accounts with a hit in the run have a double rim and a star, seeds of risk a diamond; a hub, and
those who are shown as one, say how many they are. Every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from html import escape

from fintel.reports.text import clean

STYLE = """
svg.around{font:12px system-ui,sans-serif;--ink:#1d2530;--soft:#5c6773;--line:#c9d0d8;--paper:#ffffff}
svg.around{background:var(--paper)}
svg.around text{fill:var(--ink)}svg.around .soft{fill:var(--soft)}
svg.around .node{fill:var(--paper);stroke:var(--ink);stroke-width:1.2}svg.around .centre{stroke-width:3}
svg.around .many{stroke-dasharray:3 3}svg.around .hit{fill:none;stroke:var(--ink);stroke-width:1.2}
svg.around .pay{fill:none}svg.around .halo{stroke:var(--paper);stroke-width:3;paint-order:stroke;stroke-linejoin:round}
@media (prefers-color-scheme:dark){svg.around{--ink:#e8ecf1;--soft:#9aa7b4;--line:#3a444f;--paper:#14181d}}
"""
_EARLY, _LATE = (45, 105, 190), (225, 110, 20)
_COLUMN, _ROW, _MARGIN = 250, 62, 120


@dataclass(frozen=True, slots=True)
class Node:
    """An account, or several shown as one. ``step``: column, 0 the account asked for; ``counterparties``: how many it
    has, or is."""

    name: str
    label: str
    step: int
    counterparties: int
    hub: bool
    group: bool
    behind: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """Payments from one node to another."""

    source: str
    target: str
    payments: int
    amount: Decimal
    first: datetime
    last: datetime


def surroundings(
    nodes: Sequence[Node],
    lines: Sequence[Line],
    *,
    title: str,
    currency: str,
    hits: Mapping[str, int],
    seeds: Collection[str],
) -> str:
    """The picture. ``hits``: how many rules hit each account; ``seeds``: accounts where risk starts."""
    places, width, height = _places(nodes)
    moments = [m for line in lines for m in (line.first, line.last)]
    early, late = (min(moments), max(moments)) if moments else (datetime.min, datetime.min)
    body = [_line(line, places, early, late, clean(currency, 3), k) for k, line in enumerate(lines)]
    body += [_node(node, *places[node.name], hits.get(node.name, 0), node.name in seeds) for node in nodes]
    if moments:
        body.append(_legend(early, late, width, height))
    told = f"{len(nodes)} nodes, {sum(line.payments for line in lines)} payments on {len(lines)} lines."
    title = clean(title, 200)
    return (
        f'<svg class="around" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(title, quote=True)}"><title>{escape(title)}</title>'
        f"<desc>{escape(told)}</desc><style>{STYLE}</style>" + "".join(body) + "</svg>"
    )


def _places(nodes: Sequence[Node]) -> tuple[dict[str, tuple[float, float]], int, int]:
    """Columns by step; in each, nodes in the order of those over which they were met. Width and height too."""
    columns: dict[int, list[Node]] = {}
    for node in nodes:
        columns.setdefault(node.step, []).append(node)
    rows = max(len(column) for column in columns.values())
    height = max(rows * _ROW, 220) + 70
    least, most = min(columns), max(columns)
    places: dict[str, tuple[float, float]] = {}
    for step in sorted(columns, key=abs):
        column = sorted(columns[step], key=lambda n: (places.get(n.behind or "", (0.0, 0.0))[1], n.group, n.name))
        gap = (height - 70) / len(column)
        for k, node in enumerate(column):
            places[node.name] = (_MARGIN + (step - least) * _COLUMN, 30 + gap * (k + 0.5))
    return places, 2 * _MARGIN + (most - least) * _COLUMN, height


def _line(
    line: Line, places: Mapping[str, tuple[float, float]], early: datetime, late: datetime, currency: str, k: int
) -> str:
    (x1, y1), (x2, y2) = places[line.source], places[line.target]
    share = (line.last - early) / (late - early) if late > early else 0.5
    colour = "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(_EARLY, _LATE, strict=True))
    wide = 1 + min(math.log10(1 + float(line.amount)) / 1.6, 4)
    length = math.hypot(x2 - x1, y2 - y1) or 1.0
    ux, uy = (x2 - x1) / length, (y2 - y1) / length
    x1, y1, x2, y2 = x1 + 15 * ux, y1 + 15 * uy, x2 - 17 * ux, y2 - 17 * uy
    # A bow to the right of the way, so that payments back do not lie on those forth.
    mx, my = (x1 + x2) / 2 - 22 * uy, (y1 + y2) / 2 + 22 * ux
    tx, ty = x2 - mx, y2 - my
    tip = math.hypot(tx, ty) or 1.0
    tx, ty = tx / tip, ty / tip
    left, right = (-9 * tx - 4 * ty, -9 * ty + 4 * tx), (-9 * tx + 4 * ty, -9 * ty - 4 * tx)
    head = " ".join(f"{x2 + dx:.1f},{y2 + dy:.1f}" for dx, dy in ((0.0, 0.0), left, right))
    times = f"{line.payments} × " if line.payments > 1 else ""
    words = f"{times}{_short(float(line.amount))} · {line.last:%m-%d}"
    span = f"{line.first:%Y-%m-%d %H:%M} to {line.last:%Y-%m-%d %H:%M}"
    full = f"{line.payments} payments, {line.amount:,.2f} {currency}, {span}"
    # Labels of lines that meet in one node would lie on each other in the middle: they stand at different shares.
    at = (0.36, 0.5, 0.64)[k % 3]
    lx = (1 - at) ** 2 * x1 + 2 * at * (1 - at) * mx + at**2 * x2
    ly = (1 - at) ** 2 * y1 + 2 * at * (1 - at) * my + at**2 * y2
    return (
        f'<g><title>{escape(full)}</title><path class="pay" stroke="{colour}" stroke-width="{wide:.1f}" '
        f'd="M{x1:.1f} {y1:.1f}Q{mx:.1f} {my:.1f} {x2:.1f} {y2:.1f}"/><polygon fill="{colour}" points="{head}"/>'
        f'<text class="halo" x="{lx:.1f}" y="{ly - 3:.1f}" text-anchor="middle" font-size="10">'
        f"{escape(words)}</text></g>"
    )


def _node(node: Node, x: float, y: float, hits: int, seed: bool) -> str:
    label = clean(node.label, 120)
    short = label if len(label) <= 26 else label[:25] + "…"
    told = label
    if node.group:
        told = f"{node.counterparties} accounts shown as one"
    elif node.hub:
        told += f": a hub with {node.counterparties} counterparties, not looked behind"
    else:
        told += f": {node.counterparties} counterparties"
    told += f"; {hits} rules hit" if hits else ""
    told += "; a seed of risk" if seed else ""
    kind = "node" + (" centre" if node.step == 0 else "") + (" many" if node.group or node.hub else "")
    size = 16 if node.hub or node.group else 12
    inside = f"{node.counterparties}" if node.hub or node.group else ""
    parts = [f"<g><title>{escape(told)}</title>"]
    if hits:
        parts.append(f'<circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="{size + 4}"/>')
    parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size}"/>')
    if inside:
        parts.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="10">{inside}</text>')
    marks = ("★" if hits else "") + ("◆" if seed else "")
    words = "others" if node.group else short
    parts.append(
        f'<text class="halo" x="{x:.1f}" y="{y + size + 14:.1f}" text-anchor="middle">'
        f"{escape(f'{marks} {words}'.strip())}</text></g>"
    )
    return "".join(parts)


def _legend(early: datetime, late: datetime, width: int, height: int) -> str:
    stops = 5
    cells = []
    for k in range(stops):
        share = k / (stops - 1)
        colour = "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(_EARLY, _LATE, strict=True))
        cells.append(
            f'<rect x="{width / 2 - 60 + 24 * k:.1f}" y="{height - 18}" width="24" height="8" fill="{colour}"/>'
        )
    return (
        "".join(cells)
        + f'<text class="soft" x="{width / 2 - 66:.1f}" y="{height - 10}" text-anchor="end">{early:%Y-%m-%d}</text>'
        + f'<text class="soft" x="{width / 2 + 66:.1f}" y="{height - 10}">{late:%Y-%m-%d}  ★ hit  ◆ seed</text>'
    )


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
