"""Forced labour and recruitment debt (FinCEN FIN-2020-A008; AMLTRIX), beside joint accounts, families who
pool wages, staffing agencies with proper payroll, savings circles, landlords paid on pay day."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.behaviour import CARD, CASH, REMITTANCE, TRANSFER
from fintel.feeds.synthetic.geography import Floats, Ints
from fintel.feeds.synthetic.ledger import CHANNEL, INSTRUMENT
from fintel.feeds.synthetic.scene import KIND
from fintel.feeds.synthetic.stage import SENDING, Stage, nobody
from fintel.feeds.synthetic.world import Bools

_PAYROLL = {"wage": 0.9, "none": 0.1}


def plant(s: Stage) -> None:
    """Controllers of four sorts: wages of several names paid to them; wages sent on to them; fees taken out
    of wages in equal parts; employers who take wages back."""
    w = s.w
    n = s.number(0.0011, 2)
    sort = np.arange(n) % 4
    firm = sort == 3
    who = w.take(s.rng, s.people(ages=(24, 70)), n)
    who[firm] = w.take(s.rng, w.own(organisation=True, countries=SENDING), int(firm.sum()))
    schemes = s.register.open("HT-LABOUR", "controller", n)
    s.register.members(schemes, who)
    s.quieten(who, 0.3, 1.2)
    first, last = s.span(n, 60, 115)
    # Wages of three to six names into one account.
    pooled = sort == 0
    _wages(
        s,
        who[pooled],
        s.choose(int(pooled.sum()), (3, 4, 5), (3, 3, 2)),
        first[pooled],
        last[pooled],
        schemes[pooled],
        pay=0.6,
        one_firm=0.85,
    )
    # Workers whose wages go on to the controller, or who pay instalments out of them.
    size = np.where(pooled, 0, s.counts(n, 4, 0.25, 3, 6))
    group = np.repeat(np.arange(n), size)
    workers = w.take(s.rng, s.people(ages=(18, 55)), len(group))
    group = group[: len(workers)]
    s.register.victims(schemes[group], workers)
    m = len(workers)
    s.routine.waged[workers] = False
    head = workers[np.searchsorted(group, group)] if m else workers
    s.share_home(workers, head, 0.6)
    bounced, indebted = sort[group] == 1, sort[group] == 2
    # Those who are housed and fed by the controller have no household; the indebted live from what is left.
    held = ~indebted & s.chance(n, 0.75)[group]
    s.quieten(workers, 0.02, 0.6)
    s.unsettle(workers[held])
    # Somebody else often has the workers' telephones: theirs is one device with the controller's.
    shared = (bounced & s.chance(n, 0.5)[group]) & s.chance(m, 0.9)
    w.parties.device[w.party[workers[shared]]] = w.parties.device[w.party[who[group[shared]]]]
    share = np.where(bounced, s.uniform(m, 0.75, 0.97), s.uniform(m, 0.42, 0.85))
    share = np.where(indebted, s.uniform(m, 0.25, 0.5), share)
    _pass_on(
        s,
        workers,
        group,
        who,
        first,
        last,
        share,
        delay=np.where(indebted, 30.0, 12.0),
        scheme=schemes,
        kinds=({"none": 0.5, "rent": 0.2, "loan": 0.2, "recruit": 0.1}, {"recruit": 0.65, "loan": 0.2, "none": 0.15}),
        fixed=indebted,
        payer=np.where(firm, who, -1),
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
    s.quieten(who, 0.25, 1.5)
    first, last = s.span(n, 55, 119)
    _wages(s, who, s.choose(n, (1, 2, 3, 4), (4, 5, 2, 1)), first, last, nobody(n), pay=0.25, kin=0.8, one_firm=0.12)
    # Families and house shares: part of the wage goes to one of them after pay day.
    n = s.number(0.012, 3)
    heads = w.take(s.rng, s.people(ages=(24, 70)), n)
    n = len(heads)
    s.register.lookalikes("HT-LABOUR", heads)
    s.quieten(heads, 0.2, 1.4)
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
        kinds=({"rent": 0.35, "club": 0.2, "loan": 0.15, "none": 0.3}, {"none": 1.0}),
        fixed=np.zeros(len(group), dtype=bool),
        payer=np.full(n, -1),
    )
    # Employers and agencies with a proper payroll, whose staff pay back a loan or the rent of a room.
    firms = w.take(s.rng, w.own(organisation=True, countries=SENDING), s.number(0.006, 3))
    n = len(firms)
    s.register.lookalikes("HT-LABOUR", firms)
    s.quieten(firms, 0.8, 2.0)
    group = np.repeat(np.arange(n), s.choose(n, (3, 4, 6, 8), (3, 3, 2, 1)))
    workers = w.take(s.rng, s.people(ages=(18, 60)), len(group))
    group = group[: len(workers)]
    s.routine.waged[workers] = False
    m = len(workers)
    _pass_on(
        s,
        workers,
        group,
        firms,
        *s.span(n, 60, 119),
        np.where(s.chance(m, 0.1), s.uniform(m, 0.3, 0.6), s.uniform(m, 0.04, 0.25)),
        delay=s.uniform(m, 10, 200),
        scheme=nobody(n),
        kinds=({"rent": 0.4, "loan": 0.35, "none": 0.25}, {"loan": 0.5, "recruit": 0.2, "none": 0.3}),
        fixed=s.chance(m, 0.5),
        payer=firms,
    )
    # Savings circles and agencies' instalments: equal monthly sums from many, then one large sum out.
    n = s.number(0.01, 3)
    who = w.take(s.rng, s.people((*SENDING, "PH", "MX"), (24, 75)), n)
    n = len(who)
    s.register.lookalikes("HT-LABOUR", who)
    s.quieten(who, 0.1, 1.3)
    inst, payer = s.crowd(s.people() | w.elsewhere(SENDING), s.choose(n, (4, 6, 9, 12), (3, 3, 2, 1)), who)
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


def _cycle(s: Stage, first: Floats, last: Floats, fortnightly: Bools) -> tuple[Ints, Floats]:
    """Instance and day of every pay day, every two weeks or thirty days, between two days."""
    step = np.where(fortnightly, 14.0, 30.0)
    n = np.maximum(((last - first) / step).astype(np.int64), 1)
    i = np.repeat(np.arange(len(first)), n)
    turn = np.arange(len(i)) - np.repeat(np.cumsum(n) - n, n)
    return i, first[i] + step[i] * turn + 0.0


def _wages(
    s: Stage,
    who: Ints,
    names: Ints,
    first: Floats,
    last: Floats,
    scheme: Ints,
    pay: float,
    one_firm: float,
    kin: float = 0.0,
) -> None:
    """Wages of ``names`` others, each by own name, into ``who``; a share ``pay`` of it is taken out. For a
    share ``one_firm`` of ``who`` all of them are of one employer and of one pay run."""
    w = s.w
    if len(who) == 0:
        return
    inst, other = s.crowd(s.people(ages=(18, 60)), names)
    if kin:
        other = _relatives(s, who[inst], other, kin)
    firm = w.employers[s.rng.integers(0, len(w.employers), len(who))]
    second = w.employers[s.rng.integers(0, len(w.employers), len(inst))]
    single = s.chance(len(who), one_firm)[inst]
    firm_row = np.where(single, firm[inst], second)
    fortnightly = np.where(single, s.chance(len(who), 0.5)[inst], s.chance(len(inst), 0.5))
    begin = first[inst] + np.where(single, 0.0, s.uniform(len(inst), 0, 14))
    j, day = _cycle(s, begin, last[inst], fortnightly)
    m = len(j)
    level = np.where(single, s.around(len(who), 800, 0.3)[inst] * s.around(len(inst), 1.0, 0.12), 0.0)
    usd = np.where(single, level, s.around(len(inst), 800, 0.35))[j] * np.exp(s.rng.normal(0, 0.05, m))
    t, _ = s.pay(
        day,
        s.uniform(m, 1, 9),
        usd,
        firm_row[j],
        who[inst[j]],
        channel=CHANNEL["online"],
        instrument=INSTRUMENT["credit_transfer"],
        kind=np.where(single, s.kinds(len(who), _PAYROLL)[inst], s.kinds(len(inst), _PAYROLL))[j],
        scheme=scheme[inst[j]],
        named=w.party[other[j]],
        order=np.where(single, inst, len(who) + np.arange(len(inst)))[j],
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
    kinds: tuple[dict[str, float], dict[str, float]],
    fixed: Bools,
    payer: Ints,
) -> None:
    """Wages of workers, of which ``share`` goes to the head of their group ``delay`` hours later; where
    ``fixed`` in equal sums, with texts by the second of ``kinds``. ``payer`` is the employer of a group, -1
    for any."""
    if len(workers) == 0:
        return
    firm = s.routine.employer[workers[np.searchsorted(group, group)]]
    firm = np.where(s.chance(len(workers), 0.7), firm, s.routine.employer[workers])
    firm = np.where(payer[group] >= 0, payer[group], firm)
    # The pay run is the group's where one employer pays, or the worker's own.
    j, day = _cycle(s, first[group], last[group], s.chance(len(heads), 0.5)[group])
    m = len(j)
    level = s.around(len(workers), 950, 0.25)
    usd = level[j] * np.exp(s.rng.normal(0, 0.05, m))
    s.pay(
        day,
        s.uniform(m, 1, 9),
        usd,
        firm[j],
        workers[j],
        channel=CHANNEL["online"],
        instrument=INSTRUMENT["credit_transfer"],
        kind=s.kinds(len(workers), _PAYROLL)[j],
        scheme=scheme[group[j]],
        order=j,
    )
    later = day * 24.0 + 9.0 + delay[j] * np.exp(s.rng.normal(0, 0.4, m))
    on = (later / 24.0 < s.w.days) & s.chance(m, 0.93)
    moved = np.where(fixed[j], level[j] * share[j], usd * share[j] * np.exp(s.rng.normal(0, 0.04, m)))
    texts = np.where(fixed[j], s.kinds(len(workers), kinds[1])[j], s.kinds(m, kinds[0]))
    j, later, moved, texts = j[on], later[on], moved[on], texts[on]
    t, _ = s.pay(
        np.floor(later / 24.0),
        np.mod(later, 24.0),
        moved,
        workers[j],
        heads[group[j]],
        channel=s.choose(len(j), (CHANNEL["app"], CHANNEL["online"], CHANNEL["p2p"]), (5, 3, 2)),
        instrument=INSTRUMENT["credit_transfer"],
        kind=texts,
        order=np.where(fixed[j], j, len(workers) + np.arange(len(j))),
        scheme=scheme[group[j]],
        rounded=np.where(fixed[j], 1.0, s.chance(len(j), 0.7)),
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
