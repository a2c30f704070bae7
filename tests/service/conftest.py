"""A gateway on a real port, with a fresh database and two separate organizations."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import aiohttp
import asyncpg
import jwt
import orjson
import pytest
from aiohttp.test_utils import TestServer

from channels.model import Channel
from gateway.api.openapi import describe
from gateway.app import build_app
from gateway.config import Settings
from gateway.manage import setup
from gateway.media.files import Files
from gateway.media.links import MediaLinks
from gateway.media.store import open_store
from gateway.outside.download import Downloader
from gateway.store.database import Database
from gateway.vault import Vault
from tests.conftest import MakeShared, Shared

if TYPE_CHECKING:
    from tests.service.losses import Connection
    from tests.service.wires import Api

SECRET = "a secret of thirty-two characters or more"
PUBLIC = "https://msg.example.org/gw"
KEYS = (b"k" * 32,)
AUTH_TOKEN = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of the gateway."""

    status: int
    body: Any
    headers: dict[str, str]

    def fields(self) -> dict[str, str]:
        """The fields that a 422 names, with their messages."""
        return {error["field"]: error["message"] for error in self.body["errors"]}


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """An organization with a key, staff, an account and a default sender."""

    organization_id: UUID
    key: str
    test_key: str
    owner_id: UUID
    member_id: UUID
    account_id: UUID
    sender: str

    @cached_property
    def owner(self) -> str:
        """A JWT of the owner, like Supabase's; made when it is first used."""
        return token(self.owner_id)

    @cached_property
    def member(self) -> str:
        """A JWT of a member of staff who is neither owner nor admin."""
        return token(self.member_id)


Tenants = tuple[Tenant, Tenant]


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """The gateway as its callers see it, and its database."""

    url: str
    http: aiohttp.ClientSession
    database: Database
    settings: Settings
    a: Tenant
    b: Tenant

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **more: Any
    ) -> Answer:
        """Make a request with tenant A's API key, or with `key`; an empty one sends none."""
        headers = dict(more.pop("headers", {}))
        token = self.a.key if key is None else key
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            more["json"] = body
        async with self.http.request(method, path, headers=headers, **more) as response:
            raw = await response.read()
            is_json = response.content_type.endswith("json")
            return Answer(
                status=response.status,
                body=await response.json(content_type=None) if is_json and raw else raw.decode(),
                headers=dict(response.headers),
            )

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        async with self.database.as_service() as db:
            found: int = await db.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
        return found


def token(auth_id: UUID | str, secret: str = SECRET, **claims: Any) -> str:
    """A Supabase JWT; a claim that is None is left out."""
    all_claims = {
        "sub": str(auth_id),
        "aud": "authenticated",
        "exp": int(time.time()) + 600,
        **claims,
    }
    kept = {name: value for name, value in all_claims.items() if value is not None}
    return jwt.encode(kept, secret, algorithm="HS256")


async def make_tenant(
    database: Database, vault: Vault, name: str, sender: str, country: str | None = None
) -> Tenant:
    """Make an organization that can send."""
    organization_id = await setup.create_organization(database, name, country=country)
    live = await setup.create_key(database, organization_id, "live", is_test=False)
    test = await setup.create_key(database, organization_id, "test", is_test=True)
    slug = name.lower()
    _, owner = await setup.create_staff(
        database, organization_id, f"owner@{slug}.example.com", "owner"
    )
    _, member = await setup.create_staff(
        database, organization_id, f"member@{slug}.example.com", "member"
    )
    credentials = {"account_sid": "AC" + "a" * 32, "auth_token": AUTH_TOKEN}
    account_id = await setup.add_account(database, vault, organization_id, "twilio", credentials)
    await setup.add_sender(database, account_id, Channel.SMS, sender, is_default=True, rate=None)
    return Tenant(
        organization_id=organization_id,
        key=live.key,
        test_key=test.key,
        owner_id=owner,
        member_id=member,
        account_id=account_id,
        sender=sender,
    )


def files_of(gateway: Gateway, downloader: Downloader | None = None) -> Files:
    """The file store of this gateway, for a worker that a test makes."""
    vault = Vault(gateway.settings.gateway_secret_keys)
    store = open_store(None, gateway.settings.gateway_data)
    return Files(gateway.database, store, MediaLinks(vault, PUBLIC), downloader or Downloader())


async def make_tenants(dsn: str, keys: tuple[bytes, ...]) -> Tenants:
    """Make the tenants A (in Great Britain) and B."""
    database, vault = await Database.connect(dsn), Vault(keys)
    try:
        return (
            await make_tenant(database, vault, "Alpha", "+15551230001", country="GB"),
            await make_tenant(database, vault, "Beta", "+15551230002"),
        )
    finally:
        await database.close()


@pytest.fixture(scope="session")
def tenants(make_shared: MakeShared, template: str) -> Shared:
    """A database with the tenants of `gateway`, and the tenants as JSON."""

    async def made(dsn: str) -> str:
        return orjson.dumps(await make_tenants(dsn, KEYS)).decode()

    return make_shared("tenants", template, made)


def tenants_of(made: Shared) -> Tenants:
    """Tenants A and B, read from the JSON of the shared database."""
    told: list[dict[str, Any]] = orjson.loads(made.said)
    for each in told:
        each |= {name: UUID(of) for name, of in each.items() if name.endswith("_id")}
    a, b = (Tenant(**each) for each in told)
    return a, b


@pytest.fixture
def database(
    request: pytest.FixtureRequest, make_database: Callable[[str], str], template: str
) -> str:
    """The DSN of a new database; if a test has a gateway, with its tenants.

    Copying them takes no time; making them would take a third of the time of a test of one request.
    """
    if {"gateway", "stage"} & set(request.fixturenames):
        template = request.getfixturevalue("tenants").name
    return make_database(template)


@cache
def common_settings() -> Settings:
    """The settings that all gateways share. Made once, because that reads the environment, which
    takes a third of the time of making the gateway."""
    return Settings(public_url=PUBLIC, gateway_secret_keys=KEYS, supabase_jwt_secret=SECRET)


@pytest.fixture
def settings(database: str, tmp_path: Path) -> Settings:
    """Settings of a gateway behind a proxy that strips a path prefix."""
    own = {"database_url": database, "gateway_data": tmp_path}
    return common_settings().model_copy(update=own)


@pytest.fixture
async def gateway(settings: Settings, tenants: Shared) -> AsyncIterator[Gateway]:
    """A running gateway with tenants A (in Great Britain) and B."""
    dsn = str(settings.database_url)
    async with running(settings, dsn, tenants_of(tenants)) as gateway:
        yield gateway


@asynccontextmanager
async def running(settings: Settings, dsn: str, tenants: Tenants) -> AsyncIterator[Gateway]:
    """Run a gateway with these settings and two tenants; the test itself connects to `dsn`."""
    a, b = tenants
    database = await Database.connect(dsn)
    try:
        async with (
            TestServer(build_app(settings)) as server,
            aiohttp.ClientSession(str(server.make_url("/"))) as http,
        ):
            yield Gateway(
                url=str(server.make_url("")),
                http=http,
                database=database,
                settings=settings,
                a=a,
                b=b,
            )
    finally:
        await database.close()


@pytest.fixture
async def owner(gateway: Gateway) -> AsyncIterator[Connection]:
    """A superuser's connection, to delete rows, make them older, or change tables."""
    connection = await asyncpg.connect(str(gateway.settings.database_url))
    yield connection
    await connection.close()


Ask = Callable[..., Awaitable[Answer]]


@pytest.fixture
def ask(gateway: Gateway) -> Ask:
    """Make a request to the gateway, as tenant A."""
    return gateway.ask


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """A server that stands in for every provider's API."""
    from tests.service.wires import running_api

    async with running_api() as made:
        yield made


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The description that /openapi.json serves."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(describe(PUBLIC)))
    return found
