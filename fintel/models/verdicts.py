"""What is known of accounts, for one typology: who is suspicious, and who was looked at and cleared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from fintel.domain.schema import LABELS
from fintel.frames import empty
from fintel.models.labels import read_truth


@dataclass(frozen=True)
class Verdicts:
    """Account ids; ``source``: which labels they come from, in words."""

    suspicious: frozenset[str]
    cleared: frozenset[str]
    source: str


def verdicts(tables: Mapping[str, pl.LazyFrame], typology: str, known_by: datetime | None = None) -> Verdicts:
    """Accounts labelled under a typology, or under any where no label names that one.

    An account labelled both ways counts as suspicious: somebody found a reason. ``known_by``: labels
    that became known later are not seen.
    """
    labels = tables.get("labels", empty(LABELS).lazy())
    if known_by is not None:
        labels = labels.filter(pl.col("known_at") <= known_by)
    mine = pl.col("suspicious") & (pl.col("typology") == typology)
    of_typology = labels.filter(mine).select(pl.len()).collect().item() > 0
    used = labels.filter(mine) if of_typology else labels.filter(pl.col("suspicious"))
    suspicious = frozenset(read_truth({**tables, "labels": used}).accounts["account_id"])
    clean = labels.filter(~pl.col("suspicious")).with_columns(suspicious=pl.lit(value=True))
    cleared = frozenset(read_truth({**tables, "labels": clean}).accounts["account_id"]) - suspicious
    source = f"labels of typology {typology}" if of_typology else "labels of all typologies"
    return Verdicts(suspicious, cleared, source)
