"""A pytest plugin that measures coverage only where tests run what must be covered in full.

To measure takes a third of what Python does in all tests, and the gate (`coverage_gate.py`) asks
only for what decides whom we believe. All tests run all the same; `check.py measure` measures all.
"""

from __future__ import annotations

import pytest

MEASURED = (
    "tests/email/",
    "tests/mailgun/",
    "tests/meta/",
    "tests/postmark/",
    "tests/resend/",
    "tests/sendgrid/",
    "tests/service/test_service_arriving.py",
    "tests/service/test_service_callers.py",
    "tests/service/test_service_events.py",
    "tests/service/test_service_hooks.py",
    "tests/service/test_service_keyring.py",
    "tests/service/test_service_strangers.py",
    "tests/ses/",
    "tests/smtp/",
    "tests/twilio/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the others out of the measurement."""
    for item in items:
        if not item.nodeid.startswith(MEASURED):
            item.add_marker("no_cover")
