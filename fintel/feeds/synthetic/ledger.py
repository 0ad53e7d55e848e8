"""Payments as columns of numbers while they are being made."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fintel.domain.schema import CHANNELS, INSTRUMENTS

#: Column → (type, value when not given). -1 is "none" for every index. ``t`` is seconds since 1970,
#: ``offset`` minutes, ``cents`` hundredths of ``currency``, ``named`` a party that stands by name only,
#: ``scheme`` the planted scheme the payment belongs to, ``reverses`` the number of an earlier payment.
FIELDS: dict[str, tuple[str, int]] = {
    "t": ("i8", 0), "offset": ("i2", 0), "cents": ("i8", 0), "currency": ("i1", 0), "debtor": ("i4", -1),
    "creditor": ("i4", -1), "channel": ("i1", 0), "instrument": ("i1", 0), "text": ("i4", -1),
    "merchant": ("i4", -1), "place": ("i4", -1), "purpose": ("i1", -1), "device": ("i4", -1),
    "ip": ("i4", -1), "named": ("i4", -1), "scheme": ("i4", -1), "status": ("i1", 0), "reverses": ("i8", -1),
}  # fmt: skip

CHANNEL = {name: i for i, name in enumerate(CHANNELS)}
INSTRUMENT = {name: i for i, name in enumerate(INSTRUMENTS)}
PURPOSES = ("SALA", "RENT", "EDUC", "FAMI", "GIFT", "UTIL", "SUPP", "CHAR", "LOAN", "SAVG")
PURPOSE = {name: i for i, name in enumerate(PURPOSES)}

Array = npt.NDArray[Any]
Columns = dict[str, Array]


class Ledger:
    """Collects payments; ``columns`` joins them."""

    def __init__(self) -> None:
        self._parts: list[Columns] = []

    def add(self, t: Array, **given: Array | int) -> None:
        """Add ``len(t)`` payments; single numbers hold for all of them. Nobody pays oneself: such rows,
        where chance drew one account twice, are left out."""
        n = len(t)
        if n == 0:
            return
        part: Columns = {}
        for name, (kind, default) in FIELDS.items():
            value = t if name == "t" else given.pop(name, default)
            part[name] = np.broadcast_to(np.asarray(value), (n,)).astype(kind)
        if given:
            raise TypeError(f"no such column: {sorted(given)}")
        alone = (part["debtor"] == part["creditor"]) & (part["debtor"] >= 0)
        self._parts.append(take(part, ~alone) if alone.any() else part)

    def extend(self, columns: Columns) -> None:
        """Add payments that are columns already."""
        if len(columns["t"]):
            self._parts.append(columns)

    def columns(self) -> Columns:
        """All payments added, as one set of columns."""
        return {
            name: np.concatenate([p[name] for p in self._parts]) if self._parts else np.zeros(0, dtype=kind)
            for name, (kind, _) in FIELDS.items()
        }


def take(columns: Columns, rows: Array) -> Columns:
    """The rows at a mask or index."""
    return {name: values[rows] for name, values in columns.items()}


def join(one: Columns, other: Columns) -> Columns:
    """The rows of both."""
    return {name: np.concatenate([one[name], other[name]]) for name in one}
