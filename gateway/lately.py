"""Lately: whom something happened to a while ago, so that it is not tried again at once."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# Seconds for which it is remembered where nothing else is said.
_SECONDS = 30.0


class Lately(Generic[K]):
    """Remembers each for its own number of seconds; nothing outlives the process."""

    def __init__(self) -> None:
        self._until: dict[K, float] = {}

    def add(self, key: K, seconds: float = _SECONDS) -> None:
        """It happened just now; whatever was known of it before does not count any more."""
        self._forget()
        self._until[key] = time.monotonic() + seconds

    def remove(self, key: K) -> None:
        """It is over."""
        self._until.pop(key, None)

    def __contains__(self, key: K) -> bool:
        """Whether its seconds are not over."""
        return self._until.get(key, -float("inf")) > time.monotonic()

    def __iter__(self) -> Iterator[K]:
        """Those whose seconds are not over."""
        self._forget()
        return iter([*self._until])

    def __len__(self) -> int:
        """How many there are."""
        self._forget()
        return len(self._until)

    def _forget(self) -> None:
        now = time.monotonic()
        self._until = {each: until for each, until in self._until.items() if until > now}
