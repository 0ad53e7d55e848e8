"""The whole line on sets that nobody here made: every row accounted for, no rule fails, no flood of alerts."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from fintel.config import Settings
from fintel.domain.feed import Commit
from fintel.feeds import mapping_loader
from fintel.pipeline import Summary, canonical_tables, detect, ingest, last_moment, load_library
from fintel.store.lake import Lake

#: set -> payments read, refused; why; currencies but the dollar need rates
SMALL = {
    "saml_d": (1_000, 0, []),
    "amlworld": (1_572, 0, []),
    "amlworld_attempts": (3_209, 0, []),
    "fincen_files": (4_507, 6, [("F001", "booked_at")]),
    "generated_1K": (121_457, 0, []),
}
LARGE = {
    "generated_10K_lookalikes": (174_386, 42, [("F003", "amount")]),
    "ibm_20K_fanin200": (118_250, 0, []),
    "ldbc_finbench": (79_930, 0, []),
}


@pytest.fixture(scope="module")
def samples(root: Path) -> ModuleType:
    """The benchmark's module: sets, rates, attempts as a feed."""
    sys.path.insert(0, str(root / "benchmarks"))
    try:
        return importlib.import_module("samples")
    finally:
        sys.path.pop(0)


@dataclass
class Line:
    lake: Path
    settings: Settings
    source: Path
    commits: list[Commit]
    summary: Summary


def line(samples: ModuleType, name: str, data: Path, home: Path, *, rates: bool = True) -> Line:
    sample = samples.SAMPLES[name]
    source = data / sample.folder
    if not source.exists():
        pytest.skip(f"no {source.name} among the samples")
    if source.is_file():
        source, _ = samples.attempts_as_feed(source, home)
    settings = Settings(lake=home / "lake", drafts=home / "drafts")
    library, found = load_library(settings)
    assert not found
    with Lake.create_or_open(settings.lake) as lake:
        if sample.rates and rates:
            ingest(lake, samples.write_rates(home), mapping_loader.load("fintel"), settings)
        commits = ingest(lake, source, mapping_loader.load(sample.mapping), settings)
        return Line(settings.lake, settings, source, commits, detect(lake, settings, library))


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE)])
def test_the_line_runs_and_accounts_for_every_row(shared: Path, tmp_path: Path, samples: ModuleType, name: str) -> None:
    run = line(samples, name, shared / "data", tmp_path)
    read, refused, why = {**SMALL, **LARGE}[name]
    for c in run.commits:
        assert c.read == c.accepted + c.duplicates + c.rejected + c.skipped
    paid = [c for c in run.commits if c.target == "transactions"]
    assert (sum(c.read for c in paid), sum(c.rejected for c in paid)) == (read, refused)
    summary = run.summary
    with Lake.open(run.lake) as lake:
        for table in ("transactions", "accounts", "parties", "labels"):
            assert lake.count(table) == sum(c.accepted for c in run.commits if c.target == table)
        quarantine = lake.scan("quarantine").collect()
        assert quarantine.height == sum(c.rejected for c in run.commits)
        assert quarantine.select("code", "column").unique().rows() == why
        # A payment without a base amount would blind rules: with rates there is none.
        assert lake.scan("transactions").filter(pl.col("amount_base").is_null()).collect().is_empty()
        assert summary.as_of == last_moment(lake)
        accounts = samples.all_accounts(canonical_tables(lake))
        reasons = lake.run_table(summary.run_id, "reasons").collect()
        episodes = lake.run_table(summary.run_id, "episodes").collect()

    results = summary.rule_results
    assert set(results["outcome"]) == {"evaluated", "cannot_tell"}
    assert results.filter(outcome="cannot_tell")["reason"].null_count() == 0
    assert results["hits"].sum() == episodes["hits"].sum()
    # No set is so suspicious that one rule may name a thirtieth of its accounts.
    for rule, level, n in episodes.group_by("rule_id", "level").agg(pl.col("account_id").n_unique()).iter_rows():
        assert level == "low" or n <= samples.TOO_MANY * accounts.len(), (rule, n)
    assert set(summary.alerts["account_id"]) <= set(accounts)
    sums = dict(reasons.group_by("account_id").agg(pl.col("bits").sum()).iter_rows())
    for account, prior, score in summary.alerts.select("account_id", "prior", "score").iter_rows():
        assert math.isfinite(score) and prior + sums[account] == score


def test_the_same_feed_again_changes_nothing(shared: Path, tmp_path: Path, samples: ModuleType) -> None:
    run = line(samples, "fincen_files", shared / "data", tmp_path)
    library, _ = load_library(run.settings)
    with Lake.create_or_open(run.lake) as lake:
        again = ingest(lake, run.source, mapping_loader.load("fincen_files"), run.settings)
        assert all(c.repeated for c in again) and lake.count("transactions") == 4_501
        second = detect(lake, run.settings, library)
    assert second.run_id == run.summary.run_id
    assert second.alerts.equals(run.summary.alerts) and second.alerts.height > 0


def test_without_rates_rules_do_not_say_no(shared: Path, tmp_path: Path, samples: ModuleType) -> None:
    """SAML-D is in pounds: 996 of 1,000 payments have no dollar amount; rules count them as unseen."""
    outcomes = {}
    for rates in (False, True):
        home = tmp_path / str(rates)
        home.mkdir()
        run = line(samples, "saml_d", shared / "data", home, rates=rates)
        with Lake.open(run.lake) as lake:
            unknown = lake.scan("transactions").select(pl.col("amount_base").is_null().sum()).collect().item()
        assert unknown == (0 if rates else 996)
        results = run.summary.rule_results
        outcomes[rates] = set(results.filter(outcome="evaluated")["rule_id"])
        fan_in = results.filter(rule_id="ml-general/fan-in").row(0, named=True)
        assert (fan_in["candidates"], fan_in["unseen"]) == ((1000, 0) if rates else (4, 996))
    assert len(outcomes[True] - outcomes[False]) >= 5


def test_laundering_attempts_are_told_by_their_shape(shared: Path, tmp_path: Path, samples: ModuleType) -> None:
    """AMLworld's own names for its attempts, beside the rules that cite their payments."""
    patterns = shared / "data" / "ibm_amlworld" / "HI-Small_Patterns.txt"
    if not patterns.is_file():
        pytest.skip("no pattern file among the samples")
    run = line(samples, "amlworld_attempts", shared / "data", tmp_path)
    (tmp_path / "again").mkdir()
    _, attempts = samples.attempts_as_feed(patterns, tmp_path / "again")
    with Lake.open(run.lake) as lake:
        found = {row["typology"]: row for row in samples.attempts_found(lake, run.summary.run_id, attempts)}
    assert sum(row["attempts"] for row in found.values()) == 370
    by_rule = {t: row["rules"].get("ml-general/gather-scatter", 0) for t, row in found.items()}
    assert by_rule["GATHER-SCATTER"] >= 5
    assert by_rule["GATHER-SCATTER"] > sum(n for t, n in by_rule.items() if t != "GATHER-SCATTER")


def test_the_benchmark_prints_what_it_measured(shared: Path, root: Path) -> None:
    command = [sys.executable, root / "benchmarks" / "samples.py", shared / "data", "--only", "fincen_files", "--json"]
    if not (shared / "data" / "fincen_files").is_dir():
        pytest.skip("no fincen_files among the samples")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one = json.loads(done.stdout)["fincen_files"]
    assert (one["payments"], one["failed"], one["without_base_amount"]) == (4_501, [], 0)
    assert one["refused"] == [{"target": "transactions", "code": "F001", "column": "booked_at", "rows": 6}]
    assert one["peak_rss"] > 100 * 2**20 and one["seconds"]["read"] > 0


@pytest.mark.slow
def test_a_model_comes_near_the_floor_of_simple_features(shared: Path, tmp_path: Path, samples: ModuleType) -> None:
    """20,000 accounts of AMLSim, all labels known: 29 features and boosting reach 0.768 of average precision."""
    samples_run = line(samples, "ibm_20K_fanin200", shared / "data", tmp_path)
    with Lake.open(samples_run.lake) as lake:
        seen = samples.train(
            canonical_tables(lake), settings=samples_run.settings, sampling=samples.Sampling(known_by=samples.EVER)
        ).evaluation
    assert (seen.plan, seen.positives) == ("grouped", 954)
    assert seen.rankings["model"].average_precision.value > 0.74
