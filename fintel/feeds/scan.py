"""Take delimited bytes apart into records: one pass, exact line numbers, nothing swallowed.

A quote that is never closed must not eat the rest of a file: the line that opens it is marked and
reading goes on with the next line. Rules are RFC 4180's; what departs from them is marked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from fintel.feeds.codes import NUL, OPEN_QUOTE, STRAY_QUOTE, TOO_LONG

BLANK = -1

_NL, _CR = 10, 13
_START, _PLAIN, _QUOTED, _CLOSED, _SKIP = 0, 1, 2, 3, 4


@njit(cache=True, nogil=True)
def scan(
    data: Any,
    delimiter: int,
    quote: int,
    line: int,
    final: bool,
    limit: int,
    starts: Any,
    ends: Any,
    lines: Any,
    fields: Any,
    marks: Any,
) -> Any:
    """Find records in ``data`` (uint8), which begins at a record's start on line ``line``.

    Fills ``starts, ends`` (end is before the line end), ``lines``, ``fields`` (number of), ``marks``
    (0 = good, an F code, or BLANK). ``quote`` is -1 where quoting is off. Unless ``final``, an
    unfinished last record is left.

    Returns records found, bytes consumed, the line that the rest begins on.
    """
    size = data.size
    count = 0
    start = 0
    start_line = line
    now = line
    next_line = -1
    state = _START
    n_fields = 1
    mark = 0
    i = 0
    while i <= size:
        rewind = 0
        ended = False
        if i == size:
            if not final or start >= size:
                break
            if state == _QUOTED:
                if next_line >= 0:
                    rewind = OPEN_QUOTE
                else:
                    mark = OPEN_QUOTE
                    ended = True
            else:
                ended = True
        else:
            c = data[i]
            if c == 0 and mark == 0:
                mark = NUL
            if c == _NL:
                now += 1
                if state == _QUOTED:
                    if next_line < 0:
                        next_line = i + 1
                else:
                    ended = True
            elif state == _QUOTED:
                if c == quote:
                    state = _CLOSED
            elif state == _SKIP:
                pass
            elif c == delimiter:
                n_fields += 1
                state = _START
            elif c == quote:
                if state == _PLAIN:
                    if mark == 0:
                        mark = STRAY_QUOTE
                else:
                    state = _QUOTED
            elif c == _CR and (i + 1 == size or data[i + 1] == _NL):
                pass
            else:
                if state == _CLOSED:
                    if next_line >= 0:
                        rewind = OPEN_QUOTE
                    elif mark == 0:
                        mark = STRAY_QUOTE
                state = _PLAIN
            if not ended and rewind == 0 and i - start >= limit and state != _SKIP:
                if next_line >= 0:
                    rewind = OPEN_QUOTE
                else:
                    mark = TOO_LONG
                    state = _SKIP
        if ended or rewind:
            end = next_line - 1 if rewind else i
            after = end + 1
            if end > start and data[end - 1] == _CR:
                end -= 1
            if rewind:
                mark = rewind
            elif end == start:
                mark = BLANK
            starts[count] = start
            ends[count] = end
            lines[count] = start_line
            fields[count] = n_fields
            marks[count] = mark
            count += 1
            if rewind:
                now = start_line + 1
            start = after
            start_line = now
            next_line = -1
            state = _START
            n_fields = 1
            mark = 0
            i = after
            continue
        i += 1
    return count, start, start_line


def records(
    data: np.ndarray[Any, Any], delimiter: int, quote: int, line: int, final: bool, limit: int
) -> tuple[tuple[np.ndarray[Any, Any], ...], int, int]:
    """``scan`` with room for its answers: (starts, ends, lines, fields, marks), consumed, line."""
    room = int(np.count_nonzero(data == _NL)) + 2
    out = tuple(np.empty(room, np.int64) for _ in range(5))
    count, consumed, line = scan(data, delimiter, quote, line, final, limit, *out)
    return tuple(a[:count] for a in out), int(consumed), int(line)
