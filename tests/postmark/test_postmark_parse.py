"""What Postmark's webhooks tell."""

import base64
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.model import Attachment, Channel, Status
from tests.mails import ID
from tests.postmark.values import EXTERNAL_ID, account, request
from webhooks import postmark
from webhooks.model import (
    ConsentChange,
    Inbound,
    InvalidSignature,
    Reason,
    Reply,
    StatusReport,
    Unknown,
    Unreadable,
)

METADATA = {"message_id": str(ID)}
AT = "2026-01-02T03:04:05.1234567-05:00"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=timezone(timedelta(hours=-5)))


def event(record: str, **more: Any) -> dict[str, Any]:
    """One of Postmark's events."""
    return {"RecordType": record, "MessageID": EXTERNAL_ID, "Metadata": METADATA, **more}


def bounce(kind: str, **more: Any) -> dict[str, Any]:
    """A bounce of this type."""
    told = {
        "ID": 42,
        "Type": kind,
        "TypeCode": 1,
        "Name": "A bounce",
        "Description": "It came back.",
        "Details": "smtp;550 5.1.1 no",
        "Email": "them@example.net",
        "BouncedAt": AT,
        "Content": "the whole mail",
    }
    return event("Bounce", **(told | more))


def test_a_delivery() -> None:
    """A report has both ids, Postmark's time to the microsecond, and what else was said."""
    told = event("Delivery", Recipient="them@example.net", DeliveredAt=AT, Details="250 ok", Tag="")
    [report] = postmark.parse(request(told))
    assert isinstance(report, StatusReport)
    expected = StatusReport(
        external_id=EXTERNAL_ID,
        message_id=ID,
        status=Status.DELIVERED,
        word="Delivery",
        key=report.key,
        occurred_at=MOMENT,
        detail={"Recipient": "them@example.net", "DeliveredAt": AT, "Details": "250 ok"},
    )
    assert expected == report
    assert report.key.startswith(f"postmark:{EXTERNAL_ID}:Delivery:")


def test_a_hard_bounce() -> None:
    """The mail has failed, and the address is not written to any more."""
    report, change = postmark.parse(request(bounce("HardBounce", Inactive=True)))
    assert isinstance(report, StatusReport)
    assert Status.FAILED == report.status
    assert ("1", "It came back. smtp;550 5.1.1 no") == (report.error_code, report.error_message)
    assert "Content" not in report.detail
    expected = ConsentChange(
        channel=Channel.EMAIL,
        reason=Reason.HARD_BOUNCE,
        group="outbound",
        is_accounts=True,
        address="them@example.net",
        message_id=ID,
        external_id=EXTERNAL_ID,
        word="HardBounce",
        key=report.key,
        occurred_at=MOMENT,
        detail=report.detail,
    )
    assert expected == change


@pytest.mark.parametrize(
    ("told", "word", "status", "consent"),
    [
        (event("Open", ReceivedAt=AT), "Open", Status.READ, None),
        (event("Click", ReceivedAt=AT), "Click", None, None),
        (event("Whatever"), "Whatever", None, None),
        (bounce("SoftBounce"), "SoftBounce", Status.FAILED, None),
        (bounce("SoftBounce", Inactive=True), "SoftBounce", Status.FAILED,
         (Reason.HARD_BOUNCE, False)),
        (bounce("Blocked"), "Blocked", Status.FAILED, None),
        (bounce("BadEmailAddress"), "BadEmailAddress", Status.FAILED, (Reason.HARD_BOUNCE, False)),
        (bounce("DMARCPolicy"), "DMARCPolicy", Status.FAILED, None),
        (bounce("VirusNotification"), "VirusNotification", Status.FAILED, None),
        (bounce("ManuallyDeactivated"), "ManuallyDeactivated", Status.FAILED,
         (Reason.MANUAL, False)),
        (bounce("Unconfirmed"), "Unconfirmed", Status.FAILED, None),
        (bounce("SMTPApiError"), "SMTPApiError", Status.FAILED, None),
        (bounce("TemplateRenderingFailed"), "TemplateRenderingFailed", Status.FAILED, None),
        (bounce("Transient"), "Transient", None, None),
        (bounce("DnsError"), "DnsError", None, None),
        (bounce("AutoResponder"), "AutoResponder", None, None),
        (bounce("SpamNotification"), "SpamNotification", None, None),
        (bounce("Unknown"), "Unknown", None, None),
        (bounce("Unsubscribe"), "Unsubscribe", None, (Reason.UNSUBSCRIBE, False)),
        (bounce("Subscribe"), "Subscribe", None, (Reason.UNSUBSCRIBE, True)),
        (bounce(""), "Bounce", None, None),
        (event("SpamComplaint", Type="SpamComplaint"), "SpamComplaint", None,
         (Reason.COMPLAINT, False)),
        (event("SubscriptionChange", SuppressSending=True), "SubscriptionChange", None,
         (Reason.UNSUBSCRIBE, False)),
        (event("SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression",
               Origin="Recipient"), "SubscriptionChange", None, (Reason.UNSUBSCRIBE, False)),
        (event("SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression",
               Origin="Customer"), "SubscriptionChange", None, (Reason.MANUAL, False)),
        (event("SubscriptionChange", SuppressSending=True, SuppressionReason="HardBounce",
               Origin="Recipient"), "SubscriptionChange", None, (Reason.HARD_BOUNCE, False)),
        (event("SubscriptionChange", SuppressSending=True, SuppressionReason="SpamComplaint"),
         "SubscriptionChange", None, (Reason.COMPLAINT, False)),
    ],
)  # fmt: skip
def test_every_word(
    told: dict[str, Any], word: str, status: Status | None, consent: tuple[Reason, bool] | None
) -> None:
    """What a word means for the mail, and what for the address."""
    report, *changes = postmark.parse(request(told))
    assert isinstance(report, StatusReport)
    assert (word, status) == (report.word, report.status)
    given = [(each.reason, each.is_lifted) for each in changes if isinstance(each, ConsentChange)]
    assert ([consent] if consent else []) == given


@pytest.mark.parametrize("origin", ["Recipient", "Customer", "Admin", None])
def test_a_reactivation(origin: object) -> None:
    """Postmark writes to an address again: for whatever it was on Postmark's list, it is not any
    more. Of others' words only that of the recipient is taken back, by the recipient."""
    told = event("SubscriptionChange", SuppressSending=False, SuppressionReason=None, Tag=None,
                 Origin=origin, Recipient="them@example.net", ChangedAt=AT)  # fmt: skip
    told |= {"MessageID": None, "Metadata": {}}
    unknown, *changes = postmark.parse(request(told))
    by_them = origin not in ("Customer", "Admin")

    assert isinstance(unknown, Unknown)
    found = {c.reason: c.is_own for c in changes if isinstance(c, ConsentChange) and c.is_lifted}
    assert {
        Reason.UNSUBSCRIBE: not by_them,
        Reason.HARD_BOUNCE: True,
        Reason.COMPLAINT: True,
        Reason.MANUAL: True,
    } == found
    keys = {c.key for c in changes if isinstance(c, ConsentChange)}
    assert len(changes) == len(keys)
    assert {"them@example.net"} == {c.address for c in changes if isinstance(c, ConsentChange)}


def test_which_list_it_is_about() -> None:
    """Each stream has a list, of which several may change at once; an old event names none."""
    told = event("SubscriptionChange", SuppressSending=False, SuppressionReason=None, Tag=None,
                 Origin="Customer", Recipient="them@example.net", ChangedAt=AT)  # fmt: skip
    told |= {"MessageID": None, "Metadata": {}}
    streams = ("broadcast", "outbound", None)
    changes = [
        each
        for stream in streams
        for each in postmark.parse(request(told | {"MessageStream": stream}))
        if isinstance(each, ConsentChange)
    ]
    assert 12 == len(changes)
    assert {("broadcast", True), ("outbound", True)} == {(c.group, c.is_accounts) for c in changes}
    assert 2 * 4 == len({c.key for c in changes})


def test_a_manual_suppression() -> None:
    """What staff put on Postmark's list names no mail, and counts all the same."""
    told = event("SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression",
                 Origin="Customer", Recipient="them@example.net", ChangedAt=AT)  # fmt: skip
    unknown, change = postmark.parse(request(told | {"MessageID": None, "Metadata": {}}))
    assert isinstance(unknown, Unknown)
    assert isinstance(change, ConsentChange)
    assert (Reason.MANUAL, "them@example.net") == (change.reason, change.address)
    assert MOMENT == change.occurred_at


def test_our_id_is_enough() -> None:
    """A report that overtook the answer of the send finds its message; no address is no harm."""
    told = event("SubscriptionChange", SuppressSending=True, MessageID=None)
    report, change = postmark.parse(request(told))
    assert isinstance(report, StatusReport)
    assert isinstance(change, ConsentChange)
    assert (None, ID) == (report.external_id, report.message_id)
    assert (None, ID, None) == (change.external_id, change.message_id, change.address)


@pytest.mark.parametrize("metadata", [None, 5, [], {"message_id": "x"}, {"message_id": 5}])
def test_metadata_of_others(metadata: object) -> None:
    """Metadata that is not ours names no message of ours."""
    [report] = postmark.parse(request(event("Open") | {"Metadata": metadata}))
    assert isinstance(report, StatusReport)
    assert report.message_id is None
    assert report.occurred_at is None


def test_keys() -> None:
    """The same report has the same key, another has another."""
    click = event("Click", ReceivedAt=AT, OriginalLink="https://a.example/", Recipient="a@b.c")
    others = [
        click | {"OriginalLink": "https://b.example/"},
        click | {"ReceivedAt": "2026-01-02T03:04:06Z"},
        click | {"RecordType": "Open"},
        click | {"Recipient": "b@b.c"},
        click | {"MessageID": "another"},
        bounce("HardBounce"),
        bounce("HardBounce", ID=43),
    ]
    events = [postmark.parse(request(each))[0] for each in [click, click, *others]]
    keys = [each.key for each in events if isinstance(each, StatusReport)]
    assert keys[0] == keys[1]
    assert len(others) == len(set(keys[1:])) - 1


@pytest.mark.parametrize(
    "told",
    [
        bounce("HardBounce", BouncedAt=AT),
        bounce("SpamComplaint", BouncedAt=AT),
        event("Delivery", DeliveredAt=AT),
        event("Open", FirstOpen=True, ReceivedAt=AT),
        event("Click", OriginalLink="https://a.example/", ReceivedAt=AT),
        event("SubscriptionChange", SuppressSending=True, Recipient="a@b.c", ChangedAt=AT),
    ],
)
def test_without_the_kind(told: dict[str, Any]) -> None:
    """Events of old webhooks do not say what they are: what they have tells."""
    old = {name: value for name, value in told.items() if name != "RecordType"}
    assert postmark.parse(request(told)) == postmark.parse(request(old))


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({}, "unreadable"),
        ({"RecordType": "Open"}, "Open"),
        ({"MessageID": EXTERNAL_ID}, "unreadable"),
        ({"RecordType": ["Open"], "MessageID": {"x": 1}, "Extra": "y"}, "unreadable"),
    ],
)
def test_what_names_no_message(told: dict[str, Any], word: str) -> None:
    """A report without a word or a message is kept as it is."""
    [event] = postmark.parse(request(told))
    assert isinstance(event, Unknown)
    assert word == event.word


@pytest.mark.parametrize("event", ["events", "inbound"])
@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"1", b"[" * 100_000, b"\xff"])
def test_what_cannot_be_read(body: bytes, event: str) -> None:
    """What is no JSON object is unreadable."""
    with pytest.raises(Unreadable):
        postmark.parse(request(body, event))


def test_another_event() -> None:
    """An event that Postmark does not have is unknown."""
    assert [Unknown(word="other")] == postmark.parse(request({}, "other"))


def test_bounds() -> None:
    """Nothing that is kept is longer than it may be, or what the database cannot hold."""
    told = event(
        "Open", UserAgent="x" * 100_000, Nul="a\0b\ud800", **{f"n{i}": i for i in range(99)}
    )
    [report] = postmark.parse(request(told))
    assert isinstance(report, StatusReport)
    assert 40 == len(report.detail)
    assert "x" * 1000 == report.detail["UserAgent"]
    assert "ab?" == report.detail["Nul"]


def test_signatures() -> None:
    """The secret in the URL is the account's, and one without secret takes nothing."""
    postmark.verify(request({}), account())
    for bad, held in [
        (request({}, query="?secret=other"), account()),
        (request({}, query=""), account()),
        (request({}), account(webhook_secret="")),
    ]:
        with pytest.raises(InvalidSignature):
            postmark.verify(bad, held)


def test_replies() -> None:
    """Postmark wants a 200."""
    assert Reply(status=200) == postmark.reply(request({}), [], account())


LETTER: dict[str, Any] = {
    "FromFull": {"Email": "Them@example.net", "Name": 'Jörg "T" Them', "MailboxHash": ""},
    "From": "them@example.net",
    "ToFull": [{"Email": "reply+token@in.example.com", "MailboxHash": "token"}, 5, {"Name": "x"}],
    "CcFull": [{"Email": "other@example.org"}],
    "BccFull": None,
    "OriginalRecipient": "hash@inbound.postmarkapp.com",
    "Subject": "Re: Grüße",
    "MessageID": EXTERNAL_ID,
    "TextBody": "Ja!\n\nOn Fri, 2 Jan 2026 Us <us@example.com> wrote:\n> Ja?",
    "HtmlBody": "<p onclick=x()>Ja!</p><script>x()</script>",
    "StrippedTextReply": "Ja!",
    "Headers": [
        {"Name": "Return-Path", "Value": "<them@example.net>"},
        {"Name": "Message-ID", "Value": "<m1@example.net>"},
        {"Name": "In-Reply-To", "Value": f"<{ID}@example.com>"},
        {"Name": "Date", "Value": "Fri, 02 Jan 2026 03:04:05 +0000"},
        {"Name": "X-Spam-Score", "Value": "-0.1"},
        {"Name": 5, "Value": "x"},
        "broken",
    ],
    "ReplyTo": "Ann <ann@example.net>",
    "Attachments": [
        {"Name": "a.txt", "Content": "AP8=", "ContentType": "text/plain", "ContentID": "<c1>"},
        {"Name": "test.txt", "Data": "eA==", "ContentType": "text/plain"},
        {"Name": "bad.txt", "Content": "A", "ContentType": "text/plain"},
        {"Name": "none.txt", "ContentType": "text/plain"},
    ],
}


def test_a_letter() -> None:
    """A mail as Postmark read it: new text, harmless HTML, files, what it answers, to whom."""
    [letter] = postmark.parse(request(LETTER, "inbound"))
    assert isinstance(letter, Inbound)
    text = "text/plain"
    assert (
        Attachment(filename="a.txt", content_type=text, size=2, content=b"\0\xff", content_id="c1"),
        Attachment(filename="test.txt", content_type=text, size=1, content=b"x"),
        Attachment(filename="bad.txt", content_type=text),
        Attachment(filename="none.txt", content_type=text),
    ) == letter.attachments
    assert "script" not in (letter.html_body or "")
    assert "onclick" not in (letter.html_body or "")
    assert ("m1@example.net", "Them@example.net", "Ja!", "Re: Grüße") == (
        letter.external_id,
        letter.from_address,
        letter.body,
        letter.subject,
    )
    assert "hash@inbound.postmarkapp.com" == letter.to_address
    assert ("reply+token@in.example.com", "other@example.org") == letter.recipients[1:3]
    assert (f"{ID}@example.com",) == letter.references
    assert datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) == letter.occurred_at
    assert 'Jörg "T" Them' == letter.detail["from_name"]
    assert EXTERNAL_ID == letter.detail["postmark_message_id"]
    assert "ann@example.net" == letter.detail["reply_to"]
    assert "-0.1" == letter.detail["X-Spam-Score"]


def test_when_a_letter_was_written() -> None:
    """Postmark tells when where it leaves out the header, with a colon in the zone."""
    given = LETTER | {"Headers": [], "Date": "Fri, 1 Aug 2014 16:45:32 -04:00"}
    [letter] = postmark.parse(request(given, "inbound"))
    assert isinstance(letter, Inbound)
    assert datetime(2014, 8, 1, 20, 45, 32, tzinfo=UTC) == letter.occurred_at


def test_more_files_than_are_kept() -> None:
    """A hundred files are kept, and that there were more is said."""
    file = {"Name": "a.txt", "Content": "eA==", "ContentType": "text/plain"}
    for number, said in ((100, None), (101, "The mail has more than 100 files.")):
        [message] = postmark.parse(request(LETTER | {"Attachments": [file] * number}, "inbound"))
        assert isinstance(message, Inbound)
        assert (100, said) == (len(message.attachments), message.detail.get("left_out"))


def test_a_bare_letter() -> None:
    """A mail with next to nothing in it is a mail."""
    [letter] = postmark.parse(
        request(
            {"From": "Them <them@example.net>", "To": "us@example.com", "MessageID": "p1"},
            "inbound",
        )
    )
    assert isinstance(letter, Inbound)
    assert ("p1", "them@example.net", "us@example.com", "", None) == (
        letter.external_id,
        letter.from_address,
        letter.to_address,
        letter.body,
        letter.subject,
    )


def test_nobodys_letter() -> None:
    """What names no sender is kept as it is."""
    [event] = postmark.parse(request({"Subject": "x", "To": "us@example.com"}, "inbound"))
    assert Unknown(word="unreadable", detail={"To": "us@example.com"}) == event


def test_a_letter_at_the_url_of_events() -> None:
    """A mail is a mail at whichever URL it comes in, also as a whole."""
    for told in (LETTER, {"FromFull": LETTER["FromFull"], "RawEmail": RAW}):
        [letter] = postmark.parse(request(told, "events"))
        assert isinstance(letter, Inbound)
        assert [letter] == postmark.parse(request(told, "inbound"))


@pytest.mark.parametrize(
    ("told", "kinds"),
    [
        (bounce("HardBounce"), [StatusReport, ConsentChange]),
        (bounce("HardBounce") | {"RecordType": None}, [StatusReport, ConsentChange]),
        (
            event("SpamComplaint", Email="them@example.net", From="us@example.com", Subject="x"),
            [StatusReport, ConsentChange],
        ),
        (event("Delivery", Recipient="them@example.net", DeliveredAt=AT), [StatusReport]),
    ],
)
def test_events_at_the_url_of_mails(told: dict[str, Any], kinds: list[type]) -> None:
    """An event is the same at whichever URL it comes in, and never a mail from our own sender."""
    events = postmark.parse(request(told, "inbound"))
    assert kinds == [type(each) for each in events]
    assert events == postmark.parse(request(told, "events"))


RAW = """\
From: Them <them@example.net>
To: us@example.com
Message-ID: <raw@example.net>
Subject: Whole
Content-Type: text/plain; charset=utf-8

Grüße
"""


def test_a_whole_mail() -> None:
    """Where Postmark hands over the whole mail, that is read."""
    [letter] = postmark.parse(request({**LETTER, "RawEmail": RAW}, "inbound"))
    assert isinstance(letter, Inbound)
    assert ("raw@example.net", "Whole", "Grüße") == (
        letter.external_id,
        letter.subject,
        letter.body.strip(),
    )
    assert "hash@inbound.postmarkapp.com" == letter.to_address
    assert EXTERNAL_ID == letter.detail["postmark_message_id"]


def test_a_whole_mail_without_envelope() -> None:
    """A mail is read by its own headers where Postmark tells no others."""
    [letter] = postmark.parse(
        request({"RawEmail": RAW, "Headers": [{"Name": "A", "Value": "b"}]}, "inbound")
    )
    assert isinstance(letter, Inbound)
    assert "us@example.com" == letter.to_address


def test_a_robot() -> None:
    """A mail of a robot is marked, so that nobody answers it."""
    headers = [{"Name": "Auto-Submitted", "Value": "auto-replied"}]
    [letter] = postmark.parse(request({**LETTER, "Headers": headers}, "inbound"))
    assert isinstance(letter, Inbound)
    assert letter.detail["auto_submitted"] is True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
NAMES = sorted({*LETTER, *bounce(""), "SuppressSending", "SuppressionReason", "RawEmail"})


@given(
    told=st.dictionaries(st.sampled_from(NAMES), json_values),
    event=st.sampled_from(["events", "inbound"]),
)
def test_nothing_breaks_it(told: dict[str, Any], event: str) -> None:
    """Whatever the fields hold, there is an answer."""
    assert postmark.parse(request(told, event))


def test_base64_of_a_large_file() -> None:
    """A file of some megabytes is read."""
    content = base64.b64encode(b"x" * 3 * 2**20).decode()
    [letter] = postmark.parse(
        request({**LETTER, "Attachments": [{"Name": "a", "Content": content}]}, "inbound")
    )
    assert isinstance(letter, Inbound)
    assert 3 * 2**20 == letter.attachments[0].size
