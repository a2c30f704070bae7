"""A provider that is faster than its callers: `python -m benchmarks.provider PORT ...`.

It answers Twilio's Messages resource with a new SID each time, at once or after `--delay` seconds;
with `--token` it reports `sent` and `delivered`, signed, as Twilio does. GET /stats has counts.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import orjson
import uvloop

from benchmarks.traffic import twilio_report
from benchmarks.wire import Wire

# How many connections make reports: real providers do not wait for one answer before the next.
REPORTERS = 128
_ANSWER = orjson.dumps(
    {
        "account_sid": "AC" + "0" * 32,
        "api_version": "2010-04-01",
        "body": "taken",
        "date_created": "Thu, 26 Nov 2026 12:00:00 +0000",
        "date_sent": None,
        "date_updated": "Thu, 26 Nov 2026 12:00:00 +0000",
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": "+15551230001",
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "sid": "SM" + "@" * 32,
        "status": "queued",
        "subresource_uris": {},
        "to": "+15551230002",
        "uri": "/2010-04-01",
    }
)


@dataclass(kw_only=True)
class Stats:
    """Counts since the last reset; times are of the monotonic clock."""

    taken: int = 0
    first: float = 0.0
    last: float = 0.0
    in_flight: int = 0
    peak: int = 0
    reported: int = 0
    refused_reports: int = 0
    arrivals: list[tuple[str, float]] = field(default_factory=list)


class Provider:
    """What all connections share."""

    def __init__(self, delay: float, token: str | None, *, keeps_texts: bool) -> None:
        self.delay = delay
        self.keeps_texts = keeps_texts
        self._token = token
        self._serial = time.time_ns()
        self.stats = Stats()
        self._due: deque[bytes] = deque()
        self._idle: list[Reporter] = []
        self._port = 0
        self._known = asyncio.Event()

    def take(self, body: bytes) -> bytes:
        """The answer to one request to send."""
        now = time.monotonic()
        stats = self.stats
        stats.taken += 1
        stats.first = stats.first or now
        stats.last = now
        self._serial += 1
        sid = b"SM%032x" % self._serial
        if self._token is not None or self.keeps_texts:
            form = parse_qs(body.decode())
            if self.keeps_texts:
                stats.arrivals.append((form["Body"][0], now))
            if self._token is not None:
                self._report(form, sid.decode(), self._token)
        return _ANSWER.replace(b"SM" + b"@" * 32, sid)

    def _report(self, form: dict[str, list[str]], sid: str, token: str) -> None:
        url = form["StatusCallback"][0].partition("#")[0]
        self._port = urlsplit(url).port or 80
        self._known.set()
        loop = asyncio.get_running_loop()
        for word, seconds in (("sent", 0.05), ("delivered", 0.25)):
            made = twilio_report(url, token, sid, word, form["To"][0], form["From"][0])
            loop.call_later(seconds, self._post, made)

    def _post(self, request: bytes) -> None:
        self._due.append(request)
        if self._idle:
            self._idle.pop().write(self._due.popleft())

    async def open_reporters(self, count: int) -> None:
        """Open connections for reports, once their address is known."""
        loop = asyncio.get_running_loop()
        await self._known.wait()
        for _ in range(count):
            await loop.create_connection(lambda: Reporter(self), "127.0.0.1", self._port)

    def free(self, reporter: Reporter) -> None:
        """Give a reporter its next report."""
        if self._due:
            reporter.write(self._due.popleft())
        else:
            self._idle.append(reporter)

    def reported(self, head: bytes) -> None:
        """Count the answer to a report."""
        self.stats.reported += 1
        if b" 200 " not in head[:14] and b" 204 " not in head[:14]:
            self.stats.refused_reports += 1


class Reporter(Wire):
    """One connection that makes reports."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self._provider = provider

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for reports."""
        super().connection_made(transport)
        self._provider.free(self)

    def got(self, head: bytes, _body: bytes) -> None:
        """Count the answer, and continue with the next report."""
        self._provider.reported(head)
        self._provider.free(self)


class Caller(Wire):
    """One connection of a client that sends."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self._provider = provider

    def got(self, head: bytes, body: bytes) -> None:
        """Answer one request."""
        provider = self._provider
        if head.startswith(b"GET /stats"):
            self._say(b"200 OK", orjson.dumps(provider.stats))
        elif head.startswith(b"POST /reset"):
            provider.stats = Stats(in_flight=provider.stats.in_flight)
            self._say(b"200 OK", b"{}")
        elif b"/Messages.json" in head:
            stats = provider.stats
            stats.in_flight += 1
            stats.peak = max(stats.peak, stats.in_flight)
            made = provider.take(body)
            if provider.delay:
                asyncio.get_running_loop().call_later(provider.delay, self._done, made)
            else:
                self._done(made)
        else:
            self._say(b"404 Not Found", b'{"code": 20404, "message": "none", "status": 404}')

    def _done(self, made: bytes) -> None:
        self._provider.stats.in_flight -= 1
        self._say(b"201 Created", made)

    def _say(self, status: bytes, body: bytes) -> None:
        self.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (status, len(body), body)
        )


async def serve(port: int, delay: float, token: str | None, *, keeps_texts: bool) -> None:
    """Answer until killed."""
    provider = Provider(delay, token, keeps_texts=keeps_texts)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Caller(provider), "127.0.0.1", port, backlog=4096)
    print("provider is ready", flush=True)
    if token is not None:
        await provider.open_reporters(REPORTERS)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--token", help="the auth token that signs reports; none: no reports")
    parser.add_argument("--keep-texts", action="store_true", help="say when each text arrived")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(given.port, given.delay, given.token, keeps_texts=given.keep_texts))


if __name__ == "__main__":
    main()
