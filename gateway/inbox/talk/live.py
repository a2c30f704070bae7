"""Server-sent events for open pages: which message of which conversation is new or has changed.

The browser then requests what it shows: so nothing is rendered in vain, and only what the person
who is signed in may see.

At busy times events come thirty times a second, to every open page. So the session is checked only
every three seconds, and unread conversations are counted at most once a second: with the first
events after a silence, and once more after the last ones.
"""

from __future__ import annotations

import random
import time

from aiohttp import web

from gateway.inbox import session
from gateway.inbox.visit import Visit
from gateway.live.events import LiveEvent
from gateway.live.watcher import EndedError, Watcher
from gateway.store import desk
from gateway.store.database import Staff
from gateway.store.positions import Position
from gateway.store.values import as_json_bytes
from gateway.web.event_stream import HEADERS, EventStream, beat

_BEAT = 15.0
_LOOK, _COUNT = 3.0, 1.0
# Milliseconds until a browser reconnects: random, so that not all do at once after a restart.
_RETRY, _NEXT_LOOK = (1000, 6000), (4000, 6000)


async def events(visit: Visit) -> web.StreamResponse:
    """The events of the organization since the page was made, or after `Last-Event-ID`.

    With `look`, the stream ends as soon as there are no more.
    """
    if visit.request.method == "HEAD":
        return web.Response(headers=HEADERS)  # without a stream, which would not end
    live = visit.services.live
    async with live.watch(visit.staff, _after(visit), is_brief=True) as watcher:
        async with EventStream(visit.request) as stream:
            is_look = "look" in visit.request.query
            retry = random.randint(*(_NEXT_LOOK if is_look else _RETRY))  # noqa: S311 - no secret
            await stream.begin(retry, watcher.position)
            try:
                await (_look if is_look else _tell)(visit, watcher, stream)
            except EndedError as error:
                await stream.end(str(error))
        return stream.response


async def _tell(visit: Visit, watcher: Watcher, stream: EventStream) -> None:
    """Send events until the session has ended."""
    look, count = _Pace(_LOOK), _Pace(_COUNT)
    while True:
        happened = await watcher.next(min(look.rest, count.rest))
        look.want()  # also if nothing happens
        if happened:
            count.want()
        if look.is_due() and not await _is_here(visit):
            return
        unread = await _unread(visit, visit.staff) if count.is_due() else None
        parts = [_event(each, unread) for each in happened]
        if not happened and unread is not None:
            parts.append(_counted(watcher.position, unread))
        await stream.send(b"".join(parts) or beat(watcher.position))


async def _look(_visit: Visit, watcher: Watcher, stream: EventStream) -> None:
    """Send the events so far, and end: for a page that must not keep a connection."""
    while happened := await watcher.next(0):
        await stream.send(b"".join(_event(each, None) for each in happened))
    await stream.send(beat(watcher.position))


class _Pace:
    """Limits how often something is done: at once the first time, then so many seconds apart."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_wanted = False
        self._next = 0.0

    def want(self) -> None:
        """Ask for it: `is_due` will be true once its time has come."""
        self._is_wanted = True

    @property
    def rest(self) -> float:
        """Seconds until it is due; if it is not wanted, those until the next beat."""
        return max(self._next - time.monotonic(), 0) if self._is_wanted else _BEAT

    def is_due(self) -> bool:
        """Whether it is wanted and its time has come; if so, it counts as done."""
        now = time.monotonic()
        if not self._is_wanted or now < self._next:
            return False
        self._is_wanted, self._next = False, now + self._seconds
        return True


async def _is_here(visit: Visit) -> bool:
    """Whether the session is still valid."""
    token = visit.cookie.token(visit.request)
    services = visit.services
    who = await session.recognise(services.database, services.vault, token, is_use=False)
    return who is not None


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
    if event.about != event.row["id"]:
        told["was"] = event.about  # this conversation was merged into the other one
    return _told(event.position, told)


def _counted(position: Position, unread: int) -> bytes:
    told = {"type": "unread", "unread": unread, "message": None, "conversation": None}
    return _told(position, told)


def _told(position: Position, told: dict[str, object]) -> bytes:
    return f"id: {position}\ndata: ".encode() + as_json_bytes(told) + b"\n\n"
