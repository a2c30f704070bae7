"""Accept: request → rendered row and queue entry → 202. Nothing is answered before it is stored.

Two transactions: one reads, as the caller, everything that the requests refer to; one stores all
of them as `service_role`, with the organization of the caller and nothing else from the request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from channels import phone, sms
from channels.model import Channel, Content
from channels.render import Renderer
from gateway.api.shapes import SendRequest
from gateway.compose import BUILT_CHANNELS, ContentProblem, Template, compose, compose_template
from gateway.ids import new_id
from gateway.problems import FieldError, Problem, invalid, not_found
from gateway.store import contacts, messages
from gateway.store.database import ApiKey, Caller, Database
from gateway.store.reports import event_id

_PRIORITIES = {"high": 0, "normal": 1, "bulk": 2}

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A request that has been read in its context: what would be stored, and what is wrong."""

    errors: tuple[FieldError, ...]
    from_address: str | None = None
    to_address: str | None = None
    content: Content | None = None
    lead_id: UUID | None = None
    client_id: UUID | None = None
    template_id: UUID | None = None
    sender_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """The answer that was given under this idempotency key before."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An Idempotency-Key and the digest of the request that came with it."""

    key: str
    digest: bytes

    @classmethod
    def of(cls, key: str, caller: Caller, kind: str, body: object) -> Idempotency:
        """Two bodies are the same when they are equal as parsed JSON.

        A test key's answer never stands in for a live one: whose key it is belongs to the digest.
        """
        is_test = isinstance(caller, ApiKey) and caller.is_test
        text = orjson.dumps([kind, is_test, _canonical(body)], option=orjson.OPT_SORT_KEYS)
        return cls(key, hashlib.sha256(text).digest())


class Accepting:
    """The coordinator of accept."""

    def __init__(self, database: Database, renderer: Renderer) -> None:
        self._database = database
        self._renderer = renderer

    async def recall(self, caller: Caller, idempotency: Idempotency) -> Replayed | None:
        """The first answer under this key; raises `Problem` 409 when that was another request."""
        async with self._database.as_service() as db:
            kept = await messages.recall(db, caller.organization_id, idempotency.key)
        if kept is None:
            return None
        if kept.request_hash != idempotency.digest:
            raise Problem(
                409,
                "This Idempotency-Key was used with another request: "
                "use a new key for a new request.",
            )
        return Replayed(kept.answer)

    async def draft(self, caller: Caller, requests: Sequence[SendRequest]) -> list[Draft]:
        """Read and render requests without storing anything."""
        async with self._database.as_caller(caller) as db:
            context = await contacts.context(db, caller.organization_id, _wanted(requests))
        now = datetime.now(UTC)
        return [await self._draft(request, context, now) for request in requests]

    async def accept(
        self,
        caller: Caller,
        requests: Sequence[SendRequest | Problem],
        idempotency: Idempotency | None = None,
        answer: Any = None,  # noqa: ANN401 - callable, see below
    ) -> list[Row | Problem] | Replayed:
        """Store every request that is right; for each, in order, its row or its problem.

        With an idempotency key the answer's bytes (`answer(results)`) are kept in the same
        transaction, or, when a concurrent request was first, its answer comes back.
        """
        drafts = iter(await self.draft(caller, [r for r in requests if isinstance(r, SendRequest)]))
        results: list[Row | Problem] = []
        rows: list[Row] = []
        is_test = isinstance(caller, ApiKey) and caller.is_test
        for request in requests:
            if isinstance(request, Problem):
                results.append(request)
                continue
            draft = next(drafts)
            if draft.errors:
                results.append(invalid(draft.errors))
                continue
            row = _row(request, draft, is_test=is_test)
            rows.append(row)
            results.append(row)
        return await self._store(caller, results, rows, idempotency, answer)

    async def retry(self, caller: Caller, message_id: UUID) -> Row:
        """A new message like a failed one, with `retry_of`; raises `Problem` 404 or 409."""
        async with self._database.as_caller(caller) as db:
            old = await messages.get(db, caller.organization_id, message_id)
        if old is None:
            raise not_found("message")
        if old["direction"] != "outbound" or old["status"] != "failed":
            raise Problem(
                409, f"Only a failed message can be sent again; this one is {old['status']}."
            )
        request = SendRequest.model_construct(
            channel=Channel(old["channel"]),
            from_=old["from_address"],
            to=old["to_address"],
            body=old["body"],
            lead_id=old["lead_id"],
            client_id=old["client_id"],
            reference=old["reference"],
            metadata={k: v for k, v in (old["metadata"] or {}).items() if k != "provider"},
        )
        draft = (await self.draft(caller, [request]))[0]
        if draft.errors:
            raise invalid(draft.errors)
        is_test = isinstance(caller, ApiKey) and caller.is_test
        row = _row(request, draft, is_test=is_test) | {
            "retry_of": old["id"],
            "template_id": old["template_id"],
        }
        stored = await self._store(caller, [row], [row], None, None)
        assert not isinstance(stored, Replayed)  # noqa: S101 - no key was given
        only = stored[0]
        assert not isinstance(only, Problem)  # noqa: S101 - it is the row itself
        return only

    async def _store(
        self,
        caller: Caller,
        results: list[Row | Problem],
        rows: list[Row],
        idempotency: Idempotency | None,
        answer: Any,  # noqa: ANN401
    ) -> list[Row | Problem] | Replayed:
        if not rows:
            return results
        try:
            async with self._database.as_service() as db:
                stored = {
                    row["id"]: row
                    for row in await messages.accept(db, caller.organization_id, rows)
                }
                final = [r if isinstance(r, Problem) else stored[r["id"]] for r in results]
                if idempotency and not await messages.remember(
                    db,
                    caller.organization_id,
                    idempotency.key,
                    idempotency.digest,
                    answer(final),
                ):
                    raise _SecondError
        except _SecondError:
            assert idempotency  # noqa: S101 - raised only with a key
            replayed = await self.recall(caller, idempotency)
            if replayed is None:
                raise Problem(409, "A request with this Idempotency-Key is under way.") from None
            return replayed
        return final

    async def _draft(self, request: SendRequest, context: contacts.Context, now: datetime) -> Draft:
        errors = _shape_errors(request, now)
        if request.channel not in BUILT_CHANNELS:
            return Draft(errors=tuple(errors))
        to_address, contact_errors = _recipient(request, context)
        errors += contact_errors
        sender, sender_errors = _sender(request, context)
        errors += sender_errors
        content, template_id, content_errors = await self._content(request, context)
        errors += content_errors
        lead_id, client_id = _links(request, to_address, context)
        return Draft(
            errors=tuple(errors),
            from_address=sender["address"] if sender else None,
            to_address=to_address,
            content=content,
            lead_id=lead_id,
            client_id=client_id,
            template_id=template_id,
            sender_id=UUID(sender["id"]) if sender else None,
        )

    async def _content(
        self, request: SendRequest, context: contacts.Context
    ) -> tuple[Content | None, UUID | None, list[FieldError]]:
        if request.template is None:
            if request.body is None:
                return None, None, []
            try:
                return compose(request.channel, request.body), None, []
            except ContentProblem as problem:
                return None, None, list(problem.errors)
        found = _template(request.template, request.channel, context)
        if isinstance(found, FieldError):
            return None, None, [found]
        try:
            content = await compose_template(self._renderer, found, request.variables)
        except ContentProblem as problem:
            return None, found.id, list(problem.errors)
        return content, found.id, []


class _SecondError(Exception):
    """A concurrent request with the same idempotency key was stored first."""


def _wanted(requests: Sequence[SendRequest]) -> contacts.Wanted:
    names = {r.template for r in requests if r.template is not None}
    ids = {name: _uuid(name) for name in names}
    tos = {r.to for r in requests if r.to is not None}
    froms = {r.from_ for r in requests if r.from_ is not None}
    return contacts.Wanted(
        lead_ids=list({r.lead_id for r in requests if r.lead_id}),
        client_ids=list({r.client_id for r in requests if r.client_id}),
        template_ids=[found for found in ids.values() if found],
        template_names=[name for name, found in ids.items() if not found],
        channels=[str(channel) for channel in {r.channel for r in requests}],
        senders=list(froms | {e for f in froms if (e := phone.to_e164(f, None))}),
        tails=list({t for to in tos if (t := phone.tail(to))}),
        emails=[],
    )


def _shape_errors(request: SendRequest, now: datetime) -> list[FieldError]:
    """What is wrong with a request whatever its context."""
    errors: list[FieldError] = []
    if request.channel not in BUILT_CHANNELS:
        built = ", ".join(BUILT_CHANNELS)
        errors.append(
            FieldError("channel", f"{request.channel} is not built yet; there is {built}")
        )
    errors += [
        FieldError(name, f"is not used on the channel {request.channel}")
        for name in ("subject", "html_body")
        if getattr(request, name) is not None
    ]
    errors += [
        FieldError(name, "is not built yet: leave it out")
        for name in ("attachments", "fallback")
        if getattr(request, name)
    ]
    if request.template is None and request.body is None:
        errors.append(FieldError("body", "is missing: give a template or a body"))
    if request.template is not None and request.body is not None:
        errors.append(FieldError("body", "cannot be given together with a template"))
    if request.template is None and request.variables:
        errors.append(FieldError("variables", "are used with a template only"))
    if request.to is None and request.lead_id is None and request.client_id is None:
        errors.append(FieldError("to", "is missing: give an address, a lead_id or a client_id"))
    if request.expires_at and request.expires_at <= now:
        errors.append(FieldError("expires_at", "is in the past"))
    elif request.expires_at and request.send_at and request.expires_at <= request.send_at:
        errors.append(FieldError("expires_at", "must be later than send_at"))
    if "provider" in request.metadata:
        errors.append(FieldError("metadata.provider", "is where the provider's own words stand"))
    if not _storable(request.metadata):
        errors.append(
            FieldError("metadata", "must be well-formed text without U+0000, 64 KiB at most")
        )
    return errors


def _storable(value: Mapping[str, Any]) -> bool:
    try:
        text = orjson.dumps(value)
    except (TypeError, ValueError):
        return False
    return len(text) <= 65_536 and not _holds_nul(value)


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, Mapping):
        return any(_holds_nul(k) or _holds_nul(v) for k, v in value.items())
    if isinstance(value, list):
        return any(_holds_nul(item) for item in value)
    return False


def _recipient(
    request: SendRequest, context: contacts.Context
) -> tuple[str | None, list[FieldError]]:
    """The address to send to, from the request or from the contact that it names."""
    errors: list[FieldError] = []
    people: list[tuple[str, Row]] = []
    for name, wanted, rows in (
        ("lead_id", request.lead_id, context.leads),
        ("client_id", request.client_id, context.clients),
    ):
        if wanted is None:
            continue
        row = _by_id(rows, wanted)
        if row is None:
            errors.append(FieldError(name, "there is none of that id in your organization"))
        else:
            people.append((name, row))
    if request.to is not None:
        address = phone.to_e164(request.to, context.country)
        if address is None:
            errors.append(FieldError("to", _not_a_number(context.country)))
        return address, errors
    for name, row in people:
        address = phone.to_e164(row["phone"] or "", context.country)
        if address is not None:
            return address, errors
        errors.append(FieldError(name, "has no phone number that a message could be sent to"))
    return None, errors


def _not_a_number(country: str | None) -> str:
    national = (
        f"or a national number of {country}"
        if country
        else "national numbers need organizations.settings.country"
    )
    return f"is no possible phone number: write it as +15551230001, {national}"


def _sender(request: SendRequest, context: contacts.Context) -> tuple[Row | None, list[FieldError]]:
    senders = [s for s in context.senders if s["channel"] == request.channel]
    if request.from_ is None:
        default = next((s for s in senders if s["is_default"]), None)
        if default is None:
            return None, [
                FieldError(
                    "from", f"is missing, and the channel {request.channel} has no default sender"
                )
            ]
        return default, []
    wanted = {request.from_, phone.to_e164(request.from_, context.country)}
    found = next((s for s in senders if s["address"] in wanted), None)
    if found is None:
        return None, [
            FieldError("from", f"is no active sender of your organization on {request.channel}")
        ]
    return found, []


def _template(wanted: str, channel: Channel, context: contacts.Context) -> Template | FieldError:
    by_id = _uuid(wanted)
    rows = [
        row
        for row in context.templates
        if (UUID(row["id"]) == by_id if by_id else row["name"] == wanted)
    ]
    if not rows:
        return FieldError("template", "there is no active template of that name or id")
    row = next((row for row in rows if row["type"] == channel), None)
    if row is None:
        return FieldError("template", f"is of type {rows[0]['type']}, not {channel}")
    if not row["is_active"]:
        return FieldError("template", "is not active")
    return Template(
        id=UUID(row["id"]), channel=channel, subject=row["subject"], source=row["content"]
    )


def _links(
    request: SendRequest, to_address: str | None, context: contacts.Context
) -> tuple[UUID | None, UUID | None]:
    """The lead and the client of a message: those it names, else the newest with its address."""
    known = {
        kind: next(
            (
                UUID(row["id"])
                for row in context.known
                if row["kind"] == kind
                and to_address is not None
                and phone.to_e164(row["phone"] or "", context.country) == to_address
            ),
            None,
        )
        for kind in ("lead", "client")
    }
    return request.lead_id or known["lead"], request.client_id or known["client"]


def _row(request: SendRequest, draft: Draft, *, is_test: bool) -> Row:
    content = draft.content
    assert content is not None  # noqa: S101 - a draft without errors has one
    message_id = new_id()
    return {
        "id": message_id,
        "channel": request.channel,
        "from_address": draft.from_address,
        "to_address": draft.to_address,
        "lead_id": draft.lead_id,
        "client_id": draft.client_id,
        "subject": content.subject,
        "body": content.body,
        "html_body": content.html_body,
        "attachments": [],
        "metadata": request.metadata,
        "template_id": draft.template_id,
        "reference": request.reference,
        "send_at": request.send_at,
        "expires_at": request.expires_at,
        "retry_of": None,
        "sender_id": draft.sender_id,
        "priority": _PRIORITIES[request.priority],
        "is_test": is_test,
        "event_id": event_id(message_id, "accepted"),
        "source": "api",
    }


def preview(request: SendRequest, draft: Draft) -> Row:
    """The answer of `/v1/messages/check`."""
    measured = sms.measure(draft.content.body) if draft.content else None
    return {
        "ok": not draft.errors,
        "errors": [{"field": e.field, "message": e.message} for e in draft.errors],
        "from": draft.from_address,
        "to": draft.to_address,
        "parts": {"body": draft.content.body} if draft.content else None,
        "encoding": measured.encoding if measured else None,
        "segments": measured.segments if measured else None,
        "forced_by": measured.forced_by if measured else None,
    }


def _by_id(rows: Sequence[Row], wanted: UUID) -> Row | None:
    return next((row for row in rows if UUID(row["id"]) == wanted), None)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _canonical(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value) if abs(value) < 2**53 else value
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value
