"""gateway/receive/authors.py: whose address it is that an inbound message comes from."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from channels.model import Channel
from gateway.receive import authors
from tests.costs import cpu_seconds
from webhooks.model import Inbound


def known(n: int, kind: str, **given: Any) -> dict[str, Any]:
    """A lead or client of the British organization."""
    return {"id": UUID(int=n), "kind": kind, "country": "GB", "phone": None, "email": None} | given


def wrote(address: str) -> Inbound:
    """A message from there."""
    return Inbound(
        channel=Channel.WHATSAPP, external_id="1", from_address=address, to_address="+1", body="Hi"
    )


def test_the_newest_of_each_kind() -> None:
    """However the address is written, it is that of the newest lead and of the newest client."""
    owners = authors.owners(
        [
            known(1, "lead", phone="07700 900123"),
            known(2, "lead", phone="+447700900123", email="Ada@Bücher.example"),
            known(3, "client", phone="+44 (0)7700 900123"),
            known(4, "client", phone="+525512345678", email="eva@example.com"),
        ]
    )
    found = {
        address: {
            kind: each and each.int for kind, each in authors.owner(wrote(address), owners).items()
        }
        for address in ("+447700900123", "ada@xn--bcher-kva.example", "+5215512345678", "+4420", "")
    }
    assert {
        "+447700900123": {"lead": 1, "client": 3},
        "ada@xn--bcher-kva.example": {"lead": 2, "client": None},
        "+5215512345678": {"lead": None, "client": 4},
        "+4420": {"lead": None, "client": None},
        "": {"lead": None, "client": None},
    } == found


def test_many_at_once() -> None:
    """What it takes grows with the messages and the contacts, not with both: it is done where
    nobody else is served meanwhile."""
    numbers = [f"+44770{n:07}" for n in range(5000)]
    rows = [known(n, "lead", phone=number) for n, number in enumerate(numbers)]
    messages = [wrote(number) for number in numbers]

    def place() -> list[UUID | None]:
        owners = authors.owners(rows)
        return [authors.owner(each, owners)["lead"] for each in messages]

    assert [UUID(int=n) for n in range(5000)] == place()
    assert cpu_seconds(place) < 0.5
