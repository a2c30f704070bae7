"""What Resend is asked, how its answers are read, and that a lost answer makes no second mail."""

import json
from datetime import timedelta

import aiohttp
import pytest
import time_machine

from channels.errors import (
    AnswerLost,
    CannotAsk,
    NotLookedAt,
    Refused,
    RefusedForNow,
    SendError,
)
from channels.http import Answer
from channels.model import Attachment, Channel, Mail, Sent
from channels.providers import resend
from tests.mails import ID, MAIL, answer, outbound
from tests.resend.conftest import FakeResend
from tests.resend.values import NOW, account


def test_a_mail() -> None:
    """All that a mail has stands where Resend wants it."""
    files = [
        Attachment(filename="a.txt", content_type="text/plain", content=b"\x00\xff"),
        Attachment(content=b"x", content_id="logo"),
    ]
    expected = {
        "from": "us@example.com",
        "to": ["them@example.net"],
        "subject": "Grüße 😀",
        "text": "Hello",
        "html": "<p>Hello</p>",
        "reply_to": "reply+token@example.com",
        "headers": {
            "Message-ID": f"<{ID}@example.com>",
            "In-Reply-To": "<b@example.net>",
            "References": "<a@example.net> <b@example.net>",
            "List-Unsubscribe": f"<{MAIL.unsubscribe_url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
        "attachments": [
            {"filename": "a.txt", "content": "AP8=", "content_type": "text/plain"},
            {
                "filename": "attachment",
                "content": "eA==",
                "content_type": "application/octet-stream",
                "content_id": "logo",
            },
        ],
        "tags": [{"name": "message_id", "value": str(ID)}],
    }
    assert expected == json.loads(resend.build(outbound(attachments=files)))


def test_a_short_mail() -> None:
    """What a mail lacks is left out."""
    expected = {
        "from": "us@example.com",
        "to": ["them@example.net"],
        "subject": "Grüße 😀",
        "text": "Hello",
        "headers": {"Message-ID": "<a@b>"},
        "tags": [{"name": "message_id", "value": str(ID)}],
    }
    short = outbound(html=None, mail=Mail(message_id="a@b"))
    assert expected == json.loads(resend.build(short))
    del expected["headers"]
    assert expected == json.loads(resend.build(outbound(html=None, mail=None)))


def test_a_long_thread() -> None:
    """Of many references the first and the last ones are sent, each once, on one line."""
    references = ("0@b", "1@b\r\nBcc: x", *(f"{each}@b" for each in range(2, 50)))
    body = json.loads(resend.build(outbound(mail=Mail(message_id="a@b", references=references))))
    expected = ["<0@b>", *(f"<{each}@b>" for each in range(30, 50))]
    assert expected == body["headers"]["References"].split(" ")
    mail = Mail(message_id="a@b", in_reply_to="1@b\r\nBcc: x")
    body = json.loads(resend.build(outbound(mail=mail)))
    assert "<1@b Bcc: x>" == body["headers"]["In-Reply-To"]


def test_what_cannot_be_sent() -> None:
    """Another channel, and a file that is not there, are refused before anybody is asked."""
    with pytest.raises(Refused) as raised:
        resend.build(outbound(channel=Channel.SMS))
    assert "channel" == raised.value.code
    with pytest.raises(Refused) as raised:
        resend.build(outbound(attachments=[Attachment(url="https://a.example/")]))
    assert "attachment" == raised.value.code


@pytest.mark.parametrize(
    ("given", "kind", "code", "message"),
    [
        (answer(422, {"name": "validation_error", "message": "No  `to`."}), Refused,
         "validation_error", "No `to`."),
        (answer(413, ""), Refused, "http-413", "Resend answered with HTTP status 413."),
        (answer(403, {"name": "invalid_api_key"}), NotLookedAt, "invalid_api_key",
         "Resend answered with HTTP status 403."),
        (answer(400, {"name": "a b", "message": 5}), NotLookedAt, "http-400",
         "Resend answered with HTTP status 400."),
        (answer(302, []), NotLookedAt, "http-302",
         "Resend answered with HTTP status 302."),
        (answer(429, {"name": "rate_limit_exceeded", "message": "Slow."}), RefusedForNow,
         "rate_limit_exceeded", "Slow."),
        (answer(409, {"name": "concurrent_idempotent_requests", "message": "Same key."}),
         AnswerLost, "concurrent_idempotent_requests",
         "Resend is still busy with the first request for this mail."),
        (answer(409, {"name": "invalid_idempotent_request"}), CannotAsk,
         "invalid_idempotent_request", "Resend has this mail already, in an earlier form."),
        (answer(408, ""), AnswerLost, "http-408", "Resend answered with HTTP status 408."),
        (answer(500, {"name": "application_error", "message": "Oops."}), AnswerLost,
         "application_error", "Oops."),
        (answer(502, "<html>"), AnswerLost, "http-502", "Resend answered with HTTP status 502."),
        (answer(200, {}), AnswerLost, "unreadable", "Resend's answer names no mail."),
        (answer(200, {"id": "x y"}), AnswerLost, "unreadable", "Resend's answer names no mail."),
        (answer(200, "[" * 100_000), AnswerLost, "unreadable", "Resend's answer names no mail."),
    ],
)  # fmt: skip
def test_every_other_answer(
    given: Answer, kind: type[SendError], code: str | None, message: str
) -> None:
    """What is final, what is for now, and what nobody knows."""
    with pytest.raises(SendError) as raised:
        resend.read(given)
    assert (kind, code, message) == (type(raised.value), raised.value.code, raised.value.message)


def test_how_long_to_wait() -> None:
    """Resend's own wish is handed on."""
    with pytest.raises(RefusedForNow) as raised:
        resend.read(answer(429, {}, retry_after="7"))
    assert 7 == raised.value.retry_after


async def test_the_request(resend_api: FakeResend, session: aiohttp.ClientSession) -> None:
    """One POST, with the account's key and our id as the key of the request."""
    sent = await resend.half.send(account(resend_api.url), outbound(), session, "")
    assert Sent(external_id="mail-0") == sent
    [(asked, body)] = resend_api.asked
    assert ("POST", "/emails") == (asked.method, asked.path_qs)
    assert ("Bearer re_key", str(ID)) == (
        asked.headers["Authorization"],
        asked.headers["Idempotency-Key"],
    )
    assert resend.build(outbound()) == body


async def test_an_account_without_a_key(session: aiohttp.ClientSession) -> None:
    """Without a key nobody is asked."""
    with pytest.raises(Refused):
        await resend.half.send(account(api_key=""), outbound(), session, "")


async def test_a_lost_answer(resend_api: FakeResend, session: aiohttp.ClientSession) -> None:
    """What was taken without an answer is sent again, and is still one mail, under its first id."""
    held = account(resend_api.url)
    mail = outbound(attachments=[Attachment(filename="a.txt", content=b"x")])
    resend_api.is_silent = True
    with pytest.raises(AnswerLost):
        await resend.half.send(held, mail, session, "")
    resend_api.is_silent = False
    with time_machine.travel(NOW, tick=True):
        assert [] == await resend.half.find(held, outbound(), session, NOW - timedelta(hours=19))
    assert Sent(external_id="mail-0") == await resend.half.send(held, mail, session, "")
    assert 1 == len(resend_api.taken)


async def test_another_form_of_a_mail(
    resend_api: FakeResend, session: aiohttp.ClientSession
) -> None:
    """What changed between two attempts is no second mail, and has not failed either."""
    held = account(resend_api.url)
    await resend.half.send(held, outbound(), session, "")
    with pytest.raises(CannotAsk):
        await resend.half.send(held, outbound(html=None), session, "")
    assert 1 == len(resend_api.taken)


async def test_a_key_that_may_be_forgotten(session: aiohttp.ClientSession) -> None:
    """After the better part of a day the mail is not sent again: it could be a second one."""
    with time_machine.travel(NOW, tick=True), pytest.raises(CannotAsk):
        await resend.half.find(account(), outbound(), session, NOW - timedelta(hours=21))
