"""A hint to the processor that a row of an array will soon be read.

Kernels walk payments in order of time, and each payment leads to rows that lie anywhere: its accounts, the payment of
the same pair before it. A batch knows the payments that come next, so these rows can be on their way before their turn.
Hints change no number.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

#: How many payments ahead a batch asks: long enough for memory to answer, short enough for the nearest cache.
AHEAD = 12


@intrinsic
def prefetch(typingctx: Any, array: Any, row: Any) -> Any:
    """Ask for the first bytes of ``array[row]``, whose first axis has that row; returns nothing."""
    signature = types.void(array, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, arguments[0])
        step = cgutils.unpack_tuple(builder, held.strides, signature.args[0].ndim)[0]
        byte = ir.IntType(8).as_pointer()
        start = builder.bitcast(held.data, byte)
        place = builder.gep(start, [builder.mul(arguments[1], step)])
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(hint, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return signature, generate
