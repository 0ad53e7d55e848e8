"""Pictures of an evaluation as SVG text: no script, no library, nothing is told by colour alone.

Pure functions from values to strings. Every text is escaped: names come from feeds and models.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from fintel.reports.text import clean

#: Colour, dash and mark of each series by name, and of any other.
_STYLES = {
    "rules": ("#b03a2e", "6 3", "square"),
    "model": ("#9aa5b1", "2 3", "diamond"),
    "both": ("#1f4e79", "", "circle"),
    "champion": ("#5b7f3a", "8 2 2 2", "cross"),
}
_OTHER = ("#222", "1 2", "circle")
_RED, _GREY, _BLUE = (_STYLES[name][0] for name in ("rules", "model", "both"))
_INK, _SOFT, _LINE = "#222", "#5c6773", "#d5dae0"
WIDTH, HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 130, 34, 44


@dataclass(frozen=True)
class Point:
    """A value with its interval; ``name`` is the series it belongs to."""

    name: str
    value: float
    low: float
    high: float


def lines(title: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]], across: str, up: str) -> str:
    """Lines over 0 to 1 both ways; a step stands until the next point (precision over recall)."""
    body = [*_grid(across, up), *_ticks(horizontal=True), *_ticks(horizontal=False)]
    for number, (name, points) in enumerate(series):
        colour, dash, _ = _STYLES.get(name, _OTHER)
        path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
        body.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}" points="{path}"/>'
        )
        body += _key(number, name)
    return _svg(WIDTH, HEIGHT, title, body)


def intervals(title: str, rows: Sequence[tuple[str, Sequence[Point]]], what: str, *, top: float = 1.0) -> str:
    """Values with their intervals, a row a label and series; from 0 to ``top``."""
    names = list(dict.fromkeys(p.name for _, points in rows for p in points))
    left, right = 210, _RIGHT
    tall = _TOP + sum(14 * len(points) + 8 for _, points in rows) + _BOTTOM
    reach = WIDTH - left - right
    body = []
    for part in range(5):
        x = left + reach * part / 4
        body.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{tall - _BOTTOM}" stroke="{_LINE}"/>')
        body.append(_words(x, tall - _BOTTOM + 16, f"{top * part / 4:.3g}", "middle"))
    body.append(_words(left + reach / 2, tall - 8, what, "middle"))
    y = _TOP + 10.0
    for label, points in rows:
        body.append(_words(left - 10, y + 14 * (len(points) - 1) / 2 + 4, label, "end", _INK))
        for p in points:
            colour, _, mark = _STYLES.get(p.name, _OTHER)
            low, at, high = (left + reach * min(max(v / top, 0.0), 1.0) for v in (p.low, p.value, p.high))
            told = html.escape(clean(f"{label}, {p.name}: {p.value:.3f} [{p.low:.3f}, {p.high:.3f}]", 200))
            bar = _rule(low, y, high, y, colour)
            body.append(f"<g><title>{told}</title>{bar}{_mark(mark, at, y, colour)}</g>")
            y += 14
        y += 8
    for number, name in enumerate(names):
        body += _key(number, name)
    return _svg(WIDTH, tall, title, body)


def reliability_picture(title: str, bins: Sequence[Point]) -> str:
    """Share over probability, both on logarithmic scales: a bin's name is unused, ``value`` its share, and its
    probability is what ``name`` holds as text. Shares of 0 stand on the lower edge."""
    pairs = [(float(p.name), p) for p in bins]
    smallest = min([x for x, _ in pairs if x > 0] + [p.value for _, p in pairs if p.value > 0] + [0.1])
    floor = max(-6, math.floor(math.log10(smallest)))

    def place(value: float) -> float:
        return 1 - max(math.log10(max(value, 10.0**floor)), floor) / floor

    body = _grid("probability told (mean of a bin)", "share that is suspicious")
    for power in range(floor, 1):
        at, text = place(10.0**power), f"{10.0**power:g}"
        body += [_words(_x(at), HEIGHT - _BOTTOM + 16, text, "middle"), _words(_LEFT - 8, _y(at) + 4, text, "end")]
    body.append(_rule(_x(0), _y(0), _x(1), _y(1), _SOFT, "4 4"))
    colour = _BLUE
    for probability, p in pairs:
        x = _x(place(probability))
        told = html.escape(f"told {probability:.5f}, came true {p.value:.5f} [{p.low:.5f}, {p.high:.5f}]")
        low, at, high = (_y(place(v)) for v in (p.low, p.value, p.high))
        bar = _rule(x, low, x, high, colour)
        body.append(f"<g><title>{told}</title>{bar}{_mark('circle', x, at, colour)}</g>")
    return _svg(WIDTH, HEIGHT, title, body)


def waterfall(title: str, whole: tuple[str, float], taken: Sequence[tuple[str, float]], left: str, unit: str) -> str:
    """A whole, what is taken from it step by step, and what is left."""
    rest = whole[1]
    bars = [(whole[0], 0.0, whole[1], _GREY)]
    for label, value in taken:
        bars.append((label, max(rest - value, 0.0), rest, _RED))
        rest = max(rest - value, 0.0)
    bars.append((left, 0.0, rest, _BLUE))
    start, reach, tall = 210, WIDTH - 210 - _RIGHT, _TOP + 34 * len(bars) + 16
    body = []
    for number, (label, low, high, colour) in enumerate(bars):
        y = _TOP + 34 * number
        x, width = start + reach * low / (whole[1] or 1), reach * (high - low) / (whole[1] or 1)
        body.append(_words(start - 10, y + 15, label, "end", _INK))
        body.append(f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="22" fill="{colour}"/>')
        body.append(_words(x + max(width, 1) + 6, y + 15, f"{high - low:,.0f} {unit}", "start"))
    return _svg(WIDTH, tall, title, body)


def _grid(across: str, up: str) -> list[str]:
    return [
        f'<rect x="{_LEFT}" y="{_TOP}" width="{WIDTH - _LEFT - _RIGHT}" height="{HEIGHT - _TOP - _BOTTOM}" '
        f'fill="none" stroke="{_LINE}"/>',
        _words((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, across, "middle"),
        f'<g transform="rotate(-90 14 {HEIGHT / 2:.0f})">{_words(14, HEIGHT / 2, up, "middle")}</g>',
    ]


def _ticks(*, horizontal: bool) -> list[str]:
    values = (0.0, 0.25, 0.5, 0.75, 1.0)
    if horizontal:
        return [_words(_x(v), HEIGHT - _BOTTOM + 16, f"{v:g}", "middle") for v in values]
    return [_words(_LEFT - 8, _y(v) + 4, f"{v:g}", "end") for v in values]


def _x(share: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * share


def _y(share: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share


def _key(number: int, name: str) -> list[str]:
    colour, dash, mark = _STYLES.get(name, _OTHER)
    x, y = WIDTH - _RIGHT + 12, _TOP + 12 + 18 * number
    return [
        _rule(x, y, x + 26, y, colour, dash),
        _mark(mark, x + 13, y, colour),
        _words(x + 32, y + 4, name, "start", _INK),
    ]


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{dash}"/>'
    )


def _mark(kind: str, x: float, y: float, colour: str) -> str:
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    if kind == "square":
        return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{colour}"/>'
    if kind == "diamond":
        return f'<path d="M{x:.1f} {y - 5:.1f}l5 5-5 5-5-5z" fill="{colour}"/>'
    return f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0-8l-8 8" stroke="{colour}" stroke-width="2"/>'


def _words(x: float, y: float, text: str, anchor: str, colour: str = _SOFT) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{html.escape(clean(text, 60))}</text>'


def _svg(width: int, height: int, title: str, body: Sequence[str]) -> str:
    name = html.escape(clean(title, 120), quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{name}" font-family="sans-serif" font-size="12"><title>{name}</title>'
        f'<text x="0" y="16" font-size="14" font-weight="bold" fill="{_INK}">{name}</text>{"".join(body)}</svg>'
    )
