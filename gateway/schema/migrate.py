"""Applies `sql/migrations` to a database, and rolls them back, with dbmate.

dbmate sends each half of a file whole and in one transaction (https://github.com/amacneil/dbmate).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import asyncpg

from gateway.schema import dbmate, waits
from gateway.schema.dbmate import MigrationError, Tell
from gateway.store.pooler import NO_SESSION, can_notice, keeps_session
from gateway.store.sql import sql_folder

__all__ = [
    "DatabaseMissingError",
    "MigrationError",
    "MigrationStatus",
    "doubts",
    "down",
    "files",
    "status",
    "up",
    "version_of",
    "versions",
]

CONNECT_SECONDS = 30.0
SESSION_SECONDS = 2.0
# Short: a session that waits to change a table blocks all that want to use it after that.
HELD_SECONDS = 30.0

# The last one: no server satisfies PGTARGETSESSIONATTRS.
_UNREACHED = (
    *(OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError),
    asyncpg.InternalClientError,
)
_FILE = re.compile(r"^(?P<version>\d+)_(?P<name>.+)\.sql$")
_APPLIED = re.compile(r"^Applied: (\d+)_", re.MULTILINE)
_TAKEN_BACK = re.compile(r"^Rolled back: (\d+)_", re.MULTILINE)


class DatabaseMissingError(MigrationError):
    """The server answers, but has no database of this name; `up` creates it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationStatus:
    """Which versions the database has, and which of ours it lacks, oldest first."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]


def files() -> list[Path]:
    """The migration files, oldest first."""
    return sorted(p for p in (sql_folder() / "migrations").iterdir() if _FILE.match(p.name))


@cache
def versions() -> tuple[str, ...]:
    """The versions of the migration files, oldest first."""
    return tuple(version_of(path) for path in files())


def _silent(_: str) -> None:
    """Tell nobody."""


async def up(
    owner_url: str, tell: Tell = _silent, *, held_seconds: float = HELD_SECONDS
) -> list[str]:
    """Apply every pending migration; returns the versions that this call applied.

    The database is created if it does not exist. `tell` is called with what it waits for. Raises
    MigrationError, also if another session holds a lock that it needs for over `held_seconds`.
    """
    async with _alone(owner_url, tell) as (_, url):
        return _APPLIED.findall(await dbmate.watched(owner_url, url, "migrate", tell, held_seconds))


async def down(
    url: str, to: str | None = None, tell: Tell = _silent, *, held_seconds: float = HELD_SECONDS
) -> list[str]:
    """Roll back the last migration, or all that are later than version `to` ("0": all).

    Returns the versions that were rolled back, newest first. Tells and raises like `up`.
    """
    if to is not None and to not in (*versions(), "0"):
        raise MigrationError(f"{to!r} is no version: 'gateway migrate status' lists them (0: all)")
    taken_back: list[str] = []
    async with _alone(url, tell) as (connection, its):
        while await _later(connection, to):
            out = await dbmate.watched(url, its, "rollback", tell, held_seconds)
            taken_back += _TAKEN_BACK.findall(out)
            if to is None:
                break
    return taken_back


async def _later(connection: asyncpg.Connection[asyncpg.Record], to: str | None) -> bool:
    """Whether there is something to roll back; on the connection of `_alone`."""
    try:
        async with connection.transaction(readonly=True):
            applied = sorted(await _applied(connection), key=int)
    except _UNREACHED as error:
        raise MigrationError(f"the database has gone: {' '.join(str(error).split())}") from None
    later = applied[-1:] if to is None else [v for v in applied if int(v) > int(to)]
    if unknown := [version for version in later if version not in versions()]:
        # dbmate would roll back the last version that it knows instead.
        raise MigrationError(
            f"another version of the gateway has applied {', '.join(unknown)}: take that back with"
            " the version that brought it"
        )
    return bool(later)


async def status(url: str) -> MigrationStatus:
    """What is applied and what is pending; any login that may become `service_role` can ask.

    Raises MigrationError if the database cannot be reached, or this login may not ask.
    """
    connection = await _connect(url)
    try:
        async with connection.transaction(readonly=True):
            applied = await _applied(connection)
    except asyncpg.InsufficientPrivilegeError:
        raise MigrationError(
            "this login may not see what is applied: grant service_role to it, or set"
            " DATABASE_OWNER_URL"
        ) from None
    finally:
        await connection.close()
    known = [version_of(path) for path in files()]
    return MigrationStatus(
        applied=tuple(sorted(applied, key=int)),
        pending=tuple(version for version in known if version not in applied),
    )


async def doubts(url: str) -> list[str]:
    """Problems that `up` tolerates and an operator should look at, one line each: dbmate does not
    show warnings."""
    connection = await _connect(url)
    try:
        rows = await connection.fetch(
            """
            SELECT format('%s.%s.%s holds for new rows only: old rows break it',
              n.nspname, c.relname, k.conname) AS line
            FROM pg_constraint k
            JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('public', 'gateway') AND NOT k.convalidated
            UNION ALL
            SELECT format('%s.%s has a policy "%s" for everybody: see what it lets through',
              n.nspname, c.relname, p.polname)
            FROM pg_policy p
            JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'public' AND p.polpermissive AND 0 = ANY (p.polroles)
            UNION ALL
            SELECT format('conversation %s was merged into %s, but has messages that no list shows,'
              ' because another program''s rule refused to move them: when it lets them, run'
              ' SELECT gateway.follow_merged(%3$L, %1$L)',
              c.id, c.merged_into, c.organization_id)
            FROM gateway.conversations c
            WHERE c.merged_into IS NOT NULL AND EXISTS (SELECT FROM public.messages m
              WHERE m.organization_id = c.organization_id AND m.conversation_id = c.id)
            ORDER BY 1
            """
        )
    finally:
        await connection.close()
    return [row["line"] for row in rows]


def version_of(path: Path) -> str:
    """The version of a migration file."""
    return path.name.partition("_")[0]


async def _connect(url: str, *, database: str | None = None) -> asyncpg.Connection[asyncpg.Record]:
    try:
        return await asyncpg.connect(
            url,
            database=database,
            timeout=CONNECT_SECONDS,
            command_timeout=CONNECT_SECONDS,
            statement_cache_size=0,  # only a few statements, and a pooler may not keep them
        )
    except asyncpg.InvalidCatalogNameError as error:
        raise DatabaseMissingError(dbmate.one_line(str(error), url)) from None
    except _UNREACHED as error:
        raise MigrationError(
            f"cannot reach the database: {dbmate.one_line(str(error), url)}"
        ) from None


async def _applied(connection: asyncpg.Connection[asyncpg.Record]) -> set[str]:
    """The versions in dbmate's table, read as service_role if the login itself may not."""
    found = await connection.fetchrow(
        """
        SELECT has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid) AS may_read,
          EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role'
            AND pg_has_role(oid, 'MEMBER')) AS may_become
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'gateway' AND c.relname = 'schema_migrations'
        """
    )
    if found is None:
        return set()
    if not found["may_read"] and found["may_become"]:
        await connection.execute("SET LOCAL ROLE service_role")
    rows = await connection.fetch("SELECT version FROM gateway.schema_migrations")
    return {row["version"] for row in rows}


@asynccontextmanager
async def _alone(
    url: str, tell: Tell
) -> AsyncIterator[tuple[asyncpg.Connection[asyncpg.Record], str]]:
    """A connection that keeps others from migrating this database, and the URL for dbmate.

    dbmate's own lock is for one step only. First checks whether this login may migrate at all.
    """
    try:
        connection = await _connect(url)
    except DatabaseMissingError:
        connection = await _create(url)
    try:
        # It takes locks of a session, which a transaction pooler would keep for ever.
        if not await keeps_session(connection, url, SESSION_SECONDS):
            raise MigrationError(f"{NO_SESSION}: set DATABASE_OWNER_URL to the server itself")
        found = await connection.fetchrow(
            """
            SELECT current_user AS login, rolsuper OR rolbypassrls AS may,
              coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS ssl
            FROM pg_roles WHERE rolname = current_user
            """
        )
        if found is None or not found["may"]:
            login = found["login"] if found else "this login"
            raise MigrationError(
                f"{login} may not migrate: set DATABASE_OWNER_URL to a login that is superuser or"
                " has BYPASSRLS, because its functions must see past Row Level Security"
            )
        notices = await can_notice(connection)
        wait = await waits.take_turn(
            connection, url, tell, every=dbmate.LOOK_SECONDS, turn=dbmate.TURN_SECONDS
        )
        if wait:
            raise MigrationError(f"gave up after {wait.seconds:.0f} s: {wait}")
        reached = _server_of(connection)
        its = dbmate.url_of(url, encrypted=found["ssl"], notices=notices, reached=reached)
        yield connection, its
    finally:
        await connection.close()


def _server_of(connection: asyncpg.Connection[asyncpg.Record]) -> dbmate.Server:
    # asyncpg has no public way to tell which of several servers it has reached.
    return connection._addr  # type: ignore[no-any-return,attr-defined]  # noqa: SLF001


async def _create(url: str) -> asyncpg.Connection[asyncpg.Record]:
    """Create the database and connect to it, even if another process creates it just now."""
    reached = None
    with suppress(MigrationError):  # dbmate says why there is no connection
        beside = await _connect(url, database="postgres")
        reached = _server_of(beside)
        await beside.close()
    try:
        await dbmate.run(dbmate.url_of(url, encrypted=None, reached=reached), "create")
    except MigrationError as error:
        try:
            return await _connect(url)
        except DatabaseMissingError:
            raise error from None
    return await _connect(url)
