"""Many callers at once: idempotency, fairness, rates, and reports that come too early."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import aiohttp
from aiohttp import web

from gateway.store import kept_reports, reports
from tests.faults.stage import (
    SENDER,
    Json,
    Stage,
    Tenant,
    by_message,
    message_id_of,
    moment,
    until,
    watched,
)


async def post(
    stage: Stage, tenant: Tenant, key: str, body: Json, path: str = "/v1/messages"
) -> tuple[int, bool, bytes]:
    """Status, whether it is a replay, and body of an answer under an Idempotency-Key."""
    headers = tenant.headers | {"Idempotency-Key": key}
    url = stage.settings.base_url + path
    async with stage.http.post(url, json=body, headers=headers) as response:
        replayed = response.headers.get("Idempotent-Replayed") == "true"
        return response.status, replayed, await response.read()


async def test_one_key_at_once(stage: Stage, tenant: Tenant) -> None:
    """Fifty requests at once with one key make one message, and get one answer."""
    body = {"channel": "sms", "to": "+15556000001", "body": "once"}
    answers = await asyncio.gather(*(post(stage, tenant, "k1", body) for _ in range(50)))
    assert Counter(status for status, _, _ in answers) == {202: 50}
    assert len({answer for _, _, answer in answers}) == 1
    assert Counter(replayed for _, replayed, _ in answers) == {True: 49, False: 1}
    assert set(await stage.rows()) == await stage.queued()
    assert len(await stage.queued()) == 1


async def test_one_key_at_once_for_a_batch(stage: Stage, tenant: Tenant) -> None:
    """A key covers the whole batch, also of requests at once."""
    items = [{"channel": "sms", "to": f"+1555600{n:04}", "body": "once"} for n in range(20)]
    body = {"messages": [*items, {"channel": "sms", "to": "nobody", "body": "never"}]}
    answers = await asyncio.gather(
        *(post(stage, tenant, "b1", body, "/v1/messages/batch") for _ in range(20))
    )
    assert {status for status, _, _ in answers} == {207}
    assert len({answer for _, _, answer in answers}) == 1
    assert Counter(replayed for _, replayed, _ in answers) == {True: 19, False: 1}
    assert set(await stage.rows()) == await stage.queued()
    assert len(await stage.queued()) == 20


async def test_one_key_for_different_bodies_at_once(stage: Stage, tenant: Tenant) -> None:
    """Of two bodies under one key at once one is stored, and the other is refused with 409."""
    bodies = [{"channel": "sms", "to": "+15556000001", "body": text} for text in ("one", "other")]
    answers = await asyncio.gather(*(post(stage, tenant, "k2", bodies[n % 2]) for n in range(30)))
    counted = Counter((n % 2, status) for n, (status, _, _) in enumerate(answers))
    assert set(counted.values()) == {15}
    assert sorted(status for _, status in counted) == [202, 409]
    assert len(await stage.rows()) == 1


async def test_one_key_over_a_restart(stage: Stage, tenant: Tenant) -> None:
    """After a restart the first answer comes again, and 409 for another body."""
    body = {"channel": "sms", "to": "+15556000001", "body": "once"}
    first = await post(stage, tenant, "k3", body)
    await stage.stop_web()
    await stage.start_web()
    # Equal as parsed JSON is equal.
    again = await post(stage, tenant, "k3", dict(reversed(body.items())))
    assert (first[:2], again) == ((202, False), (202, True, first[2]))
    assert (await post(stage, tenant, "k3", body | {"body": "twice"}))[0] == 409
    assert (await post(stage, await stage.tenant("Other"), "k3", body))[:2] == (202, False)
    assert len(await stage.rows()) == 2


async def test_key_of_a_refused_request(stage: Stage, tenant: Tenant) -> None:
    """A key is kept for a 202 only: the corrected request is accepted under it."""
    body = {"channel": "sms", "to": "nobody", "body": "once"}
    assert (await post(stage, tenant, "k4", body))[0] == 422
    assert (await post(stage, tenant, "k4", body | {"to": "+15556000001"}))[:2] == (202, False)


async def test_bulk_of_one_tenant_does_not_hold_up_another(stage: Stage, tenant: Tenant) -> None:
    """One message of B is among the first that leave, though A has 2,000 in the queue before it."""
    other = await stage.tenant("B")
    await stage.plan(outcome="queued", delay_ms=0, answer_delay_ms=5)
    bulk = [
        {"to": f"+1555700{n:04}", "body": "bulk", "priority": "bulk" if n % 2 else "normal"}
        for n in range(2000)
    ]
    await stage.send_many(tenant, bulk)
    single = (await stage.send(other, "+15557100000", "single"))["id"]
    stage.start_worker(concurrency=16)

    async def place() -> int | None:
        order = [message_id_of(asked) for asked in await stage.requests()]
        return order.index(single) if single in order else None

    async def is_there() -> bool:
        return await place() is not None

    await until(is_there, 20)
    assert (await place() or 0) < 16

    # And in the middle of it: not more than what was claimed already goes before.
    late = (await stage.send(other, "+15557100001", "late"))["id"]
    before = len(await stage.requests())
    single = late
    await until(is_there, 20)
    assert (await place() or 0) - before < 3 * 16


async def test_priority_within_a_tenant(stage: Stage, tenant: Tenant) -> None:
    """A high message overtakes the tenant's own bulk."""
    await stage.plan(outcome="queued", delay_ms=0, answer_delay_ms=5)
    await stage.send_many(
        tenant, [{"to": f"+1555700{n:04}", "body": "b", "priority": "bulk"} for n in range(300)]
    )
    high = (await stage.send(tenant, "+15557100000", "now", priority="high"))["id"]
    stage.start_worker(concurrency=8)

    async def is_there() -> bool:
        return high in map(message_id_of, await stage.requests())

    await until(is_there, 20)
    assert [message_id_of(asked) for asked in await stage.requests()].index(high) < 8


async def test_rate_with_two_workers(stage: Stage) -> None:
    """A sender of five messages a second never has many more, whoever sends them."""
    paced = await stage.tenant("Paced", rate=5)
    free = await stage.tenant("Free")
    await stage.plan(outcome="queued", delay_ms=0)
    async with watched() as late:
        stage.start_worker()
        stage.start_worker()
        ids = await stage.send_many(
            paced, [{"to": f"+1555800{n:04}", "body": "paced"} for n in range(17)]
        )
        quick = await stage.send_many(
            free, [{"to": f"+1555810{n:04}", "body": "free"} for n in range(17)]
        )

        async def unpaced_are_sent() -> bool:
            statuses = await stage.statuses()
            return all(statuses[i] == "sent" for i in quick)

        await until(unpaced_are_sent, 20)
        asked = by_message(await stage.requests())
        assert sum(i in asked for i in ids) < 17, "the unpaced tenant waited for the paced one"
        await stage.until_statuses(dict.fromkeys(ids, "sent"), 30)
        asked = by_message(await stage.requests())
        assert {i: len(asked[i]) for i in ids} == dict.fromkeys(ids, 1)
    times = sorted(moment(asked[i][0]) for i in ids)
    busiest = max(
        sum(start <= time < start + timedelta(seconds=1) for time in times) for start in times
    )
    # Two that pace on their own would have ten in each second; a busy database holds some up, which
    # leave with the next ones.
    assert busiest <= 9 + 5 * late.seconds
    assert (
        timedelta(seconds=16 / 5 - 0.5) - late.delta
        <= times[-1] - times[0]
        <= timedelta(seconds=12)
    )
    # Evenly, not in bursts with a pause between them.
    assert (
        max(later - earlier for earlier, later in pairwise(times))
        < timedelta(seconds=2) + late.delta
    )


async def test_report_before_the_answer(stage: Stage, tenant: Tenant) -> None:
    """A report of an external id that we do not have yet is kept, and applied when we do."""
    await stage.plan(outcome="queued", answer_delay_ms=1500)
    stage.start_worker()
    message_id = (await stage.send(tenant, "+15559000001", "early"))["id"]

    async def taken() -> bool:
        return any(asked["sid"] for asked in await stage.requests())

    await until(taken, 10)
    ((sid,),) = [[asked["sid"]] for asked in await stage.requests()]
    url = tenant.status_url()
    for word in ("delivered", "sent", "delivered"):
        assert await stage.report(tenant, url, MessageSid=sid, MessageStatus=word) == 200
    kept = "SELECT count(*) FROM gateway.unmatched_reports"
    # The answer is late by 1.5 s; on a machine that is later still, nothing was kept for long.
    held = await stage.pool.fetchval(kept)
    assert held == 2 or (await stage.statuses())[message_id] == "delivered"
    await stage.until_statuses({message_id: "delivered"}, 15)
    row = (await stage.rows())[message_id]
    assert (row["external_id"], await stage.pool.fetchval(kept)) == (sid, 0)
    assert row["delivered_at"] < row["sent_at"] or held == 0
    types = [event["type"] for event in (await stage.events())[message_id]]
    assert Counter(types) == Counter({"accepted": 1, "attempt": 1, "delivered": 1, "sent": 2})


async def test_report_that_just_misses_the_answer(stage: Stage, tenant: Tenant) -> None:
    """A report whose transaction and the answer's did not see each other is applied soon after."""
    await stage.plan(outcome="queued")
    stage.start_worker()
    message_id = (await stage.send(tenant, "+15559000001", "race"))["id"]
    await stage.until_statuses({message_id: "sent"}, 10)
    row = (await stage.rows())[message_id]
    unmatched = {
        "organization_id": tenant.organization_id,
        "account_id": tenant.account_id,
        "external_id": row["external_id"],
        "id": reports.report_id("late"),
        "type": "delivered",
        "status": "delivered",
        "occurred_at": row["sent_at"],
        "error_code": None,
        "error_message": None,
        "source": "twilio",
        "detail": {},
    }
    async with stage.database.as_service() as db:
        await kept_reports.keep_unmatched(db, [unmatched])
    await stage.until_statuses({message_id: "delivered"}, 15)


async def test_report_that_overtakes_a_claim(stage: Stage) -> None:
    """What is reported while a worker is just claiming its message is not sent any more."""
    paced = await stage.tenant("Paced", rate=50)
    await stage.plan(outcome="sent", delay_ms=0)
    stage.start_worker()
    first = (await stage.send(paced, "+15559000001", "makes the sender's pace"))["id"]
    await stage.until_statuses({first: "sent"}, 10)
    await stage.stop_workers()

    async def claims() -> bool:
        waiting: int = await stage.pool.fetchval(
            """SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'"""
        )
        return waiting > 0

    async with stage.pool.acquire() as holding, holding.transaction():
        # Whoever claims waits for the sender's pace, with the queue entry locked already.
        await holding.execute("SELECT FROM gateway.sender_paces FOR UPDATE")
        message_id = (await stage.send(paced, "+15559000002", "is there already"))["id"]
        stage.start_worker()
        await until(claims, 10)
        url = paced.status_url(message_id)
        told = await stage.report(paced, url, MessageSid="SMthere", MessageStatus="delivered")
        assert told == 200
    await stage.until_statuses({message_id: "delivered"}, 10)
    assert [message_id_of(asked) for asked in await stage.requests()] == [first]


async def test_report_that_is_about_nobody(stage: Stage, tenant: Tenant) -> None:
    """A signed report about nobody's message is kept, answered 200, and changes nothing."""
    stage.start_worker()
    url = tenant.status_url()
    answer = await stage.report(tenant, url, MessageSid="SMnobody", MessageStatus="sent")
    foreign = await stage.tenant("Other")
    message_id = (await stage.send(foreign, "+15559000001", "theirs"))["id"]
    await stage.until_statuses({message_id: "delivered"}, 10)
    sid = (await stage.rows())[message_id]["external_id"]
    theirs = await stage.report(
        tenant, tenant.status_url(message_id), MessageSid=sid, MessageStatus="failed"
    )
    assert (answer, theirs) == (200, 200)
    kept = await stage.pool.fetch(
        "SELECT organization_id, external_id FROM gateway.unmatched_reports ORDER BY 2"
    )
    mine = tenant.organization_id
    assert {tuple(row) for row in kept} == {(mine, "SMnobody"), (mine, sid)}
    assert (await stage.rows())[message_id]["failed_at"] is None


async def test_retry_after_in_its_forms(stage: Stage, tenant: Tenant) -> None:
    """A Retry-After is waited for on a 503 as on a 429, and for a second at most beyond it."""
    asked: dict[str, list[float]] = {}
    loop = asyncio.get_running_loop()

    async def create(request: web.Request) -> web.Response:
        body = str((await request.post())["Body"])
        asked.setdefault(body, []).append(loop.time())
        if len(asked[body]) == 1:
            status, seconds = body.split()
            return web.json_response(
                {"code": 20429, "message": "Later", "status": int(status)},
                status=int(status),
                headers={"Retry-After": seconds},
            )
        return web.json_response(
            {"sid": f"SM{body.replace(' ', '')}", "status": "queued"}, status=201
        )

    app = web.Application()
    app.router.add_post("/2010-04-01/Accounts/{sid}/Messages.json", create)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        stage.settings = stage.settings.model_copy(update={"provider_api_urls": {"twilio": url}})
        stage.start_worker()
        bodies = ["429 0", "429 2", "503 2"]
        async with watched() as late:
            ids = [(await stage.send(tenant, "+15559000001", body))["id"] for body in bodies]
            await stage.until_statuses(dict.fromkeys(ids, "sent"), 20)
    finally:
        await stage.stop_workers()
        await runner.cleanup()
    waits = {body: asked[body][1] - asked[body][0] for body in bodies}
    assert {body: len(times) for body, times in asked.items()} == dict.fromkeys(bodies, 2)
    for body, wait in waits.items():
        seconds = float(body.split()[1])
        assert seconds <= wait <= seconds + 1 + 2 + late.seconds, waits  # two: a loaded machine


async def test_reply_while_it_is_sent(stage: Stage, tenant: Tenant) -> None:
    """Inbound messages that Twilio delivers twice at once are stored once."""
    stage.start_worker()
    url = f"{tenant.url}/webhooks/twilio/{tenant.account_id}/message"
    form = {"MessageSid": "SMinbound", "From": "+15559000001", "To": SENDER, "Body": "Yes"}
    answers = await asyncio.gather(*(stage.report(tenant, url, **form) for _ in range(12)))
    assert set(answers) == {200}
    rows = list((await stage.rows()).values())
    assert [(row["direction"], row["status"], row["body"]) for row in rows] == [
        ("inbound", "received", "Yes")
    ]


async def test_cancel_against_the_worker(stage: Stage, tenant: Tenant) -> None:
    """Of cancel and send one wins: what was canceled was never sent, what was not canceled was."""
    await stage.plan(outcome="queued", delay_ms=0)
    ids = await stage.send_many(
        tenant, [{"to": f"+1555900{n:04}", "body": "maybe"} for n in range(60)]
    )

    async def cancel(message_id: str) -> int:
        url = f"{stage.settings.base_url}/v1/messages/{message_id}/cancel"
        async with stage.http.post(url, headers=tenant.headers) as response:
            return response.status

    stage.start_worker(concurrency=4)
    answers = await asyncio.gather(*map(cancel, reversed(ids)))
    ends = {
        message_id: "canceled" if answer == 200 else "sent"
        for message_id, answer in zip(reversed(ids), answers, strict=True)
    }
    await stage.until_statuses(ends, 20)
    assert set(answers) <= {200, 409}
    asked = by_message(await stage.requests())
    assert {i: len(some) for i, some in asked.items()} == {
        i: 1 for i, end in ends.items() if end == "sent"
    }


async def test_more_connections_than_the_pool(stage: Stage, tenant: Tenant) -> None:
    """Four hundred requests at once are all accepted, each stored once."""
    connector = aiohttp.TCPConnector(limit=200)
    async with aiohttp.ClientSession(connector=connector, headers=tenant.headers) as http:

        async def one(n: int) -> str:
            body = {"channel": "sms", "to": f"+1555950{n:04}", "body": "many"}
            async with http.post(stage.settings.base_url + "/v1/messages", json=body) as response:
                answer = await response.json()
                assert response.status == 202, answer
                return str(answer["id"])

        ids = await asyncio.gather(*(one(n) for n in range(400)))
    assert set(await stage.rows()) == await stage.queued() == set(ids)
    assert len(set(ids)) == 400
