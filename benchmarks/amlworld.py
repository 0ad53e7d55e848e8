"""How well payments of IBM's AMLworld are told apart: F1 and PR-AUC by transaction, split strictly in time.

    python benchmarks/amlworld.py --transactions HI-Small_Trans.csv [--patterns HI-Small_Patterns.txt] [--json]

The file is read by fintel's own mapping ``amlworld``; amounts become dollars by rough rates (``samples.RATES``). Two
protocols, both on one split at moments, 60, 20 and 20 % of the payments, without an embargo, as the papers have it:

* *paper*: all columns, payment format and time of day included, as published figures do;
* *honest*: neither payment format nor clock. In this generator laundering rides on one format, and half a published
  score may be that (``ml-graph.md`` 1.1); and its last days hold little but laundering, so the test is also told
  in two parts, the dense days and the tail.

Columns of a payment see earlier payments and itself. The number of trees and the threshold come from the
validation part alone; the test is read once a seed. Labels count as known at once: the file does not say when a payment
was found out, and its days are fewer than any delay. Columns lie in a file that is mapped into memory, so what is held
beside is the network and its state. Progress on stderr, Markdown on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from population import say
from processes import peak_bytes
from samples import attempts_as_feed, write_rates

from fintel.bench.explain_page import table
from fintel.config import Settings as Config
from fintel.errors import FintelError
from fintel.feeds import mapping_loader
from fintel.graph.layout import MICROSECOND, Settings
from fintel.graph.network import Network, network
from fintel.models.evaluation import average_precision
from fintel.models.payment_columns import FAMILIES, Recipe, frequent_currencies, payment_columns
from fintel.models.payment_pooling import POOLINGS, pool, yields
from fintel.models.payments import (
    PaymentModel,
    TimeSplit,
    best_threshold,
    f1_score,
    payment_labels,
    split_by_time,
    train_payments,
)
from fintel.models.scorer import BoostedScorer
from fintel.pipeline import canonical_tables, ingest
from fintel.store.lake import Lake

Array = Any
Tables = Mapping[str, pl.LazyFrame]

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
#: The feed has ten dense days: longer windows would say how far it has run.
SETTINGS = Settings(
    windows=(6 * _HOUR, _DAY, 3 * _DAY), meeting_windows=(6 * _HOUR, _DAY), cycle_windows=(_DAY, 3 * _DAY)
)
PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "paper": tuple(FAMILIES),
    "honest": tuple(f for f in FAMILIES if f not in ("rail", "clock")),
}
#: Published for HI-Small, F1 in per cent (NeurIPS 2023 and ICAIF 2024; ``ml-graph.md`` 1.1), and fintel's goal.
GOAL = 0.68
#: A day with fewer payments than this share of the median day belongs to the tail.
_TAIL = 0.1
_SHARE = 0.01


@dataclass(frozen=True)
class World:
    """What was read: tables, network, labels, split, the row where the test's tail begins."""

    tables: Tables
    net: Network
    label: Array
    split: TimeSplit
    tail: int
    attempts: pl.DataFrame | None


def main() -> None:
    """Read, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transactions", type=Path, required=True, help="…_Trans.csv")
    parser.add_argument("--patterns", type=Path, help="…_Patterns.txt: recall by typology")
    parser.add_argument("--protocol", choices=PROTOCOLS, action="append", help="this one only; may be repeated")
    parser.add_argument("--seeds", type=int, default=5, help="how many boosters")
    parser.add_argument("--rounds", type=int, default=800, help="trees at most")
    parser.add_argument("--weight", type=float, default=2.0, help="what a positive counts for, 1 to 10")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    parser.add_argument("--scratch", type=Path, help="folder for the lake and the columns (some GB)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="fintel-amlworld-", dir=given.scratch) as folder:
            found = measure(given, Path(folder))
    except FintelError as error:
        sys.exit(f"error: {error}" + (f"\nhint: {error.hint}" if error.hint else ""))
    print(json.dumps(found, indent=2) if given.json else page(found))


def measure(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Everything that the page says, ready for JSON."""
    begun = time.perf_counter()
    config = Config(lake=home / "lake", drafts=home / "drafts")
    with Lake.create_or_open(config.lake) as lake:
        world = read(lake, config, given.transactions, given.patterns, home)
        found: dict[str, Any] = {
            "file": given.transactions.name,
            "payments": len(world.net),
            "accounts": len(world.net.nodes),
            "positives": int(world.label.sum()),
            "tail": len(world.net) - world.tail,
            "parts": {name: _part(world, getattr(world.split, name)) for name in ("train", "validation", "test")},
            "weight": given.weight,
            "protocols": {},
        }
        say(f"{found['payments']:,} payments, {found['positives']:,} of them laundering; reading took "
            f"{time.perf_counter() - begun:.0f} s")  # fmt: skip
        for name in given.protocol or PROTOCOLS:
            found["protocols"][name] = _measured(world, name, given, home)
    found["seconds"] = round(time.perf_counter() - begun)
    found["peak_gb"] = round(peak_bytes() / (1 << 30), 2)
    return found


def read(lake: Lake, config: Config, transactions: Path, patterns: Path | None, home: Path) -> World:
    """The file as canonical tables, its network, labels and split."""
    mapping = mapping_loader.load("amlworld")
    ingest(lake, write_rates(home), mapping_loader.load("fintel"), config)
    ingest(lake, transactions, mapping, config)
    tables = canonical_tables(lake)
    net = network(tables)
    label = payment_labels(tables, net)
    split = split_by_time(net, embargo=timedelta())
    attempts = None
    if patterns is not None:
        attempts = _attempts(tables, net, patterns, home)
    return World(tables, net, label, split, _tail(net, split), attempts)


def _tail(net: Network, split: TimeSplit) -> int:
    """The first row of the test from whose day on no day is dense; told by numbers of payments, not by labels."""
    day = net.time // (_DAY // MICROSECOND)
    days, first, count = np.unique(day, return_index=True, return_counts=True)
    dense = np.flatnonzero(
        count >= _TAIL * np.median(count[: max(1, int(np.searchsorted(days, day[split.test.start])))])
    )
    after = int(dense[-1]) + 1 if dense.size else 0
    return max(int(first[after]) if after < days.size else len(net), split.test.start)


def _attempts(tables: Tables, net: Network, patterns: Path, home: Path) -> pl.DataFrame:
    """``edge, typology`` of payments that the pattern file names: banks are written in two ways, so the key is the
    minute, both account numbers, and amount and currency."""
    folder, rows = attempts_as_feed(patterns, home)
    config = Config(lake=home / "lake-of-attempts", drafts=home / "drafts")
    with Lake.create_or_open(config.lake) as lake:
        ingest(lake, folder, mapping_loader.load("amlworld"), config)
        named = lake.scan("transactions").select("source_row", **_KEY).collect()
    edges = pl.DataFrame({"row": net.row, "edge": pl.Series(range(len(net)), dtype=pl.Int64)})
    wanted = rows.join(named, on="source_row").select("typology", *_KEY)
    paid = tables["transactions"].with_row_index("row").select("row", **_KEY)
    return (
        paid.join(wanted.lazy(), on=list(_KEY))
        .collect()
        .join(edges, on="row")
        .select("edge", "typology")
        .unique("edge")
    )


_KEY = {
    "booked_at": pl.col("booked_at"), "amount": pl.col("amount"), "currency": pl.col("currency"),
    "payer": pl.col("debtor_account_id").str.split("|").list.last(),
    "payee": pl.col("creditor_account_id").str.split("|").list.last(),
}  # fmt: skip


def _part(world: World, rows: slice) -> dict[str, Any]:
    label = world.label[rows]
    return {"payments": int(label.size), "positives": int(label.sum()), "base": float(label.mean())}


def _measured(world: World, name: str, given: argparse.Namespace, home: Path) -> dict[str, Any]:
    """One protocol: every seed, and what the first seed's queues give."""
    net, split = world.net, world.split
    end = pl.Series([split.ends[0]]).cast(pl.Datetime("us", "UTC"))[0]
    recipe = Recipe(PROTOCOLS[name], frequent_currencies(world.tables, end), SETTINGS)
    begun = time.perf_counter()
    x = np.memmap(home / f"{name}.columns", np.float32, "w+", shape=(len(net), len(recipe.names)))
    payment_columns(world.tables, net, recipe, into=x, progress=lambda done, of: _tell(name, done, of))
    columns_took = time.perf_counter() - begun
    seeds: list[dict[str, Any]] = []
    told: dict[str, Any] = {"columns": len(recipe.names), "columns_seconds": round(columns_took, 1), "seeds": seeds}
    for seed in range(1, given.seeds + 1):
        begun = time.perf_counter()
        scorer = BoostedScorer(
            rounds=given.rounds, leaves=63, min_rows=40, columns=0.6, l2=5.0, positive_weight=given.weight, seed=seed,
            threads=given.threads,
        )  # fmt: skip
        model = train_payments(np.asarray(x), world.label, split, recipe.names, scorer)
        margin = model.scorer.decision_function(np.asarray(x[split.test]))
        seeds.append(_judged(world, model, margin) | {"seconds": round(time.perf_counter() - begun, 1)})
        say(f"{name}, seed {seed}: F1 {seeds[-1]['f1']:.3f}, PR-AUC {seeds[-1]['ap']:.3f}, {model.rounds} trees")
        if seed == 1:
            told |= {"queues": _queues(world, margin), "typologies": _typologies(world, margin >= model.threshold)}
    del x
    (home / f"{name}.columns").unlink()
    return told


def _tell(name: str, done: int, of: int) -> None:
    if done == of or done % (1 << 20) < (1 << 17):
        say(f"{name}: columns of {done:,} of {of:,} payments")


def _judged(world: World, model: PaymentModel, margin: Array) -> dict[str, Any]:
    label = world.label[world.split.test]
    cut = world.tail - world.split.test.start
    found = margin >= model.threshold
    most = max(1, round(_SHARE * label.size))
    first = np.argsort(-margin, kind="stable")[:most]
    return {
        "rounds": model.rounds,
        "validation_ap": model.validated,
        "f1": f1_score(label, found),
        "precision": float(label[found].mean()) if found.any() else 0.0,
        "recall": float(label[found].sum() / max(label.sum(), 1)),
        # What no threshold can do better; it looks at the test, so it is no result, and bounds what the threshold cost.
        "best_f1": f1_score(label, margin >= best_threshold(label, margin)) if label.any() else 0.0,
        "ap": average_precision(label, margin),
        "recall_1_percent": float(label[first].sum() / max(label.sum(), 1)),
        "dense_ap": _ap(label[:cut], margin[:cut]),
        "dense_f1": f1_score(label[:cut], found[:cut]),
        "tail_ap": _ap(label[cut:], margin[cut:]),
    }


def _ap(label: Array, margin: Array) -> float | None:
    return average_precision(label, margin) if label.any() else None


def _queues(world: World, margin: Array) -> list[dict[str, Any]]:
    """Accounts caught by each pooling and by the queue of payments, reading 1 % of the test's accounts."""
    net, rows = world.net, world.split.test
    label = world.label[rows]
    guilty = np.unique(np.concatenate([net.source[rows][label == 1], net.target[rows][label == 1]]))
    active = np.unique(np.concatenate([net.source[rows], net.target[rows]])).size
    budget = max(1, round(_SHARE * active))
    found = []
    for how in POOLINGS:
        whole = timedelta(microseconds=int(net.time[-1] - net.time[rows.start]) + 1)
        pooled = pool(net, margin, rows, how=how, period=whole, begin=int(net.time[rows.start]))
        paid, ranked, alike = yields(net, margin, label, rows, pooled, net.nodes.gather(guilty), budget)
        found.append(
            {"pooling": how, "budget": budget, "of": ranked.of, "caught": ranked.caught, "payments_hit": paid.hits,
             "payments_accounts": paid.accounts, "payments_caught": paid.caught, "overlap": alike}
        )  # fmt: skip
    return found


def _typologies(world: World, found: Array) -> list[dict[str, Any]]:
    """Recall at the threshold by typology of the pattern file, and of laundering that is in none of its attempts."""
    if world.attempts is None:
        return []
    rows = world.split.test
    edge = pl.Series("edge", np.flatnonzero(world.label[rows] == 1) + rows.start, dtype=pl.Int64)
    guilty = pl.DataFrame({"edge": edge, "found": found[edge.to_numpy() - rows.start]})
    named = guilty.join(world.attempts, on="edge", how="left").with_columns(pl.col("typology").fill_null("(none)"))
    by = named.group_by("typology").agg(payments=pl.len(), found=pl.col("found").sum()).sort("typology")
    return by.to_dicts()


def page(found: dict[str, Any]) -> str:
    """Markdown."""
    lines = [f"# AMLworld: {found['file']}", ""]
    lines += [f"{found['payments']:,} payments, {found['positives']:,} of them laundering, {found['accounts']:,} "
              f"accounts; {found['tail']:,} payments of the test are tail. A positive counts for {found['weight']:g}. "
              f"{found['seconds']:,} s, {found['peak_gb']} GB at most.", ""]  # fmt: skip
    parts = [[n, f"{p['payments']:,}", f"{p['positives']:,}", f"{p['base']:.3%}"] for n, p in found["parts"].items()]
    lines += table(["part", "payments", "laundering", "share"], parts)
    rows = [
        ("F1", "f1"), ("precision", "precision"), ("recall", "recall"), ("PR-AUC, whole test", "ap"),
        ("PR-AUC, dense days", "dense_ap"), ("F1, dense days", "dense_f1"), ("PR-AUC, tail", "tail_ap"),
        ("recall at 1 % of payments", "recall_1_percent"), ("F1 at the test's own best threshold", "best_f1"),
    ]  # fmt: skip
    for name, told in found["protocols"].items():
        seeds = told["seeds"]
        trees = ", ".join(str(s["rounds"]) for s in seeds)
        lines += ["", f"## {name}: {told['columns']} columns, {len(seeds)} seeds, trees {trees}", ""]
        lines += table(["measure", "mean", "sd"], [[what, *_spread([s[key] for s in seeds])] for what, key in rows])
        if name == "paper":
            reached = np.mean([s["f1"] for s in seeds])
            lines += ["", f"Goal on HI-Small: F1 of {GOAL} or more; this file: {reached:.3f}."]
        heads = ["pooling", "budget", "accounts caught", "by the queue of payments", "overlap"]
        queues = [[q["pooling"], str(q["budget"]), f"{q['caught']} of {q['of']}",
                   f"{q['payments_caught']} ({q['payments_hit']} payments)", f"{q['overlap']:.2f}"]
                  for q in told["queues"]]  # fmt: skip
        lines += ["", "Queues at one budget, first seed:", "", *table(heads, queues)]
        if told["typologies"]:
            kinds = [
                [t["typology"], str(t["payments"]), f"{t['found'] / t['payments']:.0%}"] for t in told["typologies"]
            ]
            lines += ["", "Recall by typology at the threshold, first seed:", "",
                      *table(["typology", "payments of the test", "found"], kinds)]  # fmt: skip
    return "\n".join(lines) + "\n"


def _spread(values: list[float | None]) -> tuple[str, str]:
    known = [v for v in values if v is not None]
    if not known:
        return "–", "–"
    return f"{np.mean(known):.3f}", f"{np.std(known, ddof=1):.3f}" if len(known) > 1 else "–"


if __name__ == "__main__":
    main()
