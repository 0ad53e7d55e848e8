"""The synthetic population: canonical tables, equal bytes, honest labels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fintel.domain.schema import CANONICAL, PROVENANCE, TABLES
from fintel.errors import ConfigError
from fintel.feeds.synthetic import Summary, generate
from fintel.feeds.synthetic.planting import plant
from fintel.feeds.synthetic.register import FAMILIES, Register
from fintel.feeds.synthetic.routine import Routine
from fintel.feeds.synthetic.tables import LEFT_OUT, Tables
from fintel.feeds.synthetic.world import World
from fintel.frames import POLARS

START, DAYS = date(2025, 1, 1), 90
WRITTEN = ("transactions", "accounts", "parties", "identifiers", "labels", "rates")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return generate(tmp_path_factory.mktemp("population"), accounts=1200, days=DAYS, seed=3, start=START)


def read(made: Summary, name: str) -> pl.DataFrame:
    return pl.read_parquet(made.folder / f"{name}.parquet")


def test_tables_are_canonical(made: Summary) -> None:
    absent = {c.name for c in PROVENANCE} | {"amount_base"} | LEFT_OUT
    assert {t.name for t in CANONICAL} - {"intel"} == set(WRITTEN)
    for name in WRITTEN:
        frame, table = read(made, name), TABLES[name]
        columns = [c for c in table.columns if c.name not in absent]
        assert frame.columns == [c.name for c in columns]
        assert frame.height == made.rows[name] > 0
        for column in columns:
            values = frame[column.name]
            assert values.dtype == POLARS[column.type], (name, column.name)
            if column.required:
                assert values.null_count() == 0, (name, column.name)
            if column.values:
                assert set(values.drop_nulls().unique()) <= set(column.values), (name, column.name)
        assert frame.select(table.key).is_duplicated().sum() == 0, name


def test_payments_make_sense(made: Summary) -> None:
    t = read(made, "transactions")
    assert t["amount"].min() > 0
    assert t["booked_at"].is_sorted()
    begin = datetime(START.year, START.month, START.day, tzinfo=UTC)
    assert t["booked_at"].min() >= begin - timedelta(hours=12)
    assert t["booked_at"].max() <= begin + timedelta(days=DAYS + 3)
    cash = t.filter(pl.col("instrument") == "cash")
    assert cash.select((pl.col("debtor_account_id").is_null() != pl.col("creditor_account_id").is_null()).all()).item()
    assert cash["place_id"].null_count() == 0
    assert t.filter(pl.col("debtor_account_id") == pl.col("creditor_account_id")).is_empty()
    bought = t.filter(pl.col("instrument").is_in(["card", "prepaid"]))
    assert bought["merchant_category_code"].str.contains(r"^\d{4}$").all()
    rated = set(read(made, "rates").filter(pl.col("date") == START)["currency"])
    assert set(t["currency"]) <= rated
    # Missing as in real feeds: some, never all.
    for name in (
        "local_offset_minutes",
        "remittance_information",
        "debtor_name",
        "creditor_country",
        "device_id",
        "ip_address",
    ):
        assert 0.02 < t[name].is_null().mean() < 0.98, name


def test_returns_undo_a_payment(made: Summary) -> None:
    t = read(made, "transactions")
    back = t.filter(pl.col("reversal_of").is_not_null())
    assert back.height > 20
    assert set(back["status"]) == {"reversal"}
    both = back.join(t, left_on="reversal_of", right_on="transaction_id", suffix="_first")
    assert both.height == back.height
    assert set(both["status_first"]) == {"returned"}
    assert both.select((pl.col("amount") == pl.col("amount_first")).all()).item()
    assert both.select((pl.col("booked_at") > pl.col("booked_at_first")).all()).item()
    assert both.select(pl.col("debtor_account_id").eq_missing(pl.col("creditor_account_id_first")).all()).item()
    assert both.select(pl.col("creditor_account_id").eq_missing(pl.col("debtor_account_id_first")).all()).item()


def test_ibans_have_right_check_digits(made: Summary) -> None:
    ids = read(made, "accounts")["account_id"].to_list()
    ibans = [i for i in ids if "|" not in i]
    assert len(ibans) > 50
    for iban in ibans:
        digits = "".join(str(int(c, 36)) for c in iban[4:] + iban[:4])
        assert int(digits) % 97 == 1, iban


def test_labels_are_rare_late_and_refer_to_rows(made: Summary) -> None:
    labels, accounts, t = read(made, "labels"), read(made, "accounts"), read(made, "transactions")
    known = {"transaction": set(t["transaction_id"]), "party": None, "account": None}
    assert set(labels.filter(pl.col("subject_type") == "transaction")["subject_id"]) <= known["transaction"]
    bad = labels.filter("suspicious")
    assert set(bad["typology"]) == set(FAMILIES)
    assert set(bad["subject_type"]) == {"transaction", "account", "party"}
    share = bad.filter(pl.col("subject_type") == "account")["subject_id"].n_unique() / accounts.height
    assert 0.001 <= share <= 0.01
    paid = bad.filter(pl.col("subject_type") == "transaction").join(t, left_on="subject_id", right_on="transaction_id")
    delay = paid.group_by("scheme_id").agg(wait=pl.col("known_at").max() - pl.col("booked_at").max())["wait"]
    assert delay.min() >= timedelta(days=20)
    # One payment in twelve is not found, so a scheme may seem to end earlier than it did.
    assert delay.quantile(0.5) <= timedelta(days=91)
    victims = labels.filter(~pl.col("suspicious") & pl.col("scheme_id").is_not_null())
    assert victims.height > 0
    assert not set(victims["subject_id"]) & set(bad["subject_id"])
    assert labels.filter(pl.col("label_source") == "review")["suspicious"].any() is False


def test_summary_and_manifest_agree(made: Summary) -> None:
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest["rows"] == made.rows
    assert manifest["sha256"] == made.sha256
    assert manifest["arguments"]["seed"] == 3
    assert made.payments == made.rows["transactions"]
    labels = read(made, "labels").filter(pl.col("suspicious") & (pl.col("subject_type") == "account"))
    for family in FAMILIES:
        assert made.schemes[family] >= 1
        assert made.lookalikes[family] >= 20
        assert made.labelled[family]["accounts"] == labels.filter(pl.col("typology") == family).height


def test_without_schemes_there_is_daily_life_and_look_alikes_alone(tmp_path: Path) -> None:
    without = generate(tmp_path / "without", accounts=300, days=40, seed=3, schemes="left out")
    planted = generate(tmp_path / "planted", accounts=300, days=40, seed=3)
    labels = pl.read_parquet(tmp_path / "without" / "labels.parquet")
    assert labels.height and not labels["suspicious"].any() and labels["scheme_id"].is_null().all()
    assert set(without.schemes.values()) == {0} and sum(without.lookalikes.values()) == labels.height
    assert without.payments > 0.9 * planted.payments
    manifest = json.loads((tmp_path / "planted" / "manifest.json").read_text())
    assert "schemes" not in manifest["arguments"], "arguments of ordinary populations are what they were"


def test_same_seed_same_bytes_on_any_number_of_threads(made: Summary, tmp_path: Path) -> None:
    code = (
        "import sys; from datetime import date; from pathlib import Path; from fintel.feeds.synthetic import generate; "
        f"generate(Path(sys.argv[1]), accounts=1200, days={DAYS}, seed=3, start=date(2025, 1, 1))"
    )
    env = os.environ | {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=env, timeout=300)
    files = sorted(p.name for p in tmp_path.iterdir())
    assert files == sorted([*made.sha256, "manifest.json"])
    for name in files:
        assert (tmp_path / name).read_bytes() == (made.folder / name).read_bytes(), name


def test_another_seed_is_another_population(made: Summary, tmp_path: Path) -> None:
    other = generate(tmp_path, accounts=1200, days=DAYS, seed=4, start=START)
    assert all(other.sha256[name] != digest for name, digest in made.sha256.items())
    mine = set(read(made, "accounts")["account_id"])
    assert len(mine & set(read(other, "accounts")["account_id"])) < len(mine) / 100


def test_chunks_are_the_population_in_order_of_time(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = generate(
        tmp_path, accounts=300, days=40, seed=5, chunk_rows=1000, progress=lambda done, of: seen.append((done, of))
    )
    names = sorted(n for n in made.sha256 if n.startswith("transactions"))
    assert names[0] == "transactions-0001.parquet"
    assert len(names) >= 4
    parts = [pl.read_parquet(tmp_path / n) for n in names]
    whole = pl.concat(parts)
    assert whole["booked_at"].is_sorted()
    assert whole["transaction_id"].n_unique() == whole.height == made.payments
    assert seen[-1] == (40, 40)
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    again = generate(tmp_path, accounts=300, days=40, seed=5)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*again.sha256, "manifest.json"])
    # Each account's everyday life is drawn anew in other chunks, schemes are the same.
    assert again.schemes == made.schemes
    assert abs(again.payments - made.payments) < 0.1 * made.payments


def test_csv_says_the_same_as_parquet(tmp_path: Path) -> None:
    one = generate(tmp_path / "p", accounts=250, days=30, seed=6)
    two = generate(tmp_path / "c", accounts=250, days=30, seed=6, format="csv")
    assert one.rows == two.rows
    for name in WRITTEN:
        frame = pl.read_parquet(tmp_path / "p" / f"{name}.parquet")
        text = pl.read_csv(tmp_path / "c" / f"{name}.csv", infer_schema=False)
        assert text.columns == frame.columns
        times = [c for c, kind in frame.schema.items() if kind == pl.Datetime("us", "UTC")]
        plain = frame.with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%SZ")).with_columns(
            pl.all().cast(pl.String)
        )
        assert plain.equals(text), name


def test_rates_are_into_the_base_currency(tmp_path: Path) -> None:
    made = generate(tmp_path, accounts=200, days=30, seed=6, base_currency="CAD")
    rates = read(made, "rates")
    assert set(rates["base"]) == {"CAD"}
    assert set(rates.filter(pl.col("currency") == "CAD")["rate"].cast(pl.Float64)) == {1.0}
    first = rates.filter(pl.col("date") == START)
    usd = first.filter(pl.col("currency") == "USD")["rate"].cast(pl.Float64).item()
    assert 1.2 < usd < 1.6
    assert rates.filter(pl.col("currency") == "USD")["rate"].n_unique() > 20


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Register, Summary]:
    """What is planted in a population, by kind of scheme, beside the tables that are written."""
    accounts, days, seed = 4000, 120, 8
    made = generate(tmp_path_factory.mktemp("planted"), accounts=accounts, days=days, seed=seed, start=START)
    world, register = World(seed, accounts, START, days), Register()
    plant(world, Routine(world, seed), register, seed)
    return register, made


def members(planted: tuple[Register, Summary], kind: str) -> list[str]:
    register, made = planted
    scheme, account = register.pairs("members")
    wanted = [a for s, a in zip(scheme, account, strict=True) if register.kind[s] == kind]
    world = World(8, 4000, START, 120)
    return Tables(world, 8).account_ids.gather(wanted).to_list()


def test_every_payment_has_a_rate(tmp_path: Path) -> None:
    made = generate(tmp_path, accounts=400, days=40, seed=9)
    t, rates = read(made, "transactions"), read(made, "rates")
    assert rates["date"].min() <= t["booked_at"].dt.date().min() - timedelta(days=3)
    paid = t.select("currency", date=pl.col("booked_at").dt.date())
    assert paid.join(rates, on=["date", "currency"], how="anti").is_empty()


def test_tills_say_where_they_stand(made: Summary) -> None:
    t = read(made, "transactions").filter(pl.col("channel") == "card_present")
    assert 0.1 < t["place_city"].is_null().mean() < 0.2
    said = t.filter(pl.col("place_city").is_not_null())
    assert said.select((pl.col("place_country") == pl.col("merchant_country")).all()).item()
    assert said.select(pl.col("merchant_name").str.ends_with(pl.col("place_city").str.to_uppercase()).all()).item()
    remote = read(made, "transactions").filter(pl.col("channel") == "card_not_present")
    assert remote["place_city"].null_count() == remote.height > 0


def test_nobody_pays_before_the_account_is_open(planted: tuple[Register, Summary]) -> None:
    _, made = planted
    t = read(made, "transactions")
    opened = read(made, "accounts").filter(pl.col("opened_on") > START).select("account_id", "opened_on")
    assert opened.height > 50
    for side in ("debtor", "creditor"):
        both = t.join(opened, left_on=f"{side}_account_id", right_on="account_id")
        assert both.height > 0
        assert both.select((pl.col("booked_at").dt.date() >= pl.col("opened_on")).all()).item()


def test_structured_cash_stays_below_the_line_of_its_currency(planted: tuple[Register, Summary]) -> None:
    """Parts of one day at several places, each below the published line, together above it."""
    line = {"USD": 10_000, "CAD": 10_000, "AUD": 10_000, "PHP": 500_000}
    t = read(planted[1], "transactions").filter(
        (pl.col("instrument") == "cash") & pl.col("creditor_account_id").is_in(members(planted, "structuring"))
    )
    t = t.with_columns(share=pl.col("amount").cast(pl.Float64) / pl.col("currency").replace_strict(line))
    t = t.filter((pl.col("share") > 0.7) & (pl.col("status") == "booked"))
    assert t["share"].max() < 1.0
    day = t.group_by("creditor_account_id", pl.col("booked_at").dt.date()).agg(
        pl.len(), pl.col("place_id").n_unique(), pl.col("share").sum()
    )
    whole = day.filter(pl.col("len") >= 3)
    assert whole.height >= 1
    assert whole["place_id"].min() >= 2
    assert whole["share"].min() > 1.5


def test_only_victims_pay_taxes_and_penalties_to_an_exchange(planted: tuple[Register, Summary]) -> None:
    made = planted[1]
    t = read(made, "transactions").filter((pl.col("channel") == "vasp") & (pl.col("status") == "booked"))
    text = t["remittance_information"].str.to_lowercase()
    release = t.filter(
        text.str.contains(r"unlock penalty|release fee|withdrawal fee|taxes|tax payment").fill_null(False)
    )
    labels = read(made, "labels").filter(pl.col("subject_type") == "account")
    harmed = labels.filter(pl.col("scheme_id").is_not_null())["subject_id"]
    lawful = labels.filter(pl.col("label_source") == "review")["subject_id"]
    assert release.height >= 2
    assert release["debtor_account_id"].is_in(harmed.implode()).all()
    assert t.filter(pl.col("debtor_account_id").is_in(lawful.implode())).height > 100


def test_wages_go_on_to_somebody_common_to_several_workers(planted: tuple[Register, Summary]) -> None:
    made = planted[1]
    labels = read(made, "labels").filter(
        (pl.col("typology") == "HT-LABOUR") & (pl.col("subject_type") == "account") & pl.col("scheme_id").is_not_null()
    )
    t = read(made, "transactions").filter(pl.col("status") == "booked")
    worker = labels.filter(~pl.col("suspicious")).select("scheme_id", worker="subject_id")
    chief = labels.filter("suspicious").select("scheme_id", chief="subject_id")
    paid = t.join(
        worker.join(chief, on="scheme_id"),
        left_on=["debtor_account_id", "creditor_account_id"],
        right_on=["worker", "chief"],
    )
    wage = t.join(worker, left_on="creditor_account_id", right_on="worker").select(
        "scheme_id", worker="creditor_account_id", at="booked_at"
    )
    soon = paid.select("scheme_id", worker="debtor_account_id", on="booked_at").join(wage, on=["scheme_id", "worker"])
    soon = soon.filter((pl.col("on") - pl.col("at")).is_between(timedelta(0), timedelta(hours=48)))
    cycles = soon.group_by("scheme_id", "worker").agg(n=pl.col("on").n_unique()).filter(pl.col("n") >= 2)
    assert cycles.group_by("scheme_id").len().filter(pl.col("len") >= 3).height >= 1


def test_lodging_and_cash_of_operators_are_in_the_same_towns(planted: tuple[Register, Summary]) -> None:
    made = planted[1]
    labels = read(made, "labels").filter((pl.col("typology") == "HT-SEX") & (pl.col("subject_type") == "account"))
    t = read(made, "transactions")
    stays = t.filter(pl.col("merchant_category_code") == "7011").select(
        "place_city", "booked_at", who="debtor_account_id"
    )
    cash = t.filter((pl.col("instrument") == "cash") & pl.col("creditor_account_id").is_not_null())
    cash = cash.select("place_city", cash_at="booked_at", who="creditor_account_id")
    both = stays.join(cash, on=["who", "place_city"]).filter(
        (pl.col("cash_at") - pl.col("booked_at")).abs() < timedelta(days=3)
    )
    towns = both.group_by("who").agg(pl.col("place_city").n_unique())
    operators = labels.filter("suspicious")["subject_id"].implode()
    on_the_road = towns.filter(pl.col("who").is_in(operators) & (pl.col("place_city") >= 2))
    assert on_the_road.height >= 1


@pytest.mark.parametrize(
    "wrong",
    [{"accounts": 10}, {"days": 5}, {"base_currency": "XXX"}, {"format": "xlsx"}, {"chunk_rows": 0}],
    ids=lambda w: next(iter(w)),
)
def test_wrong_arguments_write_nothing(tmp_path: Path, wrong: dict) -> None:
    folder = tmp_path / "none"
    with pytest.raises(ConfigError):
        generate(folder, **({"accounts": 300, "days": 30, "seed": 1} | wrong))
    assert not folder.exists()


def test_the_shipped_set_is_what_its_manifest_says(root: Path, tmp_path: Path) -> None:
    shipped = root / "data" / "synthetic"
    manifest = json.loads((shipped / "manifest.json").read_text())
    a = manifest["arguments"]
    made = generate(
        tmp_path,
        accounts=a["accounts"],
        days=a["days"],
        seed=a["seed"],
        start=date.fromisoformat(a["start"]),
        base_currency=a["base_currency"],
        format=a["format"],
        chunk_rows=a["chunk_rows"],
    )
    assert made.rows == manifest["rows"]
    assert all(manifest["schemes"][f] >= 1 and manifest["labelled"][f]["accounts"] >= 1 for f in FAMILIES)
    assert sum((shipped / n).stat().st_size for n in made.sha256) < 5_000_000
    if manifest["made_with"] == {"polars": pl.__version__, "numpy": __import__("numpy").__version__}:
        for name in made.sha256:
            assert (tmp_path / name).read_bytes() == (shipped / name).read_bytes(), name
    for name in made.sha256:
        assert pl.read_parquet(tmp_path / name).equals(pl.read_parquet(shipped / name)), name
