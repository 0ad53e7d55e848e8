"""From rules to a plan: masks evaluated once, measures shared, thresholds in the base currency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import polars as pl

from fintel.domain.schema import SEEN_ENTRIES, Type
from fintel.engine.conditions import Atom, Conditions, Flag, Formula, Junction
from fintel.engine.partition import Measure as Window
from fintel.engine.partition import Selection, Slice, Step
from fintel.graph.entry_columns import TRUNCATED
from fintel.graph.witnesses import CAPPED, MOTIFS
from fintel.rules.cited import Cited, cited_motifs, motifs_among
from fintel.rules.expression import Clause, condition_expression, parse, parse_when, read_conditions
from fintel.rules.list_types import AmountList, AnyList
from fintel.rules.model import Library, Measure, Parameter, Rule
from fintel.rules.tree import Part, mention_column

#: Columns that rule expressions may use, and their types.
COLUMNS: Mapping[str, Type] = {c.name: c.type for c in SEEN_ENTRIES.columns}
_COORDINATES = ("place_latitude", "place_longitude")
_OF_CODES = ("distinct", "top", "hops")


@dataclass(frozen=True)
class Peers:
    """What is usual among peers: a quantile of the highest ``of`` of each, over blocks of 30 days gone by."""

    of: str
    quantile: float
    blocks: int
    by: tuple[str, ...]


@dataclass(frozen=True)
class CompiledRule:
    """A rule ready to run.

    ``anchor`` selects entries; ``windows`` are the engine's measures over the partition's own entries,
    ``twins`` those over the other side's, ``peers`` what other accounts do, each by the measure's name.
    ``guards`` are pairs of masks (rows that a measure wants, and those of them that carry the value):
    where the first has rows and the second none, the rule cannot tell. ``reads`` names, for the anchor
    (key 'anchor'), each measure's filter and each step, the masks that say where a column it reads is
    filled at all. ``motifs`` names the motifs whose graph columns are read: by the anchor (key 'anchor'), and by each
    measure or its filter. ``cut_short``, by family of these columns: the mask of entries where a bound cut their search
    short.
    """

    rule: Rule
    parameters: Mapping[str, float]
    anchor: Selection
    windows: Mapping[str, Window]
    twins: Mapping[str, Window]
    peers: Mapping[str, Peers]
    guards: Mapping[str, tuple[int, int]]
    filters: Mapping[str, int]
    reads: Mapping[str, Mapping[str, int]]
    when: pl.Expr
    clauses: tuple[Clause, ...]
    motifs: Cited
    cut_short: Mapping[str, int]

    @property
    def anchor_mask(self) -> int:
        """The mask that the anchor lies in: its own, or that of the step that it is."""
        return mask_of(self.anchor)

    @property
    def masks(self) -> tuple[int, ...]:
        """Every mask that the rule's windows depend on."""
        selections = [self.anchor, *(w.mask for w in self.windows.values())]
        return tuple(dict.fromkeys(mask for selection in selections for mask in masks_below(selection)))

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of all measures, in the order in which the rule has them."""
        return self.rule.observables

    @property
    def reach(self) -> int:
        """Microseconds that the furthest window over the account's own entries reaches back."""
        chain = 0
        step = self.anchor
        while isinstance(step, Step):
            chain, step = chain + step.span, step.after
        return max([chain, *(w.span + w.offset for w in self.windows.values())])

    def window_of(self, name: str) -> tuple[int, int]:
        """How many microseconds before the anchor a measure's window begins and ends."""
        if name in self.peers:
            return self.peers[name].blocks * 30 * 86_400_000_000, 0
        window = self.windows.get(name) or self.twins[name]
        return window.offset + window.span, window.offset

    def observe(self, piece: Slice, given: Mapping[str, pl.Series]) -> pl.DataFrame:
        """Every measure at the anchors in a slice; ``given``: those that other partitions answer."""
        own = {name: piece.measure(window, self.anchor) for name, window in self.windows.items()}
        frame = pl.DataFrame({name: given[name] if name in given else own[name] for name in self.measured})
        return frame.fill_nan(None)


def mask_of(selection: Selection) -> int:
    """The mask that a selection is part of."""
    return selection.mask if isinstance(selection, Step) else selection


def masks_below(selection: Selection) -> tuple[int, ...]:
    """Masks that decide a selection."""
    return (selection.mask, *masks_below(selection.after)) if isinstance(selection, Step) else (selection,)


@dataclass(frozen=True)
class Plan:
    """What a run evaluates: masks, columns, mentions, and the rules on top of them.

    ``correlations``: rules over the findings of others, with their parameters.
    """

    rules: tuple[CompiledRule, ...]
    masks: Conditions
    values: tuple[str, ...]
    codes: tuple[str, ...]
    mentions: frozenset[tuple[str, str]]
    unconverted: Mapping[str, str] = field(default_factory=dict)
    correlations: tuple[tuple[Rule, Mapping[str, float]], ...] = ()

    @property
    def columns(self) -> frozenset[str]:
        """Columns of entries that a run reads."""
        return frozenset((*self.masks.columns(), *self.values, *self.codes))


def convert_parameter(parameter: Parameter, base: str, rates: Mapping[str, float], library: Library) -> float | None:
    """A parameter's value in the unit that expressions use: money in the base currency.

    ``rates``: base currency for one unit, as of the run. Without one, the rounded threshold rates of
    the library serve (they are for thresholds only); without those, None.
    """
    return (
        _in_base(parameter.default, parameter.unit, base, rates, library) if parameter.is_money else parameter.default
    )


def _in_base(amount: float, unit: str, base: str, rates: Mapping[str, float], library: Library) -> float | None:
    if unit == base:
        return amount
    if unit in rates:
        return amount * rates[unit]
    indicative = library.threshold_rates
    if unit in indicative and base in indicative:
        return amount * indicative[unit] / indicative[base]
    return None


def lists_in_base(library: Library, base: str, rates: Mapping[str, float]) -> dict[str, AnyList]:
    """Lists with their amounts in the base currency; an amount that no rate converts is left out."""
    lists = dict(library.lists)
    for name, found in lists.items():
        if isinstance(found, AmountList):
            kept = []
            for line in found.values:
                money = len(line.unit) == 3 and line.unit.isupper()
                value = _in_base(line.amount, line.unit, base, rates, library) if money else line.amount
                if value is not None:
                    kept.append(replace(line, amount=value, unit=base if money else line.unit))
            lists[name] = replace(found, values=tuple(kept))
    return lists


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def formula_of(part: Part) -> Formula:
    """A checked expression as and, or, not of what the engine does not take apart."""
    if part.operator in ("and", "or", "not"):
        return Junction(part.operator, tuple(formula_of(p) for p in part.parts))
    if part.mention is not None:
        return _flag(part.mention)
    flags = frozenset(_flag(p.mention) for p in part.walk() if p.mention is not None)
    return Atom(part.sql, condition_expression(part), part.names, flags)


def _flag(mention: tuple[str, str]) -> Flag:
    return Flag(*mention, alias=mention_column(*mention))


def decisive_columns(part: Part) -> frozenset[str]:
    """Columns that leave a condition undecided when they are empty: not those that it gives a value for."""
    if part.operator in ("is null", "is not null"):
        return frozenset()
    if part.operator == "coalesce" and part.parts[-1].literal is not None:
        return frozenset()
    own = frozenset() if part.name is None else frozenset((part.name,))
    return own.union(*(decisive_columns(p) for p in part.parts))


def _holds(column: str) -> Atom:
    return Atom(f'"{column}"', pl.col(column), frozenset((column,)))


def _filled(column: str) -> Atom:
    return Atom(f'("{column}" is not null)', pl.col(column).is_not_null(), frozenset((column,)))


@dataclass
class _Needs:
    """What the rules of a plan need of the entries."""

    masks: Conditions = field(default_factory=Conditions)
    mentions: set[tuple[str, str]] = field(default_factory=set)
    values: set[str] = field(default_factory=lambda: {"amount_base"})
    codes: set[str] = field(default_factory=lambda: {"account_id", "account_kind"})


def compile_library(library: Library, *, base_currency: str, rates: Mapping[str, float] | None = None) -> Plan:
    """Compile every rule of a library.

    A rule with a money parameter that no rate converts is not compiled; ``Plan.unconverted`` says
    which currency is missing, and the run reports *cannot tell*.
    """
    needs, compiled, correlations = _Needs(), [], []
    unconverted: dict[str, str] = {}
    lists = lists_in_base(library, base_currency, rates or {})
    for rule in library.rules:
        parameters: dict[str, float] = {}
        for name, parameter in rule.parameters.items():
            value = convert_parameter(parameter, base_currency, rates or {}, library)
            if value is None:
                unconverted[rule.id] = parameter.unit
            else:
                parameters[name] = value
        if rule.id in unconverted:
            continue
        if rule.correlation is not None:
            correlations.append((rule, parameters))
        else:
            compiled.append(_Compiler(rule, parameters, lists, needs).compile())
    return Plan(
        rules=tuple(compiled),
        masks=needs.masks,
        values=tuple(sorted(needs.values)),
        codes=tuple(sorted(needs.codes)),
        mentions=frozenset(needs.mentions),
        unconverted=unconverted,
        correlations=tuple(correlations),
    )


class _Compiler:
    """Compiles one rule."""

    def __init__(
        self, rule: Rule, parameters: Mapping[str, float], lists: Mapping[str, AnyList], needs: _Needs
    ) -> None:
        self.rule, self.parameters, self.lists, self.needs = rule, parameters, lists, needs
        self.reads: dict[str, dict[str, int]] = {}
        self.filters: dict[str, int] = {}
        self.guards: dict[str, tuple[int, int]] = {}
        self.steps: dict[str, Selection] = {}
        self.motifs: dict[str, frozenset[str]] = {}
        written = ((name, text, rule.place(f"conditions.{name}")) for name, text in rule.conditions.items())
        self.conditions: Mapping[str, Part] = read_conditions(
            written, columns=COLUMNS, parameters=parameters, lists=lists
        )[0]

    def compile(self) -> CompiledRule:
        rule = self.rule
        for step in rule.steps.values():
            mask = self._read(step.where, f"steps.{step.name}.where")
            self.steps[step.name] = mask
            if step.after is not None and step.within is not None:
                after, count = self.steps[step.after], int(self._count(step.at_least))
                self.steps[step.name] = Step(mask, after, _microseconds(step.within), count, step.same)
                self._match(f"step '{step.name}'", mask, mask_of(after), step.same)
        anchor = self._select(rule.anchor, "anchor")
        windows: dict[str, Window] = {}
        twins: dict[str, Window] = {}
        peers: dict[str, Peers] = {}
        for measure in rule.measures.values():
            if measure.kind == "peers":
                blocks = max(1, measure.timespan // timedelta(days=30))
                peers[measure.name] = Peers(measure.column, measure.quantile or 0.5, blocks, measure.by)
                self.needs.codes.update(measure.by)
                continue
            wanted = anchor if measure.where is None else self._select(measure.where, f"measures.{measure.name}.where")
            made = self._window(measure, wanted, mask_of(anchor))
            (twins if measure.at else windows)[measure.name] = made
        for name, (last, reach) in self._chain_of(anchor).items():
            windows.setdefault(name, Window("count", "*", last, reach))
        self.needs.codes.update(rule.per)
        for column in rule.per:
            if column != "account_id":
                base = mask_of(anchor)
                self.guards[f"per: {column}"] = (base, self._carrying(base, [column]))
        when = parse_when(rule.when, measures=rule.observables, parameters=self.parameters, location=rule.place("when"))
        motifs = cited_motifs(rule, self.motifs)
        return CompiledRule(
            rule, self.parameters, anchor, windows, twins, peers, self.guards, self.filters, self.reads,
            when.polars, tuple(when.clauses), motifs, self._cut_short(motifs),
        )  # fmt: skip

    def _cut_short(self, motifs: Cited) -> dict[str, int]:
        families = sorted({MOTIFS[motif].family for read in motifs.values() for motif in read})
        # The number that was counted tells how much of a motif the hub policy let be seen.
        self.needs.values.update(MOTIFS[motif].column for read in motifs.values() for motif in read & CAPPED)
        return {family: self.needs.masks.add(_holds(TRUNCATED[family])) for family in families}

    def _count(self, text: str) -> float:
        return self.parameters[text[1:]] if text.startswith(":") else float(text)

    def _chain_of(self, anchor: Selection) -> dict[str, tuple[Selection, int]]:
        """Each step as a measure: its entries within the span in which the chain can begin.

        A step that is not in the anchor's chain is counted over its own chain's span.
        """
        if not self.steps:
            return {}
        name = self.rule.anchor.strip()
        chain = self.rule.chain(name) if name in self.rule.steps else ()
        spans = {step.name: reach for step, reach in chain}
        whole = max(spans.values(), default=timedelta(0))
        return {step: (self.steps[step], max(1, _microseconds(spans.get(step) or whole))) for step in self.rule.steps}

    def _select(self, text: str, part: str) -> Selection:
        name = text.strip()
        if name in self.steps:
            self.filters.setdefault(part, mask_of(self.steps[name]))
            self.reads.setdefault(part, self.reads[f"steps.{name}.where"])
            return self.steps[name]
        return self._read(text, part)

    def _read(self, text: str, part: str) -> int:
        masks = self.needs.masks
        expression = parse(
            text, columns=COLUMNS, parameters=self.parameters, lists=self.lists,
            conditions=self.conditions, location=self.rule.place(part),
        )  # fmt: skip
        self.needs.mentions.update(expression.mentions)
        self.motifs[part] = motifs_among(expression.part.names)
        self.reads[part] = {c: masks.add(_filled(c)) for c in sorted(decisive_columns(expression.part))}
        self.filters[part] = masks.add(formula_of(expression.part))
        return self.filters[part]

    def _window(self, measure: Measure, wanted: Selection, anchor: int) -> Window:
        """The engine's measure, over rows that carry a value; and the guard that notices none do."""
        needed = _carried(measure)
        base = mask_of(wanted)
        carrying = self._carrying(base, needed)
        self.guards[f"measure '{measure.name}': {', '.join(needed)}"] = (base, carrying)
        if measure.kind in _OF_CODES:
            self.needs.codes.add(measure.column)
            self.needs.values.update([measure.of] if measure.of else [])
        else:
            self.needs.values.update(needed)
        self._match(f"measure '{measure.name}'", anchor, base, measure.same)
        mask = replace(wanted, mask=carrying) if isinstance(wanted, Step) else carrying
        span, offset = _microseconds(measure.timespan), _microseconds(measure.offset)
        return Window(measure.kind, measure.column, mask, span, offset, measure.same, measure.of)

    def _carrying(self, wanted: int, columns: Sequence[str]) -> int:
        masks = self.needs.masks
        for column in columns:
            wanted = masks.add(Junction("and", (masks.formulas[wanted], _filled(column))))
        return wanted

    def _match(self, what: str, here: int, there: int, same: Sequence[tuple[str, str]]) -> None:
        """Columns that must be equal are codes, and somebody must carry them."""
        for mine, theirs in same:
            self.needs.codes.update((mine, theirs))
            self.guards[f"{what}: {mine}"] = (here, self._carrying(here, [mine]))
            self.guards[f"{what}: {theirs} "] = (there, self._carrying(there, [theirs]))


def _carried(measure: Measure) -> tuple[str, ...]:
    """Columns that an entry must carry to count."""
    if measure.column in ("*", "booked_at", "gap"):
        return ()
    if measure.column == "leg_km":
        return _COORDINATES
    return (measure.column, measure.of) if measure.of else (measure.column,)


def groups(rules: Sequence[CompiledRule]) -> dict[tuple[str, ...], list[CompiledRule]]:
    """Rules by the columns that they partition by: each group is ordered once."""
    out: dict[tuple[str, ...], list[CompiledRule]] = {}
    for rule in rules:
        out.setdefault(rule.rule.per, []).append(rule)
    return out
