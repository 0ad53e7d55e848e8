"""A synthetic feed and its lake, made once per folder and reused."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fintel.config import Settings
from fintel.feeds import mapping_loader
from fintel.feeds.synthetic import generate
from fintel.pipeline import ingest
from fintel.store.lake import Lake

#: Payments of one own account a day, measured on a population of 5,000 accounts over a year.
PER_ACCOUNT_DAY = 0.373


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def feed(folder: Path, payments: int, days: int, seed: int) -> Path:
    """The feed's folder; written if it is not there whole."""
    target = folder / f"feed-{payments}-{days}-{seed}"
    if not (target / "manifest.json").is_file():
        accounts = max(round(payments / (PER_ACCOUNT_DAY * days)), 200)
        say(f"making about {payments:,} payments of {accounts:,} accounts over {days} days")
        generate(target, accounts=accounts, days=days, seed=seed)
    return target


def lake(folder: Path, payments: int, days: int, seed: int) -> Path:
    """The lake's folder, with the feed read in; made if it is not there whole."""
    source = feed(folder, payments, days, seed)
    target = folder / f"lake-{payments}-{days}-{seed}"
    done = target.with_suffix(".whole")
    if not done.is_file():
        say("reading it into a lake")
        with Lake.create_or_open(target) as store:
            ingest(store, source, mapping_loader.load("fintel"), Settings(lake=target))
        done.touch()
    return target
