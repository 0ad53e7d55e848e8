"""Small cross-border sends: buyers and receivers (FINTRAC FD4-24/2025E; AMLC 2020; AUSTRAC), beside
family support, night-shift migrants, sponsors of pupils, pensioners abroad, online tutors."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.behaviour import CASH, TRANSFER
from fintel.feeds.synthetic.geography import FIRST_CITY, OSEC_RECEIVING, Floats, Ints
from fintel.feeds.synthetic.scene import KIND
from fintel.feeds.synthetic.stage import SENDING, Stage, nobody
from fintel.feeds.synthetic.words import MCC_INDEX

_PRIVATE = ("4816", "5734", "5967", "5968", "7273", "5816")
_HOME = ("PH", "TH", "MX")


def plant(s: Stage) -> None:
    """Rings of one to three senders and two or three receivers."""
    n = s.number(0.0008)
    rings = s.register.open("OSEC", "ring", n)
    w = s.w
    size = s.choose(n, (1, 2, 3), (5, 3, 2))
    ring = np.repeat(np.arange(n), size)
    senders = np.where(
        s.chance(len(ring), 0.75),
        _fill(s, s.people(ages=(27, 76)), len(ring)),
        _fill(s, w.elsewhere(SENDING), len(ring)),
    )
    mine = s.choose(n, (1, 2, 3), (3, 4, 3))
    owner = np.repeat(np.arange(n), mine)
    inside = s.chance(len(owner), 0.55)
    receivers = np.where(
        inside,
        _fill(s, w.own(countries=_HOME), len(owner)),
        _fill(s, w.abroad(OSEC_RECEIVING), len(owner)),
    )
    s.register.members(rings[ring], senders)
    s.register.members(rings[owner], receivers)
    s.share_home(receivers, receivers[np.searchsorted(owner, owner)], 0.4)
    s.quieten(senders, 0.15, 1.3)
    s.quieten(receivers, 0.15, 0.9)
    table = _by_owner(owner, receivers, n, 3)[ring]
    first, last = s.span(len(ring), 18, 80)
    m = len(ring)
    loud = s.chance(m, 0.5)
    count = np.where(loud, s.counts(m, 16, 0.5, 5, 55), s.counts(m, 8, 0.4, 3, 20))
    got = s.sends(
        senders,
        table,
        np.minimum(mine[ring], s.choose(m, (1, 2, 3), (3, 4, 3))),
        first,
        last,
        count,
        np.clip(s.around(m, 62.0, 0.5), 14.0, 170.0),
        hour=s.hours(m, 0.68),
        wobble=s.uniform(m, 0.8, 2.5),
        kind=s.kinds(m, {"support": 0.36, "school": 0.2, "gift": 0.14, "none": 0.2, "handle": 0.05, "service": 0.05}),
        faithful=0.7,
        channel=s.remote(m),
        growth=np.where(s.chance(m, 0.72), s.uniform(m, 0.8, 1.9), 0.0),
        even=s.uniform(m, 0.55, 1.0),
        scheme=rings[ring],
        spread=0.25,
    )
    own = senders < w.n_own
    _life(s, senders[own], table[own], first[own], last[own], rings[ring][own], private=0.55, travel=0.35)
    start, end = s.span(len(owner), 20, 60)
    _receive(
        s,
        receivers,
        owner_scheme=rings[owner],
        first=start,
        last=end,
        # Of receivers elsewhere one sees little besides what the ring sends.
        payers=np.where(receivers < w.n_own, s.choose(len(owner), (2, 3, 4, 6), (3, 3, 3, 2)), 0),
        times=2.0,
        got=got,
        delay=s.uniform(len(owner), 1, 14),
        share=s.uniform(len(owner), 0.88, 1.0),
        night=0.4,
    )


def mimic(s: Stage) -> None:
    """Benign senders and receivers with the same single traits."""
    w = s.w
    # Family support: one to three relatives, day or night, same family name more often than not.
    n = s.number(0.03, 6)
    who = w.take(s.rng, s.people(ages=(21, 76)), n)
    n = len(who)
    to = np.where(
        s.chance(n, 0.4)[:, None],
        s.circle(w.own(countries=_HOME), n, 3),
        s.circle(w.abroad((*OSEC_RECEIVING, "IN", "GH", "UA")), n, 3),
    )
    s.kin(who, to[:, 0], 0.85)
    for other in (1, 2):
        s.kin(to[:, other], who, 0.8)
    s.register.lookalikes("OSEC", who)
    first, last = s.span(n, 25, 110)
    busy = s.chance(n, 0.5)
    count = np.where(busy, s.counts(n, 17, 0.5, 5, 60), s.counts(n, 8, 0.4, 3, 20))
    s.quieten(who, 0.2, 1.6)
    got = s.sends(
        who,
        to,
        s.choose(n, (1, 2, 3), (4, 4, 2)),
        first,
        last,
        count,
        np.clip(s.around(n, 66.0, 0.55), 14.0, 240.0),
        hour=s.hours(n, 0.33),
        wobble=s.uniform(n, 0.8, 3.0),
        kind=s.kinds(n, {"support": 0.42, "school": 0.18, "gift": 0.14, "none": 0.2, "loan": 0.06}),
        faithful=0.7,
        channel=s.remote(n),
        growth=np.where(s.chance(n, 0.22), s.uniform(n, 0.2, 1.2), -0.2),
        even=s.uniform(n, 0.5, 1.0),
        scheme=nobody(n),
    )
    _life(s, who, to, first, last, nobody(n), private=0.3, travel=0.15)
    # People who pay several strangers abroad: tutors, artists, sponsored pupils; and who like privacy.
    n = s.number(0.008, 3)
    who = w.take(s.rng, s.people(ages=(19, 80)), n)
    n = len(who)
    s.register.lookalikes("OSEC", who)
    s.quieten(who, 0.2, 1.6)
    first, last = s.span(n, 25, 100)
    strangers = s.circle(w.abroad(), n, 5)
    s.sends(
        who,
        strangers,
        s.choose(n, (2, 3, 4, 5), (3, 3, 2, 1)),
        first,
        last,
        s.counts(n, 13, 0.5, 4, 50),
        np.clip(s.around(n, 50.0, 0.6), 10.0, 220.0),
        hour=s.hours(n, 0.45),
        wobble=s.uniform(n, 0.8, 3.0),
        faithful=0.65,
        channel=s.remote(n),
        growth=s.uniform(n, -0.2, 0.5),
        kind=s.kinds(n, {"service": 0.3, "school": 0.25, "invoice": 0.15, "handle": 0.1, "charity": 0.2}),
        even=s.uniform(n, 0.5, 1.0),
        scheme=nobody(n),
    )
    _life(s, who, strangers, first, last, nobody(n), private=0.5, travel=0.15)
    # Receivers: families with relatives abroad, tutors and sellers with foreign customers.
    n = s.number(0.02, 5)
    who = w.take(s.rng, w.own(countries=_HOME), n)
    n = len(who)
    s.register.lookalikes("OSEC", who)
    s.quieten(who, 0.2, 1.0)
    first, last = s.span(n, 20, 90)
    quick = s.chance(n, 0.4)
    _receive(
        s,
        who,
        owner_scheme=nobody(n),
        first=first,
        last=last,
        payers=s.choose(n, (1, 2, 3, 5, 8), (3, 3, 3, 2, 1)),
        times=4.0,
        got=got,
        delay=np.where(quick, s.uniform(n, 2, 26), s.uniform(n, 30, 200)),
        share=np.where(quick, s.uniform(n, 0.75, 1.0), s.uniform(n, 0.3, 1.0)),
        night=0.35,
        kin=0.75,
    )


def _fill(s: Stage, pool: np.ndarray, n: int) -> Ints:
    """``n`` free accounts; where too few are left, some stand twice."""
    found = s.w.take(s.rng, pool, n)
    if len(found) == 0:
        found = np.flatnonzero(pool)[:1]
    return found[np.arange(n) % len(found)]


def _by_owner(owner: Ints, accounts: Ints, n: int, width: int) -> Ints:
    """A table of the accounts of each owner, repeated to ``width``."""
    start = np.searchsorted(owner, np.arange(n))
    size = np.bincount(owner, minlength=n)
    return accounts[start[:, None] + np.arange(width)[None, :] % size[:, None]]


def _life(
    s: Stage, who: Ints, to: Ints, first: Floats, last: Floats, scheme: Ints, *, private: float, travel: float
) -> None:
    """Purchases online that some have, and a journey for some."""
    n = len(who)
    some = s.chance(n, private)
    s.extras(who, first, last, _PRIVATE, np.where(some, s.rng.poisson(4.0, n), 0), scheme)
    away = np.where(s.chance(n, travel), s.rng.poisson(4.5, n), 0)
    i = np.repeat(np.arange(n), away)
    m = len(i)
    # The ticket is bought at home, towards the end; the rest happens in a country that they send to.
    codes = tuple(MCC_INDEX[c] for c in ("7011", "4121", "5944", "5812"))
    flown = np.flatnonzero(away > 0)
    ticket = last - s.uniform(n, 12, 30)
    s.buy(
        ticket[flown], s.hours(len(flown), 0.3), who[flown],
        np.full(len(flown), MCC_INDEX["4511"]), scheme=scheme[flown],
    )  # fmt: skip
    mcc = s.choose(m, codes, (2, 2, 1, 2))
    day = ticket[i] + 3.0 + 9.0 * s.rng.random(m)
    city = FIRST_CITY[s.w.country[to[i, 0]]]
    s.buy(day, s.hours(m, 0.3), who[i], mcc, city=city, scheme=scheme[i])
    j = np.repeat(np.arange(n), np.where(away > 0, s.rng.poisson(1.5, n), 0))
    k = len(j)
    no = np.zeros(k, dtype=bool)
    s.cash(
        ticket[j] + 3.0 + 9.0 * s.rng.random(k),
        s.hours(k, 0.3),
        s.around(k, 70.0, 0.5),
        who[j],
        incoming=no,
        machine=~no,
        city=FIRST_CITY[s.w.country[to[j, 0]]],
        scheme=scheme[j],
    )


def _receive(
    s: Stage,
    who: Ints,
    *,
    owner_scheme: Ints,
    first: Floats,
    last: Floats,
    payers: Ints,
    times: float,
    got: tuple[Ints, Ints, Floats],
    delay: Floats,
    share: Floats,
    night: float,
    kin: float = 0.0,
) -> None:
    """Small foreign credits besides those in ``got``, and how own receivers take them out."""
    n = len(who)
    inst, payer = s.crowd(s.w.elsewhere(SENDING), payers)
    s.kin(payer, who[inst], kin)
    i, t, usd = s.collects(
        who,
        inst,
        payer,
        np.maximum(s.rng.poisson(times, len(inst)), 1),
        first,
        last,
        np.clip(s.around(n, 60.0, 0.5), 15, 180),
        kind=s.kinds(n, {"support": 0.5, "school": 0.15, "gift": 0.15, "none": 0.2}),
        faithful=0.65,
        hour=s.hours(n, night),
        wobble=np.full(n, 3.0),
        even=s.uniform(n, 0.5, 1.0),
        scheme=owner_scheme,
    )
    order = np.argsort(who, kind="stable")
    at = np.minimum(np.searchsorted(who[order], got[0]), n - 1) if n else got[0]
    hit = who[order][at] == got[0]
    i = np.concatenate([i, order[at[hit]]])
    t, usd = np.concatenate([t, got[1][hit]]), np.concatenate([usd, got[2][hit]])
    own = who[i] < s.w.n_own
    s.drains(
        who,
        i[own],
        t[own],
        usd[own],
        batch=s.choose(n, (1, 2, 3), (5, 3, 2)),
        share=share,
        delay=delay,
        route=s.choose(n, (CASH, TRANSFER), (8, 2)),
        to=s.circle(s.w.abroad(("PH", "MX", "TH")), n, 1)[:, 0],
        kind=np.full(n, KIND["none"]),
        scheme=owner_scheme,
    )
