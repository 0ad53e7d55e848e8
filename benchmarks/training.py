"""What learning costs: training, scoring and explaining a million rows, each in a process of its own.

    python benchmarks/training.py [--rows 1_000_000] [--columns 140] [--rounds 300] [--leaves 31] [--save]

Rows are drawn (counts, amounts, shares; 5 % not known; about 1 % suspicious by a rule of eight columns and noise), the
scorer is fintel's own. Told are seconds, rows a second, peak memory of the process, whether two threads and one grow
the same trees to the byte, and how far contributions are from LightGBM's. ``docs/reference/training-benchmarks.md`` has
the measured figures. Progress on stderr, Markdown on stdout.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightgbm
import numpy as np
from population import say
from processes import Clock, run, tell

from fintel.bench.explain_page import table
from fintel.features.catalog import model_features
from fintel.models.explain import bits, reasons
from fintel.models.saved import QUANTILES, FeatureCard, scorer_of
from fintel.models.scorer import BoostedScorer
from fintel.models.treeshap import contributions, forest

Array = Any
ROOT = Path(__file__).resolve().parent.parent
_TOP = 10_000
_COMPARED = 500
_TIMEOUT = 1_800.0
_DRAWN = 50_000


def main() -> None:
    """Measure everything, print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=140)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save", type=Path, nargs="?", const=ROOT / "benchmarks" / "results" / "training.json")
    parser.add_argument("--step", choices=("train", "use"), help="in this process; for the command itself")
    parser.add_argument("--trees", type=Path, help="for the command itself")
    parser.add_argument("--out", type=Path, help="for the command itself")
    given = parser.parse_args()
    if given.step is not None:
        {"train": train, "use": use}[given.step](given)
        return
    found = measure(given)
    if given.save is not None:
        given.save.parent.mkdir(exist_ok=True)
        given.save.write_text(json.dumps(found, indent=1) + "\n")
    print(page(found))


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Train with all threads and with one, then score and explain."""
    shape = [f"--{name}={getattr(given, name)}" for name in ("rows", "columns", "rounds", "leaves")]
    found: dict[str, Any] = {name: getattr(given, name) for name in ("rows", "columns", "rounds", "leaves", "threads")}
    # Threads that wait by spinning take the core from whom they wait for, where others work beside.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    found["at"] = datetime.now(UTC).isoformat(timespec="minutes")
    with tempfile.TemporaryDirectory(prefix="fintel-training-") as folder:
        trees = Path(folder) / "trees.txt"
        steps = {f"train, {given.threads} threads": ("train", given.threads), "train, 1 thread": ("train", 1)}
        steps["score and explain"] = ("use", given.threads)
        for name, (step, threads) in steps.items():
            say(name)
            more = [f"--step={step}", f"--threads={threads}", f"--trees={trees}"]
            found[name] = run(name, Path(__file__), [*shape, *more], _TIMEOUT).as_dict()
            say(f"{name}: {found[name]['ended'] or found[name]['seconds']}")
    return found


def drawn(rows: int, columns: int) -> tuple[Array, Array]:
    """Rows and labels, float32 and float64: the same for the same numbers; in pieces, to hold them once."""
    x = np.empty((rows, columns), np.float32)
    label = np.empty(rows)
    for begin in range(0, rows, _DRAWN):
        rng = np.random.default_rng([17, begin])
        part = x[begin : begin + _DRAWN]
        size = part.shape[0]
        part[:] = rng.gamma(0.7, 3.0, part.shape)
        part[:, ::3] = np.floor(part[:, ::3])
        part[:, 1::3] = np.log2(1 + part[:, 1::3])
        part[rng.random(part.shape) < 0.05] = np.nan
        told = np.nan_to_num(part[:, :8])
        signal = told[:, 0] * told[:, 1] + 2 * told[:, 2] - told[:, 3] + told[:, 4] * (told[:, 6] > 2)
        label[begin : begin + size] = signal + rng.normal(0, 4, size) > 27
    return x, label


def _scorer(given: argparse.Namespace) -> BoostedScorer:
    return BoostedScorer(rounds=given.rounds, leaves=given.leaves, min_rows=40, threads=given.threads)


def train(given: argparse.Namespace) -> None:
    """Grow the trees, write them down."""
    clock = Clock()
    with clock.lap("draw"):
        x, label = drawn(given.rows, given.columns)
    with clock.lap("train"):
        scorer = _scorer(given).fit(x, label)
    trees = scorer.booster_.model_to_string().partition("\nend of trees")[0] + "\nend of trees\n"
    given.trees.write_text(trees, encoding="ascii")
    digest = hashlib.sha256(trees.encode()).hexdigest()
    tell(given.out, clock.seconds, {"sha256": digest, "suspicious": int(label.sum()), "bytes": len(trees)})


def use(given: argparse.Namespace) -> None:
    """Score all rows; contributions and words for the first 10,000 of the queue."""
    clock = Clock()
    with clock.lap("draw"):
        x, _ = drawn(given.rows, given.columns)
    with clock.lap("read the trees"):
        scorer = scorer_of(given.trees.read_text(encoding="ascii"), given.columns, threads=given.threads)
    scorer.decision_function(x[:10])
    bits(scorer, np.asarray(x[:10], np.float64))
    with clock.lap("score"):
        margin = scorer.decision_function(x)
    with clock.lap("choose"):
        top = np.argsort(-margin, kind="stable")[:_TOP]
        chosen = np.asarray(x[top], np.float64)
    card = _card(x)
    with clock.lap("contributions"):
        parts, base = bits(scorer, chosen)
    with clock.lap("words"):
        told = reasons(card, [f"account {i}" for i in top], chosen, parts)
    few = chosen[:_COMPARED]
    with clock.lap("contributions by LightGBM"):
        theirs = scorer.booster_.predict(few, pred_contrib=True, num_threads=given.threads)
    ours = contributions(forest(scorer.booster_), few)
    facts = {
        "explained": int(top.size),
        "compared": len(few),
        "reasons": told.height,
        "from_lightgbm": float(np.abs(ours - theirs).max()),
        "from_margin": float(np.abs((parts.sum(axis=1) + base) * np.log(2) - margin[top]).max()),
        "lightgbm": lightgbm.__version__,
    }
    tell(given.out, clock.seconds, facts)


def _card(x: Array) -> Any:
    """A card whose columns have the names of the catalogue, over and over, and the quantiles of the rows."""
    known = model_features(10_000)
    cards = []
    for i in range(x.shape[1]):
        values = x[:_DRAWN, i]
        values = values[~np.isnan(values)].astype(np.float64)
        quantiles = np.quantile(values, np.linspace(0, 1, QUANTILES), method="lower")
        cards.append(FeatureCard(name=known[i % len(known)].name, known=0.95, quantiles=tuple(map(float, quantiles))))
    return SimpleNamespace(features=tuple(cards), names=tuple(c.name for c in cards), base_currency="USD")


def page(found: dict[str, Any]) -> str:
    """Markdown."""
    many, one = found[f"train, {found['threads']} threads"], found["train, 1 thread"]
    used = found["score and explain"]
    if any(step["ended"] for step in (many, one, used)):
        sys.exit("; ".join(f"{s['name']}: {s['ended']}" for s in (many, one, used) if s["ended"]))
    seconds, facts = used["seconds"], used["facts"]
    same = "yes" if many["facts"]["sha256"] == one["facts"]["sha256"] else "NO"
    explained = seconds["contributions"] + seconds["words"]
    theirs = facts["compared"] / max(seconds["contributions by LightGBM"], 0.01)
    load = f"{many['load']}, {one['load']}, {used['load']}"
    rows = [
        ("training", f"{many['seconds']['train']:.1f} s", "≤ 60 s"),
        ("processor seconds of that process, drawing included", f"{many['processor_seconds']:.0f} s", "–"),
        ("training, 1 thread", f"{one['seconds']['train']:.1f} s", "–"),
        ("processor seconds of that process, drawing included", f"{one['processor_seconds']:.0f} s", "–"),
        ("same trees with 1 thread, to the byte", same, "yes"),
        ("peak memory of training", f"{many['peak_mb'] / 1024:.2f} GB", "≤ 6 GB"),
        ("scoring", f"{found['rows'] / seconds['score']:,.0f} rows/s", "≥ 200,000 rows/s"),
        (f"reasons for the top {facts['explained']:,}", f"{explained:.1f} s", "≤ 30 s"),
        ("of them contributions", f"{seconds['contributions']:.1f} s", "–"),
        ("contributions by LightGBM", f"{theirs:,.0f} rows/s", "–"),
        ("contributions by leaf", f"{facts['explained'] / max(seconds['contributions'], 0.01):,.0f} rows/s", "–"),
        ("greatest difference of the two", f"{facts['from_lightgbm']:.1e}", "≤ 1e-9"),
        ("greatest difference of their sum from the margin", f"{facts['from_margin']:.1e}", "≤ 1e-9"),
        ("peak memory of scoring and explaining", f"{used['peak_mb'] / 1024:.2f} GB", "≤ 6 GB"),
    ]
    head = (
        f"{found['rows']:,} rows × {found['columns']} columns, {found['rounds']} rounds × {found['leaves']} leaves, "
        f"{found['threads']} threads, LightGBM {facts['lightgbm']}; load when each process began: {load}."
    )
    return "\n".join([head, "", *table(["what", "measured", "target"], rows)]) + "\n"


if __name__ == "__main__":
    main()
