"""/v1/subscriptions: services that get events by webhook, for API keys, owners and admins."""

from __future__ import annotations

from aiohttp import web

from gateway.api.endpoint import Call, Endpoint
from gateway.ids import new_id
from gateway.outside.posting import read
from gateway.outside.public import ForbiddenAddress
from gateway.problems import FieldError, Problem, changed_meanwhile, found, invalid, not_found
from gateway.shapes import subscriptions as shapes
from gateway.shapes.base import Listed, PageQuery
from gateway.store import subscriptions
from gateway.store.database import Connection
from gateway.store.values import Row
from gateway.subscriptions.signing import FORMER_SECONDS, new_secret, with_secret
from gateway.web.http import respond, respond_page

MOST = 20


async def search(call: Call) -> web.Response:
    """One page of subscriptions, without their secrets."""
    async with call.services.database.as_caller(call.caller) as db:
        page = await subscriptions.search(db, call.organization_id, call.cursor, call.query.limit)
    return respond_page(page)


async def create(call: Call) -> web.Response:
    """Send a service all events from now on; this answer is the only one that shows the secret."""
    wanted: shapes.SubscriptionIn = call.body
    _check(call, wanted.url)
    subscription_id = new_id()
    secret = wanted.secret or new_secret()
    async with call.services.database.as_caller(call.caller) as db:
        has_room = await subscriptions.insert(
            db,
            subscription_id,
            call.organization_id,
            url=wanted.url,
            description=wanted.description,
            events=sorted(set(wanted.events)),
            credentials=call.services.vault.seal(call.organization_id, {"secret": secret}),
            most=MOST,
        )
        if not has_room:
            raise Problem(
                409, f"Your organization has {MOST} subscriptions, as many as it may: delete one."
            )
        row = found(
            "subscription", await subscriptions.get(db, call.organization_id, subscription_id)
        )
    made = {**row, "secret": secret}
    return respond(made, 201, {"Location": f"/v1/subscriptions/{subscription_id}"})


async def get(call: Call) -> web.Response:
    """One subscription, without its secret."""
    async with call.services.database.as_caller(call.caller) as db:
        return respond(await _known(call, db))


async def change(call: Call) -> web.Response:
    """Change a subscription; one that is activated again goes on where it stopped."""
    wanted: shapes.SubscriptionPatch = call.body
    if wanted.url is not None:
        _check(call, wanted.url)
    if wanted.secret is not None:
        await _rotate(call, wanted.secret)
    async with call.services.database.as_caller(call.caller) as db:
        await subscriptions.update(
            db,
            call.organization_id,
            call.id,
            url=wanted.url,
            description=wanted.description,
            set_description="description" in wanted.model_fields_set,
            events=None if wanted.events is None else sorted(set(wanted.events)),
            is_active=wanted.is_active,
        )
        return respond(await _known(call, db))


async def delete(call: Call) -> web.Response:
    """Send a service nothing more; events that wait for it are dropped."""
    async with call.services.database.as_caller(call.caller) as db:
        if not await subscriptions.delete(db, call.organization_id, call.id):
            raise not_found("subscription")
    return web.Response(status=204)


async def _rotate(call: Call, secret: str) -> None:
    """Replace the secret. It is written as the caller, but callers cannot read the old one."""
    services, organization_id = call.services, call.organization_id
    async with services.database.as_caller(call.caller) as db:
        row = await _known(call, db)
    async with services.database.as_service(on_behalf=call.caller) as db:
        sealed = await subscriptions.credentials(db, organization_id, call.id)
    secrets = services.vault.open(organization_id, found("subscription", sealed))
    is_new = secrets["secret"] != secret
    async with services.database.as_caller(call.caller) as db:
        is_replaced = await subscriptions.replace_credentials(
            db,
            organization_id,
            call.id,
            # The same secret is sealed again, with the first of GATEWAY_SECRET_KEYS.
            services.vault.seal(
                organization_id, with_secret(secrets, secret) if is_new else secrets
            ),
            former_for=FORMER_SECONDS if is_new else None,
            updated_at=row["updated_at"],
        )
    if not is_replaced:
        raise changed_meanwhile()


def _check(call: Call, url: str) -> None:
    try:
        read(url, call.services.settings.gateway_subscription_origins)
    except ForbiddenAddress as error:
        raise invalid([FieldError("url", f"cannot be told of events: {error}")]) from None


async def _known(call: Call, db: Connection) -> Row:
    return found("subscription", await subscriptions.get(db, call.organization_id, call.id))


_ONE = "/v1/subscriptions/{id}"
ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/subscriptions",
        handler=search,
        keys_or_admin=True,
        summary="Who is told of events",
        query=PageQuery,
        answer=Listed[shapes.Subscription],
    ),
    Endpoint(
        method="POST",
        path="/v1/subscriptions",
        handler=create,
        keys_or_admin=True,
        status=201,
        summary="Tell a service of events",
        body=shapes.SubscriptionIn,
        answer=shapes.NewSubscription,
        conflicts=True,
    ),
    Endpoint(
        method="GET",
        path=_ONE,
        handler=get,
        keys_or_admin=True,
        summary="One subscription",
        answer=shapes.Subscription,
    ),
    Endpoint(
        method="PATCH",
        path=_ONE,
        handler=change,
        keys_or_admin=True,
        summary="Change a subscription",
        body=shapes.SubscriptionPatch,
        answer=shapes.Subscription,
        conflicts=True,
    ),
    Endpoint(
        method="DELETE",
        path=_ONE,
        handler=delete,
        keys_or_admin=True,
        status=204,
        summary="Tell a service nothing more",
    ),
]
