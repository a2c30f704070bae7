"""The SMTP side of `gateway/simulator/smtp.py`: the dialogue, its refusals and its faults."""

from __future__ import annotations

import asyncio
import base64
import logging
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.policy import default
from weakref import WeakSet

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from gateway.simulator.plan import REFUSED_BY_STATUS, Fault, Plan
from gateway.simulator.smtp import Smtp, SmtpAccount
from gateway.simulator.state import Asked, State, reset

MAX_MAIL_BYTES = 40 * 1024 * 1024
HOSTNAME = "smtp.simulator.example"


class Dialogue:
    """The server's answers to a client, step by step (aiosmtpd's handler)."""

    def __init__(self, state: State, smtp: Smtp) -> None:
        """Answer for the accounts of `smtp`."""
        self._state = state
        self._smtp = smtp

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: object
    ) -> AuthResult:
        """Check a user and password."""
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        account = self._smtp.login(
            data.login.decode(errors="replace"), data.password.decode(errors="replace")
        )
        if account is None:
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, auth_data=account)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's own name
        self,
        _server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Accept a recipient, or refuse it if its plan says so; the text is not known yet."""
        plan = self._plan(envelope, address, "")
        if plan.body.outcome not in {"refused", "failed"}:
            envelope.rcpt_tos.append(address)
            return "250 OK"
        code = str(plan.body.error_code or 550)
        status = int(code) if code.isdigit() and len(code) == 3 else 550
        asked = self._asked(envelope, {"to": [address]}, "RCPT")
        asked.status, asked.error_code = status, status
        later = status < 500
        enhanced = "4.2.1" if later else "5.1.1"
        words = "Try again later" if later else "User unknown in virtual mailbox table"
        asked.params["user"] = self._account(session).username
        return f"{status} {enhanced} <{address}>: Recipient address rejected: {words}"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's own name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Accept the mail, with the faults of the plan for its first recipient."""
        mail = envelope.content if isinstance(envelope.content, bytes) else b""
        message = message_from_bytes(mail, policy=default)
        text = f"{message['Subject'] or ''}\n{mail.decode(errors='replace')}"
        account, sender = self._account(session), envelope.mail_from or ""
        plans = [(to, self._plan(envelope, to, text)) for to in envelope.rcpt_tos]
        first = plans[0][1]
        asked = self._asked(
            envelope,
            {
                "user": account.username,
                "to": list(envelope.rcpt_tos),
                "message_id": str(message["Message-ID"] or "").strip("<> "),
                "subject": str(message["Subject"] or ""),
                "raw": mail.decode(errors="replace"),
                "raw_base64": base64.b64encode(mail).decode(),
            },
            "DATA",
        )
        fault = first.next_fault((account.key, sender, *envelope.rcpt_tos, asked.params["subject"]))
        asked.fault = fault
        if fault is Fault.RESET:
            reset(server.transport)
            return "421 reset"
        if fault in REFUSED_BY_STATUS:
            asked.status = 421 if fault in {Fault.TOO_MANY, Fault.UNAVAILABLE} else 451
            asked.error_code = asked.status
            return f"{asked.status} 4.7.0 Try again later"
        queue_id = self._smtp.accept(account, sender, plans, mail)
        asked.sid = asked.params["message_id"] or queue_id
        if Fault.BEFORE_RESPONSE in first.faults and (tasks := self._smtp.tasks(queue_id)):
            await asyncio.wait(tasks, timeout=self._state.patience)
        await asyncio.sleep(first.body.answer_delay_ms / 1000)
        if fault is Fault.TIMEOUT_AFTER_ACCEPT:
            await self._state.hold_while(lambda: server.transport)
        if fault in {Fault.TIMEOUT_AFTER_ACCEPT, Fault.RESET_AFTER_ACCEPT}:
            reset(server.transport)
            return "421 reset"
        asked.status = 250
        return f"250 2.0.0 Ok: queued as {queue_id}"

    def _plan(self, envelope: Envelope, to: str, text: str) -> Plan:
        sender = envelope.mail_from or ""
        return self._state.plans.find(to=to, from_=sender, body=text, channel="email")

    def _account(self, session: Session) -> SmtpAccount:
        account: object = session.auth_data
        if not isinstance(account, SmtpAccount):
            message = "nobody has logged in"
            raise TypeError(message)
        return account

    def _asked(self, envelope: Envelope, params: dict[str, object], verb: str) -> Asked:
        asked = Asked(
            provider="smtp",
            method=verb,
            path="",
            params={"from": envelope.mail_from or "", **params},
            at=self._state.clock(),
        )
        self._state.requests.append(asked)
        return asked


@asynccontextmanager
async def serve_smtp(
    state: State, smtp: Smtp, host: str, port: int, *, else_any: bool = False
) -> AsyncIterator[None]:
    """Listen while the block runs. Port 0 takes a free one; with `else_any` so does one in use.

    Otherwise a port in use raises `OSError`.
    """
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    dialogue = Dialogue(state, smtp)
    connections: WeakSet[SMTP] = WeakSet()

    def protocol() -> SMTP:
        with warnings.catch_warnings():
            # aiosmtpd warns of passwords without TLS, but these are invented, and stay here.
            warnings.simplefilter("ignore", UserWarning)
            made = SMTP(
                dialogue,
                data_size_limit=MAX_MAIL_BYTES,
                enable_SMTPUTF8=True,
                hostname=HOSTNAME,
                ident="simulated",
                auth_required=True,
                auth_require_tls=False,
                authenticator=dialogue.authenticate,
                loop=asyncio.get_running_loop(),
            )
        connections.add(made)
        return made

    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(protocol, host, port)
    except OSError:
        if not else_any:
            raise
        server = await loop.create_server(protocol, host, 0)
    try:
        bound = server.sockets[0].getsockname()
        name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        state.smtp = f"{name}:{bound[1]}"
        yield
    finally:
        server.close()
        for one in connections:
            reset(one.transport)
        await server.wait_closed()
        state.smtp = ""
