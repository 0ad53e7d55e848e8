"""Runs and versions of models in MLflow: with ``artefacts``, the only place that imports it, and only when called.

MLflow is an optional part (``fintel[mlflow]``). What it registers is the folder that ``saved`` wrote, as artefacts:
nothing is pickled and there is no MLmodel file, so MLflow itself cannot load or run it. A model fetched from a registry
is two text files of bounded size, read by ``saved.restore``, which checks them. SQLite beside the lake by default; its
usage reports are switched off. An address with a password in it is used, and never shown or kept.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from fintel.errors import MissingExtraError, ModelError
from fintel.models.artefacts import place_of, read
from fintel.models.evaluation import Evaluation
from fintel.models.pictures import evaluation_charts
from fintel.models.saved import FILES, Model, restore, save

EXPERIMENT = "fintel"
REGISTERED = "fintel-account-scorer"
Alias = Literal["champion", "challenger"]
ALIASES: tuple[Alias, ...] = ("champion", "challenger")
_MODEL = "model"


@dataclass(frozen=True)
class Version:
    """A registered version: ``run_id`` in tracking, ``version`` in the registry. ``uri``: without credentials."""

    name: str
    version: str
    alias: str
    run_id: str
    uri: str


def default_uri(lake: Path) -> str:
    """SQLite in the lake's folder."""
    return f"sqlite:///{(lake / 'mlflow.db').resolve()}"


def without_credentials(uri: str) -> str:
    """An address that may be shown: without user, password, query and fragment."""
    scheme, mark, rest = re.split(r"[?#]", uri, maxsplit=1)[0].partition("://")
    if not mark or scheme.startswith(("sqlite", "file")):
        return scheme + mark + rest
    # Up to the last '@': a password may hold one, or a '/', that nobody has written as %40 or %2F.
    return scheme + mark + rest.rpartition("@")[2]


def record(model: Model, folder: Path, *, lake: Path, uri: str | None = None, alias: Alias = "challenger") -> Version:
    """Log a saved model's parameters, figures, learning set, signature, pictures and files, and register it.

    Parameters
    ----------
    folder: where ``saved.save`` wrote it. uri: tracking store; SQLite beside the lake if None.

    Raises
    ------
    MissingExtraError: MLflow is not installed. ModelError: its store refuses.
    """
    mlflow = _mlflow()
    where = uri or default_uri(lake)
    with _plain_errors(mlflow, where):
        client = _client(mlflow, where)
        if uri is None:
            (lake / "mlflow").mkdir(parents=True, exist_ok=True)
        run_id = _log(mlflow, client, model, folder, None if uri else (lake / "mlflow").resolve().as_uri())
        if not client.search_registered_models(filter_string=f"name = '{REGISTERED}'"):
            client.create_registered_model(REGISTERED, description="Ranks accounts; see card.json")
        source = f"{client.get_run(run_id).info.artifact_uri}/{_MODEL}"
        tags = {"model_id": model.model_id, "trees_sha256": model.card.trees_sha256}
        version = client.create_model_version(REGISTERED, source=source, run_id=run_id, tags=tags)
        client.set_registered_model_alias(REGISTERED, alias, version.version)
    return Version(REGISTERED, str(version.version), alias, run_id, without_credentials(where))


def locate(alias: Alias, *, lake: Path, uri: str | None = None) -> str:
    """``model_id`` of the version that has an alias.

    Raises
    ------
    MissingExtraError: MLflow is not installed. ModelError: no version has that alias.
    """
    mlflow = _mlflow()
    where = uri or default_uri(lake)
    with _plain_errors(mlflow, where):
        return str(_client(mlflow, where).get_model_version_by_alias(REGISTERED, alias).tags.get("model_id", ""))


def follow(
    model_id: str | None, folder: Path, *, lake: Path, uri: str | None = None, head: str, threads: int = 0
) -> None:
    """Move the alias ``champion`` to a model, registered first where it is not; take it away for None.

    Parameters
    ----------
    folder: of models. head: hash that the record of decisions ends with, kept as the version's tag ``decision``.

    Raises
    ------
    MissingExtraError: MLflow is not installed. ModelError: its store refuses.
    """
    mlflow = _mlflow()
    where = uri or default_uri(lake)
    with _plain_errors(mlflow, where):
        client = _client(mlflow, where)
        if model_id is None:
            if client.search_registered_models(filter_string=f"name = '{REGISTERED}'"):
                client.delete_registered_model_alias(REGISTERED, "champion")
            return
        number = _number_of(client, model_id)
        if number is None:
            model = restore(folder / model_id, threads=threads)
            number = record(model, folder / model_id, lake=lake, uri=uri, alias="champion").version
        client.set_registered_model_alias(REGISTERED, "champion", number)
        client.set_model_version_tag(REGISTERED, number, "decision", head)
        if str(client.get_registered_model(REGISTERED).aliases.get("challenger")) == number:
            client.delete_registered_model_alias(REGISTERED, "challenger")


def fetch(which: str, folder: Path, *, lake: Path, uri: str | None = None) -> Path:
    """Bring a registered model into a folder of models; its own folder.

    Only its two files are asked for, no more than their bounded sizes, where ``artefacts`` lets them lie; what arrives
    is read as any model from outside is.

    Parameters
    ----------
    which: an alias or a version's number.

    Raises
    ------
    MissingExtraError: MLflow is not installed. ModelError: no such version, or what it holds is no model.
    """
    if which not in ALIASES and not re.fullmatch(r"[0-9]{1,9}", which):
        raise ModelError(f"'{which}' is no alias or version", hint="mlflow:champion, mlflow:challenger or mlflow:3")
    mlflow = _mlflow()
    where = uri or default_uri(lake)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as made, _plain_errors(mlflow, where):
        client = _client(mlflow, where)
        found = (
            client.get_model_version(REGISTERED, which)
            if which.isdigit()
            else client.get_model_version_by_alias(REGISTERED, which)
        )
        run = client.get_run(found.run_id) if found.run_id else None
        if run is None:
            raise ModelError(f"version {found.version} belongs to no run", hint="register it anew")
        root = str(lake / "mlflow") if uri is None else client.get_experiment(run.info.experiment_id).artifact_location
        place = place_of(str(found.source), str(run.info.artifact_uri), where, root)
        here = Path(made)
        for name, most in FILES.items():
            (here / name).write_bytes(read(place, name, most, where))
        model = restore(here)
        if found.tags.get("model_id", model.model_id) != model.model_id:
            raise ModelError(f"version {found.version} holds another model than it says, {model.model_id}")
        return save(model, folder)


def _client(mlflow: Any, where: str) -> Any:
    return mlflow.MlflowClient(tracking_uri=where, registry_uri=where)


def _number_of(client: Any, model_id: str) -> str | None:
    """The latest version of a model."""
    wanted = f"name = '{REGISTERED}' and tags.model_id = '{model_id}'"
    numbers = [int(v.version) for v in client.search_model_versions(wanted)]
    return str(max(numbers)) if numbers else None


def _log(mlflow: Any, client: Any, model: Model, folder: Path, artefacts: str | None) -> str:
    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT, artifact_location=artefacts)
    card = model.card
    tags = {"model_id": model.model_id, "plan": card.training.plan, "base_currency": card.base_currency}
    run = client.create_run(experiment, run_name=model.model_id, tags=tags)
    run_id = str(run.info.run_id)
    training = card.training.model_dump(mode="json", exclude={"parameters", "snapshots", "score_quantiles"})
    facts = {**training, **card.training.parameters, "features": len(card.features), "seed": card.seed}
    facts |= {**card.fingerprints, **{f"version_{k}": v for k, v in card.versions.items()}}
    entities, now = mlflow.entities, int(time.time() * 1000)
    client.log_batch(
        run_id,
        params=[entities.Param(name, str(value)) for name, value in facts.items()],
        metrics=[entities.Metric(name, number, now, 0) for name, number in figures(card.evaluation).items()],
    )
    client.log_inputs(run_id, datasets=[_learning_set(mlflow, model)])
    client.log_artifacts(run_id, str(folder), _MODEL)
    client.log_dict(run_id, signature(mlflow, model), "signature.json")
    client.log_dict(run_id, dict(card.versions), "environment.json")
    for name, picture in evaluation_charts(card.evaluation).items():
        client.log_text(run_id, picture, f"plots/{name}")
    client.set_terminated(run_id)
    return run_id


def signature(mlflow: Any, model: Model) -> dict[str, Any]:
    """What goes in and comes out, in MLflow's form: features (double, may be unknown) to the margin in bits."""
    column, schema = mlflow.types.ColSpec, mlflow.types.Schema
    inputs = schema([column("double", name, required=False) for name in model.card.names])
    found = mlflow.models.ModelSignature(inputs=inputs, outputs=schema([column("double", "bits")]))
    return dict(found.to_dict())


def _learning_set(mlflow: Any, model: Model) -> Any:
    entities, card = mlflow.entities, model.card
    told = entities.Dataset(
        name="learning-set", digest=card.fingerprints.get("rows", "unknown"), source_type="fintel-lake",
        source=card.fingerprints.get("feeds", "unknown"),
    )  # fmt: skip
    return entities.DatasetInput(dataset=told, tags=[entities.InputTag("mlflow.data.context", "training")])


def figures(evaluation: Evaluation) -> dict[str, float]:
    """Every figure of an evaluation under a flat name."""
    found = {"base_rate": evaluation.base_rate, "positives": float(evaluation.positives)}
    for way, measured in evaluation.rankings.items():
        found[f"{way}_average_precision"] = measured.average_precision.value
        found[f"{way}_average_precision_low"] = measured.average_precision.low
        for at in measured.budgets:
            found[f"{way}_precision_at_{at.budget}"] = at.precision.value
            found[f"{way}_recall_at_{at.budget}"] = at.recall.value
    return found


def _mlflow() -> ModuleType:
    # A compliance department's training runs are nobody else's business.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow
    except ImportError as error:
        raise MissingExtraError("mlflow", "the model registry") from error
    return mlflow  # type: ignore[no-any-return]


@contextmanager
def _plain_errors(mlflow: Any, where: str) -> Iterator[None]:
    shown = without_credentials(where)
    try:
        yield
    except (mlflow.exceptions.MlflowException, ValueError, OSError) as error:  # what requests raises is an OSError
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        # whatever it quotes of the address, or of another one with a password in it
        said = re.sub(r"://[^/\s@]*@", "://", said.replace(where, shown))
        raise ModelError(f"MLflow: {said}", hint=f"tracking store: {shown}") from None
