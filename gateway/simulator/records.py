"""For `/_sim/messages`: the messages of providers whose own API does not list them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from gateway.simulator.callbacks import Delivery


@dataclass(kw_only=True, slots=True)
class Record:
    """One message to or from one person; `detail` is what else the provider knows about it."""

    sid: str
    account: str
    channel: str
    to: str
    from_: str
    body: str
    status: str
    direction: str
    at: datetime
    error_code: int | str | None = None
    detail: dict[str, object] = field(default_factory=dict)
    callbacks: list[Delivery] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def as_json(self) -> dict[str, object]:
        """The message as `/_sim/messages` shows it."""
        return {
            "sid": self.sid,
            "account": self.account,
            "channel": self.channel,
            "to": self.to,
            "from": self.from_,
            "body": self.body,
            "status": self.status,
            "direction": self.direction,
            "error_code": self.error_code,
            "at": self.at.isoformat(),
            **self.detail,
            "callbacks": [some.as_json() for some in self.callbacks],
        }


class Records:
    """All messages of one provider, oldest first."""

    def __init__(self) -> None:
        """Start empty."""
        self._all: list[Record] = []

    def add(self, record: Record) -> None:
        """Keep a message."""
        self._all.append(record)

    def clear(self) -> None:
        """Drop all."""
        self._all.clear()

    def __iter__(self) -> Iterator[Record]:
        """Every message, oldest first."""
        return iter(self._all)

    def as_json(self) -> list[dict[str, object]]:
        """The messages as `/_sim/messages` shows them."""
        return [record.as_json() for record in self._all]
