"""IBM's Graph Feature Preprocessor (``snapml``) on one network, in an interpreter of its own.

The package is proprietary: it is a yardstick that a user may have, and nothing here depends on it. This file
imports numpy and, under the interpreter named by ``--python``, ``snapml``; it never imports fintel.

Two configurations at the same windows (1 day; scatter-gather 6 hours):

* ``paper``: as its authors describe it without the cycles that know no time: histograms of fan, degree, scatter-gather
  and temporal cycles, statistics of both ends of amount and time: 226 columns.
* ``lean``: the least that gives what fintel's same families give: statistics of the amount (fan, degree, mean, sum,
  variance, skew, largest) without the histograms of fan and degree that repeat them.

``wide`` is for what features are worth (``graph_worth.py``): ``paper`` with statistics of 30 days and motifs of 7.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

_DAY, _HOUR = 86_400, 3_600
_HISTOGRAM = list(range(2, 31))
#: fan, degree, ratio, mean, sum, variance, skew, kurtosis: those of the paper.
_PAPER = [0, 1, 2, 3, 4, 8, 9, 10]
#: fan, degree, mean, sum, largest, variance, skew: those that fintel has too.
_SAME = [0, 1, 3, 4, 6, 8, 9]
_TIME, _AMOUNT = 3, 4


def settings(kind: str, threads: int) -> dict[str, Any]:
    """Parameters of the preprocessor."""
    lean, wide = kind == "lean", kind == "wide"
    long, short, motif = (30 * _DAY, 7 * _DAY, 7 * _DAY) if wide else (_DAY, 6 * _HOUR, _DAY)
    return {
        "num_threads": threads, "time_window": -1, "max_no_edges": -1,
        "vertex_stats": True, "vertex_stats_tw": long,
        "vertex_stats_cols": [_AMOUNT] if lean else [_TIME, _AMOUNT],
        "vertex_stats_feats": _SAME if lean else _PAPER,
        "fan": not lean, "fan_tw": long, "fan_bins": _HISTOGRAM,
        "degree": not lean, "degree_tw": long, "degree_bins": _HISTOGRAM,
        "scatter-gather": True, "scatter-gather_tw": short, "scatter-gather_bins": _HISTOGRAM,
        "temp-cycle": True, "temp-cycle_tw": motif, "temp-cycle_bins": _HISTOGRAM,
        "lc-cycle": False,
    }  # fmt: skip


def main() -> None:
    """Change to the other interpreter if need be; compute; tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("paper", "lean", "wide"))
    parser.add_argument("--python", required=True, help="an interpreter that has snapml and numpy")
    parser.add_argument("--population", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--singles", type=int, default=0, help="the last so many payments one at a time")
    parser.add_argument("--features", type=Path, help="write the columns here (.npy, float32)")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if Path(sys.executable) != Path(given.python):
        os.execv(given.python, [given.python, __file__, *sys.argv[1:]])
    from snapml import GraphFeaturePreprocessor  # only in the other interpreter

    def fresh() -> Any:
        made = GraphFeaturePreprocessor()
        made.set_params(settings(given.kind, given.threads))
        return made

    rows = _rows(given.population)
    # What starts threads and fills caches of code is not timed, on either side.
    fresh().transform(rows[:2048].copy())
    work = fresh()
    bulk = len(rows) - given.singles
    kept: list[Any] = []
    begun, used = time.perf_counter(), time.process_time()
    for at in range(0, bulk, given.batch):
        found = work.transform(rows[at : min(at + given.batch, bulk)])
        if given.features is not None:
            kept.append(np.asarray(found)[:, rows.shape[1] :].astype(np.float32))
    seconds, processor = time.perf_counter() - begun, time.process_time() - used
    took = np.zeros(given.singles)
    for i in range(given.singles):
        one = rows[bulk + i : bulk + i + 1]
        at_once = time.perf_counter_ns()
        work.transform(one)
        took[i] = (time.perf_counter_ns() - at_once) / 1_000
    columns = int(np.asarray(found).shape[1]) - rows.shape[1]
    if given.features is not None:
        np.save(given.features, np.concatenate(kept))
    facts: dict[str, Any] = {
        "payments": bulk, "columns": columns, "processor": round(processor, 3), "peak_mb": _peak_mb(),
        "version": version("snapml"),
    }  # fmt: skip
    if given.singles:
        facts["one_at_a_time_us"] = {f"p{q}": round(float(np.percentile(took, q)), 1) for q in (50, 99)}
    given.out.write_text(json.dumps({"seconds": {"features": round(seconds, 3)}, "facts": facts}))


def _rows(file: Path) -> Any:
    """Number, source, target, seconds, amount: float64 (m, 5)."""
    with np.load(file) as held:
        columns = [held[name] for name in ("source", "target", "time", "amount")]
    rows = np.empty((columns[0].size, 5))
    rows[:, 0] = np.arange(len(rows))
    rows[:, 1], rows[:, 2] = columns[0], columns[1]
    rows[:, 3] = columns[2] // 1_000_000
    rows[:, 4] = columns[3] / 100_000
    return rows


def _peak_mb() -> int:
    """The most memory of this program alone (``ru_maxrss`` would hold that of whoever started it)."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return round(int(found[1]) / 1024) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    main()
