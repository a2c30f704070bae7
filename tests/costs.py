"""What a call costs this process, whatever else the machine and the test run are doing."""

import gc
import sys
import time
from collections.abc import Callable


def cpu_seconds(call: Callable[[], object], *, runs: int = 3) -> float:
    """CPU seconds of this thread for `call`: the least of some runs, without garbage collection
    and without the measurement of coverage.

    A collection walks all that the whole test run holds, coverage is asked at every line, and a
    neighbour can take the caches away in the middle: none of them is a cost of the call, and the
    least run has least of the last.
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
