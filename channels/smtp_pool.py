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

from channels.errors import Busy
from channels.model import Account
from channels.names import OwnThreads
from channels.smtp_replies import cannot_connect

# https://www.rfc-editor.org/rfc/rfc8314#section-7.3 and rfc6409#section-3.1
PORT, TLS_PORT = 587, 465
IDLE_SECONDS, GOODBYE_SECONDS, CONNECTIONS = 30.0, 2.0, 8
KEEP_ALIVE_SECONDS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class SmtpLimits:
    """Seconds of each phase: a server may scan a mail for minutes before it says what became of it
    (RFC 5321 §4.5.3.2). Before the content leaves, giving up costs no more than another attempt.

    `connect`: for a free connection, for name and TCP, for an idle one to answer; `greeting`: with
    TLS and EHLO; `command`: for each answer; `begin`: for all of these together. `content`: for a
    small mail to leave (a large one has longer); `answer`: to say what became of it.
    """

    connect: float = 5.0
    greeting: float = 30.0
    command: float = 60.0
    begin: float = 120.0
    content: float = 60.0
    answer: float = 600.0

    @property
    def total(self) -> float:
        """How long a small mail may take in all."""
        return self.begin + self.content + self.answer


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

    limits: SmtpLimits = field(default_factory=SmtpLimits)
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
            raise Busy(text, code="busy_server") from error
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
            timeout=self.limits.command,
            local_hostname=_own_name(),
        )
        try:
            async with asyncio.timeout(self.limits.connect):
                port = held.get("port", TLS_PORT if tls == "tls" else PORT)
                reached = await self._reach(held.get("host", ""), int(port))
            async with asyncio.timeout(self.limits.greeting):
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
                _keep_alive(one)
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


def _keep_alive(connection: socket.socket) -> None:
    """Let it say now and then that it is there: routers forget what is silent for minutes, as it is
    while a server scans a mail, and of a server that is gone nothing else would tell."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_SECONDS)


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
