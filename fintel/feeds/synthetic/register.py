"""What is planted where: schemes with their members and victims, and benign look-alikes."""

from __future__ import annotations

import numpy as np
import polars as pl

from fintel.feeds.synthetic.geography import Ints
from fintel.frames import TIMESTAMP

FAMILIES = ("OSEC", "SEXTORTION", "HT-SEX", "HT-LABOUR", "SCAM-COMPOUND", "ML-GENERAL")
_SOURCES = np.array(["investigation", "law enforcement", "partner report"])


class Register:
    """Schemes are numbered from 0; members are suspicious, victims are known and not suspicious."""

    def __init__(self) -> None:
        self.family: list[str] = []
        self.kind: list[str] = []
        self._members: list[tuple[Ints, Ints]] = []
        self._victims: list[tuple[Ints, Ints]] = []
        self._lookalikes: list[tuple[str, Ints]] = []

    def open(self, family: str, kind: str, n: int) -> Ints:
        """Numbers of ``n`` new schemes."""
        first = len(self.family)
        self.family += [family] * n
        self.kind += [kind] * n
        return np.arange(first, first + n)

    def members(self, schemes: Ints, accounts: Ints) -> None:
        """Accounts that belong to the schemes, row by row."""
        self._members.append((schemes, accounts))

    def victims(self, schemes: Ints, accounts: Ints) -> None:
        """Accounts of people whom the schemes harm, row by row."""
        self._victims.append((schemes, accounts))

    def lookalikes(self, family: str, accounts: Ints) -> None:
        """Benign accounts that resemble a family."""
        self._lookalikes.append((family, accounts))

    def pairs(self, what: str) -> tuple[Ints, Ints]:
        """Schemes and accounts of all ``members`` or ``victims``."""
        parts = self._members if what == "members" else self._victims
        if not parts:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def frame(
        self,
        rng: np.random.Generator,
        end: Ints,
        fallback: int,
        span: tuple[int, int],
        account_ids: pl.Series,
        party_ids: pl.Series,
        party: Ints,
        paid: list[tuple[pl.Series, Ints]],
    ) -> pl.DataFrame:
        """All labels.

        ``end`` is the last second of each scheme (``fallback`` where it has no payment), ``span`` the
        period; ``paid`` holds ids and schemes of the schemes' payments. A scheme becomes known 20 to 90
        days after it ends; one payment in twelve is never found.
        """
        n = len(self.family)
        known = np.where(end > 0, end, fallback) + (rng.uniform(20, 90, n) * 86400).astype(np.int64)
        source = _SOURCES[rng.choice(3, n, p=[0.6, 0.25, 0.15])]
        sure = np.round(rng.uniform(0.6, 1.0, n), 2)
        number = rng.permutation(np.arange(10_000, 10_000 + 9 * n + 9))[:n]
        schemes = pl.DataFrame(
            {
                "scheme": np.arange(n),
                "typology": pl.Series(self.family, dtype=pl.String),
                "scheme_id": pl.Series([f"S{i}" for i in number], dtype=pl.String),
                "label_source": pl.Series(source.tolist(), dtype=pl.String),
                "known_at": known * 1_000_000,
                "confidence": sure,
            }
        )
        parts = []
        for what, suspicious in (("members", True), ("victims", False)):
            scheme, account = self.pairs(what)
            if not suspicious:
                # Whoever takes part in one scheme and is harmed by another stays a member.
                only = ~np.isin(account, self.pairs("members")[1])
                scheme, account = scheme[only], account[only]
            for subject, ids, rows in (
                ("account", account_ids, account),
                ("party", party_ids, party[account]),
            ):
                parts.append(_subjects(subject, ids.gather(rows), suspicious, scheme))
        for ids, scheme in paid:
            found = rng.random(len(scheme)) < 11 / 12
            parts.append(_subjects("transaction", ids.filter(pl.Series(found)), True, scheme[found]))
        labels = pl.concat(parts).join(schemes, on="scheme", how="left", maintain_order="left").drop("scheme")
        reviewed = []
        for family, account in self._lookalikes:
            m = len(account)
            when = span[0] + (rng.uniform(0.2, 1.2, m) * (span[1] - span[0])).astype(np.int64)
            reviewed.append(
                _subjects("account", account_ids.gather(account), False, np.zeros(m, dtype=np.int64))
                .drop("scheme")
                .with_columns(
                    typology=pl.lit(family),
                    scheme_id=pl.lit(None, dtype=pl.String),
                    label_source=pl.lit("review"),
                    known_at=pl.Series(when * 1_000_000),
                    confidence=pl.Series(np.round(rng.uniform(0.7, 1.0, m), 2)),
                )
            )
        order = [
            "subject_type",
            "subject_id",
            "suspicious",
            "typology",
            "scheme_id",
            "label_source",
            "known_at",
            "confidence",
        ]
        return (
            pl.concat([labels.select(order), *(r.select(order) for r in reviewed)])
            .with_columns(pl.col("known_at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(TIMESTAMP))
            .unique(["subject_type", "subject_id", "label_source", "known_at"], keep="first", maintain_order=True)
            .sort("known_at", "subject_type", "subject_id", "label_source")
        )


def _subjects(kind: str, ids: pl.Series, suspicious: bool, scheme: Ints) -> pl.DataFrame:
    return pl.DataFrame({"subject_id": ids.cast(pl.String), "scheme": scheme.astype(np.int64)}).select(
        pl.lit(kind).alias("subject_type"), "subject_id", pl.lit(suspicious).alias("suspicious"), "scheme"
    )
