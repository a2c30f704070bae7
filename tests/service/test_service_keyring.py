"""API keys that web processes keep for seconds, and what makes them forget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from gateway.api import keyring as module
from gateway.api.keyring import Keyring
from gateway.manage.setup import create_key, create_organization
from gateway.store import accounts
from gateway.store.database import ApiKey, Connection, Database
from gateway.store.errors import DatabaseAwayError
from gateway.store.listener import Listener
from gateway.store.listening import hear
from tests.cli.shell import until

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

LookUp = Callable[[Connection, Any], Awaitable[Any]]


@dataclass(kw_only=True)
class Door:
    """A keyring with one key, and how often the database was asked for it."""

    database: Database
    listener: Listener
    keyring: Keyring
    key: str
    asked: int = 0
    listening: list[asyncio.Task[None]] = field(default_factory=list)

    async def listen(self) -> None:
        """From now on it hears of changes."""
        self.listening.append(asyncio.create_task(self.listener.run()))
        await until(lambda: self.listener.hears)

    async def find(self) -> ApiKey | None:
        """The key, if it is one."""
        return await self.keyring.find(self.key)

    async def change(self, statement: str) -> None:
        """Another program's statement."""
        async with self.database.as_service() as db:
            await db.execute(statement)


@pytest.fixture
async def door(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    """An organization with a key."""
    store = await Database.connect(database)
    listener = Listener(store, database)
    organization_id = await create_organization(store, "Org")
    made = await create_key(store, organization_id, "crm", is_test=False)
    door = Door(database=store, listener=listener, keyring=Keyring(store, listener), key=made.key)
    look_up: LookUp = accounts.api_keys_by_prefix

    async def counted(db: Connection, prefixes: Any) -> Any:
        door.asked += 1
        return await look_up(db, prefixes)

    monkeypatch.setattr(accounts, "api_keys_by_prefix", counted)
    yield door
    for task in door.listening:
        task.cancel()
    await asyncio.gather(*door.listening, return_exceptions=True)
    await store.close()


async def test_a_key_is_kept(door: Door) -> None:
    """Whoever hears of changes asks once for a key, and once more after some seconds."""
    await door.listen()
    found = [await door.find() for _ in range(3)]
    assert found[0] is not None
    assert [found[0]] * 3 == found
    assert 1 == door.asked


async def test_a_key_is_kept_for_seconds(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is asked for once more after its time, and nothing grows beyond its bound."""
    await door.listen()
    monkeypatch.setattr(module, "_KEPT", 0.0)
    assert None is not await door.find()
    assert None is not await door.find()
    assert 2 == door.asked

    monkeypatch.setattr(module, "_KEPT", 60.0)
    monkeypatch.setattr(module, "_MOST", 1)
    other = await create_key(door.database, (await door.find()).organization_id, "b", is_test=True)  # type: ignore[union-attr]
    assert None is not await door.keyring.find(other.key)
    assert None is not await door.find()
    assert 5 == door.asked


async def test_who_hears_nothing_asks_each_time(door: Door) -> None:
    """Without a connection that listens no key is kept, and none any more once it is lost."""
    for _ in range(2):
        assert None is not await door.find()
    assert 2 == door.asked

    await door.listen()
    for _ in range(2):
        assert None is not await door.find()
    assert 3 == door.asked
    await door.change(
        """RESET ROLE; SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN %'"""
    )
    await until(lambda: not door.listener.hears)
    assert None is not await door.find()
    assert 4 == door.asked
    await until(lambda: door.listener.hears)
    for _ in range(2):
        assert None is not await door.find()
    assert 5 == door.asked


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE gateway.api_keys SET revoked_at = now()",
        "DELETE FROM gateway.api_keys",
        "DELETE FROM organizations",
        "RESET ROLE; TRUNCATE gateway.api_keys CASCADE",
    ],
)
async def test_a_kept_key_that_is_revoked(door: Door, change: str) -> None:
    """Whoever revokes a key, and however, it is none as soon as that is heard."""
    await door.listen()
    assert None is not await door.find()
    await door.change(change)

    async def is_none() -> bool:
        return await door.find() is None

    await until(is_none, 4.0)  # shorter than a key is kept


async def test_statements_that_change_no_key(door: Door) -> None:
    """Who would revoke what is not there makes nobody forget the keys of others."""
    await door.listen()
    heard: list[int] = []
    door.listener._heard["gateway_keys"] = [lambda _: heard.append(1)]
    await door.change("UPDATE gateway.api_keys SET revoked_at = now() WHERE name = 'none'")
    await door.change("UPDATE gateway.api_keys SET revoked_at = now()")
    await until(lambda: heard)
    await door.change("SELECT pg_notify('gateway_keys', 'the last')")
    await until(lambda: len(heard) > 1)
    assert 2 == len(heard)


async def test_a_key_that_changes_while_it_is_looked_up(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before a change that is heard before the answer comes is kept by nobody, nor
    what was read before anything could be heard."""
    look_up: LookUp = accounts.api_keys_by_prefix

    async def late(db: Connection, prefixes: Any) -> Any:
        found = await look_up(db, prefixes)
        await door.listen()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "api_keys_by_prefix", late)
        assert None is not await door.find()
    assert None is not await door.find()
    assert 2 == door.asked

    async def forgetful(db: Connection, prefixes: Any) -> Any:
        found = await look_up(db, prefixes)
        door.keyring.forget()
        return found

    door.keyring.forget()
    monkeypatch.setattr(accounts, "api_keys_by_prefix", forgetful)
    assert None is not await door.find()
    assert None is not await door.find()
    assert 4 == door.asked


async def test_another_database(door: Door, database: str) -> None:
    """Who listens where no change of ours is told hears nothing, whatever is notified there."""
    other = urlsplit(database)._replace(path="/postgres").geturl()
    hearing = asyncio.Event()
    with pytest.raises(DatabaseAwayError, match="no notifications of this database"):
        await hear(other, hearing, {}, door.listener._notify, patience=0.3)
    assert not hearing.is_set()


async def test_an_address_that_cannot_be_used(
    door: Door, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the direct address is said once, and no key is kept."""
    for dsn in ("postgresql://[::1/x", "postgresql://127.0.0.1:9/x", "postgresql://" + "a" * 70):
        listener = Listener(door.database, dsn)
        running = asyncio.create_task(listener.run())
        said = ""
        while "no connection hears of changes" not in said:
            await asyncio.sleep(0.05)
            said += "".join(capfd.readouterr())
        assert not running.done()
        assert not listener.hears
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notifications that are on their way for ever."""

    async def wait(_: Listener) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Listener, "run", wait)
    monkeypatch.setattr(Listener, "hears", property(lambda _: True))


@pytest.mark.usefixtures("nothing_comes")
async def test_whoever_revokes_forgets_first(gateway: Gateway, ask: Ask) -> None:
    """The process that revokes a key does not wait for the notification of that."""
    made = await ask("POST", "/v1/api-keys", {"name": "crm"}, key=gateway.a.owner)
    answers = [await ask("GET", "/v1/messages", key=made.body["key"]) for _ in range(2)]
    assert [200, 200] == [answer.status for answer in answers]
    revoked = await ask("DELETE", f"/v1/api-keys/{made.body['id']}", key=gateway.a.owner)
    after = await ask("GET", "/v1/messages", key=made.body["key"])
    assert (204, 401) == (revoked.status, after.status)
