"""`python -m benchmarks.profiled FILE COMMAND ...`: a gateway command under pyinstrument.

When the command has ended, FILE has the samples of the main thread, in whichever task it was.
"""

from __future__ import annotations

import sys

from pyinstrument import Profiler

from gateway.__main__ import main

if __name__ == "__main__":
    path = sys.argv[1]
    sys.argv = ["gateway", *sys.argv[2:]]
    profiler = Profiler(interval=0.001, async_mode="disabled")
    profiler.start()
    try:
        main()
    finally:
        profiler.stop().save(path)
