"""One rule over entries as SQL, in pieces: conditions as columns, a CTE a measure, episodes of hits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from fintel.domain.schema import ENTRIES, Type
from fintel.errors import RuleError
from fintel.rules.compiler import COLUMNS, convert_parameter, lists_in_base
from fintel.rules.expression import mention_column, parse, parse_when
from fintel.rules.list_types import AnyList
from fintel.rules.model import Library, Measure, Rule, Step
from fintel.rules.restated_measures import measure_sql, span_sql
from fintel.rules.tree import Part

#: What every query reads of an entry, whatever the rule.
_ALWAYS = ("entry_id", "transaction_id", "account_id", "direction", "booked_at")
Ctes = list[tuple[str, str]]


@dataclass(frozen=True)
class Restatement:
    """A rule in pieces of SQL.

    ``conditions``, ``steps`` and ``flags``: boolean columns in the order in which they are added to the
    entries, by name; a step's is what its ``where`` says. ``anchor`` and ``filters`` (by measure): the
    column that selects. ``columns``: of entries that are read; ``mentions``: (text column, list) pairs
    that must be there as boolean columns; ``when``: what makes a hit; ``excess``: by how much.
    """

    rule: Rule
    parameters: Mapping[str, float]
    conditions: Mapping[str, str]
    steps: Mapping[str, str]
    flags: Mapping[str, str]
    anchor: str
    filters: Mapping[str, str]
    columns: frozenset[str]
    mentions: frozenset[tuple[str, str]]
    when: str
    excess: str

    @property
    def hits(self) -> str:
        """The query of the hits: account_id, entry_id and each measure's value."""
        return self.query(self.ctes(), f"where {self.when}")

    @property
    def anchors(self) -> str:
        """The same for every entry that the anchor selects, and whether it is a hit (``hit``)."""
        return self.query(self.ctes(), more=f", coalesce({self.when}, false) as hit")

    @property
    def episodes(self) -> str:
        """Hits that touch in time joined: account_id, the ``per`` columns, started_at, ended_at, peak_at, hits."""
        return with_sql([*self.ctes(), *self.episode_ctes()]) + "\nselect *\nfrom episode\norder by all\n"

    def query(self, ctes: Ctes, where: str = "", more: str = "") -> str:
        """A query over ``measured``."""
        shown = ", ".join(["account_id", "entry_id", *(f'"{name}"' for name in self.rule.observables)])
        tail = [f"select {shown}{more}", "from measured", *([where] if where else []), "order by booked_at, entry_id"]
        return "\n".join([with_sql(ctes), *tail, comment(self.rule)]) + "\n"

    def ctes(self) -> Ctes:
        """From entries to ``measured``, which has a row for each anchor: window by window, as joins."""
        rule = self.rule
        found = [("seen", self.seen("row_number() over (order by booked_at, direction = 'out', transaction_id)"))]
        found.append(("entry_0", extended("seen", self.conditions)))
        for number, step in enumerate(rule.steps.values()):
            found.append((f"entry_{number + 1}", self.step_sql(step, f"entry_{number}", "position")))
        found.append(("entry", extended(found[-1][0], self.flags)))
        known = " and ".join(f"{column} is not null" for column in rule.per)
        found.append(("anchor", f'select *\nfrom entry\nwhere "{self.anchor}" and {known}'))
        measures = sorted(observed(rule), key=lambda m: m.kind == "peers")
        found += [(f"m_{m.name}", measure_sql(m, self.filters[m.name], rule)) for m in measures]
        return [*found, ("measured", self._measured())]

    def seen(self, position: str = "") -> str:
        """Entries as conditions see them; ``position``: their number in order of time, then credits first."""
        shown = []
        for column in ENTRIES.columns:
            if column.name not in self.columns:
                continue
            if column.type is Type.MONEY:  # compared as doubles, added up exactly
                shown += [f"{column.name}::double as {column.name}", f"{column.name} as exact_{column.name}"]
            elif column.type is Type.TIMESTAMP:
                shown.append(f"{column.name} at time zone 'UTC' as {column.name}")
            else:
                shown.append(column.name)
        shown += [f'"{name}"' for name in sorted(mention_column(*m) for m in self.mentions)]
        shown += [f"{position} as position"] if position else []
        return f"select {', '.join(shown)}\nfrom entries"

    def step_sql(self, step: Step, source: str, position: str) -> str:
        """A link of a chain as a column of ``source``; ``position``: what orders entries."""
        if step.after is None or step.within is None:
            return extended(source, {step.name: self.steps[step.name]})
        alike = [f"b.{column} = e.{column}" for column in self.rule.per]
        alike += [f"b.{there} = e.{here}" for here, there in step.same]
        return "\n".join(
            [
                f"select *, {self.steps[step.name]} and {count_of(step.at_least, self.parameters):g} <= (",
                f'    select count(*) from {source} b where b."{step.after}" and {" and ".join(alike)}',
                f"      and b.booked_at > e.booked_at - {span_sql(step.within)} and b.{position} < e.{position}",
                f'  ) as "{step.name}"',
                f"from {source} e",
            ]
        )

    def _measured(self) -> str:
        keys = dict.fromkeys(("account_id", "entry_id", "booked_at", "position", *self.rule.per))
        shown = [f"a.{key}" for key in keys]
        shown += [f'm_{name}.value as "{name}"' for name in self.rule.observables]
        joins = [f"  left join m_{name} on m_{name}.entry_id = a.entry_id" for name in self.rule.observables]
        return "\n".join([f"select {', '.join(shown)}", "from anchor a", *joins])

    def episode_ctes(self, position: str = "position") -> Ctes:
        """From ``measured`` to ``episode``: hits of one account and partition, each of which reaches the hit before.

        ``peak_at``: when it was furthest past its thresholds, the first time. ``position``: what orders entries.
        """
        keys = ", ".join(dict.fromkeys(("account_id", *self.rule.per)))
        reach = span_sql(reach_of(self.rule))
        begins = [
            f"select *, round({self.excess}, 9) as excess,",
            f"  coalesce(booked_at - {reach} > lag(booked_at) over in_order, true) as begins",
            f"from measured\nwhere {self.when}",
            f"window in_order as (partition by {keys} order by {position})",
        ]
        numbered = f"select *, count_if(begins) over (partition by {keys} order by {position}) as number\nfrom hit"
        joined = [
            f"select {keys}, min(booked_at) - {reach} as started_at, max(booked_at) as ended_at,",
            f"  first(booked_at order by excess desc, {position}) as peak_at, count(*) as hits",
            "from numbered_hit",
            f"group by {keys}, number",
        ]
        return [("hit", "\n".join(begins)), ("numbered_hit", numbered), ("episode", "\n".join(joined))]


def with_sql(ctes: Iterable[tuple[str, str]]) -> str:
    """``with name as (…), …``, bodies indented."""

    def indented(body: str) -> str:
        return body.replace("\n", "\n    ")

    return "with\n" + ",\n".join(f"  {name} as (\n    {indented(body)})" for name, body in ctes)


def extended(source: str, columns: Mapping[str, str]) -> str:
    """A relation with more columns, each of which may name those before it."""
    more = [f'{sql} as "{name}"' for name, sql in columns.items()]
    return "select " + ",\n  ".join(["*", *more]) + f"\nfrom {source}"


def restate(
    rule: Rule, library: Library, *, base_currency: str, rates: Mapping[str, float] | None = None
) -> Restatement:
    """A rule over entries in pieces.

    Raises
    ------
    RuleError: a threshold that no rate converts, or an expression that cannot be read.
    """
    parameters = parameters_in_base(rule, library, base_currency, rates or {})
    return _Writer(rule, parameters, lists_in_base(library, base_currency, rates or {})).write()


class _Writer:
    """Turns the conditions of one rule into columns."""

    def __init__(self, rule: Rule, parameters: Mapping[str, float], lists: Mapping[str, AnyList]) -> None:
        self.rule, self.parameters, self.lists = rule, parameters, lists
        self.names: dict[str, Type] = dict(COLUMNS)
        self.columns: set[str] = set(_ALWAYS)
        self.mentions: set[tuple[str, str]] = set()
        self.flags: dict[str, str] = {}
        self.selecting: dict[str, str] = {}

    def write(self) -> Restatement:
        rule = self.rule
        conditions = {name: self._named(name, text, f"conditions.{name}") for name, text in rule.conditions.items()}
        steps = {s.name: self._named(s.name, s.where, f"steps.{s.name}.where") for s in rule.steps.values()}
        # names that no condition of a rule can have
        anchor = self._flag("is anchor", rule.anchor, "anchor")
        filters = {name: name for name in rule.steps}
        for m in rule.measures.values():
            part = f"measures.{m.name}.where"
            filters[m.name] = anchor if m.where is None else self._flag(f"in {m.name}", m.where, part)
            self.columns.update(_read_by(m))
        self.columns.update(rule.per)
        self.columns.update(column for step in rule.steps.values() for pair in step.same for column in pair)
        when = parse_when(rule.when, rule.observables, self.parameters, rule.place("when"))
        return Restatement(
            rule, self.parameters, conditions, steps, self.flags, anchor, filters,
            frozenset(self.columns), frozenset(self.mentions), when.text, _excess(when.part),
        )  # fmt: skip

    def _read(self, text: str, part: str) -> str:
        place = self.rule.place(part)
        found = parse(text, columns=self.names, parameters=self.parameters, lists=self.lists, location=place)
        self.columns.update(c for c in found.columns if c in COLUMNS)
        self.mentions.update(found.mentions)
        return found.text

    def _named(self, name: str, text: str, part: str) -> str:
        """A named condition; later ones may use its name like a column."""
        sql = self._read(text, part)
        self.names[name] = Type.BOOL
        return sql

    def _flag(self, name: str, text: str, part: str) -> str:
        """Name of the column that a condition is: its own, or the one that says the same already."""
        text = text.strip()
        if text in self.names:
            return text
        if text not in self.selecting:
            self.flags[name] = self._read(text, part)
            self.selecting[text] = name
        return self.selecting[text]


def comment(rule: Rule) -> str:
    """What a query is, as one line: a title may come from anybody."""
    words = " ".join(f"{rule.id}: {rule.title}".split())
    return f"-- {''.join(c if c.isprintable() else ' ' for c in words)}"


def observed(rule: Rule) -> tuple[Measure, ...]:
    """Measures, and for each step of a chain how many of its entries lie where the chain can have begun."""
    chain = rule.chain(rule.anchor.strip()) if rule.anchor.strip() in rule.steps else ()
    reaches = {step.name: reach for step, reach in chain}
    whole = max(reaches.values(), default=timedelta(0))
    instant = timedelta(microseconds=1)
    counts = [
        Measure(name, "count", "*", reaches.get(name) or whole or instant, where=name)
        for name in rule.steps
        if name not in rule.measures
    ]
    return (*rule.measures.values(), *counts)


def reach_of(rule: Rule) -> timedelta:
    """How far before an entry the furthest window over the account's own entries looks."""
    own = (m.timespan + m.offset for m in observed(rule) if not m.at and m.kind != "peers")
    return max(own, default=timedelta(0))


def _read_by(measure: Measure) -> set[str]:
    """Columns that a measure reads beside its filter."""
    read = {column for pair in measure.same for column in pair} | set(measure.by)
    if measure.at:
        read.add("counterparty_id")
    if measure.column == "leg_km":
        read |= {"place_latitude", "place_longitude"}
    return read | ({measure.column, measure.of} & set(COLUMNS))


def parameters_in_base(rule: Rule, library: Library, base: str, rates: Mapping[str, float]) -> dict[str, float]:
    """Values of a rule's parameters, money in the base currency.

    Raises
    ------
    RuleError: no rate converts one.
    """
    found = {}
    for name, parameter in rule.parameters.items():
        value = convert_parameter(parameter, base, rates, library)
        if value is None:
            message = f"{rule.id}: no rate turns {parameter.unit} into {base} (parameter '{name}')"
            raise RuleError(message, hint="load a table of rates, or name the rate in threshold_rates.yaml")
        found[name] = value
    return found


def count_of(text: str, parameters: Mapping[str, float]) -> float:
    """``at_least``: a number, or the value of a parameter."""
    return parameters[text[1:]] if text.startswith(":") else float(text)


def _excess(part: Part) -> str:
    """How far past the thresholds: the mean over comparisons of the doublings from the smaller to the larger side."""
    found = []
    for conjunct in _conjuncts(part):
        sides = [p.sql for p in conjunct.parts]
        match conjunct.operator:
            case ">" | ">=":
                found.append((sides[0], sides[1]))
            case "<" | "<=":
                found.append((sides[1], sides[0]))
            case "between":
                found += [(sides[0], sides[1]), (sides[2], sides[0])]
    if not found:
        return "0"
    ratios = (f"case when {small} > 0 then {large} / {small} else 8 end" for large, small in found)
    doublings = " + ".join(f"log2(least(greatest({ratio}, 1), 2 ** 60))" for ratio in ratios)
    return f"({doublings}) / {len(found)}"


def _conjuncts(part: Part) -> list[Part]:
    """What ``and`` joins."""
    return [c for p in part.parts for c in _conjuncts(p)] if part.operator == "and" else [part]
