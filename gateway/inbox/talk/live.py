"""What happens while somebody looks, as server-sent events: which message, of which conversation.

The browser asks for what is shown of it by itself: so nothing is rendered for nobody, and what it
shows is always what the one who is signed in may see.
"""

from __future__ import annotations

from aiohttp import web

from gateway.api.endpoint import as_bytes
from gateway.api.streaming import Stream
from gateway.inbox import session
from gateway.inbox.visit import Visit
from gateway.live.events import LiveEvent
from gateway.live.subscription import EndedError
from gateway.store import desk
from gateway.store.database import Staff
from gateway.store.positions import Position

_BEAT = 15.0
_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


async def events(visit: Visit) -> web.StreamResponse:
    """Every event of the organization since the page was made, or after `Last-Event-ID`."""
    live = visit.services.live
    async with live.subscribe(visit.staff, _after(visit)) as subscription:
        stream = Stream(visit.request, _HEADERS)
        stream.response.force_close()
        async with stream:
            await stream.send(b"retry: 2000\n" + _beat(subscription.position))
            try:
                while True:
                    happened = await subscription.next(_BEAT)
                    if not await _is_here(visit):
                        break  # also while there is no silence in which it would show
                    counted = await _unread(visit, visit.staff) if happened else None
                    parts = [_event(each, counted) for each in happened]
                    await stream.send(b"".join(parts) or _beat(subscription.position))
            except EndedError as error:
                await stream.send(f": {error}\n\n".encode())
        return stream.response


async def _is_here(visit: Visit) -> bool:
    """Whether the session has not ended meanwhile."""
    token = visit.cookie.token(visit.request)
    return await session.recognise(visit.services.database, visit.services.vault, token) is not None


async def _unread(visit: Visit, staff: Staff) -> int:
    async with visit.services.database.as_caller(staff) as db:
        return await desk.unread(db, staff.organization_id)


def _after(visit: Visit) -> Position | None:
    given = visit.request.headers.get("Last-Event-ID") or visit.request.query.get("after")
    try:
        return Position.read(given) if given else None
    except ValueError:
        return None  # from now on


def _event(event: LiveEvent, unread: int | None) -> bytes:
    is_message = event.type.startswith("message.")
    told = {
        "type": event.type,
        "unread": unread,
        "message": event.row["id"] if is_message else None,
        "conversation": event.row["conversation_id"] if is_message else event.row["id"],
    }
    return f"id: {event.position}\ndata: ".encode() + as_bytes(told) + b"\n\n"


def _beat(position: Position) -> bytes:
    return f": live\nid: {position}\n\n".encode()
