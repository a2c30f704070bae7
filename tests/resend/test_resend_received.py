"""Mails that come in: what is fetched, from where, and what becomes of it."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.model import Attachment, Channel, Status
from tests.mails import ID
from tests.resend.values import AT, EMAIL_ID, MOMENT, RECEIVED, fetched
from webhooks import resend
from webhooks.model import (
    Addition,
    ConsentChange,
    Fetch,
    Inbound,
    StatusReport,
    Unknown,
    Unreadable,
)

RAW = "https://cdn.example.com/mail?signature=a%2Fb"
MIME = (
    b"From: Them <them@example.net>\r\nTo: us@example.com\r\nSubject: Raw\r\n"
    b"Message-ID: <m2@example.net>\r\n\r\nHello\r\n"
)


def mail(**more: Any) -> dict[str, Any]:
    """A mail as Resend's API gives it; None stays, as Resend writes it."""
    usual: dict[str, Any] = {
        "object": "email",
        "id": EMAIL_ID,
        "from": "Jörg <them@example.net>",
        "to": ["Us <us+token@example.com>"],
        "cc": ["other@example.org"],
        "bcc": [],
        "subject": "Re: Grüße",
        "message_id": "<m1@example.net>",
        "text": "Hello\n\nOn Monday, Us wrote:\n> Hi\n",
        "html": "<p onclick='x()'>Hello</p>",
        "headers": {
            "in-reply-to": "<a@example.com>",
            "references": "<b@example.com> <a@example.com>",
            "received": ["from x", "from y"],
            "odd": 5,
        },
        "attachments": [],
        "raw": {"download_url": RAW, "expires_at": AT},
        "created_at": AT,
    }
    return usual | more


def only(**more: Any) -> Inbound:
    """The message that such an answer is."""
    [event] = resend.parse(fetched(mail(**more)))
    assert isinstance(event, Inbound)
    return event


def test_a_mail_without_files() -> None:
    """A text is complete as Resend read it: made harmless, apart from what it quotes."""
    message = only()
    assert ("m1@example.net", Channel.EMAIL) == (message.external_id, message.channel)
    assert ("them@example.net", "us+token@example.com") == (
        message.from_address,
        message.to_address,
    )
    assert ("us+token@example.com", "other@example.org") == message.recipients
    assert ("Re: Grüße", "Hello") == (message.subject, message.body.strip())
    assert "onclick" not in (message.html_body or "onclick")
    assert ("a@example.com", "b@example.com") == message.references
    assert MOMENT == message.occurred_at
    assert ("Jörg", EMAIL_ID) == (message.detail["from_name"], message.detail["email_id"])
    assert "reply_to" not in message.detail
    assert "ann@example.net" == only(reply_to=["ann@example.net"]).detail["reply_to"]


def test_a_bounce_in_words() -> None:
    """What a mail server says of one of our mails is a report, as through every other provider."""
    ours = f"{ID}@example.com"
    text = (
        "This message was created automatically by mail delivery software.\n\n"
        "A message that you sent could not be delivered to one or more of its recipients.\n\n"
        "  bob@example.org\n    550 5.1.1 User unknown\n\n"
        f"------ This is a copy of the message, including all the headers. ------\n\n"
        f"Message-ID: <{ours}>\nSubject: Hi\n"
    )
    bounced = mail(
        **{"from": "Mail Delivery System <Mailer-Daemon@mx.example.org>"},
        subject="Mail delivery failed: returning message to sender",
        text=text,
        html=None,
        headers={},
    )
    report, change = resend.parse(fetched(bounced))
    assert isinstance(report, StatusReport)
    assert (ID, Status.FAILED, "5.1.1") == (report.message_id, report.status, report.error_code)
    assert isinstance(change, ConsentChange)


def test_whom_a_mail_was_received_for() -> None:
    """A blind copy, and a mail that was passed on, name us in `received_for` alone."""
    token = "us+token@example.com"
    passed_on = only(to=["desk@example.org"], cc=[], received_for=["desk@example.org", token])
    assert "desk@example.org" == passed_on.to_address
    assert ("desk@example.org", token) == passed_on.recipients
    blind = only(to=["undisclosed-recipients:;"], cc=None, received_for=[token])
    assert (token, (token,)) == (blind.to_address, blind.recipients)
    crowd = [f"{n}@example.org" for n in range(150)]
    assert token in only(to=crowd, received_for=[token]).recipients
    for odd in (None, token, [5, None], {"a": token}):
        assert "us+token@example.com" in only(received_for=odd).recipients


def test_whom_the_mail_as_it_came_was_taken_for() -> None:
    """A mail in its raw form says in its `Received` lines for whom it was taken."""
    hops = (
        b"Received: from mx.example.org (mx.example.org [192.0.2.1])\r\n"
        b"\tby inbound.example.com with SMTP id a1\r\n\tfor <us+token@example.com>;\r\n"
        b"\tMon, 5 Jan 2026 10:00:00 +0000 (UTC)\r\n"
        b"Received: by mx.example.org for desk@example.org; Mon, 5 Jan 2026 09:59:59 +0000\r\n"
    )
    [message] = resend.parse(fetched(hops + MIME, RAW))
    assert isinstance(message, Inbound)
    assert "us@example.com" == message.to_address
    assert ("us@example.com", "us+token@example.com", "desk@example.org") == message.recipients


def test_a_mail_with_files() -> None:
    """The mail as it came has the files: it is fetched, from wherever Resend keeps it."""
    expected = [Fetch(url=f"{RAW}#{EMAIL_ID}", key=f"resend:raw:{EMAIL_ID}")]
    assert expected == resend.parse(fetched(mail(attachments=[{"id": "1"}])))
    assert expected == resend.parse(fetched(mail(text=None, html=" ")))


def test_the_mail_as_it_came() -> None:
    """Raw MIME is read as every other provider's."""
    [message] = resend.parse(fetched(MIME, RAW))
    assert isinstance(message, Inbound)
    assert ("m2@example.net", "Hello") == (message.external_id, message.body.strip())


def test_a_mail_that_cannot_be_had_as_it_came() -> None:
    """Resend's own reading of it is stored instead, and its files are asked for."""
    given = fetched(b"", f"{RAW}#{EMAIL_ID}")
    [instead] = resend.parse(replace(given, event="unfetched"))
    assert isinstance(instead, Fetch)
    message, files = resend.parse(fetched(mail(attachments=[{"id": "1"}]), instead.url))
    assert isinstance(message, Inbound)
    assert isinstance(files, Fetch)
    assert ("m1@example.net", "Hello") == (message.external_id, message.body.strip())
    for url in (RAW, instead.url, files.url):
        [nothing] = resend.parse(replace(fetched(b"", url), event="unfetched"))
        assert isinstance(nothing, Unknown)


@pytest.mark.parametrize("raw", [None, {}, {"download_url": "ftp://x/"}, {"download_url": 5}])
def test_files_without_the_mail_as_it_came(raw: object) -> None:
    """The text is stored, and its files are asked for; the mail's own id rides along, unsent."""
    message, fetch = resend.parse(fetched(mail(raw=raw, attachments=[{"id": "1"}])))
    assert isinstance(message, Inbound)
    url = f"{RECEIVED}{EMAIL_ID}/attachments?limit=100#{quote('m1@example.net', safe='')}"
    assert Fetch(url=url, key=f"resend:attachments:{EMAIL_ID}") == fetch
    listed = {
        "object": "list",
        "data": [
            {
                "id": "1",
                "filename": "a.png",
                "size": 5,
                "content_type": "image/png",
                "content_id": "<logo>",
                "download_url": "https://cdn.example.com/1",
            },
            {"download_url": "https://cdn.example.com/2", "size": "5"},
            {"id": "3"},
            3,
        ],
    }
    files = (
        Attachment(
            url="https://cdn.example.com/1",
            filename="a.png",
            content_type="image/png",
            size=5,
            content_id="logo",
        ),
        Attachment(url="https://cdn.example.com/2"),
    )
    expected = Addition(
        external_id="m1@example.net",
        word="attachments",
        key="resend:m1@example.net:attachments",
        attachments=files,
    )
    assert [expected] == resend.parse(fetched(listed, url))
    [none] = resend.parse(fetched({"data": 5}, url))
    assert isinstance(none, Addition)
    assert () == none.attachments


def test_what_a_mail_lacks() -> None:
    """Resend's id stands in for a Message-ID, and a mail to nobody has no recipient."""
    lacking = dict.fromkeys(("message_id", "to", "cc", "subject", "headers", "created_at"))
    message = only(**lacking, text="Hi", html=None)
    assert (EMAIL_ID, "", (), None) == (
        message.external_id,
        message.to_address,
        message.recipients,
        message.subject,
    )
    assert (None, None) == (message.html_body, message.occurred_at)
    assert "Hello" == only(text=None).body.strip()


def test_nobody_wrote_it() -> None:
    """Without a sender there is nothing to store but that it came."""
    [event] = resend.parse(fetched(mail(**{"from": "nobody"})))
    assert isinstance(event, Unknown)
    assert "no-sender" == event.word


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id": []}', b"<html>"])
def test_an_answer_that_is_no_mail(body: bytes) -> None:
    """What is not a mail is unreadable."""
    with pytest.raises(Unreadable):
        resend.parse(fetched(body))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.dictionaries(st.sampled_from(sorted(mail())), JSON))
def test_any_answer(values: dict[str, Any]) -> None:
    """Whatever a field holds, the answer is a mail, kept as unknown, or no mail at all."""
    try:
        events = resend.parse(fetched(mail() | values))
    except Unreadable:
        return
    assert 1 <= len(events) <= 2


@pytest.mark.parametrize(("number", "told"), [(100, {}), (100, {"has_more": True}), (101, {})])
def test_more_files_than_are_listed(number: int, told: dict[str, bool]) -> None:
    """A hundred files are fetched, and that there are more is said."""
    data: list[Any] = [{"download_url": f"https://cdn.example.com/{n}"} for n in range(number)]
    url = f"{RECEIVED}{EMAIL_ID}/attachments?limit=100#m1"
    [more] = resend.parse(fetched({"data": data} | told, url))
    assert isinstance(more, Addition)
    assert 100 == len(more.attachments)
    has_more = bool(told) or number > 100
    expected = {"left_out": "The mail has more than 100 files."} if has_more else {}
    assert expected == more.provider
