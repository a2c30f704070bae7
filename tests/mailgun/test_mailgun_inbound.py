"""Mail from Mailgun's routes: taken apart, stored, or as raw MIME."""

import json
from dataclasses import replace
from typing import Any

import pytest

from channels.model import Attachment, Channel
from tests.mailgun.values import form, hook, multipart
from webhooks import mailgun
from webhooks.model import (
    ConsentChange,
    Inbound,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookEvent,
)

HEADERS = [
    ["Message-Id", "<m1@example.net>"],
    ["In-Reply-To", "<a@example.com>"],
    ["References", "<b@example.com> <a@example.com>"],
    ["Date", "Fri, 02 Jan 2026 03:04:05 +0000"],
    ["To", "us@example.com, other@example.org"],
    ["Odd"],
    "odd",
    ["Odd", 3],
]
RAW = (
    b"From: Them <them@example.net>\r\nTo: us@example.com\r\nSubject: Raw\r\n"
    b"Message-ID: <m2@example.net>\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\nCaf\xe9\r\n"
)


def fields(**given: Any) -> list[tuple[str, str]]:
    """The usual fields and these; None takes one away."""
    usual: dict[str, Any] = {
        "recipient": "us+token@example.com",
        "sender": "bounces@example.net",
        "from": "Jörg <them@example.net>",
        "subject": "Re: Grüße",
        "body-plain": "Hällo…",
        "stripped-text": "nothing of this is read",
        "message-headers": json.dumps(HEADERS),
        "X-Mailgun-Spf": "Pass",
        "X-Mailgun-Sscore": "",
    }
    named = {name.replace("_", "-"): value for name, value in given.items()}
    return [(name, value) for name, value in (usual | named).items() if value is not None]


def parsed(**given: Any) -> list[WebhookEvent]:
    """What a form with these fields tells."""
    return list(mailgun.parse(form(fields(**given), event="inbound")))


def only(events: list[WebhookEvent]) -> Inbound:
    """The one mail among them."""
    [event] = events
    assert isinstance(event, Inbound)
    return event


def test_a_mail_taken_apart() -> None:
    """Addresses bare, ids and references from the headers, the whole text, not the stripped."""
    mail = only(parsed())
    assert mail.external_id == "m1@example.net"
    assert mail.channel is Channel.EMAIL
    assert (mail.from_address, mail.to_address) == ("them@example.net", "us+token@example.com")
    assert mail.subject == "Re: Grüße"
    assert mail.body.strip() == "Hällo…"
    assert mail.html_body is None
    assert mail.references == ("a@example.com", "b@example.com")
    assert mail.recipients == ("us+token@example.com", "us@example.com", "other@example.org")
    assert mail.occurred_at is not None
    assert (mail.detail["from_name"], mail.detail["spf"]) == ("Jörg", "Pass")
    assert "spam_score" not in mail.detail


def test_html_is_made_harmless() -> None:
    """The same sanitising as for every other mail."""
    mail = only(parsed(body_plain="", body_html="<p onclick='x()'>Hi</p><script>x()</script>"))
    assert mail.html_body is not None
    assert "onclick" not in mail.html_body
    assert mail.body.strip() == "Hi"


def test_files() -> None:
    """The files of the form, with the ids that the HTML calls them by."""
    parts = [(f'"{name}"', value.encode()) for name, value in fields()]
    ids = json.dumps({"<ii_1>": "attachment-2", "<x>": 3}).encode()
    found = mailgun.parse(
        multipart(
            *parts,
            ('"content-id-map"', ids),
            ('"attachment-1"; filename="\u00fcber.pdf"\r\nContent-Type: application/pdf', b"%PDF"),
            ('"attachment-2"; filename="a.png"\r\nContent-Type: image/png', b"\x89PNG\r\n"),
        )
    )
    assert only(list(found)).attachments == (
        Attachment(filename="über.pdf", content_type="application/pdf", size=4, content=b"%PDF"),
        Attachment(
            filename="a.png",
            content_type="image/png",
            size=6,
            content=b"\x89PNG\r\n",
            content_id="ii_1",
        ),
    )


def test_files_of_a_stored_mail() -> None:
    """They are still to be fetched, by their URLs."""
    url = "https://sw.api.mailgun.net/v3/domains/example.com/messages/k/attachments/0"
    listed = [{"url": url, "name": "a.pdf", "content-type": "application/pdf", "size": 5}, {}, 3]
    ids = json.dumps({"<ii_1>": url})
    assert only(parsed(attachments=json.dumps(listed), content_id_map=ids)).attachments == (
        Attachment(
            url=url, filename="a.pdf", content_type="application/pdf", size=5, content_id="ii_1"
        ),
    )
    bare = json.dumps([{"url": url, "size": "5"}])
    assert only(parsed(attachments=bare)).attachments == (Attachment(url=url),)
    assert only(parsed(attachments="{")).attachments == ()


def test_the_empty_sender() -> None:
    """What a robot's empty envelope sender wrote is marked: nobody answers it."""
    assert only(parsed(sender="")).detail["auto_submitted"] is True
    assert "auto_submitted" not in only(parsed(sender=None)).detail


def test_what_stands_in_for_what_is_missing() -> None:
    """Headers for the envelope, and the envelope for headers."""
    mail = only(parsed(recipient=None, To="us@example.com"))
    assert mail.to_address == "us@example.com"
    bare = {"from": None, "message_headers": "[", "Message-Id": "<m3@example.net>"}
    mail = only(parsed(**bare))
    assert (mail.from_address, mail.external_id) == ("bounces@example.net", "m3@example.net")
    assert only(parsed(message_headers="{}", **{"Message-Id": "x@y"})).external_id == "x@y"


@pytest.mark.parametrize("plain", ["Hello", "", None])
def test_a_mail_at_the_url_of_events(plain: str | None) -> None:
    """A mail is a mail at whichever URL it comes in, whatever its writer put into its headers."""
    given = [*fields(body_plain=plain), ("event", "complained")]
    mail = only(list(mailgun.parse(form(given, event="events"))))
    assert [mail] == mailgun.parse(form(given, event="inbound"))
    raw = [('"recipient"', b"us@example.com"), ('"body-mime"', RAW)]
    assert only(list(mailgun.parse(multipart(*raw, event="events")))).body.strip() == "Café"


def test_an_event_at_the_url_of_mails() -> None:
    """An event is the same at whichever URL it comes in."""
    told = hook({"event": "complained", "recipient": "them@example.net"})
    events = mailgun.parse(replace(told, event="inbound"))
    assert [type(each) for each in events] == [StatusReport, ConsentChange]
    assert events == mailgun.parse(told)


def test_nobody_wrote_it() -> None:
    """Without a sender there is nothing to store but that it came."""
    found = parsed(sender=None, message_headers=None, **{"from": "nobody"})
    assert found == [Unknown(word="no-sender", detail={"subject": "Re: Grüße"})]


def test_a_form_without_a_mail() -> None:
    """Neither raw MIME nor recipient nor headers: unreadable."""
    with pytest.raises(Unreadable):
        mailgun.parse(form([("token", "x")], event="inbound"))


def test_raw_mime() -> None:
    """Raw MIME is read as every other provider's, with the envelope's addresses."""
    parts = [('"recipient"', b"us+token@example.com, b@example.com"), ('"body-mime"', RAW)]
    mail = only(list(mailgun.parse(multipart(*parts, ('"sender"', b"them@example.net")))))
    assert mail.external_id == "m2@example.net"
    assert mail.to_address == "us+token@example.com"
    assert mail.recipients == ("us+token@example.com", "b@example.com", "us@example.com")
    assert mail.body.strip() == "Café"
    assert only(list(mailgun.parse(multipart(parts[1])))).to_address == "us@example.com"


def test_files_without_names() -> None:
    """A part that has no name is a file all the same, of the type that it says."""
    parts = [(f'"{name}"', value.encode()) for name, value in fields()]
    parts += [
        ('"attachment-1"\r\nContent-Type: message/rfc822', b"Subject: x"),
        ('"attachment-2"', b"raw\x00"),
        ('"attachment-count"', b"2"),
    ]
    mail = only(list(mailgun.parse(multipart(*parts))))
    assert [("message/rfc822", b"Subject: x"), (None, b"raw\x00")] == [
        (file.content_type, file.content) for file in mail.attachments
    ]


def test_parts_of_html() -> None:
    """Each part of a mail that is HTML has a field."""
    parts = [("body-html", f"<html><body><p>{text}</p></body></html>") for text in ("a", "b")]
    given = [*fields(body_plain=None), *parts]
    mail = only(list(mailgun.parse(form(given, event="inbound"))))
    assert (mail.body, mail.html_body) == ("a\n\nb", "<p>a</p>\n<p>b</p>")


@pytest.mark.parametrize("event", ["inbound", "events"])
def test_meetings(event: str) -> None:
    """Who accepts an invitation writes nothing else: what their calendar says is a file."""
    told = b"BEGIN:VCALENDAR\nMETHOD:REPLY\nEND:VCALENDAR"
    given = [(f'"{name}"', text.encode()) for name, text in fields() if "body" not in name]
    parts = [each for each in given if "stripped" not in each[0]]
    request = replace(multipart(*parts, ('"body-calendar"', told)), event=event)
    mail = only(list(mailgun.parse(request)))
    assert mail.attachments == (
        Attachment(content_type="text/calendar", size=len(told), content=told),
    )
