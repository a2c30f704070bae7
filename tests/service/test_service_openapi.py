"""/openapi.json says what is so, and /docs shows it without another host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.api.table import ENDPOINTS
from tests.service.conftest import PUBLIC
from tests.service.described import answer_errors, schema_errors

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
OPERATIONS = ("/healthz", "/readyz", "/metrics")
# The fields of the contract's POST /v1/messages.
SEND_FIELDS = {
    "channel",
    "to",
    "lead_id",
    "client_id",
    "from",
    "template",
    "variables",
    "body",
    "subject",
    "html_body",
    "attachments",
    "send_at",
    "expires_at",
    "priority",
    "fallback",
    "reference",
    "metadata",
    # beyond the contract
    "options",
    "in_reply_to",
}


@pytest.mark.no_cover  # the validator takes seconds, which measuring doubles
async def test_document_is_valid(ask: Ask, document: dict[str, Any]) -> None:
    """What is served is the description, needs no credentials, and is valid OpenAPI 3.1."""
    served = await ask("GET", "/openapi.json", key="")

    assert (200, document) == (served.status, served.body)
    assert served.body["openapi"].startswith("3.1")
    assert [{"url": PUBLIC}] == served.body["servers"]
    OpenAPIV31SpecValidator(served.body).validate()


async def test_operations_are_described(ask: Ask, document: dict[str, Any]) -> None:
    """What operators ask is described as it is answered, and as open to everybody."""
    for path in OPERATIONS:
        answer = await ask("GET", path, key="")
        assert 200 == answer.status
        assert [] == answer_errors(document, "GET", path, answer)
        assert [] == document["paths"][path]["get"]["security"]
    described = {path: document["paths"][path]["get"]["responses"].keys() for path in OPERATIONS}
    assert {"/healthz": {"200"}, "/readyz": {"200", "503"}, "/metrics": {"200"}} == described


def test_every_endpoint_is_described(document: dict[str, Any]) -> None:
    """Each endpoint is there with its body, its parameters and its answers, and no other is."""
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    of_v1 = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    assert {("GET", path) for path in OPERATIONS} | of_v1 == described
    ids = []
    for endpoint in ENDPOINTS:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        ids.append(operation["operationId"])
        assert operation["summary"]
        assert bool(endpoint.body) == ("requestBody" in operation), endpoint.path
        named = {(p["in"], p["name"]) for p in operation["parameters"]}
        assert {("path", name) for name in re.findall(r"{(\w+)}", endpoint.path)} <= named
        if endpoint.query:
            assert {("query", name) for name in endpoint.query.model_fields} <= named
        assert {str(endpoint.status), "401", "403", "503"} <= operation["responses"].keys()
        if endpoint.body:
            is_check = endpoint.path.endswith("/check")  # which says what is wrong with a 200
            assert {"400", "413", "422"} - ({"422"} if is_check else set()) <= operation[
                "responses"
            ].keys(), endpoint.path
    assert len(set(ids)) == len(ids)


def test_every_field_of_the_contract(document: dict[str, Any]) -> None:
    """The body of a send has the contract's fields; only `channel` is required."""
    schema = document["components"]["schemas"]["SendRequest"]

    assert SEND_FIELDS == schema["properties"].keys()
    assert ["channel"] == schema["required"]
    assert False is schema["additionalProperties"]
    parameters = document["paths"]["/v1/messages"]["post"]["parameters"]
    assert "Idempotency-Key" in {p["name"] for p in parameters}


def test_null_is_described_where_it_is_accepted(document: dict[str, Any]) -> None:
    """Of a change, the description allows null for what can be taken away, and for nothing else;
    null is no default either: who sends it changes something."""
    schemas = document["components"]["schemas"]
    shapes = [name for name in schemas if name.endswith("Patch")]
    refused = {
        (shape, name)
        for shape in shapes
        for name in schemas[shape]["properties"]
        if schema_errors(document, {"$ref": f"#/components/schemas/{shape}"}, {name: None})
    }

    assert {
        ("AccountPatch", "name"),
        ("AccountPatch", "is_active"),
        ("AccountPatch", "credentials"),
        ("ClientPatch", "email"),
        ("SenderPatch", "is_default"),
        ("SenderPatch", "is_active"),
        ("ConversationPatch", "status"),
        ("ConversationPatch", "read"),
        ("SubscriptionPatch", "url"),
        ("SubscriptionPatch", "events"),
        ("SubscriptionPatch", "secret"),
        ("SubscriptionPatch", "is_active"),
        ("TemplatePatch", "name"),
        ("TemplatePatch", "type"),
        ("TemplatePatch", "content"),
        ("TemplatePatch", "is_active"),
        ("TemplatePatch", "tags"),
    } == refused
    assert not any("default" in schemas[shape]["properties"][name] for shape, name in refused)


async def test_parts_of_a_file(document: dict[str, Any]) -> None:
    """A file may be asked for in parts: with which header, and what is answered, is described."""
    described = document["paths"]["/v1/media/{id}"]["get"]

    assert {"200", "206", "416"} < set(described["responses"])
    assert {"application/problem+json"} == set(described["responses"]["416"]["content"])
    assert "Range" in {each["name"] for each in described["parameters"]}


class References(HTMLParser):
    """Everything that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element refers to."""
        self.found += [value for name, value in attrs if name in {"src", "href"} and value]
        assert tag != "base"


async def test_docs_need_no_other_host(gateway: Gateway, ask: Ask) -> None:
    """/docs loads scripts and styles from its own host alone, its policy allows no others, and
    all of them are there."""
    page = await ask("GET", "/docs", key="")
    references = References()
    references.feed(page.body)

    assert (200, "text/html") == (page.status, page.headers["Content-Type"].partition(";")[0])
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "http" not in page.headers["Content-Security-Policy"]
    assert references.found
    for reference in references.found:
        assert ("", "") == urlsplit(reference)[:2], reference
        # Behind a proxy that strips a prefix, too: they are relative.
        assert not reference.startswith("/")
        loaded = await ask("GET", urljoin(f"{gateway.url}/docs", reference), key="")
        kind = "css" if reference.endswith(".css") else "javascript"
        assert (200, True) == (loaded.status, kind in loaded.headers["Content-Type"]), reference
        assert loaded.body
    started = await ask("GET", "/docs/start.js", key="")
    assert '"openapi.json"' in started.body
    assert 404 == (await ask("GET", "/docs/nothing.js", key="")).status


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Asks, and compares each answer with its description."""

    ask: Ask
    document: Mapping[str, Any] = field(repr=False)
    seen: set[tuple[str, str]] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    async def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The body of an answer; `{at}` in the path stands for the `id` that is given."""
        pattern = path.partition("?")[0].replace("{at}", "{id}")
        answer = await self.ask(method, path.replace("{at}", more.pop("id", "")), body, **more)
        self.seen.add((method, pattern))
        self.wrong.extend(
            f"{method} {path} {answer.status} {error}"
            for error in answer_errors(self.document, method, pattern, answer)
        )
        return answer.body


async def walk_messages(go: Walk) -> None:
    """Send, look, cancel, and what goes wrong."""
    lead = await go("POST", "/v1/leads", {"first_name": "Ada", "phone": "+447700900123"})
    await go("POST", "/v1/templates", {"name": "m", "type": "sms", "content": "{{ a }}"})
    by_template = {"template": "m", "variables": {"a": "“"}, "lead_id": lead["id"]}
    more = {"reference": "r", "metadata": {"a": [1, None, "x"]}}
    sent = await go("POST", "/v1/messages", {"channel": "sms", **by_template, **more})
    later = await go("POST", "/v1/messages", SMS | {"send_at": "2090-01-01T00:00:00+01:00"})
    for text in ("x", "x", "y"):
        await go("POST", "/v1/messages", SMS | {"body": text}, headers={"Idempotency-Key": "k"})
    await go("POST", "/v1/messages", {"channel": "fax"})
    await go("POST", "/v1/messages", data=b"{")
    await go("POST", "/v1/messages", SMS, key="")
    await go("POST", "/v1/messages/batch", {"messages": [SMS, {}, 7]})
    await go("POST", "/v1/messages/batch", {"messages": []})
    for body in (SMS, {"channel": "sms", **by_template}, {"channel": "sms", "to": "x"}, {}):
        await go("POST", "/v1/messages/check", body)
    for query in ("", "?limit=1", "?limit=0", "?status=pending&q=hello"):
        await go("GET", f"/v1/messages{query}")
    for query in ("", "?format=jsonl&status=pending", "?format=xls"):
        await go("GET", f"/v1/messages/export{query}")
    await go("GET", "/v1/events", key="")  # what has no end is looked at elsewhere
    await go("GET", "/v1/events?last_event_id=x")
    for at in (sent["id"], "nothing", lead["id"]):
        await go("GET", "/v1/messages/{at}", id=at)
        await go("GET", "/v1/messages/{at}/events", id=at)
        await go("GET", "/v1/messages/{at}/why", id=at)
        await go("POST", "/v1/messages/{at}/retry", id=at)
    for _ in range(2):
        await go("POST", "/v1/messages/{at}/cancel", id=later["id"])


async def walk_conversations(go: Walk, lead_id: str) -> None:
    """List, read, reply, change, link, merge and unlink, and what goes wrong."""
    for to in ("+447700900501", "+447700900502"):
        await go("POST", "/v1/messages", SMS | {"to": to})
    for query in (
        "",
        "?limit=1",
        "?limit=0",
        "?channel=sms&status=open&unread=false",
        "?q=x",
        "?q=-",
        "",
    ):
        listed = await go("GET", f"/v1/conversations{query}")
    first, second = [each["id"] for each in listed["data"][:2]]
    one = "/v1/conversations/{at}"
    for at in (first, "nothing", lead_id):
        await go("GET", one, id=at)
        await go("GET", f"{one}/messages", id=at)
        await go("GET", f"{one}/messages?limit=x", id=at)
        for body in ({"body": "Hello"}, {"channel": "fax"}, {"to": "+447700900502", "body": "x"}):
            await go("POST", f"{one}/messages", body, id=at)
        for change in ({"status": "closed", "read": True}, {"assigned_to": lead_id}, {"x": 1}):
            await go("PATCH", one, change, id=at)
        for link in ({"lead_id": lead_id}, {"client_id": lead_id}, {}):
            await go("POST", f"{one}/link", link, id=at)
        for other in (second, first, lead_id, 7):
            await go("POST", f"{one}/merge", {"conversation_id": other}, id=at)
        for address in ("+447700900502", "+447700900502", ""):
            await go("POST", f"{one}/unlink", {"address": address}, id=at)
    others = await go("GET", "/v1/conversations?limit=200")
    await go("GET", "/v1/conversations?cursor=x")
    for each in others["data"]:
        await go("POST", f"{one}/link", {"lead_id": lead_id}, id=each["id"])


async def walk_resource(
    go: Walk, kind: str, new: Any, change: Any, *, goes: bool = True, key: str | None = None
) -> Any:
    """Create, list, read, change and delete, and what goes wrong; the last answer to create."""
    one = f"/v1/{kind}/{{at}}"
    made = await go("POST", f"/v1/{kind}", new, key=key)
    await go("POST", f"/v1/{kind}", {"nonsense": 1}, key=key)
    await go("POST", f"/v1/{kind}", new, key="")
    await go("GET", f"/v1/{kind}?limit=1", key=key)
    await go("GET", f"/v1/{kind}?cursor=nonsense", key=key)
    for at in (made["id"], made["organization_id"]):
        await go("GET", one, id=at, key=key)
        if change is not None:
            await go("PATCH", one, change, id=at, key=key)
            await go("PATCH", one, {"nonsense": 1}, id=at, key=key)
    for _ in range(2 if goes else 0):
        await go("DELETE", one, id=made["id"], key=key)
    return await go("POST", f"/v1/{kind}", new, key=key)


async def test_answers_are_as_described(
    gateway: Gateway, ask: Ask, document: dict[str, Any]
) -> None:
    """Real answers of every endpoint, good and bad, are what the description says."""
    go = Walk(ask=ask, document=document)
    await walk_messages(go)
    lead = {"first_name": "Ada", "custom_fields": {"a": 1}, "tags": ["x"]}
    await walk_resource(go, "leads", lead, {"lead_score": 7.0, "ai_score": 1.5}, goes=False)
    one = await go("POST", "/v1/leads", {"first_name": "Eve"})
    await walk_conversations(go, one["id"])
    client = {"email": "a@example.com", "date_of_birth": "1990-01-31"}
    await walk_resource(go, "clients", client, {"membership_end_date": "2030-01-01"}, goes=False)
    template = {"name": "t", "type": "sms", "content": "{{ a }}", "tags": ["x"]}
    made = await walk_resource(go, "templates", template, {"content": "{{ b }}"})
    for variables in ({"a": "x"}, {}, 7):
        body = {"variables": variables}
        await go("POST", "/v1/templates/{at}/render", body, id=made["id"])
    stopped = {"channel": "email", "address": "ada@example.com", "note": "asked on the phone"}
    made = await walk_resource(go, "suppressions", stopped, None)
    await go("DELETE", "/v1/suppressions/{at}", id=made["id"], key="")
    await go("GET", "/v1/media/{at}", id=made["id"])
    owner = gateway.a.owner
    credentials = {"account_sid": "AC" + "b" * 32, "auth_token": "c" * 32}
    account: Any = {"provider": "twilio", "credentials": credentials}
    renamed = {"name": "renamed", "is_active": False, "credentials": credentials}
    made = await walk_resource(go, "accounts", account, renamed, key=owner)
    sender = {"account_id": made["id"], "channel": "sms", "address": "+15551239999", "rate": 7}
    await walk_resource(go, "senders", sender, {"is_default": True, "rate": None}, key=owner)
    await walk_resource(go, "api-keys", {"name": "n", "test": True}, None, key=owner)
    told: Any = {"url": "https://hooks.example.com/", "events": ["message.read"]}
    await walk_resource(go, "subscriptions", told, {"is_active": False, "events": []})
    for kind, new in (
        ("accounts", account),
        ("senders", sender),
        ("api-keys", {}),
        ("subscriptions", told),
    ):
        await go("POST", f"/v1/{kind}", new, key=gateway.a.member)

    assert [] == go.wrong
    assert {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS} == go.seen
