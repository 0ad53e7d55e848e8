"""Pictures of a card's figures: plain SVG, the same bytes for the same figures, nothing fetched and nothing run."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from fintel.models.evaluation import Estimate, Evaluation

_LEFT, _WIDTH, _ROW, _TOP = 190, 420, 26, 40


def interval_chart(title: str, rows: Sequence[tuple[str, Estimate]]) -> str:
    """Values between 0 and 1 with their intervals, one below the other, as an SVG element."""
    height = _TOP + _ROW * len(rows) + 30
    total = _LEFT + _WIDTH + 90
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {height}" width="{total}" height="{height}" '
        f'role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<text x="0" y="16" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    bottom = _TOP + _ROW * len(rows)
    for tenth in (0, 2, 4, 6, 8, 10):
        x = _LEFT + _WIDTH * tenth / 10
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#555">{tenth / 10:g}</text>')
    for number, (name, value) in enumerate(rows):
        y = _TOP + _ROW * number + 6
        low, middle, high = (_LEFT + _WIDTH * min(max(v, 0.0), 1.0) for v in (value.low, value.value, value.high))
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>',
            f'<line x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" stroke="#1f4e79" stroke-width="3"/>',
            f'<circle cx="{middle:.1f}" cy="{y}" r="5" fill="#1f4e79"/>',
            f'<text x="{_LEFT + _WIDTH + 8}" y="{y + 4}">{value.value:.3f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def evaluation_charts(evaluation: Evaluation) -> dict[str, str]:
    """``average-precision.svg`` and, at the first budget, ``at-budget.svg``, of every ranking in a card."""
    ways = evaluation.rankings.items()
    charts = {
        "average-precision.svg": interval_chart(
            "Average precision, 95 % interval", [(name, way.average_precision) for name, way in ways]
        )
    }
    if all(way.budgets for _, way in ways):
        size = next(way.budgets[0].budget for _, way in ways)
        rows = [(f"{name}: precision", way.budgets[0].precision) for name, way in ways]
        rows += [(f"{name}: recall", way.budgets[0].recall) for name, way in ways]
        charts["at-budget.svg"] = interval_chart(f"The first {size:,} accounts, 95 % interval", rows)
    return charts
