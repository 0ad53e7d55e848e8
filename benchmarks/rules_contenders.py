"""The contenders of ``rules.py``; each runs in a process of its own."""

from __future__ import annotations

import argparse
import os
import re
import resource
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
from processes import Clock, tell

from fintel.config import Settings
from fintel.engine.local import sweep
from fintel.engine.partition import Slice, partition
from fintel.pipeline import canonical_tables, last_moment, load_library
from fintel.rules.across import Across
from fintel.rules.episodes import find
from fintel.rules.expression import mention_column
from fintel.rules.model import Library
from fintel.rules.prepared import blindness, latest_rates, prepare
from fintel.rules.restated_rule import Restatement, restate
from fintel.rules.restatement import windows_sql_of
from fintel.rules.runner import detect_tables
from fintel.store.lake import Lake

BASE = "USD"
#: Ids, compared for equality only: as hashes they are narrower, and faster to partition by, than as texts.
IDS = ("entry_id", "transaction_id", "account_id", "counterparty_id", "party_id", "device_id", "ip_address", "place_id")
PAGE_MB = resource.getpagesize() / (1 << 20)


class Memory:
    """Resident megabytes over time, looked at by a thread."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._done.wait(0.02):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.seen.append((time.perf_counter(), pages * PAGE_MB))

    def peaks(self, begun: float, stages: Mapping[str, float]) -> dict[str, int]:
        """The highest of each of some stages that follow each other."""
        self._done.set()
        found = {}
        for name, seconds in stages.items():
            inside = [mb for at, mb in self.seen if begun <= at <= begun + seconds]
            found[name] = round(max(inside, default=0))
            begun += seconds
        return found


def library_of(given: argparse.Namespace) -> Library:
    """All rules, or those asked for."""
    library, _ = load_library(Settings(lake=Path(given.lake)))
    return library.with_components([r.id for r in library.rules if given.rules in r.id])


def _since(begun: tuple[float, float]) -> dict[str, float]:
    """Seconds, and processor seconds of all threads, since a moment."""
    return {
        "seconds": round(time.perf_counter() - begun[0], 3),
        "processor_seconds": round(time.process_time() - begun[1], 3),
    }


def fintel(given: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """The whole of detection."""
    library = library_of(given)
    with Lake.open(Path(given.lake)) as lake:
        tables, moment = canonical_tables(lake), last_moment(lake)
        memory, begun = Memory(), time.perf_counter()
        found = detect_tables(tables, library, base_currency=BASE, as_of=moment, threads=given.threads)
        took = time.perf_counter() - begun
    stages = dict(found.seconds)
    stages["results"] = max(0.0, took - sum(stages.values()))
    clock.seconds |= {name: round(seconds, 2) for name, seconds in stages.items()}
    results = found.rule_results.select("rule_id", "outcome", "candidates", "hits", "episodes").rows()
    by_rule = {r: {"outcome": o, "candidates": c, "hits": h, "episodes": e} for r, o, c, h, e in results}
    return {"rules": len(library.rules), "by_rule": by_rule, "peak_mb": memory.peaks(begun, stages)}


def alone(given: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """Each rule by itself on entries that are read once: order, windows, hits, episodes; nothing is shared."""
    library = library_of(given)
    by_rule = {}
    with Lake.open(Path(given.lake)) as lake:
        with clock.lap("entries"):
            made = prepare(canonical_tables(lake), library, base_currency=BASE, as_of=last_moment(lake))
        for rule in made.plan.rules:
            begun = (time.perf_counter(), time.process_time())
            if blindness(rule, made.data) is None:
                across = Across(made.data, given.threads)
                across.prepare(rule)

                def evaluate(piece: Slice, rule: Any = rule, across: Across = across) -> int:
                    return find(piece, rule, across.given(piece, rule)).hits

                pieces = partition(made.data, rule.rule.per, sorted(set(rule.masks)))
                hits = sum(sweep(pieces, evaluate, threads=given.threads))
                by_rule[rule.rule.id] = {**_since(begun), "hits": hits}
    clock.seconds["rules"] = round(sum(r["seconds"] for r in by_rule.values()), 2)
    return {"rules": len(by_rule), "by_rule": by_rule}


def sql(given: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """DuckDB: entries into a table once, then one query a rule; hits are kept as tables."""
    library = library_of(given)
    with Lake.open(Path(given.lake)) as lake:
        rates = latest_rates(canonical_tables(lake), BASE, last_moment(lake))
    plain = [r for r in library.rules if r.correlation is None]
    restated = {r.id: restate(r, library, base_currency=BASE, rates=rates) for r in plain}
    connection = duckdb.connect()
    connection.execute(f"set memory_limit = '{given.memory}GB'; set temp_directory = '{Path(given.out).parent}'")
    connection.execute("set preserve_insertion_order = false")
    if given.threads:
        connection.execute(f"set threads = {given.threads}")
    hashed = _hashed(restated)
    with clock.lap("read"):
        columns = _columns(restated, hashed)
        connection.execute(f"create table entries as select {columns} from read_parquet('{given.entries}')")
    by_rule = {}
    for number, rule in enumerate(library.rules):
        query = windows_sql_of(rule, library, base_currency=BASE, rates=rates).rpartition("order by")[0]
        query = query.replace(" left join entry_graph using (entry_id)", "")  # entries have these columns already
        query = re.sub(rf"\"({'|'.join(hashed)})\" <> ''", r'"\1" is not null', query)
        stop = threading.Timer(given.each, connection.interrupt)
        begun, stopped = (time.perf_counter(), time.process_time()), ""
        stop.start()
        try:
            connection.execute(f"create table hits_{number} as {query}")
            hits = connection.execute(f"select count(*) from hits_{number}").fetchall()[0][0]
        except (duckdb.InterruptException, duckdb.OutOfMemoryException) as error:
            hits, stopped = 0, type(error).__name__
        finally:
            stop.cancel()
        by_rule[rule.id] = {**_since(begun), "hits": hits, "stopped": stopped}
    clock.seconds["rules"] = round(sum(r["seconds"] for r in by_rule.values()), 2)
    return {"rules": len(by_rule), "by_rule": by_rule}


def _hashed(restated: Mapping[str, Restatement]) -> frozenset[str]:
    """Ids that conditions only ask whether they are there."""
    texts = [sql for r in restated.values() for part in (r.conditions, r.steps, r.flags) for sql in part.values()]
    asked = re.compile(r""""(\w+)"(?! is (?:not )?null| <> '')""")
    looked_into = {name for text in texts for name in asked.findall(text)}
    found = {c for c in IDS if c not in looked_into}
    pair = {"account_id", "counterparty_id"}
    return frozenset(found if pair <= found else found - pair)


def _columns(restated: Mapping[str, Restatement], hashed: frozenset[str]) -> str:
    """Columns that any rule reads."""
    read = sorted({c for r in restated.values() for c in r.columns})
    shown = [f"case when {c} is not null then hash({c}) end as {c}" if c in hashed else c for c in read]
    mentions = {mention_column(*m) for r in restated.values() for m in r.mentions}
    return ", ".join([*shown, *(f'"{m}"' for m in sorted(mentions))])


CONTENDERS = {"fintel": fintel, "alone": alone, "duckdb": sql}


def main() -> None:
    """One contender; writes its seconds and facts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("--lake", required=True)
    parser.add_argument("--entries", required=True)
    parser.add_argument("--rules", default="")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--memory", type=int, default=10)
    parser.add_argument("--each", type=float, default=60)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    clock = Clock()
    facts = CONTENDERS[given.name](given, clock)
    tell(given.out, clock.seconds, facts)
    os._exit(0)  # nothing is left to do; taking DuckDB's module down prints pages about its own objects


if __name__ == "__main__":
    main()
