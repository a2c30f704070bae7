"""STOP and START, where the provider's half leaves it to the gateway to read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import webhooks.twilio
from gateway.registry import PROVIDERS
from tests.service.losses import age, forget, rows
from tests.service.opting_out import ADA, SMS, writes
from tests.service.wires import counts, replay, suppressed
from webhooks.model import ConsentChange, WebhookEvent, WebhookRequest

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.losses import Connection

USER_ID = "GB.1234567890"


class Forgetful:
    """Twilio's half, as it would be if it said nothing of consent."""

    verify = staticmethod(webhooks.twilio.verify)
    reply = staticmethod(webhooks.twilio.reply)

    @staticmethod
    def parse(request: WebhookRequest) -> Sequence[WebhookEvent]:
        """What Twilio's half reads, and no change of consent."""
        events = webhooks.twilio.parse(request)
        return [event for event in events if not isinstance(event, ConsentChange)]


def forget_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on Twilio's half is a forgetful one."""
    row = replace(PROVIDERS["twilio"], webhook=Forgetful(), reads_consent=False)
    monkeypatch.setitem(PROVIDERS, "twilio", row)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twilio's half is a forgetful one."""
    forget_to_read(monkeypatch)


@pytest.mark.usefixtures("forgetful")
async def test_stop_and_start(gateway: Gateway, ask: Ask) -> None:
    """Who writes STOP is on the list, with their words as evidence, until they write START; other
    messages say nothing."""
    await writes(gateway, "please do not STOP", 1)
    await writes(gateway, "HELP", 2)
    assert set() == await suppressed(ask)

    for _ in range(2):
        await writes(gateway, " Stop. ", 3)
    assert {("sms", ADA, "stop")} == await suppressed(ask)
    (row,) = (await ask("GET", "/v1/suppressions")).body["data"]
    expected = {
        "word": "stop", "text": " Stop. ", "message": f"SM{3:032x}", "to": gateway.a.sender,
    }  # fmt: skip
    assert "twilio" == row["source"]
    assert expected.items() <= row["evidence"].items()
    assert 422 == (await ask("POST", "/v1/messages", SMS)).status
    assert 1 == await gateway.count("gateway.consent_events")

    await writes(gateway, "START", 4)
    assert set() == await suppressed(ask)


@pytest.mark.usefixtures("forgetful")
async def test_all_addresses_of_a_person(gateway: Gateway, ask: Ask) -> None:
    """On WhatsApp it is said of the number and the user id, also in the first message of theirs."""
    theirs = {"From": f"whatsapp:{ADA}", "To": "whatsapp:+15551230009"}
    theirs |= {"ExternalUserId": f"whatsapp:{USER_ID}"}
    await writes(gateway, "STOP", 1, **theirs)
    assert {("whatsapp", ADA, "stop"), ("whatsapp", USER_ID, "stop")} == await suppressed(ask)

    await writes(gateway, "START", 2, **theirs)
    assert set() == await suppressed(ask)


@pytest.mark.usefixtures("forgetful")
async def test_what_was_lost(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """A replay finds a STOP that was not stored, at the time when it came, and none twice."""
    await writes(gateway, "STOP")
    assert (0, 2, 0, 0) == counts(await replay(gateway))
    for table in ("gateway.suppressions", "gateway.consent_events"):
        await forget(owner, table)
    await age(owner, 3)

    first, after = await replay(gateway), await rows(owner)
    again = await replay(gateway)

    assert ((1, 1, 0, 0), (0, 2, 0, 0)) == (counts(first), counts(again))
    assert after == await rows(owner)
    assert {("sms", ADA, "stop")} == await suppressed(ask)


async def test_who_reads_it_changes(
    gateway: Gateway, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one version's half had read, and another's leaves to the gateway, or the other way
    round, is replayed as it was said: a STOP that was taken back since stays so."""
    await writes(gateway, "STOP", 1)
    await writes(gateway, "START", 2)
    forget_to_read(monkeypatch)
    await writes(gateway, "STOP", 3)
    await writes(gateway, "START", 4)
    await replay(gateway)
    assert set() == await suppressed(ask)
    monkeypatch.undo()
    await replay(gateway)
    assert set() == await suppressed(ask)

    await writes(gateway, "STOP", 5)
    forget_to_read(monkeypatch)
    await replay(gateway)
    assert {("sms", ADA, "stop")} == await suppressed(ask)
    assert (0, 10, 0, 0) == counts(await replay(gateway))
