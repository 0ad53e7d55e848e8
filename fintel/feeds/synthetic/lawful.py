"""Cash businesses, event and community funds, property buyers, heirs, returning students, parents who send
cash, affiliates' treasuries: lawful money that moves as laundered money may."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.flows import cash_in, ring, rounds, through
from fintel.feeds.synthetic.geography import Ints
from fintel.feeds.synthetic.stage import SENDING, Stage, nobody
from fintel.feeds.synthetic.waves import cash_rounds, gather_rounds
from fintel.feeds.synthetic.world import Bools


def mimic(s: Stage) -> None:
    """Benign cash, benign passing on, benign circles."""
    w = s.w
    orgs = w.own(organisation=True, countries=SENDING)
    anyone = s.people(ages=(18, 80)) | orgs

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
        cap=0.999,
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
        cap=0.99,
        sites=(1, 2, 4),
        cities=(1, 2, 4),
        count=11,
        share=(0.6, 1.0),
        delay=(4, 80),
        slow=0.75,
        cash=0.3,
    )
    # Church and club collections: members pay cash in by name.
    who = some(0.004, anyone)
    cash_in(
        s,
        who,
        nobody(len(who)),
        usd=1900,
        spread=0.7,
        cap=0.99,
        sites=(2, 4),
        cities=(1, 2),
        count=12,
        share=(0.5, 1.0),
        delay=(5, 80),
        slow=0.75,
        helpers=s.circle(s.people() | w.elsewhere(SENDING), len(who), 6),
    )
    # Property and car buyers, event funds, estates: in from few or many, then out.
    who = some(0.007, anyone)
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
    who = some(0.006, anyone)
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
    # Weddings, class trips, shared gifts: small sums of many within some weeks, then the bill.
    who = some(0.004, s.people(ages=(18, 75)))
    gather_rounds(
        s,
        who,
        nobody(len(who)),
        turns=(1, 1, 2),
        payers=(6, 9, 14),
        days=s.rng.integers(3, 20, len(who)),
        usd=110,
        recipients=(1, 2, 3),
        delay=(12, 300),
        share=(0.6, 1.0),
        kinds={"club": 0.4, "gift": 0.3, "social": 0.2, "none": 0.1},
    )
    # Heirs, sellers of a house, builders: something large comes, and several are paid out of it in time.
    who = some(0.003, anyone)
    gather_rounds(
        s,
        who,
        nobody(len(who)),
        turns=(1, 2),
        payers=(1, 2),
        days=s.rng.integers(1, 9, len(who)),
        usd=14_000,
        recipients=(1, 2, 4, 6),
        delay=(40, 500),
        share=(0.3, 0.95),
        kinds={"invoice": 0.4, "loan": 0.2, "none": 0.4},
        firms=True,
    )
    # Parents in another town who pay in cash for somebody who studies here.
    who = some(0.003, s.people(ages=(17, 35)))
    m = len(who)
    cash_rounds(
        s,
        who,
        nobody(m),
        turns=(2, 3, 4),
        parts=(1, 2),
        days=s.rng.integers(1, 8, m),
        low=np.full(m, 0.01),
        high=s.uniform(m, 0.04, 0.2),
        cities=s.choose(m, (1, 2), (3, 1)),
        away=np.ones(m, dtype=np.int64),
        machine=0.6,
        delay=(10, 250),
        share=(0.2, 0.95),
        cash=0.8,
        span=(40, 110),
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
    rounds(s, who[n:], nobody(len(who) - n), 0.1)
