"""What is known of own accounts: suspicious, victims, looked at and cleared, or nothing at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from fintel.domain.schema import LABELS
from fintel.frames import empty
from fintel.models.labels import read_truth
from fintel.rules.model import Rule

UNLABELLED = "unlabelled"
SUSPICIOUS, VICTIM, CLEARED = "suspicious", "victim", "cleared"
#: What an account can be known as.
STANDINGS = (SUSPICIOUS, VICTIM, CLEARED, UNLABELLED)
Accounts = frozenset[str]
Tables = Mapping[str, pl.LazyFrame]


@dataclass(frozen=True)
class Standings:
    """Own accounts by what labels say. ``own``: how many there are; ``accounts``: ``account_id, segment,
    jurisdiction`` of each.

    A victim is an account that belongs to a scheme and is labelled not suspicious. An account labelled in
    several ways is the first of suspicious, victim, cleared. ``by_typology``: suspicious accounts and victims.
    ``elsewhen``: accounts whose labelled payments all lie outside the period: no rule can find them in it.
    """

    accounts: pl.DataFrame
    suspicious: Accounts = frozenset()
    victims: Accounts = frozenset()
    cleared: Accounts = frozenset()
    by_typology: Mapping[tuple[str, str], Accounts] = field(default_factory=dict)
    elsewhen: Accounts = frozenset()

    @property
    def own(self) -> int:
        """Number of own accounts."""
        return self.accounts.height

    def of(self, typology: str, standing: str = SUSPICIOUS) -> Accounts:
        """Suspicious accounts (or victims) of a typology; of all where no label names the typology."""
        found = self.by_typology.get((typology, standing))
        if found is not None or standing == VICTIM:
            return found or frozenset()
        return self.suspicious

    def wanted(self, rule: Rule) -> Accounts:
        """Whom a rule is there to find in the period: a rule of role victim finds victims."""
        return self.of(rule.typology, VICTIM if rule.role == "victim" else SUSPICIOUS) - self.elsewhen

    def frame(self) -> pl.DataFrame:
        """``account_id, segment, jurisdiction, standing`` of every own account."""
        known = {
            **dict.fromkeys(self.cleared, CLEARED),
            **dict.fromkeys(self.victims, VICTIM),
            **dict.fromkeys(self.suspicious, SUSPICIOUS),
        }
        ids = pl.DataFrame(
            {"account_id": list(known), "standing": list(known.values())},
            schema={"account_id": pl.String, "standing": pl.String},
        )
        joined = self.accounts.join(ids, on="account_id", how="left", maintain_order="left")
        return joined.with_columns(pl.col("standing").fill_null(UNLABELLED))


def standings(
    tables: Tables, since: datetime | None = None, until: datetime | None = None, known_by: datetime | None = None
) -> Standings:
    """Read what labels say of the institution's own accounts.

    Parameters
    ----------
    since, until: the period that is looked at, both included; all time if None.
    known_by: labels that became known later are not seen.

    Where no account is described, every account with a payment counts as own.
    """
    accounts = own_accounts(tables)
    ours = frozenset(accounts["account_id"])
    labels = tables.get("labels", empty(LABELS).lazy())
    if known_by is not None:
        labels = labels.filter(pl.col("known_at") <= known_by)
    labels = labels.collect().lazy()
    harmed = ~pl.col("suspicious") & pl.col("scheme_id").is_not_null()
    suspicious = _named(tables, labels.filter(pl.col("suspicious"))) & ours
    victims = (_named(tables, labels.filter(harmed)) & ours) - suspicious
    cleared = (_named(tables, labels.filter(~pl.col("suspicious"))) & ours) - suspicious - victims
    by_typology: dict[tuple[str, str], Accounts] = {}
    for typology in labels.select(pl.col("typology").drop_nulls().unique()).collect()["typology"]:
        mine = labels.filter(pl.col("typology") == typology)
        for standing, chosen, of_all in ((SUSPICIOUS, pl.col("suspicious"), suspicious), (VICTIM, harmed, victims)):
            found = _named(tables, mine.filter(chosen)) & of_all
            if found:
                by_typology[typology, standing] = found
    return Standings(accounts, suspicious, victims, cleared, by_typology, _elsewhen(tables, labels, since, until))


def _elsewhen(tables: Tables, labels: pl.LazyFrame, since: datetime | None, until: datetime | None) -> Accounts:
    """Accounts in labelled payments, none of which is of the period."""
    paid = tables["transactions"].join(
        labels.filter(pl.col("suspicious") & (pl.col("subject_type") == "transaction")).select("subject_id"),
        left_on="transaction_id", right_on="subject_id", how="semi",
    )  # fmt: skip
    inside = pl.lit(value=True)
    inside = inside if since is None else inside & (pl.col("booked_at") >= since)
    inside = inside if until is None else inside & (pl.col("booked_at") <= until)
    sides = [paid.select(inside.alias("inside"), account_id=f"{s}_account_id") for s in ("debtor", "creditor")]
    found = pl.concat(sides).drop_nulls().group_by("account_id").agg(pl.col("inside").any())
    return frozenset(found.filter(~pl.col("inside")).collect(engine="streaming")["account_id"])


def own_accounts(tables: Tables) -> pl.DataFrame:
    """``account_id, segment, jurisdiction`` (kind and country, or null) of own accounts, by id."""
    described = tables["accounts"].select("account_id", "holding", segment="kind", jurisdiction="country").collect()
    if not described.is_empty():
        own = described.filter(pl.col("holding") == "own").drop("holding")
        return own.unique("account_id", keep="first", maintain_order=True).sort("account_id")
    sides = [tables["transactions"].select(account_id=f"{side}_account_id") for side in ("debtor", "creditor")]
    found = pl.concat(sides).drop_nulls().unique().sort("account_id").collect(engine="streaming")
    nothing = pl.lit(None, dtype=pl.String)
    return found.with_columns(segment=nothing, jurisdiction=nothing)


def _named(tables: Tables, labels: pl.LazyFrame) -> Accounts:
    """Accounts that labels are about, whatever they say of them."""
    said = labels.with_columns(suspicious=pl.lit(value=True))
    return frozenset(read_truth({**tables, "labels": said}).accounts["account_id"])
