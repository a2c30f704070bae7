"""Signing in with a Supabase password or token, and signing out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from uuid import UUID

import aiohttp
from aiohttp import web

from gateway.inbox import attempts, session
from gateway.inbox.forms import Fields, Findings
from gateway.inbox.visit import Visit
from gateway.observability.logs import logger
from gateway.problems import Problem, not_now
from gateway.store import sessions

_log = logger(__name__)

# PostgreSQL cannot store U+0000 in a text, so no stored address has one.
_ADDRESS = re.compile(r"[^@\s\x00]{1,200}@[^@\s\x00]{1,250}")
_NEXT = re.compile(r"[/?][!-\[\]-~]{0,1000}")
_REFUSED = (400, 401, 403, 422)


async def show(visit: Visit) -> web.StreamResponse:
    """The ways to sign in; somebody who is signed in already is redirected at once."""
    wanted = next_of(visit.request.query.get("next", ""))
    if visit.who is not None:
        return visit.redirect(wanted)
    return page(visit, wanted=wanted, is_bye="bye" in visit.request.query)


async def by_password(visit: Visit) -> web.StreamResponse:
    """Ask Supabase whether the password is right; it is sent there and nowhere else."""
    form = await visit.form()
    wanted, email = next_of(form.get("next", "")), form.get("email", "").strip()
    if _ADDRESS.fullmatch(email) is None or not form.get("password"):
        problem = "Give your e-mail address and your password."
    elif not await attempts.is_allowed(visit, "password", email, of_address=10, of_client=60):
        return too_many(visit, form)
    else:
        try:
            token = await _ask_supabase(visit, email, form["password"])
            staff = await visit.services.callers.by_token(token)
        except Problem as refused:
            if refused.status not in (401, 403):
                raise
            problem = refused.detail
        else:
            return await begin(visit, staff.organization_id, staff.auth_id, "password", wanted)
    return page(visit, status=422, form=form, wanted=wanted, errors={"password": problem})


async def by_token(visit: Visit) -> web.StreamResponse:
    """Exchange a Supabase token for a session: from the form, or as `Bearer` (204)."""
    scheme, _, token = visit.request.headers.get("Authorization", "").partition(" ")
    is_bearer = scheme.lower() == "bearer"
    form = await visit.form()
    given = (token if is_bearer else form.get("access_token", "")).strip()
    wanted = next_of(form.get("next", ""))
    try:
        if not given or not given.isascii():
            raise Problem(401, "Give the token that Supabase gave when you signed in there.")
        staff = await visit.services.callers.by_token(given)
    except Problem as refused:
        if is_bearer or refused.status not in (401, 403):
            raise
        errors = {"access_token": refused.detail}
        return page(visit, status=422, form=form, wanted=wanted, errors=errors)
    response = await begin(visit, staff.organization_id, staff.auth_id, "token", wanted)
    if is_bearer:
        response.set_status(204)
    return response


async def sign_out(visit: Visit) -> web.StreamResponse:
    """End this session, in the database and in the browser."""
    await _end_session(visit)
    response = visit.redirect("/sign-in", bye="1")
    visit.cookie.clear(response)
    return response


async def sign_out_everywhere(visit: Visit) -> web.StreamResponse:
    """End every session of this person, in every browser, and every unused link."""
    staff = visit.staff
    async with visit.services.database.as_service() as db:
        await sessions.end_sessions_of(db, staff.organization_id, staff.auth_id)
    response = visit.redirect("/sign-in", bye="1")
    visit.cookie.clear(response)
    return response


async def begin(
    visit: Visit, organization_id: UUID, auth_id: UUID, method: str, wanted: str
) -> web.Response:
    """Begin a session instead of the one that the browser may have, and redirect to `wanted`."""
    await _end_session(visit)
    async with visit.services.database.as_service() as db:
        token = await session.begin(db, organization_id, auth_id, method)
    return arrived(visit, token, auth_id, method, wanted)


def arrived(visit: Visit, token: str, auth_id: UUID, method: str, wanted: str) -> web.Response:
    """Set the cookie of a new session, and redirect to `wanted`."""
    _log.info("signed in", auth_id=str(auth_id), method=method)
    response = visit.redirect(wanted)
    visit.cookie.set(response, token)
    return response


def page(
    visit: Visit,
    *,
    status: int = 200,
    form: Fields | None = None,
    wanted: str = "",
    errors: Mapping[str, str] | None = None,
    is_bye: bool = False,
) -> web.Response:
    """The page with the available ways to sign in, and with what was typed, except secrets."""
    settings = visit.services.settings
    return visit.page(
        "sign_in.html",
        status=status,
        has_password=bool(settings.supabase_url and settings.supabase_anon_key),
        has_token=bool(settings.supabase_url or settings.supabase_jwt_secret),
        email=form.get("email", "") if form else "",
        wanted=wanted,
        errors=Findings(errors or {}),
        is_bye=is_bye,
    )


def too_many(visit: Visit, form: Fields) -> web.Response:
    """The page for somebody who tried too often."""
    text = f"Too many tries. Wait {attempts.SECONDS // 60} minutes and try again."
    wanted = next_of(form.get("next", ""))
    response = page(visit, status=429, form=form, wanted=wanted, errors={"all": text})
    response.headers["Retry-After"] = str(attempts.SECONDS)
    return response


def is_address(text: str) -> bool:
    """Whether a text has the form of an e-mail address."""
    return _ADDRESS.fullmatch(text) is not None


def next_of(text: str) -> str:
    """The path below /inbox to go to after sign-in; the first page for any other text."""
    return text if _NEXT.fullmatch(text) else ""


async def _end_session(visit: Visit) -> None:
    token = visit.cookie.token(visit.request)
    if token:
        async with visit.services.database.as_service() as db:
            await sessions.end_session(db, session.digest(token))


async def _ask_supabase(visit: Visit, email: str, password: str) -> str:
    """The access token for a password (https://supabase.com/docs/reference/self-hosting-auth).

    Raises `Problem` 401, and 503 if Supabase does not answer.
    """
    settings = visit.services.settings
    away = not_now("Supabase does not answer: try again.", 5)
    if not settings.supabase_url or not settings.supabase_anon_key:
        raise Problem(404, "This gateway has no sign-in with a password.")
    try:
        async with visit.services.http.post(
            f"{settings.supabase_url}/auth/v1/token",
            params={"grant_type": "password"},
            json={"email": email, "password": password},
            headers={"apikey": settings.supabase_anon_key},
            timeout=aiohttp.ClientTimeout(total=10),
            allow_redirects=False,
        ) as response:
            if response.status in _REFUSED:
                raise Problem(401, "This address and this password do not belong together.")
            if response.status == 429:
                raise Problem(401, "Supabase has seen too many tries: wait a minute.")
            if response.status != 200:
                _log.error("Supabase refuses sign-ins", status=response.status)
                raise away
            answer = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        _log.error("Supabase cannot be asked", error=type(error).__name__)
        raise away from None
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str):
        raise away
    return token
