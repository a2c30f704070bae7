"""A database as the customer has it: made by running the SQL of the schema document, with rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

DOCUMENT = Path(__file__).with_name("document.md")
TENANTS = (
    "auth_users", "client_invitations", "clients", "leads", "workflows", "workflow_executions",
    "messages", "forms", "message_templates",
)  # fmt: skip
SUPABASE_ROLES = ("anon", "authenticated", "service_role")

# What the document expects of Supabase.
SUPABASE = """
CREATE SCHEMA auth;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
  )::uuid
$$;
"""
# And Supabase's default privileges in `public`.
SUPABASE_GRANTS = """
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES
  TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS
  TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES
  TO anon, authenticated, service_role;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
"""

ROWS = """
INSERT INTO organizations (id, name, slug) VALUES
  ('a0000000-0000-0000-0000-000000000000', 'Acme', 'acme'),
  ('b0000000-0000-0000-0000-000000000000', 'Bravo', 'bravo');
INSERT INTO auth_users (id, auth_id, email, organization_id, role) VALUES
  ('a1000000-0000-0000-0000-000000000000', 'a2000000-0000-0000-0000-000000000000',
   'owner@acme.example.com', 'a0000000-0000-0000-0000-000000000000', 'owner'),
  ('b1000000-0000-0000-0000-000000000000', 'b2000000-0000-0000-0000-000000000000',
   'owner@bravo.example.com', 'b0000000-0000-0000-0000-000000000000', 'owner'),
  (uuid_generate_v4(), uuid_generate_v4(), 'nobody@example.com', NULL, 'member');
INSERT INTO client_invitations (organization_id, email, invitation_token, invited_by) VALUES
  ('a0000000-0000-0000-0000-000000000000', 'c@acme.example.com', 'token-a',
   'a1000000-0000-0000-0000-000000000000');
INSERT INTO clients (organization_id, first_name, email, phone, password_hash, invitation_id)
  SELECT organization_id, 'Ann', email, '+1 (555) 123-4567', '$2b$12$secret', id
  FROM client_invitations;
INSERT INTO leads (id, organization_id, first_name, last_name, phone, tags, assigned_to) VALUES
  ('a3000000-0000-0000-0000-000000000000', 'a0000000-0000-0000-0000-000000000000', 'Lea', 'Din',
   '+15551230002', '{hot}', 'a1000000-0000-0000-0000-000000000000'),
  ('b3000000-0000-0000-0000-000000000000', 'b0000000-0000-0000-0000-000000000000', 'Bob', NULL,
   '+15551230003', '{}', NULL);
INSERT INTO workflows (organization_id, name, trigger_type)
  SELECT id, 'Welcome ' || name, 'lead' FROM organizations;
INSERT INTO workflow_executions (workflow_id, organization_id)
  SELECT id, organization_id FROM workflows;
INSERT INTO messages (organization_id, channel, direction, from_address, to_address, lead_id, body)
  SELECT organization_id, 'sms', 'outbound', '+15550000000', phone, id, 'Hello, ' || name
  FROM leads;
INSERT INTO forms (organization_id, name) SELECT id, 'Contact' FROM organizations;
INSERT INTO message_templates (organization_id, name, type, content)
  SELECT id, 'hello', 'sms', 'Hello {{ name }}' FROM organizations;
"""
# Nothing in the document forbids it: a message of one organization with a lead of another.
CROSSED_ROW = """
INSERT INTO messages (organization_id, channel, direction, from_address, to_address, lead_id, body)
VALUES ('a0000000-0000-0000-0000-000000000000', 'sms', 'outbound', '+1', '+2',
  'b3000000-0000-0000-0000-000000000000', 'crossed');
"""


def statements() -> str:
    """The document's SQL in order, with its patterns written out for every table they apply to."""
    blocks = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    made = [b for b in blocks if not re.search(r"\.\.\.;|ADD COLUMN", b)]
    return "\n".join(_for_every_table(block) for block in made)


def _for_every_table(block: str) -> str:
    """Repeat statements with `table_name` for each table; the others stay as they are."""
    said = []
    for statement in _split(block):
        if "table_name\n" in statement or "table_name " in statement:
            said += [
                re.sub(r"\btable_name\b", table, statement).replace(
                    "update_table_updated_at", f"update_{table}_updated_at"
                )
                for table in _fitting(statement)
            ]
        else:
            said.append(statement)
    return "\n".join(said)


def _split(block: str) -> list[str]:
    """The statements: each ends with `;` at the end of a line, except inside a $$ body."""
    parts: list[str] = []
    inside = False
    for line in block.splitlines():
        if not parts or (parts[-1].rstrip().endswith(";") and not inside):
            parts.append("")
        parts[-1] += line + "\n"
        if line.count("$$") % 2:
            inside = not inside
    return parts


def _fitting(statement: str) -> tuple[str, ...]:
    if "INSERT INTO audit_logs" in statement or "CREATE TABLE audit_logs" in statement:
        return ()
    return TENANTS if "POLICY" in statement else ("organizations", *TENANTS)


async def prepare(connection: Connection) -> None:
    """Make the roles and the auth.uid() that the document expects."""
    for role in SUPABASE_ROLES:
        await connection.execute(
            f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN NOINHERIT;"
            " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
    await connection.execute(SUPABASE)


async def uuid_function(connection: Connection, schema: str = "public") -> None:
    """Make uuid_generate_v4(): from uuid-ossp if the server has it, else a function of our own."""
    if await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'uuid-ossp')"
    ):
        await connection.execute(f'CREATE EXTENSION "uuid-ossp" SCHEMA {schema}')
    else:
        await connection.execute(
            f"CREATE FUNCTION {schema}.uuid_generate_v4() RETURNS uuid LANGUAGE sql"
            " AS 'SELECT gen_random_uuid()'"
        )


async def make(connection: Connection) -> None:
    """Make the customer's database: run the document as it is; add rows of two organizations."""
    await prepare(connection)
    await uuid_function(connection)
    await connection.execute(statements())
    await connection.execute(ROWS)
