"""Reports that were missed are found among any number that are about nobody's message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from gateway.observability.metrics import Metrics
from gateway.receive.unmatched import UnmatchedReports
from gateway.store.database import PLANNED_ONCE
from gateway.store.sql import queries
from tests.service.wires import from_twilio, inbound_of

if TYPE_CHECKING:
    import asyncpg

    from tests.service.conftest import Ask, Gateway, Tenant

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
KEEP = """
INSERT INTO gateway.unmatched_reports (
  organization_id, account_id, external_id, id, type, status, occurred_at, received_at, source)
SELECT $1, $2, $3 || n, uuid_generate_v4(), 'delivered', 'delivered', now(),
  now() - $5::float8 * interval '1 minute' - n * $6::float8 * interval '1 second', 'twilio'
FROM generate_series(1, $4::integer) n
"""


async def keep(
    gateway: Gateway,
    external_id: str,
    count: int,
    *,
    minutes: float,
    apart: float = 0.001,
    tenant: Tenant | None = None,
) -> None:
    """Have reports wait that came so many minutes ago, each so many seconds before the last."""
    a = tenant or gateway.a
    async with gateway.database.as_service() as db:
        await db.execute(KEEP, a.organization_id, a.account_id, external_id, count, minutes, apart)


async def missed(
    gateway: Gateway, ask: Ask, external_id: str, *, minutes: float, tenant: Tenant | None = None
) -> str:
    """A message that has its id now, and whose report waits; the path of the message."""
    await keep(gateway, external_id, 1, minutes=minutes, tenant=tenant)
    sent = (await ask("POST", "/v1/messages", SMS, key=(tenant or gateway.a).key)).body
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE messages SET external_id = $1 WHERE id = $2", f"{external_id}1", sent["id"]
        )
    return f"/v1/messages/{sent['id']}"


async def status(ask: Ask, path: str, key: str | None = None) -> str:
    """What is known of a message."""
    word: str = (await ask("GET", path, key=key)).body["status"]
    return word


async def test_what_is_behind_many_is_found_step_by_step(gateway: Gateway, ask: Ask) -> None:
    """Each pass looks at so many at most, and the next one goes on where it ended."""
    await keep(gateway, "foreign", 1000, minutes=60)
    old = await missed(gateway, ask, "old", minutes=7 * 24 * 60)
    passes = UnmatchedReports(gateway.database, Metrics(), at_once=50, steps=4)

    assert [250, 250, 250, 250] == [await passes.apply() for _ in range(4)]
    assert "pending" == await status(ask, old)
    # The newest once more each time, so that the last of a thousand and one come in the fifth.
    assert 50 + 150 + 1 == await passes.apply()
    assert "delivered" == await status(ask, old)
    assert 1000 == await gateway.count("gateway.unmatched_reports")


async def test_what_is_found_late_is_counted(
    gateway: Gateway, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a missed report tells is in the numbers and in the log, as if it had come in time."""
    path, metrics = await missed(gateway, ask, "late", minutes=0), Metrics()
    await UnmatchedReports(gateway.database, metrics).apply()
    assert "delivered" == await status(ask, path)
    (line,) = (each for each in capsys.readouterr().out.splitlines() if " reported " in each)
    assert path.rpartition("/")[2] in line
    assert "status=delivered" in line
    page = metrics.page(None).decode()
    assert 'gateway_messages_delivered_total{channel="sms",provider="twilio"} 1.0' in page


async def test_what_is_new_does_not_wait_for_what_is_old(gateway: Gateway, ask: Ask) -> None:
    """While a walk is far back, what has just come is found by the next pass."""
    await keep(gateway, "foreign", 1000, minutes=60)
    passes = UnmatchedReports(gateway.database, Metrics(), at_once=50, steps=4)
    await passes.apply()
    new = await missed(gateway, ask, "new", minutes=0)

    await passes.apply()
    assert "delivered" == await status(ask, new)


async def test_only_what_is_recent_is_looked_at_again(gateway: Gateway, ask: Ask) -> None:
    """After all of it once, each walk goes back by ten minutes, however many came meanwhile."""
    await keep(gateway, "foreign", 1000, minutes=60)
    await keep(gateway, "recent", 120, minutes=8)
    passes = UnmatchedReports(gateway.database, Metrics(), at_once=50, steps=100)

    assert 1120 == await passes.apply()
    assert 120 == await passes.apply()
    late = await missed(gateway, ask, "late", minutes=9)
    assert 121 == await passes.apply()
    assert "delivered" == await status(ask, late)


async def test_many_of_one_moment(gateway: Gateway) -> None:
    """Reports that were received in the same microsecond are looked at, each once."""
    await keep(gateway, "foreign", 300, minutes=60, apart=0)
    assert 300 <= await gateway.count("gateway.unmatched_reports")
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.unmatched_reports SET received_at = now()")
    await keep(gateway, "before", 10, minutes=60)

    assert 310 == await UnmatchedReports(gateway.database, Metrics(), at_once=50).apply()


MESSAGES = """
SET LOCAL session_replication_role = replica; -- no conversation to be found for each
INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body,
  external_id)
SELECT organization_id, 'sms', 'outbound', '+1', '+2', 'Hello', external_id
FROM gateway.unmatched_reports WHERE external_id LIKE '%0';
SET LOCAL session_replication_role = origin
"""


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_step_reads_no_more_than_it_looks_at(gateway: Gateway, *, is_known: bool) -> None:
    """However many wait, and are found: a statement reads no more of them than it may, also by a
    plan that was made while there were none."""
    a = gateway.a
    async with gateway.database.as_service() as db:
        take = queries("kept_reports")["take_missed"]
        await db.execute(f"RESET ROLE; {PLANNED_ONCE}")
        await db.execute(
            f"PREPARE take (timestamptz, timestamptz, bigint, uuid[], jsonb) AS {take}"
        )
        await db.fetch("EXECUTE take (NULL, NULL, 100, '{}', '{}')")
        await db.execute(KEEP, a.organization_id, a.account_id, "foreign", 20_000, 60.0, 0.001)
        await db.execute(MESSAGES)
        if is_known:
            await db.execute("ANALYZE gateway.unmatched_reports, messages")
        plan = await db.fetchval(
            "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE take"
            " (now() - interval '8 days', now() - interval '1 hour', 100, '{}',"
            """ '{"twilio": ["sms"]}')"""
        )
    # Those that it looks at, one more to see that no other is of the same moment, and of each tenth
    # the message (a tenth of a row, of which PostgreSQL 15 tells nothing), and, to be held, it and
    # the report once more.
    assert 131 >= rows_read(plan[0]["Plan"]), plan


ONE_ID = """
SET LOCAL session_replication_role = replica; -- no conversation to be found for each
INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body,
  external_id)
SELECT organization_id, 'sms', 'inbound', '+2', '+1', 'Hello', 'one'
FROM gateway.unmatched_reports;
UPDATE gateway.unmatched_reports SET external_id = 'one';
SET LOCAL session_replication_role = origin
"""


async def test_many_reports_of_one_id(gateway: Gateway, ask: Ask) -> None:
    """However many reports name an id that many inbound messages have, those are read once: of
    kept reports, and of such as come together, whether they name a message of ours or not."""
    sms = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
    ours = (await ask("POST", "/v1/messages", sms)).body["id"]
    await keep(gateway, "foreign", 300, minutes=60)
    told = {"organization_id": str(gateway.a.organization_id), "source": "twilio"}
    come = [told | {"n": n, "external_id": "one"} for n in range(300)]
    named = [each | {"message_id": ours} for each in come]
    carried = """'{"twilio": ["sms"]}'"""
    async with gateway.database.as_service() as db:
        await db.execute(f"RESET ROLE; {PLANNED_ONCE}")
        await db.execute(ONE_ID)
        for subject, name in (("reports", "resolve"), ("kept_reports", "take_missed")):
            await db.execute(f"PREPARE {name} AS {queries(subject)[name]}")
        explain = "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE"
        resolved = [
            await db.fetchval(f"{explain} resolve ('{json.dumps(each)}', {carried})")
            for each in (come, named)
        ]
        taken = await db.fetchval(f"{explain} take_missed (NULL, NULL, 1000, '{{}}', {carried})")
    assert [1, 1] == [look_ups(each[0]["Plan"]) for each in resolved], resolved
    assert 1 == look_ups(taken[0]["Plan"]), taken


SLOW = """
CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_sleep(30); RETURN OLD; END $$;
CREATE TRIGGER wait BEFORE DELETE ON gateway.unmatched_reports FOR EACH ROW
  WHEN (OLD.organization_id = '{}') EXECUTE FUNCTION public.wait()
"""


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was logged as such since this was asked last."""
    return [line for line in capsys.readouterr().out.splitlines() if "[warning" in line]


async def test_a_look_that_is_slow_for_one(
    gateway: Gateway, ask: Ask, owner: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the look itself takes too long for one organization's reports, the others' are applied,
    and its own wait for a minute."""
    ours = await missed(gateway, ask, "ours", minutes=0)
    theirs = await missed(gateway, ask, "theirs", minutes=60, tenant=gateway.b)
    await owner.execute(SLOW.format(gateway.a.organization_id))
    passes = UnmatchedReports(gateway.database, Metrics(), at_once=10, seconds=0.5)

    capsys.readouterr()
    await passes.apply()
    first, second = warnings(capsys)
    assert "organization_id" not in first
    assert f"organization_id={gateway.a.organization_id}" in second
    assert "delivered" == await status(ask, theirs, gateway.b.key)
    later = await missed(gateway, ask, "later", minutes=0, tenant=gateway.b)
    await passes.apply()
    assert [] == warnings(capsys)
    assert "delivered" == await status(ask, later, gateway.b.key)
    assert "pending" == await status(ask, ours)

    await owner.execute("DROP FUNCTION public.wait CASCADE")
    await UnmatchedReports(gateway.database, Metrics()).apply()
    assert "delivered" == await status(ask, ours)


def rows_read(plan: dict[str, Any]) -> float:
    """How many rows the scans of a plan read."""
    own = 0.0
    if "Relation Name" in plan and plan["Node Type"] != "ModifyTable":
        own = plan["Actual Loops"] * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))
    return own + sum(rows_read(part) for part in plan.get("Plans", ()))


def look_ups(plan: dict[str, Any]) -> int:
    """How often a plan looks for messages by the provider's id."""
    own = plan["Actual Loops"] if plan.get("Index Name") == "idx_messages_external_id" else 0
    return own + sum(look_ups(part) for part in plan.get("Plans", ()))


async def test_what_is_told_of_a_call_while_it_comes_in(
    gateway: Gateway, ask: Ask, owner: Connection
) -> None:
    """What was kept while the call that it is about was being stored becomes part of the call, as
    if it had come before or after; an organization's own calls get nothing of another's."""
    call = {"CallSid": "CA" + "1" * 32, "AccountSid": "AC" + "a" * 32}
    from_ = {"From": "+447700900123", "To": "+15551230001", "Direction": "inbound"}
    url = f"https://api.twilio.com/2010-04-01/Accounts/AC{'a' * 32}/Recordings/RE1"
    recording = {"RecordingSid": "RE" + "2" * 32, "RecordingStatus": "completed"}
    said = {"TranscriptionSid": "TR1", "TranscriptionStatus": "completed"}
    text = {"TranscriptionText": "Please call me back."}
    await from_twilio(gateway, "call-status", call | {"CallStatus": "in-progress"})
    ended = {"CallStatus": "completed", "CallDuration": "31"}
    await from_twilio(gateway, "call-status", call | from_ | ended)
    await from_twilio(gateway, "recording", call | recording | {"RecordingUrl": url})
    await from_twilio(gateway, "transcription", call | said | text)
    # Neither transaction sees what the other stores.
    await owner.execute("CREATE TEMP TABLE unseen AS SELECT * FROM gateway.unmatched_reports")
    await owner.execute("DELETE FROM gateway.unmatched_reports")
    await from_twilio(gateway, "call", call | from_ | {"CallStatus": "ringing"})
    await owner.execute("INSERT INTO gateway.unmatched_reports SELECT * FROM unseen")
    await owner.execute(
        "INSERT INTO gateway.unmatched_reports (organization_id, account_id, external_id, id, type,"
        " status, occurred_at, source, detail) SELECT $1, $2, external_id, id, type, status,"
        " occurred_at, source, detail FROM unseen",
        gateway.b.organization_id,
        gateway.b.account_id,
    )

    passes = UnmatchedReports(gateway.database, Metrics())
    await passes.apply()
    await passes.apply()

    (row,) = await inbound_of(ask)
    events = (await ask("GET", f"/v1/messages/{row['id']}/events")).body["data"]
    assert ("received", "Please call me back.") == (row["status"], row["body"])
    assert "31" == row["metadata"]["provider"]["duration"]
    assert ["recording.mp3"] == [file["filename"] for file in row["attachments"]]
    assert 1 == await gateway.count("gateway.media") == await gateway.count("gateway.errands")
    assert 5 == len(events)
    assert 4 == await gateway.count("gateway.unmatched_reports")
