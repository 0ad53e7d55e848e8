"""What a condition can be at all: bounds of numbers, values of texts, directions of entries.

Interval arithmetic over the checked expression: whatever the data, a value lies within its bounds. So a
comparison whose sides cannot meet is never true, and nothing here cries wolf.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fintel.rules.model import Rule
from fintel.rules.tree import Part

#: Columns of entries with bounds of their own (``domain.schema``; degrees and hours by their nature).
_COLUMNS: Mapping[str, tuple[float, float]] = {
    "amount": (0, math.inf), "amount_base": (0, math.inf), "local_hour": (0, 23), "party_income": (0, math.inf),
    "home_distance_km": (0, 20_038), "place_latitude": (-90, 90), "place_longitude": (-180, 180),
    "shared_address": (1, 50), "shared_phone": (1, 50), "shared_email": (1, 50), "shared_device": (1, 50),
}  # fmt: skip
_EXTRACTED = {"hour": (0, 23), "dow": (0, 6), "day": (1, 31), "month": (1, 12)}
_COUNTED = ("count", "distinct", "hops")
_POSITIVE = ("amount", "amount_base", "gap", "leg_km", "party_income", "home_distance_km")
#: Kinds whose value lies between the lowest and the highest of what they look at.
_WITHIN = ("min", "max", "mean", "first", "last")
_OPPOSITE = {"in": "out", "out": "in"}
DIRECTIONS = frozenset({"in", "out"})


@dataclass(frozen=True)
class Bounds:
    """``low`` to ``high``, both included."""

    low: float = -math.inf
    high: float = math.inf

    def __and__(self, other: Bounds) -> Bounds:
        return Bounds(max(self.low, other.low), min(self.high, other.high))


ANYTHING = Bounds()
BoundsOf = Callable[[str], Bounds]


def column_bounds(name: str) -> Bounds:
    """What a column of entries can be."""
    return Bounds(*_COLUMNS[name]) if name in _COLUMNS else ANYTHING


def measure_bounds(rule: Rule) -> BoundsOf:
    """What each measure (or step) of a rule can be."""

    def of(name: str) -> Bounds:
        measure = rule.measures.get(name)
        if measure is None:  # a step: how many entries
            return Bounds(0)
        if measure.kind == "peers":
            return of(measure.column) if measure.column in rule.measures else ANYTHING
        if measure.kind in (*_COUNTED, "std") or (measure.kind == "top" and measure.of in ("", *_POSITIVE)):
            return Bounds(0)
        if measure.kind == "rising":
            return Bounds(-1, 1)
        if measure.column == "booked_at":
            return Bounds(0, (measure.timespan + measure.offset).total_seconds() / 86_400)
        if measure.kind in ("sum", "growth"):
            return Bounds(0) if measure.column in _POSITIVE else ANYTHING
        if measure.kind in _WITHIN:
            return Bounds(0) if measure.column in ("gap", "leg_km") else column_bounds(measure.column)
        return ANYTHING

    return of


def bounds(part: Part, of: BoundsOf) -> Bounds:
    """What a number can be."""
    if part.value is not None:
        return Bounds(part.value, part.value)
    if part.name is not None:
        return of(part.name)
    inner = [bounds(p, of) for p in part.parts]
    match part.operator:
        case "+" if len(inner) == 2:
            return Bounds(inner[0].low + inner[1].low, inner[0].high + inner[1].high)
        case "-" if len(inner) == 2:
            return Bounds(inner[0].low - inner[1].high, inner[0].high - inner[1].low)
        case "-":
            return Bounds(-inner[0].high, -inner[0].low)
        case "+":
            return inner[0]
        case "*":
            return _product(*inner)
        case "/":
            return _quotient(*inner)
        case "abs":
            low = 0.0 if inner[0].low <= 0 <= inner[0].high else min(abs(inner[0].low), abs(inner[0].high))
            return Bounds(low, max(abs(inner[0].low), abs(inner[0].high)))
        case "least":  # an empty value is passed over
            return Bounds(min(b.low for b in inner), max(b.high for b in inner))
        case "greatest" | "coalesce":
            return Bounds(min(b.low for b in inner), max(b.high for b in inner))
        case "length":
            return Bounds(0)
        case "%" if inner[0].low >= 0:
            return Bounds(0, inner[1].high)
    return ANYTHING


def _product(a: Bounds, b: Bounds) -> Bounds:
    corners = [0.0 if 0 in (x, y) else x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    return Bounds(min(corners), max(corners))


def _quotient(a: Bounds, b: Bounds) -> Bounds:
    """Division by zero gives no value, so the divisor's zero does not count."""
    if b.low < 0 < b.high or b.low == b.high == 0:
        return ANYTHING
    if b.low >= 0:
        high = math.inf if b.low == 0 else 1 / b.low
        return _product(a, Bounds(0.0 if math.isinf(b.high) else 1 / b.high, high))
    return ANYTHING


def conjuncts(part: Part) -> Iterator[Part]:
    """What must all hold: named conditions are looked into."""
    if part.operator == "and":
        for inner in part.parts:
            yield from conjuncts(inner)
    else:
        yield part


def comparisons(part: Part) -> Iterator[tuple[Part, str, Part]]:
    """Left, operator, right of the numeric comparisons that must all hold."""
    for piece in conjuncts(part):
        if piece.operator in ("=", "<", "<=", ">", ">="):
            yield piece.parts[0], piece.operator, piece.parts[1]
        elif piece.operator == "between":
            value, low, high = piece.parts
            yield value, ">=", low
            yield value, "<=", high


def never(part: Part, of: BoundsOf) -> tuple[Part, str] | None:
    """Why a condition can never hold, and the piece that says so; None where it may.

    Of what ``or`` joins, each is seen beside what must hold with it.
    """
    found = _contradiction([part], of)
    if found is not None:
        return found
    pieces = list(conjuncts(part))
    for piece in pieces:
        others = [p for p in pieces if p is not piece]
        if piece.operator == "or" and all(_contradiction([*others, p], of) is not None for p in piece.parts):
            return piece, "none of what 'or' joins can hold here"
    return None


def _contradiction(joined: Sequence[Part], of: BoundsOf) -> tuple[Part, str] | None:
    narrowed: dict[str, Bounds] = {}
    open_low: dict[str, bool] = {}
    open_high: dict[str, bool] = {}
    for left, sign, right in (found for part in joined for found in comparisons(part)):
        a, b = bounds(left, of), bounds(right, of)
        if not _can_hold(a, sign, b):
            return left, f"it lies within {_words(a)}, and what it is compared with within {_words(b)}"
        for value, mark, limit in ((left, sign, b), (right, _mirrored(sign), a)):
            name = value.name
            if name is None:
                continue
            before = narrowed.get(name, of(name))
            after = before & _limit(mark, limit)
            if mark == ">" and limit.low >= before.low:
                open_low[name] = True
            if mark == "<" and limit.high <= before.high:
                open_high[name] = True
            narrowed[name] = after
            is_open = open_low.get(name, False) or open_high.get(name, False)
            if after.low > after.high or (after.low == after.high and is_open and math.isfinite(after.low)):
                return value, f"'{name}' would have to be more and less at once"
    return _texts_that_differ(joined)


def _limit(sign: str, limit: Bounds) -> Bounds:
    if sign == "=":
        return limit
    return Bounds(low=limit.low) if sign in (">", ">=") else Bounds(high=limit.high)


def _mirrored(sign: str) -> str:
    return {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(sign, sign)


def _can_hold(a: Bounds, sign: str, b: Bounds) -> bool:
    match sign:
        case "=":
            return a.low <= b.high and b.low <= a.high
        case "<":
            return a.low < b.high
        case "<=":
            return a.low <= b.high
        case ">":
            return a.high > b.low
    return a.high >= b.low


def _words(found: Bounds) -> str:
    return f"{found.low:g} to {found.high:g}"


def _texts_that_differ(joined: Sequence[Part]) -> tuple[Part, str] | None:
    """``x = 'a' and x in ('b', 'c')``."""
    allowed: dict[str, frozenset[str]] = {}
    for piece in (found for part in joined for found in conjuncts(part)):
        found = _allowed(piece)
        if found is None:
            continue
        name, values = found
        allowed[name] = allowed.get(name, values) & values
        if not allowed[name]:
            return piece, f"'{name}' would have to be two things at once"
    return None


def _allowed(piece: Part) -> tuple[str, frozenset[str]] | None:
    """The column that a piece holds to some texts, and these."""
    if piece.operator == "=":
        for one, other in (piece.parts, piece.parts[::-1]):
            if one.name is not None and isinstance(other.literal, str):
                return one.name, frozenset({other.literal})
    if piece.operator == "in" and len(piece.parts[0].parts) > 1:  # 'in (…)': the column and the items
        column, *items = piece.parts[0].parts
        if piece.parts[0].operator == "" and column.name is not None and all(isinstance(i.literal, str) for i in items):
            return column.name, frozenset(str(i.literal) for i in items)
    return None


def directions(part: Part) -> frozenset[str]:
    """Directions of entries that a condition can select."""
    if part.operator == "and":
        return frozenset.intersection(*(directions(p) for p in part.parts))
    if part.operator == "or":
        return frozenset.union(*(directions(p) for p in part.parts))
    if part.operator == "coalesce" and part.parts[-1].sql == "false":
        return frozenset.union(*(directions(p) for p in part.parts[:-1]))
    if part.operator == "not" and (held := _allowed(part.parts[0])) is not None and held[0] == "direction":
        return DIRECTIONS - held[1]
    if part.operator == "<>" and "direction" in part.names:
        return frozenset(_OPPOSITE.get(str(p.literal), "in") for p in part.parts if p.literal is not None) or DIRECTIONS
    found = _allowed(part)
    return DIRECTIONS & found[1] if found is not None and found[0] == "direction" else DIRECTIONS
