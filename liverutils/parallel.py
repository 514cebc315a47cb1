"""Work spread over processes."""

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

from joblib import Parallel, delayed


def in_processes(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int | None = None
) -> Iterator[Any]:
    """Yield `function(item)` for each item, in order, computed by `workers` processes.

    Args:
        function: Picklable, as is what it returns. What it raises is raised here.
        items: As many as wanted; only a few are handed out ahead, so memory stays bounded.
        workers: By default one per core, and never more than there are items; 1 stays in this
            process.
    """
    workers = workers or os.cpu_count() or 1
    if isinstance(items, Sized):
        workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    # Not multiprocessing's own pool: forked, it would inherit torch's threads; spawned, it would
    # run an unguarded script once more in each process.
    pool = Parallel(workers, return_as="generator", pre_dispatch=f"{workers + 1}")
    yield from pool(delayed(function)(item) for item in items)
