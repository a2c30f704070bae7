"""Status callbacks: their order, fields, signature and retries."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from gateway.simulator import build_simulator
from gateway.simulator.twilio_webhooks import limits

if TYPE_CHECKING:
    from tests.simulator.conftest import Hook, Sim

SID = "AC" + "0" * 31 + "1"
TOKEN = "0123456789abcdef0123456789abcdef"
SERVICE = "MG" + "a" * 32


@pytest.mark.parametrize(
    ("outcome", "params", "statuses"),
    [
        ("queued", {}, []),
        ("sending", {}, ["sending"]),
        ("sent", {}, ["sending", "sent"]),
        ("delivered", {}, ["sending", "sent", "delivered"]),
        (
            "delivered",
            {"From": None, "MessagingServiceSid": SERVICE},
            ["queued", "sending", "sent", "delivered"],
        ),
        ("read", {}, ["sending", "sent", "delivered", "read"]),
        ("undelivered", {}, ["sending", "sent", "undelivered"]),
        ("failed", {}, ["failed"]),
        ("canceled", {}, ["canceled"]),
    ],
)
async def test_an_outcome_is_reached_in_twilios_order(
    sim: Sim,
    hook: Hook,
    outcome: str,
    params: dict[str, Any],
    statuses: list[str],
) -> None:
    """Each outcome has its steps; the initial status is never called back."""
    await sim.plan(match=None, outcome=outcome)

    await sim.send(**params)
    messages = await sim.settled(len(statuses))
    await asyncio.sleep(0.02)

    assert hook.statuses == statuses
    assert messages[0]["status"] == (statuses or ["queued"])[-1]
    assert all(received.is_signed() for received in hook.received)


async def test_a_callback_has_twilios_form_and_headers(sim: Sim, hook: Hook) -> None:
    """The form, user agent, idempotency token and signature are as Twilio sends them."""
    _, made = await sim.send()
    sending, _, delivered = await hook.count(3)

    assert sending.params == {
        "SmsSid": made["sid"],
        "SmsStatus": "sending",
        "MessageStatus": "sending",
        "To": "+15551230001",
        "MessageSid": made["sid"],
        "AccountSid": SID,
        "From": "+15551230002",
        "ApiVersion": "2010-04-01",
    }
    assert len(delivered.params.pop("RawDlrDoneDate")) == 10
    assert sending.headers["User-Agent"] == "TwilioProxy/1.1"
    assert sending.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    tokens = {received.headers["I-Twilio-Idempotency-Token"] for received in hook.received}
    assert len(tokens) == 3
    assert not sending.is_signed(token="another")


@pytest.mark.parametrize(
    ("outcome", "given", "code", "text"),
    [
        ("undelivered", None, "30003", "Unreachable destination handset"),
        ("failed", None, "30005", "Unknown destination handset"),
        ("undelivered", 30007, "30007", "Carrier violation"),
        ("failed", "30008", "30008", "Unknown error"),
        ("failed", 30999, "30999", None),
    ],
)
async def test_a_failure_says_why(
    sim: Sim, hook: Hook, outcome: str, given: object, code: str, text: str | None
) -> None:
    """A failed message carries its error in the callback and in the resource."""
    await sim.plan(match=None, outcome=outcome, error_code=given)

    await sim.send()
    (message,) = await sim.settled(1 if outcome == "failed" else 3)

    last = hook.received[-1].params
    assert (last.get("ErrorCode"), last.get("ErrorMessage")) == (code, text)
    assert (message["error_code"], message["error_message"]) == (int(code), text)


async def test_whatsapp_has_its_own_fields(sim: Sim, hook: Hook) -> None:
    """WhatsApp callbacks keep the prefix and name the channel and the kind of receipt."""
    await sim.plan(match={"channel": "whatsapp"}, outcome="read")

    await sim.send(To="whatsapp:+15551230001", From="whatsapp:+15551230002")
    received = await hook.count(4)

    assert [one.params.get("EventType") for one in received] == [None, None, "DELIVERED", "READ"]
    assert received[-1].params["To"] == "whatsapp:+15551230001"
    assert received[-1].params["ChannelPrefix"] == "whatsapp"
    assert received[-1].is_signed()


async def test_the_messages_own_url_wins_and_is_signed_as_it_stands(sim: Sim, hook: Hook) -> None:
    """The query goes out byte for byte; the fragment neither goes out nor is signed."""
    query = "m=%7E1&x=a%2Fb&y=%27&z=~"
    await sim.send(StatusCallback=f"{hook.base}/own?{query}#rc=2&rp=all")
    received = await hook.count(3)

    assert {one.url for one in received} == {f"{hook.base}/own?{query}"}
    assert all(one.is_signed() for one in received)


async def test_user_and_password_are_sent_when_asked_for(sim: Sim, hook: Hook) -> None:
    """They are part of the signed URL, and follow in a second request after a 401."""
    hook.answers = [401]
    await sim.plan(match=None, outcome="sending")
    url = hook.base.replace("http://", "http://user:pass@") + "/own"

    await sim.send(StatusCallback=url)
    first, second = await hook.count(2)

    assert "Authorization" not in first.headers
    assert second.headers["Authorization"] == "Basic dXNlcjpwYXNz"
    # Twilio's library cannot check this URL itself: it cuts at the first colon.
    assert first.headers["X-Twilio-Signature"] == second.headers["X-Twilio-Signature"]
    (message,) = await sim.settled()
    assert message["callbacks"][0]["status"] == 200


@pytest.mark.parametrize(
    ("fragment", "answers", "tries"),
    [
        ("", [503, 503], 1),
        ("#rc=3", [503, 503], 1),
        ("#rc=3&rp=all", [503, 404], 3),
        ("#rc=1&rp=5xx", [503, 503], 2),
        ("#rc=3&rp=5xx", [404], 1),
        ("#rc=3&rp=4xx,ct", [404], 2),
        ("#rc=9&rp=5xx", [503, 503], 2),
        ("#rc=3&rp=wrong", [503], 1),
    ],
)
async def test_retries_are_those_of_the_fragment(
    sim: Sim, hook: Hook, fragment: str, answers: list[int], tries: int
) -> None:
    """An answer is retried only where the URL says so, with the same idempotency token."""
    hook.answers = list(answers)
    await sim.plan(match=None, outcome="sending")

    await sim.send(StatusCallback=f"{hook.base}/own{fragment}")
    (message,) = await sim.settled()

    statuses = [attempt["status"] for attempt in message["callbacks"][0]["attempts"]]
    assert statuses == [*answers, 200][:tries]
    assert len({one.headers["I-Twilio-Idempotency-Token"] for one in hook.received}) == 1


@pytest.mark.parametrize(("fragment", "tries"), [("", 2), ("#rc=0", 1), ("#rc=3", 4)])
async def test_a_refused_connection_is_retried_and_recorded(
    sim: Sim, fragment: str, tries: int
) -> None:
    """Nobody there: one more try by default, then the error stands in the message's record."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/own{fragment}"
        await sim.plan(match=None, outcome="sending")
        await sim.send(StatusCallback=url)
        (message,) = await sim.settled()

    (callback,) = message["callbacks"]
    assert callback["status"] is None
    assert len(callback["attempts"]) == tries
    assert all(attempt["error"] for attempt in callback["attempts"])


async def test_a_slow_receiver_is_given_up(sim: Sim, hook: Hook) -> None:
    """The read time-out of the fragment holds, and its retry is asked for by `rt`."""
    hook.wait = 0.4
    await sim.plan(match=None, outcome="sending")

    await sim.send(StatusCallback=f"{hook.base}/own#rt=100&rc=1&rp=rt")
    (message,) = await sim.settled()

    attempts = message["callbacks"][0]["attempts"]
    assert [attempt["status"] for attempt in attempts] == [None, None]


async def test_without_any_url_nothing_is_called(bare_sim: Sim) -> None:
    """A message without StatusCallback of an account without webhooks goes its way in silence."""
    account = {"provider": "twilio", "account_sid": SID, "auth_token": TOKEN}
    await bare_sim.ask("POST", "/_sim/accounts", json=account)
    await bare_sim.plan(match=None)

    await bare_sim.send()
    await asyncio.sleep(0.05)

    (message,) = await bare_sim.data("messages")
    assert (message["status"], message["callbacks"]) == ("delivered", [])


async def test_a_messaging_service_picks_a_number_of_the_account(bare_sim: Sim, hook: Hook) -> None:
    """From is null in the answer, and the account's first number in what is reported."""
    account = {"provider": "twilio", "account_sid": SID, "auth_token": TOKEN}
    fields = {"messaging_service_sid": SERVICE, "numbers": ["+15551230002"]}
    webhooks = {"status": f"{hook.base}/status"}
    await bare_sim.ask("POST", "/_sim/accounts", json={**account, **fields, "webhooks": webhooks})
    await bare_sim.plan(match=None, outcome="sent")

    _, made = await bare_sim.send(From=None, MessagingServiceSid=SERVICE)
    received = await hook.count(3)
    _, wrong = await bare_sim.send(From=None, MessagingServiceSid="MG" + "b" * 32)

    assert made["from"] is None
    assert {one.params["From"] for one in received} == {"+15551230002"}
    assert {one.params["MessagingServiceSid"] for one in received} == {SERVICE}
    assert wrong["code"] == 21701


async def test_a_scheduled_message_leaves_at_its_time(
    aiohttp_server: Callable[..., Awaitable[TestServer]], hook: Hook
) -> None:
    """Nothing happens before SendAt; then the message goes its way like any other."""
    start = datetime.now(UTC)
    # What the request reads is five minutes before what the waiting message reads.
    times: list[datetime] = []
    server = await aiohttp_server(build_simulator(clock=lambda: times.pop() if times else start))
    async with aiohttp.ClientSession() as session:
        base = str(server.make_url("")).rstrip("/")
        account = {"provider": "twilio", "account_sid": SID, "auth_token": TOKEN}
        webhooks = {"status": f"{hook.base}/status"}
        await session.post(f"{base}/_sim/accounts", json={**account, "webhooks": webhooks})
        await session.post(f"{base}/_sim/plan", json={"outcome": "sent", "delay_ms": 0})
        times += [start - timedelta(minutes=5)] * 2
        async with session.post(
            f"{base}/2010-04-01/Accounts/{SID}/Messages.json",
            data={
                "To": "+15551230001",
                "MessagingServiceSid": SERVICE,
                "Body": "Later",
                "ScheduleType": "fixed",
                "SendAt": (start + timedelta(seconds=1)).isoformat(),
            },
            headers={"Authorization": aiohttp.encode_basic_auth(SID, TOKEN)},
        ) as response:
            made = await response.json()
        await asyncio.sleep(0.1)
        early = list(hook.statuses)
        await hook.count(3)

    assert (made["status"], early) == ("scheduled", [])
    assert hook.statuses == ["queued", "sending", "sent"]


async def test_a_canceled_schedule_is_reported_and_never_sent(sim: Sim, hook: Hook) -> None:
    """Canceling a scheduled message is called back, and its other steps do not come."""
    moment = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    _, made = await sim.send(
        From=None, MessagingServiceSid=SERVICE, ScheduleType="fixed", SendAt=moment
    )

    await sim.ask("POST", made["uri"], (SID, TOKEN), data={"Status": "canceled"})
    await sim.settled()

    assert hook.statuses == ["canceled"]


@pytest.mark.parametrize(
    ("fragment", "values"),
    [
        ("", (5.0, 15.0, 15.0, 1, {"ct"})),
        ("ct=3000&rc=5&rt=1500&rp=all", (3.0, 1.5, 15.0, 5, {"ct", "rt", "4xx", "5xx"})),
        ("ct=99&rt=15001&tt=x&rc=6", (5.0, 15.0, 15.0, 1, {"ct"})),
        ("tt=100&rp=rt,5xx", (5.0, 15.0, 0.1, 1, {"ct", "rt", "5xx"})),
        ("e=ashburn&sni=y&rp=nonsense,all", (5.0, 15.0, 15.0, 1, {"ct"})),
    ],
)
def test_overrides_of_a_fragment(fragment: str, values: tuple[Any, ...]) -> None:
    """Milliseconds within Twilio's bounds are taken, everything else is the default."""
    taken = limits(fragment)

    assert values == (taken.connect, taken.read, taken.total, taken.retries, set(taken.retry_on))
