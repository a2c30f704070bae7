"""SMTP, the send half: mails through the organization's own mail server (RFC 5321, 3207, 4954).

Connections are kept for a short while and shared by the messages of an account. The external id
is our own Message-ID, which bounces bring back; the reply's queue id is only a hint. Until the
content has begun to leave nothing was sent; after that a lost connection leaves it unknown.
STARTTLS that is wanted and not offered is a refusal, never plain text. With a key, mails are
signed (DKIM, RFC 6376; the extra [dkim]). There is no way to ask a server what it took.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Final

from aiosmtplib import SMTP, SMTPStatus
from aiosmtplib.errors import (
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from channels import mime
from channels.errors import (
    AnswerLost,
    CannotAsk,
    InvalidCredentials,
    Refused,
    RefusedForNow,
    SendError,
)
from channels.http import Limits
from channels.model import Account, Outbound, Sent

if TYPE_CHECKING:
    import aiohttp

PORT = 587
IDLE_SECONDS, GOODBYE_SECONDS, CONNECTIONS = 30.0, 2.0, 8
DOT = re.compile(rb"(?m)^\.")
TLS = ("starttls", "tls", "none")

CREDENTIALS: Final = {
    "host": re.compile(r"[A-Za-z0-9._:-]{1,253}"),
    "port": re.compile(r"[0-9]{1,5}"),
    "username": re.compile(r"[^\x00-\x1f\x7f]{1,256}"),
    "password": re.compile(r"[^\x00-\x1f\x7f]{1,1024}"),
    "tls": re.compile("|".join(TLS)),
    "dkim_domain": re.compile(r"[A-Za-z0-9.-]{1,253}"),
    "dkim_selector": re.compile(r"[A-Za-z0-9._-]{1,63}"),
    "dkim_private_key": re.compile(
        r"-----BEGIN [A-Z ]{0,9}PRIVATE KEY-----[\sA-Za-z0-9+/=]{1,16384}"
        r"-----END [A-Z ]{0,9}PRIVATE KEY-----"
    ),
}
TOGETHER: Final = (
    ("username", "password"),
    ("dkim_domain", "dkim_selector", "dkim_private_key"),
)
SIGNED: Final = (
    b"from", b"to", b"reply-to", b"subject", b"date", b"message-id", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"list-unsubscribe",
    b"list-unsubscribe-post",
)  # fmt: skip

ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
# https://www.iana.org/assignments/smtp-enhanced-status-codes and RFC 5321 §4.2.3
REASONS: Final = {
    "5.1.1": "The recipient's mailbox does not exist.",
    "5.1.2": "The domain of the recipient's address does not exist.",
    "5.1.3": "The recipient's address is not valid.",
    "5.1.6": "The recipient's mailbox has moved and is no longer there.",
    "5.1.7": "The sender's address is not valid.",
    "5.1.8": "The sender's domain is not accepted.",
    "5.1.10": "The recipient's domain takes no mail.",
    "5.2.1": "The recipient's mailbox is disabled.",
    "5.2.2": "The recipient's mailbox is full.",
    "5.2.3": "The mail is larger than the recipient's limit.",
    "5.3.4": "The mail is larger than the mail server takes.",
    "5.7.0": "The mail server does not let this account send the mail.",
    "5.7.1": "The mail server refuses the mail by its policy.",
    "530": "The mail server wants a user name and password, or an encrypted connection.",
    "550": "The mail server refuses the recipient.",
    "551": "The mail server does not take mail for the recipient.",
    "552": "The mail is too large, or the recipient's mailbox is full.",
    "553": "The mail server does not accept the address.",
    "554": "The mail server refuses the mail.",
}


def validate_credentials(given: Mapping[str, str]) -> dict[str, str]:
    """The credentials, empty ones left out; raises `InvalidCredentials` with every problem."""
    problems = [
        (name, "is not a name that SMTP accounts have") for name in given.keys() - CREDENTIALS
    ]
    values = {name: given[name].strip() for name in CREDENTIALS if given.get(name, "").strip()}
    for name, value in values.items():
        if CREDENTIALS[name].fullmatch(value) is None:
            problems.append((name, "has characters, or a length, that it cannot have"))
    if "host" not in values:
        problems.append(("host", "is missing"))
    if values.get("port", "").isdigit() and not 0 < int(values["port"]) < 65536:
        problems.append(("port", "is not between 1 and 65535"))
    for names in TOGETHER:
        there = [name for name in names if name in values]
        problems += [
            (name, f"is missing beside {there[0]}") for name in names if there and name not in there
        ]
    if values.get("tls") == "none" and "password" in values and not _is_loopback(values):
        problems.append(
            ("tls", "cannot be none with a password: it would cross the network readable")
        )
    if problems:
        raise InvalidCredentials(tuple(sorted(problems)))
    return values


def _is_loopback(values: Mapping[str, str]) -> bool:
    host = values.get("host", "")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def refusal(code: int, text: str) -> Refused | RefusedForNow:
    """What a server's negative reply means, by its class; with its enhanced status if it has one.

    Raises nothing. 4yz and what is no reply at all may pass another time (RFC 5321 §4.2.1).
    """
    said = _said(text)
    found = ENHANCED.search(said)
    named = found[1] if found else str(code)
    if not 500 <= code < 600:
        return RefusedForNow(f"The mail server asks to come back later: {said}", code=named)
    words = REASONS.get(named) or REASONS.get(str(code)) or "The mail server refuses the mail."
    return Refused(f"{words} ({said})" if said else words, code=named)


def _said(text: str) -> str:
    """A reply's words on one line, fit to be stored."""
    words = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(words.encode(errors="replace").decode().split())[:300]


def refused_login(code: int, text: str) -> Refused | RefusedForNow:
    """What a failed login means: wrong credentials stay wrong, and asking again locks accounts."""
    if 400 <= code < 500:
        return refusal(code, text)
    return Refused(
        "The mail server does not accept the account's user name and password.", code=str(code)
    )


def sign(raw: bytes, credentials: Mapping[str, str]) -> bytes:
    """The mail with its DKIM signature before it; raises `Refused`."""
    try:
        import dkim  # noqa: PLC0415  # an extra, and only where a key is set
    except ImportError as error:
        raise Refused(
            "The account has a DKIM key, but the gateway was installed without [dkim].",
            code="dkim",
        ) from error
    given = {line.split(b":")[0].lower() for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n")}
    try:
        signature: bytes = dkim.sign(
            raw,
            selector=credentials["dkim_selector"].encode(),
            domain=credentials["dkim_domain"].encode(),
            privkey=credentials["dkim_private_key"].encode(),
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=[name for name in SIGNED if name in given],
        )
    except (dkim.DKIMException, ValueError, IndexError, TypeError) as error:
        raise Refused("The account's DKIM key cannot be read.", code="dkim") from error
    return signature + raw


@dataclass(slots=True)
class Phase:
    """How far a transaction has come."""

    has_content_left: bool = False

    def lost(self, message: str, code: str) -> SendError:
        """What a connection that is lost now leaves: nothing sent, or nobody knows."""
        if self.has_content_left:
            return AnswerLost(message, code=code)
        return RefusedForNow(message, code=code)


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
class Smtp:
    """The send half (`channels.model.SendHalf`); `close` when no more is sent."""

    limits: Limits = field(default_factory=Limits)
    tls_context: ssl.SSLContext | None = None
    pools: dict[tuple[asyncio.AbstractEventLoop, str], Pool] = field(
        default_factory=dict, repr=False
    )

    async def send(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,  # noqa: ARG002
        callback_url: str,  # noqa: ARG002
    ) -> Sent:
        """Hand a message to the mail server in one transaction; raises a `SendError`."""
        if outbound.mail is None:
            raise Refused("An e-mail has no Message-ID.", code="content")
        raw = await asyncio.to_thread(_raw, account, outbound)
        phase = Phase()
        try:
            async with asyncio.timeout(self.limits.total):
                async with self._connection(account) as client:
                    said = await _transact(client, outbound, raw, phase)
        except SMTPResponseException as error:
            if 400 <= error.code < 600:
                raise refusal(error.code, error.message) from error
            raise phase.lost("The mail server's answer cannot be read.", "unreadable") from error
        except TimeoutError as error:
            raise phase.lost("The mail server did not answer in time.", "timeout") from error
        except (SMTPServerDisconnected, OSError) as error:
            raise phase.lost("The connection to the mail server broke.", "reset") from error
        return Sent(external_id=outbound.mail.message_id, detail={"reply": said})

    async def find(
        self,
        account: Account,  # noqa: ARG002
        outbound: Outbound,  # noqa: ARG002
        session: aiohttp.ClientSession,  # noqa: ARG002
        since: datetime,  # noqa: ARG002
    ) -> list[Sent]:
        """Raises `CannotAsk`: SMTP has no such question."""
        raise CannotAsk("A mail server cannot be asked what it took.", code="smtp")

    async def close(self) -> None:
        """Say goodbye on every idle connection of this event loop."""
        here = asyncio.get_running_loop()
        for place in [each for each in self.pools if each[0] is here]:
            pool = self.pools.pop(place)
            if pool.timer is not None:
                pool.timer.cancel()
            for _, client in pool.idle:
                await _part(client)

    @asynccontextmanager
    async def _connection(self, account: Account) -> AsyncIterator[SMTP]:
        """A connection that answers, put back afterwards unless something went wrong on it."""
        pool = self._pool(account)
        async with pool.slots:
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
            else:
                return client
        return None

    async def _connect(self, account: Account) -> SMTP:
        held = account.credentials
        tls = held.get("tls", "starttls")
        client = SMTP(
            hostname=held.get("host", ""),
            port=int(held.get("port", PORT)),
            use_tls=tls == "tls",
            start_tls=tls == "starttls",
            tls_context=self.tls_context,
            timeout=self.limits.total,
            local_hostname=_own_name(),
        )
        try:
            async with asyncio.timeout(self.limits.connect):
                await client.connect()
                await _greet(client)
            if held.get("username"):
                await client.login(held["username"], held.get("password", ""))
                await _greet(client)
        except asyncio.CancelledError:
            client.close()
            raise
        except (SMTPException, OSError, ValueError) as error:
            client.close()
            raise _cannot_connect(error) from error
        return client


async def _greet(client: SMTP) -> None:
    """Ask what the server can do, where that is not known (any more)."""
    if client.is_ehlo_or_helo_needed:
        try:
            await client.ehlo()
        except SMTPHeloError:
            await client.helo()


def _raw(account: Account, outbound: Outbound) -> bytes:
    """The mail as it leaves, signed where the account has a key; for a thread."""
    raw = mime.as_bytes(outbound)
    return sign(raw, account.credentials) if "dkim_private_key" in account.credentials else raw


async def _transact(client: SMTP, outbound: Outbound, raw: bytes, phase: Phase) -> str:
    """MAIL, RCPT, DATA and the content; the server's last words."""
    options = []
    if client.supports_extension("size"):
        options.append(f"SIZE={len(raw)}")
    encoding = "ascii"
    if mime.needs_smtputf8(outbound):
        if not client.supports_extension("smtputf8"):
            raise Refused("The mail server takes no addresses beyond ASCII.", code="smtputf8")
        options.append("SMTPUTF8")
        encoding = "utf-8"
    await client.mail(outbound.from_address, options=options, encoding=encoding)
    await client.rcpt(outbound.to_address, encoding=encoding)
    # Not the library's `data`: it does not tell whether the content had begun to leave.
    answer = await client.execute_command(b"DATA")
    if answer.code != SMTPStatus.start_input:
        raise SMTPDataError(answer.code, answer.message)
    if client.protocol is None:
        raise SMTPServerDisconnected("The connection went before the content.")
    client.protocol.write(DOT.sub(b"..", raw) + b".\r\n")
    phase.has_content_left = True
    answer = await client.protocol.read_response(timeout=client.timeout)
    if not 200 <= answer.code < 300:
        raise SMTPDataError(answer.code, answer.message)
    return _said(answer.message)


def _cannot_connect(error: Exception) -> SendError:
    """Why there is no connection; nothing was sent."""
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(error, SMTPAuthenticationError):
        return refused_login(error.code, error.message)
    if isinstance(error, SMTPResponseException):
        # A greeting or HELO that is refused is about us or the moment, not about the mail.
        said = _said(error.message)
        return RefusedForNow(f"The mail server takes no mail now: {said}", code=str(error.code))
    if isinstance(cause, ssl.SSLError):
        return RefusedForNow("No trusted TLS connection to the mail server was made.", code="tls")
    if isinstance(error, OSError):
        return RefusedForNow("The mail server cannot be reached.", code="unreachable")
    if "STARTTLS extension" in str(error):
        return Refused("The mail server offers no STARTTLS, which the account wants.", code="tls")
    return Refused("The mail server offers no login that can be used.", code="login")


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


half = Smtp()
