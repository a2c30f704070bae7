"""A reply goes the way that the contact's last message came, unless the request says otherwise."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from channels import email
from channels.model import Channel
from channels.text import is_control
from gateway import addresses
from gateway.accept.malformed import Malformed
from gateway.problems import FieldError, Problem, invalid
from gateway.shapes.conversations import ReplyRequest
from gateway.shapes.messages import SendRequest
from gateway.store import conversations
from gateway.store.database import Connection
from gateway.store.values import Row

_REPLY = re.compile(r"\s*re\s*:", re.IGNORECASE)


async def complete(
    db: Connection, organization_id: UUID, conversation: Row, request: ReplyRequest
) -> SendRequest:
    """The complete request to send; raises `Problem` 422 if channel or address are unknown."""
    last = await conversations.reply(db, organization_id, conversation["id"], request.channel)
    channel = request.channel or (Channel(last["channel"]) if last else None)
    if channel is None:
        raise invalid([FieldError("channel", "is missing: nothing was said here yet")])
    given = {name: getattr(request, name) for name in request.model_fields_set}
    complete = {"channel": channel} | _addresses(channel, conversation, request, last)
    if last is not None and channel is Channel.EMAIL:
        complete |= _thread(request, last)
    return SendRequest.model_construct(
        **{**given, **{name: value for name, value in complete.items() if value is not None}}
    )


async def complete_rest(
    db: Connection, organization_id: UUID, conversation: Row, malformed: Malformed[ReplyRequest]
) -> Malformed[SendRequest]:
    """The same for a malformed reply; problems of completing it are added to its errors."""
    try:
        rest = [await complete(db, organization_id, conversation, each) for each in malformed.rest]
    except Problem as problem:
        errors = (*malformed.errors, *malformed.about_given(problem.errors))
        return Malformed(errors=errors, unread=malformed.unread)
    return Malformed(errors=malformed.errors, unread=malformed.unread, rest=tuple(rest))


def _addresses(
    channel: Channel, conversation: Row, request: ReplyRequest, last: Row | None
) -> dict[str, Any]:
    is_named = any((request.to, request.lead_id, request.client_id))
    to = None if is_named else last["their_address"] if last else _reach(channel, conversation)
    if not is_named and not to:
        text = f"is missing: no address of this contact is known that {channel} could go to"
        raise invalid([FieldError("to", text)])
    return {"to": to, "from_": None if request.from_ or not last else last["our_address"]}


def _reach(channel: Channel, conversation: Row) -> str | None:
    """An address of the contact that this channel can go to."""
    fitting = (each for each in conversation["addresses"] if addresses.fits(channel, each))
    return next(fitting, None)


def _thread(request: ReplyRequest, last: Row) -> dict[str, Any]:
    """Subject and thread of the last e-mail, unless the request names others."""
    subject = None
    if request.subject is None and request.template is None:
        subject = subject_of(last["subject"])
    is_answer = request.in_reply_to is None and last["is_theirs"]
    return {"subject": subject, "in_reply_to": last["id"] if is_answer else None}


def subject_of(subject: str | None) -> str:
    """The subject of an answer: with one Re: before it, without characters that cannot be sent.

    For a mail that came without one it is Re: alone, because a mail cannot leave without a subject.
    """
    said = "".join(" " if is_control(each) else each for each in subject or "")
    answer = said if _REPLY.match(said) else f"Re: {said}".rstrip()
    return answer[: email.SUBJECT_CHARACTERS]
