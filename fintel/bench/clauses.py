"""What supervisors and the industry ask of a monitoring model, and where the dossier answers.

The sentences are ours and say in short what is asked; they are no quotation and no legal advice. Where the text itself
was not at hand when this was written, the row says so and claims nothing about its wording. ``checked`` says what stood
behind it: 'read' (the text or an official summary), 'summary' (of somebody else), 'not at hand'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NOT_PROVIDED = "not provided by software"
NOT_AT_HAND = "clause text not at hand"


@dataclass(frozen=True)
class Clause:
    """One thing asked. ``answers``: 'file#heading' of the dossier; ``command``: makes it outside the dossier; neither:
    it is not provided by software. ``figure``: name of a measured figure (``dossier_chapters.FIGURES``).
    """

    framework: str
    where: str
    asks: str
    checked: Literal["read", "summary", "not at hand"]
    answers: tuple[str, ...] = ()
    figure: str = ""
    command: str = ""


SR = "SR 26-2 / OCC Bulletin 2026-13 (17 April 2026; replaced SR 11-7 and SR 21-8)"
NYDFS = "NYDFS Part 504.3"
MAS = "MAS guidance on transaction monitoring (2018)"
FCA = "FCA Financial Crime Guide (November 2024)"
WOLFSBERG = "Wolfsberg II (August 2025)"
FRAMEWORKS = (SR, NYDFS, MAS, FCA, WOLFSBERG)

#: Numbers of clauses stand where they were at hand; principles are named by what they ask.
CLAUSES = (
    Clause(SR, "scope", "Generative and agentic AI is outside; focus on banks above USD 30 billion", "summary",
           ("model-card#model-details",), "kind"),
    Clause(SR, "development", "Sound development: purpose, design, data and assumptions are documented", "summary",
           ("model-card#intended-use", "data-sheet#learning-set", "assumptions#assumptions"), "rows"),
    Clause(SR, "validation", "Validation: the model does what it is for, with its uncertainty", "summary",
           ("model-card#quantitative-analyses", "data-sheet#leakage-audit"), "precision"),
    Clause(SR, "sensitivity", "What its results hang on is known", "summary",
           ("assumptions#sensitivity-families-of-features", "assumptions#sensitivity-single-features"), "family"),
    Clause(SR, "limits", "Limits are known and told to those who use it", "summary", ("assumptions#limits",), "notes"),
    Clause(SR, "monitoring", "Ongoing monitoring and analysis of outcomes", "summary",
           ("monitoring#what-is-watched",), "bounds", "fintel drift; fintel evaluate"),
    Clause(SR, "effective challenge", "Somebody competent and independent challenges it, and can stop it", "summary",
           ("decisions#decisions",), "approved", "fintel compare; fintel promote"),
    Clause(SR, "materiality", "Effort in proportion to the model's materiality: the bank's own tier", "summary"),
    Clause(SR, "inventory", "An inventory of models, with owners and uses", "summary",
           ("decisions#decisions",), "decisions"),
    Clause(SR, "clauses by number", "The letter's own clauses", "not at hand"),
    Clause(NYDFS, "504.3(a)", "Tested end to end before and after it goes live: governance, data mapping, coding of "
           "transactions, scenario logic, model validation, data input and output", "summary",
           ("data-sheet#feeds", "data-sheet#rules", "model-card#quantitative-analyses"), "feeds",
           "fintel rules test; fintel rules backtest; fintel rules transition"),
    Clause(NYDFS, "504.3(c), data sources", "Data sources are identified", "summary", ("data-sheet#feeds",), "feeds"),
    Clause(NYDFS, "504.3(c), integrity", "Data are complete and accurate from source to system, and so are their "
           "extraction and loading", "summary", ("data-sheet#feeds",), "reconciled", "fintel feed report"),
    Clause(NYDFS, "documentation", "Assumptions, parameters and thresholds are documented and easy to understand",
           "read", ("assumptions#assumptions", "data-sheet#features", "data-sheet#rules"), "features",
           "fintel rules explain"),
    Clause(NYDFS, "governance, funding, staff, vendors", "People, money and oversight of the programme", "not at hand"),
    Clause(NYDFS, "the rest of Part 504", "Its other paragraphs", "not at hand"),
    Clause(MAS, "thresholds", "Thresholds come from the institution's own data, by segment", "read",
           ("model-card#evaluation-data",), "budget", "fintel rules tune"),
    Clause(MAS, "the rest of the guidance", "Its other paragraphs", "not at hand"),
    Clause(FCA, "thresholds", "Monitoring is calibrated to the firm's own customers and risks", "summary",
           ("model-card#evaluation-data",), "budget", "fintel rules tune"),
    Clause(FCA, "the rest of the guide", "Its other sections", "not at hand"),
    Clause(WOLFSBERG, "net effectiveness", "A new way of monitoring is judged by its net effect, not by being equal to "
           "the old one", "read", ("model-card#quantitative-analyses", "decisions#decisions"), "gain",
           "fintel rules transition; fintel compare"),
    Clause(WOLFSBERG, "coverage", "Success counts coverage of priority risks and of indicators", "read",
           ("data-sheet#rules",), "coverage", "fintel rules coverage"),
    Clause(WOLFSBERG, "precision and recall", "Success counts precision, and recall on known cases", "read",
           ("model-card#quantitative-analyses",), "precision"),
    Clause(WOLFSBERG, "capacity", "Judged at what the team can read", "read",
           ("model-card#quantitative-analyses",), "at budget"),
    Clause(WOLFSBERG, "conversion and feedback", "From alert to case to report to what the FIU makes of it, by rule",
           "read", (), "", ""),
    Clause(WOLFSBERG, "the rest of the statement", "Its other paragraphs", "not at hand"),
)  # fmt: skip
