"""What it means on each channel that a message of ours was sent, delivered or read."""

from __future__ import annotations

from datetime import timedelta, tzinfo
from typing import Final

from gateway.registry import PROVIDERS
from gateway.why.model import Answer, Row, Story
from gateway.why.reports import answered_by
from gateway.why.steps import last_event, reason_of
from gateway.why.words import how_long, how_long_seconds, opening, when

_MINUTES, _HOURS, _DAYS = timedelta(minutes=15), timedelta(hours=2), timedelta(days=1)
_NO_REPORTS = (
    "If no message of this account ever gets a report, tell an administrator: the provider may "
    "not reach the gateway (PUBLIC_URL, or the webhooks at the provider)."
)
_DEFERRALS = ("deferred", "delayed", "DeliveryDelay", "email.delivery_delayed", "Transient",
              "DnsError", "failed")  # fmt: skip
_COMPLAINTS = ("spamreport", "complained", "complaint", "SpamComplaint", "Complaint",
               "email.complained")  # fmt: skip
_CLICKS = ("click", "clicked", "Click", "email.clicked")
_OPENS = ("open", "opened", "Open", "email.opened")
_RINGING: Final = {
    "queued": "is about to be dialled",
    "initiated": "is being dialled",
    "ringing": "is ringing",
    "in-progress": "is going on",
}
A_TEST: Final = "To reach people, send it with an API key that is not for tests."
_SPAM_FOLDER = "If the person does not find it, ask them to look among spam or junk."


def sent(story: Story, what: str, zone: tzinfo) -> Answer:
    """The provider took it, but has not reported yet whether it arrived."""
    at = story.message["sent_at"] or story.message["updated_at"]
    age = story.now - at
    since = f"{how_long(age)} ago ({when(at, zone)})"
    if story.channel == "call":
        return _call_under_way(story, what, age)
    if story.channel == "whatsapp":
        return _whatsapp_sent(story, what, since, age)
    if story.channel == "email":
        return _mail_sent(story, what, since, age)
    return _not_reported(story, what, since, age)


def _call_under_way(story: Story, what: str, age: timedelta) -> Answer:
    event = last_event(story, *_RINGING)
    state = _RINGING[event["type"]] if event is not None else f"was handed to {story.who}"
    if age < _HOURS:
        return f"{what} {state}.", "Look again when it is over."
    return f"{what} {state}, by the last report, and its end was never reported.", _NO_REPORTS


def _whatsapp_sent(story: Story, what: str, since: str, age: timedelta) -> Answer:
    if not any(event["type"] == "sent" and event["source"] in PROVIDERS for event in story.events):
        # Only the provider has answered: WhatsApp itself may not have it.
        return _not_reported(story, what, since, age)
    text = f"{what} was sent {since}; no report says yet that it reached their phone."
    if age < _DAYS:
        return text, (
            "Their phone is probably off or without a connection. WhatsApp delivers it when the "
            "phone is back."
        )
    return text, (
        "Their phone may have been away for long, or they may have blocked the number. Reach the "
        f"person another way. {_NO_REPORTS}"
    )


def _not_reported(story: Story, what: str, since: str, age: timedelta) -> Answer:
    text = f"{what} was handed to {story.who} {since}; no report says yet whether it arrived."
    if age < _MINUTES:
        return text, "Reports usually come within minutes: look again later."
    return text, (
        "It may have arrived: some networks never report. If it matters, ask the person or call. "
        + _NO_REPORTS
    )


def _mail_sent(story: Story, what: str, since: str, age: timedelta) -> Answer:
    if advice := _complained(story):
        return f"{what} was handed to {story.who} {since}, and arrived.", advice
    if last_event(story, *_CLICKS) is not None:
        text = f"{what} was handed to {story.who} {since}, and arrived: a link in it was followed."
        return text, None
    deferral = last_event(story, *_DEFERRALS)
    if deferral is not None and deferral["status"] is None:
        text = (
            f"{what} was handed to {story.who} {since}; the recipient's mail server has not "
            f"taken it yet, and {story.who} keeps trying."
        )
        return text, "Wait: this can go on for up to three days, and then it fails by itself."
    if story.carrier == "smtp":
        text = f"{what} was handed to the mail server {since}, and has not come back."
        return text, (
            "Most likely it arrived: mail servers report only what they could not deliver. "
            + _SPAM_FOLDER
        )
    text = f"{what} was handed to {story.who} {since}; no report says yet whether it arrived."
    if age < _MINUTES:
        return text, "Reports usually come within minutes: look again later."
    return text, f"It may have arrived all the same. {_SPAM_FOLDER} {_NO_REPORTS}"


def delivered(story: Story, what: str, zone: tzinfo) -> Answer:
    """It arrived: where, and what is still not known."""
    row = story.message
    if story.is_test:
        return (
            f"{what} was a test: it counts as delivered, and nobody got it.",
            A_TEST,
        )
    at = f" on {when(row['delivered_at'], zone)}" if row["delivered_at"] else ""
    if story.channel == "call":
        return _call_ended(story, what, at), None
    if story.channel == "email":
        return _mail_delivered(story, what, at)
    text = f"{what} arrived on the phone{at}.{_failure_too(story)}"
    if story.channel == "whatsapp":
        return text, "It was not read yet, or the person has turned read receipts off."
    return text, None


def _call_ended(story: Story, what: str, at: str) -> str:
    length = how_long_seconds(story.provider_detail.get("duration"))
    lasted = f" and lasted {length}" if length else ""
    text = f"{what} was answered{lasted}{' (it ended' + at + ')' if at else ''}."
    if who := answered_by(story):
        text += f" {who}"
    if last_event(story, "confirmed") is not None:
        text += " The person pressed the key that was asked for."
    return text


def _mail_delivered(story: Story, what: str, at: str) -> Answer:
    text = f"{what} was taken by the recipient's mail server{at}.{_failure_too(story)}"
    opened = last_event(story, *_OPENS)
    if opened is not None and opened["status"] is None:
        text += " A program has opened it since, which need not have been a person."
    return text, _complained(story) or _SPAM_FOLDER


def read(story: Story, what: str, zone: tzinfo) -> Answer:
    """It was read; an e-mail was opened."""
    row = story.message
    at = f" on {when(row['read_at'], zone)}" if row["read_at"] else ""
    verb = "was opened" if story.channel == "email" else "was read"
    return f"{what} {verb}{at}.{_failure_too(story)}", _complained(story)


def _complained(story: Story) -> str | None:
    if last_event(story, *_COMPLAINTS) is None:
        return None
    return "The recipient reported it as spam: write no more e-mails to this address."


def _failure_too(story: Story) -> str:
    """A sentence about a failure that was reported, too, although the message was delivered."""
    failure: Row | None = next(
        (event for event in reversed(story.events) if event["status"] == "failed"), None
    )
    if failure is None:
        return ""
    return f" A failure was reported as well: {opening(reason_of(story, failure))}"
