"""/v1/messages/export: all messages that pass the filters, as a file that is streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from datetime import UTC, datetime

from aiohttp import web

from gateway.api.endpoint import Call, Endpoint
from gateway.api.export_formats import FORMATS, Row
from gateway.api.finding import message_filter
from gateway.observability.logs import logger
from gateway.problems import Problem
from gateway.shapes import messages as shapes
from gateway.shapes.shown import shown
from gateway.store import conversations, messages
from gateway.store.callers import still_known
from gateway.store.errors import DatabaseAwayError
from gateway.store.messages import MessageFilter
from gateway.store.paging import Cursor
from gateway.store.searching import SearchError
from gateway.web.streaming import Stream

_log = logger(__name__)

# Each part has as many messages as come to about `_BYTES`; the first has `_FIRST`, because their
# length is not known yet. No more bytes of text are read, except for the end of the last message.
_FIRST, _MOST = 50, 500
_BYTES = 2**20


async def export(call: Call) -> web.StreamResponse:
    """The messages that pass every filter, newest first, as CSV or JSON lines.

    Each part is read in a transaction of its own as the caller, with the usual limits; none is open
    while the client reads. Messages that are stored after the request are not exported. The file
    is cut off if it is of one conversation, whose messages are being moved to another one.
    """
    query: shapes.ExportQuery = call.query
    form = FORMATS[query.format]
    parts = _parts(call, query, form.lines)
    part = await anext(parts)  # an error in the first part is answered as usual
    name = f"messages-{datetime.now(UTC):%Y-%m-%d}.{query.format}"
    headers = {
        "Content-Type": form.media_type,
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    stream = Stream(call.request, headers)
    async with aclosing(parts), stream:
        await stream.send(form.head + part)
        try:
            async for part in parts:
                await stream.send(part)
        except (DatabaseAwayError, SearchError, Problem) as error:
            # The status has been sent: the connection is cut, so that the client sees the failure.
            _log.warning("an export was cut", reason=str(error), path=call.request.path)
            stream.cut()
    return stream.response


async def _parts(
    call: Call, query: shapes.ExportQuery, lines: Callable[[Iterable[Row]], bytes]
) -> AsyncGenerator[bytes, None]:
    cursor: Cursor | None = None
    limit = _FIRST
    wanted: MessageFilter | None = None
    began: object = None
    while True:
        async with call.services.database.as_service() as db:
            if not await still_known(db, [call.caller]):
                raise Problem(403, "The caller may not read any more.")
        async with call.services.database.as_caller(call.caller, is_still=True) as db:
            wanted = wanted or await message_filter(db, call.organization_id, query)
            where = query.conversation_id and await conversations.whereabouts(
                db, call.organization_id, query.conversation_id
            )
            if cursor is None:
                began = where
            elif where != began:
                raise Problem(409, "Messages of the conversation went to another one meanwhile.")
            page = await messages.search(
                db, call.organization_id, wanted, cursor, limit, most_bytes=_BYTES
            )
        part = lines([shown(row) for row in page.rows])
        # No more than twice as many as there was room for: those beyond that were read in vain.
        fit = len(page.rows)
        limit = max(1, min(_MOST, 2 * fit, _BYTES * fit // max(1, len(part))))
        cursor = Cursor.read(page.next_cursor) if page.next_cursor else None
        del page  # so that only the part is in memory while the client reads it
        yield part
        if cursor is None:
            return


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/messages/export",
        handler=export,
        summary="All messages that pass the filters, newest first, as a file",
        query=shapes.ExportQuery,
        streams=("text/csv", "application/jsonl"),
    ),
]
