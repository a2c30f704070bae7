"""A lead or client is stored once, whatever becomes of what was said with them before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

ANN = "+447700900123"
SMS = {"channel": "sms", "to": ANN, "body": "Hello"}
# A deadlock, a lock that was waited for too long, two that would have one contact, and a refusal of
# another program's.
CODES = ("40P01", "55P03", "23505", "P0001")
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '{code}'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON gateway.conversations FOR EACH ROW
  WHEN (NEW.{kind}_id IS DISTINCT FROM OLD.{kind}_id) EXECUTE FUNCTION refuse();
"""
# A lead with the number of another conversation, and a mail of theirs in one of their own.
OTHER = """
INSERT INTO leads (organization_id, first_name, phone, email)
  VALUES ('{0}', 'Ann', '+447700900123', 'ann@c.example');
INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body)
  VALUES ('{0}', 'email', 'inbound', 'ann@c.example', 'us@a.example', 'Hello');
"""
KEEP = """
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'a message stays where it is'; END $$;
CREATE TRIGGER keep BEFORE UPDATE OF conversation_id ON messages FOR EACH ROW
  EXECUTE FUNCTION keep();
"""
NEWS = {"notes": "Wrote again"}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("kind", ["lead", "client"])
async def test_what_is_stored_is_said_to_be_stored(
    gateway: Gateway, ask: Ask, kind: str, code: str
) -> None:
    """Where the conversation cannot become theirs now, their next message makes it so."""
    await ask("POST", "/v1/messages", SMS)
    path = f"/v1/{kind}s"
    await as_superuser(gateway, REFUSE.format(code=code, kind=kind))

    made = await ask("POST", path, {"phone": ANN, "email": "ann@c.example"})
    changed = await ask("PATCH", f"{path}/{made.body['id']}", {"first_name": "Ann"})

    assert (201, 200) == (made.status, changed.status)
    assert 1 == await gateway.count(f"{kind}s")
    assert [None] == [contact[f"{kind}_id"] for contact in await contacts(ask)]
    await as_superuser(gateway, "DROP FUNCTION refuse CASCADE")
    await ask("POST", "/v1/messages", SMS)
    assert [made.body["id"]] == [contact[f"{kind}_id"] for contact in await contacts(ask)]


async def test_what_cannot_be_joined_is_stored_once(gateway: Gateway, ask: Ask) -> None:
    """Where another program keeps messages in their conversations, a message to a lead who has two
    of them is answered as stored: an answer that says otherwise would bring it once more."""
    await ask("POST", "/v1/messages", SMS)
    await as_superuser(gateway, OTHER.format(gateway.a.organization_id) + KEEP)

    assert 202 == (await ask("POST", "/v1/messages", SMS)).status

    assert [1, 2] == sorted(await messages_each(gateway))
    await as_superuser(gateway, "DROP FUNCTION keep CASCADE")
    await ask("PATCH", f"/v1/leads/{(await ask('GET', '/v1/leads')).body['data'][0]['id']}", NEWS)
    assert [3] == await messages_each(gateway)


async def messages_each(gateway: Gateway) -> list[int]:
    """How many messages each conversation holds."""
    async with gateway.database.as_service() as db:
        rows = await db.fetch("SELECT count(*) FROM messages GROUP BY conversation_id")
    return [row["count"] for row in rows]


async def contacts(ask: Ask) -> list[dict[str, str | None]]:
    """With whom the conversations are."""
    listed = (await ask("GET", "/v1/conversations")).body["data"]
    return [each["contact"] for each in listed]


async def as_superuser(gateway: Gateway, statements: str) -> None:
    """Change the schema under a running gateway."""
    connection = await asyncpg.connect(str(gateway.settings.database_url))
    try:
        await connection.execute(statements)
    finally:
        await connection.close()
