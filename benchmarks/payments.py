"""Scores of payments pooled to accounts: which pooling ranks accounts best, and what two queues catch at one budget.

    python benchmarks/payments.py [FOLDER] [--seeds 9101 …] [--json]

On every labelled sample under FOLDER (default: ``../shared/data``) and on populations of ``fintel synth``. Moments are
those at which 45 and 70 % of the labelled payments have passed, with an embargo of 30 days after each; learned is what
was known when training ended. Judged are accounts in periods of 30 days (average precision), and the whole test at a
budget of 1 % of its accounts: the same number of payments, or of accounts, is read. Mean of three boosters, with the
lowest and the highest.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from graph_worth_sets import Labelled, population, sample
from population import say
from samples import SAMPLES

from fintel.bench.explain_page import table
from fintel.errors import ModelError
from fintel.models.evaluation import average_precision
from fintel.models.payment_columns import Recipe, frequent_currencies, payment_columns
from fintel.models.payment_pooling import POOLINGS, pool, yields
from fintel.models.payments import PaymentModel, TimeSplit, payment_labels, split_by_time, train_payments
from fintel.models.scorer import BoostedScorer

Array = Any
ROOT = Path(__file__).resolve().parent.parent
MONTH = timedelta(days=30)
_SHARE = 0.01
_BOOSTERS = (1, 2, 3)


def main() -> None:
    """Measure every set, print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--seeds", type=int, nargs="*", default=[9101, 9102], help="of populations")
    parser.add_argument("--accounts", type=int, default=2_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--only", nargs="*", help="samples by name; nothing after it: none")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    found = [measure(data, given.threads) for data in _sets(given)]
    print(json.dumps(found, indent=1) if given.json else page(found))


def _sets(given: argparse.Namespace) -> Iterator[Labelled]:
    for name, known in SAMPLES.items():
        chosen = given.only is None or name in given.only
        if chosen and name != "amlworld_attempts" and (given.folder / known.folder).exists():
            say(name)
            yield sample(name, given.folder)
    for seed in given.seeds:
        say(f"population {seed}")
        yield population(seed, given.accounts, given.days)


def measure(data: Labelled, threads: int) -> dict[str, Any]:
    """One set: what was learned from, and every pooling; or why there is nothing."""
    net = data.net
    label = payment_labels(data.tables, net)
    told: dict[str, Any] = {"name": data.name, "payments": len(net), "positives": int(np.nansum(label))}
    try:
        split = split_by_time(net, embargo=MONTH, shares=(0.45, 0.25), of=label == 1)
        known = payment_labels(data.tables, net, _time(split.ends[0]))
        recipe = Recipe(currencies=frequent_currencies(data.tables, _time(split.ends[0])))
        x = payment_columns(data.tables, net, recipe)
        models = [_model(x, label, known, split, recipe, seed, threads) for seed in _BOOSTERS]
    except ModelError as error:
        return told | {"why": str(error)}
    margins = [m.scorer.decision_function(x[split.test]) for m in models]
    test = np.nan_to_num(label[split.test])
    told["learned"] = int((known[split.train] == 1).sum())
    told["ap"] = [average_precision(test, margin) for margin in margins]
    told["poolings"] = {how: [_pooled(data, test, split, margin, how) for margin in margins] for how in POOLINGS}
    return told


def _model(
    x: Array, label: Array, known: Array, split: TimeSplit, recipe: Recipe, seed: int, threads: int
) -> PaymentModel:
    scorer = BoostedScorer(
        rounds=400, leaves=31, min_rows=20, columns=0.6, positive_weight=2.0, seed=seed, threads=threads
    )
    return train_payments(x, label, split, recipe.names, scorer, known=known)


def _pooled(data: Labelled, test: Array, split: TimeSplit, margin: Array, how: str) -> dict[str, Any]:
    net, rows = data.net, split.test
    begin = int(net.time[rows.start])
    pooled = pool(net, margin, rows, how=how, period=MONTH, begin=begin)
    month = MONTH // timedelta(microseconds=1)
    bad = data.bad.filter(pl.col("time") >= begin)
    guilty = bad.select("account_id", number=(pl.col("time") - begin) // month).unique().with_columns(guilty=1.0)
    judged = pooled.with_columns(number=(pl.col("period").to_physical() - begin) // month)
    judged = judged.join(guilty, on=["account_id", "number"], how="left").with_columns(pl.col("guilty").fill_null(0.0))
    truth = judged["guilty"].to_numpy()
    budget = max(1, round(_SHARE * pooled["account_id"].n_unique()))
    paid, ranked, alike = yields(net, margin, test, rows, pooled, bad["account_id"].unique(), budget)
    return {
        "ap": average_precision(truth, judged["margin"].to_numpy()), "base": float(truth.mean()), "budget": budget,
        "caught": ranked.caught, "of": ranked.of, "payments_hit": paid.hits, "payments_accounts": paid.accounts,
        "payments_caught": paid.caught, "overlap": alike,
    }  # fmt: skip


def _time(micros: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)


def page(found: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines: list[str] = []
    for one in found:
        lines += ["", f"### {one['name']}", "", f"{one['payments']:,} payments, {one['positives']:,} of them labelled."]
        if "why" in one:
            lines += ["", f"Nothing to tell: {one['why']}."]
            continue
        first = next(iter(one["poolings"].values()))[0]
        lines[-1] += (
            f" {one['learned']:,} known when training ended. By payment: average precision {_spread(one['ap'])}. By "
            f"account and 30 days the base rate is {first['base']:.3%}; {first['of']} accounts are suspicious."
        )
        rows = [
            [how, _spread([t["ap"] for t in told]), str(first["budget"]), _mean(told, "caught"),
             f"{_mean(told, 'payments_caught')} of {_mean(told, 'payments_accounts')}", _mean(told, "payments_hit"),
             f"{np.mean([t['overlap'] for t in told]):.2f}"]
            for how, told in one["poolings"].items()
        ]  # fmt: skip
        head = [
            "pooling", "average precision", "budget", "caught by accounts", "caught by payments, of accounts seen",
            "payments hit", "overlap",
        ]  # fmt: skip
        lines += ["", *table(head, rows)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _mean(told: list[dict[str, Any]], key: str) -> str:
    return f"{np.mean([t[key] for t in told]):.1f}"


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}–{max(values):.3f})"


if __name__ == "__main__":
    main()
