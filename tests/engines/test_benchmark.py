"""The benchmark is also a test: on a synthetic population, every measure of every shipped rule is what
polars ``rolling`` and DuckDB windows say it is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_shipped_measures_equal_polars_and_duckdb(tmp_path: Path) -> None:
    command = [
        sys.executable, str(ROOT / "benchmarks" / "windows.py"), "--payments", "60_000", "--days", "120",
        "--folder", str(tmp_path), "--rules", "0", "--only", "kernels,polars,duckdb", "--sampled", "3",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(polars|duckdb): ([\d,]+) of ([\d,]+) sampled values equal ours$", done.stdout, re.MULTILINE)
    assert [name for name, *_ in found] == ["polars", "duckdb"], done.stdout
    for _, same, of in found:
        assert same == of and int(of.replace(",", "")) > 100_000, done.stdout
