"""What an answer or a list of a provider's says of a message's fate counts as a report does."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from channels.model import Channel
from tests.service.falling import ADA, SID, follow, known, shown
from tests.service.falling import SMS as WITH_FALLBACK
from tests.service.test_service_asking import hurry
from tests.service.wires import OURS, connect, from_twilio, row_of, send, step, suppressed
from webhooks import twilio

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api
    from webhooks.model import WebhookEvent

SMS = {"channel": "sms", "to": ADA, "body": "Hello"}
FILTERED = {"sid": SID, "status": "failed", "error_code": 30007, "error_message": "Filtered"}


async def types_of(ask: Ask, row: dict[str, Any]) -> list[str]:
    """The types of a message's events, oldest first."""
    data = (await ask("GET", f"/v1/messages/{row['id']}/events")).body["data"]
    return [event["type"] for event in reversed(data)]


@pytest.mark.parametrize(
    ("channel", "answer", "expected"),
    [
        (Channel.SMS, FILTERED, ("failed", "30007", "failed_at")),
        (
            Channel.SMS,
            {"status": "undelivered", "error_code": "99999", "error_message": "Odd"},
            ("failed", "99999", "failed_at"),
        ),
        (Channel.SMS, {"status": "canceled"}, ("canceled", None, None)),
        (Channel.SMS, {"status": "delivered"}, ("delivered", None, "delivered_at")),
        (Channel.SMS, {"status": "read"}, ("read", None, "read_at")),
        (Channel.CALL, {"status": "failed"}, ("failed", "failed", "failed_at")),
        (Channel.CALL, {"status": "busy"}, ("failed", "busy", "failed_at")),
        (Channel.CALL, {"status": "completed"}, ("delivered", None, "delivered_at")),
        (Channel.SMS, {"status": "queued", "error_code": 30007}, ("sent", None, "sent_at")),
        (Channel.SMS, {"status": "brand-new"}, ("sent", None, "sent_at")),
        (Channel.CALL, {"status": "ringing"}, ("sent", None, "sent_at")),
    ],
)
async def test_the_first_status(
    gateway: Gateway, ask: Ask, api: Api, channel: Channel, answer: Any, expected: Any
) -> None:
    """The status that Twilio's answer gives is the message's, with its code: no callback says it
    once more."""
    if channel is Channel.CALL:
        await connect(gateway, "twilio", channel)
    row = await send(ask, channel, ADA, body="Hello")
    api.says(201, {"sid": SID} | answer)
    await step(api.worker(gateway))

    now = await row_of(ask, row)
    status, code, at = expected
    assert (status, code) == (now["status"], now["error_code"])
    assert now["sent_at"]
    assert at is None or now[at]
    word = [] if status == "sent" else [answer["status"]]
    assert ["accepted", "attempt", "sent", *word] == await types_of(ask, row)
    assert 0 == await gateway.count("gateway.queue")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (FILTERED, ("failed", "30007", "The carrier filtered the message out as unwanted.")),
        ({"sid": SID, "status": "delivered", "error_code": None}, ("delivered", None, None)),
        ({"sid": SID, "status": "sent"}, ("sent", None, None)),
    ],
)
async def test_the_list_after_a_lost_answer(
    gateway: Gateway, ask: Ask, api: Api, record: Any, expected: Any
) -> None:
    """What Twilio lists of a message whose answer was lost is its status: the callbacks for it may
    have been lost, too."""
    row = await send(ask, **SMS)
    listed = {
        "to": ADA,
        "from": gateway.a.sender,
        "body": "Hello",
        "direction": "outbound-api",
        "date_created": format_datetime(datetime.now(UTC), usegmt=True),
    } | record
    api.says(502)
    worker = api.worker(gateway)
    await step(worker)
    api.says(200, {"messages": [listed], "next_page_uri": None})
    await hurry(gateway)
    await step(worker)

    now = await row_of(ask, row)
    assert expected == (now["status"], now["error_code"], now["error_message"])
    assert (SID, expected[0] == "failed") == (now["external_id"], now["failed_at"] is not None)


@pytest.mark.parametrize("is_early", [True, False])
async def test_the_same_as_a_report(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    capsys: pytest.CaptureFixture[str],
    *,
    is_early: bool,
) -> None:
    """A callback that says what the answer says is the same report, whichever comes first: one
    event, counted once; one in other words changes nothing of the row."""
    row = await send(ask, **SMS)
    worker = api.worker(gateway)
    callback = {"MessageSid": SID, "MessageStatus": "failed", "ErrorCode": "30007"}
    if is_early:
        assert 200 == (await from_twilio(gateway, "status", callback)).status
    api.says(201, FILTERED)
    capsys.readouterr()
    await step(worker)
    said = capsys.readouterr().out
    before = await row_of(ask, row)
    if not is_early:
        assert 200 == (await from_twilio(gateway, "status", callback)).status
    in_words = callback | {"ErrorMessage": "Message filtered"}

    assert ["accepted", "attempt", "sent", "failed"] == await types_of(ask, row)
    assert 200 == (await from_twilio(gateway, "status", in_words)).status
    after = await row_of(ask, row)
    assert before == after | {"updated_at": before["updated_at"]}
    assert "30007" == after["error_code"]
    for name in ("sent", "failed"):
        counted = f'gateway_messages_{name}_total{{channel="sms",provider="twilio"}} 1.0'
        assert counted in worker._metrics.page(None).decode()
    assert re.search(r"\] sent .*\n.*\] reported .* status=failed\n", said), said


async def test_what_follows_a_failure(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Something else is sent at once, where that was asked for, and `why` explains the code."""
    await known(gateway, ask, api)
    row = await send(ask, "sms", ADA, **WITH_FALLBACK)
    api.says(201, FILTERED)
    await step(api.worker(gateway))

    assert 1 == await follow(gateway)
    assert [("sms", "failed"), ("email", "pending")] == await shown(ask)
    why = (await ask("GET", f"/v1/messages/{row['id']}/why")).body
    assert "The carrier filtered the message out as unwanted." in why["summary"]
    texts = [each["text"] for each in why["timeline"]]
    assert "Twilio took it." in texts
    reported = "Twilio reports a failure. The carrier filtered the message out as unwanted."
    assert texts.index("Twilio took it.") < texts.index(reported)


async def test_an_opt_out(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Who has told Twilio to stop is on the list from the answer on, as of the time that it tells;
    the callback adds nothing."""
    await send(ask, **SMS)
    at = "Fri, 02 Jan 2026 03:04:05 +0000"
    failed = {"sid": SID, "status": "failed", "error_code": 21610, "to": ADA, "date_updated": at}
    api.says(201, failed)
    await step(api.worker(gateway))

    assert {("sms", ADA, "stop")} == await suppressed(ask)
    (stop,) = (await ask("GET", "/v1/suppressions")).body["data"]
    assert stop["evidence"]["occurred_at"].startswith("2026-01-02T03:04:05")
    callback = {"MessageSid": SID, "MessageStatus": "failed", "ErrorCode": "21610", "To": ADA}
    assert 200 == (await from_twilio(gateway, "status", callback)).status
    assert 1 == await gateway.count("gateway.consent_events")


@pytest.mark.parametrize(
    ("event", "expected", "reasons"),
    [
        (
            {
                "event": "failed",
                "severity": "permanent",
                "reason": "bounce",
                "delivery-status": {"code": 550, "message": "No such user"},
            },
            ("failed", "550"),
            {"hard_bounce"},
        ),
        ({"event": "failed", "severity": "temporary"}, ("sent", None), set()),
        ({"event": "rejected"}, ("failed", "rejected"), set()),
        ({"event": "delivered"}, ("delivered", None), set()),
        ({"event": "accepted"}, ("sent", None), set()),
    ],
)
async def test_the_events_that_mailgun_lists(
    gateway: Gateway, ask: Ask, api: Api, event: Any, expected: Any, reasons: set[str]
) -> None:
    """What Mailgun lists of a mail whose answer was lost is what its webhook would have brought."""
    await connect(gateway, "mailgun", Channel.EMAIL)
    row = await send(ask, "email", "ada@example.com", subject="Hi", body="Hello")
    worker = api.worker(gateway)
    api.says(500)
    await step(worker)
    mail_id = f"{row['id']}@{OURS[Channel.EMAIL].partition('@')[2]}"
    listed = {
        "id": "e1",
        "timestamp": time.time(),
        "recipient": "ada@example.com",
        "message": {"headers": {"message-id": mail_id}},
    } | event
    api.says(200, {"items": [listed, {"event": "failed"}]})
    await hurry(gateway)
    await step(worker)

    now = await row_of(ask, row)
    assert expected == (now["status"], now["error_code"])
    assert reasons == {reason for _, _, reason in await suppressed(ask)}
    assert mail_id == now["external_id"]


@pytest.mark.parametrize(
    "text",
    [
        '{"sid":"SM1","status":"queued","num_segments":123456789012345678901234567890}',
        '{"sid":"SM1","status":' + "[" * 300 + "]" * 300 + "}",
        '{"sid":"SM1","status":"queued","price":1e999,"from":{"a":["b"]}}',
        '{"sid":"SM1","status":"failed","error_code":' + "[" * 300 + "]" * 300 + "}",
        '{"sid":"SM1","status":"failed","error_code":' + "9" * 40 + "}",
    ],
)
async def test_odd_values(gateway: Gateway, ask: Ask, api: Api, text: str) -> None:
    """Whatever stands beside the id in an answer, the message was taken and is sent once."""
    row = await send(ask, **SMS)
    api.answers = lambda _: web.Response(status=201, text=text)
    worker = api.worker(gateway)
    await step(worker)
    await hurry(gateway)
    await step(worker)

    assert 1 == len(api.asked)
    now = await row_of(ask, row)
    status = "failed" if '"failed"' in text else "sent"
    assert ("SM1", status) == (now["external_id"], now["status"])


async def test_a_defect_of_ours(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An answer that our own code cannot read further costs no outcome: the message is sent."""

    def fail(*_: object) -> list[WebhookEvent]:
        raise ValueError("a defect")

    monkeypatch.setitem(vars(twilio)["REPORTED"], "status", fail)
    row = await send(ask, **SMS)
    api.says(201, FILTERED)
    await step(api.worker(gateway))

    now = await row_of(ask, row)
    assert (SID, "sent") == (now["external_id"], now["status"])
    assert "what an answer says could not be read" in capsys.readouterr().out
