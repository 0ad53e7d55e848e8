"""Catalogue lines of features that need the network of payments or the rules; ``catalog`` joins them to the others.

``graph.account_features`` computes those of the network, ``rules.account_features`` those of the rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fintel.domain.detection import Level, Typology
from fintel.features.recipes import Pooled, Recipe, RuleHits, Static, Unit


@dataclass(frozen=True, slots=True)
class NetworkLine:
    """As ``catalog.Feature``, which is made from it."""

    name: str
    unit: Unit
    family: str
    doc: str
    words: str
    recipe: Recipe
    needs: tuple[str, ...] = ()
    sign: int | None = None
    basis: tuple[str, ...] = ()
    days: int = 0


_OTHER, _BASE = ("counterparty_id",), ("counterparty_id", "amount_base")
_POOLED = (30, 90)
#: Days before the moment whose payments make the counterparties, and along which risk flows.
STATIC_DAYS = 90
_M, _N, _R = "motifs", "network", "risk"


def _pooled(
    name: str, unit: Unit, doc: str, words: str, recipe: Pooled, *, rising: tuple[str, ...] = (),
    family: str = _M, needs: tuple[str, ...] = _BASE,
) -> Iterator[NetworkLine]:  # fmt: skip
    for days in _POOLED:
        of = replace(recipe, days=days)
        yield NetworkLine(
            f"{name}_{days}d",
            unit,
            family,
            doc,
            f"{words} in {days} days",
            of,
            needs,
            1 if rising else None,
            rising,
            days,
        )


def _static(
    part: str, column: str, name: str, unit: Unit, doc: str, words: str, *,
    rising: tuple[str, ...] = (), falling: tuple[str, ...] = (),
) -> NetworkLine:  # fmt: skip
    days = 0 if part == "ring" else STATIC_DAYS
    family = _R if part == _R else _N
    suffix, when = ("", "") if not days else (f"_{days}d", f" in {days} days")
    sign = 1 if rising else -1 if falling else None
    recipe = Static(part, column)  # type: ignore[arg-type]
    return NetworkLine(name + suffix, unit, family, doc, words + when, recipe, _OTHER, sign, rising + falling, days)


# fmt: off
_MOTIFS = (
    *_pooled("cycles_conserved", "count", "Cycles within 7 days that pass the amount on, closed by the account's payments",
             "{value} cycles with the amount passed on", Pooled("cycle_conserved", "sum", 0), rising=("ML-CYCLE-01",)),
    *_pooled("cycle_retention", "share", "Smallest amount over the largest in the best of these cycles; 0: none",
             "a cycle that keeps {value} of its amount", Pooled("cycle_retention", "max", 0), rising=("ML-CYCLE-01",)),
    *_pooled("cycle_hops", "count", "Payments in the longest of the shortest cycles within 7 days that an entry closes; 0: none",
             "a cycle of {value} payments", Pooled("cycle_hops", "max", 0), needs=_OTHER),
    *_pooled("cycle_entries", "count", "Entries that close a cycle of three payments or more within 7 days",
             "{value} entries that close a cycle", Pooled("cycle_hops", "count", 0, least=3), needs=_OTHER),
    *_pooled("triangles", "count", "Cycles over three accounts within 7 days that the entries close",
             "{value} cycles over three accounts", Pooled("triangles", "sum", 0), needs=_OTHER),
    *_pooled("longest_chain", "count", "Payments in the longest chain that passes money on within 48 hours and ends in an entry",
             "a chain of {value} payments", Pooled("chain_hops", "max", 0), rising=("ML-RELAY-01",)),
    *_pooled("chain_entries", "count", "Entries that end a chain of three payments or more",
             "{value} entries at the end of a chain", Pooled("chain_hops", "count", 0, least=3), rising=("ML-RELAY-01",)),
    *_pooled("longest_peel", "count", "Payments in the longest peel chain that ends in an entry",
             "a peel chain of {value} payments", Pooled("peel_hops", "max", 0)),
    *_pooled("funded_debits", "share", "Mean share of a debit that the account received in the 48 hours before",
             "{value} of a debit received within 48 hours before", Pooled("funded_share", "mean", 0, "out"), rising=("ML-PASS-01",)),
    *_pooled("funded_credits", "share", "Mean share of a credit that its payer received in the 48 hours before",
             "{value} of a credit that its payer had just received", Pooled("funded_share", "mean", 0, "in")),
    *_pooled("funded_hours", "hours", "Mean time that the money of a debit had lain, where it came within 48 hours",
             "money that lay {value}", Pooled("funded_hours", "mean", 0, "out")),
    *_pooled("scatter_gather", "count", "Most accounts within a day between one account and this one, paid by that one before they paid this one",
             "{value} go-betweens from one payer", Pooled("scatter_gather_mids", "max", 0, "in"), needs=_OTHER),
    *_pooled("scatter_gather_conserved", "count", "The same, counting accounts that passed the amount on",
             "{value} go-betweens that pass the amount on", Pooled("scatter_gather_conserved", "max", 0, "in"), rising=("ML-CONS-01",)),
    *_pooled("stack_width", "count", "The largest n for which n accounts each reach this one over n such accounts within a day",
             "{value} payers each over as many go-betweens", Pooled("stack_width", "max", 0, "in"), needs=_OTHER),
    *_pooled("gather_scatter", "count", "Accounts that paid in before, or were paid after, some moment of 7 days, whichever are fewer, at its most",
             "{value} payers and then as many payees", Pooled("gather_scatter_width", "max", 0, "out"), needs=_OTHER),
    *_pooled("gather_scatter_passed", "ratio", "What was paid after that moment over what was received before it, at its most",
             "{value} times what was gathered paid out again", Pooled("gather_scatter_passed", "max", 0, "out")),
    *_pooled("passed_share_peak", "share", "Largest share of the credits of 7 days paid on within 48 hours",
             "at most {value} of 7 days' credits passed on", Pooled("own_passed_share_7d", "max", 0), rising=("ML-PASS-01",)),
    *_pooled("payees_pass_on", "share", "Mean share of the other side's receipts of 7 days that it had passed on at a debit",
             "payees that pass on {value}", Pooled("counterparty_passed_share_7d", "mean", 0, "out")),
    *_pooled("new_payers_burst", "count", "Most credits within a day from payers not met for 90 days",
             "{value} credits of a day from new payers", Pooled("own_new_counterparties_1d", "max", 0, "in"), needs=_OTHER),
    *_pooled("new_payees_burst", "count", "Most debits within a day to payees not met for 90 days",
             "{value} debits of a day to new payees", Pooled("own_new_counterparties_1d", "max", 0, "out"), needs=_OTHER),
    *_pooled("reciprocal_share", "share", "Share of entries whose two sides had a payment the other way within 30 days before",
             "{value} of entries answer a payment the other way", Pooled("reciprocal_payments", "share", 0), needs=_OTHER),
    *_pooled("reciprocal_balance", "share", "Mean of the smaller over the larger of what both sides paid each other in 30 days",
             "{value} of what was paid came back", Pooled("reciprocal_balance", "mean", 0)),
    *_pooled("new_relations", "count", "Entries between two sides that had no payment this way in 90 days",
             "{value} entries with a new relation", Pooled("new_relation", "count", 0), needs=_OTHER),
    *_pooled("payer_fan", "count", "Most payees in 7 days of an account that pays this one",
             "a payer with {value} payees in a week", Pooled("counterparty_fan_out_7d", "max", 0, "in"), family=_N, needs=_OTHER),
    *_pooled("payee_fan", "count", "Most payers in 7 days of an account that this one pays",
             "a payee with {value} payers in a week", Pooled("counterparty_fan_in_7d", "max", 0, "out"), family=_N, needs=_OTHER),
)
_NETWORK = (
    _static("profile", "payer_entropy", "payer_entropy", "ratio", "Entropy in bits of the credits by payer", "credits spread over payers by {value} bits"),
    _static("profile", "payee_entropy", "payee_entropy", "ratio", "Entropy in bits of the debits by payee", "debits spread over payees by {value} bits"),
    _static("profile", "payer_herfindahl", "payer_herfindahl", "share", "Herfindahl index of the credits by payer", "credits concentrated on payers by {value}"),
    _static("profile", "payee_herfindahl", "payee_herfindahl", "share", "Herfindahl index of the debits by payee", "debits concentrated on payees by {value}"),
    _static("profile", "payer_gini", "payer_gini", "share", "Gini coefficient of the credits by payer; 0: all equal", "payers unequal by {value}"),
    _static("profile", "payee_gini", "payee_gini", "share", "Gini coefficient of the debits by payee; 0: all equal", "payees unequal by {value}"),
    _static("profile", "new_payers_share", "new_payers", "share", "Share of payers first seen in the last 30 days", "{value} of payers new"),
    _static("profile", "new_payees_share", "new_payees", "share", "Share of payees first seen in the last 30 days", "{value} of payees new"),
    _static("profile", "reciprocal_amount_share", "returned_amount", "share", "Of what went either way, what came back from the same counterparty", "{value} of the money comes back from whom it went to"),
    _static("profile", "unrelated_payers", "unrelated_payers", "share", "Of all pairs of payers, those with no payment between them and no ring in common", "{value} of pairs of payers unrelated", rising=("FINTRAC-PROTECT-40",)),
    _static("profile", "alike_collectors", "alike_collectors", "count", "Accounts with largely the same payers (Jaccard 0.3 or more, five payers or more)", "{value} accounts with the same payers"),
    _static("profile", "payer_overlap", "payer_overlap", "share", "Jaccard similarity of the payers to those of the most alike account", "{value} of payers in common with another account"),
    _static("ring", "ring_holders", "ring_holders", "count", "Holders tied to the account's by phones, e-mails, devices, wallets and documents, itself included", "{value} holders tied by identifiers", rising=("ML-SHARED-01",)),
    _static("ring", "tied_holders", "tied_holders", "count", "Other holders that share an identifier with the account's directly", "{value} holders share an identifier"),
    _static("ring", "ring_payers", "ring_payers", "count", "Payers of 90 days that are in one ring with another payer", "{value} payers tied to each other", rising=("FINCEN-HT14-06",)),
    _static("ring", "paid_within_ring", "paid_within_ring", "share", "Share of the credits of 90 days that came from the account's own ring", "{value} of credits from the own ring", rising=("ML-TIED-01",)),
)
_RISK = (
    _static("risk", "risk_received", "risk_received", "ratio", "Risk that flows in along payments from accounts known to be suspicious (personalised PageRank; a seed stands at its weight)", "risk of {value} flows in"),
    _static("risk", "risk_paid", "risk_paid", "ratio", "The same against the payments: risk of whom it paid", "risk of {value} flows back from payees"),
    _static("risk", "suspicious_payers", "suspicious_payers", "count", "Payers known to be suspicious", "{value} payers known to be suspicious", rising=("FINTRAC-SHADOW-01",)),
    _static("risk", "suspicious_payees", "suspicious_payees", "count", "Payees known to be suspicious", "{value} payees known to be suspicious", rising=("FINTRAC-SHADOW-01",)),
    _static("risk", "suspicious_in_share", "suspicious_in_share", "share", "Share of the credits from payers known to be suspicious", "{value} of credits from suspicious payers", rising=("FINTRAC-SHADOW-01",)),
    _static("risk", "suspicious_out_share", "suspicious_out_share", "share", "Share of the debits to payees known to be suspicious", "{value} of debits to suspicious payees", rising=("FINTRAC-SHADOW-01",)),
    _static("risk", "suspicious_hops", "suspicious_hops", "count", "1 if a counterparty is known to be suspicious, 2 if a counterparty of one is, 3 if neither", "{value} steps from a suspicious account", falling=("FINTRAC-SHADOW-01",)),
)
# fmt: on


def _rules() -> Iterator[NetworkLine]:
    def line(name: str, doc: str, words: str, recipe: RuleHits) -> NetworkLine:
        when = f" in {recipe.days} days"
        return NetworkLine(
            f"{name}_{recipe.days}d", "count", "rules", doc, words + when, recipe, (), 1, (), recipe.days
        )

    for days in (30, 90):
        yield line("rules", "Different rules hit", "{value} rules hit", RuleHits("count", days))
        yield line(
            "rules_level",
            "Highest level of a rule hit: 1 low, 2 medium, 3 high, 4 critical; 0: none",
            "a rule of level {value} hit",
            RuleHits("level", days),
        )
    for level in Level:
        yield line(f"rules_{level}", f"Different rules of level {level} hit", f"{{value}} rules of level {level} hit",
                   RuleHits("count", 90, level=str(level)))  # fmt: skip
    for typology in Typology:
        word = str(typology).lower().replace("-", "_")
        yield line(f"rules_{word}", f"Different rules of {typology} hit", f"{{value}} rules of {typology} hit",
                   RuleHits("count", 90, typology=str(typology)))  # fmt: skip


LINES: tuple[NetworkLine, ...] = (*_MOTIFS, *_NETWORK, *_RISK, *_rules())
