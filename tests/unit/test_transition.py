"""Two systems side by side: sets, quality and lag counted by hand; the old system's file is a stranger's."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from fintel.bench.backtest import MONTH, Period
from fintel.bench.intervals import Share
from fintel.bench.known import UNLABELLED, Standings, standings
from fintel.bench.old_alerts import read_old_alerts
from fintel.bench.transition import BOTH, ONLY_NEW, ONLY_OLD, SETS, Transition, as_dict, compare, sheet
from fintel.cli.main import app
from fintel.config import Settings
from fintel.errors import ConfigError
from fintel.feeds import mapping_loader
from fintel.frames import TIMESTAMP
from fintel.pipeline import canonical_tables, detect, ingest
from fintel.rules.loader import load
from fintel.store.lake import Lake

ROOT = Path(__file__).resolve().parents[2]
PERIOD = Period(datetime(2025, 1, 10, tzinfo=UTC), datetime(2025, 4, 25, tzinfo=UTC))
PACKS = ("osec", "ml-general")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("transition") / "lake"
    library = load()[0]
    with Lake.create_or_open(home) as store:
        ingest(store, ROOT / "data" / "synthetic", mapping_loader.load("fintel"), Settings(lake=home))
        detect(store, Settings(lake=home), library.only([r.id for r in library.rules if r.pack in PACKS]))
    return home


Ours = tuple[dict[str, pl.LazyFrame], pl.DataFrame, pl.DataFrame, Standings]


@pytest.fixture(scope="module")
def ours(lake: Path) -> Ours:
    with Lake.open(lake) as store:
        tables = {name: frame.collect().lazy() for name, frame in canonical_tables(store).items()}
        run = store.latest_run()
        assert run is not None
        alerts, episodes = (store.run_table(run.run_id, n).collect() for n in ("alerts", "episodes"))
    return tables, alerts, episodes, standings(tables, PERIOD.since, PERIOD.until)


@pytest.fixture(scope="module")
def old(ours: Ours) -> list[tuple[str, datetime, str | None, str | None]]:
    """Alerts of a made-up system: some of ours, some others, some strangers, some outside the period."""
    _, alerts, _, known = ours
    lot = random.Random(3)
    mine = alerts.filter(pl.col("holding") == "own")["account_id"].to_list()
    others = sorted(set(known.accounts["account_id"]) - set(mine))
    chosen = [*lot.sample(mine, 30), *lot.sample(others, 20), *sorted(known.suspicious)[:6], "a stranger"]
    rows: list[tuple[str, datetime, str | None, str | None]] = []
    for account in chosen:
        for _ in range(lot.randint(1, 3)):
            when = PERIOD.since + timedelta(days=lot.randint(-8, 110), hours=lot.randint(0, 23))
            rows.append((account, when, lot.choice(["R1", "R2", None]), lot.choice(["suspicious", "cleared", None])))
    return rows


SCHEMA = {"account_id": pl.String, "alerted_at": TIMESTAMP, "rule": pl.String, "disposition": pl.String}


@pytest.fixture(scope="module")
def found(ours: Ours, old: list[tuple[str, datetime, str | None, str | None]]) -> Transition:
    _, alerts, episodes, known = ours
    return compare(pl.DataFrame(old, schema=SCHEMA, orient="row"), alerts, episodes, known, PERIOD)


def test_sets_quality_and_lag_are_what_a_count_by_hand_gives(
    found: Transition, ours: Ours, old: list[tuple[str, datetime, str | None, str | None]]
) -> None:
    _, alerts, episodes, known = ours
    own = set(known.accounts["account_id"])
    inside = [r for r in old if PERIOD.since <= r[1] <= PERIOD.until]
    assert {r[0] for r in inside} - own == {"a stranger"}
    assert found.strangers == 1
    theirs: dict[str, datetime] = {}
    for account, when, _, _ in inside:
        if account in own:
            theirs[account] = min(when, theirs.get(account, when))
    first: dict[str, datetime] = {}
    for account, peak in episodes.select("account_id", "peak_at").iter_rows():
        if PERIOD.since <= peak <= PERIOD.until and account in own:
            first[account] = min(peak, first.get(account, peak))
    order = alerts.sort("score", "rank", descending=[True, False])["account_id"].to_list()
    queue = [a for a in order if a in first]
    taken = queue[: len(theirs)]
    assert found.budget == len(theirs) == len(taken)
    sets = {BOTH: set(theirs) & set(taken), ONLY_OLD: set(theirs) - set(taken), ONLY_NEW: set(taken) - set(theirs)}
    assert all(len(ids) > 3 for ids in sets.values())
    assert found.below == len(sets[ONLY_OLD] & set(queue)) > 0
    lags = sorted((first[a].date() - theirs[a].date()).days for a in sets[BOTH])
    assert (found.earlier, found.same_day, found.later) == (
        sum(n < 0 for n in lags), sum(n == 0 for n in lags), sum(n > 0 for n in lags),
    )  # fmt: skip
    middle = len(lags) // 2
    assert found.days == (lags[middle] if len(lags) % 2 else (lags[middle - 1] + lags[middle]) / 2)
    said: dict[str, set[str | None]] = {}
    for account, _, _, word in inside:
        said.setdefault(account, set()).add(word)

    def standing(account: str) -> str:
        for ids, name in ((known.suspicious, "suspicious"), (known.victims, "victim"), (known.cleared, "cleared")):
            if account in ids:
                return name
        words = said.get(account, set())
        return next((w for w in ("suspicious", "cleared") if w in words), UNLABELLED)

    for part in found.parts:
        mine = [standing(a) for a in sets[part.name]]
        assert part.accounts == len(mine)
        counts = (part.suspicious, part.victims, part.cleared, part.unlabelled)
        assert counts == tuple(mine.count(w) for w in ("suspicious", "victim", "cleared", UNLABELLED))
        assert part.precision == Share(part.suspicious, part.suspicious + part.cleared)
        rules = {a: {r for b, _, r, _ in inside if b == a and r} for a in sets[part.name]}
        assert dict(part.old_rules) == {r: n for r in ("R1", "R2") if (n := sum(r in s for s in rules.values()))}
        for number, end in enumerate(PERIOD.ends):
            at = [theirs.get(a) or first[a] for a in sets[part.name]]
            begin = end - MONTH if number else datetime.min.replace(tzinfo=UTC)
            assert found.months[number][SETS.index(part.name)] == sum(begin < t <= end for t in at)
    assert found.recall is not None
    bad = {a for ids in sets.values() for a in ids if standing(a) == "suspicious"} | (known.suspicious - known.elsewhen)
    assert found.recall == {
        "old": Share(len(set(theirs) & bad), len(bad)),
        "new": Share(len(set(taken) & bad), len(bad)),
    }
    assert any("looks better than it is" in n for n in found.notes)


def test_a_budget_takes_our_first_accounts(ours: Ours, old: list[tuple[str, datetime, str | None, str | None]]) -> None:
    _, alerts, episodes, known = ours
    frame = pl.DataFrame(old, schema=SCHEMA, orient="row")
    sizes = []
    for budget in (1, 10, 10_000):
        found = compare(frame, alerts, episodes, known, PERIOD, budget=budget)
        sizes.append(sum(p.accounts for p in found.parts if p.name != ONLY_OLD))
        assert sum(p.accounts for p in found.parts if p.name != ONLY_NEW) == found.accounts["old_first_at"].count()
    assert sizes[:2] == [1, 10]
    assert sizes[2] > 10
    assert found.below == 0
    assert any("not 10,000" in n for n in found.notes)


def test_without_labels_and_dispositions_no_set_is_better(ours: Ours) -> None:
    tables, alerts, episodes, known = ours
    bare = standings({**tables, "labels": tables["labels"].head(0)})
    frame = pl.DataFrame(
        [(a, PERIOD.since, None, None) for a in known.accounts["account_id"][:9]], schema=SCHEMA, orient="row"
    )
    told = as_dict(compare(frame, alerts, episodes, bare, PERIOD))
    assert {s["precision"] for s in told["sets"]} == {UNLABELLED} == {told["recall"]}
    assert all(s["unlabelled"] == s["accounts"] for s in told["sets"])
    assert UNLABELLED in told["notes"][0]


def test_a_sheet_is_a_random_sample_and_runs_no_formula(ours: Ours) -> None:
    _, alerts, episodes, known = ours
    evil = "=HYPERLINK(1)"
    accounts = pl.concat([known.accounts, pl.DataFrame({"account_id": [evil], "segment": [None], "jurisdiction": [None]},
                                                       schema=known.accounts.schema)])  # fmt: skip
    hostile = Standings(accounts, known.suspicious, known.victims, known.cleared)
    rows = [(evil, PERIOD.since, "@SUM(1);+2", None)]
    found = compare(pl.DataFrame(rows, schema=SCHEMA, orient="row"), alerts, episodes, hostile, PERIOD, budget=40)
    text, count = sheet(found, ONLY_OLD, each=50, seed=7)
    (row,) = csv.DictReader(io.StringIO(text))
    assert count == 1
    assert row["account_id"] == "'" + evil
    assert row["old_rules"].startswith("'@")
    assert ";'+2" in row["old_rules"]
    one, _ = sheet(found, ONLY_NEW, each=15, seed=7)
    again, _ = sheet(found, ONLY_NEW, each=15, seed=7)
    other, _ = sheet(found, ONLY_NEW, each=15, seed=8)
    assert one == again != other
    drawn = [r["account_id"] for r in csv.DictReader(io.StringIO(one))]
    assert len(set(drawn)) == 15
    assert drawn != sorted(drawn)
    assert {r["accounts_in_set"] for r in csv.DictReader(io.StringIO(one))} == {"40"}


# -- the file


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "old.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_the_file_is_read_in_any_order_and_spelling(written: Callable[[str | bytes], Path]) -> None:
    text = (
        "\ufeffNote;Disposition;ALERTED_AT;rule;account_id\r\n"
        'x;SAR;2025-02-01;R1;"A;1"\r\n'
        "x;No action;2025-02-01T10:00:00+08:00;;'=A2\r\n"
        ";;;;\r\n"
        "x;who knows;2025-02-03T04:05;R2;A3\r\n"
    )
    found = read_old_alerts(written(text))
    assert found.findings == ()
    assert found.alerts.rows() == [
        ("A;1", datetime(2025, 2, 1, tzinfo=UTC), "R1", "suspicious"),
        ("=A2", datetime(2025, 2, 1, 2, tzinfo=UTC), None, "cleared"),
        ("A3", datetime(2025, 2, 3, 4, 5, tzinfo=UTC), "R2", None),
    ]
    assert (found.rows, found.bad, found.unknown) == (3, 0, ("who knows",))


def test_bad_rows_are_told_with_their_line_and_left_out(written: Callable[[str | bytes], Path]) -> None:
    rows = ["A1,2025-02-01", "A2,01/02/2025", ",2025-02-01", "A3", f"{'x' * 2001},2025-02-01", f"A4,{'y' * 200_000}",
            "A5,0001-01-01T00:00+14:00", '"A6\nA6",2025-02-01', "A7,2025-02-01"]  # fmt: skip
    found = read_old_alerts(written("account_id,alerted_at\n" + "\n".join(rows)))
    assert found.alerts["account_id"].to_list() == ["A1", "A6\nA6", "A7"]
    assert (found.rows, found.bad) == (9, 6)
    assert [d.location.line for d in found.findings if d.location] == [3, 4, 5, 6, 7, 8]
    assert max(len(d.message) for d in found.findings) < 120
    many = read_old_alerts(written("account_id,alerted_at\nA,2025-01-01\n" + "x\n" * 5000))
    assert many.bad == 5000
    assert len(many.findings) == 101
    assert "4,900 more rows" in many.findings[-1].message


def test_true_and_false_are_dispositions_and_the_words_are_told(written: Callable[[str | bytes], Path]) -> None:
    found = read_old_alerts(written("account_id,alerted_at,disposition\na,2025-01-01,TRUE\nb,2025-01-01,false\n"))
    assert found.alerts["disposition"].to_list() == ["suspicious", "cleared"]
    assert found.unknown == ()
    with pytest.raises(ConfigError) as refused:
        read_old_alerts(written("account,when\na,2025-01-01\n"))
    hint = refused.value.hint or ""
    assert all(word in hint for word in ("escalated", "false positive", "true", "false"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "no column account_id, alerted_at"),
        (b"account_id\n1\n", "no column alerted_at"),
        (b"account_id,alerted_at,account_id\n", "twice"),
        (b"account_id,alerted_at\n", "no rows"),
        (b"account_id,alerted_at\nx,never\n", "none of its 1 rows"),
        (b"account_id,alerted_at\n\xff,2025-01-01\n", "not UTF-8"),
        (b'"' + b"x" * 200_000, "no CSV|no column"),
    ],
)
def test_what_is_no_such_file_is_refused(written: Callable[[str | bytes], Path], text: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_old_alerts(written(text))


def test_a_file_that_is_too_large_is_not_read(
    written: Callable[[str | bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fintel.bench.old_alerts.MAX_BYTES", 30)
    with pytest.raises(ConfigError, match="larger than"):
        read_old_alerts(written("account_id,alerted_at\nA,2025-01-01\n"))
    monkeypatch.setattr("fintel.bench.old_alerts.MAX_BYTES", 10_000)
    monkeypatch.setattr("fintel.bench.old_alerts.MAX_ROWS", 2)
    with pytest.raises(ConfigError, match="more than 2 rows"):
        read_old_alerts(written("account_id,alerted_at\n" + "A,2025-01-01\n" * 3))


# -- as a user types it


def test_the_command_compares_and_writes_a_sheet_of_each_set(
    lake: Path,
    old: list[tuple[str, datetime, str | None, str | None]],
    written: Callable[[str | bytes], Path],
    tmp_path: Path,
) -> None:
    lines = ["account_id,alerted_at,rule,disposition"]
    lines += [f"{a},{when.isoformat()},{rule or ''},{word or ''}" for a, when, rule, word in old]
    file, folder = written("\n".join(lines)), tmp_path / "sheets"
    words = ["rules", "transition", str(file), "--lake", str(lake)]
    result = CliRunner().invoke(app, [*words, "--json", "--sheets", str(folder), "--each", "5"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert {s["set"]: min(s["accounts"], 5) for s in told["sets"]} == {
        "both": told["sheets"][str(folder / "both.csv")],
        "only old": told["sheets"][str(folder / "only-old.csv")],
        "only new": told["sheets"][str(folder / "only-new.csv")],
    }
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o600}
    assert sum(sum(m[s] for s in SETS) for m in told["months"]) == sum(s["accounts"] for s in told["sets"])
    file.write_text(file.read_text() + "\nA9,tomorrow\n")
    result = CliRunner().invoke(app, [*words, "--to", "2025-03-31"])
    assert result.exit_code == 1
    shown = " ".join(result.output.split())
    assert f"old.csv:{len(old) + 2}: warning F001" in shown
    assert "to 2025-03-31" in shown
    for name in SETS:
        assert name in shown


@pytest.mark.parametrize(
    ("rows", "words", "said"),
    [
        ("A,2019-01-01", [], "the old alerts are of 2019-01-01"),
        ("A,2025-02-01", ["--run", "x", "--fresh"], "exclude each other"),
        ("A,2025-02-01", ["--run", "x"], "no run 'x'"),
        ("A,2025-02-01", ["--from", "x"], "ISO date"),
    ],
)
def test_what_cannot_be_is_refused(
    lake: Path, written: Callable[[str | bytes], Path], rows: str, words: list[str], said: str
) -> None:
    file = written(f"account_id,alerted_at\n{rows}\n")
    result = CliRunner().invoke(app, ["rules", "transition", str(file), "--lake", str(lake), *words])
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())


def test_a_run_that_ends_earlier_ends_the_comparison(
    lake: Path, old: list[tuple[str, datetime, str | None, str | None]], written: Callable[[str | bytes], Path]
) -> None:
    lines = ["account_id,alerted_at", *(f"{a},{when.isoformat()}" for a, when, _, _ in old)]
    file, library = written("\n".join(lines)), load()[0]
    with Lake.create_or_open(lake) as store:
        latest = store.latest_run()
        some = library.only([r.id for r in library.rules if r.pack == "osec"])
        early = detect(store, Settings(lake=lake), some, as_of=datetime(2025, 3, 1, tzinfo=UTC)).run_id
    assert latest is not None
    words = ["rules", "transition", str(file), "--lake", str(lake), "--json", "--run"]
    told = [json.loads(CliRunner().invoke(app, [*words, run]).stdout) for run in (early, latest.run_id)]
    assert told[0]["to"] == "2025-03-01T00:00:00+00:00"
    assert date.fromisoformat(told[1]["to"][:10]) > date(2025, 4, 1)
