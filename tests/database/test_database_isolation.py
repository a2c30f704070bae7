"""No row of an organization is seen, changed, deleted or pointed at by anybody else.

Walks the catalogue, so that a table of tomorrow is in the test today.
"""

# ruff: noqa: S608 (the names come from the catalogue)

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest

from tests.database.rows import A, B, Rows, Table, insert, tables

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

STAFF = {
    ("A", "owner"): uuid.UUID("aaaaaaaa-0001-4000-8000-000000000000"),
    ("A", "member"): uuid.UUID("aaaaaaaa-0002-4000-8000-000000000000"),
    ("A", "inactive"): uuid.UUID("aaaaaaaa-0003-4000-8000-000000000000"),
    ("B", "owner"): uuid.UUID("bbbbbbbb-0001-4000-8000-000000000000"),
    ("B", "member"): uuid.UUID("bbbbbbbb-0002-4000-8000-000000000000"),
}
CLIENT_A, CLIENT_B = "client@acme.example.com", "client@bravo.example.com"


def claims(who: uuid.UUID) -> dict[str, str]:
    """The settings of a staff request."""
    return {"request.jwt.claims": json.dumps({"sub": str(who), "role": "authenticated"})}


def client(email: str, organization: uuid.UUID) -> dict[str, str]:
    """The settings of a client's request, as the schema document names them."""
    return {"jwt.claims.email": email, "jwt.claims.organization_id": str(organization)}


ORGANIZATION_A = {"gateway.organization_id": str(A)}
ORGANIZATION_B = {"gateway.organization_id": str(B)}

# Everybody who is not staff, key or client of A, also with settings that are not theirs to use.
STRANGERS: dict[str, tuple[str, dict[str, str]]] = {
    "owner of B": ("authenticated", claims(STAFF["B", "owner"])),
    "member of B": ("authenticated", claims(STAFF["B", "member"])),
    "owner of B, with the setting of API keys": (
        "authenticated",
        claims(STAFF["B", "owner"]) | ORGANIZATION_A,
    ),
    "dismissed member of A": ("authenticated", claims(STAFF["A", "inactive"])),
    "API key of B": ("gateway_api", ORGANIZATION_B),
    "API key of B, with claims of A's owner": (
        "gateway_api",
        ORGANIZATION_B | claims(STAFF["A", "owner"]) | client(CLIENT_A, A),
    ),
    "API key of nothing": ("gateway_api", {"gateway.organization_id": ""}),
    "client of B": ("authenticated", client(CLIENT_B, B)),
    "client of B that names A": ("authenticated", client(CLIENT_B, A)),
    "signed in, but nobody": ("authenticated", claims(uuid.uuid4())),
    "settings of an earlier request": (
        "authenticated",
        {
            "request.jwt.claims": "",
            "jwt.claims.email": "",
            "jwt.claims.organization_id": "",
            "jwt.claims.invitation_token": "",
        },
    ),
    "nobody": ("anon", {}),
    "nobody, with all settings of A": (
        "anon",
        ORGANIZATION_A | claims(STAFF["A", "owner"]) | client(CLIENT_A, A),
    ),
}


@pytest.fixture
async def rows(db: Connection) -> Rows:
    """A row of A and a row of B in every table, staff and clients of both."""
    made = Rows(db, await tables(db))
    for organization, name in ((A, "Acme"), (B, "Bravo")):
        made.made["public.organizations", organization] = dict(
            await insert(db, "public.organizations", {"id": organization, "name": name})
        )
    for (organization_name, kind), who in STAFF.items():
        await insert(
            db,
            "public.auth_users",
            {
                "auth_id": who,
                "email": f"{kind}@{organization_name}.example.com",
                "organization_id": {"A": A, "B": B}[organization_name],
                "role": "owner" if kind == "owner" else "member",
                "is_active": kind != "inactive",
            },
        )
    for email, organization in ((CLIENT_A, A), (CLIENT_B, B)):
        await insert(
            db, "public.clients", {"organization_id": organization, "email": email, "notes": "x"}
        )
    await made.fill(A)
    await made.fill(B)
    return made


@asynccontextmanager
async def acting(db: Connection, role: str, settings: dict[str, str]) -> AsyncIterator[Connection]:
    """What is done inside is done by this caller, and undone afterwards."""
    transaction = db.transaction()
    await transaction.start()
    try:
        for name, value in settings.items():
            await db.execute("SELECT set_config($1, $2, true)", name, value)
        await db.execute(f"SET LOCAL ROLE {role}")
        yield db
    finally:
        await transaction.rollback()


async def attempt(db: Connection, statement: str, *values: object) -> int:
    """How many rows the statement found, in a savepoint; none where it is refused."""
    try:
        async with db.transaction():
            if statement.startswith("SELECT"):
                return int(await db.fetchval(statement, *values))
            return int((await db.execute(statement, *values)).split()[-1])
    except (asyncpg.InsufficientPrivilegeError, asyncpg.ForeignKeyViolationError):
        return 0


async def fingerprint(db: Connection, table: Table, organization: uuid.UUID) -> str:
    """What a superuser finds in an organization's rows of a table."""
    role = await db.fetchval("SELECT current_setting('role')")
    await db.execute("RESET ROLE")
    found = await db.fetchval(
        f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table.name} t"
        f" WHERE t.{table.tenant} = $1",
        organization,
    )
    await db.execute(f"SET LOCAL ROLE {role}")
    return str(found)


async def allowed(db: Connection, table: Table, privilege: str) -> list[str]:
    """The columns of a table on which the caller has a privilege."""
    rows = await db.fetch(
        "SELECT c FROM unnest($1::text[]) c WHERE has_column_privilege($2, c, $3)"
        " AND has_schema_privilege(split_part($2, '.', 1), 'USAGE')",
        list(table.types),
        table.name,
        privilege,
    )
    return [row["c"] for row in rows]


async def trespasses(db: Connection, rows: Rows, table: Table) -> list[str]:
    """What the caller can do to A's rows in this table; should be nothing."""
    found = []
    tenant = table.tenant
    assert tenant
    if await attempt(db, f"SELECT count(*) FROM {table.name} WHERE {tenant} = $1", A):
        found.append(f"sees {table.name}")
    if "id" in await allowed(db, table, "SELECT") and await attempt(
        db, f"SELECT count(*) FROM {table.name} WHERE id = $1", rows.made[table.name, A]["id"]
    ):
        found.append(f"sees {table.name} by id")
    before = await fingerprint(db, table, A)
    columns = await allowed(db, table, "UPDATE") or [tenant]
    for column in columns:
        for where in (f"WHERE {tenant} = '{A}'", ""):
            savepoint = db.transaction()
            await savepoint.start()
            count = await attempt(
                db, f"UPDATE {table.name} SET {column} = {column} {where}".strip()
            )
            if (where and count) or before != await fingerprint(db, table, A):
                found.append(f"changes {table.name}.{column}")
            await savepoint.rollback()
    for where in (f"WHERE {tenant} = '{A}'", ""):
        savepoint = db.transaction()
        await savepoint.start()
        count = await attempt(db, f"DELETE FROM {table.name} {where}".strip())
        if (where and count) or before != await fingerprint(db, table, A):
            found.append(f"deletes from {table.name}")
        await savepoint.rollback()
    return found


async def intrusions(db: Connection, table: Table, values: dict[str, object]) -> list[str]:
    """Whether the caller can insert this row of A; with the columns that it may write at all."""
    writable = await allowed(db, table, "INSERT")
    given = {k: v for k, v in values.items() if k in writable} or values
    columns = ", ".join(f'"{column}"' for column in given)
    places = ", ".join(f"${n}" for n in range(1, len(given) + 1))
    count = await attempt(
        db, f"INSERT INTO {table.name} ({columns}) VALUES ({places})", *given.values()
    )
    return [f"inserts into {table.name}"] if count else []


@pytest.mark.parametrize("who", STRANGERS)
async def test_strangers_find_nothing(db: Connection, rows: Rows, who: str) -> None:
    """In every table, somebody who is not of A sees, changes, deletes and inserts nothing of A."""
    role, settings = STRANGERS[who]
    new = {
        table.name: await rows.values(table, A)
        for table in rows.tables.values()
        if table.tenant and table.name != "public.organizations"
    }
    new["public.organizations"] = {"id": uuid.uuid4(), "name": "C"}
    found = []
    async with acting(db, role, settings):
        for table in rows.tables.values():
            if table.tenant:
                found += await trespasses(db, rows, table)
                found += await intrusions(db, table, new[table.name])
            elif await attempt(db, f"SELECT count(*) FROM {table.name}"):
                found.append(f"sees {table.name}")
    assert found == []


async def test_the_walk_would_find_something(db: Connection, rows: Rows) -> None:
    """The same walk as A's own owner finds A's rows: it is not blind."""
    found = []
    async with acting(db, "authenticated", claims(STAFF["A", "owner"])):
        for table in rows.tables.values():
            if table.tenant:
                found += await trespasses(db, rows, table)
    for name in ("public.leads", "public.messages", "public.clients", "gateway.senders"):
        assert f"sees {name}" in found
        assert f"deletes from {name}" in found


async def test_no_row_points_into_another_organization(db: Connection, rows: Rows) -> None:
    """Not even a superuser can make a row of B point at a row of A."""
    pointed = []
    for table in rows.tables.values():
        for link in table.links:
            if link.target == "public.organizations":
                continue
            assert "organization_id" in link.columns, f"{table.name} -> {link.target}"
            # what it may leave out, it leaves out: a link that B's own row has may be unique
            values = {
                column: value
                for column, value in (await rows.values(table, B)).items()
                if column in table.needed or column == table.tenant
            }
            target = await rows.row(link.target, A)
            values |= {
                column: target[other]
                for column, other in zip(link.columns, link.target_columns, strict=True)
                if column != "organization_id"
            }
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                async with db.transaction():
                    await insert(db, table.name, values)
            pointed.append((table.name, link.target))
    assert ("public.messages", "public.leads") in pointed
    assert len(pointed) >= 15


async def test_client_of_a_sees_only_its_own_record(db: Connection, rows: Rows) -> None:
    """A client reads its own row of `clients` and nothing else in any table."""
    found = {}
    async with acting(db, "authenticated", client(CLIENT_A, A)):
        for table in rows.tables.values():
            count = await attempt(db, f"SELECT count(*) FROM {table.name}")
            if count:
                found[table.name] = count
    assert found == {"public.clients": 1}


FAULTS = """
SELECT format('%I.%I', n.nspname, c.relname) || ': ' || fault AS fault
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT 'no row level security' WHERE NOT c.relrowsecurity
  UNION ALL
  SELECT 'not forced' WHERE NOT c.relforcerowsecurity
  UNION ALL
  SELECT 'no policy' WHERE NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
  UNION ALL
  SELECT 'policy for everybody: ' || p.polname FROM pg_policy p
  WHERE p.polrelid = c.oid AND p.polpermissive AND 0 = ANY (p.polroles)
  UNION ALL
  SELECT 'open to ' || coalesce(r.rolname, 'PUBLIC')
  FROM aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
  WHERE a.grantee = 0 OR r.rolname = 'anon'
  UNION ALL
  SELECT 'no index on ' || k.conname FROM pg_constraint k
  WHERE k.conrelid = c.oid AND k.contype = 'f' AND NOT EXISTS (
    SELECT FROM pg_index i
    WHERE i.indrelid = c.oid AND i.indisvalid
      AND (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] @> k.conkey
      AND (i.indpred IS NULL OR pg_get_expr(i.indpred, c.oid) ~ '^\\(\\w+ IS NOT NULL\\)$'))
  UNION ALL
  SELECT 'key without the organization: ' || k.conname FROM pg_constraint k
  JOIN pg_attribute o ON o.attrelid = c.oid AND o.attname = 'organization_id'
  WHERE k.conrelid = c.oid AND k.contype = 'f' AND NOT k.conkey @> ARRAY[o.attnum]
) faults(fault)
WHERE n.nspname IN ('public', 'gateway') AND c.relkind IN ('r', 'p')
ORDER BY 1
"""


async def test_every_table_is_closed(db: Connection) -> None:
    """Each table has policies, forced, for named roles, and an index on each foreign key."""
    assert [row["fault"] for row in await db.fetch(FAULTS)] == []


async def test_an_open_table_would_be_found(db: Connection) -> None:
    """A table without any of it is named with everything that it lacks."""
    await db.execute(
        "CREATE TABLE gateway.careless (id uuid PRIMARY KEY, organization_id uuid,"
        " lead_id uuid REFERENCES public.leads)"
    )
    assert [row["fault"] for row in await db.fetch(FAULTS)] == [
        "gateway.careless: key without the organization: careless_lead_id_fkey",
        "gateway.careless: no index on careless_lead_id_fkey",
        "gateway.careless: no policy",
        "gateway.careless: no row level security",
        "gateway.careless: not forced",
    ]


async def test_definers_are_fenced(db: Connection) -> None:
    """Every SECURITY DEFINER function has a fixed search_path, in which temporary objects come last
    (they are first where they are not named), and is not for everybody."""
    loose = await db.fetch(
        """
        SELECT p.oid::regprocedure::text AS name FROM pg_proc p
        WHERE p.prosecdef AND p.pronamespace IN ('public'::regnamespace, 'gateway'::regnamespace)
          AND (NOT coalesce(p.proconfig::text, '') LIKE '%search_path=pg_catalog, pg_temp"%'
            OR EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner)))
              WHERE grantee = 0))
        """
    )
    assert [row["name"] for row in loose] == []


async def test_service_role_needs_no_bypass(db: Connection, rows: Rows) -> None:
    """`service_role` sees every row by policy alone, where BYPASSRLS is not to be had."""
    async with db.transaction():
        await db.execute("CREATE ROLE plain_service NOLOGIN; GRANT service_role TO plain_service;")
        await db.execute("SET LOCAL ROLE plain_service")
        counts = {
            table.name: await attempt(db, f"SELECT count(*) FROM {table.name}")
            for table in rows.tables.values()
            if table.tenant
        }
        await db.execute("RESET ROLE")
        await db.execute("DROP ROLE plain_service")
    assert [name for name, count in counts.items() if count < 2] == []
