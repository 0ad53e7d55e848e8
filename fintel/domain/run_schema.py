"""Tables that one detection run writes, frozen with its manifest."""

from __future__ import annotations

from fintel.domain.column import Table, Type
from fintel.domain.column import column as _c

HOLDINGS = ("own", "external")

# One column a line, so that a table reads as a table.
# fmt: off

RULE_RESULTS = Table(
    "rule_results",
    "How each rule fared in a run: evaluated, cannot tell, or failed; never silently false.",
    ("run_id", "rule_id"),
    (
        _c("run_id", Type.STRING, "Run", required=True),
        _c("rule_id", Type.STRING, "Rule", required=True),
        _c("version", Type.INT, "Version of the rule", required=True),
        _c("fingerprint", Type.STRING, "Of the rule's logic", required=True),
        _c("outcome", Type.STRING, "What the run can say", required=True, values=("evaluated", "cannot_tell", "failed")),
        _c("reason", Type.STRING, "Why it cannot tell or failed, or where it could not see all"),
        _c("candidates", Type.INT, "Entries that the anchor selected", required=True),
        _c("unseen", Type.INT, "Entries whose anchor could not be decided, for want of a value", required=True),
        _c("hits", Type.INT, "Entries at which the rule held", required=True),
        _c("episodes", Type.INT, "Hits joined in time", required=True),
        _c("subjects", Type.INT, "Accounts with an episode", required=True),
    ),
)

EPISODES = Table(
    "episodes",
    "Hits of one rule on one subject that touch in time.",
    ("run_id", "episode_id"),
    (
        _c("run_id", Type.STRING, "Run", required=True),
        _c("episode_id", Type.STRING, "Hash of rule, logic, subject and first entry: the same in every run", required=True),
        _c("rule_id", Type.STRING, "Rule", required=True),
        _c("account_id", Type.STRING, "Subject", required=True),
        _c("partition", Type.STRING, "Value of the rule's `per` columns", required=True),
        _c("typology", Type.STRING, "Typology of the rule", required=True),
        _c("level", Type.STRING, "low, medium, high or critical", required=True),
        _c("started_at", Type.TIMESTAMP, "Start of the first window that held", required=True),
        _c("ended_at", Type.TIMESTAMP, "Last entry at which it held", required=True),
        _c("peak_at", Type.TIMESTAMP, "Entry whose values are shown", required=True),
        _c("peak_entry_id", Type.STRING, "That entry", required=True),
        _c("hits", Type.INT, "Entries at which it held", required=True),
        _c("strength", Type.FLOAT, "0 to 1: how far past the thresholds", required=True),
        _c("share", Type.FLOAT, "0 to 1: share of the subject's turnover (else of its entries) in the evidence", required=True),
        _c("reason", Type.STRING, "In words, values filled in", required=True),
    ),
)

CLAUSES = Table(
    "clauses",
    "Each comparison of an episode at its peak: observed beside threshold, own normal and peers.",
    ("run_id", "episode_id", "clause"),
    (
        _c("run_id", Type.STRING, "Run", required=True),
        _c("episode_id", Type.STRING, "Episode", required=True),
        _c("clause", Type.INT, "Order in the rule, from 1", required=True),
        _c("measure", Type.STRING, "Measure's name in the rule, or the motif", required=True),
        _c("kind", Type.STRING, "count, sum, distinct, …; motif: the payments of a motif that the rule reads of the graph; bound: its search was cut short", required=True),
        _c("column", Type.STRING, "Column measured, '*' for count", required=True),
        _c("window_from", Type.TIMESTAMP, "Start of the window, exclusive", required=True),
        _c("window_to", Type.TIMESTAMP, "End of the window, inclusive", required=True),
        _c("observed", Type.FLOAT, "Value at the peak", required=True),
        _c("operator", Type.STRING, "Comparison, empty for a measure that is only shown"),
        _c("threshold", Type.FLOAT, "What it was compared with, if a number"),
        _c("unit", Type.STRING, "Unit of both"),
        _c("own_normal", Type.FLOAT, "Median of the measure at this subject's earlier anchors"),
        _c("own_points", Type.INT, "How many earlier anchors that rests on", required=True),
        _c("peer_group", Type.STRING, "Who the peers are", required=True),
        _c("peer_percentile", Type.FLOAT, "Share of peers whose highest value is lower, 0 to 100"),
        _c("evidence_rows", Type.INT, "Entries that make the value", required=True),
        _c("evidence_truncated", Type.BOOL, "More rows than are kept", required=True),
    ),
)

EVIDENCE = Table(
    "evidence",
    "The very entries that make each observed value. A motif's are of other accounts too: of a payment of the subject's account that account's entry, else the payer's, else the payee's.",
    ("run_id", "episode_id", "measure", "entry_id"),
    (
        _c("run_id", Type.STRING, "Run", required=True),
        _c("episode_id", Type.STRING, "Episode, or path of a reason that the graph gives", required=True),
        _c("measure", Type.STRING, "Measure's name in the rule; the motif; of a path, 'path'", required=True),
        _c("entry_id", Type.STRING, "Entry", required=True),
        _c("transaction_id", Type.STRING, "Its payment", required=True),
    ),
)

ALERTS = Table(
    "alerts",
    "Ranked accounts of a run: prior + Σ reasons = score, in bits (log2 odds).",
    ("run_id", "account_id"),
    (
        _c("run_id", Type.STRING, "Run", required=True),
        _c("alert_id", Type.STRING, "Hash of run and account", required=True),
        _c("rank", Type.INT, "1 is the most suspicious of the own accounts; external ones are numbered after them", required=True),
        _c("account_id", Type.STRING, "Subject", required=True),
        _c("party_id", Type.STRING, "Its holder"),
        _c("holding", Type.STRING, "own or external", required=True, values=HOLDINGS),
        _c("prior", Type.FLOAT, "Where everybody starts", required=True, unit="bits"),
        _c("score", Type.FLOAT, "prior + Σ reasons", required=True, unit="bits"),
        _c("reasons", Type.INT, "How many", required=True),
        _c("typologies", Type.STRING, "Typologies, strongest first, ';' between", required=True),
        _c("first_at", Type.TIMESTAMP, "Start of the earliest episode"),
        _c("last_at", Type.TIMESTAMP, "End of the latest episode"),
        _c("summary", Type.STRING, "The strongest reason, in words", required=True),
        _c("suppressed", Type.STRING, "Why it is left out of the queue, by whom and until when; empty if it is not"),
        _c("probability", Type.FLOAT, "Calibrated probability of suspicion; empty without a model, or where it did not score", unit="share"),
    ),
)

REASONS = Table(
    "reasons",
    "What adds up to a score. Frozen with the run.",
    ("run_id", "account_id", "reason"),
    (
        _c("run_id", Type.STRING, "Run", required=True),
        _c("account_id", Type.STRING, "Subject", required=True),
        _c("reason", Type.INT, "Order, strongest first, from 1", required=True),
        _c("origin", Type.STRING, "Where it comes from", required=True, values=("rule", "model", "graph")),
        _c("name", Type.STRING, "Rule id, feature, or kind of seed that the money came from", required=True),
        _c("typology", Type.STRING, "Typology of a rule"),
        _c("episode_id", Type.STRING, "Episode of a rule; of the graph, the path of payments: both are keys of evidence"),
        _c("bits_full", Type.FLOAT, "Before damping", required=True, unit="bits"),
        _c("damping", Type.FLOAT, "Factor for being one of several in a family", required=True),
        _c("bits", Type.FLOAT, "What it adds to the score", required=True, unit="bits"),
        _c("text", Type.STRING, "In words", required=True),
        _c("suppressed", Type.STRING, "Why it needs no look, by whom and until when; empty if it does"),
    ),
)

RUNS = Table(
    "runs",
    "Every detection run. The manifest has the rest.",
    ("run_id",),
    (
        _c("run_id", Type.STRING, "Hash of version, config, feeds, packs, model, seed and as_of", required=True),
        _c("as_of", Type.TIMESTAMP, "The run sees nothing later", required=True),
        _c("finished_at", Type.TIMESTAMP, "When it was committed", required=True),
        _c("manifest", Type.STRING, "JSON", required=True),
    ),
)
