"""Features of accounts from the network and the rules see the past alone, and say what a plain walk says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fintel.domain.schema import ACCOUNTS, IDENTIFIERS, LABELS, TRANSACTIONS
from fintel.features.catalog import FEATURES
from fintel.frames import fit
from fintel.models import account_rows as module
from fintel.models.account_rows import Rules, account_rows
from fintel.models.leakage import continued
from fintel.rules.loader import load
from fintel.rules.model import Library

START = datetime(2024, 1, 1, tzinfo=UTC)
MOMENTS = [START + timedelta(days=d) for d in (40, 100, 130)]
NAMES = tuple(f.name for f in FEATURES if f.family in ("motifs", "network", "risk", "rules"))
Frames = dict[str, pl.DataFrame]

PACK = "name: t\ntitle: T\ndescription: D\n"
INDICATORS = "indicators:\n  T-01: {typology: OSEC, issuer: I, document: D, text: words}\n"
BUSY = """\
id: t/busy
title: Many payments
version: 1
status: test
level: high
typology: OSEC
indicators: [T-01]
description: words
budget: 10
subject: account
per: [account_id]
anchor: direction = 'out'
measures:
  sends: {count: "*", timespan: 7d}
when: sends >= 3
reason: "{sends} payments"
falsepositives: [Anybody busy]
"""


def population(seed: int, rows: int = 400, accounts: int = 24) -> Frames:
    """Chains, circles, cash, unknown amounts, reversals, ties in time, shared phones, and labels of many days."""
    rng = np.random.default_rng(seed)
    ids = [f"a{i:02d}" for i in range(accounts)]
    hours = rng.integers(0, 130 * 24, rows)
    # Some pay daily, some hardly ever.
    weight = 1.0 / (np.arange(accounts) + 2) ** 1.5
    payer, payee = rng.choice(accounts, (2, rows), p=weight / weight.sum())
    cents = rng.choice([10_000, 9_500, 30_000, 12_345], rows)
    # Every fourth payment is passed on some hours later, once more or less a fee.
    for i in range(0, rows - 1, 4):
        payer[i + 1], hours[i + 1], cents[i + 1] = payee[i], hours[i] + 5, cents[i] * 97 // 100
    undone = [f"t:{i - 7:05d}" if rng.random() < 0.05 and i > 7 else None for i in range(rows)]
    transactions = pl.DataFrame(
        {
            "transaction_id": [f"t:{i:05d}" for i in range(rows)],
            "booked_at": [START + timedelta(hours=int(h)) for h in hours],
            "amount": [Decimal(int(c)) / 100 for c in cents],
            "amount_base": [None if i % 17 == 0 else Decimal(int(c)) / 100 for i, c in enumerate(cents)],
            "currency": ["USD"] * rows,
            "debtor_account_id": [None if i % 23 == 0 else ids[p] for i, p in enumerate(payer)],
            "creditor_account_id": [None if i % 29 == 1 else ids[p] for i, p in enumerate(payee)],
            "status": ["reversal" if u else "booked" for u in undone],
            "reversal_of": undone,
            "source": ["t"] * rows, "feed_id": ["f"] * rows, "source_file": ["f"] * rows, "source_row": range(rows),
        },
        schema_overrides={"reversal_of": pl.String},
    )  # fmt: skip
    known = rng.choice(np.arange(3, accounts), 5, replace=False)
    labels = pl.DataFrame(
        {
            "subject_type": ["account"] * 5,
            "subject_id": [ids[i] for i in known],
            "suspicious": [True] * 5,
            "label_source": ["b"] * 5,
            "known_at": [START + timedelta(days=int(d)) for d in rng.integers(1, 130, 5)],
        }
    )
    phones = pl.DataFrame(
        {
            "party_id": [f"p{i:02d}" for i in range(accounts)],
            "type": ["phone"] * accounts,
            "value": [f"+4400000{i // 3}" for i in range(accounts)],
            "first_seen": [START + timedelta(days=int(d)) for d in rng.integers(0, 120, accounts)],
        }
    )
    holders = pl.DataFrame({"account_id": ids, "party_id": [f"p{i:02d}" for i in range(accounts)]})
    return {
        "transactions": fit(transactions, TRANSACTIONS),
        "accounts": fit(holders, ACCOUNTS),
        "labels": fit(labels, LABELS),
        "identifiers": fit(phones, IDENTIFIERS),
    }


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("packs")
    (folder / "t").mkdir()
    (folder / "indicators.yaml").write_text(INDICATORS)
    (folder / "t" / "pack.yaml").write_text(PACK)
    (folder / "t" / "busy.yaml").write_text(BUSY)
    found, diagnostics = load([folder])
    assert not diagnostics, diagnostics
    return found


def lazy(tables: Frames) -> dict[str, pl.LazyFrame]:
    return {name: frame.lazy() for name, frame in tables.items()}


def told(tables: dict[str, pl.LazyFrame], moments: list[datetime], library: Library) -> pl.DataFrame:
    return account_rows(tables, moments, NAMES, rules=Rules(library, known_before=MOMENTS[0]))


def assert_same(left: pl.DataFrame, right: pl.DataFrame) -> None:
    assert left.height == right.height > 0
    assert left.select("account_id", "as_of").equals(right.select("account_id", "as_of"))
    for name in NAMES:
        a, b = left[name].to_numpy(), right[name].to_numpy()
        assert ((a == b) | (np.isnan(a) & np.isnan(b))).all(), name


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), place=st.integers(0, 2))
def test_later_rows_of_any_table_change_nothing(library: Library, seed: int, place: int) -> None:
    tables = lazy(population(seed))
    moment = MOMENTS[place]
    whole = told(tables, MOMENTS, library).filter(pl.col("as_of") == moment)
    assert_same(told(continued(tables, moment), [moment], library), whole)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_of_rows_and_names_of_accounts_do_not_matter(library: Library, seed: int) -> None:
    tables = population(seed)
    before = told(lazy(tables), MOMENTS, library)
    mixed = {name: frame.sample(fraction=1, shuffle=True, seed=seed) for name, frame in tables.items()}
    assert_same(told(lazy(mixed), MOMENTS, library), before)
    new = {f"a{i:02d}": f"z{23 - i:02d}" for i in range(24)}
    columns = {
        "transactions": ("debtor_account_id", "creditor_account_id"),
        "accounts": ("account_id",),
        "labels": ("subject_id",),
    }
    renamed = {n: f.with_columns(pl.col(c).replace(new) for c in columns.get(n, ())) for n, f in tables.items()}
    expected = before.with_columns(pl.col("account_id").replace(new)).sort("account_id", "as_of")
    assert_same(told(lazy(renamed), MOMENTS, library), expected)


def test_the_population_has_what_is_looked_for(library: Library) -> None:
    """Without it the tests above would compare zeros with zeros."""
    found = told(lazy(population(3)), MOMENTS, library)
    moves = {n for n in NAMES if found[n].drop_nans().n_unique() > 1}
    wanted = {
        "cycles_conserved_90d", "longest_chain_90d", "longest_peel_30d", "funded_debits_90d", "new_relations_30d",
        "payer_entropy_90d", "unrelated_payers_90d", "ring_holders", "risk_received_90d", "risk_paid_90d",
        "suspicious_hops_90d", "rules_30d", "rules_high_90d", "rules_osec_90d",
    }  # fmt: skip
    assert wanted <= moves


def walked(tables: Frames, moment: datetime, days: int) -> dict[str, list[tuple[str, str, int, datetime]]]:
    """Payments between two accounts that stand in a window, by account: side, other, cents, time."""
    rows = tables["transactions"].filter(pl.col("booked_at") < moment)
    gone = set(rows["reversal_of"].drop_nulls())
    found: dict[str, list[tuple[str, str, int, datetime]]] = {}
    for row in rows.iter_rows(named=True):
        a, b = row["debtor_account_id"], row["creditor_account_id"]
        if row["status"] != "booked" or row["transaction_id"] in gone or None in (a, b) or a == b:
            continue
        if row["booked_at"] >= moment - timedelta(days=days):
            cents = int((row["amount_base"] or 0) * 100)
            found.setdefault(a, []).append(("out", b, cents, row["booked_at"]))
            found.setdefault(b, []).append(("in", a, cents, row["booked_at"]))
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_who_is_suspicious_is_what_a_plain_walk_says(library: Library, seed: int) -> None:
    tables = population(seed)
    for moment in MOMENTS[1:]:
        known = set(tables["labels"].filter(pl.col("known_at") < moment)["subject_id"])
        assert 0 < len(known)
        payments = walked(tables, moment, 90)
        found = {r["account_id"]: r for r in told(lazy(tables), [moment], library).iter_rows(named=True)}
        beside = {a: {o for _, o, *_ in rows} for a, rows in payments.items()}
        for account, rows in payments.items():
            ours = found[account]
            assert ours["suspicious_payers_90d"] == len({o for s, o, *_ in rows if s == "in"} & known)
            assert ours["suspicious_payees_90d"] == len({o for s, o, *_ in rows if s == "out"} & known)
            into = sum(c for s, _, c, _ in rows if s == "in")
            bad = sum(c for s, o, c, _ in rows if s == "in" and o in known)
            expected = bad / into if into else float("nan")
            assert ours["suspicious_in_share_90d"] == pytest.approx(expected, rel=1e-6, nan_ok=True)
            near = beside[account] & known
            second = any((beside[o] & known) - {account} for o in beside[account])
            assert ours["suspicious_hops_90d"] == (1 if near else 2 if second else 3)


def test_own_label_tells_nothing_of_the_account_itself(library: Library) -> None:
    """One seed, whose money never comes back over others: at itself there is no risk, and nobody is near."""
    tables = population(4)
    lone = pl.DataFrame(
        {
            "transaction_id": ["t:x1", "t:x2"],
            "booked_at": [START + timedelta(days=90), START + timedelta(days=91)],
            "amount": [Decimal(50)] * 2, "amount_base": [Decimal(50)] * 2, "currency": ["USD"] * 2,
            "debtor_account_id": ["seed", "friend"], "creditor_account_id": ["friend", "seed"],
            "status": ["booked"] * 2,
            **{n: ["x"] * 2 for n in ("source", "feed_id", "source_file")}, "source_row": [1, 2],
        }
    )  # fmt: skip
    tables["transactions"] = pl.concat([tables["transactions"], fit(lone, TRANSACTIONS)])
    tables["labels"] = tables["labels"].head(1).with_columns(subject_id=pl.lit("seed"), known_at=pl.lit(START))
    found = told(lazy(tables), [MOMENTS[1]], library)
    seed, friend = (found.row(by_predicate=pl.col("account_id") == a, named=True) for a in ("seed", "friend"))
    # Over the friend it comes back again and again; what is left is of the fourth step on: below 0.85 ** 4 = 0.522.
    assert 0 <= seed["risk_received_90d"] <= 0.85**4 / (1 - 0.85**2) + 1e-6
    assert (seed["suspicious_payers_90d"], seed["suspicious_hops_90d"]) == (0, 3)
    assert (friend["suspicious_payers_90d"], friend["suspicious_hops_90d"]) == (1, 1)
    assert friend["risk_received_90d"] > 0.85


def test_labels_known_at_the_moment_or_later_are_no_seeds(library: Library) -> None:
    tables = population(5)
    moment = MOMENTS[1]
    late = {**tables, "labels": tables["labels"].with_columns(known_at=pl.lit(moment))}
    names = [n for n in NAMES if n.startswith(("risk_", "suspicious_"))]
    assert told(lazy(late), [moment], library).select(names).to_numpy().size
    assert np.isnan(told(lazy(late), [moment], library).select(names).to_numpy()).all()
    early = {**tables, "labels": tables["labels"].with_columns(known_at=pl.lit(moment - timedelta(microseconds=1)))}
    assert not np.isnan(told(lazy(early), [moment], library)["risk_paid_90d"].to_numpy()).all()
    by = account_rows(lazy(early), [moment], names, known_by=moment - timedelta(days=1))
    assert np.isnan(by.select(names).to_numpy()).all()


def test_episodes_of_a_run_say_the_same_as_the_library(library: Library) -> None:
    from fintel.rules.runner import detect_tables

    tables = population(6)
    plain = tables["transactions"].filter(pl.col("reversal_of").is_null())
    tables["transactions"] = plain
    names = [n for n in NAMES if n.startswith("rules")]
    moment = MOMENTS[2]
    run = detect_tables(tables, library, as_of=moment - timedelta(microseconds=1))
    by_run = account_rows(lazy(tables), [moment], names, rules=Rules(episodes=run.episodes))
    assert by_run.equals(account_rows(lazy(tables), [moment], names, rules=Rules(library)))
    assert by_run["rules_30d"].n_unique() > 1


def test_what_a_model_does_not_need_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed for nothing")

    for name in ("network_features", "rule_hits"):
        monkeypatch.setattr(module, name, refuse)
    assert account_rows(lazy(population(1)), MOMENTS, ["in_count_30d"]).columns == [
        "account_id",
        "as_of",
        "in_count_30d",
    ]
    with pytest.raises(AssertionError):
        account_rows(lazy(population(1)), MOMENTS, ["ring_holders"])


def test_features_of_rules_without_rules_are_refused(tmp_path: Path) -> None:
    from fintel.errors import ModelError

    with pytest.raises(ModelError, match="needs the rules"):
        account_rows(lazy(population(1)), MOMENTS, ["rules_30d"])
    with pytest.raises(ModelError, match="other moments"):
        account_rows(lazy(population(1)), MOMENTS, ["rules_30d"], rules=Rules(episodes=pl.DataFrame()))
