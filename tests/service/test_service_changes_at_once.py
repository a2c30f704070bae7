"""What two change at once: each is told what is so, and what is stored is right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from channels.model import Channel
from gateway.manage import setup
from gateway.manage.setup import SetupError
from gateway.store import accounts, conversations

if TYPE_CHECKING:
    from gateway.store.database import Connection
    from tests.service.conftest import Answer, Ask, Gateway

MAIL = {"name": "hello", "type": "email", "subject": "{{ a }}", "content": "{{ b }}"}
NEW = "+447700900999"
# Whether somebody waits for the end of the transaction that asks.
WAITS = """
SELECT EXISTS (
  SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))
"""


@asynccontextmanager
async def another(gateway: Gateway) -> AsyncIterator[Connection]:
    """A transaction that commits when something waits for it."""
    async with gateway.database.as_service() as db:
        yield db
        async with asyncio.timeout(10):
            while not await db.fetchval(WAITS):
                await db.execute("SELECT pg_sleep(0.01)")


async def add_another(gateway: Gateway, db: Connection) -> None:
    """Another default sender of tenant A, by somebody else."""
    a = gateway.a
    await accounts.insert_sender(
        db,
        a.account_id,
        a.organization_id,
        a.account_id,
        "sms",
        "+447700900998",
        is_default=True,
        rate=None,
    )


async def add_unasked(gateway: Gateway, db: Connection) -> None:
    """Such a sender, by a program that waits for no turn."""
    await db.execute("UPDATE gateway.senders SET is_default = false")
    await db.execute(
        """INSERT INTO gateway.senders (organization_id, account_id, channel, address, is_default)
        VALUES ($1, $2, 'sms', '+447700900997', true)""",
        gateway.a.organization_id,
        gateway.a.account_id,
    )


async def add(gateway: Gateway, address: str = NEW, *, is_default: bool = True) -> Answer:
    """Add a sender to tenant A, over HTTP."""
    account = str(gateway.a.account_id)
    wanted = {"account_id": account, "channel": "sms", "address": address, "is_default": is_default}
    return await gateway.ask("POST", "/v1/senders", wanted, key=gateway.a.owner)


async def make_default(gateway: Gateway, sender: Answer) -> Answer:
    """Make this sender the default of its channel, over HTTP."""
    path = f"/v1/senders/{sender.body['id']}"
    return await gateway.ask("PATCH", path, {"is_default": True}, key=gateway.a.owner)


async def defaults(gateway: Gateway) -> list[str]:
    """The addresses of tenant A's default senders."""
    senders = (await gateway.ask("GET", "/v1/senders", key=gateway.a.owner)).body["data"]
    return [each["address"] for each in senders if each["is_default"]]


async def test_two_new_defaults(gateway: Gateway) -> None:
    """Of two that become the default at once it is the last one, and neither is refused."""
    async with asyncio.TaskGroup() as together, another(gateway) as db:
        await add_another(gateway, db)
        asked = together.create_task(add(gateway))
    assert (201, [NEW]) == (asked.result().status, await defaults(gateway))


async def test_one_that_becomes_the_default_beside_a_new_one(gateway: Gateway) -> None:
    """So it is where one of them was there before."""
    made = await add(gateway, is_default=False)
    async with asyncio.TaskGroup() as together, another(gateway) as db:
        await add_another(gateway, db)
        asked = together.create_task(make_default(gateway, made))
    assert (200, [NEW]) == (asked.result().status, await defaults(gateway))


async def test_many_that_become_the_default(gateway: Gateway) -> None:
    """However many become the default at once, none is refused, and the log has no alarm."""
    addresses = [f"+44770090010{n}" for n in range(4)]
    with capture_logs() as logs:
        made = await asyncio.gather(*(add(gateway, each) for each in addresses))
        changed = await asyncio.gather(*(make_default(gateway, made[n % 2]) for n in range(10)))
    assert [201] * 4 + [200] * 10 == [answer.status for answer in (*made, *changed)]
    assert [True] * 14 == [answer.body["is_default"] for answer in (*made, *changed)]
    assert 1 == len(await defaults(gateway))
    assert [] == [line for line in logs if line["log_level"] in ("warning", "error")]


async def closing_a_circle(
    gateway: Gateway, asking: Coroutine[Any, Any, Answer], first: str, last: str
) -> Answer:
    """The answer where another program does `first`, and `last` once it is waited for."""
    connection = await asyncpg.connect(str(gateway.settings.database_url))
    await connection.execute("SET deadlock_timeout = '1min'")  # the other one is ended
    async with connection.transaction():
        await connection.execute(first)
        asked = asyncio.create_task(asking)
        # In the server, so that nothing comes between seeing that somebody waits and the circle.
        wait = f"WHILE NOT ({WAITS}) LOOP PERFORM pg_sleep(0.005); END LOOP"
        await connection.execute(f"DO $$ BEGIN {wait}; {last}; END $$")
    await connection.close()
    return await asked


async def test_a_default_in_a_circle_of_locks(gateway: Gateway) -> None:
    """What PostgreSQL ends for another program, which has the new default, is done once more."""
    made = await add(gateway, is_default=False)
    change = "UPDATE gateway.senders SET rate = 5 WHERE address"
    answer = await closing_a_circle(
        gateway, make_default(gateway, made), f"{change} = '{NEW}'", f"{change} <> '{NEW}'"
    )
    assert (200, [NEW]) == (answer.status, await defaults(gateway))


async def test_an_account_in_a_circle_of_locks(gateway: Gateway) -> None:
    """So is the deletion of an account whose sender another program has."""
    account = gateway.a.account_id
    answer = await closing_a_circle(
        gateway,
        gateway.ask("DELETE", f"/v1/accounts/{account}", key=gateway.a.owner),
        "UPDATE gateway.senders SET is_default = false",
        f"PERFORM FROM gateway.provider_accounts WHERE id = '{account}' FOR KEY SHARE",
    )
    assert (204, []) == (answer.status, await defaults(gateway))


async def test_a_default_of_another_program(gateway: Gateway) -> None:
    """Who meets a default that another program sets at once is told so, not that it is there
    already."""
    reason = (409, "Another default was just set for this channel: try again.")
    async with asyncio.TaskGroup() as together, another(gateway) as db:
        await add_unasked(gateway, db)
        asked = together.create_task(add(gateway))
    assert reason == said(asked)
    async with gateway.database.as_service() as db:
        await db.execute("DELETE FROM gateway.senders WHERE is_default")
    made = await add(gateway, is_default=False)
    async with asyncio.TaskGroup() as together, another(gateway) as db:
        await add_unasked(gateway, db)
        asked = together.create_task(make_default(gateway, made))
    assert reason == said(asked)


async def test_a_sender_of_an_account_that_goes(gateway: Gateway) -> None:
    """An account that is deleted while a sender is added is none."""
    async with asyncio.TaskGroup() as together, another(gateway) as db:
        await accounts.delete_account(db, gateway.a.organization_id, gateway.a.account_id)
        asked = together.create_task(add(gateway))
    assert {"account_id": "is not an account of your organization"} == asked.result().fields()


async def test_the_command_says_the_same(gateway: Gateway) -> None:
    """`gateway sender add` names what was in its way."""
    a, channel = gateway.a, Channel.SMS

    async def refusal(address: str = NEW) -> str:
        with pytest.raises(SetupError) as refused:
            await setup.add_sender(
                gateway.database, a.account_id, channel, address, is_default=True, rate=None
            )
        return str(refused.value)

    assert f"The organization has the sms sender {a.sender} already." == await refusal(a.sender)
    async with asyncio.TaskGroup() as together, another(gateway) as db:
        await add_unasked(gateway, db)
        asked = together.create_task(refusal())
    assert "Another sms default was just set: try again." == asked.result()
    async with asyncio.TaskGroup() as together, another(gateway) as db:
        await accounts.delete_account(db, a.organization_id, a.account_id)
        asked = together.create_task(refusal())
    assert f"There is no account {a.account_id}." == asked.result()


async def test_variables_are_those_of_the_source(ask: Ask) -> None:
    """Subject and content that are changed at once leave the variables of both."""
    made = (await ask("POST", "/v1/templates", MAIL)).body
    path = f"/v1/templates/{made['id']}"
    for n in range(10):
        change = {"content": f"{{{{ b{n} }}}}"}, {"subject": f"{{{{ a{n} }}}}"}
        answers = await asyncio.gather(*(ask("PATCH", path, each) for each in change))
        assert [200, 200] == [answer.status for answer in answers]
        assert [f"a{n}", f"b{n}"] == (await ask("GET", path)).body["variables"]


def said(asked: asyncio.Task[Answer]) -> tuple[int, str]:
    """The status of an answer, and its reason."""
    answer = asked.result()
    return answer.status, answer.body["detail"]


async def test_a_lead_that_goes_while_a_message_to_it_comes(gateway: Gateway) -> None:
    """Who writes to an address need not know of the lead that has it, nor that it was deleted just
    now: the message is accepted. Who names the lead is told."""
    to = "+447700900111"

    async def meanwhile(**wanted: str) -> Answer:
        lead = (await gateway.ask("POST", "/v1/leads", {"first_name": "Ada", "phone": to})).body
        wanted = {"channel": "sms", "body": "Hello", "lead_id": lead["id"]} | wanted
        if "to" in wanted:
            del wanted["lead_id"]
        async with asyncio.TaskGroup() as together, another(gateway) as db:
            await db.execute("DELETE FROM leads WHERE id = $1", lead["id"])
            asked = together.create_task(gateway.ask("POST", "/v1/messages", wanted))
        return asked.result()

    answer = await meanwhile(to=to)
    assert (202, None) == (answer.status, answer.body["lead_id"])
    assert ["lead_id"] == list((await meanwhile()).fields())


async def test_a_lead_that_goes_while_a_batch_comes(gateway: Gateway) -> None:
    """So is a message of a batch, and one beside which another is refused; one that names the lead
    fails alone. The answer under the key is this one, and the log has no error."""
    ada, eve = "+447700900111", "+447700900112"
    key = {"Idempotency-Key": "a lead that goes"}
    crm = await asyncpg.connect(str(gateway.settings.database_url))
    await crm.execute("ALTER TABLE messages ADD CHECK (body <> 'bad')")
    await crm.close()

    async def meanwhile(*wanted: dict[str, str], **more: Any) -> Any:
        lead = (await gateway.ask("POST", "/v1/leads", {"first_name": "Ada", "phone": ada})).body
        batch = {
            "messages": [
                {"channel": "sms", "body": "Hello"} | (each or {"lead_id": lead["id"]})
                for each in wanted
            ]
        }
        with capture_logs() as logs:
            async with asyncio.TaskGroup() as together, another(gateway) as db:
                await db.execute("DELETE FROM leads WHERE id = $1", lead["id"])
                asked = together.create_task(
                    gateway.ask("POST", "/v1/messages/batch", batch, **more)
                )
        answer = asked.result()
        again = await gateway.ask("POST", "/v1/messages/batch", batch, **more)
        assert not more or again.body == answer.body
        errors = [line["event"] for line in logs if line["log_level"] == "error"]
        return [each["status"] for each in answer.body["data"]], errors

    assert ([202, 202], []) == await meanwhile({"to": ada}, {"to": eve}, headers=key)
    assert ([422, 202], []) == await meanwhile({}, {"to": ada})
    refused = "the database refuses a row"
    assert ([202, 503], [refused]) == await meanwhile({"to": ada}, {"to": eve, "body": "bad"})


async def test_a_lead_that_goes_while_a_message_to_it_is_sent_again(gateway: Gateway) -> None:
    """So is a message that failed and is sent again."""
    to = "+447700900111"
    lead = (await gateway.ask("POST", "/v1/leads", {"first_name": "Ada", "phone": to})).body
    wanted = {"channel": "sms", "to": to, "body": "Hello"}
    sent = (await gateway.ask("POST", "/v1/messages", wanted)).body
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET status = 'failed' WHERE id = $1", sent["id"])
    async with asyncio.TaskGroup() as together, another(gateway) as db:
        await db.execute("DELETE FROM leads WHERE id = $1", lead["id"])
        asked = together.create_task(gateway.ask("POST", f"/v1/messages/{sent['id']}/retry"))
    answer = asked.result()
    assert (lead["id"], 202, None) == (sent["lead_id"], answer.status, answer.body["lead_id"])


async def two_conversations(gateway: Gateway) -> tuple[UUID, UUID]:
    """Those with two people."""
    for to in ("+447700900111", "+447700900112"):
        message = {"channel": "sms", "to": to, "body": "Hello"}
        await gateway.ask("POST", "/v1/messages", message)
    listed = (await gateway.ask("GET", "/v1/conversations")).body["data"]
    one, two = (UUID(each["id"]) for each in listed)
    return one, two


async def test_a_change_while_its_conversation_is_merged(gateway: Gateway) -> None:
    """What is said of a conversation is said of the one that it went into."""
    kept, merged = await two_conversations(gateway)
    lead = (await gateway.ask("POST", "/v1/leads", {"first_name": "Zoe"})).body["id"]
    path = f"/v1/conversations/{merged}"

    async with asyncio.TaskGroup() as together, another(gateway) as db:
        await conversations.merge(db, gateway.a.organization_id, merged=merged, kept=kept)
        closed = together.create_task(gateway.ask("PATCH", path, {"status": "closed"}))
        linked = together.create_task(gateway.ask("POST", f"{path}/link", {"lead_id": lead}))

    now = (await gateway.ask("GET", f"/v1/conversations/{kept}")).body
    answers = [asked.result() for asked in (closed, linked)]
    assert [(200, str(kept))] * 2 == [(answer.status, answer.body["id"]) for answer in answers]
    assert ("closed", lead) == (now["status"], now["contact"]["lead_id"])


async def test_a_reply_while_its_conversation_is_merged(gateway: Gateway) -> None:
    """It is in the conversation that there is now: it was written to whom it goes to."""
    kept, merged = await two_conversations(gateway)

    async with asyncio.TaskGroup() as together, another(gateway) as db:
        await conversations.merge(db, gateway.a.organization_id, merged=merged, kept=kept)
        path = f"/v1/conversations/{merged}/messages"
        asked = together.create_task(gateway.ask("POST", path, {"body": "Hello again"}))

    answer = asked.result()
    assert (202, str(kept)) == (answer.status, answer.body["conversation_id"])
