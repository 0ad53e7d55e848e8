"""Tuning of rules: what a setting alerts is what the rule alerts, and nothing that was not known is claimed."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shutil
from dataclasses import replace
from datetime import date
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fintel.bench import review_sheet, rewriting, sheets
from fintel.bench.boxes import alerted, boxes_of, count_alerts, stack
from fintel.bench.intervals import SMALL, Share, by_group
from fintel.bench.margins import BANDS, line, margins
from fintel.bench.measured import Measured
from fintel.bench.settings import choose, make_settings, parse_wish
from fintel.bench.swept import Halves, Known, as_seen
from fintel.bench.thresholds import criterion
from fintel.bench.tuning import UNLABELLED, Tuned, tune, with_setting
from fintel.cli.tuning import tune as tune_command
from fintel.config import Settings
from fintel.errors import RuleError
from fintel.feeds import mapping_loader
from fintel.models.verdicts import verdicts
from fintel.pipeline import ingest
from fintel.rules.expression import parse_when
from fintel.rules.loader import load, packs_folder
from fintel.rules.model import Library
from fintel.rules.runner import detect_tables
from fintel.store.lake import Lake

ROOT = Path(__file__).resolve().parents[2]
PACK = "name: mine\ntitle: Mine\ndescription: For tests.\n"
CATALOGUE = """\
indicators:
  MINE-01: {typology: ML-GENERAL, issuer: Us, document: A list, date: "2026-01", locator: "1", grade: U, text: "Many payers"}
"""
#: A rule with a parameter in its anchor, two in thresholds, one in a product and an 'or'.
RULE = """\
# kept: a comment at the top
id: mine/many-payers
title: Many payers within a week
version: 1   # kept: beside the version
status: test
level: medium
typology: ML-GENERAL
indicators: [MINE-01]
description: Many payers within a week.
budget: 30
per: [account_id]
parameters:
  least: {default: 20, unit: USD, range: [1, 500], basis: engineering, note: "kept, with: a colon"}
  min_payers:   {default: 4, unit: count, range: [2, 12], basis: engineering}   # kept
  share: {unit: share, basis: engineering, range: [0.1, 3], default: 0.5}
  many: {default: 9, unit: count, range: [3, 20], basis: engineering}
anchor: direction = 'in' and amount_base >= :least
measures:
  payers: {distinct: counterparty_id, timespan: 7d}
  received: {sum: amount_base, timespan: 7d}
  sent: {sum: amount_base, timespan: 7d, where: "direction = 'out'"}
when: payers >= :min_payers and (sent >= :share * received or payers > :many)
reason: "{payers} payers"
falsepositives: [A shop]
"""


@pytest.fixture(scope="module")
def own(tables: dict[str, pl.LazyFrame]) -> pl.Series:
    return tables["accounts"].filter(pl.col("holding") == "own").collect()["account_id"]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("packs"))


def write_pack(folder: Path) -> Path:
    (folder / "mine").mkdir(parents=True)
    (folder / "indicators.yaml").write_text(CATALOGUE)
    (folder / "mine" / "pack.yaml").write_text(PACK)
    (folder / "mine" / "many-payers.yaml").write_text(RULE)
    return folder


@pytest.fixture(scope="module")
def library(mine: Path) -> Library:
    found, diagnostics = load([mine])
    assert not diagnostics
    return found


@pytest.fixture(scope="module")
def shipped() -> Library:
    return load()[0]


@pytest.fixture(scope="module")
def known(tables: dict[str, pl.LazyFrame], own: pl.Series) -> Known:
    found = verdicts(tables, "ML-GENERAL")
    return Known(found.suspicious & set(own), found.cleared & set(own), found.source)


@pytest.fixture(scope="module")
def tuned(tables: dict[str, pl.LazyFrame], library: Library, known: Known, own: pl.Series) -> Tuned:
    return tune(tables, library, library["mine/many-payers"], known, number=400, own=own)


def alerted_by_a_run(tables: dict[str, pl.LazyFrame], library: Library, values: dict[str, float]) -> set[str]:
    rule = library["mine/many-payers"].tuned(values)
    return set(detect_tables(tables, replace(library, rules=(rule,))).episodes["account_id"])


# -- what a setting alerts


COMPARED = st.sampled_from(
    [
        "a >= :x", "b < :x", ":y <= a", "a > :y * b", "b <= a - :z", "a = :x", "b <> :y", "a between :x and 3",
        "not (a >= :x)", "not (b between 1 and :y)", "a / 2 >= :z", "coalesce(a, 0) < :y", "a is null",
        "b >= 1", "abs(a) > b", "greatest(a, :x) > b", "least(b, :z + a) <= 2", "a / b >= :y", "- :x <= b - a",
    ]
)  # fmt: skip
CONDITIONS = st.recursive(
    COMPARED,
    lambda below: st.one_of(
        st.lists(below, min_size=2, max_size=3).map(lambda p: "(" + " and ".join(p) + ")"),
        st.lists(below, min_size=2, max_size=3).map(lambda p: "(" + " or ".join(p) + ")"),
        below.map(lambda p: f"not ({p})" if not p.startswith("not") else p),
    ),
    max_leaves=5,
)
NUMBERS = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0, float("nan")])
VALUES = st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.1, 0.5, 1.0, 1.1, 2.0, 3.0, 5.0]), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    text=CONDITIONS,
    points=st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=25),
    axes=st.fixed_dictionaries({"x": VALUES, "y": VALUES, "z": VALUES}),
)
def test_boxes_give_what_the_condition_gives_at_every_setting(text, points, axes) -> None:  # type: ignore[no-untyped-def]
    used = {name: np.unique(values) for name, values in axes.items() if f":{name}" in text}
    a, b, account, month = (np.array(c) for c in zip(*points, strict=True))
    measures = {"a": a.astype(np.float64), "b": b.astype(np.float64)}
    grid = np.array(list(product(*(range(v.size) for v in used.values()))), np.int32)
    when = criterion(text, ("a", "b"), {}, tuple(used))
    assert not when.tangled()
    stacks = stack(boxes_of(when, measures, used), account.astype(np.int32), month.astype(np.int32))
    suspicious = np.array([1 + int(i) % 2 if i < 2 else 0 for i in stacks.account], np.uint8)
    counts = count_alerts(stacks, grid, suspicious, threads=2)
    frame = pl.DataFrame(measures).fill_nan(None)
    for setting, found in zip(grid, counts, strict=True):
        values = {name: float(v[i]) for (name, v), i in zip(used.items(), setting, strict=True)}
        condition = parse_when(text, ("a", "b"), values).polars.fill_null(value=False).alias("hit")
        hit = frame.select(condition).to_series().to_numpy()
        hit = np.broadcast_to(hit, len(points))
        accounts = set(account[hit].tolist())
        pairs = set(zip(account[hit].tolist(), month[hit].tolist(), strict=True))
        assert found.tolist() == [len(accounts), len(pairs), len(accounts & {0}), len(accounts & {1})]
        months = dict(zip(stacks.account.tolist(), alerted(stacks, setting).tolist(), strict=True))
        assert {n for n, m in months.items() if m} == accounts


@settings(max_examples=100, deadline=None)
@given(text=CONDITIONS, points=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20), value=NUMBERS)
def test_a_margin_is_not_negative_exactly_where_the_rule_hits(text, points, value, library) -> None:  # type: ignore[no-untyped-def]
    values = dict.fromkeys("xyz", 1.0 if value != value else value)
    a, b = (np.array(c, np.float64) for c in zip(*points, strict=True))
    try:
        condition = parse_when(text, ("a", "b"), values).polars
    except RuleError:  # a constant on the wrong side of a division, refused at load
        return
    rule = replace(library["mine/many-payers"], when=text, measures=dict.fromkeys("ab"))
    measured = Measured(rule, values, np.zeros(a.size, np.int32), pl.DataFrame(), np.zeros(0), np.zeros(0),
                        {"a": a, "b": b}, 1, None, None, "USD", {})  # fmt: skip
    held = measured.frame.select(condition.fill_null(value=False).alias("hit")).to_series().to_numpy()
    assert ((margins(measured, values) >= 0) == np.broadcast_to(held, a.size)).all()


def test_every_setting_alerts_the_accounts_that_a_run_with_it_alerts(
    tuned: Tuned, tables: dict[str, pl.LazyFrame], library: Library, own: pl.Series
) -> None:
    swept = tuned.swept[0]
    assert len(swept.settings) == 400
    wanted = [0, *np.argsort(swept.counts[:, 0])[[40, 150, 300, 399]].tolist()]
    sizes = set()
    for setting in wanted:
        found = alerted_by_a_run(tables, library, swept.values(setting)) & set(own)
        assert set(swept.alerted(setting)["account_id"]) == found
        assert swept.counts[setting, 0] == len(found)
        sizes.add(len(found))
    assert len(sizes) >= 4
    assert tuned.table["accounts"].to_list() == swept.counts[:, 0].tolist()


def test_recall_and_alerts_are_counted_from_the_accounts(tuned: Tuned, known: Known) -> None:
    swept = tuned.swept[0]
    assert len(known.suspicious) > 3
    for setting in (0, 5, 77):
        rows = swept.alerted(setting)
        row = tuned.table.row(setting, named=True)
        assert row["positives"] == len(set(rows["account_id"]) & known.suspicious)
        assert row["recall"] == row["positives"] / len(known.suspicious)
        assert row["alerts_month"] == rows["months"].sum() / swept.measured.months


def test_the_suggested_setting_has_the_highest_recall_at_no_more_alerts(tuned: Tuned) -> None:
    table, now = tuned.table, tuned.table.row(0, named=True)
    assert tuned.suggested is not None
    allowed = table.filter(pl.col("alerts_month") <= now["alerts_month"])
    chosen = table.row(tuned.suggested.setting, named=True)
    assert chosen["alerts_month"] <= now["alerts_month"]
    assert chosen["positives"] == allowed["positives"].max()
    cost = tuned.suggested.cost
    assert cost is not None
    assert cost.alerts_month == pytest.approx(chosen["alerts_month"] - now["alerts_month"])
    assert cost.accounts_gained - cost.accounts_lost == chosen["accounts"] - now["accounts"]
    assert cost.positives_gained - cost.positives_lost == chosen["positives"] - now["positives"]
    best = 0
    for alerts, found in tuned.frontier.select("alerts_month", "positives").iter_rows():
        assert found > best
        assert table.filter(pl.col("alerts_month") <= alerts)["positives"].max() == found
        best = found
    assert best == table["positives"].max()


def test_held_out_recall_is_of_accounts_that_had_no_say(tuned: Tuned, known: Known) -> None:
    halves = Halves(known, 7)
    assert tuned.suggested is not None
    assert tuned.suggested.held_out is not None
    assert abs(halves.sizes[0] - halves.sizes[1]) <= 1
    counts, alerts = tuned.swept[0].counts, tuned.table["alerts_month"].to_numpy()
    ours = halves.of(pl.Series(sorted(known.suspicious)))
    for setting in (0, 5, 77):
        hit = set(tuned.swept[0].alerted(setting)["account_id"])
        for half in (1, 2):
            mine = {a for a, h in zip(sorted(known.suspicious), ours, strict=True) if h == half}
            assert counts[setting, 1 + half] == len(mine & hit)
    least = most = 0
    for mine, other in ((2, 3), (3, 2)):
        allowed = alerts <= alerts[0]
        best = counts[allowed & (counts[:, mine] == counts[allowed, mine].max()), other]
        least, most = least + best.min(), most + best.max()
    assert tuned.suggested.held_out.of == len(known.suspicious)
    assert least <= tuned.suggested.held_out.hits <= most


def test_what_changes_the_measures_is_refused_in_the_sweep_and_measured_anew_on_request(
    tables: dict[str, pl.LazyFrame], library: Library, known: Known, own: pl.Series
) -> None:
    rule = library["mine/many-payers"]
    with pytest.raises(RuleError, match="anchor") as refused:
        choose(rule, [parse_wish("least")])
    assert "--rerun" in (refused.value.hint or "")
    with pytest.raises(RuleError, match="no parameter 'min_payer'") as unknown:
        choose(rule, [parse_wish("min_payer")])
    assert "min_payers" in (unknown.value.hint or "")
    found = tune(
        tables, library, rule, known, vary=[parse_wish("min_payers=2:8")], rerun=[parse_wish("least=5,200")],
        number=10, own=own,
    )  # fmt: skip
    assert [s.fixed for s in found.swept] == [{"least": 20}, {"least": 5}, {"least": 200}]
    assert found.held["least"] == "measured anew for each value"
    for swept in found.swept:
        assert set(swept.alerted(2)["account_id"]) == alerted_by_a_run(tables, library, swept.values(2)) & set(own)
    assert len({len(s.alerted(2)) for s in found.swept}) == 3


def test_a_setting_of_the_analysts_choice_is_told_with_its_cost(
    tables: dict[str, pl.LazyFrame], library: Library, known: Known, own: pl.Series
) -> None:
    rule = library["mine/many-payers"]
    found = tune(
        tables, library, rule, known, vary=[parse_wish("min_payers=3")], rerun=[parse_wish("least=5")], own=own
    )
    chosen = with_setting(found, {"min_payers": 3, "least": 5}).suggested
    assert chosen is not None
    assert chosen.cost is not None
    now, then = (alerted_by_a_run(tables, library, v) & set(own) for v in ({}, {"min_payers": 3.0, "least": 5.0}))
    assert (chosen.cost.accounts_gained, chosen.cost.accounts_lost) == (len(then - now), len(now - then))
    assert chosen.cost.positives_gained == len((then - now) & known.suspicious)
    with pytest.raises(RuleError, match="not tried"):
        with_setting(found, {"min_payers": 7})


def test_two_parameters_in_one_comparison_are_not_swept_together(library: Library) -> None:
    rule = replace(library["mine/many-payers"], when="payers >= :min_payers * :share and received > :many")
    chosen, held = choose(rule)
    assert list(chosen) == ["min_payers", "many"]
    assert "stands beside :min_payers" in held["share"]


def test_where_nobody_is_known_nothing_is_claimed(
    tables: dict[str, pl.LazyFrame], library: Library, own: pl.Series
) -> None:
    rule = library["mine/many-payers"]
    found = tune(tables, library, rule, Known(), number=200, own=own)
    assert found.suggested is None
    assert found.current.recall is None
    assert UNLABELLED in found.chosen_by
    assert all(found.table[n].null_count() == found.table.height for n in ("positives", "recall", "frontier"))
    budget = found.current.alerts_month / 2
    found = tune(tables, library, rule, Known(), number=200, own=own, budget=budget)
    assert found.suggested is not None
    assert found.suggested.alerts_month <= budget
    assert found.suggested.recall is None
    assert found.suggested.cost.positives_lost is None


def test_settings_are_seeded_whole_numbers_and_hold_the_current_one_first(library: Library) -> None:
    rule = library["mine/many-payers"]
    chosen, _ = choose(rule)
    axes, first = make_settings(rule, chosen, number=1000, seed=3)
    _, again = make_settings(rule, chosen, number=1000, seed=3)
    _, other = make_settings(rule, chosen, number=1000, seed=4)
    assert (first == again).all()
    assert not np.array_equal(first, other)
    assert len(np.unique(first, axis=0)) == len(first) >= 1000
    assert [float(a.values[i]) for a, i in zip(axes, first[0], strict=True)] == [4, 0.5, 9]
    by_name = {a.name: a.values for a in axes}
    assert by_name["min_payers"].tolist() == list(range(2, 13))
    assert by_name["share"].min() == 0.1
    assert by_name["share"].max() == 3
    _, grid = make_settings(rule, chosen, method="grid", number=1000)
    assert 700 <= len(grid) <= 1500
    for bad in ("x=", "x=2:1", "x=1:nan", "x=a", "x=1,,2", "x=1:2:3", "x=inf"):
        with pytest.raises(RuleError):
            parse_wish(bad)


# -- intervals


def test_intervals_are_wilsons() -> None:
    # by hand from Wilson's formula with z = 1.96 (tables agree to four digits)
    for hits, of, low, high in (
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (1, 40, 0.0044, 0.1288),
    ):
        assert Share(hits, of).interval == pytest.approx((low, high), abs=1e-4)
    assert Share(0, 0).value is None


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share(pair: tuple[int, int]) -> None:
    low, high = Share(*pair).interval
    assert 0 <= low <= pair[0] / pair[1] <= high <= 1


def test_a_small_group_shows_the_whole_and_says_so() -> None:
    large, small = by_group([("US", 40, 100), ("PH", 2, SMALL - 1)])
    assert (large.shown, large.fallback) == (Share(40, 100), "")
    assert small.shown == Share(42, 129)
    assert "29" in small.fallback


# -- the review sheet


def sheet_of(tuned: Tuned, library: Library, **more: int) -> tuple[str, int]:
    swept = tuned.swept[0]
    lines = [line("current", swept.measured, as_seen(swept, library, 0))]
    if tuned.suggested is not None:
        lines.append(line("suggested", swept.measured, as_seen(swept, library, tuned.suggested.setting)))
    return review_sheet.write(swept.measured, lines, **more)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def filled(rows: list[dict[str, str]], *, delimiter: str = ",") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def test_a_sheet_samples_both_sides_of_each_line_by_band(tuned: Tuned, library: Library) -> None:
    text, accounts = sheet_of(tuned, library, each=3, seed=5)
    assert text == sheet_of(tuned, library, each=3, seed=5)[0]
    assert text != sheet_of(tuned, library, each=3, seed=6)[0]
    rows = rows_of(text)
    assert len(rows) == accounts == len({r["key"] for r in rows})
    now = set(tuned.swept[0].alerted(0)["account_id"])
    strata: dict[tuple[str, str], int] = {}
    for row in rows:
        assert (row["current_side"] == "above") == (sheets.as_given(row["account_id"]) in now)
        assert row["disposition"] == row["reviewer"] == row["note"] == ""
        if "current" in row["drawn_for"].split():
            place = (row["current_side"], row["current_band"])
            strata[place] = strata.get(place, 0) + 1
            assert strata[place] <= min(3, int(row["current_population"]))
    assert {side for side, _ in strata} == {"above", "below"}
    assert len({band for _, band in strata}) >= 3


def test_a_filled_in_sheet_comes_back_as_yields_and_judgements(tuned: Tuned, library: Library, tmp_path: Path) -> None:
    rows = rows_of(sheet_of(tuned, library, each=4)[0])
    judged: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        row["disposition"] = ("suspicious", "Clean", "unclear", "")[number % 4]
        if number % 4 < 2 and "current" in row["drawn_for"].split():
            tally = judged.setdefault((row["current_side"], row["current_band"]), [0, 0])
            tally[0] += number % 4 == 0
            tally[1] += 1
        # what a spreadsheet makes of a long number must not lose the account
        row["account_id"] = "1.23457E+15"
    path = tmp_path / "sheet.csv"
    path.write_text(filled(rows, delimiter=";"), encoding="utf-8-sig")
    review = review_sheet.read(path)
    assert (review.rule, review.rows) == ("mine/many-payers", len(rows))
    found, strangers = review.judged(tuned.swept[0].measured.accounts["account_id"])
    assert strangers == 0
    assert len(found["suspicious"]) == len(rows[0::4])
    assert len(found["clean"]) == len(rows[1::4])
    assert review.judged([])[1] == len(rows[0::4]) + len(rows[1::4]) + len(rows[2::4])
    yields = {(y.side, y.band): [y.share.hits, y.share.of] for y in review_sheet.yields(review) if y.line == "current"}
    assert yields == judged
    assert all(y.band in BANDS and y.population >= y.share.of for y in review_sheet.yields(review))


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_no_cell_begins_a_formula_and_every_text_comes_back(text: str) -> None:
    cell = sheets.safe_cell(text)
    for piece in cell.split(";"):
        assert piece.lstrip(' "\t\n\u3000\xa0')[:1] not in tuple("=+-@|%\uff1d\uff0b\uff0d\uff20")
    kept = re.sub(r"[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", text)
    assert sheets.as_given(cell) == kept


def test_a_sheet_that_was_damaged_is_refused_with_every_finding(
    tuned: Tuned, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sheet.csv"
    good = rows_of(sheet_of(tuned, library, each=2)[0])
    for row in good:
        row["disposition"] = "clean"

    def refuse(text: str | bytes, *wanted: str) -> None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(RuleError) as refused:
            review_sheet.read(path)
        told = " ".join([str(refused.value), *(str(d) for d in refused.value.diagnostics)])
        assert all(w in told for w in wanted), told

    def changed(number: int, **cells: str) -> list[dict[str, str]]:
        return [{**row, **(cells if n == number else {})} for n, row in enumerate(good)]

    refuse(filled([*changed(1, disposition="guilty"), {**good[0], "key": "k1"}]), "guilty", ":3", "key was changed")
    refuse(filled(changed(0, current_population="many", drawn_for="current")), "current_population")
    refuse(filled(changed(0, drawn_for="else")), "drawn_for")
    refuse(filled([*good, {**good[0], "disposition": "suspicious"}]), "judged twice")
    refuse(filled(changed(0, rule="other/rule")), "several rules")
    refuse(filled(changed(0, note="x" * 3000)), "too long")
    refuse("a,b\n1,2\n", "no review sheet", "disposition")
    refuse("", "no review sheet")
    refuse(filled(good).splitlines()[0] + "\n", "no rows")
    refuse("é".encode("latin-1") + filled(good).encode(), "not UTF-8")
    refuse(filled(good) + "one,cell\n", "2 cells")
    refuse('"' + "a" * 200_000 + '"\n', "no CSV")
    monkeypatch.setattr(review_sheet, "MAX_BYTES", 100)
    refuse(filled(good), "larger than")


# -- a new version


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", "changelog: [{line}]"),
        ("changelog: []\n", "changelog: [{line}]"),
        ("changelog:\n", "changelog: [{line}]"),
        ('changelog: ["1: first"]\n', 'changelog: ["1: first", {line}]'),
        ('changelog: [\n  "0: a", # kept\n  "1: b",  # kept too\n]\n', '"1: b", {line},  # kept too'),
        ("changelog:\n  - '1: first' # kept\n", "  - '1: first' # kept\n  - {line}"),
        ("changelog:\n- >-\n  1: first\n", "- >-\n  1: first\n- {line}"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_new_version_changes_the_numbers_and_nothing_else(log: str, expected: str, newline: str) -> None:
    text = "\ufeff" + (RULE.replace("status: test\n", log + "status: test\n")).replace("\n", newline)
    line_ = '2: min_payers 4 → 5 (tuned on 2026-11-24, by A. "B" Analyst)'
    new = rewriting.rewrite(text, "rule.yaml", {"min_payers": 5.0, "share": 0.25}, line_)
    written = json.dumps(line_, ensure_ascii=False)
    wanted = expected.replace("{line}", written).replace("\n", newline)
    assert wanted in new
    assert ("\n" in new.replace("\r\n", "")) == (newline == "\n")
    # undo by hand what was to change: all other bytes are the same
    back = new.replace("default: 5,", "default: 4,").replace("default: 0.25}", "default: 0.5}")
    back = back.replace("version: 2 ", "version: 1 ").replace("status: experimental", "status: test")
    assert "status: experimental" in new  # other numbers have proven nothing yet
    if log in ("", "changelog:\n", "changelog: []\n"):
        old = log.replace("\n", newline)
        where = f"changelog: [{written}]{newline}"
        assert back.count(where) == 1
        assert back.replace(where, old) == text
    else:
        for addition in (f", {written}", f"{newline}  - {written}", f"- {written}{newline}"):
            if back.replace(addition, "") == text:
                break
        else:
            pytest.fail("something else changed")


@pytest.mark.slow
def test_every_shipped_rule_can_be_rewritten_and_read_again(shipped: Library, tmp_path: Path) -> None:
    tried = 0
    for rule in shipped.rules:
        name = next((n for n, p in rule.parameters.items() if p.range), None)
        if name is None:
            continue
        low, high = rule.parameters[name].range  # type: ignore[misc]
        value = high if rule.parameters[name].default != high else low
        target = rewriting.write_version(rule, {name: value}, by="A. Analyst", on=date(2026, 11, 24), to=tmp_path)
        old, new = Path(rule.location.file).read_bytes().splitlines(), target.file.read_bytes().splitlines()
        kept = [row for row in new if row in old]
        assert len(new) - len(kept) <= 4, rule.id
        tried += 1
    assert tried > 40
    shutil.copytree(packs_folder() / "lists", tmp_path / "lists")
    for name in ("indicators.yaml", "conditions.yaml"):
        if (packs_folder() / name).is_file():
            shutil.copy(packs_folder() / name, tmp_path / name)
    again, findings = load([tmp_path])
    assert [d for d in findings if d.code[:2] == "R0"] == []
    assert len(again.rules) == tried
    for rule in again.rules:
        assert rule.version == shipped[rule.id].version + 1
        assert rule.changelog[-1].startswith(f"{rule.version}: ")
        assert rule.fingerprint != shipped[rule.id].fingerprint


def test_a_shipped_rule_is_not_changed_in_place(shipped: Library) -> None:
    rule = shipped["ml-general/fan-in"]
    before = Path(rule.location.file).read_bytes()
    with pytest.raises(RuleError) as refused:
        rewriting.write_version(rule, {"min_payers": 11.0}, by="A. Analyst", on=date(2026, 11, 24))
    assert "--to" in (refused.value.hint or "")
    assert Path(rule.location.file).read_bytes() == before


def test_a_value_outside_its_range_is_refused_and_nothing_is_written(
    command: typer.Typer, lake: Path, shipped: Library, tmp_path: Path
) -> None:
    rule = shipped["labour/remits-without-income"]
    to = tmp_path / "own"
    for value in (3000.0, 1.0):
        with pytest.raises(RuleError, match=r"outside its range \[2, 30\]"):
            rewriting.write_version(rule, {"min_sends": value}, by="A", on=date(2026, 11, 24), to=to)
        words = [rule.id, "--lake", str(lake), "--set", f"min_sends={value:g}"]
        for more in ([], ["--write", "--by", "A", "--to", str(to)]):
            result = CliRunner().invoke(command, [*words, *more])
            assert result.exit_code == 2, result.output
            assert "outside its range [2, 30]" in " ".join(result.output.split())
    assert not to.exists()


def test_a_new_version_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pack(tmp_path)
    rule = load([folder])[0]["mine/many-payers"]
    file = Path(rule.location.file)
    before = file.read_bytes()

    def write(**more: object) -> rewriting.Written:
        given_: dict[str, object] = {"by": "A. Analyst", "on": date(2026, 11, 24), **more}
        return rewriting.write_version(rule, {"min_payers": 6.0}, **given_)  # type: ignore[arg-type]

    with pytest.raises(RuleError, match="named"):
        write(by=" ")
    with pytest.raises(RuleError, match="nothing to write"):
        rewriting.write_version(rule, {"min_payers": 4.0}, by="A", on=date(2026, 11, 24))
    with monkeypatch.context() as broken:

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        broken.setattr(rewriting.os, "replace", fail)
        with pytest.raises(RuleError, match="No space left"):
            write()
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir() if p.name.startswith(".")] == []
    written = write(data="payments of 2025")
    assert written.line == "2: min_payers 4 → 6 (tuned on 2026-11-24, payments of 2025, by A. Analyst)"
    again = load([folder])[0]["mine/many-payers"]
    assert (again.version, again.parameters["min_payers"].default) == (2, 6)
    assert again.changelog == (written.line,)
    with pytest.raises(RuleError, match="changed since"):
        write()


# -- the picture and the command


def test_the_chart_needs_no_network_and_runs_its_own_scripts_only(tuned: Tuned) -> None:
    pytest.importorskip("altair", reason="the extra 'bench' is not installed")
    pytest.importorskip("vl_convert", reason="the extra 'bench' is not installed")
    from fintel.bench.charts import tuning_page

    evil = "</script><script>alert(1)</script>"
    swept = tuned.swept[0]
    accounts = swept.measured.accounts.with_columns(segment=pl.lit(evil))
    groups = by_group([(evil, 30, 60)])
    hostile = replace(
        tuned,
        swept=(replace(swept, measured=replace(swept.measured, accounts=accounts)),),
        suggested=replace(tuned.suggested or tuned.current, segments=tuple(groups)),
    )
    page = tuning_page(hostile)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert len(scripts) == page.count("<script") == 2
    assert "alert(1)" not in page.replace("\\u003cscript\\u003ealert(1)\\u003c/script\\u003e", "")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "unsafe-eval" not in policy[1]
    assert "'unsafe-inline'" not in policy[1].split("script-src")[1].split(";")[0]
    for script in scripts:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy[1]
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r"(src|href|url)\s*[=(]", markup)
    assert str(len(tuned.table)) in page.replace(",", "")


@pytest.fixture(scope="module")
def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(tune_command)
    return app


def test_the_command_goes_round_sheet_review_and_new_version(
    command: typer.Typer, lake: Path, mine: Path, tmp_path: Path
) -> None:
    runner = CliRunner()
    folder = tmp_path / "packs"
    shutil.copytree(mine, folder)
    sheet = tmp_path / "sheet.csv"
    common = ["mine/many-payers", "--lake", str(lake), "--folder", str(folder), "--settings", "60", "--json"]
    result = runner.invoke(command, [*common, "--sheet", str(sheet), "--each", "3"])
    assert result.exit_code == 0, result.output
    first = json.loads(result.stdout)
    assert first["files"]["sheet_accounts"] > 10
    assert sheet.stat().st_mode & 0o777 == 0o600
    assert first["labels"]["suspicious"] > 0
    rows = rows_of(sheet.read_text(encoding="utf-8-sig"))
    for row in rows:
        row["disposition"] = "suspicious" if row["current_side"] == "below" else "clean"
    sheet.write_text(filled(rows))
    result = runner.invoke(
        command,
        [
            *common,
            "--reviewed",
            str(sheet),
            "--budget",
            "200",
            "--write",
            "--by",
            "A. Analyst",
            "--set",
            "min_payers=3",
        ],
    )
    assert result.exit_code == 0, result.output
    second = json.loads(result.stdout)
    assert second["labels"]["suspicious"] > first["labels"]["suspicious"]
    below = [b for b in second["reviewed"] if (b["line"], b["side"]) == ("current", "below")]
    assert below
    assert all(b["yield"]["value"] == 1.0 for b in below)
    assert second["written"]["version"] == 2
    assert "min_payers 4 → 3" in (folder / "mine" / "many-payers.yaml").read_text()
    result = runner.invoke(command, [*common[:5], "--vary", "least"])
    assert result.exit_code == 2
    assert "changes what is measured" in result.output
    result = runner.invoke(command, ["mine/many-payer", *common[1:5]])
    assert result.exit_code == 2
    assert "mine/many-payers" in result.output


def test_without_labels_the_command_says_unlabelled(command: typer.Typer, mine: Path, tmp_path: Path) -> None:
    feed, home = tmp_path / "feed", tmp_path / "lake"
    shutil.copytree(ROOT / "data" / "synthetic", feed)
    (feed / "labels.parquet").unlink()
    with Lake.create_or_open(home) as store:
        ingest(store, feed, mapping_loader.load("fintel"), Settings(lake=home))
    common = ["mine/many-payers", "--lake", str(home), "--folder", str(mine), "--settings", "40"]
    result = CliRunner().invoke(command, [*common, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["labels"] == found["current"]["recall"] == found["frontier"] == UNLABELLED
    assert found["suggested"] is None
    assert "recall" not in found["settings"][0]
    shown = CliRunner().invoke(command, common)
    assert UNLABELLED in shown.output
    assert "recall 0" not in shown.output


def test_the_page_names_every_option_and_no_other(command: typer.Typer) -> None:
    page = (ROOT / "docs" / "how-to" / "tune-a-rule.md").read_text(encoding="utf-8")
    there = {o for p in typer.main.get_command(command).params for o in p.opts if o.startswith("--")}
    common = {"--config", "--lake", "--folder", "--as-of", "--install-completion", "--show-completion"}
    assert set(re.findall(r"--[a-z][a-z-]*", page)) == there - common
