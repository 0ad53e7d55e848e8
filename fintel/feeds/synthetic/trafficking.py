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

#: 200 to 800 Australian dollars (AUSTRAC 2022) in US dollars.
_BAND = (131.0, 522.0)


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
    # Few have wages; collecting accounts serve for nothing else: no wages, hardly any living costs.
    s.quieten(who, 0.05, 1.1)
    s.unwaged(who, 0.75)
    s.quieten(collector, 0.05, 0.7)
    s.unwaged(collector, 0.8)
    s.unsettle(collector[has & s.chance(len(collector), 0.6)])
    first, last = s.span(m, 25, 75)
    scheme = groups[group]
    road = s.chance(m, 0.8)
    s.stays(
        who,
        first,
        last,
        np.where(road, np.maximum(np.rint((last - first) / 30.0 * s.around(m, 4.2, 0.35)), 3), 0).astype(np.int64),
        nights=2.3,
        usd=s.around(m, 98, 0.3),
        deposit=s.uniform(m, 0.6, 1.6),
        ticket=s.around(m, 260, 0.2),
        band=_BAND,
        back=0.1,
        night=s.uniform(m, 0.35, 0.85),
        around=1.3,
        scheme=scheme,
    )
    # In private flats nobody travels: the cash goes to machines about the town, late as well.
    home = np.flatnonzero(~road)
    s.deposits(
        who[home],
        first[home],
        last[home],
        s.counts(len(home), 12, 0.4, 6, 40),
        s.around(len(home), 260, 0.2),
        spread=np.full(len(home), 0.35),
        cap=np.full(len(home), _BAND[1]),
        sites=np.full(len(home), 6),
        cities=np.ones(len(home), dtype=np.int64),
        hour=np.full(len(home), 23.5),
        wobble=np.full(len(home), 3.0),
        machine=np.full(len(home), 0.9),
        scheme=scheme[home],
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
    # The collector is paid by customers directly as well.
    straight = collector[has]
    begin, end = s.span(len(straight), 25, 75)
    _clients(
        s,
        straight,
        begin,
        end,
        groups[: len(collector)][has],
        groups,
        np.flatnonzero(has),
        collector,
        np.zeros(len(collector), dtype=bool),
        fast=0.9,
        many=14,
    )
    # Accounts in a victim's name: credits pass to the collector; the holder is not a suspect.
    harmed = w.take(s.rng, s.people(ages=(18, 40)), max(n // 2, 1))
    k = len(harmed)
    mine = s.rng.integers(0, n, k)
    s.register.victims(groups[mine], harmed)
    s.unsettle(harmed)
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
    trader = s.chance(n, 0.25)
    s.unwaged(who[trader], 1.0)
    s.stays(
        who,
        first,
        last,
        s.counts(n, 8, 0.5, 2, 26),
        nights=1.8,
        usd=s.around(n, 95, 0.3),
        # Takings of a fair's days, paid in on the way home by day.
        deposit=np.where(trader, s.uniform(n, 0.4, 1.4), 0.08),
        ticket=s.around(n, 520, 0.6),
        band=(40.0, 4000.0),
        back=0.65,
        night=s.uniform(n, 0.0, 0.15),
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
    s.quieten(who, 0.25, 1.1)
    s.unwaged(who, 0.75)
    first, last = s.span(n, 25, 110)
    _lawful(s, who, first, last)
    _adverts(s, who, first, last, s.rng.poisson(np.where(s.chance(n, 0.5), 6.0, 0.3)), nobody(n))
    s.extras(who, first, last, ("6540", "4814", "4121", "5977", "5621", "7011"), s.rng.poisson(3.0, n), nobody(n), 0.3)
    # Many are paid in cash too and bring it to the machine, by day for the most part.
    some = s.chance(n, 0.65)
    k = int(some.sum())
    s.deposits(
        who[some],
        first[some],
        last[some],
        s.counts(k, 10, 0.5, 3, 40),
        s.around(k, 240, 0.5),
        spread=np.full(k, 0.5),
        cap=np.full(k, 1500.0),
        sites=s.choose(k, (1, 2, 3), (4, 4, 2)),
        cities=np.ones(k, dtype=np.int64),
        hour=s.hours(k, 0.12),
        wobble=np.full(k, 2.0),
        machine=np.full(k, 0.8),
        scheme=nobody(k),
    )
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
        s.counts(n, 14, 0.5, 4, 50),
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
    inst, payer = s.crowd(s.people() | w.elsewhere(SENDING), s.choose(n, (3, 4, 5, 8, 14), (3, 3, 2, 2, 1)), who)
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
    many: float = 9,
) -> None:
    """Private payers of about 250 Australian dollars each (AUSTRAC 2022); most of it leaves soon, to the
    collector where there is one."""
    w, m = s.w, len(who)
    inst, payer = s.crowd(s.people() | w.elsewhere(SENDING), s.counts(m, many, 0.45, 4, 50), who)
    i, t, usd = s.collects(
        who,
        inst,
        payer,
        s.choose(len(inst), (1, 2, 3), (7, 2, 1)),
        first,
        last,
        np.clip(s.around(m, 163, 0.25), 60, 420),
        kind=s.kinds(m, {"none": 0.45, "service": 0.25, "social": 0.2, "gift": 0.1}),
        faithful=0.6,
        hour=s.hours(m, 0.55),
        wobble=np.full(m, 3.5),
        even=s.uniform(m, 0.4, 0.9),
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
    inst, payer = s.crowd(s.people() | w.elsewhere(SENDING), s.counts(n, 13, 0.5, 4, 45), who)
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
