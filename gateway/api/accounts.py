"""/v1/accounts: credentials at providers, for owners and admins; secrets are never read back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from aiohttp import web

from gateway import registry
from gateway.api.endpoint import Call, Endpoint
from gateway.ids import new_id
from gateway.manage import senders
from gateway.manage.accounts import delete
from gateway.problems import FieldError, found, invalid
from gateway.shapes import accounts as shapes
from gateway.shapes.base import Listed, PageQuery
from gateway.store import accounts
from gateway.store.values import Row
from gateway.vault import VaultError
from gateway.web.http import respond, respond_page


async def search_accounts(call: Call) -> web.Response:
    """One page of provider accounts."""
    page = await senders.search_accounts(call.services, call.caller, call.cursor, call.query.limit)
    return respond_page(page, lambda row: _account(call, row))


async def create_account(call: Call) -> web.Response:
    """Store credentials, sealed; the answer has the webhook URLs to paste at the provider."""
    wanted: shapes.AccountIn = call.body
    credentials = _credentials(wanted.provider, wanted.credentials)
    account_id = new_id()
    sealed = call.services.vault.seal(call.organization_id, credentials)
    async with call.services.database.as_caller(call.caller) as db:
        await accounts.insert_account(
            db,
            account_id,
            call.organization_id,
            wanted.provider,
            wanted.name or wanted.provider,
            sealed,
        )
        row = await accounts.get_account(db, call.organization_id, account_id)
    call.services.hook_accounts.forget(account_id)
    shown = _account(call, row, credentials)
    return respond(shown, 201, {"Location": f"/v1/accounts/{account_id}"})


async def get_account(call: Call) -> web.Response:
    """One provider account."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await accounts.get_account(db, call.organization_id, call.id)
    return respond(_account(call, row))


async def change_account(call: Call) -> web.Response:
    """Change the name, the credentials, or whether the account is in use."""
    wanted: shapes.AccountPatch = call.body
    sealed = credentials = same_as = None
    if wanted.credentials is not None:
        async with call.services.database.as_caller(call.caller) as db:
            old = found("account", await accounts.get_account(db, call.organization_id, call.id))
        credentials = _credentials(old["provider"], wanted.credentials)
        sealed = call.services.vault.seal(call.organization_id, credentials)
        same_as = await _same_as(call, old["provider"], credentials)
    async with call.services.database.as_caller(call.caller) as db:
        await accounts.update_account(
            db,
            call.organization_id,
            call.id,
            name=wanted.name,
            is_active=wanted.is_active,
            credentials=sealed,
            same_as=same_as,
        )
        row = await accounts.get_account(db, call.organization_id, call.id)
    call.services.hook_accounts.forget(call.id)
    return respond(_account(call, row, credentials))


async def delete_account(call: Call) -> web.Response:
    """Delete an account with its senders and all webhooks that came in for it."""
    await delete(call.services, call.caller, call.id)
    call.services.hook_accounts.forget(call.id)
    return web.Response(status=204)


def _credentials(provider: str, given: dict[str, str]) -> dict[str, str]:
    try:
        return registry.check_credentials(provider, given)
    except registry.NotPossibleError as error:
        raise invalid([FieldError(*problem) for problem in error.problems]) from None


async def _same_as(call: Call, provider: str, credentials: Mapping[str, str]) -> datetime | None:
    """When the account was last changed, if the new credentials belong to the same account at the
    provider as the stored ones; otherwise None. Only the gateway itself may read stored ones."""
    async with call.services.database.as_service() as db:
        stored = await accounts.stored(db, call.organization_id, call.id)
    if stored is None:
        return None
    sealed, changed_at = stored
    try:
        held = call.services.vault.open(call.organization_id, sealed)
    except VaultError:  # so it is not known to which account at the provider they belong
        return None
    names = registry.PROVIDERS[provider].identity
    return changed_at if all(held.get(each) == credentials.get(each) for each in names) else None


def _account(call: Call, row: Row | None, credentials: dict[str, str] | None = None) -> Row:
    row = found("account", row)
    account_id: UUID = row["id"]
    base_url = call.services.settings.base_url
    urls = registry.webhook_urls(base_url, row["provider"], account_id, credentials)
    return {**row, "webhooks": urls}


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/accounts",
        handler=search_accounts,
        admin=True,
        summary="Provider accounts",
        query=PageQuery,
        answer=Listed[shapes.Account],
    ),
    Endpoint(
        method="POST",
        path="/v1/accounts",
        handler=create_account,
        admin=True,
        status=201,
        summary="Add a provider account",
        body=shapes.AccountIn,
        answer=shapes.Account,
    ),
    Endpoint(
        method="GET",
        path="/v1/accounts/{id}",
        handler=get_account,
        admin=True,
        summary="One provider account",
        answer=shapes.Account,
    ),
    Endpoint(
        method="PATCH",
        path="/v1/accounts/{id}",
        handler=change_account,
        admin=True,
        summary="Change a provider account",
        body=shapes.AccountPatch,
        answer=shapes.Account,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/accounts/{id}",
        handler=delete_account,
        admin=True,
        summary="Delete a provider account",
        status=204,
    ),
]
