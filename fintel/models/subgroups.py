"""Whom a queue troubles, and whom it overlooks: error rates by age band, country and kind of customer.

Age is no feature of any model; the catalogue has it for this report alone. A group of fewer than ``SMALL``
accounts is not told: its rates say nothing and its members could be recognised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import polars as pl
from pydantic import BaseModel, ConfigDict

from fintel.domain.schema import ACCOUNTS, PARTIES
from fintel.domain.share import wilson
from fintel.features.entries import age_band
from fintel.features.profiles import account_profiles
from fintel.frames import empty

SMALL = 20
#: Four fifths, and its inverse: an alert is a burden, so a rate is suspect on either side. The bound is the one
#: of the United States' Uniform Guidelines on Employee Selection Procedures (29 CFR 1607.4 D).
FOUR_FIFTHS = 0.8
ATTRIBUTES = ("age band", "country", "customer kind")
_Z = 1.959963984540054


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rate(_Frozen):
    """A share with Wilson's interval; hits may be an expected number (ties)."""

    hits: float
    of: int
    value: float
    low: float
    high: float


class Ratio(_Frozen):
    """A group's rate over that of everybody else, with its 95 % interval (Katz et al. 1978, Biometrics 34, 469;
    half a case added where one is empty)."""

    value: float
    low: float
    high: float

    @property
    def mark(self) -> str:
        """'clear' if the whole interval is outside four fifths and five fourths, 'possible' if only the value is."""
        if self.low > 1 / FOUR_FIFTHS or self.high < FOUR_FIFTHS:
            return "clear"
        return "" if FOUR_FIFTHS <= self.value <= 1 / FOUR_FIFTHS else "possible"


class Subgroup(_Frozen):
    """One group. Rates are over account-months; None where there is nobody to take them of.

    ``false_alerts``: of accounts without a suspicious label, those alerted. ``missed`` accounts and members of
    small groups are in nobody's row. ``mark``: as ``Ratio.mark`` of the worse of the two ratios.
    """

    attribute: str
    group: str
    accounts: int
    alert_rate: Rate
    alert_ratio: Ratio | None
    precision: Rate | None
    false_alerts: Rate | None
    false_alert_ratio: Ratio | None
    recall: Rate | None
    mark: str


class Suppressed(_Frozen):
    """How many groups of an attribute were too small to tell, and how many accounts they have together (None
    where this would itself name a few)."""

    attribute: str
    groups: int
    accounts: int | None


def attributes(tables: Mapping[str, pl.LazyFrame], rows: pl.DataFrame) -> pl.DataFrame:
    """``age band``, ``country`` and ``customer kind`` of rows of ``account_id, month``, in their order.

    Age is as of the month. Country and kind are the account's, else the holder's; 'not known' where neither
    says it.
    """
    bands = account_profiles(tables, rows.select("account_id", as_of="month")).select(age_band(pl.col("party_age")))
    accounts = tables.get("accounts", empty(ACCOUNTS).lazy())
    parties = tables.get("parties", empty(PARTIES).lazy())
    records = (
        accounts.select("account_id", "party_id", "country", "kind")
        .join(parties.select("party_id", seat="country", holder="kind"), on="party_id", how="left")
        .select("account_id", country=pl.coalesce("country", "seat"), kind=pl.coalesce("kind", "holder"))
        .unique("account_id", keep="first", maintain_order=True)
        .collect()
    )
    joined = rows.select("account_id").join(records, on="account_id", how="left", maintain_order="left")
    return pl.DataFrame(
        {"age band": bands.to_series(), "country": joined["country"], "customer kind": joined["kind"]}
    ).with_columns(pl.all().fill_null("not known"))


def subgroups(
    judged: pl.DataFrame, chance: pl.Series, names: Sequence[str] = ATTRIBUTES
) -> tuple[tuple[Subgroup, ...], tuple[Suppressed, ...]]:
    """Error rates of every group of at least ``SMALL`` accounts.

    Parameters
    ----------
    judged: ``account_id``, ``label`` (0/1) and the named attributes, a row an account and month.
    chance: how sure each row is to be alerted, 0 to 1 (``places.chance_read``).
    """
    told: list[Subgroup] = []
    hidden: list[Suppressed] = []
    for name in names:
        counts = _counts(judged.with_columns(chance.alias("chance")), name)
        whole = {column: float(counts[column].sum()) for column in _SUMS}
        small = counts.filter(pl.col("accounts") < SMALL)
        if small.height:
            # one small group beside its sum would be that group's own number
            alone = small.height == 1 or int(small["accounts"].sum()) < SMALL
            hidden.append(
                Suppressed(
                    attribute=name, groups=small.height, accounts=None if alone else int(small["accounts"].sum())
                )
            )
        large = counts.filter(pl.col("accounts") >= SMALL).sort("accounts", name, descending=[True, False])
        told += [_told(name, row, whole) for row in large.to_dicts()]
    return tuple(told), tuple(hidden)


_SUMS = ("rows", "alerted", "positives", "hits")


def _counts(judged: pl.DataFrame, name: str) -> pl.DataFrame:
    positive = pl.col("label") == 1
    return judged.group_by(name).agg(
        accounts=pl.col("account_id").n_unique(),
        rows=pl.len(),
        # sorted, so that a sum does not hang on the order of rows
        alerted=pl.col("chance").sort().sum(),
        positives=positive.sum(),
        hits=pl.col("chance").filter(positive).sort().sum(),
    )


def _told(name: str, row: dict[str, float], whole: dict[str, float]) -> Subgroup:
    rest = {column: whole[column] - row[column] for column in _SUMS}
    clean, clean_rest = row["rows"] - row["positives"], rest["rows"] - rest["positives"]
    alarms, alarms_rest = row["alerted"] - row["hits"], rest["alerted"] - rest["hits"]
    ratio = _ratio(row["alerted"], row["rows"], rest["alerted"], rest["rows"])
    false_ratio = _ratio(alarms, clean, alarms_rest, clean_rest)
    marks = {r.mark for r in (ratio, false_ratio) if r is not None}
    return Subgroup(
        attribute=name,
        group=str(row[name]),
        accounts=int(row["accounts"]),
        alert_rate=_rate(row["alerted"], row["rows"]) or Rate(hits=0.0, of=0, value=0.0, low=0.0, high=1.0),
        alert_ratio=ratio,
        precision=_rate(row["hits"], row["alerted"]),
        false_alerts=_rate(alarms, clean),
        false_alert_ratio=false_ratio,
        recall=_rate(row["hits"], row["positives"]),
        mark="clear" if "clear" in marks else "possible" if "possible" in marks else "",
    )


def _rate(hits: float, of: float) -> Rate | None:
    if of <= 0:
        return None
    hits = min(max(hits, 0.0), of)
    low, high = wilson(hits, of)
    return Rate(hits=hits, of=round(of), value=hits / of, low=low, high=high)


def _ratio(hits: float, of: float, hits_rest: float, of_rest: float) -> Ratio | None:
    if of <= 0 or of_rest <= 0 or hits + hits_rest <= 0:
        return None
    if min(hits, hits_rest) < 0.5:
        hits, of, hits_rest, of_rest = hits + 0.5, of + 0.5, hits_rest + 0.5, of_rest + 0.5
    value = (hits / of) / (hits_rest / of_rest)
    spread = _Z * math.sqrt(max(0.0, 1 / hits - 1 / of + 1 / hits_rest - 1 / of_rest))
    return Ratio(value=value, low=value * math.exp(-spread), high=value * math.exp(spread))
