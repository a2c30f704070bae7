"""`gateway demo`: the whole way of a message on real parts, and nothing leaves the machine.

Its own PostgreSQL, the providers' simulator, web and worker, in one process that ends with it.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import aiohttp
from rich.console import Console
from rich.table import Table

from channels.model import Channel
from gateway import setup, simulator
from gateway.config import Settings
from gateway.registry import webhook_urls
from gateway.runtime import database_of
from gateway.serve import bind, serve_web, serve_worker, stop_on_signals
from gateway.store.database import Database
from gateway.vault import Vault

_TO = "+15557654321"
_SENDER = "+15551230001"
_PATIENCE = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stage:
    """What the demo plays on."""

    organization_id: UUID
    api: aiohttp.ClientSession
    simulator: aiohttp.ClientSession
    key: str
    url: str
    simulator_url: str


async def run_demo(
    settings: Settings, *, once: bool, port: int, out: Console, err: Console
) -> bool:
    """Play the conversation, print it, and serve on unless `once`; whether all went well."""
    stop = stop_on_signals()
    with err.status("Starting PostgreSQL ...") as status:
        async with _stage(settings, 0 if once else port, status.update) as stage:
            status.update("Sending a message through the simulator ...")
            try:
                conversation = await asyncio.wait_for(_play(stage), _PATIENCE)
            except (TimeoutError, _NotAsPlannedError) as error:
                status.stop()
                out.print(f"The demo did not come to its end: {error or 'it took too long'}")
                return False
            status.stop()
            await _tell(stage, conversation, out)
            if not once:
                _invite(stage, out)
                await stop.wait()
    return True


class _NotAsPlannedError(Exception):
    """An answer that the demo did not expect."""


@asynccontextmanager
async def _stage(
    settings: Settings,
    port: int,
    say: Any,  # noqa: ANN401 - rich's update
) -> AsyncIterator[_Stage]:
    own = settings.model_copy(
        update={"gateway_data": settings.gateway_data / "demo", "database_url": None}
    )
    bound = bind("127.0.0.1", port)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    at: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()
    async with database_of(own) as found:
        say("Starting simulator, web and worker ...")
        providers = asyncio.create_task(simulator.run("127.0.0.1", 0, at.set_result))
        ready = found.model_copy(
            update={"public_url": url, "provider_api_urls": {"twilio": await at}}
        )
        up = asyncio.Event()
        serving = [
            asyncio.create_task(serve_web(ready, bound, over, up.set)),
            asyncio.create_task(serve_worker(ready, over)),
        ]
        try:
            await asyncio.wait_for(up.wait(), _PATIENCE)
            organization_id, key = await _organization(ready, url, at.result())
            headers = {"Authorization": f"Bearer {key}"}
            async with (
                aiohttp.ClientSession(url, headers=headers) as api,
                aiohttp.ClientSession(at.result()) as sim,
            ):
                yield _Stage(
                    organization_id=organization_id,
                    api=api,
                    simulator=sim,
                    key=key,
                    url=url,
                    simulator_url=at.result(),
                )
        finally:
            over.set()
            await asyncio.gather(*serving, return_exceptions=True)
            providers.cancel()
            await asyncio.gather(providers, return_exceptions=True)


async def _organization(settings: Settings, url: str, simulator_url: str) -> tuple[UUID, str]:
    """A new organization with everything it needs, the simulator told of its account."""
    database = await Database.connect(str(settings.database_url), size=2)
    try:
        organization_id = await setup.create_organization(
            database, "Riverside Clinic", country="US"
        )
        made = await setup.create_key(database, organization_id, "demo", is_test=False)
        credentials = {
            "account_sid": f"AC{secrets.token_hex(16)}",
            "auth_token": secrets.token_hex(16),
        }
        account_id = await setup.add_account(
            database, Vault(settings.gateway_secret_keys), organization_id, "twilio", credentials
        )
        await setup.add_sender(
            database, account_id, Channel.SMS, _SENDER, is_default=True, rate=None
        )
    finally:
        await database.close()
    webhooks = webhook_urls(url, "twilio", account_id)
    async with aiohttp.ClientSession(simulator_url) as session:
        await _ask(
            session,
            "POST",
            "/_sim/accounts",
            {"provider": "twilio", **credentials, "webhooks": webhooks},
        )
    return organization_id, made.key


async def _play(stage: _Stage) -> list[dict[str, Any]]:
    await _ask(
        stage.api,
        "POST",
        "/v1/leads",
        {"first_name": "Ada", "last_name": "Lovelace", "phone": "(555) 765-4321"},
    )
    await _ask(
        stage.api,
        "POST",
        "/v1/templates",
        {
            "name": "appointment",
            "type": "sms",
            "content": "Hi {{ name }}, your appointment is on {{ day }} at {{ time }}. "
            "Reply YES to confirm.",
        },
    )
    sent = await _ask(
        stage.api,
        "POST",
        "/v1/messages",
        {
            "channel": "sms",
            "to": _TO,
            "template": "appointment",
            "variables": {"name": "Ada", "day": "Monday", "time": "9:30"},
        },
    )
    await _until(stage, sent["id"], "delivered")
    await _ask(
        stage.simulator,
        "POST",
        "/_sim/inbound",
        {"channel": "sms", "from": _TO, "to": _SENDER, "body": "YES, see you then 👋"},
    )
    thanks = await _ask(
        stage.api,
        "POST",
        "/v1/messages",
        {"channel": "sms", "to": _TO, "body": "Thank you, Ada. See you on Monday!"},
    )
    await _until(stage, thanks["id"], "delivered")
    listed = await _ask(stage.api, "GET", f"/v1/messages?address={_TO.replace('+', '%2B')}")
    conversation: list[dict[str, Any]] = listed["data"]
    if not any(message["direction"] == "inbound" for message in conversation):
        raise _NotAsPlannedError("the reply did not arrive")
    return list(reversed(conversation))


async def _until(stage: _Stage, message_id: str, status: str) -> None:
    while True:
        message = await _ask(stage.api, "GET", f"/v1/messages/{message_id}")
        if message["status"] == status:
            return
        if message["status"] in ("failed", "canceled"):
            raise _NotAsPlannedError(f"{message['status']}: {message['error_message']}")
        await asyncio.sleep(0.02)


async def _tell(stage: _Stage, conversation: list[dict[str, Any]], out: Console) -> None:
    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_column(style="dim")
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for message in conversation:
        inbound = message["direction"] == "inbound"
        at = datetime.fromisoformat(message["created_at"]).astimezone()
        who = "Ada Lovelace" if inbound else "Riverside Clinic"
        table.add_row(f"{at:%H:%M:%S}", f"{who} ({message['channel']})", message["body"])
        events = await _ask(stage.api, "GET", f"/v1/messages/{message['id']}/events")
        table.add_row("", "", f"[dim]{_way(message, events['data'])}[/dim]")
    out.print()
    out.print(table)
    out.print()
    out.print(
        "All of this went over HTTP: through the API, a provider's API (simulated), and its signed "
        "webhooks."
    )


def _way(message: dict[str, Any], events: list[dict[str, Any]]) -> str:
    """`accepted → sending → sent → delivered in 0.3 s`: each status once, as it was reached."""
    begun = datetime.fromisoformat(message["created_at"])
    steps: list[str] = []
    last = begun
    for event in reversed(events):
        if event["status"] and event["status"] not in steps:
            steps.append(event["status"])
            last = datetime.fromisoformat(event["recorded_at"])
    seconds = (last - begun).total_seconds()
    way = " → ".join(steps)
    return way if len(steps) == 1 else f"{way}   in {seconds:.2f} s"


def _invite(stage: _Stage, out: Console) -> None:
    out.print(f"\nThe gateway answers at [bold]{stage.url}[/bold]; try it while it runs:\n")
    command = "gateway" if shutil.which("gateway") else sys.argv[0]
    out.print(f"  export GATEWAY_URL={stage.url} GATEWAY_API_KEY={stage.key}", markup=False)
    out.print(f"  export SIMULATOR_URL={stage.simulator_url}", markup=False)
    out.print(f"  {command} send --channel sms --to '{_TO}' --body 'Hello' --wait", markup=False)
    out.print(
        '  curl -s "$GATEWAY_URL/v1/messages" -H "Authorization: Bearer $GATEWAY_API_KEY"',
        markup=False,
    )
    out.print(f"  {stage.url}/docs   the API, to read and to try\n", markup=False)
    out.print("Ctrl-C ends it.")


async def _ask(
    session: aiohttp.ClientSession, method: str, path: str, body: object = None
) -> dict[str, Any]:
    async with session.request(method, path, json=body) as response:
        answer = await response.json(content_type=None) if response.status != 204 else {}
        if response.status >= 400:
            raise _NotAsPlannedError(f"{method} {path} answered {response.status}: {answer}")
        result: dict[str, Any] = answer
        return result
