"""/v1/conversations: one history per contact, across all channels."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from aiohttp import web

from gateway import addresses, placing
from gateway.accept import replying
from gateway.accept.malformed import Malformed
from gateway.api.endpoint import Call, Endpoint
from gateway.api.reading import read_request
from gateway.api.sending import accepted, idempotency, one, replay
from gateway.manage import colleagues
from gateway.problems import FieldError, Problem, changed_meanwhile, found, invalid
from gateway.shapes import conversations as shapes
from gateway.shapes.base import Listed, PageQuery
from gateway.shapes.messages import Message, SendRequest
from gateway.shapes.shown import shown, shown_conversation
from gateway.store import contacts, conversations
from gateway.store import messages as stored
from gateway.store.conversations import ConversationFilter
from gateway.store.database import Connection, Staff
from gateway.store.errors import ConflictError
from gateway.store.messages import MessageFilter
from gateway.store.paging import MOST_BYTES
from gateway.store.searching import conversations_matching
from gateway.store.values import Row
from gateway.web.http import parse_json, respond, respond_page


async def search(call: Call) -> web.Response:
    """One page of conversations that pass every filter, the latest first."""
    query: shapes.ConversationQuery = call.query
    async with call.services.database.as_caller(call.caller) as db:
        wanted = ConversationFilter(
            channel=query.channel,
            assigned_to=_assignee(call, query.assigned_to),
            status=query.status,
            unread=query.unread,
        )
        among = None
        if query.q is not None:
            among = await conversations_matching(db, query.q, wanted, call.cursor)
        page = await conversations.search(
            db,
            call.organization_id,
            wanted,
            call.cursor,
            query.limit,
            among=among,
            most_bytes=MOST_BYTES,
        )
    return respond_page(page, shown_conversation)


async def get(call: Call) -> web.Response:
    """One conversation."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await _known(call, db)
    return respond(shown_conversation(row))


async def messages(call: Call) -> web.Response:
    """One page of a conversation's messages, newest first."""
    async with call.services.database.as_caller(call.caller, is_still=True) as db:
        row = await _known(call, db)
        page = await stored.search(
            db,
            call.organization_id,
            MessageFilter(conversation_id=row["id"]),
            call.cursor,
            call.query.limit,
            most_bytes=MOST_BYTES,
        )
    return respond_page(page, shown)


async def reply(call: Call) -> web.Response:
    """Send a message into the conversation."""
    raw = await call.request.read()
    body = parse_json(raw)
    key = await idempotency(call, f"reply {call.id}", body, one, size=len(raw))
    if key and (known := await call.services.accepting.recall(call.caller, key)):
        return replay(known, 202)
    request = read_request(shapes.ReplyRequest, raw, body)
    sending: SendRequest | Malformed[SendRequest]
    async with call.services.database.as_caller(call.caller) as db:
        row = await _known(call, db)
        if isinstance(request, Malformed):
            sending = await replying.complete_rest(db, call.organization_id, row, request)
        else:
            sending = await replying.complete(db, call.organization_id, row, request)
    results = await call.services.accepting.accept(
        call.caller, [sending], key, conversation_id=row["id"]
    )
    return accepted(results)


async def change(call: Call) -> web.Response:
    """Close, reopen or assign a conversation, or mark it as read or unread."""
    changes = call.body.model_dump(mode="json", exclude_unset=True)
    database = call.services.database
    if not await colleagues.can_be_given(database, call.caller, call.body.assigned_to):
        raise _no_colleague()
    try:
        async with database.as_caller(call.caller) as db:
            row = await _known(call, db)
            if not await conversations.change(db, call.organization_id, row["id"], changes):
                raise changed_meanwhile()
            row = await _known(call, db)
    except ConflictError:  # deleted meanwhile
        raise _no_colleague() from None
    return respond(shown_conversation(row))


async def link(call: Call) -> web.Response:
    """Say which lead or client a conversation is with."""
    changes: Mapping[str, UUID | None] = call.body.model_dump(exclude_unset=True)
    if not changes:
        raise invalid([FieldError("lead_id", "is missing: give a lead_id, a client_id, or both")])
    database = call.services.database
    async with database.as_caller(call.caller) as db:
        row = await _known(call, db)
    try:
        async with database.as_service(on_behalf=call.caller) as db:
            if not await conversations.link(db, call.organization_id, row["id"], changes):
                raise changed_meanwhile()
    except ConflictError as conflict:
        raise await _not_linked(call, conflict, changes) from None
    async with database.as_caller(call.caller) as db:
        return respond(shown_conversation(await _known(call, db)))


async def merge(call: Call) -> web.Response:
    """Merge another conversation into this one."""
    other: UUID = call.body.conversation_id
    async with call.services.database.as_caller(call.caller) as db:
        row = await _known(call, db)
        merged = await conversations.get(db, call.organization_id, other)
    if merged is None:
        text = "there is none with that id in your organization"
        raise invalid([FieldError("conversation_id", text)])
    if merged["id"] == row["id"]:
        raise invalid([FieldError("conversation_id", "is this conversation itself")])
    if not await placing.merge(
        call.services.database, call.caller, merged=merged["id"], kept=row["id"]
    ):
        raise Problem(409, "One of them was merged meanwhile: read them again.")
    async with call.services.database.as_caller(call.caller) as db:
        return respond(shown_conversation(await _known(call, db)))


async def unlink(call: Call) -> web.Response:
    """Move an address that is somebody else's into a conversation of its own."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await _known(call, db)
        address = call.body.address
        if address not in row["addresses"]:
            address = addresses.sought(address, await contacts.country(db, call.organization_id))
    new = await placing.set_apart(call.services.database, call.caller, row["id"], address)
    if new is None:
        raise invalid([FieldError("address", "is not one of this conversation's addresses")])
    async with call.services.database.as_caller(call.caller) as db:
        made = await conversations.get(db, call.organization_id, new)
    shown = shown_conversation(found("conversation", made))
    return respond(shown, 201, {"Location": f"/v1/conversations/{new}"})


async def _known(call: Call, db: Connection) -> Row:
    return found("conversation", await conversations.get(db, call.organization_id, call.id))


def _assignee(call: Call, wanted: UUID | str | None) -> UUID | None:
    if not isinstance(wanted, str):
        return wanted
    if not isinstance(call.caller, Staff):
        raise invalid([FieldError("assigned_to", "me: an API key is not a member of staff")])
    return call.caller.id


def _no_colleague() -> Problem:
    text = "is not an active member of staff of your organization"
    return invalid([FieldError("assigned_to", text)])


async def _not_linked(
    call: Call, conflict: ConflictError, changes: Mapping[str, UUID | None]
) -> Problem:
    name = "client_id" if "client" in conflict.constraint else "lead_id"
    if "fkey" in conflict.constraint:
        return invalid([FieldError(name, "there is none with that id in your organization")])
    async with call.services.database.as_caller(call.caller) as db:
        other = await conversations.of_contact(
            db,
            call.organization_id,
            lead_id=changes.get("lead_id") if name == "lead_id" else None,
            client_id=changes.get("client_id") if name == "client_id" else None,
        )
    return Problem(
        409,
        f"This {name.removesuffix('_id')} has another conversation, {other}: "
        f"POST /v1/conversations/{other}/merge makes one of both.",
    )


_ONE = "/v1/conversations/{id}"
ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/conversations",
        handler=search,
        summary="Conversations, the latest first",
        query=shapes.ConversationQuery,
        answer=Listed[shapes.Conversation],
    ),
    Endpoint(
        method="GET",
        path=_ONE,
        handler=get,
        summary="One conversation",
        answer=shapes.Conversation,
    ),
    Endpoint(
        method="PATCH",
        path=_ONE,
        handler=change,
        summary="Close, assign, mark as read",
        body=shapes.ConversationPatch,
        answer=shapes.Conversation,
    ),
    Endpoint(
        method="GET",
        path=f"{_ONE}/messages",
        handler=messages,
        summary="What was said, newest first",
        query=PageQuery,
        answer=Listed[Message],
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/messages",
        handler=reply,
        status=202,
        summary="Reply",
        body=shapes.ReplyRequest,
        answer=Message,
        reads_body_itself=True,
        headers=("Idempotency-Key",),
        conflicts=True,
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/link",
        handler=link,
        summary="Say which lead or client it is with",
        body=shapes.LinkRequest,
        answer=shapes.Conversation,
        conflicts=True,
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/merge",
        handler=merge,
        summary="Make another conversation part of this one",
        body=shapes.MergeRequest,
        answer=shapes.Conversation,
        conflicts=True,
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/unlink",
        handler=unlink,
        status=201,
        summary="Move an address of somebody else's into a conversation of its own",
        body=shapes.UnlinkRequest,
        answer=shapes.Conversation,
        conflicts=True,
    ),
]
