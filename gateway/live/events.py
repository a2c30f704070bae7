"""The events of streams."""

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
    """One event: `type` is `message.delivered`, for example, and `data` is the event as JSON.

    `row` is the present message or conversation; if the conversation `about` was merged, it is the
    one that it is part of now. `position` is the place after the event.
    """

    type: str
    about: UUID
    position: Position
    row: Row
    data: bytes


# From name, time and row of an event to its `data`.
Render = Callable[[str, datetime, Row], bytes]


def event_name(kind: str, what: str, status: str | None) -> str:
    """`message.accepted`, `message.failed`, ...: by the status, else by the provider's word."""
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
