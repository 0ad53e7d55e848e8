"""The dossier of a model: what a validator, an auditor or a supervisor asks for, made from what was measured.

No figure is typed: every one comes from the card, the trees, the record of decisions, the lake's feeds, the rules or an
evaluation. There is no clock and no machine in it, so the same model, record, feeds, rules and evaluation give the same
bytes; ``manifest.json`` names all of them by their hashes, and every file by its own.

Model card: Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. Data sheet: Gebru et al., "Datasheets for
Datasets", Communications of the ACM 64(12), 2021.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

import fintel
from fintel.bench import dossier_page
from fintel.bench.model_evaluation import Evaluated
from fintel.errors import ModelError
from fintel.models.decisions import FIRST, Decision
from fintel.models.saved import Model
from fintel.rules.model import Library

FORMAT = "fintel-dossier/1"
MANIFEST = "manifest.json"
_MOST_BYTES = 50_000_000
#: Of the feeds table: what says where rows came from and what became of them. Not when they were read.
_FEED_COLUMNS = (
    "source", "source_file", "target", "mapping", "sha256", "rows_read", "rows_accepted", "rows_duplicate",
    "rows_rejected", "rows_skipped",
)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """What a dossier is made of. ``feeds``: as the lake's table. ``evaluation``: of this model; None: not given."""

    model: Model
    library: Library
    decisions: Sequence[Decision]
    feeds: pl.DataFrame
    evaluation: Evaluated | None = None

    @property
    def champion(self) -> bool:
        """Whether the model is the one in use, by the record."""
        return bool(self.decisions) and self.decisions[-1].to == self.model.model_id


def read_evaluation(path: Path, model_id: str) -> Evaluated:
    """The ``evaluation.json`` that ``fintel evaluate --out`` wrote.

    Raises
    ------
    ModelError: it cannot be read, is too large, is none, or is of another model.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ModelError(f"larger than {_MOST_BYTES:,} bytes", location=path)
        found = Evaluated.model_validate_json(data)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", location=path) from error
    except ValidationError as error:
        raise ModelError(
            "no evaluation of this version", location=path, hint="fintel evaluate --out writes one"
        ) from error
    if found.model_id != model_id:
        raise ModelError(f"it is of model {found.model_id}, not {model_id}", location=path)
    return found


def build(material: Material) -> dict[str, bytes]:
    """Every file of the dossier by name, the manifest among them."""
    from fintel.bench.dossier_chapters import chapters

    title = f"Dossier of model {material.model.model_id}"
    made = {name: text.encode() for name, text in dossier_page.files(title, chapters(material)).items()}
    return {**made, MANIFEST: _json(_manifest(material, made))}


def _manifest(material: Material, made: Mapping[str, bytes]) -> dict[str, Any]:
    model = material.model
    evaluation = material.evaluation
    inputs = {
        "card": _digest(_json(model.card.model_dump(mode="json"))),
        "trees": hashlib.sha256(model.trees.encode()).hexdigest(),
        "decisions": material.decisions[-1].hash if material.decisions else FIRST,
        "library": material.library.fingerprint,
        "evaluation": None if evaluation is None else _digest(_json(evaluation.model_dump(mode="json"))),
        "feeds": feed_rows(material.feeds).to_dicts(),
    }
    return {
        "format": FORMAT,
        "model_id": model.model_id,
        "fintel": fintel.__version__,
        "inputs": inputs,
        "files": {name: _digest(data) for name, data in sorted(made.items())},
    }


def feed_rows(feeds: pl.DataFrame) -> pl.DataFrame:
    """Where the lake's rows came from, in a settled order."""
    return feeds.select(_FEED_COLUMNS).sort(_FEED_COLUMNS)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(folder: Path, made: Mapping[str, bytes]) -> None:
    """Write the files; those of an earlier dossier are replaced, the manifest last.

    Raises
    ------
    ModelError: the folder holds something else.
    """
    _refuse_foreign(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in _named(folder) - set(made):
        (folder / old).unlink(missing_ok=True)
    for name in sorted(made, key=lambda n: n == MANIFEST):
        descriptor, aside = tempfile.mkstemp(prefix=".new-", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(made[name])
            os.replace(aside, folder / name)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise


def differences(folder: Path, made: Mapping[str, bytes]) -> list[str]:
    """Files of a folder that are not what the dossier would be now, with why."""
    found = []
    for name in sorted(made):
        path = folder / name
        if not path.is_file():
            found.append(f"{name}: not there")
        elif path.stat().st_size > _MOST_BYTES or path.read_bytes() != made[name]:
            found.append(f"{name}: other bytes")
    return found + [f"{name}: belongs to no dossier of this model now" for name in sorted(_named(folder) - set(made))]


def _named(folder: Path) -> set[str]:
    """Files that the folder's manifest names, and no path out of it."""
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return set()
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return set()
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("files"), dict):
        return set()
    return {name for name in found["files"] if name == Path(name).name and name not in ("", ".", "..")}


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ModelError("a file stands where the dossier's folder goes", location=folder)
    if folder.is_dir() and any(folder.iterdir()) and not _named(folder):
        raise ModelError("the folder holds something else", location=folder, hint="name an empty or a new folder")
