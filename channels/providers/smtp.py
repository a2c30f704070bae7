"""SMTP, the send half: mails through the organization's own mail server (RFC 5321, 3207, 4954).

Connections are kept open for a short while and shared by the messages of an account. The external
id is our own Message-ID, which bounces repeat; the queue id in the reply is only a hint. Nothing is
sent until the whole content has left; if the connection is lost after that, the result is unknown,
and a server has ten minutes to answer.
If the account wants STARTTLS and the server does not offer it, the mail is refused, never sent in
plain text. With a key, mails are signed (DKIM, RFC 6376; the extra [dkim]). There is no way to ask
a server what it took.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from aiosmtplib import SMTP, SMTPResponse, SMTPStatus
from aiosmtplib.errors import (
    SMTPDataError,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
)
from aiosmtplib.protocol import SMTPProtocol

from channels import credentials, mime
from channels.errors import (
    AnswerLost,
    CannotAsk,
    CutOff,
    Refused,
    RefusedForNow,
    SendError,
)
from channels.http import Limits
from channels.leaving import PIECE, built, cut, seconds_more, waiting
from channels.model import Account, Outbound, Sent
from channels.moment import Moment
from channels.smtp_pool import Connections, SmtpLimits
from channels.smtp_replies import any_yes, one_line, refusal

if TYPE_CHECKING:
    import aiohttp

DOT = re.compile(rb"(?m)^\.")
# Seconds between two checks whether a piece of a large mail has left.
_GLANCE = 0.01
TLS = ("starttls", "tls", "none")

CREDENTIALS: Final = {
    "host": re.compile(r"[A-Za-z0-9._:-]{1,253}"),
    "port": re.compile(r"[0-9]{1,5}"),
    "username": re.compile(r"[^\x00-\x1f\x7f]{1,256}"),
    "password": re.compile(r"[^\x00-\x1f\x7f]{1,1024}"),
    "tls": re.compile("|".join(TLS)),
    "webhook_secret": re.compile(r"[!-~]{8,256}"),
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


def validate_credentials(given: Mapping[str, str]) -> dict[str, str]:
    """The credentials, empty ones left out; raises `InvalidCredentials` with every problem."""
    return credentials.check(
        given, CREDENTIALS, provider="SMTP", required=("host",), more=_problems
    )


def _problems(values: Mapping[str, str]) -> list[credentials.Problem]:
    problems = [problem for names in TOGETHER for problem in credentials.together(values, *names)]
    if ":" in values.get("host", "") and not _is_address(values["host"]):
        problems.append(("host", "has a colon, and is no IPv6 address: a port is given as port="))
    if "port" in values and not 0 < int(values["port"]) < 65536:
        problems.append(("port", "is not between 1 and 65535"))
    if values.get("tls") == "none" and "password" in values and not _is_loopback(values):
        problems.append(
            ("tls", "cannot be none with a password: it would cross the network readable")
        )
    return problems


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(values: Mapping[str, str]) -> bool:
    host = values.get("host", "")
    if _is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


def sign(raw: bytes, credentials: Mapping[str, str]) -> bytes:
    """The mail with its DKIM signature as its first header; raises `Refused`."""
    try:
        import dkim  # noqa: PLC0415  # an extra, only needed if a key is set
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
    """How far a transaction has come, and when it began."""

    began: Moment = field(default_factory=Moment.now)
    has_content_left: bool = False

    def lost(self, message: str, code: str) -> SendError:
        """The error if the connection is lost now: nothing was sent, or it is not known."""
        if self.has_content_left:
            return AnswerLost(message, code=code)
        return RefusedForNow(message, code=code)


@dataclass(frozen=True, kw_only=True, slots=True)
class Smtp:
    """The send half (`channels.model.SendHalf`); call `close` when nothing more is sent."""

    connections: Connections = field(default_factory=Connections)

    async def send(
        self,
        account: Account,
        outbound: Outbound,
        _session: aiohttp.ClientSession,
        _callback_url: str,
    ) -> Sent:
        """Hand a message to the mail server in one transaction; raises a `SendError`, also if it is
        cancelled before the whole content has left."""
        if outbound.mail is None:
            raise Refused("An e-mail has no Message-ID.", code="content")
        raw = await built(_raw, account, outbound)
        limits = self.connections.limits
        left = outbound.valid_for  # after so many seconds it must not leave any more
        phase = Phase()
        try:
            async with asyncio.timeout(min(limits.begin, left or limits.begin)) as timer:
                async with self.connections.connection(account) as client:
                    said = await _transact(client, outbound, raw, phase, limits, timer)
        except SMTPResponseException as error:
            if 400 <= error.code < 600:
                is_to_rcpt = isinstance(error, SMTPRecipientRefused)
                raise refusal(error.code, error.message, is_to_rcpt=is_to_rcpt) from error
            raise phase.lost("The mail server's answer cannot be read.", "unreadable") from error
        except TimeoutError as error:
            raise phase.lost("The mail server did not answer in time.", "timeout") from error
        except (SMTPServerDisconnected, OSError) as error:
            raise phase.lost("The connection to the mail server broke.", "reset") from error
        except asyncio.CancelledError as error:
            if phase.has_content_left:
                raise
            raise CutOff from error
        return Sent(external_id=outbound.mail.message_id, detail={"reply": said})

    async def find(
        self,
        _account: Account,
        _outbound: Outbound,
        _session: aiohttp.ClientSession,
        _since: datetime,
    ) -> list[Sent]:
        """Raises `CannotAsk`: SMTP has no way to ask."""
        raise CannotAsk("A mail server cannot be asked what it took.", code="smtp")

    async def close(self) -> None:
        """Quit and close every idle connection of this event loop."""
        await self.connections.close()


def _raw(account: Account, outbound: Outbound) -> bytes:
    """The mail as it leaves, signed if the account has a key."""
    raw = mime.as_bytes(outbound)
    return sign(raw, account.credentials) if "dkim_private_key" in account.credentials else raw


async def _transact(
    client: SMTP,
    outbound: Outbound,
    raw: bytes,
    phase: Phase,
    limits: SmtpLimits,
    timer: asyncio.Timeout,
) -> str:
    """MAIL, RCPT, DATA and the content; returns the last reply. `timer` limits each phase."""
    options = []
    if client.supports_extension("size"):
        options.append(f"SIZE={len(raw)}")
    encoding = "ascii"
    if mime.needs_smtputf8(outbound):
        if not client.supports_extension("smtputf8"):
            raise Refused("The mail server takes no addresses beyond ASCII.", code="smtputf8")
        options.append("SMTPUTF8")
        encoding = "utf-8"
    with any_yes():
        await client.mail(outbound.from_address, options=options, encoding=encoding)
    with any_yes():
        await client.rcpt(outbound.to_address, encoding=encoding)
    # Not the library's `data`: it does not tell whether the content has begun to leave.
    answer = await client.execute_command(b"DATA")
    if answer.code != SMTPStatus.start_input:
        raise SMTPDataError(answer.code, answer.message)
    if client.protocol is None:
        raise SMTPServerDisconnected("The connection went before the content.")
    content = DOT.sub(b"..", raw) + b".\r\n"
    # The machine was suspended, and time-outs with it.
    if phase.began.age() > limits.begin:
        raise TimeoutError
    transport = client.protocol.transport
    leaving = limits.content + seconds_more(len(raw))
    _allow(timer, leaving)
    # We listen from the first piece on: a server may refuse in the middle.
    answering = asyncio.create_task(client.protocol.read_response(leaving + limits.answer))
    try:
        # The library drops an answer that comes before it listens, and uvloop may read one before
        # it starts a new task.
        await asyncio.sleep(0)
        await _leave(client.protocol, content, answering, phase)
        _allow(timer, limits.answer)
        answer = await answering
    except BaseException:
        if waiting(transport):
            phase.has_content_left = False  # the last piece is still here
        cut(transport)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        raise
    if not 200 <= answer.code < 300:
        raise SMTPDataError(answer.code, answer.message)
    return one_line(answer.message)


def _allow(timer: asyncio.Timeout, seconds: float) -> None:
    """Let the next phase take so many seconds."""
    timer.reschedule(asyncio.get_running_loop().time() + seconds)


async def _leave(
    protocol: SMTPProtocol, content: bytes, answering: asyncio.Task[SMTPResponse], phase: Phase
) -> None:
    """Write the content piece by piece, each when most of the one before has left.

    Raises if the server answers, or the connection ends, before the last piece is written.
    """
    view = memoryview(content)
    for start in range(0, len(view), PIECE):
        while waiting(protocol.transport) > PIECE and not answering.done():  # noqa: ASYNC110
            await asyncio.sleep(_GLANCE)
        if answering.done():
            early = answering.result()
            # If the server says yes to half a mail, nobody knows what it has taken.
            phase.has_content_left = early.code < 400
            raise SMTPDataError(early.code, early.message)
        protocol.write(bytes(view[start : start + PIECE]))
    phase.has_content_left = True


half = Smtp()
MORE_SECONDS: Final = half.connections.limits.total - Limits().total
"""How many seconds longer a mail may take than an HTTP request."""
