"""Laundering attempts of AMLworld, told by their shape: each of the 370 of HI-Small's pattern file, found and named, or
why not.

An attempt is *found and named* if one instance of the motif of its typology holds all its payments (self-transfers are
no edges between two accounts and are left out of the count). Its *form is defined* if its own payments, alone, make
that motif at all: one payment is no fan, and two payments of strangers share nothing. The network is that of the
pattern file, so all is laundering: this measures recall and naming, and nothing of false alarms.

Then the same for what others planted: the alerts of AMLSim's runs, and schemes of ``fintel synth``. A planted instance
counts if ``find`` makes it of the payments of the scheme alone, within the bounds that the table states (so the page
states the share of all alerts too); it is found if one instance of the whole network, lawful payments included, holds
all of its payments.

    python benchmarks/attempts.py [FOLDER]           # prints docs/reference/motifs.md; --json for programs
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from samples import SAMPLES, attempts_as_feed, write_rates  # noqa: E402

from fintel.config import Settings  # noqa: E402
from fintel.feeds import mapping_loader, synthetic  # noqa: E402
from fintel.graph.motifs import KINDS, find  # noqa: E402
from fintel.graph.network import Network, network  # noqa: E402
from fintel.pipeline import canonical_tables, ingest  # noqa: E402
from fintel.store.lake import Lake  # noqa: E402

PATTERNS = Path("ibm_amlworld") / "HI-Small_Patterns.txt"
Options = Mapping[str, Any]
_ATTEMPTS: Options = {"within": timedelta(days=9), "at_least": 2}
#: The motif of each typology of AMLworld, and what it is looked for with.
TYPOLOGIES: Mapping[str, tuple[str, Options]] = {
    "FAN-IN": ("fan-in", _ATTEMPTS),
    "FAN-OUT": ("fan-out", _ATTEMPTS),
    "GATHER-SCATTER": ("gather-scatter", _ATTEMPTS),
    "SCATTER-GATHER": ("scatter-gather", _ATTEMPTS),
    "CYCLE": ("cycle", {**_ATTEMPTS, "hops": 12}),
    "RANDOM": ("chain", {**_ATTEMPTS, "tolerance": math.inf}),
    "STACK": ("stack", _ATTEMPTS),
    "BIPARTITE": ("stack", _ATTEMPTS),
}
#: AMLSim's alert types; its days have no hours, so what follows on the same day is not in order.
_ALERTS: Options = {"within": timedelta(days=30), "at_least": 3}
ALERTS: Mapping[str, tuple[str, Options]] = {
    "fan_in": ("fan-in", {**_ALERTS, "within": timedelta(days=720)}),
    "fan_out": ("fan-out", {**_ALERTS, "within": timedelta(days=720)}),
    "gather_scatter": ("gather-scatter", _ALERTS),
    "scatter_gather": ("scatter-gather", _ALERTS),
    "cycle": ("cycle", {**_ALERTS, "tolerance": 0.05, "fee": 0.10}),
    "random": ("chain", {"within": timedelta(days=30)}),
}
RUNS = ("generated_1K", "generated_10K_lookalikes")
#: What schemes of ``fintel synth`` are looked through for: kinds at their own bounds.
SYNTH = ("fan-in", "fan-out", "gather-scatter", "scatter-gather", "cycle", "chain", "reciprocal", "smurfing", "stack")
_ALL = 1_000_000


@dataclass(frozen=True)
class Attempt:
    """Rows of its payments, self-transfers left out, their two ends and moments (microseconds), in time order."""

    number: str
    typology: str
    rows: frozenset[int]
    edges: tuple[tuple[str, str], ...]
    times: tuple[int, ...]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--speed", type=Path, help="what motifs_speed.py printed, to be told too")
    chosen = parser.parse_args()
    found = measure(chosen.folder)
    if chosen.speed:
        found["speed"] = json.loads(chosen.speed.read_text())
    print(json.dumps(found, indent=2) if chosen.json else page(found))


def measure(folder: Path) -> dict[str, Any]:
    """Everything that the page says, ready for JSON; parts whose files are not there are left out."""
    found: dict[str, Any] = {"planted": []}
    if (folder / PATTERNS).is_file():
        found["attempts"] = attempts_told(*read_attempts(folder / PATTERNS))
    for run in RUNS:
        if (folder / SAMPLES[run].folder).is_dir():
            found["planted"] += alerts_told(run, folder)
    found["planted"] += synth_told()
    return found


def read(mapping: str, source: Path, home: Path, *, rates: bool) -> dict[str, pl.LazyFrame]:
    """A feed as canonical tables, in memory."""
    settings = Settings(lake=home / "lake", drafts=home / "drafts")
    with Lake.create_or_open(settings.lake) as lake:
        if rates:
            ingest(lake, write_rates(home), mapping_loader.load("fintel"), settings)
        ingest(lake, source, mapping_loader.load(mapping), settings)
        return {name: frame.collect().lazy() for name, frame in canonical_tables(lake).items()}


def read_attempts(patterns: Path) -> tuple[Network, list[Attempt]]:
    """The network of the pattern file, and its attempts."""
    with tempfile.TemporaryDirectory(prefix="fintel-attempts-") as scratch:
        home = Path(scratch)
        source, attempts = attempts_as_feed(patterns, home)
        tables = read("amlworld", source, home, rates=True)
    rows = tables["transactions"].with_row_index("row").collect()
    joined = attempts.join(rows, on="source_row").rename({"attempt": "scheme"})
    return network(tables), _schemes(joined)


def _schemes(rows: pl.DataFrame) -> list[Attempt]:
    """One a ``scheme`` and ``typology``."""
    columns = ("debtor_account_id", "creditor_account_id")
    found = []
    for (number, typology), part in rows.group_by("scheme", "typology", maintain_order=True):
        part = part.filter(pl.col(columns[0]) != pl.col(columns[1])).sort("booked_at", "transaction_id")
        found.append(
            Attempt(
                str(number),
                str(typology),
                frozenset(part["row"]),
                tuple(part.select(columns).iter_rows()),
                tuple(part["booked_at"].to_physical()),
            )
        )
    return found


def instances(net: Network, kind: str, options: Options) -> list[frozenset[int]]:
    """Rows of the payments of each instance, the strongest first."""
    edges = find(net, kind, limit=_ALL, **options).edges
    return [frozenset(rows) for rows in edges.group_by("motif_id", maintain_order=True).agg("row")["row"].to_list()]


def alone(net: Network, rows: frozenset[int]) -> Network:
    """The network of only these payments."""
    chosen = np.flatnonzero(np.isin(net.row, list(rows)))
    return Network(
        net.source[chosen], net.target[chosen], net.time[chosen], net.amount[chosen], net.row[chosen], net.nodes
    )


def attempts_told(net: Network, attempts: list[Attempt]) -> list[dict[str, Any]]:
    """By typology: attempts, those whose form is defined, those found whole, and why others escape."""
    told = []
    chains = instances(net, "chain", TYPOLOGIES["RANDOM"][1])
    for typology, (kind, options) in TYPOLOGIES.items():
        seen = instances(net, kind, options)
        parts = frozenset().union(*seen) if seen else frozenset()
        of_chains = frozenset().union(*chains)
        mine = [a for a in attempts if a.typology == typology]
        counts: Counter[str] = Counter()
        why: Counter[str] = Counter()
        for one in mine:
            defined = (
                any(one.rows <= found for found in instances(alone(net, one.rows), kind, options))
                if one.rows
                else False
            )
            whole = len(one.rows) > 1 and any(one.rows <= found for found in seen)
            counts["defined"] += defined
            counts["whole"] += whole
            counts["defined_and_whole"] += defined and whole
            counts["parts"] += not whole and len(one.rows) > 1 and one.rows <= parts
            counts["chains"] += not whole and len(one.rows) > 1 and one.rows <= of_chains
            if not whole:
                why[mixed(net, one, seen) if defined else undefined(one)] += 1
        numbers = {k: counts[k] for k in ("defined", "defined_and_whole", "whole", "parts", "chains")}
        row = {"typology": typology, "kind": kind, "attempts": len(mine), **numbers}
        told.append({**row, "why": dict(why.most_common())})
    return told


NOT_EXPLAINED = "not explained"


def mixed(net: Network, one: Attempt, seen: list[frozenset[int]]) -> str:
    """What in the network of all attempts keeps one from being told whole, though its payments alone make the motif.

    Checked, not supposed: where neither a parallel payment nor an instance that shares payments is there, it is not
    explained.
    """
    if one.typology == "CYCLE":
        parallel = _later_parallel(net, one)
        return "a later payment between the same two accounts, still before its next one" if parallel else NOT_EXPLAINED
    if one.typology == "RANDOM":
        longer = any(len(found) > len(one.rows) and found & one.rows for found in seen)
        return "a longer chain holds some of its payments" if longer else NOT_EXPLAINED
    shared = any(found & one.rows and found - one.rows for found in seen)
    return "another instance, with other payments too, holds some of its payments" if shared else NOT_EXPLAINED


def _later_parallel(net: Network, one: Attempt) -> bool:
    """If beside one of its payments there is another between the same two, later, and before its next payment."""
    own = pl.col("row").is_in(list(one.rows))
    mine = net.frame.filter(own)
    steps = mine.select("source", "target", paid="booked_at").join(
        mine.select(target="source", following="booked_at"), on="target"
    )
    met = net.frame.filter(~own).join(steps, on=["source", "target"])
    return not met.filter(pl.col("booked_at").is_between("paid", "following", closed="none")).is_empty()


def undefined(one: Attempt) -> str:
    """Why the attempt's own payments do not make the motif of its typology."""
    payers, payees = Counter(u for u, _ in one.edges), Counter(v for _, v in one.edges)
    if len(one.edges) < 2:
        return "one payment"
    if one.typology in ("STACK", "BIPARTITE"):
        if max([*payers.values(), *payees.values()]) == 1:
            between = set(payers) & set(payees)
            return (
                "payments of strangers, no account in common"
                if not between
                else "chains of two payments side by side, no account in common"
            )
        return "fewer than two payers that share two mids"
    if one.typology == "SCATTER-GATHER" and one.edges[0][0] == one.edges[-1][1]:
        return "payer and payee are one account: round trips"
    if one.typology == "SCATTER-GATHER" and len(set(payers) & set(payees)) < 2:
        return "one mid: a chain of two payments"
    if one.typology == "GATHER-SCATTER" and min(max(payers.values()), max(payees.values())) < 2:
        return "one payer or one payee"
    return "not in time order" if _unordered(one) else NOT_EXPLAINED


def _unordered(one: Attempt) -> bool:
    """If accounts pay before, or at the moment when, they are paid; of a cycle, others than where it sets out."""
    paid: dict[str, int] = {}
    pays: dict[str, int] = {}
    for (payer, payee), moment in zip(one.edges, one.times, strict=True):
        paid[payee] = max(moment, paid.get(payee, moment))
        pays[payer] = min(moment, pays.get(payer, moment))
    early = sum(paid[account] >= pays[account] for account in paid.keys() & pays.keys())
    return early > (one.typology == "CYCLE")


def alerts_told(run: str, folder: Path) -> list[dict[str, Any]]:
    """AMLSim's alerts (look-alikes too: they have the same forms), by type."""
    source = folder / SAMPLES[run].folder
    with tempfile.TemporaryDirectory(prefix="fintel-alerts-") as scratch:
        tables = read("amlsim", source, Path(scratch), rates=False)
    alerts = pl.read_parquet(source / "alert_transactions.parquet")
    members = alerts.select(
        scheme=pl.col("alert_id").cast(pl.String),
        typology="alert_type",
        transaction_id=pl.format("amlsim:{}", "tran_id"),
    )
    rows = tables["transactions"].with_row_index("row").collect()
    schemes = _schemes(members.join(rows, on="transaction_id"))
    net = network(tables)
    found = []
    for typology, (kind, options) in ALERTS.items():
        mine = [one for one in schemes if one.typology == typology]
        if mine:
            inside = [one for one in mine if one.rows in instances(alone(net, one.rows), kind, options)]
            seen = recall(net, inside, kind, options)
            found.append({"set": run, "planted": typology, **seen, "schemes": len(mine)})
    return found


def synth_told(accounts: int = 3_000, days: int = 120, seed: int = 7) -> list[dict[str, Any]]:
    """Schemes of ``fintel synth``: its labels do not say their forms, so each kind is looked for in every scheme."""
    with tempfile.TemporaryDirectory(prefix="fintel-synth-") as scratch:
        home = Path(scratch)
        synthetic.generate(home / "feed", accounts=accounts, days=days, seed=seed)
        tables = read("fintel", home / "feed", home, rates=False)
    rows = tables["transactions"].with_row_index("row").collect()
    labels = tables["labels"].filter(pl.col("subject_type") == "transaction").collect()
    members = labels.filter(pl.col("scheme_id").is_not_null()).select(
        "typology", transaction_id="subject_id", scheme="scheme_id"
    )
    schemes = _schemes(members.join(rows, on="transaction_id").drop_nulls(["debtor_account_id", "creditor_account_id"]))
    net = network(tables)
    found = [{"set": "fintel synth", "planted": "schemes", **recall(net, schemes, kind, {})} for kind in SYNTH]
    return [one for one in found if one["planted_instances"]]


def recall(net: Network, schemes: list[Attempt], kind: str, options: Options) -> dict[str, Any]:
    """Instances that schemes make alone, and how many of them one instance of the whole network holds."""
    begun = time.perf_counter()
    told = find(net, kind, limit=_ALL, **options)
    seconds = time.perf_counter() - begun
    by_row: dict[int, set[int]] = defaultdict(set)
    rows = told.edges.group_by("motif_id", maintain_order=True).agg("row")["row"].to_list()
    for number, mine in enumerate(rows):
        for row in mine:
            by_row[row].add(number)
    planted = whole = parts = 0
    anchor = np.repeat(told.instances["account_id"].to_numpy(), told.instances["payments"].to_numpy()) if rows else []
    by_anchor: dict[str, set[int]] = defaultdict(set)
    for name, row in zip(anchor, told.edges["row"].to_list(), strict=True):
        by_anchor[name].add(row)
    for one in schemes:
        for mine in instances(alone(net, one.rows), kind, options) if len(one.rows) > 1 else []:
            planted += 1
            in_one = bool(set.intersection(*(by_row[row] for row in mine)))
            whole += in_one
            parts += in_one or any(mine <= held for held in by_anchor.values())
    chosen = KINDS[kind]
    window = options.get("within", chosen.within)
    return {
        "kind": kind, "within_hours": window / timedelta(hours=1), "at_least": options.get("at_least", chosen.at_least),
        "schemes": len(schemes), "planted_instances": planted, "found": whole,
        "found_of_one_account": parts, "payments": len(net),
        "instances": len(rows), "skipped_accounts": told.skipped["account_id"].n_unique(), "seconds": seconds,
    }  # fmt: skip


def page(found: Mapping[str, Any]) -> str:
    """``docs/reference/motifs.md``."""
    from motifs_page import page as written

    return written(found)


if __name__ == "__main__":
    main()
