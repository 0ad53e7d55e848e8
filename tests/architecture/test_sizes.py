"""A file that outgrows a screen or two has more than one noun in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIMIT = 400


def test_no_module_over_the_limit(root: Path) -> None:
    long = {
        str(path.relative_to(root)): lines
        for path in (root / "fintel").rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LIMIT
    }
    assert not long


def test_import_is_light() -> None:
    """``import fintel`` costs little: no engine, no model, no web part comes with it."""
    code = "import sys, fintel; heavy = {'polars','duckdb','numba','lightgbm','sklearn','mlflow','pyarrow'} & set(sys.modules); print(sorted(heavy))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_url_of_a_registry_in_constraints(root: Path) -> None:
    text = (root / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert all("==" in line for line in text.splitlines() if line and not line.startswith("#"))
