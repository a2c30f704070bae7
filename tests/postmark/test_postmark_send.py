"""What Postmark is asked, and how its answers are read."""

import json

import aiohttp
import pytest

from channels.errors import (
    AnswerLost,
    InvalidCredentials,
    Refused,
    RefusedForNow,
    SendError,
    Unreachable,
)
from channels.http import Answer
from channels.model import Attachment, Channel, Mail, Sent
from channels.providers import postmark
from tests.mails import ID, MAIL, answer, outbound
from tests.postmark.values import EXTERNAL_ID, SINCE, account
from tests.servers import FakeApi

TAKEN = {
    "To": "them@example.net",
    "SubmittedAt": "2026-01-02T03:04:05.1234567Z",
    "MessageID": EXTERNAL_ID,
    "ErrorCode": 0,
    "Message": "OK",
}


def test_a_mail() -> None:
    """All that a mail has stands where Postmark wants it; its Message-ID is to stay."""
    files = [
        Attachment(filename="a.txt", content_type="text/plain", content=b"\x00\xff"),
        Attachment(content=b"x", content_id="logo"),
    ]
    expected = {
        "From": "us@example.com",
        "To": "them@example.net",
        "Subject": "Grüße 😀",
        "TextBody": "Hello",
        "HtmlBody": "<p>Hello</p>",
        "ReplyTo": "reply+token@example.com",
        "Headers": [
            {"Name": "Message-ID", "Value": f"<{ID}@example.com>"},
            {"Name": "In-Reply-To", "Value": "<b@example.net>"},
            {"Name": "References", "Value": "<a@example.net> <b@example.net>"},
            {"Name": "List-Unsubscribe", "Value": f"<{MAIL.unsubscribe_url}>"},
            {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"},
            {"Name": "X-PM-KeepID", "Value": "true"},
        ],
        "Attachments": [
            {"Name": "a.txt", "Content": "AP8=", "ContentType": "text/plain"},
            {
                "Name": "attachment",
                "Content": "eA==",
                "ContentType": "application/octet-stream",
                "ContentID": "cid:logo",
            },
        ],
        "Metadata": {"message_id": str(ID)},
        "MessageStream": "news",
    }
    body = postmark.build(account(message_stream="news"), outbound(attachments=files))
    assert expected == json.loads(body)


def test_a_short_mail() -> None:
    """What a mail lacks is left out."""
    expected = {
        "From": "us@example.com",
        "To": "them@example.net",
        "Subject": "Grüße 😀",
        "TextBody": "Hello",
        "Headers": [
            {"Name": "Message-ID", "Value": "<a@b>"},
            {"Name": "X-PM-KeepID", "Value": "true"},
        ],
        "Metadata": {"message_id": str(ID)},
    }
    short = outbound(html=None, mail=Mail(message_id="a@b"))
    assert expected == json.loads(postmark.build(account(), short))
    del expected["Headers"]
    bare = outbound(html=None, mail=None)
    assert expected == json.loads(postmark.build(account(), bare))


def test_a_long_thread() -> None:
    """Of many references the first and the last ones are sent, each once."""
    mail = Mail(message_id="a@b", references=tuple(f"{each}@b" for each in range(50)))
    body = json.loads(postmark.build(account(), outbound(mail=mail)))
    [value] = [each["Value"] for each in body["Headers"] if each["Name"] == "References"]
    assert ["<0@b>", *(f"<{each}@b>" for each in range(30, 50))] == value.split()


def test_what_cannot_be_sent() -> None:
    """Another channel, and a file that is not there, are refused before anybody is asked."""
    with pytest.raises(Refused) as raised:
        postmark.build(account(), outbound(channel=Channel.SMS))
    assert "channel" == raised.value.code
    with pytest.raises(Refused) as raised:
        postmark.build(account(), outbound(attachments=[Attachment(url="https://a.example/")]))
    assert "attachment" == raised.value.code


def test_a_mail_that_was_taken() -> None:
    """An id with ErrorCode 0, or none, is a mail that Postmark has."""
    expected = Sent(external_id=EXTERNAL_ID, detail={"SubmittedAt": "2026-01-02T03:04:05.1234567Z"})
    assert expected == postmark.read(answer(200, TAKEN))
    assert Sent(external_id="x") == postmark.read(answer(200, {"MessageID": "x"}))


@pytest.mark.parametrize(
    ("given", "kind", "code", "message"),
    [
        (answer(422, {"ErrorCode": 406, "Message": "You  tried."}), Unreachable, "406",
         "You tried."),
        (answer(422, {"ErrorCode": 406}), Unreachable, "406", postmark.REASONS["406"]),
        (answer(500, {"ErrorCode": 406}), AnswerLost, "406", postmark.REASONS["406"]),
        (answer(200, {**TAKEN, "ErrorCode": 300, "Message": "No."}), Refused, "300", "No."),
        (answer(401, {"ErrorCode": 10, "Message": ""}), Refused, "10", postmark.REASONS["10"]),
        (answer(422, {"ErrorCode": 405, "Message": 5}), Refused, "405", postmark.REASONS["405"]),
        (answer(413, "<html>"), Refused, "http-413", "Postmark answered with HTTP status 413."),
        (answer(422, {"ErrorCode": True}), Refused, "http-422",
         "Postmark answered with HTTP status 422."),
        (answer(302, []), Refused, "http-302", "Postmark answered with HTTP status 302."),
        (answer(422, {"ErrorCode": 100}), RefusedForNow, "100", postmark.REASONS["100"]),
        (answer(429, {"ErrorCode": 429}), RefusedForNow, "429", postmark.REASONS["429"]),
        (answer(429, ""), RefusedForNow, None, "Postmark answered with HTTP status 429."),
        (answer(503, {"ErrorCode": 100}), RefusedForNow, "100", postmark.REASONS["100"]),
        (answer(503, {"ErrorCode": 999}), RefusedForNow, "999",
         "Postmark answered with HTTP status 503."),
        (answer(503, "<html>"), AnswerLost, "http-503", "Postmark answered with HTTP status 503."),
        (answer(500, {"ErrorCode": 999, "Message": "Oh."}), AnswerLost, "999", "Oh."),
        (answer(408, ""), AnswerLost, "http-408", "Postmark answered with HTTP status 408."),
        (answer(200, "yikes"), AnswerLost, "unreadable", "Postmark's answer names no message."),
        (answer(200, "[" * 100_000), AnswerLost, "unreadable",
         "Postmark's answer names no message."),
        (answer(200, {"ErrorCode": 0}), AnswerLost, "unreadable",
         "Postmark's answer names no message."),
        (answer(200, {"ErrorCode": 0, "MessageID": "a b"}), AnswerLost, "unreadable",
         "Postmark's answer names no message."),
    ],
)  # fmt: skip
def test_every_other_answer(
    given: Answer, kind: type[SendError], code: str | None, message: str
) -> None:
    """What is final, what is for now, and what nobody knows."""
    with pytest.raises(SendError) as raised:
        postmark.read(given)
    assert (kind, code, message) == (type(raised.value), raised.value.code, raised.value.message)


def test_a_wish_to_wait() -> None:
    """Retry-After is handed on."""
    with pytest.raises(RefusedForNow) as raised:
        postmark.read(answer(429, "", retry_after="7"))
    assert 7 == raised.value.retry_after


async def test_the_whole_way(postmark_api: FakeApi, session: aiohttp.ClientSession) -> None:
    """A mail goes out as one POST with the account's token."""
    postmark_api.text = json.dumps(TAKEN)
    held = account(postmark_api.url + "/")
    sent = await postmark.half.send(held, outbound(), session, "")
    assert EXTERNAL_ID == sent.external_id
    [(asked, body)] = postmark_api.asked
    assert ("POST", "/email") == (asked.method, asked.path_qs)
    assert "token" == asked.headers["X-Postmark-Server-Token"]
    assert "application/json" == asked.headers["Content-Type"]
    assert "application/json" == asked.headers["Accept"]
    assert postmark.build(held, outbound()) == body


async def test_no_token(session: aiohttp.ClientSession) -> None:
    """Without a token nobody is asked."""
    with pytest.raises(Refused) as raised:
        await postmark.half.send(account(server_token=""), outbound(), session, "")
    assert "credentials" == raised.value.code


async def test_nobody_there(session: aiohttp.ClientSession) -> None:
    """What cannot have gone out may go again."""
    with pytest.raises(RefusedForNow):
        await postmark.half.send(account("http://127.0.0.1:1"), outbound(), session, "")


def record(external_id: object, message_id: str = str(ID)) -> dict[str, object]:
    """One of the mails that Postmark lists."""
    return {
        "MessageID": external_id,
        "Status": "Sent",
        "ReceivedAt": "2026-01-02T03:04:05-05:00",
        "Metadata": {"message_id": message_id},
    }


async def test_what_it_has(postmark_api: FakeApi, session: aiohttp.ClientSession) -> None:
    """It is asked by our id, in the stream of the account; only what carries our id is ours.

    One whose own id cannot be read is ours all the same, so that it is not sent again.
    """
    others = [record("z", "another"), {"MessageID": "y"}, {**record("x"), "Metadata": 1}, 7]
    listed = [record("b"), *others, record("a"), record(None)]
    postmark_api.text = json.dumps({"TotalCount": 7, "Messages": listed})
    detail = {"ReceivedAt": "2026-01-02T03:04:05-05:00", "Status": "Sent"}
    expected = [Sent(external_id=id_, detail=detail) for id_ in ("", "a", "b")]
    found = await postmark.half.find(account(postmark_api.url), outbound(), session, SINCE)
    assert expected == found
    held = account(postmark_api.url, message_stream="news")
    assert expected == await postmark.half.find(held, outbound(), session, SINCE)
    query = f"count=500&offset=0&metadata_message_id={ID}"
    assert [
        ("GET", f"/messages/outbound?{query}"),
        ("GET", f"/messages/outbound?{query}&messagestream=news"),
    ] == [(asked.method, asked.path_qs) for asked, _ in postmark_api.asked]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (answer(200, {}), AnswerLost),
        (answer(200, "x"), AnswerLost),
        (answer(500, ""), AnswerLost),
        (answer(429, ""), RefusedForNow),
        (answer(401, {"ErrorCode": 10}), Refused),
    ],
)
def test_no_list(given: Answer, kind: type[SendError]) -> None:
    """An answer that is no list says nothing about what Postmark has."""
    with pytest.raises(kind):
        postmark.read_list(given, outbound())


def test_credentials() -> None:
    """The token is needed, the rest is not; spaces around are cut off."""
    given = {"server_token": " t ", "webhook_secret": "ü ", "message_stream": ""}
    assert {"server_token": "t", "webhook_secret": "ü"} == postmark.validate_credentials(given)


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({}, (("server_token", "is missing"),)),
        (
            {"server_token": "a b", "x": "1", "message_stream": "a/b"},
            (
                ("message_stream", "has characters, or a length, that it cannot have"),
                ("server_token", "has characters, or a length, that it cannot have"),
                ("x", "is not a name that Postmark accounts have"),
            ),
        ),
    ],
)
def test_wrong_credentials(given: dict[str, str], problems: tuple[tuple[str, str], ...]) -> None:
    """Every problem is named at once."""
    with pytest.raises(InvalidCredentials) as raised:
        postmark.validate_credentials(given)
    assert problems == raised.value.problems
