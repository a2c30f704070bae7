"""/openapi.json says what is so, /docs shows it without another host, and no input is a 5xx."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import (  # type: ignore[import-untyped]
    Draft202012Validator,
    FormatChecker,
)
from openapi_spec_validator import OpenAPIV31SpecValidator
from yarl import URL

from gateway.api.openapi import describe
from gateway.api.table import ENDPOINTS
from tests.service.conftest import PUBLIC

if TYPE_CHECKING:
    from tests.service.conftest import Answer, Ask, Gateway

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


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The description, as JSON."""
    found: dict[str, Any] = json.loads(json.dumps(describe(PUBLIC)))
    return found


def schema_errors(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> list[str]:
    """What a schema of the document has against a value."""
    validator = Draft202012Validator(
        {**schema, "components": document["components"]}, format_checker=FormatChecker()
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def answer_errors(document: Mapping[str, Any], method: str, path: str, answer: Answer) -> list[str]:
    """What the description has against an answer."""
    described = document["paths"][path][method.lower()]["responses"]
    if str(answer.status) not in described:
        return [f"{answer.status} is not described"]
    content = described[str(answer.status)].get("content", {})
    if not content:
        return [] if answer.body == "" else ["it has a body"]
    sent_as = answer.headers["Content-Type"].partition(";")[0]
    if content.get(sent_as) == {}:  # a file, a stream
        return []
    ((media_type, media),) = content.items()
    if answer.headers["Content-Type"].partition(";")[0] != media_type:
        return [f"it is {answer.headers['Content-Type']}"]
    return schema_errors(document, media["schema"], answer.body)


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
    shapes = ("AccountPatch", "SenderPatch", "ConversationPatch")
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
        ("SenderPatch", "is_default"),
        ("SenderPatch", "is_active"),
        ("ConversationPatch", "status"),
        ("ConversationPatch", "read"),
    } == refused
    assert not any("default" in schemas[shape]["properties"][name] for shape, name in refused)


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
    for kind, new in (("accounts", account), ("senders", sender), ("api-keys", {})):
        await go("POST", f"/v1/{kind}", new, key=gateway.a.member)

    assert [] == go.wrong
    assert {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS} == go.seen


# Every input is answered


def fits(answer: Answer, document: Mapping[str, Any]) -> bool:
    """Whether an answer is JSON, no 5xx, and a problem that says what is wrong where it is one."""
    assert 200 <= answer.status < 500, answer
    if answer.status < 400:
        return True
    assert "application/problem+json" == answer.headers["Content-Type"], answer
    assert answer.status == answer.body["status"]
    assert answer.body["title"]
    assert answer.body["detail"]
    assert [] == schema_errors(
        document, {"$ref": "#/components/schemas/ProblemAnswer"}, answer.body
    )
    if answer.status == 422:
        assert answer.body["errors"]
        assert all(error["field"] and error["message"] for error in answer.body["errors"])
    return True


texts = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(["\x00", "\ud800", "\udfff", "\u2028", "\ufeff", "\U0001f600"]),
    ),
    max_size=20,
)
numbers = st.one_of(
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**40]),
    st.floats(allow_nan=False, allow_infinity=False),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
objects = st.dictionaries(texts, anything, max_size=4)
times = st.one_of(
    st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    st.sampled_from(
        [
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "2030-02-30T00:00:00Z",
            "2030-01-01T00:00:60Z",
            "2030-01-01T24:00:00Z",
            "2030-01-01",
        ]
    ),
)
dates = st.one_of(st.dates().map(str), times)
addresses = st.one_of(st.sampled_from(["+447700900123", "07700 900123", "tel:1", "+"]), texts)
ids = st.one_of(st.uuids().map(str), texts)
long_texts = st.integers(900, 3000).map("x".__mul__)
sources = st.one_of(
    st.sampled_from(["{{ a }}", "{{ a.b }}", "{% for x in a %}{{ x }}{% endfor %}", "{{", "{%"]),
    texts,
)


def near(fields: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Bodies with some of these fields: mostly of the right kind, one of them anything."""
    right = st.fixed_dictionaries({}, optional=dict(fields))
    spoilt = st.dictionaries(
        st.one_of(st.sampled_from(sorted(fields)), texts), anything, max_size=1
    )
    return st.tuples(right, spoilt).map(lambda both: both[0] | both[1])


def with_channel(body: dict[str, Any]) -> dict[str, Any]:
    """The same for SMS, where nothing else is said: most of the way, not the first refusal."""
    return {"channel": "sms", "to": "+447700900123", **body}


send_requests = near(
    {
        "channel": st.sampled_from(["sms", "email", "whatsapp", "call", "fax"]),
        "to": addresses,
        "from": addresses,
        "template": st.one_of(st.just("known"), ids),
        "variables": st.one_of(objects, st.fixed_dictionaries({"a": anything})),
        "body": st.one_of(texts, long_texts),
        "subject": texts,
        "lead_id": ids,
        "client_id": ids,
        "send_at": times,
        "expires_at": times,
        "priority": st.sampled_from(["high", "normal", "bulk", ""]),
        "reference": st.one_of(texts, long_texts),
        "metadata": objects,
        "attachments": st.lists(objects, max_size=2),
        "fallback": st.lists(objects, max_size=2),
    }
).map(with_channel)
leads = near(
    {
        "first_name": st.one_of(texts, long_texts),
        "email": texts,
        "phone": addresses,
        "source_details": objects,
        "status": st.sampled_from(["new", "lost", "gone"]),
        "tags": st.lists(texts, max_size=3),
        "lead_score": numbers,
        "ai_score": numbers,
        "assigned_to": ids,
        "custom_fields": objects,
        "notes": st.one_of(texts, long_texts),
    }
)
clients = near(
    {
        "email": st.one_of(texts, st.uuids().map(lambda value: f"{value}@example.com")),
        "phone": addresses,
        "is_active": st.booleans(),
        "date_of_birth": dates,
        "membership_start_date": dates,
        "membership_status": texts,
        "custom_fields": objects,
        "notes": texts,
    }
)
templates = near(
    {
        "name": st.one_of(texts, long_texts),
        "type": st.sampled_from(["sms", "email", "whatsapp", "call", "fax"]),
        "content": st.one_of(sources, long_texts),
        "subject": sources,
        "description": texts,
        "category": texts,
        "is_active": st.booleans(),
        "tags": st.lists(texts, max_size=3),
    }
)


@dataclass(frozen=True)
class Raw:
    """A body as bytes."""

    body: bytes


def as_bytes(body: Any) -> bytes:
    """JSON in ASCII: a lone surrogate is an escape, as a careless client sends it."""
    return body.body if isinstance(body, Raw) else json.dumps(body).encode()


def metadata_of(text: str) -> Raw:
    """A send with these characters as a value of its metadata, whatever they are."""
    return Raw(
        b'{"channel":"sms","to":"+447700900123","body":"x","metadata":{"a":%s}}' % text.encode()
    )


hostile = st.one_of(
    st.integers(1, 1200).map(lambda depth: metadata_of("[" * depth + "]" * depth)),
    st.integers(1, 1200).map(lambda depth: Raw(b"[" * depth + b"]" * depth)),
    st.integers(1, 6000).map(lambda digits: metadata_of("9" * digits)),
    st.sampled_from(["1e400", "-1e400", "1e-400", "NaN", "Infinity", "-0", "1.0e1"]).map(
        metadata_of
    ),
    st.binary(max_size=40).map(Raw),
)
quick = settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Poster:
    """Posts what hypothesis finds, to a gateway that knows a template."""

    def __init__(self, ask: Ask, document: Mapping[str, Any]) -> None:
        self._ask = ask
        self._document = document

    def __repr__(self) -> str:
        return "post"

    async def __call__(self, path: str, body: Any, **headers: str) -> Answer:
        """The answer, which is one."""
        answer = await self._ask("POST", path, data=as_bytes(body), headers=headers)
        assert fits(answer, self._document)
        if answer.status < 400:
            assert [] == answer_errors(self._document, "POST", path, answer)
        return answer


@pytest.fixture
async def post(ask: Ask, document: dict[str, Any]) -> Poster:
    """Post what hypothesis finds."""
    made = await ask(
        "POST", "/v1/templates", {"name": "known", "type": "sms", "content": "Hi {{ a }}"}
    )
    assert 201 == made.status
    return Poster(ask, document)


@given(body=st.one_of(send_requests, anything, hostile))
@example(body=with_channel({"template": "known", "variables": {"a": "\ud800"}}))
@example(body=with_channel({"body": "x", "send_at": "0001-01-01T00:00:00+14:00"}))
@example(body=with_channel({"body": "x", "send_at": "9999-12-31T23:59:59-14:00"}))
@example(body=metadata_of("[" * 300 + "]" * 300))
@example(body=metadata_of("9" * 40))
@quick
async def test_any_send(post: Poster, body: Any) -> None:
    """Whatever is posted as a message is accepted or refused, also in a check, a batch, and under
    an idempotency key; the three agree."""
    sent = await post("/v1/messages", body)
    checked = await post("/v1/messages/check", body)
    keyed = await post("/v1/messages", body, **{"Idempotency-Key": f"k{hash(as_bytes(body))}"})
    batch = await post("/v1/messages/batch", Raw(b'{"messages":[%s]}' % as_bytes(body)))

    assert sent.status == keyed.status
    assert (sent.status == 202) == (checked.status == 200 and checked.body["ok"])
    if batch.status == 207:
        (item,) = batch.body["data"]
        assert sent.status == item["status"]


@given(body=st.one_of(anything, st.fixed_dictionaries({"messages": anything}), hostile))
@example(body={"": None})
@quick
async def test_any_batch(post: Poster, body: Any) -> None:
    """Whatever is posted as a batch is answered."""
    await post("/v1/messages/batch", body)


@given(body=st.one_of(templates, anything, hostile))
@quick
async def test_any_template(post: Poster, body: Any) -> None:
    """Whatever is posted as a template is stored or refused."""
    await post("/v1/templates", body)


@given(body=st.one_of(leads, anything, hostile))
@example(body={"custom_fields": {"a": "\x00"}})
@example(body={"custom_fields": {"\x00": 1}})
@example(body={"source_details": {"a": 10**40}})
@example(body={"ai_score": 1e300})
@quick
async def test_any_lead(post: Poster, body: Any) -> None:
    """Whatever is posted as a lead is stored or refused."""
    await post("/v1/leads", body)


@given(body=st.one_of(clients, anything, hostile))
@example(body={"email": "a@example.com", "custom_fields": {"a": "\ud800"}})
@example(body={"email": "b@example.com", "date_of_birth": "0001-01-01"})
@quick
async def test_any_client(post: Poster, body: Any) -> None:
    """Whatever is posted as a client is stored or refused."""
    await post("/v1/clients", body)


cursors = st.binary(min_size=24, max_size=24).map(
    lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("=")
)
edges = st.sampled_from([0, 2**63 - 1, -(2**63), 253402300799999999, -62135596800000000]).map(
    lambda micros: base64.urlsafe_b64encode(
        micros.to_bytes(8, "big", signed=True) + bytes(16)
    ).decode()
)
queries = st.dictionaries(
    st.one_of(
        st.sampled_from(
            ["limit", "cursor", "status", "q", "since", "until", "address", "lead_id", "name"]
        ),
        st.text(max_size=5).map(quote),
    ),
    st.one_of(
        st.text(max_size=10).map(quote),
        st.binary(max_size=30).map(quote),
        times.map(quote),
        st.integers().map(str),
        cursors,
        edges,
        long_texts,
    ),
    min_size=1,
    max_size=3,
)
LISTS = ("/v1/messages", "/v1/templates", "/v1/leads", "/v1/clients", "/v1/messages/{id}")


@given(query=queries, path=st.sampled_from(LISTS), name=st.binary(min_size=1, max_size=20))
@quick
async def test_any_query(
    gateway: Gateway,
    ask: Ask,
    document: dict[str, Any],
    query: dict[str, str],
    path: str,
    name: bytes,
) -> None:
    """Whatever stands in a query or in the place of an id is answered."""
    line = "&".join(f"{key}={value}" for key, value in query.items())
    at = path.replace("{id}", quote(name, safe=""))
    answer = await ask("GET", URL(f"{gateway.url}{at}?{line}", encoded=True))

    assert fits(answer, document)


class Knock:
    """Asks with one header as raw bytes, which no client of HTTP would send."""

    def __init__(self, gateway: Gateway) -> None:
        self._where = urlsplit(gateway.url)
        self._key = gateway.a.key.encode()

    def __repr__(self) -> str:
        return "knock"

    async def __call__(self, name: bytes, value: bytes) -> int:
        """The status of the answer."""
        reader, writer = await asyncio.open_connection(self._where.hostname, self._where.port)
        try:
            writer.write(b"GET /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
            if name != b"Authorization":
                writer.write(b"Authorization: Bearer " + self._key + b"\r\n")
            writer.write(name + b": " + re.sub(rb"[\r\n]", b"", value) + b"\r\n\r\n")
            await writer.drain()
            first = await asyncio.wait_for(reader.readline(), 10)
        finally:
            writer.close()
            await writer.wait_closed()
        return int(first.split()[1])


@pytest.fixture
def knock(gateway: Gateway) -> Knock:
    """Ask with raw bytes."""
    return Knock(gateway)


@given(
    name=st.sampled_from([b"Authorization", b"Idempotency-Key", b"Content-Type", b"X-Any"]),
    value=st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=60).map(b"Bearer gw_live_".__add__),
        st.binary(max_size=60).map(b"Bearer ".__add__),
    ),
)
@example(name=b"Authorization", value=b"Bearer gw_live_\xff\xfe")
@example(name=b"Authorization", value=b"Bearer \xff.\xfe.\xfd")
@example(name=b"Idempotency-Key", value=b"\xff")
@example(name=b"Content-Length", value=b"-1")
@quick
async def test_any_header(knock: Knock, name: bytes, value: bytes) -> None:
    """Whatever bytes stand in a header, the answer is no 5xx."""
    assert 200 <= await knock(name, value) < 500


async def test_rate_that_no_clock_can_keep(gateway: Gateway, ask: Ask) -> None:
    """A sender's rate is one that a worker can keep: neither a message in years nor endless."""
    wanted = {"account_id": str(gateway.a.account_id), "channel": "sms", "address": "+15551239999"}
    owner = gateway.a.owner
    made = await ask("POST", "/v1/senders", wanted | {"rate": 0.5}, key=owner)
    for rate in (0, -1, 1e-300, 5e-324, 0.0001, 1e300, "1", True):
        refused = await ask("POST", "/v1/senders", wanted | {"rate": rate}, key=owner)
        path = f"/v1/senders/{made.body['id']}"
        changed = await ask("PATCH", path, {"rate": rate}, key=owner)

        assert (422, 422) == (refused.status, changed.status), rate
        assert {"rate"} == set(refused.fields()) == set(changed.fields())
