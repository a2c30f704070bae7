"""What Twilio tells about people who want no more messages, or want them again."""

import pytest

from channels.model import Channel, Status
from tests.twilio.values import ID, SID, URL, request
from webhooks import twilio
from webhooks.model import ConsentChange, Inbound, Reason, StatusReport


@pytest.mark.parametrize(
    ("code", "to", "channel", "address"),
    [
        ("21610", "+15550002222", Channel.SMS, "+15550002222"),
        ("21610", "", Channel.SMS, None),
        ("21610", "+1555000XXXX", Channel.SMS, None),
        ("63014", "whatsapp:+1555000XXXX", Channel.WHATSAPP, None),
        ("21610", "rcs:+15550002222", Channel.SMS, "+15550002222"),
        ("63014", "whatsapp:US.1234", Channel.WHATSAPP, "US.1234"),
        ("63014", "", Channel.WHATSAPP, None),
        ("63014", "rcs:+15550002222", Channel.SMS, "+15550002222"),
        ("63033", "whatsapp:+15550002222", Channel.WHATSAPP, "+15550002222"),
        ("63033", "whatsapp:15550002222", Channel.WHATSAPP, "+15550002222"),
        ("21610", "15550002222", Channel.SMS, "+15550002222"),
        ("63050", "whatsapp:+15550002222", Channel.WHATSAPP, "+15550002222"),
    ],
)
def test_a_recipient_who_wants_no_more(
    code: str, to: str, channel: Channel, address: str | None
) -> None:
    """A code that says so is a change of consent beside the failure, about the recipient."""
    form = {"MessageSid": SID, "MessageStatus": "failed", "ErrorCode": code, "To": to}
    report, change = twilio.parse(request(form.items(), url=f"{URL}?message_id={ID}"))
    assert isinstance(report, StatusReport)
    assert (report.status, report.error_code) == (Status.FAILED, code)
    assert change == ConsentChange(
        channel=channel,
        reason=Reason.STOP,
        address=address,
        message_id=ID,
        external_id=SID,
        word=code,
        key=f"twilio:{SID}:opt-out:{code}",
        detail={"message": report.error_message},
    )


@pytest.mark.parametrize("code", ["", "30003", "30005", "63016"])
def test_other_failures_are_no_opt_outs(code: str) -> None:
    """A number that does not exist, or was not reached, has not said no."""
    form = {"MessageSid": SID, "MessageStatus": "failed", "ErrorCode": code}
    assert len(twilio.parse(request(form.items()))) == 1


@pytest.mark.parametrize(
    ("form", "word", "is_lifted"),
    [
        ({"Body": "Stop"}, "stop", False),
        ({"Body": "unstop"}, "start", True),
        ({"Body": "BASTA", "OptOutType": "STOP"}, "stop", False),
        ({"Body": "Ja", "OptOutType": "START"}, "start", True),
        ({"Body": "Stop", "OptOutType": "NEW"}, "stop", False),
        ({"Body": "stop", "From": "whatsapp:+15550002222"}, "stop", False),
        ({"Body": "x", "ButtonText": "STOP", "From": "whatsapp:US.1"}, "stop", False),
        ({"Body": "Stop", "From": "rcs:+15550002222", "To": "rcs:clinic_agent"}, "stop", False),
    ],
)
def test_consent(form: dict[str, str], word: str, is_lifted: bool) -> None:  # noqa: FBT001
    """STOP and START change consent beside the message: by Twilio's reading, else by ours."""
    usual = {"MessageSid": SID, "From": "+15550002222", "To": "+15550001111"}
    message, change = twilio.parse(request((usual | form).items(), event="message"))
    assert isinstance(message, Inbound)
    assert change == ConsentChange(
        channel=message.channel,
        reason=Reason.STOP,
        is_lifted=is_lifted,
        address=message.from_address,
        word=word,
        key=f"twilio:{SID}:{word}",
        detail={"message": SID, "text": message.body, "to": message.to_address},
    )


def test_both_addresses_of_a_person() -> None:
    """On WhatsApp STOP counts for number and user id."""
    form = {"MessageSid": SID, "From": "whatsapp:+15550002222", "To": "whatsapp:+15550001111",
            "WaId": "15550002222", "ExternalUserId": "US.1234", "Body": "STOP"}  # fmt: skip
    _, *changes = twilio.parse(request(form.items(), event="message"))
    found = [each for each in changes if isinstance(each, ConsentChange)]
    assert ["+15550002222", "US.1234"] == [change.address for change in found]
    assert [f"twilio:{SID}:stop", f"twilio:{SID}:stop:US.1234"] == [each.key for each in found]


@pytest.mark.parametrize(
    "form",
    [
        {"Body": "Stop it please"}, {"Body": "HELP", "OptOutType": "HELP"},
        {"Body": "stop", "OptOutType": "HELP"}, {"Body": "help"},
        {"Body": "end", "From": "whatsapp:+15550002222"},
    ],
)  # fmt: skip
def test_ordinary_messages_change_no_consent(form: dict[str, str]) -> None:
    """Another text, or a word for help, is a message and nothing else."""
    usual = {"MessageSid": SID, "From": "+15550002222", "To": "+15550001111"}
    assert len(twilio.parse(request((usual | form).items(), event="message"))) == 1
