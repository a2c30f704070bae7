"""The inbox over HTTP: a gateway with two organizations, and browsers that keep cookies."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from http.cookies import SimpleCookie
from io import BytesIO
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from multidict import CIMultiDict

from gateway import links
from gateway.config import Settings
from gateway.manage import setup
from gateway.vault import Vault
from tests.inbox.talk import Talk
from tests.service.conftest import Gateway, api, ask, database, gateway, settings, tenants

__all__ = ["api", "ask", "database", "gateway", "settings", "tenants"]

ORIGIN = "https://msg.example.org"
PREFIX = "/gw"
CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An answer with a page."""

    status: int
    text: str
    headers: CIMultiDict[str]
    cookies: SimpleCookie

    @property
    def location(self) -> str:
        """Where it redirects to."""
        return self.headers.get("Location", "")

    @property
    def words(self) -> str:
        """The text that a person reads, on one line."""
        body = re.sub(r"<(script|style)\b.*?</\1>", " ", self.text, flags=re.DOTALL)
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


@dataclass
class Browser:
    """Keeps cookies and sends headers as a browser behind the proxy does."""

    http: aiohttp.ClientSession
    cookies: dict[str, str] = field(default_factory=dict)
    csrf: str = ""

    async def get(self, path: str, **headers: str) -> Shown:
        """Open a page of the inbox."""
        return await self._ask("GET", path, None, headers)

    async def post(
        self, path: str, fields: Mapping[str, str] | None = None, **headers: str
    ) -> Shown:
        """Send a form of our own page."""
        given = {"csrf": self.csrf, **(fields or {})} if self.csrf else dict(fields or {})
        return await self._ask("POST", path, given, {"Origin": ORIGIN, **headers})

    async def raw(self, path: str, body: bytes | BytesIO, **headers: str) -> Shown:
        """Send a body unchanged."""
        return await self._ask("POST", path, body, {"Origin": ORIGIN, **headers})

    async def _ask(
        self,
        method: str,
        path: str,
        fields: dict[str, str] | bytes | BytesIO | None,
        headers: dict[str, str],
    ) -> Shown:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with self.http.request(
            method, "/inbox" + path, data=fields, headers=sent, allow_redirects=False
        ) as response:
            text = await response.text()
            shown = Shown(
                status=response.status,
                text=text,
                headers=CIMultiDict(response.headers),
                cookies=response.cookies,
            )
        for name, morsel in shown.cookies.items():
            if morsel["max-age"] == "0" or not morsel.value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value
        if found := CSRF.search(text):
            self.csrf = found[1]
        return shown


@dataclass(frozen=True)
class Inbox:
    """The inbox of a gateway."""

    gateway: Gateway
    settings: Settings
    http: aiohttp.ClientSession

    @property
    def vault(self) -> Vault:
        """The vault that signs its links."""
        return Vault(self.settings.gateway_secret_keys)

    def browser(self) -> Browser:
        """A browser in which nobody is signed in."""
        return Browser(self.http)

    async def staff(self, email: str) -> dict[str, Any]:
        """The row of a member of staff."""
        async with self.gateway.database.as_service() as db:
            row = await db.fetchrow("SELECT * FROM auth_users WHERE email = $1", email)
        return dict(row or {})

    async def change(self, statement: str, *values: Any) -> None:
        """Change what is stored, as the operator could."""
        async with self.gateway.database.as_service() as db:
            await db.execute(statement, *values)

    async def value(self, statement: str, *values: Any) -> Any:
        """One value from the database."""
        async with self.gateway.database.as_service() as db:
            return await db.fetchval(statement, *values)

    async def link(self, email: str) -> str:
        """The path below /inbox of a new link that signs somebody in."""
        row = await self.staff(email)
        organization_id: UUID = row["organization_id"]
        link_id = await setup.new_link(self.gateway.database, organization_id, row["auth_id"])
        url = links.sign_in_url(self.vault, self.settings.base_url, organization_id, link_id)
        return url.partition("/inbox")[2]

    async def signed_in(self, email: str = "owner@alpha.example.com") -> Browser:
        """A browser in which somebody is signed in."""
        browser = self.browser()
        shown = await browser.post(await self.link(email))
        assert shown.status == 303
        await browser.get("")
        return browser


@pytest.fixture
async def inbox(gateway: Gateway, settings: Settings) -> AsyncIterator[Inbox]:
    """The inbox of a gateway behind a proxy that strips a path prefix."""
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(gateway.url, cookie_jar=jar) as http:
        yield Inbox(gateway, settings, http)


@pytest.fixture
def talk(inbox: Inbox) -> Talk:
    """Somebody talks with tenant A."""
    return Talk(inbox)


@pytest.fixture
async def browser(inbox: Inbox) -> Browser:
    """A member of A, signed in."""
    return await inbox.signed_in("member@alpha.example.com")
