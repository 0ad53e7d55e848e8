"""What money from seeds is worth to the ranking: average precision over accounts with and without it.

    python benchmarks/graph_risk.py [FOLDER] [--seed N ...] [--accounts N] [--sample NAME ...]

Three moments of each set (45, 65 and 85 % of its days). The rules run as of the moment; seeds are what was known by
then. Judged are own accounts that no label names by then; positives are those that took part, within the 90 days
before, in what becomes known later. Intervals: 95 %, accounts drawn with replacement, all moments and populations of
a family together (the differences' mean). A page of Markdown goes to stdout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from graph_worth_sets import Labelled, population, sample

from fintel.config import Settings
from fintel.graph.suspicion import GraphRisk, of_tables
from fintel.models.evaluation import average_precision
from fintel.models.labels import read_truth
from fintel.pipeline import load_library
from fintel.ranking import rank
from fintel.rules.runner import detect_tables

Array = Any
ROOT = Path(__file__).resolve().parent.parent
MOMENTS = (0.45, 0.65, 0.85)
BEFORE = timedelta(days=90)
WAYS: dict[str, tuple[str, ...]] = {
    "labels, intel": ("label", "intel"),
    "rules": ("rule",),
    "all": ("label", "intel", "rule"),
}
DRAWS = 400


@dataclass(frozen=True)
class Judged:
    """One moment: truth float64 (n,), scores by way, how many accounts have a reason of the graph, ties of the top."""

    name: str
    at: datetime
    truth: Array
    without: Array
    ways: dict[str, Array]
    told: dict[str, int]
    ties: int


def judged(data: Labelled) -> Iterator[Judged]:
    """The moments of a set that have somebody to find."""
    tables, settings = data.tables, Settings()
    library, _ = load_library(settings)
    first, last = (
        tables["transactions"].select(a=pl.col("booked_at").min(), b=pl.col("booked_at").max()).collect().row(0)
    )
    accounts = tables["accounts"].select("account_id", "party_id", "holding").collect()
    own = accounts.filter(pl.col("holding") == "own")["account_id"].unique()
    labels = tables["labels"].filter(pl.col("subject_type") == "account").collect()
    deeds = read_truth(tables, None).activity
    for part in MOMENTS:
        at = first + part * (last - first)
        known = labels.filter(pl.col("known_at") <= at)["subject_id"].unique()
        pool = own.filter(~own.is_in(known.implode())).sort()
        guilty = deeds.filter((pl.col("at") <= at) & (pl.col("at") > at - BEFORE))["account_id"].unique()
        truth = pool.is_in(guilty.implode()).to_numpy().astype(float)
        if not truth.sum():
            continue
        episodes = detect_tables(
            tables, library, base_currency=settings.base_currency, as_of=at, threads=settings.threads
        ).episodes
        risks = {name: of_tables(tables, at, origins=kinds, episodes=episodes) for name, kinds in WAYS.items()}
        without = _scores(episodes, accounts, pool, None)
        ways = {name: _scores(episodes, accounts, pool, risk) for name, risk in risks.items()}
        shown = rank(episodes, accounts, run_id="", prior=0.001, risk=risks["all"]).alerts.head(1000)
        ties = shown.height - shown["score"].n_unique()
        told = {name: risk.reasons["account_id"].n_unique() for name, risk in risks.items()}
        yield Judged(data.name, at, truth, without, ways, told, ties)


def _scores(episodes: pl.DataFrame, accounts: pl.DataFrame, pool: pl.Series, risk: GraphRisk | None) -> Array:
    alerts = rank(episodes, accounts, run_id="", prior=0.001, risk=risk).alerts
    bits = alerts.select("account_id", bits=pl.col("score") - pl.col("prior"))
    found = pl.DataFrame({"account_id": pool}).join(bits, on="account_id", how="left", maintain_order="left")
    return found["bits"].fill_null(0.0).to_numpy()


def gain(parts: list[Judged], way: str) -> tuple[float, float, float]:
    """Mean difference of average precision over moments, and its interval."""
    rng = np.random.default_rng(7)

    def mean(draw: bool) -> float:
        told = []
        for one in parts:
            rows = rng.integers(0, one.truth.size, one.truth.size) if draw else np.arange(one.truth.size)
            if one.truth[rows].sum():
                after = average_precision(one.truth[rows], one.ways[way][rows])
                told.append(after - average_precision(one.truth[rows], one.without[rows]))
        return float(np.mean(told)) if told else float("nan")

    drawn = [value for value in (mean(True) for _ in range(DRAWS)) if not np.isnan(value)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return mean(False), float(low), float(high)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--seed", type=int, nargs="*", default=[404, 505, 606])
    parser.add_argument("--accounts", type=int, default=3000)
    parser.add_argument("--sample", nargs="*", default=["generated_1K", "generated_10K_lookalikes"])
    chosen = parser.parse_args()
    families: dict[str, list[Judged]] = {}
    for name in chosen.sample:
        print(name, file=sys.stderr)
        families[name] = list(judged(sample(name, chosen.folder)))
    for seed in chosen.seed:
        print(f"fintel synth, seed {seed}", file=sys.stderr)
        families.setdefault("fintel synth", []).extend(judged(population(seed, chosen.accounts, 365)))
    print("| set | moment | to find | of | without | " + " | ".join(WAYS) + " | accounts told | ties in 1,000 |")
    print("|---|---|---|---|---|" + "---|" * len(WAYS) + "---|---|")
    for one in (one for family in families.values() for one in family):
        values = [average_precision(one.truth, x) for x in (one.without, *one.ways.values())]
        told = ", ".join(f"{n:,}" for n in one.told.values())
        print(
            f"| {one.name} | {one.at:%Y-%m-%d} | {one.truth.sum():.0f} | {one.truth.size:,} | "
            + " | ".join(f"{v:.4f}" for v in values) + f" | {told} | {one.ties} |"
        )  # fmt: skip
    print()
    for name, parts in families.items():
        for way in WAYS:
            middle, low, high = gain(parts, way)
            print(f"- {name}, seeds {way}: {middle:+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
