"""Files of messages for staff who are signed in, and e-mails in a frame without scripts."""

from __future__ import annotations

from aiohttp import web

from gateway.api.media import respond
from gateway.inbox.talk.pictures import has_pictures, with_pictures
from gateway.inbox.talk.view import provider_detail
from gateway.inbox.visit import Visit
from gateway.problems import Problem
from gateway.store import media, messages
from gateway.store.values import Row

# Only what came with the mail: no scripts, no forms, nothing from other hosts, which would tell
# the sender that the mail was opened.
_ALONE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_REMOTE = f"{_ALONE} https:"
# A page that a link opens is not sandboxed, because its scripts must run.
_FRAME = (
    "; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
_PAGE = (
    '<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light">'
    '<meta name="viewport" content="width=device-width"><base target="_blank">'
    "<style>body{{font-family:sans-serif;overflow-wrap:anywhere;margin:0.75rem}}"
    "img{{max-width:100%;height:auto}}</style>{}"
)


async def file(visit: Visit) -> web.StreamResponse:
    """A file, if whoever is signed in may see it."""
    async with visit.services.database.as_caller(visit.staff) as db:
        found = await media.get(db, visit.staff.organization_id, visit.id)
    if found is None:
        raise Problem(404, "There is no such file, or it is another organization's.")
    return await respond(visit.services.media_store, found, visit.request, any_origin=False)


async def text(visit: Visit) -> web.StreamResponse:
    """The whole text of a message: the thread shows only the beginning of a very long one."""
    return web.Response(
        text=(await _message(visit))["body"] or "",
        content_type="text/plain",
        headers={
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


async def mail(visit: Visit) -> web.StreamResponse:
    """The HTML of an e-mail; with pictures from other hosts only if `remote` is 1."""
    row = await _message(visit)
    if not row["html_body"]:
        raise Problem(404, "This message has no HTML.")
    html = row["html_body"]
    if has_pictures(html):
        async with visit.services.database.as_caller(visit.staff) as db:
            files = await media.by_message(db, visit.staff.organization_id, visit.id)
        html = await with_pictures(html, provider_detail(row), files, visit.services.media_store)
    images = _REMOTE if visit.request.query.get("remote") == "1" else _ALONE
    return web.Response(
        text=_PAGE.format(html),
        content_type="text/html",
        headers={
            "Content-Security-Policy": images + _FRAME,
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _message(visit: Visit) -> Row:
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await messages.get(db, visit.staff.organization_id, visit.id)
    if row is None:
        raise Problem(404, "There is no such message, or it is another organization's.")
    return row
