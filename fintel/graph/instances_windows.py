"""The strongest windows of groups of payments: what fans, gather–scatter, round trips, funnels and scatter–gather
share.

A group is the payments of an account, of a pair of accounts, or of a payer and a payee with the mids between them, in
order. Of a group the window (t - within, t] that is strongest is taken, then the strongest before it, then the
strongest after it, and so on: **instances of one group do not overlap in time**, and each is as large as its window
allows. Among equally strong ones that with most payments is taken, then the earliest. Fans go on: a payment that is in
none of these, but in some window with enough counterparties, is told in the strongest window that holds it, whatever
that overlaps; so no payment of such a window is left untold. What *strong* means:

* ``FAN``: different counterparties.
* ``TURN``: over all moments T, accounts that paid before T or that were paid from T on, whichever are fewer. Part of it
  are the payments in before the last out, and those out after the first in.
* ``ROUND``: payments in the one direction or in the other, whichever are fewer.
* ``FUNNEL``: places of payments in other than the place out, where ``ONE_PLACE`` of the payments out, counted from the
  first in, are.
* ``MEETING``: mids that were paid before they paid (and, with an amount rule, passed the amount on).

**Hubs.** A group that ever has more than ``cap`` payments in a window (fans: counterparties) is a hub's, and is not
searched: slices of its traffic would be no patterns. It is told as skipped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from fintel.graph.instances_fans import widest, widths
from fintel.graph.instances_found import Found, pushed
from fintel.graph.kernels_amounts import kept

Array = npt.NDArray[Any]

_jit = numba.njit(nogil=True, cache=True)

FAN, TURN, ROUND, FUNNEL, MEETING = range(5)
IN, OUT = 0, 1
#: A funnel's payments out are of one place if at least this share of them is.
ONE_PLACE = 0.8


class Items(NamedTuple):
    """Payments by group. start: int64 (groups + 1,); edge: int64; time µs, amount (-1 unknown): int64; side: ``IN`` or
    ``OUT`` (of a meeting: first and second leg), uint8; code: int32, of the counterparty, the place or the mid."""

    start: Array
    edge: Array
    time: Array
    amount: Array
    side: Array
    code: Array


def items(group: Array, edge: Array, side: Array, code: Array, time: Array, amount: Array) -> tuple[Items, Array]:
    """Items ordered by (group, time, edge), and the groups in order. ``time`` and ``amount`` by edge number."""
    order = np.lexsort((edge, time[edge], group))
    groups, first = np.unique(group[order], return_index=True)
    edge = edge[order].astype(np.int64)
    start = np.append(first, edge.size).astype(np.int64)
    return Items(
        start, edge, time[edge], amount[edge], side[order].astype(np.uint8), code[order].astype(np.int32)
    ), groups


def strongest(
    kind: int, found: Items, anchors: Array, *, within: int, at_least: int, cap: int, low: float, high: float
) -> Found:
    """The strongest windows of each group as instances; ``anchors`` (groups,): node of each.

    ``skipped``: the anchors of groups that are hubs'.
    """
    codes = int(found.code.max(initial=-1)) + 1
    chosen = _strongest(kind, *found, codes, within, at_least, cap, low, high)
    group, start, item, hop, retention, score, hubs = chosen
    return Found(
        anchors[group], start, found.edge[item], hop, retention, score,
        [("hub: more in one window than the cap", anchors[hubs])] if hubs.size else [],
    )  # fmt: skip


@_jit
def _turn(
    time: Array,
    amount: Array,
    side: Array,
    code: Array,
    i: int,
    j: int,
    low: float,
    high: float,
    counts: Array,
    before: Array,
) -> Any:
    """In items i … j, whose last is out: the score, the first item in, and how many are part of it."""
    payers = 0
    for k in range(i, j + 1):
        before[k - i] = payers
        if side[k] == IN and counts[code[k]] & 1 == 0:
            counts[code[k]] |= 1
            payers += 1
    score = payees = 0
    k = j
    while k >= i:
        when = time[k]
        while k >= i and time[k] == when:
            if side[k] == OUT and counts[code[k]] & 2 == 0:
                counts[code[k]] |= 2
                payees += 1
            k -= 1
        score = max(score, min(before[k + 1 - i], payees))
    first = -1
    received = paid = 0.0
    size = 0
    for k in range(i, j + 1):
        counts[code[k]] = 0
        if side[k] == IN and time[k] < time[j]:
            first = k if first < 0 else first
            received += max(amount[k], 0)
            size += 1
        elif side[k] == OUT and first >= 0 and time[k] > time[first]:
            paid += max(amount[k], 0)
            size += 1
    if low > 0 and not received * low <= paid <= received * high:
        return 0, -1, 0
    return score, first, size


@_jit
def _funnel(side: Array, code: Array, i: int, j: int, counts: Array) -> Any:
    """In items i … j, whose last is out: places in other than the one place out, that place, payments."""
    first = i
    while first <= j and side[first] != IN:
        first += 1
    outs = 0
    place, most = -1, 0
    for k in range(first, j + 1):
        if side[k] == OUT:
            outs += 1
            counts[code[k]] += 1
            if counts[code[k]] > most:
                place, most = code[k], counts[code[k]]
    for k in range(first, j + 1):
        counts[code[k]] = 0
    if outs == 0 or most < ONE_PLACE * outs:
        return 0, -1, 0
    places = 0
    size = most
    for k in range(first, j + 1):
        if side[k] == IN and code[k] != place:
            size += 1
            if counts[code[k]] == 0:
                counts[code[k]] = 1
                places += 1
    for k in range(first, j + 1):
        counts[code[k]] = 0
    return places, place, size


@_jit
def _legs(
    time: Array,
    amount: Array,
    side: Array,
    code: Array,
    i: int,
    j: int,
    low: float,
    high: float,
    counts: Array,
    used: Array,
) -> Any:
    """In items i … j: mids that were paid before they paid; marks the payments that make it so in ``used``."""
    mids = 0
    size = 0
    for k in range(i, j + 1):
        used[k - i] = 0
    for k in range(i, j + 1):
        if side[k] == OUT:
            for f in range(i, k):
                if (
                    side[f] == IN
                    and code[f] == code[k]
                    and time[f] < time[k]
                    and (low <= 0 or kept(amount[f], amount[k], low, high))
                ):
                    if counts[code[k]] == 0:
                        counts[code[k]] = 1
                        mids += 1
                    size += 2 - used[f - i] - used[k - i]
                    used[f - i] = 1
                    used[k - i] = 1
    for k in range(i, j + 1):
        counts[code[k]] = 0
    return mids, size


@_jit
def _best(
    kind: int, time: Array, amount: Array, side: Array, code: Array, begin: int, end: int, within: int, cap: int,
    low: float, high: float, counts: Array, before: Array, used: Array,
) -> Any:  # fmt: skip
    """score, first and last item, split (kinds that have one), hub."""
    if kind == FAN:
        score, at, to, size, hub = widest(time, code, begin, end, within, cap, counts)
        return score, at, to, -1, hub
    score, at, to, split, size = 0, -1, -1, -1, 0
    hub = False
    i = begin
    ins = outs = 0
    forth = back = 0.0
    for j in range(begin, end):
        if side[j] == IN:
            ins += 1
            forth += max(amount[j], 0)
        else:
            outs += 1
            back += max(amount[j], 0)
        while time[i] <= time[j] - within:
            if side[i] == IN:
                ins -= 1
                forth -= max(amount[i], 0)
            else:
                outs -= 1
                back -= max(amount[i], 0)
            i += 1
        if min(ins, outs) == 0 or (kind != ROUND and side[j] == IN):
            continue
        if j - i + 1 > cap:
            hub = True
            continue
        if kind == ROUND:
            fits = low <= 0 or min(forth, back) >= low * max(forth, back)
            mine, where, many = (min(ins, outs), -1, ins + outs) if fits else (0, -1, 0)
        elif kind == TURN:
            if min(ins, outs) < score:
                continue
            mine, where, many = _turn(time, amount, side, code, i, j, low, high, counts, before)
        elif kind == FUNNEL:
            mine, where, many = _funnel(side, code, i, j, counts)
        else:
            mine, many = _legs(time, amount, side, code, i, j, low, high, counts, used)
            where = -1
        if mine > score or (mine == score and many > size):
            score, at, to, split, size = mine, i, j, where, many
    return score, at, to, split, hub


@_jit
def _chosen(kind: int, time: Array, side: Array, code: Array, k: int, at: int, to: int, split: int, used: Array) -> int:
    """The hop of item ``k`` in the instance whose window begins at ``at``; 0 if it is not part of it."""
    if kind == FAN:
        return 1
    if kind == TURN:
        if side[k] == IN:
            return 1 if time[k] < time[to] else 0
        return 2 if time[k] > time[split] else 0
    if kind == FUNNEL:
        if side[k] == IN:
            return 1 if code[k] != split else 0
        return 2 if code[k] == split else 0
    if kind == MEETING:
        return (1 if side[k] == IN else 2) if used[k - at] else 0
    return 1 if side[k] == side[at] else 2


@_jit
def _strongest(
    kind: int, group_start: Array, edge: Array, time: Array, amount: Array, side: Array, code: Array, codes: int,
    within: int, at_least: int, cap: int, low: float, high: float,
) -> Any:  # fmt: skip
    counts = np.zeros(codes, np.int32)
    longest = 0
    for g in range(group_start.size - 1):
        longest = max(longest, group_start[g + 1] - group_start[g])
    before = np.zeros(min(longest, cap + 1) + 1, np.int64)
    used = np.zeros(longest + 1, np.uint8)
    group = np.zeros(16, np.int64)
    start = np.zeros(16, np.int64)
    item = np.zeros(16, np.int64)
    hop = np.zeros(16, np.int64)
    retention = np.zeros(16)
    score = np.zeros(16, np.int64)
    hubs = np.zeros(0, np.int64)
    count = size = skipped = 0
    todo = np.zeros((64, 2), np.int64)
    told = np.zeros(time.size, np.uint8)
    fans = np.zeros(longest, np.int64)
    for g in range(group_start.size - 1):
        todo[0, 0], todo[0, 1] = group_start[g], group_start[g + 1]
        left = 1
        while left > 0:
            left -= 1
            begin, end = todo[left, 0], todo[left, 1]
            best, at, to, split, hub = _best(
                kind, time, amount, side, code, begin, end, within, cap, low, high, counts, before, used
            )
            if hub:
                hubs = pushed(hubs, skipped, g)
                skipped += 1
                told[begin:end] = 1
                continue
            if best < at_least or at < 0:
                continue
            while kind == FUNNEL and side[at] == OUT:
                at += 1
            if kind == MEETING:
                _legs(time, amount, side, code, at, to, low, high, counts, used)
            first = -1
            brought = paid = 0.0
            for wanted in range(1, 3):
                for k in range(at, to + 1):
                    step = _chosen(kind, time, side, code, k, at, to, split, used)
                    if step > 0:
                        first = k if first < 0 else min(first, k)
                    if step == wanted:
                        told[k] = 1
                        item = pushed(item, size, k)
                        hop = pushed(hop, size, step)
                        size += 1
                        if step == 1:
                            brought += max(amount[k], 0)
                        else:
                            paid += max(amount[k], 0)
            group = pushed(group, count, g)
            score = pushed(score, count, best)
            share = np.nan
            if kind != FAN and brought > 0:
                share = paid / brought if kind != ROUND or paid <= brought else brought / paid
            retention = _put(retention, count, share)
            count += 1
            start = pushed(start, count, size)
            if left + 2 > todo.shape[0]:
                wider = np.zeros((2 * todo.shape[0], 2), np.int64)
                wider[:left] = todo[:left]
                todo = wider
            todo[left, 0], todo[left, 1] = to + 1, end
            todo[left + 1, 0], todo[left + 1, 1] = begin, first
            left += 2
        if kind == FAN:
            begin, end = group_start[g], group_start[g + 1]
            widths(time, code, begin, end, within, counts, fans)
            for k in range(begin, end):
                if told[k]:
                    continue
                to = k
                for j in range(k, end):
                    if time[j] - time[k] >= within:
                        break
                    if fans[j - begin] > fans[to - begin]:
                        to = j
                if fans[to - begin] < at_least:
                    continue
                while to + 1 < end and time[to + 1] - time[k] < within and fans[to + 1 - begin] == fans[to - begin]:
                    to += 1
                at = to
                while at > begin and time[at - 1] > time[to] - within:
                    at -= 1
                for f in range(at, to + 1):
                    told[f] = 1
                    item = pushed(item, size, f)
                    hop = pushed(hop, size, 1)
                    size += 1
                group = pushed(group, count, g)
                score = pushed(score, count, fans[to - begin])
                retention = _put(retention, count, np.nan)
                count += 1
                start = pushed(start, count, size)
    return (
        group[:count].copy(), start[: count + 1].copy(), item[:size].copy(), hop[:size].copy(),
        retention[:count].copy(), score[:count].copy(), hubs[:skipped].copy(),
    )  # fmt: skip


@_jit
def _put(store: Array, size: int, value: float) -> Array:
    if size == store.size:
        wider = np.empty(2 * size + 16, store.dtype)
        wider[:size] = store
        store = wider
    store[size] = value
    return store
