"""GET /v1/messages: filters and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}


async def test_filters(ask: Ask) -> None:
    """Each filter keeps what matches and nothing else; together they must all hold."""
    lead = (await ask("POST", "/v1/leads", {"phone": "+447700900001"})).body
    one = (
        await ask(
            "POST",
            "/v1/messages",
            SMS | {"to": "+447700900001", "reference": "r1", "body": "The quick brown fox"},
        )
    ).body
    two = (await ask("POST", "/v1/messages", SMS | {"body": "Über die Brücke"})).body

    async def found(query: str) -> list[str]:
        answer = await ask("GET", f"/v1/messages?{query}")
        assert 200 == answer.status, answer.body
        return [message["id"] for message in answer.body["data"]]

    both, none = [two["id"], one["id"]], list[str]()
    for query, expected in {
        "": both,
        "channel=sms": both,
        "channel=email": none,
        "direction=outbound": both,
        "direction=inbound": none,
        "status=pending": both,
        "status=sent": none,
        "address=%2B447700900001": [one["id"]],
        "address=%2B15551230001": both,
        f"lead_id={lead['id']}": [one["id"]],
        f"client_id={uuid4()}": none,
        f"conversation_id={uuid4()}": none,
        "external_id=x": none,
        "reference=r1": [one["id"]],
        "q=quick+fox": [one["id"]],
        "q=%22brown+fox%22": [one["id"]],
        "q=über": [two["id"]],
        "q=absent": none,
        "since=2020-01-01T00:00:00Z": both,
        "until=2020-01-01T00:00:00Z": none,
        "channel=sms&reference=r1&q=fox": [one["id"]],
    }.items():
        assert expected == await found(query), query


async def test_external_ids_however_they_are_written(gateway: Gateway, ask: Ask) -> None:
    """A Message-ID is found with its angle brackets, and an id with what stands behind an @ or a
    point; a message whose id is written so is meant before one whose id is a part of that."""
    sent = [(await ask("POST", "/v1/messages", SMS | {"body": f"{n}"})).body for n in range(4)]
    ids = ("a1@mail.example", "sg-1", "sg-2", "sg-2.recvd")
    async with gateway.database.as_service() as db:
        for row, external_id in zip(sent, ids, strict=True):
            await db.execute(
                "UPDATE messages SET external_id = $2 WHERE id = $1", UUID(row["id"]), external_id
            )
    for given, n in (
        ("a1@mail.example", 0),
        ("%3Ca1@mail.example%3E", 0),
        ("sg-1.recvd-7f-1", 1),
        ("%3Csg-1@mail.example%3E", 1),
        ("sg-2.recvd", 3),
        ("sg-2.recvd&q=3", 3),
    ):
        found = (await ask("GET", f"/v1/messages?external_id={given}")).body["data"]
        assert [sent[n]["id"]] == [row["id"] for row in found], given
    lines = (await ask("GET", "/v1/messages/export?format=jsonl&external_id=%3Csg-1%3E")).body
    assert sent[1]["id"] in str(lines)


async def test_bad_query(ask: Ask) -> None:
    """A wrong query parameter is a 422 that names it."""
    for query, field in (
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=AAAA", "cursor"),
        ("cursor=%F0%9F%98%80", "cursor"),
        ("status=gone", "status"),
        ("lead_id=1", "lead_id"),
        ("since=now", "since"),
        ("unknown=1", "unknown"),
        ("channel=sms&channel=sms", "channel"),
        ("q=%00", "q"),
    ):
        refused = await ask("GET", f"/v1/messages?{query}")

        assert {field} == set(refused.fields()), query


@pytest.mark.parametrize("query", ["", "&q=hello"])
async def test_pages_of_long_texts(gateway: Gateway, ask: Ask, query: str) -> None:
    """A page ends with the message that fills its 16 MiB, and the next one goes on behind it."""
    for n in range(8):
        await ask("POST", "/v1/messages", {**SMS, "body": f"Hello {n}"})
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET html_body = repeat('x', 3 * 1024 * 1024)")
    first = (await ask("GET", f"/v1/messages?limit=200{query}")).body
    cursor = first["next_cursor"]
    second = (await ask("GET", f"/v1/messages?limit=200{query}&cursor={cursor}")).body

    assert (6, 2, None) == (len(first["data"]), len(second["data"]), second["next_cursor"])
    assert [f"Hello {n}" for n in range(7, -1, -1)] == [
        row["body"] for row in first["data"] + second["data"]
    ]
    if not query:  # the same of their conversation
        path = f"/v1/conversations/{first['data'][0]['conversation_id']}/messages?limit=200"
        assert first == (await ask("GET", path)).body
        assert second == (await ask("GET", f"{path}&cursor={cursor}")).body


async def test_pages_of_conversations_with_long_texts(gateway: Gateway, ask: Ask) -> None:
    """The conversation whose last message fills 16 MiB is its page's last, and none is lost."""
    everybody = [f"+4477009001{n}" for n in range(10, 18)]
    for to in everybody:
        await ask("POST", "/v1/messages", {**SMS, "to": to})
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET html_body = repeat('x', 3 * 1024 * 1024)")
    first = (await ask("GET", "/v1/conversations?limit=200")).body
    second = (await ask("GET", f"/v1/conversations?limit=7&cursor={first['next_cursor']}")).body

    assert (6, 2, None) == (len(first["data"]), len(second["data"]), second["next_cursor"])
    listed = [row["last_message"]["to_address"] for row in first["data"] + second["data"]]
    assert everybody[::-1] == listed


async def test_pages(ask: Ask) -> None:
    """Pages follow each other newest first, without a gap or a repetition, while rows come in."""
    batch = {"messages": [SMS | {"body": str(n)} for n in range(25)]}
    await ask("POST", "/v1/messages/batch", batch)
    seen: list[str] = []
    cursor = ""
    for _ in range(10):
        page = (await ask("GET", f"/v1/messages?limit=10{cursor}")).body
        assert "data" in page, page
        seen += [message["body"] for message in page["data"]]
        await ask("POST", "/v1/messages", SMS | {"body": "newer"})
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert 25 == len(set(seen)) == len(seen)
    times = [UUID(m["id"]).int for m in (await ask("GET", "/v1/messages")).body["data"]]
    assert sorted(times, reverse=True) == times
