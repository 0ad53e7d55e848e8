"""``fintel compare | promote | score | dossier`` as a user types them, on a population whose schemes go on after training."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import Result
from models_cases import START, population
from typer.testing import CliRunner

from fintel.cli.main import app
from fintel.config import Settings
from fintel.feeds import mapping_loader
from fintel.models.dataset import Sampling
from fintel.models.decisions import CHALLENGER, RECORD, point, read_decisions
from fintel.models.saved import CARD_FILE, save
from fintel.models.training import train
from fintel.pipeline import canonical_tables, ingest
from fintel.store.lake import Lake

NAMES = ("--made-by", "Ann Analyst", "--approve", "Bob Reviewer")


def fintel(*words: object, folder: Path, code: int = 0) -> Result:
    """The command in this process: starting Python anew two dozen times takes longer than all that is tested."""
    environment = {name: None for name in os.environ if name.startswith("FINTEL_")} | {"NO_COLOR": "1"}
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, list(map(str, words)), env=environment)
    assert done.exit_code == code, f"{done.stdout}{done.stderr}{done.exception!r}"
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake, and a challenger that was trained when two thirds of its payments had been booked."""
    folder = tmp_path_factory.mktemp("governed")
    feed = folder / "feed"
    feed.mkdir()
    for name, frame in population(schemes=90, days=300).items():
        frame.drop("feed_id", "source", "source_file", "source_row", strict=False).collect().write_parquet(
            feed / f"{name}.parquet"
        )
    (folder / "fintel.toml").write_text("[ranking]\nbudget = 25\n")
    settings = Settings(lake=folder / "lake", threads=1)
    with Lake.create_or_open(settings.lake) as store:
        ingest(store, feed, mapping_loader.load("fintel"), settings)
        tables = {name: frame.collect().lazy() for name, frame in canonical_tables(store).items()}
    known = tables["accounts"].select("account_id").head(1).collect().with_columns(score=1.0)
    model = train(
        tables, settings=settings, as_of=START + timedelta(days=240), rule_scores=known,
        sampling=Sampling(families=("volume", "counterparties", "flow")),
        fingerprints={"library": "0" * 12, "feeds": "f" * 16},
    ).model  # fmt: skip
    save(model, settings.lake / "models")
    point(settings.lake / "models", CHALLENGER, model.model_id)
    return folder


@pytest.fixture(scope="module")
def model_id(home: Path) -> str:
    return (home / "lake" / "models" / CHALLENGER).read_text().strip()


def test_one_person_alone_is_refused_and_nothing_is_written(home: Path) -> None:
    done = fintel(
        "promote", "--made-by", "Ann Analyst", "--approve", "ann  ANALYST", "--no-mlflow", folder=home, code=1
    )
    assert "SHUT" in done.stdout and "a second person looks at it" in done.stdout.replace("\n", " ")
    assert "champion stays rules alone" in done.stderr
    assert not (home / "lake" / "models" / RECORD).exists() and not (home / "lake" / "models" / "champion").exists()


def test_promoted_recorded_rolled_back(home: Path, model_id: str) -> None:
    models = home / "lake" / "models"
    told = json.loads(fintel("promote", *NAMES, "--no-mlflow", "--json", folder=home).stdout)
    assert told["open"] and told["champion"] == model_id
    assert (models / "champion").read_text().strip() == model_id and not (models / CHALLENGER).exists()
    found = told["decision"]["evidence"]["comparison"]
    assert found["way"] == "later" and found["positives"] >= 10
    assert found["differences"]["average precision"]["low"] > 0
    assert (
        told["decision"]["fingerprints"]["trees"]
        == json.loads((models / model_id / CARD_FILE).read_text())["trees_sha256"]
    )
    history = fintel("promote", "--history", folder=home).stdout
    assert (
        "1 decisions, the chain is whole" in history
        and "Bob Reviewer" in history
        and told["decision"]["hash"] in history
    )
    fintel("promote", "--rollback", "--made-by", "Ann Analyst", "--no-mlflow", folder=home, code=1)
    back = fintel("promote", "--rollback", *NAMES, "--no-mlflow", folder=home).stdout
    assert "rules alone is the champion" in back
    assert [d.action for d in read_decisions(models)] == ["promote", "rollback"] and not (models / "champion").exists()
    assert "there is no champion yet" in fintel("score", folder=home, code=2).stderr
    record = models / RECORD
    record.write_bytes(record.read_bytes().replace(b"Bob Reviewer", b"Bob reviewer"))
    assert "line 1 of the record of decisions was changed" in fintel("promote", "--history", folder=home, code=2).stderr
    assert "was changed" in fintel("promote", model_id, *NAMES, folder=home, code=2).stderr
    record.unlink()


def test_compare_says_both_sides(home: Path, model_id: str) -> None:
    done = fintel("compare", model_id, "--champion", "none", folder=home)
    assert "rules alone" in done.stdout and "average precision" in done.stdout
    assert "better outside the interval: average precision" in done.stdout
    assert (
        "both champion and challenger"
        in fintel("compare", model_id, "--champion", model_id, folder=home, code=2).stderr
    )


def test_scores_in_files_are_the_same_and_no_cell_is_a_formula(home: Path, model_id: str) -> None:
    for name in ("s.csv", "s.parquet", "s.jsonl"):
        fintel("score", model_id, "--top", 7, "--out", name, folder=home)
    frame = pl.read_parquet(home / "s.parquet")
    assert (
        frame.height == 7 and frame["bits"].is_sorted(descending=True) and frame["rank"].to_list() == list(range(1, 8))
    )
    with (home / "s.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    lines = [json.loads(line) for line in (home / "s.jsonl").read_text().splitlines()]
    assert [r["account_id"] for r in rows] == [r["account_id"] for r in lines] == frame["account_id"].to_list()
    assert not any(v[:1] in "=+@\t" for r in rows for v in r.values() if v)
    assert (home / "s.csv").stat().st_mode & 0o077 == 0
    assert "cannot write" in fintel("score", model_id, "--out", "s.xlsx", folder=home, code=2).stderr


def test_a_dossier_twice_is_the_same(home: Path, model_id: str) -> None:
    fintel("dossier", model_id, "--out", "one", folder=home)
    assert len(list((home / "one").iterdir())) >= 9
    assert "as they would be" in fintel("dossier", model_id, "--out", "one", "--check", folder=home).stderr
    (home / "one" / "clauses.md").write_text("all is well")
    assert (
        "clauses.md: other bytes" in fintel("dossier", model_id, "--out", "one", "--check", folder=home, code=1).stdout
    )


@pytest.mark.parametrize("words", [["score", "../../etc"], ["compare", "nobody"], ["promote", "mlflow:../x"]])
def test_what_is_no_model_is_refused(home: Path, words: list[str]) -> None:
    assert "error" in fintel(*words, folder=home, code=2).stderr
