"""For the tests of SMTP: an account, a message, and a mail server that can misbehave."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from channels.model import Account, Attachment, Channel, Content, Mail, Outbound
from channels.smtp_pool import SmtpLimits

ID = UUID("0192f0c1-2345-7000-8000-000000000001")
MESSAGE_ID = f"{ID}@example.com"


def within(connect: float, total: float) -> SmtpLimits:
    """Limits: `connect` seconds to connect and for the greeting, `total` for each other step."""
    return SmtpLimits(
        connect=connect, greeting=connect, command=total, begin=total, content=total, answer=total
    )


def account(port: int, **credentials: str) -> Account:
    """An account at a server on this machine, by default without TLS."""
    held = {"host": "127.0.0.1", "port": str(port), "tls": "none"} | credentials
    return Account(id=ID, organization_id=ID, provider="smtp", credentials=held)


def outbound(
    *,
    to: str = "bob@example.org",
    sender: str = "shop@example.com",
    subject: str = "Hello",
    body: str = "Hi\n",
    html: str | None = None,
    attachments: tuple[Attachment, ...] = (),
    **mail: Any,
) -> Outbound:
    """A mail with these parts."""
    return Outbound(
        message_id=ID,
        channel=Channel.EMAIL,
        from_address=sender,
        to_address=to,
        content=Content(subject=subject, body=body, html_body=html, attachments=attachments),
        mail=Mail(**({"message_id": MESSAGE_ID} | mail)),
    )


@dataclass
class Server:
    """A simple mail server; `answers` replace its own answers, by command.

    An answer is a line, "" to hang up, or None to stay silent. `mails` are the contents it took.
    """

    answers: dict[str, str | None] = field(default_factory=dict)
    extensions: tuple[str, ...] = ("SIZE 1000000",)
    mails: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()  # TLS would wait for the other side's close_notify
        await self._server.wait_closed()
        await asyncio.sleep(0)

    def hang_up(self) -> None:
        """Close every connection without an answer."""
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not await self._say(writer, "greeting", "220 ready"):
                return
            while line := await reader.readline():
                if not await self._answer(line.decode().strip(), reader, writer):
                    return
        except (ConnectionError, ValueError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, command: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        self.commands.append(command)
        verb = command.split(" ", maxsplit=1)[0].upper()
        if verb == "EHLO":
            lines = ["sink.example", *self.extensions]
            said = "".join(f"250-{each}\r\n" for each in lines[:-1]) + f"250 {lines[-1]}"
            return await self._say(writer, verb, said)
        usual = {"DATA": "354 go on", "QUIT": "221 bye", "AUTH": "235 welcome"}
        if not await self._say(writer, verb, usual.get(verb, "250 ok")):
            return False
        if verb == "DATA" and self.answers.get(verb, "354").startswith("354"):  # type: ignore[union-attr]
            content = await self._content(reader)
            self.mails.append(content)
            return await self._say(writer, "content", "250 2.0.0 queued as ABC")
        return verb != "QUIT"

    async def _content(self, reader: asyncio.StreamReader) -> bytes:
        content = b""
        while (line := await reader.readline()) not in {b".\r\n", b""}:
            content += line.removeprefix(b".") if line.startswith(b"..") else line
        return content

    async def _say(self, writer: asyncio.StreamWriter, verb: str, usual: str) -> bool:
        said = self.answers.get(verb, usual)
        if said is None:
            await asyncio.sleep(30)
        if not said:
            return False
        writer.write(said.encode() + b"\r\n")
        await writer.drain()
        return True
