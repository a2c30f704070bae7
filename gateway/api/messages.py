"""/v1/messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pydantic_core
from aiohttp import web

from gateway.accept import canceling
from gateway.accept.accepted import Idempotency
from gateway.accept.malformed import Malformed, drafts
from gateway.accept.preview import preview
from gateway.accept.recalling import Replayed
from gateway.api.endpoint import Call, Endpoint
from gateway.api.finding import message_filter
from gateway.api.reading import read_request
from gateway.api.sending import (
    accepted,
    completing,
    idempotency,
    many,
    one,
    replay,
    respond_many,
    unanswered,
)
from gateway.problems import FieldError, Problem, found, invalid
from gateway.shapes import messages as shapes
from gateway.shapes.base import Listed, PageQuery
from gateway.shapes.shown import shown
from gateway.store import messages
from gateway.store.errors import NOT_STORED
from gateway.store.paging import MOST_BYTES
from gateway.store.values import as_json_bytes
from gateway.web.http import MOST_ERRORS, TOO_MANY_ERRORS, parse_json, respond, respond_page

_BATCH = 1000
# How many messages of a batch are read before other requests have their turn.
_AT_ONCE = 50


async def send(call: Call) -> web.Response:
    """Accept one message."""
    raw = await call.request.read()
    body = parse_json(raw)
    key = await idempotency(call, "message", body, one, size=len(raw))
    try:
        return await _send(call, raw, body, key)
    except (Problem, *NOT_STORED):
        # If the key was used before, the first answer holds, whatever has changed since.
        if key and (known := await call.services.accepting.recall(call.caller, key)):
            return replay(known, 202)
        raise


async def _send(
    call: Call,
    raw: bytes,
    body: Any,  # noqa: ANN401 - any JSON
    key: Idempotency | None,
) -> web.Response:
    """Accept a message. Its key is looked up first only if files would be stored: most are new."""
    request = read_request(shapes.SendRequest, raw, body)
    accepting = call.services.accepting
    has_files = not isinstance(request, Malformed) and bool(request.attachments)
    if key and has_files and (known := await accepting.recall(call.caller, key)):
        return replay(known, 202)
    return accepted(await accepting.accept(call.caller, [request], key))


async def send_batch(call: Call) -> web.Response:
    """Accept up to 1,000 messages, each on its own."""
    raw = await call.request.read()
    body = parse_json(raw)
    key = await idempotency(call, "batch", body, many, size=len(raw))
    if key and (known := await call.services.accepting.recall(call.caller, key)):
        return await _complete(call, key, known, body)
    requests = await read_items(_items(body))
    results = await call.services.accepting.accept(call.caller, requests, key, is_batch=True)
    if isinstance(results, Replayed):
        return replay(results, 207)
    return await respond_many(many(results))


async def _complete(
    call: Call,
    key: Idempotency,
    known: Replayed,
    body: Any,  # noqa: ANN401 - any JSON
) -> web.Response:
    """Answer a repeated batch. Messages that were answered 503 have not been judged: try them."""
    lacking = unanswered(known)
    if not lacking:
        return replay(known, 207)
    items = _items(body)
    answer = completing(known, lacking)
    requests = await read_items([items[n] for n in lacking])
    key = replace(key, before=known.answer, answer=lambda results: as_json_bytes(answer(results)))
    results = await call.services.accepting.accept(call.caller, requests, key, is_batch=True)
    if isinstance(results, Replayed):
        return replay(results, 207)
    if key.answer(results) == known.answer:  # all of these were answered 503 again
        return replay(known, 207)
    return await respond_many(answer(results))


async def check(call: Call) -> web.Response:
    """Say what would be sent, and every reason why it would not; nothing is stored."""
    raw = await call.request.read()
    request = read_request(shapes.SendRequest, raw, parse_json(raw))
    (draft,) = await drafts(call.services.drafting, call.caller, [request])
    return respond(preview(request.channel, draft))


async def get(call: Call) -> web.Response:
    """One message."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await messages.get(db, call.organization_id, call.id)
    return respond(shown(found("message", row)))


async def events(call: Call) -> web.Response:
    """What happened to one message."""
    async with call.services.database.as_caller(call.caller) as db:
        found("message", await messages.get(db, call.organization_id, call.id))
        page = await messages.events(
            db, call.organization_id, call.id, call.cursor, call.query.limit
        )
    return respond_page(page)


async def search(call: Call) -> web.Response:
    """One page of messages that pass every filter."""
    query: shapes.MessageQuery = call.query
    async with call.services.database.as_caller(call.caller, is_still=True) as db:
        wanted = await message_filter(db, call.organization_id, query)
        page = await messages.search(
            db, call.organization_id, wanted, call.cursor, query.limit, most_bytes=MOST_BYTES
        )
    return respond_page(page, shown)


async def cancel(call: Call) -> web.Response:
    """Cancel a message that no worker has taken up."""
    row = await canceling.cancel(call.services.database, call.caller, call.id, source="api")
    return respond(shown(row))


async def retry(call: Call) -> web.Response:
    """Send a failed message again, as a new one with `retry_of`."""
    accepting, caller = call.services.accepting, call.caller
    key = await idempotency(call, f"retry {call.id}", None, one)
    if key and (known := await accepting.recall(caller, key)):
        return replay(known, 202)
    try:
        return accepted(await accepting.retry(caller, call.id, key))
    except Problem:
        # The same request may have come twice at once: then the other one is why this was refused.
        if key and (known := await accepting.recall(caller, key)):
            return replay(known, 202)
        raise


def _items(body: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    given = body if isinstance(body, dict) else {}
    if len(given) > MOST_ERRORS:
        raise invalid([FieldError("body", TOO_MANY_ERRORS)])
    items: list[Any] | None = given.get("messages")
    errors = [
        FieldError(name or "body", "is not a field of this request")
        for name in sorted({*given} - {"messages"})
    ]
    if not isinstance(items, list):
        raise invalid([FieldError("messages", "is required: a list of messages"), *errors])
    if errors:
        raise invalid(errors)
    if not 1 <= len(items) <= _BATCH:
        raise invalid([FieldError("messages", f"must hold 1 to {_BATCH}, it holds {len(items)}")])
    return items


async def read_items(
    items: Sequence[object],
) -> list[shapes.SendRequest | Malformed[shapes.SendRequest]]:
    """The messages of a batch; other requests have their turn in between."""
    requests: list[shapes.SendRequest | Malformed[shapes.SendRequest]] = []
    for n, item in enumerate(items):
        if n % _AT_ONCE == 0:  # a thousand large messages take half a second
            await asyncio.sleep(0)
        requests.append(_item(item))
    return requests


def _item(item: object) -> shapes.SendRequest | Malformed[shapes.SendRequest]:
    return read_request(shapes.SendRequest, pydantic_core.to_json(item), item)


SEND = Endpoint(
    method="POST",
    path="/v1/messages",
    handler=send,
    summary="Send a message",
    status=202,
    body=shapes.SendRequest,
    answer=shapes.Message,
    reads_body_itself=True,
    headers=("Idempotency-Key",),
    conflicts=True,
)
ENDPOINTS = [
    SEND,
    Endpoint(
        method="POST",
        path="/v1/messages/batch",
        handler=send_batch,
        status=207,
        summary="Send up to 1,000 messages",
        body=shapes.BatchRequest,
        answer=shapes.BatchAnswer,
        reads_body_itself=True,
        headers=("Idempotency-Key",),
        conflicts=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/messages/check",
        handler=check,
        summary="Say what would be sent, store nothing",
        body=shapes.SendRequest,
        answer=shapes.CheckAnswer,
        reads_body_itself=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/messages",
        handler=search,
        summary="Find messages",
        query=shapes.MessageQuery,
        answer=Listed[shapes.Message],
    ),
    Endpoint(
        method="GET",
        path="/v1/messages/{id}",
        handler=get,
        summary="One message",
        answer=shapes.Message,
    ),
    Endpoint(
        method="GET",
        path="/v1/messages/{id}/events",
        handler=events,
        summary="What happened to a message",
        query=PageQuery,
        answer=Listed[shapes.Event],
    ),
    Endpoint(
        method="POST",
        path="/v1/messages/{id}/cancel",
        handler=cancel,
        summary="Cancel a pending message",
        answer=shapes.Message,
        conflicts=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/messages/{id}/retry",
        handler=retry,
        status=202,
        summary="Send a failed message again",
        answer=shapes.Message,
        headers=("Idempotency-Key",),
        conflicts=True,
    ),
]
