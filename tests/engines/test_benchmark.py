"""The benchmark is also a test: on a synthetic population, every measure of every shipped rule is what
polars ``rolling`` and DuckDB windows say it is."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a program's peak from that of who started it")
def test_a_peak_is_the_contenders_own(tmp_path: Path) -> None:
    """A small process that a large one starts is small, whatever the system says of its children."""
    small, large = tmp_path / "small.py", tmp_path / "large.py"
    small.write_text("import sys, processes, pathlib; processes.tell(pathlib.Path(sys.argv[-1]), {'all': 1.0}, {})")
    large.write_text(
        textwrap.dedent(f"""
            import pathlib, processes
            held = b"x" * (400 << 20)
            told = processes.run("small", pathlib.Path({str(small)!r}), [], 60)
            print(told.peak_mb, processes.peak_bytes() >> 20, told.seconds)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(large)], capture_output=True, text=True, check=True, timeout=60,
        env={"PYTHONPATH": str(ROOT / "benchmarks")},
    )  # fmt: skip
    own, its, seconds = done.stdout.split(maxsplit=2)
    assert 0 < int(own) < 200 and int(its) >= 400 and seconds.strip() == "{'all': 1.0}"
