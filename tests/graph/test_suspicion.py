"""Money from seeds: plain Python is the oracle of the split, and its bits add up in the ranking."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from graph_cases import NOW, START, network, payments, transactions
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fintel.domain.schema import ACCOUNTS, EPISODES, LABELS
from fintel.frames import empty, fit
from fintel.graph.risk import PASSING
from fintel.graph.seeds import seeds
from fintel.graph.suspicion import CAP, LEAST, GraphRisk, bits, graph_risk, of_tables
from fintel.graph.tainted import HOPS, tainted
from fintel.models.learned import Learned
from fintel.ranking import Ranking, rank

GRAIN = 2**20
weighted = st.dictionaries(
    st.integers(0, 7).map(lambda i: f"a{i}"), st.floats(0.05, 1, allow_nan=False), min_size=1, max_size=4
)


def given_seeds(weights: dict[str, float], kinds: tuple[str, ...] = ("label", "intel", "rule")) -> pl.DataFrame:
    rows = [(a, float(w), kinds[i % len(kinds)]) for i, (a, w) in enumerate(weights.items())]
    return pl.DataFrame(rows, schema={"account_id": pl.String, "weight": pl.Float64, "origin": pl.String}, orient="row")


def by_hand(rows: list[Any], weights: dict[str, float]) -> dict[str, dict[str, tuple[float, float]]]:
    """Share and weighted share by account and seed, one payment after the other, seeds of the account itself left out."""
    received: dict[str, float] = defaultdict(float)
    came: dict[str, dict[tuple[str, int], float]] = defaultdict(lambda: defaultdict(float))
    for moment in sorted({h for *_, h, _ in rows}):
        landing = []
        for payer, payee, _, cents in (r for r in rows if r[2] == moment and r[0] != r[1]):
            if payer in weights:
                carried = {(payer, 1): 1.0}
            else:
                part = received[payer] or 1.0
                carried = {(s, n + 1): money / part for (s, n), money in came[payer].items() if n < HOPS}
            landing.append((payee, cents, carried))
        for payee, cents, carried in landing:
            received[payee] += cents
            for key, share in carried.items():
                came[payee][key] += cents * share
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for account, parts in came.items():
        mine: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        for (seed, hops), money in parts.items():
            if seed != account:
                raw, discounted = mine[seed]
                share = money / received[account]
                mine[seed] = (raw + share, discounted + share * weights[seed] * PASSING ** (hops - 1))
        found[account] = dict(mine)
    return found


@given(payments(unknown=False), weighted)
@settings(max_examples=150, deadline=None)
def test_split_equals_plain_python(rows: list[Any], weights: dict[str, float]) -> None:
    net = network(transactions(rows))
    found = tainted(net, given_seeds(weights), as_of=NOW, days=90)
    split, paths = found.told(net.nodes.to_list())
    wanted = {(a, s): v for a, parts in by_hand(rows, weights).items() for s, v in parts.items() if v[0] > 0}
    got = {(r["account_id"], r["seed_id"]): (r["share"], r["weighted"]) for r in split.iter_rows(named=True)}
    assert got.keys() == wanted.keys()
    for key, values in wanted.items():
        assert got[key] == pytest.approx(values, abs=1e-12)
    ids = transactions(rows)["transaction_id"]
    for account, chain in paths.iter_rows():
        steps = [rows[int(ids[i][2:])] for i in chain]
        assert bool(steps) == any(a == account for a, _ in wanted)
        assert len(steps) <= HOPS
        if steps:
            assert steps[0][0] in weights and steps[0][0] != account and steps[-1][1] == account
            assert all(a[1] == b[0] and a[2] < b[2] for a, b in zip(steps, steps[1:], strict=False))


def risk_of(rows: list[Any], known: pl.DataFrame, as_of: datetime = NOW, **more: Any) -> GraphRisk:
    table = transactions(rows)
    return graph_risk(network(table, as_of), table.lazy(), known, as_of=as_of, **more)


def episodes(ids: list[str]) -> pl.DataFrame:
    return fit(
        pl.DataFrame(
            {
                "run_id": "r", "episode_id": [f"e{i}" for i in range(len(ids))], "rule_id": "x/y", "account_id": ids,
                "partition": "", "typology": "OSEC", "level": "medium", "started_at": START, "ended_at": START,
                "peak_at": START, "peak_entry_id": "t/in", "hits": 1, "strength": 0.3, "share": 0.3, "reason": "said",
            },
            schema_overrides={"account_id": pl.String, "episode_id": pl.String},
        ),
        EPISODES,
    )  # fmt: skip


def ranked(risk: GraphRisk | None, hit: list[str], learned: Learned | None = None) -> Ranking:
    return rank(episodes(hit), empty(ACCOUNTS), run_id="r", prior=0.001, risk=risk, learned=learned)


@given(payments(), weighted, st.lists(st.integers(0, 7).map(lambda i: f"a{i}"), max_size=4, unique=True))
@settings(max_examples=80, deadline=None)
def test_reasons_add_up(rows: list[Any], weights: dict[str, float], hit: list[str]) -> None:
    risk = risk_of(rows, given_seeds(weights))
    sums = risk.split.group_by("account_id", "seed_kind").agg(pl.sum("share", "weighted"))
    both = risk.reasons.join(sums, on=["account_id", "seed_kind"], suffix="_split")
    assert both.height == risk.reasons.height
    assert (both["weighted"] - both["weighted_split"]).abs().max() in (None, pytest.approx(0, abs=1e-12))
    assert risk.split.filter(pl.col("account_id") == pl.col("seed_id")).is_empty()
    made = ranked(risk, hit)
    for alert in made.alerts.iter_rows(named=True):
        mine = made.reasons.filter(pl.col("account_id") == alert["account_id"])
        assert alert["prior"] + mine["bits"].sum() == alert["score"]
    assert all(float(b) * GRAIN == round(float(b) * GRAIN) for b in made.reasons["bits"])
    told = made.reasons.filter(pl.col("origin") == "graph")
    assert told.height == risk.reasons.height and (told["bits"].is_between(0, CAP)).all()
    # A weight of nothing takes the graph out; a rule's own bits are then what they are without it.
    nothing = Learned(0.0, pl.DataFrame(schema={"account_id": pl.String, "name": pl.String, "bits": pl.Float64, "text": pl.String}), 1.0, 0.0)  # fmt: skip
    by_rule = ranked(risk, hit, nothing).reasons.filter(pl.col("origin") == "rule").drop("reason")
    assert_frame_equal(by_rule, ranked(None, hit).reasons.drop("reason"), check_row_order=False)


@given(payments(unknown=False), weighted, st.integers(0, 7), st.integers(1, 100_000))
@settings(max_examples=100, deadline=None)
def test_more_money_from_seeds_is_never_fewer_bits(
    rows: list[Any], weights: dict[str, float], to: int, cents: int
) -> None:
    """One more payment, from somebody clean or from a seed, with the same amount, at the end."""
    known = given_seeds({**weights, "thief": 1.0}, ("label",))
    always = [("thief", "buyer", 0, 100), ("clean", "buyer", 0, 100)]

    def worth(payer: str) -> float:
        found = risk_of([*rows, *always, (payer, f"a{to}", 24 * 51, cents)], known)
        return float(found.reasons.filter(pl.col("account_id") == f"a{to}")["bits"].sum())

    assert worth("thief") >= worth("clean")


def test_bits_grow_with_share_and_with_money() -> None:
    frame = pl.DataFrame({"w": [LEAST, LEAST, 0.2, 1.0, 1.0], "m": [1.0, 2.0, 2.0, 2.0, 3.0]})
    told = frame.select(bits(pl.col("w"), pl.col("m"), 2.0)).to_series()
    assert told.is_sorted() and told.n_unique() == 5 and 0 < told[0] and told[-1] < CAP


@given(payments(), weighted, st.randoms())
@settings(max_examples=60, deadline=None)
def test_names_and_order_of_rows_are_nothing(rows: list[Any], weights: dict[str, float], random: Any) -> None:
    new = {f"a{i}": f"b{j}" for i, j in enumerate(random.sample(range(8), 8))}
    renamed = [(new[u], new[v], h, c) for u, v, h, c in rows]
    random.shuffle(renamed)
    plain = risk_of(rows, given_seeds(weights)).reasons
    other = risk_of(renamed, given_seeds({new[a]: w for a, w in weights.items()})).reasons
    columns = ["account_id", "seed_kind", "seeds", "share", "weighted", "bits"]
    wanted = plain.with_columns(pl.col("account_id").replace(new)).select(columns).sort("account_id", "seed_kind")
    assert_frame_equal(other.select(columns), wanted, abs_tol=1e-9)


def labelled(rows: list[tuple[str, str, bool, int]]) -> pl.LazyFrame:
    table = pl.DataFrame(
        {
            "subject_type": [r[0] for r in rows],
            "subject_id": [r[1] for r in rows],
            "suspicious": [r[2] for r in rows],
            "label_source": "desk",
            "known_at": [START + timedelta(days=r[3]) for r in rows],
        }
    )
    return fit(table, LABELS).lazy()


def test_what_is_known_later_changes_nothing() -> None:
    as_of = START + timedelta(days=10)
    rows = [("thief", "mule", 1, 900), ("clean", "mule", 2, 100), ("mule", "boss", 3, 500), ("thief", "x", 24 * 11, 5)]
    early, late = [("account", "thief", True, 2)], [("account", "clean", True, 11), ("account", "thief", False, 12)]
    tables = {"transactions": transactions(rows).lazy()}
    before = of_tables({"transactions": transactions(rows[:3]).lazy(), "labels": labelled(early)}, as_of)
    after = of_tables({**tables, "labels": labelled([*early, *late])}, as_of)
    assert_frame_equal(before.reasons, after.reasons)
    assert dict(after.reasons.select("account_id", "share").iter_rows()) == pytest.approx({"mule": 0.9, "boss": 0.9})
    boss = after.reasons.filter(pl.col("account_id") == "boss").row(0, named=True)
    assert boss["path"] == ["t:00000", "t:00002"]
    assert (
        "90.0% of the money" in boss["text"] and "thief (90.0%); path of 2 payments: t:00000 > t:00002" in boss["text"]
    )
    assert boss["weighted"] == pytest.approx(0.9 * PASSING)
    assert after.evidence.filter(pl.col("episode_id") == boss["path_id"])["transaction_id"].to_list() == boss["path"]
    # Seeds known before the period that a model is judged on.
    assert of_tables(tables | {"labels": labelled(early)}, as_of, known_by=START + timedelta(days=1)).reasons.is_empty()


def test_victims_cleared_accounts_and_the_same_holder_are_no_seeds() -> None:
    rows = [("victim", "shop", 1, 100), ("hit", "shop", 1, 100), ("mine", "shop", 2, 100), ("shop", "hit", 3, 50)]
    named = [("account", "victim", False, 0), ("party", "P", True, 0)]
    accounts = fit(pl.DataFrame({"account_id": ["mine", "shop"], "party_id": ["P", "P"]}), ACCOUNTS)
    tables = {"transactions": transactions(rows).lazy(), "labels": labelled(named), "accounts": accounts.lazy()}
    hits = episodes(["victim", "hit"]).with_columns(level=pl.lit("high"))
    assert set(seeds(tables, NOW, hits)["account_id"]) == {"hit", "mine", "shop"}
    found = of_tables(tables, NOW, episodes=hits)
    # The shop's holder is labelled, so money of the holder's other account is no reason; that of the hit one is.
    told = found.split.select("account_id", "seed_id").rows()
    assert ("shop", "hit") in told and ("hit", "shop") in told and len(told) == 2
