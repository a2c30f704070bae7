"""The fastest program of this shape, without the features: the least that accepting can cost.

aiohttp, pydantic and a template that is compiled once. Requests that come while a statement runs
are stored together by the next one: message, queue entry and event. One organization, no keys, no
suppressions, no conversations, no Idempotency-Key. `python -m benchmarks.naive.skeleton PROCESSES`.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import uvloop
from aiohttp import web
from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel

from gateway.ids import new_id

_MOST = 200
_SENDER = "+15551230001"
_STORE = """
WITH incoming AS MATERIALIZED (
  SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[]) AS i (id, to_address, body)
), stored AS (
  INSERT INTO public.messages (
    id, organization_id, channel, direction, from_address, to_address, body, status
  )
  SELECT id, $1, 'sms', 'outbound', $5, to_address, body, 'pending' FROM incoming
), queued AS (
  INSERT INTO gateway.queue (organization_id, message_id, channel)
  SELECT $1, id, 'sms' FROM incoming
)
INSERT INTO gateway.message_events (
  organization_id, message_id, id, type, status, occurred_at, source
)
SELECT $1, id, id, 'accepted', 'pending', now(), 'skeleton' FROM incoming"""

Row = tuple[UUID, str, str]


class SendRequest(BaseModel):
    """The body of a request to send."""

    channel: str
    to: str
    template: str
    variables: dict[str, Any] = {}


class Batch(BaseModel):
    """The body of a batch."""

    messages: list[SendRequest]


class Skeleton:
    """Accepts messages of one organization."""

    def __init__(self, db: asyncpg.Connection[asyncpg.Record], mine: UUID, text: Template) -> None:
        self._db, self._mine, self._text = db, mine, text
        self._waiting: list[tuple[list[Row], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()

    async def flush(self) -> None:
        """Store waiting messages together, forever."""
        while True:
            await self._wake.wait()
            now, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            if not self._waiting:
                self._wake.clear()
            columns = zip(*(row for rows, _ in now for row in rows), strict=True)
            await self._db.execute(_STORE, self._mine, *columns, _SENDER)
            for _, stored in now:
                stored.set_result(None)

    async def one(self, request: web.Request) -> web.Response:
        """POST /v1/messages."""
        (shown,) = await self._accept([SendRequest.model_validate_json(await request.read())])
        return _answer(202, shown)

    async def many(self, request: web.Request) -> web.Response:
        """POST /v1/messages/batch."""
        batch = Batch.model_validate_json(await request.read())
        shown = await self._accept(batch.messages)
        return _answer(207, {"data": [{"status": 202, "message": each} for each in shown]})

    async def _accept(self, wanted: list[SendRequest]) -> list[dict[str, object]]:
        rows = [(new_id(), each.to, self._text.render(each.variables)) for each in wanted]
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, stored))
        self._wake.set()
        await stored
        return [
            {"id": id_, "to_address": to, "body": body, "status": "pending"}
            for id_, to, body in rows
        ]


def _answer(status: int, value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


async def serve() -> None:
    """Listen on PORT, which other processes share."""
    db = await asyncpg.connect(os.environ["DATABASE_URL"])
    mine = await db.fetchval("SELECT id FROM public.organizations LIMIT 1")
    source = await db.fetchval("SELECT content FROM public.message_templates LIMIT 1")
    env = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    skeleton = Skeleton(db, mine, env.from_string(source))
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/v1/messages", skeleton.one)
    app.router.add_post("/v1/messages/batch", skeleton.many)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"]), reuse_port=True).start()
    print("is ready", flush=True)
    await skeleton.flush()


def main() -> None:
    """Serve with so many processes; when the first ends, the others do, too."""
    for _ in range(int(sys.argv[1]) - 1):
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            break
    uvloop.run(serve())


if __name__ == "__main__":
    main()
