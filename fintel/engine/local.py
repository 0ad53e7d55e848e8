"""The local executor: slices in parallel threads; kernels hold no interpreter lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from fintel.engine.partition import Slice

T = TypeVar("T")


def thread_count(threads: int) -> int:
    """Threads to use: as asked, or one a core when 0."""
    return threads or os.cpu_count() or 1


def sweep(slices: Iterable[Slice], function: Callable[[Slice], T], *, threads: int = 0) -> Iterator[T]:
    """``function`` of each slice, results in the slices' order.

    At most two slices a thread are alive at once, so memory stays bounded whatever their number.
    The result does not depend on ``threads``: a partition is never split.
    """
    workers = thread_count(threads)
    with ThreadPoolExecutor(workers, thread_name_prefix="fintel") as pool:
        waiting: deque[Future[T]] = deque()
        for piece in slices:
            waiting.append(pool.submit(function, piece))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
