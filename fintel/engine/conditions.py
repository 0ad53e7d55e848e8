"""Conditions over entries, made ready so that all of them are evaluated together.

A formula joins atoms by and, or, not. An atom is a polars expression; one that reads a single column
of few values is evaluated on those values only. ``bits`` does the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.engine import bits

#: A column is read by its values where a batch has at most one to so many entries.
_ENTRIES_A_VALUE = 8
#: Kinds of column whose values may be few.
_CODED = (pl.String, pl.Boolean, pl.Int64, pl.Date)


@dataclass(frozen=True)
class Atom:
    """A condition that is not taken apart. ``text`` says the same for the same condition."""

    text: str
    expression: pl.Expr = field(compare=False, repr=False)
    columns: frozenset[str] = field(default=frozenset(), compare=False)
    #: flags that the expression names as columns
    flags: frozenset[Flag] = field(default=frozenset(), compare=False)


@dataclass(frozen=True)
class Flag:
    """A boolean column of a ``Flags`` table: what is known of a text, say. ``alias``: in expressions."""

    table: str
    name: str
    alias: str


@dataclass(frozen=True)
class Junction:
    """``operator``: and, or (two parts or more), not (one)."""

    operator: str
    parts: tuple[Formula, ...]


Formula = Atom | Flag | Junction


@dataclass(frozen=True)
class Flags:
    """What is known of each value of a column of many values.

    ``values``: one row a value, a boolean column each; entries have a column ``place`` of the numbers
    of its rows, null where the value is not in it (then all flags are false). ``column``: the entries'
    column it is about: where that is null, the flags are undecided.
    """

    column: str
    place: str
    values: pl.DataFrame

    def codes(self, batch: pl.DataFrame) -> pl.Series:
        """The row of each entry's value; two more say: not in the table, and no value."""
        size = self.values.height
        missing = pl.when(pl.col(self.column).is_null()).then(size + 1).otherwise(size)
        return batch.select(pl.coalesce(pl.col(self.place).cast(pl.Int64), missing).cast(pl.Int32)).to_series()

    def by_code(self, name: str) -> pl.Series:
        """A flag by those rows."""
        return pl.concat([self.values[name].cast(pl.Boolean), pl.Series([False, None], dtype=pl.Boolean)])

    def of(self, batch: pl.DataFrame, name: str) -> pl.Series:
        """A flag of each entry."""
        return self.by_code(name).gather(self.codes(batch))


class Conditions:
    """Formulas with numbers. The same formula has the same number; what they share is evaluated once."""

    def __init__(self, formulas: Iterable[Formula | pl.Expr] = ()) -> None:
        self.formulas: list[Formula] = []
        self._numbers: dict[Formula, int] = {}
        for formula in formulas:
            self.add(formula)

    def __len__(self) -> int:
        return len(self.formulas)

    def add(self, formula: Formula | pl.Expr) -> int:
        """The number of a formula, a new one if it is new."""
        if isinstance(formula, pl.Expr):
            names = frozenset(formula.meta.root_names())
            formula = Atom(f"expression {len(self.formulas)}", formula, names)
        if formula not in self._numbers:
            self._numbers[formula] = len(self.formulas)
            self.formulas.append(formula)
        return self._numbers[formula]

    def without(self, faulty: Mapping[Atom, str]) -> tuple[Conditions, dict[int, str]]:
        """The same with nothing selected where an atom is faulty; why, by the number of each such formula."""
        nothing = Atom("false", pl.lit(value=False))
        kept, broken = Conditions(), {}
        for number, formula in enumerate(self.formulas):
            reasons = [faulty[a] for a in _atoms([formula]) if isinstance(a, Atom) and a in faulty]
            if reasons:
                broken[number] = reasons[0]
                kept.formulas.append(nothing)
            else:
                kept.formulas.append(formula)
        return kept, broken

    def columns(self) -> frozenset[str]:
        """Columns that the atoms read, flags apart."""
        return frozenset(c for a in _atoms(self.formulas) if isinstance(a, Atom) for c in a.columns)

    def compiled(self) -> Program:
        """Registers and instructions."""
        atoms = list(dict.fromkeys(_atoms(self.formulas)))
        registers: dict[Formula | tuple[int, int, int], int] = {atom: i for i, atom in enumerate(atoms)}
        code: list[tuple[int, int, int]] = []

        def instruction(op: int, a: int, b: int) -> int:
            key = (op, min(a, b), max(a, b)) if op != bits.NOT else (op, a, a)
            if key not in registers:
                registers[key] = len(atoms) + len(code)
                code.append(key)
            return registers[key]

        def register(formula: Formula) -> int:
            if formula in registers:
                return registers[formula]
            assert isinstance(formula, Junction)  # atoms have registers already
            first, *others = [register(part) for part in formula.parts]
            if formula.operator == "not":
                first = instruction(bits.NOT, first, first)
            for other in others:
                first = instruction(bits.AND if formula.operator == "and" else bits.OR, first, other)
            registers[formula] = first
            return first

        wanted = [register(formula) for formula in self.formulas]
        return Program(
            tuple(atoms),
            np.array(code, np.int32).reshape(-1, 3),
            np.array(wanted, np.int32),
        )


def _atoms(formulas: Iterable[Formula]) -> Iterable[Atom | Flag]:
    todo = list(formulas)[::-1]
    while todo:
        formula = todo.pop()
        if isinstance(formula, Junction):
            todo.extend(formula.parts[::-1])
        else:
            yield formula


@dataclass
class Program:
    """Atoms and what is made of them; evaluates batches of entries, in any thread.

    Which columns are read by their values is decided by the first batch and kept.
    """

    atoms: tuple[Atom | Flag, ...]
    code: npt.NDArray[np.int32]
    wanted: npt.NDArray[np.int32]
    _many: frozenset[str] = frozenset()

    def evaluate(
        self, batch: pl.DataFrame, flags: Mapping[str, Flags], words: Sequence[npt.NDArray[np.int64]]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Conditions of a batch as bits in ``words``; how many entries each selects and cannot decide."""
        rows = batch.height
        groups = (rows + 63) // 64
        true = np.zeros((len(self.atoms), groups), np.uint64)
        unknown = np.zeros((len(self.atoms), groups), np.uint64)
        tables = [*self._by_value(batch), *self._by_flag(batch, flags)]
        known = {atom for table in tables for atom in table.atoms}
        singly = [(i, atom) for i, atom in enumerate(self.atoms) if isinstance(atom, Atom) and i not in known]
        named = {flag for _, atom in singly for flag in atom.flags}
        told = batch.with_columns(flags[f.table].of(batch, f.name).alias(f.alias) for f in named)
        for (i, _), values in zip(singly, _evaluated(told, [a for _, a in singly]), strict=True):
            true[i], unknown[i] = _packed(values)
        selected = np.zeros(self.wanted.size, np.int64)
        undecided = np.zeros(self.wanted.size, np.int64)
        out = np.empty((len(words), rows), np.int64)
        codes, first, table_true, table_unknown, atom_of_bit = _stacked(tables, rows)
        bits.run(
            rows, true, unknown, codes, first, table_true, table_unknown, atom_of_bit,
            self.code, self.wanted, out, selected, undecided,
        )  # fmt: skip
        for word, made in zip(words, out, strict=True):
            word[:] = made
        return selected, undecided

    def _by_value(self, batch: pl.DataFrame) -> Iterable[_Table]:
        """Atoms that read one column of few values, evaluated on these."""
        by_column: dict[str, list[int]] = {}
        for i, atom in enumerate(self.atoms):
            if isinstance(atom, Atom) and len(atom.columns) == 1 and not atom.flags:
                by_column.setdefault(next(iter(atom.columns)), []).append(i)
        for column, numbers in by_column.items():
            if column in self._many or len(numbers) < 2 or batch.schema[column] not in _CODED:
                continue
            values = batch[column].unique()
            if values.len() * _ENTRIES_A_VALUE > batch.height:
                self._many |= {column}
                continue
            frame = values.to_frame()
            places = frame.with_row_index(" code")
            codes = batch.select(column).join(places, on=column, how="left", nulls_equal=True, maintain_order="left")
            found = _evaluated(frame, [self.atoms[i] for i in numbers])  # type: ignore[misc]
            yield _Table(codes[" code"].cast(pl.Int32).to_numpy(), tuple(numbers), tuple(found))

    def _by_flag(self, batch: pl.DataFrame, flags: Mapping[str, Flags]) -> Iterable[_Table]:
        """Flags, by the row of the value."""
        for name, table in flags.items():
            asked = [(i, a) for i, a in enumerate(self.atoms) if isinstance(a, Flag) and a.table == name]
            if not asked:
                continue
            found = tuple(table.by_code(a.name) for _, a in asked)
            yield _Table(table.codes(batch).to_numpy(), tuple(i for i, _ in asked), found)


@dataclass(frozen=True)
class _Table:
    """``codes``: int32 (n,), rows of the values; ``atoms``: registers; ``values``: one boolean series each."""

    codes: npt.NDArray[np.int32]
    atoms: tuple[int, ...]
    values: tuple[pl.Series, ...]


def _evaluated(frame: pl.DataFrame, atoms: Sequence[Atom]) -> list[pl.Series]:
    """Atoms over a frame, one value a row, also where an expression names no column."""
    numbered = [atom.expression.alias(str(number)) for number, atom in enumerate(atoms)]
    height = frame.lazy().with_row_index(" height").select(" height", *numbered)
    return height.drop(" height").collect(engine="in-memory").get_columns()


def _packed(values: pl.Series) -> tuple[Any, Any]:
    """A boolean series as bits: true, and null."""
    if values.null_count() == 0:
        return _bits(values.to_numpy()), np.uint64(0)
    return _bits(values.fill_null(value=False).to_numpy()), _bits(values.is_null().to_numpy())


def _bits(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """64 to a word, the first in the lowest bit."""
    packed = np.packbits(flags, bitorder="little")
    room = np.zeros(-(-flags.size // 64) * 8, np.uint8)
    room[: packed.size] = packed
    return room.view("<u8").astype(np.uint64, copy=False)


def _stacked(tables: Sequence[_Table], rows: int) -> tuple[Any, ...]:
    """Tables as arrays for ``bits.run``."""
    codes = np.zeros((len(tables), rows), np.int32)
    first = np.zeros(len(tables) + 1, np.int64)
    height = max((t.values[0].len() for t in tables), default=1)
    words = sum(-(-len(t.atoms) // 64) for t in tables)
    true, unknown = np.zeros((words, height), np.uint64), np.zeros((words, height), np.uint64)
    atom_of_bit = np.full((max(words, 1), 64), -1, np.int32)
    word = 0
    for place, table in enumerate(tables):
        codes[place] = table.codes
        for begin in range(0, len(table.atoms), 64):
            for bit, (atom, values) in enumerate(
                zip(table.atoms[begin : begin + 64], table.values[begin : begin + 64], strict=True)
            ):
                here = np.uint64(1) << np.uint64(bit)
                true[word, : values.len()] |= np.where(values.fill_null(value=False).to_numpy(), here, np.uint64(0))
                unknown[word, : values.len()] |= np.where(values.is_null().to_numpy(), here, np.uint64(0))
                atom_of_bit[word, bit] = atom
            word += 1
        first[place + 1] = word
    return codes, first, true, unknown, atom_of_bit
