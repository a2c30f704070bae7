"""The timeline: every event that there can be, as one plain sentence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import webhooks.mailgun
import webhooks.meta
import webhooks.postmark
import webhooks.resend
import webhooks.sendgrid
import webhooks.ses
import webhooks.twilio.calls
import webhooks.twilio.messages
from channels.model import Status
from gateway.why import Other, Step, explain, failure
from tests.why.told import ID, NOW, OTHER, ago, event, story

TEST = {"provider": {"test": True}}


def steps(*events: dict[str, Any], channel: str = "sms", provider: str | None = "twilio",
          **more: Any) -> tuple[Step, ...]:  # fmt: skip
    """The timeline of these events."""
    known = more.pop("about", {}) | {"events": events}
    return explain(story(channel, provider, about=known, **more)).timeline


def text(type_: str, status: str | None = None, *, channel: str = "sms",
         provider: str | None = "twilio", metadata: Any = None, source: str = "worker",
         send_at: Any = None, **detail: Any) -> str:  # fmt: skip
    """The sentence of one event."""
    (step,) = steps(
        event(type_, status, source=source, **detail),
        channel=channel, provider=provider, metadata=metadata, send_at=send_at,
    )  # fmt: skip
    return step.text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("accepted",), "The gateway stored it, to be sent at once."),
        (("attempt",), "It was being sent."),
        (("sent",), "Twilio took it."),
        (("found_at_provider",), "Twilio was asked, and has it: it was not sent twice."),
        (("cannot_be_asked",), "Twilio cannot be asked whether it has it: only a report can tell."),
        (
            ("cannot_be_told_apart",),
            (
                "Twilio has fewer than were under way to this person, and does not tell which: "
                "only a report can."
            ),
        ),
        (
            ("not_found_at_provider",),
            "Twilio was asked, and does not have it: it is sent once more.",
        ),
        (
            ("asked_by_sending",),
            "Twilio is asked by the same request again: that makes no second message.",
        ),
        (
            ("window_closed",),
            (
                "More than 24 hours had passed since they last wrote, so its template is sent in "
                "place of the text."
            ),
        ),
        (("canceled",), "It was canceled before it was sent."),
        (("delivered",), "It counts as delivered: it was a test."),
        (("something new",), 'Twilio reported something that changes nothing ("something new").'),
        (("answer_lost",), "Whether Twilio took it is not known. No answer came."),
        (("refused_for_now",), "Not taken for now. Nobody gave a reason."),
    ],
)
def test_what_the_gateway_noted(given: tuple[str], words: str) -> None:
    """Each of our own events."""
    assert words == text(*given)


def test_what_the_gateway_noted_with_detail() -> None:
    """Our own events with what they tell beside their name."""
    assert text("accepted", send_at=NOW).endswith("to be sent on 26 Nov 2026, 14:00 UTC.")
    assert "It was being sent, attempt 3." == text("attempt", attempt=3)
    assert "It was being sent." == text("attempt", attempt=1)
    assert "nobody got it" in text("sent", metadata=TEST)
    assert "It failed. The recipient's number is not valid." == text(
        "failed", "failed", error_code="21211"
    )
    lost = text("answer_lost", error_message="The connection to Twilio broke.")
    assert lost == "Whether Twilio took it is not known. The connection to Twilio broke."


def test_given_back() -> None:
    """Why it was not taken for now, and when it is tried again."""
    soon = text("refused_for_now", error_code="20429", next_attempt_after=1.4)
    late = text("refused_for_now", error_code="20429", next_attempt_after=3600)

    assert "Not taken for now. Twilio asks to send more slowly. Next attempt in 1 second." == soon
    assert late.endswith("Next attempt in 1 hour, on 26 Nov 2026, 14:55 UTC.")


def test_given_back_once() -> None:
    """The first refusal for now tells of no end that it has not come to."""
    for code, words in (
        ("unreachable", "The provider could not be reached."),
        ("busy_server", "The mail server was busy with other mails of this account."),
        (
            "reset",
            "The connection to the provider broke, or was too slow to bring it the message.",
        ),
    ):
        assert f"Not taken for now. {words}" == text("refused_for_now", error_code=code)


def test_what_was_sent_instead() -> None:
    """Both messages of a fallback name the other, and nobody is told to send the first again."""
    followed = event("fallback", channel="email", reason="failed", message_id=str(OTHER))
    first = explain(story(status="failed", about={"events": (followed,)}))
    (step,) = first.timeline
    assert "As it had failed, something else was sent instead (e-mail)." == step.text
    assert (str(OTHER), OTHER) == (step.detail["message_id"], step.other)
    instead = "Something else was sent instead: look at that message, named below."
    assert instead == first.advice
    arrived = explain(story(status="delivered", about={"events": (followed,)}))
    assert instead != arrived.advice
    (before,) = steps(metadata={"fallback_of": str(ID)})
    assert ("earlier message" in before.text, ID) == (True, before.other)
    (odd,) = steps(metadata={"fallback_of": "../x"})
    (theirs,) = explain(story(about={"events": (event("sent", message_id=str(OTHER)),)})).timeline
    assert (None, None) == (odd.other, theirs.other)
    assert text("fallback_expired", reason="not_read").startswith("As it was not read in time, ")
    assert text("canceled", "canceled", reason="fallback").endswith(
        "something else was sent instead."
    )
    assert text("fallback").startswith("As it did not get far enough, ")


WORDS: list[tuple[str, str, dict[str, Status | None]]] = [
    ("sms", "twilio", dict(webhooks.twilio.messages.STATUSES)),
    ("whatsapp", "twilio", dict(webhooks.twilio.messages.STATUSES)),
    ("call", "twilio", dict(webhooks.twilio.calls.STATUSES)),
    ("whatsapp", "meta", dict(webhooks.meta.STATUSES)),
    ("email", "sendgrid", dict(webhooks.sendgrid.STATUSES)),
    ("email", "mailgun", dict(webhooks.mailgun.STATUSES)),
    ("email", "postmark", dict(webhooks.postmark.STATUSES)),
    ("email", "ses", dict(webhooks.ses.STATUSES)),
    ("email", "resend", dict(webhooks.resend.STATUSES)),
]  # fmt: skip
# What leaves the status as it is: put off, a complaint, an unsubscription, an automatic answer.
SIDE_WORDS = {
    "mailgun": ("failed", "opened"),
    "sendgrid": ("open",),
    "postmark": ("Transient", "DnsError", "AutoResponder", "SpamComplaint", "Subscribe",
                 "Unsubscribe", "SubscriptionChange", "Click", "Open"),
    "ses": ("Bounce", "Complaint", "Subscription", "DeliveryDelay"),
    "resend": ("email.bounced", "email.complained", "email.delivery_delayed", "email.clicked",
               "email.scheduled", "attachments"),
    "smtp": ("bounced", "delayed", "delivered", "relayed", "expanded", "complaint", "opt-out",
             "opt-out-list", "not-spam"),
}  # fmt: skip


@pytest.mark.parametrize(("channel", "provider", "words"), WORDS)
def test_every_word_of_a_provider(
    channel: str, provider: str, words: dict[str, Status | None]
) -> None:
    """Each word that webhooks/* know has a sentence of ours."""
    said = {
        word: text(word, status, channel=channel, provider=provider, source=provider)
        for word, status in words.items()
    }

    assert {} == {word: each for word, each in said.items() if not is_ours(word, each)}


@pytest.mark.parametrize("provider", SIDE_WORDS)
def test_every_word_beside_a_status(provider: str) -> None:
    """So has each that changes nothing."""
    said = {
        word: text(word, channel="email", provider=provider, source=provider)
        for word in SIDE_WORDS[provider]
    }

    assert {} == {word: each for word, each in said.items() if not is_ours(word, each)}


def is_ours(word: str, said: str) -> bool:
    """Whether a sentence is complete, and does not only repeat the provider's word."""
    return f'"{word}"' not in said and "{" not in said and said.endswith(".")


@pytest.mark.parametrize(
    ("channel", "type_", "status", "metadata", "words"),
    [
        ("sms", "sent", "sent", None, "Twilio handed it to the recipient's network."),
        ("sms", "delivered", "delivered", None, "It arrived on the recipient's phone."),
        (
            "whatsapp",
            "sent",
            "sent",
            None,
            "WhatsApp had it, and waited",
        ),
        ("whatsapp", "deleted", None, None, "It was deleted in WhatsApp."),
        ("call", "completed", "delivered", {"duration": "34"}, "The call ended after 34 seconds."),
        ("call", "completed", "delivered", {"duration": "?"}, "The call ended."),
        ("call", "answered_by", None, {"answered_by": "machine_start"}, "A machine answered"),
        ("call", "answered_by", None, None, "It is not known whether"),
        ("call", "confirmed", None, {"digits": "1"}, "the key that was asked for (1)."),
        ("call", "digits", None, None, "A key was pressed."),
        ("call", "recording-completed", None, None, "The call was recorded."),
        ("call", "recording-absent", None, None, "Nothing was recorded."),
        ("call", "transcription-completed", None, None, "The recording was put into words."),
        ("call", "cost", None, {"price": "-0.0085", "price_unit": "USD"}, "cost: 0.0085 USD."),
        ("call", "cost", None, {"price": "-1"}, "what the call cost: 1."),
        ("call", "cost", None, None, "Twilio told what the call cost."),
        ("sms", "new", "sent", None, 'Twilio has it ("new").'),
        ("sms", "new", "delivered", None, 'Twilio reports that it arrived ("new").'),
        ("sms", "new", "read", None, 'Twilio reports that it was read ("new").'),
        ("sms", "new", "canceled", None, 'Twilio reports that it was canceled ("new").'),
        ("fax", "new", None, None, "changes nothing"),
        ("sms", "failed", "failed", None, "Twilio reports a failure. Nobody gave a reason."),
    ],
)
def test_words(channel: str, type_: str, status: str | None, metadata: Any, words: str) -> None:
    """What reports say, channel by channel."""
    told = {"provider": metadata} if metadata else None

    assert words in text(type_, status, channel=channel, metadata=told, source="twilio")


def test_opens() -> None:
    """A person's open and a machine's are two things."""
    of = {"channel": "email", "provider": "sendgrid", "source": "sendgrid"}

    assert "It was opened." == text("open", "read", **of)
    assert text("open", **of).startswith("A program opened it")
    assert "not take it yet; Mailgun kept trying" in text(
        "failed", channel="email", provider="sendgrid", source="mailgun"
    )


def test_order_and_detail() -> None:
    """By when it happened, whatever order it came in; the technical part stands apart."""
    late = event(
        "delivered", "delivered", source="twilio", at=ago(minutes=3), smsStatus="delivered"
    )
    early = event("attempt", at=ago(minutes=4), attempt=1)
    failed = event(
        "undelivered", "failed", source="twilio", at=ago(minutes=2), error_code="30003",
        error_message="Unreachable\x1b[2J", nested={"a": 1}, is_x=True, empty="", number=7,
    )  # fmt: skip
    found = steps(late, failed, early)

    assert ["It was being sent.", "It arrived on the recipient's phone."] == [
        step.text for step in found[:2]
    ]
    assert (
        Step(
            at=ago(minutes=2),
            text=f"Twilio reports a failure. {failure('sms', 'twilio', '30003', None).text}",
            source="twilio",
            detail={
                "type": "undelivered",
                "error_code": "30003",
                "error_message": "Unreachable [2J",
                "number": "7",
            },
        )
        == found[2]
    )


def test_whole_seconds() -> None:
    """A provider's time without a fraction does not put a report before what it reports of."""
    sent_at = NOW + timedelta(milliseconds=400)
    attempt = event("attempt", at=sent_at)
    processed = event("processed", "sent", source="sendgrid", at=NOW)
    processed["recorded_at"] = NOW + timedelta(seconds=4)
    found = steps(processed, attempt, channel="email", provider="sendgrid")

    assert ["It was being sent.", "SendGrid had it, and was delivering it."] == [
        step.text for step in found
    ]


def test_one_second() -> None:
    """What a provider tells of one second stands in the order in which it happened, whichever
    report came first."""
    words = {"read": "read", "delivered": "delivered", "sent": "sent"}
    reports = [event(word, status, source="meta", at=NOW) for word, status in words.items()]
    for number, report in enumerate(reports):
        report["recorded_at"] = NOW + timedelta(milliseconds=400 * number)
    found = steps(*reports, channel="whatsapp", provider="meta")

    assert ["sent", "delivered", "read"] == [step.detail["type"] for step in found]


def test_details_are_few() -> None:
    """What a provider tells beside is bounded."""
    many: dict[str, Any] = {f"n{n}": n for n in range(90)}
    (step,) = steps(event("sent", "sent", source="twilio", **many))

    assert 13 == len(step.detail)


def test_again_and_again() -> None:
    """The same told many times in a row is one step that counts."""
    opens = [event("open", "read", source="sendgrid", at=ago(seconds=9 - n)) for n in range(3)]
    found = steps(*opens, channel="email", provider="sendgrid")

    assert [("It was opened. (3 times from then on.)", ago(seconds=9))] == [
        (step.text, step.at) for step in found
    ]


def test_messages_that_belong_together() -> None:
    """Retries, answers and what was written next point to each other by their ids."""
    other = Other(id=OTHER, created_at=NOW)
    about = {"retries": (other,), "next": other, "is_answer": True, "is_cut": True}
    found = steps(event("accepted"), retry_of=ID, about=about)

    assert [
        ("This is a new attempt at an earlier message that had failed.", {"message_id": str(ID)}),
        ("What happened before is left out here.", {}),
        ("The gateway stored it, to be sent at once.", {"type": "accepted"}),
        ("It was sent again, as a new message.", {"message_id": str(OTHER)}),
        ("They answered it.", {"message_id": str(OTHER)}),
    ] == [(step.text, step.detail) for step in found]
    again = [Other(id=OTHER, created_at=NOW, status=status) for status in ("canceled", "failed")]
    assert [
        "It was to be sent again, as a new message, which was canceled.",
        "It was sent again, as a new message, which failed, too.",
    ] == [step.text for step in steps(about={"retries": again})]
    (wrote,) = steps(about={"next": other})
    assert "They wrote to us after this." == wrote.text


def test_answers_that_came_in() -> None:
    """An inbound message names what it answers, and when we wrote next."""
    other = Other(id=OTHER, created_at=NOW)
    found = steps(direction="inbound", metadata={"reply_to": str(ID)}, about={"next": other})

    assert [
        ("This answers an earlier message.", {"message_id": str(ID)}),
        ("We wrote to them after this.", {"message_id": str(OTHER)}),
    ] == [(step.text, step.detail) for step in found]
    # The caller's own metadata of a message of ours is the caller's own.
    assert () == steps(metadata={"reply_to": str(ID)})
