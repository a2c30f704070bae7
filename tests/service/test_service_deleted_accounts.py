"""An account that is deleted leaves nothing that waits for it, however much came in for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from uuid import UUID

import asyncpg
import pytest

from gateway.ids import new_id
from gateway.manage import accounts
from gateway.problems import Problem
from gateway.store import media
from gateway.store.database import ApiKey
from gateway.store.media import NewMedia

if TYPE_CHECKING:
    from gateway.web.services import Services
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
# Refuses a statement that deletes more than a step of what came in.
SHORT = """
CREATE FUNCTION only_so_many() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT count(*) FROM gone) > 5000 THEN
    RAISE EXCEPTION 'one statement deletes too much';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER short AFTER DELETE ON gateway.webhook_requests REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION only_so_many();
CREATE TRIGGER short AFTER DELETE ON gateway.unmatched_reports REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION only_so_many();
"""
CAME = """
INSERT INTO gateway.webhook_requests (
  organization_id, id, account_id, provider, event, method, url, headers, body)
SELECT organization_id, uuid_generate_v4(), id, provider, 'status', 'POST', 'https://x', '{}', ''
FROM gateway.provider_accounts, generate_series(1, 11000);
INSERT INTO gateway.unmatched_reports (
  organization_id, account_id, external_id, id, type, occurred_at, source)
SELECT organization_id, id, n, uuid_generate_v4(), 'delivered', now(), 'twilio'
FROM gateway.provider_accounts, generate_series(1, 6000) n;
"""


@pytest.fixture
async def busy(gateway: Gateway) -> Gateway:
    """A gateway whose two accounts have had much to tell, and that deletes little at once."""
    connection = await asyncpg.connect(str(gateway.settings.database_url))
    try:
        await connection.execute(SHORT + CAME)
    finally:
        await connection.close()
    return gateway


async def test_a_busy_account_is_deleted(busy: Gateway, ask: Ask) -> None:
    """All that came in for it is deleted in steps, and nothing of another account."""
    gone = await ask("DELETE", f"/v1/accounts/{busy.a.account_id}", key=busy.a.owner)

    assert 204 == gone.status
    assert [11000, 6000, 1] == [
        await busy.count(f"gateway.{table}")
        for table in ("webhook_requests", "unmatched_reports", "provider_accounts")
    ]


async def test_what_takes_too_long_goes_on_when_it_is_asked_for_again(busy: Gateway) -> None:
    """Each time so much is deleted as there is time for; the account goes with the last of it."""
    services = cast("Services", SimpleNamespace(database=busy.database))
    caller = ApiKey(id=new_id(), organization_id=busy.a.organization_id, is_test=False)
    for left in (17000, 12000):
        with pytest.raises(Problem) as problem:
            await accounts.delete(services, caller, busy.a.account_id, seconds=0)
        assert 503 == problem.value.status
        assert left == await busy.count("gateway.webhook_requests")
    assert 2 == await busy.count("gateway.provider_accounts")


async def test_nobody_deletes_what_came_in_for_another(busy: Gateway, ask: Ask) -> None:
    """Who does not see the account deletes nothing of it."""
    for key, status in ((busy.b.owner, 404), (busy.a.member, 403), (busy.a.key, 403)):
        answer = await ask("DELETE", f"/v1/accounts/{busy.a.account_id}", key=key)
        assert status == answer.status
    assert 22000 == await busy.count("gateway.webhook_requests")


async def test_files_do_not_wait_for_it(gateway: Gateway, ask: Ask) -> None:
    """What was still to be fetched with its credentials never will be, and says so."""
    a, waits, kept = gateway.a, new_id(), new_id()
    sent = (await ask("POST", "/v1/messages", SMS)).body
    async with gateway.database.as_service() as db:
        await media.insert(
            db,
            [
                NewMedia(
                    organization_id=a.organization_id,
                    id=each,
                    message_id=UUID(sent["id"]),
                    position=n,
                    source_url="https://api.twilio.com/x",
                    account_id=a.account_id,
                    state=state,
                )
                for n, (each, state) in enumerate(((waits, "waiting"), (kept, "stored")))
            ],
        )
    before = await ask("GET", f"/v1/media/{waits}")

    assert 204 == (await ask("DELETE", f"/v1/accounts/{a.account_id}", key=a.owner)).status
    after = await ask("GET", f"/v1/media/{waits}")
    assert (409, 404) == (before.status, after.status)
    assert after.body["detail"].endswith("The account that it came in for was deleted.")
    async with gateway.database.as_service() as db:
        files = await media.by_ids(db, a.organization_id, [waits, kept])
    assert ("failed", "stored") == (files[waits].state, files[kept].state)
