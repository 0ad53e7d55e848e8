"""``fintel graph`` as a user types it; AMLworld's attempts by their shape."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import polars as pl
import pytest

FINTEL = Path(sys.executable).parent / "fintel"
SVG = "{http://www.w3.org/2000/svg}"


def fintel(*words: object, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FINTEL_")} | {"NO_COLOR": "1"}
    done = subprocess.run([FINTEL, *map(str, words)], cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after init, synth, and a run; one payer has a name that is a formula and a tag."""
    folder = tmp_path_factory.mktemp("graph")
    fintel("init", folder=folder)
    fintel("synth", "feed", "--accounts", 400, "--days", 60, "--seed", 3, folder=folder)
    hostile = "=HYPERLINK(1)<script>|x"
    paid = pl.read_parquet(next((folder / "feed").glob("transactions*.parquet"))).head(3)
    ring = ["meridian-us|ring-a", hostile, "meridian-us|ring-b"]
    at = pl.datetime(2025, 2, 10, time_zone="UTC") + pl.duration(hours=pl.int_range(3))
    planted = paid.with_columns(
        transaction_id=pl.Series([f"synthetic:ring-{i}" for i in range(3)]), booked_at=at.cast(paid.schema["booked_at"]),
        debtor_account_id=pl.Series(ring), creditor_account_id=pl.Series([*ring[1:], ring[0]]),
        amount=pl.lit(5000).cast(paid.schema["amount"]), currency=pl.lit("USD"), status=pl.lit("booked"),
        instrument=pl.lit("credit_transfer"), channel=pl.lit("online"),
        reversal_of=pl.lit(None, dtype=pl.String),
    )  # fmt: skip
    planted.write_parquet(folder / "feed" / "transactions-9999.parquet")
    fintel("run", "feed", "--budget", 3, "--drafts", 0, folder=folder)
    return folder


def test_motifs_as_json_have_their_payments(home: Path) -> None:
    words = ("graph", "motifs", "-k", "cycle", "-a", "meridian-us|ring-a", "--tolerance", 0.05, "--json")
    told = json.loads(fintel(*words, folder=home).stdout)["cycle"]
    (cycle,) = told["instances"]
    assert (cycle["accounts"], cycle["payments"], cycle["retention"]) == (3, 3, 1.0)
    assert [e["transaction_id"] for e in told["edges"]] == [f"synthetic:ring-{i}" for i in range(3)]
    assert [e["hop"] for e in told["edges"]] == [1, 2, 3] and told["skipped"] == []
    late = ("--from", "2025-02-11", *words[1:])
    assert json.loads(fintel("graph", late[2], *late[:2], *words[2:], folder=home).stdout)["cycle"]["instances"] == []


def test_explain_and_report_show_the_hops_that_a_rule_read(home: Path) -> None:
    rule = "ml-general/money-comes-back-over-others"
    told = json.loads(fintel("explain", "meridian-us|ring-a", "--json", folder=home).stdout)
    steps = [w for w in told["ways"] if w["rule"] == rule]
    assert [s["transaction_id"] for s in steps] == [f"synthetic:ring-{i}" for i in range(3)]
    assert [c["observed"] for c in told["clauses"] if c["kind"] == "motif"] == [3.0]
    assert f"{rule}: cycle-kept, 3 payments" in fintel("explain", "meridian-us|ring-a", folder=home).stdout
    # 1: the draft lacks facts of the filer, who is nobody here
    made = json.loads(fintel("report", "meridian-us|ring-a", "--json", folder=home, code=1).stdout)
    page = (home / made["html"]).read_text()
    assert "Money came back to where it set out over 3 payments." in page and "<script" not in page
    why = fintel("rules", "why-not", "meridian-us|ring-a", rule, folder=home).stdout
    assert "HIT" in why and "cut a search" not in why


def test_motifs_as_csv_run_no_formula(home: Path) -> None:
    told = fintel("graph", "motifs", "-k", "cycle", "-a", "meridian-us|ring-a", "--csv", folder=home).stdout
    rows = list(csv.DictReader(io.StringIO(told)))
    assert {r["kind"] for r in rows} == {"cycle"} and rows[0]["hop"] == "1"
    cells = [cell for r in rows for cell in r.values()]
    assert any("HYPERLINK" in cell for cell in cells)
    assert not any(cell[:1] in "=+-@" for cell in cells if cell)


def test_every_kind_runs_and_what_is_left_out_is_said(home: Path) -> None:
    told = json.loads(fintel("graph", "motifs", "--limit", 2, "--json", folder=home).stdout)
    assert len(told) == 13
    assert all(len(found["instances"]) <= 2 for found in told.values())
    assert told["fan-in"]["skipped"] and "more than 2 instances" in told["fan-in"]["skipped"][0]["reason"]
    shown = fintel("graph", "motifs", "-k", "fan-in", "--limit", 2, "--payments", folder=home)
    assert "many pay one" in shown.stdout and "transaction_id" in shown.stdout
    assert "more are not told" in shown.stderr and "more than 2 instances" not in shown.stderr


def test_wrong_words_have_hints(home: Path) -> None:
    wrong = fintel("graph", "motifs", "-k", "cycel", folder=home, code=2)
    assert "there is no motif 'cycel'" in wrong.stderr and "cycle" in wrong.stderr.split("hint")[1]
    assert "7d" in fintel("graph", "motifs", "--within", "a week", folder=home, code=2).stderr
    nobody = fintel("graph", "motifs", "-a", "meridian-us|ring-c", folder=home, code=2)
    assert "no payment names the account" in nobody.stderr and "hint" in nobody.stderr
    assert "hint" in fintel("graph", "around", "nobody", folder=home, code=2).stderr
    assert fintel("graph", "around", 1, "--to", "0001-01-02", "--json", folder=home, code=2).stderr.startswith("error:")
    assert ".svg or .html" in fintel("graph", "around", 1, "--picture", "a.png", folder=home, code=2).stderr
    assert "one of them" in fintel("graph", "motifs", "--json", "--csv", folder=home, code=2).stderr
    nowhere = fintel("graph", "around", 1, "--picture", "nowhere/a.svg", folder=home, code=2)
    assert "there is no folder 'nowhere'" in nowhere.stderr and "hint" in nowhere.stderr
    huge = fintel("graph", "motifs", "-k", "fan-in", "--cap", "9" * 20, folder=home, code=2).stderr
    assert "--cap" in huge and "1000000" in huge
    useless = fintel("graph", "motifs", "-k", "fan-in", "--tolerance", 0.1, folder=home, code=2).stderr
    assert "no amount rule" in useless and "hint" in useless
    assert "-k reciprocal" in fintel("graph", "motifs", "-k", "cycle", "--hops", 2, folder=home, code=2).stderr


def test_periods_have_an_order_and_say_where_they_are_empty(home: Path) -> None:
    turned = fintel("graph", "motifs", "-k", "cycle", "--from", "2025-06-01", "--to", "2025-01-01", folder=home, code=2)
    assert "--from 2025-06-01 is later than --to 2025-01-01" in turned.stderr
    empty = fintel("graph", "motifs", "-k", "cycle", "--from", "2030-01-01", folder=home)
    assert "no payments from 2030-01-01" in empty.stderr
    ring = ("graph", "motifs", "-k", "cycle", "-a", "meridian-us|ring-a", "--json")
    # A day is whole at both ends: the ring's payments are of its first three hours.
    day = fintel(*ring, "--from", "2025-02-10", "--to", "2025-02-10", folder=home)
    assert len(json.loads(day.stdout)["cycle"]["instances"]) == 1 and "no payments" not in day.stderr


def test_a_rank_and_a_party_are_known_to_every_command(home: Path) -> None:
    ranked = json.loads(fintel("rank", "--json", folder=home).stdout)
    first = next(a for a in ranked if a["rank"] == 1)["account_id"]
    assert json.loads(fintel("graph", "around", 1, "--days", 60, "--json", folder=home).stdout)["account_id"] == first
    held = fintel("graph", "around", first, "--by", "party", "--days", 60, "--json", folder=home)
    assert json.loads(held.stdout)["account_id"] not in (first, None)
    # The rank is known, so it is the other one that nobody has; and the nearest is offered.
    nobody = "meridian-us|ring-c"
    for words in (
        ("motifs", "-k", "cycle", "-a", 1, "-a", nobody),
        ("risk", "-a", 1, "-a", nobody),
        ("path", 1, nobody),
    ):
        told = fintel("graph", *words, folder=home, code=2).stderr
        assert f"no payment names the account '{nobody}'" in told and "did you mean 'meridian-us|ring-" in told


def test_path_is_in_time_order_and_has_a_direction(home: Path) -> None:
    hostile = "=HYPERLINK(1)<script>|x"
    told = json.loads(fintel("graph", "path", "meridian-us|ring-a", "meridian-us|ring-b", "--json", folder=home).stdout)
    assert [(s["source"], s["target"]) for s in told] == [
        ("meridian-us|ring-a", hostile),
        (hostile, "meridian-us|ring-b"),
    ]
    none = fintel("graph", "path", "meridian-us|ring-b", hostile, folder=home, code=2)
    assert "no way in time order" in none.stderr and "other direction" in none.stderr


def test_around_draws_what_it_says(home: Path) -> None:
    words = ("graph", "around", "meridian-us|ring-a", "--to", "2025-02-20", "--days", 20, "--hops", 2)
    told = json.loads(fintel(*words, "--picture", "ring.svg", "--json", folder=home).stdout)
    assert {n["node"] for n in told["nodes"]} == {"meridian-us|ring-a", "meridian-us|ring-b", "=HYPERLINK(1)<script>|x"}
    picture = ElementTree.fromstring((home / "ring.svg").read_text())
    lines = list(picture.iter(f"{SVG}path"))
    assert len(lines) == len(told["edges"]) == 3
    words_drawn = " ".join(e.text or "" for e in picture.iter(f"{SVG}text"))
    assert "5k · 02-10" in words_drawn and "ring-a" in words_drawn and "<script>" in words_drawn
    assert "<script" not in (home / "ring.svg").read_text()
    first = fintel("graph", "around", 1, "--days", 60, "--picture", "first.html", folder=home)
    page = (home / "first.html").read_text()
    assert "Content-Security-Policy" in page and "★" in page and "★" in first.stdout
    assert (home / "first.html").stat().st_mode & 0o077 == 0


@pytest.fixture(scope="module")
def attempts(root: Path) -> ModuleType:
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        importlib.import_module("motifs_page")
        return importlib.import_module("attempts")
    finally:
        sys.path.pop(0)


def test_attempts_are_found_and_named(shared: Path, attempts: ModuleType) -> None:
    patterns = shared / "data" / attempts.PATTERNS
    if not patterns.is_file():
        pytest.skip("no pattern file among the samples")
    told = {row["typology"]: row for row in attempts.attempts_told(*attempts.read_attempts(patterns))}
    assert sum(row["attempts"] for row in told.values()) == 370
    share = {t: row["defined_and_whole"] / row["defined"] for t, row in told.items() if row["defined"]}
    assert share["FAN-IN"] == share["SCATTER-GATHER"] == 1
    assert share["FAN-OUT"] > 0.97 and share["GATHER-SCATTER"] > 0.9
    assert share["CYCLE"] > 0.8 and share["RANDOM"] > 0.85
    # Who is not found has a reason.
    assert all(sum(row["why"].values()) == row["attempts"] - row["whole"] for row in told.values())


def test_what_synth_plants_is_found_among_everything_else(attempts: ModuleType) -> None:
    told = attempts.synth_told(accounts=1_500, days=90, seed=7)
    planted = sum(row["planted_instances"] for row in told)
    assert planted >= 8
    assert sum(row["found"] for row in told) >= 0.99 * planted


def test_the_page_has_every_kind(root: Path, attempts: ModuleType) -> None:
    page = (root / "docs" / "reference" / "motifs.md").read_text(encoding="utf-8")
    assert sys.modules["motifs_page"].kinds() in page
