"""``fintel graph risk`` and what the graph adds to a run, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_graph_cli import fintel


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after init, synth, and a run; a threshold is stated."""
    folder = tmp_path_factory.mktemp("risk")
    fintel("init", folder=folder)
    fintel("synth", "feed", "--accounts", 300, "--days", 90, "--seed", 5, folder=folder)
    settings = folder / "fintel.toml"
    text = settings.read_text(encoding="utf-8").replace("# threshold_bits = -4.0", "threshold_bits = -6.5")
    settings.write_text(text.replace("budget = 50", "budget = 2"), encoding="utf-8")
    fintel("run", "feed", "--drafts", 0, folder=folder)
    return folder


def asked(folder: Path, *words: object) -> Any:
    return json.loads(fintel(*words, "--json", folder=folder).stdout)


def test_risk_is_split_among_seeds_with_the_payments_of_a_path(home: Path) -> None:
    told = asked(home, "graph", "risk", "--top", 3)
    assert told["seeds"] > 0 and len({a["account_id"] for a in told["accounts"]}) == 3
    for one in told["accounts"]:
        assert sum(part["share"] for part in one["split"]) == pytest.approx(one["share"], abs=1e-9)
    first = next(a for a in told["accounts"] if a["path"])
    assert first["path"][-1]["creditor_account_id"] == first["account_id"]
    assert first["path"][0]["debtor_account_id"] in {part["seed_id"] for part in first["split"]}
    shown = fintel("graph", "risk", "--account", first["account_id"], folder=home).stdout
    assert first["path"][0]["transaction_id"] in shown and f"from {first['split'][0]['seed_id']}" in shown
    assert (
        "no payment names the account 'nobody'" in fintel("graph", "risk", "-a", "nobody", folder=home, code=2).stderr
    )


def test_without_seeds_it_says_so(home: Path) -> None:
    early = fintel("graph", "risk", "--as-of", "2020-01-01", folder=home)
    assert "no seeds as of 2020-01-01" in early.stderr and early.stdout == ""
    assert asked(home, "graph", "risk", "--as-of", "2020-01-01")["accounts"] == []


def test_the_run_shows_the_reason_its_payments_and_both_decisions(home: Path, tmp_path: Path) -> None:
    reasons = asked(home, "sql", "select account_id, name, bits, episode_id from reasons where origin = 'graph'")
    with_path = next(r for r in reasons if r["episode_id"])
    why = asked(home, "explain", with_path["account_id"])
    (mine,) = [r for r in why["reasons"] if r["episode_id"] == with_path["episode_id"]]
    assert mine["origin"] == "graph" and mine["name"].startswith("money-from-")
    assert why["alert"]["prior"] + sum(r["bits"] for r in why["reasons"]) == why["alert"]["score"]
    ids = [p["transaction_id"] for p in why["paths"] if p["path"] == mine["episode_id"]]
    assert ids and all(i in mine["text"] for i in ids)
    picture = tmp_path / "why.svg"
    told = fintel("explain", with_path["account_id"], "--picture", picture, folder=home)
    assert "of the money that it received" in told.stdout and ids[0] in told.stdout
    assert "of the money that it" in picture.read_text(encoding="utf-8")
    ranked = fintel("rank", folder=home).stderr
    scores = pl.DataFrame(asked(home, "rank", "--budget", 100_000))["score"]
    due = int((scores >= -6.5).sum())
    assert due > 2
    assert "capacity: the queue shows 2 (budget)" in ranked
    assert (
        f"threshold: {due} own accounts score -6.5 bits or more and must be read; {due - 2} of them are beyond"
        in ranked
    )
    manifest = asked(home, "detect")
    assert manifest["config"]["threshold_bits"] == -6.5 and manifest["config"]["budget"] == 2
    assert manifest["config"]["risk_seeds"] == ["intel", "label", "rule"]
