"""The inbox in a real browser: Debian's Chromium, a real server on a real port, a real database.

If Chromium or playwright (extra `browser`) is missing, the tests of this folder are skipped.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from gateway import links
from gateway.config import Settings
from gateway.manage import setup
from gateway.serve import bind, serve_web
from gateway.store import accounts
from gateway.store.database import Database
from gateway.vault import Vault
from tests.conftest import Shared
from tests.service.conftest import KEYS, SECRET, Tenant, database, tenants, tenants_of

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, ViewportSize

__all__ = ["database", "tenants"]

HERE = Path(__file__).resolve().parent
# The headless shell is the same browser without drawing windows, which takes half of the CPU time.
CHROMIUM = next(
    filter(Path.exists, map(Path, ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium"))), None
)
IS_THERE = CHROMIUM is not None and importlib.util.find_spec("playwright") is not None
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE: ViewportSize = {"width": 390, "height": 844}
WIDE: ViewportSize = {"width": 1360, "height": 850}
PATIENCE = 30_000  # milliseconds: a browser beside other tests, on two processors
ONE_LOOP = pytest.mark.asyncio(loop_scope="session")
OWNER = "owner@alpha.example.com"
MEMBER = "member@alpha.example.com"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A gateway that a browser can open, with its settings, database and tenants."""

    url: str
    settings: Settings
    database: Database
    vault: Vault
    a: Tenant
    b: Tenant

    async def link(self, email: str) -> str:
        """The URL of a new link that signs somebody in."""
        async with self.database.as_service() as db:
            row = await accounts.staff_by_email(db, email)
        assert row is not None
        link_id = await setup.new_link(self.database, row["organization_id"], row["auth_id"])
        return links.sign_in_url(
            self.vault, self.settings.base_url, row["organization_id"], link_id
        )

    async def enter(self, page: Page, email: str = OWNER) -> None:
        """Sign somebody in."""
        await page.goto(await self.link(email))
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/inbox")

    async def sent(self) -> list[dict[str, Any]]:
        """The outbound messages of A, sent or not."""
        async with self.database.as_service() as db:
            rows = await db.fetch(
                "SELECT channel, to_address, subject, body, attachments::text FROM messages"
                " WHERE direction = 'outbound' AND organization_id = $1 ORDER BY created_at",
                self.a.organization_id,
            )
        return [dict(row) for row in rows]


@dataclass
class Visitors:
    """Opens pages in contexts of their own, and collects their errors."""

    browser: Browser
    stage: Stage
    stack: AsyncExitStack
    complaints: list[str] = field(default_factory=list)

    async def open(
        self,
        email: str | None = OWNER,
        *,
        phone: bool = False,
        dark: bool = False,
        js: bool = True,
        path: str = "",
        **more: Any,
    ) -> Page:
        """A page in a context of its own, signed in as `email`; None signs nobody in."""
        context = await self.browser.new_context(
            base_url=self.stage.url,
            viewport=PHONE if phone else WIDE,
            has_touch=phone,
            color_scheme="dark" if dark else "light",
            java_script_enabled=js,
            **({"timezone_id": "Europe/London"} | more),
        )
        self.stack.push_async_callback(context.close)
        context.set_default_timeout(PATIENCE)
        page = await context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._request)
        if email is not None:
            await self.stage.enter(page, email)
            if path:
                await page.goto(f"/inbox{path}")
        else:
            await page.goto(f"/inbox{path}")
        return page

    def _console(self, message: Any) -> None:
        # The console also has a line for each answer of 4xx, which tests provoke.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if urlsplit(request.url).netloc not in (urlsplit(self.stage.url).netloc, ""):
            self.complaints.append(f"asked another host: {request.url}")


Axe = Callable[["Page"], Awaitable[None]]
Shot = Callable[["Page", str], Awaitable[None]]


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Mark tests before pytest-asyncio makes the loop's factory a parameter of them, with the scope
    that they have then: with a loop for each test, everything on it would end with the test."""
    metafunc.definition.add_marker(ONE_LOOP, append=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all tests here: the browser's connection belongs to it."""
    for item in items:
        if item.path.is_relative_to(HERE) and pytest_asyncio.is_async_test(item):
            item.add_marker(ONE_LOOP, append=False)


@pytest_asyncio.fixture(loop_scope="session")
async def stage(database: str, tenants: Shared, tmp_path: Path) -> AsyncIterator[Stage]:
    """A running gateway with tenants A and B, as `gateway web` runs it."""
    bound = bind("127.0.0.1", 0)
    settings = Settings(
        database_url=database,
        gateway_data=tmp_path,
        gateway_secret_keys=KEYS,
        supabase_jwt_secret=SECRET,
        port=bound.getsockname()[1],
    )
    pool, vault = await Database.connect(database), Vault(settings.gateway_secret_keys)
    stop, is_ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(serve_web(settings, bound, stop, is_ready.set))
    try:
        a, b = tenants_of(tenants)
        await asyncio.wait_for(is_ready.wait(), 30)
        yield Stage(url=settings.base_url, settings=settings, database=pool, vault=vault, a=a, b=b)
    finally:
        stop.set()
        await serving
        await pool.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium for all tests of this process; each page has a context of its own."""
    if not IS_THERE:
        pytest.skip("needs Debian's chromium-headless-shell (or chromium) and the extra 'browser'")
    from playwright.async_api import async_playwright, expect

    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitors(chromium: Browser, stage: Stage) -> AsyncIterator[Visitors]:
    """Opens pages; in the end none may have had an error or made a request to another host."""
    async with AsyncExitStack() as stack:
        made = Visitors(chromium, stage, stack)
        yield made
    assert made.complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(visitors: Visitors) -> Page:
    """A wide page, signed in as the owner of A."""
    return await visitors.open()


@pytest.fixture
def axe() -> Axe:
    """Asserts that axe finds nothing serious or critical on a page as it is now."""

    async def check(page: Page) -> None:
        from axe_playwright_python.async_playwright import Axe as Runner

        found = await Runner().run(page)
        grave = [
            f"{each['id']}: {each['help']}: {[node['target'] for node in each['nodes']]}"
            for each in found.response["violations"]
            if each["impact"] in ("serious", "critical")
        ]
        assert grave == [], page.url

    return check


@pytest.fixture
def shot() -> Shot:
    """Writes a screenshot to the folder in GATEWAY_SCREENSHOTS, if set (`make screenshots`)."""

    async def take(page: Page, name: str) -> None:
        folder = os.environ.get("GATEWAY_SCREENSHOTS")
        if folder:
            await page.screenshot(path=Path(folder) / f"{name}.png", animations="disabled")

    return take
