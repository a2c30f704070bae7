"""What a stream carries."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.shapes.shown import shown, shown_conversation
from gateway.store.live import Happened
from gateway.store.positions import Position
from gateway.store.values import Row, as_json_bytes

_ODD = re.compile(r"[^a-z0-9_.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveEvent:
    """One event: `type` is `message.delivered` and the like, `data` the JSON of it all.

    `row` is the message, or the conversation, as it is now: of the conversation `about` that was
    merged, the one that it is part of. `position` is the place behind it.
    """

    type: str
    about: UUID
    position: Position
    row: Row
    data: bytes


# Its name, its time, and the row that it is about.
Render = Callable[[str, datetime, Row], bytes]


def event_name(kind: str, what: str, status: str | None) -> str:
    """`message.accepted`, `message.failed`, ...: by the status, else by what the provider says."""
    word = "accepted" if status == "pending" else status or what
    return f"{kind}.{_ODD.sub('_', word.lower())[:50]}"


def render(name: str, at: datetime, row: Row) -> bytes:
    """An event as JSON: {type, timestamp, data}."""
    is_message = name.startswith("message.")
    data = shown(row) if is_message else shown_conversation(row)
    return as_json_bytes({"type": name, "timestamp": at, "data": data})


def live_event(happened: Happened, render: Render) -> LiveEvent:
    """An event as streams carry it, made once for all of them."""
    name = event_name(happened.kind, happened.type, happened.status)
    return LiveEvent(
        type=name,
        about=happened.about,
        position=happened.position,
        row=happened.row,
        data=render(name, happened.at, happened.row),
    )
