"""Values that PostgreSQL holds and Python does not, written by one tenant: no other feels them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from gateway.store import upkeep
from gateway.store.codecs import UNREADABLE, read_json
from tests.service.test_service_dispatch import Provider, provider, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

__all__ = ["provider"]  # a fixture

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
DEEP = "[" * 1500 + "]" * 1500
MANY_DIGITS = "9" * 20_000


async def as_staff(gateway: Gateway, statement: str, *values: Any) -> None:
    """A member of tenant A's staff does it through PostgREST."""
    async with gateway.database.as_service() as db:
        auth_id = await db.fetchval(
            "SELECT auth_id FROM auth_users WHERE organization_id = $1 AND role = 'owner'",
            gateway.a.organization_id,
        )
    async with gateway.database.as_claims(auth_id) as db:
        assert "UPDATE 1" == await db.execute(statement, *values)


@pytest.mark.parametrize(
    ("change", "becomes"),
    [
        ("created_at = '0044-03-15 BC'", "sent"),
        ("created_at = '294000-01-01'", "sent"),
        ("created_at = 'infinity', updated_at = '-infinity'", "sent"),
        ("read_at = '0044-03-15 BC'", "sent"),
        (f"metadata = '{DEEP}'", "sent"),
        (f'metadata = \'{{"a": {MANY_DIGITS}, "b": 1e400}}\'', "sent"),
        (f"metadata = '{'[' * 300}{']' * 300}'", "sent"),
        (f"attachments = '{DEEP}'", "failed"),
        (f"parts = '{DEEP}'", "failed"),
        ('parts = \'{"thread": {"references": 5}}\'', "failed"),
        ('parts = \'{"call": {"x": 1}}\'', "failed"),
        ('parts = \'{"call": {"repeat": 1000000000}}\'', "failed"),
        ('parts = \'{"template": {"variables": [1], "content_sid": "HX1"}}\'', "failed"),
        ('parts = \'{"window_until": "2020-01-01T00:00:00"}\'', "failed"),
        ("parts = '\"x\"'", "failed"),
        ("attachments = '{\"x\": 5}'", "failed"),
        ("attachments = '[{\"url\": 5}]'", "failed"),
    ],
)
async def test_a_row_that_python_cannot_hold(
    gateway: Gateway, ask: Ask, provider: Provider, change: str, becomes: str
) -> None:
    """One message's odd values keep no tenant's messages from being sent, nor itself from an end
    and from being shown."""
    ours = (await ask("POST", "/v1/messages", SMS)).body["id"]
    other = (await ask("POST", "/v1/messages", SMS, key=gateway.b.key)).body["id"]
    await as_staff(gateway, f"UPDATE messages SET {change} WHERE id = $1", UUID(ours))  # noqa: S608
    await step(provider.worker(gateway))

    theirs = await ask("GET", f"/v1/messages/{other}", key=gateway.b.key)
    shown = await ask("GET", f"/v1/messages/{ours}")
    assert "sent" == theirs.body["status"]
    assert (200, becomes) == (shown.status, shown.body["status"])
    assert shown.body["error_code"] == ("form" if becomes == "failed" else None)
    for path in ("/v1/messages", "/v1/messages?q=hello", "/v1/conversations"):
        assert 200 == (await ask("GET", path)).status
    assert 200 == (await ask("GET", f"/v1/messages/{ours}/why")).status
    assert 0 == await gateway.count("gateway.queue")


async def test_settings_that_nobody_can_read(
    gateway: Gateway, ask: Ask, provider: Provider
) -> None:
    """An organization's settings that cannot be read are none, and stop nobody's messages."""
    change = "UPDATE organizations SET settings = jsonb_build_object('email', $1::jsonb)"
    await as_staff(gateway, change, DEEP)
    sent = [(await ask("POST", "/v1/messages", SMS, key=key)) for key in (None, gateway.b.key)]
    await step(provider.worker(gateway))
    assert [202, 202] == [each.status for each in sent]
    assert 2 == len(provider.posts)


async def test_parts_that_are_none_are_not_sent_again(gateway: Gateway, ask: Ask) -> None:
    """A failed message whose parts are of another program's form is refused in words."""
    ours = (await ask("POST", "/v1/messages", SMS)).body["id"]
    change = "UPDATE messages SET status = 'failed', parts = '\"x\"' WHERE id = $1"
    await as_staff(gateway, change, UUID(ours))
    assert 409 == (await ask("POST", f"/v1/messages/{ours}/retry")).status


async def test_a_birthday_before_christ(gateway: Gateway, ask: Ask) -> None:
    """A date that Python does not have is shown as the nearest that it has."""
    made = (await ask("POST", "/v1/clients", {"email": "ann@x.example"})).body["id"]
    change = "UPDATE clients SET date_of_birth = '0044-03-15 BC' WHERE id = $1"
    await as_staff(gateway, change, UUID(made))
    assert "0001-01-01" == (await ask("GET", f"/v1/clients/{made}")).body["date_of_birth"]
    assert 200 == (await ask("GET", "/v1/clients")).status


async def test_a_counter_that_is_full(gateway: Gateway, ask: Ask) -> None:
    """A template's counter at its end stays there: every other tenant's is counted all the same."""
    template = {"name": "greeting", "type": "sms", "content": "Hello"}
    use = {"channel": "sms", "to": "+447700900123", "template": "greeting"}
    for key in (gateway.a.key, gateway.b.key):
        await ask("POST", "/v1/templates", template, key=key)
        await ask("POST", "/v1/messages", use, key=key)
    await as_staff(gateway, "UPDATE message_templates SET usage_count = 2147483647")

    async def counts() -> list[int]:
        shown = [await ask("GET", "/v1/templates", key=key) for key in (None, gateway.b.key)]
        return [each.body["data"][0]["usage_count"] for each in shown]

    assert [2147483647, 1] == await counts()
    async with gateway.database.as_service() as db:
        await upkeep.fold_template_uses(db)
    assert [2147483647, 1] == await counts()
    assert 0 == await gateway.count("gateway.template_uses")
    await as_staff(gateway, "UPDATE message_templates SET usage_count = NULL")
    assert [0, 1] == await counts()


@pytest.mark.parametrize(
    "at",
    [
        datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ],
)
async def test_times_as_they_are(gateway: Gateway, at: datetime) -> None:
    """What Python has is read and written to the microsecond."""
    day = at.date()
    async with gateway.database.as_service() as db:
        found = await db.fetchrow(
            "SELECT $1::timestamptz, $2::date, $1::text, $2::text, ARRAY[$1], NULL::date", at, day
        )
        assert found is not None
        assert [at, day] == list(found)[:2]
        assert [[at], None] == list(found)[4:]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, "x", null]}', {"a": [1, 2.5, "x", None]}),
        ('{"a": 5, "b": 1e400, "c": -12345678901234567890123}', None),
        (DEEP, UNREADABLE),
        ("[" * 300 + "]" * 300, UNREADABLE),
        (json.dumps([{"a": [1]}] * 300), [{"a": [1]}] * 300),
    ],
)
def test_json_that_can_be_written_again(text: str, value: Any) -> None:
    """JSON is read as it is, and what could not be shown again as a word for it."""
    expected = {"a": 5, "b": None, "c": float(-12345678901234567890123)} if value is None else value
    assert expected == read_json(text)
