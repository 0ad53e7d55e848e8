"""Measures restated as SQL: each anchor ``a`` joined with the entries ``e`` of its window.

Every CTE has two columns, ``entry_id`` of the anchor and ``value`` (a double); an anchor that is
missing has no value.
"""

from __future__ import annotations

from datetime import timedelta

from fintel.domain.schema import SEEN_ENTRIES, Type
from fintel.rules.model import BETWEEN, Measure, Rule

_UNITS = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))
DAY_US = "86400e6"
#: Peers are compared by blocks of 30 days, counted from 1970.
_BLOCK = timedelta(days=30)
#: A group with fewer accounts is widened.
PEERS_AT_LEAST = 30
#: Mean radius of the earth, km.
_RADIUS = "6371.0088e0"
COORDINATES = ("place_latitude", "place_longitude")


def span_sql(span: timedelta) -> str:
    """A span as an interval in the largest unit that fits."""
    for word, unit in _UNITS:
        if span and span % unit == timedelta(0):
            return f"interval {span // unit} {word}"
    return f"interval {span // timedelta(microseconds=1)} microsecond"


def measure_sql(measure: Measure, where: str, rule: Rule) -> str:
    """The body of a measure's CTE. ``where``: the boolean column that selects its entries."""
    if measure.kind == "peers":
        name = f"m_{measure.column}"
        return peers_sql(measure, "m.value", f"anchor a join {name} m on m.entry_id = a.entry_id", "a.position")
    window = _window(measure, where, rule)
    if measure.kind == "top":
        return _top(measure, window)
    if measure.column in BETWEEN or measure.kind in ("growth", "rising", "hops"):
        return _sequence(measure, window)
    return f"select a.entry_id, ({_aggregate(measure)})::double as value\n{window}\ngroup by a.entry_id"


def _window(measure: Measure, where: str, rule: Rule) -> str:
    """``from anchor a … left join entry e on …``: the entries of each anchor's window."""
    at, lines = "a", ["from anchor a"]
    if measure.at:
        # The same payment seen from the other side: its account, its place in the order.
        at = "w"
        lines.append("  join entry w on w.transaction_id = a.transaction_id and w.direction <> a.direction")
        keys = ["e.account_id = w.account_id"]
    else:
        keys = [f"e.{column} = a.{column}" for column in rule.per]
    keys.append(f'e."{where}"')
    keys += [f"e.{there} = a.{here}" for here, there in measure.same]
    if measure.column == "leg_km":
        keys += ["e.place_latitude is not null", "e.place_longitude is not null"]
    elif measure.kind in ("growth", "rising", "hops") and measure.column != "gap":
        keys.append(f"e.{measure.column} is not null")
    lines.append(f"  left join entry e on {' and '.join(keys)}")
    lines.append(f"    and e.booked_at > {at}.booked_at - {span_sql(measure.timespan + measure.offset)}")
    if measure.offset:
        lines.append(f"    and e.booked_at <= {at}.booked_at - {span_sql(measure.offset)}")
    lines.append(f"    and e.position <= {at}.position")
    return "\n".join(lines)


def exact(column: str) -> str:
    """A value of ``e`` as it is stored, money as a decimal."""
    return f"e.exact_{column}" if SEEN_ENTRIES[column].type is Type.MONEY else f"e.{column}"


def _aggregate(measure: Measure) -> str:
    kind, column = measure.kind, measure.column
    if kind == "count":
        return "count(e.entry_id)"
    if kind == "distinct":
        return f"count(distinct e.{column})"
    if kind in ("first", "last") and column == "booked_at":
        edge = "min" if kind == "first" else "max"
        return f"(epoch_us(any_value(a.booked_at)) - epoch_us({edge}(e.booked_at))) / {DAY_US}"
    value = exact(column)
    if kind in ("first", "last"):
        edge = "min" if kind == "first" else "max"
        return f"arg_{edge}({value}, e.position) filter (where e.{column} is not null)"
    return {
        "sum": f"coalesce(sum({value}), 0)",
        "min": f"min({value})",
        "max": f"max({value})",
        "mean": f"avg({value})",
        "std": f"stddev_samp({value}::double)",
    }[kind]


def _top(measure: Measure, window: str) -> str:
    of = f"coalesce(sum({exact(measure.of)}), 0)" if measure.of else "count(e.entry_id)"
    return "\n".join(
        [
            "select entry_id, coalesce(max(of_one), 0)::double as value",
            f"from (select a.entry_id, case when e.{measure.column} is not null then {of} end as of_one",
            *(f"  {line}" for line in window.splitlines()),
            f"  group by a.entry_id, e.{measure.column})",
            "group by entry_id",
        ]
    )


def _sequence(measure: Measure, window: str) -> str:
    """Measures of one entry after the other: a list in order, and what becomes of it."""
    kind, column = measure.kind, measure.column
    if column in BETWEEN:
        value = f"{_between(column)} as value"
        ordered = "\n".join(
            [
                "select",
                f"  a.entry_id, e.position, {value}",
                window,
                "window before as (partition by a.entry_id order by e.position)",
            ]
        )
    else:
        value = f"e.{column}" if kind == "hops" else f"{exact(column)}::double"
        ordered = f"select a.entry_id, e.position, {value} as value\n{window}"
    listed = "\n".join(
        [
            "select entry_id, list(value order by position) filter (where value is not null) as v",
            "from (",
            *(f"  {line}" for line in ordered.splitlines()),
            ")",
            "group by entry_id",
        ]
    )
    return "\n".join(
        [
            f"select entry_id, ({of_list(kind)})::double as value",
            "from (",
            *(f"  {line}" for line in listed.splitlines()),
            ")",
        ]
    )


def _between(column: str) -> str:
    """Days, or kilometres, from the entry before."""
    if column == "gap":
        return f"(epoch_us(e.booked_at) - lag(epoch_us(e.booked_at)) over before) / {DAY_US}"
    here = [f"e.{c}" for c in COORDINATES]
    return leg_sql(*here, *(f"lag({c}) over before" for c in here))


def leg_sql(north: str, east: str, north_before: str, east_before: str) -> str:
    """Kilometres along a great circle (haversine), to the metre."""
    half = [f"sin(radians({a} - {b}) / 2) ** 2" for a, b in ((north, north_before), (east, east_before))]
    inside = f"{half[0]} + cos(radians({north})) * cos(radians({north_before})) * {half[1]}"
    # Both arguments, so that rounding at the antipode does no harm (and no least(), which passes null over).
    return f"round(2 * {_RADIUS} * atan2(sqrt({inside}), sqrt(abs(1 - ({inside})))), 3)"


def of_list(kind: str, v: str = "v") -> str:
    """What becomes of a window's values in their order."""
    n = f"len({v})"
    if kind == "growth":
        earlier, later = f"list_avg({v}[:{n} // 2])", f"list_avg({v}[{n} - {n} // 2 + 1:])"
        return f"case when {n} >= 2 and {earlier} > 0 then {later} / {earlier} end"
    steps = f"list_transform(range(2, {n} + 1), lambda k: "
    if kind == "rising":
        return f"case when {n} >= 2 then list_sum({steps}sign({v}[k] - {v}[k - 1]))) / ({n} - 1) end"
    if kind == "hops":
        return f"coalesce(list_sum({steps}({v}[k] <> {v}[k - 1])::int)), 0)"
    return {
        "sum": f"coalesce(list_sum({v}), 0)",
        "min": f"list_min({v})",
        "max": f"list_max({v})",
        "mean": f"list_avg({v})",
        "std": f"list_stddev_samp({v})",
    }[kind]


def peers_sql(measure: Measure, value: str, source: str, position: str) -> str:
    """A quantile of what the accounts of a group reached in the blocks of 30 days before the entry's.

    ``source``: the relation ``a`` of anchors, in which ``value`` is the measure of each.
    """
    blocks = max(1, measure.timespan // _BLOCK)
    block = f"epoch_us(a.booked_at) // {_BLOCK // timedelta(microseconds=1)}"
    groups = "".join(f", last(a.{c} order by {position}) as {c}" for c in measure.by)
    latest = "".join(f", last(h.{c} order by h.block) as {c}" for c in measure.by)
    lines = [
        "with highest as (  -- of each account in each block, and the group it was in",
        f"  select a.account_id, {block} as block, max({value}) as value{groups}",
        f"  from {source}",
        f"  where {value} is not null",
        f"  group by a.account_id, {block}),",
        "peer as (",
        f"  select q.block, h.account_id, max(h.value) as value{latest}",
        f"  from (select distinct {block} as block from anchor a) q",
        f"    join highest h on h.block between q.block - {blocks} and q.block - 1",
        "  group by q.block, h.account_id)",
    ]
    joins = []
    for kept in range(len(measure.by), -1, -1):
        by = measure.by[:kept]
        known = f"where {' and '.join(f'{c} is not null' for c in by)} " if by else ""
        keys = ", ".join(["block", *by])
        lines[-1] += ","
        lines += [
            f"usual_{kept} as (",
            f"  select {keys}, quantile_cont(value, {measure.quantile}) as value",
            f"  from peer {known}group by {keys} having count(*) >= {PEERS_AT_LEAST})",
        ]
        alike = "".join(f" and u{kept}.{c} = a.{c}" for c in by)
        joins.append(f"  left join usual_{kept} u{kept} on u{kept}.block = {block}{alike}")
    values = ", ".join(f"u{kept}.value" for kept in range(len(measure.by), -1, -1))
    usual = f"coalesce({values})" if measure.by else values
    return "\n".join([*lines, f"select a.entry_id, {usual} as value", "from anchor a", *joins])
