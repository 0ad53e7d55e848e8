"""Runs and versions of models in MLflow: the only place that imports it, and only when called.

MLflow is an optional part (``fintel[mlflow]``). What it registers is the folder that ``saved`` wrote,
as artefacts: nothing is pickled, and a model fetched from a registry is read by ``saved.restore``,
which checks it. SQLite beside the lake by default; its usage reports are switched off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from fintel.errors import MissingExtraError, ModelError
from fintel.models.evaluation import Evaluation
from fintel.models.saved import Model

EXPERIMENT = "fintel"
REGISTERED = "fintel-account-scorer"
Alias = Literal["champion", "challenger"]


@dataclass(frozen=True)
class Version:
    """A registered version: ``run_id`` in tracking, ``version`` in the registry."""

    name: str
    version: str
    alias: str
    run_id: str
    uri: str


def default_uri(lake: Path) -> str:
    """SQLite in the lake's folder."""
    return f"sqlite:///{(lake / 'mlflow.db').resolve()}"


def record(model: Model, folder: Path, *, lake: Path, uri: str | None = None, alias: Alias = "challenger") -> Version:
    """Log a saved model's parameters, figures and files, and register it under an alias.

    Parameters
    ----------
    folder: where ``saved.save`` wrote it. uri: tracking store; SQLite beside the lake if None.

    Raises
    ------
    MissingExtraError: MLflow is not installed. ModelError: its store refuses.
    """
    mlflow = _mlflow()
    where = uri or default_uri(lake)
    (lake / "mlflow").mkdir(parents=True, exist_ok=True)
    client = mlflow.MlflowClient(tracking_uri=where, registry_uri=where)
    with _plain_errors(mlflow, where):
        run_id = _log(client, model, folder, None if uri else (lake / "mlflow").resolve().as_uri())
        if not client.search_registered_models(filter_string=f"name = '{REGISTERED}'"):
            client.create_registered_model(REGISTERED, description="Ranks accounts; see card.json")
        source = client.get_run(run_id).info.artifact_uri
        version = client.create_model_version(
            REGISTERED, source=source, run_id=run_id, tags={"model_id": model.model_id}
        )
        client.set_registered_model_alias(REGISTERED, alias, version.version)
    return Version(REGISTERED, str(version.version), alias, run_id, where)


def locate(alias: Alias, *, lake: Path, uri: str | None = None) -> str:
    """``model_id`` of the version that has an alias.

    Raises
    ------
    MissingExtraError: MLflow is not installed. ModelError: no version has that alias.
    """
    mlflow = _mlflow()
    where = uri or default_uri(lake)
    client = mlflow.MlflowClient(tracking_uri=where, registry_uri=where)
    with _plain_errors(mlflow, where):
        return str(client.get_model_version_by_alias(REGISTERED, alias).tags["model_id"])


def _log(client: Any, model: Model, folder: Path, artefacts: str | None) -> str:
    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT, artifact_location=artefacts)
    card = model.card
    run = client.create_run(experiment, run_name=model.model_id, tags={"model_id": model.model_id})
    run_id = str(run.info.run_id)
    training = card.training.model_dump(mode="json", exclude={"parameters", "snapshots"})
    facts = {**training, **card.training.parameters, "features": len(card.features), "seed": card.seed}
    for name, value in {**facts, **card.fingerprints, **{f"version_{k}": v for k, v in card.versions.items()}}.items():
        client.log_param(run_id, name, value)
    for name, number in figures(card.evaluation).items():
        client.log_metric(run_id, name, number)
    client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id)
    return run_id


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
    try:
        yield
    except mlflow.exceptions.MlflowException as error:
        raise ModelError(f"MLflow: {str(error).splitlines()[0]}", hint=f"tracking store: {where}") from error
