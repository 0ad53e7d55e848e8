"""A correlation of rules as SQL: the episodes of its components, looked at at each moment at which one peaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import pairwise

from fintel.rules.model import GROUPS, Correlation, Library, Rule
from fintel.rules.restated_measures import span_sql
from fintel.rules.restated_rule import Ctes, Restatement, count_of, parameters_in_base, restate, with_sql
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
        (f"component_{numbers[name]}", f"-- {name}\n{with_sql(written(r))}\nselect account_id, peak_at\nfrom episode")
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
    return "\n".join([f"-- {rule.id}: {rule.title}", with_sql(ctes), *tail]) + "\n"


def _event(wanted: Correlation, group: str, number: int) -> str:
    """When a component is there for an account; across an edge, for whoever paid or was paid by the other side."""
    if group != wanted.across:
        return f"select '{group}' as part, {number} as rule, account_id, peak_at as moment from component_{number}"
    apart = "abs(epoch_us(e.paid_at) - epoch_us(c.peak_at))"
    return (
        f"select '{group}' as part, {number} as rule, e.account_id, greatest(c.peak_at, e.paid_at) as moment\n"
        f"from component_{number} c join edge e on e.other = c.account_id\n"
        f"  and {apart} < {wanted.timespan // timedelta(microseconds=1)}"
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
