"""/webhooks/{provider}/{account_id}/{event}: the same steps for every provider.

Checked in this order: 404 (no such webhook), 413 (too large), 403 (not signed), 400 (not readable;
415 for an unknown Content-Encoding).
"""

from __future__ import annotations

from aiohttp import web

from channels.model import Account
from gateway.config import Settings
from gateway.observability.logs import logger
from gateway.problems import Problem, not_now, unknown_coding
from gateway.receive.hook_accounts import UnknownHookError
from gateway.registry import PROVIDERS
from gateway.store.errors import ConflictError
from gateway.web.http import has_known_coding, wrong_coding
from gateway.web.services import SERVICES
from webhooks.model import InvalidSignature, Unreadable, WebhookRequest

_log = logger(__name__)

_MAX_MAIL = 30 * 2**20


def add_routes(app: web.Application, start: str) -> None:
    """Add the route."""
    resource = app.router.add_resource(start + "/webhooks/{provider}/{account_id}/{event}")
    resource.add_route("GET", handle)
    resource.add_route("POST", handle)


async def handle(request: web.Request) -> web.Response:
    """Answer one webhook request, with 2xx only if everything in it is stored."""
    services = request.app[SERVICES]
    provider, event = request.match_info["provider"], request.match_info["event"]
    account = await _account(request)
    if event in PROVIDERS[provider].large_events:
        request = request.clone(client_max_size=_MAX_MAIL)
    body, undecoded = await _read(request)
    public = WebhookRequest(
        method=request.method,
        url=_public_url(services.settings, request.raw_path),
        event=event,
        headers={name.lower(): value for name, value in reversed(list(request.headers.items()))},
        body=body,
    )
    try:
        if undecoded is not None:
            await services.receiving.verify(account, public)
            raise undecoded
        reply = await services.receiving.receive(account, public, services.hook_accounts)
    except InvalidSignature as error:
        _log.warning(
            "webhook refused", provider=provider, account_id=str(account.id), reason=str(error)
        )
        raise Problem(
            403,
            "This request is not signed by the account's provider for this URL: compare "
            "PUBLIC_URL with the URL that the provider calls, and the account's secret.",
        ) from None
    except ConflictError as error:
        # Never 4xx, after which some providers do not try again.
        _log.warning("webhook met a change", provider=provider, constraint=error.constraint)
        raise not_now("What this is about was changed meanwhile: send it again.") from None
    except Unreadable as error:
        raise Problem(400, f"This request cannot be read: {error}") from None
    return web.Response(
        status=reply.status,
        text=reply.body if reply.content_type else None,
        content_type=reply.content_type,
    )


async def _account(request: web.Request) -> Account:
    try:
        return await request.app[SERVICES].hook_accounts.named(**request.match_info)
    except UnknownHookError:
        raise Problem(
            404, "There is no such webhook: paste the URL that 'gateway account add' printed."
        ) from None


async def _read(request: web.Request) -> tuple[bytes, Problem | None]:
    """The body, and the problem of its coding, which is told only after the signature is verified.

    A body that cannot be decoded is empty: some signatures do not cover it. Raises `Problem` 413.
    """
    is_known = has_known_coding(request)  # asked first: after reading, there is no body
    try:
        if (request.content_length or 0) > request.client_max_size:
            raise web.HTTPRequestEntityTooLarge(request.client_max_size)
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Problem(413, f"The body is larger than {request.client_max_size} bytes.") from None
    except web.RequestPayloadError:
        return b"", wrong_coding()
    return body, None if is_known else unknown_coding()


def count(request: web.Request, status: int, seconds: float) -> None:
    """Count the answer to a webhook; called by the middleware, which may have changed it."""
    provider = request.match_info["provider"]
    # Only names of providers become labels: the path may have anything.
    known = provider if provider in PROVIDERS else "unknown"
    request.app[SERVICES].metrics.hook_answered(known, status, seconds)


def _public_url(settings: Settings, raw_path: str) -> str:
    # As text: a URL object would quote the query anew, but the original is signed.
    if not raw_path.startswith("/"):  # a whole URL, which RFC 9112 (3.2.2) allows
        raw_path = "/" + raw_path.partition("://")[2].partition("/")[2]
    prefix = settings.prefix
    if prefix and raw_path.startswith(prefix + "/webhooks/"):
        raw_path = raw_path.removeprefix(prefix)
    return settings.base_url + raw_path
