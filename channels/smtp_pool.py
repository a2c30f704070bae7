"""Connections to mail servers: kept open for a short while, and shared by an account's mails."""

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
    """Seconds for each phase: a server may scan a mail for minutes before it answers
    (RFC 5321 §4.5.3.2). Before the content leaves, giving up only costs another attempt.

    `connect`: to wait for a free connection, to look up and connect, and for an idle connection to
    answer; `greeting`: including TLS and EHLO; `command`: for each answer; `begin`: for all of
    these together. `content`: to send a small mail (a large one has longer); `answer`: to wait for
    the server's answer to it.
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
    """The idle connections of one account in one event loop, and a limit for all of them."""

    slots: asyncio.Semaphore
    idle: list[tuple[float, SMTP]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None

    def keep(self, client: SMTP) -> None:
        """Keep a connection for the next mail, for a while."""
        self.idle.append((time.monotonic(), client))
        if self.timer is None:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(IDLE_SECONDS, self.sweep)

    def sweep(self) -> None:
        """Close the connections that have been idle for too long."""
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
    """The connections of all accounts; call `close` when nothing more is sent."""

    limits: SmtpLimits = field(default_factory=SmtpLimits)
    tls_context: ssl.SSLContext | None = None
    pools: dict[tuple[asyncio.AbstractEventLoop, str], Pool] = field(
        default_factory=dict, repr=False
    )
    names: dict[asyncio.AbstractEventLoop, OwnThreads] = field(default_factory=dict, repr=False)

    @asynccontextmanager
    async def connection(self, account: Account) -> AsyncIterator[SMTP]:
        """A connection that answers; it is kept afterwards unless something went wrong on it.

        Raises `Busy` if none is free for so long that too little time would be left for the mail.
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
        """The pool of an account and its credentials: with new ones no old connection is used."""
        told = "\0".join(f"{name}={value}" for name, value in sorted(account.credentials.items()))
        digest = hashlib.sha256(f"{account.api_url}\0{told}".encode(errors="replace")).hexdigest()
        for loop, name in [each for each in self.pools if each[0].is_closed()]:
            del self.pools[loop, name]
        place = (asyncio.get_running_loop(), f"{account.id}:{digest}")
        return self.pools.setdefault(place, Pool(asyncio.Semaphore(CONNECTIONS)))

    async def _idle(self, pool: Pool) -> SMTP | None:
        """An idle connection on which the server still answers; stale ones are closed."""
        while pool.idle:
            since, client = pool.idle.pop()
            if time.monotonic() - since > IDLE_SECONDS:
                client.close()
                continue
            try:
                await client.rset(timeout=self.limits.connect)
            except (SMTPException, OSError):
                client.close()
            except BaseException:  # cancelled: nobody else has this connection any more
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

        Names are not looked up in the event loop's own threads: reconnecting to the database needs
        these, and a few mail servers' names that do not resolve would occupy them all.
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
        """Quit and close every idle connection of this event loop."""
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
    """Turn on TCP keepalive: a connection is silent while a server scans a mail, and routers forget
    it after minutes; nor would we learn otherwise that the server is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_SECONDS)


async def _greet(client: SMTP) -> None:
    """Ask which extensions the server has, unless we know that already."""
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
    """Our name for EHLO, without a DNS look-up, which can take long and tells no more."""
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9.-]{1,253}", name) else "localhost"
