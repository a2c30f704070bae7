"""What Twilio's requests say: statuses, inbound messages, and what cannot be read."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.model import Attachment, Channel, Status
from tests.twilio.values import ID, SID, URL, account, request
from webhooks import twilio
from webhooks.model import Inbound, Reply, StatusReport, Unknown, Unreadable, WebhookEvent

PAYLOADS = json.loads((Path(__file__).parent / "payloads.json").read_text())
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
FIELDS = st.sampled_from(
    ["MessageSid", "SmsSid", "MessageStatus", "SmsStatus", "EventType", "ErrorCode", "From", "To",
     "Body", "ChannelMetadata", "MessageType", "NumMedia", "MediaUrl0", "MediaUrl١", "Latitude",
     "OptOutType", "CallSid", "CallStatus", "Direction", "RecordingUrl", "RecordingStatus",
     "Digits", "Timestamp"]
)  # fmt: skip


def parsed(event: str, **form: str) -> WebhookEvent:
    """The first event of a request with these parameters, which is about the message itself."""
    found, *_ = twilio.parse(request(form.items(), event=event))
    return found


def status(**form: str) -> StatusReport:
    """The status report of a request with these parameters."""
    found = parsed("status", **({"MessageSid": SID} | form))
    assert isinstance(found, StatusReport)
    return found


def inbound(**form: str) -> Inbound:
    """The inbound message of a request with these parameters."""
    usual = {"MessageSid": SID, "From": "+15550002222", "To": "+15550001111", "Body": "Hi"}
    found = parsed("message", **{name: v for name, v in (usual | form).items() if v})
    assert isinstance(found, Inbound)
    return found


@pytest.mark.parametrize("case", PAYLOADS, ids=[case["name"] for case in PAYLOADS])
def test_whole_payloads(case: dict[str, Any]) -> None:
    """A request as Twilio documents it becomes exactly this event."""
    kind = {"status": StatusReport, "message": Inbound, "unknown": Unknown}[case["kind"]]
    expected = dict(case["expected"])
    for name, make in (("status", Status), ("channel", Channel)):
        if name in expected:
            expected[name] = make(expected[name])
    if "attachments" in expected:
        expected["attachments"] = tuple(Attachment(**each) for each in expected["attachments"])
    found = twilio.parse(
        request(
            case["form"].items(), event=case["event"], url=URL + case.get("query", ""),
        )
    )  # fmt: skip
    if case.get("message_id"):
        expected["message_id"] = ID
    assert found == [kind(**expected)]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("accepted", Status.SENT), ("scheduled", Status.SENT), ("queued", Status.SENT),
        ("sending", Status.SENT), ("sent", Status.SENT), ("delivered", Status.DELIVERED),
        ("partially_delivered", Status.DELIVERED), ("read", Status.READ),
        ("undelivered", Status.FAILED), ("failed", Status.FAILED), ("canceled", Status.CANCELED),
        ("Delivered ", Status.DELIVERED), ("receiving", None), ("nonsense", None), ("", None),
    ],
)  # fmt: skip
def test_words(word: str, expected: Status | None) -> None:
    """Every word of Twilio's has its status; one that we do not know changes nothing."""
    report = status(MessageStatus=word)
    assert (report.status, report.word) == (expected, word.strip().lower() or "unnamed")


def test_the_message_twins_decide() -> None:
    """MessageSid and MessageStatus count over SmsSid and SmsStatus, which stand in for them."""
    both = status(MessageStatus="failed", SmsStatus="delivered", SmsSid="SM2")
    assert (both.external_id, both.status) == (SID, Status.FAILED)
    legacy = status(MessageSid="", SmsSid="SM2", SmsStatus="delivered")
    assert (legacy.external_id, legacy.status) == ("SM2", Status.DELIVERED)


def test_whatsapp_tells_that_it_was_read_as_an_event() -> None:
    """EventType READ means read, with another MessageStatus or with none."""
    for form in ({"EventType": "READ"}, {"EventType": "READ", "MessageStatus": "delivered"}):
        assert (status(**form).status, status(**form).word) == (Status.READ, "read")


def test_keys_tell_reports_apart() -> None:
    """The same report has the same key; another word, code or message has another."""
    forms: list[dict[str, str]] = [
        {"MessageStatus": "sent"},
        {"MessageStatus": "failed"},
        {"MessageStatus": "failed", "ErrorCode": "30008"},
        {"MessageStatus": "sent", "MessageSid": "SM2"},
    ]
    keys = [status(**form).key for form in forms]
    assert keys[2] == f"twilio:{SID}:failed:30008"
    assert len(set(keys)) == 4
    assert keys == [status(**form, RawDlrDoneDate="2601020304").key for form in forms]


@pytest.mark.parametrize(
    ("form", "code", "message"),
    [
        ({}, None, None),
        ({"ErrorCode": ""}, None, None),
        ({"ErrorCode": "0"}, None, None),
        ({"ErrorCode": "30006", "ErrorMessage": "Landline"}, "30006", "Landline"),
        ({"ErrorCode": "99999"}, "99999", None),
        ({"ErrorCode": "63003"}, "63003", "The recipient cannot be reached on WhatsApp."),
    ],
)
def test_errors(form: dict[str, str], code: str | None, message: str | None) -> None:
    """A code comes with Twilio's words, else with ours."""
    report = status(MessageStatus="failed", **form)
    assert (report.error_code, report.error_message) == (code, message)


def test_reactions_and_quotes() -> None:
    """A message names the one that it quotes, in its detail, too, should we not have that one; a
    reaction has its sign apart."""
    message = inbound(MessageType="reaction", Body="👍", OriginalRepliedMessageSid="SM9")
    assert (message.channel, message.body, message.quotes) == (Channel.WHATSAPP, "👍", "SM9")
    assert message.detail == {
        "reaction": "👍", "MessageType": "reaction", "OriginalRepliedMessageSid": "SM9",
    }  # fmt: skip
    assert inbound(OriginalRepliedMessageSid="S" * 65).quotes is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"?message_id={ID}", True),
        (f"?a=1&message_id={ID}", True),
        (f"?message_id={ID}#rc=5", True),
        ("", False),
        ("?message_id=", False),
        ("?message_id=nonsense", False),
        (f"?message_id={ID}&message_id={ID}", False),
        ("?" + "&" * 200 + f"message_id={ID}", False),
    ],
)
def test_our_own_id_comes_back(query: str, found: bool) -> None:  # noqa: FBT001
    """The id that the callback URL carries is the message's; what is no id is none."""
    form = [("MessageSid", SID), ("MessageStatus", "sent")]
    [report] = twilio.parse(request(form, url=URL + query))
    assert isinstance(report, StatusReport)
    assert report.message_id == (ID if found else None)


def test_our_own_id_is_enough() -> None:
    """A status without a SID still has its message when the URL names it."""
    [report] = twilio.parse(request([("MessageStatus", "sent")], url=f"{URL}?message_id={ID}"))
    assert isinstance(report, StatusReport)
    assert (report.external_id, report.message_id) == (None, ID)


@pytest.mark.parametrize(
    ("event", "form"),
    [
        ("status", {}),
        ("status", {"MessageStatus": "sent"}),
        ("status", {"MessageStatus": "sent", "MessageSid": "S" * 65}),
        ("message", {}),
        ("message", {"From": "+15550002222", "Body": "Hi"}),
        ("message", {"MessageSid": SID, "Body": "Hi"}),
        ("message", {"MessageSid": SID, "From": " "}),
    ],
)
def test_what_names_no_message_cannot_be_read(event: str, form: dict[str, str]) -> None:
    """Without a message's SID, or a sender, there is nothing to store."""
    with pytest.raises(Unreadable):
        parsed(event, **form)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"not json", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"[1]", "application/json"),
    ],
)
def test_bodies_that_cannot_be_read(body: bytes, content_type: str) -> None:
    """JSON that is none, or no object, cannot be read."""
    with pytest.raises(Unreadable):
        twilio.parse(request(body=body, content_type=content_type))


def test_bytes_that_are_no_utf8_cost_themselves() -> None:
    """A message whose text holds such a byte is stored without it, with all the rest."""
    body = f"MessageSid={SID}&From=%2B15550002222&Body=caf%E9".encode() + b" \xff&\xff=1"
    [message] = twilio.parse(request(body=body, event="message"))
    assert isinstance(message, Inbound)
    assert (message.from_address, message.body) == ("+15550002222", "caf\ufffd \ufffd")


def test_json_bodies() -> None:
    """A JSON object is read like a form, whatever its values are."""
    body = json.dumps(
        {"MessageSid": SID, "MessageStatus": "sent", "ErrorCode": 30008, "No": None, "A": "\ud800"}
    ).encode()
    [report] = twilio.parse(request(body=body, content_type="application/json"))
    assert isinstance(report, StatusReport)
    assert (report.error_code, report.detail) == ("30008", {"A": "?"})


def test_get_requests() -> None:
    """A message that comes by GET is read from its URL."""
    url = URL + f"?MessageSid={SID}&From=%2B15550002222&Body=a+b%26c&To=384387"
    [message] = twilio.parse(request(url=url, method="GET", event="message", content_type=None))
    assert isinstance(message, Inbound)
    assert (message.body, message.from_address) == ("a b&c", "+15550002222")


@pytest.mark.parametrize(
    ("form", "channel", "sender", "to"),
    [
        ({}, Channel.SMS, "+15550002222", "+15550001111"),
        ({"To": "384387"}, Channel.SMS, "+15550002222", "384387"),
        ({"To": "", "MessagingServiceSid": "MG1"}, Channel.SMS, "+15550002222", "MG1"),
        ({"To": ""}, Channel.SMS, "+15550002222", ""),
        (
            {"From": "whatsapp:+15550002222", "To": "whatsapp:+15550001111"},
            Channel.WHATSAPP, "+15550002222", "+15550001111",
        ),
        ({"From": "whatsapp:US.1234"}, Channel.WHATSAPP, "US.1234", "+15550001111"),
        ({"From": "whatsapp: 15550002222"}, Channel.WHATSAPP, "+15550002222", "+15550001111"),
        ({"From": " 15550002222"}, Channel.SMS, "+15550002222", "+15550001111"),
        (
            {"From": "", "ExternalUserId": "whatsapp:US.1234"},
            Channel.WHATSAPP, "US.1234", "+15550001111",
        ),
        ({"WaId": "15550002222"}, Channel.WHATSAPP, "+15550002222", "+15550001111"),
        (
            {"From": "whatsapp:15550002222", "WaId": "15550002222", "To": "whatsapp:15550001111"},
            Channel.WHATSAPP, "+15550002222", "+15550001111",
        ),
        ({"From": "", "WaId": "15550002222"}, Channel.WHATSAPP, "+15550002222", "+15550001111"),
        (
            {"From": "15550002222", "WaId": "15550002222"},
            Channel.WHATSAPP, "+15550002222", "+15550001111",
        ),
        ({"From": "whatsapp:6841234"}, Channel.WHATSAPP, "+6841234", "+15550001111"),
        (
            {"From": "15550002222", "To": "15550001111"},
            Channel.SMS, "+15550002222", "+15550001111",
        ),
        ({"From": "rcs:15550002222"}, Channel.SMS, "+15550002222", "+15550001111"),
        ({"From": "384387", "To": "6841234"}, Channel.SMS, "384387", "6841234"),
        ({"From": "CLINIC24", "To": "3125550100"}, Channel.SMS, "CLINIC24", "3125550100"),
        ({"MessageType": "location"}, Channel.WHATSAPP, "+15550002222", "+15550001111"),
        ({"MessageType": "text"}, Channel.SMS, "+15550002222", "+15550001111"),
        (
            {"ChannelMetadata": '{"type": "whatsapp", "data": {}}'},
            Channel.WHATSAPP, "+15550002222", "+15550001111",
        ),
        ({"ChannelMetadata": "["}, Channel.SMS, "+15550002222", "+15550001111"),
        (
            {"From": "rcs:+15550002222", "To": "rcs:clinic_agent", "ButtonPayload": "p",
             "MessageType": "location", "ChannelMetadata": '{"type": "rcs"}'},
            Channel.SMS, "+15550002222", "clinic_agent",
        ),
    ],
)  # fmt: skip
def test_channels_and_addresses(
    form: dict[str, str], channel: Channel, sender: str, to: str
) -> None:
    """A message is WhatsApp's by its prefix or by what only WhatsApp has; one over RCS is the
    answer to an SMS that went out so; addresses have no prefix, and numbers their +."""
    message = inbound(**form)
    assert (message.channel, message.from_address, message.to_address) == (channel, sender, to)


def test_other_channels_are_kept_as_unknown() -> None:
    """A message over a channel that is not ours is kept and answered, and no message of ours."""
    found = parsed("message", MessageSid=SID, From="messenger:123", Body="Hi")
    assert found == Unknown(word="messenger", detail={"From": "messenger:123", "Body": "Hi"})


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ({"Body": "a\0b"}, "ab"),
        ({"Body": ""}, ""),
        ({"Body": " a\r\n"}, " a\r\n"),
        ({"Body": "yes", "ButtonText": "Yes, please"}, "Yes, please"),
        ({"Body": "", "ListTitle": "Tuesday"}, "Tuesday"),
        ({"Body": "😀 'é' <b>"}, "😀 'é' <b>"),
    ],
)
def test_texts(form: dict[str, str], body: str) -> None:
    """The text is what people saw, as it was sent, without NUL."""
    assert inbound(**form).body == body


@pytest.mark.parametrize(
    ("form", "attachments"),
    [
        ({"NumMedia": "0"}, []),
        (
            {"NumMedia": "1", "MediaUrl0": "https://a/0", "MediaContentType0": "image/png"},
            [Attachment(url="https://a/0", content_type="image/png")],
        ),
        (
            {"MediaUrl1": "https://a/1", "MediaUrl0": "https://a/0", "MediaUrl10": "https://a/10"},
            [Attachment(url=f"https://a/{number}") for number in (0, 1, 10)],
        ),
        ({"NumMedia": "x", "MediaUrlx": "https://a/x", "MediaUrl": "https://a"}, []),
        ({"NumMedia": "9", "MediaUrl0": "https://a/0"}, [Attachment(url="https://a/0")]),
        ({"NumMedia": "1", "MediaUrl0": ""}, []),
        ({"NumMedia": "1", "MediaUrl007": "https://a/7"}, []),
    ],
)
def test_attachments(form: dict[str, str], attachments: list[Attachment]) -> None:
    """Every MediaUrl is an attachment, in order, whatever NumMedia says."""
    assert list(inbound(**form).attachments) == attachments


def test_a_flow_is_kept_whole() -> None:
    """The answers of a flow, and what else is JSON, are kept as they came, however long."""
    answers = json.dumps({f"question_{number}": "An answer, é" for number in range(900)})
    message = inbound(FlowData=answers, ReferralBody="b" * 3000)
    assert message.detail == {"referral": {"Body": "b" * 3000}, "FlowData": answers}


def test_details_are_bounded() -> None:
    """However much a request says, an event keeps a bounded part of it, and says so."""
    message = inbound(**{f"New{number}": "x" * 5000 for number in range(100)})
    left_out = message.detail["left_out"]
    assert left_out.startswith("It has more than 40 parameters. Too much to be kept whole: New0, ")
    assert len(message.detail) == 41
    assert {len(value) for value in message.detail.values()} == {1000, 5000, len(left_out)}
    assert len(json.dumps(message.detail)) < 70_000


def test_the_largest_of_a_request_is_cut() -> None:
    """Of a request that says too much all is whole but the largest, which are cut and named."""
    said = {"FlowData": "x" * 70_000, "ReferralBody": "y" * 65_000, "ProfileName": "Ann"}
    message = inbound(**said, Latitude="1", Label="z" * 2000)
    assert message.detail == {
        "location": {"latitude": "1", "label": "z" * 2000},
        "referral": '{"Body": "' + "y" * 990,
        "FlowData": "x" * 1000,
        "ProfileName": "Ann",
        "left_out": "Too much to be kept whole: FlowData, referral.",
    }
    assert "left_out" not in inbound(FlowData="x" * 63_000).detail
    assert inbound(FlowData="é" * 70_000).detail == {
        "FlowData": "é" * 1000, "left_out": "Too much to be kept whole: FlowData.",
    }  # fmt: skip


def test_the_first_of_repeated_parameters_counts() -> None:
    """Where a parameter comes twice, the first is read."""
    [report] = twilio.parse(
        request([("MessageSid", SID), ("MessageStatus", "sent"), ("MessageStatus", "failed")])
    )
    assert isinstance(report, StatusReport)
    assert report.word == "sent"


def test_other_events_are_unknown() -> None:
    """An event that is not read here is kept under its name."""
    assert "verdict" not in twilio.EVENTS
    assert twilio.parse(request(event="verdict")) == [Unknown(word="verdict")]


def test_replies() -> None:
    """A message is answered with TwiML that says nothing, a report with 200 alone."""
    twiml = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
    message = twilio.reply(request(event="message"), [], account())
    assert message == Reply(status=200, content_type="text/xml", body=twiml)
    for event in ("status", "call-status", "recording", "transcription", "amd", "fetched", "new"):
        report = twilio.reply(request(event=event), [], account())
        assert report == Reply(status=200, content_type=None, body="")


@given(
    st.sampled_from((*twilio.EVENTS, "fetched")), st.dictionaries(FIELDS | TEXT, TEXT, max_size=12)
)
def test_no_words_make_it_fail(event: str, form: dict[str, str]) -> None:
    """Whatever stands in a form, it is an event that can be stored, or cannot be read."""
    try:
        events = twilio.parse(request(form.items(), event=event))
    except Unreadable:
        return
    for found in events:
        assert "\\u0000" not in json.dumps(getattr(found, "detail", {}))
        json.dumps(dict(getattr(found, "detail", {}))).encode()
