"""A rule of another program's on our tables refuses what is to be stored: that is said to whoever
can mend it, and what was refused comes again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.service.test_service_held import until
from tests.service.wires import from_twilio

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
SAID = {"MessageSid": "SM" + "4" * 32, "From": "+447700900123", "To": "+15551230001", "Body": "Hi"}
TRIGGER = """
CREATE FUNCTION public.crm_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN {} RETURN NEW; END $$;
CREATE TRIGGER crm_guard BEFORE INSERT ON public.messages
  FOR EACH ROW EXECUTE FUNCTION public.crm_guard();
"""
LOG = "CREATE TABLE crm_log (id int);"
NO_DEFAULT = "ALTER TABLE messages ALTER crm_stage DROP DEFAULT"
NO_TRIGGER = "DROP FUNCTION public.crm_guard CASCADE"
RULES = {
    "column": (
        "ALTER TABLE messages ADD crm_stage text NOT NULL DEFAULT 'new';" + NO_DEFAULT,
        "ALTER TABLE messages DROP crm_stage",
        {"table": "messages", "column": "crm_stage", "sqlstate": "23502"},
    ),
    "constraint": (
        "ALTER TABLE messages ADD CONSTRAINT crm_short CHECK (length(body) < 2) NOT VALID",
        "ALTER TABLE messages DROP CONSTRAINT crm_short",
        {"table": "messages", "constraint": "crm_short", "sqlstate": "23514"},
    ),
    "unique": (
        "CREATE UNIQUE INDEX crm_once ON messages ((channel IS NOT NULL))",
        "DROP INDEX crm_once",
        {"table": "messages", "constraint": "crm_once", "sqlstate": "23505"},
    ),
    "refusal": (
        TRIGGER.format("RAISE EXCEPTION 'not %', NEW.body;"),
        NO_TRIGGER,
        {"function": "crm_guard()", "sqlstate": "P0001"},
    ),
    "refusal with a code of the server's": (
        TRIGGER.format("RAISE EXCEPTION 'not %', NEW.body USING ERRCODE = '42501';"),
        NO_TRIGGER,
        {"function": "crm_guard()", "sqlstate": "42501"},
    ),
    **{
        f"refusal with the code {code}, as of an outage": (
            TRIGGER.format(f"RAISE EXCEPTION 'not %', NEW.body USING ERRCODE = '{code}';"),
            NO_TRIGGER,
            {"function": "crm_guard()", "sqlstate": code},
        )
        for code in ("08001", "28000", "40001", "53400", "55P03", "57014", "58030", "XX000")
    },
    "trigger that reads a sequence too early": (
        "CREATE SEQUENCE crm_numbers; GRANT ALL ON SEQUENCE crm_numbers TO PUBLIC;"
        + TRIGGER.format("PERFORM currval('public.crm_numbers');"),
        NO_TRIGGER + "; DROP SEQUENCE crm_numbers",
        {"function": "crm_guard()", "sqlstate": "55000"},
    ),
    "trigger that has no end": (
        "CREATE FUNCTION public.crm_loops() RETURNS void LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM public.crm_loops(); END $$;"
        + TRIGGER.format("PERFORM public.crm_loops();"),
        NO_TRIGGER + "; DROP FUNCTION public.crm_loops",
        {"function": "crm_loops()", "sqlstate": "54001"},
    ),
    "right": (
        LOG + TRIGGER.format("TRUNCATE crm_log;"),
        NO_TRIGGER,
        {
            "function": "crm_guard()",
            "sqlstate": "42501",
            "says": "permission denied for table crm_log",
        },
    ),
    "trigger on a table that is gone": (
        TRIGGER.format("INSERT INTO crm_gone VALUES (1);"),
        NO_TRIGGER,
        {"function": "crm_guard()", "sqlstate": "42P01"},
    ),
    "trigger that reads a number": (
        TRIGGER.format("PERFORM NEW.body::int;"),
        NO_TRIGGER,
        {"function": "crm_guard()", "sqlstate": "22P02"},
    ),
    "length": (
        "ALTER TABLE messages ADD crm_body varchar(1);"
        + TRIGGER.format("NEW.crm_body := NEW.body;"),
        "ALTER TABLE messages DROP crm_body;" + NO_TRIGGER,
        {
            "function": "crm_guard()",
            "sqlstate": "22001",
            "says": "value too long for type character varying(1)",
        },
    ),
}


# A trigger that waits for what the CRM holds, which waits for what the trigger has taken.
CROSSES = "PERFORM pg_advisory_xact_lock(1); PERFORM pg_advisory_xact_lock(2);"
PLAIN, QUICK = "plpgsql AS", "plpgsql SECURITY DEFINER SET deadlock_timeout = '300ms' AS"
IS_TAKEN = """
SELECT EXISTS (
  SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
"""


@asynccontextmanager
async def crossing(gateway: Gateway) -> AsyncIterator[None]:
    """A transaction of the CRM's that meets `CROSSES` in a deadlock, and is not the one to end."""
    crm = await asyncpg.connect(str(gateway.settings.database_url))
    await crm.execute("SET deadlock_timeout = '60 s'; BEGIN; SELECT pg_advisory_xact_lock(2)")

    async def cross() -> None:
        await until(lambda: crm.fetchval(IS_TAKEN))
        await crm.execute("SELECT pg_advisory_xact_lock(1); COMMIT")

    crossed = asyncio.create_task(cross())
    try:
        yield
        assert crossed.done()
    finally:
        crossed.cancel()
        await asyncio.gather(crossed, return_exceptions=True)
        await crm.close()


async def as_crm(gateway: Gateway, statement: str) -> None:
    """Do as the CRM's own login does."""
    connection = await asyncpg.connect(str(gateway.settings.database_url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("rule", RULES)
async def test_a_rule_that_we_do_not_know(gateway: Gateway, ask: Ask, rule: str) -> None:
    """Callers and providers are asked to come again; the log names the rule, and quotes nothing of
    the row. Without it what comes again is stored."""
    make, drop, named = RULES[rule]
    assert 202 == (await ask("POST", "/v1/messages", SMS)).status
    await as_crm(gateway, make)

    with capture_logs() as logs:
        accepted = await ask("POST", "/v1/messages", SMS)
        received = await from_twilio(gateway, "message", SAID)
    await as_crm(gateway, drop)
    again = await from_twilio(gateway, "message", SAID)
    sent = await ask("POST", "/v1/messages", SMS)

    for answer in (accepted, received):
        assert (503, "60") == (answer.status, answer.headers["Retry-After"])
        assert "operator" in answer.body["detail"]
    lines = [line for line in logs if line["event"] == "the database refuses a row"]
    assert ["/v1/messages", f"/webhooks/twilio/{gateway.a.account_id}/message"] == [
        line["path"] for line in lines
    ]
    for line in lines:
        assert "error" == line["log_level"]
        names = ("table", "column", "constraint", "function", "sqlstate", "says")
        assert named == {name: line[name] for name in names if name in line}
    assert (200, 202) == (again.status, sent.status)
    assert 3 == await gateway.count("messages")


async def test_a_rule_for_one_of_a_batch(gateway: Gateway, ask: Ask) -> None:
    """Those of a batch that a rule refuses fail alone, each with what it would get by itself; the
    others are stored once, with the answer under the key, and the log has a line for the rule."""
    guard = "IF NEW.body = 'bad' THEN RAISE EXCEPTION 'not %', NEW.body; END IF;"
    await as_crm(gateway, TRIGGER.format(guard))
    items = [
        SMS | {"to": f"+4477009001{n:02}", "body": "bad" if n in (3, 17) else "Hello"}
        for n in range(20)
    ]
    items[5] = SMS | {"to": "nobody"}
    key = {"Idempotency-Key": "one bad row"}

    alone = await ask("POST", "/v1/messages", items[3])
    with capture_logs() as logs:
        answer = await ask("POST", "/v1/messages/batch", {"messages": items}, headers=key)
    again = await ask("POST", "/v1/messages/batch", {"messages": items}, headers=key)

    assert 207 == answer.status == again.status
    statuses = {3: 503, 5: 422, 17: 503}
    assert [statuses.get(n, 202) for n in range(20)] == [
        item["status"] for item in answer.body["data"]
    ]
    assert alone.body == answer.body["data"][3]["problem"] == answer.body["data"][17]["problem"]
    assert (answer.body, "true") == (again.body, again.headers["Idempotent-Replayed"])
    for table in ("messages", "gateway.queue", "gateway.conversations", "gateway.message_events"):
        assert 17 == await gateway.count(table)
    (line,) = [line for line in logs if line["event"] == "the database refuses a row"]
    assert ("crm_guard()", 2) == (line["function"], line["rows"])


async def test_a_rule_for_all_of_a_batch(gateway: Gateway, ask: Ask) -> None:
    """A batch of which nothing is stored keeps no answer: without the rule it is stored."""
    make, drop, _ = RULES["column"]
    await as_crm(gateway, make)
    items = {"messages": [SMS, SMS]}
    key = {"Idempotency-Key": "all bad"}

    refused = await ask("POST", "/v1/messages/batch", items, headers=key)
    await as_crm(gateway, drop)
    stored = await ask("POST", "/v1/messages/batch", items, headers=key)

    for answer, status in ((refused, 503), (stored, 202)):
        assert 207 == answer.status
        assert [status, status] == [item["status"] for item in answer.body["data"]]
    assert 2 == await gateway.count("messages")


async def test_a_rule_that_waits_for_the_commit(gateway: Gateway, ask: Ask) -> None:
    """A deferred rule, too, refuses no other message of the batch."""
    guard = TRIGGER.format("IF NEW.body = 'bad' THEN RAISE EXCEPTION 'no'; END IF;").replace(
        "CREATE TRIGGER crm_guard BEFORE INSERT ON public.messages",
        "CREATE CONSTRAINT TRIGGER crm_guard AFTER INSERT ON public.messages"
        " DEFERRABLE INITIALLY DEFERRED",
    )
    await as_crm(gateway, guard)

    items = {"messages": [SMS | {"body": "bad"}, SMS]}
    answer = await ask("POST", "/v1/messages/batch", items)

    assert [503, 202] == [item["status"] for item in answer.body["data"]]
    assert 1 == await gateway.count("messages")


async def test_a_rule_for_a_batch_of_one(gateway: Gateway, ask: Ask) -> None:
    """A batch of one message is answered as any batch: with what its message would get alone."""
    make, _, _ = RULES["column"]
    await as_crm(gateway, make)

    alone = await ask("POST", "/v1/messages", SMS)
    batch = await ask("POST", "/v1/messages/batch", {"messages": [SMS]})

    assert (207, [{"status": 503, "problem": alone.body}]) == (batch.status, batch.body["data"])


async def test_a_rule_and_a_deadlock(gateway: Gateway, ask: Ask) -> None:
    """Where a deadlock ends the transaction in which the rest of a batch is stored, that is done
    once more."""
    await as_crm(
        gateway,
        # The first two are stored with the bad one, and the third time alone.
        "CREATE SEQUENCE crm_count; GRANT USAGE ON SEQUENCE crm_count TO PUBLIC;"
        + TRIGGER.replace(PLAIN, QUICK).format(
            "IF NEW.body = 'bad' THEN RAISE EXCEPTION 'no'; END IF;"
            f"IF nextval('public.crm_count') = 3 THEN {CROSSES} END IF;"
        ),
    )

    async with crossing(gateway):
        items = {"messages": [SMS, SMS | {"body": "bad"}]}
        answer = await ask("POST", "/v1/messages/batch", items)

    assert (207, [202, 503]) == (answer.status, [item["status"] for item in answer.body["data"]])
    assert 1 == await gateway.count("messages")


async def test_what_a_message_refers_to_is_gone_twice(gateway: Gateway, ask: Ask) -> None:
    """Where what was read for a message is deleted before it is stored, and that again, it is read
    once more."""
    await as_crm(
        gateway,
        # Each time that it is read it is stored twice.
        "CREATE SEQUENCE crm_count; GRANT USAGE ON SEQUENCE crm_count TO PUBLIC;"
        + TRIGGER.format(
            "IF nextval('public.crm_count') <= 4 THEN"
            " RAISE EXCEPTION 'gone' USING ERRCODE = 'foreign_key_violation'; END IF;"
        ),
    )

    answer = await ask("POST", "/v1/messages", SMS)

    assert 202 == answer.status
    assert 1 == await gateway.count("messages")


async def test_a_merge_that_gives_way(gateway: Gateway, ask: Ask) -> None:
    """Where a deadlock ends the transaction of a merge, that is done once more."""
    paths = []
    for to in (SMS["to"], "+447700900124"):
        sent = await ask("POST", "/v1/messages", SMS | {"to": to})
        paths.append(f"/v1/conversations/{sent.body['conversation_id']}")
    await as_crm(
        gateway,
        "CREATE SEQUENCE crm_count; GRANT USAGE ON SEQUENCE crm_count TO PUBLIC;"
        + TRIGGER.replace("INSERT", "UPDATE")
        .replace(PLAIN, QUICK)
        .format(f"IF nextval('public.crm_count') = 1 THEN {CROSSES} END IF;"),
    )

    async with crossing(gateway):
        other = {"conversation_id": paths[1].rpartition("/")[2]}
        merged = await ask("POST", f"{paths[0]}/merge", other)

    assert 200 == merged.status
    assert 2 == len(merged.body["contact"]["addresses"])
