"""Which motifs of the graph a rule reads, by who reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fintel.graph.witnesses import WITNESS_OF
from fintel.rules.model import Rule

#: Motifs by the part of a rule that reads a column of theirs.
Cited = Mapping[str, frozenset[str]]


def motifs_among(columns: Iterable[str]) -> frozenset[str]:
    """The motifs whose columns are among these."""
    return frozenset(WITNESS_OF[name] for name in columns if name in WITNESS_OF)


def cited_motifs(rule: Rule, read: Cited) -> dict[str, frozenset[str]]:
    """Motifs by the anchor (key 'anchor'), step, or measure that reads them; ``read``: by the rule's parts."""
    anchor = rule.anchor.strip()
    found = {"anchor": read.get(f"steps.{anchor}.where" if anchor in rule.steps else "anchor", frozenset())}
    found |= {step: read.get(f"steps.{step}.where", frozenset()) for step in rule.steps}
    for name, measure in rule.measures.items():
        found[name] = motifs_among([measure.column]) | read.get(f"measures.{name}.where", frozenset())
    return {name: motifs for name, motifs in found.items() if motifs}
