"""Members of staff who leave their organization, and what was theirs in it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

from tests.database.rows import A, B

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

Connect = Callable[[str], Awaitable["Connection"]]
WHOSE = """
SELECT 'lead', u.email FROM leads l LEFT JOIN auth_users u ON u.id = l.assigned_to
UNION ALL
SELECT 'conversation', u.email FROM gateway.conversations c
LEFT JOIN auth_users u ON u.id = c.assigned_to
UNION ALL
SELECT 'invitation', u.email FROM client_invitations i
LEFT JOIN auth_users u ON u.id = i.invited_by
ORDER BY 1, 2
"""
THEIRS = (
    "INSERT INTO leads (organization_id, assigned_to) VALUES ($1, $2)",
    """INSERT INTO gateway.conversations (organization_id, id, assigned_to)
    VALUES ($1, gen_random_uuid(), $2)""",
    """INSERT INTO client_invitations (organization_id, email, invitation_token, invited_by)
    VALUES ($1, 'c@example.com', gen_random_uuid(), $2)""",
)
# As the document writes them: each name is looked up where it is used.
OTHERS = """
CREATE TABLE notes (lead_id uuid);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO notes VALUES (NEW.id); RETURN NEW; END $$;
CREATE TRIGGER note AFTER UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION note();
"""


@pytest.fixture
async def staff(db: Connection) -> dict[str, uuid.UUID]:
    """Ann and Ben of A, by name; each has a lead, a conversation, and has invited a client."""
    await db.execute(
        "INSERT INTO organizations (id, name) VALUES ($1, 'Acme'), ($2, 'Bravo')", A, B
    )
    made = {}
    for name in ("ann", "ben"):
        made[name] = await db.fetchval(
            "INSERT INTO auth_users (auth_id, email, organization_id)"
            " VALUES (gen_random_uuid(), $1, $2) RETURNING id",
            *(name, A),
        )
        for statement in THEIRS:
            await db.execute(statement, A, made[name])
    return made


async def whose(db: Connection) -> list[tuple[str, str | None]]:
    """Everything that may be somebody's, with whose it is."""
    return [tuple(row) for row in await db.fetch(WHOSE)]


@pytest.mark.parametrize("to", [B, None])
async def test_moved(db: Connection, staff: dict[str, uuid.UUID], to: uuid.UUID | None) -> None:
    """Whoever moves to another organization, or to none, leaves behind what was theirs; other
    programs' triggers go with it, and everybody else keeps theirs."""
    await db.execute(OTHERS)
    await db.execute("UPDATE auth_users SET organization_id = organization_id, role = 'admin'")
    assert await whose(db) == [
        (kind, name) for kind in ("conversation", "invitation", "lead") for name in ("ann", "ben")
    ]
    async with db.transaction():
        await db.execute("SET LOCAL ROLE service_role")
        await db.execute(
            "UPDATE auth_users SET organization_id = $2 WHERE id = $1", staff["ann"], to
        )
    assert await whose(db) == [
        (kind, name) for kind in ("conversation", "invitation", "lead") for name in ("ben", None)
    ]
    assert await db.fetchval("SELECT count(*) FROM notes") == 1


async def test_moved_while_assigned(
    database: str, db: Connection, staff: dict[str, uuid.UUID], connect: Connect
) -> None:
    """A lead that somebody assigns to them meanwhile is left behind, too."""
    other = await connect(database)
    ours = other.transaction()
    await ours.start()
    await other.execute("UPDATE leads SET assigned_to = $1", staff["ann"])
    move = asyncio.create_task(
        db.execute("UPDATE auth_users SET organization_id = $2 WHERE id = $1", staff["ann"], B)
    )
    await asyncio.sleep(0.2)
    assert not move.done()
    await ours.commit()
    await move
    assert {("lead", None)} == {one for one in await whose(db) if one[0] == "lead"}


async def test_deleted(db: Connection, staff: dict[str, uuid.UUID]) -> None:
    """Whoever is deleted leaves their conversations behind; leads and invitations of theirs hold
    them, as the document's keys do."""
    delete = "DELETE FROM auth_users WHERE id = $1"
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await db.execute(delete, staff["ann"])
    for statement in ("UPDATE leads SET assigned_to", "UPDATE client_invitations SET invited_by"):
        await db.execute(f"{statement} = $1", staff["ben"])
    await db.execute(delete, staff["ann"])
    assert {("conversation", "ben"), ("conversation", None)} <= set(await whose(db))
