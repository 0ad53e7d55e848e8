"""Chains, pass-through, gather–scatter and ties against plain restatements of their definitions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import HOUR, hours, payments, run, same

from fintel.graph import kernels_flows
from fintel.graph.layout import Settings

LONG = (5, 9, 20)


def parts(cap=512, dwell=6, window=7):
    chosen = Settings(
        windows=tuple(hours(h) for h in LONG), meeting_windows=(hours(window),), cap=cap, dwell=hours(dwell)
    )
    return {part.name: part for part in kernels_flows.parts(chosen)}


def agrees(got, value):
    return np.isnan(got) if value is None else got == np.float32(value)


def check(part, rows, expected, nodes=6, unit=HOUR):
    columns, truncated = run(part, rows, nodes, unit=unit)
    assert not truncated.any()
    names = set()
    for e, values in enumerate(expected):
        for name, value in values.items():
            assert agrees(columns[name][e], value), (e, name, columns[name][e], value)
        names |= set(values)
    assert names == set(columns)


def self_transfer(part):
    return {c.name: 0 if c.kind == "count" else None for c in part.columns}


def kept(before, after, low=0.85, high=1.05):
    return before > 0 and after >= 0 and before * low <= after <= before * high


def chains(rows, part, dwell=6):
    links, told = {}, []
    for e, (u, v, t, x) in enumerate(rows):
        if u == v:
            told.append(self_transfer(part))
            continue
        into = [
            f
            for f in range(e)
            if rows[f][1] == u and rows[f][0] not in (u, v) and t - dwell <= rows[f][2] < t
        ]  # fmt: skip
        length, best = max(((links[f][0], f) for f in into if kept(rows[f][3], x)), default=(0, None))
        largest = max(into, key=lambda f: (rows[f][3], f), default=None)
        if largest is not None and not kept(rows[largest][3], x, 0.5, 0.99):
            largest = None
        begun = e if best is None else links[best][1]
        peels, peeled = (1, e) if largest is None else (links[largest][2] + 1, links[largest][3])
        links[e] = (length + 1, begun, peels, peeled)
        told.append(
            {
                "chain_payments": length + 1,
                "peel_payments": peels,
                "chain_retention": None if best is None else x / rows[begun][3],
                "chain_duration": None if best is None else 3600 * (t - rows[begun][2]),
                "chain_dwell": None if best is None else 3600 * (t - rows[best][2]),
                "peel_retention": None if largest is None else x / rows[peeled][3],
                "peel_duration": None if largest is None else 3600 * (t - rows[peeled][2]),
            }
        )
    return told


def passing(rows, part, dwell=6):
    """Each account's receipts as a list of (time, amount, left), oldest first."""
    receipts, told = {}, []
    for u, v, t, x in rows:
        if u == v:
            told.append(self_transfer(part))
            continue
        need, lain = max(x, 0), 0
        for receipt in receipts.get(u, []):
            if t - dwell <= receipt[0] < t:
                take = min(receipt[2], need)
                receipt[2] -= take
                need -= take
                lain += take * (t - receipt[0])
        if x >= 0:
            receipts.setdefault(v, []).append([t, x, x])

        def share(who, window, t=t):
            inside = [(got, left) for when, got, left in receipts.get(who, []) if when > t - window]
            got = sum(g for g, _ in inside)
            return Fraction(got - sum(left for _, left in inside), got) if got else None

        told.append(
            {
                "funded_share": (x - need) / x if x > 0 else None,
                "funded_dwell": 3600 * Fraction(lain, x - need) if x > 0 and x > need else None,
                **{f"source_passed_share_{w}h": share(u, w) for w in LONG},
                **{f"target_passed_share_{w}h": share(v, w) for w in LONG},
            }
        )
    return told


def gathered(rows, part, window=7):
    told = []
    for e, (u, v, t, _) in enumerate(rows):
        if u == v:
            told.append(self_transfer(part))
            continue
        best, passed = 0, None
        for moment in sorted({row[2] for row in rows}, reverse=True):
            before = [r for r in rows[:e] if r[1] == u != r[0] and t - window < r[2] < moment]
            since = [r for r in rows[: e + 1] if r[0] == u != r[1] and t - window < r[2] and moment <= r[2]]
            width = min(len({r[0] for r in before}), len({r[1] for r in since}))
            if width > best:
                best = width
                got = sum(max(r[3], 0) for r in before)
                passed = sum(max(r[3], 0) for r in since) / got if got else None
        told.append({"gather_scatter_width_7h": best, "gather_scatter_passed_7h": passed})
    return told


def ties(rows, part, windows=LONG, hour=1.0):
    day, told, new = 24 / hour, [], []
    for e, (u, v, t, _) in enumerate(rows):
        if u == v:
            told.append(self_transfer(part))
            continue
        forth = [r for r in rows[: e + 1] if r[:2] == (u, v)]
        back = [r for r in rows[:e] if r[:2] == (v, u) and r[2] < t]
        if not any(r[2] > t - 90 * day for r in forth[:-1]):
            new.append((u, v, t))
        longest = [sum(max(r[3], 0) for r in way if r[2] > t - windows[-1]) for way in (forth, back)]
        returned = {f"returned_payments_{w}h": sum(r[2] > t - w for r in back) for w in LONG}

        def burst(end, who, span, t=t):
            return sum(row[end] == who and row[2] > t - span * day for row in new)

        payees, payers = burst(0, u, 1), burst(1, v, 1)
        told.append(
            {
                **returned,
                "source_new_payees_1d": payees,
                "target_new_payers_1d": payers,
                "returned_balance_20h": min(longest) / max(longest)
                if max(longest) and any(r[2] > t - windows[-1] for r in back)
                else None,
                "relation_gap": 3600 * hour * (t - forth[-2][2]) if len(forth) > 1 else None,
                "source_new_burst": payees / (1 + (burst(0, u, 30) - payees) / 29),
                "target_new_burst": payers / (1 + (burst(1, v, 30) - payers) / 29),
            }
        )
    return told


RESTATED = {"chains": chains, "passing": passing, "gather_scatter_7h": gathered}


@pytest.mark.parametrize("name", RESTATED)
@settings(max_examples=300, deadline=None)
@given(rows=payments(most=40, hours=24))
def test_flows_equal_their_restatement(name, rows):
    part = parts()[name]
    check(part, rows, RESTATED[name](rows, part))


@settings(max_examples=300, deadline=None)
@given(payments(nodes=4, most=40, hours=40))
def test_ties_equal_their_restatement(rows):
    part = parts()["ties"]
    check(part, rows, ties(rows, part))


@settings(max_examples=200, deadline=None)
@given(payments(nodes=3, most=40, hours=300))
def test_ties_over_months_equal_their_restatement(rows):
    """Twelve hours to the step, so that the month and the ninety days matter; then no window sees a payment back."""
    part = parts()["ties"]
    shrunk = tuple(w / 12 for w in LONG)
    check(part, rows, [
        told | {name: sum(r[:2] == (v, u) and t - w < r[2] < t for r in rows[:e]) * (u != v)
                for name, w in zip([f"returned_payments_{w}h" for w in LONG], shrunk, strict=True)}
        for e, ((u, v, t, _), told) in enumerate(zip(rows, ties(rows, part, shrunk, 12.0), strict=True))
    ], unit=12 * HOUR)  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 3, 7])
@settings(max_examples=60, deadline=None)
@given(rows=payments(most=60, hours=30), cap=st.sampled_from([1, 3, 512]))
def test_arriving_in_pieces_changes_nothing(chunk, rows, cap):
    for part in parts(cap).values():
        assert same(run(part, rows), run(part, rows, chunk=chunk)), part.name


@settings(max_examples=200, deadline=None)
@given(payments(most=40, hours=24), st.integers(1, 3))
def test_a_small_cap_makes_widths_low_and_says_so(rows, cap):
    part = parts(cap)["gather_scatter_7h"]
    columns, truncated = run(part, rows)
    for e, told in enumerate(gathered(rows, part)):
        width = told["gather_scatter_width_7h"]
        got = columns["gather_scatter_width_7h"][e]
        assert got <= width if truncated[e] else got == width


def test_a_peel_chain_of_six_hops_is_followed_to_its_end():
    rows = [(k, k + 1, 2 * k, round(1e8 * 0.9**k)) for k in range(6)]
    columns, _ = run(parts()["chains"], rows, nodes=7)
    assert columns["peel_payments"].tolist() == columns["chain_payments"].tolist() == [1, 2, 3, 4, 5, 6]
    assert columns["peel_retention"][5] == np.float32(0.9**5)
    assert columns["peel_duration"][5] == 10 * 3600


def test_large_sums_stay_exact():
    """Ten billion, in units of 1e-5, a thousand times over: sums are integers."""
    big = 10**15 + 1
    rows = [(1, 0, 0, big)] * 1000 + [(0, 2, 1, big)] * 1000
    columns, _ = run(parts()["passing"], rows)
    assert columns["source_passed_share_5h"][-1] == 1
    assert columns["source_passed_share_5h"][1499] == np.float32(0.5)
