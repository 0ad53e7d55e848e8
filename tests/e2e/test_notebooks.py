"""Notebooks run from top to bottom, as a reader would run them."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path: Path, root: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert shutil.which("python3")
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(root / "notebooks")}}
    ).execute()
    pictures = [
        o
        for c in notebook.cells
        for o in c.get("outputs", [])
        if {"image/png", "image/svg+xml"} & set(o.get("data", {}))
    ]
    assert pictures, "a notebook shows something"


def test_there_are_notebooks_without_stored_output() -> None:
    """Outputs are made by running; stored ones would be numbers that nobody measured today."""
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        assert not any(c.get("outputs") for c in nbformat.read(path, as_version=4).cells)
