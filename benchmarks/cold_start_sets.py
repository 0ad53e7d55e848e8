"""Populations for ``cold_start.py``: what stands before anybody has labelled an account, and the truth beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from population import say
from samples import EVER, SAMPLES

from fintel.config import Settings
from fintel.features.catalog import WINDOW_FEATURES
from fintel.features.windows import account_features
from fintel.feeds import mapping_loader
from fintel.feeds.synthetic import generate
from fintel.frames import TIMESTAMP
from fintel.models.dataset import own_accounts
from fintel.models.labels import groups, label_rows, read_truth
from fintel.pipeline import canonical_tables, ingest, load_library
from fintel.ranking import rank
from fintel.rules.runner import detect_tables
from fintel.store.lake import Lake

BEFORE = timedelta(days=90)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Population:
    """Accounts as of every 90th day. ``x`` (rows, features); ``bits`` (rows,) of the rules' ranking; ``fired``
    (rows, rules) which had an episode in the 90 days before; ``peers`` (rows,) codes of customer kind and
    account country; ``label`` (rows,) 1 if labelled and active then; ``group`` (rows,) schemes, else accounts."""

    name: str
    x: Any
    names: tuple[str, ...]
    bits: Any
    fired: Any
    peers: Any
    label: Any
    group: Any


def synthetic(seed: int, accounts: int, days: int) -> Population:
    """A population of ``fintel synth``."""
    with tempfile.TemporaryDirectory(prefix="fintel-cold-") as scratch:
        home = Path(scratch)
        generate(home / "feed", accounts=accounts, days=days, seed=seed)
        with Lake.create_or_open(home / "lake") as lake:
            ingest(lake, home / "feed", mapping_loader.load("fintel"), Settings(lake=home / "lake"))
            return _read(f"fintel synth, {accounts:,} accounts, {days} days, seed {seed}", canonical_tables(lake))


def sample(name: str, folder: Path) -> Population:
    """One of the third-party samples."""
    known = SAMPLES[name]
    with tempfile.TemporaryDirectory(prefix="fintel-cold-") as scratch:
        config = Settings(lake=Path(scratch) / "lake")
        with Lake.create_or_open(config.lake) as lake:
            ingest(lake, folder / known.folder, mapping_loader.load(known.mapping), config)
            return _read(name, canonical_tables(lake))


def _read(name: str, tables: Mapping[str, pl.LazyFrame]) -> Population:
    say(name)
    first, last = (
        tables["transactions"].select(pl.col("booked_at").min(), last=pl.col("booked_at").max()).collect().row(0)
    )
    moments = [last + _TICK]
    while moments[-1] - 2 * BEFORE >= first:
        moments.append(moments[-1] - BEFORE)
    library, _ = load_library(Settings())
    episodes = detect_tables(tables, library, threads=1).episodes
    keys, x, used = _features(tables, moments)
    ends = pl.col("ended_at")
    windows = {m: episodes.filter((ends >= m - BEFORE) & (ends < m)) for m in moments}
    accounts = tables["accounts"].select("account_id", "party_id", "holding", "kind", "country").collect()
    bits = pl.concat(_bits(found, accounts, moment) for moment, found in windows.items())
    peers = accounts.select("account_id", peer=pl.concat_str("kind", "country", separator=" ", ignore_nulls=True))
    joined = (
        keys.join(bits, on=["account_id", "as_of"], how="left", maintain_order="left")
        .join(peers, on="account_id", how="left", maintain_order="left")
        .join(groups(tables), on="account_id", how="left", maintain_order="left")
    )
    rules = episodes["rule_id"].unique().sort().to_list()
    alone = -1 - pl.Series(joined["account_id"].rank("dense"), dtype=pl.Int64)
    return Population(
        name=name,
        x=x,
        names=used,
        bits=joined["bits"].fill_null(0.0).to_numpy(),
        fired=_fired(keys, windows, rules),
        peers=joined["peer"].fill_null("").rank("dense").cast(pl.Float64).to_numpy(),
        label=label_rows(keys, read_truth(tables, EVER), BEFORE / timedelta(days=1)).to_numpy(),
        group=joined["group"].fill_null(alone).to_numpy(),
    )


def _features(tables: Mapping[str, pl.LazyFrame], moments: list[datetime]) -> tuple[pl.DataFrame, Any, tuple[str, ...]]:
    """Rows (account and moment) that are labelled either way, and features that look back at most 120 days."""
    features = account_features(tables, moments, accounts=own_accounts(tables), threads=1)
    label = label_rows(features.select("account_id", "as_of"), read_truth(tables, EVER), BEFORE / timedelta(days=1))
    features = features.filter(label.is_not_null())
    used = tuple(f.name for f in WINDOW_FEATURES if f.model and f.days <= 120)
    return features.select("account_id", "as_of"), features.select(used).to_numpy(), used


def _bits(found: pl.DataFrame, accounts: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    ranked = rank(found, accounts.drop("kind", "country"), run_id="", prior=0.01).alerts
    when = pl.lit(moment).cast(TIMESTAMP)
    return ranked.select("account_id", as_of=when, bits=pl.col("score") - pl.col("prior"))


def _fired(keys: pl.DataFrame, windows: Mapping[datetime, pl.DataFrame], rules: list[str]) -> Any:
    when = [found.select("account_id", "rule_id", as_of=pl.lit(m).cast(TIMESTAMP)) for m, found in windows.items()]
    hits = pl.concat(when).unique()
    fired = np.zeros((keys.height, len(rules)), np.int8)
    for i, rule in enumerate(rules):
        of_rule = hits.filter(pl.col("rule_id") == rule).select("account_id", "as_of", one=1)
        fired[:, i] = keys.join(of_rule, on=["account_id", "as_of"], how="left", maintain_order="left")[
            "one"
        ].fill_null(0)
    return fired
