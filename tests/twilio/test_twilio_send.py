"""Sending through Twilio: what goes out, and what each answer means."""

import asyncio
import base64
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from channels.errors import AnswerLost, OptedOut, Refused, RefusedForNow, SendError
from channels.http import Limits
from channels.model import Channel
from channels.providers.twilio import Twilio, build, explain, half
from tests.twilio.conftest import FakeTwilio, RawServer
from tests.twilio.values import CALLBACK, SID, account, outbound

ERROR = {"code": 21211, "message": "The 'To' number is not valid.", "status": 400}
CREATED = {"sid": SID, "status": "queued", "num_segments": "1", "price": None, "error_code": None}
DATE = "Fri, 02 Jan 2026 03:04:05 GMT"


async def outcome(
    fake: FakeTwilio, session: aiohttp.ClientSession, sender: Twilio = half
) -> SendError:
    """The error that a send ends in."""
    with pytest.raises(SendError) as raised:
        await sender.send(account(fake.url), outbound(), session, CALLBACK)
    return raised.value


def seen(error: SendError) -> tuple[Any, ...]:
    """An error as a value."""
    return type(error), error.code, error.message


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_message_that_is_taken(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession, status: int
) -> None:
    """A 2xx with a SID is sent: one POST, with what Twilio told beside it."""
    twilio_api.says(status, json.dumps(CREATED))
    sent = await half.send(account(twilio_api.url), outbound("Hé 😀"), session, CALLBACK)
    assert sent.external_id == SID
    assert sent.detail == {"status": "queued", "num_segments": "1"}
    [(request, form)] = twilio_api.asked
    assert (request.method, request.path) == ("POST", "/2010-04-01/Accounts/AC1/Messages.json")
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"AC1:12345").decode()
    assert form == {
        "To": ["+15550002222"],
        "From": ["+15550001111"],
        "Body": ["Hé 😀"],
        "StatusCallback": [CALLBACK],
    }


async def test_an_api_key_is_used_where_there_is_one(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """An API key authenticates in place of the auth token, for the same account."""
    twilio_api.says(201, json.dumps(CREATED))
    held = account(twilio_api.url, api_key_sid="SK1", api_key_secret="secret")
    await half.send(held, outbound(), session, CALLBACK)
    [(request, _)] = twilio_api.asked
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"SK1:secret").decode()
    assert "/Accounts/AC1/" in request.path


def test_the_parameters_of_a_message() -> None:
    """WhatsApp has its prefix, media repeat, a messaging service stands beside the sender."""
    message = outbound("", Channel.WHATSAPP, ["https://a/1.jpg", "https://a/2.jpg"])
    assert build(account(messaging_service_sid="MG1"), message, CALLBACK) == {
        "To": "whatsapp:+15550002222",
        "From": "whatsapp:+15550001111",
        "StatusCallback": CALLBACK,
        "Body": "",
        "MediaUrl": ["https://a/1.jpg", "https://a/2.jpg"],
        "MessagingServiceSid": "MG1",
    }
    with pytest.raises(Refused):
        build(account(), outbound(channel=Channel.EMAIL), CALLBACK)


async def test_media_are_repeated_on_the_wire(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """Two files are two MediaUrl parameters."""
    twilio_api.says(201, json.dumps(CREATED))
    message = outbound(media=["https://a/1?x=1&y=2", "https://a/2"])
    await half.send(account(twilio_api.url), message, session, CALLBACK)
    assert twilio_api.asked[0][1]["MediaUrl"] == ["https://a/1?x=1&y=2", "https://a/2"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "message"),
    [
        (400, ERROR, Refused, "21211", "The 'To' number is not valid."),
        (400, {"code": 21211}, Refused, "21211", "The recipient's number is not valid."),
        (400, {"code": 1001}, Refused, "1001", "Twilio answered with HTTP status 400."),
        (400, {"code": "1001", "message": "a\n b"}, Refused, "1001", "a b"),
        (400, {"code": True, "message": 5}, Refused, None, "Twilio answered with HTTP status 400."),
        (400, [1], Refused, None, "Twilio answered with HTTP status 400."),
        (400, "{,}", Refused, None, "Twilio answered with HTTP status 400."),
        (400, "[" * 100_000, Refused, None, "Twilio answered with HTTP status 400."),
        (400, {"code": 21610, "message": "Stopped."}, OptedOut, "21610", "Stopped."),
        (400, {"code": 63018, "message": "Slow."}, RefusedForNow, "63018", "Slow."),
        (400, {"code": 30022, "message": "Slow."}, RefusedForNow, "30022", "Slow."),
        (400, {"code": 21730, "message": "Later."}, RefusedForNow, "21730", "Later."),
        (400, {"code": 21711, "message": "No."}, Refused, "21711", "No."),
        (401, {"error": "out of credits"}, Refused, None, "Twilio answered with HTTP status 401."),
        (401, {"code": 20003, "message": "Authenticate"}, Refused, "20003", "Authenticate"),
        (422, {"type": "u", "title": "B", "status": 422, "code": 70001}, Refused, "70001", "B"),
        (404, "<html>", Refused, None, "Twilio answered with HTTP status 404."),
        (408, "", AnswerLost, "http-408", "Twilio answered with HTTP status 408."),
        (429, {"code": 20429, "message": "Many."}, RefusedForNow, "20429", "Many."),
        (429, "", RefusedForNow, None, "Twilio answered with HTTP status 429."),
        (500, {"code": 20500, "message": "Oops."}, RefusedForNow, "20500", "Oops."),
        (503, {"code": 20503, "message": "Away."}, RefusedForNow, "20503", "Away."),
        (500, "", AnswerLost, "http-500", "Twilio answered with HTTP status 500."),
        (500, {"code": 20500}, AnswerLost, "20500", "Twilio had an internal error."),
        (503, {"message": "Away."}, AnswerLost, "http-503", "Away."),
        (502, {"code": 30410, "message": "Late."}, AnswerLost, "30410", "Late."),
        (504, "<html>", AnswerLost, "http-504", "Twilio answered with HTTP status 504."),
        (200, "{}", AnswerLost, "unreadable", "Twilio's answer names no message."),
        (201, "", AnswerLost, "unreadable", "Twilio's answer names no message."),
        (201, "garbage", AnswerLost, "unreadable", "Twilio's answer names no message."),
        (201, {"sid": 5}, AnswerLost, "unreadable", "Twilio's answer names no message."),
        (201, {"sid": ""}, AnswerLost, "unreadable", "Twilio's answer names no message."),
        (201, [SID], AnswerLost, "unreadable", "Twilio's answer names no message."),
    ],
)  # fmt: skip
async def test_answers(
    twilio_api: FakeTwilio,
    session: aiohttp.ClientSession,
    status: int,
    body: object,
    kind: type[SendError],
    code: str | None,
    message: str,
) -> None:
    """Each answer is a refusal, a refusal for now, or lost; and always after one POST."""
    twilio_api.says(status, body if isinstance(body, str) else json.dumps(body))
    assert seen(await outcome(twilio_api, session)) == (kind, code, message)
    assert len(twilio_api.asked) == 1


async def test_redirects_are_not_followed(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """A redirect is a refusal: the message and the credentials go nowhere else."""
    for status in (301, 302, 307, 308):
        twilio_api.says(status, Location=twilio_api.url + "/elsewhere")
        assert type(await outcome(twilio_api, session)) is Refused
    assert [request.path for request, _ in twilio_api.asked if "elsewhere" in request.path] == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "0.5"}, 0.5),
        ({"Retry_After": "999999"}, 86400.0),
        ({"Retry_After": "9" * 11}, 86400.0),
        ({"Retry_After": "9" * 400 + ".5"}, 86400.0),
        ({"Retry_After": "Fri, 02 Jan 2026 03:05:05 GMT", "Date": DATE}, 60.0),
        ({"Retry_After": "Fri, 02 Jan 2026 03:00:00 GMT", "Date": DATE}, 0.0),
        ({"Retry_After": "Fri, 02 Jan 2026 03:05:05", "Date": DATE}, 60.0),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "Fri, 99 Jan 2026 03:05:05 GMT"}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_kept(
    twilio_api: FakeTwilio,
    session: aiohttp.ClientSession,
    status: int,
    headers: dict[str, str],
    seconds: float | None,
) -> None:
    """The provider's wish reaches the caller in seconds, given as a number or as a date."""
    twilio_api.says(status, json.dumps(ERROR | {"code": 20429}), **headers)
    error = await outcome(twilio_api, session)
    assert isinstance(error, RefusedForNow)
    assert error.retry_after == seconds


async def test_time_limits(twilio_api: FakeTwilio, session: aiohttp.ClientSession) -> None:
    """An answer that does not come in time is lost, whether nothing came or only its head."""
    quick = Twilio(limits=Limits(total=0.5))

    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(10)
        return web.Response()

    async def half_an_answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=201, headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"sid": "SM')
        await asyncio.sleep(10)
        return response

    for answer in (never, half_an_answer):
        twilio_api.answer = answer
        error = await outcome(twilio_api, session, quick)
        assert seen(error) == (AnswerLost, "timeout", "Twilio did not answer in time.")
    assert len(twilio_api.asked) == 2


@pytest.mark.parametrize(
    ("until", "answer"),
    [
        (b"\r\n\r\n", b""),
        (b"Body=Hello", b""),
        (b"\r\n\r\n", b"HTTP/1.1 201 Created\r\nContent-Length: 50\r\n\r\n{"),
        (b"\r\n\r\n", b"nonsense\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("reset", [True, False])
async def test_broken_connections(
    raw_server: Callable[..., Awaitable[RawServer]],
    session: aiohttp.ClientSession,
    until: bytes,
    answer: bytes,
    reset: bool,  # noqa: FBT001
) -> None:
    """A connection that breaks once it stood leaves the answer lost, and is tried once."""
    server = await raw_server(until=until, answer=answer, reset=reset)
    with pytest.raises(AnswerLost) as raised:
        await half.send(account(server.url), outbound(), session, CALLBACK)
    assert seen(raised.value) == (AnswerLost, "reset", "The connection to Twilio broke.")
    assert server.connections == 1


@pytest.mark.parametrize("reset", [True, False])
async def test_a_connection_that_ends_at_once(
    raw_server: Callable[..., Awaitable[RawServer]],
    session: aiohttp.ClientSession,
    reset: bool,  # noqa: FBT001
) -> None:
    """A connection that ends as soon as it stands is tried once. Where that is seen before anything
    leaves, nothing was taken; else the answer is lost."""
    server = await raw_server(until=b"", answer=b"", reset=reset)
    with pytest.raises((AnswerLost, RefusedForNow)) as raised:
        await half.send(account(server.url), outbound(), session, CALLBACK)
    assert raised.value.message.startswith("The connection to Twilio broke")
    assert server.connections == 1


async def test_a_kept_connection_that_breaks_is_not_used_twice(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """A POST on a connection that the other side has closed is not sent again on a new one."""
    twilio_api.says(201, json.dumps(CREATED))
    await half.send(account(twilio_api.url), outbound(), session, CALLBACK)

    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    twilio_api.answer = cut
    assert seen(await outcome(twilio_api, session))[:2] == (AnswerLost, "reset")
    assert len(twilio_api.asked) == 2


async def test_an_endless_answer_is_cut_off(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession
) -> None:
    """An answer of more megabytes than any of Twilio's is not read to its end."""
    twilio_api.says(201, "x" * 9 * 2**20)
    assert seen(await outcome(twilio_api, session))[:2] == (AnswerLost, "reset")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_nobody_there(
    raw_server: Callable[..., Awaitable[RawServer]], session: aiohttp.ClientSession, scheme: str
) -> None:
    """A refused connection, or one that is no TLS, has carried nothing: try again."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    urls = [f"{scheme}://127.0.0.1:{port}"]
    if scheme == "https":
        server = await raw_server(until=b"", answer=b"no TLS here\n")
        urls.append(server.url.replace("http", "https"))
    for url in urls:
        with pytest.raises(RefusedForNow) as raised:
            await half.send(account(url), outbound(), session, CALLBACK)
        assert seen(raised.value) == (RefusedForNow, "unreachable", "Twilio cannot be reached.")


@pytest.mark.parametrize("url", ["http://[::1", "ftp://127.0.0.1", "nonsense", "http://no.invalid"])
async def test_addresses_that_are_none(session: aiohttp.ClientSession, url: str) -> None:
    """A base address that leads nowhere has carried nothing."""
    with pytest.raises(RefusedForNow) as raised:
        await half.send(account(url), outbound(), session, CALLBACK)
    assert raised.value.code == "unreachable"


async def test_incomplete_credentials(session: aiohttp.ClientSession) -> None:
    """Without its credentials an account sends nothing."""
    for missing in ("account_sid", "auth_token"):
        with pytest.raises(Refused) as raised:
            await half.send(account(**{missing: ""}), outbound(), session, CALLBACK)
        assert raised.value.code == "credentials"


def test_codes_in_plain_words() -> None:
    """A known code has words for staff; others, and none, have none."""
    assert explain("30006") == "The number is a landline, or its carrier cannot be reached."
    assert explain("1") is None
    assert explain(None) is None
