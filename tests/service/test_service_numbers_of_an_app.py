"""Meta calls one URL for all numbers of an app: what comes is that of the number's account."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from channels.model import Channel
from gateway.receive.hook_accounts import ANEW_SECONDS, HookAccounts
from gateway.store import accounts
from gateway.store.errors import DatabaseAwayError
from gateway.vault import Vault
from tests.service.wires import (
    APP_SECRET,
    CREDENTIALS,
    connect,
    counts,
    from_meta,
    inbound_of,
    replay,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.losses import Connection

ADA = "447700900123"
OTHER = "+15551240002"
ROTATED = "f" * 32
ASIDE = "events are put aside"


def told(number: str, n: int = 0) -> dict[str, Any]:
    """A message to one of the app's numbers."""
    value = whatsapp_value(whatsapp_text("Hi", wamid=f"wamid.{number}.{n}", sender=ADA))
    value["metadata"]["phone_number_id"] = number
    return value


async def insert_accounts(gateway: Gateway, owner: Connection, numbers: range) -> None:
    """Accounts of the same app with these numbers, none of them a sender."""
    vault = Vault(gateway.settings.gateway_secret_keys)
    organization_id = gateway.a.organization_id
    sealed = [
        vault.seal(organization_id, {**CREDENTIALS["meta"], "phone_number_id": str(number)})
        for number in numbers
    ]
    await owner.execute(
        "INSERT INTO gateway.provider_accounts (organization_id, provider, name, credentials)"
        " SELECT $1, 'meta', 'one of many', each FROM unnest($2::bytea[]) AS each",
        organization_id,
        sealed,
    )


async def test_very_many_numbers(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """However many accounts an app has, the newest gets its messages, also from a sibling's URL."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    await insert_accounts(gateway, owner, range(300_000, 301_200))
    await connect(gateway, "meta", Channel.WHATSAPP, OTHER, phone_number_id="200002")

    assert 200 == (await from_meta(gateway, account, whatsapp_post(told("200002")))).status

    assert ["wamid.200002.0"] == [row["external_id"] for row in await inbound_of(ask)]
    # kept for both accounts
    assert (0, 2, 0, 0) == counts(await replay(gateway))


async def test_a_number_of_two_accounts(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """Of several accounts with one number the one whose secret fits gets its messages; of those,
    one that is in use."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    await connect(gateway, "meta", Channel.WHATSAPP, OTHER, phone_number_id="2", app_secret=ROTATED)
    idle = await connect(gateway, "meta", Channel.WHATSAPP, "+15551240003", phone_number_id="2")
    used = await connect(gateway, "meta", Channel.WHATSAPP, "+15551240004", phone_number_id="2")
    await owner.execute(
        "UPDATE gateway.provider_accounts SET is_active = false WHERE id = $1", idle
    )

    assert 200 == (await from_meta(gateway, account, whatsapp_post(told("2")))).status

    assert 1 == len(await inbound_of(ask))
    assert used == await owner.fetchval(
        "SELECT account_id FROM gateway.webhook_requests WHERE account_id <> $1", account
    )


async def test_a_number_without_an_account(gateway: Gateway, ask: Ask) -> None:
    """Events about a number that no account has are told of, once in a while for each URL, and
    counted each time; the account's first message comes in as soon as it is there."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    with capture_logs() as logs:
        for n in range(3):
            await from_meta(gateway, account, whatsapp_post(told("2", n), told("2", n)))
    made = await ask(
        "POST",
        "/v1/accounts",
        {"provider": "meta", "credentials": {**CREDENTIALS["meta"], "phone_number_id": "2"}},
        key=gateway.a.owner,
    )
    assert 201 == made.status
    await from_meta(gateway, account, whatsapp_post(told("2", 3)))

    assert [
        {
            "event": ASIDE,
            "log_level": "warning",
            "provider": "meta",
            "account_id": str(account),
            "sender_id": "2",
            "reason": "no account has this sender",
        }
    ] == [line for line in logs if line["event"] == ASIDE]
    page = (await ask("GET", "/metrics", key="")).body
    name = "gateway_webhook_events_put_aside_total"
    assert f'{name}{{provider="meta",reason="no_account"}} 6.0' in page
    assert ["wamid.2.3"] == [row["external_id"] for row in await inbound_of(ask)]


async def test_a_number_with_another_secret(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """Events about a number whose account has another secret are told of and counted, too; once
    somebody, wherever, corrects the secret, its messages come in within a second."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    other = await connect(
        gateway, "meta", Channel.WHATSAPP, OTHER, phone_number_id="2", app_secret=ROTATED
    )
    with capture_logs() as logs:
        for n in range(3):
            await from_meta(gateway, account, whatsapp_post(told("2", n)))
    right = {**CREDENTIALS["meta"], "phone_number_id": "2", "app_secret": APP_SECRET}
    sealed = Vault(gateway.settings.gateway_secret_keys).seal(gateway.a.organization_id, right)
    await owner.execute(
        "UPDATE gateway.provider_accounts SET credentials = $2 WHERE id = $1", other, sealed
    )
    await asyncio.sleep(ANEW_SECONDS)
    await from_meta(gateway, account, whatsapp_post(told("2", 3)))

    assert [(str(account), "its account has another secret")] == [
        (line["account_id"], line["reason"]) for line in logs if line["event"] == ASIDE
    ]
    page = (await ask("GET", "/metrics", key="")).body
    name = "gateway_webhook_events_put_aside_total"
    assert f'{name}{{provider="meta",reason="other_secret"}} 3.0' in page
    assert ["wamid.2.3"] == [row["external_id"] for row in await inbound_of(ask)]
    assert (3, 2, 0, 0) == counts(await replay(gateway))


async def test_a_long_number(gateway: Gateway) -> None:
    """Of a number that no account has no more is logged than numbers have."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    with capture_logs() as logs:
        await from_meta(gateway, account, whatsapp_post(told("2" * 5000)))

    assert ["2" * 64] == [line["sender_id"] for line in logs if line["event"] == ASIDE]


async def test_a_sibling_that_does_not_open(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """An account whose credentials do not open is told of, once, and is in nobody else's way."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    broken = await connect(gateway, "meta", Channel.WHATSAPP, OTHER, phone_number_id="2")
    await connect(gateway, "meta", Channel.WHATSAPP, "+15551240003", phone_number_id="3")
    await owner.execute(
        "UPDATE gateway.provider_accounts SET credentials = 'nonsense' WHERE id = $1", broken
    )
    with capture_logs() as logs:
        for n in range(2):
            assert 200 == (await from_meta(gateway, account, whatsapp_post(told("2", n)))).status
            await asyncio.sleep(ANEW_SECONDS)
    assert 200 == (await from_meta(gateway, account, whatsapp_post(told("3")))).status

    assert ["wamid.3.0"] == [row["external_id"] for row in await inbound_of(ask)]
    assert [str(broken)] == [
        line["account_id"] for line in logs if line["event"] == "credentials do not open"
    ]


async def test_senders_that_cannot_be_read(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an app's numbers cannot be read, all who wait for them learn it at once; whoever asks
    later has them read."""
    versions, tries, fails = accounts.versions, 0, True

    async def slow(*args: Any) -> Any:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0.1)
        if fails:
            raise ConnectionError
        return await versions(*args)

    monkeypatch.setattr(accounts, "versions", slow)
    account_id = await connect(gateway, "meta", Channel.WHATSAPP)
    await connect(gateway, "meta", Channel.WHATSAPP, OTHER, phone_number_id="2")
    known = HookAccounts(gateway.database, Vault(gateway.settings.gateway_secret_keys), {})
    account = await known.by_id(account_id)
    assert account is not None
    asking = [known.siblings(account, ["2"]) for _ in range(5)]
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert ([DatabaseAwayError] * 5, 1) == ([type(each) for each in found], tries)
    fails = False
    read = await asyncio.gather(*(known.siblings(account, ["2"]) for _ in range(5)))
    assert ([{"2"}] * 5, 2) == ([set(each) for each in read], tries)
