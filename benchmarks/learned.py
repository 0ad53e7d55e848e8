"""What each kind of feature is worth to the learned scorer: accounts ranked by rules only, and by one booster on the
windows alone, then with motifs and the network, with risk from known labels, with the rules' hits.

    python benchmarks/learned.py [FOLDER] --save

On the labelled AMLSim samples under FOLDER (default: ``../shared/data``) and on populations of ``fintel synth``. The
learning set is ``fintel train``'s: snapshots, labels known by then, split by time with a gap where the feed is long
enough, folds of groups otherwise; the leakage audit has passed it. Columns are left out of one learning set, so all
ways judge the same accounts. Scores are the mean of two boosters with fixed parameters.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from graph_worth_sets import Labelled, population, sample
from population import say

from fintel.bench.explain_page import table
from fintel.config import Settings
from fintel.errors import ModelError
from fintel.features.catalog import BY_NAME
from fintel.models.account_rows import Rules, account_rows
from fintel.models.dataset import Examples, Sampling, build
from fintel.models.evaluation import evaluate
from fintel.models.labels import read_cleared, reviewed
from fintel.models.leakage import Waivers, audit
from fintel.models.scorer import BoostedScorer
from fintel.pipeline import current_rules, load_library
from fintel.ranking import rank
from fintel.rules.runner import detect_tables

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ("generated_1K", "generated_10K_lookalikes", "ibm_20K_fanin200")
SEEDS = (8101, 8102)
NOT_OF_WINDOWS = ("motifs", "network", "risk", "rules")
LADDER = {
    "windows": (),
    "+ motifs, network": ("motifs", "network"),
    "+ risk": ("motifs", "network", "risk"),
    "+ rules": NOT_OF_WINDOWS,
}
_RUNS = 2


def main() -> None:
    """Measure every set, print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS), help="of populations")
    parser.add_argument("--accounts", type=int, default=4_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--only", nargs="*", help="samples by name; nothing after it: none")
    parser.add_argument("--save", type=Path, nargs="?", const=ROOT / "benchmarks" / "results" / "learned.json")
    given = parser.parse_args()
    found = []
    for data in _sets(given):
        found.append(measure(data))
        if given.save is not None:
            given.save.parent.mkdir(exist_ok=True)
            given.save.write_text(json.dumps(found, indent=1) + "\n")
    print(page(found))


def _sets(given: argparse.Namespace) -> Iterator[Labelled]:
    for name in SAMPLES if given.only is None else given.only:
        if given.folder.is_dir():
            yield sample(name, given.folder)
    for seed in given.seeds:
        yield population(seed, given.accounts, given.days)


def measure(data: Labelled) -> dict[str, Any]:
    """One set: every way of ranking on the same accounts."""
    tables = dict(data.tables)
    library = current_rules(load_library(Settings())[0])
    last = tables["transactions"].select(pl.col("booked_at").max()).collect().item()
    rules = Rules(library)
    told: dict[str, Any] = {"name": data.name, "payments": len(data.net)}
    begun = time.perf_counter()
    try:
        # Labels of samples are known after the last payment: they are believed from then on.
        known = tables["labels"].select(pl.col("known_at").max()).collect().item()
        sampling = Sampling(known_by=None if data.name.startswith("fintel synth") else known)
        moment = last + pl.Series([1]).cast(pl.Duration("us"))[0]
        examples = build(tables, moment, sampling, seed=7, threads=1, rules=rules)
    except ModelError as error:
        return told | {"refused": error.message}
    told["seconds"] = {"learning set": time.perf_counter() - begun}
    begun = time.perf_counter()
    told["leakage"] = _audited(examples, tables, rules)
    told["seconds"]["audit"] = time.perf_counter() - begun
    judged = _rules_only(examples, tables, library, last)
    ways = {"rules only": "rules only"}
    for name, families in LADDER.items():
        keep = [
            i
            for i, n in enumerate(examples.names)
            if BY_NAME[n].family not in NOT_OF_WINDOWS or BY_NAME[n].family in families
        ]
        judged = judged.with_columns(_margins(examples, keep, examples.weight).alias(name))
        ways[name] = name
        told.setdefault("columns", {})[name] = len(keep)
    judged = judged.with_columns(
        _margins(examples, range(len(examples.names)), _weighed(examples, tables)).alias(
            "all, unreviewed rows of weight 0.1"
        )
    )
    ways["all, unreviewed rows of weight 0.1"] = "all, unreviewed rows of weight 0.1"
    told["columns"]["all, unreviewed rows of weight 0.1"] = len(examples.names)
    best = (
        judged.filter(pl.Series(examples.test))
        .group_by("account_id", "group")
        .agg(pl.col("truth").max().alias("label"), pl.col(list(ways)).max())
    )
    evaluation = evaluate(best.sort("account_id"), ways, plan=examples.plan.kind, seed=7)
    told |= {
        "plan": examples.plan.kind, "rows": examples.rows.height, "snapshots": len(examples.plan.fit_at),
        "accounts": evaluation.accounts, "positives": evaluation.positives, "base": evaluation.base_rate,
        "notes": list(examples.plan.notes),
        "ways": {n: w.model_dump(mode="json") for n, w in evaluation.rankings.items()},
    }  # fmt: skip
    for name, way in evaluation.rankings.items():
        say(f"{data.name}, {name}: {way.average_precision}")
    return told


def _weighed(examples: Examples, tables: dict[str, pl.LazyFrame]) -> Any:
    """Weights under which rows that nobody looked at count for a tenth."""
    looked_at = reviewed(examples.rows, read_cleared(tables, examples.plan.known_by), examples.plan.before_days)
    clean = (examples.rows["label"] == 0).fill_null(value=False)
    return np.where((clean & ~looked_at).to_numpy(), 0.1, 1.0) if looked_at.any() else examples.weight


def _audited(examples: Examples, tables: dict[str, pl.LazyFrame], rules: Rules) -> list[str]:
    first = min(*examples.plan.fit_at, *examples.plan.test_at)
    then = Rules(rules.library, known_before=first)

    def recompute(cut: Any, moment: Any, accounts: pl.Series) -> pl.DataFrame:
        return account_rows(
            cut,
            [moment],
            examples.names,
            accounts=accounts,
            rules=then,
            known_by=examples.plan.known_by,
            apart=examples.apart,
        )

    try:
        return list(audit(examples, tables, recompute, waivers=Waivers()).checks)
    except ModelError as error:
        return [f"refused: {error.message}"]


def _rules_only(examples: Examples, tables: dict[str, pl.LazyFrame], library: Any, last: Any) -> pl.DataFrame:
    episodes = detect_tables(tables, library, as_of=last).episodes
    accounts = tables["accounts"].select("account_id", "party_id", "holding").collect()
    ranked = rank(episodes, accounts, run_id="", prior=0.001).alerts.select(
        "account_id", pl.col("score").alias("rules only")
    )
    return examples.rows.join(ranked, on="account_id", how="left", maintain_order="left").with_columns(
        pl.col("rules only").fill_null(math.log2(0.001))
    )


def _margins(examples: Examples, keep: Any, weight: Any) -> pl.Series:
    """Margins of the judged rows by boosters that never saw the account's group."""
    x, rows = np.ascontiguousarray(examples.x[:, list(keep)]), examples.rows
    label, fold = rows["label"].to_numpy(), rows["fold"].to_numpy()
    margin = np.full(rows.height, np.nan)
    for k in np.unique(fold[examples.test]):
        seen, held = examples.fit & (fold != k), examples.test & (fold == k)
        scores = [
            BoostedScorer(rounds=150, seed=run, threads=1)
            .fit(x[seen], label[seen], weight[seen])
            .decision_function(x[held])
            for run in range(1, _RUNS + 1)
        ]
        margin[held] = np.mean(scores, axis=0)
    return pl.Series(margin)


def page(found: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines: list[str] = []
    for one in found:
        lines += ["", f"### {one['name']}", ""]
        if "refused" in one:
            lines += [f"{one['payments']:,} payments. Refused: {one['refused']}."]
            continue
        split = "split by time" if one["plan"] == "time" else "folds of groups over the same period"
        lines += [
            f"{one['payments']:,} payments; {one['snapshots']} snapshots, {one['rows']:,} rows; {split}. "
            f"{one['positives']:,} of {one['accounts']:,} judged accounts labelled (base rate {one['base']:.2%}).",
            "",
        ]
        rows = []
        for name, way in one["ways"].items():
            ap, at = way["average_precision"], way["budgets"][0]
            rows.append([
                name, str(one["columns"].get(name, "")), f"{ap['value']:.3f}", f"{ap['low']:.3f}–{ap['high']:.3f}",
                f"{at['precision']['value']:.2f}", f"{at['recall']['value']:.2f}",
            ])  # fmt: skip
        head = ["ranked by", "columns", "average precision", "95 %", "precision at 1 %", "recall at 1 %"]
        lines += [*table(head, rows)]
    return "\n".join(lines).lstrip("\n") + "\n"


if __name__ == "__main__":
    main()
