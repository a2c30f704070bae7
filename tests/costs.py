"""The cost of a call, whatever else the machine and the test run are doing."""

import gc
import sys
import time
from collections.abc import Callable


def cpu_seconds(call: Callable[[], object], *, runs: int = 3) -> float:
    """CPU seconds of this thread for `call`: the least of some runs, without garbage collection
    and without the measurement of coverage.

    None of these is a cost of the call: garbage collection visits all objects of the test run,
    coverage is called for each line, and other processes may evict the caches. The last is why the
    least run counts.
    """
    took = []
    was_enabled, traced = gc.isenabled(), sys.gettrace()
    gc.disable()
    sys.settrace(None)
    try:
        for _ in range(runs):
            began = time.thread_time()
            call()
            took.append(time.thread_time() - began)
    finally:
        sys.settrace(traced)
        if was_enabled:
            gc.enable()
    return min(took)
