"""If a form cannot be accepted, the answer shows what was typed, so that it can be copied.

Without JavaScript a page is gone once its form is sent, and the browser does not keep it
(`Cache-Control: no-store`): the texts would be lost if the answer did not have them.
"""

from __future__ import annotations

from aiohttp import web

from gateway.inbox import guard
from gateway.inbox.admin.template_form import BOXES
from gateway.inbox.visit import Visit
from gateway.problems import Problem

# Fields that people write into; the others are choices, or hidden.
_WRITTEN = (
    *("body", "subject", "to", "send_at", "content", "description", "note"),
    *("name", "category", "tags", "address"),
)
_GROUPS = ("variables.", "options.")


async def signed_out(visit: Visit) -> web.Response:
    """The page if the session has ended: what was typed, and where to sign in in another tab."""
    guard.check_origin(visit.services.settings, visit.request)
    typed = await _typed(visit)
    if not typed:
        return visit.redirect("/sign-in")
    return visit.page(
        "kept.html",
        status=401,
        title="You are signed out",
        detail="Your session ended before this was sent: nothing of it was stored or sent.",
        typed=typed,
    )


async def older(visit: Visit, problem: Problem) -> web.Response:
    """The page if the form was made for another session: what was typed.

    Raises `problem` if nothing was typed.
    """
    typed = await _typed(visit)
    if not typed:
        raise problem
    return visit.page(
        "kept.html",
        status=problem.status,
        title="This page was older than your session",
        detail="You have signed in again since it was opened: nothing of it was stored or sent.",
        typed=typed,
    )


async def beside_error(visit: Visit) -> dict[str, str]:
    """What was typed, for the page of an error; empty if no form was sent.

    Also empty for a fragment, because the form stays on the page.
    """
    settings, headers = visit.services.settings, visit.request.headers
    if visit.request.method in guard.SAFE or visit.is_fragment:
        return {}
    if not guard.is_own(settings, headers.get("Sec-Fetch-Site"), headers.get("Origin")):
        return {}
    try:
        return await _typed(visit)
    except (Problem, web.HTTPException, web.RequestPayloadError, OSError):
        return {}  # the error that came before is the one to report


async def _typed(visit: Visit) -> dict[str, str]:
    posted = await visit.posted()
    return {
        name: value
        for name, value in posted.items()
        if isinstance(value, str)
        and value.strip()
        and (name in _WRITTEN or name.startswith(_GROUPS))
        and name not in BOXES
    }
