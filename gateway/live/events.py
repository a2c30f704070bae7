"""What a stream carries."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway.store.live import Happened
from gateway.store.positions import Position

Row = dict[str, Any]

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


Render = Callable[[str, Happened], bytes]


def named(happened: Happened) -> str:
    """`message.accepted`, `message.failed`, ...: by the status, else by what the provider says."""
    what = happened.status or happened.type
    if happened.status == "pending":
        what = "accepted"
    return f"{happened.kind}.{_ODD.sub('_', what.lower())[:50]}"


def live_event(happened: Happened, render: Render) -> LiveEvent:
    """An event as streams carry it, made once for all of them."""
    kind = named(happened)
    return LiveEvent(
        type=kind,
        about=happened.about,
        position=happened.position,
        row=happened.row,
        data=render(kind, happened),
    )
