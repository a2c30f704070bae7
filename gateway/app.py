"""The web process: routes, middleware, and what lives as long as the application."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial

import aiohttp
from aiohttp import web

from channels.lines import FullError
from channels.rendering.renderer import Renderer
from gateway.accept.accepting import Accepting
from gateway.accept.drafting import Drafting
from gateway.accept.nudge import Nudge
from gateway.api import docs, media, messages
from gateway.api.auth import Callers
from gateway.api.keyring import Keyring
from gateway.api.table import ENDPOINTS
from gateway.config import Settings, metrics_folder
from gateway.inbox.errors import as_page, is_page
from gateway.inbox.routes import add_inbox
from gateway.live.events import render
from gateway.live.hub import Live
from gateway.media.files import Files
from gateway.media.links import MediaLinks
from gateway.media.store import MediaStoreError, open_store
from gateway.observability.logs import logger
from gateway.observability.metrics import of_process
from gateway.outside.download import Downloader, DownloadError
from gateway.problems import (
    FieldError,
    Problem,
    changed_meanwhile,
    invalid,
    not_now,
    refused_by_a_rule,
)
from gateway.receive.hook_accounts import HookAccounts
from gateway.receive.receiving import Receiving
from gateway.store.database import Database
from gateway.store.errors import (
    BusyError,
    ConflictError,
    DatabaseAwayError,
    HeldError,
    NotMigratedError,
    RefusedError,
    SlowError,
)
from gateway.store.listener import Listener
from gateway.store.searching import SearchError
from gateway.store.values import storable
from gateway.vault import Vault, VaultError
from gateway.web import hooks, operations, unsubscribe
from gateway.web.background import background
from gateway.web.http import refuse, wrong_coding
from gateway.web.in_flight import IN_FLIGHT, InFlight
from gateway.web.services import SERVICES, Services

_log = logger(__name__)

MAX_BODY = 10 * 2**20


_NO_ANSWER = "The database does not answer: try again."
_AWAY = {
    HeldError: "Another program is changing what this is about, and takes long: try again.",
    SlowError: "The database takes too long for this: try again.",
    NotMigratedError: "The database lacks migrations: tell the operator, /readyz says which.",
}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(settings: Settings) -> web.Application:
    """The application for settings that name a database and the secret keys."""
    if settings.database_url is None:
        raise ValueError("settings.database_url is not set: use gateway.runtime")
    app = web.Application(middlewares=[_counted, _as_problems], client_max_size=MAX_BODY)
    app[IN_FLIGHT] = InFlight()
    app.cleanup_ctx.append(_services(settings, settings.database_url))
    # A proxy may strip the path of PUBLIC_URL, or leave it.
    for start in settings.starts:
        _add_api(app, start)
        docs.add_routes(app, start)
        media.add_routes(app, start)
        operations.add_routes(app, start)
        hooks.add_routes(app, start)
        unsubscribe.add_routes(app, start)
    add_inbox(app, settings)
    app.on_response_prepare.append(_name_no_versions)
    app.on_shutdown.append(_stop)
    return app


def _add_api(app: web.Application, start: str) -> None:
    paths = {endpoint.path for endpoint in ENDPOINTS}
    for endpoint in ENDPOINTS:
        for method in endpoint.methods:
            app.router.add_route(method, start + endpoint.path, endpoint.handle)
        above, _, last = endpoint.path.rpartition("/")
        if last != "{id}" and above + "/{id}" in paths:
            # Without this, another method would take `batch` or `export` for the id of a message.
            no_other = partial(_not_allowed, endpoint.methods)
            app.router.add_route("*", start + endpoint.path, no_other)


async def _not_allowed(methods: Iterable[str], request: web.Request) -> web.StreamResponse:
    raise web.HTTPMethodNotAllowed(request.method, methods)


def _services(settings: Settings, dsn: str) -> Callable[[web.Application], AsyncIterator[None]]:
    async def run(app: web.Application) -> AsyncIterator[None]:
        database = await Database.connect(dsn, pooled=settings.is_pooled)
        vault = Vault(settings.gateway_secret_keys)
        metrics = of_process(metrics_folder())
        store = open_store(settings.gateway_media_url, settings.gateway_data)
        media_links = MediaLinks(vault, settings.base_url)
        async with (
            Downloader() as downloader,
            Renderer() as renderer,
            # A cookie from one person's sign-in must not be sent with another's.
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        ):
            files = Files(database, store, media_links, downloader)
            drafting = Drafting(database, renderer, files_at=media_links.start)
            nudge = Nudge(database)
            accepting = Accepting(database, drafting, files, metrics, nudge)
            listener = Listener(database, settings.database_direct_url or dsn)
            keyring = Keyring(database, listener)
            receiving = Receiving(database, vault, metrics, files)
            live = Live(database, listener, render)
            app[SERVICES] = Services(
                settings=settings,
                database=database,
                vault=vault,
                metrics=metrics,
                renderer=renderer,
                keyring=keyring,
                callers=Callers(settings, database, keyring, session),
                drafting=drafting,
                accepting=accepting,
                hook_accounts=HookAccounts(database, vault, settings.provider_api_urls),
                receiving=receiving,
                media_store=store,
                media_links=media_links,
                http=session,
                live=live,
            )
            at_stop = partial(_at_stop, app[IN_FLIGHT], live.stop)
            async with background(
                nudge=nudge.run, listener=listener.run, live=live.run, at_stop=at_stop
            ):
                yield
            await receiving.close()
            await accepting.close()
        metrics.write()
        await database.close()

    return run


async def _at_stop(in_flight: InFlight, stop: Callable[[], None]) -> None:
    await in_flight.stopped()
    stop()


async def _stop(app: web.Application) -> None:
    app[IN_FLIGHT].stop()


async def _name_no_versions(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "gateway"


@web.middleware
async def _counted(request: web.Request, handler: Handler) -> web.StreamResponse:
    in_flight = request.app[IN_FLIGHT]
    with in_flight:
        response = await handler(request)
        if in_flight.stopping:
            # A client that keeps the connection open must go to another process now.
            response.force_close()
        return response


@web.middleware
async def _as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error becomes problem+json, or a page in the inbox; unexpected ones are logged.

    Sends and webhooks are counted here, where the answer and its duration are known.
    """
    started = time.perf_counter()
    try:
        response = await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = await _problem(request, _of_aiohttp(request, error))
    except Exception as error:  # noqa: BLE001 - every request must get an answer
        response = await _problem(request, _of_any(request, error))
    took = time.perf_counter() - started
    if request.match_info.handler is hooks.handle:
        hooks.count(request, response.status, took)
    elif request.match_info.handler == messages.SEND.handle:
        request.app[SERVICES].metrics.accept_took(took)
    return response


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> Problem:
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Problem(413, f"The body is larger than {MAX_BODY} bytes.")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(405, f"{request.method} is not possible here.", headers={"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return Problem(404, "There is nothing at this path; see /openapi.json.")
    return Problem(error.status, error.reason)


def _path(request: web.Request) -> str:
    """The path for the log, without the secret token of one of our links."""
    resource = request.match_info.route.resource
    if resource is not None and "token" in request.match_info:
        return resource.canonical.replace("{token}", "***")
    path: str = storable(request.path)
    return path


def _of_any(request: web.Request, error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, SearchError):
        return invalid([FieldError("q", str(error))])
    if isinstance(error, ConflictError):
        return changed_meanwhile()
    if isinstance(error, web.RequestPayloadError):
        return wrong_coding()
    if isinstance(error, ConnectionResetError):
        # The client left in the middle of the body: nobody reads this answer.
        return Problem(400, "The request ended before its body.")
    if problem := _for_now(request, error):
        return problem
    _log.error("unexpected", path=_path(request), method=request.method, exc_info=error)
    return Problem(500, "The gateway made a mistake; its log has the details. Try again.")


def _for_now(request: web.Request, error: Exception) -> Problem | None:
    """The problem if something that we need is not available now: the request can be repeated."""
    if isinstance(error, BusyError):
        _log.warning("one organization waits for much", path=_path(request))
        text = "Other requests of your organization take too long: try again when they are done."
        return not_now(text)
    if isinstance(error, DatabaseAwayError):
        _log.warning("the database is away", error=str(error), path=_path(request))
        text = next((each for kind, each in _AWAY.items() if isinstance(error, kind)), _NO_ANSWER)
        return not_now(text)
    if isinstance(error, RefusedError):
        _log.error("the database refuses a row", **error.rule, path=_path(request), exc_info=error)
        return refused_by_a_rule()
    if isinstance(error, FullError):
        _log.warning("too much waits", path=_path(request))
        return not_now("Too much waits to be stored: try again.")
    if isinstance(error, VaultError):
        _log.error("credentials do not open", error=str(error), path=_path(request))
        return Problem(503, "The account's credentials cannot be opened: tell the operator.")
    if isinstance(error, MediaStoreError):
        _log.error("files cannot be kept", error=str(error), path=_path(request))
        return not_now("Files cannot be kept now: try again.", 5)
    if isinstance(error, DownloadError):
        _log.warning("a certificate was not had", error=str(error), path=_path(request))
        return Problem(503, "The provider's certificate could not be fetched: try again.")
    return None


async def _problem(request: web.Request, problem: Problem) -> web.Response:
    if is_page(request):
        return await as_page(request, problem)
    return refuse(problem)
