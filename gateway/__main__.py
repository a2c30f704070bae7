"""`gateway`, and `python -m gateway`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run a command; what a user can mend is said in one line."""
    _hold_standard_streams()
    from gateway.cli import run  # noqa: PLC0415 - `gateway --help` need not load a server

    sys.exit(run())


def _hold_standard_streams() -> None:
    """Open /dev/null where one is closed: a socket would get its number, and not bear it.

    Standard output stays None: who has a result to print says that nobody gets it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            lowest = os.open(os.devnull, os.O_RDWR)  # which is this one
            os.set_inheritable(lowest, True)  # noqa: FBT003 - it has no name
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115 - until the end


if __name__ == "__main__":
    main()
