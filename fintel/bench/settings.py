"""Settings of a rule to be tried: axes (swept parameters and their values) and points on them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fintel.bench.measured import measuring_parameters
from fintel.bench.thresholds import criterion
from fintel.errors import RuleError, did_you_mean
from fintel.rules.model import Parameter, Rule

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]

METHODS = ("random", "grid")
MAX_SETTINGS = 100_000
MAX_VALUES = 10_000
MAX_VARIANTS = 16
#: Where the highest value is this many times the lowest, values are spread evenly over its logarithm.
_WIDE = 20.0
_DIGITS = 3
#: Draws of random settings, since some of them are alike.
_ROUNDS = 8
#: Units of what is no whole number even where a rule's default and range happen to be whole.
_DIVISIBLE = frozenset({"share", "ratio"})
_RANGE = re.compile(r"([^:]+):([^:]+)")


@dataclass(frozen=True)
class Wish:
    """What the analyst wants a parameter to be varied over: a range, single values, or its own range."""

    name: str
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Axis:
    """A swept parameter: ascending values in its unit, and which of them is the current one."""

    parameter: Parameter
    values: Floats
    current: int

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.parameter.name


def parse_wish(text: str) -> Wish:
    """``name``, ``name=low:high`` or ``name=1,2,3``.

    Raises
    ------
    RuleError: none of these.
    """
    name, equals, given = text.partition("=")
    name = name.strip()
    try:
        if not equals:
            return Wish(name)
        if span := _RANGE.fullmatch(given):
            low, high = _number(span[1]), _number(span[2])
            if low >= high:
                raise RuleError(f"'{text}': the range is empty", hint=f"{name}=LOW:HIGH")
            return Wish(name, low, high)
        values = tuple(sorted({_number(v) for v in given.split(",")}))
    except ValueError:
        raise RuleError(f"'{text}' is no parameter with values", hint="NAME, NAME=LOW:HIGH or NAME=1,2,3") from None
    if len(values) > MAX_VALUES:
        raise RuleError(f"'{name}' has more than {MAX_VALUES:,} values")
    return Wish(name, values=values)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def choose(
    rule: Rule, wishes: Sequence[Wish] = (), rerun: Collection[str] = ()
) -> tuple[dict[str, Wish], dict[str, str]]:
    """Which parameters can be swept without measuring anew.

    Without wishes: those of basis ``engineering`` that have a range. A number that the cited document
    gives is not ours to tune unless it is asked for. ``rerun``: those that are measured anew instead.

    Returns
    -------
    The wishes by parameter, and for every other parameter why it is held.

    Raises
    ------
    RuleError: a wish for a parameter that the rule lacks, or that cannot be swept.
    """
    if rule.correlation is not None:
        parts = ", ".join(rule.correlation.components)
        raise RuleError(f"{rule.id} combines other rules and measures nothing itself", hint=f"tune one of: {parts}")
    asked = {w.name: w for w in wishes}
    for name in asked:
        known_parameter(rule, name)
    measuring = measuring_parameters(rule)
    held: dict[str, str] = {}
    chosen: dict[str, Wish] = {}
    for name, parameter in rule.parameters.items():
        wish = asked.get(name)
        if name in rerun:
            held[name] = "measured anew for each value"
        elif name in measuring:
            held[name] = f"stands in {measuring[name]}: it changes what is measured"
        elif not asked and parameter.basis == "source":
            held[name] = "the cited document gives this number"
        elif asked and wish is None:
            held[name] = "not asked for"
        elif parameter.range is None and (wish is None or (wish.low is None and not wish.values)):
            held[name] = "has no range"
        else:
            chosen[name] = wish or Wish(name)
    fixed = {n: p.default for n, p in rule.parameters.items() if n not in chosen}
    for name, why in criterion(rule.when, rule.observables, fixed, tuple(chosen)).tangled().items():
        held[name] = why
        del chosen[name]
    for name in asked:
        if name in held:
            raise RuleError(f"'{name}' cannot be swept: {held[name]}", hint=_how(name, held[name]))
    return chosen, held


def _how(name: str, why: str) -> str:
    return f"--vary {name}=LOW:HIGH" if why == "has no range" else f"--rerun {name}=… measures anew for each value"


def variants(rule: Rule, wishes: Sequence[Wish]) -> list[dict[str, float]]:
    """Every combination of given values of parameters that are measured anew; the current one first.

    Raises
    ------
    RuleError: no such parameter, no single values, or more than ``MAX_VARIANTS`` combinations.
    """
    found: list[dict[str, float]] = [{}]
    for wish in wishes:
        default = known_parameter(rule, wish.name).default
        if not wish.values:
            raise RuleError(f"--rerun takes single values of '{wish.name}'", hint=f"--rerun {wish.name}=1,2,3")
        values = (default, *(v for v in wish.values if v != default))
        found = [{**one, wish.name: v} for one in found for v in values]
        if len(found) > MAX_VARIANTS:
            raise RuleError(f"--rerun would measure more than {MAX_VARIANTS} times", hint="fewer values")
    return found


def known_parameter(rule: Rule, name: str) -> Parameter:
    """The rule's parameter of that name.

    Raises
    ------
    RuleError: it has none.
    """
    if name not in rule.parameters:
        hint = did_you_mean(name, rule.parameters) or f"parameters: {', '.join(rule.parameters) or 'none'}"
        raise RuleError(f"{rule.id} has no parameter '{name}'", hint=hint)
    return rule.parameters[name]


def require_in_range(parameter: Parameter, value: float) -> None:
    """A default outside the parameter's own range would take the rule out of every run.

    Raises
    ------
    RuleError: outside the range.
    """
    if parameter.range is not None and not parameter.range[0] <= value <= parameter.range[1]:
        low, high = parameter.range
        raise RuleError(
            f"{parameter.name} = {value:g} is outside its range [{low:g}, {high:g}]",
            hint="a value inside it, or another range in the rule's file",
        )


def is_whole(parameter: Parameter, low: float, high: float) -> bool:
    """Only whole numbers make sense: it is written in them and its unit cannot be divided."""
    numbers = (parameter.default, low, high)
    return parameter.unit not in _DIVISIBLE and not parameter.is_money and all(n.is_integer() for n in numbers)


def make_settings(
    rule: Rule, chosen: Mapping[str, Wish], *, method: str = "random", number: int = 1000, seed: int = 7
) -> tuple[list[Axis], Indices]:
    """Axes, and settings as indices into them: int32 (s, k). The first setting is the current one.

    ``random`` draws about ``number`` settings, some near the current one and some far; where no more
    than that exist, it takes them all. ``grid`` crosses values of every axis, about ``number`` in all.

    Raises
    ------
    RuleError: an unknown method, or a number that is out of bounds.
    """
    if method not in METHODS:
        raise RuleError(f"no method '{method}'", hint=f"one of: {', '.join(METHODS)}")
    if not 1 <= number <= MAX_SETTINGS:
        raise RuleError(f"between 1 and {MAX_SETTINGS:,} settings, not {number:,}")
    rng = np.random.default_rng([seed, 11])
    each = max(2, int(number ** (1 / max(len(chosen), 1)))) if method == "grid" else min(number, MAX_VALUES)
    axes = [
        _axis(rule.parameters[name], wish, each, rng if method == "random" else None) for name, wish in chosen.items()
    ]
    sizes = [axis.values.size for axis in axes]
    current = np.array([axis.current for axis in axes], np.int64)
    whole = math.prod(sizes)
    found: npt.NDArray[Any]
    if method == "grid" and whole > MAX_SETTINGS:
        raise RuleError(f"a grid of {whole:,} settings is more than {MAX_SETTINGS:,}", hint="--vary fewer parameters")
    if method == "grid" or whole <= number:
        found = np.stack(np.unravel_index(np.arange(whole), sizes), axis=1) if axes else np.zeros((1, 0))
    else:
        found = _random(current, np.array(sizes), number, rng)
    others = found[(found != current).any(axis=1)] if axes else found[:0]
    return axes, np.concatenate([current[None, :], others]).astype(np.int32)


def _random(
    current: npt.NDArray[Any], sizes: npt.NDArray[Any], number: int, rng: np.random.Generator
) -> npt.NDArray[Any]:
    """About ``number`` different settings; each leaves a share of its own of the parameters as it is: with
    many parameters, settings in which all are drawn are nearly all far off."""
    found = current[None, :]
    for _ in range(_ROUNDS):
        drawn = (rng.random((number, sizes.size)) * sizes).astype(np.int64)
        kept = rng.random(drawn.shape) < rng.random((number, 1))
        found = np.unique(np.concatenate([found, np.where(kept, current, drawn)]), axis=0)
        if len(found) > number:
            return found[np.sort(rng.choice(len(found), number, replace=False))]
    return found


def _axis(parameter: Parameter, wish: Wish, each: int, rng: np.random.Generator | None) -> Axis:
    current = parameter.default
    if wish.values:
        values = np.array(wish.values)
    else:
        low, high = (wish.low, wish.high) if wish.low is not None else parameter.range or (current, current)
        assert low is not None
        assert high is not None
        values = _spread(low, high, each, rng, whole=is_whole(parameter, low, high))
    values = np.unique(np.append(values, current))
    return Axis(parameter, values, int(np.searchsorted(values, current)))


def _spread(low: float, high: float, each: int, rng: np.random.Generator | None, *, whole: bool) -> Floats:
    if whole and high - low < each:
        return np.arange(low, high + 1)
    at = np.linspace(0.0, 1.0, each) if rng is None else np.append(rng.random(each), [0.0, 1.0])
    values = low * (high / low) ** at if low > 0 and high / low >= _WIDE else low + (high - low) * at
    values = np.rint(values) if whole else np.array([float(f"{v:.{_DIGITS}g}") for v in values])
    return np.clip(values, low, high)
