"""Every rule of the library: fintel's run beside the same rules as DuckDB SQL, in one run.

    python benchmarks/rules.py                          1 million payments
    python benchmarks/rules.py --payments 10_000_000 --folder bench-data --save

Each contender runs alone in a process of its own, one after the other: on a machine that others use too, ratios
within a run say more than seconds. fintel starts from the lake and ends with episodes, clauses and evidence. DuckDB
is given more: entries ready made, words looked for already, ids as 64-bit hashes; it ends with the hits. Its
queries are those of ``fintel rules sql --form windows``, one a rule. A query that takes longer than ``--each``
seconds is stopped and counted with that.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from asking import contenders_parser, kept, save
from population import lake, say, with_mentions
from processes import Outcome, run

from fintel.config import Settings
from fintel.features.entries import entries
from fintel.graph.entry_columns import with_graph
from fintel.pipeline import canonical_tables, load_library
from fintel.rules.compiler import compile_library
from fintel.store.lake import Lake

HERE = Path(__file__).resolve().parent
ORDER = ("fintel", "alone", "duckdb")
WHAT = {
    "fintel": "fintel: lake to episodes and evidence",
    "alone": "fintel: each rule by itself",
    "duckdb": "DuckDB SQL, one query a rule",
}


def main() -> None:
    """Make the data, run the contenders, compare, print."""
    parser = contenders_parser(__doc__, payments=1_000_000, timeout=7200, result="rules.json")
    parser.add_argument("--only", default=",".join(ORDER), help=f"of {', '.join(ORDER)}")
    parser.add_argument("--rules", default="", help="only rules whose id contains this")
    parser.add_argument("--memory", type=int, default=10, help="DuckDB's memory limit in GB")
    parser.add_argument("--each", type=float, default=60, help="seconds after which one query is stopped")
    given = parser.parse_args()
    wanted = [name for name in ORDER if name in given.only.split(",")]
    with kept(given.folder) as folder:
        measured = _all(given, folder, wanted)
    print(report(measured))
    if given.save:
        save(measured, "rules.json")


def _all(given: argparse.Namespace, folder: Path, wanted: list[str]) -> dict[str, Any]:
    store = lake(folder, given.payments, given.days, given.seed)
    outcomes = []
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        table = Path(scratch) / "entries.parquet"
        if "duckdb" in wanted:
            entries_with_mentions(store, table)
        for name in wanted:
            say(name)
            arguments = [
                name, "--lake", str(store), "--entries", str(table), "--threads", str(given.threads),
                "--memory", str(given.memory), "--each", str(given.each), "--rules", given.rules,
            ]  # fmt: skip
            outcomes.append(run(name, HERE / "rules_contenders.py", arguments, given.timeout))
    return {"cores": os.cpu_count(), "payments": given.payments, "outcomes": [o.as_dict() for o in outcomes]}


def entries_with_mentions(store: Path, target: Path) -> None:
    """Entries of a lake as Parquet, with the graph columns that rules read and a boolean column for each text column
    and list that a rule asks about."""
    say("writing its entries as Parquet")
    with Lake.open(store) as opened:
        tables = canonical_tables(opened)
        library, _ = load_library(Settings(lake=store))
        numbered = {**tables, "transactions": tables["transactions"].with_row_index("row")}
        seen = with_graph(entries(numbered, row="row"), tables, compile_library(library, base_currency="USD").columns)
        rows = with_mentions(seen.drop("row"), tables, library)
        rows.sink_parquet(target)


def report(measured: dict[str, Any]) -> str:
    """Tables for people, in Markdown."""
    outcomes = {o["name"]: Outcome(**o) for o in measured["outcomes"]}
    lines = [f"{measured['payments']:,} payments, {measured['cores']} cores", ""]
    lines += ["| contender | rules | seconds | CPU s | peak MB | load | stages |", "|---|---|---|---|---|---|---|"]
    for name, o in outcomes.items():
        total = sum(o.seconds.values())
        stages = ", ".join(f"{stage} {s:.1f}" for stage, s in o.seconds.items())
        memory = o.facts.get("peak_mb", {})
        stages += "".join(f"; {stage} {mb:,} MB" for stage, mb in memory.items())
        lines.append(
            f"| {WHAT[name]} | {o.facts.get('rules', '')} | {total:.1f} | {o.processor_seconds:.1f} | {o.peak_mb:,} "
            f"| {o.load} | {o.ended or stages} |"
        )
    ours, alone, theirs = (outcomes[n].facts.get("by_rule", {}) if n in outcomes else {} for n in ORDER)
    both = [r for r in theirs if r in ours]
    if both:
        lines += ["", *_compared(outcomes, ours, theirs, both)]
        lines += ["", "| rule | hits | fintel, by itself: CPU s | DuckDB: CPU s | times | DuckDB: seconds |"]
        lines.append("|---|---|---|---|---|---|")
        for rule in sorted(both, key=lambda r: -theirs[r]["processor_seconds"]):
            mine, sql = alone.get(rule, {}).get("processor_seconds"), theirs[rule]
            least = ">" if sql["stopped"] else ""
            times = f"{least}{sql['processor_seconds'] / mine:.0f}" if mine else ""
            hits = f"{ours[rule]['hits']:,}" if ours[rule]["outcome"] == "evaluated" else "cannot tell"
            lines.append(
                f"| {rule} | {hits} | {'' if mine is None else f'{mine:.2f}'} "
                f"| {least}{sql['processor_seconds']:.2f} | {times} | {least}{sql['seconds']:.2f} |"
            )
    return "\n".join(lines)


def _compared(outcomes: dict[str, Outcome], ours: dict[str, Any], theirs: dict[str, Any], both: list[str]) -> list[str]:
    stopped = [r for r in both if theirs[r]["stopped"]]
    blind = [r for r in both if ours[r]["outcome"] != "evaluated"]
    told = [r for r in both if r not in stopped and r not in blind]
    equal = [r for r in told if theirs[r]["hits"] == ours[r]["hits"]]
    hits = sum(ours[r]["hits"] for r in told)
    mine, sql = outcomes["fintel"], outcomes["duckdb"]
    seconds = sum(sql.seconds.values()) / sum(mine.seconds.values())
    processor = sql.processor_seconds / mine.processor_seconds
    return [
        f"{len(both)} rules as SQL: {len(stopped)} stopped, {len(blind)} cannot tell anything on this feed; "
        f"{len(equal)} of the other {len(told)} have as many hits as fintel ({hits:,} in all)"
        + ("." if len(equal) == len(told) else f", not: {', '.join(r for r in told if r not in equal)}."),
        f"DuckDB takes {seconds:.1f} times fintel's seconds and {processor:.1f} times its processor seconds.",
    ]


if __name__ == "__main__":
    main()
