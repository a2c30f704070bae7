"""A wish of somebody who has a number and a user id is one for both."""

from __future__ import annotations

from typing import Any

import pytest

from tests.meta.values import change, message, request, update
from webhooks import meta
from webhooks.model import ConsentChange, Renamed, Unknown

NUMBER, USER_ID, PARENT = "+15550002222", "US.1234", "US.ENT.9"
BOTH = {"wa_id": NUMBER[1:], "user_id": USER_ID}


def wishes(given_change: object) -> list[ConsentChange]:
    """What a change says about consent."""
    events = meta.parse(request(update(given_change)))
    return [event for event in events if isinstance(event, ConsentChange)]


@pytest.mark.parametrize("word", ["stop", "start"])
@pytest.mark.parametrize(
    ("given", "contacts", "addresses"),
    [
        ({"from_user_id": USER_ID}, [], [NUMBER, USER_ID]),
        ({}, [BOTH], [NUMBER, USER_ID]),
        ({"from": None, "from_user_id": USER_ID}, [BOTH], [USER_ID, NUMBER]),
        ({}, [{"wa_id": "15550003333", "user_id": "US.5"}], [NUMBER]),
        ({"from": "5511987654321"}, [{"wa_id": "551187654321"}], ["+5511987654321"]),
        (
            {"from": "5511987654321"},
            [{"wa_id": "5511987654321", "user_id": USER_ID}],
            ["+5511987654321", USER_ID],
        ),
        ({}, "x", [NUMBER]),
        ({}, [BOTH | {"parent_user_id": PARENT}], [NUMBER, USER_ID, PARENT]),
        ({"from_user_id": USER_ID, "from_parent_user_id": PARENT}, [], [NUMBER, USER_ID, PARENT]),
    ],
)
def test_a_word(word: str, given: dict[str, Any], contacts: object, addresses: list[str]) -> None:
    """STOP and START count for every address of the author's that comes with them, once each."""
    given_message = message(text={"body": word}, **given)
    found = wishes(change(messages=[given_message], contacts=contacts))
    assert addresses == [wish.address for wish in found]
    assert {word == "start"} == {wish.is_lifted for wish in found}
    assert len(addresses) == len({wish.key for wish in found})


def test_a_preference() -> None:
    """What is set in WhatsApp itself counts for number and user id."""
    usual = {"category": "marketing_messages", "value": "stop"}
    found = wishes(change("user_preferences", user_preferences=[usual | BOTH]))
    assert [NUMBER, USER_ID] == [wish.address for wish in found]
    assert 2 == len({wish.key for wish in found})


@pytest.mark.parametrize("other", [[], [{"code": 131026}]])
def test_a_refusal(other: list[dict[str, int]]) -> None:
    """What Meta refuses because of the recipient's wish, among other reasons or alone, counts for
    number and user id."""
    refused = {"id": "wamid.1", "status": "failed", "errors": [*other, {"code": 131050}]}
    recipient = {"recipient_id": NUMBER[1:], "recipient_user_id": USER_ID}
    found = wishes(change(statuses=[refused | recipient]))
    assert [NUMBER, USER_ID] == [wish.address for wish in found]
    assert 2 == len({wish.key for wish in found})


@pytest.mark.parametrize("name", ["recipient_parent_user_id", "parent_recipient_user_id"])
def test_a_refusal_for_several_businesses(name: str) -> None:
    """It counts for the id that several businesses know somebody by, however it is called."""
    refused = {"id": "wamid.1", "status": "failed", "errors": [{"code": 131050}], name: PARENT}
    found = wishes(change(statuses=[refused | {"recipient_user_id": USER_ID}]))
    assert [USER_ID, PARENT] == [wish.address for wish in found]


@pytest.mark.parametrize(
    ("given", "system", "former", "addresses"),
    [
        ({}, {"wa_id": "15550003333"}, [NUMBER], ["+15550003333"]),
        ({}, {"wa_id": NUMBER[1:], "new_wa_id": 15550003333}, [NUMBER], ["+15550003333"]),
        (
            {"from_user_id": "US.5"},
            {"wa_id": "15550003333", "user_id": "US.5", "previous_user_id": USER_ID},
            [NUMBER, USER_ID],
            ["+15550003333", "US.5"],
        ),
        (
            {"from": None},
            {"user_id": "MX.5", "parent_user_id": "MX.ENT.5", "previous_user_id": USER_ID,
             "previous_parent_user_id": PARENT},
            [USER_ID, PARENT],
            ["MX.5", "MX.ENT.5"],
        ),
        (
            {"from": None},
            {"user_id": "US.5", "body": f"A changed from x to y changed from {USER_ID} to US.5"},
            [USER_ID],
            ["US.5"],
        ),
        (
            {"from": None},
            {"wa_id": "15550003333", "body": "User changed from 15550002222 to 15550003333"},
            [NUMBER],
            ["+15550003333"],
        ),
    ],
)  # fmt: skip
def test_another_address(
    given: dict[str, Any], system: dict[str, Any], former: list[str], addresses: list[str]
) -> None:
    """Who has another number or user id is told under those before and those from now on."""
    told = {"body": "changed", "type": "user_changed_number", **system}
    given_message = message(type="system", system=told, **given)
    events = meta.parse(request(update(change(messages=[given_message]))))
    [news] = [event for event in events if isinstance(event, Renamed)]
    assert (sorted(former), addresses) == (sorted(news.former), list(news.addresses))


@pytest.mark.parametrize(
    "body", ["User A changed from US.1 to US.2", f"changed from {USER_ID} to US.5 now", "", 5, None]
)
def test_nobody_in_particular(body: object) -> None:
    """A name is what somebody calls themselves: words that do not fit say nothing of who it was."""
    told = {"type": "user_changed_user_id", "user_id": "US.5", "body": body}
    given_message = message(type="system", system=told, **{"from": None})
    [event] = meta.parse(request(update(change(messages=[given_message]))))
    assert isinstance(event, Unknown)


def test_a_user_id_that_is_another_one_now() -> None:
    """Meta has a field of its own for it, which tells both, and the number where it may."""
    known = {"user_id": {"previous": USER_ID, "current": "US.5"}, "timestamp": "1749416383"}
    parents = {"parent_user_id": {"previous": PARENT, "current": "US.ENT.5"}}
    nothing = {"user_id": {"current": "US.5"}}
    given = [known | {"wa_id": "15550003333"}, known | parents, nothing, {"user_id": "US.5"}]
    events = meta.parse(request(update(change("user_id_update", user_id_update=given))))
    news = [event for event in events if isinstance(event, Renamed)]
    assert [((USER_ID,), ("US.5", "+15550003333")), ((USER_ID, PARENT), ("US.5", "US.ENT.5"))] == [
        (each.former, each.addresses) for each in news
    ]
    assert 2 == len({each.key for each in news})
    assert 2 == len([event for event in events if isinstance(event, Unknown)])


@pytest.mark.parametrize(
    "system",
    [{"type": "customer_identity_changed", "wa_id": NUMBER[1:]}, {"type": 5, "wa_id": "1"}, "x"],
)
def test_the_same_address(system: object) -> None:
    """A new telephone, or what is no news, is none of an address."""
    given_message = message(type="system", system=system)
    events = meta.parse(request(update(change(messages=[given_message]))))
    assert [] == [event for event in events if isinstance(event, Renamed)]
