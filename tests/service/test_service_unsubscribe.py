"""One click off the list (RFC 8058): GET changes nothing, POST does, and nobody can forge it."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from channels.model import Channel
from tests.service.wires import SECRET, connect, hook, row_of, send, step, suppressed

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA = "Ada@customer.example"
LISTED = {("email", "ada@customer.example", "unsubscribe")}


@pytest.fixture
async def sent(gateway: Gateway, ask: Ask, api: Api) -> dict[str, Any]:
    """A mail that left, with its path to unsubscribe under `path`."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    row = await send(ask, "email", ADA, subject="News", body="Hello")
    await step(api.worker(gateway))
    url = api.last["headers"]["List-Unsubscribe"].strip("<>")
    return row | {"path": url.removeprefix("https://msg.example.org/gw")}


CLICK = {"data": b"List-Unsubscribe=One-Click",
         "headers": {"Content-Type": "application/x-www-form-urlencoded"}}  # fmt: skip


async def test_get_changes_nothing(ask: Ask, sent: dict[str, Any]) -> None:
    """Programs follow links: GET and HEAD show a page, without script, and change nothing."""
    page = await ask("GET", sent["path"], key="")
    assert (200, "text/html") == (page.status, page.headers["Content-Type"].partition(";")[0])
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "Ada" not in page.body
    assert 200 == (await ask("HEAD", sent["path"], key="")).status
    assert set() == await suppressed(ask)


@pytest.mark.parametrize("body", [CLICK, {"data": b""}, {"data": b"x=y"}])
async def test_post(gateway: Gateway, ask: Ask, sent: dict[str, Any], body: Any) -> None:
    """A POST takes the address off, once however often it comes; queued mails are not sent."""
    again = await asyncio.gather(*(ask("POST", sent["path"], key="", **body) for _ in range(5)))
    assert {200} == {each.status for each in again}
    assert LISTED == await suppressed(ask)
    (row,) = (await ask("GET", "/v1/suppressions")).body["data"]
    assert ("one-click", sent["id"]) == (row["source"], row["evidence"]["message_id"])
    refused = await ask(
        "POST", "/v1/messages", {"channel": "email", "to": ADA, "subject": "x", "body": "y"}
    )
    assert {"to"} == set(refused.fields())
    assert [] == (await ask("GET", "/v1/suppressions", key=gateway.b.key)).body["data"]


async def test_behind_the_prefix(ask: Ask, sent: dict[str, Any]) -> None:
    """The path of PUBLIC_URL may be there or stripped."""
    assert 200 == (await ask("POST", "/gw" + sent["path"], key="", **CLICK)).status
    assert LISTED == await suppressed(ask)


async def test_queued_mail(gateway: Gateway, ask: Ask, api: Api, sent: dict[str, Any]) -> None:
    """What waits when somebody unsubscribes fails, in plain words."""
    waiting = await send(ask, "email", ADA, subject="More", body="Hello")
    await ask("POST", sent["path"], key="", **CLICK)
    await step(api.worker(gateway))
    row = await row_of(ask, waiting)
    assert ("failed", "suppressed", 1) == (row["status"], row["error_code"], len(api.asked))
    assert "unsubscribed" in row["error_message"]


def forgeries(path: str) -> list[str]:
    """Tokens that we did not make."""
    token = path.rpartition("/")[2]
    raw = base64.urlsafe_b64decode(token)
    flipped = [raw[:n] + bytes([raw[n] ^ 1]) + raw[n + 1 :] for n in (0, 16, 31, 32, 47)]
    tokens = [base64.urlsafe_b64encode(each).decode() for each in flipped]
    tokens += [token[:-1], token[:32], token + "A", token + token, token.swapcase(), "x", "%00",
               "%C3%BC" * 64, "a" * 5000]  # fmt: skip
    return [f"/unsubscribe/{each}" for each in tokens]


async def test_forged(ask: Ask, sent: dict[str, Any]) -> None:
    """A token that was changed, cut or made up is a 404 and changes nothing."""
    for path in forgeries(sent["path"]):
        for method in ("GET", "POST"):
            answer = await ask(method, path, key="")
            assert 404 == answer.status, (method, path)
            assert "application/problem+json" == answer.headers["Content-Type"].partition(";")[0]
    assert set() == await suppressed(ask)


async def test_message_that_is_gone(gateway: Gateway, ask: Ask, sent: dict[str, Any]) -> None:
    """Without its message the link says so, and nothing breaks."""
    async with gateway.database.as_service() as db:
        await db.execute("DELETE FROM messages")
    assert 404 == (await ask("POST", sent["path"], key="", **CLICK)).status
    assert set() == await suppressed(ask)


async def test_put_back(gateway: Gateway, ask: Ask, sent: dict[str, Any]) -> None:
    """Who has their word lifts it, and they can click again."""
    await ask("POST", sent["path"], key="", **CLICK)
    (row,) = (await ask("GET", "/v1/suppressions")).body["data"]
    path = f"/v1/suppressions/{row['id']}"
    assert 403 == (await ask("DELETE", path)).status
    assert 204 == (await ask("DELETE", path, key=gateway.a.owner)).status
    await ask("POST", sent["path"], key="", **CLICK)
    assert LISTED == await suppressed(ask)


async def test_their_word_to_us_outlasts_that_to_a_provider(
    gateway: Gateway, ask: Ask, sent: dict[str, Any]
) -> None:
    """Who unsubscribed at the provider and with us, too, stays off the list when the provider takes
    back what was said to it; however often they click, the log does not grow."""
    account = await connect(gateway, "postmark", Channel.EMAIL, "news@clinic.example")
    now = datetime.now(UTC)

    async def postmark_says(at: datetime, **more: Any) -> None:
        told = {"RecordType": "SubscriptionChange", "MessageID": None, "Recipient": ADA,
                "ChangedAt": at.isoformat(), **more}  # fmt: skip
        query, body = f"?secret={SECRET}", json.dumps(told).encode()
        assert 200 == (await hook(gateway, "postmark", account, "events", query, data=body)).status

    await postmark_says(now - timedelta(hours=2), SuppressSending=True, Origin="Recipient",
                        SuppressionReason="ManualSuppression")  # fmt: skip
    for _ in range(9):
        assert 200 == (await ask("POST", sent["path"], key="", **CLICK)).status
    assert await gateway.count("gateway.consent_events") <= 3  # a minute may have ended
    await postmark_says(now - timedelta(hours=1), SuppressSending=False, Origin="Customer")
    assert LISTED == await suppressed(ask)
