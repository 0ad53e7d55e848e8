"""Sexual exploitation of trafficked people (FINTRAC OA001 2021 and 2016; AUSTRAC 2022), beside drivers and
sales people, travelling traders and performers, lawful therapists, night staff, flat-share collectors."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.behaviour import CARD, CASH, EXCHANGE, TRANSFER
from fintel.feeds.synthetic.geography import Floats, Ints
from fintel.feeds.synthetic.scene import KIND
from fintel.feeds.synthetic.stage import SENDING, Stage, nobody
from fintel.feeds.synthetic.words import MCC_INDEX
from fintel.feeds.synthetic.world import Bools


def plant(s: Stage) -> None:
    """Groups of one or two operators on the road, most with a collector, some with a victim's account."""
    w = s.w
    n = s.number(0.0008)
    groups = s.register.open("HT-SEX", "short stay", n)
    size = s.choose(n, (1, 2), (6, 4))
    group = np.repeat(np.arange(n), size)
    who = w.take(s.rng, s.people(ages=(20, 60)), len(group))
    group = group[: len(who)]
    m = len(who)
    collector = w.take(s.rng, s.people(ages=(20, 66)), n)
    has = s.chance(len(collector), 0.7)
    s.register.members(groups[group], who)
    s.register.members(groups[: len(collector)][has], collector[has])
    s.share_home(who, who[np.searchsorted(group, group)], 0.4)
    s.quieten(who, 0.05, 1.2)
    s.quieten(collector, 0.05, 0.9)
    first, last = s.span(m, 20, 75)
    scheme = groups[group]
    road = s.chance(m, 0.75)
    s.stays(
        who,
        first,
        last,
        np.where(road, s.counts(m, 5, 0.5, 2, 14), 0),
        nights=2.0,
        usd=s.around(m, 95, 0.3),
        deposit=s.uniform(m, 0.4, 1.6),
        ticket=s.around(m, 380, 0.35),
        night=s.uniform(m, 0.25, 0.8),
        around=2.5,
        scheme=scheme,
    )
    _adverts(s, who, first, last, s.rng.poisson(np.where(s.chance(m, 0.65), 6.0, 0.5)), scheme)
    s.extras(
        who,
        first,
        last,
        ("6540", "4814", "4121", "5499", "5977", "5621", "5814", "5411", "5411"),
        s.rng.poisson(4.0, m),
        scheme,
        0.35,
    )
    _clients(s, who, first, last, scheme, groups, group, collector, has, fast=0.75)
    # Accounts in a victim's name: credits pass to the collector; the holder is not a suspect.
    harmed = w.take(s.rng, s.people(ages=(18, 40)), max(n // 2, 1))
    k = len(harmed)
    mine = s.rng.integers(0, n, k)
    s.register.victims(groups[mine], harmed)
    s.quieten(harmed, 0.02, 0.3)
    begin, end = s.span(k, 20, 60)
    _clients(s, harmed, begin, end, groups[mine], groups, mine, collector, has, fast=0.9)


def mimic(s: Stage) -> None:
    """Lawful lives on the road, lawful personal services, cash earned at night."""
    w = s.w
    rows: list[Ints] = []
    # Drivers, sales people, and traders who sell at fairs and bank their cash on the way.
    n = s.number(0.014, 4)
    who = w.take(s.rng, s.people(ages=(20, 66)), n)
    n = len(who)
    rows.append(who)
    s.quieten(who, 0.05, 1.2)
    first, last = s.span(n, 30, 110)
    trader = s.chance(n, 0.4)
    s.stays(
        who,
        first,
        last,
        s.counts(n, 6, 0.5, 2, 18),
        nights=1.6,
        usd=s.around(n, 92, 0.3),
        deposit=np.where(trader, s.uniform(n, 0.5, 1.8), 0.1),
        ticket=s.around(n, 360, 0.5),
        night=s.uniform(n, 0.0, 0.3),
        around=2.5,
        scheme=nobody(n),
    )
    some = s.chance(n, 0.5)
    _lawful(s, who[some], first[some], last[some])
    # Therapists, cleaners, musicians, tutors: many private payers, small adverts, some work at night.
    n = s.number(0.02, 4)
    who = w.take(s.rng, s.people(ages=(19, 66)), n)
    rows.append(who)
    n = len(who)
    s.quieten(who, 0.05, 1.0)
    first, last = s.span(n, 25, 110)
    _lawful(s, who, first, last)
    _adverts(s, who, first, last, s.rng.poisson(np.where(s.chance(n, 0.5), 6.0, 0.3)), nobody(n))
    s.extras(who, first, last, ("6540", "4814", "4121", "5977", "5621", "7011"), s.rng.poisson(3.0, n), nobody(n), 0.3)
    # Bar and hotel staff who pay in their tips late.
    n = s.number(0.01, 3)
    who = w.take(s.rng, s.people(ages=(19, 60)), n)
    rows.append(who)
    n = len(who)
    first, last = s.span(n, 30, 110)
    s.deposits(
        who,
        first,
        last,
        s.counts(n, 10, 0.5, 3, 40),
        s.around(n, 260, 0.4),
        spread=np.full(n, 0.5),
        cap=np.full(n, 900.0),
        sites=s.choose(n, (1, 2, 4), (3, 4, 3)),
        cities=s.choose(n, (1, 2, 3), (5, 3, 2)),
        hour=s.hours(n, 0.7),
        wobble=np.full(n, 2.5),
        machine=np.full(n, 0.85),
        scheme=nobody(n),
    )
    some = s.chance(n, 0.4)
    _lawful(s, who[some], first[some], last[some])
    # Flat-share collectors: rent shares of about 250 in, the whole rent out.
    n = s.number(0.008, 3)
    who = w.take(s.rng, s.people(ages=(19, 60)), n)
    rows.append(who)
    n = len(who)
    s.quieten(who, 0.05, 1.0)
    inst, payer = s.crowd(s.people() | w.elsewhere(SENDING), s.choose(n, (3, 4, 5, 8, 14), (3, 3, 2, 2, 1)))
    first, last = np.zeros(n) + s.uniform(n, 0, 28), np.full(n, w.days - 2.0)
    i, t, usd = s.collects(
        who,
        inst,
        payer,
        s.rng.integers(2, 5, len(inst)),
        first,
        last,
        s.around(n, 250, 0.3),
        kind=np.full(n, KIND["rent"]),
        faithful=0.6,
        hour=s.hours(n, 0.3),
        wobble=np.full(n, 3.0),
        even=np.full(n, 0.9),
        scheme=nobody(n),
        regular=np.ones(n, dtype=bool),
    )
    s.drains(
        who,
        i,
        t,
        usd,
        batch=np.maximum(np.bincount(inst, minlength=n), 1),
        share=s.uniform(n, 0.85, 1.0),
        delay=s.uniform(n, 4, 60),
        route=np.full(n, TRANSFER),
        to=w.landlords[s.rng.integers(0, len(w.landlords), n)],
        kind=s.kinds(n, {"rent": 0.8, "none": 0.2}),
        scheme=nobody(n),
    )
    for found in rows:
        s.register.lookalikes("HT-SEX", found)


def _adverts(s: Stage, who: Ints, first: Floats, last: Floats, n: Ints, scheme: Ints) -> None:
    """Payments for adverts, most of them small multiples (FINTRAC 2016: 3, 12, 24)."""
    i = np.repeat(np.arange(len(who)), n)
    m = len(i)
    usd = s.choose(m, (3, 12, 24, 36, 60), (3, 4, 3, 1, 1)).astype(float)
    usd = np.where(s.chance(m, 0.75), usd, s.around(m, 18, 0.6))
    mcc = s.choose(m, (MCC_INDEX["7311"], MCC_INDEX["7273"]), (3, 1))
    day = first[i] + s.rng.random(m) * (last[i] - first[i])
    s.buy(day, s.hours(m, 0.4), who[i], mcc, usd=usd, scheme=scheme[i])


def _clients(
    s: Stage,
    who: Ints,
    first: Floats,
    last: Floats,
    scheme: Ints,
    groups: Ints,
    group: Ints,
    collector: Ints,
    has: Bools,
    fast: float,
) -> None:
    """Private payers of about 250 each; most of it leaves soon, to the collector where there is one."""
    w, m = s.w, len(who)
    inst, payer = s.crowd(s.people() | w.elsewhere(SENDING), s.counts(m, 10, 0.5, 3, 40))
    i, t, usd = s.collects(
        who,
        inst,
        payer,
        s.choose(len(inst), (1, 2, 3), (7, 2, 1)),
        first,
        last,
        np.clip(s.around(m, 195, 0.4), 60, 420),
        kind=s.kinds(m, {"none": 0.45, "service": 0.25, "social": 0.2, "gift": 0.1}),
        faithful=0.6,
        hour=s.hours(m, 0.55),
        wobble=np.full(m, 3.5),
        even=s.uniform(m, 0.6, 1.0),
        scheme=scheme,
    )
    g = np.minimum(group, max(len(collector) - 1, 0))
    to = np.where(has[g], collector[g], who)
    linked = to != who
    soon = s.chance(m, fast)
    route = np.where(linked, TRANSFER, s.choose(m, (CASH, EXCHANGE, CARD), (6, 2, 2)))
    s.drains(
        who,
        i,
        t,
        usd,
        batch=s.choose(m, (1, 2, 4), (3, 4, 3)),
        share=s.uniform(m, 0.65, 1.0),
        delay=np.where(soon, s.uniform(m, 2, 30), s.uniform(m, 40, 120)),
        route=route,
        to=to,
        kind=s.kinds(m, {"none": 0.7, "loan": 0.15, "rent": 0.15}),
        scheme=scheme,
    )
    # The collector passes on: cash and exchanges, a few times.
    use = linked[i]
    last_leg = np.searchsorted(np.arange(len(collector)), g[i[use]])
    s.drains(
        collector,
        last_leg,
        t[use] + 40 * 3600,
        usd[use] * 0.85,
        batch=s.choose(len(collector), (3, 6, 10), (3, 4, 3)),
        share=s.uniform(len(collector), 0.8, 1.0),
        delay=s.uniform(len(collector), 3, 40),
        route=s.choose(len(collector), (CASH, EXCHANGE, CARD), (5, 3, 2)),
        to=collector,
        kind=np.full(len(collector), KIND["none"]),
        scheme=groups[: len(collector)],
    )


def _lawful(s: Stage, who: Ints, first: Floats, last: Floats) -> None:
    """Private customers of lawful services, and what is left after costs moved on."""
    w, n = s.w, len(who)
    inst, payer = s.crowd(s.people() | w.elsewhere(SENDING), s.counts(n, 13, 0.5, 4, 45))
    i, t, usd = s.collects(
        who,
        inst,
        payer,
        s.choose(len(inst), (1, 2, 3), (6, 3, 1)),
        first,
        last,
        np.clip(s.around(n, 170, 0.5), 30, 420),
        kind=s.kinds(n, {"service": 0.4, "none": 0.3, "invoice": 0.15, "social": 0.15}),
        faithful=0.6,
        hour=s.hours(n, 0.35),
        wobble=np.full(n, 3.5),
        even=s.uniform(n, 0.6, 1.0),
        scheme=nobody(n),
    )
    soon = s.chance(n, 0.3)
    savings = s.circle(s.people() | w.elsewhere(SENDING), n, 1)[:, 0]
    s.drains(
        who,
        i,
        t,
        usd,
        batch=s.choose(n, (1, 3, 6), (3, 4, 3)),
        share=np.where(soon, s.uniform(n, 0.6, 1.0), s.uniform(n, 0.2, 0.8)),
        delay=np.where(soon, s.uniform(n, 2, 40), s.uniform(n, 40, 240)),
        route=s.choose(n, (CASH, TRANSFER, CARD, EXCHANGE), (4, 5, 2, 1)),
        to=savings,
        kind=s.kinds(n, {"none": 0.6, "rent": 0.2, "invoice": 0.2}),
        scheme=nobody(n),
    )
