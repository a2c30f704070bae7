"""JSON that another program has made larger than any of ours keeps nobody else waiting."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from gateway.inbox.talk import view
from gateway.receive.hook_accounts import HookAccounts
from gateway.store import conversations, live
from gateway.store.codecs import UNREADABLE
from gateway.store.paging import MOST_BYTES
from gateway.vault import Vault
from tests.service.test_service_odd_values import as_staff
from tests.service.wires import send

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

REFUSED = "has options too large to be read: all templates of a request have 4 MiB at most"
TO = "+447700900123"
# As JSON three megabytes; as lists in Python a hundred.
LISTS = f"[{'[],' * 1_000_000}[]]"
# More than a page has room for, were there two of them.
HALF = json.dumps({"x": "y" * (MOST_BYTES // 15)})


@pytest.mark.parametrize("column", ["attachments", "metadata"])
async def test_json_that_is_too_large_is_not_read(gateway: Gateway, ask: Ask, column: str) -> None:
    """A column with more JSON than any of ours says so where it is shown; PostgreSQL keeps it."""
    message = await send(ask, "sms", TO, body="Hello")
    await fill(gateway, column, LISTS, message["id"])
    shown = await ask("GET", f"/v1/messages/{message['id']}")
    assert (200, UNREADABLE) == (shown.status, shown.body[column])
    listed = (await ask("GET", "/v1/messages")).body["data"]
    assert [UNREADABLE] == [each[column] for each in listed]
    async with gateway.database.as_service() as db:
        assert len(LISTS) < await db.fetchval(f"SELECT octet_length({column}::text) FROM messages")  # noqa: S608


async def test_a_page_ends_by_its_json(gateway: Gateway, ask: Ask) -> None:
    """JSON, which takes more room in memory than text, counts when a page of messages is filled, or
    of conversations, or of live events; all of it is found in pages."""
    messages = [await send(ask, "sms", f"{TO[:-1]}{n}", body="Hello") for n in range(3)]
    for message in messages:
        await fill(gateway, "metadata", HALF, message["id"])
    for path in ("/v1/messages", "/v1/messages?q=Hello", "/v1/conversations"):
        cursor: str | None = ""
        sizes = []
        while cursor is not None:
            more = f"{'&' if '?' in path else '?'}cursor={cursor}" if cursor else ""
            page = (await ask("GET", path + more)).body
            sizes.append(len(page["data"]))
            cursor = page["next_cursor"]
        assert [2, 1] == sizes, path

    told = [{"kind": "message", "about": UUID(each["id"])} for each in messages]
    async with gateway.database.as_service() as db:
        found = [
            await live.rows_about(db, gateway.a.organization_id, told, most_bytes=most)
            for most in (2**21, MOST_BYTES)
        ]
    assert [0, 3] == [len(each) for each in found]


async def test_lines_of_a_list(gateway: Gateway, ask: Ask) -> None:
    """A list of conversations reads no JSON that is larger than any of ours."""
    message = await send(ask, "sms", TO, body="Hello")
    for column in ("attachments", "metadata"):
        await fill(gateway, column, f"[{'[],' * 100_000}[]]", message["id"])
    async with gateway.database.as_service() as db:
        rows = [{"last_message_id": UUID(message["id"])}]
        (row,) = await conversations.with_last_messages(
            db, gateway.a.organization_id, rows, is_brief=True
        )
    line = row["last_message"]
    assert (None, None, "Hello") == (line["attachments"], line["metadata"], view.snippet(line))


async def test_what_callers_may_store_is_read(ask: Ask) -> None:
    """PostgreSQL writes 1e308 with 309 digits, so that 64 KiB of it become three megabytes."""
    most = {"x": [1e308] * 9300}
    sms = {"channel": "sms", "to": TO, "body": "Hello", "metadata": most}
    message = (await ask("POST", "/v1/messages", sms)).body
    assert most == (await ask("GET", f"/v1/messages/{message['id']}")).body["metadata"]
    lead = (await ask("POST", "/v1/leads", {"first_name": "Ada", "custom_fields": most})).body
    assert most == lead["custom_fields"]


async def test_options_that_are_too_large(gateway: Gateway, ask: Ask) -> None:
    """Options of templates are read up to four megabytes: templates with more are not sent with.
    Those with smaller ones are, though they are older, and named by the same requests."""
    given = {"type": "sms", "content": "Hello"}
    for name in ("none", "small", "large"):
        template = (await ask("POST", "/v1/templates", given | {"name": name})).body
        size = {"none": None, "small": 10, "large": 2**22}[name]
        change = "UPDATE message_templates SET options = $1::jsonb WHERE id = $2"
        options = json.dumps({"x": "y" * size}) if size else None
        await as_staff(gateway, change, options, UUID(template["id"]))
    messages = [{"channel": "sms", "to": TO, "template": each} for each in ("none", "large")]
    sent, refused = (await ask("POST", "/v1/messages/batch", {"messages": messages})).body["data"]
    assert (202, 422) == (sent["status"], refused["status"])
    assert [{"field": "template", "message": REFUSED}] == refused["problem"]["errors"]
    messages[0]["template"] = "small"
    small, _ = (await ask("POST", "/v1/messages/batch", {"messages": messages})).body["data"]
    assert ["options.x"] == [each["field"] for each in small["problem"]["errors"]]


async def test_webhooks_read_what_callers_hear(gateway: Gateway) -> None:
    """Of an organization's settings a webhook reads what callers hear, and nothing else."""
    call: dict[str, Any] = {"greeting": "Hi", "voicemail": False, "goodbye": "x" * 100_000}
    given = {"call": call | {"x": "x" * 100_000}, "email": {"x": "x" * 100_000}}
    await as_staff(gateway, "UPDATE organizations SET settings = $1", json.dumps(given))
    vault = Vault(gateway.settings.gateway_secret_keys)
    account = await HookAccounts(gateway.database, vault, {}).by_id(gateway.a.account_id)
    assert account is not None
    assert {"call": {"greeting": "Hi", "voicemail": False}} == account.settings


@pytest.mark.parametrize("kind", ["leads", "clients", "templates"])
async def test_json_of_people_and_templates(gateway: Gateway, ask: Ask, kind: str) -> None:
    """Pages of leads, clients and templates, too, end by their JSON as it is in memory."""
    table, column, made = {
        "leads": ("leads", "custom_fields", {"first_name": "Ada"}),
        "clients": ("clients", "custom_fields", {"first_name": "Ada"}),
        "templates": ("message_templates", "options", {"type": "sms", "content": "Hello"}),
    }[kind]
    for n in range(3):
        more = {"clients": {"email": f"{n}@ada.example"}, "templates": {"name": f"t{n}"}}
        row = (await ask("POST", f"/v1/{kind}", made | more.get(kind, {}))).body
        change = f"UPDATE {table} SET {column} = $1::jsonb WHERE id = $2"  # noqa: S608
        await as_staff(gateway, change, HALF, UUID(row["id"]))
    page = (await ask("GET", f"/v1/{kind}")).body
    assert 2 == len(page["data"])
    page = (await ask("GET", f"/v1/{kind}?cursor={page['next_cursor']}")).body
    assert (1, None) == (len(page["data"]), page["next_cursor"])


async def fill(gateway: Gateway, column: str, value: str, message_id: str) -> None:
    """A member of A's staff stores JSON in a message through PostgREST."""
    change = f"UPDATE messages SET {column} = $1::jsonb WHERE id = $2"  # noqa: S608
    await as_staff(gateway, change, value, UUID(message_id))
