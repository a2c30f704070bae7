"""What SES reports through SNS."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.model import Channel, Status
from tests.mails import ID
from tests.ses.values import EXTERNAL_ID, SUBSCRIBE_URL, TOPIC, account, envelope, request
from webhooks import ses
from webhooks.model import (
    ConsentChange,
    Fetch,
    Reason,
    Reply,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookEvent,
)

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
MAIL = {
    "timestamp": "2026-01-02T03:04:00.000Z",
    "messageId": EXTERNAL_ID,
    "destination": ["them@example.net"],
    "tags": {"message_id": [str(ID)], "ses:configuration-set": ["main"]},
}
THEM = {"emailAddress": "them@example.net"}


def told(name: str, **parts: Any) -> dict[str, Any]:
    """An event as SES publishes it."""
    return {"eventType": name, "mail": MAIL, **parts}


def bounce(kind: str = "Permanent", subtype: str = "General", **more: Any) -> dict[str, Any]:
    """A bounce of this type."""
    about = {
        "bounceType": kind,
        "bounceSubType": subtype,
        "bouncedRecipients": [THEM | {"status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 no"}],
        "timestamp": "2026-01-02T03:04:02.000Z",
        "feedbackId": "f-1",
    }
    return told("Bounce", bounce=about | more)


def parse(message: object, event: str = "events", **fields: Any) -> list[WebhookEvent]:
    """The events of a notification with this message."""
    return list(ses.parse(request(envelope(message, **fields), event=event)))


def test_a_delivery() -> None:
    """A report has both ids, the recipient, the time of SNS, and what else was said."""
    about = {
        "timestamp": "2026-01-02T03:04:02.000Z",
        "recipients": ["them@example.net"],
        "smtpResponse": "250 ok",
    }
    [report] = parse(told("Delivery", delivery=about))
    assert isinstance(report, StatusReport)
    expected = StatusReport(
        external_id=EXTERNAL_ID,
        message_id=ID,
        status=Status.DELIVERED,
        word="Delivery",
        key=report.key,
        occurred_at=AT,
        detail={
            "recipient": "them@example.net",
            "timestamp": "2026-01-02T03:04:02.000Z",
            "smtpResponse": "250 ok",
        },
    )
    assert expected == report
    assert report.key.startswith(f"ses:{EXTERNAL_ID}:Delivery:")


def test_a_hard_bounce() -> None:
    """The mail has failed, and the address is not written to any more."""
    report, change = parse(bounce())
    assert isinstance(report, StatusReport)
    assert Status.FAILED == report.status
    assert "5.1.1" == report.error_code
    message = "The recipient's mail server refused it for good: smtp; 550 5.1.1 no"
    assert message == report.error_message
    expected = ConsentChange(
        channel=Channel.EMAIL,
        reason=Reason.HARD_BOUNCE,
        address="them@example.net",
        message_id=ID,
        external_id=EXTERNAL_ID,
        word="Bounce",
        key=report.key,
        occurred_at=AT,
        detail=report.detail,
    )
    assert expected == change


IN, OUT = {"unsubscribeAll": False}, {"unsubscribeAll": True}
TOPICS_OUT = {
    "unsubscribeAll": False,
    "topicSubscriptionStatus": [{"topicName": "a", "subscriptionStatus": "OptOut"}],
}
TOPICS_MIXED = {
    "topicSubscriptionStatus": [
        {"topicName": "a", "subscriptionStatus": "OptOut"},
        {"topicName": "b", "subscriptionStatus": "OptIn"},
        5,
    ]
}


def subscription(old: object, new: object) -> dict[str, Any]:
    """A change of what somebody wants."""
    about = {"oldTopicPreferences": old, "newTopicPreferences": new}
    return told("Subscription", subscription=about)


@pytest.mark.parametrize(
    ("message", "status", "consent"),
    [
        (told("Send", send={}), Status.SENT, None),
        (told("Open", open={"ipAddress": "192.0.2.1"}), Status.READ, None),
        (told("Click", click={"link": "https://a.example/"}), None, None),
        (told("DeliveryDelay", deliveryDelay={"delayedRecipients": [THEM]}), None, None),
        (told("Reject", reject={"reason": "Bad content"}), Status.FAILED, None),
        (told("Rendering Failure", failure={"errorMessage": "No name"}), Status.FAILED, None),
        (told("Whatever"), None, None),
        (bounce("Permanent", "NoEmail"), Status.FAILED, (Reason.HARD_BOUNCE, False)),
        (bounce("Permanent", "Suppressed"), Status.FAILED, (Reason.HARD_BOUNCE, False)),
        (bounce("Permanent", "OnTenantSuppressionList"), Status.FAILED,
         (Reason.HARD_BOUNCE, False)),
        (bounce("Permanent", "EmailValidationSuppressed"), Status.FAILED,
         (Reason.HARD_BOUNCE, False)),
        (bounce("Permanent", "OnAccountSuppressionList"), Status.FAILED,
         (Reason.HARD_BOUNCE, False)),
        (bounce("Permanent", "UnsubscribedRecipient"), Status.FAILED, (Reason.UNSUBSCRIBE, False)),
        (bounce("Permanent", "Another"), Status.FAILED, None),
        (bounce("Transient", "MailboxFull"), Status.FAILED, None),
        (bounce("Transient", "MessageTooLarge", bouncedRecipients=[THEM]), Status.FAILED, None),
        (bounce("Transient"), None, None),
        (bounce("Transient", bouncedRecipients=[THEM | {"action": "failed"}]), Status.FAILED, None),
        (bounce("Transient", bouncedRecipients=[THEM | {"action": "delayed"}]), None, None),
        (bounce("Undetermined", "Undetermined"), None, None),
        (bounce("Undetermined", "Undetermined", bouncedRecipients=[THEM | {"action": "failed"}]),
         Status.FAILED, None),
        (told("Complaint", complaint={"complainedRecipients": [THEM]}), None,
         (Reason.COMPLAINT, False)),
        (told("Complaint", complaint={"complaintFeedbackType": "abuse"}), None,
         (Reason.COMPLAINT, False)),
        (told("Complaint", complaint={"complaintFeedbackType": "not-spam"}), None, None),
        (told("Complaint", complaint={"complaintFeedbackType": "auth-failure"}), None, None),
        (told("Complaint", complaint={"complaintSubType": "OnAccountSuppressionList"}),
         Status.FAILED, (Reason.COMPLAINT, False)),
        (subscription(IN, OUT), None, (Reason.UNSUBSCRIBE, False)),
        (subscription(OUT, IN), None, (Reason.UNSUBSCRIBE, True)),
        (subscription(IN, TOPICS_OUT), None, (Reason.UNSUBSCRIBE, False)),
        (subscription(TOPICS_OUT, TOPICS_MIXED), None, (Reason.UNSUBSCRIBE, True)),
        (subscription(IN, TOPICS_MIXED), None, None),
        (subscription(None, None), None, None),
    ],
)  # fmt: skip
def test_every_word(
    message: dict[str, Any], status: Status | None, consent: tuple[Reason, bool] | None
) -> None:
    """What a word means for the mail, and what for the address."""
    report, *changes = parse(message)
    assert isinstance(report, StatusReport)
    assert (message["eventType"], status) == (report.word, report.status)
    found = [(each.reason, each.is_lifted) for each in changes if isinstance(each, ConsentChange)]
    assert ([consent] if consent else []) == found
    named = [each.address for each in changes if isinstance(each, ConsentChange)]
    assert ["them@example.net"] * len(changes) == named


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (bounce(bouncedRecipients=[THEM]), "General",
         "The recipient's mail server refused it for good."),
        (bounce(bouncedRecipients=[THEM], bounceSubType=None), "Bounce",
         "The recipient's mail server refused it for good."),
        (bounce("Transient", "MailboxFull", bouncedRecipients=[THEM]), "MailboxFull",
         "The recipient's mail server did not take it, and SES tries no more."),
        (bounce("Permanent", "Suppressed"), "Suppressed",
         "SES did not send it: the address bounced or complained before."),
        (bounce("Permanent", "EmailValidationSuppressed"), "EmailValidationSuppressed",
         "SES did not send it: it found the address not to be one that takes mails."),
        (bounce("Permanent", "UnsubscribedRecipient"), "UnsubscribedRecipient",
         "SES did not send it: the recipient has unsubscribed from the list."),
        (told("Complaint", complaint={"complaintSubType": "OnTenantSuppressionList"}),
         "OnTenantSuppressionList",
         "SES did not send it: the address bounced or complained before."),
        (told("Complaint", complaint={"complaintSubType": "OnAccountSuppressionList"}),
         "OnAccountSuppressionList",
         "SES did not send it: the address bounced or complained before."),
        (told("Reject", reject={"reason": "Bad content"}), "Reject",
         "SES rejected the mail: Bad content"),
        (told("Rendering Failure", failure={"errorMessage": "No name"}), "Rendering Failure",
         "SES could not make the mail: No name"),
        (told("Rendering Failure"), "Rendering Failure", "SES could not make the mail."),
        (told("Send"), None, None),
    ],
)  # fmt: skip
def test_errors(message: dict[str, Any], code: str | None, words: str | None) -> None:
    """Why a mail has failed, in plain words."""
    report = parse(message)[0]
    assert isinstance(report, StatusReport)
    assert (code, words) == (report.error_code, report.error_message)


def test_several_recipients() -> None:
    """Each recipient has a report with a key of its own; one that cannot be read costs no other."""
    listed = [THEM, {"emailAddress": "b@example.net"}, THEM, {"x": 1}, None, 5]
    went_to = MAIL | {"destination": ["Them <THEM@example.net>", "b@example.net", None]}
    events = parse(bounce(bouncedRecipients=listed) | {"mail": went_to})
    reports = [each for each in events if isinstance(each, StatusReport)]
    changes = [each for each in events if isinstance(each, ConsentChange)]
    expected = ["them@example.net", "b@example.net", "5"]
    assert expected == [each.detail["recipient"] for each in reports]
    assert ["THEM@example.net", "b@example.net", None] == [each.address for each in changes]
    assert 3 == len({each.key for each in reports})


def test_a_bounce_that_names_somebody_else() -> None:
    """A mail that was sent on, or a mail server that lies: the address is the one written to."""
    report, change = parse(bounce(bouncedRecipients=[{"emailAddress": "other@example.org"}]))
    assert isinstance(report, StatusReport)
    assert isinstance(change, ConsentChange)
    assert ("other@example.org", "them@example.net") == (report.detail["recipient"], change.address)


@pytest.mark.parametrize("destination", [None, [], "x", [{}]])
def test_no_recipients(destination: object) -> None:
    """Where no recipient is named, the one of our message is meant."""
    about = {"eventType": "Complaint", "mail": MAIL | {"destination": destination}}
    report, change = parse(about)
    assert isinstance(report, StatusReport)
    assert isinstance(change, ConsentChange)
    assert ("", None) == (report.detail["recipient"], change.address)


@pytest.mark.parametrize(
    ("mail", "message_id"),
    [
        (MAIL | {"tags": {"message_id": [str(ID)]}}, ID),
        (MAIL | {"tags": {"message_id": []}}, None),
        (MAIL | {"tags": {"message_id": ["x"]}}, None),
        (MAIL | {"tags": None}, None),
        (MAIL | {"tags": {}, "headers": [{"name": "Message-ID", "value": f"<{ID}@a.example>"}]},
         ID),
        (MAIL | {"tags": {}, "headers": [5, {"name": "To", "value": "x"},
                                         {"name": "message-id", "value": "<other@a>"}]}, None),
        (MAIL | {"tags": {}, "headers": "x"}, None),
    ],
)  # fmt: skip
def test_our_id(mail: dict[str, Any], message_id: object) -> None:
    """Our id is the tag, or stands in the Message-ID that we gave the mail."""
    [report] = parse({"notificationType": "Delivery", "mail": mail})
    assert isinstance(report, StatusReport)
    assert (EXTERNAL_ID, message_id) == (report.external_id, report.message_id)


def test_our_id_is_enough() -> None:
    """A report without SES's id is one of ours by the tag."""
    [report] = parse(told("Send") | {"mail": {"tags": {"message_id": [str(ID)]}}})
    assert isinstance(report, StatusReport)
    assert (None, ID) == (report.external_id, report.message_id)


def test_keys() -> None:
    """A report has the same key whenever and however it comes; another has another."""
    click = {"timestamp": "2026-01-02T03:04:02.000Z", "link": "https://a.example/"}
    messages = [
        told("Click", click=click),
        told("Click", click=click | {"link": "https://b.example/"}),
        told("Click", click=click | {"timestamp": "2026-01-02T03:04:03.000Z"}),
        told("Open", open=click),
        told("Click", click=click) | {"mail": MAIL | {"messageId": "another"}},
    ]
    events = [parse(each)[0] for each in messages]
    events += parse(messages[0], MessageId="another", Timestamp="2026-01-02T04:00:00.000Z")
    keys = [each.key for each in events if isinstance(each, StatusReport)]
    assert keys[0] == keys[-1]
    assert len(messages) == len(set(keys))


def test_a_subscription_to_confirm() -> None:
    """SNS's own address is visited, once."""
    told = envelope(
        "You have chosen", Type="SubscriptionConfirmation", SubscribeURL=SUBSCRIBE_URL, Token="a"
    )
    [fetch] = ses.parse(request(told))
    assert isinstance(fetch, Fetch)
    assert Fetch(url=SUBSCRIBE_URL, key=fetch.key, is_visit=True) == fetch
    assert [fetch] == ses.parse(request(told, event="inbound"))


@pytest.mark.parametrize(
    "url",
    [
        None,
        5,
        "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://evil.example/?Action=ConfirmSubscription",
        "https://sns.eu-west-1.amazonaws.com@evil.example/?a",
        "https://sns.eu-west-1.amazonaws.com:99/?a",
        "https://sns.eu-west-1.amazonaws.com/x?a",
        "https://sns.eu-west-1.amazonaws.com/?a b",
    ],
)
def test_a_subscription_elsewhere(url: object) -> None:
    """Another address is not visited."""
    told = envelope("", Type="SubscriptionConfirmation", SubscribeURL=url)
    expected = [Unknown(word="SubscriptionConfirmation", detail={"topic": TOPIC})]
    assert expected == ses.parse(request(told))


def test_the_end_of_a_subscription() -> None:
    """It is kept, and nothing is done."""
    told = envelope("", Type="UnsubscribeConfirmation", SubscribeURL=SUBSCRIBE_URL)
    expected = [Unknown(word="UnsubscribeConfirmation", detail={"topic": TOPIC})]
    assert expected == ses.parse(request(told))


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("Successfully validated SNS topic for Amazon SES event publishing.", "Notification"),
        ("[" * 100_000, "Notification"),
        ("[1]", "unreadable"),
        ({}, "unreadable"),
        ({"eventType": "Send"}, "Send"),
        ({"eventType": ["Send"], "mail": MAIL}, "unreadable"),
        ({"notificationType": "AmazonSnsSubscriptionSucceeded"}, "AmazonSnsSubscriptionSucceeded"),
    ],
)
def test_what_is_no_report(message: object, word: str) -> None:
    """What names no mail, or is no JSON, is kept as it is."""
    [event] = parse(message)
    assert isinstance(event, Unknown)
    assert word == event.word


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"Type": "Another"}', b'{"Type": "Notification", "Message": 5}'],
)
def test_what_cannot_be_read(body: bytes) -> None:
    """What is no message of SNS is unreadable."""
    with pytest.raises(Unreadable):
        ses.parse(request(body))


def test_another_event() -> None:
    """An event that SES does not have is unknown."""
    assert [Unknown(word="other")] == parse({}, event="other")


def test_replies() -> None:
    """SNS looks at the status alone."""
    assert Reply(status=200) == ses.reply(request({}), [], account())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
NAMES = ["bounceType", "bounceSubType", "bouncedRecipients", "timestamp", "link", "recipients"]


@given(
    name=st.sampled_from(["Bounce", "Delivery", "Complaint", "Click", "Subscription", "Received"]),
    about=json_values | st.dictionaries(st.sampled_from(NAMES), json_values),
    mail=st.dictionaries(st.sampled_from([*MAIL, "headers", "source"]), json_values),
    receipt=json_values,
    content=json_values,
)
def test_nothing_breaks_it(
    name: str, about: object, mail: object, receipt: object, content: object
) -> None:
    """Whatever the fields hold, there is an answer."""
    message = {
        "notificationType": name,
        name.lower(): about,
        "mail": mail,
        "receipt": receipt,
        "content": content,
    }
    assert parse(message)
