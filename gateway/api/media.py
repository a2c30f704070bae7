"""/v1/media/{id} for callers, and /media/{token} for providers that fetch what we send."""

from __future__ import annotations

from aiohttp import web

from gateway.api.endpoint import Call, Endpoint
from gateway.media.links import BadLinkError
from gateway.media.serving import answer
from gateway.media.store import MediaStore, MediaStoreError, MissingFileError
from gateway.observability.logs import logger
from gateway.problems import Problem, found, not_now
from gateway.store import media
from gateway.store.media import Media
from gateway.web.services import SERVICES

_log = logger(__name__)


async def get(call: Call) -> web.Response:
    """One file of a message, if the caller may see it."""
    async with call.services.database.as_caller(call.caller) as db:
        file = found("file", await media.get(db, call.organization_id, call.id))
    return await respond(call.services.media_store, file, call.request, any_origin=False)


async def fetch(request: web.Request) -> web.Response:
    """One file, for anybody with a valid link of ours."""
    services = request.app[SERVICES]
    try:
        organization_id, media_id = services.media_links.read(request.match_info["token"])
    except BadLinkError:
        raise Problem(404, "This link is not valid, or it has expired.") from None
    async with services.database.as_service() as db:
        file = await media.get(db, organization_id, media_id)
    if file is None:
        raise Problem(404, "This link is not valid, or it has expired.")
    return await respond(services.media_store, file, request, any_origin=True)


async def respond(
    store: MediaStore, file: Media, request: web.Request, *, any_origin: bool
) -> web.Response:
    """Answer with a file; raises `Problem` 404, 409 or 503 if it is not available."""
    if file.state == "waiting":
        raise Problem(
            409,
            "This file is still to be fetched from the provider: try again.",
            headers={"Retry-After": "5"},
        )
    if file.state == "failed":
        raise Problem(404, f"This file could not be fetched from the provider. {file.reason}")
    try:
        return await answer(
            store,
            file,
            request.headers,
            is_head=request.method == "HEAD",
            any_origin=any_origin,
        )
    except MissingFileError:
        _log.error("a file is not in the media store", media_id=str(file.id))
        raise Problem(
            404, "This file is no longer in the gateway's media store: tell the operator."
        ) from None
    except MediaStoreError as error:
        _log.error("the media store cannot be used", error=str(error))
        raise not_now("The media store does not answer: try again.", 5) from None


def add_routes(app: web.Application, start: str) -> None:
    """Add the path of public links."""
    app.router.add_get(start + "/media/{token}", fetch)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/media/{id}",
        handler=get,
        summary="One file of a message",
        is_file=True,
        headers=("Range",),
        conflicts=True,
    ),
]
