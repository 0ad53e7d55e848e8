"""What the columns of the graph stage are worth: average precision of one booster on more and more of them.

    python benchmarks/graph_worth.py [FOLDER] --yardstick PYTHON --save

Amount alone; with windows (statistics of both ends); with motifs (everything by payment); with risk from seeds known
before. Beside them the same booster on the columns of IBM's Graph Feature Preprocessor, where PYTHON has it. On every
labelled sample under FOLDER (default: ``../shared/data``) and on populations of ``fintel synth``, by payment and by
account and 30 days.

Strict in time: training ends where 60 % of the labelled payments lie before, an embargo of 30 days follows, the test
is all that comes after; training believes only labels known when the test begins. Columns of a payment see payments
up to it. Scores are the mean of two boosters; the interval is a bootstrap over accounts (of payments: over payers).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
from graph_worth_sets import (
    HISTOGRAMS,
    OF_END,
    WIDE,
    Labelled,
    accounts,
    amounts,
    features,
    moments,
    of_accounts,
    population,
    risk_at,
    risks,
    sample,
    yardstick,
    yardstick_accounts,
)  # fmt: skip
from population import say
from samples import SAMPLES

from fintel.bench.explain_page import table
from fintel.graph.columns import FAMILIES

Array = Any

ROOT = Path(__file__).resolve().parent.parent
SEEDS = (9101, 9102)
_BOOSTER = {
    "objective": "binary", "learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 20, "feature_fraction": 0.6,
    "lambda_l2": 5.0, "deterministic": True, "force_row_wise": True, "verbosity": -1, "num_threads": 1,
}  # fmt: skip
_ROUNDS = 200
_RUNS = 2
#: So many payments that are not labelled are enough to learn from.
_NEGATIVES = 25_000
_FEW = 5
_BOOTSTRAP = 200
_LADDER = ("amount", "+ windows", "+ motifs", "+ risk")


def main() -> None:
    """Measure every set, print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS), help="of populations")
    parser.add_argument("--accounts", type=int, default=4_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--only", nargs="*", help="samples by name; nothing after it: none")
    parser.add_argument("--yardstick", help="an interpreter that has snapml and numpy")
    parser.add_argument("--timeout", type=float, default=180, help="seconds of the yardstick")
    parser.add_argument("--save", type=Path, nargs="?", const=ROOT / "benchmarks" / "results" / "graph-worth.json")
    parser.add_argument("--saved", type=Path, help="measure nothing, print the page of what --save wrote")
    given = parser.parse_args()
    if given.saved is not None:
        print(page(json.loads(given.saved.read_text(encoding="utf-8"))))
        return
    found = []
    for data in _sets(given):
        found.append(measure(data, given.yardstick, given.timeout))
        if given.save is not None:
            given.save.parent.mkdir(exist_ok=True)
            given.save.write_text(json.dumps(found, indent=1) + "\n")
    if not found:
        sys.exit(f"no labelled sample in {given.folder}, and no seed")
    print(page(found))


def _sets(given: argparse.Namespace) -> Iterator[Labelled]:
    for name, known in SAMPLES.items():
        chosen = given.only is None or name in given.only
        if chosen and name != "amlworld_attempts" and (given.folder / known.folder).exists():
            say(name)
            yield sample(name, given.folder)
    for seed in given.seeds:
        say(f"population {seed}")
        yield population(seed, given.accounts, given.days)


def measure(data: Labelled, python: str | None, timeout: float) -> dict[str, Any]:
    """Both levels of one set."""
    told: dict[str, Any] = {"name": data.name, "payments": len(data.net), "positives": data.positives, "levels": {}}
    if data.positives < 4 * _FEW:
        return told
    whole = {None: features(data, None, tuple(FAMILIES)), WIDE: features(data, WIDE, tuple(FAMILIES))}
    windows = features(data, None, ("statistics",)).columns
    theirs: dict[str, Array] = {}
    with tempfile.TemporaryDirectory(prefix="fintel-worth-") as folder:
        for kind in ("paper", "wide") if python else ():
            got = yardstick(data, kind, python, Path(folder), timeout)
            if isinstance(got, str):
                told[f"yardstick, {kind}"] = got
            else:
                theirs[kind], told[f"yardstick, {kind}"] = got
    for level, make in (("payment", _of_payments), ("account and 30 days", _of_accounts)):
        begun = time.perf_counter()
        told["levels"][level] = _judged(*make(data, whole, windows, theirs))
        say(f"{data.name}, {level}: {time.perf_counter() - begun:.0f} s")
    return told


def _of_payments(data: Labelled, whole: dict[Any, pl.DataFrame], windows: list[str], theirs: dict[str, Array]) -> Any:
    """Sets of columns by name, labels, those known, train and test rows, groups, and rows with a seed."""
    net = data.net
    ends, begins = data.split()
    alone = amounts(data)
    of_risk, seeded = risks(data)
    motifs = _stacked(alone, whole[None])
    columns = {
        "amount": alone,
        "+ windows": _stacked(alone, whole[None].select(windows)),
        "+ motifs": motifs,
        "+ risk": np.hstack([motifs, of_risk]),
        "+ motifs, windows of days": _stacked(alone, whole[WIDE]),
    }
    for kind, theirs_of in theirs.items():
        columns[f"yardstick, {kind}"] = np.hstack([alone, theirs_of])
        columns[f"yardstick, {kind}, no clock"] = np.hstack([alone, theirs_of[:, _no_clock(theirs_of.shape[1])]])
    return columns, data.suspicious, _known(data), net.time < ends, net.time >= begins, net.source, seeded


def _of_accounts(data: Labelled, whole: dict[Any, pl.DataFrame], windows: list[str], theirs: dict[str, Array]) -> Any:
    """The same by account and period."""
    rows: dict[str, list[Array]] = {}
    labels, learned, train, who, seeded = [], [], [], [], []
    known = _known(data)
    at = np.flatnonzero(known)
    taught = pl.DataFrame({"account_id": data.net.nodes.gather(data.net.source[at]), "time": data.net.time[at]})
    taught = pl.concat([taught, taught.with_columns(account_id=data.net.nodes.gather(data.net.target[at]))])
    _, seed = risk_at(data, data.split()[1])
    for begin, end, kind in moments(data):
        active, label, alone = accounts(data, begin, end)
        inside = taught.filter((pl.col("time") >= begin) & (pl.col("time") < end))["account_id"].unique()
        labels.append(label)
        learned.append(label & data.net.nodes.gather(active).is_in(inside.implode()).to_numpy())
        train.append(np.full(active.size, kind == "train"))
        who.append(active)
        seeded.append(seed[active])
        some = {
            "amount": alone,
            "+ windows": of_accounts(data, whole[None].select(windows), None, begin, end)[active],
            "+ motifs": of_accounts(data, whole[None], None, begin, end)[active],
            "+ motifs, windows of days": of_accounts(data, whole[WIDE], WIDE, begin, end)[active],
        }
        some["+ risk"] = np.hstack([some["+ motifs"], risk_at(data, begin)[0][active]])
        for kind_, theirs_of in theirs.items():
            some[f"yardstick, {kind_}"] = yardstick_accounts(data, theirs_of, begin, end, OF_END)[active]
            kept = _no_clock(theirs_of.shape[1])
            some[f"yardstick, {kind_}, no clock"] = yardstick_accounts(
                data, theirs_of[:, kept], begin, end, (kept.size - HISTOGRAMS) // 2
            )[active]
        for name, held in some.items():
            rows.setdefault(name, []).append(held if name == "amount" else np.hstack([alone, held]))
    is_train = np.concatenate(train)
    columns = {name: np.vstack(rows[name]) for name in (*_LADDER, *(n for n in rows if n not in _LADDER))}
    return (
        columns,
        np.concatenate(labels),
        np.concatenate(learned),
        is_train,
        ~is_train,
        *map(np.concatenate, (who, seeded)),
    )


def _stacked(alone: Array, frame: pl.DataFrame) -> Array:
    return np.hstack([alone, frame.cast(pl.Float32).to_numpy()])


def _no_clock(columns: int) -> Array:
    """The yardstick's columns without its statistics of time: of each end and direction three of structure, then five
    of time, then five of the amount."""
    at = np.arange(columns)
    place = (at - HISTOGRAMS) % (OF_END // 2)
    return at[(at < HISTOGRAMS) | (place < 3) | (place >= 8)]


def _known(data: Labelled) -> Array:
    """Which labelled payments are known when the test begins: by a label of their own, or of their payer."""
    labels = data.tables["labels"].filter(pl.col("suspicious")).collect()
    by_payment = not labels.filter(pl.col("subject_type") == "transaction").is_empty()
    labels = labels.filter(pl.col("known_at").dt.epoch("us") <= data.split()[1])
    ids = data.tables["transactions"].select("transaction_id").collect()["transaction_id"].gather(data.net.row)
    own = ids.is_in(labels.filter(pl.col("subject_type") == "transaction")["subject_id"].implode())
    payer = data.net.nodes.gather(data.net.source).is_in(
        labels.filter(pl.col("subject_type") == "account")["subject_id"].implode()
    )
    return data.suspicious & (own if by_payment else payer).to_numpy()


def _judged(
    columns: dict[str, Array], label: Array, known: Array, train: Array, test: Array, who: Array,
    seeded: Array,
) -> dict[str, Any]:  # fmt: skip
    learn, judge = np.flatnonzero(train), np.flatnonzero(test)
    told: dict[str, Any] = {
        "train": int(known[learn].sum()), "test": int(label[judge].sum()), "rows": int(judge.size),
        "new": int((label & ~seeded)[judge].sum()), "base": float(label[judge].mean()) if judge.size else 0.0,
        "sets": {},
    }  # fmt: skip
    if min(told["train"], told["test"]) < _FEW:
        return told
    rng = np.random.default_rng(3)
    others = learn[~known[learn]]
    others = rng.choice(others, min(others.size, _NEGATIVES), replace=False)
    rows = np.sort(np.concatenate([learn[known[learn]], others]))
    truth, fresh = label[judge], ~seeded[judge]
    for name, held in columns.items():
        scores = np.mean([_scores(held[rows], known[rows], held[judge], run) for run in range(1, _RUNS + 1)], axis=0)
        low, high = _interval(truth, scores, who[judge])
        told["sets"][name] = {
            "columns": int(held.shape[1]), "ap": _precision(truth, scores), "low": low, "high": high,
            "new": _precision(truth[fresh], scores[fresh]) if truth[fresh].any() else None,
        }  # fmt: skip
    return told


def _scores(rows: Array, label: Array, judged: Array, run: int) -> Array:
    """Log-odds of one booster."""
    held = lightgbm.Dataset(rows, label.astype(np.float32))
    booster = lightgbm.train(_BOOSTER | {"seed": run}, held, num_boost_round=_ROUNDS)
    return booster.predict(judged, raw_score=True)


def _precision(truth: Array, scores: Array, weight: Array | None = None) -> float:
    """Average precision; equal scores stand together."""
    order = np.argsort(-scores, kind="stable")
    w = np.ones(truth.size) if weight is None else weight[order]
    hit = np.cumsum(w * truth[order])
    if not hit.size or hit[-1] == 0:
        return 0.0
    all_ = np.cumsum(w)
    last = np.append(np.flatnonzero(np.diff(scores[order])), truth.size - 1)
    gain = np.diff(hit[last], prepend=0.0)
    return float((gain * hit[last] / np.maximum(all_[last], 1e-12)).sum() / hit[-1])


def _interval(truth: Array, scores: Array, who: Array) -> tuple[float, float]:
    """95 %, by resampling accounts with all their rows."""
    rng = np.random.default_rng(4)
    _, code = np.unique(who, return_inverse=True)
    count = int(code.max()) + 1
    drawn = [
        _precision(truth, scores, np.bincount(rng.integers(0, count, count), minlength=count)[code].astype(float))
        for _ in range(_BOOTSTRAP)
    ]
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def page(found: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines: list[str] = []
    for one in found:
        lines += ["", f"### {one['name']}", "", f"{one['payments']:,} payments, {one['positives']:,} of them labelled."]
        if not one["levels"]:
            lines += ["", "Too few to learn from and to judge by."]
            continue
        fed = [f"{k}: {v}" for k, v in one.items() if k.startswith("yardstick")]
        lines += ["", f"How it was fed: {'; '.join(fed)}." if fed else "No yardstick."]
        for level, told in one["levels"].items():
            lines += [
                "",
                f"By {level}: {told['train']:,} labelled and known to learn from, {told['test']:,} in the test of "
                f"{told['rows']:,} (base rate {told['base']:.2%}), {told['new']:,} of them with no seed.",
            ]
            if not told["sets"]:
                lines += ["", "Too few."]
                continue
            rows = [
                [name, str(s["columns"]), f"{s['ap']:.3f}", f"{s['low']:.3f}–{s['high']:.3f}",
                 "" if s["new"] is None else f"{s['new']:.3f}"]
                for name, s in told["sets"].items()
            ]  # fmt: skip
            head = ["columns", "number", "average precision", "95 %", "of those with no seed"]
            lines += ["", *table(head, rows)]
    return "\n".join(lines).lstrip("\n") + "\n"


if __name__ == "__main__":
    main()
