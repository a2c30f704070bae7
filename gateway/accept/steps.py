"""The steps of a fallback: each is read like a message of its own, when the first is accepted.

What a step does not say it has from that first message: the same person, elsewhere, and its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from uuid import UUID

from channels.model import Channel
from gateway.accept import recipients
from gateway.accept.draft import Draft
from gateway.accept.known import Known
from gateway.ids import derived_id
from gateway.problems import FieldError
from gateway.shapes.messages import FallbackStep, SendRequest
from gateway.store.contacts import Row

# Characters of a subject that was not given: as many as one line of a mail's head should have.
_SUBJECT = 70


def sought(request: SendRequest) -> Iterator[SendRequest]:
    """What a request refers to, and each of its steps as far as it says so itself."""
    yield request
    for step in request.fallback or ():
        yield _request(step, request, step.to, step.body)


def request_of(step: FallbackStep, request: SendRequest, first: Draft, known: Known) -> SendRequest:
    """The complete request that a step is, beside the draft of the first message."""
    to, body = step.to, step.body
    if to is None and first.to_address is not None:
        to = recipients.elsewhere(request, first.to_address, step.channel, known)
    if body is None and step.template is None and first.content is not None:
        body = first.content.body or None
    said = _request(step, request, to, body)
    if step.channel is not Channel.EMAIL or step.template is not None:
        return said
    subject = (first.content.subject if first.content else None) or request.subject
    return said.model_copy(update={"subject": subject or _beginning(body or "")})


def _beginning(text: str) -> str:
    """The subject of a mail of which nobody has said one: its first line, as far as it is shown."""
    line = " ".join(text.strip().partition("\n")[0].split())
    if len(line) <= _SUBJECT:
        return line
    return line[:_SUBJECT].rpartition(" ")[0] + "…" if " " in line[:_SUBJECT] else line[:_SUBJECT]


def _request(
    step: FallbackStep, request: SendRequest, to: str | None, body: str | None
) -> SendRequest:
    return SendRequest.model_construct(
        channel=step.channel,
        to=to,
        template=step.template,
        variables=request.variables if step.template is not None else {},
        body=body,
        send_at=request.send_at,  # not earlier than that, which may be after WhatsApp's window
        # Their own address is not meant where the first message goes to somebody else's.
        lead_id=request.lead_id if to is not None else None,
        client_id=request.client_id if to is not None else None,
    )


def joined(request: SendRequest, first: Draft, steps: Sequence[Draft]) -> Draft:
    """The draft of a request with those of its steps, and all their errors."""
    if not request.fallback:
        return first
    errors = [
        FieldError(f"fallback.{n}.{error.field}", error.message)
        for n, (step, made) in enumerate(zip(request.fallback, steps, strict=True))
        for error in _errors(step, first, made)
    ]
    return replace(first, errors=(*first.errors, *errors), steps=tuple(steps))


def _errors(step: FallbackStep, first: Draft, made: Draft) -> Iterator[FieldError]:
    """What is wrong with a step, named as its own fields are; not what the first message lacks."""
    for error in made.errors:
        name, text = error.field, error.message
        if name in ("lead_id", "client_id"):  # the first message's own
            continue
        if name == "to" and step.to is None and made.to_address is None:
            if first.to_address is None:
                continue
            text = f"is missing: no address of this contact is known that {step.channel} can go to"
        elif name == "body" and step.body is None and first.content is None:
            continue
        elif name == "from":
            name, text = "channel", f"has no default sender: add one for {step.channel}"
        elif name == "subject":
            name = "body" if step.template is None else "template"
            text = f"{text} Use a template that has one."
        yield FieldError(name, text)


def rows(message_id: UUID, request: SendRequest, draft: Draft, priority: int) -> list[Row]:
    """The messages that steps become, as they are kept until they are due.

    Their ids follow from the first message's, so that none is ever stored twice.
    """
    return [
        {
            "id": derived_id(message_id, "fallback", n),
            "number": n,
            "priority": priority,
            **_row(step, made),
        }
        for n, (step, made) in enumerate(zip(request.fallback or (), draft.steps, strict=True))
    ]


def _row(step: FallbackStep, made: Draft) -> Row:
    if made.content is None:
        raise ValueError("a draft without errors has a content")
    return {
        "after": step.after,
        "until": step.until,
        "channel": step.channel,
        "from_address": made.from_address,
        "to_address": made.to_address,
        "lead_id": made.lead_id,
        "client_id": made.client_id,
        "owners": made.owners,
        "subject": made.content.subject,
        "body": made.content.body,
        "html_body": made.content.html_body,
        "template_id": made.template_id,
        "parts": made.parts.as_json(),
        "sender_id": made.sender_id,
        "provider": made.provider,
    }
