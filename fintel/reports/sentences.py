"""A sentence of a narrative, with what proves it."""

from __future__ import annotations

from dataclasses import dataclass

#: Source of facts that are computed from the payments a sentence cites.
PAYMENTS = "payments"


@dataclass(frozen=True, slots=True)
class Fact:
    """A word or number inside a sentence, exactly as it stands there, and where it comes from.

    With source ``PAYMENTS`` it computes from the entries the sentence cites.
    """

    name: str
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence. It cites entries, or names a source, or both; never neither."""

    part: str
    text: str
    evidence: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        if not self.evidence and not self.source:
            raise ValueError(f"sentence without evidence or source: {self.text!r}")
