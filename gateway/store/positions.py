"""Positions in a stream of events: they separate events that were told from those that were not.

Transactions end in another order than they begin, so a position is a PostgreSQL snapshot (which
transactions had ended), and for each transaction that was told in part, the last event told.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Characters of a position as text, as many as a header may have: for thousands of concurrent
# transactions.
_LENGTH = 32_000
_TEXT = re.compile(
    r"(\d{1,16})/(\d{1,18}):(\d{1,18}):((?:\d{1,18},)*\d{1,18})?((?:/\d{1,18}/[0-9a-f]{32})*)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All transactions below `xmin` had ended, none from `xmax` on, and between them all but those
    in `running`."""

    xmin: int
    xmax: int
    running: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.running))}"

    @classmethod
    def read(cls, text: str) -> Snapshot:
        """The snapshot of its text, as PostgreSQL writes it."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), tuple(map(int, filter(None, running.split(",")))))

    def sees(self, transaction: int) -> bool:
        """Whether a transaction had ended."""
        if transaction >= self.xmax:
            return False
        return transaction < self.xmin or transaction not in self.running

    @property
    def is_sound(self) -> bool:
        """Whether PostgreSQL would accept it."""
        inner = all(self.xmin <= each < self.xmax for each in self.running)
        return 0 < self.xmin <= self.xmax and inner and _ascends(self.running)


@dataclass(frozen=True, slots=True)
class Position:
    """A position, reached `at`; `within` are transactions that were told up to one of their events.

    There is more than one if a transaction that began earlier ended later, and was told in part,
    too.
    """

    at: datetime
    snapshot: Snapshot
    within: tuple[tuple[int, UUID], ...] = ()

    def __str__(self) -> str:
        micros = (self.at - _EPOCH) // _MICROSECOND
        inner = "".join(f"/{transaction}/{event.hex}" for transaction, event in self.within)
        return f"{micros}/{self.snapshot}{inner}"

    @classmethod
    def read(cls, text: str) -> Position:
        """The position of its text; raises `ValueError` for any other text."""
        found = _TEXT.fullmatch(text) if len(text) <= _LENGTH else None
        if found is None:
            raise ValueError("is not an id of this stream")
        micros, xmin, xmax, running, inner = found.groups()
        parts = inner.split("/")[1:]
        position = cls(
            _EPOCH + int(micros) * _MICROSECOND,
            Snapshot.read(f"{xmin}:{xmax}:{running or ''}"),
            tuple((int(x), UUID(event)) for x, event in zip(parts[::2], parts[1::2], strict=True)),
        )
        if not position.snapshot.is_sound:
            raise ValueError("is not an id of this stream")
        return position

    def behind(self, transaction: int, event: UUID, now: Snapshot) -> Position:
        """The position after an event, when the new events of the snapshot `now` come in order."""
        before = self.snapshot
        untold = {x for x in before.running if x >= transaction or not now.sees(x)}
        untold |= {x for x in now.running if before.xmax <= x < transaction}
        running = tuple(sorted(untold | {transaction}))
        snapshot = Snapshot(running[0], max(before.xmax, transaction + 1), running)
        others = (each for each in self.within if each[0] != transaction and each[0] in untold)
        return Position(self.at, snapshot, (*others, (transaction, event)))


def _ascends(values: Collection[int]) -> bool:
    return list(values) == sorted(set(values))
