"""Money that comes in within hours or days and leaves together: parts, one account, and out."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.behaviour import CASH, EXCHANGE, REMITTANCE, TRANSFER, other_city
from fintel.feeds.synthetic.geography import CASH_LINE_USD, CITY_COUNT, Floats, Ints
from fintel.feeds.synthetic.stage import SENDING, Stage


def rounds_of(s: Stage, first: Floats, last: Floats, n: Ints) -> tuple[Ints, Floats]:
    """Instance and first day of ``n`` rounds each, spread over the time between two days."""
    i = np.repeat(np.arange(len(n)), n)
    turn = np.arange(len(i)) - np.repeat(np.cumsum(n) - n, n)
    day = first[i] + (last - first)[i] * (turn + 0.6 * s.rng.random(len(i))) / n[i]
    return i, np.floor(day)


def cash_rounds(
    s: Stage,
    who: Ints,
    scheme: Ints,
    *,
    turns: tuple[int, ...],
    parts: tuple[int, ...],
    days: Ints,
    low: Floats,
    high: Floats,
    cities: Ints,
    away: Ints,
    machine: float,
    delay: tuple[float, float],
    share: tuple[float, float],
    cash: float,
    helpers: Ints | None = None,
    span: tuple[float, float] = (8, 60),
) -> None:
    """Cash in ``parts`` at as many places within ``days`` days (1 = within one day's opening hours), each
    between ``low`` and ``high`` shares of the cash line of the account's own currency, in ``cities`` towns
    of which the first is ``away`` towns from home; then out again in one payment (``cash``: how often in
    cash or purchases at home). ``helpers`` (instance, people) names the depositors, each once a round."""
    n = len(who)
    if n == 0:
        return
    w = s.w
    i, start = rounds_of(s, *s.span(n, *span), s.choose(n, turns, tuple(1.0 for _ in turns)))
    k = s.choose(len(i), parts, tuple(1.0 for _ in parts))
    j = np.repeat(np.arange(len(i)), k)
    m = len(j)
    turn = np.arange(m) - np.repeat(np.cumsum(k) - k, k)
    a = i[j]
    day = start[j] + np.floor(s.rng.random(m) * days[a])
    hour = s.uniform(m, 9.0, 17.0)
    line = CASH_LINE_USD[w.currency[who[a]]]
    usd = line * (low[a] + s.rng.random(m) * (high - low)[a])
    country = w.country[who[a]]
    step = np.minimum(away[a] + turn % cities[a], CITY_COUNT[country] - 1)
    city = other_city(w.city(who[a]), country, step)
    inside = day < w.days
    a, j, turn, city = a[inside], j[inside], turn[inside], city[inside]
    day, hour, usd = day[inside], hour[inside], usd[inside]
    named = np.full(len(a), -1, dtype=np.int64)
    if helpers is not None:
        named = w.party[helpers[a, turn % helpers.shape[1]]]
    s.cash(
        day,
        hour,
        usd,
        who[a],
        incoming=np.ones(len(a), dtype=bool),
        machine=s.chance(len(a), machine),
        city=city,
        site=who[a] + turn,
        scheme=scheme[a],
        named=named,
        rounded=s.chance(len(a), 0.6).astype(float),
    )
    t, _ = w.moment(np.floor(day).astype(np.int64), hour, city)
    leave(s, who, scheme, i, j, t, usd, k, delay=delay, share=share, cash=cash)


def leave(
    s: Stage,
    who: Ints,
    scheme: Ints,
    i: Ints,
    j: Ints,
    t: Ints,
    usd: Floats,
    k: Ints,
    *,
    delay: tuple[float, float],
    share: tuple[float, float],
    cash: float = 0.0,
    recipients: Ints | None = None,
) -> None:
    """What came in during round ``j`` of instance ``i[j]`` leaves together, to one or several payees."""
    n, m = len(who), len(i)
    several = np.ones(m, dtype=np.int64) if recipients is None else recipients
    to = payees(s, n, int(several.max(initial=1)))
    route = np.where(s.chance(n, cash), CASH, s.choose(n, (TRANSFER, REMITTANCE, EXCHANGE), (6, 3, 1)))
    route = np.where(several > 1, TRANSFER, route[i])
    wait, part = s.uniform(n, *delay)[i], s.uniform(n, *share)[i]
    for turn in range(int(several.max(initial=0))):
        use = several[j] > turn
        s.drains(
            who[i],
            j[use],
            t[use],
            usd[use],
            batch=np.maximum(k, 1),
            share=part / several * s.uniform(m, 0.9, 1.1) if several.max() > 1 else part,
            delay=wait,
            route=route,
            to=to[i, turn],
            kind=s.kinds(n, {"invoice": 0.45, "none": 0.35, "loan": 0.2})[i],
            scheme=scheme[i],
            jitter=0.3,
        )


def payees(s: Stage, n: int, width: int) -> Ints:
    """A table of firms and strangers who are paid."""
    firms = s.w.suppliers[s.rng.integers(0, len(s.w.suppliers), (n, width))]
    return np.where(s.rng.random((n, width)) < 0.8, firms, s.circle(s.w.abroad() | s.w.elsewhere(SENDING), n, width))


def gather_rounds(
    s: Stage,
    who: Ints,
    scheme: Ints,
    *,
    turns: tuple[int, ...],
    payers: tuple[int, ...],
    days: Ints,
    usd: float,
    recipients: tuple[int, ...],
    delay: tuple[float, float],
    share: tuple[float, float],
    kinds: dict[str, float],
    firms: bool = False,
    span: tuple[float, float] = (10, 60),
    latest: bool = False,
) -> None:
    """``payers`` pay within ``days`` days, then it leaves to ``recipients`` at once; some rounds of it.
    ``firms`` pay rather than people; ``latest`` puts all of it into the last two fifths of the period."""
    n = len(who)
    if n == 0:
        return
    w = s.w
    first, last = s.span(n, *span)
    if latest:
        shift = np.maximum(w.days * 0.6 - first, 0.0)
        first, last = first + shift, np.minimum(last + shift, w.days - 2.0)
    i, start = rounds_of(s, first, last, s.choose(n, turns, tuple(1.0 for _ in turns)))
    pool = w.own(organisation=True, countries=SENDING)
    pool = pool if firms else s.people() | w.elsewhere(SENDING) | pool
    size = s.choose(n, payers, tuple(1.0 for _ in payers))
    _, crowd = s.crowd(pool, np.full(n, size.max()), who)
    crowd = crowd.reshape(n, -1)
    k = size[i]
    j = np.repeat(np.arange(len(i)), k)
    turn = np.arange(len(j)) - np.repeat(np.cumsum(k) - k, k)
    j, t, got = s.collects(
        who[i],
        j,
        crowd[i[j], turn],
        np.ones(len(j), dtype=np.int64),
        start,
        start + days[i] - 1.0,
        s.around(n, usd, 0.4)[i],
        kind=s.kinds(n, kinds)[i],
        faithful=0.65,
        hour=s.uniform(n, 9, 20)[i],
        wobble=np.full(len(i), 2.5),
        even=s.uniform(n, 0.1, 0.7)[i],
        scheme=scheme[i],
        spread=0.4,
    )
    several = s.choose(n, recipients, tuple(1.0 for _ in recipients))[i]
    leave(s, who, scheme, i, j, t, got, k, delay=delay, share=share, recipients=several)
