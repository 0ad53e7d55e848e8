"""Forms beyond plain windows, against plain Python: what lies between entries, matches, steps, the other side, peers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_windows import HOUR, MASKS, payments

from fintel.engine.arrays import load, order_by_time
from fintel.engine.partition import Measure, Step, partition
from fintel.features.entries import entries

PLACES = {"atm": (14.6, 121.0), "branch": (52.5, 13.4)}
KNOWN, IN, ATM, BIG = (["all", "in", "atm", "big", "known"].index(n) for n in ("known", "in", "atm", "big"))
WITH_CHANNEL = 5


@dataclass(frozen=True)
class Row:
    """An entry as plain Python sees it."""

    index: int
    key: tuple[Any, ...]
    t: int
    amount: int | None
    values: dict[str, Any]
    masks: tuple[bool, ...]


def world(seed: int, rows: int) -> tuple[Any, list[Row]]:
    frame = payments(seed, rows).with_columns(
        place_latitude=pl.col("channel").replace_strict({k: v[0] for k, v in PLACES.items()}, default=None),
        place_longitude=pl.col("channel").replace_strict({k: v[1] for k, v in PLACES.items()}, default=None),
    )
    lazy = frame.lazy().with_row_index("row")
    seen = entries({"transactions": lazy}, row="row")
    texts = [*MASKS.values(), "channel is not null"]
    data = load(
        seen, order_by_time(lazy, "row"),
        masks=[pl.sql_expr(m) if m != "true" else pl.lit(value=True) for m in texts],
        values=["amount_base", "place_latitude", "place_longitude"],
        codes=["account_id", "counterparty_id", "channel"],
    )  # fmt: skip
    table = seen.collect()
    plain = []
    by_place = {(int(data.row[i]), int(data.side[i])): i for i in range(len(data))}
    told = {(r["row"], int(r["direction"] == "out")): r for r in table.iter_rows(named=True)}
    for place in np.asarray(data.order):
        row = told[int(data.row[place]), int(data.side[place])]
        flags = (
            True, row["direction"] == "in", row["channel"] == "atm", (row["amount_base"] or 0) >= 20000,
            row["amount_base"] is not None, row["channel"] is not None,
        )  # fmt: skip
        cents = None if row["amount_base"] is None else round(row["amount_base"] * 100)
        instant = round(row["booked_at"].timestamp() * 1e6)
        plain.append(Row(int(place), (row["account_id"],), instant, cents, row, flags))
    assert len(by_place) == len(plain)
    return data, plain


def select(rows: list[Row], selection: int | Step) -> list[Row]:
    if isinstance(selection, int):
        return [r for r in rows if r.masks[selection]]
    before = select(rows, selection.after)
    found = []
    for place, row in enumerate(rows):
        if not row.masks[selection.mask]:
            continue
        earlier = [
            b for b in before
            if rows.index(b) < place and b.key == row.key and row.t - selection.span < b.t <= row.t
            and matches(row, b, selection.same)
        ]  # fmt: skip
        if len(earlier) >= selection.at_least:
            found.append(row)
    return found


def matches(anchor: Row, other: Row, same: tuple[tuple[str, str], ...]) -> bool:
    return all(anchor.values[h] is not None and anchor.values[h] == other.values[t] for h, t in same)


def window(rows: list[Row], anchor: Row, m: Measure) -> list[Row]:
    place = rows.index(anchor)
    lo, hi = anchor.t - m.offset - m.span, anchor.t - m.offset
    return [
        r for r in select(rows, m.mask)
        if rows.index(r) <= place and r.key == anchor.key and lo < r.t <= hi and matches(anchor, r, m.same)
    ]  # fmt: skip


def distance(a: Row, b: Row) -> float:
    (y1, x1), (y2, x2) = (
        (math.radians(r.values["place_latitude"]), math.radians(r.values["place_longitude"])) for r in (a, b)
    )
    h = math.sin((y2 - y1) / 2) ** 2 + math.cos(y1) * math.cos(y2) * math.sin((x2 - x1) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(h))


def numbers(found: list[Row], column: str) -> list[float]:
    if column == "gap":
        return [(b.t - a.t) / 86_400_000_000 for a, b in zip(found, found[1:], strict=False)]
    if column == "leg_km":
        return [distance(a, b) for a, b in zip(found, found[1:], strict=False)]
    return [(r.amount or 0) / 100 for r in found]


def expected(rows: list[Row], anchor: Row, m: Measure) -> float:
    found = window(rows, anchor, m)
    if m.kind == "count":
        return len(found)
    if m.kind == "hops":
        codes = [r.values[m.column] for r in found]
        return sum(a != b for a, b in zip(codes, codes[1:], strict=False))
    if m.kind == "top":
        groups: dict[str, float] = {}
        for r in found:
            groups[r.values[m.column]] = groups.get(r.values[m.column], 0) + (1 if not m.of else (r.amount or 0) / 100)
        return max(groups.values(), default=0)
    values = numbers(found, m.column)
    if m.kind == "growth":
        half = len(values) // 2
        first, last = sum(values[:half]), sum(values[len(values) - half :])
        return last / first if half and first > 0 else math.nan
    if m.kind == "rising":
        steps = [np.sign(b - a) for a, b in zip(values, values[1:], strict=False)]
        return float(sum(steps)) / len(steps) if steps else math.nan
    simple = {"sum": sum, "min": min, "max": max, "mean": lambda v: sum(v) / len(v)}[m.kind]
    return float(simple(values)) if values or m.kind == "sum" else math.nan


@st.composite
def measures(draw: st.DrawFn) -> Measure:
    kind, column, mask = draw(
        st.sampled_from(
            [
                ("growth", "amount_base", KNOWN),
                ("rising", "amount_base", KNOWN),
                ("growth", "gap", ATM),
                ("mean", "gap", IN),
                ("max", "gap", KNOWN),
                ("sum", "gap", BIG),
                ("rising", "gap", IN),
                ("sum", "leg_km", WITH_CHANNEL),
                ("max", "leg_km", WITH_CHANNEL),
                ("hops", "channel", WITH_CHANNEL),
                ("top", "channel", WITH_CHANNEL),
                ("count", "*", ATM),
                ("min", "amount_base", KNOWN),
            ]
        )  # fmt: skip
    )
    same = draw(st.sampled_from([(), (), (("channel", "channel"),), (("counterparty_id", "counterparty_id"),)]))
    of = "amount_base" if kind == "top" and draw(st.booleans()) else ""
    selection: int | Step = mask
    if draw(st.booleans()):
        step = Step(ATM, IN, draw(st.integers(1, 20)) * HOUR, draw(st.integers(1, 2)))
        linked = (("channel", "channel"),) if draw(st.booleans()) else ()
        selection = Step(mask, step if draw(st.booleans()) else IN, 15 * HOUR, 1, linked)
    return Measure(
        kind, column, selection, draw(st.integers(1, 50)) * HOUR, draw(st.sampled_from([0, 0, 3])) * HOUR, same, of
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 45), m=measures(), anchor=st.sampled_from([KNOWN, IN, ATM]))
def test_forms_equal_plain_python(seed: int, rows: int, m: Measure, anchor: int) -> None:
    data, plain = world(seed, rows)
    by_index = {r.index: r for r in plain}
    compared = 0
    for piece in partition(data, ["account_id"]):
        anchors = piece.anchors(anchor)
        values = piece.measure(m, anchor)
        for place, entry in enumerate(piece.rows[anchors].tolist()):
            wanted = expected(plain, by_index[entry], m)
            got = float(values[place])
            assert (math.isnan(got) and math.isnan(wanted)) or got == pytest.approx(wanted, rel=1e-9, abs=2e-3), (
                m,
                entry,
            )
            compared += 1
    assert compared or not any(r.masks[anchor] for r in plain)


def test_evidence_of_a_window_is_what_was_counted() -> None:
    data, _ = world(5, 60)
    m = Measure("count", "*", IN, 30 * HOUR, 0, (("counterparty_id", "counterparty_id"),))
    for piece in partition(data, ["account_id"]):
        anchors = piece.anchors(KNOWN)
        window_ = piece.window(m.mask, KNOWN, m.span, m.offset, m.same)
        rows, kept, counts = window_.entries_of(np.arange(anchors.size), 1_000)
        assert kept.tolist() == piece.measure(m, KNOWN).tolist() == counts.tolist()
        flags = piece.mask(IN)
        assert flags[rows].all()
        few, some, all_of_them = window_.entries_of(np.arange(anchors.size), 1)
        assert some.tolist() == np.minimum(counts, 1).tolist() and all_of_them.tolist() == counts.tolist()
        ends = np.cumsum(kept)
        assert few.tolist() == [int(rows[e - 1]) for e, k in zip(ends, kept, strict=True) if k]
