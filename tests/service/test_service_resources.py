"""Templates, leads and clients over HTTP."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from gateway.store import upkeep

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.losses import Connection

TEMPLATE = {"name": "hello", "type": "sms", "content": "Hi {{ name }}, {{ day }}"}


async def test_template_life(ask: Ask) -> None:
    """A template is made, read, changed, listed, rendered and deleted; its variables follow."""
    made = await ask("POST", "/v1/templates", TEMPLATE | {"tags": ["a"], "category": "c"})
    path = f"/v1/templates/{made.body['id']}"
    changed = await ask("PATCH", path, {"content": "Bye {{ who }}", "description": "d"})
    rendered = await ask("POST", f"{path}/render", {"variables": {"who": "Ada"}})
    missing = await ask("POST", f"{path}/render", {"variables": {}})
    listed = await ask("GET", "/v1/templates?type=sms&name=hello&is_active=true")
    gone = await ask("DELETE", path)
    after = await ask("GET", path)

    assert (201, ["day", "name"], 0) == (
        made.status,
        made.body["variables"],
        made.body["usage_count"],
    )
    assert (200, ["who"], "d", ["a"]) == (
        changed.status,
        changed.body["variables"],
        changed.body["description"],
        changed.body["tags"],
    )
    assert {
        "parts": {"body": "Bye Ada"},
        "encoding": "GSM-7",
        "segments": 1,
        "forced_by": None,
    } == rendered.body
    assert {"variables.who"} == set(missing.fields())
    assert [made.body["id"]] == [row["id"] for row in listed.body["data"]]
    assert (204, 404) == (gone.status, after.status)


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"content": "a\n{{ b"}, "content", "line 2"),
    ({"content": "{{ x.__class__ }}"}, "content", "line 1"),
    ({"content": "{% include 'x' %}"}, "content", "line 1"),
    ({"content": "{{ x|nothing }}"}, "content", "line 1"),
    ({"content": ""}, "content", ""),
    ({"name": ""}, "name", ""),
    ({"type": "fax"}, "type", ""),
    ({"subject": "s"}, "subject", "e-mail"),
    ({"usage_count": 7}, "usage_count", "not a field"),
    ({"variables": ["x"]}, "variables", "not a field"),
    ({"type": "whatsapp", "options": {"variables": ["x"]}}, "options.variables", "dictionary"),
    ({"type": "whatsapp", "options": {"variables": {"1": 5}}}, "options.variables.1", "string"),
    ({"type": "whatsapp", "options": {"components": 5}}, "options.components", "list"),
]


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ("Hello\nworld", "after “Hello”"),
        ("For {{ name }}\r\nyou", "after “For ”"),
        ("\tHello", "at its beginning"),
        ("  ", "is missing"),
        ("Hello\n", "after “Hello”"),
        ("{# for\nall #}Hello {{\nname }}", None),
        ("{% if name -%}\n  Hello\n{%- endif %}", None),
        ("{% set x %}\n{% endset %}Hello", None),
        ("{% macro m() %}\n{% endmacro %}Hello", None),
        ("{% if false %}\n{% endif %}Hello", None),
        ("{{ name }}{% raw %}{{\n}}{% endraw %}", "after “{{”"),
    ],
)
async def test_subject_of_several_lines(ask: Ask, subject: str, says: str | None) -> None:
    """An e-mail's template whose subject could be in no mail is refused when it is written; what is
    one line once it is rendered is sent."""
    template = {"name": "mail", "type": "email", "content": "Hi", "subject": subject}
    made = await ask("POST", "/v1/templates", template)
    if says is not None:
        assert 422 == made.status
        assert says in made.fields()["subject"]
        good = (await ask("POST", "/v1/templates", template | {"subject": "Hi"})).body
        changed = await ask("PATCH", f"/v1/templates/{good['id']}", {"subject": subject})
        assert says in changed.fields()["subject"]
        return
    path = f"/v1/templates/{made.body['id']}/render"
    rendered = await ask("POST", path, {"variables": {"name": "Ann"}})
    assert "Hello" in rendered.body["parts"]["subject"]


async def test_a_subject_that_was_there_before(ask: Ask, owner: Connection) -> None:
    """A subject that could be in no mail, which another program has stored, is in the way of no
    other change."""
    template = {"name": "mail", "type": "email", "content": "Hi", "subject": "Hi"}
    made = (await ask("POST", "/v1/templates", template)).body
    for subject in (None, "Hello\nworld"):
        await owner.execute("UPDATE message_templates SET subject = $1", subject)
        changed = await ask("PATCH", f"/v1/templates/{made['id']}", {"content": f"Ho {subject}"})
        assert (200, subject) == (changed.status, changed.body["subject"])
        again = await ask("PATCH", f"/v1/templates/{made['id']}", {"subject": subject})
        assert {"subject"} == set(again.fields())


async def test_bad_template(ask: Ask) -> None:
    """A template that cannot work is refused with line and reason, new or changed."""
    good = (await ask("POST", "/v1/templates", TEMPLATE | {"name": "good"})).body
    for change, field, says in BAD:
        refused = await ask("POST", "/v1/templates", TEMPLATE | change)
        patched = await ask("PATCH", f"/v1/templates/{good['id']}", change)

        for answer in (refused, patched):
            assert 422 == answer.status, change
            assert says in answer.fields()[field], change
        assert good == (await ask("GET", f"/v1/templates/{good['id']}")).body, change


async def test_template_names_are_unique_per_type(gateway: Gateway, ask: Ask) -> None:
    """An organization has one active template of a name and type; others may have the same."""
    first = await ask("POST", "/v1/templates", TEMPLATE)
    second = await ask("POST", "/v1/templates", TEMPLATE)
    call = await ask("POST", "/v1/templates", TEMPLATE | {"type": "call"})
    foreign = await ask("POST", "/v1/templates", TEMPLATE, key=gateway.b.key)
    nulled = await ask("PATCH", f"/v1/templates/{first.body['id']}", {"name": None})

    assert (201, 409, 201, 201) == tuple(a.status for a in (first, second, call, foreign))
    assert {"name"} == set(nulled.fields())


async def test_template_that_is_off_or_of_another_type(ask: Ask) -> None:
    """Only an active template of the channel's type can be sent, by name or by id."""
    made = (await ask("POST", "/v1/templates", TEMPLATE | {"content": "x"})).body
    call = (
        await ask("POST", "/v1/templates", {"name": "call", "type": "call", "content": "x"})
    ).body
    send = {"channel": "sms", "to": "+447700900123"}

    by_id = await ask("POST", "/v1/messages", send | {"template": made["id"]})
    await ask("PATCH", f"/v1/templates/{made['id']}", {"is_active": False})
    off_by_name = await ask("POST", "/v1/messages", send | {"template": "hello"})
    off_by_id = await ask("POST", "/v1/messages", send | {"template": made["id"]})
    other = await ask("POST", "/v1/messages", send | {"template": call["id"]})
    rendered = await ask("POST", f"/v1/templates/{call['id']}/render", {})

    assert (202, made["id"]) == (by_id.status, by_id.body["template_id"])
    for answer in (off_by_name, off_by_id, other):
        assert {"template"} == set(answer.fields())
    assert ({"body": "x"}, None) == (rendered.body["parts"], rendered.body["encoding"])


async def test_uses_are_counted(gateway: Gateway, ask: Ask) -> None:
    """usage_count and last_used_at are right at once, and stay right when they are folded."""
    made = (await ask("POST", "/v1/templates", TEMPLATE | {"content": "x"})).body
    path = f"/v1/templates/{made['id']}"
    send = {"channel": "sms", "to": "+447700900123", "template": "hello"}
    await asyncio.gather(*(ask("POST", "/v1/messages", send) for _ in range(5)))
    await ask("POST", "/v1/messages/batch", {"messages": [send, send]})

    waiting = (await ask("GET", path)).body
    async with gateway.database.as_service() as db:
        await upkeep.fold_template_uses(db)
    folded = (await ask("GET", path)).body

    assert (7, 7) == (waiting["usage_count"], folded["usage_count"])
    assert waiting["last_used_at"] == folded["last_used_at"] is not None
    assert 0 == await gateway.count("gateway.template_uses")


@pytest.mark.parametrize("kind", ["lead", "client"])
async def test_contact_life(ask: Ask, kind: str) -> None:
    """A contact is made, read, changed in part and found."""
    made = await ask(
        "POST",
        f"/v1/{kind}s",
        {
            "first_name": "Ada",
            "last_name": "Lovelace",
            "email": "Ada@Example.com",
            "phone": "+447700900123",
            "custom_fields": {"a": [1]},
        },
    )
    path = f"/v1/{kind}s/{made.body['id']}"
    changed = await ask("PATCH", path, {"notes": "likes engines", "phone": None})
    read = await ask("GET", path)
    found = await ask("GET", f"/v1/{kind}s?email=ada@example.com")
    absent = await ask("GET", f"/v1/{kind}s/{uuid4()}")
    unpatched = await ask("PATCH", f"/v1/{kind}s/{uuid4()}", {"notes": "x"})

    assert (201, "Ada Lovelace", {"a": [1]}) == (
        made.status,
        made.body["name"],
        made.body["custom_fields"],
    )
    assert ("likes engines", None, "Ada") == tuple(
        changed.body[k] for k in ("notes", "phone", "first_name")
    )
    assert changed.body == read.body
    assert [made.body["id"]] == [row["id"] for row in found.body["data"]]
    assert (404, 404) == (absent.status, unpatched.status)
    assert "password_hash" not in made.body


async def test_converted_leads(ask: Ask) -> None:
    """A lead has the time at which it was converted, however it became that, and no other has."""
    made = await ask("POST", "/v1/leads", {"status": "converted"})
    new = await ask("POST", "/v1/leads", {"first_name": "Ann"})
    changed = await ask("PATCH", f"/v1/leads/{new.body['id']}", {"status": "converted"})

    assert made.body["converted_at"] == made.body["created_at"]
    assert (None, True) == (new.body["converted_at"], changed.body["converted_at"] is not None)


async def test_bad_contacts(gateway: Gateway, ask: Ask) -> None:
    """Columns that cannot be written, or values that cannot stand, are named."""
    client = {"email": "c@example.com"}
    assert 201 == (await ask("POST", "/v1/clients", client)).status
    for path, body, status, field in (
        ("/v1/leads", {"status": "asleep"}, 422, "status"),
        ("/v1/leads", {"lead_score": 2**40}, 422, "lead_score"),
        ("/v1/leads", {"assigned_to": str(uuid4())}, 422, "assigned_to"),
        ("/v1/leads", {"organization_id": str(gateway.b.organization_id)}, 422, "organization_id"),
        ("/v1/clients", {}, 422, "email"),
        ("/v1/clients", client | {"password_hash": "x"}, 422, "password_hash"),
        ("/v1/clients", client | {"date_of_birth": "soon"}, 422, "date_of_birth"),
        ("/v1/clients", client, 409, None),
    ):
        answer = await ask("POST", path, body)
        assert status == answer.status, (path, body)
        assert field is None or field in answer.fields()
    # A client of another organization is not told of, beyond that the address cannot be used.
    foreign = await ask("POST", "/v1/clients", client, key=gateway.b.key)
    assert 409 == foreign.status


LARGE = """UPDATE leads SET notes = repeat('x', 3 * 1024 * 1024);
UPDATE clients SET notes = repeat('x', 3 * 1024 * 1024);
UPDATE message_templates SET variables = ARRAY[repeat('x', 3 * 1024 * 1024)];"""


@pytest.mark.parametrize("kind", ["leads", "clients", "templates"])
async def test_pages_of_large_rows(gateway: Gateway, ask: Ask, kind: str) -> None:
    """A page ends with the row that fills its 16 MiB, whatever a CRM has written; none is lost."""
    made = []
    for n in range(8):
        new = {**TEMPLATE, "name": f"n{n}"} if kind == "templates" else {"email": f"n{n}@x.example"}
        made.append((await ask("POST", f"/v1/{kind}", new)).body["id"])
    async with gateway.database.as_service() as db:
        await db.execute("RESET ROLE")
        await db.execute(LARGE)

    first = (await ask("GET", f"/v1/{kind}?limit=200")).body
    second = (await ask("GET", f"/v1/{kind}?limit=2&cursor={first['next_cursor']}")).body

    assert (6, 2, None) == (len(first["data"]), len(second["data"]), second["next_cursor"])
    assert made[::-1] == [row["id"] for row in first["data"] + second["data"]]
    assert first["data"][0] == (await ask("GET", f"/v1/{kind}/{made[-1]}")).body


@pytest.mark.parametrize(
    ("kind", "field", "most", "too_much"),
    [
        ("leads", "notes", "x" * 2**20, "x" * (2**20 + 1)),
        ("leads", "tags", ["x"] * 1000, ["x"] * 1001),
        ("clients", "notes", "x" * 2**20, "x" * (2**20 + 1)),
        ("templates", "description", "x" * 2**20, "x" * (2**20 + 1)),
    ],
)
async def test_how_long_they_may_be(
    ask: Ask, kind: str, field: str, most: Any, too_much: Any
) -> None:
    """What a request says of them has a bound, when they are made and when they are changed."""
    new = TEMPLATE if kind == "templates" else {"email": "ada@x.example"}

    async def say(method: str, path: str, body: dict[str, Any]) -> Any:
        return await ask(method, path, data=io.BytesIO(json.dumps(body).encode()))

    made = await say("POST", f"/v1/{kind}", {**new, field: most})
    refused = await say("POST", f"/v1/{kind}", {**new, field: too_much})
    unchanged = await say("PATCH", f"/v1/{kind}/{made.body['id']}", {field: too_much})

    assert (201, most) == (made.status, made.body[field])
    for answer in (refused, unchanged):
        assert (422, {field}) == (answer.status, set(answer.fields()))
