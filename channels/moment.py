"""Moments, whose age counts the time that this machine was suspended.

The event loop's clock, and with it every time-out, stops while a Linux or macOS machine is
suspended. Leases, and what other machines do, go on.
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
        """Seconds since then, at least: by the clock that nobody sets."""
        return _steady() - self.steady

    def age(self) -> float:
        """Seconds since then, by whichever clock says more.

        Not every system has the first clock. The second may be set forward: then something is taken
        for late that is not, which is the safe mistake.
        """
        now = Moment.now()
        return max(now.steady - self.steady, now.wall - self.wall)


def _steady() -> float:
    """https://man7.org/linux/man-pages/man2/clock_gettime.2.html"""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
