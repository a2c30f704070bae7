"""What became of a message of ours: its state in plain words and what to do, as values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from channels.model import Status
from gateway.why import Other, explain, outbound
from tests.why.told import NOW, OTHER, ago, event, queued, said, story
from webhooks.model import Reason

TO = "This SMS to +447700900123"


def about(**known: Any) -> dict[str, Any]:
    """What is known beside the row."""
    return {"about": known}


# Not sent yet


def test_planned() -> None:
    """A message for later names its time, in the zone that is asked for, and can be canceled."""
    planned = story(send_at=ago(days=-1), **about(queued=queued(run_at=ago(days=-1))))

    assert (
        f"{TO} is planned for 27 Nov 2026, 14:00 UTC, and waits until then.",
        "Nothing has to be done. Until then it can be canceled.",
    ) == (explain(planned).summary, explain(planned).advice)
    assert "28 Nov 2026, 01:00 AEDT" in explain(planned, ZoneInfo("Australia/Sydney")).summary


def test_planned_for_somebody_who_must_not_be_written_to() -> None:
    """What will fail when its time comes is said before."""
    place = queued(run_at=ago(days=-1))
    _, advice = said(send_at=ago(days=-1), **about(queued=place, suppressions=("stop",)))

    assert advice is not None
    assert "As things stand it will fail then." in advice
    assert "they asked for no more messages (STOP)" in advice


def test_what_waits_and_cannot_leave() -> None:
    """Planned, waiting for its turn or refused for now: that its sender is off is said before."""
    later = {"run_at": ago(minutes=-2)}
    refusal = event("refused_for_now", error_code="20429")
    waiting = (
        said(send_at=ago(minutes=-2), **about(queued=queued(**later), can_leave=False)),
        said(**about(queued=queued(**later, is_paced=True), can_leave=False)),
        said(
            **about(
                queued=queued(**later, attempts=1, refusals=1), can_leave=False, events=(refusal,)
            )
        ),
    )

    for _, advice in waiting:
        assert "was removed or turned off. Tell an administrator" in str(advice)


def test_in_the_queue() -> None:
    """Due, waiting for its sender's turn, put back, waiting for too long, not in the queue."""
    due, by_worker = said(**about(queued=queued()))
    paced, _ = said(**about(queued=queued(run_at=ago(minutes=-2), is_paced=True)))
    put_back, whose = said(**about(queued=queued(run_at=ago(minutes=-2))))
    stuck, no_worker = said(**about(queued=queued(run_at=ago(minutes=7))))
    lost, again = said()

    assert f"{TO} waits in the queue and is about to be sent." == due
    assert "gateway worker" in str(by_worker)
    assert "waits for its turn: its sender only sends so many messages a second" in paced
    assert "It is due on 26 Nov 2026, 14:02 UTC." in paced
    assert (
        f"{TO} could not be taken up and is tried again on 26 Nov 2026, 14:02 UTC: another program "
        "has it locked, or a rule of the database refuses it."
    ) == put_back
    assert "tell an administrator" in str(whose)
    assert f"{TO} has waited to be sent for 7 minutes: nobody takes it up." == stuck
    assert "gateway worker" in str(no_worker)
    assert "it is not in the queue: it will not be sent" in lost
    assert "Send it as a new message." == again


def test_being_sent() -> None:
    """A worker is at it, was at it and ended, or was never heard of again."""
    held, _ = said(status="sending", **about(queued=queued(attempts=1, is_held=True)))
    ended, _ = said(status="sending", **about(queued=queued(attempts=1, was_held=True)))
    gone, ask = said(status="sending")

    assert f"{TO} is being sent at this moment." == held
    assert "when the process that sends it ended. Another one looks after it." in ended
    assert "nothing was heard of it since" in gone
    assert "Ask the person" in str(ask)


@pytest.mark.parametrize("status", ["pending", "sending"])
def test_given_back(status: str) -> None:
    """After a 429 it says why and when it is tried again."""
    refusal = event("refused_for_now", error_code="20429", next_attempt_after=90.0)
    place = queued(run_at=ago(seconds=-90), attempts=1, refusals=1)
    later, advice = said(status=status, **about(queued=place, events=(refusal,)))
    now, _ = said(status=status, **about(queued=queued(refusals=1), events=(refusal,)))

    assert (
        f"{TO} was not taken for now. Twilio asks to send more slowly. It is tried again in "
        "1 minute, on 26 Nov 2026, 14:01 UTC."
    ) == later
    assert "it goes on by itself" in str(advice)
    assert now.endswith("It is tried again at once.")


def test_a_turn_that_was_not_had() -> None:
    """What no connection was free for has been refused by nobody, and is not about to be sent."""
    busy = event("refused_for_now", error_code="busy_server", next_attempt_after=280.0)
    later, advice = said(
        "email",
        "smtp",
        status="sending",
        **about(queued=queued(run_at=ago(seconds=-280), attempts=1), events=(busy,)),
    )
    due, _ = said(**about(queued=queued(attempts=1), events=(busy,)))
    stuck, _ = said(**about(queued=queued(run_at=ago(minutes=7), attempts=1), events=(busy,)))

    assert "was not taken for now. The mail server was busy with other mails" in later
    assert "It is tried again in 4 minutes, on 26 Nov 2026, 14:04 UTC." in later
    assert "Nothing has to be done: it goes on by itself." == advice
    assert "is about to be sent" in due
    assert "nobody takes it up" in stuck


def test_an_account_that_does_not_open() -> None:
    """What waits for a key of ours needs an administrator; a provider's word of that name, none."""
    place = queued(run_at=ago(seconds=-90), attempts=1, refusals=1)
    refusals = [
        event("refused_for_now", source=source, error_code="credentials")
        for source in ("worker", "twilio")
    ]
    ours, theirs = (
        said(status="sending", **about(queued=place, events=(each,)))[1] for each in refusals
    )

    assert "GATEWAY_SECRET_KEYS" in str(ours)
    assert "Nothing has to be done" in str(theirs)


def test_given_back_by_whom_nobody_remembers() -> None:
    """A refusal whose event was cut off is told as waiting."""
    place = queued(attempts=1, refusals=1)

    assert "is about to be sent" in said(status="sending", **about(queued=place))[0]


def test_the_end_of_the_calendar() -> None:
    """A time that no other zone has is told as it is."""
    last = datetime.max.replace(tzinfo=UTC)
    planned = story(send_at=last, **about(queued=queued(run_at=last)))

    assert "31 Dec 9999, 23:59 UTC" in explain(planned, ZoneInfo("Australia/Sydney")).summary


# Nobody knows


def test_unknown_and_being_asked() -> None:
    """The answer was lost, the provider is asked: nobody should send it again meanwhile."""
    place = queued(phase="ask", attempts=1)
    soon, advice = said(status="unknown", **about(queued=place))
    late, _ = said(
        status="unknown", **about(queued=queued(phase="ask", attempts=1, run_at=ago(minutes=-4)))
    )
    by_sending, _ = said(status="sending", **about(queued=place))

    assert (
        "It is not known whether Twilio took this SMS to +447700900123: the answer was lost on "
        "the way. Twilio is being asked."
    ) == soon
    assert "might arrive twice" in str(advice)
    assert "is being asked, on 26 Nov 2026, 14:04 UTC." in late
    assert soon == by_sending


def test_unknown_and_sent_once_more() -> None:
    """The provider was asked and does not have it."""
    text, _ = said(status="unknown", **about(queued=queued(attempts=1, refusals=1)))

    assert "Twilio does not have this SMS to +447700900123, so it is sent once more." == text

    place = queued(run_at=ago(seconds=-600), attempts=9, refusals=9)
    text, _ = said(status="unknown", **about(queued=place))
    assert text.endswith("so it is sent once more, on 26 Nov 2026, 14:10 UTC.")


def test_unknown_and_asked_by_sending() -> None:
    """Where the same request again is the question, nobody says that it is not there."""
    place = queued(attempts=1, refusals=1)
    told = about(queued=place, events=(event("asked_by_sending"),))
    text, _ = said("email", "resend", status="unknown", **told)

    assert text.endswith("on the way. Resend is asked by the same request again.")


def test_unknown_and_refused_since() -> None:
    """Sent once more, and not taken for now."""
    refusal = event("refused_for_now", error_code="20429", next_attempt_after=90.0)
    events = (event("not_found_at_provider"), refusal)
    place = queued(run_at=ago(seconds=-90), attempts=2, refusals=2)
    text, _ = said(status="unknown", **about(queued=place, events=events))

    assert f"{TO} was not taken for now. Twilio asks to send more slowly." in text


@pytest.mark.parametrize(
    ("channel", "provider", "words"),
    [
        ("whatsapp", "meta", "Meta cannot be asked"),
        ("email", "smtp", "The mail server cannot be asked"),
        ("email", "sendgrid", "SendGrid cannot be asked"),
        ("sms", "twilio", "Twilio gave no answer"),
        ("sms", None, "The provider gave no answer"),
    ],
)
def test_stays_unknown(channel: str, provider: str | None, words: str) -> None:
    """Where nobody can be asked (any more) only a report tells, or the person."""
    text, advice = said(channel, provider, status="unknown")

    assert f"{words}, so it stays unknown until a report comes in." in text
    assert "Ask the person whether it arrived" in str(advice)


def test_unknown_which_one_it_is() -> None:
    """The provider has one of several: that is said, and whether it is still asked, until the next
    attempt."""
    apart = event("cannot_be_told_apart", "unknown")
    fewer = "Twilio has fewer than were under way to this person, and does not tell which"
    text, advice = said(status="unknown", **about(events=(apart,)))
    assert text.endswith(f"{fewer}, so it stays unknown until a report comes in.")
    assert "Ask the person whether it arrived" in str(advice)

    place = queued(phase="ask", attempts=1)
    text, advice = said(status="unknown", **about(queued=place, events=(apart,)))
    assert text.endswith(f"{fewer}. It is asked again for some minutes.")
    assert "Wait for those: once reports have told of the others, it may be sent" in str(advice)
    events = (apart, event("answer_lost", "unknown"))
    place = queued(phase="ask", attempts=2)
    assert said(status="unknown", **about(queued=place, events=events))[0].endswith("being asked.")


def test_unknown_and_its_sender_is_gone() -> None:
    """Nobody is asked about a message whose sender was deleted, whatever was said before that."""
    lost = event("answer_lost", "unknown", provider="twilio")
    apart = event("cannot_be_told_apart", "unknown", provider="twilio")
    for events in ((lost,), (lost, apart)):
        place = queued(phase="ask", attempts=1)
        known = about(queued=place, events=events, can_leave=False)
        text, advice = said("sms", None, status="unknown", **known)
        assert text.endswith(
            "Twilio cannot be asked any more, because the address that it was sent from was "
            "removed, so it stays unknown until a report comes in."
        )
        assert "Ask the person whether it arrived" in str(advice)


def test_unknown_where_it_waits_for_nothing() -> None:
    """Just lost at a provider that cannot be asked: that is known before a worker says so."""
    text, _ = said("whatsapp", "meta", status="unknown", **about(queued=queued(phase="ask")))

    assert "Meta cannot be asked" in text


# Sent, and no report yet


@pytest.mark.parametrize(
    ("channel", "provider", "age", "words", "advice"),
    [
        ("sms", "twilio", {"minutes": 3}, "handed to Twilio 3 minutes ago", "within minutes"),
        ("sms", "twilio", {"hours": 3}, "no report says yet", "some networks never report"),
        ("whatsapp", "meta", {"minutes": 2}, "handed to Meta 2 minutes ago", "within minutes"),
        ("whatsapp", "meta", {"days": 2}, "no report says yet", "tell an administrator"),
        ("email", "sendgrid", {"minutes": 1}, "handed to SendGrid 1 minute ago", "within minutes"),
        ("email", "sendgrid", {"days": 2}, "no report says yet", "spam or junk"),
        ("email", "smtp", {"days": 2}, "has not come back", "Most likely it arrived"),
        ("call", "twilio", {"seconds": 20}, "was handed to Twilio.", "when it is over"),
        ("call", "twilio", {"days": 1}, "its end was never reported", "webhooks"),
    ],
)
def test_sent(channel: str, provider: str, age: dict[str, int], words: str, advice: str) -> None:
    """How long ago, and what the silence means on this channel."""
    text, next_ = said(channel, provider, status="sent", sent_at=ago(**age))

    assert words in text
    assert advice in str(next_)


@pytest.mark.parametrize(
    ("age", "advice"),
    [({"hours": 2}, "probably off"), ({"days": 2}, "may have blocked the number")],
)
def test_sent_by_whatsapp(age: dict[str, int], advice: str) -> None:
    """What a phone may be is only said where WhatsApp itself told that it has the message."""
    columns = {"status": "sent", "sent_at": ago(**age)}
    taken = (event("sent", "sent"), event("accepted", "sent", source="meta"))
    text, _ = said("whatsapp", "meta", **columns, **about(events=taken))
    told, next_ = said("whatsapp", "meta", **columns, **about(events=(*taken, _sent_by_meta())))

    assert "phone" not in text
    assert "was sent 2 " in told
    assert "no report says yet that it reached their phone" in told
    assert "tick" not in text + told
    assert advice in str(next_)


def _sent_by_meta() -> dict[str, Any]:
    return event("sent", "sent", source="meta")


def test_whom_a_message_was_with() -> None:
    """A sender that belongs to another provider by now changes nothing of what was: the words, and
    what a code means, are those of the provider that the events name; of several the latest has it.
    """
    failed = event("failed", "failed", error_code="406", provider="postmark")
    row = {"status": "failed", "error_code": "406", "failed_at": failed["occurred_at"]}
    for now in ("sendgrid", None):
        text, _ = said("email", now, **row, **about(events=(failed,)))
        assert "Postmark sends no more to this recipient" in text
        taken = event("sent", "sent", provider="smtp")
        text, _ = said("email", now, status="sent", sent_at=NOW, **about(events=(taken,)))
        assert "was handed to the mail server" in text
        lost = event("answer_lost", "unknown", provider="ses")
        asked = event("not_found_at_provider", provider="mailgun")
        found = explain(story("email", now, status="unknown", **about(events=(lost, asked))))
        assert "It is not known whether Mailgun took this e-mail" in found.summary
        assert [
            "Whether Amazon SES took it is not known. No answer came.",
            "Mailgun was asked, and does not have it: it is sent once more.",
        ] == [each.text for each in found.timeline]


def test_sent_and_put_off() -> None:
    """A mail whose recipient's server asks to wait."""
    put_off = event("deferred", source="sendgrid")
    text, advice = said("email", "sendgrid", status="sent", **about(events=(put_off,)))

    assert "has not taken it yet, and SendGrid keeps trying" in text
    assert "three days" in str(advice)
    answered = event("Bounce", source="ses")
    assert "no report" in said("email", "ses", status="sent", **about(events=(answered,)))[0]
    bounced = event("failed", "failed", source="mailgun")
    assert "no report" in said("email", "mailgun", status="sent", **about(events=(bounced,)))[0]


def test_sent_and_clicked() -> None:
    """A link is followed in a mail that has arrived, whatever was or was not reported before."""
    events = (event("deferred", source="mailgun"), event("clicked", source="mailgun"))
    text, advice = said("email", "mailgun", status="sent", **about(events=events))

    assert text.endswith("and arrived: a link in it was followed.")
    assert advice is None


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("queued", "is about to be dialled"),
        ("initiated", "is being dialled"),
        ("ringing", "is ringing"),
        ("in-progress", "is going on"),
    ],
)
def test_call_under_way(word: str, words: str) -> None:
    """Where a call is."""
    now = event(word, "sent", source="twilio")
    text, _ = said("call", status="sent", sent_at=ago(seconds=9), **about(events=(now,)))

    assert f"This call to +447700900123 {words}." == text


# Arrived


@pytest.mark.parametrize(
    ("channel", "words", "advice"),
    [
        ("sms", "arrived on the phone on 26 Nov 2026, 13:59 UTC.", "None"),
        ("whatsapp", "arrived on the phone", "read receipts"),
        ("email", "was taken by the recipient's mail server", "spam or junk"),
        ("call", "was answered (it ended on 26 Nov 2026, 13:59 UTC).", "None"),
    ],
)
def test_delivered(channel: str, words: str, advice: str) -> None:
    """What "delivered" means on this channel, and what it does not."""
    text, next_ = said(channel, status="delivered", delivered_at=ago(minutes=1))

    assert words in text
    assert advice in str(next_)


def test_delivered_without_a_time() -> None:
    """Rows from before the gateway have none."""
    assert f"{TO} arrived on the phone." == said(status="delivered")[0]
    assert "This call to +447700900123 was answered." == said("call", status="delivered")[0]
    assert f"{TO} was read." == said(status="read")[0]


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("human", "A person answered the call."),
        ("machine_end_beep", "A machine answered the call, such as a voicemail."),
        ("fax", "A fax machine answered"),
        ("unknown", "not known whether a person or a machine"),
    ],
)
def test_who_answered(who: str, words: str) -> None:
    """A call that was answered says for how long, by whom, and which key was pressed."""
    told = {"provider": {"duration": "64", "answered_by": who, "digits": "1"}}
    pressed = event("confirmed", source="twilio")
    text, _ = said("call", status="delivered", metadata=told, **about(events=(pressed,)))

    assert "was answered and lasted 1 minute." in text
    assert words in text
    assert "pressed the key that was asked for" in text


def test_delivered_and_then_something() -> None:
    """A failure, a machine's open and a complaint after a delivery are all said."""
    events = (
        event("delivered", "delivered", source="sendgrid"),
        event("open", source="sendgrid", sg_machine_open=True),
        event("bounce", "failed", source="sendgrid", error_code="5.2.2"),
        event("spamreport", source="sendgrid"),
    )
    text, advice = said("email", "sendgrid", status="delivered", **about(events=events))

    assert "A failure was reported as well: The recipient's mailbox is full." in text
    assert "A program has opened it since, which need not have been a person." in text
    assert "The recipient reported it as spam: write no more e-mails to this address." == advice


def test_read() -> None:
    """Read, or for a mail opened, when, and what was reported beside it."""
    events = (event("failed", "failed", source="meta", error_code="131026"),)
    chat, nothing = said("whatsapp", "meta", status="read", read_at=NOW, **about(events=events))
    mail, _ = said("email", "sendgrid", status="read", read_at=NOW)

    assert "was read on 26 Nov 2026, 14:00 UTC." in chat
    assert "WhatsApp cannot deliver to this person" in chat
    assert nothing is None
    assert "was opened on 26 Nov 2026, 14:00 UTC." in mail


def test_test_key() -> None:
    """A message of a test key reached nobody, and says so."""
    text, advice = said(status="delivered", metadata={"provider": {"test": True}})

    assert "nobody got it" in text
    assert "not for tests" in str(advice)
    failed = said(status="failed", error_code="expired", metadata={"provider": {"test": True}})
    assert "not for tests" in str(failed[1])


@pytest.mark.parametrize("status", [None, *(each for each in Status if each != "received")])
def test_test_key_in_every_state(status: str | None) -> None:
    """Whatever became of a message of a test key, it says that nobody gets it."""
    text, _ = said(status=status, metadata={"provider": {"test": True}}, **about(queued=queued()))

    assert "It is a test: nobody gets it." in text or "and nobody got it." in text


# Ended


def test_canceled() -> None:
    """By us, by the provider, or nobody noted by whom."""
    ours, nothing = said(
        status="canceled", **about(events=(event("canceled", "canceled", source="api", at=NOW),))
    )
    theirs, _ = said(
        status="canceled", **about(events=(event("canceled", "canceled", source="twilio"),))
    )

    assert (f"{TO} was canceled before it was sent on 26 Nov 2026, 14:00 UTC.", None) == (
        ours,
        nothing,
    )
    assert "was canceled by Twilio on 26 Nov 2026, 13:55 UTC." in theirs
    assert f"{TO} was canceled before it was sent." == said(status="canceled")[0]


def test_failed() -> None:
    """When, why and what to do; of a call that it was not connected."""
    columns = {"status": "failed", "failed_at": ago(minutes=2), "error_code": "30003"}
    text, advice = said(**columns)
    call, _ = said("call", status="failed", error_code="busy")

    assert (
        f"{TO} failed on 26 Nov 2026, 13:58 UTC and was not delivered. The phone could not be "
        "reached: switched off, or out of range."
    ) == text
    assert "Try again in a few hours" in str(advice)
    assert "This call to +447700900123 failed and was not connected. The line was busy." == call


def test_failed_and_sent_again() -> None:
    """Whoever looks at a failure that was retried is led to the retry."""
    retries = (Other(id=OTHER, created_at=NOW),)
    _, advice = said(status="failed", error_code="30003", **about(retries=retries))

    assert "It was sent again already: look at the new message, named below." == advice


def test_failed_and_a_retry_that_was_canceled() -> None:
    """A retry that was taken back does not count as sent: the failure's own advice stands."""
    retries = (Other(id=OTHER, created_at=NOW, status="canceled"),)
    _, advice = said(status="failed", error_code="30003", **about(retries=retries))

    assert "Try again in a few hours" in str(advice)


def test_failed_as_suppressed() -> None:
    """The list is the reason itself, and is not told twice."""
    _, advice = said(
        status="failed",
        error_code="suppressed",
        error_message="The recipient has unsubscribed.",
        **about(suppressions=("unsubscribe",)),
    )

    assert "Further messages" not in str(advice)


def test_suppressed_by_now() -> None:
    """Whatever became of a message: that no further one will leave is said."""
    both = about(suppressions=("complaint", "new words"))
    _, advice = said(status="delivered", **both)

    assert (
        "Further messages to this address are refused on this channel: they complained about a "
        "message, new words."
    ) == advice
    assert set(Reason) == outbound.SUPPRESSED.keys()


def test_names() -> None:
    """The contact's name goes first; what strangers made of it stays on one line."""
    text, _ = said(status="read", **about(contact="Ada\x1b[0m\nLovelace", contact_kind="lead"))

    assert "This SMS to Ada [0m Lovelace (+447700900123) was read." == text
    assert "This WhatsApp message to" in said("whatsapp", status="read")[0]


@pytest.mark.parametrize("status", [None, "pending", "a word of somebody's"])
@pytest.mark.parametrize("metadata", [None, [], {"provider": "x"}])
def test_rows_of_others(status: str | None, metadata: Any) -> None:
    """A row that the gateway did not write is explained all the same."""
    text, advice = said("sms", None, status=status, metadata=metadata)

    assert "it is not in the queue" in text
    assert advice
