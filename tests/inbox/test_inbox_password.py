"""Signing in with the password that Supabase knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config import Settings
from tests.inbox.conftest import Inbox, Shown
from tests.servers import FakeApi, serving
from tests.service.conftest import PUBLIC, SECRET, token

MEMBER = "member@alpha.example.com"
PASSWORD = "s3cret"


@pytest.fixture
async def supabase() -> AsyncIterator[FakeApi]:
    """A server that stands in for Supabase's."""
    async with serving(FakeApi()) as fake:
        yield fake


@pytest.fixture
def settings(database: str, tmp_path: Path, supabase: FakeApi) -> Settings:
    """Settings that name it."""
    return Settings(
        database_url=database,
        gateway_data=tmp_path,
        public_url=PUBLIC,
        gateway_secret_keys=(b"k" * 32,),
        supabase_jwt_secret=SECRET,
        supabase_url=supabase.url,
        supabase_anon_key="the anon key",
    )


async def sign_in(inbox: Inbox, email: str = MEMBER, password: str = PASSWORD) -> Shown:
    """The answer to a password."""
    form = {"email": email, "password": password, "next": "/x"}
    return await inbox.browser().post("/sign-in/password", form)


async def test_a_right_password(inbox: Inbox, supabase: FakeApi) -> None:
    """It goes to Supabase as its own form sends it, and the token that comes back is a session."""
    row = await inbox.staff(MEMBER)
    jwt = token(row["auth_id"], iss=f"{supabase.url}/auth/v1")
    supabase.says(200, json.dumps({"access_token": jwt}))

    shown = await sign_in(inbox)

    ((request, body),) = supabase.asked
    assert ("POST", "/auth/v1/token?grant_type=password", "the anon key") == (
        request.method,
        request.path_qs,
        request.headers["apikey"],
    )
    assert {"email": MEMBER, "password": PASSWORD} == json.loads(body)
    assert (303, "/gw/inbox/x") == (shown.status, shown.location)
    assert ["password"] == [await inbox.value("SELECT method FROM gateway.staff_sessions")]


@pytest.mark.parametrize(
    ("status", "answer", "shown_status"),
    [
        (400, '{"error_code": "invalid_credentials"}', 422),
        (422, "{}", 422),
        (429, "{}", 422),
        (401, "{}", 422),
        (500, "oops", 503),
        (302, "", 503),
        (200, "no json", 503),
        (200, "[]", 503),
        (200, '{"access_token": 1}', 503),
        (200, '{"access_token": "nonsense"}', 422),
    ],
)
async def test_what_supabase_may_answer(
    inbox: Inbox, supabase: FakeApi, status: int, answer: str, shown_status: int
) -> None:
    """A wrong password stands beside its field; whatever else is wrong with Supabase is a 503."""
    supabase.says(status, answer, Location="http://127.0.0.1:1/")

    shown = await sign_in(inbox, password="pass word &")

    assert shown_status == shown.status
    assert not shown.cookies
    assert "pass word" not in shown.text
    if shown_status == 422:
        assert f'value="{MEMBER}"' in shown.text
        assert 'aria-invalid="true"' in shown.text


async def test_a_user_of_supabase_who_is_no_staff(inbox: Inbox, supabase: FakeApi) -> None:
    """The password is right, but nobody here has this id."""
    nobody = "7d9f1a52-0000-4000-8000-000000000000"
    jwt = token(nobody, iss=f"{supabase.url}/auth/v1")
    supabase.says(200, json.dumps({"access_token": jwt}))

    shown = await sign_in(inbox)

    assert 422 == shown.status
    assert "not an active member of staff" in shown.words


@pytest.mark.parametrize(("email", "password"), [("", "x"), ("x", "x"), (MEMBER, "")])
async def test_half_a_form(inbox: Inbox, supabase: FakeApi, email: str, password: str) -> None:
    """Nobody is asked."""
    shown = await sign_in(inbox, email, password)

    assert 422 == shown.status
    assert [] == supabase.asked


async def test_passwords_are_not_guessed(inbox: Inbox, supabase: FakeApi) -> None:
    """After ten tries for one address Supabase is not asked any more."""
    supabase.says(400, "{}")

    tries = await asyncio.gather(*(sign_in(inbox) for _ in range(12)))

    assert [422] * 10 + [429] * 2 == sorted(shown.status for shown in tries)
    assert 10 == len(supabase.asked)


async def test_supabase_is_away(inbox: Inbox, supabase: FakeApi) -> None:
    """It is said as it is, with when to try again."""
    supabase.says(200, "{", Content_Encoding="gzip")

    shown = await sign_in(inbox)

    assert 503 == shown.status
    assert "Supabase does not answer" in shown.words
    assert "5" == shown.headers["Retry-After"]


async def test_the_page_has_every_way(inbox: Inbox) -> None:
    """Password, link and token, each with a heading or summary of its own."""
    shown = await inbox.browser().get("/sign-in")

    for way in ("With your password", "With a link by e-mail", "With an access token"):
        assert way in shown.words
