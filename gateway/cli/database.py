"""`gateway migrate` and `gateway export-supabase`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from gateway.cli.output import Json, err, out, show

T = TypeVar("T")

migrations = typer.Typer(
    help="Migrate the database up to this version, or back down.", no_args_is_help=True
)


@migrations.command()
def up(as_json: Json = False) -> None:
    """Apply all pending migrations."""
    with err.status("Migrating ..."):
        applied, doubts = _run(_with_owner(_up))
    for doubt in doubts:
        err.print(f"Check this: {doubt}", markup=False)
    if as_json:
        show({"applied": applied}, as_json=True)
    else:
        out.print(f"Applied: {', '.join(applied) or 'nothing, all are applied'}")


@migrations.command()
def down(
    to: Annotated[
        str | None, typer.Option(help="Revert every migration after this version (0: all).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Revert the last migration, or all that are later than a version."""
    from gateway.schema import migrate

    with err.status("Reverting ..."):
        taken_back = _run(_with_owner(lambda url: migrate.down(url, to, _tell)))
    if as_json:
        show({"taken_back": taken_back}, as_json=True)
    else:
        nothing = "nothing, none was applied" if to is None else "nothing, none later is applied"
        out.print(f"Reverted: {', '.join(taken_back) or nothing}")


@migrations.command()
def status(as_json: Json = False) -> None:
    """List the applied and the pending migrations."""
    from gateway.schema import migrate

    found = asyncio.run(_with_owner(migrate.status))
    show({"applied": list(found.applied), "pending": list(found.pending)}, as_json=as_json)


def export_supabase(
    target: Annotated[Path, typer.Argument(help="The folder to write to.")] = Path(
        "supabase/migrations"
    ),
    as_json: Json = False,
) -> None:
    """Write the migrations for the Supabase CLI (which has no down migrations)."""
    from gateway.schema import migrate, supabase

    try:
        written = [str(path) for path in supabase.export_supabase(target)]
    except OSError as error:
        raise migrate.MigrationError(f"{target} cannot be written: {error.strerror}") from None
    if as_json:
        show({"written": written}, as_json=True)
    else:
        for path in written:
            out.print(path, markup=False)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """The result; SIGTERM ends the work as Ctrl-C does, leaving nothing in the database."""

    async def run() -> T:
        working = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
        return await working

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None


async def _up(url: str) -> tuple[list[str], list[str]]:
    from gateway.schema import migrate

    return await migrate.up(url, _tell), await migrate.doubts(url)


def _tell(text: str) -> None:
    err.print(f"gateway: {text}", markup=False)


async def _with_owner(do: Callable[[str], Awaitable[T]]) -> T:
    from gateway.config import read_settings

    settings = read_settings()
    # dbmate holds a session lock, which a transaction pooler would leave on a shared connection.
    url = settings.database_owner_url or settings.database_direct_url or settings.database_url
    if url is not None:
        return await do(url)
    from gateway.embedded.server import EmbeddedServer

    async with EmbeddedServer(settings.gateway_data) as server:
        return await do(server.dsn)


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(migrations, name="migrate")
    app.command("export-supabase")(export_supabase)
