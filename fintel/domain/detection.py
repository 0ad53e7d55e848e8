"""The words of detection: levels, typologies, outcomes, and a reason.

Episodes, clauses, evidence and alerts live as tables (``run_schema``), not as objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much one hit of a rule says. The bits are in ``ranking``."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Typology(StrEnum):
    """Families of typologies, in FATF's sense (a way in which money is laundered or raised)."""

    OSEC = "OSEC"
    HT_SEX = "HT-SEX"
    HT_LABOUR = "HT-LABOUR"
    SCAM_COMPOUND = "SCAM-COMPOUND"
    SEXTORTION = "SEXTORTION"
    ML_GENERAL = "ML-GENERAL"


class Outcome(StrEnum):
    """What a rule can say about a feed. ``CANNOT_TELL`` is not ``no``."""

    EVALUATED = "evaluated"
    CANNOT_TELL = "cannot_tell"
    FAILED = "failed"


#: Kinds of clause beside those of measures: the payments of a motif of the graph; where a bound cut its search short.
MOTIF, BOUND = "motif", "bound"


@dataclass(frozen=True, slots=True)
class Reason:
    """One addend of a score: ``bits = bits_full * damping``."""

    origin: str
    name: str
    text: str
    bits_full: float
    damping: float
    bits: float
    typology: str | None = None
