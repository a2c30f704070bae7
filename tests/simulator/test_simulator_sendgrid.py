"""api.sendgrid.com: what /v3/mail/send takes and refuses, and the events that follow."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.simulator.conftest import Hook, Received, Sim

KEY = "SG.simulated"
SEND = "/v3/mail/send"
MAIL: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "ana@example.org"}]}],
    "from": {"email": "desk@clinic.example", "name": "Desk"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "Hello Ana"}],
}


@dataclass
class Mailing(Sim):
    """A simulator with one account, and the key that verifies its events."""

    public_key: str = ""


@pytest.fixture
async def mailing(bare_sim: Sim) -> Mailing:
    """An account whose events go to the webhook."""
    answer = await bare_sim.account(
        "sendgrid", api_key=KEY, webhooks={"events": f"{bare_sim.hook.base}/events?a=1"}
    )
    await bare_sim.plan(match=None)
    key = str(answer["webhook_public_key"])
    return Mailing(bare_sim.base, bare_sim.session, bare_sim.hook, public_key=key)


async def _send(
    sim: Sim, body: Any = None, key: str = KEY, **more: Any
) -> tuple[int, str | None, Any]:
    """Send a mail: status, X-Message-Id, and the JSON that came back, if any."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    raw = body if isinstance(body, bytes) else json.dumps(body or MAIL | more).encode()
    async with sim.session.post(sim.base + SEND, data=raw, headers=headers) as response:
        text = await response.text()
        return (
            response.status,
            response.headers.get("X-Message-Id"),
            json.loads(text) if text.startswith("{") else text,
        )


def _is_signed(received: Received, public_key: str) -> bool:
    """Whether the events bear the signature of that key, checked with the library alone."""
    key = serialization.load_der_public_key(base64.b64decode(public_key))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    name = "X-Twilio-Email-Event-Webhook-"
    signed = received.headers[f"{name}Timestamp"].encode() + received.body
    try:
        signature = base64.b64decode(received.headers[f"{name}Signature"])
        key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _events(hook: Hook) -> list[dict[str, Any]]:
    return [event for received in hook.received for event in received.json()]


@pytest.mark.parametrize(
    ("outcome", "events"),
    [
        ("queued", []),
        ("sending", ["processed"]),
        ("sent", ["processed"]),
        ("deferred", ["processed", "deferred"]),
        ("delivered", ["processed", "delivered"]),
        ("completed", ["processed", "delivered"]),
        ("read", ["processed", "delivered", "open"]),
        ("failed", ["processed", "bounce"]),
        ("bounced", ["processed", "bounce"]),
        ("undelivered", ["processed", "deferred", "bounce"]),
        ("blocked", ["processed", "bounce"]),
        ("dropped", ["dropped"]),
        ("complained", ["processed", "delivered", "spamreport"]),
        ("unsubscribed", ["processed", "delivered", "unsubscribe"]),
    ],
)
async def test_an_outcome_is_told_in_sendgrids_events(
    mailing: Mailing, hook: Hook, outcome: str, events: list[str]
) -> None:
    """202 with an id and an empty body; then an event for each step, each POST signed."""
    await mailing.plan(match=None, outcome=outcome)

    status, message_id, body = await _send(mailing, custom_args={"message_id": "m-1"})
    await hook.count(len(events))
    await asyncio.sleep(0.02)

    assert (status, body) == (202, "")
    assert message_id is not None
    assert len(message_id) == 22
    told = _events(hook)
    assert [event["event"] for event in told] == events
    assert all(_is_signed(received, mailing.public_key) for received in hook.received)
    assert {event["sg_message_id"].partition(".")[0] for event in told} <= {message_id}
    assert all(event["message_id"] == "m-1" for event in told)
    assert all(event["email"] == "ana@example.org" for event in told)
    assert len({event["sg_event_id"] for event in told}) == len(events)


async def test_an_event_has_sendgrids_fields(mailing: Mailing, hook: Hook) -> None:
    """Ids, time in seconds, the categories and the custom arguments beside them."""
    args = {"message_id": "m-1", "event": "mine"}
    await mailing.plan(match=None, outcome="bounced", error_code="5.2.2")

    _, message_id, _ = await _send(mailing, custom_args=args, categories=["a", "b"])
    processed, bounce = [received.json()[0] for received in await hook.count(2)]

    assert isinstance(processed.pop("timestamp"), int)
    assert processed.pop("sg_event_id")
    assert processed == {
        "message_id": "m-1",
        "email": "ana@example.org",
        "smtp-id": f"<{message_id}@geopod-ismtpd-1>",
        "event": "processed",
        "category": ["a", "b"],
        "sg_message_id": f"{message_id}.recvd-6d8f9b7c5-x2x4z-1-65A1B2C3-0.0",
    }
    assert (bounce["type"], bounce["status"]) == ("bounce", "5.2.2")
    assert bounce["reason"].startswith("550 5.1.1")
    assert hook.received[0].url == f"{hook.base}/events?a=1"


async def test_our_own_message_id_is_the_smtp_id(mailing: Mailing, hook: Hook) -> None:
    """A Message-ID among the headers is the mail's own; another body is not what was signed."""
    await _send(mailing, headers={"Message-ID": "<1@clinic.example>"})
    received, _ = await hook.count(2)

    assert received.json()[0]["smtp-id"] == "<1@clinic.example>"
    received.body = received.body.replace(b"processed", b"delivered")
    assert not _is_signed(received, mailing.public_key)


async def test_every_recipient_has_events_of_its_own(mailing: Mailing, hook: Hook) -> None:
    """One id for the request, one number for each recipient, each with its own plan."""
    await mailing.plan(match={"to": "bob@example.org"}, outcome="dropped")
    personalizations = [
        {"to": [{"email": "ana@example.org"}], "cc": [{"email": "bob@example.org"}]},
        {"to": [{"email": "eve@example.org"}], "custom_args": {"message_id": "m-3"}},
    ]

    _, message_id, _ = await _send(
        mailing, personalizations=personalizations, custom_args={"message_id": "m-1"}
    )
    await hook.count(5)

    told = {(e["email"], e["event"], e["message_id"], e["sg_message_id"]) for e in _events(hook)}
    start = f"{message_id}.recvd-6d8f9b7c5-x2x4z-1-65A1B2C3-"
    assert told == {
        ("ana@example.org", "processed", "m-1", f"{start}0.0"),
        ("ana@example.org", "delivered", "m-1", f"{start}0.0"),
        ("bob@example.org", "dropped", "m-1", f"{start}1.0"),
        ("eve@example.org", "processed", "m-3", f"{start}2.0"),
        ("eve@example.org", "delivered", "m-3", f"{start}2.0"),
    }


async def test_batch_is_several_events_in_one_post(mailing: Mailing, hook: Hook) -> None:
    """An array with CRLF between its events and behind it, all of it signed."""
    await mailing.plan(match=None, faults=["batch", "duplicate", "reorder"])

    await _send(mailing, subject="Grüße 👋")
    (received,) = await hook.count(1)

    assert received.body.count(b"},\r\n{") == 3
    assert received.body.endswith(b"}]\r\n")
    assert _is_signed(received, mailing.public_key)
    told = received.json()
    assert sorted(event["event"] for event in told) == ["delivered"] * 2 + ["processed"] * 2
    assert len({event["sg_event_id"] for event in told}) == 2


@pytest.mark.parametrize(
    ("faults", "answers", "events"),
    [
        (["429"], [429, 202], 2),
        (["500"], [500, 202], 2),
        (["502"], [502, 202], 2),
        (["reset"], [None, 202], 2),
        (["reset_after_accept"], [None, 202], 4),
        (["drop"], [202, 202], 0),
        (["duplicate"], [202, 202], 8),
        (["before_response"], [202, 202], 4),
    ],
)
async def test_the_plan_disturbs_mails_as_it_does_messages(
    mailing: Mailing,
    hook: Hook,
    faults: list[str],
    answers: list[int | None],
    events: int,
) -> None:
    """Refused, lost, doubled; and every request is told with its answer."""
    await mailing.plan(match={"to": "ana@example.org", "channel": "email"}, faults=faults)

    found: list[int | None] = []
    for _ in answers:
        try:
            found.append((await _send(mailing))[0])
        except (aiohttp.ClientConnectionError, ConnectionError):
            found.append(None)
    await hook.count(events)
    await asyncio.sleep(0.05)

    assert found == answers
    assert len(hook.received) == events
    asked = await mailing.data("requests")
    assert [(one["provider"], one["status"]) for one in asked] == [
        ("sendgrid", status) for status in answers
    ]
    assert asked[0]["params"] == MAIL


async def test_an_event_is_tried_again_until_it_is_taken(mailing: Mailing, hook: Hook) -> None:
    """Whatever is no 2xx is repeated, with the same body."""
    hook.answers = [503, 404, 200]
    await mailing.plan(match=None, outcome="sent")

    await _send(mailing)
    first, second, third = await hook.count(3)

    assert first.body == second.body == third.body


@pytest.mark.parametrize("code", ["429", "500"])
async def test_a_refusal_has_sendgrids_body(mailing: Mailing, code: str) -> None:
    """`errors` with message, field and help; 429 says when to come back."""
    await mailing.plan(match=None, faults=[code])

    headers = {"Authorization": f"Bearer {KEY}"}
    async with mailing.session.post(mailing.base + SEND, json=MAIL, headers=headers) as response:
        body = await response.json()

    words = {"429": "too many requests", "500": "Internal Server Error"}[code]
    assert body == {"errors": [{"message": words, "field": None, "help": None}]}
    assert response.headers.get("X-RateLimit-Reset") == ("1" if code == "429" else None)


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({"personalizations": []}, ["personalizations"]),
        ({"personalizations": [{"to": []}]}, ["personalizations.0.to"]),
        (
            {"personalizations": [{"to": [{"email": "nobody"}]}]},
            ["personalizations.0.to.0.email"],
        ),
        (
            {"personalizations": [{"to": [{"email": "a@b.c"}], "cc": [{"email": "A@b.c"}]}]},
            ["personalizations.0"],
        ),
        (
            {"personalizations": [{"to": [{"email": "a@b.c"}]}] * 1001},
            ["personalizations"],
        ),
        ({"from": {}}, ["from.email"]),
        ({"from": {"email": "Desk"}}, ["from.email"]),
        ({"reply_to": {"email": "Desk"}}, ["reply_to.email"]),
        ({"subject": ""}, ["subject"]),
        ({"content": []}, ["content"]),
        ({"content": [{"type": "text/plain", "value": ""}]}, ["content.0.value"]),
        (
            {
                "content": [
                    {"type": "text/html", "value": "<p>"},
                    {"type": "text/plain", "value": "x"},
                ]
            },
            ["content"],
        ),
        (
            {"attachments": [{"content": "!", "filename": "a"}, {"content": "YQ=="}]},
            ["attachments.0.content", "attachments.1.filename"],
        ),
        ({"headers": {"Reply-To": "a@b.c"}}, ["headers.Reply-To"]),
        ({"headers": {"X-A": "b\r\nX-C: d"}}, ["headers.X-A"]),
        ({"custom_args": {"a": 1}}, ["custom_args"]),
        ({"custom_args": {"a": "b" * 10_000}}, ["custom_args"]),
        ({"from": {}, "subject": None}, ["subject", "from.email"]),
    ],
)
async def test_a_wrong_mail_is_refused_with_every_field(
    mailing: Mailing, more: dict[str, Any], fields: list[str]
) -> None:
    """400 names each field that is wrong; nothing is sent."""
    status, _, answer = await _send(mailing, **more)

    assert (status, [error["field"] for error in answer["errors"]]) == (400, fields)
    assert await mailing.data("messages") == []


@pytest.mark.parametrize(
    "more",
    [
        {"subject": None, "content": None, "template_id": "d-1"},
        {"subject": "", "personalizations": [{"to": [{"email": "a@b.c"}], "subject": "Hi"}]},
        {"attachments": [{"content": "YQ==", "filename": "a.txt", "type": "text/plain"}]},
        {"reply_to": {"email": "reply+token@clinic.example"}},
        {"headers": {"List-Unsubscribe": "<https://a.test>", "References": "<1@a>"}},
    ],
)
async def test_other_mails_that_are_accepted(mailing: Mailing, more: dict[str, Any]) -> None:
    """Templates, subjects of one recipient, attachments, replies and headers."""
    assert (await _send(mailing, **more))[0] == 202


@pytest.mark.parametrize(
    ("body", "key", "status"),
    [
        (None, "SG.wrong", 401),
        (None, "", 401),
        (b"{", KEY, 400),
        (b"[]", KEY, 400),
    ],
)
async def test_what_cannot_be_read_or_opened(
    mailing: Mailing, body: bytes | None, key: str, status: int
) -> None:
    """A wrong key is 401, what is no JSON object 400, in SendGrid's form."""
    answered, _, answer = await _send(mailing, body, key)

    assert (answered, list(answer["errors"][0])) == (status, ["message", "field", "help"])


async def test_a_form_is_415_and_another_path_404(mailing: Mailing) -> None:
    """Only JSON is read; every path below /v3 answers in SendGrid's words."""
    headers = {"Authorization": f"Bearer {KEY}"}
    form = await mailing.ask("POST", SEND, data={"a": "b"}, headers=headers)
    other = await mailing.ask("GET", "/v3/stats", headers=headers)

    assert (form[0], other[0]) == (415, 404)
    assert other[1] == {"errors": [{"message": "not found", "field": None, "help": None}]}


async def test_sandboxed_mails_go_nowhere(mailing: Mailing, hook: Hook) -> None:
    """200 without an id, and no event."""
    answer = await _send(mailing, mail_settings={"sandbox_mode": {"enable": True}})
    await asyncio.sleep(0.05)

    assert answer == (200, None, "")
    assert (hook.received, await mailing.data("messages")) == ([], [])


@pytest.mark.parametrize(("given", "message"), [(None, "Bad Request"), ("No", "No")])
async def test_refused_is_an_error_of_the_api(
    mailing: Mailing, given: str | None, message: str
) -> None:
    """The outcome `refused` answers 400 with the plan's words."""
    await mailing.plan(match=None, outcome="refused", error_code=given)

    status, _, answer = await _send(mailing)

    assert (status, answer["errors"][0]["message"]) == (400, message)


@pytest.mark.parametrize(
    ("sender", "status"),
    [("desk@clinic.example", 202), ("ana@other.example", 202), ("bob@other.example", 403)],
)
async def test_only_own_addresses_send_where_they_are_given(
    bare_sim: Sim, sender: str, status: int
) -> None:
    """An account with `addresses` refuses every other sender with 403."""
    addresses = ["@clinic.example", "ana@other.example"]
    await bare_sim.account("sendgrid", api_key=KEY, addresses=addresses)

    assert (await _send(bare_sim, MAIL | {"from": {"email": sender}}))[0] == status


async def test_an_account_keeps_its_key_pair(bare_sim: Sim) -> None:
    """Registered again, with webhooks, it has the key of before; a given key is used."""
    own = ec.generate_private_key(ec.SECP256R1())
    pem = own.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    der = own.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = own.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    keys = [
        (await bare_sim.account("sendgrid", api_key=KEY, **more))["webhook_public_key"]
        for more in (
            {},
            {"webhooks": {"events": "http://127.0.0.1:1/"}},
            {"private_key": pem.decode()},
            {"private_key": base64.b64encode(der).decode()},
        )
    ]

    assert keys[0] == keys[1] != keys[2]
    assert keys[2] == keys[3] == base64.b64encode(public).decode()


async def test_an_account_is_given_with_all_of_the_gateways_credentials(mailing: Mailing) -> None:
    """The public key is one of them: it may come back, but no other, which would verify nothing."""
    credentials = {"api_key": KEY, "webhook_public_key": mailing.public_key, "inbound_secret": "s"}
    sendgrid = {"provider": "sendgrid"}

    kept = await mailing.account("sendgrid", **credentials)
    refused = [
        await mailing.ask("POST", "/_sim/accounts", json=sendgrid | credentials | more)
        for more in ({"webhook_public_key": "MFkw"}, {"api_key": "SG.other"}, {"api_key": 1})
    ]

    assert kept["webhook_public_key"] == mailing.public_key
    assert [status for status, _ in refused] == [422] * 3
    assert "its private_key" in refused[0][1]["detail"]


@pytest.mark.parametrize("key", ["", "!", "YQ==", "-----BEGIN", "another curve"])
async def test_a_key_that_is_none_is_refused(bare_sim: Sim, key: str) -> None:
    """Only a P-256 private key can sign events."""
    if key == "another curve":
        key = (
            ec.generate_private_key(ec.SECP384R1())
            .private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            .decode()
        )

    status, answer = await bare_sim.ask(
        "POST",
        "/_sim/accounts",
        json={"provider": "sendgrid", "api_key": KEY, "private_key": key},
    )

    assert (status, answer["errors"][0]["field"]) == (422, "private_key")


async def test_all_credentials_of_an_account(bare_sim: Sim) -> None:
    """An account may be given as the gateway has it, with the secret of its inbound URL."""
    given = {"provider": "sendgrid", "api_key": KEY, "inbound_secret": "s3cret"}
    status, _ = await bare_sim.ask("POST", "/_sim/accounts", json=given)
    assert 201 == status
