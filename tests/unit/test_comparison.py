"""Champion beside challenger: hand-made queues with known answers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fintel.errors import ModelError
from fintel.models.comparison import Comparison, compare

N, BUDGET = 400, 40


def population(seed: int = 3) -> pl.DataFrame:
    """Every tenth account is suspicious; a third of all are of group 'B'."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "account_id": [f"a{i:03d}" for i in range(N)],
            "label": [float(i % 10 == 0) for i in range(N)],
            "group": list(range(N)),
            "age band": ["25-34"] * N,
            "country": ["B" if i % 3 == 0 else "A" for i in range(N)],
            "customer kind": ["person"] * (N - 5) + ["organisation"] * 5,
            "rules": rng.normal(size=N),
        }
    )


def judge(judged: pl.DataFrame, champion: str | pl.Expr, challenger: str | pl.Expr, seed: int = 7) -> Comparison:
    judged = judged.with_columns(
        champion=champion if isinstance(champion, pl.Expr) else pl.col(champion),
        challenger=challenger if isinstance(challenger, pl.Expr) else pl.col(challenger),
    )
    ids = {"champion": "c" * 16, "challenger": "d" * 16}
    return compare(judged, ids, way="later", budget=BUDGET, seed=seed)


def test_perfect_beside_chance() -> None:
    judged = population()
    found = judge(judged, "rules", "label")
    assert {n: e.value for n, e in found.challenger.measures.items()} == pytest.approx(
        {"average precision": 1.0, "precision at budget": 1.0, "recall at budget": 1.0}
    )
    assert set(found.better) == set(found.differences) and not found.worse
    mirrored = judge(judged, "label", "rules")
    assert set(mirrored.worse) == set(found.better) and not mirrored.better
    for name, e in found.differences.items():
        assert mirrored.differences[name].value == pytest.approx(-e.value)
        assert e.value == pytest.approx(found.challenger.measures[name].value - found.champion.measures[name].value)


def test_a_ranking_beside_itself_differs_by_nothing() -> None:
    found = judge(population(), "rules", "rules")
    assert all((e.low, e.value, e.high) == (0.0, 0.0, 0.0) for e in found.differences.values())
    assert not found.better and not found.worse and not found.harms


def test_pairs_narrow_the_interval() -> None:
    noise = pl.Series(np.random.default_rng(1).normal(size=N))
    shared = pl.col("label") * 1.5 + noise
    found = judge(population(), shared, shared + pl.Series(np.random.default_rng(2).normal(0, 0.1, N)))
    paired = found.differences["average precision"]
    alone = found.challenger.measures["average precision"]
    assert paired.high - paired.low < (alone.high - alone.low) / 2


def test_the_order_of_rows_changes_nothing() -> None:
    judged = population().with_columns(champion="rules", challenger=pl.col("label") + pl.col("rules") / 3)
    ids = {"champion": None, "challenger": "d" * 16}
    one = compare(judged, ids, way="again", budget=BUDGET, seed=7)
    # bootstrap draws follow groups, so only sums in another order may differ
    other = compare(judged.sample(fraction=1.0, shuffle=True, seed=5), ids, way="again", budget=BUDGET, seed=7)
    for name, e in one.differences.items():
        assert other.differences[name].model_dump() == pytest.approx(e.model_dump(), abs=1e-12)
    assert [g.model_dump(exclude={"false_alerts", "recall"}) for g in one.subgroups] == [
        g.model_dump(exclude={"false_alerts", "recall"}) for g in other.subgroups
    ]


def test_a_group_that_is_alerted_wrongly_is_harmed() -> None:
    judged = population()
    fair = pl.col("rules") - 10 * pl.col("label")
    against_b = (
        pl.when((pl.col("country") == "B") & (pl.col("label") == 0)).then(pl.col("rules") + 9).otherwise("rules")
    )
    found = judge(judged, fair, against_b)
    assert len(found.harms) == 1 and found.harms[0].startswith("country B: +")
    assert not judge(judged, against_b, fair).harms
    assert not judge(judged, against_b, against_b).harms


def test_a_group_whose_suspicious_accounts_are_lost_is_harmed() -> None:
    lost = pl.when(pl.col("country") == "B").then(-5.0).otherwise("label")
    found = judge(population(), "label", lost)
    assert any(h.startswith("country B: -") and "found" in h for h in found.harms)


def test_small_groups_are_not_told() -> None:
    found = judge(population(), "rules", "label")
    assert {(g.attribute, g.group) for g in found.subgroups} == {
        ("age band", "25-34"), ("country", "A"), ("country", "B"), ("customer kind", "person"),
    }  # fmt: skip
    assert found.suppressed == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (pl.lit(0.0).alias("label"), "no suspicious account"),
        (pl.lit(1.0).alias("label"), "every account"),
        (pl.lit(float("nan")).alias("rules"), "no number"),
    ],
)
def test_what_cannot_be_judged_is_refused(change: pl.Expr, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        judge(population().with_columns(change), "rules", "rules")
