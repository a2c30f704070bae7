"""Every path of the inbox, in one table, and the steps around each handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import aiohttp_jinja2
import jinja2
from aiohttp import web

from gateway.config import Settings
from gateway.inbox import assets, errors, guard, kept, sign_in, sign_in_link, words
from gateway.inbox.admin import senders, suppressions, templates
from gateway.inbox.session import SignedIn
from gateway.inbox.talk import actions, begin, composer, contact, files, live, page, why
from gateway.inbox.visit import HEADERS, OlderError, Visit, check_form, own_path, recognised
from gateway.problems import Problem

Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A page or an action: `path` is below /inbox; `is_open`: also for people not signed in."""

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    is_open: bool = False
    admin: bool = False


def _admin(path: str, show: Handler, act: Handler | None = None) -> Iterator[Route]:
    yield Route(method="GET", path=path, handler=show, admin=True)
    if act is not None:
        yield Route(method="POST", path=path, handler=act, admin=True)


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="", handler=page.home),
    Route(method="GET", path="/live", handler=live.events),
    Route(method="GET", path="/c/{id}", handler=page.show),
    Route(method="GET", path="/c/{id}/found", handler=page.found),
    Route(method="POST", path="/c/{id}/compose", handler=composer.part),
    Route(method="POST", path="/measure", handler=composer.measure),
    Route(method="POST", path="/c/{id}/reply", handler=composer.reply),
    Route(method="POST", path="/c/{id}/read", handler=actions.read),
    Route(method="POST", path="/c/{id}/change", handler=actions.change),
    Route(method="GET", path="/c/{id}/link", handler=contact.ask_link),
    Route(method="POST", path="/c/{id}/link", handler=contact.link),
    Route(method="POST", path="/c/{id}/unlink", handler=contact.unlink),
    Route(method="GET", path="/c/{id}/merge", handler=contact.ask_merge),
    Route(method="POST", path="/c/{id}/merge", handler=contact.merge),
    Route(method="POST", path="/c/{id}/suppress", handler=contact.suppress),
    Route(method="POST", path="/c/{id}/lift", handler=contact.lift),
    Route(method="GET", path="/new", handler=begin.find),
    Route(method="GET", path="/to/{kind}/{id}", handler=begin.show),
    Route(method="POST", path="/to/{kind}/{id}/compose", handler=composer.part),
    Route(method="POST", path="/to/{kind}/{id}/reply", handler=composer.reply),
    Route(method="POST", path="/to/{kind}/{id}/suppress", handler=contact.suppress),
    Route(method="POST", path="/to/{kind}/{id}/lift", handler=contact.lift),
    Route(method="GET", path="/m/{id}", handler=page.message),
    Route(method="GET", path="/m/{id}/why", handler=why.show),
    Route(method="GET", path="/m/{id}/mail", handler=files.mail),
    Route(method="GET", path="/m/{id}/text", handler=files.text),
    Route(method="POST", path="/m/{id}/cancel", handler=actions.cancel),
    Route(method="POST", path="/m/{id}/retry", handler=actions.retry),
    Route(method="GET", path="/media/{id}", handler=files.file),
    Route(method="GET", path="/sign-in", handler=sign_in.show, is_open=True),
    Route(method="POST", path="/sign-in/link", handler=sign_in_link.ask, is_open=True),
    Route(method="POST", path="/sign-in/password", handler=sign_in.by_password, is_open=True),
    Route(method="POST", path="/session", handler=sign_in.by_token, is_open=True),
    Route(method="GET", path="/link/{token}", handler=sign_in_link.show, is_open=True),
    Route(method="POST", path="/link/{token}", handler=sign_in_link.use, is_open=True),
    Route(method="POST", path="/sign-out", handler=sign_in.sign_out, is_open=True),
    Route(method="POST", path="/sign-out-everywhere", handler=sign_in.sign_out_everywhere),
    *_admin("/templates", templates.show),
    *_admin("/templates/new", templates.new, templates.create),
    *_admin("/templates/{id}", templates.one, templates.change),
    *_admin("/templates/{id}/delete", templates.ask_delete, templates.delete),
    *_admin("/senders", senders.show),
    *_admin("/senders/new", senders.new, senders.add),
    *_admin("/senders/{id}", senders.one, senders.change),
    *_admin("/senders/{id}/delete", senders.ask_delete, senders.delete),
    *_admin("/suppressions", suppressions.show),
    *_admin("/suppressions/new", suppressions.new, suppressions.add),
    *_admin("/suppressions/{id}", suppressions.one, suppressions.lift),
)


_SIGNED_OUT = (
    "Your session has ended. Sign in beside this page, and come back to it: what you have written "
    "stays here."
)


def add_inbox(app: web.Application, settings: Settings) -> None:
    """Add every path, both with and without the path of PUBLIC_URL: a proxy may strip that."""
    pages = aiohttp_jinja2.setup(
        app,
        loader=jinja2.PackageLoader("gateway.inbox"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.globals["nav"] = nav
    pages.filters["sentence"] = words.sentence
    pages.filters["field_name"] = words.field_name
    pages.globals["channel_words"] = words.CHANNELS
    app.on_response_prepare.append(_hardened)
    app[errors.STARTS] = tuple(f"{start}/inbox" for start in settings.starts)
    for start in settings.starts:
        app.router.add_get(start + "/inbox/static/{digest}/{name:.+}", assets.serve)
        for route in ROUTES:
            methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
            for method in methods:
                app.router.add_route(method, f"{start}/inbox{route.path}", _bound(route))
        app.router.add_route("*", start + "/inbox/{rest:.*}", _nothing)


def nav(who: SignedIn) -> list[tuple[str, str]]:
    """The pages in the navigation of this person, in order: path below /inbox, and name."""
    shown = [("", "Conversations")]
    if who.staff.may_administer:
        shown += [
            ("/templates", "Templates"),
            ("/senders", "Senders"),
            ("/suppressions", "Suppressions"),
        ]
    return shown


def _bound(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        visit = await recognised(request)
        request[errors.VISIT] = visit
        if visit.who is None and not route.is_open:
            return await _to_sign_in(visit)
        if request.method not in guard.SAFE:
            guard.check_origin(visit.services.settings, request)
            try:
                await check_form(visit)
            except OlderError as problem:
                if visit.is_fragment:
                    raise
                return await kept.older(visit, problem)
        if route.admin and not visit.staff.may_administer:
            raise Problem(403, "Only an owner or admin of your organization may open this page.")
        return await route.handler(visit)

    return handle


async def _to_sign_in(visit: Visit) -> web.StreamResponse:
    """Redirect to the sign-in page, which leads back to the requested page.

    If only a fragment was requested, the page stays, with what is written on it; if a form was
    sent, what was written is given back. The cookie is not cleared: if this answer is late, the
    person may have signed in again, and the browser would lose the new cookie.
    """
    request = visit.request
    response: web.Response
    if visit.is_fragment:
        response = await errors.as_page(request, Problem(401, _SIGNED_OUT))
    elif request.method not in guard.SAFE:
        response = await kept.signed_out(visit)
    else:
        wanted = own_path(request.path, visit.services)
        if request.query_string:
            wanted += f"?{request.query_string}"
        response = visit.redirect("/sign-in", **({"next": wanted} if wanted else {}))
    return response


async def _nothing(request: web.Request) -> web.StreamResponse:
    visit = await recognised(request)
    request[errors.VISIT] = visit
    if visit.who is None:
        return await _to_sign_in(visit)
    if own_path(request.path, visit.services) == "/":
        return visit.redirect("")
    raise Problem(404, "There is no page at this address.")


async def _hardened(request: web.Request, response: web.StreamResponse) -> None:
    if errors.is_page(request):
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
