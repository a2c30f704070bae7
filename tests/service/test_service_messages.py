"""POST /v1/messages, its batches and checks, and canceling and sending again."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from channels.model import Channel
from tests.service.wires import connect

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}


async def test_accepted_message_is_the_row(gateway: Gateway, ask: Ask) -> None:
    """The 202 carries the row as stored: pending, with every column of the contract."""
    metadata = {"order": 7, "nested": {"umlaut": "ü"}}
    sent = await ask("POST", "/v1/messages", SMS | {"reference": "r-1", "metadata": metadata})

    assert 202 == sent.status
    read = await ask("GET", f"/v1/messages/{sent.body['id']}")
    assert sent.body == read.body
    assert f"/gw/v1/messages/{sent.body['id']}" == sent.headers["Location"]
    assert {
        "organization_id": str(gateway.a.organization_id),
        "channel": "sms",
        "direction": "outbound",
        "from_address": "+15551230001",
        "to_address": "+447700900123",
        "body": "Hello",
        "status": "pending",
        "reference": "r-1",
        "metadata": metadata,
        "attachments": [],
        "conversation_id": read.body["conversation_id"],
        "sent_at": None,
    }.items() <= sent.body.items()


async def test_the_answer_is_what_is_stored(gateway: Gateway, ask: Ask) -> None:
    """The 202 says of every field what a later look at the message says, however it was written."""
    clinic = "clinic@example.com"
    await connect(gateway, "sendgrid", Channel.EMAIL, clinic)
    for request in (
        SMS
        | {
            "send_at": "2090-01-01T09:00:00.123456+02:00",
            "expires_at": "2090-01-02T00:00:00-05:30",
            "reference": "r",
            "metadata": {"b": 1.50, "a": [1e3, None, "é"], "deep": {"x": {}}, "n": 10**15},
        },
        SMS | {"attachments": [{"url": "https://example.com/a.png", "filename": "a.png"}]},
        {
            "channel": "email",
            "to": "Ada@Example.com",
            "subject": "Hello",
            "html_body": "<p>Hello <b>Ada</b></p>",
            "attachments": [{"content": "eA==", "filename": "a.txt", "content_type": "text/plain"}],
        },
    ):
        accepted = await ask("POST", "/v1/messages", request)
        assert 202 == accepted.status, accepted.body
        stored = await ask("GET", f"/v1/messages/{accepted.body['id']}")
        assert stored.body == accepted.body


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"channel": "fax"}, "channel"),
    ({"channel": "email"}, "subject"),
    ({"channel": "whatsapp"}, "from"),
    ({"channel": None}, "channel"),
    ({"to": "not a number"}, "to"),
    ({"to": "12"}, "to"),
    ({"to": 447700900123}, "to"),
    ({"to": None}, "to"),
    ({"from": "+15559999999"}, "from"),
    ({"body": None}, "body"),
    ({"body": ""}, "body"),
    ({"body": "x" * 1601}, "body"),
    ({"body": "nul \x00"}, "body"),
    ({"body": "x", "template": "t"}, "body"),
    ({"body": None, "template": "unknown"}, "template"),
    ({"variables": {"a": 1}}, "variables"),
    ({"subject": "s"}, "subject"),
    ({"html_body": "<p>"}, "html_body"),
    ({"attachments": [{"url": "ftp://example.com/a.png"}]}, "attachments.0.url"),
    ({"attachments": [{"content": "eA=="}]}, "attachments.0.filename"),
    ({"attachments": [{"content": "%", "filename": "a"}]}, "attachments.0.content"),
    ({"fallback": [{"channel": "email", "after": 60}]}, "fallback.0.to"),
    ({"fallback": [{"channel": "sms", "after": 604_801}]}, "fallback.0.after"),
    ({"fallback": [{"channel": "sms", "after": 60}] * 6}, "fallback"),
    ({"fallback": [{"channel": "email", "after": "60"}]}, "fallback.0.after"),
    ({"lead_id": "no-uuid"}, "lead_id"),
    ({"lead_id": str(uuid4())}, "lead_id"),
    ({"client_id": str(uuid4())}, "client_id"),
    ({"priority": "urgent"}, "priority"),
    ({"send_at": "tomorrow"}, "send_at"),
    ({"send_at": "2030-01-01T00:00:00"}, "send_at"),
    ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    (
        {"send_at": "2090-01-02T00:00:00Z", "expires_at": "2090-01-01T00:00:00Z"},
        "expires_at",
    ),
    ({"reference": "x" * 256}, "reference"),
    ({"metadata": {"provider": {}}}, "metadata.provider"),
    ({"metadata": {"fallback_of": "x"}}, "metadata.fallback_of"),
    ({"metadata": {"a": "\x00"}}, "metadata"),
    ({"metadata": {"a": "x" * 70_000}}, "metadata"),
    ({"metadata": []}, "metadata"),
    ({"colour": "red"}, "colour"),
]


async def test_wrong_field_is_named(gateway: Gateway, ask: Ask) -> None:
    """A request with a wrong field is a 422 that names it, and nothing is stored."""
    for change, field in WRONG:
        request = {k: v for k, v in (SMS | change).items() if v is not None}

        refused = await ask("POST", "/v1/messages", request)

        assert 422 == refused.status, change
        assert "application/problem+json" == refused.headers["Content-Type"]
        assert field in refused.fields(), change
        assert 0 == await gateway.count("messages"), change
        checked = await ask("POST", "/v1/messages/check", request)
        assert checked.status == 422 or not checked.body["ok"], change


async def test_every_problem_at_once(ask: Ask) -> None:
    """One 422 names all that is wrong, whatever kind of wrong it is."""
    refused = await ask(
        "POST",
        "/v1/messages",
        {
            "channel": "sms",
            "to": "nobody",
            "from": "+15550000000",
            "template": "unknown",
            "lead_id": str(uuid4()),
            "expires_at": "2001-01-01T00:00:00Z",
        },
    )

    assert {"to", "from", "template", "lead_id", "expires_at"} == set(refused.fields())


async def test_more_wrong_fields_than_anybody_reads(ask: Ask) -> None:
    """A request of nothing but unknown fields is refused in one sentence: to name each of 20,000
    took a fifth of a second of every tenant's, and of as many as fit into a body ten."""
    odd = dict.fromkeys(map(str, range(20_000)), 1)
    sms = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
    wanted = {
        "body": "More than 100 fields of this request are wrong: compare it with /openapi.json."
    }
    for path, body in (
        ("/v1/messages", sms | odd),
        ("/v1/messages/batch", {"messages": [sms]} | odd),
        ("/v1/leads", {"phone": "+447700900123"} | odd),
    ):
        refused = await ask("POST", path, body)
        assert (422, wanted) == (refused.status, refused.fields())
    batch = await ask("POST", "/v1/messages/batch", {"messages": [sms, sms | odd]})
    assert [202, 422] == [each["status"] for each in batch.body["data"]]
    assert [{"field": "body", "message": wanted["body"]}] == batch.body["data"][1]["problem"][
        "errors"
    ]
    named = await ask("POST", "/v1/messages", sms | dict.fromkeys(map(str, range(100)), 1))
    assert 100 == len(named.fields())


async def test_malformed_json_is_400(ask: Ask) -> None:
    """What is no JSON is a 400, on every path that takes a body."""
    for path in ("/v1/messages", "/v1/messages/batch", "/v1/messages/check", "/v1/templates"):
        for data in (b"", b"{", b"\xff", b"[" * 100_000):
            refused = await ask("POST", path, data=data)
            assert (400, "application/problem+json") == (
                refused.status,
                refused.headers["Content-Type"],
            ), (path, data[:5])


async def test_large_body_is_413(ask: Ask) -> None:
    """A body of more than 10 MiB is a 413."""
    refused = await ask("POST", "/v1/messages", data=io.BytesIO(b"x" * (10 * 2**20 + 1)))

    assert 413 == refused.status
    assert 413 == refused.body["status"]


async def test_national_number_and_template(ask: Ask) -> None:
    """A national number is read in the organization's country; the template is rendered."""
    await ask("POST", "/v1/templates", {"name": "t", "type": "sms", "content": "Hi {{ name }}"})

    sent = await ask(
        "POST",
        "/v1/messages",
        {"channel": "sms", "to": "07700 900123", "template": "t", "variables": {"name": "O'Ne<l"}},
    )

    assert ("+447700900123", "Hi O'Ne<l") == (sent.body["to_address"], sent.body["body"])


@pytest.mark.parametrize(
    "name", [str(UUID(int=7)), UUID(int=8).hex, f"urn:uuid:{UUID(int=9)}", "plain"]
)
async def test_a_template_whose_name_looks_like_an_id(ask: Ask, name: str) -> None:
    """It is sent with by its name, as by its id."""
    template = {"name": name, "type": "sms", "content": "Hi"}
    made = (await ask("POST", "/v1/templates", template)).body
    for named in (name, made["id"], UUID(made["id"]).hex):
        sms = {"channel": "sms", "to": "+447700900123", "template": named}
        assert "Hi" == (await ask("POST", "/v1/messages", sms)).body["body"]


async def test_missing_variables_are_all_named(ask: Ask) -> None:
    """Each variable that the template lacks is a field of the 422."""
    await ask(
        "POST",
        "/v1/templates",
        {"name": "t", "type": "sms", "content": "{{ a }} {{ b }} {{ c|default('-') }}"},
    )

    refused = await ask(
        "POST", "/v1/messages", {"channel": "sms", "to": "+447700900123", "template": "t"}
    )

    assert {"variables.a", "variables.b"} == set(refused.fields())


async def test_contact_gives_the_address(ask: Ask) -> None:
    """A lead's or client's number is the address, and the message is linked to them."""
    lead = (await ask("POST", "/v1/leads", {"phone": "07700 900456"})).body
    client = (
        await ask("POST", "/v1/clients", {"email": "c@example.com", "phone": "+447700900789"})
    ).body

    to_lead = await ask(
        "POST", "/v1/messages", {"channel": "sms", "lead_id": lead["id"], "body": "x"}
    )
    to_client = await ask(
        "POST", "/v1/messages", {"channel": "sms", "client_id": client["id"], "body": "x"}
    )

    assert ("+447700900456", lead["id"]) == (to_lead.body["to_address"], to_lead.body["lead_id"])
    assert ("+447700900789", client["id"]) == (
        to_client.body["to_address"],
        to_client.body["client_id"],
    )
    touched = (await ask("GET", f"/v1/leads/{lead['id']}")).body
    assert touched["last_contacted_at"] is not None


async def test_address_finds_the_newest_lead(ask: Ask) -> None:
    """An address links the newest lead that has it, however the number is written."""
    for phone in ("+44 7700 900123", "(0)7700-900123", "+1 555 090 0123"):
        await ask("POST", "/v1/leads", {"phone": phone})
    newest = (await ask("POST", "/v1/leads", {"phone": "07700900123"})).body

    sent = await ask("POST", "/v1/messages", SMS)

    assert newest["id"] == sent.body["lead_id"]


async def test_contact_without_number(ask: Ask) -> None:
    """A contact that cannot be reached is named as the problem."""
    lead = (await ask("POST", "/v1/leads", {"first_name": "No phone"})).body

    refused = await ask(
        "POST", "/v1/messages", {"channel": "sms", "lead_id": lead["id"], "body": "x"}
    )

    assert {"lead_id"} == set(refused.fields())


async def test_other_organizations_things_do_not_exist(gateway: Gateway, ask: Ask) -> None:
    """Ids of another organization are refused as unknown, and read as 404."""
    b = gateway.b.key
    lead = (await ask("POST", "/v1/leads", {"phone": "+447700900123"}, key=b)).body
    template = (
        await ask("POST", "/v1/templates", {"name": "t", "type": "sms", "content": "x"}, key=b)
    ).body
    sent = (await ask("POST", "/v1/messages", SMS, key=b)).body

    refused = await ask(
        "POST",
        "/v1/messages",
        {
            "channel": "sms",
            "to": "+447700900123",
            "from": gateway.b.sender,
            "template": template["id"],
            "lead_id": lead["id"],
        },
    )

    assert {"from", "template", "lead_id"} == set(refused.fields())
    own = await ask("POST", "/v1/messages", SMS)
    assert own.body["lead_id"] is None
    for method, path in (
        ("GET", f"/v1/messages/{sent['id']}"),
        ("GET", f"/v1/messages/{sent['id']}/events"),
        ("POST", f"/v1/messages/{sent['id']}/cancel"),
        ("POST", f"/v1/messages/{sent['id']}/retry"),
        ("GET", f"/v1/leads/{lead['id']}"),
        ("GET", f"/v1/templates/{template['id']}"),
        ("DELETE", f"/v1/templates/{template['id']}"),
        ("POST", f"/v1/templates/{template['id']}/render"),
    ):
        body: dict[str, Any] | None = {} if path.endswith("render") else None
        assert 404 == (await ask(method, path, body)).status, path
    patched = await ask("PATCH", f"/v1/leads/{lead['id']}", {"notes": "mine"})
    assert 404 == patched.status
    assert [own.body["id"]] == [m["id"] for m in (await ask("GET", "/v1/messages")).body["data"]]


async def test_batch(gateway: Gateway, ask: Ask) -> None:
    """A batch answers in order; one bad item spoils no other; one key covers it all."""
    headers = {"Idempotency-Key": "batch"}
    batch = {
        "messages": [
            SMS | {"body": "one"},
            SMS | {"to": "nobody"},
            "no object",
            SMS | {"colour": "red"},
            SMS | {"body": "five"},
        ]
    }
    answer = await ask("POST", "/v1/messages/batch", batch, headers=headers)
    again = await ask("POST", "/v1/messages/batch", batch, headers=headers)
    as_one = await ask("POST", "/v1/messages", SMS, headers=headers)

    assert 207 == answer.status
    data = answer.body["data"]
    assert [202, 422, 422, 422, 202] == [item["status"] for item in data]
    assert ["one", "five"] == [item["message"]["body"] for item in data if "message" in item]
    assert "colour" == data[3]["problem"]["errors"][0]["field"]
    assert (answer.body, "true") == (again.body, again.headers["Idempotent-Replayed"])
    assert 409 == as_one.status
    assert 2 == await gateway.count("messages")


async def test_bad_batch(gateway: Gateway, ask: Ask) -> None:
    """What is no batch of 1 to 1,000 messages is refused as a whole."""
    cases: tuple[Any, ...] = (
        {},
        {"messages": []},
        {"messages": {}},
        [],
        {"messages": [SMS] * 1001},
        {"messages": [SMS], "x": 1},
    )
    for batch in cases:
        assert 422 == (await ask("POST", "/v1/messages/batch", batch)).status, str(batch)[:99]
    assert 0 == await gateway.count("messages")


async def test_batch_without_any_good_item(ask: Ask) -> None:
    """A batch of bad items stores nothing and may be sent again with the same key."""
    headers = {"Idempotency-Key": "none"}
    first = await ask("POST", "/v1/messages/batch", {"messages": [{}]}, headers=headers)
    second = await ask("POST", "/v1/messages/batch", {"messages": [SMS]}, headers=headers)

    assert ([422], [202]) == tuple(
        [item["status"] for item in answer.body["data"]] for answer in (first, second)
    )


async def test_check_says_what_would_be_sent(gateway: Gateway, ask: Ask) -> None:
    """The check shows addresses, text, encoding, segments and what forces UCS-2; stores nothing."""
    plain = await ask("POST", "/v1/messages/check", SMS | {"to": "07700 900123"})
    long = await ask("POST", "/v1/messages/check", SMS | {"body": "x" * 100 + "“"})
    wrong = await ask("POST", "/v1/messages/check", SMS | {"to": "nobody"})

    assert {
        "ok": True,
        "errors": [],
        "from": "+15551230001",
        "to": "+447700900123",
        "parts": {"body": "Hello"},
        "encoding": "GSM-7",
        "segments": 1,
        "forced_by": None,
    } == plain.body
    assert ("UCS-2", 2, "“") == tuple(long.body[k] for k in ("encoding", "segments", "forced_by"))
    assert (200, False, "to") == (wrong.status, wrong.body["ok"], wrong.body["errors"][0]["field"])
    assert 0 == await gateway.count("messages")


async def test_cancel(ask: Ask) -> None:
    """A message that waits can be canceled, once; a canceled one stays so."""
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    sent = (await ask("POST", "/v1/messages", SMS | {"send_at": later})).body

    canceled = await ask("POST", f"/v1/messages/{sent['id']}/cancel")
    again = await ask("POST", f"/v1/messages/{sent['id']}/cancel")
    events = await ask("GET", f"/v1/messages/{sent['id']}/events")

    assert (200, "canceled", 409) == (canceled.status, canceled.body["status"], again.status)
    assert ["canceled", "accepted"] == [event["type"] for event in events.body["data"]]
    assert {"id", "type", "status", "occurred_at", "recorded_at", "source", "detail"} == set(
        events.body["data"][0]
    )


async def test_cancel_at_once(ask: Ask) -> None:
    """Of several that cancel a message at the same moment one does, and the others are told so."""
    sent = (await ask("POST", "/v1/messages", SMS | {"send_at": "2090-01-01T00:00:00Z"})).body
    path = f"/v1/messages/{sent['id']}/cancel"
    answers = await asyncio.gather(*(ask("POST", path) for _ in range(8)))
    late = [answer.body["detail"] for answer in answers if answer.status == 409]

    assert 7 == len(late)
    assert all(said.startswith("This message is canceled:") for said in late)


async def test_retry_of_a_pending_message(ask: Ask) -> None:
    """Only what has failed can be sent again."""
    sent = (await ask("POST", "/v1/messages", SMS)).body

    assert 409 == (await ask("POST", f"/v1/messages/{sent['id']}/retry")).status


async def test_paths_that_are_none(ask: Ask) -> None:
    """An id that is no UUID, and a path that is none, are 404 with a problem."""
    for path in ("/v1/messages/x", "/v1/nothing", "/", "/v1/subscriptions/x", "/v1/suppressions/x"):
        answer = await ask("GET", path)
        assert (404, 404) == (answer.status, answer.body["status"]), path
    wrong = await ask("DELETE", "/v1/messages")
    assert (405, "GET,HEAD,POST") == (wrong.status, wrong.headers["Allow"].replace(" ", ""))
