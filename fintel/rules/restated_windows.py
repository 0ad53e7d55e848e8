"""A rule restated with SQL window functions: the way an engineer would write it for large tables.

``RANGE BETWEEN INTERVAL …`` takes every entry of an instant, also those that stand after the anchor
entry in order; wherever instants of a partition differ, the query gives what ``sql_of`` gives. For
windows over other entries than those beside the anchor (``at``, ``same`` with two columns) the anchors
stand among them as rows that count for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from fintel.rules.model import Measure, Step
from fintel.rules.restated_measures import COORDINATES, DAY_US, exact, leg_sql, of_list, peers_sql, span_sql
from fintel.rules.restated_rule import Ctes, Restatement, count_of, extended, observed

_AS_THEY_ARE = {"min": "min", "max": "max", "mean": "avg", "std": "stddev_samp"}


def windows_sql(restated: Restatement) -> str:
    """The query of a rule's hits, as ``Restatement.hits``, with window functions."""
    return restated.query(windows_ctes(restated), f"where {restated.when}")


def windows_ctes(restated: Restatement) -> Ctes:
    """From entries to ``measured``."""
    rule, anchor = restated.rule, f'"{restated.anchor}"'
    ctes: Ctes = [("seen", restated.seen()), ("entry_0", extended("seen", restated.conditions))]
    ctes += [
        (f"entry_{number + 1}", _step(restated, step, f"entry_{number}"))
        for number, step in enumerate(rule.steps.values())
    ]
    measures = observed(rule)
    flags = dict.fromkeys((anchor, *(f'"{restated.filters[m.name]}"' for m in measures)))
    known = " and ".join(f"{column} is not null" for column in rule.per)
    ctes.append(("flagged", extended(ctes[-1][0], restated.flags)))
    # Left out before windows are made: entries that no measure counts.
    ctes.append(("entry", f"select *\nfrom flagged\nwhere ({' or '.join(flags)}) and {known}"))
    beside = [m for m in measures if _is_beside(m)]
    apart = [m for m in measures if not _is_beside(m) and m.kind != "peers"]
    peers = [m for m in measures if m.kind == "peers"]
    kept = dict.fromkeys(("account_id", "entry_id", "booked_at", *rule.per, *(c for m in peers for c in m.by)))
    ctes.append(("windowed", _windowed(restated, [*kept, anchor], beside)))
    values = [f'{_value(m, f"x_{m.name}")} as "{m.name}"' for m in beside]
    ctes.append(("anchor", f"select {', '.join([*kept, *values])}\nfrom windowed\nwhere {anchor}"))
    ctes += [(f"m_{m.name}", _apart(restated, m)) for m in apart]
    for m in peers:
        value, source = f'a."{m.column}"', "anchor a"
        if any(m.column == other.name for other in apart):
            value, source = "m.value", f"anchor a join m_{m.column} m on m.entry_id = a.entry_id"
        ctes.append((f"m_{m.name}", peers_sql(m, value, source, "a.booked_at")))
    joins = [f"  left join m_{m.name} on m_{m.name}.entry_id = a.entry_id" for m in (*apart, *peers)]
    more = [f'm_{m.name}.value as "{m.name}"' for m in (*apart, *peers)]
    ctes.append(("measured", "\n".join([f"select {', '.join(['a.*', *more])}", "from anchor a", *joins])))
    return ctes


def _is_beside(measure: Measure) -> bool:
    """Its window is over entries that share the anchor's own values."""
    return measure.kind != "peers" and not measure.at and all(here == there for here, there in measure.same)


def _frame(span: timedelta, offset: timedelta) -> str:
    begins = f"{span_sql(span + offset)} - interval 1 microsecond preceding"
    return f"range between {begins} and {f'{span_sql(offset)} preceding' if offset else 'current row'}"


def _windowed(restated: Restatement, keys: Sequence[str], measures: Sequence[Measure]) -> str:
    """All windows of the rule in one pass over its entries."""
    windows: dict[str, str] = {}
    shown = []
    for m in measures:
        by = ", ".join(dict.fromkeys((*restated.rule.per, *(here for here, _ in m.same))))
        spec = f"partition by {by} order by booked_at {_frame(m.timespan, m.offset)}"
        name = windows.setdefault(spec, f"w{len(windows) + 1}")
        filled = [f"{here} is not null" for here, _ in m.same]
        shown.append(f"{_call(m, restated.filters[m.name], filled)} over {name} as x_{m.name}")
    lines = [f"select {', '.join([*keys, *shown])}", "from entry e"]
    if windows:
        lines.append("window " + ",\n  ".join(f"{name} as ({spec})" for spec, name in windows.items()))
    return "\n".join(lines)


def _call(measure: Measure, flag: str, filled: Sequence[str]) -> str:
    """The aggregate over a window, which ``_value`` turns into the measure's value."""
    kind, column = measure.kind, measure.column
    conditions = [f'"{flag}"', *filled]
    if column == "leg_km":
        conditions += [f"{c} is not null" for c in COORDINATES]
    elif column not in ("*", "gap", "booked_at"):
        conditions += [f"{c} is not null" for c in (column, measure.of) if c]
    if column == "gap":
        call = "list(epoch_us(booked_at))"
    elif column == "leg_km":
        call = f"list({{{', '.join(f'{c}: {c}' for c in COORDINATES)}}})"
    elif kind == "count":
        call = "count(*)"
    elif kind == "distinct":
        call = f"count(distinct {column})"
    elif column == "booked_at":
        call = f"{'min' if kind == 'first' else 'max'}(booked_at)"
    elif kind == "top":
        call = f"list({{k: {column}, v: {exact(measure.of)}}})" if measure.of else f"histogram({column})"
    elif kind == "hops":
        call = f"list({column})"
    elif kind in ("growth", "rising"):
        call = f"list({exact(column)}::double)"
    elif kind in ("first", "last"):
        call = f"arg_{'min' if kind == 'first' else 'max'}({exact(column)}, booked_at)"
    elif kind == "std":
        call = f"stddev_samp({exact(column)}::double)"
    else:
        call = f"{_AS_THEY_ARE.get(kind, kind)}({exact(column)})"
    return f"{call} filter (where {' and '.join(conditions)})"


def _value(measure: Measure, x: str) -> str:
    """A measure's value from what its aggregate gave."""
    kind, column = measure.kind, measure.column
    if column in ("gap", "leg_km") or kind in ("growth", "rising", "hops"):
        if column == "gap":
            step = f"({x}[i] - {x}[i - 1]) / {DAY_US}"
        elif column == "leg_km":
            step = leg_sql(*(f"{x}[{i}].{c}" for i in ("i", "i - 1") for c in COORDINATES))
        else:
            return f"({of_list(kind, x)})::double"
        return f"({of_list(kind, f'list_transform(range(2, len({x}) + 1), lambda i: {step})')})::double"
    if column == "booked_at":
        return f"(epoch_us(booked_at) - epoch_us({x})) / {DAY_US}"
    if kind == "top" and measure.of:
        sums = f"select sum(u.v) as v from (select unnest({x}) as u) group by u.k"
        return f"coalesce((select max(v) from ({sums})), 0)::double"
    if kind == "top":
        return f"coalesce(list_max(map_values({x})), 0)::double"
    return f"coalesce({x}, 0)::double" if kind == "sum" else f"{x}::double"


def _step(restated: Restatement, step: Step, source: str) -> str:
    """A link of a chain: how many of the step before stand within reach, this entry left out."""
    said = restated.steps[step.name]
    if step.after is None or step.within is None:
        return extended(source, {step.name: said})
    if any(here != there for here, there in step.same):
        return restated.step_sql(step, source, "booked_at")
    by = ", ".join(dict.fromkeys((*restated.rule.per, *(here for here, _ in step.same))))
    filled = " and ".join([f'"{step.after}"', *(f"{here} is not null" for here, _ in step.same)])
    frame = f"{_frame(step.within, timedelta(0))} exclude current row"
    count = f"count(*) filter (where {filled}) over (partition by {by} order by booked_at {frame})"
    return extended(source, {step.name: f"({said} and {count} >= {count_of(step.at_least, restated.parameters):g})"})


def _apart(restated: Restatement, measure: Measure) -> str:
    """Anchors stand among the entries that they look at, under the key that these have."""
    flag = restated.filters[measure.name]
    if measure.at:
        theirs, mine = ["account_id"], ["counterparty_id"]
        accounts = "\n      and counterparty_id in (select account_id from seen)"
    else:
        theirs = [*restated.rule.per, *(there for _, there in measure.same)]
        mine = [*restated.rule.per, *(here for here, _ in measure.same)]
        accounts = ""
    columns = [c for c in (measure.column, measure.of) if c not in ("", "*", "gap", "leg_km", "booked_at")]
    columns += COORDINATES if measure.column == "leg_km" else ()
    carried = [s for c in columns for s in dict.fromkeys((c, exact(c).removeprefix("e.")))]
    keys = [f"k{number}" for number in range(len(mine))]
    named = ", ".join(f"{column} as {key}" for column, key in zip(theirs, keys, strict=True))
    asked = ", ".join(f"{column} as {key}" for column, key in zip(mine, keys, strict=True))
    filled = [f"{key} is not null" for key in keys]
    values = "".join(f", {c}" for c in carried)
    nothing = "".join(f", null as {c}" for c in carried)
    lines = [
        f"select entry_id, {_value(measure, 'x')} as value",
        "from (",
        f"  select entry_id, booked_at, {_call(measure, flag, filled)} over (",
        f"    partition by {', '.join(keys)} order by booked_at {_frame(measure.timespan, measure.offset)}) as x",
        "  from (",
        f'    select null as entry_id, booked_at, "{flag}", {named}{values}',
        f'    from flagged where "{flag}"',
        "    union all by name",
        f'    select entry_id, booked_at, false as "{flag}", {asked}{nothing}',
        f'    from flagged where "{restated.anchor}"{accounts}) e)',
        "where entry_id is not null",
    ]
    return "\n".join(lines)
