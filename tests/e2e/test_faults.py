"""No silent wrong answers: each fault gives the right answer, or says that it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from fintel.config import Settings
from fintel.domain.feed import Commit
from fintel.errors import ConfigError, FeedError, StoreError
from fintel.feeds import mapping_loader
from fintel.pipeline import Summary, detect, ingest
from fintel.rules import loader
from fintel.rules.model import Library
from fintel.store.lake import Lake

MAPPING = """
mapping: bank
description: a bank of the tests
source: bank
files:
  payments:
    match: "*.csv"
    fill:
      - table: transactions
        columns:
          transaction_id: {column: ref, optional: true}
          booked_at: {column: at, format: ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]}
          amount: amount
          currency: currency
          debtor_account_id: {column: from, agent: from_bank, optional: true}
          debtor_agent: {column: from_bank, optional: true}
          creditor_account_id: {column: to, agent: to_bank, optional: true}
          creditor_agent: {column: to_bank, optional: true}
          creditor_country: {column: country, optional: true}
          status: {column: status, optional: true}
          reversal_of: {column: reversal_of, optional: true}
"""

RULES = {
    "sends": """
per: [account_id]
anchor: direction = 'out'
measures:
  sends: {count: "*", timespan: 7d}
  payees: {distinct: counterparty_id, timespan: 7d}
  value: {sum: amount, timespan: 7d}
when: sends >= :least
reason: "{sends} sends of {value} to {payees}"
""",
    "value": """
per: [account_id]
anchor: direction = 'out' and amount_base > 0
measures:
  value: {sum: amount_base, timespan: 7d}
  sends: {count: "*", timespan: 7d}
when: value >= 100 and sends >= :least
reason: "{value} out in {sends} sends"
""",
    "abroad": """
per: [account_id]
anchor: direction = 'out' and counterparty_country = 'PH'
measures:
  sends: {count: "*", timespan: 7d}
when: sends >= :least
reason: "{sends} sends abroad"
""",
}

HEAD = """
id: test/{name}
title: {name}
version: 1
status: test
level: high
typology: ML-GENERAL
indicators: [TEST-1]
techniques: []
description: a rule of the tests
subject: account
parameters:
  least: {{default: 3, unit: count, basis: engineering}}
falsepositives: [none]
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("packs")
    (folder / "test").mkdir()
    (folder / "lists").mkdir()
    (folder / "test" / "pack.yaml").write_text("name: test\ntitle: t\ndescription: t\n")
    (folder / "indicators.yaml").write_text(
        "indicators:\n  TEST-1: {typology: ML-GENERAL, issuer: i, document: d, reference: r, date: 2025-01, locator: l, url: 'https://example.org', grade: U, text: t}\n"
    )
    for name, body in RULES.items():
        (folder / "test" / f"{name}.yaml").write_text(HEAD.format(name=name) + body)
    made, found = loader.load([folder])
    assert not found and len(made.rules) == len(RULES)
    return made


@dataclass
class Bank:
    """A lake, a mapping and the rules of this file."""

    folder: Path
    library: Library
    mapping: str = MAPPING
    files: int = 0

    @property
    def settings(self) -> Settings:
        return Settings(lake=self.folder / "lake", base_currency="USD")

    def read(
        self, *rows: str, header: str = "at,from,to,amount,currency", rates: pl.DataFrame | None = None
    ) -> list[Commit]:
        self.files += 1
        file = self.folder / f"feed{self.files}.csv"
        file.write_text("\n".join([header, *rows]) + "\n")
        return self.read_file(file)

    def read_file(self, file: Path) -> list[Commit]:
        text = self.folder / "bank.yaml"
        text.write_text(self.mapping)
        with Lake.create_or_open(self.settings.lake) as lake:
            return ingest(lake, file, mapping_loader.load(text), self.settings)

    def detect(self, as_of: datetime | None = None, base: str = "USD") -> Summary:
        settings = self.settings.model_copy(update={"base_currency": base})
        with Lake.create_or_open(self.settings.lake) as lake:
            return detect(lake, settings, self.library, as_of=as_of)

    def table(self, name: str) -> pl.DataFrame:
        with Lake.open(self.settings.lake) as lake:
            return lake.scan(name).collect()

    def run_table(self, summary: Summary, name: str) -> pl.DataFrame:
        with Lake.open(self.settings.lake) as lake:
            return lake.run_table(summary.run_id, name).collect()

    def hits(self, rule: str = "sends", **more: object) -> dict[str, dict[str, float]]:
        """Observed values by subject of a rule."""
        summary = self.detect(**more)  # type: ignore[arg-type]
        episodes = self.run_table(summary, "episodes").filter(pl.col("rule_id") == f"test/{rule}")
        clauses = self.run_table(summary, "clauses").join(episodes.select("episode_id", "account_id"), on="episode_id")
        out: dict[str, dict[str, float]] = {}
        for row in clauses.iter_rows(named=True):
            out.setdefault(row["account_id"], {})[row["measure"]] = row["observed"]
        return out

    def outcome(self, rule: str, **more: object) -> dict[str, object]:
        results = self.detect(**more).rule_results  # type: ignore[arg-type]
        return results.filter(pl.col("rule_id") == f"test/{rule}").row(0, named=True)


@pytest.fixture
def bank(tmp_path: Path, library: Library) -> Bank:
    return Bank(tmp_path, library)


def day(
    n: int, *, to: str = "b", amount: object = 50, source: str = "a", currency: str = "USD", clock: str = "10:00:00"
) -> str:
    return f"2024-03-{n:02d}T{clock},{source},{to},{amount},{currency}"


def test_plain_rows_hit(bank: Bank) -> None:
    bank.read(day(1), day(2), day(3, to="c"))
    assert bank.hits() == {"a": {"sends": 3, "payees": 2, "value": 150}}


def test_a_missing_column_is_named(bank: Bank) -> None:
    with pytest.raises(FeedError, match="amount") as caught:
        bank.read("2024-03-01,a,b,USD", header="at,from,to,currency")
    assert caught.value.hint


def test_a_misspelt_column_gets_the_nearest_name(bank: Bank) -> None:
    with pytest.raises(FeedError) as caught:
        bank.read(day(1), header="at,from,to,amonut,currency")
    assert "amonut" in (caught.value.hint or "")


def test_a_rule_whose_field_is_never_filled_cannot_tell(bank: Bank) -> None:
    bank.read(day(1), day(2), day(3))
    found = bank.outcome("abroad")
    assert found["outcome"] == "cannot_tell" and "empty" in str(found["reason"]) and found["unseen"] == 3


def test_a_rule_whose_field_is_filled_but_never_fits_says_no(bank: Bank) -> None:
    bank.read(day(1) + ",FR", day(2) + ",FR", header="at,from,to,amount,currency,country")
    found = bank.outcome("abroad")
    assert (found["outcome"], found["hits"]) == ("evaluated", 0)


def test_late_and_out_of_order_rows_count_as_if_in_order(bank: Bank) -> None:
    bank.read(day(3, to="c"), day(1), day(2))
    first = bank.hits()
    bank.read(day(4, to="d"), day(1, to="z"))
    assert first == {"a": {"sends": 3, "payees": 2, "value": 150}}
    assert bank.hits()["a"] == {"sends": 5, "payees": 4, "value": 250}


def test_history_backfilled_years_later_depends_on_no_clock(bank: Bank) -> None:
    old = [f"2009-05-{d:02d}T10:00:00,a,b,50,USD" for d in (1, 2, 3)]
    bank.read(*old)
    before = bank.hits()
    bank.read(day(1, source="q"))
    assert before == {"a": {"sends": 3, "payees": 1, "value": 150}}
    assert bank.hits() == before


def test_the_same_feed_twice_adds_nothing(bank: Bank) -> None:
    bank.read(day(1), day(2), day(3))
    again = bank.read_file(bank.folder / "feed1.csv")
    assert [c.repeated for c in again] == [True]
    assert bank.table("transactions").height == 3


def test_a_feed_with_old_and_new_rows_adds_the_new(bank: Bank) -> None:
    bank.read(day(1), day(2))
    (commit,) = bank.read(day(1), day(2), day(3))
    assert (commit.read, commit.accepted, commit.duplicates) == (3, 1, 2)
    assert bank.hits()["a"]["sends"] == 3


def test_two_payments_alike_in_the_same_second_stay_two(bank: Bank) -> None:
    bank.read(day(1), day(1), day(1))
    assert bank.hits() == {"a": {"sends": 3, "payees": 1, "value": 150}}


def test_the_same_reference_twice_is_one_payment(bank: Bank) -> None:
    (commit,) = bank.read(day(1) + ",r1", day(1) + ",r1", day(2) + ",r2", header="at,from,to,amount,currency,ref")
    assert (commit.accepted, commit.duplicates) == (2, 1)
    assert bank.hits() == {}


def test_parallel_payments_between_the_same_accounts_are_kept(bank: Bank) -> None:
    bank.read(*[day(1, amount=a) for a in (10, 20, 30, 40)])
    assert bank.hits() == {"a": {"sends": 4, "payees": 1, "value": 100}}


def test_a_transfer_to_oneself_is_one_entry_each_way(bank: Bank) -> None:
    bank.read(*[day(d, to="a") for d in (1, 2, 3)])
    assert bank.hits() == {"a": {"sends": 3, "payees": 1, "value": 150}}


def test_an_unknown_currency_is_refused_with_its_line(bank: Bank) -> None:
    (commit,) = bank.read(day(1), day(2, currency="ZZQ"), day(3))
    assert commit.rejected == 1
    refused = bank.table("quarantine").row(0, named=True)
    assert (refused["source_row"], refused["column"], refused["value"]) == (3, "currency", "ZZQ")


def test_a_currency_without_a_rate_keeps_the_row_and_says_so(bank: Bank) -> None:
    bank.read(*[day(d, currency="EUR") for d in (1, 2, 3)])
    assert bank.table("transactions")["amount_base"].null_count() == 3
    assert bank.hits()["a"]["sends"] == 3
    found = bank.outcome("value")
    assert (found["outcome"], found["unseen"]) == ("cannot_tell", 3)


def test_some_rows_without_a_rate_are_counted_as_unseen(bank: Bank) -> None:
    bank.read(day(1), day(2), day(3, currency="EUR"), day(4))
    found = bank.outcome("value")
    assert (found["outcome"], found["unseen"], found["candidates"]) == ("evaluated", 1, 3)


@pytest.mark.parametrize("amount", ["0", "0.00", "-5", "abc", "", "1e3x", "99999999999999999999"])
def test_amounts_that_are_none_go_to_quarantine(bank: Bank, amount: str) -> None:
    (commit,) = bank.read(day(1), day(2, amount=amount), day(3))
    assert (commit.read, commit.accepted, commit.rejected) == (3, 2, 1)
    refused = bank.table("quarantine").row(0, named=True)
    assert refused["source_row"] == 3 and refused["column"] == "amount" and refused["hint"]


def test_a_reversal_takes_its_payment_out_of_every_sum(bank: Bank) -> None:
    header = "at,from,to,amount,currency,ref,status,reversal_of"
    bank.read(
        day(1) + ",r1,booked,", day(2) + ",r2,booked,", day(3) + ",r3,booked,", day(4) + ",r4,booked,",
        "2024-03-05T10:00:00,b,a,50,USD,r5,reversal,r2", header=header,
    )  # fmt: skip
    assert bank.hits() == {"a": {"sends": 3, "payees": 1, "value": 150}}
    # as of the day before the reversal was known, the payment still stood
    assert bank.hits(as_of=datetime(2024, 3, 4, 23, tzinfo=UTC))["a"]["sends"] == 4


def test_pending_and_rejected_payments_are_no_entries(bank: Bank) -> None:
    header = "at,from,to,amount,currency,status"
    bank.read(day(1) + ",booked", day(2) + ",pending", day(3) + ",rejected", day(4) + ",booked", header=header)
    assert bank.hits() == {}


def test_the_window_is_exact_at_the_zone_edge(bank: Bank) -> None:
    """Seven days to the microsecond: a payment exactly seven days before stands outside."""
    bank.read(day(1), day(7, clock="23:59:59"), day(8))
    assert bank.hits() == {}
    bank.read(day(1, clock="10:00:01", to="x"))
    assert bank.hits() == {"a": {"sends": 3, "payees": 2, "value": 150}}


def test_a_wall_clock_with_an_offset_is_turned_to_utc(bank: Bank) -> None:
    bank.mapping = MAPPING.replace('"%Y-%m-%d"]}', '"%Y-%m-%d"], time_zone: "+08:00"}')
    bank.read("2024-03-01T03:00:00,a,b,50,USD")
    assert bank.table("transactions")["booked_at"][0] == datetime(2024, 2, 29, 19, tzinfo=UTC)


def test_one_number_at_two_banks_is_two_accounts(bank: Bank) -> None:
    header = "at,from,to,amount,currency,from_bank,to_bank"
    bank.read(*[day(d) + f",{b},X" for d, b in ((1, "B1"), (2, "B1"), (3, "B2"))], header=header)
    assert bank.hits() == {}
    bank.read(day(4) + ",B1,X", header=header)
    assert list(bank.hits()) == ["B1|a"]


def test_leading_zeros_make_another_account(bank: Bank) -> None:
    bank.read(day(1, source="007"), day(2, source="7"), day(3, source="07"), day(4, source="007"))
    assert bank.hits() == {}
    assert set(bank.table("transactions")["debtor_account_id"]) == {"007", "7", "07"}


def test_an_account_in_scientific_notation_is_refused(bank: Bank) -> None:
    (commit,) = bank.read(day(1, source="4.45567E+11"), day(2))
    assert commit.rejected == 1


def test_a_hub_with_half_the_volume_is_seen_whole(bank: Bank) -> None:
    rows = [f"2024-03-01T10:{i // 60:02d}:{i % 60:02d},hub,p{i},5,USD" for i in range(2000)]
    rows += [f"2024-03-01T11:{i // 60:02d}:{i % 60:02d},p{i},q{i},5,USD" for i in range(2000)]
    bank.read(*rows)
    assert bank.hits() == {"hub": {"sends": 2000, "payees": 2000, "value": 10_000}}


def test_an_empty_feed_is_read_and_detection_says_there_is_nothing(bank: Bank) -> None:
    (commit,) = bank.read()
    assert (commit.read, commit.accepted) == (0, 0)
    with pytest.raises(StoreError, match="no payments"):
        bank.detect()


def test_a_file_of_no_bytes_is_an_error(bank: Bank) -> None:
    file = bank.folder / "nothing.csv"
    file.write_text("")
    with pytest.raises(FeedError):
        bank.read_file(file)


def test_one_row(bank: Bank) -> None:
    bank.read(day(1))
    summary = bank.detect()
    assert summary.alerts.is_empty() and summary.rule_results["outcome"].to_list() == [
        "cannot_tell",
        "evaluated",
        "evaluated",
    ]


def test_a_truncated_last_line_is_refused_not_guessed(bank: Bank) -> None:
    file = bank.folder / "cut.csv"
    file.write_text("at,from,to,amount,currency\n" + day(1) + "\n2024-03-02T10:00:00,a,b")
    (commit,) = bank.read_file(file)
    assert (commit.read, commit.accepted, commit.rejected) == (2, 1, 1)


def test_day_and_month_are_not_swapped(bank: Bank) -> None:
    (commit,) = bank.read("03/04/2024,a,b,50,USD", day(2))
    assert (commit.accepted, commit.rejected) == (1, 1)
    assert bank.table("quarantine")["column"].to_list() == ["booked_at"]


def test_equal_runs_have_equal_bytes_and_a_frozen_id(bank: Bank) -> None:
    bank.read(day(1), day(2), day(3))
    first, second = bank.detect(), bank.detect()
    assert first.run_id == second.run_id and first.manifest == second.manifest
    assert first.alerts.equals(second.alerts)


def test_a_run_of_an_earlier_moment_ignores_what_came_later(bank: Bank) -> None:
    bank.read(day(1), day(2), day(3))
    alone = bank.hits()
    bank.read(day(4), day(5))
    assert bank.hits(as_of=datetime(2024, 3, 3, 12, tzinfo=UTC)) == alone


def test_rates_that_come_later_convert_what_is_there(bank: Bank) -> None:
    bank.read(*[day(d, currency="EUR") for d in (1, 2, 3)])
    file = bank.folder / "rates.csv"
    file.write_text("date,currency,base,rate\n2024-01-01,EUR,USD,1.1\n2024-03-02,EUR,USD,1.25\n")
    with Lake.create_or_open(bank.settings.lake) as lake:
        ingest(lake, {"rates": file}, mapping_loader.load("fintel"), bank.settings)
    amounts = bank.table("transactions").sort("booked_at")["amount_base"].cast(pl.Float64).to_list()
    assert amounts == [55.0, 62.5, 62.5]
    assert bank.hits("value") == {"a": {"value": 180.0, "sends": 3}}


def test_another_base_currency_is_not_mixed_with_old_amounts(bank: Bank) -> None:
    bank.read(day(1), day(2), day(3))
    with pytest.raises(StoreError, match="another base currency"):
        bank.detect(base="EUR")


def test_a_number_that_is_both_a_rank_and_an_account_is_not_guessed(bank: Bank) -> None:
    from fintel.alerts import find_alert

    bank.read(*[day(d, source="x") for d in (1, 2, 3, 4)], *[day(d, source="1") for d in (1, 2, 3)])
    bank.detect()
    with Lake.open(bank.settings.lake) as lake:
        first = find_alert(lake, "#1").alert
        assert first["account_id"] == "x"
        with pytest.raises(StoreError, match="also the name of rank 2") as caught:
            find_alert(lake, "1")
        assert "#1" in (caught.value.hint or "")
        assert find_alert(lake, "x").alert == find_alert(lake, first["alert_id"]).alert == first


def test_a_corrected_mapping_does_not_count_a_file_twice(bank: Bank) -> None:
    bank.read(day(1), day(2), day(3))
    bank.mapping = MAPPING.replace("          creditor_country: {column: country, optional: true}\n", "")
    with pytest.raises(FeedError, match="read before by another version") as caught:
        bank.read_file(bank.folder / "feed1.csv")
    assert "remove lake" in (caught.value.hint or "")
    assert bank.table("transactions").height == 3


def test_a_mapping_corrected_after_everything_was_refused_is_read(bank: Bank) -> None:
    bank.mapping = MAPPING.replace("%Y-%m-%dT", "%d/%m/%YT").replace('"%Y-%m-%d"]', '"%d/%m/%Y"]')
    (first,) = bank.read(day(1), day(2), day(3))
    assert (first.accepted, first.rejected) == (0, 3)
    bank.mapping = MAPPING
    (second,) = bank.read_file(bank.folder / "feed1.csv")
    assert second.accepted == 3


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    from fintel import config

    (tmp_path / "fintel.toml").write_text("base_curency = 'USD'\n")
    with pytest.raises(ConfigError) as caught:
        config.load(start=tmp_path, env={})
    assert "base_curency" in str(caught.value) and caught.value.hint == "did you mean 'base_currency'?"
