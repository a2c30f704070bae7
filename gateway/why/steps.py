"""The timeline: each event of a message as one plain sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from operator import itemgetter
from typing import Any, Final

from channels.model import Status
from gateway.registry import PROVIDERS
from gateway.why.mail_reasons import asks_to_wait
from gateway.why.model import Other, Row, Step, Story, named_in
from gateway.why.reasons import failure
from gateway.why.reports import reported
from gateway.why.words import clean, how_long, name_of, noun, opening, sentence, when

_MOST_DETAILS = 12
_AGAIN: Final = {
    "canceled": "It was to be sent again, as a new message, which was canceled.",
    "failed": "It was sent again, as a new message, which failed, too.",
}
# A provider's time in whole seconds may stand for any moment of that second.
_SECOND = timedelta(seconds=1) - timedelta.resolution
_RANKS: Final = {status: rank for rank, status in enumerate(Status)}


def timeline(story: Story, zone: tzinfo) -> tuple[Step, ...]:
    """What happened, in order of time."""
    steps = [_step(story, event, zone) for event in _in_order(story.events)]
    return (*_before(story, steps), *_merged(steps), *_after(story))


def last_event(story: Story, *types: str) -> Row | None:
    """The latest event of one of these types."""
    return next((event for event in reversed(story.events) if event["type"] in types), None)


def provider_of(story: Story, event: Row) -> str | None:
    """The provider that an event is about: the one it names, or else the message's carrier."""
    return named_in(event) or story.carrier


def reason_of(story: Story, event: Row) -> str:
    """The reason for a failure or refusal, from its event."""
    given = (event["detail"].get(name) for name in ("error_code", "error_message"))
    # A provider's own details may have these names, too, with values of any type.
    code, said = (value if isinstance(value, str) else None for value in given)
    is_later = event["type"] == "refused_for_now" and story.channel == "email"
    if is_later and asks_to_wait(code or ""):  # in a bounce this code says why it was given up
        return "The mail server asks to try again later."
    return failure(story.channel, provider_of(story, event), code, said).text


def _in_order(events: Sequence[Row]) -> list[Row]:
    """Events in order of time; those with the same time in the order of their statuses."""
    # Reports with the same second may come in any order: all count as if they came with the last.
    latest: dict[tuple[str, datetime], datetime] = {}
    for event in sorted(events, key=itemgetter("recorded_at")):
        latest[event["source"], event["occurred_at"]] = event["recorded_at"]

    def order(event: Row) -> tuple[datetime, int, datetime]:
        at = event["occurred_at"]
        if at.microsecond == 0:
            at = max(at, min(at + _SECOND, latest[event["source"], at]))
        return at, _RANKS.get(event["status"], len(_RANKS)), event["recorded_at"]

    return sorted(events, key=order)


def _step(story: Story, event: Row, zone: tzinfo) -> Step:
    own = _OWN.get(event["type"]) if event["source"] not in PROVIDERS else None
    text = own(story, event, zone) if own else _said(story, event)
    return Step(
        at=event["occurred_at"],
        text=text,
        source=clean(event["source"], 64),
        detail=_detail(event),
    )


def _said(story: Story, event: Row) -> str:
    who = name_of(provider_of(story, event))
    if event["status"] == "failed":
        return f"{opening(who)} reports a failure. {reason_of(story, event)}"
    return reported(story, event, who)


def _detail(event: Row) -> dict[str, str]:
    """The technical part: the event's own type, and its plain values, cleaned."""
    found = {"type": clean(event["type"], 64)}
    for name, value in event["detail"].items():
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
            found[clean(name, 64)] = clean(value)
        if len(found) > _MOST_DETAILS:
            break
    return found


def _before(story: Story, steps: list[Step]) -> Iterator[Step]:
    retry_of = story.message["retry_of"]
    first = steps[0].at if steps else story.message["created_at"]
    if retry_of is not None:
        text = "This is a new attempt at an earlier message that had failed."
        yield Step(at=first, text=text, source="gateway", detail={"message_id": str(retry_of)})
    followed = story.metadata.get("fallback_of")
    if isinstance(followed, str) and story.message["direction"] == "outbound":
        text = "This was sent because an earlier message had failed, or not arrived in time."
        yield Step(
            at=first, text=text, source="gateway", detail={"message_id": clean(followed, 64)}
        )
    answered = story.metadata.get("reply_to")
    if isinstance(answered, str) and story.message["direction"] == "inbound":
        text = "This answers an earlier message."
        yield Step(
            at=first, text=text, source="gateway", detail={"message_id": clean(answered, 64)}
        )
    if story.is_cut:
        yield Step(at=first, text="What happened before is left out here.", source="gateway")


def _after(story: Story) -> Iterator[Step]:
    for retry in story.retries:
        yield _pointer(
            retry, _AGAIN.get(retry.status or "", "It was sent again, as a new message.")
        )
    if story.next is not None:
        is_inbound = story.message["direction"] == "inbound"
        text = "We wrote to them after this." if is_inbound else "They wrote to us after this."
        yield _pointer(story.next, "They answered it." if story.is_answer else text)


def _pointer(other: Other, text: str) -> Step:
    return Step(
        at=other.created_at, text=text, source="gateway", detail={"message_id": str(other.id)}
    )


def _merged(steps: list[Step]) -> list[Step]:
    """Repetitions of a step in direct succession, such as opens of a mail, become one step."""
    found: list[Step] = []
    counts: list[int] = []
    for step in steps:
        if found and (found[-1].text, found[-1].source) == (step.text, step.source):
            counts[-1] += 1
        else:
            found.append(step)
            counts.append(1)
    return [
        step
        if count == 1
        else Step(
            at=step.at,
            text=f"{step.text} ({count} times from then on.)",
            source=step.source,
            detail=step.detail,
        )
        for step, count in zip(found, counts, strict=True)
    ]


# The gateway's own events: of the API, the worker, and messages that come in.


def _accepted(story: Story, _event: Row, zone: tzinfo) -> str:
    send_at = story.message["send_at"]
    if send_at is not None and send_at > story.message["created_at"]:
        return f"The gateway stored it, to be sent on {when(send_at, zone)}."
    return "The gateway stored it, to be sent at once."


def _attempt(_story: Story, event: Row, _zone: tzinfo) -> str:
    number = event["detail"].get("attempt")
    is_first = not isinstance(number, int) or number <= 1
    return "It was being sent." if is_first else f"It was being sent, attempt {number}."


def _who(story: Story, event: Row) -> str:
    return opening(name_of(provider_of(story, event)))


def _sent(story: Story, event: Row, _zone: tzinfo) -> str:
    if story.is_test:
        return "A test key sent it: no provider was asked, and nobody got it."
    return f"{_who(story, event)} took it."


def _found(story: Story, event: Row, _zone: tzinfo) -> str:
    return f"{_who(story, event)} was asked, and has it: it was not sent twice."


def _failed(story: Story, event: Row, _zone: tzinfo) -> str:
    return f"It failed. {reason_of(story, event)}"


def _later(story: Story, event: Row, zone: tzinfo) -> str:
    wait = event["detail"].get("next_attempt_after")
    text = f"Not taken for now. {reason_of(story, event)}"
    if isinstance(wait, int | float):
        length = timedelta(seconds=wait)
        then = f", on {when(event['occurred_at'] + length, zone)}" if wait >= 60 else ""
        text += f" Next attempt in {how_long(length)}{then}."
    return text


def _window_closed(_story: Story, _event: Row, _zone: tzinfo) -> str:
    return (
        "More than 24 hours had passed since they last wrote, so its template is sent in place of "
        "the text."
    )


def _lost(story: Story, event: Row, _zone: tzinfo) -> str:
    cause = sentence(clean(event["detail"].get("error_message") or "No answer came"))
    return f"Whether {name_of(provider_of(story, event))} took it is not known. {cause}"


def _cannot_be_asked(story: Story, event: Row, _zone: tzinfo) -> str:
    if event["detail"].get("error_code") == "other_account":
        who = name_of(provider_of(story, event))
        text = f"It was sent with another account at {who} than the one that is set by now"
        return f"{text}, which cannot be asked about it: only a report can tell."
    return f"{_who(story, event)} cannot be asked whether it has it: only a report can tell."


def _cannot_be_told_apart(story: Story, event: Row, _zone: tzinfo) -> str:
    told = "has fewer than were under way to this person, and does not tell which"
    return f"{_who(story, event)} {told}: only a report can."


def _not_there(story: Story, event: Row, _zone: tzinfo) -> str:
    return f"{_who(story, event)} was asked, and does not have it: it is sent once more."


def _asked_by_sending(story: Story, event: Row, _zone: tzinfo) -> str:
    return f"{_who(story, event)} is asked by the same request again: that makes no second message."


def _canceled(_story: Story, event: Row, _zone: tzinfo) -> str:
    if event["detail"].get("reason") == "fallback":
        return "It was canceled before it was sent, as something else was sent instead."
    return "It was canceled before it was sent."


def _fallback(_story: Story, event: Row, _zone: tzinfo) -> str:
    instead = noun(str(event["detail"].get("channel")))
    return f"{_because(event)}, something else was sent instead ({instead})."


def _fallback_expired(_story: Story, event: Row, _zone: tzinfo) -> str:
    return f"{_because(event)}, something else was to be sent instead, but its time was over, too."


def _because(event: Row) -> str:
    words = {
        "failed": "As it had failed",
        "not_delivered": "As it was not delivered in time",
        "not_read": "As it was not read in time",
    }
    return words.get(str(event["detail"].get("reason")), "As it did not get far enough")


def _delivered(_story: Story, _event: Row, _zone: tzinfo) -> str:
    return "It counts as delivered: it was a test."


_OWN: Final[Mapping[str, Any]] = {
    "accepted": _accepted,
    "attempt": _attempt,
    "sent": _sent,
    "found_at_provider": _found,
    "failed": _failed,
    "refused_for_now": _later,
    "window_closed": _window_closed,
    "answer_lost": _lost,
    "cannot_be_asked": _cannot_be_asked,
    "cannot_be_told_apart": _cannot_be_told_apart,
    "not_found_at_provider": _not_there,
    "asked_by_sending": _asked_by_sending,
    "canceled": _canceled,
    "fallback": _fallback,
    "fallback_expired": _fallback_expired,
    "delivered": _delivered,
}
