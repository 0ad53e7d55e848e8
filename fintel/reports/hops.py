"""The money's way beyond the account: the steps of a chain, cycle or the like that lie at other accounts.

They are told and attached, so that whoever reads the report can follow the money. They are no activity of the account:
they count in no amount or period, and name nobody as a subject.
"""

from __future__ import annotations

from collections.abc import Iterable

from fintel.domain.case import Case, CaseTransaction
from fintel.domain.detection import MOTIF
from fintel.reports.sentences import PAYMENTS, Fact, Sentence
from fintel.reports.text import count, day, known, money

#: Steps of one motif that are told one by one; the attachment has them all.
MAX_TOLD = 12
_LEADS = {
    "cycle": "Money came back to where it set out over {payments}",
    "triangle": "Money came back to where it set out over {payments}",
    "chain": "Money was passed on from account to account in {payments}",
    "peel": "A sum was passed on from account to account in {payments}, and a part of it stayed behind each time",
    "scatter": "Money of one account reached another over several accounts in between, in {payments}",
    "stack": "Money of several accounts reached another over several accounts in between, in {payments}",
}
_OTHERS = "Accounts that have to do with each other made {payments}"


def hop_sentences(case: Case) -> Iterable[Sentence]:
    """Each motif once, then its steps in order of time."""
    rows = {t.entry_id: t for t in case.transactions}
    told = set()
    for reason in case.reasons:
        for clause in reason.clauses:
            steps = [rows[e] for e in clause.evidence] if clause.kind == MOTIF else []
            if all(t.account_id == case.account_id for t in steps) or clause.evidence in told:
                continue
            told.add(clause.evidence)
            number = count(len(steps), "payment")
            lead = _LEADS.get(clause.measure.split("-")[0], _OTHERS).format(payments=number)
            least = "at least " if clause.truncated else ""
            text = f"{lead.replace(number, least + number)}."
            yield Sentence("What and how", text, clause.evidence, (Fact("count", number, PAYMENTS),))
            steps.sort(key=lambda t: (t.booked_at, t.entry_id))
            yield from (_step(case, t) for t in steps[:MAX_TOLD])


def _step(case: Case, row: CaseTransaction) -> Sentence:
    facts = [Fact("first day", day(row.day), PAYMENTS), Fact("sum", money(row.amount, row.currency), PAYMENTS)]
    own = "the account"
    if row.account_id != case.account_id:
        own = _account(row.account_id, facts)
    if row.counterparty_account == case.account_id:
        other = "the account"
    elif row.counterparty_account:
        other = _account(row.counterparty_account, facts)
    else:
        other = known(row.counterparty_name, 80) or "somebody whose name is not on record"
        facts += [Fact("name", other, PAYMENTS)] if row.counterparty_name else []
    payer, payee = (other, own) if row.direction == "in" else (own, other)
    text = f"On {facts[0].text}, {facts[1].text} went from {payer} to {payee}."
    return Sentence("What and how", text, (row.entry_id,), tuple(facts))


def _account(account_id: str, facts: list[Fact]) -> str:
    number = known(account_id.rsplit("|", 1)[-1], 64)
    if number is None:
        return "an account without a number"
    facts.append(Fact("account", number, PAYMENTS))
    return f"account {number}"
