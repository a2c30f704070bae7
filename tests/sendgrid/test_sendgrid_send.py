"""Sending through SendGrid: what goes out, and what each answer means."""

import base64
import json
from typing import Any

import aiohttp
import pytest

from channels.errors import AnswerLost, CannotAsk, Refused, RefusedForNow, SendError
from channels.http import Answer
from channels.model import Attachment, Channel, Mail, Sent
from channels.providers.sendgrid import base_url, build, half, read
from tests.mails import ID, MAIL
from tests.sendgrid.values import SINCE, account, outbound
from tests.servers import FakeApi

OWN = json.dumps({"errors": [{"message": "The from\n address is odd.", "field": "from.email"}]})


async def test_a_mail_that_is_taken(api: FakeApi, session: aiohttp.ClientSession) -> None:
    """A 202 with an X-Message-Id is sent, with one POST."""
    api.says(202, X_Message_Id="LRzXl_NHStOGhQ4kofSm_A")
    sent = await half.send(account(api.url + "/"), outbound(), session, "")
    assert sent == Sent(external_id="LRzXl_NHStOGhQ4kofSm_A")
    [(request, body)] = api.asked
    assert (request.method, request.path) == ("POST", "/v3/mail/send")
    assert request.headers["Authorization"] == "Bearer SG.key"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(body) == build(outbound())


def test_the_body_of_a_mail() -> None:
    """Text before HTML, our id in custom_args, the headers that make a thread, the files."""
    files = [
        Attachment(
            content=b"\x00\xff", filename="a.bin", content_type="image/png; x=1", content_id="c1"
        ),
        Attachment(content=b"text"),
    ]
    assert build(outbound(attachments=files, mail=MAIL)) == {
        "personalizations": [
            {"to": [{"email": "them@example.net"}], "custom_args": {"message_id": str(ID)}}
        ],
        "from": {"email": "us@example.com"},
        "reply_to": {"email": "reply+token@example.com"},
        "subject": "Grüße 😀",
        "content": [
            {"type": "text/plain", "value": "Hello"},
            {"type": "text/html", "value": "<p>Hello</p>"},
        ],
        "headers": {
            "Message-ID": f"<{ID}@example.com>",
            "In-Reply-To": "<b@example.net>",
            "References": "<a@example.net> <b@example.net>",
            "List-Unsubscribe": "<https://msg.example.org/u/" + "x" * 400 + ">",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
        "attachments": [
            {
                "content": base64.b64encode(b"\x00\xff").decode(),
                "type": "image/png",
                "filename": "a.bin",
                "disposition": "inline",
                "content_id": "c1",
            },
            {
                "content": base64.b64encode(b"text").decode(),
                "type": "application/octet-stream",
                "filename": "attachment",
                "disposition": "attachment",
            },
        ],
    }


def test_a_mail_without_anything_optional() -> None:
    """No HTML, no answer to anything, no way to unsubscribe: nothing stands for them."""
    body = build(outbound(html=None, mail=Mail(message_id="a@b")))
    assert body["content"] == [{"type": "text/plain", "value": "Hello"}]
    assert body["headers"] == {"Message-ID": "<a@b>"}
    assert "reply_to" not in body
    assert "headers" not in build(outbound())


def test_no_line_of_a_stranger_becomes_a_header() -> None:
    """Ids of mails that came in stay on one line."""
    mail = Mail(message_id="a@b", in_reply_to="x>\r\nBcc: <all@example.com")
    assert build(outbound(mail=mail))["headers"]["In-Reply-To"] == "<x> Bcc: <all@example.com>"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (outbound(channel=Channel.SMS), "channel"),
        (outbound(attachments=[Attachment(url="https://a/1")]), "attachment"),
    ],
)
def test_what_cannot_be_a_mail(given: Any, code: str) -> None:
    """Another channel and a file that is not at hand are refused before anything goes out."""
    with pytest.raises(Refused) as raised:
        build(given)
    assert raised.value.code == code


async def test_no_key(api: FakeApi, session: aiohttp.ClientSession) -> None:
    """Without an API key nothing goes out."""
    with pytest.raises(Refused):
        await half.send(account(api.url, api_key=""), outbound(), session, "")
    assert api.asked == []


@pytest.mark.parametrize("status", [200, 202])
def test_taken_without_an_id(status: int) -> None:
    """Sandbox mode gives no id: the mail is known by ours."""
    answer = Answer(status=status, text="", headers={})
    assert read(answer, outbound()) == Sent(external_id=str(ID))


@pytest.mark.parametrize(
    ("status", "text", "kind", "message"),
    [
        (200, "<html>", AnswerLost, "SendGrid's answer names no message."),
        (204, "", AnswerLost, "SendGrid's answer names no message."),
        (400, OWN, Refused, "The from address is odd."),
        (400, "", Refused, "SendGrid answered with HTTP status 400."),
        (401, OWN, Refused, "The from address is odd."),
        (403, '{"errors": [{"message": " "}, 3]}', Refused, None),
        (404, '{"errors": 3}', Refused, None),
        (413, "[]", Refused, None),
        (400, "[" * 100_000, Refused, None),
        (302, "", Refused, None),
        (408, "", AnswerLost, None),
        (429, "", RefusedForNow, None),
        (500, OWN, RefusedForNow, "The from address is odd."),
        (503, OWN, RefusedForNow, "The from address is odd."),
        (500, "", AnswerLost, "SendGrid answered with HTTP status 500."),
        (502, "<html>", AnswerLost, "SendGrid answered with HTTP status 502."),
    ],
)
def test_every_other_answer(
    status: int, text: str, kind: type[SendError], message: str | None
) -> None:
    """Final, for now, or unknown: a 5xx is known not to be taken only in SendGrid's own words."""
    with pytest.raises(SendError) as raised:
        read(Answer(status=status, text=text, headers={}), outbound())
    assert type(raised.value) is kind
    expected = message or f"SendGrid answered with HTTP status {status}."
    assert raised.value.message == expected


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7", "x-ratelimit-reset": "1767323060"}, 7.0),
        ({"date": "Fri, 02 Jan 2026 03:04:05 GMT", "x-ratelimit-reset": "1767323060"}, 15.0),
        ({"date": "Fri, 02 Jan 2026 03:04:05 GMT", "x-ratelimit-reset": "1767323000"}, 0.0),
        ({"x-ratelimit-reset": "99999999999"}, 24 * 3600.0),
        ({"x-ratelimit-reset": "soon"}, None),
        ({}, None),
    ],
)
def test_when_to_come_back(headers: dict[str, str], wait: float | None) -> None:
    """Retry-After counts, else X-RateLimit-Reset by the clock of the answer."""
    with pytest.raises(RefusedForNow) as raised:
        read(Answer(status=429, text="", headers=headers), outbound())
    assert raised.value.retry_after == wait


async def test_nobody_can_be_asked(session: aiohttp.ClientSession) -> None:
    """What was taken cannot be listed."""
    with pytest.raises(CannotAsk):
        await half.find(account(), outbound(), session, SINCE)


def test_where_the_api_is() -> None:
    """European accounts are sent through Europe, and a stand-in comes before both."""
    assert base_url(account()) == "https://api.sendgrid.com"
    assert base_url(account(region="eu")) == "https://api.eu.sendgrid.com"
    assert base_url(account("http://127.0.0.1:1/", region="eu")) == "http://127.0.0.1:1"
