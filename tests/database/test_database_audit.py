"""The audit trail: everything that somebody changed, no secret, no counting."""

# ruff: noqa: S608 (the names come from the catalogue)

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

from tests.database.rows import A, Rows, tables

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

OWNER = uuid.UUID("aaaaaaaa-0001-4000-8000-000000000000")
UNAUDITED = {  # hot: what they hold is itself a record of what happened, or gone in a moment
    "public.messages", "public.audit_logs", "gateway.queue", "gateway.sender_paces",
    "gateway.message_events", "gateway.webhook_requests", "gateway.unmatched_reports",
    "gateway.idempotency_keys", "gateway.template_uses", "gateway.consent_events",
    "gateway.correspondence", "gateway.media", "gateway.errands", "gateway.staff_sessions",
    "gateway.staff_links", "gateway.conversation_changes", "gateway.fallbacks",
    "gateway.deliveries", "gateway.sender_addresses",
    # every message writes there: triggers of their own note what somebody changed, and only that
    "gateway.conversations", "gateway.conversation_addresses",
}  # fmt: skip

FORGE = """
CREATE TEMP TABLE mine (id uuid, organization_id uuid);
CREATE TRIGGER forge AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION public.log_audit_trail();
"""


@pytest.fixture
async def acme(db: Connection) -> Connection:
    """Organization A with its owner, and an empty trail."""
    await db.execute("INSERT INTO organizations (id, name) VALUES ($1, 'Acme')", A)
    await db.execute(
        "INSERT INTO auth_users (auth_id, email, organization_id, role)"
        " VALUES ($1, 'owner@example.com', $2, 'owner')",
        OWNER,
        A,
    )
    await db.execute("DELETE FROM audit_logs")
    return db


async def trail(db: Connection) -> list[tuple[str, str, object, object]]:
    """Action, table, old and new of each entry, oldest first."""
    return [
        (
            row["action"],
            row["table_name"],
            json.loads(row["old_data"] or "null"),
            json.loads(row["new_data"] or "null"),
        )
        for row in await db.fetch("SELECT * FROM audit_logs ORDER BY created_at, action DESC")
    ]


async def test_every_tenant_table_is_audited(db: Connection) -> None:
    """Insert, update and delete are noted for every table but the hot ones named here."""
    rows = Rows(db, await tables(db))
    audited = {
        row["name"]
        for row in await db.fetch(
            "SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_trigger t"
            " JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE t.tgfoid = 'public.log_audit_trail()'::regprocedure"
            " AND t.tgtype = 29"  # after, for each row, insert or update or delete
        )
    }
    tenants = {table.name for table in rows.tables.values() if table.tenant}
    assert tenants - audited == {name for name in UNAUDITED if name in tenants}


async def test_what_changed_is_there(acme: Connection) -> None:
    """An update keeps both sides, a deletion the old one, and who did it."""
    async with acme.transaction():
        await acme.execute(
            "SELECT set_config('request.jwt.claims', $1, true)", json.dumps({"sub": str(OWNER)})
        )
        await acme.execute("SET LOCAL ROLE authenticated")
        await acme.execute(
            "INSERT INTO message_templates (organization_id, name, type, content)"
            " VALUES ($1, 'hi', 'sms', 'one')",
            A,
        )
    await acme.execute("UPDATE message_templates SET content = 'two'")
    await acme.execute("DELETE FROM message_templates")
    entries = await acme.fetch("SELECT * FROM audit_logs ORDER BY created_at")
    assert [
        (
            row["action"],
            json.loads(row["old_data"] or "{}").get("content"),
            json.loads(row["new_data"] or "{}").get("content"),
            row["user_id"],
            row["organization_id"],
        )
        for row in entries
    ] == [
        ("INSERT", None, "one", OWNER, A),
        ("UPDATE", "one", "two", None, A),
        ("DELETE", "two", None, None, A),
    ]
    assert {"message_templates"} == {row["table_name"] for row in entries}
    assert len({row["record_id"] for row in entries}) == 1


async def test_no_secret_is_there(acme: Connection) -> None:
    """Hashes, tokens and credentials are said to be there, and to have changed, never what."""
    await acme.execute(
        "INSERT INTO clients (organization_id, email, password_hash) VALUES ($1, 'c', 'hidden-1')",
        A,
    )
    await acme.execute("UPDATE clients SET password_hash = 'hidden-2'")
    await acme.execute("DELETE FROM clients")
    await acme.execute(
        "INSERT INTO client_invitations (organization_id, email, invitation_token)"
        " VALUES ($1, 'c', 'hidden-3')",
        A,
    )
    await acme.execute(
        "INSERT INTO gateway.provider_accounts (organization_id, provider, credentials)"
        " VALUES ($1, 'twilio', 'hidden-4')",
        A,
    )
    await acme.execute("UPDATE gateway.provider_accounts SET credentials = 'hidden-5'")
    await acme.execute(
        "INSERT INTO gateway.api_keys (organization_id, prefix, hash) VALUES ($1, 'p', 'hidden-6')",
        A,
    )
    await acme.execute("UPDATE gateway.api_keys SET revoked_at = now()")
    await acme.execute(
        "INSERT INTO gateway.subscriptions (id, organization_id, url, credentials)"
        " VALUES ($1, $1, 'u', 'hidden-7')",
        A,
    )
    await acme.execute("UPDATE gateway.subscriptions SET last_success_at = now()")
    await acme.execute("UPDATE gateway.subscriptions SET credentials = 'hidden-8'")
    noted = await trail(acme)
    text = json.dumps(noted)
    assert "hidden" not in text
    assert b"hidden".hex() not in text
    assert len(noted) == 10
    changes = [
        (old["password_hash"], new["password_hash"])
        for action, table, old, new in noted
        if (action, table) == ("UPDATE", "clients")
        and isinstance(old, dict)
        and isinstance(new, dict)
    ]
    assert changes == [("[secret]", "[secret, changed]")]


async def test_counting_is_not_noted(acme: Connection) -> None:
    """An update of counters and times of use alone leaves no entry."""
    rows = Rows(acme, await tables(acme))
    rows.made["public.organizations", A] = {"id": A}
    await rows.fill(A)
    await acme.execute("DELETE FROM audit_logs")
    for statement in (
        "UPDATE message_templates SET usage_count = usage_count + 1, last_used_at = now()",
        "UPDATE leads SET last_contacted_at = now()",
        "UPDATE clients SET last_login_at = now()",
        "UPDATE workflows SET total_executions = 1, failed_executions = 1, last_run_at = now()",
        "UPDATE workflows SET successful_executions = successful_executions + 1",
        "UPDATE forms SET submission_count = 1, last_submission_at = now()",
        "UPDATE organizations SET updated_at = now()",
    ):
        await acme.execute(statement)
    assert await trail(acme) == []
    await acme.execute("UPDATE leads SET last_contacted_at = now(), notes = 'called back'")
    assert [("UPDATE", "leads")] == [(action, table) for action, table, *_ in await trail(acme)]


async def test_staff_without_an_organization_are_noted(acme: Connection) -> None:
    """A staff row that belongs to no organization yet is noted where no organization sees it."""
    await acme.execute(
        "INSERT INTO auth_users (auth_id, email) VALUES (uuid_generate_v4(), 'new@example.com')"
    )
    await acme.execute(
        "UPDATE auth_users SET organization_id = $1 WHERE email = 'new@example.com'", A
    )
    await acme.execute("DELETE FROM organizations")
    noted = await acme.fetch(
        "SELECT action, table_name, organization_id FROM audit_logs ORDER BY created_at, table_name"
    )
    assert ("INSERT", "auth_users", uuid.UUID(int=0)) == tuple(noted[0])
    assert tuple(noted[1]) == ("UPDATE", "auth_users", A)
    assert {("DELETE", "auth_users", A), ("DELETE", "organizations", A)} == {
        tuple(row) for row in noted[2:]
    }


@pytest.mark.parametrize("role", ["anon", "authenticated", "gateway_api"])
async def test_callers_cannot_write_it(acme: Connection, role: str) -> None:
    """No caller inserts, changes or deletes an entry, or hangs the function on its own table."""
    async with acme.transaction():
        await acme.execute(
            "SELECT set_config('request.jwt.claims', $1, true)", json.dumps({"sub": str(OWNER)})
        )
        await acme.execute(f"SET LOCAL ROLE {role}")
        for statement in (
            f"INSERT INTO audit_logs (organization_id, action, table_name) VALUES ('{A}', '', '')",
            "UPDATE audit_logs SET action = 'x'",
            "DELETE FROM audit_logs",
            FORGE,
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with acme.transaction():
                    await acme.execute(statement)


async def test_times_are_kept_by_trigger(acme: Connection) -> None:
    """Every table with updated_at has a trigger that keeps it."""
    without = await acme.fetch(
        """
        SELECT a.attrelid::regclass::text AS name FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
        WHERE a.attname = 'updated_at'
          AND c.relnamespace IN ('public'::regnamespace, 'gateway'::regnamespace)
          AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid
            AND t.tgname = format('update_%s_updated_at', c.relname)
            AND t.tgfoid = 'public.update_updated_at_column()'::regprocedure)
        """
    )
    assert without == []
