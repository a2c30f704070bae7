"""A mail server takes a mail, refuses it, or leaves us without an answer."""

import asyncio
import email
import email.policy
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest
from aiosmtplib.protocol import SMTPProtocol

from channels import smtp_pool
from channels.errors import (
    AnswerLost,
    Busy,
    CannotAsk,
    Refused,
    RefusedForNow,
    SendError,
    Unreachable,
)
from channels.model import Account, Sent
from channels.providers import smtp
from channels.providers.smtp import Smtp
from channels.smtp_pool import Connections
from tests.cli.shell import free_port
from tests.smtp.values import MESSAGE_ID, Server, account, outbound, within


@pytest.fixture
async def half() -> AsyncIterator[Smtp]:
    """A send half of its own, with the patience that a busy machine needs."""
    one = Smtp(connections=Connections(limits=within(20, 40)))
    yield one
    await one.close()


# Who does not wait for long where nothing comes, and for as long as ever for the rest.
HASTY = {"greeting": {"greeting": 0.5}, "MAIL": {"command": 1.0}, "content": {"answer": 0.5}}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session, as every send half is given one."""
    async with aiohttp.ClientSession() as one:
        yield one


async def test_a_mail_is_taken(half: Smtp, session: aiohttp.ClientSession) -> None:
    """The id is our own Message-ID, and the server's words are kept."""
    async with Server() as server:
        sent = await half.send(account(server.port), outbound(), session, "")
    assert sent == Sent(external_id=MESSAGE_ID, detail={"reply": "2.0.0 queued as ABC"})
    [raw] = server.mails
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert (message["Message-ID"], message["Subject"]) == (f"<{MESSAGE_ID}>", "Hello")
    assert server.commands[1].startswith("MAIL FROM:<shop@example.com> SIZE=")


async def test_a_prompt_answer(
    half: Smtp, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is there as soon as the content has left is heard."""
    write = SMTPProtocol.write

    def answered(protocol: SMTPProtocol, data: bytes) -> None:
        write(protocol, data)
        if data.endswith(b"\r\n.\r\n"):  # as uvloop reads it, before any new task begins
            protocol.data_received(b"250 2.0.0 queued at once\r\n")

    monkeypatch.setattr(SMTPProtocol, "write", answered)
    async with Server(answers={"content": None}) as server:
        sent = await half.send(account(server.port), outbound(), session, "")
    assert sent == Sent(external_id=MESSAGE_ID, detail={"reply": "2.0.0 queued at once"})


async def test_an_old_server(half: Smtp, session: aiohttp.ClientSession) -> None:
    """A server that knows no EHLO is greeted as servers were before."""
    async with Server(answers={"EHLO": "502 what"}) as server:
        await half.send(account(server.port), outbound(), session, "")
    assert (server.commands[1][:5], len(server.mails)) == ("HELO ", 1)


async def test_a_connection_is_kept(half: Smtp, session: aiohttp.ClientSession) -> None:
    """Mails of one account share a connection, also after a recipient was refused."""
    async with Server() as server:
        for _ in range(2):
            await half.send(account(server.port), outbound(), session, "")
        server.answers["RCPT"] = "550 5.1.1 no such user"
        with pytest.raises(Refused):
            await half.send(account(server.port), outbound(), session, "")
        del server.answers["RCPT"]
        await half.send(account(server.port), outbound(), session, "")
        assert (server.connections, len(server.mails)) == (1, 3)
        await half.close()
    assert server.commands[-1] == "QUIT"


async def test_a_stale_connection_is_replaced(half: Smtp, session: aiohttp.ClientSession) -> None:
    """A connection that the server has closed is noticed before a mail is given to it."""
    async with Server() as server:
        await half.send(account(server.port), outbound(), session, "")
        server.hang_up()
        await half.send(account(server.port), outbound(), session, "")
        assert (server.connections, len(server.mails)) == (2, 2)


async def test_an_old_connection_is_not_used(half: Smtp, session: aiohttp.ClientSession) -> None:
    """A connection that was idle for too long is closed, not asked."""
    async with Server() as server:
        await half.send(account(server.port), outbound(), session, "")
        [pool] = half.connections.pools.values()
        pool.idle[:] = [(since - 100, client) for since, client in pool.idle]
        await half.send(account(server.port), outbound(), session, "")
        assert server.connections == 2


async def test_idle_connections_end(half: Smtp) -> None:
    """What nobody uses any more is closed, what was just used stays."""
    async with Server() as server:
        held = account(server.port)
        async with half.connections.connection(held), half.connections.connection(held):
            pass
        [pool] = half.connections.pools.values()
        (_, old), (since, young) = pool.idle
        pool.idle[:] = [(since - 100, old), (since, young)]
        pool.sweep()
        assert [client for _, client in pool.idle] == [young]
        assert pool.timer is not None
        pool.timer.cancel()
        pool.idle[:] = [(since - 100, young)]
        pool.sweep()
        assert (len(pool.idle), old.is_connected, young.is_connected) == (0, False, False)


def test_event_loops_that_have_ended() -> None:
    """A pool goes with its event loop."""
    half = Smtp(connections=Connections(limits=within(0.5, 1.0)))

    async def send() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(RefusedForNow):
                await half.send(account(free_port()), outbound(), session, "")

    asyncio.run(send())
    asyncio.run(send())
    assert len(half.connections.pools) == 1


async def test_changed_credentials_get_their_own_connection(
    half: Smtp, session: aiohttp.ClientSession
) -> None:
    """A new password is tried, whatever connections the old one has."""
    async with Server(extensions=("AUTH PLAIN",)) as server:
        for password in ("old", "new"):
            held = account(server.port, username="u", password=password)
            await half.send(held, outbound(), session, "")
        assert server.connections == 2


async def test_many_at_once(half: Smtp, session: aiohttp.ClientSession) -> None:
    """More mails than connections: they take turns."""
    async with Server() as server:
        held = account(server.port)
        await asyncio.gather(*(half.send(held, outbound(), session, "") for _ in range(30)))
        assert len(server.mails) == 30
        assert server.connections <= smtp_pool.CONNECTIONS


@pytest.mark.parametrize(
    ("answers", "kind", "code"),
    [
        ({"RCPT": "550 5.1.1 no such user"}, Unreachable, "5.1.1"),
        ({"RCPT": "550 5.1.1 Sender address rejected: User unknown"}, Refused, "5.1.1"),
        ({"RCPT": "556 5.1.10 it takes no mail"}, Unreachable, "5.1.10"),
        ({"RCPT": "450 5.1.1 no such user"}, RefusedForNow, "5.1.1"),
        ({"RCPT": "550 5.1.8 no such sender"}, Refused, "5.1.8"),
        ({"RCPT": "550 5.1.11 what"}, Refused, "5.1.11"),
        ({"RCPT": "550 5.7.1 not 5.1.1"}, Refused, "5.7.1"),
        ({"RCPT": "550 no mail from 10.5.1.1"}, Refused, "5.1.1"),
        ({"MAIL": "550 5.1.1 no such user"}, Refused, "5.1.1"),
        ({"DATA": "554 5.1.1 no such user"}, Refused, "5.1.1"),
        ({"content": "550 5.1.1 no such user"}, Refused, "5.1.1"),
        ({"RCPT": "550 no"}, Refused, "550"),
        ({"RCPT": "451 4.7.1 greylisted"}, RefusedForNow, "4.7.1"),
        ({"MAIL": "530 5.7.0 must authenticate"}, Refused, "530"),
        ({"MAIL": "421 too many"}, RefusedForNow, "421"),
        ({"DATA": "554 no"}, Refused, "554"),
        ({"DATA": "451 later"}, RefusedForNow, "451"),
        ({"DATA": ""}, RefusedForNow, "reset"),
        ({"MAIL": ""}, RefusedForNow, "reset"),
        ({"MAIL": "nonsense"}, RefusedForNow, "unreadable"),
        ({"MAIL": None}, RefusedForNow, "timeout"),
        ({"content": "552 5.3.4 too large"}, Refused, "5.3.4"),
        ({"content": "452 4.3.1 disk full"}, RefusedForNow, "4.3.1"),
        ({"content": ""}, AnswerLost, "reset"),
        ({"content": None}, AnswerLost, "timeout"),
        ({"content": "nonsense"}, AnswerLost, "unreadable"),
        ({"content": "354 what"}, AnswerLost, "unreadable"),
        ({"greeting": "554 5.7.1 go away"}, RefusedForNow, "554"),
        ({"EHLO": "502 what", "HELO": "502 what"}, RefusedForNow, "502"),
        ({"greeting": "421 busy"}, RefusedForNow, "421"),
        ({"greeting": ""}, RefusedForNow, "unreachable"),
        ({"greeting": None}, RefusedForNow, "unreachable"),
    ],
)
async def test_outcomes(
    session: aiohttp.ClientSession,
    answers: dict[str, str | None],
    kind: type[SendError],
    code: str,
) -> None:
    """What is final, what is for now, and, once the content has left, what nobody knows."""
    [(verb, said), *_] = answers.items()
    limits = replace(within(20, 40), **(HASTY[verb] if said is None else {}))
    half = Smtp(connections=Connections(limits=limits))
    async with Server(answers=answers) as server:
        with pytest.raises(SendError) as caught:
            await half.send(account(server.port), outbound(), session, "")
    await half.close()
    assert (type(caught.value), caught.value.code) == (kind, code)


@pytest.mark.parametrize(
    ("extensions", "answers", "kind", "code"),
    [
        (("AUTH PLAIN",), {"AUTH": "535 5.7.8 no"}, Refused, "535"),
        (("AUTH PLAIN",), {"AUTH": "454 4.7.0 later"}, RefusedForNow, "4.7.0"),
        (("SIZE",), {}, Refused, "login"),
        (("AUTH GSSAPI",), {}, Refused, "login"),
    ],
)
async def test_logins(
    half: Smtp,
    session: aiohttp.ClientSession,
    extensions: tuple[str, ...],
    answers: dict[str, str | None],
    kind: type[SendError],
    code: str,
) -> None:
    """Wrong credentials are final and never hammered; a login that fails for now is for now."""
    async with Server(extensions=extensions, answers=answers) as server:
        held = account(server.port, username="u", password="p")
        with pytest.raises(SendError) as caught:
            await half.send(held, outbound(), session, "")
    assert (type(caught.value), caught.value.code) == (kind, code)


@pytest.mark.parametrize(
    "answers",
    [
        {"greeting": "554 admin console token=abc"},
        {"greeting": "SSH-2.0-OpenSSH token=abc"},
        {"greeting": "421 token=abc"},
        {"EHLO": "550 token=abc", "HELO": "550 token=abc"},
    ],
)
async def test_who_answers_is_not_told(
    half: Smtp, session: aiohttp.ClientSession, answers: dict[str, str | None]
) -> None:
    """What a server says before it takes a mail is not repeated: it may be no mail server of the
    tenant's, but something inside the operator's network."""
    async with Server(answers=answers) as server:
        with pytest.raises(RefusedForNow) as caught:
            await half.send(account(server.port), outbound(), session, "")
    assert "The mail server takes no mail now." == caught.value.message
    assert "token" not in str(caught.value.code)


async def test_no_server(half: Smtp, session: aiohttp.ClientSession) -> None:
    """Nobody listens: nothing was sent, and it may pass later."""
    async with Server() as server:
        port = server.port
    with pytest.raises(RefusedForNow) as caught:
        await half.send(account(port), outbound(), session, "")
    assert caught.value.code == "unreachable"


async def test_no_starttls(half: Smtp, session: aiohttp.ClientSession) -> None:
    """A server without the STARTTLS that the account wants gets no mail in plain text."""
    async with Server() as server:
        with pytest.raises(Refused) as caught:
            await half.send(account(server.port, tls="starttls"), outbound(), session, "")
    assert (caught.value.code, server.mails) == ("tls", [])


async def test_broken_tls(half: Smtp, session: aiohttp.ClientSession) -> None:
    """A server that speaks no TLS where it should gets no mail."""
    async with Server() as server:
        with pytest.raises(RefusedForNow):
            await half.send(account(server.port, tls="tls"), outbound(), session, "")
    assert server.mails == []


async def test_addresses_beyond_ascii(half: Smtp, session: aiohttp.ClientSession) -> None:
    """They go to servers that take them, and are refused where a server does not."""
    mail = outbound(to="jörg@example.org")
    async with Server(extensions=("SMTPUTF8",)) as server:
        await half.send(account(server.port), mail, session, "")
        assert "RCPT TO:<jörg@example.org>" in server.commands
        assert "To: jörg@example.org\r\n".encode() in server.mails[0]
    async with Server() as server:
        with pytest.raises(Refused) as caught:
            await half.send(account(server.port), mail, session, "")
        assert (caught.value.code, server.mails) == ("smtputf8", [])


async def test_lines_of_dots_survive(half: Smtp, session: aiohttp.ClientSession) -> None:
    """A line that begins with a dot arrives with its dot."""
    async with Server() as server:
        body = ".\n..\n.hidden\n"
        await half.send(account(server.port), outbound(body=body), session, "")
    message = email.message_from_bytes(server.mails[0], policy=email.policy.default)
    assert message.get_content().replace("\r\n", "\n") == body


async def test_what_is_no_mail(half: Smtp, session: aiohttp.ClientSession) -> None:
    """A message without the headers of a mail is refused before anything is sent."""
    with pytest.raises(Refused):
        await half.send(account(1), replace(outbound(), mail=None), session, "")


async def test_it_cannot_be_asked(half: Smtp, session: aiohttp.ClientSession) -> None:
    """SMTP has no question about what was taken."""
    with pytest.raises(CannotAsk):
        await half.find(account(1), outbound(), session, datetime.now(UTC))


@pytest.mark.parametrize(
    ("silent", "ends"), [("MAIL", RefusedForNow), ("content", asyncio.CancelledError)]
)
async def test_a_caller_that_leaves(
    half: Smtp, session: aiohttp.ClientSession, silent: str, ends: type[BaseException]
) -> None:
    """A send that is cancelled closes its connection, which nobody else gets; before all of the
    mail has left nobody has it."""
    async with Server(answers={silent: None}) as server:
        task = asyncio.create_task(half.send(account(server.port), outbound(), session, ""))
        async with asyncio.timeout(10):
            while not server.mails and silent not in " ".join(server.commands):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(ends):
            await task
        assert [pool.idle for pool in half.connections.pools.values()] == [[]]


def test_accounts_are_values() -> None:
    """An account of the tests is one that could be stored."""
    held = account(25)
    assert isinstance(held, Account)
    assert smtp.validate_credentials(held.credentials) == held.credentials


class Thinking(Server):
    """A mail server that thinks about each mail for a while."""

    async def _say(self, writer: asyncio.StreamWriter, verb: str, usual: str) -> bool:
        if verb == "content":
            await asyncio.sleep(1.25)
        return await super()._say(writer, verb, usual)


async def test_a_mail_that_waited_has_its_time(session: aiohttp.ClientSession) -> None:
    """Mails share a few connections: one that has waited long for its own goes later, and is not
    cut off in the middle of its content, when nobody knows whether it was taken."""
    half = Smtp(connections=Connections(limits=within(1, 3)))
    async with Thinking() as server:
        came = await asyncio.gather(
            *(half.send(account(server.port), outbound(), session, "") for _ in range(40)),
            return_exceptions=True,
        )
        await half.close()
    kinds = Counter(type(each) for each in came)
    assert {Sent, Busy} == kinds.keys(), kinds
    assert kinds[Sent] == len(server.mails)
