"""A running gateway: web, worker, and the providers' simulator, which plays people, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from gateway import simulator
from gateway.config import Settings
from gateway.demo.organization import PROVIDERS, settle
from gateway.demo.story import MAIL, MAILBOX, NUMBER, PHONE, WHATSAPP, ask
from gateway.serve import bind, serve_web, serve_worker

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

FROM = {"sms": PHONE, "whatsapp": PHONE, "call": PHONE, "email": MAIL}
TO = {"sms": NUMBER, "whatsapp": WHATSAPP, "call": NUMBER, "email": MAILBOX}


@dataclass(frozen=True, kw_only=True)
class Desk:
    """An organization with a sender on every channel, and Ada, who writes and gets messages."""

    url: str
    inbox: str
    api: aiohttp.ClientSession
    simulator: aiohttp.ClientSession
    browser: Browser

    async def hears(self, channel: str, body: str, **more: Any) -> None:
        """Ada writes."""
        said = {"channel": channel, "from": FROM[channel], "to": TO[channel], "body": body}
        answer = await ask(self.simulator, "POST", "/_sim/inbound", said | more)
        assert answer["status"] in (200, 204)

    async def plan(self, **plan: Any) -> None:
        """Plan what happens to the next messages."""
        await ask(self.simulator, "POST", "/_sim/plan", plan)

    async def ada(self) -> None:
        """Create Ada as a lead with a number and a mailbox."""
        lead = {"first_name": "Ada", "last_name": "Lovelace", "phone": PHONE, "email": MAIL}
        await ask(self.api, "POST", "/v1/leads", lead)

    async def enter(self, page: Page) -> None:
        """Sign in."""
        await page.goto(self.inbox)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/inbox")


@asynccontextmanager
async def opened(database: str, folder: Path, browser: Browser) -> AsyncIterator[Desk]:
    """A complete gateway on ports of its own, until the block ends."""
    bound = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    at: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    over, up = asyncio.Event(), asyncio.Event()
    providers = asyncio.create_task(simulator.run("127.0.0.1", 0, at.set_result))
    settings = Settings(
        database_url=database,
        gateway_data=folder,
        gateway_secret_keys=(b"k" * 32,),
        public_url=url,
        provider_api_urls=dict.fromkeys(PROVIDERS, await at),
    )
    serving = [
        asyncio.create_task(serve_web(settings, bound, over, up.set)),
        asyncio.create_task(serve_worker(settings, over)),
    ]
    try:
        await asyncio.wait_for(up.wait(), 30)
        async with aiohttp.ClientSession(await at) as sim:
            settled = await settle(settings, url, sim)
            headers = {"Authorization": f"Bearer {settled.key}"}
            async with aiohttp.ClientSession(url, headers=headers) as api:
                yield Desk(url=url, inbox=settled.inbox, api=api, simulator=sim, browser=browser)
    finally:
        over.set()
        await asyncio.gather(*serving)
        providers.cancel()
        await asyncio.gather(providers, return_exceptions=True)
