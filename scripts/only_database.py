"""The tests that also run on another PostgreSQL: a list of files, and a pytest plugin for them.

The rule: tests of PostgreSQL itself run with all their cases: the schema, plans, odd values, the
order of rows. Of the rest only those files run that together execute every statement of the
gateway, including those in its functions; and of a test with many cases the first, which executes
the same statements as the others. A block of `sql/queries` that none of them executes is at least
planned, with the roles that use it: `test_service_queries.py` plans every block.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

WHOLE = (
    "tests/database/",
    "tests/faults/test_faults_orders.py",
    "tests/service/test_service_odd_values.py",
    "tests/service/test_service_queries.py",
    "tests/service/test_service_rows_of_others.py",
    "tests/service/test_service_search.py",
    "tests/service/test_service_transactions.py",
)
# Files about locks, triggers of other programs, dumps and a standby; then files each of which
# executes a statement that none before it does.
FIRST_CASES = (
    "tests/docs/test_docs_backups.py",
    "tests/inbox/test_inbox_isolation.py",
    "tests/service/test_service_changes_at_once.py",
    "tests/service/test_service_held.py",
    "tests/service/test_service_hindrances.py",
    "tests/service/test_service_idempotency.py",
    "tests/service/test_service_read_only.py",
    "tests/service/test_service_rules_of_others.py",
    "tests/service/test_service_together.py",
    "tests/units/test_units_dbmate.py",
    "tests/inbox/test_inbox_contact.py",
    "tests/inbox/test_inbox_found.py",
    "tests/inbox/test_inbox_sessions.py",
    "tests/inbox/test_inbox_talk.py",
    "tests/media/test_media_worker.py",
    "tests/resend/test_resend_replay.py",
    "tests/service/test_service_conversations.py",
    "tests/service/test_service_deleted_accounts.py",
    "tests/service/test_service_deleted_templates.py",
    "tests/service/test_service_deliveries.py",
    "tests/service/test_service_events.py",
    "tests/service/test_service_fallback_workers.py",
    "tests/service/test_service_hooks.py",
    "tests/service/test_service_openapi.py",
    "tests/service/test_service_other_account.py",
    "tests/service/test_service_quarantine.py",
    "tests/service/test_service_rates.py",
    "tests/service/test_service_replay.py",
    "tests/service/test_service_replay_again.py",
    "tests/service/test_service_replay_files.py",
    "tests/service/test_service_resealing.py",
    "tests/service/test_service_suppressions_early.py",
    "tests/service/test_service_unmatched.py",
    "tests/service/test_service_whatsapp.py",
    "tests/service/test_service_why.py",
    "tests/service/test_service_worker.py",
    "tests/units/test_units_live.py",
)


def kept(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The tests that are worth a run on another server, in their order."""
    found, known = [], set()
    for item in items:
        # It uses the server, directly or through other fixtures.
        if "server_dsn" not in getattr(item, "fixturenames", ()):
            continue
        test = item.nodeid.partition("[")[0]
        is_first = test not in known and item.nodeid.startswith(FIRST_CASES)
        if is_first or item.nodeid.startswith(WHOLE):
            found.append(item)
        known.add(test)
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the other tests."""
    found = kept(items)
    stays = {id(item) for item in found}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in stays])
    items[:] = found
