"""Builds databases of a given size, on the embedded server or on that of DATABASE_URL."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from gateway.embedded.server import EmbeddedServer
from gateway.schema import migrate

_FILL = Path(__file__).with_name("fill.sql")
# What an operator with millions of messages would set; the rest is PostgreSQL's default.
_SETTINGS = ("shared_buffers=512MB", "max_wal_size=4GB")


@asynccontextmanager
async def server() -> AsyncIterator[str]:
    """The DSN of a superuser on the server to measure."""
    external = os.environ.get("DATABASE_URL")
    if external:
        yield external
        return
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    embedded = EmbeddedServer(folder)
    embedded._settings = _SETTINGS  # noqa: SLF001 - as the tests' own server
    try:
        async with embedded:
            yield embedded.dsn
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def history(server_dsn: str, size: int) -> AsyncIterator[str]:
    """The DSN of a new database with so many messages; dropped afterwards."""
    name = f"gateway_bench_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(_named(server_dsn, "postgres"))
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        dsn = _named(server_dsn, name)
        await migrate.up(dsn)
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(_FILL.read_text().replace("$n", str(size)), timeout=3600)
            await connection.execute("VACUUM (ANALYZE)", timeout=600)
        finally:
            await connection.close()
        yield dsn
    finally:
        await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await admin.close()


def _named(dsn: str, database: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))
