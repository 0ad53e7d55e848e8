"""Features of accounts as of moments, from wherever they come: windows, the network, the rules. Only what is asked for
is computed: a model without network features costs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from fintel.errors import ModelError
from fintel.features.catalog import BY_NAME, WINDOW_FEATURES
from fintel.features.recipes import Pooled, RuleHits, Static
from fintel.features.windows import account_features
from fintel.graph.account_features import network_features
from fintel.rules.account_features import Progress, hits_of_episodes, rule_features, rule_hits, silent
from fintel.rules.model import Library

Tables = Mapping[str, pl.LazyFrame]
_OF_WINDOWS = frozenset(f.name for f in WINDOW_FEATURES)


@dataclass(frozen=True)
class Rules:
    """Where features of rules come from: a library that is run, or the episodes that a run as of the moment found.

    ``known_before``: what no entry dates (rates, identifiers, intelligence) is as known then; None: the first moment.
    """

    library: Library | None = None
    base_currency: str = "USD"
    episodes: pl.DataFrame | None = None
    known_before: datetime | None = None


def account_rows(
    tables: Tables,
    moments: Sequence[datetime],
    names: Sequence[str],
    *,
    accounts: pl.Series | None = None,
    rules: Rules | None = None,
    known_by: datetime | None = None,
    apart: pl.DataFrame | None = None,
    threads: int = 0,
    progress: Progress = silent,
) -> pl.DataFrame:
    """``account_id, as_of`` and the features by name, float32 (NaN = unknown), by account and moment.

    Rows are the accounts with an entry before the moment. See ``features.windows``, ``graph.account_features`` and
    ``rules.account_features`` for what each sees: in all of them only what stands strictly before the moment.

    Parameters
    ----------
    accounts: ids to keep; all if None. known_by: labels known later are no seeds of risk. apart: ``account_id, fold``:
        accounts of one fold are no seeds of risk for each other.

    Raises
    ------
    ModelError: a name has to do with rules and no rules are given, or episodes are given for several moments.
    """
    of_rules = [n for n in names if isinstance(BY_NAME[n].recipe, RuleHits)]
    if of_rules and rules is None:
        raise ModelError(f"the feature '{of_rules[0]}' needs the rules", hint="give the library that the model uses")
    windows = account_features(tables, moments, accounts=accounts, threads=threads)
    rows = windows.select("account_id", "as_of")
    parts = [rows, windows.select(pl.col(n).cast(pl.Float32) for n in names if n in _OF_WINDOWS)]
    del windows
    of_network = [n for n in names if isinstance(BY_NAME[n].recipe, Pooled | Static)]
    if of_network:
        parts.append(network_features(tables, rows, of_network, known_by=known_by, apart=apart))
    if of_rules and rules is not None:
        hits = _hits(tables, rules, sorted(set(moments)), threads, progress)
        parts.append(rule_features(hits, rows, of_rules))
    return pl.concat(parts, how="horizontal").select("account_id", "as_of", *names)


def _hits(tables: Tables, rules: Rules, moments: Sequence[datetime], threads: int, progress: Progress) -> pl.DataFrame:
    if rules.episodes is not None:
        if len(moments) > 1:
            raise ModelError("episodes of one run tell nothing of other moments", hint="give the library")
        return hits_of_episodes(rules.episodes)
    if rules.library is None:
        raise ModelError("features of rules need a library or a run's episodes")
    return rule_hits(
        tables, rules.library, rules.known_before or moments[0], moments[-1], base_currency=rules.base_currency,
        threads=threads, progress=progress,
    )  # fmt: skip
