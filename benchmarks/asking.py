"""What every benchmark of speed asks for on its command line, and where its data and results go."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def parser(doc: str | None, *, payments: int, result: str) -> argparse.ArgumentParser:
    """How large a population, on how many threads, and whether ``result`` is written."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--payments", type=lambda text: int(text.replace("_", "")), default=payments)
    made.add_argument("--days", type=int, default=365)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--threads", type=int, default=0, help="of fintel's sweeps and of DuckDB; 0 is one a core")
    made.add_argument("--save", action="store_true", help=f"write results/{result}")
    return made


def contenders_parser(doc: str | None, *, payments: int, timeout: float, result: str) -> argparse.ArgumentParser:
    """As ``parser``, for contenders in processes of their own on data that can be kept."""
    made = parser(doc, payments=payments, result=result)
    made.add_argument("--folder", type=Path, help="keep the data here; default: a folder that goes at the end")
    made.add_argument("--timeout", type=float, default=timeout, help="seconds after which a contender is ended")
    return made


@contextmanager
def kept(folder: Path | None) -> Iterator[Path]:
    """The folder for the data, whole path; without one a folder that goes at the end."""
    with tempfile.TemporaryDirectory() as scratch:
        found = folder or Path(scratch)
        found.mkdir(parents=True, exist_ok=True)
        yield found.resolve()


def save(results: Mapping[str, Any], name: str) -> None:
    """Write ``results/NAME``."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(results, indent=1) + "\n")
