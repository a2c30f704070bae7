"""What goes out to Twilio: media, templates and phone calls; and where its files are fetched."""

import json
from typing import Any

import aiohttp
import pytest

from channels.errors import OptedOut, Refused
from channels.model import Attachment, CallPlan, Channel, Content, Outbound, ProviderTemplate
from channels.providers.twilio import authorize, build, half, sibling
from tests.twilio.conftest import FakeTwilio
from tests.twilio.values import CALLBACK, ID, URL, account, outbound

CALL = "CA00000000000000000000000000000001"
SIBLINGS = URL.removesuffix("status")
STATUS = f"{SIBLINGS}call-status?message_id={ID}#rc=5&rp=all"
TEMPLATE = ProviderTemplate(content_sid="HX1", name="hello", variables={"1": 'Ann "é"', "2": "7"})


def call(plan: CallPlan | None = None, body: str = "Hello & hi") -> Outbound:
    """One call to a customer."""
    return outbound(body, Channel.CALL, call=plan)


def test_a_template_stands_alone() -> None:
    """A template goes by its ContentSid and its values as JSON, without text and media."""
    message = outbound("Hello Ann", Channel.WHATSAPP, ["https://a/1.jpg"], template=TEMPLATE)
    form = build(account(), message, CALLBACK)
    assert form == {
        "To": "whatsapp:+15550002222",
        "From": "whatsapp:+15550001111",
        "StatusCallback": CALLBACK,
        "ContentSid": "HX1",
        "ContentVariables": '{"1": "Ann \\"é\\"", "2": "7"}',
    }
    plain = outbound("Hi", Channel.WHATSAPP, template=ProviderTemplate(content_sid="HX1"))
    assert "ContentVariables" not in build(account(), plain, CALLBACK)


def test_a_template_of_another_provider() -> None:
    """A template that Twilio does not know by a ContentSid is refused, with plain words."""
    template = ProviderTemplate(name="hello", language="en")
    with pytest.raises(Refused) as raised:
        build(account(), outbound(channel=Channel.WHATSAPP, template=template), CALLBACK)
    assert (raised.value.code, raised.value.message) == (
        "template",
        "The template names no ContentSid, by which Twilio knows its templates.",
    )


def test_user_ids_without_a_number() -> None:
    """A WhatsApp user without a phone number is written to by the id."""
    message = Outbound(
        message_id=ID, channel=Channel.WHATSAPP, from_address="+15550001111",
        to_address="US.1234", content=Content(body="Hi"),
    )  # fmt: skip
    assert build(account(), message, CALLBACK)["To"] == "whatsapp:US.1234"


def test_files_that_twilio_cannot_fetch() -> None:
    """A file that has no URL is not left out in silence."""
    message = Outbound(
        message_id=ID, channel=Channel.SMS, from_address="+1", to_address="+2",
        content=Content(body="Hi", attachments=(Attachment(content=b"x", filename="x.png"),)),
    )  # fmt: skip
    with pytest.raises(Refused) as raised:
        build(account(), message, CALLBACK)
    assert raised.value.code == "media"


@pytest.mark.parametrize("channel", [Channel.EMAIL])
def test_other_channels(channel: Channel) -> None:
    """What Twilio does not carry is refused."""
    with pytest.raises(Refused) as raised:
        build(account(), outbound(channel=channel), CALLBACK)
    assert raised.value.code == "channel"


def test_a_call() -> None:
    """A call has its words with it, and asks for all four events, each by itself."""
    assert build(account(messaging_service_sid="MG1"), call(), STATUS) == {
        "To": "+15550002222",
        "From": "+15550001111",
        "Twiml": "<Response><Say>Hello &amp; hi</Say></Response>",
        "StatusCallback": STATUS,
        "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
    }


def test_a_call_with_all_wishes() -> None:
    """Ringing time, voicemail detection and the digit are asked for where the plan has them."""
    form = build(account(), call(CallPlan(timeout=30, detect_machine=True, confirm="#")), STATUS)
    assert form["Timeout"] == "30"
    assert (form["MachineDetection"], form["AsyncAmd"]) == ("Enable", "true")
    assert form["AsyncAmdStatusCallback"] == f"{SIBLINGS}amd?message_id={ID}#rc=5&rp=all"
    action = f"{SIBLINGS}gather?message_id={ID}&amp;confirm=%23#rc=5&amp;rp=all"
    assert f'action="{action}"' in form["Twiml"]
    spoken = CallPlan(confirm="1", voice="Polly.Vicki-Neural", language="de-DE")
    query = "confirm=1&amp;voice=Polly.Vicki-Neural&amp;language=de-DE"
    assert f"?message_id={ID}&amp;{query}#rc=5" in build(account(), call(spoken), STATUS)["Twiml"]


@pytest.mark.parametrize(
    ("url", "query", "expected"),
    [
        ("https://a/b/call-status", {}, "https://a/b/amd"),
        ("https://a/b/call-status?x=1", {}, "https://a/b/amd?x=1"),
        ("https://a/b/call-status?x=/&y=#rc=5&rp=/", {}, "https://a/b/amd?x=/&y=#rc=5&rp=/"),
        ("https://a/b/call-status#?/", {"c": "*"}, "https://a/b/amd?c=%2A#?/"),
        ("https://a/b/call-status?x=1#f", {"c": "1"}, "https://a/b/amd?x=1&c=1#f"),
    ],
)
def test_the_urls_of_other_events(url: str, query: dict[str, str], expected: str) -> None:
    """Only the last part of the path changes; query and fragment stay, and may get more."""
    assert sibling(url, "amd", **query) == expected


async def test_a_call_that_is_taken(twilio_api: FakeTwilio, session: aiohttp.ClientSession) -> None:
    """A call goes to the Calls resource, its events as repeated parameters."""
    twilio_api.says(201, json.dumps({"sid": CALL, "status": "queued", "price": None}))
    sent = await half.send(account(twilio_api.url), call(), session, STATUS)
    assert (sent.external_id, sent.detail) == (CALL, {"status": "queued"})
    [(request, form)] = twilio_api.asked
    assert (request.method, request.path) == ("POST", "/2010-04-01/Accounts/AC1/Calls.json")
    assert form["StatusCallbackEvent"] == ["initiated", "ringing", "answered", "completed"]
    assert form["StatusCallback"] == [STATUS]


@pytest.mark.parametrize("code", [21610, 63014, 63050])
async def test_a_recipient_who_wants_no_more(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession, code: int
) -> None:
    """A refusal because the recipient said no is told as one."""
    twilio_api.says(400, json.dumps({"code": code, "message": "No."}))
    with pytest.raises(OptedOut):
        await half.send(account(twilio_api.url), outbound(), session, CALLBACK)


SK = {"api_key_sid": "SK1", "api_key_secret": "secret"}
BASIC = aiohttp.encode_basic_auth("AC1", "12345")


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1", True),
        ("https://API.twilio.com:443/x", True),
        ("https://api.dublin.ie1.twilio.com/x", True),
        ("https://mcs.us1.twilio.com/v1/Services/IS1/Media/ME1", True),
        ("https://sim.example:9090/2010-04-01/x.mp3", True),
        ("http://api.twilio.com/x", False),
        ("https://api.twilio.com:8443/x", False),
        ("https://api.twilio.com:x/", False),
        ("https://api.twilio.com.evil.example/x", False),
        ("https://evil-api.twilio.com/x", False),
        ("https://demo.twilio.com/x", False),
        ("https://api.twilio.com@evil.example/x", False),
        ("https://x@api.twilio.com/x", False),
        ("https://evil.example\\@api.twilio.com/x", False),
        ("https://api.twilio.com /x", False),
        ("https://media.twiliocdn.com/x", False),
        ("https://sim.example/x", False),
        ("http://sim.example:9090/x", False),
        ("ftp://api.twilio.com/x", False),
        ("https:///x", False),
        ("", False),
    ],
)
def test_who_gets_the_credentials(url: str, is_ours: bool) -> None:  # noqa: FBT001
    """Files are fetched with the account's credentials from Twilio's own hosts alone."""
    held = account("https://sim.example:9090/base")
    assert authorize(held, url) == ({"Authorization": BASIC} if is_ours else {})


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        ({}, BASIC),
        (SK, aiohttp.encode_basic_auth("SK1", "secret")),
        ({"auth_token": ""}, None),
        ({"api_key_sid": "SK1"}, None),
    ],
)
def test_which_credentials(credentials: dict[str, str], expected: Any) -> None:
    """The API key's where there is one, none where one half of them is missing."""
    found = authorize(account(**credentials), "https://api.twilio.com/x")
    assert found == ({"Authorization": expected} if expected else {})
