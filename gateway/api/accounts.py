"""/v1/accounts, /v1/senders and /v1/api-keys: for owners and admins; secrets go in only."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from aiohttp import web

from gateway import registry
from gateway.api import shapes
from gateway.api.auth import new_api_key
from gateway.api.endpoint import Call, Endpoint, respond
from gateway.ids import new_id
from gateway.problems import FieldError, Problem, invalid, not_found
from gateway.store import accounts
from gateway.store.database import Conflict

Row = dict[str, Any]


async def search_accounts(call: Call) -> web.Response:
    """One page of provider accounts."""
    async with call.services.database.as_caller(call.caller) as db:
        page = await accounts.list_accounts(db, call.organization_id, call.cursor, call.query.limit)
    return respond(
        {"data": [_account(call, row) for row in page.rows], "next_cursor": page.next_cursor}
    )


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
    return respond(_account(call, row), 201, {"Location": f"/v1/accounts/{account_id}"})


async def get_account(call: Call) -> web.Response:
    """One provider account."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await accounts.get_account(db, call.organization_id, call.id)
    return respond(_account(call, row))


async def change_account(call: Call) -> web.Response:
    """Change name, use or credentials."""
    wanted: shapes.AccountPatch = call.body
    async with call.services.database.as_caller(call.caller) as db:
        row = await accounts.get_account(db, call.organization_id, call.id)
        if row is None:
            raise not_found("account")
        sealed = None
        if wanted.credentials is not None:
            sealed = call.services.vault.seal(
                call.organization_id, _credentials(row["provider"], wanted.credentials)
            )
        await accounts.update_account(
            db,
            call.organization_id,
            call.id,
            name=wanted.name,
            is_active=wanted.is_active,
            credentials=sealed,
        )
        row = await accounts.get_account(db, call.organization_id, call.id)
    call.services.receiving.forget(call.id)
    return respond(_account(call, row))


async def delete_account(call: Call) -> web.Response:
    """Delete an account with its senders."""
    async with call.services.database.as_caller(call.caller) as db:
        if not await accounts.delete_account(db, call.organization_id, call.id):
            raise not_found("account")
    call.services.receiving.forget(call.id)
    return web.Response(status=204)


async def search_senders(call: Call) -> web.Response:
    """One page of senders."""
    query: shapes.SenderQuery = call.query
    async with call.services.database.as_caller(call.caller) as db:
        page = await accounts.list_senders(
            db, call.organization_id, query.channel, call.cursor, query.limit
        )
    return respond({"data": page.rows, "next_cursor": page.next_cursor})


async def create_sender(call: Call) -> web.Response:
    """Store an address to send from; a default takes the place of the one before."""
    wanted: shapes.SenderIn = call.body
    sender_id = new_id()
    try:
        async with call.services.database.as_caller(call.caller) as db:
            account = await accounts.get_account(db, call.organization_id, wanted.account_id)
            if account is None:
                raise invalid([FieldError("account_id", "is no account of your organization")])
            address = registry.sender_address(account["provider"], wanted.channel, wanted.address)
            await accounts.insert_sender(
                db,
                sender_id,
                call.organization_id,
                wanted.account_id,
                wanted.channel,
                address,
                is_default=wanted.is_default,
                rate=wanted.rate,
            )
            row = await accounts.get_sender(db, call.organization_id, sender_id)
    except registry.NotPossibleError as error:
        raise invalid([FieldError(*problem) for problem in error.problems]) from None
    except Conflict:
        raise Problem(409, "Your organization has this sender already.") from None
    return respond(row, 201, {"Location": f"/v1/senders/{sender_id}"})


async def get_sender(call: Call) -> web.Response:
    """One sender."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await accounts.get_sender(db, call.organization_id, call.id)
    if row is None:
        raise not_found("sender")
    return respond(row)


async def change_sender(call: Call) -> web.Response:
    """Change default, use or rate; a rate of null means none."""
    wanted: shapes.SenderPatch = call.body
    async with call.services.database.as_caller(call.caller) as db:
        row = await accounts.get_sender(db, call.organization_id, call.id)
        if row is None:
            raise not_found("sender")
        await accounts.update_sender(
            db,
            call.organization_id,
            call.id,
            row["channel"],
            is_default=wanted.is_default,
            is_active=wanted.is_active,
            rate=wanted.rate,
            set_rate="rate" in wanted.model_fields_set,
        )
        row = await accounts.get_sender(db, call.organization_id, call.id)
    return respond(row)


async def delete_sender(call: Call) -> web.Response:
    """Delete a sender; what waits to be sent from it will fail."""
    async with call.services.database.as_caller(call.caller) as db:
        if not await accounts.delete_sender(db, call.organization_id, call.id):
            raise not_found("sender")
    return web.Response(status=204)


async def search_keys(call: Call) -> web.Response:
    """One page of API keys, without the keys."""
    async with call.services.database.as_caller(call.caller) as db:
        page = await accounts.list_api_keys(db, call.organization_id, call.cursor, call.query.limit)
    return respond({"data": page.rows, "next_cursor": page.next_cursor})


async def create_key(call: Call) -> web.Response:
    """Make a key; this answer is the only one that shows it."""
    wanted: shapes.ApiKeyIn = call.body
    key, prefix, digest = new_api_key(is_test=wanted.test)
    key_id = new_id()
    async with call.services.database.as_caller(call.caller) as db:
        await accounts.insert_api_key(
            db, key_id, call.organization_id, wanted.name, prefix, digest, is_test=wanted.test
        )
        row = await accounts.get_api_key(db, call.organization_id, key_id)
    if row is None:
        raise not_found("API key")
    return respond({**row, "key": key}, 201, {"Location": f"/v1/api-keys/{key_id}"})


async def get_key(call: Call) -> web.Response:
    """One API key, without the key."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await accounts.get_api_key(db, call.organization_id, call.id)
    if row is None:
        raise not_found("API key")
    return respond(row)


async def revoke_key(call: Call) -> web.Response:
    """Revoke a key for good; the row stays, so that one can see when."""
    async with call.services.database.as_caller(call.caller) as db:
        if not await accounts.revoke_api_key(db, call.organization_id, call.id):
            raise not_found("API key")
    return web.Response(status=204)


def _credentials(provider: str, given: dict[str, str]) -> dict[str, str]:
    try:
        return registry.check_credentials(provider, given)
    except registry.NotPossibleError as error:
        raise invalid([FieldError(*problem) for problem in error.problems]) from None


def _account(call: Call, row: Row | None) -> Row:
    if row is None:
        raise not_found("account")
    account_id: UUID = row["id"]
    base_url = call.services.settings.base_url
    return {**row, "webhooks": registry.webhook_urls(base_url, row["provider"], account_id)}


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/accounts",
        handler=search_accounts,
        admin=True,
        summary="Provider accounts",
        query=shapes.PageQuery,
        answer=shapes.Listed[shapes.Account],
        problems=(422,),
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
        problems=(400, 413, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/accounts/{id}",
        handler=get_account,
        admin=True,
        summary="One provider account",
        answer=shapes.Account,
        problems=(404,),
    ),
    Endpoint(
        method="PATCH",
        path="/v1/accounts/{id}",
        handler=change_account,
        admin=True,
        summary="Change a provider account",
        body=shapes.AccountPatch,
        answer=shapes.Account,
        problems=(400, 404, 413, 422),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/accounts/{id}",
        handler=delete_account,
        admin=True,
        summary="Delete a provider account",
        status=204,
        problems=(404,),
    ),
    Endpoint(
        method="GET",
        path="/v1/senders",
        handler=search_senders,
        admin=True,
        summary="Senders",
        query=shapes.SenderQuery,
        answer=shapes.Listed[shapes.Sender],
        problems=(422,),
    ),
    Endpoint(
        method="POST",
        path="/v1/senders",
        handler=create_sender,
        admin=True,
        status=201,
        summary="Add a sender",
        body=shapes.SenderIn,
        answer=shapes.Sender,
        problems=(400, 409, 413, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/senders/{id}",
        handler=get_sender,
        admin=True,
        summary="One sender",
        answer=shapes.Sender,
        problems=(404,),
    ),
    Endpoint(
        method="PATCH",
        path="/v1/senders/{id}",
        handler=change_sender,
        admin=True,
        summary="Change a sender",
        body=shapes.SenderPatch,
        answer=shapes.Sender,
        problems=(400, 404, 413, 422),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/senders/{id}",
        handler=delete_sender,
        admin=True,
        summary="Delete a sender",
        status=204,
        problems=(404,),
    ),
    Endpoint(
        method="GET",
        path="/v1/api-keys",
        handler=search_keys,
        admin=True,
        summary="API keys",
        query=shapes.PageQuery,
        answer=shapes.Listed[shapes.ApiKey],
        problems=(422,),
    ),
    Endpoint(
        method="POST",
        path="/v1/api-keys",
        handler=create_key,
        admin=True,
        status=201,
        summary="Make an API key",
        body=shapes.ApiKeyIn,
        answer=shapes.NewApiKey,
        problems=(400, 413, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/api-keys/{id}",
        handler=get_key,
        admin=True,
        summary="One API key",
        answer=shapes.ApiKey,
        problems=(404,),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/api-keys/{id}",
        handler=revoke_key,
        admin=True,
        summary="Revoke an API key",
        status=204,
        problems=(404,),
    ),
]
