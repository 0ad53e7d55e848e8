"""General laundering patterns (FINTRAC 18/19-SIDEL-025; FinCEN FIN-2014-A005, FIN-2025-NTC1), beside cash
businesses, event and community funds, property buyers, returning students, affiliates' treasuries."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.behaviour import CASH, EXCHANGE, REMITTANCE, TRANSFER
from fintel.feeds.synthetic.geography import Floats, Ints
from fintel.feeds.synthetic.ledger import CHANNEL, INSTRUMENT
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
    s.quieten(who, 0.1, 1.3)
    return schemes, who


def _anyone(s: Stage) -> Bools:
    return s.people(ages=(18, 80)) | s.w.own(organisation=True, countries=SENDING)


def _structuring(s: Stage, n: int) -> None:
    schemes, who = _open(s, "structuring", _anyone(s), n)
    _cash_in(
        s,
        who,
        schemes,
        usd=7800,
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
    _cash_in(
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
    _cash_in(
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


def _cash_in(
    s: Stage, who: Ints, scheme: Ints, *, usd: float, spread: float, cap: float, sites: tuple[int, ...],
    cities: tuple[int, ...], count: float, share: tuple[float, float], delay: tuple[float, float],
    cash: float = 0.15, helpers: Ints | None = None, slow: float = 0.0,
) -> None:  # fmt: skip
    """Cash in at several places, most of it out again together."""
    n = len(who)
    if n == 0:
        return
    first, last = s.span(n, 10, 60)
    i, t, amount = s.deposits(
        who, first, last, s.counts(n, count, 0.45, 3, 40), s.around(n, usd, 0.3), spread=np.full(n, spread), cap=np.full(n, cap),
        sites=s.choose(n, sites, tuple(1.0 for _ in sites)), cities=s.choose(n, cities, tuple(1.0 for _ in cities)),
        hour=np.where(s.chance(n, 0.25), s.uniform(n, 19, 24), s.uniform(n, 9, 17)), wobble=np.full(n, 2.5), machine=s.uniform(n, 0.0, 0.6),
        scheme=scheme, helpers=helpers,
    )  # fmt: skip
    lazy = s.chance(n, slow)
    s.drains(
        who, i, t, amount, batch=s.choose(n, (1, 2, 3, 5), (2, 3, 3, 2)), share=np.where(lazy, s.uniform(n, 0.2, 0.8), s.uniform(n, *share)),
        delay=np.where(lazy, s.uniform(n, 80, 250), s.uniform(n, *delay)),
        route=np.where(s.chance(n, cash), CASH, s.choose(n, (TRANSFER, REMITTANCE, EXCHANGE), (6, 3, 1))),
        to=_payee(s, n), kind=s.kinds(n, {"invoice": 0.45, "none": 0.35, "loan": 0.2}), scheme=scheme,
    )  # fmt: skip


def _payee(s: Stage, n: int) -> Ints:
    return np.where(
        s.chance(n, 0.6),
        s.w.suppliers[s.rng.integers(0, len(s.w.suppliers), n)],
        s.circle(s.w.abroad() | s.w.elsewhere(SENDING), n, 1)[:, 0],
    )


def _pass_through(s: Stage, n: int) -> None:
    schemes, who = _open(s, "pass-through", _anyone(s), n)
    _through(s, who, schemes, many=(1, 2, 3), usd=5200, times=4, share=(0.9, 1.0), delay=(2, 44), batch=(1, 1, 2))


def _fan(s: Stage, n: int) -> None:
    schemes, who = _open(s, "fan-in", _anyone(s), n)
    _through(s, who, schemes, many=(8, 11, 15), usd=1500, times=2, share=(0.85, 1.0), delay=(4, 60), batch=(4, 6, 8))


def _dormant(s: Stage, n: int) -> None:
    schemes, who = _open(s, "dormant burst", _anyone(s), n)
    s.quieten(who, 0.0, 0.03)
    s.routine.waged[who[who < s.w.n_persons]] = False
    _through(
        s,
        who,
        schemes,
        many=(3, 5, 8),
        usd=3200,
        times=3,
        share=(0.85, 1.0),
        delay=(2, 40),
        batch=(1, 2, 3),
        span=(5, 16),
    )


def _through(
    s: Stage, who: Ints, scheme: Ints, *, many: tuple[int, ...], usd: float, times: float,
    share: tuple[float, float], delay: tuple[float, float], batch: tuple[int, ...], span: tuple[float, float] = (14, 70),
    slow: float = 0.0, kinds: dict[str, float] | None = None,
) -> None:  # fmt: skip
    """Credits from some payers, and out again."""
    n = len(who)
    if n == 0:
        return
    first, last = s.span(n, *span)
    pool = s.people() | s.w.elsewhere(SENDING) | s.w.own(organisation=True, countries=SENDING)
    inst, payer = s.crowd(pool, s.choose(n, many, tuple(1.0 for _ in many)))
    i, t, amount = s.collects(
        who, inst, payer, np.maximum(s.rng.poisson(times, len(inst)), 1), first, last, s.around(n, usd, 0.7),
        kind=s.kinds(n, kinds or {"invoice": 0.4, "none": 0.35, "loan": 0.25}), faithful=0.65, hour=s.hours(n, 0.25), wobble=np.full(n, 3.0),
        even=s.uniform(n, 0.2, 1.0), scheme=scheme, spread=0.5,
    )  # fmt: skip
    lazy = s.chance(n, slow)
    s.drains(
        who, i, t, amount, batch=s.choose(n, batch, tuple(1.0 for _ in batch)), share=np.where(lazy, s.uniform(n, 0.2, 0.85), s.uniform(n, *share)),
        delay=np.where(lazy, s.uniform(n, 80, 260), s.uniform(n, *delay)), route=s.choose(n, (TRANSFER, REMITTANCE, EXCHANGE, CASH), (5, 3, 1, 1)),
        to=_payee(s, n), kind=s.kinds(n, {"invoice": 0.45, "none": 0.35, "loan": 0.2}), scheme=scheme,
    )  # fmt: skip


def _ring(
    s: Stage,
    table: Ints,
    usd: Floats,
    first: Floats,
    gap: Floats,
    loss: float,
    scheme: Ints,
    *,
    closed: bool,
    rounded: Floats,
) -> None:
    """Money goes along each row of ``table``, ``gap`` hours a hop, back to the first if ``closed``."""
    n, width = table.shape
    at = first * 24.0 + s.uniform(n, 8, 20)
    amount = usd.copy()
    for hop in range(width if closed else width - 1):
        source, target = table[:, hop], table[:, (hop + 1) % width]
        use = (source != target) & (at / 24.0 < s.w.days)
        m = int(use.sum())
        s.pay(
            np.floor(at[use] / 24.0), np.mod(at[use], 24.0), amount[use], source[use], target[use],
            channel=s.choose(m, (CHANNEL["online"], CHANNEL["wire"], CHANNEL["app"]), (5, 2, 3)), instrument=INSTRUMENT["credit_transfer"],
            kind=s.kinds(m, {"invoice": 0.45, "loan": 0.2, "none": 0.35}), scheme=scheme[use], rounded=rounded[use],
        )  # fmt: skip
        amount *= 1.0 - loss * s.rng.random(n)
        at += gap * np.exp(s.rng.normal(0, 0.4, n))


def _groups(s: Stage, kind: str, n: int, width: int) -> tuple[Ints, Ints]:
    """``n`` schemes of ``width`` accounts: two fifths own, the others at other banks or firms outside."""
    own = -(-width * 2 // 5)
    mine = s.w.take(s.rng, _anyone(s), n * own)
    n = len(mine) // own
    mine = mine[: n * own].reshape(n, own)
    others = np.where(
        s.chance(n * (width - own), 0.5), s.circle(s.w.elsewhere(SENDING), n * (width - own), 1)[:, 0],
        s.w.suppliers[s.rng.integers(0, len(s.w.suppliers), n * (width - own))],
    ).reshape(n, width - own)  # fmt: skip
    table = s.rng.permuted(np.hstack([mine, others]), axis=1) if n else np.zeros((0, width), dtype=np.int64)
    schemes = s.register.open("ML-GENERAL", kind, n)
    s.register.members(np.repeat(schemes, own), mine.ravel())
    s.quieten(mine.ravel(), 0.1, 1.3)
    return schemes, table


def _cycle(s: Stage, n: int) -> None:
    schemes, table = _groups(s, "cycle", n, 4)
    n = len(schemes)
    turns = s.choose(n, (2, 3, 5), (3, 4, 3)) if n else np.zeros(0, dtype=np.int64)
    row = np.repeat(np.arange(n), turns)
    first, last = s.span(n, 20, 60)
    m = len(row)
    _ring(s, table[row], s.around(n, 6000, 0.7)[row] * s.uniform(m, 0.8, 1.2), first[row] + s.rng.random(m) * (last - first)[row],
          s.uniform(n, 6, 50)[row], 0.05, schemes[row], closed=True, rounded=s.chance(m, 0.4).astype(float))  # fmt: skip


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
        _ring(s, path, s.around(len(row), 3200, 0.5), start + s.uniform(len(row), 0, 1.5), s.uniform(len(row), 4, 40), 0.06, schemes[row],
              closed=False, rounded=s.chance(len(row), 0.4).astype(float))  # fmt: skip


def _round(s: Stage, n: int) -> None:
    schemes, who = _open(s, "round amounts", s.w.own(organisation=True, countries=SENDING), n)
    _rounds(s, who, schemes)


def _rounds(s: Stage, who: Ints, scheme: Ints) -> None:
    n = len(who)
    partners = s.w.suppliers[s.rng.integers(0, len(s.w.suppliers), (n, 4))]
    first, last = s.span(n, 25, 90)
    count = s.counts(n, 9, 0.4, 4, 25)
    i = np.repeat(np.arange(n), count)
    m = len(i)
    incoming = s.chance(m, 0.5)
    other = partners[i, s.rng.integers(0, 4, m)]
    s.pay(
        first[i] + s.rng.random(m) * (last - first)[i], 13 + s.rng.normal(0, 3, m), s.around(m, 9000, 0.9), np.where(incoming, other, who[i]),
        np.where(incoming, who[i], other), channel=s.choose(m, (CHANNEL["wire"], CHANNEL["online"]), (4, 6)),
        instrument=INSTRUMENT["credit_transfer"], kind=s.kinds(m, {"invoice": 0.6, "none": 0.3, "loan": 0.1}), scheme=scheme[i],
        rounded=np.where(s.chance(m, 0.8), 2.0, 0.0),
    )  # fmt: skip


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
    _cash_in(
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
        slow=0.35,
    )
    who = some(0.007, s.people(ages=(20, 75)))
    _cash_in(
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
        slow=0.4,
        cash=0.3,
    )
    # Church and club collections: members pay cash in by name.
    who = some(0.004, _anyone(s))
    _cash_in(s, who, nobody(len(who)), usd=1900, spread=0.7, cap=9900, sites=(2, 4), cities=(1, 2), count=12, share=(0.5, 1.0), delay=(5, 80), slow=0.4,
             helpers=s.circle(s.people() | w.elsewhere(SENDING), len(who), 6))  # fmt: skip
    # Property and car buyers, event funds, estates: in from few or many, then out.
    who = some(0.007, _anyone(s))
    _through(
        s,
        who,
        nobody(len(who)),
        many=(1, 2, 3),
        usd=5000,
        times=4,
        share=(0.75, 1.0),
        delay=(2, 60),
        batch=(1, 2, 4),
        slow=0.35,
    )
    who = some(0.006, _anyone(s))
    _through(s, who, nobody(len(who)), many=(7, 10, 15), usd=1400, times=2, share=(0.6, 1.0), delay=(4, 80), batch=(3, 6, 10), slow=0.35,
             kinds={"club": 0.3, "charity": 0.2, "invoice": 0.25, "none": 0.25})  # fmt: skip
    # Students and seasonal workers who come back to an account.
    who = some(0.004, s.people(ages=(18, 40)))
    s.quieten(who, 0.0, 0.05)
    s.routine.waged[who] = False
    _through(s, who, nobody(len(who)), many=(2, 4, 7), usd=2600, times=3, share=(0.6, 1.0), delay=(2, 60), batch=(1, 2, 3), span=(6, 25), slow=0.3,
             kinds={"support": 0.3, "school": 0.2, "loan": 0.2, "none": 0.3})  # fmt: skip
    # Affiliates that lend to each other, and firms that trade in round sums.
    who = some(0.006, orgs)
    n = len(who) // 2
    table = np.column_stack([who[:n], s.circle(orgs, n, 1)[:, 0], w.suppliers[s.rng.integers(0, len(w.suppliers), n)]])
    first, last = s.span(n, 30, 90)
    row = np.repeat(np.arange(n), 3)
    m = len(row)
    _ring(s, table[row], s.around(n, 5500, 0.7)[row], first[row] + s.rng.random(m) * (last - first)[row], s.uniform(m, 10, 120), 0.3,
          nobody(m), closed=True, rounded=s.chance(m, 0.4).astype(float))  # fmt: skip
    _rounds(s, who[n:], nobody(len(who) - n))
