"""Live events."""

from __future__ import annotations

from pydantic import Field

from gateway.shapes.base import Shape


class EventsQuery(Shape):
    """Where the stream begins."""

    last_event_id: str | None = Field(
        None, description="as the header `Last-Event-ID`, for clients that cannot set it"
    )
