"""The same Idempotency-Key is the same request, once, however often and at once it is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tests.service.locks import until_somebody_waits

if TYPE_CHECKING:
    from tests.service.conftest import Answer, Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
RULE = "ALTER TABLE messages ADD CONSTRAINT crm CHECK (body <> 'bad')"
PICTURE = {"filename": "a.png", "content_type": "image/png", "content": "iVBORw0KGgo="}
NO_RULE = "ALTER TABLE messages DROP CONSTRAINT crm"


async def as_crm(gateway: Gateway, statement: str) -> None:
    """Another program's change of the schema."""
    connection = await asyncpg.connect(str(gateway.settings.database_url))
    await connection.execute(statement)
    await connection.close()


async def test_idempotency_key(gateway: Gateway, ask: Ask) -> None:
    """The same key and body gives the first answer again; another body is a 409."""
    headers = {"Idempotency-Key": "k-1"}
    first = await ask("POST", "/v1/messages", SMS | {"metadata": {"n": 7}}, headers=headers)
    again = await ask(
        "POST",
        "/v1/messages",
        headers=headers | {"Content-Type": "application/json"},
        data=b'{"metadata": {"n": 7.0}, "body":"Hello", "to":"+447700900123","channel":"sms"}',
    )
    other = await ask("POST", "/v1/messages", SMS, headers=headers)
    tested = await ask(
        "POST",
        "/v1/messages",
        SMS | {"metadata": {"n": 7}},
        headers=headers,
        key=gateway.a.test_key,
    )
    foreign = await ask("POST", "/v1/messages", SMS, headers=headers, key=gateway.b.key)

    assert (202, first.body) == (again.status, again.body)
    assert ("true", None) == (
        again.headers.get("Idempotent-Replayed"),
        first.headers.get("Idempotent-Replayed"),
    )
    assert (409, 409, 202) == (other.status, tested.status, foreign.status)
    assert 2 == await gateway.count("messages")


async def test_refusal_is_not_remembered(ask: Ask) -> None:
    """A key whose request was refused can be used for the corrected one."""
    headers = {"Idempotency-Key": "k-2"}
    refused = await ask("POST", "/v1/messages", SMS | {"to": "x"}, headers=headers)
    accepted = await ask("POST", "/v1/messages", SMS, headers=headers)

    assert (422, 202) == (refused.status, accepted.status)
    assert "Idempotent-Replayed" not in accepted.headers


async def test_what_of_a_batch_was_not_judged(gateway: Gateway, ask: Ask) -> None:
    """What was answered 503 under a key is tried again with it, by one of the requests that come at
    once; the rest of the answer stays as it was, and nothing is stored twice."""
    batch = {"messages": [SMS, SMS | {"body": "bad"}, SMS | {"to": "x"}, SMS | {"body": "bad"}]}

    async def send() -> Answer:
        return await ask("POST", "/v1/messages/batch", batch, headers={"Idempotency-Key": "k-3"})

    await as_crm(gateway, RULE)
    first, still = await send(), await send()
    await as_crm(gateway, NO_RULE)
    answers = await asyncio.gather(*(send() for _ in range(5)))
    last = await send()

    assert [202, 503, 422, 503] == [item["status"] for item in first.body["data"]]
    assert first.body == still.body
    done = last.body["data"]
    assert [202, 202, 422, 202] == [item["status"] for item in done]
    assert [first.body["data"][n] for n in (0, 2)] == [done[n] for n in (0, 2)]
    assert [done] * 5 == [answer.body["data"] for answer in answers]
    replayed = [answer.headers.get("Idempotent-Replayed") for answer in (*answers, last)]
    assert ["true"] * 5 == [each for each in replayed if each]
    ids = {item["message"]["id"] for item in done if item["status"] == 202}
    assert (3, 3) == (len(ids), await gateway.count("messages"))


async def test_what_of_a_batch_is_refused_in_the_end(gateway: Gateway, ask: Ask) -> None:
    """Where what was answered 503 is refused when it comes again, be it all of that or all but what
    is answered 503 once more, that is its answer from then on: who corrects it and sends it under
    another key, as with every refusal, does not see it stored with the batch, too."""
    bad = SMS | {"to": "+447700900124", "body": "bad"}
    batches = {"k-4": [SMS, bad], "k-5": [SMS, bad, SMS | {"body": "bad"}]}

    async def send() -> list[list[int]]:
        answers = [
            await ask(
                "POST",
                "/v1/messages/batch",
                {"messages": batch},
                headers={"Idempotency-Key": key},
            )
            for key, batch in batches.items()
        ]
        refused.extend(answer.body["data"][1] for answer in answers)
        return [[item["status"] for item in answer.body["data"]] for answer in answers]

    refused: list[dict[str, Any]] = []
    await as_crm(gateway, RULE)
    first = await send()
    stop = {"channel": "sms", "address": "+447700900124", "reason": "manual"}
    assert 201 == (await ask("POST", "/v1/suppressions", stop)).status
    second = await send()
    await as_crm(gateway, NO_RULE)
    await as_crm(gateway, "DELETE FROM gateway.suppressions")
    third = await send()

    assert [[202, 503], [202, 503, 503]] == first
    assert [[202, 422], [202, 422, 503]] == second
    assert [[202, 422], [202, 422, 202]] == third
    assert refused[2:4] == refused[4:6]
    assert "suppressions" in refused[2]["problem"]["errors"][0]["message"]
    assert 3 == await gateway.count("messages")


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_bad_idempotency_key(ask: Ask, key: str) -> None:
    """An empty or endless key is refused, and named."""
    refused = await ask("POST", "/v1/messages", SMS, headers={"Idempotency-Key": key})

    assert {"Idempotency-Key"} == set(refused.fields())


async def test_concurrent_requests_with_one_key(gateway: Gateway, ask: Ask) -> None:
    """Of many requests at once with the same key one is stored, and all get its answer."""
    answers = await asyncio.gather(
        *(ask("POST", "/v1/messages", SMS, headers={"Idempotency-Key": "same"}) for _ in range(20))
    )

    assert {202} == {answer.status for answer in answers}
    assert 1 == len({answer.body["id"] for answer in answers})
    assert 1 == sum("Idempotent-Replayed" not in answer.headers for answer in answers)
    assert 1 == await gateway.count("messages")


async def test_concurrent_requests_with_keys_of_their_own(gateway: Gateway, ask: Ask) -> None:
    """Keys that are looked for together get each its own answer: new, replayed, or refused."""

    async def send(n: int, text: str, key: str) -> Answer:
        headers = {"Idempotency-Key": f"k-{n}"}
        return await ask("POST", "/v1/messages", SMS | {"body": text}, headers=headers, key=key)

    firsts = await asyncio.gather(*(send(n, f"of {n}", gateway.a.key) for n in range(10)))
    wanted = [(n, f"of {n}" if n % 3 else "another") for n in range(20)]
    own = asyncio.gather(*(send(n, text, gateway.a.key) for n, text in wanted))
    foreign = asyncio.gather(*(send(n, text, gateway.b.key) for n, text in wanted))

    for n, answer in enumerate(await own):
        if n >= len(firsts):
            assert (202, None) == (answer.status, answer.headers.get("Idempotent-Replayed"))
        elif n % 3 == 0:
            assert 409 == answer.status
        else:
            assert firsts[n].body == answer.body
    assert {202} == {answer.status for answer in await foreign}
    assert 10 + 10 + 20 == await gateway.count("messages")


@pytest.mark.parametrize("files", [[], [PICTURE]])
async def test_what_was_accepted_stays_accepted(
    gateway: Gateway, ask: Ask, files: list[dict[str, str]]
) -> None:
    """A request that would be refused today gets its first answer again; with the key of that,
    another one that is refused is told of the key."""
    sent = SMS | {"attachments": files}
    headers = {"Idempotency-Key": "k-6"}
    first = await ask("POST", "/v1/messages", sent, headers=headers)
    stop = {"channel": "sms", "address": SMS["to"], "reason": "manual"}
    assert 201 == (await ask("POST", "/v1/suppressions", stop)).status

    again = await ask("POST", "/v1/messages", sent, headers=headers)
    other = await ask("POST", "/v1/messages", sent | {"to": "nobody"}, headers=headers)
    fresh = await ask("POST", "/v1/messages", sent)

    assert (202, first.body) == (again.status, again.body)
    assert "true" == again.headers["Idempotent-Replayed"]
    assert (409, 422) == (other.status, fresh.status)
    assert (1, len(files)) == (
        await gateway.count("messages"),
        await gateway.count("gateway.media"),
    )


async def test_another_process_has_the_key_first(gateway: Gateway, ask: Ask) -> None:
    """Who stores under a key that another process is just storing under gets that one's answer,
    and what came at the same time is stored all the same, once."""

    async def send(body: str, key: str) -> Answer:
        headers = {"Idempotency-Key": key}
        return await ask("POST", "/v1/messages", SMS | {"body": body}, headers=headers)

    first = await send("Hello", "theirs")
    other = await asyncpg.connect(str(gateway.settings.database_url))
    took = other.transaction()
    kept = await other.fetchrow("DELETE FROM gateway.idempotency_keys RETURNING *")
    assert kept
    await took.start()
    await other.execute(
        "INSERT INTO gateway.idempotency_keys VALUES ($1, $2, $3, $4, $5)", *kept.values()
    )
    pending = [
        asyncio.ensure_future(send(*each))
        for each in (("One", "a"), ("Hello", "theirs"), ("Two", "b"), ("Hello", "theirs"))
    ]
    await until_somebody_waits(other)
    await took.commit()
    one, theirs, two, again = await asyncio.gather(*pending)
    await other.close()

    assert [first.body] * 2 == [theirs.body, again.body]
    assert ["true"] * 2 == [each.headers["Idempotent-Replayed"] for each in (theirs, again)]
    assert (202, 202) == (one.status, two.status)
    assert 3 == await gateway.count("messages")
