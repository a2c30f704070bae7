"""`gateway`, and `python -m gateway`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run a command; what a user can mend is said in one line."""
    from gateway.cli import run  # noqa: PLC0415 - `gateway --help` need not load a server

    sys.exit(run())


if __name__ == "__main__":
    main()
