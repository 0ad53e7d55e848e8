"""Conditions as bits: 64 entries at a time, three-valued, every condition in one pass.

A condition is a program over atoms; a register holds two words for 64 entries, ``t`` (true) and ``u``
(undecided). What several conditions share is computed once, and an instruction costs a few machine
operations for 64 entries, so hundreds of rules cost little more than their atoms.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

Array = Any

_jit = numba.njit(nogil=True, cache=True)

#: Operations of a program.
AND, OR, NOT = 0, 1, 2
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)


@_jit
def transpose(block: Array) -> None:
    """Swap rows and columns of 64 words of 64 bits in place: bit c of word r goes to bit r of word c.

    Halves are swapped, then quarters, and so on (H. S. Warren, Hacker's Delight, section 7-3).
    """
    mask = np.uint64(0x00000000FFFFFFFF)
    width = 32
    while width:
        shift = np.uint64(width)
        k = 0
        while k < 64:
            swapped = ((block[k] >> shift) ^ block[k + width]) & mask
            block[k] ^= swapped << shift
            block[k + width] ^= swapped
            k = (k + width + 1) & ~width
        width >>= 1
        mask ^= mask << np.uint64(width)


@_jit
def _ones(word: Any) -> Any:
    """Bits that are set."""
    word = word - ((word >> _ONE) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@_jit
def run(
    rows: int,
    true: Array,
    unknown: Array,
    codes: Array,
    first_word: Array,
    table_true: Array,
    table_unknown: Array,
    atom_of_bit: Array,
    program: Array,
    wanted: Array,
    out: Array,
    selected: Array,
    undecided: Array,
) -> None:
    """Evaluate every condition over a batch.

    Parameters
    ----------
    rows: entries in the batch (n).
    true, unknown: uint64 (a, n / 64): atoms that were evaluated entry by entry, 64 to a word; atom ``i``
        is register ``i``. Atoms that stand in a dictionary have no meaning there.
    codes: int32 (d, n): for each of d columns, the place of the entry's value in its dictionary.
    first_word: int64 (d + 1,): which words of a dictionary's table belong to which column.
    table_true, table_unknown: for each such word, uint64 by code: 64 atoms of one value.
    atom_of_bit: int32 (words, 64): the register of each bit, -1 for none.
    program: int32 (p, 3): operation and two registers; the result of the i-th is register a + i.
    wanted: int32 (m,): the register of each condition.
    out: int64 (ceil(m / 64), n): gets bit m % 64 of word m / 64 where condition m is true.
    selected, undecided: int64 (m,): how many entries each selects and cannot decide are added.
    """
    atoms = true.shape[0]
    t = np.zeros(atoms + program.shape[0], np.uint64)
    u = np.zeros(atoms + program.shape[0], np.uint64)
    block = np.zeros(64, np.uint64)
    for group in range((rows + 63) // 64):
        first = group * 64
        here = min(64, rows - first)
        real = _ALL if here == 64 else (_ONE << np.uint64(here)) - _ONE
        for a in range(atoms):
            t[a] = true[a, group]
            u[a] = unknown[a, group]
        for column in range(codes.shape[0]):
            for word in range(first_word[column], first_word[column + 1]):
                for which in range(2):
                    table = table_true if which == 0 else table_unknown
                    for i in range(64):
                        block[i] = table[word, codes[column, first + i]] if i < here else np.uint64(0)
                    transpose(block)
                    for b in range(64):
                        atom = atom_of_bit[word, b]
                        if atom >= 0:
                            if which == 0:
                                t[atom] = block[b]
                            else:
                                u[atom] = block[b]
        for i in range(program.shape[0]):
            op, a, b = program[i, 0], program[i, 1], program[i, 2]
            if op == AND:
                t[atoms + i] = t[a] & t[b]
                u[atoms + i] = (t[a] | u[a]) & (t[b] | u[b]) & ~t[atoms + i]
            elif op == OR:
                t[atoms + i] = t[a] | t[b]
                u[atoms + i] = (u[a] | u[b]) & ~t[atoms + i]
            else:
                t[atoms + i] = ~(t[a] | u[a])
                u[atoms + i] = u[a]
        for begin in range(0, wanted.size, 64):
            any_true = np.uint64(0)
            for b in range(64):
                block[b] = np.uint64(0)
                if begin + b < wanted.size:
                    register = wanted[begin + b]
                    word = t[register] & real
                    block[b] = word
                    any_true |= word
                    if word:
                        selected[begin + b] += _ones(word)
                    left = u[register] & real
                    if left:
                        undecided[begin + b] += _ones(left)
            if any_true:
                transpose(block)
                for i in range(here):
                    out[begin // 64, first + i] = np.int64(block[i])
            else:
                for i in range(here):
                    out[begin // 64, first + i] = 0
