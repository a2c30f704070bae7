"""Who may call: API keys and Supabase JWTs."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.api.auth import Callers
from gateway.api.keyring import Keyring
from gateway.config import Settings
from gateway.manage.setup import create_organization, create_staff
from gateway.problems import Problem
from gateway.store.database import Database, Staff
from gateway.store.listener import Listener
from tests.service.conftest import SECRET, token

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway


BAD: list[str | None] = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Basic dTpw",
    "Bearer gw_live_unknown",
    "Bearer gw_live_" + "A" * 43,
    "Bearer gw_",
    "Bearer a.b.c",
    "Bearer \u00fc",
]


async def test_no_or_bad_credentials(ask: Ask) -> None:
    """Without good credentials every path of /v1 answers 401 and says how."""
    asked = (("GET", "/v1/messages"), ("POST", "/v1/messages"), ("GET", "/v1/leads"))
    for authorization, (method, path) in product(BAD, asked):
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = await ask(method, path, key="", headers=headers)
        assert 401 == answer.status, (authorization, path)
        assert "Bearer" == answer.headers["WWW-Authenticate"]
        assert "detail" in answer.body


async def test_key_with_the_right_prefix_and_wrong_rest(gateway: Gateway, ask: Ask) -> None:
    """The look-up prefix of a key opens nothing."""
    wrong = gateway.a.key[:16] + "A" * (len(gateway.a.key) - 16)

    assert 401 == (await ask("GET", "/v1/messages", key=wrong)).status


async def test_bad_claims(ask: Ask) -> None:
    """A token for another audience, past its time, or without a user is no token."""
    cases: tuple[dict[str, Any], ...] = (
        {"aud": "anon"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"sub": "no-uuid"},
        {"sub": None},
        {"exp": "soon"},
    )
    for claims in cases:
        answer = await ask("GET", "/v1/messages", key=token(uuid4(), **claims))
        assert 401 == answer.status, claims


async def test_an_issuer_whose_clock_is_before_ours(gateway: Gateway, ask: Ask) -> None:
    """A token that was issued a few seconds from now, by our clock, is as good as any other; one
    that says that it is not to be used yet is none."""
    async with gateway.database.as_service() as db:
        auth_id = await db.fetchval("SELECT auth_id FROM auth_users WHERE role = 'owner' LIMIT 1")
    soon = int(time.time()) + 30

    issued = await ask("GET", "/v1/messages", key=token(auth_id, iat=soon))
    not_yet = await ask("GET", "/v1/messages", key=token(auth_id, nbf=soon))

    assert (200, 401) == (issued.status, not_yet.status)


async def test_forged_tokens(ask: Ask) -> None:
    """A token of another secret, of no algorithm, or of a public key that nobody set is refused."""
    claims = {"sub": str(uuid4()), "aud": "authenticated", "exp": int(time.time()) + 60}
    key = ec.generate_private_key(ec.SECP256R1())
    for forged in (
        token(uuid4(), secret="another secret of thirty-two characters"),
        jwt.encode(claims, key="", algorithm="none"),
        jwt.encode(claims, key, algorithm="ES256", headers={"kid": "1"}),
        jwt.encode(claims, SECRET.ljust(64, "x"), algorithm="HS512"),
    ):
        assert 401 == (await ask("GET", "/v1/messages", key=forged)).status


async def test_staff(gateway: Gateway, ask: Ask) -> None:
    """Active staff act in their organization; anybody else with a good token is 403."""
    sms = {"channel": "sms", "to": "+447700900123", "body": "x"}
    sent = await ask("POST", "/v1/messages", sms, key=gateway.a.member)
    seen = await ask("GET", f"/v1/messages/{sent.body['id']}", key=gateway.a.owner)
    hidden = await ask("GET", f"/v1/messages/{sent.body['id']}", key=gateway.b.owner)
    stranger = await ask("GET", "/v1/messages", key=token(uuid4()))

    assert (202, 200, 404, 403) == (sent.status, seen.status, hidden.status, stranger.status)

    async with gateway.database.as_service() as db:
        await db.execute("UPDATE auth_users SET is_active = false WHERE email LIKE 'member@alpha%'")
    assert 403 == (await ask("GET", "/v1/messages", key=gateway.a.member)).status


@dataclass
class Issuer:
    """A Supabase that publishes its keys."""

    url: str = ""
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)
    asked: int = 0
    broken: bool = False

    def add(self, key_id: str) -> None:
        self.keys[key_id] = ec.generate_private_key(ec.SECP256R1())

    def sign(self, key_id: str, auth_id: object, **claims: Any) -> str:
        body = {
            "sub": str(auth_id),
            "aud": "authenticated",
            "exp": int(time.time()) + 60,
            "iss": f"{self.url}/auth/v1",
            **claims,
        }
        return jwt.encode(body, self.keys[key_id], algorithm="ES256", headers={"kid": key_id})

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.broken:
            return web.Response(status=500)
        published = []
        for key_id, key in self.keys.items():
            jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
            published.append(jwk | {"kid": key_id, "use": "sig", "alg": "ES256"})
        return web.json_response({"keys": published})


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer on a real port with one key."""
    made = Issuer()
    made.add("one")
    app = web.Application()
    app.router.add_get("/auth/v1/.well-known/jwks.json", made.answer)
    async with TestServer(app) as server:
        made.url = str(server.make_url("")).rstrip("/")
        yield made


async def test_published_keys(issuer: Issuer, database: str) -> None:
    """Tokens of the issuer's keys are good, its keys are fetched once and kept; others are not."""
    store = await Database.connect(database)
    organization_id = await create_organization(store, "Org")
    _, auth_id = await create_staff(store, organization_id, "a@example.com", "admin")
    settings = Settings(database_url=database, supabase_url=issuer.url, supabase_jwt_secret=SECRET)
    async with aiohttp.ClientSession() as session:
        callers = Callers(settings, store, Keyring(store, Listener(store, database)), session)
        for _ in range(3):
            caller = await callers.recognise(f"Bearer {issuer.sign('one', auth_id)}")
            assert isinstance(caller, Staff)
            expected = (auth_id, organization_id, "admin")
            assert expected == (caller.auth_id, caller.organization_id, caller.role)
        assert 1 == issuer.asked

        issuer.add("two")
        for bad in (
            issuer.sign("two", auth_id),  # published since a moment ago: asked again later
            issuer.sign("one", auth_id, iss="https://else.where"),
            issuer.sign("one", auth_id, aud="anon"),
            token(auth_id),  # the legacy secret, without the issuer
            jwt.encode({"sub": str(auth_id)}, "x" * 32, algorithm="HS256", headers={"kid": "one"}),
        ):
            with pytest.raises(Problem) as refused:
                await callers.recognise(f"Bearer {bad}")
            assert 401 == refused.value.status
        assert 1 == issuer.asked
        legacy = token(auth_id, iss=f"{issuer.url}/auth/v1")
        assert isinstance(await callers.recognise(f"Bearer {legacy}"), Staff)
    await store.close()


async def test_issuer_that_does_not_answer(issuer: Issuer, database: str) -> None:
    """Without the issuer's keys nobody can be judged: 503, and not 401."""
    issuer.broken = True
    store = await Database.connect(database)
    async with aiohttp.ClientSession() as session:
        settings = Settings(database_url=database, supabase_url=issuer.url)
        callers = Callers(settings, store, Keyring(store, Listener(store, database)), session)
        with pytest.raises(Problem) as refused:
            await callers.recognise(f"Bearer {issuer.sign('one', uuid4())}")
    await store.close()
    assert 503 == refused.value.status
