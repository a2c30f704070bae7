"""Errors as pages: what went wrong in plain words, what to do next, and a way back."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from gateway.inbox import kept
from gateway.inbox.visit import OlderError, Visit
from gateway.problems import Problem
from gateway.web.services import SERVICES

# Paths of the inbox, with and without that of PUBLIC_URL; none in an application without an inbox.
STARTS: web.AppKey[tuple[str, ...]] = web.AppKey("inbox_starts", tuple)
VISIT: web.RequestKey[Visit] = web.RequestKey("visit", Visit)

_TITLES = {
    400: "That could not be read",
    401: "You are signed out",
    403: "You may not open this",
    404: "There is nothing here",
    405: "That is not possible here",
    409: "Somebody was quicker",
    413: "That is too large",
    422: "Something is not right",
    429: "Too many tries",
    500: "The gateway made a mistake",
    503: "Not available just now",
}
_TOO_LARGE = "All of it together may have 10 MB at most: choose fewer or smaller files."


def is_page(request: web.Request) -> bool:
    """Whether a request is for the inbox, which shows its errors as pages."""
    return any(
        request.path == start or request.path.startswith(f"{start}/")
        for start in request.app.get(STARTS, ())
    )


async def as_page(request: web.Request, problem: Problem) -> web.Response:
    """A problem as a page, with what was typed; for htmx only its text, shown beside the form."""
    visit = request.get(VISIT) or Visit(request, request.app[SERVICES], None)
    template = "error_part.html" if visit.is_fragment else "error.html"
    is_older = isinstance(problem, OlderError)
    title = _TITLES.get(problem.status) or HTTPStatus(problem.status).phrase
    title = "This page is older than your session" if is_older else title
    if problem.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        problem = Problem(problem.status, _TOO_LARGE)
    typed = await kept.beside_error(visit)
    response = visit.page(
        template,
        status=problem.status,
        title=title,
        problem=problem,
        is_older=is_older,
        typed=typed,
        back=_came_from(visit),
    )
    response.headers.update(problem.headers)
    return response


def _came_from(visit: Visit) -> str | None:
    """The page of the inbox that had the form, if a form was sent and failed."""
    page, starts = visit.sent_from, visit.request.app.get(STARTS, ())
    is_ours = any(page.raw_path.startswith(f"{start}/") for start in starts)
    # The host is not checked, because only the path is used.
    return page.raw_path_qs if is_ours and visit.request.method == "POST" else None
