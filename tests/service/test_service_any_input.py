"""Whatever is sent to the API is answered, and never with a 5xx."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from yarl import URL

from tests.service.described import answer_errors, schema_errors

if TYPE_CHECKING:
    from tests.service.conftest import Answer, Ask, Gateway


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
