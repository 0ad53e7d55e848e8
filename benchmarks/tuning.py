"""1,000 settings of a rule against one run of the same rule, side by side on the same payments.

    python benchmarks/tuning.py                                        10 million payments, three rules
    python benchmarks/tuning.py --payments 1_000_000 --folder bench-data --rules ml-general/fan-in

The floor: all settings, windows included, within twice the time of one run of the rule. Each side runs
alone in a process of its own, in turn; ``--repeat`` times, of which the fastest counts. Both read the lake
anew. Making the feed and reading it into the lake are not timed. A few settings are run as rules of their
own afterwards, and the accounts that they alert are compared.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from asking import contenders_parser, kept, save
from population import lake, say
from processes import Outcome, run, tell

from fintel.bench.swept import Known
from fintel.bench.tuning import Tuned, tune
from fintel.config import Settings
from fintel.models.verdicts import verdicts
from fintel.pipeline import canonical_tables, load_library
from fintel.rules.runner import detect_tables
from fintel.store.lake import Lake

HERE = Path(__file__).resolve().parent
RULES = "osec/low-value-sends-few-recipients,ml-general/fan-in,ml-general/pass-through"
SIDES = ("run", "tune")
#: Payments of the small lake on which the kernels are compiled before anything is timed.
SMALL = 20_000


def main() -> None:
    """Make the data, time both sides of each rule, compare, print."""
    parser = contenders_parser(__doc__, payments=10_000_000, timeout=1800, result="tuning.json")
    parser.add_argument("--rules", default=RULES, help=f"ids (default: {RULES})")
    parser.add_argument("--settings", type=int, default=1000)
    parser.add_argument("--checked", type=int, default=3, help="settings that are run as rules too (default: 3)")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--side", choices=(*SIDES, "check"), help=argparse.SUPPRESS)
    parser.add_argument("--lake", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        tell(given.out, *_side(given))
        return
    with kept(given.folder) as folder:
        results = _all(given, folder)
    if given.save:
        save(results, "tuning.json")


def _all(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    large, small = lake(folder, given.payments, given.days, given.seed), lake(folder, SMALL, given.days, given.seed)
    results: dict[str, Any] = {"cores": os.cpu_count(), "payments": given.payments, "rules": []}
    for rule in given.rules.split(","):
        sides: dict[str, list[Outcome]] = {side: [] for side in SIDES}
        for side in SIDES:
            _run(given, side, rule, small)
        for turn in range(given.repeat):
            for side in SIDES:
                say(f"{rule}, {side}, {turn + 1} of {given.repeat}")
                sides[side].append(_run(given, side, rule, large))
        say(f"{rule}, comparing {given.checked} settings")
        facts = _run(given, "check", rule, large).facts
        best = {side: min(found, key=lambda o: o.seconds["all"]) for side, found in sides.items()}
        ratio = best["tune"].seconds["all"] / best["run"].seconds["all"]
        results["rules"].append(
            {"rule": rule, "ratio": round(ratio, 3), **facts, **{side: one.as_dict() for side, one in best.items()}}
        )
        _show(rule, best, ratio, facts)
    return results


def _run(given: argparse.Namespace, side: str, rule: str, store: Path) -> Outcome:
    arguments = [
        "--side", side, "--rules", rule, "--lake", str(store), "--settings", str(given.settings),
        "--threads", str(given.threads), "--seed", str(given.seed), "--checked", str(given.checked),
    ]  # fmt: skip
    return run(side, HERE / "tuning.py", arguments, given.timeout)


def _show(rule: str, best: dict[str, Outcome], ratio: float, facts: dict[str, Any]) -> None:
    for side, one in best.items():
        stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in one.seconds.items() if name != "all")
        told = " ".join(f"{name}={value:,}" for name, value in one.facts.items())
        print(f"{rule:40} {side:5} {one.seconds['all']:7.1f} s  {one.peak_mb:6,} MB  ({stages})  {told}")
    print(f"{rule:40} ratio {ratio:.2f} (floor: 2); {facts['checked']} settings run as rules, {facts['differ']} differ")


def _side(given: argparse.Namespace) -> tuple[dict[str, float], dict[str, Any]]:
    settings = Settings(lake=given.lake, threads=given.threads)
    library, _ = load_library(settings)
    rule = library[given.rules]
    with Lake.open(given.lake) as store:
        tables = canonical_tables(store)
        own = store.scan("accounts").filter(pl.col("holding") == "own").select("account_id").collect()["account_id"]
        begun = time.perf_counter()
        if given.side == "run":
            found = detect_tables(tables, library.only([rule.id]), threads=given.threads)
            stages = {name: round(seconds, 2) for name, seconds in found.seconds.items()}
            took = time.perf_counter() - begun
            facts = {"episodes": found.episodes.height}
        else:
            clock: list[tuple[str, float]] = []
            known = verdicts(tables, rule.typology)
            tuned = tune(
                tables, library, rule, Known(known.suspicious & set(own), known.cleared, known.source),
                number=given.settings, own=own, threads=given.threads, seed=given.seed,
                progress=lambda stage, done, of: clock.append((stage, time.perf_counter())),
            )  # fmt: skip
            took = time.perf_counter() - begun
            stages = _stages(clock, begun, begun + took)
            facts = {
                "settings": tuned.table.height,
                "points": len(tuned.swept[0].measured),
                "boxes": tuned.swept[0].stacks.boxes,
            }
            if given.side == "check":
                facts = _check(given, tables, library, tuned, set(own))
    return {"all": round(took, 2), **stages}, facts


def _stages(clock: list[tuple[str, float]], begun: float, ended: float) -> dict[str, float]:
    """Seconds from the first report of each stage to the first of the next."""
    firsts: dict[str, float] = {}
    for name, at in clock:
        firsts.setdefault("settings" if name.endswith("settings") else name, at)
    names = list(firsts)
    ends = [*(firsts[n] for n in names[1:]), ended]
    return {"labels": round(firsts[names[0]] - begun, 2)} | {
        name: round(end - firsts[name], 2) for name, end in zip(names, ends, strict=True)
    }


def _check(given: argparse.Namespace, tables: Any, library: Any, tuned: Tuned, own: set[str]) -> dict[str, int]:
    """Settings run as rules of their own: how many alert other accounts than the sweep said."""
    mine = tuned.swept[0]
    alerting = np.flatnonzero(mine.counts[:, 0])
    wanted = np.random.default_rng(given.seed).choice(alerting, min(given.checked, alerting.size), replace=False)
    differ = 0
    for setting in wanted.tolist():
        tried = replace(library, rules=(library[mine.measured.rule.id].tuned(mine.values(setting)),))
        found = detect_tables(tables, tried, threads=given.threads)
        differ += set(found.episodes["account_id"]) & own != set(mine.alerted(setting)["account_id"])
    return {"checked": int(wanted.size), "differ": differ}


if __name__ == "__main__":
    main()
