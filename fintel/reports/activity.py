"""Which payments are the activity that is reported, and which it is only measured against.

A rule's evidence holds both: 37 credits of this month, and the wages of the month before that make
them unusual. Only the first belong in a report's amount, period and attachment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from fintel.domain.case import CaseClause
from fintel.domain.detection import BOUND, MOTIF

#: A longer window is history (who was known before), not activity.
MAX_ACTIVITY = timedelta(days=100)
#: Facts about holder or clock that stand at every payment: their rows are not payments of interest.
_PROFILE = ("booked_at", "account_age_days", "party_age", "party_income", "counterparty_age", "local_hour")
_UPPER = ("<", "<=")


def with_baseline(clauses: Sequence[CaseClause], peak_at: datetime | None) -> tuple[CaseClause, ...]:
    """The clauses with ``baseline`` set.

    Activity is what is at least so much, up to the peak: a lower bound on a count, a sum or the like
    in a window that ends there. A sum without a comparison of its own (the money received, of which
    most was sent on) joins when it has the same window as such a clause. Upper bounds ("few wages"),
    shifted windows ("the month before") and long ones are what it is measured against. Where nothing
    is left, everything up to the peak counts, and failing that everything. The payments of a motif of the
    graph are never activity: they are of other accounts too.
    """
    measured = [c for c in clauses if c.kind not in (MOTIF, BOUND)]
    possible = [c for c in measured if _may_be(c, peak_at)]
    compared = [c for c in possible if c.operator is not None]
    windows = {c.window_from for c in compared}
    joined = [c for c in possible if c.operator is None and c.kind == "sum" and c.window_from in windows]
    chosen = [*compared, *joined]
    if not any(c.evidence for c in chosen):
        chosen = possible
    if not any(c.evidence for c in chosen):
        chosen = measured
    kept = {id(c) for c in chosen}
    return tuple(replace(c, baseline=id(c) not in kept) for c in clauses)


def _may_be(clause: CaseClause, peak_at: datetime | None) -> bool:
    reaches = peak_at is None or clause.window_to >= peak_at
    short = clause.window_to - clause.window_from <= MAX_ACTIVITY
    return reaches and short and clause.operator not in _UPPER and clause.column not in _PROFILE
