"""Gates of a promotion, the registry, and the dossier, of one small model."""

from __future__ import annotations

import json
import pickle
import platform
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
import typer
from models_cases import population

from fintel.bench.clauses import CLAUSES, NOT_AT_HAND, NOT_PROVIDED
from fintel.bench.dossier import FORMAT, MANIFEST, Material, build, differences, write
from fintel.bench.dossier_chapters import chapters
from fintel.bench.dossier_figures import FIGURES
from fintel.bench.model_comparison import Beside, compare_models
from fintel.bench.model_promotion import evidence, fingerprints, leakage_gate, model_gates
from fintel.config import RankingSettings, Settings
from fintel.errors import ModelError
from fintel.models import tracking
from fintel.models.artefacts import place_of, read
from fintel.models.dataset import Sampling
from fintel.models.decisions import Register, read_decisions
from fintel.models.saved import CARD_FILE, TREES_FILE, Card, Model, identify, save
from fintel.models.scorer import BoostedScorer
from fintel.models.training import train
from fintel.pipeline import load_library
from fintel.rules.model import Library

SETTINGS = Settings(threads=1, ranking=RankingSettings(budget=25))
AT = datetime(2025, 3, 1, 12, tzinfo=UTC)
Tables = dict[str, pl.LazyFrame]


@pytest.fixture(scope="module")
def library() -> Library:
    return load_library(SETTINGS)[0]


@pytest.fixture(scope="module")
def one_rule(library: Library) -> Library:
    return library.only(["ml-general/fan-in"])


@pytest.fixture(scope="module")
def tables() -> Tables:
    from fintel.domain.schema import TABLES
    from fintel.frames import empty

    found = population()
    return {name: found.get(name, empty(table).lazy()) for name, table in TABLES.items()}


def fit(tables: Tables, *families: str, rounds_of: BoostedScorer | None = None) -> Model:
    known = pl.DataFrame({"account_id": ["a0001"], "score": [1.0]})
    marks = {"library": "0" * 12, "feeds": "f" * 16}
    sampling = Sampling(families=families)
    return train(
        tables, settings=SETTINGS, rule_scores=known, sampling=sampling, fingerprints=marks, scorer=rounds_of
    ).model


@pytest.fixture(scope="module")
def model(tables: Tables) -> Model:
    return fit(tables, "volume", "counterparties", "flow")


@pytest.fixture(scope="module")
def weak(tables: Tables) -> Model:
    """Of features that say little of a scheme."""
    return fit(tables, "time")


@pytest.fixture(scope="module")
def beside(tables: Tables, model: Model, weak: Model, one_rule: Library) -> Beside:
    last = tables["transactions"].select(pl.col("booked_at").max()).collect().item()
    return compare_models(tables, model, weak, one_rule, SETTINGS, as_of=last, progress=lambda *_: None)


def changed(model: Model, **fields: object) -> Card:
    return identify(model.card.model_copy(update=fields), model.trees)


def shut(card: Card, beside: Beside, **names: str) -> dict[str, str]:
    given = {"made_by": "Ann", "approved_by": "Bob", "base_currency": "USD"} | names
    return {g.name: g.said for g in model_gates(card, beside, champion=None, **given) if not g.open}


# -- comparison and gates


def test_a_better_way_of_training_is_found_better(beside: Beside, model: Model, weak: Model) -> None:
    found = beside.comparison
    assert found.way == "again" and "made again" in found.notes[0]
    assert (found.champion.model_id, found.challenger.model_id) == (weak.model_id, model.model_id)
    assert "average precision" in found.better and not found.worse
    assert beside.drift.model_id == model.model_id and beside.drift.verdict == "steady"
    assert any("age band" in note for note in found.notes), "nothing is known of people here, and that is said"


def test_all_gates_open_for_a_better_model(beside: Beside, model: Model) -> None:
    assert shut(model.card, beside) == {}


def test_each_gate_shuts_with_its_reason(beside: Beside, model: Model) -> None:
    card = model.card
    assert "second person" in shut(card, beside, approved_by=" ann ")["two people"]
    assert "each name a person" in shut(card, beside, made_by="")["two people"]
    assert "USD, the lake's in EUR" in shut(card, beside, base_currency="EUR")["base currency"]
    lacking = changed(model, fingerprints={"rows": "1", "catalogue": "2", "feeds": "3"})
    assert "fingerprint of library" in shut(lacking, beside)["card"]
    alone = card.evaluation.model_copy(update={"rankings": {"model": card.evaluation.rankings["model"]}})
    assert "beside the rules" in shut(changed(model, evaluation=alone), beside)["card"]
    assert "the card has none" in shut(changed(model, leakage=None), beside)["leakage audit"]
    gates = model_gates(card, beside, made_by="Ann", approved_by="Bob", base_currency="USD", champion=card.model_id)
    assert [g.name for g in gates if not g.open] == ["not in use yet"]


def test_no_improvement_and_a_worse_model_are_refused(beside: Beside, model: Model) -> None:
    found = beside.comparison
    flat = {n: e.model_copy(update={"low": -1.0}) for n, e in found.differences.items()}
    same = Beside(beside.as_of, found.model_copy(update={"differences": flat}), beside.drift, None)
    assert "none outside the interval" in shut(model.card, same)["improvement"]
    mixed = {**found.differences, "recall at budget": found.differences["recall at budget"].model_copy(
        update={"value": -0.2, "low": -0.3, "high": -0.1})}  # fmt: skip
    worse = Beside(beside.as_of, found.model_copy(update={"differences": mixed}), beside.drift, None)
    assert "worse outside the interval: recall at budget" in shut(model.card, worse)["improvement"]
    few = Beside(beside.as_of, found.model_copy(update={"positives": 3}), beside.drift, None)
    assert "prove nothing" in shut(model.card, few)["improvement"]


def test_features_that_are_unknown_here_are_named(beside: Beside, model: Model) -> None:
    gone = beside.drift.features[0].model_copy(update={"known_then": 0.9, "known_now": 0.0})
    drift = beside.drift.model_copy(update={"features": (gone, *beside.drift.features[1:])})
    told = shut(model.card, Beside(beside.as_of, beside.comparison, drift, None))
    assert gone.name in told["features"]


def test_a_harmed_group_shuts_the_gate(beside: Beside, model: Model) -> None:
    group = beside.comparison.subgroups[0].model_copy(update={"harm": ("+0.1 false alerts",)})
    found = beside.comparison.model_copy(update={"subgroups": (group,)})
    told = shut(model.card, Beside(beside.as_of, found, beside.drift, None))
    assert "+0.1 false alerts" in told["no group worse off"]


def test_a_failed_leakage_audit_is_refused_and_a_waiver_is_told(model: Model) -> None:
    section = model.card.model_dump(mode="json")["leakage"]
    assert leakage_gate(section).open
    leak = {**section["alone"][0], "value": 1.0}
    assert "tell the label alone" in leakage_gate({**section, "alone": [leak], "positives": 500}).said
    waived = leakage_gate({**section, "alone": [leak], "positives": 500, "waived": {leak["name"]: "a product"}})
    assert waived.open and "a product" in waived.said
    assert not leakage_gate({**section, "checks": []}).open


def test_models_in_two_currencies_are_not_compared(tables: Tables, model: Model, one_rule: Library) -> None:
    other = Model(model.scorer, changed(model, base_currency="EUR"), model.trees)
    with pytest.raises(ModelError, match="EUR and USD"):
        compare_models(tables, model, other, one_rule, SETTINGS, as_of=AT, progress=lambda *_: None)


# -- registry


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake's folder with a registry in it: making its tables takes longer than all that is done with them."""
    pytest.importorskip("mlflow", reason="MLflow is an optional part")
    return tmp_path_factory.mktemp("registry")


@pytest.fixture
def registry(model: Model, database: Path) -> Path:
    """The lake's folder, after a version more, the challenger."""
    tracking.record(model, save(model, database / "models"), lake=database)
    return database


def artefacts(registry: Path) -> Path:
    """The folder of the latest run's artefacts."""
    return max((p.parent.parent for p in (registry / "mlflow").rglob(CARD_FILE)), key=lambda p: p.stat().st_ctime_ns)


def test_a_run_holds_what_a_reader_needs_and_nothing_that_runs(model: Model, registry: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(tracking.default_uri(registry), tracking.default_uri(registry))
    version = client.get_model_version_by_alias(tracking.REGISTERED, "challenger")
    run = client.get_run(version.run_id)
    assert run.data.params["library"] == "0" * 12 and run.data.params["version_lightgbm"]
    assert run.data.metrics == pytest.approx(tracking.figures(model.card.evaluation))
    (known,) = run.inputs.dataset_inputs
    assert known.dataset.digest == model.card.fingerprints["rows"]
    found = {p.name for p in artefacts(registry).rglob("*") if p.is_file()}
    assert found == {
        CARD_FILE, TREES_FILE, "signature.json", "environment.json", "average-precision.svg", "at-budget.svg",
    }  # fmt: skip
    signature = json.loads((artefacts(registry) / "signature.json").read_text())
    assert [c["name"] for c in json.loads(signature["inputs"])] == list(model.card.names)


def test_aliases_follow_decisions(model: Model, registry: Path, tmp_path: Path) -> None:
    models = registry / "models"
    tracking.follow(model.model_id, models, lake=registry, head="h" * 64)
    assert tracking.locate("champion", lake=registry) == model.model_id
    with pytest.raises(ModelError, match="MLflow"):
        tracking.locate("challenger", lake=registry)
    assert tracking.fetch("champion", tmp_path, lake=registry).name == model.model_id
    tracking.follow(None, models, lake=registry, head="h" * 64)
    with pytest.raises(ModelError, match="MLflow"):
        tracking.locate("champion", lake=registry)


class Bomb:
    """A pickle of it writes a file when it is read."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, (f"open({str(self.place)!r}, 'w').close()",))


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("pickled card", "plain text|card"),
        ("pickled trees", "plain text|belong together"),
        ("pickle beside", None),
        ("too large", "larger than"),
        ("no trees", "no trees.txt"),
        ("other model", "belong together|another model"),
        ("names out of the folder", "pattern"),
        ("an MLmodel that names code", None),
    ],
)
def test_a_hostile_artefact_is_never_run(registry: Path, tmp_path: Path, what: str, why: str | None) -> None:
    stored = artefacts(registry) / "model"
    mark = tmp_path / "owned"
    bomb = pickle.dumps(Bomb(mark))
    card = json.loads((stored / CARD_FILE).read_text())
    match what:
        case "pickled card":
            (stored / CARD_FILE).write_bytes(bomb)
        case "pickled trees":
            (stored / TREES_FILE).write_bytes(bomb)
        case "pickle beside":
            (stored / "model.pkl").write_bytes(bomb)
        case "too large":
            with (stored / CARD_FILE).open("ab") as stream:
                stream.truncate(50_000_000)
        case "no trees":
            (stored / TREES_FILE).unlink()
        case "other model":
            (stored / CARD_FILE).write_text(json.dumps({**card, "seed": 99}))
        case "names out of the folder":
            (stored / CARD_FILE).write_text(json.dumps({**card, "model_id": "../../../owned"}))
        case "an MLmodel that names code":
            (stored / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: os\n    code: ..\n")
    target = tmp_path / "models"
    if why is None:
        found = tracking.fetch("challenger", target, lake=registry)
        assert sorted(p.name for p in found.iterdir()) == [CARD_FILE, TREES_FILE]
    else:
        with pytest.raises(ModelError, match=why):
            tracking.fetch("challenger", target, lake=registry)
        assert not list(target.iterdir())
    assert not mark.exists()


RUN = "mlflow-artifacts:/0/a1/artifacts"
SERVED = "https://host/x/api/2.0/mlflow-artifacts/artifacts/0/a1/artifacts"


@pytest.mark.parametrize(
    ("source", "run", "where", "place"),
    [
        (f"{RUN}/model", RUN, "https://host:5000", "/0/a1/artifacts/model"),
        (f"{SERVED}/model", SERVED, "https://host/x", "/0/a1/artifacts/model"),
        ("https://evil/0/a1/artifacts/model", RUN, "https://host", None),
        ("https://evil/model", "https://evil", "https://host", None),
        ("mlflow-artifacts://evil/0/model", "mlflow-artifacts://evil/0", "https://host", None),
        (f"{SERVED}/model", SERVED, "http://host/x", None),
        (f"{RUN}/../../other", RUN, "https://host", None),
        (f"{RUN}/%2e%2e/other", RUN, "https://host", None),
        (f"{RUN}/model?path=x", RUN, "https://host", None),
        (f"{RUN}2/model", RUN, "https://host", None),
        ("/etc/model", "/etc", "https://host", None),
        ("/artefacts/a1/model", "/artefacts/a1", "sqlite:///x.db", Path("/artefacts/a1/model")),
        ("file:///artefacts/a1/model", "file:///artefacts/a1", "sqlite:///x.db", Path("/artefacts/a1/model")),
        ("/artefacts/a1/../../etc", "/artefacts/a1", "sqlite:///x.db", None),
        ("/etc/model", "/etc", "sqlite:///x.db", None),
        ("http://evil/a/model", "http://evil/a", "sqlite:///x.db", None),
        ("s3://evil/a/model", "s3://evil/a", "sqlite:///x.db", None),
    ],
)
def test_files_are_read_from_the_run_alone(source: str, run: str, where: str, place: Path | str | None) -> None:
    if place is not None:
        assert place_of(source, run, where, "/artefacts") == place
    else:
        with pytest.raises(ModelError, match="source is refused"):
            place_of(source, run, where, "/artefacts")


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A tracking server's artefact service: its address, and the paths that were asked for."""
    asked: list[str] = []

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302 if "moved" in self.path else 404 if "none" in self.path else 200)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(b"x" * 3_000)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}", asked
        service.shutdown()


def test_a_server_is_read_within_bounds_and_not_beyond_itself(server: tuple[str, list[str]]) -> None:
    pytest.importorskip("mlflow", reason="MLflow is an optional part")
    where, asked = server
    assert read("/0/a", "card.json", 3_000, where) == b"x" * 3_000
    for path, most, why in (("/0/a", 2_999, "larger"), ("/none", 9_000, "holds no"), ("/moved", 9_000, "answers 302")):
        with pytest.raises(ModelError, match=why):
            read(path, "card.json", most, where)
    assert asked[0] == "/api/2.0/mlflow-artifacts/artifacts/0/a/card.json" and len(asked) == 4


def test_a_version_that_lies_elsewhere_is_not_asked_for(
    registry: Path, tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    import mlflow

    client = mlflow.MlflowClient(tracking.default_uri(registry), tracking.default_uri(registry))
    run = client.get_model_version_by_alias(tracking.REGISTERED, "challenger").run_id
    for run_id in (run, None):
        version = client.create_model_version(tracking.REGISTERED, source=f"{server[0]}/evil", run_id=run_id)
        with pytest.raises(ModelError, match="source is refused|no run"):
            tracking.fetch(str(version.version), tmp_path, lake=registry)
    assert server[1] == []


@pytest.mark.parametrize("which", ["../champion", "champion'; drop table", "-1", "9" * 10, "", "file:///etc"])
def test_only_aliases_and_versions_are_fetched(tmp_path: Path, which: str) -> None:
    with pytest.raises(ModelError, match="no alias or version"):
        tracking.fetch(which, tmp_path, lake=tmp_path)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://ann:secret@db.example/ml", "postgresql://db.example/ml"),
        ("https://ann:se/cr@et@host:5000/x?token=secret#secret", "https://host:5000/x"),
        ("mysql+pymysql://secret@h/x", "mysql+pymysql://h/x"),
        ("sqlite:////data/a@b/mlflow.db", "sqlite:////data/a@b/mlflow.db"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("databricks", "databricks"),
    ],
)
def test_an_address_is_shown_without_credentials(uri: str, shown: str) -> None:
    assert tracking.without_credentials(uri) == shown


def test_a_refused_address_does_not_tell_its_password(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is an optional part")
    folder = save(model, tmp_path / "models")
    with pytest.raises(ModelError) as caught:
        tracking.record(model, folder, lake=tmp_path, uri="nonsense://ann:secret@host/x")
    assert "secret" not in f"{caught.value} {caught.value.hint}" and "host" in str(caught.value.hint)


# -- dossier


@pytest.fixture(scope="module")
def material(model: Model, beside: Beside, library: Library, tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("models")
    gates = model_gates(model.card, beside, made_by="Ann", approved_by="Bob", base_currency="USD", champion=None)
    with Register.open(folder) as register:
        register.decide(
            "promote", model.model_id, at=AT, made_by="Ann <script>alert(1)</script>", approved_by="[Bob](http://x)|",
            fingerprints=fingerprints(model.card), evidence=evidence(gates, beside),
        )  # fmt: skip
    row = {
        "feed_id": "f" * 16, "target": "transactions", "source": "t", "mapping": "m", "source_file": "=cmd|'/c'!A1.csv",
        "sha256": "0" * 64, "bytes": 1, "rows_read": 10, "rows_accepted": 7, "rows_duplicate": 1, "rows_rejected": 1,
        "rows_skipped": 1, "read_at": AT,
    }  # fmt: skip
    return Material(model, library, read_decisions(folder), pl.DataFrame([row]))


def test_the_dossier_is_the_same_to_the_byte(material: Material) -> None:
    one = build(material)
    again = Material(material.model, material.library, material.decisions, material.feeds.with_columns(read_at=None))
    assert build(again) == one
    manifest = json.loads(one[MANIFEST])
    assert manifest["format"] == FORMAT and set(manifest["files"]) == set(one) - {MANIFEST}
    whole = b"".join(one.values()).decode()
    assert not re.search(r"/home/|/tmp/|/root/|[A-Z]:\\\\", whole)
    assert platform.node() not in whole and f"{datetime.now(UTC):%Y-%m-%d}" not in whole


def test_every_clause_is_answered_or_says_that_it_is_not(material: Material) -> None:
    headings = {f"{c.name}#{s.anchor}" for c in chapters(material) for s in c.sections}
    from fintel.cli.main import app

    for clause in CLAUSES:
        assert set(clause.answers) <= headings, clause
        if clause.checked == "not at hand":
            assert not clause.answers and not clause.figure and not clause.command
        if clause.answers:
            assert FIGURES[clause.figure](material)
        for command in filter(None, clause.command.split("; ")):
            words = command.split()[1:]
            found = typer.main.get_command(app)
            for word in words:
                found = found.commands[word]  # type: ignore[attr-defined]
    table = build(material)["clauses.md"].decode()
    assert table.count(NOT_AT_HAND) > 3 and NOT_PROVIDED in table
    rows = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) == len(CLAUSES) + 5


def test_figures_are_the_cards(material: Material) -> None:
    text = build(material)["model-card.md"].decode()
    way = material.model.card.evaluation.rankings["both"]
    assert f"{way.average_precision.value:.3f}" in text
    assert "10 rows read = 7 accepted + 1 duplicates + 1 rejected + 1 skipped: it ties" in FIGURES["reconciled"](
        material
    )
    torn = material.feeds.with_columns(rows_accepted=6)
    assert "DOES NOT TIE" in FIGURES["reconciled"](Material(material.model, material.library, (), torn))
    assert "made by Ann" in FIGURES["approved"](material)


def test_what_stands_in_a_record_is_text_in_the_page(material: Material) -> None:
    made = build(material)
    page = made["dossier.html"].decode()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "").replace(
        "(http://x)", ""
    )
    notes = made["decisions.md"].decode()
    assert "<script" not in notes and r"\[Bob\](http://x)\|" in notes


def test_an_earlier_dossier_is_replaced_and_a_foreign_folder_is_not(material: Material, tmp_path: Path) -> None:
    made = build(material)
    mine = tmp_path / "mine.txt"
    mine.write_text("kept")
    write(tmp_path / "d", {MANIFEST: made[MANIFEST]})
    (tmp_path / "d" / f".{MANIFEST}.part").symlink_to(mine)
    write(tmp_path / "d", made)
    assert mine.read_text() == "kept", "a link where a file in the making could be is not written through"
    (tmp_path / "d" / f".{MANIFEST}.part").unlink()
    assert differences(tmp_path / "d", made) == []
    (tmp_path / "d" / "monitoring.md").write_text("x")
    assert differences(tmp_path / "d", made) == ["monitoring.md: other bytes"]
    write(tmp_path / "d", {MANIFEST: made[MANIFEST], "clauses.md": made["clauses.md"]})
    assert sorted(p.name for p in (tmp_path / "d").iterdir()) == ["clauses.md", MANIFEST]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.md").write_text("years of work")
    with pytest.raises(ModelError, match="something else"):
        write(tmp_path / "mine", made)
    hostile = {"format": FORMAT, "files": {"../thesis.md": "0"}}
    (tmp_path / "thesis.md").write_text("x")
    (tmp_path / "d" / MANIFEST).write_text(json.dumps(hostile))
    with pytest.raises(ModelError, match="something else"):
        write(tmp_path / "d", made)
    assert (tmp_path / "thesis.md").exists()
    shutil.rmtree(tmp_path / "d")


def test_without_mlflow_the_folder_goes_on(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fintel.cli import governing

    monkeypatch.setitem(sys.modules, "mlflow", None)
    folder = tmp_path / "models"
    save(model, folder)
    told: list[str] = []
    monkeypatch.setattr(governing, "say", told.append)
    with Register.open(folder) as register:
        decision = register.decide(
            "train", model.model_id, at=AT, made_by=None, approved_by=None, fingerprints={}, evidence={}
        )
    governing._move_aliases(Settings(lake=tmp_path), decision, decision.hash)
    assert "fintel[mlflow]" in told[0] and "folder of models knows" in told[0]
