"""Backtests say what a run found, see nothing later, and claim nothing that nobody knows."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from fintel.bench.backtest import MONTH, TOGETHER, Backtest, Period, backtest
from fintel.bench.backtest_told import as_dict, backtest_page, rests_on
from fintel.bench.intervals import Share
from fintel.bench.known import CLEARED, SUSPICIOUS, UNLABELLED, VICTIM, Standings, standings
from fintel.bench.replay import replay
from fintel.cli.backtesting import backtest as command
from fintel.config import Settings
from fintel.feeds import mapping_loader
from fintel.pipeline import canonical_tables, ingest
from fintel.rules.loader import load
from fintel.rules.model import Library
from fintel.rules.runner import detect_tables
from fintel.store.lake import Lake

ROOT = Path(__file__).resolve().parents[2]
PERIOD = Period(datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 4, 20, 12, tzinfo=UTC))
#: Rules of both roles, one that is blind here, one that rests on others.
CHOSEN = (
    "osec/low-value-sends-few-recipients",
    "osec/several-sends-in-a-day",
    "labour/wages-bounced",
    "labour/wages-to-common-receiver",
    "ml-general/pass-through",
    "ml-general/cash-split-over-week",
    "osec/payments-with-listed-party",
    "labour/composite-wages-handed-on",
)


def quiet(stage: str, done: int, of: int) -> None:
    del stage, done, of


def make_lake(home: Path, feed: Path) -> Path:
    with Lake.create_or_open(home) as store:
        ingest(store, feed, mapping_loader.load("fintel"), Settings(lake=home))
    return home


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lake(tmp_path_factory.mktemp("backtest") / "lake", ROOT / "data" / "synthetic")


@pytest.fixture(scope="module")
def tables(lake: Path) -> dict[str, pl.LazyFrame]:
    with Lake.open(lake) as store:
        return {name: frame.collect().lazy() for name, frame in canonical_tables(store).items()}


@pytest.fixture(scope="module")
def library() -> Library:
    return load()[0].with_components(CHOSEN)


@pytest.fixture(scope="module")
def known(tables: dict[str, pl.LazyFrame]) -> Standings:
    return standings(tables, PERIOD.since, PERIOD.until)


@pytest.fixture(scope="module")
def found(tables: dict[str, pl.LazyFrame], library: Library, known: Standings) -> Backtest:
    return backtest(tables, library, CHOSEN, PERIOD, known, progress=quiet)


@pytest.fixture(scope="module")
def alerts(tables: dict[str, pl.LazyFrame], library: Library) -> list[tuple[str, str, datetime, int]]:
    """Rule, own account, peak, hits of every episode in the period, counted without the code under test."""
    episodes = detect_tables(tables, library, as_of=PERIOD.until).episodes
    accounts = tables["accounts"].filter(pl.col("holding") == "own").collect()["account_id"]
    ours = set(accounts)
    rows = episodes.select("rule_id", "account_id", "peak_at", "hits").iter_rows()
    return [r for r in rows if r[1] in ours and PERIOD.since <= r[2] <= PERIOD.until]


def test_counts_are_those_of_the_run(found: Backtest, alerts: list[tuple[str, str, datetime, int]]) -> None:
    assert PERIOD.months == 3
    assert PERIOD.ends[-1] == PERIOD.until
    subjects = {r: {a for rule, a, _, _ in alerts if rule == r} for r in CHOSEN}
    elsewhere = {r: {a for rule, a, _, _ in alerts if rule != r} for r in CHOSEN}
    busy = 0
    for tested in found.rules:
        mine = [row for row in alerts if row[0] == tested.name]
        if not tested.told:
            assert tested.name == "osec/payments-with-listed-party"
            assert "counterparty_intel" in str(tested.reason)
            assert tested.verdict == "cannot tell"
            continue
        assert (tested.hits, tested.episodes) == (sum(r[3] for r in mine), len(mine))
        assert tested.subjects == len(subjects[tested.name])
        for end, count in zip(PERIOD.ends, tested.months, strict=True):
            assert count == len({a for _, a, peak, _ in mine if end - MONTH < peak <= end})
        for overlap in tested.overlaps:
            other = {a for rule, a, _, _ in alerts if rule == overlap.rule_id}
            both = subjects[tested.name] & other
            assert overlap.shared == len(both) > 0
            assert overlap.jaccard == len(both) / len(subjects[tested.name] | other)
            busy += 1
        if not tested.name.startswith("labour/"):  # those rest on each other
            assert tested.alone == len(subjects[tested.name] - elsewhere[tested.name])
    assert busy > 4
    everybody = {a for _, a, _, _ in alerts}
    assert found.total.name == TOGETHER
    assert found.total.subjects == len({a for r, a, _, _ in alerts if r in CHOSEN}) <= len(everybody)
    assert found.total.hits == sum(r.hits for r in found.rules)


def test_what_a_composite_rests_on_does_not_count_as_another_rule(found: Backtest, library: Library) -> None:
    by_name = {r.name: r for r in found.rules}
    composite = by_name["labour/composite-wages-handed-on"]
    correlation = library[composite.name].correlation
    assert composite.subjects > 0
    assert correlation is not None
    assert not {o.rule_id for o in composite.overlaps} & set(correlation.components)
    shared = {c for c in correlation.components if c in by_name}
    assert shared
    for name in shared:
        assert composite.name not in {o.rule_id for o in by_name[name].overlaps}


def test_quality_is_counted_from_the_labels(
    found: Backtest, tables: dict[str, pl.LazyFrame], alerts: list[tuple[str, str, datetime, int]]
) -> None:
    labels = tables["labels"].filter(pl.col("subject_type") == "account").collect()
    bad = {a: t for a, s, t in labels.select("subject_id", "suspicious", "typology").iter_rows() if s}
    harmed = set(labels.filter(~pl.col("suspicious") & pl.col("scheme_id").is_not_null())["subject_id"]) - set(bad)
    clean = set(labels.filter(~pl.col("suspicious"))["subject_id"]) - set(bad) - harmed
    right = {"osec/low-value-sends-few-recipients": set(bad), "labour/wages-bounced": set(bad) | harmed}
    for name, good in right.items():
        tested = next(r for r in found.rules if r.name == name)
        mine = {a for rule, a, _, _ in alerts if rule == name}
        quality = tested.quality
        assert quality is not None
        assert (quality.suspicious, quality.victims) == (len(mine & set(bad)), len(mine & harmed))
        assert (quality.cleared, quality.unlabelled) == (len(mine & clean), len(mine - clean - harmed - set(bad)))
        assert quality.precision == Share(len(mine & good), len(mine & (good | clean)))
        false = {(a, (PERIOD.until - at) // MONTH) for r, a, at, _ in alerts if r == name} - {
            (a, n) for a in {*bad, *harmed} for n in range(9)
        }
        assert tested.rate == pytest.approx(len(false) / 1500 * 10_000 * 30 / PERIOD.days)
        assert tested.verdict == ("within" if tested.rate <= tested.budget else "over")
    victims = next(r for r in found.rules if r.name == "labour/wages-bounced")
    assert victims.quality is not None
    assert victims.quality.victims > 1, "victims are in the data"
    assert victims.rate == 0, "and are no false alarms"


def test_recall_asks_for_those_that_were_active_in_the_period(tables: dict[str, pl.LazyFrame]) -> None:
    everything = standings(tables)
    assert everything.elsewhen == frozenset()
    paid = tables["labels"].filter(pl.col("suspicious") & (pl.col("subject_type") == "transaction")).collect()
    when = tables["transactions"].filter(pl.col("transaction_id").is_in(paid["subject_id"].implode())).collect()
    account = next(a for a in everything.suspicious if a in set(when["debtor_account_id"]))
    times = when.filter((pl.col("debtor_account_id") == account) | (pl.col("creditor_account_id") == account))[
        "booked_at"
    ]
    last = times.max()
    assert isinstance(last, datetime)
    assert account in standings(tables, since=last + timedelta(seconds=1)).elsewhen
    assert account not in standings(tables, since=last).elsewhen
    later = standings(tables, since=last + timedelta(seconds=1))
    rule = next(r for r in load()[0].rules if r.role == "subject" and account in everything.wanted(r))
    assert account not in later.wanted(rule)
    assert account in later.suspicious, "an alert on it is still no false alarm"


def test_nothing_later_is_seen(
    tables: dict[str, pl.LazyFrame], library: Library, known: Standings, found: Backtest
) -> None:
    cut = {**tables, "transactions": tables["transactions"].filter(pl.col("booked_at") <= PERIOD.until)}
    assert (
        cut["transactions"].select(pl.len()).collect().item() < tables["transactions"].select(pl.len()).collect().item()
    )
    again = backtest(cut, library, CHOSEN, PERIOD, known, progress=quiet)
    assert again.rules == found.rules
    assert again.alerts.equals(found.alerts)


def test_without_labels_it_says_unlabelled_and_no_zero(tables: dict[str, pl.LazyFrame], library: Library) -> None:
    bare = {**tables, "labels": tables["labels"].head(0)}
    found = backtest(bare, library, CHOSEN, PERIOD, standings(bare), progress=quiet)
    told = as_dict(found, library)
    assert told["labels"] == UNLABELLED
    for row in (*told["rules"], told["total"]):
        if "hits" in row:
            assert row["precision"] == row["recall"] == UNLABELLED
            assert row["unlabelled"] == row["subjects"]
            assert {p["precision"] for p in row["segments"]} <= {UNLABELLED}
    assert "unlabelled" in " ".join(found.notes)
    # where only suspicious accounts are known, a precision among the labelled would always be 1
    only = {**tables, "labels": tables["labels"].filter(pl.col("suspicious"))}
    found = backtest(only, library, CHOSEN, PERIOD, standings(only), progress=quiet)
    quality = next(r for r in found.rules if r.name == "ml-general/pass-through").quality
    assert quality is not None
    assert quality.suspicious > 0
    assert quality.precision is None
    assert quality.floor.hits == quality.suspicious
    assert any("floor" in n for n in found.notes)


def test_labels_that_became_known_later_are_not_seen(tables: dict[str, pl.LazyFrame]) -> None:
    moments = tables["labels"].filter(pl.col("suspicious")).collect()["known_at"]
    early, late = standings(tables, known_by=moments.min()), standings(tables)  # type: ignore[arg-type]
    assert len(early.suspicious) < len(late.suspicious)
    assert not standings(tables, known_by=datetime(2020, 1, 1, tzinfo=UTC)).suspicious


def test_a_small_group_shows_the_whole_and_says_so(found: Backtest) -> None:
    small = [p for p in found.total.segments if p.precision is not None and p.precision.share.of < 30]
    assert small
    for part in small:
        assert part.precision is not None
        assert "fewer than 30" in part.precision.fallback
    assert sum(p.subjects for p in found.total.jurisdictions) == found.total.subjects


def test_a_label_of_one_kind_decides(tables: dict[str, pl.LazyFrame]) -> None:
    own = standings(tables).accounts["account_id"].to_list()[:4]
    rows = [
        (own[0], True, None), (own[0], False, None), (own[1], False, "S1"), (own[1], False, None), (own[2], False, None),
        ("a stranger", True, None),
    ]  # fmt: skip
    labels = pl.DataFrame(rows, schema=["subject_id", "suspicious", "scheme_id"], orient="row").with_columns(
        subject_type=pl.lit("account"), typology=pl.lit("OSEC"), label_source=pl.lit("x"),
        known_at=pl.lit(PERIOD.since), confidence=pl.lit(1.0),
    )  # fmt: skip
    found = standings({**tables, "labels": labels.lazy()})
    kinds = dict(found.frame().filter(pl.col("account_id").is_in(own)).select("account_id", "standing").iter_rows())
    assert [kinds[a] for a in own] == [SUSPICIOUS, VICTIM, CLEARED, UNLABELLED]
    assert found.of("OSEC") == {own[0]} == found.of("ML-GENERAL"), "no label names that typology: any does"
    assert found.of("OSEC", VICTIM) == {own[1]}
    assert found.of("ML-GENERAL", VICTIM) == frozenset()


def test_month_ends_show_each_account_once_and_nothing_in_hindsight(
    tables: dict[str, pl.LazyFrame], library: Library, known: Standings
) -> None:
    some = ("osec/low-value-sends-few-recipients", "ml-general/pass-through")
    seen = replay(tables, library, some, PERIOD, known, 3, progress=quiet)
    assert [s.until for s in seen if s.name == TOGETHER] == list(PERIOD.ends)
    assert all(s.hindsight == 0 for s in seen)
    for name in some:
        mine = [s for s in seen if s.name == name]
        shown: set[str] = set()
        for one in mine:
            run = detect_tables(tables, library.only((name,)), as_of=one.until).episodes
            month = run.filter(pl.col("peak_at") > one.until - MONTH).join(known.accounts, on="account_id", how="semi")
            accounts = set(month["account_id"])
            assert (one.subjects, one.new) == (len(accounts), len(accounts - shown))
            shown |= accounts
        assert shown


def test_what_a_rule_rests_on_is_named_with_its_lists_and_components(library: Library) -> None:
    named = rests_on(library, "labour/composite-wages-handed-on")
    correlation = library["labour/composite-wages-handed-on"].correlation
    assert correlation is not None
    for component in correlation.components:
        assert named[component] == library[component].fingerprint
    lists = {n for n in rests_on(library, "osec/low-value-sends-few-recipients") if n.startswith("@")}
    assert lists
    (name,) = sorted(lists)[:1]
    wanted = library.lists[name[1:]]
    other = replace(library, lists={**library.lists, name[1:]: replace(wanted, values=wanted.values[1:])})  # type: ignore[call-arg]
    assert (
        rests_on(other, "osec/low-value-sends-few-recipients")[name]
        != rests_on(library, "osec/low-value-sends-few-recipients")[name]
    )


# -- the page and the command


def test_the_page_runs_its_own_scripts_only(found: Backtest) -> None:
    pytest.importorskip("altair", reason="the extra 'bench' is not installed")
    pytest.importorskip("vl_convert", reason="the extra 'bench' is not installed")
    evil = "</script><script>alert(1)</script><b>"
    hostile = replace(found, rules=(replace(found.rules[0], name=evil), *found.rules[1:]), notes=(evil,))
    page, lacking = backtest_page(hostile)
    assert lacking == ""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert len(scripts) == page.count("<script") == 2
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    for script in scripts:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy[1]
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert "<b>" not in markup
    assert not re.search(r"(src|href|url)\s*[=(]", markup)


def test_where_the_picture_cannot_be_drawn_the_page_says_so(found: Backtest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    page, lacking = backtest_page(found)
    assert "fintel[bench]" in lacking
    assert "fintel[bench]" in page
    assert "<script" not in page
    assert "<svg" not in page
    assert "script-src 'none'" in page
    for tested in found.rules:
        assert tested.name in page


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(command)
    return made


def test_the_command_tells_json_and_writes_page_and_record(app: typer.Typer, lake: Path, tmp_path: Path) -> None:
    page, record = tmp_path / "b.html", tmp_path / "b.json"
    words = ["ml-general/pass-through", "ml-general/fan-in", "--lake", str(lake), "--alone", "--from", "2025-02-01",
             "--to", "2025-04-30", "--repeat", "2"]  # fmt: skip
    result = CliRunner().invoke(app, [*words, "--json", "--html", str(page), "--record", str(record)])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told == json.loads(record.read_text())
    assert {p.stat().st_mode & 0o777 for p in (page, record)} == {0o600}
    assert [r["rule"] for r in told["rules"]] == ["ml-general/fan-in", "ml-general/pass-through"]
    assert len(told["months"]) == 3
    assert {r["rule"] for r in told["replay"]} == {"ml-general/fan-in", "ml-general/pass-through", TOGETHER}
    row = told["rules"][1]
    assert row["precision"]["low"] <= row["precision"]["value"] <= row["precision"]["high"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "ml-general/pass-through" in shown.stdout
    assert "by segment" in shown.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "yesterday"], "ISO date"),
        (["--from", "2025-03-01", "--to", "2025-02-01"], "no payments in this period"),
        (["--from", "2030-01-01"], "payments are from"),
        (["--html", "x.svg"], "must end in .html"),
        (["osec/low-value-send-few-recipients"], "did you mean"),
        (["--repeat", "40"], "has 5 months"),
    ],
)
def test_what_cannot_be_is_refused_with_a_hint(app: typer.Typer, lake: Path, words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, [*words, "--lake", str(lake)])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_without_labels_the_command_says_unlabelled(app: typer.Typer, tmp_path: Path) -> None:
    feed = tmp_path / "feed"
    shutil.copytree(ROOT / "data" / "synthetic", feed)
    (feed / "labels.parquet").unlink()
    home = make_lake(tmp_path / "lake", feed)
    result = CliRunner().invoke(app, ["ml-general/pass-through", "--lake", str(home), "--alone"])
    assert result.exit_code == 0, result.output
    assert UNLABELLED in result.stdout
    assert "0.000 [" not in result.stdout
