"""Features of accounts from the rules that they hit, as of moments: hits strictly before each.

Rules run once over all payments before the last moment. A hit is as of its entry, so hits are cut by time; an episode
is not, for it joins hits on both sides of a moment. What no entry dates (rates, identifiers, partners' intelligence) is
as known at the *first* moment, for all of them. A payment that is undone later still counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.domain.detection import Level
from fintel.features.catalog import BY_NAME
from fintel.features.recipes import RuleHits
from fintel.rules.model import Library
from fintel.rules.runner import detect_tables

Tables = Mapping[str, pl.LazyFrame]
Progress = Callable[[str, int, int], None]

_TICK = timedelta(microseconds=1)
_LEVELS = {str(level): place for place, level in enumerate(Level, start=1)}


def silent(stage: str, done: int, of: int) -> None:
    """Progress that nobody watches."""
    del stage, done, of


def rule_hits(
    tables: Tables, library: Library, first: datetime, last: datetime, *, base_currency: str, threads: int = 0,
    progress: Progress = silent,
) -> pl.DataFrame:  # fmt: skip
    """``rule_id, account_id, typology, level, on``: a day (UTC) with a hit of a rule, and ``at``, the day's first hit.

    Hits strictly before ``last``; what no entry dates is as known strictly before ``first``.
    """
    payments = tables["transactions"].filter(pl.col("booked_at") < last, pl.col("reversal_of").is_null())
    seen = {**tables, "transactions": payments} | _known(tables, first)
    found = detect_tables(
        seen, library, base_currency=base_currency, as_of=last - _TICK, threads=threads, progress=progress
    )
    of = found.episodes.select("episode_id", "rule_id", "account_id", "typology", "level")
    return found.moments.join(of, on="episode_id").select(
        "rule_id", "account_id", "typology", "level", "at", on=pl.col("at").dt.date()
    )


def _known(tables: Tables, moment: datetime) -> dict[str, pl.LazyFrame]:
    dated = {"rates": "date", "identifiers": "first_seen", "intel": "received_on"}
    found = {}
    for name, column in dated.items():
        if name in tables:
            kind = tables[name].collect_schema()[column]
            by = pl.lit(moment.date() if kind == pl.Date else moment)
            found[name] = tables[name].filter(pl.col(column).is_null() | (pl.col(column) < by))
    return found


def hits_of_episodes(episodes: pl.DataFrame) -> pl.DataFrame:
    """The same from a run's episodes: their last days alone, enough for features as of the run's own moment."""
    return episodes.select("rule_id", "account_id", "typology", "level", at="ended_at", on=pl.col("ended_at").dt.date())


def rule_features(hits: pl.DataFrame, rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Features by name for rows of ``account_id, as_of``, in their order: float32, 0 without a hit.

    Parameters
    ----------
    hits: as ``rule_hits`` gives them; a rule's hits of several days count once.
    names: of the catalogue; all with a recipe ``RuleHits``.
    """
    recipes = {name: recipe for name in names if isinstance(recipe := BY_NAME[name].recipe, RuleHits)}
    if len(recipes) < len(names):
        raise KeyError(next(n for n in names if n not in recipes))
    values: dict[str, npt.NDArray[np.float32]] = {name: np.zeros(rows.height, np.float32) for name in names}
    place = pl.col("level").replace_strict(_LEVELS, return_dtype=pl.Int32)
    ranked = hits.with_columns(place.alias("place"))
    for moment in rows["as_of"].unique() if names else ():
        here = np.flatnonzero((rows["as_of"] == moment).to_numpy())
        accounts = rows.select("account_id")[here]
        past = ranked.filter(pl.col("at") < moment)
        for days in {r.days for r in recipes.values()}:
            begin = (moment - timedelta(days=days)).date()
            inside = past.filter(pl.col("on") >= begin).unique(["rule_id", "account_id"])
            mine = {n: r for n, r in recipes.items() if r.days == days}
            told = inside.group_by("account_id").agg(_fold(r).alias(n) for n, r in mine.items())
            joined = accounts.join(told, on="account_id", how="left", maintain_order="left")
            for name in mine:
                values[name][here] = joined[name].cast(pl.Float32).fill_null(0).to_numpy()
    return pl.DataFrame({name: values[name] for name in names})


def _fold(recipe: RuleHits) -> pl.Expr:
    if recipe.fold == "level":
        return pl.col("place").max()
    if recipe.typology is not None:
        return (pl.col("typology") == recipe.typology).sum()
    if recipe.level is not None:
        return (pl.col("level") == recipe.level).sum()
    return pl.len()
