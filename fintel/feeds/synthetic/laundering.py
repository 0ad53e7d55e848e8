"""General laundering patterns (FINTRAC 18/19-SIDEL-025; FinCEN FIN-2014-A005, FIN-2025-NTC1); what resembles
them is in ``lawful``."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.flows import ring, rounds, through
from fintel.feeds.synthetic.geography import Ints
from fintel.feeds.synthetic.lawful import mimic
from fintel.feeds.synthetic.stage import SENDING, Stage
from fintel.feeds.synthetic.waves import cash_rounds, gather_rounds
from fintel.feeds.synthetic.world import Bools

__all__ = ["mimic", "plant"]

_TEXTS = {"invoice": 0.4, "none": 0.35, "loan": 0.25}


def plant(s: Stage) -> None:
    """Twelve kinds, one after the other, so that a small population has most of them."""
    kinds = (
        _structuring, _pass_through, _funnel, _gather, _smurfing, _cycle,
        _fan_in, _dormant, _scatter, _fan_out, _round, _careful,
    )  # fmt: skip
    total = s.number(0.0028, 5)
    for k, kind in enumerate(kinds):
        n = total // len(kinds) + (k < total % len(kinds))
        if n:
            kind(s, n)


def _open(s: Stage, kind: str, pool: Bools, n: int, life: float = 1.0) -> tuple[Ints, Ints]:
    who = s.w.take(s.rng, pool, n)
    schemes = s.register.open("ML-GENERAL", kind, len(who))
    s.register.members(schemes, who)
    s.quieten(who, 0.05, life)
    return schemes, who


def _hollow(s: Stage, who: Ints, share: float) -> None:
    """A share of the accounts serves for nothing else: no household, no trade."""
    some = who[s.chance(len(who), share)]
    s.shell(some)
    s.unsettle(some[some < s.w.n_persons])


def _anyone(s: Stage) -> Bools:
    return s.people(ages=(18, 80)) | s.w.own(organisation=True, countries=SENDING)


def _reported(s: Stage) -> Bools:
    """Whoever banks where cash from a published line on is reported."""
    lined = ("US", "CA", "AU", "PH")
    return s.people(lined, (18, 80)) | s.w.own(organisation=True, countries=lined)


def _structuring(s: Stage, n: int) -> None:
    """Just below the line of the currency, at several branches of one day, out together."""
    schemes, who = _open(s, "structuring", _reported(s), n)
    m = len(who)
    cash_rounds(
        s,
        who,
        schemes,
        turns=(1, 2, 3),
        parts=(3, 4, 5),
        days=np.ones(m, dtype=np.int64),
        low=s.uniform(m, 0.75, 0.93),
        high=np.full(m, 0.99),
        cities=s.choose(m, (1, 2), (2, 1)),
        away=np.zeros(m, dtype=np.int64),
        machine=0.3,
        delay=(3, 30),
        share=(0.88, 1.0),
        cash=0.1,
    )


def _careful(s: Stage, n: int) -> None:
    """Smaller and uneven sums, days apart, kept a while."""
    schemes, who = _open(s, "careful structuring", _reported(s), n)
    m = len(who)
    cash_rounds(
        s,
        who,
        schemes,
        turns=(1, 2, 3),
        parts=(3, 4, 5, 6),
        days=s.rng.integers(3, 8, m),
        low=s.uniform(m, 0.35, 0.6),
        high=s.uniform(m, 0.75, 0.97),
        cities=s.choose(m, (1, 2, 3), (1, 1, 1)),
        away=np.zeros(m, dtype=np.int64),
        machine=0.4,
        delay=(20, 120),
        share=(0.75, 1.0),
        cash=0.1,
    )


def _smurfing(s: Stage, n: int) -> None:
    """Several people pay in for one account at different branches, within a day or two."""
    schemes, who = _open(s, "smurfing", _anyone(s), n)
    m = len(who)
    cash_rounds(
        s,
        who,
        schemes,
        turns=(1, 2, 3),
        parts=(3, 4, 5, 6),
        days=s.choose(m, (1, 2), (3, 1)),
        low=s.uniform(m, 0.12, 0.3),
        high=s.uniform(m, 0.5, 0.98),
        cities=s.choose(m, (1, 2), (2, 1)),
        away=np.zeros(m, dtype=np.int64),
        machine=0.3,
        delay=(4, 48),
        share=(0.85, 1.0),
        cash=0.15,
        helpers=s.circle(s.people() | s.w.elsewhere(SENDING), m, 6),
    )


def _funnel(s: Stage, n: int) -> None:
    """Cash paid in in several other towns, drawn at home soon after."""
    schemes, who = _open(s, "funnel", _anyone(s), n, 0.6)
    m = len(who)
    cash_rounds(
        s,
        who,
        schemes,
        turns=(2, 3, 4),
        parts=(3, 4, 5, 6),
        days=s.choose(m, (1, 2, 3), (1, 2, 1)),
        low=s.uniform(m, 0.08, 0.2),
        high=s.uniform(m, 0.4, 0.95),
        cities=s.choose(m, (2, 3, 4), (1, 1, 1)),
        away=np.ones(m, dtype=np.int64),
        machine=0.45,
        delay=(3, 36),
        share=(0.85, 1.0),
        cash=0.7,
    )


def _pass_through(s: Stage, n: int) -> None:
    """An account that serves for nothing else: out within a day or two of coming in, again and again."""
    schemes, who = _open(s, "pass-through", _anyone(s), n, 0.4)
    _hollow(s, who, 0.5)
    through(s, who, schemes, many=(1, 2, 3), usd=3900, times=5, share=(0.92, 1.0), delay=(2, 24), batch=(1, 1, 2))


def _fan_in(s: Stage, n: int) -> None:
    _gathered(s, "fan-in", n, payers=(8, 11, 15), recipients=(1, 1, 2), usd=1300)


def _gather(s: Stage, n: int) -> None:
    _gathered(s, "gather-scatter", n, payers=(8, 10, 14), recipients=(4, 5, 7), usd=1500)


def _fan_out(s: Stage, n: int) -> None:
    """One or two large credits of firms, then many payees within days."""
    _gathered(s, "fan-out", n, payers=(1, 2), recipients=(8, 10, 13), usd=14_000, firms=True)


def _gathered(
    s: Stage,
    kind: str,
    n: int,
    *,
    payers: tuple[int, ...],
    recipients: tuple[int, ...],
    usd: float,
    firms: bool = False,
) -> None:
    schemes, who = _open(s, kind, _anyone(s), n)
    _hollow(s, who, 0.5)
    gather_rounds(
        s,
        who,
        schemes,
        turns=(1, 2, 3),
        payers=payers,
        days=s.rng.integers(2, 6, len(who)),
        usd=usd,
        recipients=recipients,
        delay=(4, 36),
        share=(0.88, 1.0),
        kinds=_TEXTS,
        firms=firms,
    )


def _dormant(s: Stage, n: int) -> None:
    """Nothing for long, then within weeks a lot, and out at once."""
    schemes, who = _open(s, "dormant burst", _anyone(s), n)
    s.unsettle(who)
    gather_rounds(
        s,
        who,
        schemes,
        turns=(1, 2, 3),
        payers=(2, 4, 6),
        days=s.rng.integers(1, 4, len(who)),
        usd=2800,
        recipients=(1, 2),
        delay=(2, 30),
        share=(0.88, 1.0),
        kinds=_TEXTS,
        span=(5, 16),
        latest=True,
    )


def _groups(s: Stage, kind: str, n: int, width: int) -> tuple[Ints, Ints]:
    """``n`` schemes of ``width`` accounts: two fifths own, the others at other banks or firms outside."""
    own = -(-width * 2 // 5)
    mine = s.w.take(s.rng, _anyone(s), n * own)
    n = len(mine) // own
    mine = mine[: n * own].reshape(n, own)
    others = np.where(
        s.chance(n * (width - own), 0.5),
        s.circle(s.w.elsewhere(SENDING), n * (width - own), 1)[:, 0],
        s.w.suppliers[s.rng.integers(0, len(s.w.suppliers), n * (width - own))],
    ).reshape(n, width - own)
    table = s.rng.permuted(np.hstack([mine, others]), axis=1) if n else np.zeros((0, width), dtype=np.int64)
    schemes = s.register.open("ML-GENERAL", kind, n)
    s.register.members(np.repeat(schemes, own), mine.ravel())
    s.quieten(mine.ravel(), 0.1, 1.2)
    return schemes, table


def _cycle(s: Stage, n: int) -> None:
    schemes, table = _groups(s, "cycle", n, 4)
    n = len(schemes)
    turns = s.choose(n, (2, 3, 5), (3, 4, 3)) if n else np.zeros(0, dtype=np.int64)
    row = np.repeat(np.arange(n), turns)
    first, last = s.span(n, 20, 60)
    m = len(row)
    ring(
        s,
        table[row],
        s.around(n, 6000, 0.7)[row] * s.uniform(m, 0.8, 1.2),
        first[row] + s.rng.random(m) * (last - first)[row],
        s.uniform(n, 6, 50)[row],
        0.05,
        schemes[row],
        closed=True,
        rounded=s.chance(m, 0.4).astype(float),
    )


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
        ring(
            s,
            path,
            s.around(len(row), 3200, 0.5),
            start + s.uniform(len(row), 0, 1.5),
            s.uniform(len(row), 4, 40),
            0.06,
            schemes[row],
            closed=False,
            rounded=s.chance(len(row), 0.4).astype(float),
        )


def _round(s: Stage, n: int) -> None:
    schemes, who = _open(s, "round amounts", s.w.own(organisation=True, countries=SENDING), n)
    rounds(s, who, schemes, 0.55)
