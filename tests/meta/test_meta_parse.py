"""What Meta posts: every entry, change and item of it, statuses first of all."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.model import Channel, Status
from channels.providers.meta import explain
from tests.costs import cpu_seconds
from tests.meta.values import ID, NUMBER_ID, WAMID, change, message, request, update
from webhooks import meta
from webhooks.model import (
    Addition,
    ConsentChange,
    Fetch,
    Inbound,
    Reason,
    StatusReport,
    Unknown,
    Unreadable,
    WebhookEvent,
)

AT = datetime(2025, 6, 8, 20, 59, 43, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["entry", "changes", "value", "messages", "statuses", "errors", "field", "object",
                 "id", "from", "type", "text", "status", "timestamp", "contacts", "interactive",
                 "metadata", "user_preferences", "edit", "message"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)  # fmt: skip


def status(word: str, **given_status: Any) -> dict[str, Any]:
    """A status of our message."""
    usual = {"id": WAMID, "status": word, "timestamp": "1749416383", "recipient_id": "15550002222"}
    return usual | given_status


def parsed(*changes: object) -> list[WebhookEvent]:
    """The events of these changes."""
    return list(meta.parse(request(update(*changes))))


def report(**given_status: Any) -> StatusReport:
    """The one report of one status."""
    [event] = parsed(change(statuses=[status(**given_status)]))
    assert isinstance(event, StatusReport)
    return event


def test_a_status() -> None:
    """A report has our own id, Meta's, its time, and what Meta tells of its price."""
    more = {
        "biz_opaque_callback_data": str(ID),
        "conversation": {"id": "c1", "origin": {"type": "service"}},
        "pricing": {"billable": False, "category": "service"},
    }
    assert report(word="sent", **more) == StatusReport(
        external_id=WAMID,
        message_id=ID,
        status=Status.SENT,
        word="sent",
        key=f"meta:{WAMID}:sent:",
        occurred_at=AT,
        detail={
            "phone_number_id": NUMBER_ID,
            "recipient_id": "15550002222",
            "conversation": {"id": "c1", "origin": {"type": "service"}},
            "pricing": {"billable": False, "category": "service"},
        },
    )


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("sent", Status.SENT),
        ("delivered", Status.DELIVERED),
        ("Read", Status.READ),
        ("played", Status.READ),
        ("failed", Status.FAILED),
        ("deleted", None),
        ("warning", None),
        ("in_orbit", None),
        ("", None),
    ],
)
def test_words(word: str, expected: Status | None) -> None:
    """Every word of Meta's has its status; one that we do not know changes nothing, nor does what
    is told without one, as a price is."""
    seen = report(word=word)
    assert (seen.status, seen.word) == (expected, word.lower() or "unnamed")
    assert seen == report(word=word)


def test_a_failure() -> None:
    """A failure has Meta's code and plain words with what Meta says of this case."""
    errors = [{"code": 131047, "title": "Re-engagement message", "error_data": {"details": "Old"}}]
    seen = report(word="failed", errors=errors)
    assert (seen.status, seen.error_code) == (Status.FAILED, "131047")
    assert seen.error_message == f"{explain('131047')} Meta says: Old"
    assert seen.key == f"meta:{WAMID}:failed:131047"
    assert seen.detail["errors"] == errors
    assert report(word="failed", errors=[{"code": 2494100}]).error_code == "2494100"


@pytest.mark.parametrize("errors", [None, [], {}, ["x"], [{}], [{"code": []}]])
def test_a_failure_without_a_reason(errors: object) -> None:
    """Errors in a form that nobody foresaw leave a failure without a code."""
    seen = report(word="failed", errors=errors)
    assert (seen.status, seen.error_code, seen.error_message) == (Status.FAILED, None, None)


@pytest.mark.parametrize(
    ("given_timestamp", "expected"),
    [
        ("1749416383", AT),
        (1749416383, AT),
        (" 1749416383 ", AT),
        ("1749416383.5", AT + timedelta(seconds=0.5)),
        (1749416383.5, AT + timedelta(seconds=0.5)),
        ("1749416383000", None),
        ("asdf", None),
        (None, None),
        (True, None),
        ("-1", None),
        ("0", None),
        ("9" * 30, None),
        ("", None),
    ],
)
def test_times(given_timestamp: object, expected: datetime | None) -> None:
    """A time is a text or a number of seconds; anything else is none."""
    assert report(word="sent", timestamp=given_timestamp).occurred_at == expected


@pytest.mark.parametrize("data", [None, "", "mine", {"id": str(ID)}, "x" * 1000])
def test_what_is_not_our_id(data: object) -> None:
    """What was not given along by us names no message of ours."""
    assert report(word="sent", biz_opaque_callback_data=data).message_id is None


def test_what_became_of_a_payment() -> None:
    """A payment that failed, for which a message asked, is no failure of the message."""
    told = {"reference_id": "r-1", "transaction": {"status": "failed"}}
    given_status = status("failed", type="payment", payment=told)
    [report] = meta.parse(request(update(change(statuses=[given_status]))))
    assert isinstance(report, StatusReport)
    assert (report.status, report.word) == (None, "payment-failed")
    assert report.detail["payment"] == told
    [sent] = meta.parse(request(update(change(statuses=[status("sent", type="message")]))))
    assert isinstance(sent, StatusReport)
    assert (sent.status, sent.word) == (Status.SENT, "sent")


def test_a_recipient_who_stopped_marketing() -> None:
    """Error 131050 is a failure, and beside it the wish of the recipient."""
    given_status = status("failed", errors=[{"code": 131050}], biz_opaque_callback_data=str(ID))
    failed, stopped = parsed(change(statuses=[given_status]))
    assert isinstance(failed, StatusReport)
    assert failed.error_message == explain("131050")
    assert stopped == ConsentChange(
        channel=Channel.WHATSAPP,
        reason=Reason.UNSUBSCRIBE,
        address="+15550002222",
        message_id=ID,
        external_id=WAMID,
        word="131050",
        key=f"meta:{WAMID}:failed:131050:consent",
        occurred_at=AT,
        detail={"errors": [{"code": 131050}]},
    )


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        ({"recipient_id": None, "recipient_user_id": "US.1234"}, "US.1234"),
        ({"recipient_id": ""}, None),
    ],
)
def test_a_recipient_without_a_number(recipient: dict[str, Any], expected: str | None) -> None:
    """A recipient is named by a user id where there is no number, or found by the message."""
    given_status = status("failed", errors=[{"code": 131050}], **recipient)
    stopped = parsed(change(statuses=[given_status]))[1]
    assert isinstance(stopped, ConsentChange)
    assert (stopped.address, stopped.external_id) == (expected, WAMID)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"recipient_user_id": "US.1234"}, ("+15550002222", "US.1234")),
        (
            {"recipient_user_id": "US.1234", "recipient_type": "individual"},
            ("+15550002222", "US.1234"),
        ),
        ({"recipient_user_id": "US.1234", "recipient_type": "group"}, ()),
        ({"recipient_user_id": "US.1234", "recipient_id": None}, ()),
        ({"recipient_user_id": ["US.1234"]}, ()),
        ({}, ()),
    ],
)
def test_who_a_recipient_is(named: dict[str, Any], expected: tuple[str, ...]) -> None:
    """A report of what one person got names their number and their user id, or perhaps one."""
    assert expected == report(word="sent", **named).recipient


def test_everything_of_a_batch() -> None:
    """Every entry, change, message, status and error is read, and a bad one loses no other."""
    batch = {
        "object": "whatsapp_business_account",
        "entry": [
            {
                "id": "1",
                "changes": [
                    change(messages=[message(id="a"), {"text": 1}, message(id="b")]),
                    change(statuses=[status("sent"), 7, status("read"), {"status": "sent"}]),
                    "no change",
                ],
            },
            "no entry",
            {"changes": [change(None, messages=[message(id="c")])]},
            {"changes": {}},
            {
                "changes": [
                    change(
                        messages=[message(id="d")],
                        statuses=[status("delivered")],
                        errors=[{"code": 0, "title": "No access"}],
                    )
                ]
            },
        ],
    }
    events = list(meta.parse(request(batch)))
    names = [
        event.external_id if isinstance(event, Inbound) else getattr(event, "word", "")
        for event in events
    ]
    assert names == [
        "a", "unreadable", "b", "sent", "unreadable", "read", "unreadable", "messages",
        "c", "d", "delivered", "error",
    ]  # fmt: skip
    assert events[6] == Unknown(
        word="unreadable",
        detail={"reason": "The status names no message.", "item": {"status": "sent"}},
    )
    assert events[-1] == Unknown(
        word="error",
        detail={
            "code": "0",
            "message": f"{explain('0')} Meta says: No access",
            "title": "No access",
            "phone_number_id": NUMBER_ID,
        },
    )


def test_a_batch_of_many_people() -> None:
    """Who wrote each message is found at once, however many people a batch is from."""
    many = range(15550000000, 15550004000)
    raw = request(
        update(
            change(
                messages=[message(**{"from": str(n), "id": f"wamid.{n}"}) for n in many],
                contacts=[{"wa_id": str(n), "profile": {"name": f"N{n}"}} for n in many],
            )
        )
    )
    names = [each.detail["ProfileName"] for each in meta.parse(raw) if isinstance(each, Inbound)]
    assert [f"N{n}" for n in many] == names
    assert cpu_seconds(lambda: meta.parse(raw)) < 2  # 4.5 where each looks at all


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (update(change("smb_message_echoes", message_echoes=[message()])), "smb_message_echoes"),
        (update(change("account_update", event="VERIFIED")), "account_update"),
        (update(change("x" * 100)), "x" * 64),
        (update(change("messages")), "messages"),
        (update({"field": None}), "unknown"),
        (update(change("user_preferences")), "user_preferences"),
        (update(), "empty"),
        (update(change(messages=[])), "empty"),
        ({"object": "whatsapp_business_account"}, "empty"),
        ({"object": "page", "entry": []}, "page"),
        ({"entry": []}, "unknown"),
    ],
)
def test_what_we_do_not_know(body: object, word: str) -> None:
    """Other fields and objects are kept and change nothing."""
    [event] = meta.parse(request(body))
    assert isinstance(event, Unknown)
    assert event.word == word


def test_what_was_said_of_an_unknown_field() -> None:
    """What we do not know is kept with what stood in it."""
    [event] = parsed({"field": "account_update", "value": {"event": "VERIFIED", "n": 1}})
    assert event == Unknown(word="account_update", detail={"value": {"event": "VERIFIED", "n": 1}})


def test_another_event() -> None:
    """An event that Meta does not have is nothing."""
    assert list(meta.parse(request(b"{}", event="inbound"))) == [Unknown(word="inbound")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"[" * 100_000,
        b"[]",
        b"null",
        json.dumps(update(change(statuses=[{}] * 10_001))).encode(),
    ],
)
def test_what_cannot_be_read(body: bytes) -> None:
    """What is no JSON object, or is larger than anything that Meta sends, is unreadable."""
    with pytest.raises(Unreadable):
        meta.parse(request(body))


@pytest.mark.parametrize(
    ("bad", "body"),
    [
        (b'"caf\xe9"', "caf\ufffd"),
        (b"9" * 5000, "9" * 1000),
        (b"-" + b"9" * 5000 + b".5", "-" + "9" * 999),
    ],
)
def test_what_one_value_costs(bad: bytes, body: str) -> None:
    """A byte that is no UTF-8, and a number that is longer than any, cost no other update."""
    hello = message(id="a", text={"body": "Hel"})
    good = json.dumps(update(change(messages=[hello, message(id="b")], statuses=[status("read")])))
    first, second, report = meta.parse(request(good.encode().replace(b'"Hel"', bad)))
    assert isinstance(first, Inbound)
    assert first.body == body
    assert isinstance(second, Inbound)
    assert (second.external_id, second.body) == ("b", "Hello")
    assert isinstance(report, StatusReport)


def preference(**given_preference: Any) -> list[WebhookEvent]:
    """The events of a person's wish about marketing."""
    usual = {
        "wa_id": "15550002222",
        "category": "marketing_messages",
        "value": "stop",
        "timestamp": 1749416383,
    }
    return parsed(change("user_preferences", user_preferences=[usual | given_preference]))


def test_a_preference() -> None:
    """Somebody stops marketing messages in WhatsApp itself, and may resume them."""
    [stopped] = preference()
    [resumed] = preference(value="resume", wa_id=None, user_id="US.1234", timestamp=None)
    assert stopped == ConsentChange(
        channel=Channel.WHATSAPP,
        reason=Reason.UNSUBSCRIBE,
        address="+15550002222",
        word="stop",
        key=f"meta:{NUMBER_ID}:+15550002222:stop:1749416383",
        occurred_at=AT,
        detail={
            "phone_number_id": NUMBER_ID,
            "preference": {
                "wa_id": "15550002222",
                "category": "marketing_messages",
                "value": "stop",
                "timestamp": 1749416383,
            },
        },
    )
    assert isinstance(resumed, ConsentChange)
    assert (resumed.is_lifted, resumed.address) == (True, "US.1234")
    assert resumed.key == f"meta:{NUMBER_ID}:US.1234:resume:"


@pytest.mark.parametrize(
    ("given_preference", "word"),
    [
        ({"value": "pause"}, "user_preferences"),
        ({"category": "utility"}, "user_preferences"),
        ({"wa_id": None}, "unreadable"),
    ],
)
def test_other_preferences(given_preference: dict[str, Any], word: str) -> None:
    """A wish that we do not know, or of nobody, stops nothing."""
    [event] = preference(**given_preference)
    assert isinstance(event, Unknown)
    assert event.word == word


def texts(value: object) -> Iterator[str]:
    """Every text and name in some JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


@given(JSON)
def test_hostile_json(value: object) -> None:
    """Whatever stands where, it is read as events that can be stored, or is unreadable."""
    for body in (
        value,
        {"object": "whatsapp_business_account", "entry": value},
        update(value),
        update({"field": "messages", "value": value}),
        update(change(messages=[value, message(interactive=value, type="interactive")])),
        update(change(messages=[message(contacts=value, type="contacts")], contacts=value)),
        update(change(statuses=value, errors=value)),
        update(change("user_preferences", user_preferences=[value])),
    ):
        try:
            events = meta.parse(request(body))
        except Unreadable:
            continue
        for event in events:
            assert not isinstance(event, Fetch | Addition)
            json.dumps(event.detail, allow_nan=False)
            for text in texts(event.detail):
                assert "\0" not in text
                text.encode()
