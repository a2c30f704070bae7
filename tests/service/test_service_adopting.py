"""A lead or client is stored once, whatever becomes of what was said with them before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

ANN = "+447700900123"
SMS = {"channel": "sms", "to": ANN, "body": "Hello"}
# A deadlock, a lock that was waited for too long, and two that would have one contact.
CODES = ("40P01", "55P03", "23505")
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '{code}'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON gateway.conversations FOR EACH ROW
  WHEN (NEW.{kind}_id IS DISTINCT FROM OLD.{kind}_id) EXECUTE FUNCTION refuse();
"""


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
