"""One set of measures under many settings: what each alerts, counted without computing a window again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.bench.boxes import Stacks, alerted, boxes_of, count_alerts, stack
from fintel.bench.measured import Measured, convert
from fintel.bench.settings import Axis, Indices
from fintel.bench.thresholds import criterion
from fintel.engine.local import thread_count
from fintel.errors import RuleError
from fintel.rules.model import Library


@dataclass(frozen=True)
class Known:
    """What is known of own accounts: ids of the suspicious, ids of those that somebody looked at and
    found clean, and in words where that comes from."""

    suspicious: frozenset[str] = frozenset()
    cleared: frozenset[str] = frozenset()
    source: str = ""


@dataclass(frozen=True)
class Swept:
    """One set of measures under every setting. ``counts``: int64 (s, 4) as ``boxes.count_alerts`` gives."""

    measured: Measured
    fixed: Mapping[str, float]
    axes: tuple[Axis, ...]
    settings: Indices
    stacks: Stacks
    counts: npt.NDArray[np.int64]

    def values(self, setting: int) -> dict[str, float]:
        """Parameters of a setting, in their own units; those that were measured anew included."""
        at = {a.name: float(a.values[i]) for a, i in zip(self.axes, self.settings[setting], strict=True)}
        return {**self.fixed, **at}

    def alerted(self, setting: int) -> pl.DataFrame:
        """Accounts that a setting alerts: ``account_id, segment, jurisdiction, months``."""
        months = alerted(self.stacks, self.settings[setting])
        hit = months > 0
        return self.measured.accounts[self.stacks.account[hit]].with_columns(months=pl.Series(months[hit]))


@dataclass
class Halves:
    """Suspicious accounts in two halves, drawn by lot: one chooses, the other judges."""

    known: Known
    seed: int
    half: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = sorted(self.known.suspicious)
        drawn = np.random.default_rng([self.seed, 12]).permutation(len(names))
        self.half = {name: 1 + int(d % 2) for name, d in zip(names, drawn, strict=True)}

    def of(self, accounts: pl.Series) -> npt.NDArray[np.uint8]:
        """0, 1 or 2 for each account id."""
        return np.array([self.half.get(a, 0) for a in accounts.to_list()], np.uint8)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many in each half."""
        return sum(h == 1 for h in self.half.values()), sum(h == 2 for h in self.half.values())


def sweep_settings(
    variants: Sequence[Measured],
    library: Library,
    axes: Sequence[Axis],
    settings: Indices,
    known: Known,
    *,
    rerun: Sequence[Mapping[str, float]] = (),
    seed: int = 7,
    threads: int = 0,
) -> list[Swept]:
    """Count what every setting alerts, for each set of measures. No window is computed.

    Parameters
    ----------
    variants: from ``measured.measure``; ``rerun``: the parameters that each was measured with.

    Raises
    ------
    RuleError: the rule cannot tell on this data, or a parameter cannot be swept.
    """
    workers = thread_count(threads)
    halves = Halves(known, seed)
    out = []
    for measured, fixed in zip(variants, rerun or [{} for _ in variants], strict=True):
        if measured.cannot_tell is not None:
            raise RuleError(f"{measured.rule.id} cannot tell on this data: {measured.cannot_tell}")
        values = {a.name: convert(measured, library, a.name, a.values) for a in axes}
        rest = {n: v for n, v in measured.parameters.items() if n not in values}
        when = criterion(measured.rule.when, tuple(measured.measures), rest, tuple(values))
        boxes = boxes_of(when, measured.measures, values, threads=workers)
        stacks = stack(boxes, measured.account, measured.month)
        groups = halves.of(measured.accounts["account_id"][stacks.account])
        counts = count_alerts(stacks, settings, groups, threads=workers)
        out.append(Swept(measured, dict(fixed), tuple(axes), settings, stacks, counts))
    return out


def setting_of(swept: Sequence[Swept], wanted: Mapping[str, float]) -> tuple[int, int]:
    """The variant and setting with these parameters (all others as they are now).

    Raises
    ------
    RuleError: it was not among the settings tried.
    """
    target = {**swept[0].values(0), **wanted}
    for variant, one in enumerate(swept):
        for setting in range(len(one.settings)):
            found = one.values(setting)
            if all(math.isclose(found.get(n, math.nan), v, rel_tol=1e-12) for n, v in target.items()):
                return variant, setting
    raise RuleError("this setting was not tried", hint="--vary NAME=VALUE,VALUE tries given values")


def as_seen(swept: Swept, library: Library, setting: int) -> dict[str, float]:
    """All parameters of a setting as ``when`` sees them: money in the base currency."""
    found = dict(swept.measured.parameters)
    for axis, index in zip(swept.axes, swept.settings[setting], strict=True):
        found[axis.name] = float(convert(swept.measured, library, axis.name, axis.values[[index]])[0])
    return found
