"""A small population in which a few accounts pass money on, for tests of the learned scorer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl

from fintel.domain.schema import ACCOUNTS, LABELS, TRANSACTIONS
from fintel.frames import fit

START = datetime(2023, 1, 1, tzinfo=UTC)
Tables = dict[str, pl.LazyFrame]


def population(*, seed: int = 1, accounts: int = 500, days: int = 360, schemes: int = 60, delay: int = 30) -> Tables:
    """Everybody pays everybody now and then, sometimes much, and some get presents of several on one day; in a scheme,
    six senders pay one account, which sends all on the next day. Labels name that account and its payments, ``delay``
    days after the scheme. No feature alone may tell a scheme: the leakage audit would refuse the population."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"a{i:04d}" for i in range(accounts)])
    n = accounts * 30
    hour = rng.integers(0, days * 24, n)
    debtor, creditor = rng.integers(0, accounts, n), rng.integers(0, accounts, n)
    amount = rng.gamma(2.0, 60.0, n)
    parts = [(hour, debtor, creditor, amount, np.full(n, -1))]
    begins = np.sort(rng.integers(5 * 24, (days - 5) * 24, schemes))
    lawful = np.random.default_rng([seed, 1])
    much = lawful.random(n) < 0.03
    amount[much] *= lawful.uniform(6, 12, int(much.sum()))
    for _ in range(accounts // 4):
        at, number = lawful.integers(0, days * 24), int(lawful.integers(4, 8))
        given = (at + lawful.integers(0, 20, number), lawful.integers(0, accounts, number))
        one = np.full(number, lawful.integers(0, accounts))
        parts.append((*given, one, lawful.gamma(2.0, 90.0, number), np.full(number, -1)))
    members = rng.choice(accounts, schemes, replace=False)
    others = np.setdiff1d(np.arange(accounts), members)
    for s in range(schemes):
        senders = rng.choice(others, 6)
        value = rng.gamma(2.0, 90.0, 6)
        into = (begins[s] + rng.integers(0, 20, 6), senders, np.full(6, members[s]), value, np.full(6, s))
        out = ([begins[s] + 30], [members[s]], [rng.choice(others)], [value.sum()], [s])
        parts += [into, out]
    hour, debtor, creditor, amount, scheme = (np.concatenate([np.asarray(p[i]) for p in parts]) for i in range(5))
    rows = hour.size
    provenance = {"source": "t", "feed_id": "f", "source_file": "f", "source_row": 1}
    fixed = [pl.lit(v).alias(k) for k, v in provenance.items()]
    transactions = pl.DataFrame(
        {
            "transaction_id": [f"t:{i:06d}" for i in range(rows)],
            "booked_at": [START + timedelta(hours=int(h)) for h in hour],
            "amount": [Decimal(f"{a:.2f}") + 1 for a in amount],
            "amount_base": [Decimal(f"{a:.2f}") + 1 for a in amount],
            "currency": ["USD"] * rows,
            "debtor_account_id": ids[debtor],
            "creditor_account_id": ids[creditor],
            "status": ["booked"] * rows,
        }
    ).with_columns(fixed)
    known = [START + timedelta(hours=int(b), days=delay + 2) for b in begins]
    payments = np.flatnonzero(scheme >= 0)
    labels = pl.concat(
        [
            pl.DataFrame(
                {
                    "subject_type": "account",
                    "subject_id": ids[members],
                    "scheme_id": [f"S{s}" for s in range(schemes)],
                    "known_at": known,
                }
            ),
            pl.DataFrame(
                {
                    "subject_type": "transaction",
                    "subject_id": [f"t:{i:06d}" for i in payments],
                    "scheme_id": [f"S{s}" for s in scheme[payments]],
                    "known_at": [known[s] for s in scheme[payments]],
                }
            ),
        ]
    ).with_columns(suspicious=pl.lit(value=True), label_source=pl.lit("test"))
    return {
        "transactions": fit(transactions, TRANSACTIONS).lazy(),
        "accounts": fit(pl.DataFrame({"account_id": ids, "holding": "own"}).with_columns(fixed), ACCOUNTS).lazy(),
        "labels": fit(labels.with_columns(fixed), LABELS).lazy(),
    }
