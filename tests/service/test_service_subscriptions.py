"""/v1/subscriptions: who is told of events, and who may say so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from channels.model import Status
from gateway.api.subscriptions import MOST
from gateway.live.events import event_name
from gateway.shapes.subscriptions import EventType
from gateway.store import subscriptions
from gateway.vault import Vault

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

URL = "https://hooks.example.com/gateway?of=alpha"
SECRET = "whsec_" + "c2VjcmV0" * 6


async def test_the_life_of_a_subscription(gateway: Gateway, ask: Ask) -> None:
    """It is made, read, changed, listed and deleted; its secret is shown once, and rests sealed."""
    made = await ask(
        "POST",
        "/v1/subscriptions",
        {"url": URL, "description": "CRM", "events": ["message.read", "message.failed"] * 2},
    )
    path = f"/v1/subscriptions/{made.body['id']}"
    secret = made.body.pop("secret")
    read = await ask("GET", path)
    changed = await ask(
        "PATCH", path, {"url": URL + "2", "description": None, "events": [], "is_active": False}
    )
    listed = await ask("GET", "/v1/subscriptions")
    async with gateway.database.as_service() as db:
        sealed = await subscriptions.credentials(db, gateway.a.organization_id, read.body["id"])
    gone = await ask("DELETE", path)

    assert (201, f"/gw{path}") == (made.status, made.headers["Location"])
    assert (200, made.body) == (read.status, read.body)
    assert ["message.failed", "message.read"] == made.body["events"]
    assert {
        "is_active": True,
        "disabled_reason": None,
        "former_until": None,
        "pending": 0,
        "last_success_at": None,
        "last_failure_at": None,
        "last_error": None,
    }.items() <= made.body.items()
    updated_at = changed.body.pop("updated_at")
    assert updated_at > made.body.pop("updated_at")
    assert changed.body == made.body | {
        "url": URL + "2",
        "description": None,
        "events": [],
        "is_active": False,
    }
    assert [changed.body | {"updated_at": updated_at}] == listed.body["data"]
    assert sealed is not None
    assert secret.startswith("whsec_")
    assert secret.encode() not in sealed
    opened = Vault(gateway.settings.gateway_secret_keys).open(gateway.a.organization_id, sealed)
    assert {"secret": secret} == opened
    assert (204, 404) == (gone.status, (await ask("GET", path)).status)


async def test_who_may(gateway: Gateway, ask: Ask) -> None:
    """Keys, owners and admins; members not at all, another organization finds nothing, whatever it
    asks; no credentials are none."""
    made = await ask("POST", "/v1/subscriptions", {"url": URL, "secret": SECRET})
    path = f"/v1/subscriptions/{made.body['id']}"
    asked: list[tuple[str, str, Any]] = [
        ("POST", "/v1/subscriptions", {"url": URL}),
        ("GET", "/v1/subscriptions", None),
        ("GET", path, None),
        ("PATCH", path, {"description": "x", "secret": SECRET}),
        ("DELETE", path, None),
    ]
    by = {
        who: [(await ask(*each, key=key)).status for each in asked]
        for who, key in (
            ("member", gateway.a.member),
            ("nobody", ""),
            ("other key", gateway.b.key),
            ("other owner", gateway.b.owner),
            ("owner", gateway.a.owner),
        )
    }
    theirs = await ask("GET", "/v1/subscriptions", key=gateway.b.key)

    assert SECRET == made.body["secret"]
    assert {
        "member": [403] * 5,
        "nobody": [401] * 5,
        "other key": [201, 200, 404, 404, 404],
        "other owner": [201, 200, 404, 404, 404],
        "owner": [201, 200, 200, 200, 204],
    } == by
    assert 2 == len(theirs.body["data"])
    assert made.body["id"] not in str(theirs.body)


async def test_what_is_refused(ask: Ask) -> None:
    """What cannot be is refused by name, new or changed; nothing is stored."""
    made = await ask("POST", "/v1/subscriptions", {"url": URL})
    path = f"/v1/subscriptions/{made.body.pop('id')}"
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"url": "http://hooks.example.com/"}, "url", "not https"),
        ({"url": "https://127.0.0.1/"}, "url", "internal address"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "url", "internal address"),
        ({"url": "https://crm/"}, "url", "no public host"),
        ({"url": "https://hooks.example.com:22/"}, "url", "unusual port"),
        ({"url": "https://höoks.example.com/"}, "url", "beyond ASCII"),
        ({"url": ""}, "url", "not valid"),
        ({"events": ["message.delivered", "message.opened"]}, "events.1", "'message.read'"),
        ({"secret": "whsec_c2hvcnQ="}, "secret", "24 to 64 bytes"),
        ({"description": "x" * 256}, "description", "255"),
        ({"organization_id": str(uuid4())}, "organization_id", "not a field"),
    ]
    for given, field, says in cases:
        for answer in (
            await ask("POST", "/v1/subscriptions", {"url": URL} | given),
            await ask("PATCH", path, given),
        ):
            assert 422 == answer.status, given
            assert says in answer.fields()[field]
    (kept,) = (await ask("GET", "/v1/subscriptions")).body["data"]
    assert (URL, made.body["updated_at"]) == (kept["url"], kept["updated_at"])


async def test_not_too_many(ask: Ask) -> None:
    """An organization has twenty; pages of them are newest first."""
    ids = [(await ask("POST", "/v1/subscriptions", {"url": URL})).body["id"] for _ in range(MOST)]
    refused = await ask("POST", "/v1/subscriptions", {"url": URL})
    first = await ask("GET", "/v1/subscriptions?limit=12")
    rest = await ask("GET", f"/v1/subscriptions?cursor={first.body['next_cursor']}")

    assert (409, 20) == (refused.status, MOST)
    assert "delete one" in refused.body["detail"]
    assert ids[::-1] == [each["id"] for each in first.body["data"] + rest.body["data"]]
    assert None is rest.body["next_cursor"]


async def test_not_too_many_at_once(ask: Ask) -> None:
    """However many are made at the same time, an organization has twenty."""
    made = await asyncio.gather(
        *(ask("POST", "/v1/subscriptions", {"url": URL}) for _ in range(MOST + 20))
    )
    assert [201] * MOST + [409] * 20 == sorted(each.status for each in made)


async def test_a_secret_is_changed_by_one(gateway: Gateway, ask: Ask) -> None:
    """Of two who change it at once one is told that it has changed; the same secret once more keeps
    the one before it as it was."""
    made = await ask("POST", "/v1/subscriptions", {"url": URL})
    path = f"/v1/subscriptions/{made.body['id']}"
    others = ["whsec_" + "b3RoZXIx" * 6, "whsec_" + "b3RoZXIy" * 6]
    both = await asyncio.gather(*(ask("PATCH", path, {"secret": other}) for other in others))
    won = next(
        (other, answer) for other, answer in zip(others, both, strict=True) if 200 == answer.status
    )
    again = await ask("PATCH", path, {"secret": others[1]})
    same = await ask("PATCH", path, {"secret": others[1]})
    async with gateway.database.as_service() as db:
        sealed = await subscriptions.credentials(db, gateway.a.organization_id, made.body["id"])
    assert sealed is not None
    opened = Vault(gateway.settings.gateway_secret_keys).open(gateway.a.organization_id, sealed)

    assert {200, 409} >= {each.status for each in both}
    assert (200, 200) == (again.status, same.status)
    assert again.body["former_until"] == same.body["former_until"] is not None
    former = {others[0], made.body["secret"]} if won[0] == others[1] else {others[0]}
    assert opened["secret"] == others[1]
    assert opened["former"] in former


def test_events_have_names() -> None:
    """What can be chosen is what a message's statuses and a conversation are told as."""
    told = {event_name("message", "x", status) for status in Status}
    assert {*told, event_name("conversation", "updated", None)} == set(EventType)
