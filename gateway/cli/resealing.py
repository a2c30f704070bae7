"""`gateway reseal`: run before an old key is removed from GATEWAY_SECRET_KEYS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from gateway.cli.connecting import connected
from gateway.cli.output import Json, err, show

if TYPE_CHECKING:
    from gateway.manage.resealing import Resealed


def reseal(as_json: Json = False) -> None:
    """Seal all credentials and secrets with the first key of GATEWAY_SECRET_KEYS.

    For when the keys are changed. It may run beside everything else, and more than once.

    Exit code 1: some are sealed with a key that is missing.
    """
    result = asyncio.run(_reseal())
    closed = [str(each) for each in result.closed]
    show(
        {"accounts": result.accounts, "subscriptions": result.subscriptions, "closed": closed},
        as_json=as_json,
    )
    if closed:
        err.print(
            f"gateway: {len(closed)} cannot be opened: put the key that sealed them back behind "
            "the others, or write their credentials anew.",
            markup=False,
        )
        raise typer.Exit(1)


async def _reseal() -> Resealed:
    from gateway.manage.resealing import reseal
    from gateway.vault import Vault

    async with connected(needs_keys=True) as (ready, database):
        return await reseal(database, Vault(ready.gateway_secret_keys))


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(reseal)
