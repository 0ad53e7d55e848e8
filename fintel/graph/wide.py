"""Integers of 192 bits in numba, as three unsigned words: what exact sums of cubes of money need.

Highest word first. All is modulo 2**192, so a sum that was too large for a while is right again afterwards.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

_jit = numba.njit(nogil=True, cache=True, inline="never")

_ONE, _ZERO = np.uint64(1), np.uint64(0)
_WORD = 2.0**64


@intrinsic
def wide(typingctx: Any, a: Any, b: Any) -> Any:
    """The product of two uint64 as (high, low)."""
    signature = types.UniTuple(types.uint64, 2)(types.uint64, types.uint64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = context.get_value_type(types.uint64)
        long = type(word)(2 * word.width)
        product = builder.mul(builder.zext(arguments[0], long), builder.zext(arguments[1], long))
        bits = builder.zext(context.get_constant(types.uint64, word.width), long)
        high = builder.trunc(builder.lshr(product, bits), word)
        return context.make_tuple(builder, signature.return_type, (high, builder.trunc(product, word)))

    return signature, generate


@_jit
def add(a2: Any, a1: Any, a0: Any, b2: Any, b1: Any, b0: Any) -> Any:
    """a + b."""
    c0 = a0 + b0
    carry = _ONE if c0 < a0 else _ZERO
    c1 = a1 + b1
    over = _ONE if c1 < a1 else _ZERO
    c1 += carry
    over |= _ONE if c1 < carry else _ZERO
    return a2 + b2 + over, c1, c0


@_jit
def subtract(a2: Any, a1: Any, a0: Any, b2: Any, b1: Any, b0: Any) -> Any:
    """a - b."""
    borrow = _ONE if a0 < b0 else _ZERO
    c1 = a1 - b1
    under = _ONE if a1 < b1 else _ZERO
    under |= _ONE if c1 < borrow else _ZERO
    return a2 - b2 - under, c1 - borrow, a0 - b0


@_jit
def times(a2: Any, a1: Any, a0: Any, k: Any) -> Any:
    """a * k for a word k; right for negative a (two's complement) too."""
    high0, c0 = wide(a0, k)
    high1, low1 = wide(a1, k)
    c1 = low1 + high0
    carry = _ONE if c1 < low1 else _ZERO
    return a2 * k + high1 + carry, c1, c0


@_jit
def cubed(x: Any) -> Any:
    """x³ of a word."""
    high, low = wide(x, x)
    return times(_ZERO, high, low, x)


@_jit
def float_of(a2: Any, a1: Any, a0: Any) -> Any:
    """The nearest float, or its neighbour."""
    return (float(a2) * _WORD + float(a1)) * _WORD + float(a0)


@_jit
def signed_float(a2: Any, a1: Any, a0: Any) -> Any:
    """The same, read as two's complement."""
    if a2 >> np.uint64(63):
        n2, n1, n0 = subtract(_ZERO, _ZERO, _ZERO, a2, a1, a0)
        return -float_of(n2, n1, n0)
    return float_of(a2, a1, a0)
