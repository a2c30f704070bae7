"""/unsubscribe/{token}: unsubscribe with one click (RFC 8058).

GET shows a page and changes nothing, because mail scanners follow every link. POST, from a mail
program or from the page, suppresses the address that the message was sent to.
"""

from __future__ import annotations

import time
from uuid import UUID

from aiohttp import web

from channels.model import Channel
from gateway import addresses, links
from gateway.ids import derived_id, new_id
from gateway.observability.logs import logger
from gateway.problems import Problem
from gateway.store import messages, suppressions
from gateway.store.suppressions import Statement
from gateway.web.services import SERVICES
from webhooks.model import Reason

_log = logger(__name__)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto; padding: 0 1rem; }}
button {{ font: inherit; padding: .6em 1.2em; }}
</style>
</head>
<body><main><h1>{title}</h1>{body}</main></body>
</html>
"""  # noqa: E501
_ASK = """<p>You will get no more e-mails from this sender.</p>
<form method="post"><button name="List-Unsubscribe" value="One-Click">Unsubscribe</button></form>
"""
_DONE = "<p>You will get no more e-mails from this sender. You can close this page.</p>"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def add_routes(app: web.Application, start: str) -> None:
    """Add the route."""
    app.router.add_get(start + "/unsubscribe/{token}", ask)
    app.router.add_post(start + "/unsubscribe/{token}", unsubscribe)


async def ask(request: web.Request) -> web.Response:
    """The page with the one button."""
    _named(request)
    return _page("Unsubscribe?", _ASK)


async def unsubscribe(request: web.Request) -> web.Response:
    """Suppress further e-mails to the address that the message was sent to."""
    services = request.app[SERVICES]
    organization_id, message_id = _named(request)
    async with services.database.as_service(share_of=organization_id) as db:
        row = await messages.get(db, organization_id, message_id)
        if row is None or row["channel"] != Channel.EMAIL:
            raise _unknown()
        address = addresses.key(Channel.EMAIL, row["to_address"])
        known = await suppressions.find(
            db, organization_id, Channel.EMAIL, address, Reason.UNSUBSCRIBE
        )
        statement = Statement(
            # Mail programs may post more than once. A new statement is stored even if the address
            # is already suppressed: whoever made the first one may take that back.
            id=new_id() if known is None else _once_a_minute(organization_id, message_id),
            channel=Channel.EMAIL,
            address=address,
            reason=Reason.UNSUBSCRIBE,
            is_lifted=False,
            source="one-click",
            detail={"message_id": str(message_id)},
        )
        await suppressions.change(db, organization_id, [statement])
    _log.info("unsubscribed", message_id=str(message_id), organization_id=str(organization_id))
    return _page("You are unsubscribed", _DONE)


def _once_a_minute(organization_id: UUID, message_id: UUID) -> UUID:
    return derived_id(organization_id, "one-click", message_id, int(time.time() / 60))


def _named(request: web.Request) -> tuple[UUID, UUID]:
    named = links.read_unsubscribe(request.app[SERVICES].vault, request.match_info["token"])
    if named is None:
        raise _unknown()
    return named


def _unknown() -> Problem:
    return Problem(404, "This link is not complete: open it from the message itself.")


def _page(title: str, body: str) -> web.Response:
    return web.Response(
        text=_PAGE.format(title=title, body=body), content_type="text/html", headers=_HEADERS
    )
