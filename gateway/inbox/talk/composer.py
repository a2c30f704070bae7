"""Writing a message: a form for each channel, a preview, and sending it only once."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiohttp import web

from channels import sms
from gateway import placing
from gateway.accept import replying
from gateway.accept.accepted import Idempotency
from gateway.accept.keeping import Result
from gateway.accept.preview import preview
from gateway.accept.recalling import Replayed, digest_of
from gateway.api.sending import one as sent_answer
from gateway.ids import new_id
from gateway.inbox.forms import Findings
from gateway.inbox.talk import begin, composing, contact, listing, page, thread
from gateway.inbox.talk.typed import Typed
from gateway.inbox.visit import Visit
from gateway.problems import FieldError, Problem, invalid
from gateway.shapes.conversations import ReplyRequest
from gateway.shapes.messages import SendRequest
from gateway.store import desk
from gateway.store.database import Connection
from gateway.store.values import Row, as_json_bytes
from gateway.web.http import read_json

FIELDS = (
    "channel", "from", "to", "template", "subject", "body", "attachments", "send_at", "all",
)  # fmt: skip


class _UsedError(Exception):
    """The form was sent before with other contents: somebody went back and changed it."""


class _MeanwhileError(Exception):
    """The lead or client had no conversation when the form was made, and has one now."""

    def __init__(self, conversation_id: UUID) -> None:
        super().__init__("they have a conversation by now")
        self.conversation_id = conversation_id


class _ChangedError(Exception):
    """The template's text has changed since it was shown."""


async def part(visit: Visit) -> web.StreamResponse:
    """Only the form, for another channel or template; what was typed stays."""
    return await _form(visit, Typed.of(await visit.posted()))


async def measure(visit: Visit) -> web.StreamResponse:
    """How many segments an SMS has, while it is typed."""
    body = (await visit.form()).get("body", "").replace("\r\n", "\n")[: 2 * sms.CHARACTERS]
    return visit.page("talk/measure.html", measured=sms.measure(body), most=sms.CHARACTERS)


async def reply(visit: Visit) -> web.StreamResponse:
    """Send what was typed, or preview it."""
    typed = Typed.of(await visit.posted())
    checked: Mapping[str, Any] | None = None
    errors = Findings()
    try:
        if typed.do == "send":
            return await _sent(visit, typed)
        if typed.do == "check":
            checked, errors = await _checked(visit, typed)
    except _UsedError:
        typed = replace(typed, key="")
        errors = Findings(
            all="was sent already, with a different text: send this one, too, if you mean to"
        )
    except _MeanwhileError as error:
        if visit.is_fragment:  # drafts.js moves the draft there
            return listing.back(visit, f"/c/{error.conversation_id}", done="meanwhile")
        errors = Findings(all="was not sent: they have a conversation by now, write to them there")
    except _ChangedError:
        checked, errors = await _checked(visit, typed)
        errors.setdefault("template", "says something else by now: send that, if you mean to")
    except Problem as problem:
        if problem.status != 422:
            raise
        errors = Findings.of(problem.errors, FIELDS)
    status = 422 if errors and typed.do == "send" else 200
    if visit.is_fragment:
        return await _form(visit, typed, status=status, errors=errors, checked=checked)
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.whom(visit, db)
        form = await composing.begin(visit, db, row, typed, errors=errors, checked=checked)
    whole = page.whole if row["id"] else begin.whole
    return await whole(visit, status=status, compose=form)


async def _form(
    visit: Visit,
    typed: Typed,
    *,
    status: int = 200,
    errors: Findings | None = None,
    checked: Mapping[str, Any] | None = None,
    **more: str,
) -> web.Response:
    """Only the form."""
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.whom(visit, db)
        form = await composing.begin(visit, db, row, typed, errors=errors, checked=checked)
        theirs = [*row["addresses"], *form.further]
        suppressed = await contact.suppressed(visit, db, theirs)
    return visit.page(
        "talk/composer.html", status=status, composing=form, suppressed=suppressed, **more
    )


async def _sent(visit: Visit, typed: Typed) -> web.StreamResponse:
    row, request, files = await _request(visit, typed)
    services = visit.services
    # Without the path: if the answer was lost, the draft moves to the conversation that it began.
    digest = digest_of(visit.staff, "inbox", [typed.as_json(visit.clock.zone), files])
    key = Idempotency(
        key=f"inbox:{typed.key or new_id()}",
        digest=digest,
        answer=lambda results: as_json_bytes(sent_answer(results)),
    )
    answer: Replayed | Sequence[Result] | None = await _replayed(visit, key)
    if answer is None:  # otherwise it was sent before, when all of this was in order
        typed.must_be_to_come(visit.clock.zone)
        if row["id"] is None and row["conversation_id"] is not None:
            raise _MeanwhileError(row["conversation_id"])
        if row["id"] is None and request.to not in row["addresses"]:
            text = "is none of their addresses, or has a conversation by now: look at it again"
            raise invalid([FieldError("to", text)])
        async with services.database.as_caller(visit.staff) as db:
            sending = await replying.complete(db, visit.staff.organization_id, row, request)
            if typed.version and await _is_changed(visit, db, sending, typed.version):
                raise _ChangedError
        try:
            answer = await services.accepting.accept(
                visit.staff, [sending], key, conversation_id=row["id"] or placing.BEGINS
            )
        except Problem:
            answer = await _replayed(visit, key)  # the form may have been sent twice at once
            if answer is None:
                raise
    done = "later" if request.send_at and request.send_at > datetime.now(UTC) else "sent"
    message_id = _message_id(answer)
    if row["id"] is None:
        return listing.back(visit, f"/c/{await thread.at(visit, message_id)}", done=done)
    if not visit.is_fragment or thread.PAST & {*visit.sent_from.query}:
        return listing.back(visit, f"/c/{row['id']}", done=done)
    response = await _form(visit, Typed(channel=typed.channel), taken=composing.TAKEN[done])
    response.headers["HX-Trigger-After-Settle"] = "sent"  # focuses the new form
    return response


async def _replayed(visit: Visit, key: Idempotency) -> Replayed | None:
    """The answer to this form if it was sent before; raises `_UsedError` if it was different."""
    try:
        return await visit.services.accepting.recall(visit.staff, key)
    except Problem:
        raise _UsedError from None


def _message_id(answer: Replayed | Sequence[Result]) -> UUID:
    """The id of the message that was sent now or before; raises the `Problem` if it was refused."""
    if isinstance(answer, Replayed):
        return UUID(json.loads(answer.answer)["id"])
    (result,) = answer
    if isinstance(result, Problem):
        raise result
    return UUID(str(result["id"]))


async def _is_changed(visit: Visit, db: Connection, sending: SendRequest, version: str) -> bool:
    """Whether the template's text is no longer that of this version."""
    rows = await desk.templates(db, visit.staff.organization_id, sending.channel)
    return any(str(row["id"]) == sending.template and row["version"] != version for row in rows)


async def _checked(visit: Visit, typed: Typed) -> tuple[Mapping[str, Any], Findings]:
    """What would be sent, and its errors; raises `Problem` 422."""
    row, request, _ = await _request(visit, typed)
    typed.must_be_to_come(visit.clock.zone)
    async with visit.services.database.as_caller(visit.staff) as db:
        sending = await replying.complete(db, visit.staff.organization_id, row, request)
    (draft,) = await visit.services.drafting.read(visit.staff, [sending])
    checked = preview(sending.channel, draft)
    errors = Findings({each["field"]: each["message"] for each in checked["errors"]})
    return checked, errors.placed(FIELDS)


async def _request(visit: Visit, typed: Typed) -> tuple[Row, ReplyRequest, list[str]]:
    """The conversation, what was typed as /v1 reads it, and the digests of its files."""
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.whom(visit, db)
    files = [
        {
            "content": base64.b64encode(file.content).decode(),
            "filename": file.name,
            "content_type": file.kind,
        }
        for file in typed.files
    ]
    values = typed.as_json(visit.clock.zone) | ({"attachments": files} if files else {})
    if row["id"] is None:
        values[f"{row['kind']}_id"] = visit.id
    request = read_json(ReplyRequest, as_json_bytes(values))
    return row, request, [hashlib.sha256(file.content).hexdigest() for file in typed.files]
