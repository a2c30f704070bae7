"""The steps of a fallback: each is read like a message of its own, when the first is accepted.

What a step does not say, it takes from the first message: its recipient, at an address of the
step's channel, and its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from channels.model import Channel
from channels.text import is_control
from gateway.accept import recipients
from gateway.accept.draft import Draft, common_columns
from gateway.accept.known import Known
from gateway.ids import new_id
from gateway.problems import FieldError
from gateway.shapes.messages import FallbackStep, SendRequest
from gateway.store.values import Row, as_json_bytes

# Characters of a subject that is made from a text (as many as a header line should have), and of
# the beginning of that text in which it is looked for.
_SUBJECT, _LOOK = 70, 2_000
# Bytes of all steps of one request, as stored: a worker reads the steps of many at once.
_MOST = 2**20


def sought(request: SendRequest) -> Iterator[SendRequest]:
    """A request and its steps, each as far as it says itself what it refers to."""
    yield request
    for step in request.fallback or ():
        yield _request(step, request, step.to, step.body)


def request_of(step: FallbackStep, request: SendRequest, first: Draft, known: Known) -> SendRequest:
    """A step as a complete request, given the draft of the first message."""
    to, body = step.to, step.body
    if to is None and first.to_address is not None:
        to = recipients.elsewhere(request, first.to_address, step.channel, known)
    if body is None and step.template is None and first.content is not None:
        body = first.content.body or None
    complete = _request(step, request, to, body)
    if step.channel is not Channel.EMAIL or step.template is not None:
        return complete
    subject = (first.content.subject if first.content else None) or request.subject
    return complete.model_copy(update={"subject": subject or _beginning(body or "")})


def _beginning(text: str) -> str:
    """A subject for a mail without one: the beginning of its first line with visible text."""
    lines = (_shown(line) for line in text.lstrip()[:_LOOK].splitlines())
    line = next(filter(None, lines), "")
    if len(line) <= _SUBJECT:
        return line
    return line[:_SUBJECT].rpartition(" ")[0] + "…" if " " in line[:_SUBJECT] else line[:_SUBJECT]


def _shown(line: str) -> str:
    return " ".join("".join(c for c in line if c == "\t" or not is_control(c)).split())


def _request(
    step: FallbackStep, request: SendRequest, to: str | None, body: str | None
) -> SendRequest:
    return SendRequest.model_construct(
        channel=step.channel,
        to=to,
        template=step.template,
        variables=request.variables if step.template is not None else {},
        body=body,
        priority=request.priority,
        send_at=request.send_at,  # so that WhatsApp's window is judged at that time
        # If the first message goes to an address of somebody else, the lead's own is not meant.
        lead_id=request.lead_id if to is not None else None,
        client_id=request.client_id if to is not None else None,
    )


def joined(request: SendRequest, first: Draft, steps: Sequence[Draft]) -> Draft:
    """The draft of a request with those of its steps, and all their errors."""
    if not request.fallback:
        return first
    pairs = list(zip(request.fallback, steps, strict=True))
    errors = [error for n, pair in enumerate(pairs) for error in _errors(n, *pair, request, first)]
    size = len(as_json_bytes([_row(*pair) for pair in pairs if pair[1].content is not None]))
    if size > _MOST:
        text = (
            f"comes to {size / 2**20:.2f} MiB with all its texts (a mail's HTML, too), and may "
            "have 1 MiB: say less in its steps, or have fewer"
        )
        errors.append(FieldError("fallback", text))
    # Each once: steps repeat an error of the request's own subject.
    errors = list(dict.fromkeys((*first.errors, *errors)))
    return replace(first, errors=tuple(errors), steps=tuple(steps))


def _errors(
    n: int, step: FallbackStep, made: Draft, request: SendRequest, first: Draft
) -> Iterator[FieldError]:
    """The errors of step `n`, under its own fields, without those that the first message has."""
    for error in made.errors:
        name, text = error.field, error.message
        if name in ("lead_id", "client_id"):  # the first message's own
            continue
        if name == "to" and step.to is None and made.to_address is None:
            if first.to_address is None:
                continue
            text = f"is missing: no address of this contact is known that {step.channel} can go to"
        elif name in ("body", "subject") and step.body is None and first.content is None:
            continue
        elif name == "from":
            name, text = "channel", f"has no default sender: add one for {step.channel}"
        elif name == "subject" and step.template is not None:
            name, text = "template", f"{text} Use a template that has one."
        elif name == "subject" and request.subject:
            yield error
            continue
        elif name == "subject":  # the text is blank, so no subject could be made from it
            name, text = "body", "A mail needs a text."
        yield FieldError(f"fallback.{n}.{name}", text)


def rows(request: SendRequest, draft: Draft, priority: int) -> list[Row]:
    """The messages of the steps, as they are kept until they are due.

    Their ids are kept with them, so that none is ever stored twice. The ids cannot be derived from
    that of the first message, which its recipient may know: other programs that write `messages`
    could use them first.
    """
    if not request.fallback:
        return []
    return [
        {"id": new_id(), "number": n, "priority": priority, **_row(step, made)}
        for n, (step, made) in enumerate(zip(request.fallback, draft.steps, strict=True))
    ]


def _row(step: FallbackStep, made: Draft) -> Row:
    own = {"after": step.after, "until": step.until, "owners": made.owners}
    return {**own, **common_columns(step.channel, made)}
