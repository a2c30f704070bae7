"""Sessions: a random token in a cookie, and its digest in the database, read with each request.

A session ends with sign-out, after 12 hours without a request, and after 7 days in any case.
Requests that an open page makes by itself do not count: otherwise an unused session would not end.
Somebody who is no longer active staff is signed out with their next request.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from aiohttp import web

from gateway.config import Settings
from gateway.ids import new_id
from gateway.store import sessions
from gateway.store.database import Connection, Database, Staff
from gateway.store.sessions import StaffSession
from gateway.vault import Vault

LONGEST = 7 * 86400
IDLE = 12 * 3600
_PURPOSE = "inbox form"


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedIn:
    """A member of staff who is signed in; `csrf` is the token in the forms of this session."""

    staff: Staff
    email: str
    name: str
    organization: str
    timezone: str | None
    csrf: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cookie:
    """The name and path of the session's cookie, which depend on PUBLIC_URL."""

    name: str
    path: str
    is_secure: bool

    @classmethod
    def of(cls, settings: Settings) -> Cookie:
        """Named `__Host-...` if possible: no other host can set that, but it needs the path /."""
        parts = urlsplit(settings.base_url)
        if parts.scheme != "https":
            return cls(name="gateway_session", path=f"{parts.path}/inbox", is_secure=False)
        if parts.path:
            return cls(name="__Secure-gateway_session", path=f"{parts.path}/inbox", is_secure=True)
        return cls(name="__Host-gateway_session", path="/", is_secure=True)

    def token(self, request: web.Request) -> str | None:
        """The token in the cookie of a request."""
        return request.cookies.get(self.name)

    def set(self, response: web.StreamResponse, token: str) -> None:
        """Set the cookie, for as long as a session can last."""
        response.set_cookie(
            self.name,
            token,
            max_age=LONGEST,
            path=self.path,
            httponly=True,
            samesite="Lax",
            secure=self.is_secure,
        )

    def clear(self, response: web.StreamResponse) -> None:
        """Delete the cookie."""
        response.del_cookie(
            self.name, path=self.path, httponly=True, samesite="Lax", secure=self.is_secure
        )


async def begin(db: Connection, organization_id: UUID, auth_id: UUID, method: str) -> str:
    """Begin a session, as `service_role`; returns its token."""
    token = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    session = StaffSession(organization_id, new_id(), auth_id)
    await sessions.insert_session(db, session, digest(token), method=method, seconds=LONGEST)
    return token


async def recognise(
    database: Database, vault: Vault, token: str | None, *, is_use: bool = True
) -> SignedIn | None:
    """Whose session this is; None if it is not valid, or the person is no longer active staff.

    `is_use`: the request comes from a person, not from an open page by itself.
    """
    if not token or not token.isascii():
        return None
    async with database.as_service() as db:
        session = await sessions.find_session(db, digest(token), idle=IDLE, is_use=is_use)
    if session is None:
        return None
    async with database.as_claims(session.auth_id) as db:
        me = await sessions.me(db, session.auth_id)
    if me is None or me["organization_id"] != session.organization_id:
        async with database.as_service() as db:
            await sessions.end_session(db, digest(token))
        return None
    return _signed_in(session, me, vault.sign(_PURPOSE, digest(token), 32).hex())


def is_form_of(vault: Vault, token: str, given: str) -> bool:
    """Whether a form was made for the session of this token."""
    try:
        mac = bytes.fromhex(given)
    except ValueError:
        return False
    return len(mac) == 32 and vault.is_signed(_PURPOSE, digest(token), mac)


def digest(token: str) -> bytes:
    """What is stored of a token: tokens are random, so a plain hash cannot be reversed."""
    return hashlib.sha256(token.encode()).digest()


def _signed_in(session: StaffSession, me: dict[str, Any], csrf: str) -> SignedIn:
    return SignedIn(
        staff=Staff(
            id=me["id"],
            auth_id=session.auth_id,
            organization_id=session.organization_id,
            role=me["role"],
        ),
        email=me["email"],
        name=me["full_name"] or me["email"],
        organization=me["organization"],
        timezone=me["timezone"] if isinstance(me["timezone"], str) else None,
        csrf=csrf,
    )
