"""Writing a message: a form for each channel, a preview, and sending it only once."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from channels import sms
from channels.model import Channel
from gateway import addresses, registry
from gateway.accept import replying
from gateway.accept.accepted import Idempotency
from gateway.accept.preview import preview
from gateway.accept.recalling import digest_of
from gateway.api.sending import one as sent_answer
from gateway.consent import standing
from gateway.ids import new_id
from gateway.inbox.forms import Findings
from gateway.inbox.talk import contact, listing, thread
from gateway.inbox.talk.typed import Typed
from gateway.inbox.visit import Visit
from gateway.inbox.words import CHANNELS
from gateway.problems import Problem
from gateway.shapes.conversations import ReplyRequest
from gateway.shapes.messages import SendRequest
from gateway.store import conversations, desk
from gateway.store.database import Connection
from gateway.store.values import Row, as_json_bytes
from gateway.web.http import read_json

FIELDS = (
    "channel", "from", "to", "template", "subject", "body", "attachments", "send_at", "all",
)  # fmt: skip

# The notices for an accepted message.
TAKEN = {
    "sent": "Your message is on its way.",
    "later": "Your message is scheduled.",
}


class _UsedError(Exception):
    """The form was sent before, and after going back something else was typed into it."""


class _ChangedError(Exception):
    """The template says something else than it did when it was shown."""


@dataclass(frozen=True, kw_only=True)
class Composing:
    """The form as it stands: the choices, what is typed, what is wrong with it.

    `window_until` is the end of WhatsApp's window, None if it is closed. With `key`, sending the
    same form twice sends one message. `templates` are those that can be sent now; `template` may be
    another one, that was chosen when it could be.
    """

    channels: list[tuple[str, str]]
    channel: str
    their_addresses: list[str]
    senders: list[str]
    templates: list[Row]
    template: Row | None
    typed: Typed
    key: str
    window_until: datetime | None = None
    suppressed: Sequence[Mapping[str, Any]] = ()
    subject: str = ""
    errors: Findings = field(default_factory=Findings)
    checked: Mapping[str, Any] | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether it goes another way than their last message came: that must be seen.

        `begin` has taken out of `typed` what was left as it was offered.
        """
        return self.typed.to in self.their_addresses[1:] or self.typed.from_ in self.senders[1:]

    @property
    def needs_template(self) -> bool:
        """Whether WhatsApp accepts only a template now."""
        return self.channel == Channel.WHATSAPP and self.window_until is None

    def window_left(self, now: datetime) -> str:
        """How long WhatsApp's window stays open, in words."""
        minutes = (
            max(int((self.window_until - now).total_seconds()) // 60, 0) if self.window_until else 0
        )
        if minutes < 60:
            return f"{minutes} min"
        return f"{minutes // 60} h {minutes % 60} min"


async def begin(
    visit: Visit,
    db: Connection,
    row: Row,
    typed: Typed | None = None,
    *,
    errors: Findings | None = None,
    checked: Mapping[str, Any] | None = None,
) -> Composing:
    """The form of a conversation, empty or as it was typed."""
    organization_id = visit.staff.organization_id
    senders = await desk.senders(db, organization_id)
    possible = _possible(row, senders)
    # The channel of a page's query is the list's filter.
    typed = (typed or replace(Typed.of(visit.request.query), channel="")).chosen
    last = await conversations.reply(db, organization_id, row["id"], None)
    channel = typed.channel if typed.channel in possible else ""
    channel = channel or _default(possible, last)
    templates = await desk.templates(db, organization_id, channel) if channel else []
    here = await conversations.reply(db, organization_id, row["id"], channel) if channel else None
    way = here or last or {}
    theirs = _first(possible.get(channel, []), way.get("their_address"))
    senders = [each for each in senders if each["channel"] == channel]
    ours = _first([each["address"] for each in senders], way.get("our_address"))
    template = next((each for each in templates if str(each["id"]) == typed.template), None)
    window_until = None
    if channel == Channel.WHATSAPP:
        to = typed.to if typed.to in theirs else theirs[0]
        from_ = typed.from_ if typed.from_ in ours else ours[0]
        window_until = await standing.window_until(db, organization_id, to, from_)
        if window_until is None:
            provider = next(each["provider"] for each in senders if each["address"] == from_)
            names = set(registry.PROVIDERS[provider].template_names)
            templates = [each for each in templates if names <= set(each["named"])]
    return Composing(
        channels=[(name, CHANNELS[name]) for name in possible],
        channel=channel,
        their_addresses=theirs,
        senders=ours,
        templates=templates,
        template=template,
        typed=typed,
        key=typed.key or str(new_id()),
        window_until=window_until,
        suppressed=await contact.suppressed(visit, db, row),
        subject=_subject(here),
        errors=errors or Findings(),
        checked=checked,
    )


async def part(visit: Visit) -> web.StreamResponse:
    """Only the form, for another channel or template; what was typed stays."""
    typed = Typed.of(await visit.posted())
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.known(visit, db)
        composing = await begin(visit, db, row, typed)
    return visit.page("talk/composer.html", row=row, composing=composing)


async def measure(visit: Visit) -> web.StreamResponse:
    """How many segments an SMS has, while it is typed."""
    body = (await visit.form()).get("body", "").replace("\r\n", "\n")[: 2 * sms.CHARACTERS]
    return visit.page("talk/measure.html", measured=sms.measure(body), most=sms.CHARACTERS)


async def reply(visit: Visit) -> web.StreamResponse:
    """Send what was typed, or preview it."""
    from gateway.inbox.talk import page  # noqa: PLC0415 - the page holds this form

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
    except _ChangedError:
        checked, errors = await _checked(visit, typed)
        errors.setdefault("template", "says something else by now: send that, if you mean to")
    except Problem as problem:
        if problem.status != 422:
            raise
        errors = Findings.of(problem.errors, FIELDS)
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.known(visit, db)
        composing = await begin(visit, db, row, typed, errors=errors, checked=checked)
    status = 422 if errors and typed.do == "send" else 200
    if visit.is_fragment:
        return visit.page("talk/composer.html", status=status, row=row, composing=composing)
    return await page.whole(visit, status=status, compose=composing)


async def _sent(visit: Visit, typed: Typed) -> web.StreamResponse:
    row, request, files = await _request(visit, typed)
    services = visit.services
    digest = digest_of(visit.staff, f"inbox {row['id']}", [typed.as_json(visit.clock.zone), files])
    key = Idempotency(
        key=f"inbox:{typed.key or new_id()}",
        digest=digest,
        answer=lambda results: as_json_bytes(sent_answer(results)),
    )
    try:
        known = await services.accepting.recall(visit.staff, key)
    except Problem:
        raise _UsedError from None
    if known is None:  # else it was sent in time
        typed.must_be_to_come(visit.clock.zone)
        async with services.database.as_caller(visit.staff) as db:
            sending = await replying.complete(db, visit.staff.organization_id, row, request)
            if typed.version and await _is_changed(visit, db, sending, typed.version):
                raise _ChangedError
        results = await services.accepting.accept(
            visit.staff, [sending], key, conversation_id=row["id"]
        )
        if isinstance(results, list) and isinstance(results[0], Problem):
            raise results[0]
    done = "later" if request.send_at and request.send_at > datetime.now(UTC) else "sent"
    if not visit.is_fragment:
        return listing.back(visit, f"/c/{row['id']}", done=done)
    async with services.database.as_caller(visit.staff) as db:
        composing = await begin(visit, db, row, Typed(channel=typed.channel))
    response = visit.page("talk/composer.html", row=row, composing=composing, taken=TAKEN[done])
    response.headers["HX-Trigger-After-Settle"] = "sent"  # focuses the new form
    return response


async def _is_changed(visit: Visit, db: Connection, sending: SendRequest, version: str) -> bool:
    """Whether its template does not say any more what it did in this version."""
    rows = await desk.templates(db, visit.staff.organization_id, sending.channel)
    return any(str(row["id"]) == sending.template and row["version"] != version for row in rows)


async def _checked(visit: Visit, typed: Typed) -> tuple[Mapping[str, Any], Findings]:
    """What would be sent, and what is wrong with that; raises `Problem` 422."""
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
        row = await thread.known(visit, db)
    files = [
        {
            "content": base64.b64encode(file.content).decode(),
            "filename": file.name,
            "content_type": file.kind,
        }
        for file in typed.files
    ]
    values = typed.as_json(visit.clock.zone)
    request = read_json(
        ReplyRequest, as_json_bytes(values | ({"attachments": files} if files else {}))
    )
    return row, request, [hashlib.sha256(file.content).hexdigest() for file in typed.files]


def _possible(row: Row, senders: list[Row]) -> dict[str, list[str]]:
    """The channels on which this contact has an address and the organization a sender."""
    fitting = {
        channel: [each for each in row["addresses"] if addresses.fits(channel, each)]
        for channel in Channel
    }
    sending = {each["channel"] for each in senders}
    return {channel: theirs for channel, theirs in fitting.items() if theirs and channel in sending}


def _default(possible: Mapping[str, list[str]], last: Row | None) -> str:
    """The channel of their last message; a call is answered in writing where that is possible."""
    if last and last["channel"] in possible and last["channel"] != Channel.CALL:
        return str(last["channel"])
    order = (Channel.SMS, Channel.WHATSAPP, Channel.EMAIL, Channel.CALL)
    return next((channel for channel in order if channel in possible), "")


def _first(options: list[str], one: str | None) -> list[str]:
    """The options, beginning with one if it is among them."""
    return sorted(options, key=lambda each: each != one)


def _subject(last: Row | None) -> str:
    """The subject of an e-mail that answers."""
    return replying.subject_of(last["subject"]) if last and last["subject"] else ""
