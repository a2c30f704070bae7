"""Moments, and how long ago they were for everybody, also for a machine that was suspended.

The clock of the event loop, and with it every time-out, stands still meanwhile on Linux and macOS.
Leases and what others do go on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by a clock that goes on while the machine sleeps, and by the wall's; in seconds."""

    steady: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        """This moment."""
        return cls(_steady(), time.time())

    def age(self) -> float:
        """Seconds since then, by the clock that says more.

        Not every system has the first clock, and the second may be set forward: then something is
        thought to be late that is not.
        """
        now = Moment.now()
        return max(now.steady - self.steady, now.wall - self.wall)


def _steady() -> float:
    """https://man7.org/linux/man-pages/man2/clock_gettime.2.html"""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
