"""Someone writes in: whose webhook hears of it, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.simulator.conftest import Hook, Sim

SID = "AC" + "0" * 31 + "1"
TOKEN = "0123456789abcdef0123456789abcdef"
ACCOUNT = {"provider": "twilio", "account_sid": SID, "auth_token": TOKEN}


async def test_inbound_sms(sim: Sim, hook: Hook) -> None:
    """Someone writes in: the webhook gets Twilio's form, signed, and its answer is told."""
    status, answer = await sim.ask(
        "POST",
        "/_sim/inbound",
        json={
            "channel": "sms",
            "from": "+15551230001",
            "to": "+15551230002",
            "body": "Bonjour & adieu 👋",
            "media": ["https://a.test/1.jpg", {"url": "https://a.test/2", "content_type": "a/b"}],
            "params": {"OptOutType": "HELP", "FromCity": "PARIS"},
        },
    )

    (received,) = hook.received
    assert received.is_signed()
    assert received.url == f"{hook.base}/message"
    sid = answer["sid"]
    assert received.params == {
        "ToCountry": "US",
        "ToState": "",
        "ToCity": "",
        "ToZip": "",
        "FromCountry": "US",
        "FromState": "",
        "FromCity": "PARIS",
        "FromZip": "",
        "SmsMessageSid": sid,
        "NumMedia": "2",
        "SmsSid": sid,
        "SmsStatus": "received",
        "Body": "Bonjour & adieu 👋",
        "To": "+15551230002",
        "NumSegments": "1",
        "MessageSid": sid,
        "AccountSid": SID,
        "From": "+15551230001",
        "ApiVersion": "2010-04-01",
        "MediaUrl0": "https://a.test/1.jpg",
        "MediaContentType0": "image/jpeg",
        "MediaUrl1": "https://a.test/2",
        "MediaContentType1": "a/b",
        "OptOutType": "HELP",
    }
    assert (status, answer["status"], answer["body"]) == (200, 200, "<Response/>")
    _, listed = await sim.ask(
        "GET", f"/2010-04-01/Accounts/{SID}/Messages/{sid}.json", (SID, TOKEN)
    )
    assert (listed["direction"], listed["status"]) == ("inbound", "received")


@pytest.mark.parametrize(
    ("sender", "wa_id"), [("+15551230001", "15551230001"), ("whatsapp:US.1234", None)]
)
async def test_inbound_whatsapp(sim: Sim, hook: Hook, sender: str, wa_id: str | None) -> None:
    """WhatsApp addresses get their prefix; a user name may stand where a number does."""
    body = {"channel": "whatsapp", "from": sender, "to": "+15551230002", "body": "Hi"}
    await sim.ask("POST", "/_sim/inbound", json={**body, "profile_name": "Ana"})

    (received,) = hook.received
    params = received.params
    assert params["From"] == f"whatsapp:{sender.removeprefix('whatsapp:')}"
    assert (params["To"], params["ProfileName"]) == ("whatsapp:+15551230002", "Ana")
    assert (params.get("WaId"), params["MessageType"]) == (wa_id, "text")


async def test_an_inbound_message_is_retried_as_its_url_says(sim: Sim, hook: Hook) -> None:
    """The answer tells every attempt; a receiver that fails is told as it is."""
    webhooks = {"message": f"{hook.base}/in#rc=2&rp=5xx"}
    await sim.ask("POST", "/_sim/accounts", json={**ACCOUNT, "webhooks": webhooks})
    hook.answers = [503, 503, 500]
    body = {"channel": "sms", "from": "+15551230001", "to": "+15551230002", "body": "Hi"}

    _, failed = await sim.ask("POST", "/_sim/inbound", json=body)
    _, fine = await sim.ask("POST", "/_sim/inbound", json=body)

    assert [attempt["status"] for attempt in failed["attempts"]] == [503, 503, 500]
    assert (failed["status"], fine["status"]) == (500, 200)


@pytest.mark.parametrize(
    ("numbers", "to", "account", "status", "where"),
    [
        ((["+15550000001"], ["+15550000002"]), "+15550000002", None, 200, "/2"),
        ((["+15550000001"], []), "+15550000009", None, 200, "/2"),
        (([], []), "+15550000009", "AC2", 200, "/2"),
        (([], []), "+15550000009", None, 409, None),
        ((["+15550000001"], ["+15550000002"]), "+15550000009", None, 409, None),
        (([], []), "+15550000009", "AC3", 404, None),
    ],
)
async def test_the_owner_of_the_number_receives(
    bare_sim: Sim,
    hook: Hook,
    numbers: tuple[list[str], list[str]],
    to: str,
    account: str | None,
    status: int,
    where: str | None,
) -> None:
    """Of several accounts the one that owns `to`, or is named; none is guessed."""
    for index, own in enumerate(numbers, 1):
        await bare_sim.ask(
            "POST",
            "/_sim/accounts",
            json={
                "provider": "twilio",
                "account_sid": f"AC{index}",
                "auth_token": "t",
                "numbers": own,
                "webhooks": {"message": f"{hook.base}/{index}"},
            },
        )
    body: dict[str, Any] = {"channel": "sms", "from": "+15551230001", "to": to, "body": "Hi"}

    answered, answer = await bare_sim.ask(
        "POST", "/_sim/inbound", json={**body, "account": account}
    )

    assert answered == status, answer
    assert [one.url for one in hook.received] == ([f"{hook.base}{where}"] if where else [])


async def test_who_has_sent_from_a_number_receives(bare_sim: Sim, hook: Hook) -> None:
    """Of several accounts, and of several providers, it is the one that has sent from `to`."""
    for number in "12":
        login = (f"AC{number}", "t")
        webhooks = dict.fromkeys(("message", "call"), f"{hook.base}/{number}")
        await bare_sim.account(
            "twilio", account_sid=login[0], auth_token=login[1], webhooks=webhooks
        )
        for kind, prefix in (("Messages", ""), ("Messages", "whatsapp:"), ("Calls", "")):
            form = {
                "To": f"{prefix}+15551230001",
                "From": f"{prefix}+1555000000{number}",
                "Body": "Hi",
                "Twiml": "<Response/>",
            }
            path = f"/2010-04-01/Accounts/{login[0]}/{kind}.json"
            assert 201 == (await bare_sim.ask("POST", path, login, data=form))[0]
    await bare_sim.account(
        "meta", access_token="EAA", phone_number_id="1", app_secret="s", webhooks={}
    )

    statuses = []
    for channel in ("sms", "whatsapp", "call"):
        for to in ("+15550000001", "+1 555 000 0002", "+15550000009"):
            body = {"channel": channel, "from": "+15551230001", "to": to, "body": "Hi"}
            statuses.append((await bare_sim.inbound(**body))[0])

    assert [200, 200, 409] * 3 == statuses
    assert ["/1", "/2"] * 3 == [one.path for one in hook.received]


async def test_inbound_needs_a_webhook(bare_sim: Sim) -> None:
    """An account without the webhook `message` is named in the problem."""
    await bare_sim.ask("POST", "/_sim/accounts", json=ACCOUNT)

    status, answer = await bare_sim.ask(
        "POST", "/_sim/inbound", json={"channel": "sms", "from": "+15551230001", "to": "2020"}
    )

    assert status == 409
    assert "'message'" in answer["detail"]


async def test_twilio_keeps_its_own_list_of_who_said_stop(sim: Sim) -> None:
    """After STOP the pair is refused with 21610, after START it is not; other texts say nothing."""
    codes = []
    for text in ("STOP please", " stop ", "START"):
        body = {"channel": "sms", "from": "+15551230001", "to": "+15551230002", "body": text}
        await sim.ask("POST", "/_sim/inbound", json=body)
        codes.append((await sim.send())[1].get("code"))

    assert codes == [None, 21610, None]
