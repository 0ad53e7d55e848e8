"""``fintel evaluate`` and ``fintel drift`` as a user types them, on the small synthetic set."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from fintel.bench.model_evaluation import Evaluated
from fintel.cli.main import app
from fintel.cli.options import moment
from fintel.config import load
from fintel.models.dataset import Sampling
from fintel.models.saved import save
from fintel.models.training import train


def fintel(home: Path, *words: object, code: int = 0) -> Result:
    done = CliRunner().invoke(app, [*map(str, words), "--config", str(home / "fintel.toml")], env={"NO_COLOR": "1"})
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def home(lake: Path, tables: dict[str, pl.LazyFrame]) -> Path:
    """Settings beside a lake with a champion trained on the first three months."""
    (lake.parent / "fintel.toml").write_text('lake = "lake"\nthreads = 1\n[ranking]\nbudget = 15\n', encoding="utf-8")
    said = fintel(lake.parent, "evaluate", code=2)
    assert "there is no champion yet" in said.stderr and "fintel train" in said.stderr
    # as fintel train does, but without running the rules, which this module's time does not allow twice
    settings = load(lake.parent / "fintel.toml")
    sampling = Sampling(known_by=datetime(2026, 6, 1, tzinfo=UTC))
    trained = train(tables, settings=settings, as_of=moment("2025-03-31"), sampling=sampling)
    save(trained.model, lake / "models")
    (lake / "models" / "champion").write_text(trained.model.model_id, encoding="ascii")
    return lake.parent


def test_later_months_are_judged_and_a_page_is_written(home: Path, tmp_path: Path) -> None:
    # one month, for the rules run once a month
    done = fintel(home, "evaluate", "--every", 60, "--out", tmp_path / "told", "--reviewed", "review", "--step", 5)
    assert "that the model has not seen" in done.stdout and "are too few to rely on" in done.stdout
    for words in (
        "average precision",
        "next analyst",
        "typology",
        "First hits",
        "Calibration",
        "Below the line",
        "age",
    ):
        assert words in done.stdout
    found = Evaluated.model_validate_json((tmp_path / "told" / "evaluation.json").read_text(encoding="utf-8"))
    assert found.way == "later" and set(found.queues) == {"rules", "model", "both"}
    assert found.capacities == (15, 30, 75) and found.queues["both"].steps[0].first == 16
    # nobody who taught the model is counted, and months are those after its last snapshot
    assert all(m.until.isoformat() > "2025-03-31" for m in found.queues["model"].months)
    for hits in found.first_hits.values():
        assert hits.money_before + hits.money_missed <= hits.money and hits.found <= hits.subjects == found.positives
    assert {g.attribute for g in found.subgroups} == {"age band", "country", "customer kind"}
    assert min(g.accounts for g in found.subgroups) >= 20
    assert found.line is not None and sum(b.reviewed for b in found.line.bands) > 100
    page = (tmp_path / "told" / "evaluation.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 8 and "<script" not in page and "script-src 'none'" in page
    assert not re.search(r"(?:src|href)=", page)


@pytest.mark.long
def test_without_later_months_the_training_is_made_again(home: Path) -> None:
    told = json.loads(fintel(home, "evaluate", "--every", 90, "--seeds", 2, "--json").stdout)
    assert told["way"] == "again" and told["days"] is None and not told["first_hits"]
    assert any("made again" in note for note in told["notes"])
    # the same trees came out: nothing has changed since
    assert not any("other trees" in note for note in told["notes"])
    card = json.loads(next((home / "lake" / "models").glob("*/card.json")).read_text(encoding="utf-8"))
    for name, ranking in card["evaluation"]["rankings"].items():
        judged = told["queues"][name]["average_precision"]["value"]
        assert judged == pytest.approx(ranking["average_precision"]["value"])
    assert len(told["seeds"]["average_precision"]["both"]) == 2


def test_drift_says_what_moved_and_stops_a_script_that_must_act(home: Path) -> None:
    told = json.loads(fintel(home, "drift", "--json").stdout)
    assert told["verdict"] in ("steady", "watch") and told["score"]["psi"] is not None
    assert {f["name"] for f in told["features"]} and all(f["verdict"] != "act" for f in told["families"])
    # after ten days of a feed nobody has a month behind him
    early = fintel(home, "drift", "--as-of", "2025-01-10", code=1)
    assert "act" in early.stdout and "before the model was trained" in early.stdout


def test_wrong_options_are_explained(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for words, said in (
        (("evaluate", "--threshold", "3"), "needs --reviewed"),
        (("evaluate", "--out", tmp_path / "file"), "is a file"),
        (("evaluate", "../../etc"), "not a model id"),
        (("drift", "0123456789abcdef"), "cannot be read"),
        (("drift", "--as-of", "2020-01-01"), "no account has an entry"),
    ):
        done = fintel(home, *words, code=2)
        assert said in done.stderr.replace("\n", " ") and "Traceback" not in done.output


def test_the_page_names_every_option_and_no_other(root: Path) -> None:
    page = (root / "docs" / "how-to" / "evaluate-a-model.md").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, part in zip(("evaluate", "drift"), re.split(r"^## \d\. ", page, flags=re.MULTILINE)[1:], strict=True):
        there = {o for p in commands[name].params for o in p.opts if o.startswith("--")}
        named = set(re.findall(r"--[a-z][a-z-]*", part))
        assert there - named <= {"--config", "--lake"} and named <= there, name
