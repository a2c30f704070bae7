"""Lately: keys for which something failed recently, so that it is not tried again at once."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# Seconds for which a key is remembered by default.
_SECONDS = 30.0


class Lately(Generic[K]):
    """Remembers each key for its own number of seconds, in this process only."""

    def __init__(self) -> None:
        self._until: dict[K, float] = {}

    def add(self, key: K, seconds: float = _SECONDS) -> None:
        """Remember a key from now on, for so many seconds; an earlier time is replaced."""
        self._forget()
        self._until[key] = time.monotonic() + seconds

    def remove(self, key: K) -> None:
        """Forget a key."""
        self._until.pop(key, None)

    def __contains__(self, key: K) -> bool:
        """Whether a key is remembered."""
        return self._until.get(key, -float("inf")) > time.monotonic()

    def __iter__(self) -> Iterator[K]:
        """The remembered keys."""
        self._forget()
        return iter([*self._until])

    def __len__(self) -> int:
        """How many keys are remembered."""
        self._forget()
        return len(self._until)

    def _forget(self) -> None:
        now = time.monotonic()
        self._until = {each: until for each, until in self._until.items() if until > now}
