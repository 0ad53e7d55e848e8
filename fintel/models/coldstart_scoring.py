"""A part of the ranking where there is no model yet: what is rare, and what stands apart from its peers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from fintel.domain.schema import ACCOUNTS
from fintel.features.catalog import model_features
from fintel.features.windows import account_features
from fintel.frames import empty
from fintel.models.coldstart import ColdStartScorer
from fintel.models.conventions import Floats
from fintel.models.dataset import Tables, own_accounts
from fintel.models.explain import REASONS, describe
from fintel.models.learned import Learned
from fintel.models.saved import QUANTILES, FeatureCard

#: Fewer own accounts than this show no normal.
FEWEST = 50
#: Features look back so far at most: a feed that is new has little more.
_DAYS = 120
_SAID = 2
_FEW = "a combination of features that few accounts have"
_TICK = timedelta(microseconds=1)


def cold_start(
    tables: Tables,
    as_of: datetime,
    *,
    base: float,
    base_currency: str = "USD",
    accounts: Sequence[str] | pl.Series = (),
    top: int = 1_000,
    seed: int = 7,
    threads: int = 0,
) -> Learned:
    """Bits of rarity and of distance from peers, to be joined to the rules' by the ranking.

    Peers are accounts of one kind of customer in one country. Contributions are given for the ``top`` own
    accounts and for those in ``accounts``. No label is read, so there are no probabilities.

    Parameters
    ----------
    as_of: the last instant seen. base: where everybody starts, in bits.

    Returns
    -------
    Contributions named ``rarity`` and ``peers``; none where there are fewer than ``FEWEST`` accounts.
    """
    features = account_features(tables, as_of + _TICK, accounts=own_accounts(tables), threads=threads)
    if features.height < FEWEST:
        return Learned(base, pl.DataFrame(schema=REASONS))
    names = [f.name for f in model_features(_DAYS) if f.name in features.columns]
    x = features.select(names).to_numpy()
    x = np.column_stack([x, _peers(tables, features["account_id"])])
    scorer = ColdStartScorer(peers=len(names), seed=seed).fit(x)
    parts = scorer.parts(x)
    order = features.select("account_id").with_columns(bits=pl.Series(parts.sum(axis=1))).with_row_index("row")
    asked = pl.Series("account_id", accounts, dtype=pl.String)
    best = order.sort("bits", "account_id", descending=[True, False]).head(top)["row"]
    wanted = order.filter(pl.col("row").is_in(best.implode()) | pl.col("account_id").is_in(asked.implode()))
    rows = wanted["row"].to_numpy()
    said = _words(scorer, x[rows], names, x, base_currency)
    # Less their mean (of -log2 of a share drawn at random): what is usual speaks against, as in a model.
    rarity = parts[rows, 1] - scorer.rarity_weight / math.log(2)
    peers = parts[rows, 2] - scorer.peer_weight / math.log(2)
    few = [_FEW if b > 0 else "a usual combination of features" for b in rarity]
    apart = [words if b > 0 else "much like accounts of its kind" for words, b in zip(said, peers, strict=True)]
    ids = wanted["account_id"]
    found = [
        pl.DataFrame({"account_id": ids, "name": [name] * ids.len(), "bits": bits, "text": text}, schema=REASONS)
        for name, bits, text in (("rarity", rarity, few), ("peers", peers, apart))
    ]
    return Learned(base, pl.concat(found))


def _peers(tables: Tables, account_ids: pl.Series) -> Floats:
    """Code of each account's kind of customer and country; NaN where neither is known."""
    known = tables.get("accounts", empty(ACCOUNTS).lazy()).select("account_id", "kind", "country").collect()
    joined = account_ids.to_frame().join(known.unique("account_id"), on="account_id", how="left", maintain_order="left")
    told = pl.concat_str("kind", "country", separator=" ", ignore_nulls=True)
    group = joined.select(pl.when(told != "").then(told).rank("dense").cast(pl.Float64)).to_series()
    return np.asarray(group.fill_null(float("nan")).to_numpy(), np.float64)


def _words(scorer: ColdStartScorer, x: Floats, names: Sequence[str], everybody: Floats, currency: str) -> list[str]:
    """What stands farthest from the peers, with the usual value of all accounts beside it."""
    columns, away = scorer.farthest(x)
    cards = {int(i): _card(names[int(i)], everybody[:, int(i)]) for i in np.unique(columns[:, :_SAID])}
    said = []
    for row, farthest, distances in zip(x, columns[:, :_SAID], away[:, :_SAID], strict=True):
        shown = [
            describe(cards[int(i)], float(row[int(i)]), currency) for i, d in zip(farthest, distances, strict=True) if d
        ]
        said.append("apart from accounts of its kind: " + ("; ".join(shown) or "nothing known"))
    return said


def _card(name: str, values: Floats) -> FeatureCard:
    known = values[~np.isnan(values)]
    at = np.quantile(known, np.linspace(0, 1, QUANTILES), method="lower") if known.size else np.zeros(0)
    return FeatureCard(name=name, known=known.size / values.size, quantiles=tuple(map(float, at)))
