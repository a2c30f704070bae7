"""The way to PostgreSQL: every transaction begins by assuming the role of its caller.

A transaction costs two round trips beside its statements: one simple query that begins it, assumes
the role and says who calls, and one that commits. All settings are LOCAL, so the pool's reset is
left out, which saves a third one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

from gateway.store import codecs
from gateway.store.errors import AWAY, DatabaseAwayError, plainly
from gateway.store.pooler import Opener
from gateway.store.shares import Shares
from gateway.store.telling import Noting, Telling, noted

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
    Direct = asyncpg.Connection[asyncpg.Record]
else:  # asyncpg's classes take no parameters at run time
    Connection = Pool = Direct = Any

_STATEMENT_SECONDS = 20
# jit: no statement of ours runs long enough to be worth compiling. With a long queue the planner
# would compile the claim, which then takes twenty times as long (on servers with JIT, as Debian's).
# idle_in_transaction_session_timeout: the server may not notice for hours that a machine vanished
# or froze. Its locks are released once its transaction has been idle for longer than ours ever are.
_LIMITS = (
    f"SET LOCAL statement_timeout = '{_STATEMENT_SECONDS}s'; SET LOCAL lock_timeout = '10s';"
    " SET LOCAL idle_in_transaction_session_timeout = '30s'; SET LOCAL jit = off"
)
# Whatever the database's default is: after waiting for a lock, what its holder stored must be seen.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
# For several statements that must see the same moment; a write there would be a mistake.
_BEGIN_STILL = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SERVICE = f"{_BEGIN}; SET LOCAL ROLE service_role; {_LIMITS}"
# One plan per connection. It must be right for tables of any size, even if it is made while they
# are empty: only plans that follow an index, in its order, remain.
PLANNED_ONCE = (
    "SET LOCAL plan_cache_mode = force_generic_plan;"
    " SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
)
# Back to the default, for other statements of such a transaction.
PLANNED_AS_EVER = (
    "SET LOCAL plan_cache_mode TO DEFAULT;"
    " SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL enable_bitmapscan TO DEFAULT"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """An internal service; for messages of a test key no provider is asked."""

    id: UUID
    organization_id: UUID
    is_test: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Staff:
    """A member of staff; `id` is `auth_users.id`, `auth_id` the subject of their Supabase JWT."""

    id: UUID
    auth_id: UUID
    organization_id: UUID
    role: str

    @property
    def may_administer(self) -> bool:
        """Owners and admins manage accounts, senders and keys."""
        return self.role in ("owner", "admin")

    @property
    def is_test(self) -> bool:
        """Never: messages of staff are meant to arrive."""
        return False


Caller = ApiKey | Staff
Transaction = AbstractAsyncContextManager[Connection]


class Database:
    """A pool of connections to one database, and the transactions on it.

    Transactions of one organization that are not batched with those of others have a share of the
    pool (`Shares`): while they wait, as for a row that another program has locked, or take long, as
    a search does, there are connections for everybody else.
    """

    def __init__(self, pool: Pool, *, patience: float = 10.0) -> None:
        self._pool = pool
        self._patience = patience
        self._shares = Shares(pool.get_max_size())
        self._telling = Telling(self._tell)

    @classmethod
    async def connect(
        cls,
        dsn: str,
        *,
        size: int = 8,
        pooled: bool = False,
        answer_within: float = _STATEMENT_SECONDS + 5,
        patience: float = 10.0,
    ) -> Database:
        """Open the pool; it connects only when it is used, so the database may be away.

        `pooled`: through a transaction pooler, where the next statement may run on another server
        connection that does not know prepared statements (PgBouncer is detected without this).
        `patience`: seconds to wait for a connection.
        """
        pool = await asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=size,
            connect=Opener(pooled=pooled),
            statement_cache_size=200,
            command_timeout=answer_within,
            timeout=10,
            init=codecs.use,
            reset=_reset,
            connection_class=Noting,
        )
        return cls(pool, patience=patience)

    async def close(self) -> None:
        """Close all connections; those that are still in use after seconds are terminated."""
        await self._telling.close()
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    def as_service(
        self,
        *,
        on_behalf: Caller | None = None,
        share_of: UUID | None = None,
        planned_once: bool = False,
        patience: float | None = None,
        seconds: float | None = None,
    ) -> Transaction:
        """A transaction of the gateway itself (`service_role`).

        - `on_behalf`: the caller for whom it is. The audit trail names a member of staff for its
          changes, and it counts towards the share of the caller's organization.
        - `share_of`: the organization whose share it counts towards, without a caller.
        - `planned_once`: for statements whose planning takes longer than their execution, and which
          have one right plan that looks everything up by an index.
        - `patience`: seconds to wait for a lock; `seconds`: the time limit of a statement.
        """
        opening = f"{_SERVICE}; {PLANNED_ONCE}" if planned_once else _SERVICE
        if patience is not None:
            opening += f"; SET LOCAL lock_timeout = {patience * 1000:.0f}"
        if seconds is not None:
            opening += f"; SET LOCAL statement_timeout = {seconds * 1000:.0f}"
        if isinstance(on_behalf, Staff):
            opening = f"{opening}; {_claims(on_behalf.auth_id)}"
        return self._transaction(opening, on_behalf.organization_id if on_behalf else share_of)

    async def at_once(self, statement: str) -> None:
        """Run one statement of the gateway itself, without parameters, in a single round trip."""
        async with self._connection() as connection, _undoing(connection):
            await _begin(connection, f"{_SERVICE}; {statement.rstrip(';')}; COMMIT")

    def as_caller(
        self, caller: Caller, *, is_brief: bool = False, is_still: bool = False
    ) -> Transaction:
        """A transaction under Row Level Security as the caller.

        `is_brief`: it waits for no lock, and others wait for it, so it counts towards no share.
        `is_still`: it only reads, and all its statements see the same moment.
        """
        opening = _opening(caller, _BEGIN_STILL if is_still else _BEGIN)
        return self._transaction(opening, None if is_brief else caller.organization_id)

    def as_claims(self, auth_id: UUID) -> Transaction:
        """A transaction as the member of staff with this `auth_id`, whose row is yet to be read."""
        return self._transaction(_opening_claims(auth_id))

    @asynccontextmanager
    async def _transaction(
        self, opening: str, share_of: UUID | None = None
    ) -> AsyncIterator[Connection]:
        async with self._connection(share_of) as connection:
            noted(connection).clear()
            async with _undoing(connection):
                await _begin(connection, opening)
                yield connection
            await connection.execute("COMMIT")
            self._telling(noted(connection))

    @asynccontextmanager
    async def _connection(self, share_of: UUID | None = None) -> AsyncIterator[Connection]:
        """A connection of the pool. If it does not answer, all others are discarded, too: a server
        that is alive would have ended the statement itself, so this one has probably vanished."""
        now = asyncio.get_running_loop().time
        until = now() + self._patience
        with plainly():
            place = await self._shares.take(share_of, until)
            try:
                # At least a second: the place may have come just in time.
                left = max(until - now(), min(1, self._patience))
                async with self._pool.acquire(timeout=left) as connection:
                    place.has_connection = True
                    try:
                        yield connection
                    except TimeoutError:
                        connection.terminate()
                        await self._pool.expire_connections()
                        raise
            finally:
                self._shares.give(place)

    async def _tell(self, organizations: set[UUID]) -> None:
        # Only UUIDs are put into this text.
        notifications = "; ".join(
            f"NOTIFY gateway_live, '{UUID(str(each))}'" for each in organizations
        )
        with suppress(DatabaseAwayError):
            await self.at_once(notifications)


@asynccontextmanager
async def _undoing(connection: Connection) -> AsyncIterator[None]:
    """Roll the transaction back if this block ends with an error."""
    try:
        yield
    except asyncpg.ReadOnlySQLTransactionError:
        # This connection leads to a standby for as long as it is open: open another one.
        connection.terminate()
        raise
    except TimeoutError:
        raise  # the server does not answer
    except BaseException:
        # The first error matters, not that a broken connection cannot roll back.
        with suppress(*AWAY):
            await connection.execute("ROLLBACK")
        raise


async def _begin(connection: Connection, opening: str) -> None:
    try:
        await connection.execute(opening)
    except (asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError) as error:
        raise DatabaseAwayError(
            f"the database is not ready ({error}): run 'gateway migrate up', and grant "
            "service_role, authenticated and gateway_api to the login of DATABASE_URL"
        ) from error


def _opening(caller: Caller, begin: str) -> str:
    # Only UUIDs and our own words are put into this text, never anything as a caller sent it.
    if isinstance(caller, Staff):
        return _opening_claims(caller.auth_id, begin)
    return (
        f"{begin}; SET LOCAL ROLE gateway_api; {_LIMITS}; "
        f"SET LOCAL gateway.organization_id = '{UUID(str(caller.organization_id))}'"
    )


def _opening_claims(auth_id: UUID, begin: str = _BEGIN) -> str:
    return f"{begin}; SET LOCAL ROLE authenticated; {_LIMITS}; {_claims(auth_id)}"


def _claims(auth_id: UUID) -> str:
    claims = f'{{"sub": "{UUID(str(auth_id))}", "role": "authenticated"}}'
    return f"SET LOCAL request.jwt.claims = '{claims}'"


async def _reset(connection: Direct) -> None:
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")
