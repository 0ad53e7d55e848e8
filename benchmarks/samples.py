"""The whole line on data that nobody here made: what is read, refused, evaluated and found, and how well it ranks.

    python benchmarks/samples.py [FOLDER] [--json]

FOLDER holds the third-party samples (default: ``../shared/data`` beside the repository; ``docs/reference/samples.md``
says what is in it). Each set is run in a process of its own, with a lake in a temporary folder, so seconds
and peak memory are its own. Progress goes to stderr, a page of Markdown (or JSON) to stdout.

Rankings are judged over *all* accounts of a set, those without a score last, by each label source of the
set. A model's score of an account is of a model that never saw the account's scheme, holder or payments
(``Trained.held_out``, five folds of groups, all labels known): the plan nearest to that of the floors.
``fintel train`` learns from labels known by the last payment only, splits by time where it can, and then
judges fewer accounts; what it says is given beside.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from processes import peak_bytes
from samples_page import page

from fintel.config import Settings
from fintel.domain.feed import Commit
from fintel.errors import ModelError
from fintel.feeds import mapping_loader
from fintel.models.dataset import Sampling
from fintel.models.evaluation import Measured, evaluate
from fintel.models.labels import groups
from fintel.models.training import Trained, train
from fintel.pipeline import canonical_tables, detect, ingest, load_library
from fintel.ranking import rank
from fintel.store.lake import Lake

ROOT = Path(__file__).resolve().parent.parent

#: Rough rates to the US dollar, ours, for trying only: within some 20 % of 2017 to 2023.
RATES = {
    "AED": 0.27, "ALL": 0.01, "AUD": 0.68, "BRL": 0.19, "CAD": 0.74, "CHF": 1.1, "CNY": 0.145, "EUR": 1.1,
    "GBP": 1.25, "ILS": 0.28, "INR": 0.012, "JPY": 0.007, "MAD": 0.1, "MXN": 0.055, "NGN": 0.002, "PKR": 0.004,
    "RUB": 0.013, "SAR": 0.267, "TRY": 0.05, "BTC": 20000,
}  # fmt: skip
#: More accounts than this by one rule of level medium or higher is too much to be read.
TOO_MANY = 0.03
#: Later than any label is known.
EVER = datetime(2100, 1, 1, tzinfo=UTC)
_LOWEST = -1e9
_FEW = 10
_ATTEMPT_HEADER = (
    "Timestamp,From Bank,Account,To Bank,Account,Amount Received,Receiving Currency,Amount Paid,Payment Currency,"
    "Payment Format,Is Laundering"
)


@dataclass(frozen=True)
class Sample:
    """A set: folder, mapping, whether rates are needed, and the floor by label source, if one is known.

    ``floors``: average precision over accounts of gradient boosting on 29 simple features, five folds.
    """

    folder: str
    mapping: str
    rates: bool = False
    floors: Mapping[str, float] = field(default_factory=dict)


SAMPLES: Mapping[str, Sample] = {
    "saml_d": Sample("saml_d", "saml_d", rates=True),
    "amlworld": Sample("ibm_amlworld", "amlworld", rates=True),
    "amlworld_attempts": Sample("ibm_amlworld/HI-Small_Patterns.txt", "amlworld", rates=True),
    "fincen_files": Sample("fincen_files", "fincen_files"),
    "ldbc_finbench": Sample("ldbc_finbench", "ldbc_finbench"),
    "generated_1K": Sample("amlsim/generated_1K", "amlsim", floors={"amlsim_members": 0.537}),
    "generated_10K_lookalikes": Sample("amlsim/generated_10K_lookalikes", "amlsim", floors={"amlsim_members": 0.601}),
    "ibm_20K_fanin200": Sample("amlsim/ibm_20K_fanin200", "amlsim_nodes", floors={"amlsim_nodes": 0.768}),
}


def main() -> None:
    """Run the sets that are there and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", choices=SAMPLES, action="append", help="this set only; may be repeated")
    parser.add_argument("--rules-only", action="store_true", help="train no model")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--here", action="store_true", help="in this process; one set")
    chosen = parser.parse_args()
    names = [
        n for n in SAMPLES if (not chosen.only or n in chosen.only) and (chosen.folder / SAMPLES[n].folder).exists()
    ]
    if not names:
        sys.exit(f"no sample in {chosen.folder}")
    if chosen.here:
        print(json.dumps(measure(names[0], chosen.folder, with_model=not chosen.rules_only), default=str))
        return
    found = {}
    for name in names:
        say(name)
        command = [sys.executable, __file__, str(chosen.folder), "--here", "--only", name]
        done = subprocess.run(
            command + ["--rules-only"] * chosen.rules_only, check=False, stdout=subprocess.PIPE, text=True
        )
        found[name] = json.loads(done.stdout) if done.returncode == 0 else {"crashed": done.returncode}
    print(json.dumps(found, indent=2) if chosen.json else page(found))
    if any("crashed" in one for one in found.values()):
        sys.exit(1)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def measure(name: str, folder: Path, *, with_model: bool) -> dict[str, Any]:
    """Run the line on one set; everything measured, ready for JSON."""
    sample = SAMPLES[name]
    with tempfile.TemporaryDirectory(prefix="fintel-samples-") as scratch:
        home = Path(scratch)
        settings = Settings(lake=home / "lake", drafts=home / "drafts")
        source, attempts = folder / sample.folder, None
        if source.is_file():
            source, attempts = attempts_as_feed(source, home)
        with Lake.create_or_open(settings.lake) as lake:
            if sample.rates:
                ingest(lake, write_rates(home), mapping_loader.load("fintel"), settings)
            return measure_lake(name, source, lake, settings, attempts, with_model)


def measure_lake(
    name: str, source: Path, lake: Lake, settings: Settings, attempts: pl.DataFrame | None, with_model: bool
) -> dict[str, Any]:
    """As ``measure``, in a lake that may hold rates already."""
    begun = time.perf_counter()
    commits = ingest(lake, source, mapping_loader.load(SAMPLES[name].mapping), settings)
    seconds = {"read": time.perf_counter() - begun}
    library, _ = load_library(settings)
    summary = detect(lake, settings, library)
    seconds |= dict(summary.seconds)
    tables = canonical_tables(lake)
    accounts = all_accounts(tables)
    truths = read_truths(tables)
    found: dict[str, Any] = {
        "files": [row(c) for c in commits],
        "refused": refused(lake),
        "without_base_amount": tables["transactions"].select(pl.col("amount_base").is_null().sum()).collect().item(),
        "payments": lake.count("transactions"),
        "accounts": accounts.len(),
        "accounts_with_a_reason": summary.alerts.height,
        "outcomes": dict(summary.rule_results["outcome"].value_counts().sort("outcome").iter_rows()),
        "failed": summary.rule_results.filter(pl.col("outcome") == "failed")["rule_id"].to_list(),
        "rules": rule_rows(lake, summary.run_id, summary.rule_results, accounts.len(), truths),
        "top": summary.alerts.head(5).select("rank", "account_id", "score", "summary").to_dicts(),
        "peak_rss_line": peak_bytes(),
    }
    if attempts is not None:
        found["attempts"] = attempts_found(lake, summary.run_id, attempts)
    elif truths:
        found |= judge(name, tables, accounts, truths, lake, settings, summary.run_id, seconds, with_model)
    return found | {"seconds": seconds, "peak_rss": peak_bytes()}


def row(commit: Commit) -> dict[str, Any]:
    """A file and table in numbers."""
    counts = ("read", "accepted", "duplicates", "rejected", "skipped")
    return {"table": commit.target} | {c: getattr(commit, c) for c in counts}


def refused(lake: Lake) -> list[dict[str, Any]]:
    """Quarantined rows by reason code and column."""
    by = lake.scan("quarantine").group_by("target", "code", "column").len("rows")
    return by.sort("rows", "code", "column", descending=[True, False, False]).collect().to_dicts()


def all_accounts(tables: Mapping[str, pl.LazyFrame]) -> pl.Series:
    """Ids of accounts that are described or stand in a payment."""
    columns = ("debtor_account_id", "creditor_account_id")
    parts = [tables["transactions"].select(pl.col(c).alias("account_id")) for c in columns]
    parts.append(tables["accounts"].select("account_id"))
    return pl.concat(parts).drop_nulls().unique().sort("account_id").collect()["account_id"]


def read_truths(tables: Mapping[str, pl.LazyFrame]) -> dict[str, set[str]]:
    """Suspicious accounts by label source, of payments both sides; a source that repeats another is left out."""
    labels = tables["labels"].filter(pl.col("suspicious")).collect()
    paid = tables["transactions"].select("transaction_id", "debtor_account_id", "creditor_account_id").collect()
    found: dict[str, set[str]] = {}
    for (source, kind), part in labels.sort("label_source", "subject_type").group_by(
        "label_source", "subject_type", maintain_order=True
    ):
        if kind == "account":
            ids = set(part["subject_id"])
        else:
            sides = paid.join(part, left_on="transaction_id", right_on="subject_id", how="semi")
            ids = set(sides["debtor_account_id"].drop_nulls()) | set(sides["creditor_account_id"].drop_nulls())
        if ids and ids not in found.values():
            found[str(source)] = found.get(str(source), set()) | ids
    return found


def rule_rows(
    lake: Lake, run_id: str, results: pl.DataFrame, accounts: int, truths: Mapping[str, set[str]]
) -> list[dict[str, Any]]:
    """Rules that found something: accounts, and how many of them each label source names."""
    pairs = lake.run_table(run_id, "episodes").select("rule_id", "level", "account_id").unique().collect()
    rows = []
    for r in results.filter(pl.col("subjects") > 0).sort("subjects", "rule_id", descending=[True, False]).to_dicts():
        mine = pairs.filter(pl.col("rule_id") == r["rule_id"])
        level, ids = mine["level"][0], set(mine["account_id"])
        rows.append(
            {
                "rule": r["rule_id"], "level": level, "hits": r["hits"], "accounts": r["subjects"],
                "share": r["subjects"] / accounts, "too_many": r["subjects"] / accounts > TOO_MANY and level != "low",
                "labelled": {source: len(ids & known) for source, known in truths.items()},
            }
        )  # fmt: skip
    return rows


def judge(
    name: str, tables: Mapping[str, pl.LazyFrame], accounts: pl.Series, truths: Mapping[str, set[str]],
    lake: Lake, settings: Settings, run_id: str, seconds: dict[str, float], with_model: bool,
) -> dict[str, Any]:  # fmt: skip
    """Rules, model and both, over all accounts, by each label source."""
    episodes = lake.run_table(run_id, "episodes").collect()
    described = lake.scan("accounts").select("account_id", "party_id", "holding").collect()
    alerts = rank(episodes, described, run_id="", prior=settings.ranking.prior).alerts
    bits = alerts.select("account_id", score=pl.col("score") - pl.col("prior"))
    frame = pl.DataFrame({"account_id": accounts}).join(
        bits.rename({"score": "rules"}), on="account_id", how="left", maintain_order="left"
    )
    frame = frame.with_columns(pl.col("rules").fill_null(0.0))
    ways, told = {"rules": "rules"}, {}
    if with_model:
        begun = time.perf_counter()
        as_typed = fit(tables, settings, bits, Sampling())
        seconds["train"] = time.perf_counter() - begun
        told["train"] = as_typed if isinstance(as_typed, str) else said(as_typed)
        begun = time.perf_counter()
        folds = fit(tables, settings, bits, Sampling(plan="grouped", known_by=EVER))
        seconds["folds"] = time.perf_counter() - begun
        if isinstance(folds, Trained):
            ways |= {"model": "model", "both": "both"}
            held = folds.held_out.select("account_id", "model", "both")
            frame = frame.join(held, on="account_id", how="left", maintain_order="left")
            frame = frame.with_columns(pl.col("model", "both").fill_null(_LOWEST))
    frame = frame.join(groups(tables), on="account_id", how="left", maintain_order="left")
    frame = frame.with_columns(pl.coalesce("group", -1 - pl.int_range(pl.len(), dtype=pl.Int64)))
    judged: dict[str, dict[str, Any]] = {}
    for source, known in truths.items():
        positives = frame["account_id"].is_in(list(known))
        if positives.sum() < _FEW:
            judged[source] = {"positives": int(positives.sum()), "too_few": True}
            continue
        seen = evaluate(frame.with_columns(label=positives), ways, plan="grouped", seed=settings.seed)
        judged[source] = {
            "positives": seen.positives,
            "base_rate": seen.base_rate,
            "floor": SAMPLES[name].floors.get(source),
            "rankings": {way: numbers(m) for way, m in seen.rankings.items()},
        }
    return told | {"judged": judged}


def fit(
    tables: Mapping[str, pl.LazyFrame], settings: Settings, bits: pl.DataFrame, sampling: Sampling
) -> Trained | str:
    """A trained model, or why there is none."""
    try:
        return train(tables, settings=settings, rule_scores=bits, sampling=sampling)
    except ModelError as error:
        return str(error)


def said(trained: Trained) -> dict[str, Any]:
    """What ``fintel train`` prints: its plan, its accounts, its numbers."""
    seen = trained.evaluation
    return {
        "plan": seen.plan, "accounts": seen.accounts, "positives": seen.positives, "base_rate": seen.base_rate,
        "rankings": {way: numbers(m) for way, m in seen.rankings.items()}, "notes": list(seen.notes),
    }  # fmt: skip


def numbers(measured: Measured) -> dict[str, Any]:
    """Average precision and precision at 1 % of accounts, each with its 95 % interval."""
    first = measured.budgets[0]
    ap, at = measured.average_precision, first.precision
    return {"ap": [ap.value, ap.low, ap.high], "at_1_percent": [at.value, at.low, at.high], "budget": first.budget}


def write_rates(home: Path) -> Path:
    """``RATES`` as a canonical feed, from a day before any sample."""
    folder = home / "rates"
    folder.mkdir()
    lines = [f"2000-01-01,{currency},USD,{rate}" for currency, rate in RATES.items()]
    (folder / "rates.csv").write_text("\n".join(["date,currency,base,rate", *lines, ""]), encoding="ascii")
    return folder


def attempts_as_feed(patterns: Path, home: Path) -> tuple[Path, pl.DataFrame]:
    """AMLworld's pattern file as a feed, and ``source_row, attempt, typology`` of its rows.

    Laundering payments only, so it tells what is found of each typology and nothing of false alarms.
    """
    rows, attempts, typology, number = [_ATTEMPT_HEADER], [], "", 0
    for line in patterns.read_text(encoding="utf-8").splitlines():
        if line.startswith("BEGIN LAUNDERING ATTEMPT - "):
            typology, number = line.removeprefix("BEGIN LAUNDERING ATTEMPT - ").split(":")[0].strip(), number + 1
        elif line[:2] == "20":
            rows.append(line)
            attempts.append((len(rows), number, typology))
    folder = home / "attempts"
    folder.mkdir()
    (folder / "attempts_trans.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    return folder, pl.DataFrame(attempts, schema=["source_row", "attempt", "typology"], orient="row")


def attempts_found(lake: Lake, run_id: str, attempts: pl.DataFrame) -> list[dict[str, Any]]:
    """By typology: attempts, and those with a payment in the evidence of an episode, by rule."""
    rules = lake.run_table(run_id, "episodes").select("episode_id", "rule_id").collect()
    proof = lake.run_table(run_id, "evidence").select("episode_id", "entry_id").unique().collect()
    cited = proof.join(rules, on="episode_id").select(
        "rule_id", transaction_id=pl.col("entry_id").str.replace("/(in|out)$", "")
    )
    made = lake.scan("transactions").select("source_row", "transaction_id").collect()
    hit = attempts.join(made, on="source_row").join(cited, on="transaction_id")
    by_rule = hit.group_by("typology", "rule_id").agg(pl.col("attempt").n_unique()).sort("typology", "rule_id")
    by = {t: dict(part.select("rule_id", "attempt").iter_rows()) for (t,), part in by_rule.group_by("typology")}
    found = dict(hit.group_by("typology").agg(pl.col("attempt").n_unique()).iter_rows())
    whole = attempts.group_by("typology").agg(pl.col("attempt").n_unique()).sort("typology")
    return [
        {"typology": t, "attempts": n, "found": found.get(t, 0), "rules": by.get(t, {})} for t, n in whole.iter_rows()
    ]


if __name__ == "__main__":
    main()
