"""Sending through Mailgun: what goes out, and what each answer means."""

import base64

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.errors import AnswerLost, Refused, RefusedForNow, SendError
from channels.http import Answer
from channels.model import Attachment, Channel, Outbound, Sent
from channels.providers.mailgun import base_url, build, half, read
from tests.mailgun.conftest import FakeMailgun
from tests.mailgun.values import account, outbound
from tests.mails import ID
from webhooks.forms import read_form
from webhooks.model import WebhookRequest


async def test_a_mail_that_is_taken(
    mailgun_api: FakeMailgun, session: aiohttp.ClientSession
) -> None:
    """A 200 with an id is sent, with one POST; the id has no <>."""
    sent = await half.send(account(mailgun_api.url), outbound(), session, "")
    assert sent == Sent(external_id="m1@example.com", detail={"message": "Queued. Thank you."})
    [request] = mailgun_api.asked
    assert (request.method, request.path) == ("POST", "/v3/example.com/messages")
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"api:key-1").decode()
    assert mailgun_api.fields == [
        ("from", "us@example.com"),
        ("to", "them+1@example.net"),
        ("subject", "Grüße 😀"),
        ("text", "Hello"),
        ("html", "<p>Hello</p>"),
        ("h:Message-Id", f"<{ID}@example.com>"),
        ("h:In-Reply-To", "<b@example.net>"),
        ("h:References", "<a@example.net> <b@example.net>"),
        ("h:List-Unsubscribe", "<https://msg.example.org/u/" + "x" * 400 + ">"),
        ("h:List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("h:Reply-To", "reply+token@example.com"),
        ("v:message_id", str(ID)),
    ]
    assert mailgun_api.files == []


async def test_a_mail_without_anything_optional(
    mailgun_api: FakeMailgun, session: aiohttp.ClientSession
) -> None:
    """The Message-ID is ours in any case: it is what Mailgun can be asked for."""
    mail = outbound(html=None, subject=None, mail=None)
    await half.send(account(mailgun_api.url), mail, session, "")
    assert mailgun_api.fields == [
        ("from", "us@example.com"),
        ("to", "them+1@example.net"),
        ("subject", ""),
        ("text", "Hello"),
        ("h:Message-Id", f"<{ID}@example.com>"),
        ("v:message_id", str(ID)),
    ]


async def test_files(mailgun_api: FakeMailgun, session: aiohttp.ClientSession) -> None:
    """Byte for byte; an inline file's name is what the HTML calls it by."""
    files = [
        Attachment(content=b"\r\n\x00\xff--", filename='über "1".pdf', content_type="text/x;\ny"),
        Attachment(content=b"", filename=None),
        Attachment(content=b"png", filename="a.png", content_type="image/png", content_id="logo"),
    ]
    await half.send(account(mailgun_api.url), outbound(attachments=files), session, "")
    assert mailgun_api.files == [
        ("attachment", "über %221%22.pdf", "text/x; y", b"\r\n\x00\xff--"),
        ("attachment", "attachment", "application/octet-stream", b""),
        ("inline", "logo", "image/png", b"png"),
    ]


@given(st.lists(st.binary(max_size=100), max_size=3), st.text(max_size=50))
def test_whatever_a_file_holds(contents: list[bytes], name: str) -> None:
    """No content and no name breaks out of its part."""
    files = [Attachment(content=content, filename=name) for content in contents]
    body = build(outbound(attachments=files))
    form = read_form(
        WebhookRequest(
            method="POST",
            url="",
            event="",
            headers={"content-type": body.content_type},
            body=body.content,
        )
    )
    assert [file.content for file in form.files] == contents
    assert form.first("v:message_id") == str(ID).encode()


@pytest.mark.parametrize(
    ("mail", "code"),
    [
        (outbound(channel=Channel.SMS), "channel"),
        (outbound(attachments=[Attachment(url="https://a/1")]), "attachment"),
    ],
)
def test_what_cannot_be_a_mail(mail: Outbound, code: str) -> None:
    """Another channel and a file that is not at hand are refused before anything goes out."""
    with pytest.raises(Refused) as raised:
        build(mail)
    assert raised.value.code == code


@pytest.mark.parametrize("missing", ["api_key", "domain"])
async def test_credentials_that_are_missing(
    mailgun_api: FakeMailgun, session: aiohttp.ClientSession, missing: str
) -> None:
    """Without a key or a domain nothing goes out."""
    with pytest.raises(Refused):
        await half.send(account(mailgun_api.url, **{missing: ""}), outbound(), session, "")
    assert mailgun_api.asked == []


def test_where_the_api_is() -> None:
    """European domains are sent through Europe, and a stand-in comes before both."""
    assert base_url(account()) == "https://api.mailgun.net"
    assert base_url(account(region="eu")) == "https://api.eu.mailgun.net"
    assert base_url(account("http://127.0.0.1:1/", region="eu")) == "http://127.0.0.1:1"


UNREADABLE = "Mailgun's answer names no message."
PATH = "This is not a path of Mailgun's API: is the domain right?"
WORDS = '{"message": "Domain not found:\\n example.com"}'


@pytest.mark.parametrize(
    ("status", "text", "kind", "message"),
    [
        (200, "Mailgun Magnificent API", Refused, PATH),
        (200, '"Mailgun Magnificent API"\n', Refused, PATH),
        (200, "", AnswerLost, UNREADABLE),
        (200, "[]", AnswerLost, UNREADABLE),
        (200, "{}", AnswerLost, UNREADABLE),
        (200, '{"id": ""}', AnswerLost, UNREADABLE),
        (200, '{"id": 3}', AnswerLost, UNREADABLE),
        (200, '{"id": "a b"}', AnswerLost, UNREADABLE),
        (200, "[" * 100_000, AnswerLost, UNREADABLE),
        (400, WORDS, Refused, "Domain not found: example.com"),
        (400, '{"message": 3}', Refused, "Mailgun answered with HTTP status 400."),
        (401, "Forbidden", Refused, "Mailgun does not accept the account's API key."),
        (404, WORDS, Refused, "Domain not found: example.com"),
        (408, "", AnswerLost, "Mailgun answered with HTTP status 408."),
        (429, WORDS, RefusedForNow, "Domain not found: example.com"),
        (500, WORDS, AnswerLost, "Domain not found: example.com"),
        (502, "<html>", AnswerLost, "Mailgun answered with HTTP status 502."),
    ],
)
def test_every_other_answer(status: int, text: str, kind: type[SendError], message: str) -> None:
    """Final, for now, or unknown: after a 5xx of any kind Mailgun may have the mail."""
    with pytest.raises(SendError) as raised:
        read(Answer(status=status, text=text, headers={}))
    assert (type(raised.value), raised.value.message) == (kind, message)


def test_when_to_come_back() -> None:
    """Retry-After counts."""
    with pytest.raises(RefusedForNow) as raised:
        read(Answer(status=429, text="", headers={"retry-after": "7"}))
    assert raised.value.retry_after == 7


def test_an_id_without_words() -> None:
    """The words beside an id are not needed, and the <> neither."""
    answer = Answer(status=200, text='{"id": "m1@example.com"}', headers={})
    assert read(answer) == Sent(external_id="m1@example.com")
