"""What detection finds: clauses, episodes, reasons, alerts. One row of each run table."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
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


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison at an episode's peak. ``evidence`` are the entry ids that make ``observed``."""

    measure: str
    kind: str
    column: str
    window_from: datetime
    window_to: datetime
    observed: float
    operator: str | None
    threshold: float | None
    unit: str | None
    own_normal: float | None
    own_points: int
    peer_group: str
    peer_percentile: float | None
    evidence: tuple[str, ...] = ()
    evidence_truncated: bool = False


@dataclass(frozen=True, slots=True)
class Episode:
    """Hits of one rule on one subject that touch in time."""

    episode_id: str
    rule_id: str
    account_id: str
    typology: str
    level: str
    started_at: datetime
    ended_at: datetime
    peak_at: datetime
    hits: int
    strength: float
    reason: str
    clauses: tuple[Clause, ...] = ()


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
    episode: Episode | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """A ranked account: ``prior + Σ reasons.bits == score``, in bits (log2 odds)."""

    run_id: str
    alert_id: str
    rank: int
    account_id: str
    party_id: str | None
    holding: str
    prior: float
    score: float
    typologies: tuple[str, ...]
    reasons: tuple[Reason, ...] = field(default=())
