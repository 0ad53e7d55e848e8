"""The chart of a tuned rule: one HTML file that needs no network and no permission to evaluate code.

Altair makes the specification; the scripts that draw it come out of the package ``vl-convert-python``
and stand in the file. A content policy allows these scripts alone, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib
import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from fintel.bench.intervals import Group
from fintel.bench.review_sheet import BandYield
from fintel.bench.tuning import UNLABELLED, Choice, Tuned
from fintel.errors import MissingExtraError
from fintel.reports.text import clean

_VEGA_LITE = "6.4"
#: Settings drawn; beyond it every so-manieth is, the frontier apart.
MAX_POINTS = 4_000
_BLUE, _RED, _GREY = "#1f4e79", "#b03a2e", "#9aa5b1"
_WIDTH, _HEIGHT = 640, 320


def tuning_page(tuned: Tuned, bands: Sequence[BandYield] = ()) -> str:
    """The frontier with the current and the suggested setting, and yields with their intervals.

    Raises
    ------
    MissingExtraError: Altair or its scripts are not installed.
    """
    alt, scripts = drawing_parts()
    parts = [_frontier(alt, tuned)]
    chosen = tuned.suggested or tuned.current
    for title, groups in (("segment", chosen.segments), ("jurisdiction", chosen.jurisdictions)):
        if groups:
            parts.append(share_chart(alt, f"Yield by {title}, {_name(tuned)} setting", _group_rows(groups)))
    for line in dict.fromkeys(b.line for b in bands):
        rows = [_band_row(b) for b in bands if b.line == line]
        parts.append(share_chart(alt, f"Yield of reviewed accounts by distance from the {line} line", rows))
    chart = alt.vconcat(*parts).resolve_scale(color="independent", shape="independent")
    return chart_page(f"Tuning {tuned.swept[0].measured.rule.id}", _facts(tuned), drawing(chart.to_dict(), scripts))


def require_parts() -> None:
    """Raise ``MissingExtraError`` where the chart cannot be made."""
    drawing_parts()


def drawing_parts() -> tuple[Any, Any]:
    """Altair, and the package that brings the scripts; ``MissingExtraError`` where one is not installed."""
    return _part("altair"), _part("vl_convert")


def _part(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("bench", "the chart") from error


def _name(tuned: Tuned) -> str:
    return "suggested" if tuned.suggested else "current"


def _words(values: Any) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _frontier(alt: Any, tuned: Tuned) -> Any:
    table = tuned.table
    labelled = table["recall"].null_count() == 0
    height = "recall" if labelled else "accounts"
    step = -(-table.height // MAX_POINTS)
    drawn = table.filter(pl.col("frontier").fill_null(value=False) | (pl.col("setting") % step == 0))
    names = list(tuned.current.parameters)
    x = alt.X("alerts_month:Q", title="alerts a month")
    title = "recall of accounts known to be suspicious" if labelled else f"alerted accounts ({UNLABELLED})"
    y = alt.Y(f"{height}:Q", title=title, **({"scale": alt.Scale(domain=[0, 1])} if labelled else {}))
    tips = [alt.Tooltip(f"{n}:Q") for n in (*names, "alerts_month", "accounts", *(["recall"] if labelled else []))]
    rows = drawn.select(*names, "alerts_month", "accounts", *(["recall"] if labelled else []), "frontier").to_dicts()
    points = alt.Chart(alt.Data(values=rows))
    layers = [points.mark_circle(color=_GREY, opacity=0.45, size=22).encode(x=x, y=y, tooltip=tips)]
    if labelled:
        best = alt.Chart(alt.Data(values=[r for r in rows if r["frontier"]]))
        layers.append(best.mark_line(color=_BLUE, interpolate="step-after", point=True).encode(x=x, y=y, tooltip=tips))
    marked = [_mark(tuned.current, "current", labelled=labelled)]
    if tuned.suggested is not None:
        marked.append(_mark(tuned.suggested, "suggested", labelled=labelled))
    key = alt.Color("setting:N", title="setting", scale=alt.Scale(domain=["current", "suggested"], range=[_RED, _BLUE]))
    shape = alt.Shape("setting:N", scale=alt.Scale(domain=["current", "suggested"], range=["square", "diamond"]))
    layers.append(
        alt.Chart(alt.Data(values=marked))
        .mark_point(size=170, filled=True)
        .encode(x=x, y=y, color=key, shape=shape, tooltip=[alt.Tooltip("setting:N"), alt.Tooltip("values:N")])
    )
    heading = f"{table.height:,} settings" + (", the line joins the best for each number of alerts" if labelled else "")
    return alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT, title=heading)


def _mark(choice: Choice, name: str, *, labelled: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"setting": name, "alerts_month": choice.alerts_month, "values": _words(choice.parameters)}
    if labelled and choice.recall is not None:
        return {**row, "recall": choice.recall.value}
    return {**row, "accounts": choice.accounts}


def _group_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    rows = []
    for group in groups:
        low, high = group.shown.interval
        label = f"{clean(group.name, 40)} ({group.share.of})"
        rows.append({"group": label, "value": group.shown.value, "low": low, "high": high, "basis": _basis(group)})
    return rows


def _basis(group: Group) -> str:
    return "whole: too few here" if group.fallback else "own"


def _band_row(band: BandYield) -> dict[str, Any]:
    low, high = band.share.interval
    label = f"{band.side}, {band.band} ({band.share.of} of {band.population})"
    return {"group": label, "value": band.share.value, "low": low, "high": high, "basis": "own"}


def share_chart(alt: Any, title: str, rows: list[dict[str, Any]], what: str = "share that is suspicious") -> Any:
    """Shares with intervals: rows of ``group, value, low, high, basis``."""
    base = alt.Chart(alt.Data(values=rows))
    y = alt.Y("group:N", title=None, sort=None, axis=alt.Axis(labelLimit=400))
    colour = alt.Color(
        "basis:N", title=None, scale=alt.Scale(domain=["own", "whole: too few here"], range=[_BLUE, _GREY])
    )
    scale = alt.Scale(domain=[0, 1])
    tips = [alt.Tooltip("group:N"), *(alt.Tooltip(f"{n}:Q", format=".3f") for n in ("value", "low", "high"))]
    bars = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title=f"{what}, 95 % interval", scale=scale), x2="high:Q", y=y, color=colour
    )
    dots = base.mark_point(filled=True, size=70).encode(
        x=alt.X("value:Q", scale=scale), y=y, color=colour, tooltip=tips
    )
    return (bars + dots).properties(width=_WIDTH, title=title)


def _facts(tuned: Tuned) -> list[str]:
    rule, months = tuned.swept[0].measured.rule, tuned.swept[0].measured.months
    return [
        f"{clean(rule.title, 200)}. {len(tuned.table):,} settings, {months} months of 30 days.",
        _told("now", tuned.current),
        *([_told("suggested", tuned.suggested)] if tuned.suggested else []),
        f"Chosen by: {tuned.chosen_by}.",
        *(f"{note[:1].upper()}{note[1:]}." for note in tuned.notes),
    ]


def drawing(spec: dict[str, Any], scripts: Any) -> tuple[str, str]:
    """Two scripts that draw a chart into ``#chart``: the library, and the call with the data.

    Parameters
    ----------
    spec: of Vega-Lite, as Altair makes it; ``scripts``: the package that brings the library.
    """
    # inside <script> neither a tag nor a line end of JavaScript may come out of a text
    data = json.dumps(spec, ensure_ascii=True).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    library: str = scripts.javascript_bundle(vl_version=_VEGA_LITE)
    # 'ast' has Vega interpret its expressions instead of compiling them, which the policy forbids
    options = '{"actions":false,"ast":true,"renderer":"svg"}'
    draw = f'window.vegaEmbed("#chart",{data},{options});'
    return library.replace("</script", "<\\/script").replace("<!--", "<\\!--"), draw


def chart_page(title: str, facts: Sequence[str], scripts: Sequence[str], more: str = "") -> str:
    """One HTML page: title, facts as paragraphs, the chart that the scripts draw, ``more`` markup below it.

    Titles and facts may be hostile; scripts and markup are the caller's own.
    """
    hashes = " ".join(f"'sha256-{_digest(text)}'" for text in scripts) or "'none'"
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:"
    body = "".join(f"<p>{html.escape(clean(fact, 600))}</p>" for fact in facts)
    title = html.escape(clean(title, 120))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<style>body{font:15px/1.5 sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}"
        "table{border-collapse:collapse}td,th{padding:.15rem .6rem;text-align:left;border-bottom:1px solid #ddd}"
        "</style>"
        f'</head><body><h1>{title}</h1>{body}<div id="chart"></div>{more}'
        f"{''.join(f'<script>{text}</script>' for text in scripts)}</body></html>\n"
    )


def _told(name: str, choice: Choice) -> str:
    recall = UNLABELLED if choice.recall is None else f"recall {choice.recall}"
    return f"{name}: {_words(choice.parameters)}: {choice.alerts_month:.1f} alerts a month, {recall}"


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
