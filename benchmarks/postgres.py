"""The PostgreSQL of a run: its own, set up as in production; or a new database on a given one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg

from benchmarks.processes import NotMeasuredError
from gateway.embedded.server import EmbeddedServer
from gateway.schema import migrate

# As an operator would set them on a machine with a few gigabytes. Commits are durable: fsync,
# synchronous_commit and full_page_writes are on, which is their default.
SETTINGS = (
    "shared_buffers=512MB",
    "effective_cache_size=2GB",
    "max_wal_size=4GB",
    "wal_buffers=16MB",
    "random_page_cost=1.1",
    "checkpoint_timeout=15min",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
)


class Server(EmbeddedServer):
    """The embedded server, with other settings."""

    def __init__(self, data: Path, settings: Sequence[str] = SETTINGS) -> None:
        super().__init__(data)
        self._settings = tuple(settings)


@contextmanager
def migrated(server: Server) -> Iterator[str]:
    """Start a server, and migrate its database; yields the DSN."""
    with server:
        asyncio.run(migrate.up(server.dsn))
        yield server.dsn


@contextmanager
def database(url: str | None, folder: Path) -> Iterator[str]:
    """The DSN of a migrated database: a new one on the server of `url`, else on one of our own."""
    if url is None:
        with migrated(Server(folder / "data")) as dsn:
            yield dsn
        return
    name = f"gateway_bench_{secrets.token_hex(4)}"
    own = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    _do(url, f'CREATE DATABASE "{name}"')
    try:
        asyncio.run(migrate.up(own))
        yield own
    finally:
        _do(url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _do(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(statement.encode())


class Postgres:
    """A run's own connection to its database, for counting, clearing and settings."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.db = psycopg.connect(dsn, autocommit=True)

    def must_be_durable(self) -> None:
        """Raise `NotMeasuredError` if commits may be lost: such numbers cannot be compared."""
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            if self.value("SELECT current_setting(%s)", name) == "off":
                raise NotMeasuredError(f"{name} is off on this server")

    @property
    def pid(self) -> int | None:
        """The server's main process, if it runs on this machine."""
        pid = self.value("SELECT pg_read_file('postmaster.pid')").split()[0]
        cwd = self.value("SELECT current_setting('data_directory')")
        found = Path(f"/proc/{pid}/cmdline")
        return int(pid) if found.exists() and cwd.encode() in found.read_bytes() else None

    def value(self, query: LiteralString, *values: object) -> str:
        """The one value of a query, as text."""
        row = self.db.execute(query, values).fetchone()
        return "" if row is None else str(row[0])

    def count(self, query: LiteralString, *values: object) -> int:
        """The one number of a query."""
        return int(self.value(query, *values) or 0)

    def clear(self) -> None:
        """Remove the rows of the previous path, which would slow down the next one."""
        self.db.execute(
            "TRUNCATE public.messages, gateway.queue, gateway.message_events,"
            " gateway.webhook_requests, gateway.unmatched_reports, gateway.template_uses,"
            " gateway.idempotency_keys CASCADE"
        )
        self.db.execute("CHECKPOINT")

    @contextmanager
    def plain(self) -> Iterator[None]:
        """Disable the trigger that finds a conversation for rows of other programs."""
        self.db.execute("ALTER TABLE public.messages DISABLE TRIGGER place_messages")
        try:
            yield
        finally:
            self.db.execute("ALTER TABLE public.messages ENABLE TRIGGER place_messages")

    def close(self) -> None:
        """Close the connection."""
        self.db.close()
