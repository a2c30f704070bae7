"""Rows that another program stored, as the CRM does through PostgREST: any JSON, and nulls."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from gateway.store import accounts
from tests.service.wires import from_twilio, row_of, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ANN = "+447700900123"
BY_TEMPLATE = {"channel": "sms", "to": ANN, "template": "greeting"}
FILE = {"url": "https://files.example/a.png", "filename": "a.png", "content_type": "image/png"}


async def test_options_of_a_template_that_are_none(gateway: Gateway, ask: Ask) -> None:
    """A template whose options are no object has none: it is sent with, and spoils no batch."""
    template = {"name": "greeting", "type": "sms", "content": "Hello"}
    await ask("POST", "/v1/templates", template)
    await run(gateway, "UPDATE message_templates SET options = '[1]'")

    sent = await ask("POST", "/v1/messages", BY_TEMPLATE)
    batch = await ask("POST", "/v1/messages/batch", {"messages": [BY_TEMPLATE, BY_TEMPLATE]})

    assert (202, "Hello") == (sent.status, sent.body["body"])
    assert [202, 202] == [item["status"] for item in batch.body["data"]]


async def test_odd_options_are_shown_and_mended(gateway: Gateway, ask: Ask) -> None:
    """Whatever stands in a template's options, it is shown, refused by name where it is used, and
    can be changed: in the inbox, too."""
    staff = {"Authorization": f"Bearer {gateway.a.owner}"}
    async with gateway.http.post("/inbox/session", headers=staff) as begun:
        cookies = {name: cookie.value for name, cookie in begun.cookies.items()}
    odd: list[Any] = [[1], "x", {"variables": [1]}, {"variables": {"a": 5}}]
    for kind, stored in product(("email", "sms", "whatsapp", "call"), odd):
        subject = {"subject": "Hello"} if kind == "email" else {}
        template = {"name": f"greeting {stored}", "type": kind, "content": "Hello", **subject}
        made = (await ask("POST", "/v1/templates", template)).body
        change = "UPDATE message_templates SET options = $1 WHERE id = $2"
        await run(gateway, change, json.dumps(stored), UUID(made["id"]))
        path = f"/v1/templates/{made['id']}"

        shown = await ask("GET", path)
        rendered = await ask("POST", f"{path}/render", {})
        patched = await ask("PATCH", path, {"content": "Good day"})
        async with gateway.http.get(f"/inbox/templates/{made['id']}", cookies=cookies) as form:
            in_form = form.status
        mended = await ask("PATCH", path, {"options": None})

        statuses = (shown.status, patched.status, in_form, mended.status)
        assert (200, 422, 200, 200) == statuses, (kind, stored)
        assert (200 if not isinstance(stored, dict) else 422) == rendered.status, (kind, stored)
        assert any(name.startswith("options") for name in patched.fields()), (kind, stored)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("call", {"repeat": "abc"}),
        ("call", {"bogus": 1}),
        ("whatsapp", {"variables": [1, 2]}),
        ("whatsapp", {"content_sid": 5}),
        ("whatsapp", {"components": 5}),
    ],
)
async def test_odd_options_are_refused_when_they_are_sent_with(
    gateway: Gateway, ask: Ask, kind: str, stored: dict[str, Any]
) -> None:
    """Odd options of a template are named, and cost no other message of a batch anything."""
    template = {"name": "odd", "type": kind, "content": "Hello"}
    assert 201 == (await ask("POST", "/v1/templates", template)).status
    await run(gateway, "UPDATE message_templates SET options = $1", json.dumps(stored))
    odd = {"channel": kind, "to": "+447700900123", "template": "odd"}
    good = {"channel": "sms", "to": "+447700900123", "body": "Hello"}

    batch = await ask("POST", "/v1/messages/batch", {"messages": [odd, good]})

    refused, accepted = batch.body["data"]
    assert (422, 202) == (refused["status"], accepted["status"])
    assert any(each["field"].startswith("options") for each in refused["problem"]["errors"])


async def test_names_in_a_table(gateway: Gateway, ask: Ask) -> None:
    """A template's variables and tags are a list of texts, also where they were stored as a table,
    or are none."""
    staff = {"Authorization": f"Bearer {gateway.a.owner}"}
    async with gateway.http.post("/inbox/session", headers=staff) as begun:
        cookies = {name: cookie.value for name, cookie in begun.cookies.items()}
    made = (await ask("POST", "/v1/templates", {"name": "a", "type": "sms", "content": "Hi"})).body
    change = "UPDATE message_templates SET tags = $1::text::text[], variables = $1::text::text[]"
    for stored, shown in (("{{a},{b}}", ["a", "b"]), ("{a,NULL}", ["a"]), (None, [])):
        await run(gateway, change, stored)
        (listed,) = (await ask("GET", "/v1/templates")).body["data"]
        one = (await ask("GET", f"/v1/templates/{made['id']}")).body
        assert [shown] * 4 == [
            each[name] for each in (listed, one) for name in ("tags", "variables")
        ]
        path = f"/inbox/templates/{made['id']}"
        async with gateway.http.get(path, cookies=cookies) as page:
            assert 200 == page.status


async def test_a_template_that_is_neither_on_nor_off(gateway: Gateway, ask: Ask) -> None:
    """A template that does not say whether it is active is not: it is shown as it is treated."""
    made = await ask("POST", "/v1/templates", {"name": "greeting", "type": "sms", "content": "Hi"})
    await run(gateway, "UPDATE message_templates SET is_active = NULL")

    shown = await ask("GET", f"/v1/templates/{made.body['id']}")
    sent = await ask("POST", "/v1/messages", BY_TEMPLATE)

    assert shown.body["is_active"] is False
    assert {"template"} == sent.fields().keys()


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ([{**FILE, "id": 7}], 202),
        ([{"url": FILE["url"]}], 202),
        (None, 202),
        ([FILE["url"]], 422),
        ([{"link": FILE["url"]}], 422),
        ([{**FILE, "filename": 7}], 422),
        ({"files": [FILE]}, 422),
    ],
)
async def test_files_of_a_message_that_is_sent_again(
    gateway: Gateway, ask: Ask, files: Any, status: int
) -> None:
    """A failed message goes again with its files; where nobody can say which, that is refused."""
    again = await ask("POST", f"/v1/messages/{await failed(gateway, attachments=files)}/retry")

    assert status == again.status
    if status == 422:
        assert {"attachments"} == again.fields().keys()
    else:
        urls = [file["url"] for file in again.body["attachments"]]
        assert [file["url"] for file in files or []] == urls


@pytest.mark.parametrize("kind", ["lead", "client", "message", "template"])
async def test_rows_without_a_time(gateway: Gateway, ask: Ask, kind: str) -> None:
    """Rows whose time is null are listed before all others, each once, however long a page is."""
    bodies: dict[str, dict[str, Any]] = {
        "lead": {},
        "client": {"email": "ann{n}@c.example"},
        "message": {"channel": "sms", "to": ANN, "body": "Hello"},
        "template": {"name": "greeting {n}", "type": "sms", "content": "Hello"},
    }
    table = "message_templates" if kind == "template" else f"{kind}s"
    made = []
    for n in range(7):
        body = {name: value.replace("{n}", str(n)) for name, value in bodies[kind].items()}
        made.append((await ask("POST", f"/v1/{kind}s", body)).body["id"])
    timeless = sorted(made[1:6], reverse=True)
    forget = f"UPDATE {table} SET created_at = NULL WHERE id = ANY ($1::uuid[])"  # noqa: S608
    await run(gateway, forget, timeless)
    paths = [f"/v1/{kind}s"]
    if kind == "message":
        shown = await ask("GET", f"/v1/messages/{made[0]}")
        paths.append(f"/v1/conversations/{shown.body['conversation_id']}/messages")

    for path in paths:
        for limit in (1, 2, 5, 7):
            found: list[str] = []
            cursor = ""
            while True:
                page = await ask("GET", f"{path}?limit={limit}{cursor}")
                found += [row["id"] for row in page.body["data"]]
                if page.body["next_cursor"] is None:
                    break
                cursor = f"&cursor={page.body['next_cursor']}"
            assert [*timeless, made[6], made[0]] == found


async def test_a_message_without_a_time_is_shown(gateway: Gateway, ask: Ask) -> None:
    """The inbox shows a message whose times are null, in its thread and by itself."""
    message = {"channel": "sms", "to": ANN, "body": "Hello"}
    sent = (await ask("POST", "/v1/messages", message)).body
    await run(gateway, "UPDATE messages SET created_at = NULL")
    staff = {"Authorization": f"Bearer {gateway.a.owner}"}
    async with gateway.http.post("/inbox/session", headers=staff) as begun:
        cookies = {name: cookie.value for name, cookie in begun.cookies.items()}

    for path in (f"/c/{sent['conversation_id']}", f"/m/{sent['id']}", f"/m/{sent['id']}/why"):
        async with gateway.http.get(f"/inbox{path}", cookies=cookies) as page:
            assert (200, True) == (page.status, "Hello" in await page.text() or "why" in path)


async def test_metadata_that_is_no_object(gateway: Gateway, ask: Ask) -> None:
    """A failed message whose metadata are a list is sent again without them."""
    again = await ask("POST", f"/v1/messages/{await failed(gateway, metadata=[1])}/retry")

    assert (202, {}) == (again.status, again.body["metadata"])


async def test_one_mailbox_in_two_organizations(gateway: Gateway) -> None:
    """Whose address is written as it was asked for is meant, whoever was there first."""
    for tenant, email in ((gateway.b, "Ada@clinic.example"), (gateway.a, "ada@clinic.example")):
        await run(
            gateway,
            "INSERT INTO auth_users (auth_id, email, organization_id) VALUES"
            " (gen_random_uuid(), $1, $2)",
            email,
            tenant.organization_id,
        )

    async with gateway.database.as_service() as db:
        exact = await accounts.staff_by_email(db, "ada@clinic.example")
        other = await accounts.staff_by_email(db, "ADA@clinic.example")

    assert exact is not None
    assert other is not None
    assert (gateway.a.organization_id, gateway.b.organization_id) == (
        exact["organization_id"],
        other["organization_id"],
    )


async def test_messages_without_a_time(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Staff may take a message's time away: what becomes of it is recorded all the same."""
    sid = "SM" + "5" * 32
    api.says(201, {"sid": sid})
    sms = {"channel": "sms", "to": ANN, "body": "Hello"}
    keys = (gateway.a.key, gateway.a.test_key)
    sent, tried = [(await ask("POST", "/v1/messages", sms, key=key)).body for key in keys]
    await run(gateway, "UPDATE messages SET created_at = NULL")
    await step(api.worker(gateway))
    told = {"MessageSid": sid, "AccountSid": "AC" + "a" * 32, "MessageStatus": "delivered"}
    assert 200 == (await from_twilio(gateway, "status", told)).status

    for row in (sent, tried):
        assert "delivered" == (await row_of(ask, row))["status"]
    assert 0 == await gateway.count("gateway.queue")


async def test_messages_without_a_status(gateway: Gateway, ask: Ask) -> None:
    """A message without a status is shown as pending, and found as that: in the list, among those
    that hold a word, and in the export."""
    (row,) = await run(
        gateway,
        "INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body,"
        " status) VALUES ($1, 'sms', 'outbound', $2, $3, 'a parcel', NULL) RETURNING id",
        gateway.a.organization_id,
        gateway.a.sender,
        ANN,
    )
    sent = await ask("POST", "/v1/messages", {"channel": "sms", "to": ANN, "body": "a parcel"})

    both = {str(row["id"]), sent.body["id"]}
    for query in ("status=pending", "status=pending&q=parcel"):
        found = (await ask("GET", f"/v1/messages?{query}")).body["data"]
        assert (both, {"pending"}) == (
            {one["id"] for one in found},
            {one["status"] for one in found},
        )
        lines = (await ask("GET", f"/v1/messages/export?format=jsonl&{query}")).body.splitlines()
        assert both == {json.loads(line)["id"] for line in lines}
    for query in ("status=sent", "status=sent&q=parcel"):
        assert [] == (await ask("GET", f"/v1/messages?{query}")).body["data"]


@pytest.mark.parametrize("ahead", ["infinity", "294276-12-31 23:59:59.999999", "2999-01-01"])
async def test_a_time_that_is_far_ahead(gateway: Gateway, ahead: str) -> None:
    """A message that says it was changed long after now says when it was once it is changed."""
    await run(
        gateway,
        "INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body,"
        " updated_at) VALUES ($1, 'sms', 'inbound', $2, $3, 'Hello', $4::text::timestamptz)",
        gateway.a.organization_id,
        ANN,
        gateway.a.sender,
        ahead,
    )
    change = "UPDATE messages SET body = 'Hi' RETURNING updated_at - now() AS since"
    (row,) = await run(gateway, change)

    assert timedelta(0) == row["since"]


async def failed(gateway: Gateway, *, attachments: Any = (), metadata: Any = None) -> UUID:
    """A message of A's that has failed."""
    (row,) = await run(
        gateway,
        "INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body,"
        " status, attachments, metadata)"
        " VALUES ($1, 'sms', 'outbound', $2, $3, 'Hello', 'failed', $4, $5) RETURNING id",
        gateway.a.organization_id,
        gateway.a.sender,
        ANN,
        json.dumps(attachments),
        json.dumps(metadata),
    )
    found: UUID = row["id"]
    return found


async def run(gateway: Gateway, statement: str, *values: Any) -> list[asyncpg.Record]:
    """Do as another program does, which may do all."""
    connection = await asyncpg.connect(str(gateway.settings.database_url))
    try:
        return list(await connection.fetch(statement, *values))
    finally:
        await connection.close()


async def test_a_message_deleted_while_it_waits(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What another program deletes while a worker has it, waiting for its turn, does not leave."""
    api.says(201, {"sid": "SM1", "status": "queued"})
    sms = {"channel": "sms", "to": ANN, "body": "Hello"}
    kept, deleted = [(await ask("POST", "/v1/messages", sms)).body for _ in range(2)]
    worker = api.worker(gateway)
    turns = await worker.claim(2)
    assert 2 == len(turns)
    await run(gateway, "DELETE FROM messages WHERE id = $1", UUID(deleted["id"]))
    for turn in turns:
        await worker.work(replace(turn, since=replace(turn.since, steady=turn.since.steady - 2)))
    assert 1 == len(api.asked)
    assert "sent" == (await row_of(ask, kept))["status"]
    assert (1, 0) == (await gateway.count("messages"), await gateway.count("gateway.queue"))


async def test_a_status_removed_while_it_waits(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A message whose status another program sets to NULL, which the table allows, is not lost."""
    api.says(201, {"sid": "SM1", "status": "queued"})
    row = (await ask("POST", "/v1/messages", {"channel": "sms", "to": ANN, "body": "Hello"})).body
    worker = api.worker(gateway)
    [turn] = await worker.claim(1)
    await run(gateway, "UPDATE messages SET status = NULL WHERE id = $1", UUID(row["id"]))
    await worker.work(replace(turn, since=replace(turn.since, steady=turn.since.steady - 2)))
    assert ("sent", 1) == ((await row_of(ask, row))["status"], len(api.asked))
