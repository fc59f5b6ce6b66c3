"""Map a function over images in worker processes, results in order, memory bounded.

Workers are spawned, not forked (HDF5 handles and thread pools do not survive a fork), and use one torch thread each,
so that the bytes of a result do not depend on how many there are. They end with this process, however it ends.
"""

import itertools
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from workflow_scripts.base import stopping
from workflow_scripts.base.errors import UserError

_state: Any = None
_function: Any = None


def ordered_map(
    make_state: Callable[[], Any], function: Callable[[Any, Any], Any], items: Iterable, workers: int
) -> Iterator:
    """Yield `function(state, item)` for every item in order; `make_state()` runs once in each worker.

    Args:
        make_state: picklable; opens files, builds networks.
        function: picklable; pure in the state.
        workers: processes; 1 works in this one.
    """
    if workers <= 1:
        _start(make_state, function)
        yield from (_apply(item) for item in items)
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited by the workers, whatever they import later
    context = multiprocessing.get_context("spawn")
    start: Any = {"initializer": _start_worker, "initargs": (make_state, function)}
    with ProcessPoolExecutor(workers, mp_context=context, **start) as pool:
        iterator, waiting = iter(items), deque[Future]()
        try:
            waiting.extend(pool.submit(_apply, item) for item in itertools.islice(iterator, 4 * workers))
            while waiting:
                yield waiting[0].result()
                waiting.popleft()
                waiting.extend(pool.submit(_apply, item) for item in itertools.islice(iterator, 1))
        except BaseException as error:
            for future in waiting:
                if not future.cancel():
                    future.exception()  # nothing is being written any more, so that the pool does not wait for the rest of it
            for worker in multiprocessing.active_children():
                worker.kill()  # they ignore SIGTERM, by which a broken pool would end them before it waits for them
            if not isinstance(error, BrokenProcessPool):
                raise
            raise UserError(
                "a worker process was killed, most likely by the system as memory ran out; give the data set fewer `workers`, "
                "or the machine fewer jobs at once, and run again"
            ) from None


def _start(make_state: Callable[[], Any], function: Callable) -> None:
    global _state, _function
    _state, _function = make_state(), function
    if "torch" in sys.modules:  # only now, as making the state may be what imports it
        sys.modules["torch"].set_num_threads(1)


def _start_worker(make_state: Callable[[], Any], function: Callable) -> None:
    """As `_start`; the first item raises a mistake of the user's, which the pool would hide behind its own error."""
    global _state, _function
    stopping.ignore()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _start(make_state, function)
    except UserError as error:
        _state, _function = error, _refuse


def _end_with_parent() -> None:
    """A pool whose owner was killed would wait for work for ever."""
    owner = multiprocessing.parent_process()
    assert owner is not None  # a worker has one
    multiprocessing.connection.wait([owner.sentinel])
    os._exit(1)


def _refuse(error: UserError, item: Any) -> None:
    raise error


def _apply(item: Any) -> Any:
    return _function(_state, item)
