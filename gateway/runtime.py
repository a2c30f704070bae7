"""What a process needs to run: a database that is migrated, keys for secrets, shared metrics.

Without DATABASE_URL, the database is the embedded PostgreSQL in GATEWAY_DATA, which every command
migrates by itself. With it, only `gateway migrate` migrates.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from gateway.config import Settings, SettingsError, decode_key, use_metrics_folder
from gateway.embedded.server import EmbeddedServer
from gateway.folders import make_file, make_folder, own
from gateway.schema import migrate
from gateway.store.dsn import fault_of


@asynccontextmanager
async def database_of(settings: Settings, *, needs_keys: bool = True) -> AsyncIterator[Settings]:
    """The settings, completed with a database and keys that can be used at once.

    Raises `SettingsError`, `EmbeddedError` or `MigrationError`, each with one line.
    """
    if settings.database_url is not None:
        if needs_keys and not settings.gateway_secret_keys:
            raise SettingsError(
                "GATEWAY_SECRET_KEYS: is required with DATABASE_URL: 32 random bytes in base64, "
                "for example from: openssl rand -base64 32"
            )
        for name, url in (
            ("DATABASE_URL", settings.database_url),
            ("DATABASE_DIRECT_URL", settings.database_direct_url),
        ):
            if url is not None and (fault := await fault_of(url)):
                raise SettingsError(f"{name}: {fault}")
        yield settings
        return
    server = EmbeddedServer(settings.gateway_data)
    async with server:
        keeper = asyncio.create_task(server.keep())
        try:
            # To ask first is quicker than to run dbmate if it has nothing to do.
            if await _is_behind(server.dsn):
                await migrate.up(server.dsn)
            yield settings.model_copy(
                update={
                    "database_url": server.dsn,
                    "database_direct_url": None,
                    "gateway_secret_keys": settings.gateway_secret_keys
                    or (_own_key(settings.gateway_data),),
                }
            )
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)


async def _is_behind(dsn: str) -> bool:
    try:
        return bool((await migrate.status(dsn)).pending)
    except migrate.DatabaseMissingError:
        return True


def _own_key(folder: Path) -> bytes:
    """The key for the embedded database: made once, and readable only by its owner."""
    path = folder / "secret.key"
    try:
        if not path.exists():
            _make_key(path)
        return decode_key(path.read_text())
    except OSError as error:
        raise SettingsError(f"GATEWAY_DATA: {path} cannot be used: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(
            f"GATEWAY_DATA: {path} holds no key ({error}): put the old one back, a new one opens "
            "no credentials"
        ) from None


def _make_key(path: Path) -> None:
    """Make a key, whole or not at all; if another process made one meanwhile, that one counts."""
    fresh = path.with_suffix(f".{os.getpid()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            own(fresh, path.parent)
            file.write(base64.b64encode(os.urandom(32)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def share_metrics(data: Path, *part: str) -> int:
    """Share metrics with the other processes of this machine; call before anything is counted.

    They are in the data folder, or in a `part` of it with metrics of its own.

    While the returned descriptor is open, the folder is kept; a process that finds no other one
    empties it.
    """
    shared = data.joinpath(*part, "metrics")
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_folder(shared)
        make_file(shared / "lock")
        descriptor = os.open(shared / "lock", os.O_RDWR)
    except OSError as error:
        raise SettingsError(f"GATEWAY_DATA: {shared} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in shared.glob("*.db"):
            left.unlink(missing_ok=True)
    except BlockingIOError:
        pass  # others are counting: their numbers stay
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    use_metrics_folder(shared)
    return descriptor
