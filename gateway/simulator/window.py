"""WhatsApp's customer service window: free text only within 24 h of the person's last message."""

from __future__ import annotations

from datetime import datetime, timedelta

from gateway.simulator.plan import bare

OPEN_FOR = timedelta(hours=24)


class Window:
    """When each person last wrote to each of our numbers."""

    def __init__(self) -> None:
        """Start empty: nobody has written."""
        self._last: dict[tuple[str, str], datetime] = {}

    def note(self, *, ours: str, theirs: str, at: datetime) -> None:
        """Note that somebody wrote in."""
        self._last[_digits(ours), _digits(theirs)] = at

    def is_open(self, *, ours: str, theirs: str, at: datetime) -> bool:
        """Whether a free text may go out now."""
        last = self._last.get((_digits(ours), _digits(theirs)))
        return last is not None and at - last <= OPEN_FOR

    def clear(self) -> None:
        """Forget everybody."""
        self._last.clear()


def _digits(address: str) -> str:
    return bare(address).removeprefix("+")
