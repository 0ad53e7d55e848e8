"""Tracks: the ways that a search for cycles goes back along, and which of them it notes.

Held here once for the kernel that counts cycles and for the search that writes them out.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = Any

#: A path under search: its earliest payment so far, that payment's payer, the path that it extends, amounts on it.
PATH = np.dtype(
    [("least", "i8"), ("most", "i8"), ("edge", "i4"), ("node", "i4"), ("parent", "i4"), ("pad", "i4")]
)  # fmt: skip

#: Rows of ``noted``: the cycle of the fewest payments, the one over three accounts, the one that keeps most of its
#: amount, the fastest; and the first of the sequences of payments that pass the amount on.
(FEWEST, ROUND, KEPT, FAST, PASSED) = range(5)
NOTED = 5


@numba.njit(nogil=True, cache=True)
def on_path(paths: Array, at: int, node: int) -> bool:
    """Whether an account is on a path."""
    while at >= 0:
        if paths[at].node == node:
            return True
        at = paths[at].parent
    return False


@numba.njit(nogil=True, cache=True, forceinline=True)
def note(noted: Array, row: int, g: int, at: int) -> None:
    """A cycle: the payment that begins it, and the path that it goes on along."""
    noted[row, 0] = g
    noted[row, 1] = at
