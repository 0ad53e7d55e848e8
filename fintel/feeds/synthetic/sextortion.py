"""Collectors of extorted sums from young payers (FINTRAC FD4-24/2025E; FATF 2025; FinCEN 2025), beside
club treasurers, ticket and trainer resellers, coaches, flat-share kitties."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.behaviour import CARD, CASH, EXCHANGE, REMITTANCE, TRANSFER
from fintel.feeds.synthetic.geography import Ints
from fintel.feeds.synthetic.stage import SENDING, Stage, nobody
from fintel.feeds.synthetic.world import Bools

_ROUTES = (CASH, TRANSFER, EXCHANGE, REMITTANCE, CARD)


def _young(s: Stage, below: float = 23) -> Bools:
    age = s.w.age(np.arange(s.w.n_accounts))
    return (s.w.own(countries=SENDING) | s.w.elsewhere(SENDING)) & (age < below)


def plant(s: Stage) -> None:
    """One collector each, now and then a second who takes the first one's money on."""
    w = s.w
    n = s.number(0.0009)
    who = w.take(s.rng, s.people((*SENDING, "PH"), (17, 50)), n)
    n = len(who)
    schemes = s.register.open("SEXTORTION", "collector", n)
    s.register.members(schemes, who)
    s.quieten(who, 0.1, 1.2)
    first, last = s.span(n, 8, 40)
    # Teenagers for the most part; each pays once or twice within hours, some more often in a row.
    inst, payer = s.crowd(_young(s, 20), s.counts(n, 11, 0.35, 7, 26))
    _, older = s.crowd(_young(s, 30), np.bincount(inst, minlength=n))
    payer = np.where(s.chance(len(inst), 0.8), payer, older)
    s.register.victims(schemes[inst], payer)
    i, t, usd = s.collects(
        who,
        inst,
        payer,
        s.choose(len(inst), (1, 2, 3, 4), (5, 3, 1, 1)),
        first,
        last,
        np.clip(s.around(n, 58, 0.5), 15, 180),
        kind=s.kinds(n, {"none": 0.5, "social": 0.2, "sale": 0.15, "handle": 0.15}),
        faithful=0.6,
        hour=s.hours(n, 0.55),
        wobble=np.full(n, 3.5),
        even=s.uniform(n, 0.5, 1.0),
        scheme=schemes,
        spread=0.5,
        gap=1.5,
    )
    # A few payers plead in the text.
    some = s.chance(len(t), 0.05)
    k = int(some.sum())
    day = (t[some] / 86400.0) - w.epoch_day + s.uniform(k, 0.02, 0.8)
    inside = day < w.days
    s.collects(
        who,
        i[some][inside],
        s.circle(_young(s), k, 1)[inside, 0],
        np.ones(int(inside.sum()), dtype=np.int64),
        first,
        last,
        np.full(n, 45.0),
        kind=s.kinds(n, {"plead": 1.0}),
        faithful=0.9,
        hour=s.hours(n, 0.6),
        wobble=np.full(n, 3.0),
        even=np.full(n, 0.7),
        scheme=schemes,
    )
    second = s.circle(w.abroad(("PH", "NG", "DO")), n, 1)[:, 0]
    s.drains(
        who,
        i,
        t,
        usd,
        batch=s.choose(n, (2, 3, 5, 7), (3, 3, 2, 1)),
        share=s.uniform(n, 0.75, 1.0),
        delay=s.uniform(n, 3, 50),
        route=s.choose(n, _ROUTES, (2, 2, 3, 4, 2)),
        to=second,
        kind=s.kinds(n, {"none": 0.6, "support": 0.25, "loan": 0.15}),
        scheme=schemes,
    )


def mimic(s: Stage) -> None:
    """Treasurers, resellers, coaches: many small payers, then money out for what it was raised for."""
    w = s.w
    n = s.number(0.03, 6)
    who = w.take(s.rng, s.people((*SENDING, "PH"), (16, 56)), n)
    n = len(who)
    s.register.lookalikes("SEXTORTION", who)
    s.quieten(who, 0.1, 1.4)
    first, last = s.span(n, 8, 70)
    sizes = s.counts(n, 11, 0.45, 4, 34)
    youthful = s.chance(n, 0.55)
    inst, old = s.crowd(s.people() | w.elsewhere(SENDING), sizes)
    _, young = s.crowd(_young(s), sizes)
    payer: Ints = np.where(youthful[inst], young, old)
    i, t, usd = s.collects(
        who,
        inst,
        payer,
        s.choose(len(inst), (1, 2, 3), (6, 3, 1)),
        first,
        last,
        np.clip(s.around(n, 52, 0.6), 8, 220),
        kind=s.kinds(n, {"club": 0.35, "sale": 0.3, "none": 0.15, "social": 0.1, "handle": 0.1}),
        faithful=0.6,
        hour=s.hours(n, 0.4),
        wobble=np.full(n, 3.5),
        even=s.uniform(n, 0.5, 1.0),
        scheme=nobody(n),
        spread=0.5,
    )
    quick = s.chance(n, 0.3)
    s.drains(
        who,
        i,
        t,
        usd,
        batch=s.choose(n, (2, 4, 6, 9), (2, 3, 3, 2)),
        share=np.where(quick, s.uniform(n, 0.7, 1.0), s.uniform(n, 0.2, 0.8)),
        delay=np.where(quick, s.uniform(n, 3, 70), s.uniform(n, 80, 300)),
        route=s.choose(n, _ROUTES, (2, 4, 3, 3, 3)),
        to=np.where(
            s.chance(n, 0.35), s.circle(w.abroad(), n, 1)[:, 0], w.suppliers[s.rng.integers(0, len(w.suppliers), n)]
        ),
        kind=s.kinds(n, {"invoice": 0.4, "none": 0.4, "club": 0.2}),
        scheme=nobody(n),
    )
