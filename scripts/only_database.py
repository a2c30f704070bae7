"""A pytest plugin that leaves only the tests which another PostgreSQL may answer otherwise.

For a second run on another server. The rule: a test stays that has a database, and of a test with
many cases the first, which runs the same statements as the others. All cases stay where they differ
in what they ask of PostgreSQL itself: its schema, its plans, its odd values, the order of rows.
Left out is what starts programs (processes of the gateway, a browser, benchmarks), and what is
about HTTP, documents, pages, providers, files, memory and time rather than rows: they run the
statements that the tests of rows run, in one process.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

PROGRAMS = (
    "tests/benchmarks/",
    "tests/browser/",
    "tests/cli/",
    "tests/faults/test_faults_processes.py",
)
# Of the gateway's own statements none is run by these alone.
ABOUT_OTHER_THINGS = (
    "tests/faults/test_faults_provider.py",
    "tests/inbox/test_inbox_admin.py",
    "tests/inbox/test_inbox_cards.py",
    "tests/inbox/test_inbox_composer.py",
    "tests/inbox/test_inbox_hostile_forms.py",
    "tests/inbox/test_inbox_kept.py",
    "tests/inbox/test_inbox_later.py",
    "tests/inbox/test_inbox_live.py",
    "tests/inbox/test_inbox_mail.py",
    "tests/inbox/test_inbox_pages.py",
    "tests/inbox/test_inbox_password.py",
    "tests/inbox/test_inbox_replies.py",
    "tests/inbox/test_inbox_retry.py",
    "tests/inbox/test_inbox_strangers.py",
    "tests/inbox/test_inbox_template_of_two.py",
    "tests/inbox/test_inbox_templates.py",
    "tests/inbox/test_inbox_thread.py",
    "tests/inbox/test_inbox_where_to.py",
    "tests/media/test_media_serving.py",
    "tests/service/test_service_any_input.py",
    "tests/service/test_service_attachments.py",
    "tests/service/test_service_background.py",
    "tests/service/test_service_bodies.py",
    "tests/service/test_service_bounds.py",
    "tests/service/test_service_calls.py",
    "tests/service/test_service_channels.py",
    "tests/service/test_service_connections.py",
    "tests/service/test_service_corpus.py",
    "tests/service/test_service_email.py",
    "tests/service/test_service_email_answers.py",
    "tests/service/test_service_email_forms.py",
    "tests/service/test_service_email_inbound.py",
    "tests/service/test_service_feeds.py",
    "tests/service/test_service_http.py",
    "tests/service/test_service_large_batches.py",
    "tests/service/test_service_logged_paths.py",
    "tests/service/test_service_numbers_of_an_app.py",
    "tests/service/test_service_openapi.py::test_document_is_valid",
    "tests/service/test_service_outage.py",
    "tests/service/test_service_providers_corpus.py",
    "tests/service/test_service_refusals.py",
    "tests/service/test_service_rendering.py",
    "tests/service/test_service_replay_mails.py",
    "tests/service/test_service_room.py",
    "tests/service/test_service_slow.py",
    "tests/service/test_service_slow_mails.py",
    "tests/service/test_service_stopping.py",
    "tests/service/test_service_unsubscribe.py",
    "tests/service/test_service_whatsapp_inbound.py",
    "tests/service/test_service_whatsapp_instead.py",
    "tests/service/test_service_wrong_url.py",
)
ALL_CASES = (
    "tests/database/",
    "tests/faults/test_faults_orders.py",
    "tests/service/test_service_odd_values.py",
    "tests/service/test_service_queries.py",
    "tests/service/test_service_rows_of_others.py",
    "tests/service/test_service_search.py",
    "tests/service/test_service_transactions.py",
)


def kept(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The tests that are worth a run on another server, in their order."""
    found, known = [], set()
    for item in items:
        # it asks for the server itself, or through other fixtures
        if "server_dsn" not in getattr(item, "fixturenames", ()):
            continue
        test = item.nodeid.partition("[")[0]
        is_new = test not in known or item.nodeid.startswith(ALL_CASES)
        if is_new and not item.nodeid.startswith((*PROGRAMS, *ABOUT_OTHER_THINGS)):
            found.append(item)
        known.add(test)
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the others."""
    found = kept(items)
    stays = {id(item) for item in found}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in stays])
    items[:] = found
