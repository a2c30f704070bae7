"""`kill -9` of web and worker at random moments under load: nothing lost, nothing sent twice.

    python -m tests.faults.kill9 --rounds 200 [--seed N]

Uses an embedded PostgreSQL of its own, or the migrated database in `--database`, which is written
to. A client posts with an Idempotency-Key until it has a 202. The provider is the simulator, which
reports with signed webhooks, and retries for some seconds. Every process is started again as soon
as it has died. Exits with 0 if at the end the simulator has taken every message that was answered
202 exactly once, and no other, and every report that was answered 2xx is in its row.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import aiohttp
import asyncpg

from gateway.config import Settings
from gateway.embedded.server import EmbeddedServer
from gateway.schema import migrate
from gateway.store.database import Database
from tests.cli.shell import free_port
from tests.faults.processes import QUICK_WORKER, WEB, WORKER, Supervisor, environment, supervised
from tests.faults.stage import (
    SECRET_KEY,
    Json,
    Tenant,
    by_message,
    make_tenant,
    running_simulator,
    seeded,
    tell_simulator,
)

Say = Callable[[str], None]


@dataclass(kw_only=True)
class Plan:
    """How often processes are killed, and how busy they are; waits are in seconds."""

    seed: int
    rounds: int
    rate: float = 40.0
    workers: int = 1
    shortest: float = 0.05
    longest: float = 1.0
    quick: bool = False
    drain: float = 120.0


@dataclass(kw_only=True)
class Outcome:
    """What was done, and what went wrong."""

    seed: int
    rounds: int
    seconds: float = 0.0
    accepted: int = 0
    attempts: int = 0
    asked: int = 0
    reports_lost: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    client_saw: Counter[str] = field(default_factory=Counter)
    drained_in: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = ", ".join(f"{name} killed {count} times" for name, count in self.kills.items())
        lines = [
            f"seed {self.seed}: {self.rounds} rounds in {self.seconds:.0f} s: {kills};",
            f"{self.accepted} messages accepted; the client saw {dict(self.client_saw)};",
            f"{self.attempts} attempts at the provider, {self.asked} answers lost and asked for;",
            f"of {self.reports_lost} messages some reports were lost for good;",
            f"the queue was empty {self.drained_in:.1f} s after the last kill.",
        ]
        if self.wrong:
            lines += [f"WRONG: {len(self.wrong)} things", *self.wrong[:50]]
        else:
            lines.append("Nothing lost, nothing sent twice.")
        return "\n".join(lines)


class Client:
    """An internal service that tries until it has a 202, and sometimes repeats the request then."""

    def __init__(self, url: str, tenant: Tenant, chance: Random, outcome: Outcome) -> None:
        self._url = url + "/v1/messages"
        self._tenant = tenant
        self._chance = chance
        self._outcome = outcome
        self.told: dict[str, str] = {}  # by Idempotency-Key

    async def run(self, rate: float, stop: asyncio.Event) -> None:
        """Post `rate` messages a second until `stop` is set; returns when all are accepted."""
        tasks: set[asyncio.Task[None]] = set()
        connector = aiohttp.TCPConnector(limit=32)
        async with aiohttp.ClientSession(connector=connector) as http:
            number = 0
            while not stop.is_set():
                # No backlog builds up while web is down.
                if len(tasks) < 200:
                    number += 1
                    task = asyncio.create_task(self._message(http, number))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                await asyncio.sleep(self._chance.expovariate(rate))
            await asyncio.gather(*tasks)

    async def _message(self, http: aiohttp.ClientSession, number: int) -> None:
        key = f"{self._outcome.seed}-{number}"
        # Some have the same text to the same person: only ids tell such twins apart.
        text = "twin" if number % 20 < 2 else f"message {number}"
        body = {"channel": "sms", "to": f"+1555{number // 20 % 10**7:07}", "body": text}
        message_id = await self._until_accepted(http, key, body)
        self.told[key] = message_id
        if self._chance.random() < 0.1:
            again = await self._until_accepted(http, key, body)
            if again != message_id:
                self._outcome.wrong.append(f"{key} made two messages: {message_id}, {again}")

    async def _until_accepted(self, http: aiohttp.ClientSession, key: str, body: Json) -> str:
        headers = self._tenant.headers | {"Idempotency-Key": key}
        timeout = aiohttp.ClientTimeout(total=8)
        wait = 0.05
        while True:
            try:
                async with http.post(
                    self._url, json=body, headers=headers, timeout=timeout
                ) as response:
                    if response.status == 202:
                        self._outcome.client_saw["202"] += 1
                        return str((await response.json())["id"])
                    self._outcome.client_saw[str(response.status)] += 1
                    if response.status != 503:
                        text = await response.text()
                        self._outcome.wrong.append(f"{key} got {response.status}: {text[:300]}")
            except (aiohttp.ClientError, TimeoutError) as error:
                self._outcome.client_saw[type(error).__name__] += 1
            await asyncio.sleep(self._chance.uniform(0.5, 1.0) * wait)
            wait = min(2 * wait, 0.8)


async def run(
    plan: Plan,
    data: Path,
    dsn: str,
    *,
    say: Say = lambda _: None,
    embedded: bool = False,
    strike: Callable[[Random, Sequence[Supervisor]], Awaitable[str]] | None = None,
) -> Outcome:
    """Run `plan` on a migrated database; `strike` kills something and returns what (default:
    `kill`).

    With `embedded` the processes use the server of `data`, which is the one of `dsn`.
    """
    chance = seeded(plan.seed)
    outcome = Outcome(seed=plan.seed, rounds=plan.rounds)
    began = monotonic()
    async with AsyncExitStack() as stack:
        # Long enough for reports to be retried after a start of web, which takes a second or two.
        simulator_url = await stack.enter_async_context(
            running_simulator(seed=plan.seed, retry_wait=0.35)
        )
        port = free_port()  # reserved, because web is started on it again and again
        env = environment(
            port=port, simulator_url=simulator_url, data=data, dsn=None if embedded else dsn
        )
        http = await stack.enter_async_context(aiohttp.ClientSession())
        tenant = await _tenant(dsn, env, http, simulator_url)
        await _plan_provider(http, simulator_url)
        worker = QUICK_WORKER if plan.quick else WORKER
        processes = [Supervisor("web", WEB, env)] + [
            Supervisor("worker", worker, env) for _ in range(plan.workers)
        ]
        await stack.enter_async_context(supervised(*processes))
        await asyncio.wait_for(
            asyncio.gather(*(some.process.ready.wait() for some in processes)), 60
        )
        client = Client(env["PUBLIC_URL"], tenant, seeded(plan.seed + 1), outcome)
        over = asyncio.Event()
        posting = asyncio.create_task(client.run(plan.rate, over))
        await asyncio.sleep(0.3)
        for number in range(1, plan.rounds + 1):
            outcome.kills[await (strike or kill)(chance, processes)] += 1
            await _pause(plan, chance, processes)
            if number % 10 == 0:
                say(f"round {number} of {plan.rounds}, {len(client.told)} messages accepted")
        over.set()
        await asyncio.wait_for(posting, 90)
        last = monotonic()
        say("the last round is over; waiting until the queue is empty")
        await _drained(dsn, http, simulator_url, plan.drain, outcome)
        outcome.drained_in = monotonic() - last
        await _judge(dsn, http, simulator_url, client, outcome)
        codes = [await some.stop() for some in processes]
        if any(codes):
            outcome.wrong.append(f"SIGTERM at the end: exit codes {codes}")
        for some in processes:
            outcome.wrong += [
                f"{some.name} said {count} times: {line}"
                for line, count in Counter(some.process.defects).items()
            ]
            outcome.wrong += [f"{some.name} ended by itself: {code}" for code in some.endings]
        outcome.wrong += await _left_running(data)
    outcome.seconds = monotonic() - began
    return outcome


async def kill(chance: Random, processes: Sequence[Supervisor]) -> str:
    """Kill -9 web, a worker, or all of them."""
    what = chance.choice(["web", "worker", "worker", "all"])
    named = [some for some in processes if some.name == what]
    for victim in [chance.choice(named)] if named else processes:
        victim.process.send(signal.SIGKILL)
    return what


async def _pause(plan: Plan, chance: Random, processes: Sequence[Supervisor]) -> None:
    """Wait, mostly until web and a worker are up again, and then for a random moment."""
    if chance.random() < 0.8:
        deadline = monotonic() + 10
        await asyncio.sleep(0.05)  # until the supervisors know of the death
        for name in ("web", "worker"):
            starting = [
                asyncio.create_task(some.process.ready.wait())
                for some in processes
                if some.name == name
            ]
            left = max(deadline - monotonic(), 0)
            await asyncio.wait(starting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in starting:
                task.cancel()
    await asyncio.sleep(chance.uniform(plan.shortest, plan.longest))


async def _tenant(
    dsn: str, env: dict[str, str], http: aiohttp.ClientSession, simulator_url: str
) -> Tenant:
    settings = Settings(
        database_url=dsn, public_url=env["PUBLIC_URL"], gateway_secret_keys=(SECRET_KEY,)
    )
    database = await Database.connect(dsn, size=1)
    try:
        tenant = await make_tenant(database, settings, "Kill 9")
    finally:
        await database.close()
    await tell_simulator(http, simulator_url, tenant)
    return tenant


async def _plan_provider(http: aiohttp.ClientSession, simulator_url: str) -> None:
    """Plan slow answers and faults, so that kills fall into every moment of a send."""
    for body in (
        {"delay_ms": 60, "answer_delay_ms": 60},
        {"match": {"body": "7"}, "delay_ms": 10, "answer_delay_ms": 200},
        {"match": {"body": "3"}, "delay_ms": 200, "answer_delay_ms": 10},
        {"match": {"body": "55"}, "faults": ["429", "reset"], "delay_ms": 20},
        {"match": {"body": "66"}, "faults": ["reset_after_accept", "before_response"]},
        {"match": {"body": "88"}, "faults": ["drop", "500"], "answer_delay_ms": 30},
    ):
        async with http.post(f"{simulator_url}/_sim/plan", json=body) as response:
            assert response.status == 201, await response.text()


async def _sim(http: aiohttp.ClientSession, url: str, what: str) -> list[Json]:
    async with http.get(f"{url}/_sim/{what}") as response:
        return list((await response.json())["data"])


async def _drained(
    dsn: str, http: aiohttp.ClientSession, simulator_url: str, seconds: float, outcome: Outcome
) -> None:
    """Wait until the queue is empty, and the simulator has made or given up every report."""
    deadline = monotonic() + seconds
    while True:
        left = await _fetch(dsn, "SELECT count(*) AS count FROM gateway.queue")
        under_way = [
            message["sid"]
            for message in await _sim(http, simulator_url, "messages")
            if not all(callback["done"] for callback in message["callbacks"])
        ]
        if not left[0]["count"] and not under_way:
            # The last reports may be waiting for the next check of early reports.
            await asyncio.sleep(0.5)
            return
        if monotonic() > deadline:
            rows = await _fetch(
                dsn,
                "SELECT q.*, m.status FROM gateway.queue q "
                "JOIN public.messages m ON m.id = q.message_id LIMIT 5",
            )
            outcome.wrong.append(
                f"{left[0]['count']} in the queue, {len(under_way)} reports under way: {rows}"
            )
            return
        await asyncio.sleep(0.2)


async def _left_running(data: Path) -> list[str]:
    """Children of killed processes that are still running."""
    deadline = monotonic() + 10
    while True:
        found = await asyncio.to_thread(processes_of, data)
        if not found or monotonic() > deadline:
            return [f"left running: {pid} {words}" for pid, words in found.items()]
        await asyncio.sleep(0.2)


def processes_of(data: Path) -> dict[int, str]:
    """Processes that were started for a data folder, except its PostgreSQL: pid, command line."""
    mark = f"GATEWAY_DATA={data}".encode()
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if words and "embedded/holder" not in words and "postgres" not in words:
                    found[int(folder.name)] = words
    return found


async def _fetch(dsn: str, statement: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [dict(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def _judge(
    dsn: str, http: aiohttp.ClientSession, simulator_url: str, client: Client, outcome: Outcome
) -> None:
    """Compare the answers to the client, the messages at the provider, and the rows."""
    told = set(client.told.values())
    outcome.accepted = len(told)
    if len(told) != len(client.told):
        outcome.wrong.append("two keys have one message")
    rows = {str(row["id"]): row for row in await _fetch(dsn, "SELECT * FROM public.messages")}
    if set(rows) != told:
        outcome.wrong.append(
            f"stored and not told: {set(rows) - told}; told and not stored: {told - set(rows)}"
        )
    asked = by_message(await _sim(http, simulator_url, "requests"))
    if set(asked) - told:
        outcome.wrong.append(f"sent and told to nobody: {set(asked) - told}")
    outcome.attempts = sum(map(len, asked.values()))
    (lost,) = await _fetch(
        dsn, "SELECT count(*) AS count FROM gateway.message_events WHERE type = 'answer_lost'"
    )
    outcome.asked = lost["count"]
    _judge_twice(rows, asked, outcome)
    resources = {m["sid"]: m for m in await _sim(http, simulator_url, "messages")}
    for message_id in told & set(rows):
        _judge_row(rows[message_id], resources, outcome)


def _judge_twice(rows: dict[str, Json], asked: dict[str, list[Json]], outcome: Outcome) -> None:
    """Check that each message was taken once; of twins, as many as there are.

    Twins whose answers and reports were all lost cannot be told apart at the provider: one may
    have got the other's id. Their recipient has still got each text once.
    """
    taken = {i: sum(some["sid"] is not None for some in each) for i, each in asked.items()}
    contents: Counter[tuple[str, str]] = Counter()
    for message_id, row in rows.items():
        contents[row["to_address"], row["body"]] += 1
        if row["body"] != "twin" and taken.get(message_id, 0) != 1:
            outcome.wrong.append(f"{message_id} was taken {taken.get(message_id, 0)} times")
    accepted = Counter(
        (some["params"]["To"], some["params"]["Body"])
        for each in asked.values()
        for some in each
        if some["sid"]
    )
    outcome.wrong += [
        f"{content}: {count} messages, taken {accepted[content]} times"
        for content, count in contents.items()
        if accepted[content] != count
    ]
    ids = Counter(row["external_id"] for row in rows.values() if row["body"] != "twin")
    outcome.wrong += [f"{count} messages have the id {i}" for i, count in ids.items() if count > 1]


def _judge_row(row: Json, resources: dict[str, Json], outcome: Outcome) -> None:
    """Check that a row has the status of the provider's answered reports, and is at least sent."""
    resource = resources.get(row["external_id"])
    if resource is None:
        outcome.wrong.append(f"{row['id']} is {row['status']}, its id {row['external_id']}")
        return
    answered = {c["event"] for c in resource["callbacks"] if c["status"] in {200, 204}}
    made = {c["event"] for c in resource["callbacks"]}
    outcome.reports_lost += len(answered) < len(resource["callbacks"])
    # A report may be stored although the answer to it was lost with its process. Or none is stored,
    # and the status is that of the provider's list, which is asked after a lost answer.
    told = (answered, made, {resource["status"]})
    right = {"delivered" if "delivered" in some else "sent" for some in told}
    if row["status"] not in right and row["body"] != "twin":
        outcome.wrong.append(f"{row['id']} is {row['status']}, not {right}: {answered} of {made}")
    refused = {c["status"] for c in resource["callbacks"]} - {200, 204, 503, None}
    if refused:
        outcome.wrong.append(f"{row['id']}: webhooks were answered {refused}")


@asynccontextmanager
async def own_database() -> AsyncIterator[tuple[Path, str]]:
    """A data folder with an embedded PostgreSQL of its own, migrated."""
    data = Path(tempfile.mkdtemp(prefix="gwk-"))
    try:
        async with EmbeddedServer(data) as server:
            await migrate.up(server.dsn)
            yield data, server.dsn
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill9", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rate", type=float, default=40.0, help="messages a second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--longest", type=float, default=0.6, help="seconds from up to kill")
    parser.add_argument("--quick", action="store_true", help="ask the provider sooner")
    parser.add_argument("--database", help="a superuser's DSN of a migrated database")
    return parser.parse_args(words)


async def _main(given: argparse.Namespace) -> Outcome:
    plan = Plan(
        seed=secrets.randbits(32) if given.seed is None else given.seed,
        rounds=given.rounds,
        rate=given.rate,
        workers=given.workers,
        longest=given.longest,
        quick=given.quick,
    )

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command

    say(f"seed {plan.seed}")
    if given.database:
        with tempfile.TemporaryDirectory(prefix="gwk-") as folder:
            return await run(plan, Path(folder), given.database, say=say)
    async with own_database() as (data, dsn):
        return await run(plan, data, dsn, say=say)


if __name__ == "__main__":
    result = asyncio.run(_main(_arguments(None)))
    print(result)  # noqa: T201 - a command
    sys.exit(1 if result.wrong else 0)
