"""Measured figures by name, cited by sections and clauses of a dossier: read from the material, none is typed."""

from __future__ import annotations

from collections.abc import Callable

from fintel.bench.coverage import catalogue
from fintel.bench.dossier import Material
from fintel.bench.dossier_sensitivity import families
from fintel.models import drift
from fintel.models.evaluation import Estimate


def signed(e: Estimate) -> str:
    """A difference with its interval."""
    return f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"


def _kind(material: Material) -> str:
    trees = material.model.scorer.booster_.num_trees()
    return f"{trees} gradient-boosted trees over {len(material.model.card.features)} features; no generative AI"


def _rows(material: Material) -> str:
    t = material.model.card.training
    accounts = f"{t.accounts:,} accounts, {t.positives:,} of them suspicious"
    return f"{t.rows:,} rows of {accounts}, at {len(t.snapshots)} snapshots."


def _precision(material: Material) -> str:
    ways = material.model.card.evaluation.rankings
    return "average precision: " + "; ".join(f"{name} {way.average_precision}" for name, way in ways.items())


def _at_budget(material: Material) -> str:
    ways = material.model.card.evaluation.rankings.items()
    return "; ".join(
        f"{name}: precision {b.precision}, recall {b.recall} of {b.budget:,}" for name, way in ways for b in way.budgets
    )


def _family(material: Material) -> str:
    name, _, share = families(material.model)[0]
    return f"most of the gain: {name}, {share}"


def _notes(material: Material) -> str:
    return f"{len(material.model.card.evaluation.notes)} notes came with the evaluation."


def _bounds(material: Material) -> str:
    del material
    return f"PSI {drift.WATCH:g} watch, {drift.ACT:g} act"


def _approved(material: Material) -> str:
    mine = [d for d in material.decisions if d.to == material.model.model_id]
    if not mine:
        return "No decision made this model the champion."
    last = mine[-1]
    if last.approved_by is None:
        return f"Decision {last.number} made it the champion without a second person: fintel promote asks for one."
    return f"Decision {last.number}: made by {last.made_by}, approved by {last.approved_by}."


def _decided(material: Material) -> str:
    state = "It is the champion." if material.champion else "It is not the champion."
    return f"{len(material.decisions)} decisions, their chain is whole. {state}"


def _features(material: Material) -> str:
    card = material.model.card
    return f"{len(card.features)} features, each in words, with the share of rows that know it."


def _feeds(material: Material) -> str:
    return f"{material.feeds['sha256'].n_unique()} files by their SHA-256"


def _reconciled(material: Material) -> str:
    sums = {c: int(material.feeds[c].sum()) for c in material.feeds.columns if c.startswith("rows_")}
    parts = sum(n for name, n in sums.items() if name != "rows_read")
    verdict = "ties" if parts == sums["rows_read"] else "DOES NOT TIE"
    return (
        f"{sums['rows_read']:,} rows read = {sums['rows_accepted']:,} accepted + {sums['rows_duplicate']:,} duplicates "
        f"+ {sums['rows_rejected']:,} rejected + {sums['rows_skipped']:,} skipped: it {verdict}."
    )


def _coverage(material: Material) -> str:
    found = catalogue(material.library)
    done = sum(one.state == "implemented" for one in found)
    return f"{len(material.library.rules):,} rules; {done:,} of {len(found):,} published indicators have one."


def _budget(material: Material) -> str:
    ways = material.model.card.evaluation.rankings.values()
    sizes = sorted({b.budget for way in ways for b in way.budgets})
    return f"Judged on the institution's own accounts, at {', '.join(f'{s:,}' for s in sizes)} of them read."


def _gain(material: Material) -> str:
    gains = material.model.card.evaluation.gains
    return "less rules alone: " + ("; ".join(f"{n} {signed(e)}" for n, e in gains.items()) or "not measured")


#: Measured figures by name: what clauses and sections cite.
FIGURES: dict[str, Callable[[Material], str]] = {
    "kind": _kind, "rows": _rows, "precision": _precision, "at budget": _at_budget, "family": _family, "notes": _notes,
    "bounds": _bounds, "approved": _approved, "decisions": _decided, "features": _features, "feeds": _feeds,
    "reconciled": _reconciled, "coverage": _coverage, "budget": _budget, "gain": _gain,
}  # fmt: skip
