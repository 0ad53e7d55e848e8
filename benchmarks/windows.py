"""The measures of the shipped rules side by side: our kernels, polars ``rolling``, DuckDB windows, and the floor.

    python benchmarks/windows.py                          10 million payments, 25 rules and all rules
    python benchmarks/windows.py --payments 1_000_000 --folder bench-data --only kernels,floor

Every contender runs alone in a process of its own, one after the other, in one run: on a machine that
others use too, ratios within a run say more than seconds. Making the feed and reading it into a lake
are not timed (``line.py`` times them).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from asking import contenders_parser, kept, save
from population import entries_file, lake, say
from processes import Outcome, run

HERE = Path(__file__).resolve().parent
ORDER = ("floor", "kernels", "detect", "polars", "duckdb")
#: The stage that computes the windows and nothing else.
ALONE = {"kernels": "sweep", "polars": "windows", "duckdb": "windows"}
WHAT = {
    "floor": "read the columns, sort once",
    "kernels": "fintel: masks, order, sweeps",
    "detect": "fintel: lake to episodes and evidence",
    "polars": "polars rolling",
    "duckdb": "DuckDB windows",
}


def main() -> None:
    """Make the data, run the contenders, compare, print."""
    parser = contenders_parser(__doc__, payments=10_000_000, timeout=1800, result="windows.json")
    parser.add_argument("--rules", default="25,0", help="numbers of rules, by id; 0 is all (default: 25,0)")
    parser.add_argument("--only", default=",".join(ORDER), help=f"of {', '.join(ORDER)}")
    parser.add_argument("--memory", type=int, default=8, help="DuckDB's memory limit in GB")
    parser.add_argument("--sampled", type=int, default=199, help="compare one partition in so many (default: 199)")
    given = parser.parse_args()
    wanted = [name for name in ORDER if name in given.only.split(",")]
    with kept(given.folder) as folder:
        results = _all(given, folder, wanted)
    if given.save:
        save(results, "windows.json")


def _all(given: argparse.Namespace, folder: Path, wanted: list[str]) -> dict[str, Any]:
    store = lake(folder, given.payments, given.days, given.seed)
    entries = entries_file(store, given.sampled)
    results: dict[str, Any] = {"cores": os.cpu_count(), "payments": given.payments, "sets": []}
    for rules in (int(number) for number in given.rules.split(",")):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            outcomes, values = [], {}
            for name in wanted:
                say(f"{name}, {rules or 'all'} rules")
                values[name] = Path(scratch) / f"{name}.parquet"
                arguments = [
                    name, "--entries", str(entries), "--lake", str(store), "--rules", str(rules),
                    "--threads", str(given.threads), "--memory", str(given.memory), "--values", str(values[name]),
                ]  # fmt: skip
                outcomes.append(run(name, HERE / "contenders.py", arguments, given.timeout))
            agreement = _agreement({n: pl.read_parquet(p) for n, p in values.items() if p.is_file()})
        _print(outcomes, agreement)
        results["sets"].append({"outcomes": [o.as_dict() for o in outcomes], "agreement": agreement})
    return results


def _agreement(values: dict[str, pl.DataFrame]) -> list[str]:
    """What the sampled values say: every contender against our kernels."""
    ours = values.pop("kernels", None)
    if ours is None:
        return []
    lines = []
    for name, theirs in values.items():
        key = ["measure", "row", "side"]
        joined = ours.join(theirs, on=key, how="full", suffix="_theirs", coalesce=True)
        a, b = pl.col("value"), pl.col("value_theirs")
        close = (a - b).abs() <= 1e-9 * pl.max_horizontal(a.abs(), 1.0)
        equal = pl.when(a.is_null() | b.is_null()).then(a.is_null() & b.is_null()).otherwise(close)
        same = joined.select(equal.sum()).item()
        complete = ours.height == theirs.height == joined.height
        lines.append(
            f"{name}: {same:,} of {joined.height:,} sampled values equal ours"
            + ("" if complete else f" (ours {ours.height:,}, theirs {theirs.height:,})")
        )
        if same < joined.height:
            wrong = joined.filter(~equal).group_by("measure").len().sort("len", descending=True)
            lines.append(f"{name}: differs in measures {wrong.head(8).rows()}")
    return lines


def _print(outcomes: list[Outcome], agreement: list[str]) -> None:
    known = {o.name: o for o in outcomes}
    facts = next((o.facts for o in outcomes if o.facts), {})
    print(f"\n{facts.get('rules', '?')} rules, {facts.get('measures', '?')} measures, {os.cpu_count()} cores")
    base = sum(known["floor"].seconds.values()) if "floor" in known else None
    ours = sum(known["kernels"].seconds.values()) if "kernels" in known else None
    print(f"{'':38} {'seconds':>9} {'of floor':>9} {'of ours':>9} {'CPU s':>8} {'peak MB':>8} {'load':>5}  stages")
    for outcome in outcomes:
        total = sum(s for stage, s in outcome.seconds.items() if not stage.startswith("of which"))
        stages = ", ".join(f"{stage} {s:.1f}" for stage, s in outcome.seconds.items())
        if outcome.ended:
            total, stages = outcome.all_seconds, outcome.ended
        least = ">" if outcome.ended else ""
        ratios = [f"{least}{total / by:.2f}" if by else "" for by in (base, ours)]
        print(
            f"{WHAT[outcome.name]:38} {total:9.1f} {ratios[0]:>9} {ratios[1]:>9} {outcome.processor_seconds:8.1f} "
            f"{outcome.peak_mb:8,} {outcome.load:5.1f}  {stages}"
        )
    alone = {name: known[name].seconds.get(stage) for name, stage in ALONE.items() if name in known}
    least = alone.get("kernels")
    if least:
        others = [f"{name} {s:.1f} s ({s / least:.1f} times)" for name, s in alone.items() if s and name != "kernels"]
        print(f"windows alone, conditions and order given: ours {least:.1f} s, {', '.join(others)}")
    for line in agreement:
        print(line)


if __name__ == "__main__":
    main()
