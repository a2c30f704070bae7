"""Credentials are replaced by those of another account at the provider, which cannot be asked what
the former one took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from channels.model import Channel
from gateway.registry import PROVIDERS
from gateway.store import accounts
from tests.service.conftest import AUTH_TOKEN
from tests.service.test_service_asking import (
    SID,
    SMS,
    answering,
    fate,
    found_by_report,
    lose,
    record,
)
from tests.service.test_service_dispatch import events_of
from tests.service.test_service_why import texts, why_of
from tests.service.wires import CREDENTIALS, connect, send, step

if TYPE_CHECKING:
    from uuid import UUID

    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

TWILIO = CREDENTIALS["twilio"]
OTHER = {"account_sid": "AC" + "b" * 32, "auth_token": "new", "auth_token_secondary": AUTH_TOKEN}
MAIL = {"channel": "email", "to": "ann@example.com", "subject": "Hello", "body": "Hello"}


async def replace(
    gateway: Gateway, ask: Ask, credentials: dict[str, str], account_id: UUID | None = None
) -> None:
    """Replace an account's credentials."""
    path = f"/v1/accounts/{account_id or gateway.a.account_id}"
    answer = await ask("PATCH", path, {"credentials": credentials}, key=gateway.a.owner)
    assert 200 == answer.status, answer.body


async def wait(gateway: Gateway, seconds: float) -> None:
    """Let so much time pass since all that has happened."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET attempted_at = attempted_at - make_interval(secs => $1),"
            " open_for = open_for + CASE phase WHEN 'ask' THEN $1 ELSE 0 END, run_at = now()",
            seconds,
        )
        await db.execute(
            "UPDATE gateway.provider_accounts SET"
            " identified_at = identified_at - make_interval(secs => $1)",
            seconds,
        )


async def test_it_is_not_sent_again(gateway: Gateway, ask: Ask, api: Api) -> None:
    """The new account is not asked about what the former one may have: that stays unknown, until a
    report tells."""
    worker = api.worker(gateway)
    (ours,) = await lose(ask, api, worker, SMS)
    await replace(gateway, ask, OTHER)
    await wait(gateway, 600)
    answering(api)
    for _ in range(2):
        await step(worker)
        await wait(gateway, 60)
    assert ["POST"] == [request.method for request, _ in api.asked]
    assert ("unknown", None) == await fate(ask, ours)
    assert "cannot_be_asked" in await events_of(ask, ours["id"])
    said = await why_of(ask, ours)
    told = "It was sent with another account at Twilio than the one that is set by now"
    assert (
        f"{told}, which knows nothing of it, so it stays unknown until a report" in said["summary"]
    )
    assert "look into the former account at Twilio" in said["advice"]
    assert f"{told}, which cannot be asked about it: only a report can tell." in texts(said)

    await found_by_report(gateway, ours)
    assert ("sent", SID) == await fate(ask, ours)


@pytest.mark.parametrize("is_changed_first", [True, False])
async def test_while_it_is_changed(
    gateway: Gateway,
    ask: Ask,
    api: Api,
    is_changed_first: bool,  # noqa: FBT001
) -> None:
    """Nor about what left while the change was being stored, or just before."""
    worker = api.worker(gateway)
    if is_changed_first:
        await replace(gateway, ask, OTHER)
    await lose(ask, api, worker, SMS)
    if not is_changed_first:
        await replace(gateway, ask, OTHER)
    await wait(gateway, 60)
    answering(api)
    await step(worker)
    assert ["POST"] == [request.method for request, _ in api.asked]


@pytest.mark.parametrize(
    "more",
    [
        {"auth_token": "new"},
        {"auth_token_secondary": "new"},
        {"api_key_sid": "SK" + "1" * 32, "api_key_secret": "new"},
    ],
)
async def test_another_secret(gateway: Gateway, ask: Ask, api: Api, more: dict[str, str]) -> None:
    """With another secret of the same account it is asked, and has it."""
    worker = api.worker(gateway)
    (ours,) = await lose(ask, api, worker, SMS)
    await replace(gateway, ask, TWILIO | more)
    await wait(gateway, 60)
    answering(api, record(gateway.a.sender, ago=60))
    await step(worker)
    assert ("sent", SID) == await fate(ask, ours)


async def test_another_secret_of_the_new_account(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Another secret afterwards changes nothing of when the account was changed."""
    worker = api.worker(gateway)
    (ours,) = await lose(ask, api, worker, SMS)
    await replace(gateway, ask, OTHER)
    await replace(gateway, ask, OTHER | {"auth_token": "newer"})
    await wait(gateway, 600)
    answering(api)
    await step(worker)
    assert ("unknown", None) == await fate(ask, ours)
    assert 1 == len(api.asked)


async def test_what_is_sent_afterwards(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What waited is sent by the new account, which is asked about that as ever."""
    worker = api.worker(gateway)
    ours = await send(ask, **SMS)
    await replace(gateway, ask, OTHER)
    await wait(gateway, 120)
    api.says(502)
    await step(worker)
    await wait(gateway, 60)
    answering(api, record(gateway.a.sender, ago=60))
    await step(worker)
    assert ("sent", SID) == await fate(ask, ours)
    assert all(OTHER["account_sid"] in request.path for request, _ in api.asked)

    twin = await send(ask, **SMS | {"body": "Anew"})
    api.says(502)
    await step(worker)
    answering(api)
    for _ in range(2):
        await wait(gateway, 60)
        await step(worker)
    assert ("sent", "SM-again-1") == await fate(ask, twin)


@pytest.mark.parametrize(
    ("provider", "more"),
    [
        ("mailgun", {"domain": "other.example"}),
        ("mailgun", {"region": "eu"}),
        ("postmark", {"server_token": "other"}),
        ("postmark", {"message_stream": "other"}),
        ("resend", {"api_key": "re_other"}),
    ],
)
async def test_other_providers(
    gateway: Gateway, ask: Ask, api: Api, provider: str, more: dict[str, str]
) -> None:
    """The same with e-mail, also where an account is asked by the same request again."""
    account_id = await connect(gateway, provider, Channel.EMAIL)
    worker = api.worker(gateway)
    (ours,) = await lose(ask, api, worker, MAIL)
    await replace(gateway, ask, CREDENTIALS[provider] | more, account_id)
    await wait(gateway, 7200)
    api.answers = lambda _: web.json_response({"items": [], "Messages": [], "id": "again"})
    for _ in range(3):
        await step(worker)
        await wait(gateway, 60)
    assert ("unknown", None) == await fate(ask, ours)
    assert 1 == len(api.asked)


async def test_while_it_is_repeated(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A mail that is asked about by the same request again is not repeated by another account."""
    account_id = await connect(gateway, "resend", Channel.EMAIL)
    worker = api.worker(gateway)
    (ours,) = await lose(ask, api, worker, MAIL)
    await wait(gateway, 60)
    await step(worker)
    assert "asked_by_sending" in await events_of(ask, ours["id"])
    await replace(gateway, ask, CREDENTIALS["resend"] | {"api_key": "re_other"}, account_id)
    api.says(200, {"id": "again"})
    for _ in range(2):
        await wait(gateway, 0)
        await step(worker)
    assert ("unknown", None) == await fate(ask, ours)
    assert 1 == len(api.asked)
    assert 1 == (await events_of(ask, ours["id"])).count("cannot_be_asked")


async def test_credentials_that_do_not_open(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Where nobody can tell whose they were, they were another account's."""
    worker = api.worker(gateway)
    (ours,) = await lose(ask, api, worker, SMS)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.provider_accounts SET credentials = 'nonsense'")
    await replace(gateway, ask, TWILIO)
    await wait(gateway, 600)
    answering(api)
    await step(worker)
    assert ("unknown", None) == await fate(ask, ours)
    assert 1 == len(api.asked)


async def test_two_changes_at_once(gateway: Gateway) -> None:
    """What was compared with credentials that somebody has replaced meanwhile counts as another
    account's."""
    ids = gateway.a.organization_id, gateway.a.account_id
    async with gateway.database.as_service() as db:
        stored = await accounts.stored(db, *ids)
    assert stored is not None
    sealed, changed_at = stored
    is_another = []
    for _ in range(2):
        async with gateway.database.as_service() as db:
            await accounts.update_account(
                db, *ids, name=None, is_active=None, credentials=sealed, same_as=changed_at
            )
            query = "SELECT identified_at IS NOT NULL FROM gateway.provider_accounts WHERE id = $1"
            is_another.append(await db.fetchval(query, gateway.a.account_id))
    assert [False, True] == is_another


def test_what_can_be_asked_has_an_identity() -> None:
    """Whoever can be asked, or repeated to, says by what its accounts are told apart."""
    assert {name for name, row in PROVIDERS.items() if row.can_be_asked} == {
        name for name, row in PROVIDERS.items() if row.identity
    }
