"""Who may do what inside an organization: members, owners, clients, API keys."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

A = uuid.UUID("aaaaaaaa-0000-4000-8000-000000000000")
B = uuid.UUID("bbbbbbbb-0000-4000-8000-000000000000")
OWNER = uuid.UUID("aaaaaaaa-0001-4000-8000-000000000000")
ADMIN = uuid.UUID("aaaaaaaa-0002-4000-8000-000000000000")
MEMBER = uuid.UUID("aaaaaaaa-0003-4000-8000-000000000000")
STRANGER = uuid.UUID("bbbbbbbb-0001-4000-8000-000000000000")
REFUSED = asyncpg.InsufficientPrivilegeError
# A type of the caller's own, which notes as whom its check is run.
SPY = """
CREATE FUNCTION pg_temp.spy_{0} (pg_catalog.{0}) RETURNS boolean LANGUAGE plpgsql
  AS $$ BEGIN INSERT INTO pg_temp.run_as VALUES (current_user); RETURN true; END $$;
CREATE DOMAIN pg_temp.{0} AS pg_catalog.{0} CHECK (pg_temp.spy_{0} (VALUE))
"""


@pytest.fixture
async def two(db: Connection) -> Connection:
    """Organization A with owner, admin, member, two clients and an account; B with an owner."""
    await db.execute("INSERT INTO organizations (id, name) VALUES ($1, 'Acme')", A)
    await db.execute("INSERT INTO organizations (id, name) VALUES ($1, 'Bravo')", B)
    for who, organization, role in (
        (OWNER, A, "owner"),
        (ADMIN, A, "admin"),
        (MEMBER, A, "member"),
        (STRANGER, B, "owner"),
    ):
        await db.execute(
            "INSERT INTO auth_users (auth_id, email, organization_id, role)"
            " VALUES ($1, $2, $3, $4)",
            who,
            f"{who}@example.com",
            organization,
            role,
        )
    for email in ("one@example.com", "two@example.com"):
        await db.execute(
            "INSERT INTO clients (organization_id, email, first_name, password_hash, phone)"
            " VALUES ($1, $2, 'Ann', 'bcrypt', '+1 (555) 123-4567')",
            A,
            email,
        )
    await db.execute(
        "INSERT INTO gateway.provider_accounts (organization_id, provider, credentials)"
        " VALUES ($1, 'twilio', 'sealed')",
        A,
    )
    await db.execute(
        "INSERT INTO gateway.api_keys (organization_id, prefix, hash) VALUES ($1, 'gw', 'sum')", A
    )
    return db


@asynccontextmanager
async def as_staff(db: Connection, who: uuid.UUID) -> AsyncIterator[None]:
    """A staff request, undone at its end."""
    async with _acting(db, "authenticated", {"request.jwt.claims": json.dumps({"sub": str(who)})}):
        yield


@asynccontextmanager
async def as_client(db: Connection, email: str) -> AsyncIterator[None]:
    """A request of a client of A."""
    settings = {"jwt.claims.email": email, "jwt.claims.organization_id": str(A)}
    async with _acting(db, "authenticated", settings):
        yield


@asynccontextmanager
async def as_key(db: Connection, organization: uuid.UUID) -> AsyncIterator[None]:
    """A request with an API key."""
    async with _acting(db, "gateway_api", {"gateway.organization_id": str(organization)}):
        yield


@asynccontextmanager
async def _acting(db: Connection, role: str, settings: dict[str, str]) -> AsyncIterator[None]:
    transaction = db.transaction()
    await transaction.start()
    try:
        for name, value in settings.items():
            await db.execute("SELECT set_config($1, $2, true)", name, value)
        await db.execute(f"SET LOCAL ROLE {role}")
        yield
    finally:
        await transaction.rollback()


async def refused(db: Connection, statement: str, *values: object) -> bool:
    """Whether the statement is refused, in a savepoint."""
    try:
        async with db.transaction():
            await db.execute(statement, *values)
    except REFUSED:
        return True
    return False


async def changed(db: Connection, statement: str, *values: object) -> int:
    """How many rows the statement changed, in a savepoint; 0 where it is refused."""
    try:
        async with db.transaction():
            return int((await db.execute(statement, *values)).split()[-1])
    except REFUSED:
        return 0


async def test_staff_read_their_colleagues(two: Connection) -> None:
    """The policy of auth_users does not recurse, and shows the staff of one organization."""
    async with as_staff(two, MEMBER):
        assert await two.fetchval("SELECT count(*) FROM auth_users") == 3
        assert [r["id"] for r in await two.fetch("SELECT id FROM organizations")] == [A]


async def test_members_do_not_promote_themselves(two: Connection) -> None:
    """A member writes neither staff rows, nor the organization, nor accounts, senders and keys."""
    async with as_staff(two, MEMBER):
        for statement in (
            "UPDATE auth_users SET role = 'owner'",
            "DELETE FROM auth_users",
            "UPDATE organizations SET name = 'Mine'",
            "DELETE FROM organizations",
            "UPDATE gateway.provider_accounts SET is_active = false",
            "DELETE FROM gateway.api_keys",
        ):
            assert await changed(two, statement) == 0, statement
        assert await refused(
            two,
            "INSERT INTO auth_users (auth_id, email, organization_id) VALUES ($1, 'x', $2)",
            uuid.uuid4(),
            A,
        )
        assert await refused(
            two,
            "INSERT INTO gateway.provider_accounts (organization_id, provider, credentials)"
            " VALUES ($1, 'twilio', 'x')",
            A,
        )


@pytest.mark.parametrize("who", [OWNER, ADMIN])
async def test_owners_and_admins_manage_staff(two: Connection, who: uuid.UUID) -> None:
    """Owner and admin write staff rows, but move nobody to another organization."""
    async with as_staff(two, who):
        assert (
            await changed(two, "UPDATE auth_users SET is_active = false WHERE auth_id = $1", MEMBER)
            == 1
        )
        assert (
            await changed(
                two,
                "INSERT INTO auth_users (auth_id, email, organization_id) VALUES ($1, 'x', $2)",
                uuid.uuid4(),
                A,
            )
            == 1
        )
        for organization in (B, None):
            assert await refused(
                two,
                "UPDATE auth_users SET organization_id = $1 WHERE auth_id = $2",
                organization,
                MEMBER,
            )
        assert await changed(two, "DELETE FROM auth_users WHERE auth_id = $1", STRANGER) == 0


async def test_dismissed_staff_have_no_organization(two: Connection) -> None:
    """Staff with is_active false see nothing, from the next statement on."""
    await two.execute("UPDATE auth_users SET is_active = false WHERE auth_id = $1", MEMBER)
    async with as_staff(two, MEMBER):
        assert await two.fetchval("SELECT count(*) FROM clients") == 0
        assert await two.fetchval("SELECT gateway.current_organization()") is None


async def test_clients_change_only_plain_fields(two: Connection) -> None:
    """A client changes its name and telephone, nothing that decides what it is or may."""
    async with as_client(two, "one@example.com"):
        assert (
            await changed(
                two,
                "UPDATE clients SET first_name = 'Anna', last_name = 'Lee', phone = '+1',"
                " gender = 'f', date_of_birth = '2000-01-01', emergency_contact_name = 'Bo'",
            )
            == 1
        )
        for field, value in (
            ("membership_status", "'gold'"),
            ("membership_end_date", "'2999-01-01'"),
            ("notes", "'paid'"),
            ("password_hash", "'mine'"),
            ("password_set_at", "now()"),
            ("is_active", "false"),
            ("email_verified", "true"),
            ("email", "'two2@example.com'"),
            ("custom_fields", "'{\"vip\": true}'"),
            ("id", "uuid_generate_v4()"),
            ("created_at", "now() - interval '1 day'"),
            ("organization_id", f"'{B}'"),
        ):
            assert await refused(two, f"UPDATE clients SET {field} = {value}"), field  # noqa: S608
        assert await changed(two, "DELETE FROM clients") == 0
        assert await refused(
            two,
            "INSERT INTO clients (organization_id, email) VALUES ($1, 'one@example.com')",
            A,
        )
        assert await two.fetchval("SELECT count(*) FROM clients") == 1


async def test_staff_change_every_field_of_a_client(two: Connection) -> None:
    """What is held back from clients is not held back from staff, who share their role."""
    async with as_staff(two, MEMBER):
        assert await changed(two, "UPDATE clients SET notes = 'x', membership_status = 'gold'") == 2
        assert await changed(two, "DELETE FROM clients") == 2


async def test_an_invitation_is_seen_by_its_token(two: Connection) -> None:
    """Whoever shows the token sees that one invitation and can change nothing of it."""
    await two.execute(
        "INSERT INTO client_invitations (organization_id, email, invitation_token)"
        " VALUES ($1, 'x', 'one'), ($1, 'y', 'two')",
        A,
    )
    async with _acting(two, "authenticated", {"jwt.claims.invitation_token": "one"}):
        assert [r["email"] for r in await two.fetch("SELECT * FROM client_invitations")] == ["x"]
        assert await changed(two, "UPDATE client_invitations SET is_claimed = true") == 0
        assert await changed(two, "DELETE FROM client_invitations") == 0


async def test_api_keys_do_what_the_api_needs(two: Connection) -> None:
    """A key keeps leads, clients and templates, reads messages, and sees no password."""
    async with as_key(two, A):
        assert await two.fetchval("SELECT count(*) FROM organizations") == 1
        assert await two.fetchval("SELECT count(*) FROM clients") == 2
        assert await changed(two, "UPDATE clients SET notes = 'x'") == 2
        assert await changed(two, "INSERT INTO leads (organization_id) VALUES ($1)", A) == 1
        assert await changed(two, "UPDATE leads SET status = 'lost'") == 1
        assert (
            await changed(
                two,
                "INSERT INTO message_templates (organization_id, name, type, content)"
                " VALUES ($1, 'a', 'call', 'b')",
                A,
            )
            == 1
        )
        for statement in (
            "SELECT password_hash FROM clients",
            "SELECT * FROM clients",
            "UPDATE clients SET password_hash = 'mine'",
            "UPDATE clients SET organization_id = organization_id",
            "DELETE FROM clients",
            "UPDATE messages SET status = 'read'",
            "SELECT * FROM auth_users",
            "SELECT * FROM client_invitations",
            "SELECT * FROM workflows",
            "SELECT * FROM audit_logs",
            "SELECT * FROM gateway.api_keys",
            "SELECT * FROM gateway.queue",
            "SELECT credentials FROM gateway.provider_accounts",
        ):
            assert await refused(two, statement), statement


async def test_secrets_are_written_and_never_read(two: Connection) -> None:
    """An owner sets credentials and hashes, and can read neither of them back."""
    async with as_staff(two, OWNER):
        assert await changed(two, "UPDATE gateway.provider_accounts SET credentials = 'new'") == 1
        assert (
            await changed(
                two,
                "INSERT INTO gateway.api_keys (organization_id, prefix, hash) VALUES ($1, '', '')",
                A,
            )
            == 1
        )
        assert await two.fetchval("SELECT count(id) FROM gateway.provider_accounts") == 1
        for statement in (
            "SELECT credentials FROM gateway.provider_accounts",
            "SELECT * FROM gateway.provider_accounts",
            "SELECT hash FROM gateway.api_keys",
            "SELECT id FROM gateway.api_keys WHERE hash = 'sum'",
            "DELETE FROM gateway.provider_accounts RETURNING credentials",
        ):
            assert await refused(two, statement), statement


async def test_nobody_truncates(two: Connection) -> None:
    """TRUNCATE, which no policy holds back, is nobody's but the owner's of the tables."""
    held = await two.fetch(
        "SELECT t.oid::regclass::text AS name, r FROM pg_class t,"
        " unnest(ARRAY['anon', 'authenticated', 'gateway_api']) r"
        " WHERE t.relnamespace IN ('public'::regnamespace, 'gateway'::regnamespace)"
        " AND t.relkind = 'r' AND has_table_privilege(r, t.oid, 'TRUNCATE')"
    )
    assert held == []


async def test_events_are_only_appended(two: Connection) -> None:
    """An event of a message cannot be changed, not even by a superuser."""
    message = await two.fetchval(
        "INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body)"
        " VALUES ($1, 'sms', 'outbound', '+1', '+2', 'x') RETURNING id",
        A,
    )
    await two.execute(
        "INSERT INTO gateway.message_events"
        " (organization_id, message_id, id, type, occurred_at, source)"
        " VALUES ($1, $2, uuid_generate_v4(), 'sent', now(), 'test')",
        A,
        message,
    )
    with pytest.raises(REFUSED, match="only appended to"):
        await two.execute("UPDATE gateway.message_events SET type = 'read'")
    assert await two.execute("DELETE FROM messages WHERE id = $1", message) == "DELETE 1"
    assert await two.fetchval("SELECT count(*) FROM gateway.message_events") == 0


async def test_contacts_are_found_by_any_way_of_writing(two: Connection) -> None:
    """Staff and keys find a contact of their own by the last digits or the mailbox."""
    ask = "SELECT kind, email FROM gateway.contacts_by_address($1, $2)"
    async with as_staff(two, MEMBER):
        found = await two.fetch(ask, ["1234567"], ["ONE@example.com".lower()])
        assert {("client", "one@example.com"), ("client", "two@example.com")} == {
            tuple(row) for row in found
        }
        assert await refused(
            two, "SELECT * FROM gateway.contacts_by_address($1::uuid, '{}'::text[], '{}')", A
        )
    async with as_key(two, A):
        assert len(await two.fetch(ask, [], ["two@example.com"])) == 1
    async with as_key(two, B):
        assert await two.fetch(ask, ["1234567"], ["two@example.com"]) == []
    async with as_client(two, "one@example.com"):
        assert await two.fetch(ask, ["1234567"], ["two@example.com"]) == []


async def test_status_order(db: Connection) -> None:
    """Every status of the vocabulary has its place, in the order in which it is written there."""
    from channels.model import Status

    ranks = {s: await db.fetchval("SELECT gateway.status_rank($1)", s.value) for s in Status}
    received = ranks.pop(Status.RECEIVED)
    assert (0, sorted(ranks.values())) == (received, list(ranks.values()))
    assert len(set(ranks.values())) == len(ranks)
    assert await db.fetchval("SELECT gateway.status_rank('opened')") == -1


async def test_a_message_for_another_organization_meets_nothing_of_it(
    two: Connection, database: str, connect: Callable[[str], Awaitable[Connection]]
) -> None:
    """Who writes a message of another organization is refused at once, whoever that one writes
    with, and whatever is under way there: waiting would tell with whom it corresponds."""
    insert = (
        "INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body)"
        " VALUES ($1, 'sms', 'inbound', '+15551230001', '+1999', 'x')"
    )
    await two.execute(insert, B)
    under_way = await connect(database)
    async with under_way.transaction():
        await under_way.execute("SELECT FROM gateway.conversations FOR UPDATE")
        async with as_staff(two, OWNER):
            await two.execute("SET LOCAL lock_timeout = '500ms'")
            assert await refused(two, insert, B)
            assert 1 == await changed(two, insert, A)


async def test_types_of_a_callers_own_run_nothing_as_the_owner(two: Connection) -> None:
    """A temporary type named like one of PostgreSQL's is not taken for it where the owner acts."""
    await two.execute(
        "GRANT TEMPORARY ON DATABASE "
        + await two.fetchval("SELECT quote_ident(current_database())")
        + " TO authenticated"
    )
    async with as_staff(two, MEMBER):
        await two.execute("CREATE TEMP TABLE run_as (name text)")
        await two.execute("GRANT ALL ON run_as TO PUBLIC")
        for name in ("uuid", "jsonb", "text"):
            await two.execute(SPY.format(name))
        await two.execute("SELECT gateway.current_organization(), gateway.managed_organization()")
        await two.execute("SELECT count(*) FROM public.leads")
        assert [] == await two.fetch("SELECT * FROM pg_temp.run_as WHERE name <> 'authenticated'")
