"""What happened to a message of ours, and what to do, by its status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Final

from gateway.registry import PROVIDERS
from gateway.why import arrived
from gateway.why.model import Answer, Queued, Row, Story
from gateway.why.reasons import failure
from gateway.why.steps import last_event, provider_of, reason_of
from gateway.why.words import clean, how_long, noun, opening, when

_ARRIVED = ("delivered", "read")
# State and advice.

_SOON = timedelta(seconds=2)
# If a message has been due for longer than this, no worker takes messages up.
_STUCK = timedelta(minutes=1)
_NO_WORKER = (
    "If it does not leave within a minute, tell an administrator: the process that sends (gateway "
    "worker) may not be running."
)
_NOT_TWICE = "Do not send it again by hand before that: it might arrive twice."
_UNTIL = "so it stays unknown until a report comes in."
_FOR_REPORTS = (
    f"Wait for those: once reports have told of the others, it may be sent once more. {_NOT_TWICE}"
)
_FORMER = (
    "Ask the person whether it arrived, or let an administrator look into the former account at "
    "{who}: this message is not in the one that is set by now. Send it as a new message only if it "
    "did not arrive, else it might arrive twice."
)
_BY_ITSELF = "Nothing has to be done: it goes on by itself."
_LOCKED = (
    "Tell an administrator soon: the key that opens this account's access data is missing from "
    "GATEWAY_SECRET_KEYS, or they have to be entered again. Then it goes on by itself; after some "
    "hours of waiting it fails."
)

# By reason: why further messages to the address are refused.
SUPPRESSED: Final = {
    "stop": "they asked for no more messages (STOP)",
    "hard_bounce": "an earlier message came back",
    "complaint": "they complained about a message",
    "unsubscribe": "they unsubscribed",
    "manual": "somebody put it on the list",
}


def explain(story: Story, zone: tzinfo) -> Answer:
    """The state in a sentence or two, and what to do next."""
    state, advice = _BY_STATUS.get(story.message["status"] or "pending", _pending)(story, zone)
    if story.is_test and story.message["status"] != "delivered":  # that sentence says so itself
        state += " It is a test: nobody gets it."
    if last_event(story, "fallback") is not None and story.message["status"] not in _ARRIVED:
        advice = "Something else was sent instead: look at that message, named below."
    return state, _with_suppressions(story, advice)


def what(story: Story) -> str:
    """The message, as the beginning of a sentence."""
    address = clean(story.message["to_address"], 80)
    to = f"{clean(story.contact, 80)} ({address})" if story.contact else address
    return f"This {noun(story.channel)} to {to}"


def _with_suppressions(story: Story, advice: str | None) -> str | None:
    if not story.suppressions or story.message["error_code"] == "suppressed":
        return advice
    why = ", ".join(SUPPRESSED.get(reason, clean(reason)) for reason in story.suppressions)
    text = f"Further messages to this address are refused on this channel: {why}."
    return f"{advice} {text}" if advice else text


# Not sent yet.


def _pending(story: Story, zone: tzinfo) -> Answer:
    queued, send_at = story.queued, story.message["send_at"]
    if queued is None:
        return (
            f"{what(story)} was stored, but it is not in the queue: it will not be sent.",
            "Send it as a new message.",
        )
    if queued.phase == "send" and queued.attempts == 0 and not queued.is_held:
        if send_at is not None and send_at > story.now:
            return (
                f"{what(story)} is planned for {when(send_at, zone)}, and waits until then.",
                _will_fail(story) or "Nothing has to be done. Until then it can be canceled.",
            )
        if queued.run_at > story.now + _SOON and not queued.is_paced:
            return (
                (
                    f"{what(story)} could not be taken up and is tried again on "
                    f"{when(queued.run_at, zone)}: another program has it locked, or a rule of "
                    "the database refuses it."
                ),
                (
                    "If that lasts, tell an administrator: what is logged by the process that "
                    "sends (gateway worker) names the rule."
                ),
            )
        if queued.run_at > story.now + _SOON:
            return (
                (
                    f"{what(story)} waits for its turn: its sender only sends so many messages a "
                    f"second. It is due on {when(queued.run_at, zone)}."
                ),
                _will_fail(story) or _BY_ITSELF,
            )
    return _under_way(story, queued, zone)


def _will_fail(story: Story) -> str | None:
    """Why a waiting message would fail as things are now; None if it would not."""
    if story.suppressions:
        return "As things stand it will fail then. Cancel it, or have the suppression lifted."
    if story.can_leave:
        return None
    return (
        "As things stand it will fail then: the address it is to be sent from, or its account, was "
        "removed or turned off. Tell an administrator, or cancel it."
    )


def _sending(story: Story, zone: tzinfo) -> Answer:
    if story.queued is None:
        return (
            f"{what(story)} was taken up to be sent, and nothing was heard of it since.",
            "Ask the person whether it arrived before it is sent again.",
        )
    return _under_way(story, story.queued, zone)


def _under_way(story: Story, queued: Queued, zone: tzinfo) -> Answer:
    """What is happening to a message that is in the queue."""
    if queued.phase == "ask":
        return _unknown(story, zone)
    if queued.is_held:
        return f"{what(story)} is being sent at this moment.", "Look again in a few seconds."
    if queued.was_held:
        text = f"{what(story)} was being sent when the process that sends it ended."
        return f"{text} Another one looks after it.", _NO_WORKER
    refusal = last_event(story, "refused_for_now")
    # `refusals` is 0 if it only waits for one of our connections to a mail server.
    if refusal is not None and (queued.refusals or queued.run_at > story.now + _SOON):
        return _refused_for_now(story, queued, refusal, zone)
    waited = story.now - queued.run_at
    if waited >= _STUCK:
        return (
            f"{what(story)} has waited to be sent for {how_long(waited)}: nobody takes it up.",
            "Tell an administrator: the process that sends (gateway worker) may not be running.",
        )
    return f"{what(story)} waits in the queue and is about to be sent.", _NO_WORKER


def _refused_for_now(story: Story, queued: Queued, refusal: Row, zone: tzinfo) -> Answer:
    text = f"{what(story)} was not taken for now. {reason_of(story, refusal)}"
    is_locked = refusal["detail"].get("error_code") == "credentials"
    if is_locked and refusal["source"] not in PROVIDERS:
        advice = _LOCKED
    else:
        advice = _will_fail(story) or _BY_ITSELF
    if queued.run_at <= story.now + _SOON:
        return f"{text} It is tried again at once.", advice
    in_ = how_long(queued.run_at - story.now)
    return f"{text} It is tried again in {in_}, on {when(queued.run_at, zone)}.", advice


# Nobody knows.


def _unknown(story: Story, zone: tzinfo) -> Answer:
    if story.message["external_id"] is not None:  # so a report came, of a delay for example
        return arrived.sent(story, what(story), zone)
    queued, who = story.queued, story.who
    lost = f"It is not known whether {who} took {_this(story)}: the answer was lost on the way."
    if queued is not None and queued.phase == "send":
        latest = last_event(story, "refused_for_now", "not_found_at_provider", "asked_by_sending")
        kind = latest["type"] if latest is not None else ""
        if kind == "refused_for_now":
            return _under_way(story, queued, zone)
        if kind == "asked_by_sending":
            text = f"{lost} {opening(who)} is asked by the same request again"
            return f"{text}{_later(story, queued, zone)}.", _BY_ITSELF
        text = f"{opening(who)} does not have {_this(story)}, so it is sent once more"
        return f"{text}{_later(story, queued, zone)}.", _BY_ITSELF
    advice = (
        f"Ask the person whether it arrived, or let an administrator look into the account at "
        f"{who}. {_NOT_TWICE}"
    )
    if queued is not None and story.provider is None:
        text = "any more, because the address that it was sent from was removed"
        return f"{lost} {opening(who)} cannot be asked {text}, {_UNTIL}", advice
    latest = last_event(story, "answer_lost", "cannot_be_told_apart", "cannot_be_asked")
    if latest is not None and latest["detail"].get("error_code") == "other_account":
        text = f"It was sent with another account at {who} than the one that is set by now"
        return f"{lost} {text}, which knows nothing of it, {_UNTIL}", _FORMER.format(who=who)
    if latest is not None and latest["type"] == "cannot_be_told_apart":
        text = f"{opening(who)} has fewer than were under way to this person, and does not tell"
        if queued is None:
            return f"{lost} {text} which, {_UNTIL}", advice
        return f"{lost} {text} which. It is asked again for some minutes.", _FOR_REPORTS
    row = PROVIDERS.get(story.carrier or "")
    if queued is not None and (row is None or row.can_be_asked):
        return (
            f"{lost} {opening(who)} is being asked{_later(story, queued, zone)}.",
            f"Wait until that is answered. {_NOT_TWICE}",
        )
    can_ask = "cannot be asked" if row is not None and not row.can_be_asked else "gave no answer"
    return f"{lost} {opening(who)} {can_ask}, {_UNTIL}", advice


def _later(story: Story, queued: Queued, zone: tzinfo) -> str:
    return f", on {when(queued.run_at, zone)}" if queued.run_at > story.now + _STUCK else ""


def _this(story: Story) -> str:
    subject = what(story)
    return subject[:1].lower() + subject[1:]


# Ended.


def _canceled(story: Story, zone: tzinfo) -> Answer:
    event = last_event(story, "canceled")
    if event is not None and event["source"] in PROVIDERS:
        by = f"was canceled by {story.who}"
    else:
        by = "was canceled before it was sent"
    at = f" on {when(event['occurred_at'], zone)}" if event is not None else ""
    return f"{what(story)} {by}{at}.", None


def _failed(story: Story, zone: tzinfo) -> Answer:
    row = story.message
    # The row has the code of the earliest failure, so this decides whose code it is.
    failures = [event for event in story.events if event["status"] == "failed"]
    first = min(failures, key=lambda event: event["occurred_at"], default=None)
    provider = provider_of(story, first) if first else story.carrier
    reason = failure(story.channel, provider, row["error_code"], row["error_message"])
    failed_at: datetime | None = row["failed_at"]
    at = f" on {when(failed_at, zone)}" if failed_at else ""
    verb = "was not connected" if story.channel == "call" else "was not delivered"
    text = f"{what(story)} failed{at} and {verb}. {reason.text}"
    if any(retry.status != "canceled" for retry in story.retries):
        return text, "It was sent again already: look at the new message, named below."
    if story.is_test:
        return text, arrived.A_TEST
    if row["error_code"] == "suppressed" and not story.suppressions:
        return text, "They may be written to again by now: send it anew."
    return text, reason.advice


_BY_STATUS: Final[Mapping[str, Callable[[Story, tzinfo], Answer]]] = {
    "pending": _pending,
    "sending": _sending,
    "unknown": _unknown,
    "sent": lambda story, zone: arrived.sent(story, what(story), zone),
    "canceled": _canceled,
    "failed": _failed,
    "delivered": lambda story, zone: arrived.delivered(story, what(story), zone),
    "read": lambda story, zone: arrived.read(story, what(story), zone),
}
