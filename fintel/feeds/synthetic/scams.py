"""Investment and romance fraud run from compounds (FinCEN FIN-2023-Alert005; FINTRAC OA001 2019), beside
crypto hobbyists, freelancers with foreign customers, start-ups, investment clubs."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.behaviour import CASH, EXCHANGE, REMITTANCE, TRANSFER
from fintel.feeds.synthetic.geography import Floats, Ints
from fintel.feeds.synthetic.ledger import CHANNEL, INSTRUMENT
from fintel.feeds.synthetic.scene import KIND
from fintel.feeds.synthetic.stage import SENDING, Stage, nobody

_OUT = (EXCHANGE, REMITTANCE, TRANSFER, CASH)


def plant(s: Stage) -> None:
    """Mules and new companies that take in victims' growing payments and sweep them out."""
    w = s.w
    n = s.number(0.0012, 2)
    firm = np.arange(n) % 2 == 1
    mules = w.take(s.rng, s.people(ages=(18, 70)), int((~firm).sum()))
    companies = w.take(s.rng, w.own(organisation=True, countries=SENDING), int(firm.sum()))
    who = np.concatenate([mules, companies])
    n = len(who)
    schemes = s.register.open("SCAM-COMPOUND", "collection", n)
    s.register.members(schemes, who)
    s.quieten(who, 0.2, 1.0)
    s.unwaged(who, 0.5)
    s.shell(who[s.chance(n, 0.85)])
    # Mules' accounts are used up within weeks.
    first, last = s.span(n, 18, 46)
    last = np.where(who < w.n_persons, first + 0.65 * (last - first), last)
    # Most are opened for it: mules' accounts weeks before, companies' some months before.
    new = s.chance(n, 0.75)
    _open_lately(s, who[new], first[new], np.where((who >= w.n_persons), 90, 30)[new])
    pool = s.people(ages=(33, 86)) | w.elsewhere(SENDING)
    inst, payer = s.crowd(
        pool, np.where(np.arange(n) < len(mules), s.counts(n, 6, 0.35, 4, 12), s.counts(n, 14, 0.35, 8, 28))
    )
    s.register.victims(schemes[inst], payer)
    i, t, usd = s.collects(
        who,
        inst,
        payer,
        s.counts(len(inst), 3, 0.4, 1, 8),
        first,
        last,
        np.clip(s.around(n, 560, 0.75), 70, 4000),
        kind=s.kinds(n, {"invest": 0.35, "romance": 0.25, "none": 0.2, "invoice": 0.15, "penalty": 0.05}),
        faithful=0.6,
        hour=s.hours(n, 0.25),
        wobble=np.full(n, 3.0),
        even=s.uniform(n, 0.2, 0.8),
        scheme=schemes,
        spread=0.6,
        growth=s.uniform(n, 0.1, 0.6),
    )
    _raise(s, payer, inst, first, schemes)
    hop = w.take(s.rng, s.people(ages=(18, 60)), max(n // 3, 1))
    s.register.members(schemes[np.arange(len(hop)) % n], hop)
    s.quieten(hop, 0.1, 1.0)
    to = np.where(
        s.chance(n, 0.4), hop[np.arange(n) % len(hop)], s.circle(w.abroad(("HK", "KH", "AE", "TH")), n, 1)[:, 0]
    )
    s.drains(
        who,
        i,
        t,
        usd,
        batch=s.choose(n, (1, 2, 4), (3, 4, 3)),
        share=s.uniform(n, 0.92, 1.0),
        delay=s.uniform(n, 3, 36),
        route=s.choose(n, _OUT, (4, 3, 3, 1)),
        to=to,
        kind=s.kinds(n, {"none": 0.5, "invest": 0.25, "invoice": 0.25}),
        scheme=schemes,
    )
    owner = np.arange(len(hop)) % n
    m = len(hop)
    count = s.choose(m, (3, 5, 8), (1, 1, 1))
    s.sends(
        hop,
        w.vasps[s.rng.integers(0, len(w.vasps), (m, 1))],
        np.ones(m, dtype=np.int64),
        first[owner] + 1,
        last[owner] + 1,
        count,
        s.around(m, 900, 0.6),
        hour=s.hours(m, 0.35),
        wobble=np.full(m, 2.5),
        kind=s.kinds(m, {"none": 0.6, "invest": 0.4}),
        faithful=0.6,
        channel=np.full(m, CHANNEL["vasp"]),
        growth=s.uniform(m, 0.0, 1.0),
        even=np.full(m, 0.6),
        scheme=schemes[owner],
    )
    _lured(s)


def _lured(s: Stage) -> None:
    """Victims who pay an exchange themselves: small trials, a bait return, then large and larger sums,
    at the end called taxes or fees. Nobody here is a suspect."""
    w = s.w
    n = s.number(0.0006)
    who = w.take(s.rng, s.people(ages=(33, 86)), n)
    n = len(who)
    schemes = s.register.open("SCAM-COMPOUND", "exchange", n)
    s.register.victims(schemes, who)
    first, last = s.span(n, 35, 80)
    turn = first + (last - first) * 0.3
    exchange = w.vasps[s.rng.integers(0, len(w.vasps), (n, 1))]
    one = np.ones(n, dtype=np.int64)
    small = s.around(n, 260, 0.4)
    for start, end, times, usd, kind, growth in (
        (first, turn, s.choose(n, (2, 3, 4), (1, 1, 1)), small, "none", 0.0),
        (turn + 1, last, s.choose(n, (3, 4, 6), (1, 1, 1)), small * s.uniform(n, 4, 12), "none", 1.5),
        (last - 9, last, s.choose(n, (0, 2, 3), (3, 4, 3)), small * s.uniform(n, 2, 6), "penalty", 0.0),
    ):
        s.sends(
            who,
            exchange,
            one,
            start,
            end,
            times,
            usd,
            hour=s.hours(n, 0.3),
            wobble=np.full(n, 2.5),
            kind=np.full(n, KIND[kind]),
            faithful=0.8,
            channel=np.full(n, CHANNEL["vasp"]),
            growth=np.full(n, growth),
            even=np.full(n, 0.7),
            scheme=schemes,
        )
    # Who believes it sees a first withdrawal succeed: as much as was paid so far or slightly more.
    bait = s.chance(n, 0.6)
    m = int(bait.sum())
    s.pay(
        turn[bait] + 0.5,
        s.hours(m, 0.2),
        (small * s.uniform(n, 1.0, 1.3))[bait],
        exchange[bait, 0],
        who[bait],
        channel=CHANNEL["vasp"],
        instrument=INSTRUMENT["credit_transfer"],
        kind=np.full(m, KIND["none"]),
        scheme=schemes[bait],
    )


def mimic(s: Stage) -> None:
    """Lawful owners of coins, freelancers, new firms and clubs."""
    w = s.w
    n = s.number(0.014, 4)
    who = w.take(s.rng, s.people(ages=(18, 66)), n)
    n = len(who)
    s.register.lookalikes("SCAM-COMPOUND", who)
    s.quieten(who, 0.1, 1.4)
    first, last = s.span(n, 20, 110)
    lately = s.chance(n, 0.3)
    _open_lately(s, who[lately], first[lately], np.full(int(lately.sum()), 150))
    m = n
    s.sends(
        who,
        w.vasps[s.rng.integers(0, len(w.vasps), (m, 2))],
        s.choose(m, (1, 2), (6, 4)),
        first,
        last,
        s.counts(m, 7, 0.6, 2, 40),
        np.clip(s.around(m, 560, 1.0), 20, 6000),
        hour=s.hours(m, 0.35),
        wobble=np.full(m, 3.0),
        kind=s.kinds(m, {"coins": 0.5, "none": 0.5}),
        faithful=0.6,
        channel=np.full(m, CHANNEL["vasp"]),
        growth=s.uniform(m, 0.0, 1.2),
        even=np.full(m, 0.6),
        scheme=nobody(m),
    )
    _business(s, who[s.chance(n, 0.5)], kinds={"invoice": 0.35, "service": 0.15, "sale": 0.3, "none": 0.2}, many=5)
    n = s.number(0.006, 3)
    who = w.take(s.rng, w.own(organisation=True, countries=SENDING), n)
    s.register.lookalikes("SCAM-COMPOUND", who)
    lately = s.chance(len(who), 0.55)
    begin = s.uniform(len(who), 0, w.days * 0.7)
    _open_lately(s, who[lately], begin[lately], np.full(int(lately.sum()), 150))
    s.quieten(who, 0.1, 1.2)
    _business(s, who, kinds={"invoice": 0.5, "sale": 0.25, "coins": 0.1, "none": 0.15}, many=11)
    n = s.number(0.008, 3)
    who = w.take(s.rng, s.people(ages=(21, 76)), n)
    s.register.lookalikes("SCAM-COMPOUND", who)
    s.quieten(who, 0.1, 1.4)
    _business(s, who, kinds={"invest": 0.35, "club": 0.3, "loan": 0.15, "none": 0.2}, many=6)


def _open_lately(s: Stage, who: Ints, first: Floats, within: Ints) -> None:
    """Let accounts be opened up to ``within`` days before day ``first`` of theirs."""
    s.w.opened[who] = s.w.epoch_day + np.floor(first).astype(np.int64) - s.rng.integers(1, within + 1)


def _business(s: Stage, who: Ints, *, kinds: dict[str, float], many: int) -> None:
    """Payers in, suppliers, coins or people abroad out, some of them as soon as money comes."""
    w, n = s.w, len(who)
    first, last = s.span(n, 20, 100)
    pool = s.people(ages=(22, 80)) | w.elsewhere(SENDING)
    inst, payer = s.crowd(pool, s.counts(n, many, 0.45, 2, 30))
    i, t, usd = s.collects(
        who,
        inst,
        payer,
        s.counts(len(inst), 2.6, 0.5, 1, 8),
        first,
        last,
        np.clip(s.around(n, 720, 0.8), 80, 6000),
        kind=s.kinds(n, kinds),
        faithful=0.6,
        hour=s.hours(n, 0.2),
        wobble=np.full(n, 3.0),
        even=s.uniform(n, 0.3, 1.0),
        scheme=nobody(n),
        spread=0.6,
        growth=s.uniform(n, -0.1, 0.5),
    )
    quick = s.chance(n, 0.34)
    s.drains(
        who,
        i,
        t,
        usd,
        batch=s.choose(n, (1, 2, 4, 6), (3, 3, 3, 2)),
        share=np.where(quick, s.uniform(n, 0.65, 0.98), s.uniform(n, 0.2, 0.8)),
        delay=np.where(quick, s.uniform(n, 3, 70), s.uniform(n, 70, 300)),
        route=s.choose(n, _OUT, (3, 2, 5, 1)),
        to=np.where(
            s.chance(n, 0.5),
            w.suppliers[s.rng.integers(0, len(w.suppliers), n)],
            s.circle(w.abroad(("HK", "AE", "IN", "TH", "FR")), n, 1)[:, 0],
        ),
        kind=s.kinds(n, {"invoice": 0.5, "none": 0.35, "invest": 0.15}),
        scheme=nobody(n),
    )


def _raise(s: Stage, payer: Ints, inst: Ints, first: Floats, schemes: Ints) -> None:
    """Victims who hold a savings account here empty it first; those payments are not the scheme's."""
    w = s.w
    seconds = s.routine.seconds
    party = w.party[seconds]
    order = np.argsort(party, kind="stable")
    at = np.minimum(np.searchsorted(party[order], w.party[payer]), len(party) - 1)
    hit = (party[order][at] == w.party[payer]) & (payer < w.n_persons)
    n = int(hit.sum())
    s.pay(
        np.floor(first[inst[hit]]),
        s.hours(n, 0.2),
        s.around(n, 2500, 0.6),
        seconds[order[at[hit]]],
        payer[hit],
        channel=CHANNEL["app"],
        instrument=INSTRUMENT["credit_transfer"],
        kind=s.kinds(n, {"none": 1.0}),
        rounded=1.0,
    )
