"""A scorer of payments: labels by payment, a strict split in time, trees, and a threshold.

Rows are payments of a network in order of (time, transaction id). A part of the split is a run of rows, so training
sees nothing that is booked after its end. ``payment_pooling`` makes accounts and periods of what this scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.domain.schema import LABELS
from fintel.errors import ModelError
from fintel.frames import empty
from fintel.graph.layout import MICROSECOND
from fintel.graph.network import Network
from fintel.models.evaluation import average_precision
from fintel.models.saved import scorer_of
from fintel.models.scorer import BoostedScorer

Tables = Mapping[str, pl.LazyFrame]
Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

#: Fewer labelled payments than this in a part teach and prove nothing.
AT_LEAST = 5
#: Numbers of trees that are tried on the validation part.
CHECKPOINTS = (25, 50, 100, 150, 200, 300, 400, 600, 800, 1_000)


def payment_labels(tables: Tables, network: Network, known_by: datetime | None = None) -> Floats:
    """What is known of each payment by a moment: float64 (m,).

    1: a label says it was suspicious. 0: no label says so, which is not proof of innocence. NaN: its payer or payee is
    labelled by itself and none of that account's payments is, so this may be one of those meant. Where labels name no
    payment at all, payments of labelled accounts are 1: then an account's label is all that is known of its activity.

    Parameters
    ----------
    known_by: labels known later are not there; None: all are.
    """
    labels = tables.get("labels", empty(LABELS).lazy()).filter(pl.col("suspicious"))
    if known_by is not None:
        labels = labels.filter(pl.col("known_at") <= known_by)
    found = labels.select("subject_type", "subject_id").unique().collect()
    by_payment, by_account = (found.filter(pl.col("subject_type") == kind) for kind in ("transaction", "account"))
    ids = tables["transactions"].select("transaction_id").with_row_index("row")
    named = ids.join(by_payment.lazy(), left_on="transaction_id", right_on="subject_id", how="semi").collect()["row"]
    label = np.isin(network.row, named.to_numpy()).astype(np.float64)
    numbers = network.numbers(by_account["subject_id"])
    accounts = np.zeros(len(network.nodes), bool)
    accounts[numbers[numbers >= 0]] = True
    if label.any():
        at = np.flatnonzero(label)
        accounts[network.source[at]] = accounts[network.target[at]] = False
    touched = accounts[network.source] | accounts[network.target]
    label[touched] = np.nan if label.any() else 1.0
    return label


@dataclass(frozen=True)
class TimeSplit:
    """Runs of rows: ``train``, ``validation``, ``test``, an embargo between each two. ``ends``: when training and
    validation end, µs UTC."""

    train: slice
    validation: slice
    test: slice
    ends: tuple[int, int]


def split_by_time(
    network: Network, *, embargo: timedelta, shares: tuple[float, float] = (0.6, 0.2), of: Array | None = None
) -> TimeSplit:
    """A split at two moments; payments of one moment stand on one side.

    Parameters
    ----------
    embargo: how long after training and after validation payments belong to no part: as long as columns look back
        or labels take, whichever is longer. The papers on AMLworld have none.
    shares: of the payments, what training and validation hold; the test is the rest.
    of: bool (m,): count only these payments (the labelled ones, say) when moments are chosen.

    Raises
    ------
    ModelError: a part is empty.
    """
    time = network.time
    counted = time if of is None else time[of]
    if not counted.size:
        raise ModelError("there are no payments to split", hint="fintel feed add FILE")
    at = [min(int(counted.size * share), counted.size - 1) for share in (shares[0], sum(shares))]
    first, second = (int(counted[i]) for i in at)
    gap = embargo // MICROSECOND
    edges = np.searchsorted(time, [first, first + gap, second, second + gap])
    ends, begins, stops, tests = (int(e) for e in edges)
    split = TimeSplit(slice(0, ends), slice(begins, stops), slice(tests, time.size), (first, second))
    for name in ("train", "validation", "test"):
        part: slice = getattr(split, name)
        if part.stop <= part.start:
            raise ModelError(f"the {name} part of a split by time is empty", hint="a shorter embargo, or a longer feed")
    return split


@dataclass(frozen=True)
class PaymentModel:
    """Trees and how they came to be.

    ``rounds``: trees, those with the best average precision on the validation part, ``validated``. ``threshold``: the
    margin with the best F1 there.
    """

    scorer: BoostedScorer
    trees: str
    names: tuple[str, ...]
    rounds: int
    validated: float
    threshold: float


def train_payments(
    x: Array,
    label: Floats,
    split: TimeSplit,
    names: tuple[str, ...],
    scorer: BoostedScorer,
    *,
    known: Floats | None = None,
) -> PaymentModel:
    """Trees from the training part; their number and the threshold from the validation part. The test is not looked at.

    Parameters
    ----------
    x: (m, columns) of ``names``. label: ``payment_labels``, all that is known now.
    scorer: parameters; its ``rounds`` are the most trees there may be.
    known: ``payment_labels`` as known at the end of training: what is learned from; None: ``label``.

    Raises
    ------
    ModelError: fewer than ``AT_LEAST`` labelled payments in the training or the validation part.
    """
    learned = (label if known is None else known)[split.train]
    judged = label[split.validation]
    for name, part in (("training", learned), ("validation", judged)):
        if (count := int((part == 1).sum())) < AT_LEAST:
            raise ModelError(
                f"{count} labelled payments in the {name} part are too few (at least {AT_LEAST})",
                hint="a longer feed, or labels that are known earlier",
            )
    told = ~np.isnan(learned)
    weight = None if told.all() else told.astype(np.float64)
    growing = BoostedScorer(**scorer.get_params()).prepare(x[split.train], np.where(told, learned, 0.0), weight)
    rounds, precision = _grow(growing, x[split.validation], judged, scorer.rounds)
    text = growing.booster_.model_to_string(num_iteration=rounds)
    # The trees alone, read back: what is used is what a reader of the text gets, and no tree more.
    trees = text.partition("\nend of trees")[0] + "\nend of trees\n"
    used = scorer_of(trees, len(names), threads=scorer.threads)
    margin = used.decision_function(x[split.validation])
    clear = ~np.isnan(judged)
    return PaymentModel(used, trees, names, rounds, precision, best_threshold(judged[clear], margin[clear]))


def _grow(growing: BoostedScorer, x: Array, label: Floats, most: int) -> tuple[int, float]:
    """Trees until twice as many rank no better."""
    clear = ~np.isnan(label)
    best, reached, grown = 0, -1.0, 0
    for rounds in (*(c for c in CHECKPOINTS if c < most), most):
        growing.grow(rounds - grown)
        grown = rounds
        precision = average_precision(label[clear], growing.decision_function(x)[clear])
        if precision > reached:
            best, reached = rounds, precision
        elif rounds >= 2 * best:
            break
    return best, reached


def best_threshold(label: Floats, margin: Floats) -> float:
    """The margin from which on 'suspicious' has the greatest F1; of several the highest."""
    order = np.argsort(-margin, kind="stable")
    hits = np.cumsum(label[order])
    last = np.append(np.flatnonzero(np.diff(margin[order])), order.size - 1)
    f1 = 2 * hits[last] / (last + 1 + hits[-1])
    return float(margin[order[last[int(np.argmax(f1))]]])


def f1_score(label: Floats, suspicious: Array) -> float:
    """F1 of the suspicious class."""
    both = float(label.sum() + suspicious.sum())
    return 2 * float(label[suspicious].sum()) / both if both else 0.0
