"""General laundering patterns (FINTRAC 18/19-SIDEL-025; FinCEN FIN-2014-A005, FIN-2025-NTC1), beside cash
businesses, event and community funds, property buyers, returning students, affiliates' treasuries."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.flows import cash_in, ring, rounds, through
from fintel.feeds.synthetic.geography import Ints
from fintel.feeds.synthetic.stage import SENDING, Stage, nobody
from fintel.feeds.synthetic.world import Bools


def plant(s: Stage) -> None:
    """Nine kinds, one after the other, so that a small population has most of them."""
    kinds = (_structuring, _smurfing, _funnel, _pass_through, _fan, _cycle, _dormant, _scatter, _round)
    total = s.number(0.0028, 5)
    for k, kind in enumerate(kinds):
        n = total // len(kinds) + (k < total % len(kinds))
        if n:
            kind(s, n)


def _open(s: Stage, kind: str, pool: Bools, n: int) -> tuple[Ints, Ints]:
    who = s.w.take(s.rng, pool, n)
    schemes = s.register.open("ML-GENERAL", kind, len(who))
    s.register.members(schemes, who)
    s.quieten(who, 0.05, 1.0)
    return schemes, who


def _anyone(s: Stage) -> Bools:
    return s.people(ages=(18, 80)) | s.w.own(organisation=True, countries=SENDING)


def _structuring(s: Stage, n: int) -> None:
    schemes, who = _open(s, "structuring", _anyone(s), n)
    cash_in(
        s,
        who,
        schemes,
        usd=7200,
        spread=0.35,
        cap=9950,
        sites=(2, 3, 4),
        cities=(1, 2),
        count=8,
        share=(0.8, 1.0),
        delay=(4, 72),
    )


def _smurfing(s: Stage, n: int) -> None:
    schemes, who = _open(s, "smurfing", _anyone(s), n)
    helpers = s.circle(s.people() | s.w.elsewhere(SENDING), len(who), 5)
    cash_in(
        s,
        who,
        schemes,
        usd=2600,
        spread=0.6,
        cap=9900,
        sites=(3, 4),
        cities=(1, 2),
        count=12,
        share=(0.8, 1.0),
        delay=(4, 60),
        helpers=helpers,
    )


def _funnel(s: Stage, n: int) -> None:
    schemes, who = _open(s, "funnel", _anyone(s), n)
    cash_in(
        s,
        who,
        schemes,
        usd=2100,
        spread=0.6,
        cap=9900,
        sites=(2, 3),
        cities=(3, 4),
        count=11,
        share=(0.85, 1.0),
        delay=(3, 40),
        cash=0.6,
    )


def _pass_through(s: Stage, n: int) -> None:
    schemes, who = _open(s, "pass-through", _anyone(s), n)
    through(s, who, schemes, many=(1, 2, 3), usd=3900, times=4, share=(0.9, 1.0), delay=(2, 44), batch=(1, 1, 2))


def _fan(s: Stage, n: int) -> None:
    schemes, who = _open(s, "fan-in", _anyone(s), n)
    through(s, who, schemes, many=(8, 11, 15), usd=1200, times=2, share=(0.85, 1.0), delay=(4, 60), batch=(4, 6, 8))


def _dormant(s: Stage, n: int) -> None:
    schemes, who = _open(s, "dormant burst", _anyone(s), n)
    s.quieten(who, 0.0, 0.03)
    s.routine.waged[who[who < s.w.n_persons]] = False
    through(
        s,
        who,
        schemes,
        many=(3, 5, 8),
        usd=2500,
        times=3,
        share=(0.85, 1.0),
        delay=(2, 40),
        batch=(1, 2, 3),
        span=(5, 16),
    )


def _groups(s: Stage, kind: str, n: int, width: int) -> tuple[Ints, Ints]:
    """``n`` schemes of ``width`` accounts: two fifths own, the others at other banks or firms outside."""
    own = -(-width * 2 // 5)
    mine = s.w.take(s.rng, _anyone(s), n * own)
    n = len(mine) // own
    mine = mine[: n * own].reshape(n, own)
    others = np.where(
        s.chance(n * (width - own), 0.5),
        s.circle(s.w.elsewhere(SENDING), n * (width - own), 1)[:, 0],
        s.w.suppliers[s.rng.integers(0, len(s.w.suppliers), n * (width - own))],
    ).reshape(n, width - own)
    table = s.rng.permuted(np.hstack([mine, others]), axis=1) if n else np.zeros((0, width), dtype=np.int64)
    schemes = s.register.open("ML-GENERAL", kind, n)
    s.register.members(np.repeat(schemes, own), mine.ravel())
    s.quieten(mine.ravel(), 0.1, 1.2)
    return schemes, table


def _cycle(s: Stage, n: int) -> None:
    schemes, table = _groups(s, "cycle", n, 4)
    n = len(schemes)
    turns = s.choose(n, (2, 3, 5), (3, 4, 3)) if n else np.zeros(0, dtype=np.int64)
    row = np.repeat(np.arange(n), turns)
    first, last = s.span(n, 20, 60)
    m = len(row)
    ring(
        s,
        table[row],
        s.around(n, 6000, 0.7)[row] * s.uniform(m, 0.8, 1.2),
        first[row] + s.rng.random(m) * (last - first)[row],
        s.uniform(n, 6, 50)[row],
        0.05,
        schemes[row],
        closed=True,
        rounded=s.chance(m, 0.4).astype(float),
    )


def _scatter(s: Stage, n: int) -> None:
    """One source, several accounts between, one sink."""
    schemes, table = _groups(s, "scatter-gather", n, 6)
    n = len(schemes)
    turns = np.full(n, 2)
    row = np.repeat(np.arange(n), turns)
    first, last = s.span(n, 15, 50)
    start = first[row] + s.rng.random(len(row)) * (last - first)[row]
    for middle in range(1, 5):
        path = table[row][:, [0, middle, 5]]
        ring(
            s,
            path,
            s.around(len(row), 3200, 0.5),
            start + s.uniform(len(row), 0, 1.5),
            s.uniform(len(row), 4, 40),
            0.06,
            schemes[row],
            closed=False,
            rounded=s.chance(len(row), 0.4).astype(float),
        )


def _round(s: Stage, n: int) -> None:
    schemes, who = _open(s, "round amounts", s.w.own(organisation=True, countries=SENDING), n)
    rounds(s, who, schemes)


def mimic(s: Stage) -> None:
    """Benign cash, benign passing on, benign circles."""
    w = s.w
    orgs = w.own(organisation=True, countries=SENDING)

    def some(rate: float, pool: Bools) -> Ints:
        who = w.take(s.rng, pool, s.number(rate, 2))
        s.register.lookalikes("ML-GENERAL", who)
        s.quieten(who, 0.1, 1.3)
        return who

    # Cash businesses, some of which stay under 10,000 for their insurer's sake; several tills and towns.
    who = some(0.006, orgs)
    cash_in(
        s,
        who,
        nobody(len(who)),
        usd=7400,
        spread=0.4,
        cap=9990,
        sites=(1, 2, 3),
        cities=(1, 2),
        count=8,
        share=(0.7, 1.0),
        delay=(4, 90),
        slow=0.75,
    )
    who = some(0.007, s.people(ages=(20, 75)))
    cash_in(
        s,
        who,
        nobody(len(who)),
        usd=2300,
        spread=0.6,
        cap=9900,
        sites=(1, 2, 4),
        cities=(1, 2, 4),
        count=11,
        share=(0.6, 1.0),
        delay=(4, 80),
        slow=0.75,
        cash=0.3,
    )
    # Church and club collections: members pay cash in by name.
    who = some(0.004, _anyone(s))
    cash_in(
        s,
        who,
        nobody(len(who)),
        usd=1900,
        spread=0.7,
        cap=9900,
        sites=(2, 4),
        cities=(1, 2),
        count=12,
        share=(0.5, 1.0),
        delay=(5, 80),
        slow=0.75,
        helpers=s.circle(s.people() | w.elsewhere(SENDING), len(who), 6),
    )
    # Property and car buyers, event funds, estates: in from few or many, then out.
    who = some(0.007, _anyone(s))
    through(
        s,
        who,
        nobody(len(who)),
        many=(1, 2, 3),
        usd=4200,
        times=4,
        share=(0.75, 1.0),
        delay=(2, 60),
        batch=(1, 2, 4),
        slow=0.75,
    )
    who = some(0.006, _anyone(s))
    through(
        s,
        who,
        nobody(len(who)),
        many=(7, 10, 15),
        usd=1400,
        times=2,
        share=(0.6, 1.0),
        delay=(4, 80),
        batch=(3, 6, 10),
        slow=0.75,
        kinds={"club": 0.3, "charity": 0.2, "invoice": 0.25, "none": 0.25},
    )
    # Students and seasonal workers who come back to an account.
    who = some(0.004, s.people(ages=(18, 40)))
    s.quieten(who, 0.0, 0.05)
    s.routine.waged[who] = False
    through(
        s,
        who,
        nobody(len(who)),
        many=(2, 4, 7),
        usd=2600,
        times=3,
        share=(0.6, 1.0),
        delay=(2, 60),
        batch=(1, 2, 3),
        span=(6, 25),
        slow=0.75,
        kinds={"support": 0.3, "school": 0.2, "loan": 0.2, "none": 0.3},
    )
    # Affiliates that lend to each other, and firms that trade in round sums.
    who = some(0.006, orgs)
    n = len(who) // 2
    table = np.column_stack([who[:n], s.circle(orgs, n, 1)[:, 0], w.suppliers[s.rng.integers(0, len(w.suppliers), n)]])
    first, last = s.span(n, 30, 90)
    row = np.repeat(np.arange(n), 3)
    m = len(row)
    ring(
        s,
        table[row],
        s.around(n, 5500, 0.7)[row],
        first[row] + s.rng.random(m) * (last - first)[row],
        s.uniform(m, 10, 120),
        0.3,
        nobody(m),
        closed=True,
        rounded=s.chance(m, 0.4).astype(float),
    )
    rounds(s, who[n:], nobody(len(who) - n))
