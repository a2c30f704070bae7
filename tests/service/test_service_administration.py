"""Accounts, senders and API keys over HTTP, which owners and admins look after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway


async def test_account_life(gateway: Gateway, ask: Ask) -> None:
    """An owner adds, reads, changes and deletes an account; its secrets are never read back."""
    owner = gateway.a.owner
    credentials = {"account_sid": "AC" + "b" * 32, "auth_token": "f" * 32}
    made = await ask(
        "POST", "/v1/accounts", {"provider": "twilio", "credentials": credentials}, key=owner
    )
    path = f"/v1/accounts/{made.body['id']}"
    changed = await ask(
        "PATCH",
        path,
        {"name": "Main", "credentials": credentials | {"auth_token": "e" * 32}},
        key=owner,
    )
    listed = await ask("GET", "/v1/accounts", key=owner)
    read = await ask("GET", path, key=owner)
    gone = await ask("DELETE", path, key=owner)

    assert 201 == made.status
    base = f"https://msg.example.org/gw/webhooks/twilio/{made.body['id']}"
    events = (
        "message", "status", "call", "call-status", "recording", "transcription", "gather", "amd"
    )  # fmt: skip
    assert {event: f"{base}/{event}#rc=5&rp=all" for event in events} == made.body["webhooks"]
    assert ("Main", 200) == (changed.body["name"], read.status)
    assert 2 == len(listed.body["data"])
    assert "f" * 32 not in str([made.body, listed.body, read.body])
    assert (204, 404, 404, 404) == (
        gone.status,
        (await ask("GET", path, key=owner)).status,
        (await ask("PATCH", path, {"name": "x"}, key=owner)).status,
        (await ask("DELETE", path, key=owner)).status,
    )


async def test_urls_carry_a_new_secret(gateway: Gateway, ask: Ask) -> None:
    """The URLs to paste are complete whenever the secret that they carry was just given."""
    credentials = {"server_token": "11111111-1111-4111-8111-111111111111"}
    account = {"provider": "postmark", "credentials": credentials | {"webhook_secret": "secret-1"}}
    made = await ask("POST", "/v1/accounts", account, key=gateway.a.owner)
    path = f"/v1/accounts/{made.body['id']}"

    changed = await ask(
        "PATCH",
        path,
        {"credentials": credentials | {"webhook_secret": "secret-2"}},
        key=gateway.a.owner,
    )
    read = await ask("GET", path, key=gateway.a.owner)

    assert {True} == {url.endswith("?secret=secret-2") for url in changed.body["webhooks"].values()}
    assert "secret-" not in str(read.body)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"provider": "pigeon", "credentials": {}}, "provider"),
        ({"provider": "twilio", "credentials": {}}, "credentials.account_sid"),
        (
            {"provider": "twilio", "credentials": {"account_sid": "AC" + "a" * 32, "x": "y"}},
            "credentials.x",
        ),
    ],
)
async def test_bad_account(gateway: Gateway, ask: Ask, body: dict[str, Any], field: str) -> None:
    """Credentials that cannot be the provider's are refused by name."""
    assert field in (await ask("POST", "/v1/accounts", body, key=gateway.a.owner)).fields()


async def test_sender_life(gateway: Gateway, ask: Ask) -> None:
    """A new default sender takes the place of the old one; a turned-off one sends nothing."""
    owner, account = gateway.a.owner, str(gateway.a.account_id)
    made = await ask(
        "POST",
        "/v1/senders",
        {
            "account_id": account,
            "channel": "sms",
            "address": "+44 7700 900999",
            "is_default": True,
            "rate": 2.5,
        },
        key=owner,
    )
    path = f"/v1/senders/{made.body['id']}"
    sms = {"channel": "sms", "to": "+447700900123", "body": "x"}
    sent = await ask("POST", "/v1/messages", sms)
    by_old = await ask("POST", "/v1/messages", sms | {"from": "+1 555 123 0001"})
    off = await ask("PATCH", path, {"is_active": False, "rate": None}, key=owner)
    refused = await ask("POST", "/v1/messages", sms)
    defaults = [
        row["address"]
        for row in (await ask("GET", "/v1/senders?channel=sms", key=owner)).body["data"]
        if row["is_default"]
    ]

    assert (201, "+447700900999", 2.5) == (made.status, made.body["address"], made.body["rate"])
    assert ("+447700900999", "+15551230001") == (
        sent.body["from_address"],
        by_old.body["from_address"],
    )
    assert (False, None) == (off.body["is_active"], off.body["rate"])
    assert {"from"} == set(refused.fields())
    assert ["+447700900999"] == defaults
    back = await ask("PATCH", path, {"is_active": True, "is_default": True}, key=owner)
    assert (True, None) == (back.body["is_active"], back.body["rate"])
    assert (200, 204, 404, 404, 404) == (
        (await ask("GET", path, key=owner)).status,
        (await ask("DELETE", path, key=owner)).status,
        (await ask("DELETE", path, key=owner)).status,
        (await ask("GET", path, key=owner)).status,
        (await ask("PATCH", path, {"is_active": True}, key=owner)).status,
    )


async def test_bad_sender(gateway: Gateway, ask: Ask) -> None:
    """A sender that cannot send is refused by name."""
    body = {"account_id": str(gateway.a.account_id), "channel": "sms", "address": "12345"}
    cases: list[tuple[dict[str, Any], int, str | None]] = [
        ({"account_id": str(uuid4())}, 422, "account_id"),
        ({"channel": "email"}, 422, "channel"),
        ({"channel": "whatsapp"}, 422, "address"),
        ({"address": "not an address at all"}, 422, "address"),
        ({"rate": 0}, 422, "rate"),
        ({"address": "+15551230001"}, 409, None),
    ]
    for change, status, field in cases:
        answer = await ask("POST", "/v1/senders", body | change, key=gateway.a.owner)

        assert status == answer.status, change
        assert field is None or field in answer.fields(), change


async def test_nothing_is_changed_to_null(gateway: Gateway, ask: Ask) -> None:
    """A null in the place of a value is refused: taken for no change, it would turn nothing off."""
    owner, nulls = gateway.a.owner, {"is_active": None}
    sender = (await ask("GET", "/v1/senders", key=owner)).body["data"][0]
    refused = [
        await ask("PATCH", f"/v1/accounts/{gateway.a.account_id}", body, key=owner)
        for body in (nulls, {"name": None}, {"credentials": None})
    ] + [
        await ask("PATCH", f"/v1/senders/{sender['id']}", body, key=owner)
        for body in (nulls, {"is_default": None})
    ]

    assert ["cannot be null"] * 5 == [text for each in refused for text in each.fields().values()]


async def test_wrong_values_of_changes(gateway: Gateway, ask: Ask) -> None:
    """What is wrong with a value of a change or a filter is said of the field as it was sent."""
    owner, none = gateway.a.owner, uuid4()
    account = {"name": "", "is_active": 1, "credentials": []}
    conversation = {"status": "gone", "read": "yes"}
    refused = [
        await ask("PATCH", f"/v1/accounts/{gateway.a.account_id}", account, key=owner),
        await ask("PATCH", f"/v1/senders/{none}", {"is_default": "yes"}, key=owner),
        await ask("PATCH", f"/v1/conversations/{none}", conversation, key=owner),
        await ask("GET", "/v1/conversations?assigned_to=us", key=owner),
    ]

    assert [set(account), {"is_default"}, set(conversation), {"assigned_to"}] == [
        set(each.fields()) for each in refused
    ]


async def test_key_life(gateway: Gateway, ask: Ask) -> None:
    """A key is shown once, works until it is revoked, and not a moment longer."""
    owner = gateway.a.owner
    made = await ask("POST", "/v1/api-keys", {"name": "crm", "test": True}, key=owner)
    path = f"/v1/api-keys/{made.body['id']}"
    works = await ask("GET", "/v1/messages", key=made.body["key"])
    read = await ask("GET", path, key=owner)
    revoked = await ask("DELETE", path, key=owner)
    after = await ask("GET", "/v1/messages", key=made.body["key"])
    listed = await ask("GET", "/v1/api-keys?limit=200", key=owner)

    assert (201, True, 200) == (made.status, made.body["is_test"], works.status)
    assert made.body["key"].startswith("gw_test_")
    assert "key" not in read.body
    assert (204, 401) == (revoked.status, after.status)
    (row,) = (row for row in listed.body["data"] if row["id"] == made.body["id"])
    assert row["revoked_at"] is not None
    assert made.body["key"] not in str(listed.body)
    assert (404, 404) == (
        (await ask("DELETE", f"/v1/api-keys/{uuid4()}", key=owner)).status,
        (await ask("GET", f"/v1/api-keys/{uuid4()}", key=owner)).status,
    )


@pytest.mark.parametrize("path", ["/v1/accounts", "/v1/senders", "/v1/api-keys"])
async def test_only_owner_and_admin_administer(gateway: Gateway, ask: Ask, path: str) -> None:
    """A member and an API key are refused; nobody sees another organization's rows."""
    for key in (gateway.a.member, gateway.a.key):
        assert 403 == (await ask("GET", path, key=key)).status
        assert 403 == (await ask("POST", path, {}, key=key)).status
    rows = (await ask("GET", path, key=gateway.b.owner)).body["data"]
    assert {str(gateway.b.organization_id)} == {row["organization_id"] for row in rows}
    foreign = (await ask("GET", path, key=gateway.a.owner)).body["data"][0]["id"]
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {"is_active": False})):
        if path == "/v1/api-keys" and method == "PATCH":
            continue
        answer = await ask(method, f"{path}/{foreign}", body, key=gateway.b.owner)
        assert 404 == answer.status, method


async def test_rate_that_no_clock_can_keep(gateway: Gateway, ask: Ask) -> None:
    """A sender's rate is one that a worker can keep: neither a message in years nor endless."""
    wanted = {"account_id": str(gateway.a.account_id), "channel": "sms", "address": "+15551239999"}
    owner = gateway.a.owner
    made = await ask("POST", "/v1/senders", wanted | {"rate": 0.5}, key=owner)
    for rate in (0, -1, 1e-300, 5e-324, 0.0001, 1e300, "1", True):
        refused = await ask("POST", "/v1/senders", wanted | {"rate": rate}, key=owner)
        path = f"/v1/senders/{made.body['id']}"
        changed = await ask("PATCH", path, {"rate": rate}, key=owner)

        assert (422, 422) == (refused.status, changed.status), rate
        assert {"rate"} == set(refused.fields()) == set(changed.fields())
