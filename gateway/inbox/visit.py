"""`Visit`: what each handler of the inbox gets, a request and who is signed in; and its answers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import aiohttp_jinja2
from aiohttp import web
from aiohttp.helpers import parse_mimetype
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import FileField
from multidict import MultiDictProxy
from yarl import URL

from gateway.inbox import assets, guard, session
from gateway.inbox.clock import COOKIE, Clock, clock
from gateway.inbox.forms import Fields
from gateway.inbox.session import Cookie, SignedIn
from gateway.problems import Problem
from gateway.store.database import Staff
from gateway.store.paging import Cursor
from gateway.web.services import SERVICES, Services

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# A Content-Type as browsers and programs send it with a form; without one the form is empty.
_KIND = re.compile(
    r"(?:[\w.+-]++/[\w.+-]++(?:\s*+;\s*+[\w-]++=\"?[\w'+,./:-]{1,100}+\"?){0,4}+)?\s*+", re.ASCII
)
# Marks requests that an open page makes by itself (ask.js, inbox.js).
_BY_ITSELF = "X-By-Itself"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # "no-referrer" would make the Origin of our own forms null.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class OlderError(Problem):
    """The page with the form was made for another session."""

    def __init__(self) -> None:
        super().__init__(
            403,
            "You have signed in again since it was opened: try again, and reload it if that does "
            "not help.",
        )


@dataclass(frozen=True)
class Visit:
    """A request with what its handler needs; `who` is None if nobody is signed in."""

    request: web.Request
    services: Services
    who: SignedIn | None

    @property
    def signed_in(self) -> SignedIn:
        """Who is signed in; raises `Problem` 401 if nobody is."""
        if self.who is None:
            raise Problem(401, "Sign in first.")
        return self.who

    @property
    def staff(self) -> Staff:
        """The caller for the store: everything is read under RLS as this person."""
        return self.signed_in.staff

    @property
    def id(self) -> UUID:
        """The `{id}` of the path; raises `Problem` 404 if it is not a UUID."""
        try:
            return UUID(self.request.match_info["id"])
        except ValueError:
            raise Problem(404, "There is nothing at this address.") from None

    @property
    def is_fragment(self) -> bool:
        """Whether htmx requests a part of a page; for the Back button it requests whole pages."""
        headers = self.request.headers
        return "HX-Request" in headers and "HX-History-Restore-Request" not in headers

    @cached_property
    def clock(self) -> Clock:
        """The clock of this page, in the viewer's zone."""
        theirs = self.request.cookies.get(COOKIE)
        of_organization = self.who.timezone if self.who else None
        return clock(theirs, of_organization, datetime.now(UTC))

    @cached_property
    def cookie(self) -> Cookie:
        """The session's cookie."""
        return Cookie.of(self.services.settings)

    def url(self, path: str = "") -> str:
        """A path of the inbox as the browser needs it: with the path of PUBLIC_URL before it."""
        return inbox_url(self.services, path)

    @property
    def cursor(self) -> Cursor | None:
        """Where the page of a list begins; raises `Problem` 404 for a malformed cursor."""
        given = self.request.query.get("cursor")
        try:
            return Cursor.read(given) if given else None
        except ValueError:
            raise Problem(404, "This list does not begin there.") from None

    @property
    def sent_from(self) -> URL:
        """The page with the form, according to the browser (`Referer`); empty if unknown."""
        try:
            return URL(self.request.headers.get("Referer", ""))
        except ValueError:
            return URL()

    def query(self, **changes: str) -> str:
        """The query of this page with changes: the filters stay."""
        return urlencode({**self.request.query, **changes})

    async def posted(self) -> MultiDictProxy[str | bytes | bytearray | FileField]:
        """The fields of a form, including files; raises `Problem` 400 if it is not a form."""
        try:
            await _check_form(self.request)
            posted = await self.request.post()
            for text in _texts(posted):
                text.encode()  # fails for lone surrogates, from odd charsets or in file names
        # Wrong boundaries, charsets and headers; RuntimeError: an unknown transfer encoding.
        except (ValueError, LookupError, HttpProcessingError, RuntimeError):
            raise Problem(400, "The form cannot be read.") from None
        return posted

    async def form(self) -> Fields:
        """The fields of a form without files; raises `Problem` 400."""
        posted = await self.posted()
        if any(not isinstance(value, str) for value in posted.values()):
            raise Problem(400, "This form takes no files.")
        return posted  # type: ignore[return-value] # checked just now

    def page(
        self,
        template: str,
        status: int = 200,
        *,
        policy: str | None = None,
        **context: Any,  # noqa: ANN401 - anything that a template shows
    ) -> web.Response:
        """A whole page, or a part of one, from a template."""
        response = aiohttp_jinja2.render_template(
            template, self.request, self.context() | context, status=status
        )
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Cookie, HX-Request"
        if policy is not None:
            response.headers["Content-Security-Policy"] = policy
        return response

    def context(self) -> dict[str, Any]:
        """What every template can use."""
        return {
            "visit": self,
            "who": self.who,
            "url": self.url,
            "asset": lambda name: self.url(assets.path_of(name)),
            "clock": self.clock,
            "path": own_path(self.request.path, self.services),
        }

    def redirect(self, path: str, part: str = "", /, **query: str) -> web.Response:
        """Redirect to another page of the inbox, or a part of it, by GET; also for htmx."""
        found = self.url(path)
        if query:
            found += "?" + urlencode(query)
        if part:
            found += f"#{part}"
        if self.is_fragment:
            return web.Response(status=204, headers={"HX-Redirect": found})
        return web.Response(status=303, headers={"Location": found})


async def _check_form(request: web.Request) -> None:
    """Raise `ValueError` unless a multipart form begins with its first part, as browsers send it,
    or if a Content-Type is none that they send: aiohttp takes seconds for an odd one, or fails.

    aiohttp would look for the first part line by line, without any limit. Only one line is read
    here, and put back: if the whole body were read, aiohttp would copy it for each part.
    """
    if _KIND.fullmatch(request.headers.get("Content-Type", "")) is None:
        raise ValueError("no browser sends this type of form")
    if request.content_type != "multipart/form-data" or request._post is not None:  # noqa: SLF001
        return
    boundary = parse_mimetype(request.headers["Content-Type"]).parameters.get("boundary", "")
    start = b"--" + boundary.encode()
    line = await request.content.readline()
    if line.rstrip() not in (start, start + b"--"):
        raise ValueError("the form does not begin with its first part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        request.content.unread_data(line)


def _texts(posted: MultiDictProxy[str | bytes | bytearray | FileField]) -> Iterator[str]:
    """The texts of a form: names, values, and the names and types of files."""
    for name, value in posted.items():
        yield name
        if isinstance(value, FileField):
            yield from (value.filename, value.content_type)
        elif isinstance(value, str):
            yield value


def inbox_url(services: Services, path: str) -> str:
    """A path of the inbox, with the path of PUBLIC_URL before it."""
    return f"{services.settings.prefix}/inbox{path}"


def own_path(path: str, services: Services) -> str:
    """The path of a request below /inbox, whether or not a proxy strips the path of PUBLIC_URL."""
    return path.removeprefix(services.settings.prefix).removeprefix("/inbox")


async def recognised(request: web.Request) -> Visit:
    """A request as a `Visit`, with who is signed in."""
    services = request.app[SERVICES]
    token = Cookie.of(services.settings).token(request)
    is_use = _BY_ITSELF not in request.headers and own_path(request.path, services) != "/live"
    who = await session.recognise(services.database, services.vault, token, is_use=is_use)
    return Visit(request, services, who)


async def check_form(visit: Visit) -> None:
    """Raise `OlderError` unless the form was made for this very session."""
    token = visit.cookie.token(visit.request)
    if visit.who is None or token is None:
        return  # there is no session that another site's page could use
    given = visit.request.headers.get(guard.HEADER)
    if given is None:
        field = (await visit.posted()).get(guard.FIELD, "")
        given = field if isinstance(field, str) else ""
    if not session.is_form_of(visit.services.vault, token, given):
        raise OlderError
