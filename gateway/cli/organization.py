"""`gateway org`, `staff`, `key`, `account` and `sender`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer

from channels import providers
from channels.model import Channel
from gateway.cli.connecting import connected
from gateway.cli.output import Json, NotShownError, err, show

Organization = Annotated[UUID, typer.Option("--org", help="The organization's id.")]

org = typer.Typer(help="Create organizations, the tenants.", no_args_is_help=True)
staff = typer.Typer(help="Create members of staff, and sign them in.", no_args_is_help=True)
key = typer.Typer(help="Create API keys for internal services.", no_args_is_help=True)
account = typer.Typer(help="Add accounts at providers.", no_args_is_help=True)
sender = typer.Typer(help="Add addresses to send from.", no_args_is_help=True)


@org.command("create")
def create_organization(
    name: Annotated[str, typer.Argument(help="The organization's name.")],
    country: Annotated[
        str | None,
        typer.Option(help="Two letters, such as GB: the country of national phone numbers."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create an organization; names may repeat."""
    from gateway.manage import setup

    async def do() -> UUID:
        async with connected() as (_, database):
            return await setup.create_organization(database, name, country=country)

    show({"id": asyncio.run(do())}, as_json=as_json)


@staff.command("create")
def create_staff(
    organization_id: Organization,
    email: Annotated[str, typer.Option(help="Their e-mail address.")],
    role: Annotated[
        Literal["owner", "admin", "member"],
        typer.Option(help="Owners and admins also manage accounts, senders and keys."),
    ] = "member",
    name: Annotated[str | None, typer.Option(help="Their full name.")] = None,
    auth_id: Annotated[
        UUID | None, typer.Option(help="Their user id at Supabase; default: a new one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a member of staff."""
    from gateway.manage import setup

    async def do() -> tuple[UUID, UUID]:
        async with connected() as (_, database):
            return await setup.create_staff(
                database, organization_id, email, role, full_name=name, auth_id=auth_id
            )

    user_id, made_auth_id = asyncio.run(do())
    show({"id": user_id, "auth_id": made_auth_id}, as_json=as_json)


@staff.command("token")
def create_token(
    email: Annotated[str, typer.Option(help="The e-mail address of a member of staff.")],
    ttl: Annotated[int, typer.Option(help="Seconds for which it is valid.", min=1)] = 3600,
    as_json: Json = False,
) -> None:
    """Print a JWT such as Supabase issues; needs SUPABASE_JWT_SECRET."""
    import jwt

    from gateway.config import SettingsError, read_settings
    from gateway.manage.setup import SetupError
    from gateway.store import accounts

    settings = read_settings()
    if settings.supabase_jwt_secret is None:
        raise SettingsError("SUPABASE_JWT_SECRET: is needed to make a token")

    async def do() -> UUID:
        async with connected() as (_, database), database.as_service() as db:
            row = await accounts.staff_by_email(db, email)
        if row is None:
            raise SetupError(f"There is no member of staff with the address {email}.")
        auth_id: UUID = row["auth_id"]
        return auth_id

    now = int(time.time())
    claims = {
        "sub": str(asyncio.run(do())),
        "aud": "authenticated",
        "role": "authenticated",
        "email": email,
        "iat": now,
        "exp": now + ttl,
    }
    if settings.supabase_url:
        claims["iss"] = f"{settings.supabase_url}/auth/v1"
    token = jwt.encode(claims, settings.supabase_jwt_secret, algorithm="HS256")
    if as_json:
        show({"token": token, "expires_in": ttl}, as_json=True)
    else:
        typer.echo(token)


@staff.command("link")
def create_link(
    email: Annotated[str, typer.Option(help="The e-mail address of a member of staff.")],
    as_json: Json = False,
) -> None:
    """Print a link that signs a member of staff in to the inbox, once, within 15 minutes."""
    from gateway.manage import setup
    from gateway.sign_in_mail import LINK_SECONDS
    from gateway.vault import Vault

    async def do() -> str:
        async with connected(needs_keys=True) as (ready, database):
            vault = Vault(ready.gateway_secret_keys)
            return await setup.sign_in_url(database, vault, ready.base_url, email)

    url = asyncio.run(do())
    if as_json:
        show({"url": url, "expires_in": LINK_SECONDS}, as_json=True)
    else:
        typer.echo(url)


@key.command("create")
def create_key(
    organization_id: Organization,
    name: Annotated[str, typer.Option(help="A name to recognise it by.")] = "API key",
    test: Annotated[
        bool,
        typer.Option(
            "--test", help="A test key: no request to a provider is made for its messages."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Create an API key; it is shown only once."""
    from gateway.manage import keys, setup

    async def do() -> keys.NewKey:
        async with connected() as (_, database):
            return await setup.create_key(database, organization_id, name, is_test=test)

    made = asyncio.run(do())
    try:
        show({"id": made.id, "key": made.key}, as_json=as_json)
    except NotShownError as error:
        raise NotShownError(
            f"{error} The key {made.id} is made and nobody has seen it: make another one, and "
            f"revoke this one with DELETE /v1/api-keys/{made.id}, as an owner or admin."
        ) from None


@account.command("add")
def add_account(
    organization_id: Organization,
    provider: Annotated[str, typer.Option(help=f"One of: {', '.join(providers.NAMES)}.")],
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A credential: NAME=VALUE, or NAME=@FILE to read a file; repeatable."
        ),
    ] = None,
    more: Annotated[
        list[str] | None, typer.Argument(help="More credentials, as NAME=VALUE.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Store credentials for a provider; prints the webhook URLs to paste there."""
    from gateway import registry
    from gateway.manage import setup
    from gateway.vault import Vault

    credentials = _credentials([*(values or []), *(more or [])])

    async def do() -> tuple[UUID, str]:
        async with connected(needs_keys=True) as (ready, database):
            vault = Vault(ready.gateway_secret_keys)
            added = setup.add_account(database, vault, organization_id, provider, credentials)
            return await added, ready.base_url

    account_id, base_url = asyncio.run(do())
    urls = registry.webhook_urls(base_url, provider, account_id, credentials)
    show({"id": account_id, "webhooks": urls}, as_json=as_json)
    missing = {} if as_json else registry.missing_secrets(provider, credentials)
    for event, name in missing.items():
        err.print(
            f"Check this: the URL of {event} has no secret, so requests to it are refused unless "
            f"they are signed. Set {name} to accept them.",
            markup=False,
        )


@sender.command("add")
def add_sender(
    account_id: Annotated[UUID, typer.Option("--account", help="The account's id.")],
    channel: Annotated[Channel, typer.Option(help="What it sends.")],
    address: Annotated[str, typer.Option(help="Such as +15551230001, or a mailbox.")],
    default: Annotated[
        bool, typer.Option("--default", help="Send from it when a request names no sender.")
    ] = False,
    rate: Annotated[
        float | None, typer.Option(help="Messages per second at most.", min=0.001, max=10_000)
    ] = None,
    as_json: Json = False,
) -> None:
    """Add an address to send from."""
    from gateway.manage import setup

    async def do() -> UUID:
        async with connected() as (_, database):
            return await setup.add_sender(
                database, account_id, channel, address, is_default=default, rate=rate
            )

    show({"id": asyncio.run(do())}, as_json=as_json)


def _credentials(given: Sequence[str]) -> dict[str, str]:
    from gateway.manage.setup import SetupError

    found: dict[str, str] = {}
    for name, value in map(_value, given):
        if name in found:
            raise SetupError(f"{name} is given twice.")
        found[name] = value
    return found


def _value(text: str) -> tuple[str, str]:
    from gateway.manage.setup import SetupError

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SetupError(f"{name or text!r} has no value: write --set NAME=VALUE.")
    if value.startswith("@"):
        try:
            return name, Path(value[1:]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"{name}: {value[1:]} cannot be read: {error}.") from None
    return name, value


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    groups: Sequence[tuple[str, typer.Typer]] = (
        ("org", org),
        ("staff", staff),
        ("key", key),
        ("account", account),
        ("sender", sender),
    )
    for name, group in groups:
        app.add_typer(group, name=name)
