"""What people send through WhatsApp: each type as text, files, and what else is known of it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from channels.model import Attachment, Channel
from tests.meta.values import NUMBER_ID, WAMID, change, message, request, update
from webhooks import meta
from webhooks.model import ConsentChange, Inbound, Reason, Renamed, Unknown, WebhookEvent

AT = datetime(2025, 6, 8, 20, 59, 43, tzinfo=UTC)
CONTACT = {"profile": {"name": "Ana"}, "wa_id": "15550002222", "user_id": "US.1234"}
FILES = "https://graph.facebook.com/v25.0"


def parsed(given_message: object, **value: Any) -> list[WebhookEvent]:
    """The events of one message."""
    return list(meta.parse(request(update(change(messages=[given_message], **value)))))


def received(given_message: object, **value: Any) -> Inbound:
    """The message, which says nothing about consent."""
    [event] = [each for each in parsed(given_message, **value) if not isinstance(each, Renamed)]
    assert isinstance(event, Inbound)
    return event


def test_a_text() -> None:
    """A message has its author's number and name, the number it went to, and its time."""
    given_message = message(
        from_user_id="US.1234", context={"from": "15550001111", "id": "wamid.before"}
    )
    assert received(given_message, contacts=["x", {"wa_id": "1"}, CONTACT]) == Inbound(
        external_id=WAMID,
        channel=Channel.WHATSAPP,
        from_address="+15550002222",
        to_address="+15550001111",
        body="Hello",
        quotes="wamid.before",
        occurred_at=AT,
        detail={
            "type": "text",
            "phone_number_id": NUMBER_ID,
            "ProfileName": "Ana",
            "user_id": "US.1234",
            "wa_id": "15550002222",
            "context": {"from": "15550001111", "id": "wamid.before"},
        },
    )


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ({"from": "15550002222"}, "+15550002222"),
        ({"from": 15550002222}, "+15550002222"),
        ({"from": "+1 555 000-2222"}, "+15550002222"),
        ({"from": "US.1234", "from_user_id": "US.1234"}, "US.1234"),
        ({"from": None, "from_user_id": "US.1234"}, "US.1234"),
        ({"from": "", "from_user_id": "US.1234"}, "US.1234"),
        ({"from": "bla"}, "bla"),
    ],
)
def test_authors(who: dict[str, Any], expected: str) -> None:
    """A number gets its +; whoever has none is known by a user id."""
    assert received(message(**who)).from_address == expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"display_phone_number": "+250 788 123 200"}, "+250788123200"),
        ({"display_phone_number": "PHONE_NUMBER"}, "PHONE_NUMBER"),
        ({"display_phone_number": "", "phone_number_id": "106"}, "106"),
        ({"phone_number_id": 106}, "106"),
        (None, ""),
        ([], ""),
    ],
)
def test_the_number_written_to(metadata: object, expected: str) -> None:
    """A message went to the number that is shown, or where none is shown to its id."""
    assert received(message(), metadata=metadata).to_address == expected


@pytest.mark.parametrize(
    ("kind", "part", "body", "known"),
    [
        ("text", {"body": "a\0b\ud800"}, "ab?", {}),
        ("text", None, "", {}),
        (
            "location",
            {"latitude": 0.0, "longitude": 1, "name": "Beach"},
            "",
            {"location": {"latitude": 0.0, "longitude": 1, "name": "Beach"}},
        ),
        (
            "contacts",
            [
                {"name": {"formatted_name": "Ann B"}, "phones": [{"phone": "+1"}]},
                {"name": {"first_name": "Bo"}},
                {},
                "x",
            ],
            "Ann B, Bo",
            {
                "contacts": [
                    {"name": {"formatted_name": "Ann B"}, "phones": [{"phone": "+1"}]},
                    {"name": {"first_name": "Bo"}},
                    {},
                    "x",
                ]
            },
        ),
        (
            "button",
            {"text": "Yes, please", "payload": "yes-1"},
            "Yes, please",
            {
                "button_payload": "yes-1",
                "button": {"text": "Yes, please", "payload": "yes-1"},
            },
        ),
        (
            "order",
            {"catalog_id": "c", "text": "Soon please", "product_items": []},
            "Soon please",
            {"order": {"catalog_id": "c", "text": "Soon please", "product_items": []}},
        ),
        ("order", {"catalog_id": "c"}, "", {"order": {"catalog_id": "c"}}),
        (
            "system",
            {"body": "Ana changed from 1 to 2", "wa_id": "2", "type": "user_changed_number"},
            "Ana changed from 1 to 2",
            {
                "new_address": "+2",
                "system": {
                    "body": "Ana changed from 1 to 2",
                    "wa_id": "2",
                    "type": "user_changed_number",
                },
            },
        ),
        ("request_welcome", {}, "", {"message": message(type="request_welcome")}),
        ("dance", 5, "", {"message": message(type="dance") | {"dance": 5}}),
    ],
)
def test_types(kind: str, part: Any, body: str, known: dict[str, Any]) -> None:
    """Each type has the text that a person reads, and what else it says in its details."""
    given_message = message(type=kind) | ({kind: part} if part not in (None, {}) else {})
    seen = received(given_message)
    assert (seen.body, seen.quotes, seen.attachments) == (body, None, ())
    assert seen.detail == {"type": kind, "phone_number_id": NUMBER_ID, **known}


@pytest.mark.parametrize(
    ("kind", "part", "body", "attachment", "media"),
    [
        (
            "image",
            {"id": "77", "mime_type": "image/jpeg", "sha256": "abc", "caption": "Look"},
            "Look",
            Attachment(url=f"{FILES}/77", content_type="image/jpeg"),
            {"id": "77", "sha256": "abc"},
        ),
        (
            "document",
            {"id": "77", "mime_type": "application/pdf", "filename": "bill.pdf"},
            "",
            Attachment(url=f"{FILES}/77", content_type="application/pdf", filename="bill.pdf"),
            {"id": "77"},
        ),
        (
            "audio",
            {"id": "77", "mime_type": "audio/ogg; codecs=opus", "voice": True},
            "",
            Attachment(url=f"{FILES}/77", content_type="audio/ogg; codecs=opus"),
            {"id": "77", "voice": True},
        ),
        ("voice", {"id": 77}, "", Attachment(url=f"{FILES}/77"), {"id": 77}),
        (
            "sticker",
            {"id": "77", "mime_type": "image/webp", "animated": False},
            "",
            Attachment(url=f"{FILES}/77", content_type="image/webp"),
            {"id": "77", "animated": False},
        ),
        (
            "video",
            {"id": "../me?a=b#c"},
            "",
            Attachment(url=f"{FILES}/..%2Fme%3Fa%3Db%23c"),
            {"id": "../me?a=b#c"},
        ),
    ],
)
def test_files(
    kind: str, part: dict[str, Any], body: str, attachment: Attachment, media: dict[str, Any]
) -> None:
    """A file is asked for at Meta by its id, which leads nowhere else; its caption is the text."""
    seen = received(message(type=kind) | {kind: part})
    assert (seen.body, seen.attachments) == (body, (attachment,))
    assert seen.detail["media"] == media


def test_a_file_without_an_id() -> None:
    """A file that cannot be asked for is a message without one."""
    seen = received(message(type="image", image={"caption": "Look"}))
    assert (seen.body, seen.attachments) == ("Look", ())
    assert seen.detail == {"type": "image", "phone_number_id": NUMBER_ID}


@pytest.mark.parametrize(
    ("interactive", "body", "payload", "flow"),
    [
        (
            {"type": "button_reply", "button_reply": {"id": "b1", "title": "Later"}},
            "Later",
            "b1",
            None,
        ),
        (
            {
                "type": "list_reply",
                "list_reply": {"id": "l1", "title": "Monday", "description": "9 to 5"},
            },
            "Monday",
            "l1",
            None,
        ),
        (
            {
                "type": "nfm_reply",
                "nfm_reply": {"name": "flow", "body": "Sent", "response_json": '{"a": [1]}'},
            },
            "Sent",
            None,
            {"a": [1]},
        ),
        (
            {
                "type": "nfm_reply",
                "nfm_reply": {"body": "Sent", "response_json": f'{{"a": {"9" * 5000}, "b": "c"}}'},
            },
            "Sent",
            None,
            {"a": "9" * 1000, "b": "c"},
        ),
        (
            {"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": "{broken"}},
            "Sent",
            None,
            None,
        ),
        (
            {"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": "[1]"}},
            "Sent",
            None,
            None,
        ),
        (
            {"type": "nfm_reply", "nfm_reply": {"body": "S", "response_json": "[" * 90_000}},
            "S",
            None,
            None,
        ),
        ({"type": "new_kind", "new_kind": {"x": 1}}, "", None, None),
        ({"type": ["x"]}, "", None, None),
    ],
)
def test_interactive_messages(
    interactive: dict[str, Any], body: str, payload: str | None, flow: object
) -> None:
    """What was chosen is the text, its id and a flow's answers are details, broken or not."""
    seen = received(message(type="interactive", interactive=interactive))
    assert seen.body == body
    assert seen.detail.get("button_payload") == payload
    assert seen.detail.get("flow_response") == flow
    assert seen.detail["interactive"]["type"] == interactive["type"]


@pytest.mark.parametrize(
    ("reaction", "body", "known"),
    [
        (
            {"message_id": "wamid.ours", "emoji": "👍"},
            "👍",
            {"message_id": "wamid.ours", "emoji": "👍"},
        ),
        (
            {"message_id": "wamid.ours", "emoji": ""},
            "",
            {"message_id": "wamid.ours", "emoji": "", "removed": True},
        ),
        (
            {"message_id": "wamid.ours"},
            "",
            {"message_id": "wamid.ours", "emoji": None, "removed": True},
        ),
    ],
)
def test_reactions(reaction: dict[str, Any], body: str, known: dict[str, Any]) -> None:
    """A reaction quotes the message that it is about; one without an emoji takes it back."""
    seen = received(message(type="reaction", reaction=reaction))
    assert (seen.body, seen.quotes, seen.detail["reaction"]) == (body, "wamid.ours", known)


def test_changes_of_earlier_messages() -> None:
    """An edit has the new text, a revocation none; both quote the message that they are about."""
    inner = {"type": "text", "text": {"body": "Helo → Hello"}}
    edit = {"original_message_id": "wamid.first", "message": inner}
    edited = received(message(type="edit", edit=edit))
    nested = received(message(type="edit", edit={"message": {"type": "edit", "edit": edit}}))
    revoked = received(message(type="revoke", revoke={"original_message_id": "wamid.first"}))
    assert (edited.body, edited.quotes) == ("Helo → Hello", "wamid.first")
    assert (nested.body, nested.quotes) == ("", None)
    assert (revoked.body, revoked.quotes) == ("", "wamid.first")


def test_an_unsupported_message() -> None:
    """What the person's app can do and the API cannot is a message without text, with why."""
    errors = [{"code": 131051, "title": "Unsupported message type", "details": "Not supported"}]
    seen = received(message(type="unsupported", errors=errors, text={"body": "not shown"}))
    assert (seen.body, seen.detail["type"]) == ("", "unsupported")
    assert (seen.detail["error_code"], seen.detail["errors"]) == ("131051", errors)
    hidden = received(
        message(type="unsupported", errors=[{"code": 131060, "title": "Unavailable"}])
    )
    assert "WhatsApp Business app" in hidden.detail["error_message"]


def test_a_type_that_is_missing() -> None:
    """A text without a type is a text; a message without anything is kept all the same."""
    texted, bare = message(), message(type="")
    del texted["type"]
    assert received(texted).body == "Hello"
    assert received(bare).detail["type"] == "unknown"


def test_a_referral() -> None:
    """Where an advertisement brought the person, it is known which one."""
    referral = {"source_type": "ad", "source_id": "1", "headline": "Buy"}
    assert received(message(referral=referral)).detail["referral"] == referral


@pytest.mark.parametrize(
    ("given_message", "word"),
    [
        (message(id=""), "unreadable"),
        (message(id=None), "unreadable"),
        (message(**{"from": None}), "unreadable"),
        (message(group_id="123"), "group-message"),
        ("text", "unreadable"),
    ],
)
def test_messages_that_are_none(given_message: object, word: str) -> None:
    """A message of nobody cannot be answered, nor one in a group; both are kept raw."""
    [event] = parsed(given_message)
    assert isinstance(event, Unknown)
    assert event.word == word


def test_the_same_message_twice() -> None:
    """A message that stands there twice is the same value twice, which is stored once."""
    body = update(change(messages=[message(), message()]))
    first, second = meta.parse(request(body))
    assert first == second


@pytest.mark.parametrize(
    ("given_message", "is_lifted"),
    [
        (message(text={"body": "Stop."}), False),
        (message(type="button", button={"text": "STOP", "payload": "x"}), False),
        (
            message(
                type="interactive",
                interactive={"type": "button_reply", "button_reply": {"id": "1", "title": "Stop"}},
            ),
            False,
        ),
        (message(text={"body": "start"}), True),
    ],
)
def test_words_about_consent(given_message: dict[str, Any], is_lifted: bool) -> None:  # noqa: FBT001
    """A stop or start is a message like any other, and beside it the person's wish."""
    inbound, wish = parsed(given_message)
    assert isinstance(inbound, Inbound)
    assert wish == ConsentChange(
        channel=Channel.WHATSAPP,
        reason=Reason.STOP,
        is_lifted=is_lifted,
        address="+15550002222",
        word=inbound.body,
        key=f"meta:{WAMID}:{'start' if is_lifted else 'stop'}",
        occurred_at=AT,
        detail={"text": inbound.body, "external_id": WAMID},
    )


@pytest.mark.parametrize(
    "given_message",
    [
        message(text={"body": "Stop calling, please"}),
        message(text={"body": "YES"}),
        message(text={"body": "help"}),
        message(type="image", image={"id": "1", "caption": "stop"}),
        message(type="system", system={"body": "stop"}),
    ],
)
def test_words_about_nothing(given_message: dict[str, Any]) -> None:
    """A sentence, an answer, a caption or what WhatsApp itself says stops nothing."""
    assert len(parsed(given_message)) == 1


@pytest.mark.parametrize("count", [60, 300])
def test_many_parts_are_kept_whole(count: int) -> None:
    """All answers of a flow, goods of an order and contacts are kept, not only the first."""
    answers = {f"question_{n}": "Yes, é " * 5 for n in range(count)}
    reply = {"type": "nfm_reply", "nfm_reply": {"response_json": json.dumps(answers)}}
    flow = received(message(type="interactive", interactive=reply))
    goods = {
        "product_items": [{"product_retailer_id": str(n), "quantity": n} for n in range(count)]
    }
    order = received(message(type="order", order=goods))
    people = [{"name": {"formatted_name": f"Ann {n}"}} for n in range(count)]
    contacts = received(message(type="contacts", contacts=people))
    assert flow.detail["flow_response"] == answers
    assert flow.detail["interactive"] == reply
    assert order.detail["order"] == goods
    assert contacts.detail["contacts"] == people
    assert contacts.body == ", ".join(f"Ann {n}" for n in range(count))
    assert not any("left_out" in each.detail for each in (flow, order, contacts))


def test_details_are_bounded() -> None:
    """However much stands in a message, its details are few, short, flat and can be stored; what
    is not whole is named."""
    deep: Any = "end"
    for _ in range(100):
        deep = [deep]
    order = {
        "text": "t" * 50_000,
        **{f"n{n}": n for n in range(600)},
    }
    seen = received(
        message(
            type="order",
            order=order,
            referral={"deep": deep, "big": 2**70, "nan": float("nan"), "a\0": "b\0", "no": False},
            contacts=[{"name": ["x" * 1000] * 40}] * 40,
            button={"payload": "p" * 5000},
        ),
        contacts=[{"profile": {"name": "n" * 5000}, "wa_id": "15550002222"}],
    )
    assert seen.detail["order"] == order | {"text": "t" * 32_000}
    assert len(seen.body) == 50_000
    assert seen.detail["referral"] == {
        "deep": [[[[None]]]], "big": str(2**70), "nan": "NaN", "a": "b", "no": False
    }  # fmt: skip
    assert len(seen.detail["contacts"]) == 1000
    assert seen.detail["button"] == {"payload": "p" * 5000}
    assert len(seen.detail["ProfileName"]) == 1000
    assert seen.detail["left_out"] == (
        "Too much to be kept whole: ProfileName, contacts, order, referral."
    )
    assert len(json.dumps(seen.detail)) < 70_000


def test_the_largest_parts_of_a_message_are_cut() -> None:
    """A message of a type that nobody knows is bounded with its parts together."""
    part = [["é" * 1000] * 50]
    seen = received(message(type="novel", novel=part, referral=part))
    assert seen.detail["left_out"] == "Too much to be kept whole: message."
    assert (len(seen.detail["message"]), seen.detail["referral"]) == (1000, part)
    seen = received(message(type="order", order={"product_items": [1] * 200_000}))
    assert seen.detail["order"] == '{"product_items": [' + "1, " * 327
    assert seen.detail["left_out"] == "Too much to be kept whole: order."
