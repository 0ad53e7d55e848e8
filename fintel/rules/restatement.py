"""A rule restated as one SQL query (DuckDB) over ``entries``: what it means, free of how it is computed.

The query is written from the definition: conditions become boolean columns, every measure is one CTE
that joins each anchor entry with the entries of its window, and the hits are the anchors at which
``when`` holds. Nothing is shared with the kernels, so that tests can hold the two against each other.

``entries`` is the view of ``fintel.features.entries``, and ``entry_graph`` the table of
``fintel.graph.entry_columns`` (as ``fintel sql`` shows both). A condition that
looks for words reads boolean columns named by ``mention_column``: ``mentions_of`` lists them, and
whoever runs the query supplies them.
"""

from __future__ import annotations

from collections.abc import Mapping

from fintel.rules.model import Library, Rule
from fintel.rules.restated_correlation import by_windows, components_of, correlation_sql
from fintel.rules.restated_rule import restate
from fintel.rules.restated_windows import windows_sql


def sql_of(rule: Rule, library: Library, *, base_currency: str, rates: Mapping[str, float] | None = None) -> str:
    """One query over ``entries`` that returns a rule's hits.

    Parameters
    ----------
    rates: base currency for one unit, for thresholds in other currencies.

    Returns
    -------
    SQL that gives account_id, entry_id and each measure's value; for a correlation account_id, the
    ``moment`` at which it holds, and how many components were there.

    Raises
    ------
    RuleError: a threshold that no rate converts, or an expression that cannot be read.
    """
    if rule.correlation is not None:
        return correlation_sql(rule, library, base_currency=base_currency, rates=rates)
    return restate(rule, library, base_currency=base_currency, rates=rates).hits


def windows_sql_of(
    rule: Rule, library: Library, *, base_currency: str, rates: Mapping[str, float] | None = None
) -> str:
    """The same with SQL window functions, for large tables; equal where instants of a partition differ.

    Raises as ``sql_of``.
    """
    if rule.correlation is not None:
        return correlation_sql(rule, library, base_currency=base_currency, rates=rates, written=by_windows)
    return windows_sql(restate(rule, library, base_currency=base_currency, rates=rates))


def mentions_of(
    rule: Rule, library: Library, *, base_currency: str, rates: Mapping[str, float] | None = None
) -> frozenset[tuple[str, str]]:
    """Pairs (text column, list) that a rule's query reads as boolean columns of ``entries``. Raises as ``sql_of``."""
    if rule.correlation is None:
        return restate(rule, library, base_currency=base_currency, rates=rates).mentions
    components = components_of(rule, library, base_currency=base_currency, rates=rates)
    return frozenset(m for restated in components.values() for m in restated.mentions)
