"""Signing in with a link that works once: requested here, sent by the gateway as an e-mail.

The page that somebody wanted is kept in a cookie, for when they open the link in that browser.

Only the link's id is stored; the link itself is made when the mail leaves
(docs/decisions/0016-sign-in-links-rest-nowhere.md). Opening it changes nothing, because mail
scanners open every link; the button on its page signs in.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from aiohttp import web

from channels.model import Channel
from gateway import links, sign_in_mail
from gateway.inbox import attempts, session
from gateway.inbox.sign_in import arrived, is_address, next_of, page, too_many
from gateway.inbox.visit import Visit
from gateway.manage.setup import new_link
from gateway.observability.logs import logger
from gateway.problems import Problem
from gateway.shapes.messages import SendRequest
from gateway.sign_in_mail import LINK_SECONDS
from gateway.store import accounts, sessions
from gateway.store.database import Staff

_log = logger(__name__)

_TAKES = 0.5
_WANTED = "gateway_next"


async def ask(visit: Visit) -> web.StreamResponse:
    """Send a link to a member of staff; the answer does not tell whether there is one."""
    form = await visit.form()
    email, wanted = form.get("email", "").strip(), next_of(form.get("next", ""))
    if not is_address(email):
        text = "Give your whole e-mail address, as name@example.org."
        return page(visit, status=422, form=form, wanted=wanted, errors={"email": text})
    if not await attempts.is_allowed(visit, "link", email, of_address=5, of_client=30):
        return too_many(visit, form)
    await asyncio.gather(_send(visit, email), asyncio.sleep(_TAKES))
    response = visit.page("link_sent.html", email=email, minutes=LINK_SECONDS // 60)
    if wanted:
        response.set_cookie(
            _WANTED,
            quote(wanted),
            max_age=LINK_SECONDS,
            path=visit.url(),
            httponly=True,
            samesite="Lax",
            secure=visit.cookie.is_secure,
        )
    elif _WANTED in visit.request.cookies:  # of an earlier request whose link was not used
        response.del_cookie(_WANTED, path=visit.url())
    return response


async def show(visit: Visit) -> web.StreamResponse:
    """The page behind a link: who it is for, and the button."""
    organization_id, link_id = _named(visit)
    async with visit.services.database.as_service() as db:
        found = await sessions.find_link(db, organization_id, link_id)
    if found is None:
        return _over(visit)
    return visit.page("link_use.html", found=found, token=visit.request.match_info["token"])


async def use(visit: Visit) -> web.StreamResponse:
    """Begin a session; no link of this person can be used any more."""
    organization_id, link_id = _named(visit)
    old = visit.cookie.token(visit.request)
    async with visit.services.database.as_service() as db:
        found = await sessions.find_link(db, organization_id, link_id)
        auth_id = await sessions.use_link(db, organization_id, link_id)
        if found is None or auth_id is None:
            return _over(visit)
        await sessions.end_links_of(db, organization_id, auth_id)
        if old:
            await sessions.end_session(db, session.digest(old))
        token = await session.begin(db, organization_id, auth_id, "link")
    wanted = next_of(unquote(visit.request.cookies.get(_WANTED, "")))
    response = arrived(visit, token, auth_id, "link", wanted)
    if wanted:
        response.del_cookie(_WANTED, path=visit.url())
    return response


async def _send(visit: Visit, email: str) -> None:
    """Send a link for each organization that has this mailbox, however each spells the address.

    If one cannot be sent, the others are still tried; then the first error is raised.
    """
    async with visit.services.database.as_service() as db:
        auth_ids = await accounts.staff_of_mailbox(db, email)
    found = [(auth_id, await _active(visit, auth_id)) for auth_id in auth_ids]
    active = [(auth_id, me) for auth_id, me in found if me is not None]
    if not active:
        _log.info("a link was asked for nobody")
    sending = (_send_one(visit, auth_id, me) for auth_id, me in active)
    for error in await asyncio.gather(*sending, return_exceptions=True):
        if error is not None:
            raise error


async def _send_one(visit: Visit, auth_id: UUID, me: dict[str, Any]) -> None:
    services = visit.services
    staff = Staff(
        id=me["id"],
        auth_id=auth_id,
        organization_id=me["organization_id"],
        role=me["role"],
    )
    link_id = await new_link(services.database, staff.organization_id, staff.auth_id)
    # Sent to the stored address, never to the one that was typed.
    request = SendRequest.model_construct(
        channel=Channel.EMAIL,
        to=me["email"],
        subject=sign_in_mail.SUBJECT,
        body=sign_in_mail.text(me["organization"], me["email"]),
        options={"unsubscribe": False},
        priority="high",
        expires_at=datetime.now(UTC) + timedelta(seconds=LINK_SECONDS),
        metadata={"purpose": "sign-in"},
    )
    try:
        await services.accepting.accept_sign_in(staff, request, link_id)
    except Problem as problem:
        # The answer must not tell, so only the operator's log says why.
        _log.warning(
            "no link was sent",
            organization_id=str(staff.organization_id),
            fields=[error.field for error in problem.errors],
        )


async def _active(visit: Visit, auth_id: UUID) -> dict[str, Any] | None:
    async with visit.services.database.as_claims(auth_id) as db:
        return await sessions.me(db, auth_id)


def _named(visit: Visit) -> tuple[UUID, UUID]:
    named = links.read_sign_in(visit.services.vault, visit.request.match_info["token"])
    if named is None:
        raise Problem(404, "This link is not complete: open it from the e-mail itself.")
    return named


def _over(visit: Visit) -> web.Response:
    return visit.page("link_over.html", status=410)
