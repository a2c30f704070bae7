"""/v1/events: what happens in the caller's organization, as server-sent events."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gateway.api.auth import Callers
from gateway.api.endpoint import Call, Endpoint
from gateway.live.events import LiveEvent
from gateway.live.watcher import EndedError
from gateway.problems import FieldError, invalid
from gateway.shapes.events import EventsQuery
from gateway.store.positions import Position
from gateway.web.event_stream import EventStream, beat

_BEAT = 15.0
_PART = 2**16  # bytes: events are sent together until they have as many
_RETRY = 2000  # milliseconds until a client connects again


async def events(call: Call) -> web.StreamResponse:
    """All events from now on, or after `Last-Event-ID`, each once and in order."""
    headers = call.request.headers
    expires_at = Callers.expiry(headers.get("Authorization"))
    live = call.services.live
    async with live.watch(call.caller, _after(call), expires_at=expires_at) as watcher:
        async with EventStream(call.request) as stream:
            await stream.begin(_RETRY, watcher.position)
            try:
                while True:
                    await _tell(stream, await watcher.next(_BEAT), watcher.position)
            except EndedError as error:
                await stream.end(str(error))
        return stream.response


def _after(call: Call) -> Position | None:
    query: EventsQuery = call.query
    given = call.request.headers.get("Last-Event-ID") or query.last_event_id
    if not given:
        return None
    try:
        return Position.read(given)
    except ValueError as error:
        raise invalid([FieldError("Last-Event-ID", str(error))]) from None


async def _tell(stream: EventStream, happened: Sequence[LiveEvent], position: Position) -> None:
    """Send events, small ones together; if there are none, send the position."""
    part = b"" if happened else beat(position)
    for each in happened:
        part += _event(each)
        if len(part) >= _PART:
            await stream.send(part)
            part = b""
    if part:
        await stream.send(part)


def _event(event: LiveEvent) -> bytes:
    return f"id: {event.position}\nevent: {event.type}\ndata: ".encode() + event.data + b"\n\n"


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/events",
        handler=events,
        summary="What happens, as server-sent events",
        query=EventsQuery,
        streams=("text/event-stream",),
        headers=("Last-Event-ID",),
    ),
]
