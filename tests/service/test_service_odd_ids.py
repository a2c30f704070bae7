"""What a provider calls a message may be no id at all: it is never sent again by that."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from channels.model import Sent
from gateway.registry import PROVIDERS
from tests.service.test_service_dispatch import hurry
from tests.service.wires import row_of, send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA = "+447700900123"
# No letter of it repeats what came before: it is as long in an index as it is here.
LONGEST = "".join(random.Random(1).choices([chr(n) for n in range(33, 127)], k=1000))  # noqa: S311
ODD: list[Any] = ["", "SM\0", "SM\n1", "SM\ud800", "x" * 100_000, f"{LONGEST}x", "é" * 501, 7, None]


@dataclass
class Half:
    """A send half that believes whatever stands in an answer."""

    given: Any
    sends: int = 0
    listed: list[Any] = field(default_factory=list)

    async def send(self, *_: Any) -> Sent:
        """Taken, under this id."""
        self.sends += 1
        return Sent(external_id=self.given)

    async def find(self, *_: Any) -> list[Sent]:
        """The provider has these."""
        return [Sent(external_id=each) for each in self.listed]


def use(monkeypatch: pytest.MonkeyPatch, half: Half) -> None:
    """Let this be Twilio's send half."""
    monkeypatch.setitem(PROVIDERS, "twilio", replace(PROVIDERS["twilio"], send=half))


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
async def test_no_id(
    gateway: Gateway, ask: Ask, api: Api, monkeypatch: pytest.MonkeyPatch, odd: Any
) -> None:
    """A message with an id that cannot be stored is as one whose answer was lost: it is asked
    about, and taken for the listed one that has an id, and sent again for none of the others."""
    use(monkeypatch, half := Half(odd, listed=[odd]))
    worker = api.worker(gateway, sure_after=0)
    row = await send(ask, "sms", ADA, body="Hello")
    with capture_logs() as logs:
        await asyncio.wait_for(step(worker), 5)
    (line,) = [each for each in logs if each["log_level"] != "info"]
    assert "The provider's id for it cannot be stored." == line["reason"]
    assert "answer lost, the provider will be asked" == line["event"]

    for _ in range(2):
        await hurry(gateway)
        await step(worker)
    assert ("unknown", 1) == ((await row_of(ask, row))["status"], half.sends)

    half.listed.append("SM1")
    await hurry(gateway)
    await step(worker)
    now = await row_of(ask, row)
    assert ("sent", "SM1", 1) == (now["status"], now["external_id"], half.sends)


@pytest.mark.parametrize(
    "given", ["<a.1@mail.example>", "wamid.HBgM+/==", "an id", "é" * 500, LONGEST]
)
async def test_ids(
    gateway: Gateway, ask: Ask, api: Api, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """Every other id is stored as it is."""
    use(monkeypatch, Half(given))
    row = await send(ask, "sms", ADA, body="Hello")
    await asyncio.wait_for(step(api.worker(gateway)), 5)
    now = await row_of(ask, row)
    assert ("sent", given) == (now["status"], now["external_id"])
