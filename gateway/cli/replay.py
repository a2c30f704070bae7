"""`gateway replay`: applies stored webhook requests again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from gateway.cli.connecting import connected
from gateway.cli.output import Json, err, out, show
from gateway.cli.serving import store_of

if TYPE_CHECKING:
    from gateway.receive.replaying import Replayed


def _moment(text: str) -> datetime:
    from gateway.shapes.base import moment

    try:
        return moment(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


def replay(
    account_id: Annotated[
        UUID | None, typer.Option("--account", help="Only requests that this account received.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=_moment,
            metavar="TIME",
            help="Only those received at this time or later, such as 2030-01-31T09:30:00Z; "
            "default: all that are kept.",
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            parser=_moment,
            metavar="TIME",
            help="Only those received before this time; default: now.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Change nothing: each request is applied alone and taken back, and what would be "
            "new is counted.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Apply stored webhook requests again: events that were lost are stored, the rest stays.

    For when a defect is fixed, or a missing account is added. Repeating it changes nothing.

    It may run beside everything else. Exit code 1: some could not be applied.
    """
    if since is not None and until is not None and since >= until:
        raise typer.BadParameter("--since must be before --until.")
    result = _run(account_id, since, until, is_trial=dry_run)
    counted = asdict(result)
    failures, _ = counted.pop("failures"), counted.pop("reached")
    if as_json:
        show({**counted, "failures": failures, "dry_run": dry_run}, as_json=True)
    else:
        if dry_run:
            out.print("Nothing was changed. This is what would be:")
        show(counted, as_json=False)
        _name_failures(result)
    if result.failed:
        raise typer.Exit(1)


def _run(
    account_id: UUID | None, since: datetime | None, until: datetime | None, *, is_trial: bool
) -> Replayed:
    """Replay and show progress; if the database is lost, the error says from where to continue."""
    from gateway.store.errors import DatabaseAwayError

    last: Replayed | None = None
    with err.status("Replaying ...") as status:

        def tell(so_far: Replayed) -> None:
            nonlocal last
            last = so_far
            status.update(f"Replaying ... {last.requests} requests, until {last.reached}")

        try:
            return asyncio.run(_replay(account_id, since, until, tell, is_trial=is_trial))
        except DatabaseAwayError as error:
            if last is None or last.reached is None:
                raise
            _name_failures(last)
            raise DatabaseAwayError(
                f"{error}; continue with --since {last.reached.isoformat()}"
            ) from error


def _name_failures(result: Replayed) -> None:
    for each in result.failures:
        err.print(
            f"Not applied: {each.id}, received at {each.received_at.isoformat()} by account "
            f"{each.account_id}: {each.reason}",
            markup=False,
        )


async def _replay(
    account_id: UUID | None,
    since: datetime | None,
    until: datetime | None,
    tell: Callable[[Replayed], None],
    *,
    is_trial: bool,
) -> Replayed:
    from gateway.config import read_settings
    from gateway.manage.setup import SetupError
    from gateway.media.files import Files
    from gateway.media.links import MediaLinks
    from gateway.observability.logs import configure
    from gateway.outside.download import Downloader
    from gateway.receive.hook_accounts import HookAccounts
    from gateway.receive.replaying import Replaying, Wanted
    from gateway.store import accounts
    from gateway.vault import Vault

    settings = read_settings()
    configure(settings.log_level, settings.log_format)
    async with connected(needs_keys=True) as (ready, database), Downloader() as downloader:
        account = None
        if account_id is not None:
            async with database.as_service() as db:
                account = await accounts.open_account(db, account_id)
            if account is None:
                raise SetupError(f"There is no account {account_id}.")
        vault = Vault(ready.gateway_secret_keys)
        links = MediaLinks(vault, ready.base_url)
        replaying = Replaying(
            database,
            vault,
            Files(database, store_of(ready), links, downloader),
            HookAccounts(database, vault, ready.provider_api_urls),
        )
        wanted = Wanted(
            account=(account.organization_id, account.id) if account else None,
            since=since,
            until=until,
            is_trial=is_trial,
        )
        return await replaying.replay(wanted, tell)


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(replay)
