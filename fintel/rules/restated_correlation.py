"""A correlation of rules as SQL: a component is there at the first hit of each of its episodes on each day (UTC)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import pairwise

from fintel.rules.model import GROUPS, Correlation, Library, Rule
from fintel.rules.restated_measures import span_sql
from fintel.rules.restated_rule import Ctes, Restatement, comment, count_of, parameters_in_base, restate, with_sql
from fintel.rules.restated_windows import windows_ctes


def components_of(
    rule: Rule, library: Library, *, base_currency: str, rates: Mapping[str, float] | None = None
) -> dict[str, Restatement]:
    """The rules that a correlation names, restated. Raises as ``restate``."""
    assert rule.correlation is not None  # the caller's choice
    return {
        name: restate(library[name], library, base_currency=base_currency, rates=rates)
        for name in rule.correlation.components
    }


def by_joins(restated: Restatement) -> Ctes:
    """Episodes of a component as it is defined."""
    return [*restated.ctes(), *restated.episode_ctes()]


def by_windows(restated: Restatement) -> Ctes:
    """Episodes of a component with window functions."""
    return [*windows_ctes(restated), *restated.episode_ctes("booked_at")]


def correlation_sql(
    rule: Rule,
    library: Library,
    *,
    base_currency: str,
    rates: Mapping[str, float] | None = None,
    written: Callable[[Restatement], Ctes] = by_joins,
) -> str:
    """The moments at which a correlation holds: account_id, moment, and how many of each group were there.

    Raises
    ------
    RuleError: a threshold that no rate converts, or an expression that cannot be read.
    """
    wanted = rule.correlation
    assert wanted is not None  # the caller's choice
    components = components_of(rule, library, base_currency=base_currency, rates=rates)
    numbers = {name: number for number, name in enumerate(components, start=1)}
    ctes = [
        (f"component_{numbers[name]}", f"-- {name}\n{with_sql(written(r))}\n{_moments(r.rule)}")
        for name, r in components.items()
    ]
    if wanted.across:
        edge = "select distinct account_id, counterparty_id as other, booked_at at time zone 'UTC' as paid_at"
        ctes.append(("edge", f"{edge}\nfrom entries\nwhere counterparty_id <> account_id"))
    events = [_event(wanted, group, numbers[name]) for group in GROUPS for name in getattr(wanted, group)]
    ctes.append(("event", "\nunion all\n".join(events)))
    ctes.append(("asked", "select distinct account_id, moment\nfrom event"))
    judged = [
        f"  ({_count(group, wanted.timespan)}) as {group}_of" for group in ("all", "any") if getattr(wanted, group)
    ]
    held = [f"all_of = {len(wanted.all)}"] if wanted.all else []
    if wanted.any:
        parameters = parameters_in_base(rule, library, base_currency, rates or {})
        held.append(f"any_of >= {count_of(wanted.at_least, parameters):g}")
    if wanted.ordered:
        judged.append(f"  exists ({_chain(wanted, numbers)}) as in_order")
        held.append("in_order")
    ctes.append(("judged", ",\n".join(["select m.account_id, m.moment", *judged]) + "\nfrom asked m"))
    tail = ["select *", "from judged", f"where {' and '.join(held)}", "order by account_id, moment"]
    return "\n".join([with_sql(ctes), *tail, comment(rule)]) + "\n"


def _moments(rule: Rule) -> str:
    """The first hit of each episode on each day."""
    keys = ", ".join(dict.fromkeys(("account_id", *rule.per)))
    return f"select account_id, min(booked_at) as moment\nfrom numbered_hit\ngroup by {keys}, number, booked_at::date"


def _event(wanted: Correlation, group: str, number: int) -> str:
    """When a component is there for an account.

    Across an edge: at a payment, if the other side has it from within the span; and when it first has it after one.
    """
    shown = f"select '{group}' as part, {number} as rule"
    component, span = f"component_{number}", span_sql(wanted.timespan)
    if group != wanted.across:
        return f"{shown}, account_id, moment from {component}"
    return (
        f"{shown}, e.account_id, e.paid_at as moment from edge e where exists (\n"
        f"  select 1 from {component} c where c.account_id = e.other\n"
        f"    and c.moment <= e.paid_at and c.moment > e.paid_at - {span})\n"
        "union all\n"
        f"{shown}, e.account_id, min(c.moment) as moment\n"
        f"from edge e join {component} c on c.account_id = e.other and c.moment > e.paid_at\n"
        f"group by e.account_id, e.other, e.paid_at having min(c.moment) < e.paid_at + {span}"
    )


def _count(group: str, span: timedelta) -> str:
    mine = f"e.account_id = m.account_id and e.part = '{group}'"
    near = f"e.moment <= m.moment and e.moment > m.moment - {span_sql(span)}"
    return f"select count(distinct e.rule) from event e where {mine} and {near}"


def _chain(wanted: Correlation, numbers: Mapping[str, int]) -> str:
    """One after another, the last one now, the first within the span."""
    names = [f"e{place}" for place in range(len(wanted.ordered))]
    conditions = [
        f"{e}.account_id = m.account_id and {e}.part = 'ordered' and {e}.rule = {numbers[rule]}"
        for e, rule in zip(names, wanted.ordered, strict=True)
    ]
    conditions += [f"{before}.moment < {after}.moment" for before, after in pairwise(names)]
    conditions += [f"{names[-1]}.moment = m.moment", f"{names[0]}.moment > m.moment - {span_sql(wanted.timespan)}"]
    return f"select 1 from {', '.join(f'event {e}' for e in names)} where {' and '.join(conditions)}"
