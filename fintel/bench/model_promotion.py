"""May this model be the champion? Every gate says what it found; all must be open."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fintel.bench.model_comparison import Beside
from fintel.bench.promotion import Gate
from fintel.models.comparison import Comparison
from fintel.models.dataset import AT_LEAST
from fintel.models.decisions import person, same_person
from fintel.models.drift import Drift
from fintel.models.leakage import ENOUGH
from fintel.models.saved import Card

#: Fingerprints that a finished card has: what it learned from, and by which rules and features.
FINGERPRINTS = ("rows", "catalogue", "library", "feeds")
#: A feature that fewer accounts knew in training was rare then already.
_USUALLY_KNOWN = 0.5
_SECTIONS = ("leakage", "calibration")


def model_gates(
    card: Card,
    beside: Beside,
    *,
    made_by: str,
    approved_by: str,
    base_currency: str,
    champion: str | None,
) -> tuple[Gate, ...]:
    """Every gate between a model and the champion's place.

    Parameters
    ----------
    beside: the model as challenger, compared with the champion. champion: the id of the model in use.
    base_currency: the lake's.
    """
    body = card.model_dump(mode="json")
    return (
        two_people(made_by, approved_by),
        _another(card.model_id, champion),
        _finished(card, body),
        leakage_gate(body.get("leakage")),
        _currency(card, base_currency),
        _features(beside.drift),
        _improvement(beside.comparison),
        _subgroups(beside.comparison),
    )


def two_people(made_by: str, approved_by: str) -> Gate:
    """Whether two people are named."""
    names = person(made_by), person(approved_by)
    if names[0] is None or names[1] is None:
        return Gate("two people", False, "--made-by and --approve each name a person, at most 80 letters")
    if same_person(names[0], names[1]):
        return Gate("two people", False, f"both names are {names[0]}: a second person looks at it")
    return Gate("two people", True, f"made by {names[0]}, approved by {names[1]}")


def _another(model_id: str, champion: str | None) -> Gate:
    if model_id == champion:
        return Gate("not in use yet", False, "it is the champion already")
    return Gate("not in use yet", True, f"in use: {champion or 'rules alone'}")


def _finished(card: Card, body: Mapping[str, Any]) -> Gate:
    """Whether the card has all that a card of this version has."""
    lacking = [f"fingerprint of {name}" for name in FINGERPRINTS if not card.fingerprints.get(name)]
    lacking += [f"section '{name}'" for name in _SECTIONS if name in body and body[name] is None and name != "leakage"]
    if "both" not in card.evaluation.rankings:
        lacking.append("its evaluation beside the rules")
    if card.evaluation.positives < AT_LEAST:
        lacking.append(f"{AT_LEAST} suspicious accounts to judge by (it has {card.evaluation.positives})")
    if lacking:
        return Gate("card", False, f"unfinished: it lacks {', '.join(lacking)}")
    return Gate("card", True, f"{len(card.features)} features, judged on {card.evaluation.accounts:,} accounts")


def leakage_gate(section: Mapping[str, Any] | None) -> Gate:
    """Whether the card's leakage audit is there and passed.

    Parameters
    ----------
    section: the card's ``leakage``, as plain values.
    """
    name = "leakage audit"
    if not section:
        return Gate(name, False, "the card has none: train it again with this version")
    if not section.get("checks") or not section.get("rows"):
        return Gate(name, False, "it looked at nothing")
    waived = section.get("waived") or {}
    failed = [
        one["name"]
        for one in section.get("alone", ())
        if max(one["value"], one["known"]) >= section["bound"] and one["name"] not in waived
    ]
    if failed and section["positives"] >= ENOUGH:
        return Gate(name, False, f"features that tell the label alone: {', '.join(failed)}")
    let = "; waived: " + "; ".join(f"{n} ({why})" for n, why in sorted(waived.items())) if waived else ""
    return Gate(name, True, f"{len(section['checks'])} checks held on {section['rows']:,} rows{let}")


def _currency(card: Card, base_currency: str) -> Gate:
    told = f"its money is in {card.base_currency}, the lake's in {base_currency}"
    return Gate("base currency", card.base_currency == base_currency, told)


def _features(drift: Drift) -> Gate:
    """Whether what it usually knew in training is known of anybody here."""
    gone = [f.name for f in drift.features if f.known_then >= _USUALLY_KNOWN and f.known_now == 0]
    if gone:
        more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
        return Gate("features", False, f"unknown of every account here: {', '.join(gone[:5])}{more}")
    return Gate("features", True, f"{len(drift.features)} are known here as in training, or were rare there too")


def _improvement(found: Comparison) -> Gate:
    name = "improvement"
    against = f"model {found.champion.model_id}" if found.champion.model_id else "rules alone"
    told = "; ".join(f"{n} {e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]" for n, e in found.differences.items())
    said = f"against {against} at {found.budget:,} accounts: {told}"
    if found.positives < AT_LEAST:
        return Gate(name, False, f"{found.positives} suspicious accounts prove nothing; {AT_LEAST} are needed")
    if found.worse:
        return Gate(name, False, f"worse outside the interval: {', '.join(found.worse)}; {said}")
    if not found.better:
        return Gate(name, False, f"none outside the interval, {said}")
    return Gate(name, True, said)


def _subgroups(found: Comparison) -> Gate:
    name = "no group worse off"
    if found.harms:
        return Gate(name, False, "; ".join(found.harms[:5]))
    hidden = f"; {found.suppressed} groups are too small to tell" if found.suppressed else ""
    return Gate(name, True, f"{len(found.subgroups)} groups looked at{hidden}")


def evidence(gates: tuple[Gate, ...], beside: Beside | None) -> dict[str, Any]:
    """What a decision rests on, as plain values."""
    told: dict[str, Any] = {"gates": [{"gate": g.name, "open": g.open, "said": g.said} for g in gates]}
    if beside is not None:
        told["as_of"] = beside.as_of.isoformat()
        told["comparison"] = beside.comparison.model_dump(mode="json")
        told["drift"] = beside.drift.verdict
    return told


def fingerprints(card: Card) -> dict[str, str]:
    """Of the model: card, trees, and what the card keeps."""
    body = json.dumps(card.model_dump(mode="json"), sort_keys=True).encode()
    return {**card.fingerprints, "card": hashlib.sha256(body).hexdigest(), "trees": card.trees_sha256}
