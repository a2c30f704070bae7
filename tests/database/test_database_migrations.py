"""Up, down and up again: on an empty database, the customer's, Supabase's, and all at once."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from gateway.embedded.server import EmbeddedServer
from gateway.schema import migrate, supabase
from tests.conftest import SETTINGS, MakeShared
from tests.database import document
from tests.database.test_database_statistics import SOME

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

Connect = Callable[[str], Awaitable["Connection"]]
Dump = Callable[..., Awaitable[str]]

VERSIONS = [path.name.partition("_")[0] for path in migrate.files()]
ACME, BRAVO = (uuid.UUID(f"{letter}0000000-0000-0000-0000-000000000000") for letter in "ab")


def as_login(dsn: str, login: str) -> str:
    """The same database, another login."""
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{login}:secret%2Fword@{host}"))


@pytest.fixture
async def login(empty_database: str, connect: Connect) -> AsyncIterator[str]:
    """A login without any right; dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = await connect(empty_database)
    await admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret/word'")
    yield name
    await admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name};")


async def document_made(connection: Connection) -> None:
    """The customer's database, with a trigger that the document only hints at."""
    await document.make(connection)
    await connection.execute(
        "CREATE TRIGGER log_leads BEFORE UPDATE ON leads FOR EACH ROW"
        " EXECUTE FUNCTION log_audit_trail()"
    )


async def supabase_like(connection: Connection) -> None:
    """Supabase's own objects, its grants to everybody, and nothing of the document."""
    await document.prepare(connection)
    await connection.execute("CREATE SCHEMA extensions")
    await connection.execute(
        "GRANT USAGE ON SCHEMA extensions TO anon, authenticated, service_role"
    )
    await document.uuid_function(connection, "extensions")
    await connection.execute(document.SUPABASE_GRANTS)


async def supabase_with_tables(connection: Connection) -> None:
    """Supabase with the document's tables and rows, everything granted to everybody."""
    await supabase_like(connection)
    await connection.execute("SET search_path = public, extensions")
    await connection.execute(document.statements())
    await connection.execute(document.ROWS)
    await connection.execute("RESET search_path")


MADE: dict[str, Callable[[Connection], Awaitable[None]]] = {
    "the document's": document_made,
    "Supabase's": supabase_like,
    "Supabase's with the document's tables": supabase_with_tables,
}


def sorted_grants(dump: str) -> str:
    """The dump with its lines of grants in one order: they are a set."""
    grants = sorted(re.findall(r"^(?:GRANT|REVOKE) .*$", dump, re.MULTILINE))
    rest = re.sub(r"^(?:GRANT|REVOKE) .*\n+", "", dump, flags=re.MULTILINE)
    rest = re.sub(r"^-- Name: .*; Type: ACL;.*$", "", rest, flags=re.MULTILINE)
    return re.sub(r"(\n|--)+", "\n", rest) + "\n".join(grants)


async def run_once_more(connection: Connection, folder: Path) -> None:
    """Every up half, in a database that has them."""
    for path in supabase.export_supabase(folder):
        await connection.execute(path.read_text(encoding="utf-8"))


async def test_empty(empty_database: str, connect: Connect, dump: Dump, tmp_path: Path) -> None:
    """Up, down to nothing, up gives the same schema, also when every file has run twice; down
    leaves only dbmate's own table."""
    before = await dump(empty_database, "-s", "-N", "gateway")
    assert await migrate.up(empty_database) == VERSIONS
    first = await dump(empty_database, "-s")
    assert await migrate.up(empty_database) == []
    await run_once_more(await connect(empty_database), tmp_path)
    assert first == await dump(empty_database, "-s")
    assert VERSIONS[::-1] == await migrate.down(empty_database, "0")
    assert before == await dump(empty_database, "-s", "-N", "gateway")
    left = await dump(empty_database, "-s", "-n", "gateway")
    assert re.findall(r"CREATE TABLE (\S+)", left) == ["gateway.schema_migrations"]
    assert "FUNCTION" not in left
    assert await migrate.up(empty_database) == VERSIONS
    assert first == await dump(empty_database, "-s")


async def test_step_by_step(database: str, dump: Dump) -> None:
    """Each migration taken back alone leaves what the one before it had left."""
    whole = await dump(database, "-s")
    for place in reversed(range(len(VERSIONS))):
        assert [VERSIONS[place]] == await migrate.down(database)
        status = await migrate.status(database)
        assert (VERSIONS[:place], VERSIONS[place:]) == (
            list(status.applied),
            list(status.pending),
        )
    assert await migrate.down(database) == []
    await migrate.up(database)
    assert whole == await dump(database, "-s")
    assert VERSIONS[:1:-1] == await migrate.down(database, VERSIONS[1])
    assert tuple(VERSIONS[:2]) == (await migrate.status(database)).applied


CATALOGUE = """
SELECT kind || ' ' || identity || ' ' || CASE WHEN kind = 'index' THEN '' ELSE definition END
FROM gateway.catalogue()
WHERE kind NOT IN ('grant', 'schema', 'extension', 'function', 'option')
  AND identity NOT LIKE '%log_leads%' AND identity NOT LIKE '%audit_leads%'
"""


@pytest.mark.parametrize("kind", MADE)
async def test_what_was_there(
    empty_database: str, database: str, connect: Connect, dump: Dump, tmp_path: Path, kind: str
) -> None:
    """Whatever was there, tables, columns, indexes, keys, policies and triggers are the same; down
    gives back schema and rows as they were, also when every file has run twice."""
    connection = await connect(empty_database)
    await MADE[kind](connection)
    schema = sorted_grants(await dump(empty_database, "-s", "-N", "gateway"))
    rows = await dump(empty_database, "-a", "--inserts", "-n", "public")
    assert await migrate.up(empty_database) == VERSIONS
    assert {row[0] for row in await (await connect(database)).fetch(CATALOGUE)} == {
        re.sub(r"\bextensions\.(?=uuid_)", "public.", row[0])
        for row in await connection.fetch(CATALOGUE)
    }
    up = await dump(empty_database, "-s")
    await run_once_more(connection, tmp_path)
    assert up == await dump(empty_database, "-s")
    await migrate.down(empty_database, "0")
    assert schema == sorted_grants(await dump(empty_database, "-s", "-N", "gateway"))
    assert rows == await dump(empty_database, "-a", "--inserts", "-n", "public")
    await migrate.up(empty_database)
    assert sorted_grants(up) == sorted_grants(await dump(empty_database, "-s"))


@pytest.fixture
def customers(make_shared: MakeShared, make_database: Callable[..., str]) -> str:
    """The DSN of the customer's database after up, which is made once for the whole run."""

    async def made(dsn: str) -> str:
        connection = await asyncpg.connect(dsn)
        await document_made(connection)
        await connection.close()
        return " ".join(await migrate.up(dsn))

    return make_database(make_shared("customers", "template0", made).name)


async def test_rows_of_before_are_served(customers: str, connect: Connect) -> None:
    """On the customer's own database staff see their rows, and the recursion is gone."""
    connection = await connect(customers)
    async with connection.transaction():
        await connection.execute(
            "SELECT set_config('request.jwt.claims',"
            ' \'{"sub": "a2000000-0000-0000-0000-000000000000"}\', true)'
        )
        await connection.execute("SET LOCAL ROLE authenticated")
        assert await connection.fetchval("SELECT count(*) FROM auth_users") == 1
        assert await connection.fetchval("SELECT count(*) FROM messages") == 1
    await connection.execute("UPDATE leads SET notes = 'called'")
    assert await connection.fetchval("SELECT count(*) FROM leads WHERE notes = 'called'") == 2
    names = await connection.fetch(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'leads'::regclass AND NOT tgisinternal"
    )
    assert {"log_leads", "update_leads_updated_at"} == {row["tgname"] for row in names}


async def test_rows_that_cross_organizations(
    empty_database: str, connect: Connect, dump: Dump
) -> None:
    """An old row that points at another organization's lead stays; a new one is refused."""
    connection = await connect(empty_database)
    await document_made(connection)
    await connection.execute(document.CROSSED_ROW)
    before = await dump(empty_database, "-s", "-N", "gateway")
    await migrate.up(empty_database)
    keys = await connection.fetch(
        "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'f'"
        " AND conrelid = 'messages'::regclass AND conname LIKE '%lead_id%' ORDER BY 1"
    )
    assert [tuple(row) for row in keys] == [
        ("messages_lead_id_fkey", True),
        ("messages_organization_id_lead_id_fkey", False),
    ]
    (doubt,) = await migrate.doubts(empty_database)
    assert doubt.startswith("public.messages.messages_organization_id_lead_id_fkey holds for new")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await connection.execute(document.CROSSED_ROW)
    await connection.execute("DELETE FROM leads WHERE organization_id = $1", BRAVO)
    assert (
        await connection.fetchval(
            "SELECT count(*) FROM messages WHERE body = 'crossed' AND lead_id IS NOT NULL"
        )
        == 0
    )
    await migrate.down(empty_database, "0")
    assert before == await dump(empty_database, "-s", "-N", "gateway")


async def test_a_key_of_the_owner_with_our_name(
    empty_database: str, connect: Connect, dump: Dump
) -> None:
    """It stays; that messages point at their own organization's clients holds beside it."""
    connection = await connect(empty_database)
    await document_made(connection)
    await connection.execute(
        "ALTER TABLE messages ADD client_id uuid CONSTRAINT messages_client_id_fkey"
        " REFERENCES clients (id)"
    )
    before = await dump(empty_database, "-s", "-N", "gateway")
    await migrate.up(empty_database)
    keys = await connection.fetch(
        "SELECT conname, convalidated, cardinality(conkey) FROM pg_constraint WHERE contype = 'f'"
        " AND conrelid = 'messages'::regclass AND conname LIKE '%client_id%' ORDER BY 1"
    )
    assert [tuple(row) for row in keys] == [
        ("messages_client_id_fkey", True, 1),
        ("messages_organization_id_client_id_fkey", True, 2),
    ]
    theirs = await connection.fetchval(
        "INSERT INTO clients (organization_id, email) VALUES ($1, 'x@b.example') RETURNING id",
        BRAVO,
    )
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="organization_id_client_id"):
        await connection.execute(
            "INSERT INTO messages (organization_id, channel, direction, from_address, to_address,"
            " body, client_id) VALUES ($1, 'sms', 'inbound', '+1', '+2', 'x', $2)",
            *(ACME, theirs),
        )
    await migrate.down(empty_database, "0")
    assert before == await dump(empty_database, "-s", "-N", "gateway")


async def test_senders_of_before(database: str, connect: Connect) -> None:
    """What was a sender before the gateway's tables were taken back is known as that when they come
    again, and so is what comes to be one later; an organization goes with its senders."""
    db = await connect(database)
    await db.execute("INSERT INTO organizations (id, name) VALUES ($1, 'Acme')", ACME)

    async def account() -> None:
        await db.execute(
            "INSERT INTO gateway.provider_accounts (organization_id, provider, name, credentials)"
            " VALUES ($1, 'twilio', 'one', 'x')",
            ACME,
        )

    async def sender(address: str) -> None:
        await db.execute(
            "INSERT INTO gateway.senders (organization_id, account_id, channel, address)"
            " SELECT organization_id, id, 'sms', $1 FROM gateway.provider_accounts",
            address,
        )

    await account()
    for address in ("+1555001", "+1555002", "+1555003"):
        await sender(address)
    await db.execute("DELETE FROM gateway.senders WHERE address = '+1555001'")
    await db.execute("UPDATE gateway.senders SET address = '+1555004' WHERE address = '+1555002'")
    (before,) = (path.name for path in migrate.files() if "_messages" in path.name)
    await migrate.down(database, before.partition("_")[0])
    await migrate.up(database)
    await account()
    await sender("+1555005")
    await db.execute("UPDATE gateway.senders SET address = '+1555006' WHERE address = '+1555005'")
    await db.execute("DELETE FROM gateway.senders")
    known = "SELECT address FROM gateway.sender_addresses ORDER BY address"
    assert [row[0] for row in await db.fetch(known)] == [f"+155500{n}" for n in range(1, 7)]
    await sender("+1555007")
    await db.execute("DELETE FROM organizations WHERE id = $1", ACME)
    assert [] == await db.fetch(known)


async def test_senders_without_an_audit_trail(database: str, connect: Connect) -> None:
    """Where only what comes after the senders was taken back, those that there are are known."""
    db = await connect(database)
    await db.execute(
        f"""
        INSERT INTO organizations (id, name) VALUES ('{ACME}', 'Acme');
        INSERT INTO gateway.provider_accounts (id, organization_id, provider, credentials)
          VALUES ('{BRAVO}', '{ACME}', 'twilio', 'x');
        INSERT INTO gateway.senders (organization_id, account_id, channel, address)
          VALUES ('{ACME}', '{BRAVO}', 'email', 'Desk@acme.example');
        DELETE FROM audit_logs;
        """  # noqa: S608
    )
    (before,) = (path.name for path in migrate.files() if "_consent" in path.name)
    await migrate.down(database, before.partition("_")[0])
    await migrate.up(database)
    known = await db.fetch("SELECT address FROM gateway.sender_addresses")
    assert ["desk@acme.example"] == [row["address"] for row in known]


async def test_a_database_that_other_files_made(
    database: str, connect: Connect, dump: Dump
) -> None:
    """Versions that no file has any more are no matter when it is brought up; none of them is taken
    back, nor the records of how that is done."""
    others = ["20261123000000", "20261129000023"]
    db = await connect(database)
    await db.execute("INSERT INTO gateway.schema_migrations SELECT unnest($1::text[])", others)
    await db.execute(
        "INSERT INTO gateway.undo VALUES ($1, 1, 'function', 'f()', 'DROP FUNCTION f()')", others[1]
    )
    whole = await dump(database, "-s")

    status = await migrate.status(database)
    assert ((*others, *VERSIONS), ()) == (status.applied, status.pending)
    assert [] == await migrate.up(database)
    with pytest.raises(migrate.MigrationError, match=f"has applied {', '.join(others)}: take that"):
        await migrate.down(database, "0")
    assert whole == await dump(database, "-s")

    assert VERSIONS[::-1] == [(await migrate.down(database))[0] for _ in VERSIONS]
    with pytest.raises(migrate.MigrationError, match=f"has applied {others[1]}: take that back"):
        await migrate.down(database)
    assert await db.fetchval("SELECT version FROM gateway.undo") == others[1]
    assert VERSIONS == await migrate.up(database)
    assert whole == await dump(database, "-s")


async def test_a_database_that_other_files_made_in_part(
    empty_database: str, connect: Connect, dump: Dump
) -> None:
    """It is refused, with what to do, and left as it is: what is there is not made anew."""
    db = await connect(empty_database)
    await db.execute(
        "CREATE SCHEMA gateway; CREATE TABLE gateway.schema_migrations (version text PRIMARY KEY);"
        "INSERT INTO gateway.schema_migrations VALUES ('20261123000000'), ('20261129000018')"
    )
    before = await dump(empty_database)
    with pytest.raises(migrate.MigrationError, match="first bring it to 20261129000023"):
        await migrate.up(empty_database)
    assert before == await dump(empty_database)


async def test_every_name_of_the_document(db: Connection) -> None:
    """Every table, index, function and policy that the document names is there by its name."""
    text = document.DOCUMENT.read_text(encoding="utf-8")
    named = {
        "index": set(re.findall(r"CREATE INDEX (\w+)", text)) - {"IF"},
        "table": set(re.findall(r"CREATE TABLE (\w+)", text)) - {"IF"},
        "function": set(re.findall(r"FUNCTION (\w+)\(\)\nRETURNS", text)),
        "policy": set(re.findall(r'CREATE POLICY "(.+?)"', text)),
    }
    there = {
        "index": "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'",
        "table": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
        "function": "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        "policy": "SELECT policyname FROM pg_policies WHERE schemaname = 'public'",
    }
    assert tuple(len(names) for names in named.values()) == (43, 11, 2, 8)
    for kind, names in named.items():
        assert set() == names - {row[0] for row in await db.fetch(there[kind])}


async def test_what_came_later_stays(database: str, connect: Connect) -> None:
    """Down drops neither tables that were made after up, nor what they have come to need."""
    connection = await connect(database)
    await connection.execute(
        "CREATE TABLE public.later (id uuid DEFAULT uuid_generate_v4());"
        "INSERT INTO public.later DEFAULT VALUES"
    )
    await migrate.down(database, "0")
    await connection.execute("INSERT INTO public.later DEFAULT VALUES")
    assert await connection.fetchval("SELECT count(*) FROM public.later") == 2


async def test_templates_for_calls_survive(customers: str, connect: Connect) -> None:
    """Where templates for calls were written, down keeps them and the old rule for new rows."""
    connection = await connect(customers)
    insert = (
        "INSERT INTO message_templates (organization_id, name, type, content)"
        " VALUES ($1, 'ring', 'call', 'Hello')"
    )
    await connection.execute(insert, ACME)
    await migrate.down(customers, "0")
    assert (
        await connection.fetchval("SELECT count(*) FROM message_templates WHERE type = 'call'") == 1
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute(insert, ACME)


async def test_three_at_once(empty_database: str) -> None:
    """Of several processes that migrate one database at once one does it, and all end well."""
    done = await asyncio.gather(*(migrate.up(empty_database) for _ in range(3)))
    assert sorted(version for applied in done for version in applied) == VERSIONS


async def test_down_at_once(database: str) -> None:
    """What several take back at once is no more than one of them would; who comes to bring it up
    meanwhile waits until that is done."""
    to = VERSIONS[-4]
    done = await asyncio.gather(*(migrate.down(database, to) for _ in range(2)))
    assert VERSIONS[:-4:-1] == [version for taken_back in done for version in taken_back]
    assert to == (await migrate.status(database)).applied[-1]

    down = asyncio.create_task(migrate.down(database, VERSIONS[-6]))
    up = await migrate.up(database)

    assert (await down, up) in (
        (VERSIONS[-4:-6:-1], VERSIONS[-5:]),
        (VERSIONS[:-6:-1], VERSIONS[-3:]),
    )


async def test_two_databases_at_once(make_database: Callable[..., str]) -> None:
    """Databases of one cluster, which share their roles, can be migrated at once."""
    urls = [make_database() for _ in range(2)]
    assert await asyncio.gather(*(migrate.up(url) for url in urls)) == [VERSIONS] * 2


async def test_the_database_is_made(server_dsn: str, connect: Connect) -> None:
    """A database that is not there yet is made by up, also by two at once."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    url = urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}"))
    with pytest.raises(migrate.DatabaseMissingError, match=name):
        await migrate.status(url)
    try:
        done = await asyncio.gather(migrate.up(url), migrate.up(url))
        assert sorted(version for applied in done for version in applied) == VERSIONS
    finally:
        admin = await connect(server_dsn)
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def test_export_for_supabase(
    make_database: Callable[..., str], connect: Connect, dump: Dump, tmp_path: Path
) -> None:
    """The exported files alone give the schema that dbmate gives, and are known to migrate."""
    exported, migrated = make_database(), make_database()
    written = supabase.export_supabase(tmp_path / "supabase" / "migrations")
    assert [path.name for path in migrate.files()] == [path.name for path in written]
    one, other = await connect(exported), await connect(migrated)
    await supabase_like(one)
    await supabase_like(other)
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert re.match(r"^([0-9]+)_(.*)\.sql$", path.name)
        assert "migrate:" not in text
        await one.execute(text)
    await migrate.up(migrated)
    assert await dump(migrated, "-s") == await dump(exported, "-s")
    assert await migrate.up(exported) == []
    assert ((), tuple(VERSIONS)) == (
        (await migrate.status(exported)).pending,
        (await migrate.status(exported)).applied,
    )


async def test_a_login_that_may_not(empty_database: str, login: str) -> None:
    """A login without BYPASSRLS is refused in one line that says what to do."""
    with pytest.raises(migrate.MigrationError) as refusal:
        await migrate.up(as_login(empty_database, login))
    assert str(refusal.value).startswith(f"{login} may not migrate: set DATABASE_OWNER_URL to")
    assert "\n" not in str(refusal.value)
    assert ((), tuple(VERSIONS)) == (
        (await migrate.status(empty_database)).applied,
        (await migrate.status(empty_database)).pending,
    )


async def test_a_bypassing_login_may(empty_database: str, login: str, connect: Connect) -> None:
    """A login with BYPASSRLS that is no superuser migrates its own database, up and down, and what
    it owns may be analysed."""
    admin = await connect(empty_database)
    await admin.execute(f"ALTER ROLE {login} BYPASSRLS CREATEROLE")
    name = urlsplit(empty_database).path[1:]
    await admin.execute(f'ALTER DATABASE "{name}" OWNER TO {login}')
    for role in (*document.SUPABASE_ROLES, "gateway_api"):
        await admin.execute(
            f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN NOINHERIT;"
            " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
        await admin.execute(f"GRANT {role} TO {login} WITH ADMIN OPTION")
    url = as_login(empty_database, login)
    assert await migrate.up(url) == VERSIONS
    theirs = await connect(url)
    for role in ("authenticated", "service_role", "gateway_api"):
        async with theirs.transaction():
            await theirs.execute(f"SET LOCAL ROLE {role}")
            assert await theirs.fetchval("SELECT count(*) FROM public.messages") == 0
    await theirs.execute(SOME)
    async with theirs.transaction():
        await theirs.execute("SET LOCAL ROLE service_role")
        assert "public.messages" in await theirs.fetchval("SELECT gateway.analyse_new_tables()")
    assert VERSIONS[::-1] == await migrate.down(url, "0")
    await admin.execute(f'ALTER DATABASE "{name}" OWNER TO CURRENT_USER')


async def test_status_for_any_service(database: str, login: str, connect: Connect) -> None:
    """A login that may only become service_role reads what is applied: `/readyz` needs it. One that
    may not even that is told so in one line."""
    with pytest.raises(migrate.MigrationError, match="grant service_role to it"):
        await migrate.status(as_login(database, login))
    admin = await connect(database)
    await admin.execute(f"GRANT service_role TO {login}")
    assert tuple(VERSIONS) == (await migrate.status(as_login(database, login))).applied


async def test_errors_keep_the_password(tmp_path: Path) -> None:
    """An error names what is wrong in one line and never holds the password."""
    url = f"postgres://me:geheim%40zauber@/gateway?host={tmp_path}"
    with pytest.raises(migrate.MigrationError, match="cannot reach the database") as refusal:
        await migrate.up(url)
    assert "geheim" not in str(refusal.value)
    assert "zauber" not in str(refusal.value)
    with pytest.raises(migrate.MigrationError, match="is no version"):
        await migrate.down(url, "latest")


@pytest.fixture
def new_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of a cluster of its own, which has none of the roles yet."""
    server = EmbeddedServer(tmp_path_factory.mktemp("cluster"))
    server._settings = SETTINGS
    with server:
        yield server.dsn


def another(dsn: str, database: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


async def test_roles_made_by_two_at_once(new_cluster: str) -> None:
    """Where the roles are missing, several databases make them at once, and none fails."""
    urls = [another(new_cluster, f"db{number}") for number in range(2)]
    assert await asyncio.gather(*(migrate.up(url) for url in urls)) == [VERSIONS] * 2


async def test_roles_made_without_a_superuser(new_cluster: str, connect: Connect) -> None:
    """A login with BYPASSRLS and CREATEROLE makes the roles itself and may become each."""
    admin = await connect(new_cluster)
    await admin.execute("CREATE ROLE owner LOGIN PASSWORD 'x' BYPASSRLS CREATEROLE CREATEDB")
    url = another(new_cluster, "mine").replace("postgres@", "owner:x@")
    assert await migrate.up(url) == VERSIONS
    theirs = await connect(url)
    for role in ("authenticated", "service_role", "gateway_api"):
        async with theirs.transaction():
            await theirs.execute(f"SET LOCAL ROLE {role}")
            assert await theirs.fetchval("SELECT count(*) FROM public.messages") == 0
    assert await migrate.down(url, "0") == VERSIONS[::-1]
