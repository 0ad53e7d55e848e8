"""The chapters of a dossier. Sentences are ours; every figure is read from the material."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fintel.bench.clauses import CLAUSES, NOT_AT_HAND, NOT_PROVIDED, Clause
from fintel.bench.coverage import STATES, catalogue
from fintel.bench.dossier import Material, feed_rows
from fintel.bench.dossier_figures import FIGURES, signed
from fintel.bench.dossier_page import Chapter, Section
from fintel.bench.dossier_sensitivity import families, fusion, single_features
from fintel.bench.evaluation_told import TABLES, facts
from fintel.features.catalog import BY_NAME, FAMILIES
from fintel.models import drift, subgroups
from fintel.models.calibration import CalibrationCard
from fintel.models.evaluation import Measured
from fintel.models.pictures import evaluation_charts

_NO_EVALUATION = "No evaluation was given: fintel evaluate --out FOLDER makes one, --evaluation takes it in."


def chapters(material: Material) -> tuple[Chapter, ...]:
    """The dossier in the order in which it is read."""
    return (
        _clauses(material),
        _model_card(material),
        _data_sheet(material),
        _assumptions(material),
        _monitoring(material),
        _decisions(material),
    )


# -- model card


def _model_card(material: Material) -> Chapter:
    card = material.model.card
    training, evaluation = card.training, card.evaluation
    charts = evaluation_charts(evaluation)
    ways = evaluation.rankings
    return Chapter("model-card", "Model card", (
        Section("Model details", rows=tuple(_pairs({
            "model": card.model_id,
            "kind": FIGURES["kind"](material),
            "trained as of": training.as_of, "labels known by": training.labels_known_by,
            "rounds": f"{training.rounds} ({training.rounds_chosen_by})",
            **{f"parameter {k}": v for k, v in sorted(training.parameters.items())},
            "seed": card.seed, "base currency": card.base_currency,
            **{f"version of {k}": v for k, v in sorted(card.versions.items())},
            **{f"fingerprint of {k}": v for k, v in sorted(card.fingerprints.items())},
        })), columns=("what", "value")),
        Section("Intended use", (
            "It orders accounts of an institution's own customers for people to look at, beside rules that are made "
            "of published indicators. Its users are compliance analysts and those who validate their tools.",
            "It decides nothing: it files no report, closes no account and clears nobody.",
        ), items=(
            "Not for credit, pricing, hiring, or any decision about a person without a person.",
            "Not for feeds whose money is in another base currency, or that lack what its features read.",
            "Not as proof: a report rests on payments that a person has seen.",
        )),
        Section("Factors", (
            "Sex, nationality, visa status and age are no features and no gates. Age band, country and kind of "
            "customer are looked at only to see whom the queue troubles and whom it overlooks, in groups of at least "
            f"{subgroups.SMALL}.",
        )),
        Section("Metrics", (
            "Average precision, and precision and recall at the number of accounts that people can read; 95 % "
            "bootstrap intervals over groups (schemes, holders). Ties are worth what chance gives.",
        )),
        Section("Evaluation data", (FIGURES["budget"](material),), rows=tuple(_pairs({
            "plan": evaluation.plan, "accounts": evaluation.accounts, "suspicious": evaluation.positives,
            "share that a random order finds": _number(evaluation.base_rate),
            "label looks back, days": _number(training.before_days), "gap before it, days": _number(training.gap_days),
        })), columns=("what", "value")),
        Section("Training data", ("See the data sheet.",), rows=tuple(_pairs({
            "rows": training.rows, "accounts": training.accounts, "suspicious accounts": training.positives,
            "snapshots": len(training.snapshots),
        })), columns=("what", "value")),
        Section("Quantitative analyses",
                columns=("ranking", "average precision", "accounts read", "precision", "recall"),
                rows=tuple(_ranking_rows(ways)), picture=charts["average-precision.svg"]),
        Section("At the budget", picture=charts.get("at-budget.svg", "")),
        Section("Beside the rules", columns=("ranking", "average precision less that of rules alone"),
                rows=tuple((name, signed(e)) for name, e in evaluation.gains.items())),
        Section("Calibration", *_calibration(dict(card.calibration or {}))),
        *_evaluated(material),
        Section("Ethical considerations", (
            "An account that looks like a laundering one may belong to somebody who is exploited. Reports name such "
            "people as victims, and the queue is no verdict. A wrong alert costs a customer time and privacy; the "
            "share of wrong alerts by group of people stands in the evaluation.",
        )),
        Section("Caveats", items=(*evaluation.notes, "Who is not labelled was mostly never looked at.")),
    ))  # fmt: skip


def _calibration(found: Mapping[Any, CalibrationCard]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not found:
        return ("The card has none: no probability stands beside its scores.",), ()
    return ("Probabilities are shown; the order is the score's. Judged on groups that the curve had not seen.",), tuple(
        f"{name}: {one.calibration.method}, Brier {one.reliability.brier:.4f} (base rate alone "
        f"{one.reliability.brier_of_base_rate:.4f}), calibration error {one.reliability.error:.4f}, in the top 5 % "
        f"{one.reliability.error_top:.4f} (by chance {one.reliability.chance_top:.4f})"
        for name, one in found.items()
    )


def _ranking_rows(ways: dict[str, Measured]) -> Iterable[tuple[str, ...]]:
    for name, way in ways.items():
        for at in way.budgets:
            yield (name, str(way.average_precision), f"{at.budget:,}", str(at.precision), str(at.recall))


def _evaluated(material: Material) -> list[Section]:
    found = material.evaluation
    if found is None:
        return [Section("Evaluation in months", (_NO_EVALUATION,))]
    made = [Section("Evaluation in months", tuple(facts(found)))]
    for told in TABLES:
        title, columns, rows = told(found)
        made.append(Section(title, columns=tuple(columns), rows=tuple(tuple(map(str, row)) for row in rows)))
    return [s for s in made if s.sentences or s.rows]


# -- data sheet


def _data_sheet(material: Material) -> Chapter:
    card = material.model.card
    feeds = feed_rows(material.feeds)
    rules = [r for r in material.library.rules if r.status != "deprecated"]
    states = dict.fromkeys(STATES, 0)
    for one in catalogue(material.library):
        states[one.state] += 1
    features = [
        (f.name, BY_NAME[f.name].family, BY_NAME[f.name].doc, f"{f.known:.3f}", *_spread(f.quantiles))
        for f in card.features
    ]
    return Chapter("data-sheet", "Data sheet", (
        Section("Feeds", (FIGURES["reconciled"](material),), columns=tuple(feeds.columns),
                rows=tuple(tuple(map(str, row)) for row in feeds.iter_rows())),
        Section("Learning set", (
            "One row an account and snapshot. Features see payments strictly before the snapshot; a row is positive if "
            "the account is labelled suspicious and its labelled payments fall into the days that the label looks at; "
            "a labelled account that was not active then is left out; everybody else counts as unlabelled.",
            FIGURES["rows"](material),
        ), items=tuple(f"snapshot of {s:%Y-%m-%d}" for s in card.training.snapshots)),
        Section("Leakage audit", *_leakage(card.model_dump(mode="json").get("leakage"))),
        Section("Features", (FIGURES["features"](material),),
                columns=("feature", "family", "what it is", "known", "5 %", "median", "95 %"), rows=tuple(features)),
        Section("Families of features", columns=("family", "what it holds", "features"), rows=tuple(
            (name, doc, str(n)) for name, doc in FAMILIES.items()
            if (n := sum(BY_NAME[f.name].family == name for f in card.features)))),
        Section("Rules", (FIGURES["coverage"](material),), columns=("status", "rules"), rows=tuple(
            (status, str(sum(r.status == status for r in rules))) for status in sorted({r.status for r in rules}))),
        Section("Indicators", columns=("state", "indicators"), rows=tuple((s, str(n)) for s, n in states.items())),
    ))  # fmt: skip


def _spread(quantiles: tuple[float, ...]) -> tuple[str, str, str]:
    if not quantiles:
        return ("–", "–", "–")
    low, middle, high = (quantiles[round(p * (len(quantiles) - 1))] for p in (0.05, 0.5, 0.95))
    return (_number(low), _number(middle), _number(high))


def _leakage(section: dict[str, Any] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not section:
        return ("The card has none.",), ()
    waived = [f"waived: {name}, because {why}" for name, why in sorted(section["waived"].items())]
    best = section["alone"][0] if section["alone"] else None
    told = f"{section['rows']:,} rows were computed anew. A feature that alone reaches {section['bound']:g} is refused"
    if best is not None:
        told += f"; the best, {best['name']}, reaches {max(best['value'], best['known']):.3f}"
    return (told + ".",), (*section["checks"], *waived)


# -- assumptions, sensitivity, limits


def _assumptions(material: Material) -> Chapter:
    card = material.model.card
    section = card.model_dump(mode="json").get("leakage") or {}
    waived = sorted((section.get("waived") or {}).items())
    return Chapter("assumptions", "Assumptions, sensitivity, limits", (
        Section("Assumptions", items=(
            "Labels name suspicious accounts rightly. Their delay is known: training sees what was known by "
            f"{card.training.labels_known_by:%Y-%m-%d}.",
            "Unlabelled accounts are mostly clean; those that are not make figures look worse than they are.",
            f"What an account did in the {card.training.before_days:g} days that a label looks back shows it.",
            f"Accounts of one scheme or holder stand or fall together; the gap before the judged moment is "
            f"{card.training.gap_days:g} days.",
            f"Amounts are in {card.base_currency} at the day's rate.",
            "Scores of rules and of the model are log2 odds; joined with weights of at least 0, fitted on held-out "
            f"scores of {card.fusion.fitted_on:,} accounts ({card.fusion.method}).",
            *(f"let through by the leakage audit: {n}, because {why}" for n, why in waived),
        )),
        Section("Sensitivity: model and rules", columns=("what", "weight"), rows=fusion(card)),
        Section("Sensitivity: families of features", (
            "Share of the trees' gain in training: what the order hangs on.",
        ), columns=("family", "features", "share of gain"), rows=families(material.model)),
        Section("Sensitivity: single features", (
            "Bits that the score moves by when one feature goes from its 5 % to its 95 % quantile in training and all "
            "others stand at their medians; the greatest moves. Features that work together move more than this shows.",
        ), columns=("feature", "at 5 %", "at 95 %", "bits"), rows=single_features(material.model)),
        Section("Sensitivity: seeds", (_seeds(material),)),
        Section("Limits", (FIGURES["notes"](material),), items=(
            *card.evaluation.notes,
            "It knows schemes like those that were labelled; what nobody has looked for it cannot have learned.",
            "It sees one institution's side of a payment: the rest of a chain is unknown to it.",
            f"It was judged on {card.evaluation.positives:,} suspicious accounts; intervals say how little that shows.",
            "It was trained on labels that rules and people chose: what they overlook, it learns to overlook.",
        )),
    ))  # fmt: skip


def _seeds(material: Material) -> str:
    seeds = material.evaluation.seeds if material.evaluation else None
    if seeds is None:
        return "Not measured: fintel evaluate --seeds N --out FOLDER trains again with other seeds."
    parts = [f"{name} {seeds.mean[name]:.3f} ± {seeds.deviation[name]:.3f}" for name in seeds.mean]
    return f"Average precision over {len(seeds.seeds)} other seeds (mean ± standard deviation): {', '.join(parts)}."


# -- monitoring


def _monitoring(material: Material) -> Chapter:
    card = material.model.card
    promised = card.evaluation.rankings.get("model")
    worst = "–" if promised is None else f"{promised.average_precision.low:.3f}"
    return Chapter("monitoring", "Monitoring plan", (
        Section("What is watched", (
            "fintel drift compares the accounts of today with the training distribution in the card. A move that "
            "chance would show once in twenty times is no move.",
        ), columns=("what", "watch", "act"), rows=(
            ("population stability (PSI), family and score", f"above {drift.WATCH:g}", f"above {drift.ACT:g}"),
            ("change in the share that knows a feature", f"{drift.MISSING_WATCH:g}", f"{drift.MISSING_ACT:g}"),
            ("change in skewness of a feature", f"{drift.SKEW_WATCH:g}", "–"),
            ("average precision on months whose labels had time to come", f"below {worst}",
             f"below {worst} with its whole interval"),
            ("rate of wrong alerts of a group of people, beside everybody else's",
             f"outside {subgroups.FOUR_FIFTHS:g} to {1 / subgroups.FOUR_FIFTHS:g}", "the whole interval outside"),
        )),
        Section("How often", columns=("when", "command", "what follows"), rows=(
            ("with each feed, at least each month", "fintel drift", "exit code 1 means: act"),
            ("each month, once labels came", "fintel evaluate --reviewed SOURCE", "below the line, by group of people"),
            ("with a new model", "fintel compare, then fintel promote", "two people decide"),
            ("when it must go at once", "fintel promote --rollback; fintel detect --model none", "rules stand alone"),
        )),
        Section("What is not watched", items=(
            f"Staff, time to decision, and what becomes of reports: {NOT_PROVIDED}.",
            f"Whether people follow the queue: {NOT_PROVIDED}.",
        )),
    ))  # fmt: skip


def _decisions(material: Material) -> Chapter:
    rows = tuple(
        (
            str(d.number), f"{d.at:%Y-%m-%d %H:%M} UTC", d.action, d.came_from or "rules alone", d.to or "rules alone",
            d.made_by or "–", d.approved_by or "–", d.hash[:16],
        )
        for d in material.decisions
    )  # fmt: skip
    gates = _gates(material)
    return Chapter("decisions", "Decisions", (
        Section("Decisions", (FIGURES["approved"](material), FIGURES["decisions"](material)),
                columns=("", "when", "what", "from", "to", "made by", "approved by", "hash"), rows=rows),
        Section("What the last promotion of this model rested on", () if gates else ("It was never promoted.",),
                columns=("gate", "open", "what was found"), rows=gates),
    ))  # fmt: skip


def _gates(material: Material) -> tuple[tuple[str, ...], ...]:
    mine = [d for d in material.decisions if d.action == "promote" and d.to == material.model.model_id]
    if not mine:
        return ()
    gates = mine[-1].evidence.get("gates")
    rows = gates if isinstance(gates, list) else []
    return tuple(
        (str(g.get("gate")), "yes" if g.get("open") is True else "no", str(g.get("said")))
        for g in rows
        if isinstance(g, dict)
    )


# -- clauses


def _clauses(material: Material) -> Chapter:
    frameworks = list(dict.fromkeys(c.framework for c in CLAUSES))
    sections = [
        Section("How to read this", (
            "Each row says in our words what is asked, and where this dossier answers it, with a measured figure; or "
            "which command makes the answer; or that software does not provide it. It is no legal advice.",
        ), items=(
            "read: the text or an official summary was read; summary: somebody else's summary was; neither quotes.",
            f"{NOT_AT_HAND}: nothing is claimed of it; read the text itself.",
        )),
    ]  # fmt: skip
    for name in frameworks:
        mine = [c for c in CLAUSES if c.framework == name]
        rows = tuple((c.where, c.asks, c.checked, *_answer(c, material)) for c in mine)
        columns = ("clause or principle", "what it asks, in short", "text", "answer", "figure")
        sections.append(Section(name, columns=columns, rows=rows))
    return Chapter("clauses", "Clause by clause", tuple(sections))


def _answer(clause: Clause, material: Material) -> tuple[str, str]:
    """Where it is answered, and the figure."""
    if clause.checked == "not at hand":
        return NOT_AT_HAND, "–"
    parts = [answer.replace("#", ".md, section ", 1) for answer in clause.answers]
    if clause.command:
        parts.append(f"command: {clause.command}")
    figure = FIGURES[clause.figure](material) if clause.figure else "–"
    return "; ".join(parts) or NOT_PROVIDED, figure


def _pairs(values: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        yield name, f"{value:%Y-%m-%d %H:%M} UTC" if hasattr(value, "strftime") else str(value)


def _number(value: float) -> str:
    return f"{value + 0.0:,.4g}"
