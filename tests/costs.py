"""What a call costs this process, whatever else the machine and the test run are doing."""

import gc
import time
from collections.abc import Callable


def cpu_seconds(call: Callable[[], object], *, runs: int = 3) -> float:
    """CPU seconds of this thread for `call`: the least of some runs, without garbage collection.

    A collection walks all that the whole test run holds, and a neighbour can take the caches
    away in the middle: neither is a cost of the call, and the least run has least of both.
    """
    took = []
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(runs):
            began = time.thread_time()
            call()
            took.append(time.thread_time() - began)
    finally:
        if was_enabled:
            gc.enable()
    return min(took)
