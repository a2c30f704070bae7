"""Moments whose age includes the time that this machine was suspended.

The event loop's clock, and with it every time-out, stops while a Linux or macOS machine is
suspended. Leases and other machines go on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in seconds, by a clock that runs during suspension and by the wall clock."""

    steady: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        """This moment."""
        return cls(_steady(), time.time())

    def steady_age(self) -> float:
        """Seconds since then by the clock that nobody sets; some systems leave out suspension."""
        return _steady() - self.steady

    def age(self) -> float:
        """Seconds since then, by whichever clock says more.

        Not every system has a steady clock that runs during suspension. If the wall clock is set
        forward, something is wrongly taken for late, which is the safe mistake.
        """
        now = Moment.now()
        return max(now.steady - self.steady, now.wall - self.wall)


def _steady() -> float:
    """https://man7.org/linux/man-pages/man2/clock_gettime.2.html"""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
