"""Connections to mail servers: kept for a short while, and shared by the mails of an account."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache

from aiosmtplib import SMTP, SMTPStatus
from aiosmtplib.errors import SMTPException, SMTPHeloError, SMTPResponseException

from channels.errors import RefusedForNow
from channels.http import Limits
from channels.model import Account
from channels.names import OwnThreads
from channels.smtp_replies import cannot_connect

PORT = 587
IDLE_SECONDS, GOODBYE_SECONDS, CONNECTIONS = 30.0, 2.0, 8


@dataclass(slots=True)
class Pool:
    """The idle connections of one account in one event loop, and how many there may be in all."""

    slots: asyncio.Semaphore
    idle: list[tuple[float, SMTP]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None

    def keep(self, client: SMTP) -> None:
        """Put a connection aside for the next mail, for a while."""
        self.idle.append((time.monotonic(), client))
        if self.timer is None:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(IDLE_SECONDS, self.sweep)

    def sweep(self) -> None:
        """Close what nobody has used for too long."""
        self.timer = None
        held, now = list(self.idle), time.monotonic()
        self.idle[:] = [each for each in held if now - each[0] < IDLE_SECONDS]
        for since, client in held:
            if now - since >= IDLE_SECONDS:
                client.close()
        if self.idle:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(IDLE_SECONDS, self.sweep)


@dataclass(frozen=True, kw_only=True, slots=True)
class Connections:
    """The connections of all accounts; `close` when no more is sent."""

    limits: Limits = field(default_factory=Limits)
    tls_context: ssl.SSLContext | None = None
    pools: dict[tuple[asyncio.AbstractEventLoop, str], Pool] = field(
        default_factory=dict, repr=False
    )
    names: dict[asyncio.AbstractEventLoop, OwnThreads] = field(default_factory=dict, repr=False)

    @asynccontextmanager
    async def connection(self, account: Account) -> AsyncIterator[SMTP]:
        """A connection that answers, put back afterwards unless something went wrong on it.

        Raises `RefusedForNow` where the others are busy for so long that a mail would have too
        little of its time left.
        """
        pool = self._pool(account)
        async with self._slot(pool):
            client = await self._idle(pool) or await self._connect(account)
            try:
                yield client
            except SMTPResponseException as error:
                if error.code == SMTPStatus.domain_unavailable:
                    client.close()
                raise
            except BaseException:
                client.close()
                raise
            finally:
                if client.is_connected:
                    pool.keep(client)

    @asynccontextmanager
    async def _slot(self, pool: Pool) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.limits.connect):
                await pool.slots.acquire()
        except TimeoutError as error:
            text = "All connections to the mail server are busy with other mails."
            raise RefusedForNow(text, code="busy_server") from error
        try:
            yield
        finally:
            pool.slots.release()

    def _pool(self, account: Account) -> Pool:
        """By account and credentials: changed ones must not send over the old connection."""
        told = "\0".join(f"{name}={value}" for name, value in sorted(account.credentials.items()))
        digest = hashlib.sha256(f"{account.api_url}\0{told}".encode(errors="replace")).hexdigest()
        for loop, name in [each for each in self.pools if each[0].is_closed()]:
            del self.pools[loop, name]
        place = (asyncio.get_running_loop(), f"{account.id}:{digest}")
        return self.pools.setdefault(place, Pool(asyncio.Semaphore(CONNECTIONS)))

    async def _idle(self, pool: Pool) -> SMTP | None:
        """A kept connection on which the server still answers; the stale ones are closed."""
        while pool.idle:
            since, client = pool.idle.pop()
            if time.monotonic() - since > IDLE_SECONDS:
                client.close()
                continue
            try:
                await client.rset(timeout=self.limits.connect)
            except (SMTPException, OSError):
                client.close()
            except BaseException:  # the time of the send is over: nobody else knows of it any more
                client.close()
                raise
            else:
                return client
        return None

    async def _connect(self, account: Account) -> SMTP:
        held = account.credentials
        tls = held.get("tls", "starttls")
        client = SMTP(
            hostname=held.get("host", ""),
            use_tls=tls == "tls",
            start_tls=tls == "starttls",
            tls_context=self.tls_context,
            timeout=self.limits.total,
            local_hostname=_own_name(),
        )
        try:
            async with asyncio.timeout(self.limits.connect):
                reached = await self._reach(held.get("host", ""), int(held.get("port", PORT)))
                await client.connect(sock=reached)
                await _greet(client)
            if held.get("username"):
                await client.login(held["username"], held.get("password", ""))
                await _greet(client)
        except asyncio.CancelledError:
            client.close()
            raise
        except (SMTPException, OSError, ValueError) as error:
            client.close()
            raise cannot_connect(error) from error
        return client

    async def _reach(self, host: str, port: int) -> socket.socket:
        """A connected socket; raises `OSError`.

        Names are looked up apart from the event loop's own threads, which the way back to the
        database needs as well: a few mail servers' names that nobody answers for held them all.
        """
        loop = asyncio.get_running_loop()
        for ended in [each for each in self.names if each.is_closed()]:
            await self.names.pop(ended).close()
        names = self.names.setdefault(loop, OwnThreads())
        failure = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in await names.addresses(host, port):
            one = socket.socket(family, kind, protocol)
            try:
                one.settimeout(0)
                await loop.sock_connect(one, address)
            except OSError as error:
                one.close()
                failure = error
            except BaseException:
                one.close()
                raise
            else:
                return one
        raise failure

    async def close(self) -> None:
        """Say goodbye on every idle connection of this event loop."""
        here = asyncio.get_running_loop()
        for place in [each for each in self.pools if each[0] is here]:
            pool = self.pools.pop(place)
            if pool.timer is not None:
                pool.timer.cancel()
            for _, client in pool.idle:
                await _part(client)
        if here in self.names:
            await self.names.pop(here).close()


async def _greet(client: SMTP) -> None:
    """Ask what the server can do, where that is not known (any more)."""
    if client.is_ehlo_or_helo_needed:
        try:
            await client.ehlo()
        except SMTPHeloError:
            await client.helo()


async def _part(client: SMTP) -> None:
    try:
        async with asyncio.timeout(GOODBYE_SECONDS):
            await client.quit()
    except (SMTPException, OSError):
        pass
    finally:
        client.close()


@cache
def _own_name() -> str:
    """Our name for EHLO; without asking the DNS, which can take long and tells no more."""
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9.-]{1,253}", name) else "localhost"
