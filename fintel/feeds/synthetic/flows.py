"""Money in, money on: patterns that launderers and honest people share."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.behaviour import CASH, EXCHANGE, REMITTANCE, TRANSFER
from fintel.feeds.synthetic.geography import CASH_LINE_USD, Floats, Ints
from fintel.feeds.synthetic.ledger import CHANNEL, INSTRUMENT
from fintel.feeds.synthetic.stage import SENDING, Stage


def cash_in(
    s: Stage,
    who: Ints,
    scheme: Ints,
    *,
    usd: float,
    spread: float,
    cap: float,
    sites: tuple[int, ...],
    cities: tuple[int, ...],
    count: float,
    share: tuple[float, float],
    delay: tuple[float, float],
    cash: float = 0.15,
    helpers: Ints | None = None,
    slow: float = 0.0,
) -> None:
    """Cash in at several places, most of it out again together; ``cap`` is a share of the cash line."""
    n = len(who)
    if n == 0:
        return
    first, last = s.span(n, 10, 60)
    i, t, amount = s.deposits(
        who,
        first,
        last,
        s.counts(n, count, 0.45, 3, 40),
        s.around(n, usd, 0.3),
        spread=np.full(n, spread),
        cap=cap * CASH_LINE_USD[s.w.currency[who]],
        sites=s.choose(n, sites, tuple(1.0 for _ in sites)),
        cities=s.choose(n, cities, tuple(1.0 for _ in cities)),
        hour=np.where(s.chance(n, 0.25), s.uniform(n, 19, 24), s.uniform(n, 9, 17)),
        wobble=np.full(n, 2.5),
        machine=s.uniform(n, 0.0, 0.6),
        scheme=scheme,
        helpers=helpers,
    )
    lazy = s.chance(n, slow)
    s.drains(
        who,
        i,
        t,
        amount,
        batch=s.choose(n, (1, 2, 3, 5), (2, 3, 3, 2)),
        share=np.where(lazy, s.uniform(n, 0.2, 0.8), s.uniform(n, *share)),
        delay=np.where(lazy, s.uniform(n, 80, 250), s.uniform(n, *delay)),
        route=np.where(s.chance(n, cash), CASH, s.choose(n, (TRANSFER, REMITTANCE, EXCHANGE), (6, 3, 1))),
        to=payee(s, n),
        kind=s.kinds(n, {"invoice": 0.45, "none": 0.35, "loan": 0.2}),
        scheme=scheme,
    )


def payee(s: Stage, n: int) -> Ints:
    return np.where(
        s.chance(n, 0.6),
        s.w.suppliers[s.rng.integers(0, len(s.w.suppliers), n)],
        s.circle(s.w.abroad() | s.w.elsewhere(SENDING), n, 1)[:, 0],
    )


def through(
    s: Stage,
    who: Ints,
    scheme: Ints,
    *,
    many: tuple[int, ...],
    usd: float,
    times: float,
    share: tuple[float, float],
    delay: tuple[float, float],
    batch: tuple[int, ...],
    span: tuple[float, float] = (14, 70),
    slow: float = 0.0,
    kinds: dict[str, float] | None = None,
) -> None:
    """Credits from some payers, and out again."""
    n = len(who)
    if n == 0:
        return
    first, last = s.span(n, *span)
    pool = s.people() | s.w.elsewhere(SENDING) | s.w.own(organisation=True, countries=SENDING)
    inst, payer = s.crowd(pool, s.choose(n, many, tuple(1.0 for _ in many)), who)
    i, t, amount = s.collects(
        who,
        inst,
        payer,
        np.maximum(s.rng.poisson(times, len(inst)), 1),
        first,
        last,
        s.around(n, usd, 0.7),
        kind=s.kinds(n, kinds or {"invoice": 0.4, "none": 0.35, "loan": 0.25}),
        faithful=0.65,
        hour=s.hours(n, 0.25),
        wobble=np.full(n, 3.0),
        even=s.uniform(n, 0.2, 1.0),
        scheme=scheme,
        spread=0.5,
    )
    lazy = s.chance(n, slow)
    s.drains(
        who,
        i,
        t,
        amount,
        batch=s.choose(n, batch, tuple(1.0 for _ in batch)),
        share=np.where(lazy, s.uniform(n, 0.2, 0.85), s.uniform(n, *share)),
        delay=np.where(lazy, s.uniform(n, 80, 260), s.uniform(n, *delay)),
        route=s.choose(n, (TRANSFER, REMITTANCE, EXCHANGE, CASH), (5, 3, 1, 1)),
        to=payee(s, n),
        kind=s.kinds(n, {"invoice": 0.45, "none": 0.35, "loan": 0.2}),
        scheme=scheme,
    )


def ring(
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
            np.floor(at[use] / 24.0),
            np.mod(at[use], 24.0),
            amount[use],
            source[use],
            target[use],
            channel=s.choose(m, (CHANNEL["online"], CHANNEL["wire"], CHANNEL["app"]), (5, 2, 3)),
            instrument=INSTRUMENT["credit_transfer"],
            kind=s.kinds(m, {"invoice": 0.45, "loan": 0.2, "none": 0.35}),
            scheme=scheme[use],
            rounded=rounded[use],
        )
        amount *= 1.0 - loss * s.rng.random(n)
        at += gap * np.exp(s.rng.normal(0, 0.4, n))


def rounds(s: Stage, who: Ints, scheme: Ints, stepped: float) -> None:
    """Trade with four partners in round sums, a share ``stepped`` of them in steps of about 50,000."""
    n = len(who)
    partners = s.w.suppliers[s.rng.integers(0, len(s.w.suppliers), (n, 4))]
    first, last = s.span(n, 25, 90)
    count = s.counts(n, 9, 0.4, 4, 25)
    i = np.repeat(np.arange(n), count)
    m = len(i)
    incoming = s.chance(m, 0.5)
    other = partners[i, s.rng.integers(0, 4, m)]
    steps = s.choose(m, (25_000, 50_000, 100_000, 150_000), (2, 4, 2, 1)).astype(float)
    s.pay(
        first[i] + s.rng.random(m) * (last - first)[i],
        13 + s.rng.normal(0, 3, m),
        np.where(s.chance(m, stepped), steps, s.around(m, 9000, 0.9)),
        np.where(incoming, other, who[i]),
        np.where(incoming, who[i], other),
        channel=s.choose(m, (CHANNEL["wire"], CHANNEL["online"]), (4, 6)),
        instrument=INSTRUMENT["credit_transfer"],
        kind=s.kinds(m, {"invoice": 0.6, "none": 0.3, "loan": 0.1}),
        scheme=scheme[i],
        rounded=np.where(s.chance(m, 0.8), 2.0, 0.0),
    )
