"""gateway/web/connections.py: what is refused before a handler sees it, and who is waited for."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from aiohttp import web
from aiohttp.streams import StreamReader

from channels.model import Channel
from gateway.app import build_app
from gateway.serve import bind
from gateway.web.bodies import MOST, Bodies
from gateway.web.connections import MAX_HEADER, MAX_URL, Patience
from gateway.web.serving_connections import listening, most_connections
from tests.service.conftest import SECRET, token
from tests.service.wires import SECRET as HOOK_SECRET
from tests.service.wires import connect

if TYPE_CHECKING:
    from gateway.config import Settings
    from tests.service.conftest import Gateway

QUICK = Patience(head=0.3, silence=0.3, body=0.9, answer=0.5, look=0.05)
MARK = "Ask-Nobody"
# Nobody must be recognised for this body: the page of the inbox reads it first.
FORM = b"POST /inbox/sign-in/link HTTP/1.1\r\nHost: x\r\nOrigin: https://msg.example.org\r\n"
FORM += b"Content-Type: application/x-www-form-urlencoded\r\n"
PROBLEM = "application/problem+json"
POST = b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What came back before the connection was closed."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        found: dict[str, Any] = json.loads(self.text)
        return found


async def listen(reader: asyncio.StreamReader) -> Heard:
    """The answer, once it is whole."""
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers["Content-Length"]))
    return Heard(status=int(first.split()[1]), headers=headers, text=body.decode())


async def closes(reader: asyncio.StreamReader) -> bool:
    """Whether the other side closes without a word more."""
    try:
        return b"" == await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:  # it did not read all that was sent
        return True


class Line:
    """Connections of raw bytes to one web process."""

    def __init__(self, port: int) -> None:
        self.port = port

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """One connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def say(self, raw: bytes) -> Heard:
        """Send this and listen until the other side closes."""
        async with self.open() as (reader, writer):
            writer.write(raw)
            heard = await listen(reader)
            assert await closes(reader)
            return heard

    async def pieces(self, pieces: list[bytes]) -> Heard:
        """Send these one after the other and listen for the answer."""
        async with self.open() as (reader, writer):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.05)
            return await listen(reader)

    async def drip(self, raw: bytes, drop: bytes) -> Heard:
        """Send this, and then a drop every now and then until there is an answer."""
        async with self.open() as (reader, writer):
            writer.write(raw)
            listening_to = asyncio.create_task(listen(reader))
            while not listening_to.done():
                writer.write(drop)
                await asyncio.sleep(0.05)
            return await listening_to


@asynccontextmanager
async def serving(
    settings: Settings | web.Application,
    patience: Patience,
    most: int = 1000,
    bodies: int = MOST,
) -> AsyncIterator[Line]:
    """A web process that listens as `gateway web` does."""
    app = settings if isinstance(settings, web.Application) else build_app(settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        with closing(bind("127.0.0.1", 0)) as bound:
            async with listening(runner, bound, most, patience, Bodies(bodies)):
                yield Line(bound.getsockname()[1])
    finally:
        await runner.cleanup()


@pytest.fixture
async def line(settings: Settings) -> AsyncIterator[Line]:
    """Where to send raw bytes."""
    async with serving(settings, Patience()) as made:
        yield made


@pytest.fixture
async def quick_line(settings: Settings) -> AsyncIterator[Line]:
    """Where to send raw bytes, and be waited for a moment."""
    async with serving(settings, QUICK) as made:
        yield made


async def test_what_cannot_be_read_is_a_problem(line: Line) -> None:
    """What no handler sees is refused as every error is, and nothing that was sent comes back."""
    long = MARK.encode() * 4000
    key = b"Authorization: Bearer " + token("nobody", SECRET).encode()
    hook = b"/webhooks/twilio/0190d1a0-0000-7000-8000-000000000000/status"
    coded = POST + b"Connection: close\r\nContent-Length: 3\r\nContent-Encoding: "
    tries = {
        "a long URL": (b"GET /v1/messages?external_id=%b HTTP/1.1\r\nHost: x\r\n\r\n" % long, 414),
        "a long webhook": (b"POST %b?x=%b HTTP/1.1\r\nHost: x\r\n\r\n" % (hook, long), 414),
        "a long header": (
            b"GET /v1/messages HTTP/1.1\r\nHost: x\r\n%b%b\r\n\r\n" % (key, long),
            431,
        ),
        "a long name": (b"GET / HTTP/1.1\r\nHost: x\r\n%b: y\r\n\r\n" % long, 431),
        "a method": (b"ASK-NOBODY /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        "a path": (b"GET /Ask-Nobody\xff\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        "no host": (b"GET /Ask-Nobody HTTP/1.1\r\n\r\n", 400),
        "no HTTP": (b"Ask-Nobody\r\n\r\n", 400),
        "many headers": (
            b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n" % (b"Ask-Nobody: x\r\n" * 200),
            400,
        ),
        "brotli": (coded + b"br\r\n\r\nabc", 415),
        "zstd": (coded + b"zstd\r\n\r\nabc", 415),
        "an expectation": (
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: Ask-Nobody\r\n\r\n",
            417,
        ),
        "an expectation in no text": (
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: Ask-Nobody\xff\r\n\r\n",
            417,
        ),
        "one at no path": (
            b"GET /Ask-Nobody HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: foo\r\n\r\n",
            417,
        ),
    }
    for name, (raw, status) in tries.items():
        heard = await line.say(raw)

        assert (status, PROBLEM, "gateway") == (
            heard.status,
            heard.headers["Content-Type"],
            heard.headers["Server"],
        ), name
        assert heard.body["status"] == status
        assert MARK.lower() not in f"{heard}".lower(), name
        assert "aiohttp" not in f"{heard}".lower(), name


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", b"email=a@b.c"),
        (b"deflate", b"email=a@b.c"),
        (b"gzip", gzip.compress(b"email=a@b.c") + b"more"),
    ],
    ids=["no gzip", "no deflate", "more than gzip"],
)
async def test_a_body_that_is_not_encoded_as_it_says(
    line: Line, coding: bytes, body: bytes
) -> None:
    """Nothing can be read after it: whoever answers, the answer says that the connection ends."""
    hook = b"POST /webhooks/twilio/0190d1a0-0000-7000-8000-000000000000/status HTTP/1.1\r\n"
    hook += b"Host: x\r\n"
    head = b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding, len(body))
    for start, status in ((FORM, 400), (POST, 401), (hook, 404)):
        heard = await line.say(start + head + body)

        assert (status, "close") == (heard.status, heard.headers.get("Connection"))


@pytest.mark.parametrize(("coding", "status"), [("gzip", 400), ("x-gzip", 415)])
@pytest.mark.parametrize("cut", [0, 20, -2])
async def test_what_is_checked_before_a_coding(
    line: Line, gateway: Gateway, coding: str, status: int, cut: int
) -> None:
    """That a body is not what it says, or that nobody can decode it, its provider alone is told,
    and at its own URL; however the request is cut into pieces."""
    account = await connect(gateway, "postmark", Channel.EMAIL)
    known = f"/webhooks/postmark/{account}/events"
    large = str(10 * 2**20 + 1)
    found = {}
    for name, path, length in (
        ("no provider", "/webhooks/pigeon/x/events", "3"),
        ("no account", f"/webhooks/postmark/{gateway.a.account_id}/events", "3"),
        ("no event", f"{known}x", "3"),
        ("too large", known, large),
        ("no secret", known, "3"),
        ("the secret", f"{known}?{urlencode({'secret': HOOK_SECRET})}", "3"),
    ):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Content-Length: {length}\r\nContent-Encoding: {coding}\r\n\r\n"
        raw = head.encode() + b"abc"
        heard = await line.pieces([raw[:cut], raw[cut:]])
        assert (PROBLEM, heard.status) == (heard.headers["Content-Type"], heard.body["status"])
        found[name] = heard.status
    wanted = {"no provider": 404, "no account": 404, "no event": 404, "too large": 413}
    assert wanted | {"no secret": 403, "the secret": status} == found
    assert 0 == await gateway.count("gateway.webhook_requests")


async def test_a_coded_body_that_nobody_reads() -> None:
    """The rest of it is dropped as it comes: 64 KiB of it may be 64 MiB, and nobody has asked."""
    bodies: list[StreamReader] = []

    async def refuse(request: web.Request) -> web.Response:
        bodies.append(request.content)
        return web.Response(status=403)

    app = web.Application()
    app.router.add_post("/", refuse)
    bomb = gzip.compress(bytes(2**26))
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: "
    async with serving(app, Patience()) as line:
        heard = await line.say(head + b"%d\r\n\r\n" % len(bomb) + bomb)
        fine = await line.say(head + b"20\r\nConnection: close\r\n\r\n" + gzip.compress(b""))

    assert (403, "close") == (heard.status, heard.headers["Connection"])
    assert bodies[0].total_bytes < 2**20
    assert 403 == fine.status


async def test_what_is_long_but_not_too_long(line: Line) -> None:
    """Callbacks and tokens may be twice as long as most servers take them."""
    url = b"/healthz?x=" + b"a" * (MAX_URL - 100)
    header = b"Authorization: Bearer " + b"a" * (MAX_HEADER - 100)

    heard = await line.say(
        b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%b\r\n\r\n" % (url, header)
    )

    assert (200, {"status": "ok"}) == (heard.status, heard.body)


async def test_a_head_that_is_never_whole(quick_line: Line) -> None:
    """Half a head is answered with 408 after its time, also when more of it comes bit by bit."""
    half = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    silent = await quick_line.say(half)
    slow = await quick_line.drip(half, b"X-More: x\r\n")

    for heard in (silent, slow):
        assert (408, PROBLEM, "gateway") == (
            heard.status,
            heard.headers["Content-Type"],
            heard.headers["Server"],
        )


async def test_a_head_that_begins_with_its_connection() -> None:
    """Half a head that is there when the connection is taken is not waited for longer: the event
    loop of `gateway web` hands it over before aiohttp waits for it."""
    async with serving(web.Application(), QUICK) as line:
        half = socket.create_connection(("127.0.0.1", line.port))
        half.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        reader, writer = await asyncio.open_connection(sock=half)
        heard = await listen(reader)
        writer.close()

    assert (408, PROBLEM) == (heard.status, heard.headers["Content-Type"])


async def test_who_asks_no_more() -> None:
    """A connection on which nothing is asked for long is closed without a word, but not within a
    head that has begun in time."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    loop = asyncio.get_running_loop()
    async with (
        serving(app, replace(QUICK, head=20, idle=0.7)) as line,
        line.open() as (reader, writer),
    ):
        for _ in range(2):
            writer.write(ask[:10])
            await asyncio.sleep(1)
            writer.write(ask[10:])
            assert 200 == (await listen(reader)).status
        answered = loop.time()
        assert await closes(reader)
        assert 0.6 < loop.time() - answered < 10


async def test_who_asks_nothing(quick_line: Line) -> None:
    """A connection that sends nothing is closed after its time, without an answer to nothing."""
    async with quick_line.open() as (reader, _):
        assert await closes(reader)


async def test_a_body_that_never_ends(quick_line: Line, settings: Settings) -> None:
    """A body of which nothing comes, or too little for too long, is answered with 408."""
    post = FORM + b"Content-Length: 9000\r\n\r\nemail="
    loop = asyncio.get_running_loop()
    silent = await quick_line.say(post)
    async with serving(settings, replace(QUICK, silence=20)) as line:
        begun = loop.time()
        slow = await line.drip(post, b"x")
        assert QUICK.body <= loop.time() - begun

    for heard in (silent, slow):
        assert (408, "close") == (heard.status, heard.headers["Connection"])


async def test_who_says_that_no_more_comes(line: Line) -> None:
    """A client that closes its own side after whole requests gets their answers, and then the end;
    one that closes it within a request is left at once."""
    ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    for raw, answers in ((ask, 1), (ask * 3, 3), (FORM + b"Content-Length: 9\r\n\r\nemail=a@b", 1)):
        async with line.open() as (reader, writer):
            writer.write(raw)
            writer.write_eof()
            assert [200] * answers == [(await listen(reader)).status for _ in range(answers)]
            assert await closes(reader)
    for raw in (b"", ask[:10], FORM + b"Content-Length: 9\r\n\r\nemail"):
        async with line.open() as (reader, writer):
            writer.write(raw)
            writer.write_eof()
            assert await closes(reader)


async def test_who_is_waited_for(settings: Settings) -> None:
    """A connection that has been answered may stay, and a body that keeps coming is taken."""
    ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    # Far longer than the pauses: a busy machine makes each of them longer.
    patience = replace(QUICK, silence=1.5, body=60)
    async with serving(settings, patience) as line, line.open() as (reader, writer):
        body = b"email=%b@b." % (b"a" * 30)
        writer.write(FORM + b"Content-Length: %d\r\n\r\n" % len(body))
        begun = asyncio.get_running_loop().time()
        for n in range(len(body)):
            await asyncio.sleep(0.05)
            writer.write(body[n : n + 1])
        assert 200 == (await listen(reader)).status
        assert patience.silence < asyncio.get_running_loop().time() - begun
        for _ in range(2):
            writer.write(ask)
            assert 200 == (await listen(reader)).status
            await asyncio.sleep(2 * QUICK.head)
        writer.write(ask[:10])
        assert 408 == (await listen(reader)).status


async def test_more_connections_than_there_is_room_for(settings: Settings) -> None:
    """One that is too many is closed at once, and there is room again when another has gone: the
    database's connections, and files, need descriptors that clients must not take."""
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving(settings, Patience(), most=2) as line, line.open() as (first, writer):
        async with line.open() as (second, other):
            for each in (writer, other):
                each.write(head)
            assert 200 == (await listen(first)).status
            assert 200 == (await listen(second)).status
            async with line.open() as (third, late):
                late.write(head)
                assert await closes(third)
        async with asyncio.timeout(20):
            while True:
                if await is_answered(line, head):
                    break
                await asyncio.sleep(0.01)


async def test_a_new_connection_looks_at_no_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one more connection costs does not grow with how many are open."""
    looks = 0

    def connections(_: web.Server) -> list[web.RequestHandler]:
        nonlocal looks
        looks += 1
        return []

    monkeypatch.setattr(web.Server, "connections", property(connections))
    async with serving(settings, Patience()) as line, line.open() as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert 200 == (await listen(reader)).status

    assert 0 == looks


async def is_answered(line: Line, head: bytes) -> bool:
    """Whether a new connection gets an answer."""
    async with line.open() as (reader, writer):
        writer.write(head)
        try:
            return 200 == (await listen(reader)).status
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return False


def test_how_many_connections_there_is_room_for() -> None:
    """An eighth of the descriptors, or 64, are kept from clients; a few are let in anyway."""
    assert [16, 64, 896, 57_344] == [most_connections(n) for n in (48, 128, 1024, 65_536)]
