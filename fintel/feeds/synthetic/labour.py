"""Forced labour and recruitment debt (FinCEN FIN-2020-A008; AMLTRIX), beside joint accounts, families who
pool wages, staffing agencies with proper payroll, savings circles, landlords paid on pay day."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.behaviour import CARD, CASH, REMITTANCE, TRANSFER
from fintel.feeds.synthetic.geography import Floats, Ints
from fintel.feeds.synthetic.ledger import CHANNEL, INSTRUMENT
from fintel.feeds.synthetic.scene import KIND
from fintel.feeds.synthetic.stage import SENDING, Stage, nobody


def plant(s: Stage) -> None:
    """Controllers of three sorts: wages of several names paid to them; wages sent on to them; fees."""
    w = s.w
    n = s.number(0.0011, 2)
    who = w.take(s.rng, s.people(ages=(24, 70)), n)
    n = len(who)
    schemes = s.register.open("HT-LABOUR", "controller", n)
    s.register.members(schemes, who)
    s.quieten(who, 0.1, 1.0)
    sort = np.arange(n) % 3
    first, last = s.span(n, 50, 110)
    # Wages of three to six names into one account.
    pooled = sort == 0
    _wages(
        s,
        who[pooled],
        s.choose(int(pooled.sum()), (3, 4, 5, 6), (3, 3, 2, 1)),
        first[pooled],
        last[pooled],
        schemes[pooled],
        pay=0.6,
    )
    # Workers whose wages go on to the controller, or who pay instalments out of them.
    size = np.where(pooled, 0, s.counts(n, 4, 0.3, 3, 8))
    group = np.repeat(np.arange(n), size)
    workers = w.take(s.rng, s.people(ages=(18, 55)), len(group))
    group = group[: len(workers)]
    s.register.victims(schemes[group], workers)
    s.routine.waged[workers] = False
    head = workers[np.searchsorted(group, group)] if len(workers) else workers
    s.share_home(workers, head, 0.6)
    s.quieten(workers, 0.02, 0.5)
    bounced = sort[group] == 1
    share = np.where(bounced, s.uniform(len(group), 0.55, 0.95), s.uniform(len(group), 0.12, 0.4))
    _pass_on(
        s,
        workers,
        group,
        who,
        first,
        last,
        share,
        delay=np.where(bounced, 14.0, 50.0),
        scheme=schemes,
        kinds={"recruit": 0.35, "loan": 0.2, "none": 0.3, "rent": 0.15},
    )
    _queue(s, workers[bounced], group[bounced], first, last, schemes)


def _queue(s: Stage, workers: Ints, group: Ints, first: Floats, last: Floats, schemes: Ints) -> None:
    """In half of the groups the workers' cards are used one after another at one machine, monthly."""
    used = s.chance(len(schemes), 0.5)[group]
    workers, group = workers[used], group[used]
    turn = np.arange(len(workers)) - np.searchsorted(group, group)
    day, hour = np.floor(s.uniform(len(schemes), 0, 20)), s.uniform(len(schemes), 9, 22)
    for month in range(int(s.w.days // 30)):
        at = np.floor(first)[group] + day[group] + 30 * month
        on = at < last[group]
        n = int(on.sum())
        s.cash(
            at[on],
            hour[group[on]] + turn[on] / 25.0,
            s.around(n, 160.0, 0.3),
            workers[on],
            incoming=np.zeros(n, dtype=bool),
            machine=np.ones(n, dtype=bool),
            site=schemes[group[on]],
            city=s.w.city(workers[np.searchsorted(group, group)])[on],
            scheme=schemes[group[on]],
        )


def mimic(s: Stage) -> None:
    """Benign pooling of wages, agencies, circles."""
    w = s.w
    # Joint accounts: the wage of a partner or grown-up child too.
    n = s.number(0.02, 4)
    who = w.take(s.rng, s.people(ages=(24, 70)), n)
    n = len(who)
    s.register.lookalikes("HT-LABOUR", who)
    s.quieten(who, 0.1, 1.3)
    first, last = s.span(n, 55, 119)
    _wages(s, who, s.choose(n, (1, 2, 3, 4), (3, 4, 3, 2)), first, last, nobody(n), pay=0.25, kin=0.8)
    # Families and house shares: part of the wage goes to one of them after pay day.
    n = s.number(0.012, 3)
    heads = w.take(s.rng, s.people(ages=(24, 70)), n)
    n = len(heads)
    s.register.lookalikes("HT-LABOUR", heads)
    s.quieten(heads, 0.1, 1.2)
    group = np.repeat(np.arange(n), s.choose(n, (3, 4, 6, 8), (3, 3, 2, 2)))
    workers = w.take(s.rng, s.people(ages=(18, 55)), len(group))
    group = group[: len(workers)]
    s.routine.waged[workers] = False
    s.share_home(workers, heads[group], 0.5)
    s.quieten(workers, 0.05, 1.2)
    wide = s.chance(n, 0.2)[group]
    _pass_on(
        s,
        workers,
        group,
        heads,
        *s.span(n, 55, 119),
        np.where(wide, s.uniform(len(group), 0.4, 0.9), s.uniform(len(group), 0.1, 0.45)),
        delay=np.where(s.chance(len(group), 0.35), 16.0, 70.0),
        scheme=nobody(n),
        kinds={"rent": 0.35, "club": 0.2, "loan": 0.15, "none": 0.3},
    )
    # Savings circles and agencies' instalments: equal monthly sums from many, then one large sum out.
    n = s.number(0.01, 3)
    who = w.take(s.rng, s.people((*SENDING, "PH", "MX"), (24, 75)), n)
    n = len(who)
    s.register.lookalikes("HT-LABOUR", who)
    s.quieten(who, 0.1, 1.3)
    inst, payer = s.crowd(s.people() | w.elsewhere(SENDING), s.choose(n, (4, 6, 9, 12), (3, 3, 2, 1)))
    i, t, usd = s.collects(
        who,
        inst,
        payer,
        np.full(len(inst), min(max(w.days // 30, 1), 6)),
        s.uniform(n, 0, 25),
        np.full(n, w.days - 2.0),
        s.around(n, 180, 0.5),
        kind=s.kinds(n, {"club": 0.6, "loan": 0.25, "recruit": 0.15}),
        faithful=0.7,
        hour=s.hours(n, 0.3),
        wobble=np.full(n, 3.0),
        even=np.full(n, 0.9),
        scheme=nobody(n),
        spread=0.05,
        regular=np.ones(n, dtype=bool),
    )
    s.drains(
        who,
        i,
        t,
        usd,
        batch=np.maximum(np.bincount(inst, minlength=n), 1),
        share=s.uniform(n, 0.8, 1.0),
        delay=s.uniform(n, 6, 60),
        route=s.choose(n, (TRANSFER, CASH, REMITTANCE), (6, 3, 1)),
        to=s.circle(s.people() | w.elsewhere(SENDING), n, 1)[:, 0],
        kind=s.kinds(n, {"club": 0.6, "none": 0.4}),
        scheme=nobody(n),
    )


def _cycle(s: Stage, first: Floats, last: Floats) -> tuple[Ints, Floats]:
    """Instance and day of every pay day, every two or four weeks, between two days."""
    step = np.where(s.chance(len(first), 0.5), 14.0, 30.0)
    n = np.maximum(((last - first) / step).astype(np.int64), 1)
    i = np.repeat(np.arange(len(first)), n)
    turn = np.arange(len(i)) - np.repeat(np.cumsum(n) - n, n)
    return i, first[i] + step[i] * turn + 0.0


def _wages(
    s: Stage, who: Ints, names: Ints, first: Floats, last: Floats, scheme: Ints, pay: float, kin: float = 0.0
) -> None:
    """Wages of ``names`` others, each by own name, into ``who``; a share ``pay`` of it is taken out."""
    w = s.w
    if len(who) == 0:
        return
    inst, other = s.crowd(s.people(ages=(18, 60)), names)
    if kin:
        other = _relatives(s, who[inst], other, kin)
    firm = w.employers[s.rng.integers(0, len(w.employers), len(who))]
    second = w.employers[s.rng.integers(0, len(w.employers), len(inst))]
    firm_row = np.where(s.chance(len(inst), 0.6), firm[inst], second)
    j, day = _cycle(s, first[inst], last[inst])
    m = len(j)
    usd = s.around(len(inst), 800, 0.35)[j] * np.exp(s.rng.normal(0, 0.05, m))
    t, _ = s.pay(
        day,
        s.uniform(m, 1, 9),
        usd,
        firm_row[j],
        who[inst[j]],
        channel=CHANNEL["online"],
        instrument=INSTRUMENT["credit_transfer"],
        kind=s.kinds(m, {"wage": 0.9, "none": 0.1}),
        scheme=scheme[inst[j]],
        named=w.party[other[j]],
    )
    _spend(s, who, inst[j], t, usd, pay, scheme)


def _relatives(s: Stage, who: Ints, other: Ints, share: float) -> Ints:
    """Where someone of the same household or, failing that, the same name is near, that one for ``other``."""
    p = s.w.parties
    people = np.arange(s.w.n_persons)
    key = p.family[people] * 100 + p.culture[people]
    order = np.argsort(key, kind="stable")
    mine = p.family[s.w.party[who]] * 100 + p.culture[s.w.party[who]]
    low = np.searchsorted(key[order], mine)
    high = np.searchsorted(key[order], mine, side="right")
    namesake = order[np.minimum(low + (s.rng.random(len(who)) * (high - low)).astype(np.int64), len(people) - 1)]
    return np.where(s.chance(len(who), share) & (high > low), namesake, other)


def _pass_on(
    s: Stage,
    workers: Ints,
    group: Ints,
    heads: Ints,
    first: Floats,
    last: Floats,
    share: Floats,
    *,
    delay: Floats,
    scheme: Ints,
    kinds: dict[str, float],
) -> None:
    """Wages of workers, of which ``share`` goes to the head of their group ``delay`` hours later."""
    if len(workers) == 0:
        return
    firm = s.routine.employer[workers[np.searchsorted(group, group)]]
    firm = np.where(s.chance(len(workers), 0.7), firm, s.routine.employer[workers])
    j, day = _cycle(s, first[group], last[group])
    m = len(j)
    usd = s.around(len(workers), 950, 0.25)[j] * np.exp(s.rng.normal(0, 0.05, m))
    s.pay(
        day,
        s.uniform(m, 1, 9),
        usd,
        firm[j],
        workers[j],
        channel=CHANNEL["online"],
        instrument=INSTRUMENT["credit_transfer"],
        kind=s.kinds(m, {"wage": 0.9, "none": 0.1}),
        scheme=scheme[group[j]],
    )
    later = day * 24.0 + 9.0 + delay[j] * np.exp(s.rng.normal(0, 0.4, m))
    on = (later / 24.0 < s.w.days) & s.chance(m, 0.93)
    moved = usd * share[j] * np.exp(s.rng.normal(0, 0.04, m))
    j, later, moved = j[on], later[on], moved[on]
    t, _ = s.pay(
        np.floor(later / 24.0),
        np.mod(later, 24.0),
        moved,
        workers[j],
        heads[group[j]],
        channel=s.choose(len(j), (CHANNEL["app"], CHANNEL["online"], CHANNEL["p2p"]), (5, 3, 2)),
        instrument=INSTRUMENT["credit_transfer"],
        kind=s.kinds(len(j), kinds),
        scheme=scheme[group[j]],
        rounded=s.chance(len(j), 0.7).astype(float),
    )
    _spend(s, heads, group[j], t, moved, 0.7, scheme)


def _spend(s: Stage, who: Ints, inst: Ints, t: Ints, usd: Floats, share: float, scheme: Ints) -> None:
    """What the head does with it: cash, sends abroad, purchases."""
    n = len(who)
    s.drains(
        who,
        inst,
        t,
        usd,
        batch=s.choose(n, (1, 2, 4), (3, 4, 3)),
        share=s.uniform(n, share * 0.6, min(share * 1.4, 1.0)),
        delay=s.uniform(n, 5, 70),
        route=s.choose(n, (CASH, REMITTANCE, TRANSFER, CARD), (4, 3, 3, 1)),
        to=s.circle(s.w.abroad(), n, 1)[:, 0],
        kind=np.full(n, KIND["none"]),
        scheme=scheme,
    )
