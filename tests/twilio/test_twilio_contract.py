"""What we send, against Twilio's own description of its API (OpenAPI).

Read from ../shared/specs where it is; skipped elsewhere. The requests are those that a server got.
"""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from jsonschema import (  # type: ignore[import-untyped]
    Draft202012Validator,
    FormatChecker,
    ValidationError,
)

from channels.call import compose
from channels.model import CallPlan, Channel, Outbound, ProviderTemplate
from channels.providers.twilio import half
from tests.twilio.conftest import FakeTwilio
from tests.twilio.values import CALLBACK, SID, SINCE, account, outbound

SPEC = Path(__file__).parents[3] / "shared" / "specs" / "twilio_api_v2010.json"
ACCOUNT = "AC" + "0" * 32
SERVICE = {"messaging_service_sid": "MG" + "a" * 32}
PLAN = CallPlan(voice="alice", repeat=2, confirm="1", detect_machine=True, timeout=30)

pytestmark = pytest.mark.skipif(not SPEC.exists(), reason="Twilio's description is not here")


def is_uri(value: object) -> bool:
    """An absolute URL of characters that URLs have."""
    parts = urlsplit(str(value))
    is_plain = re.fullmatch(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", str(value)) is not None
    return is_plain and parts.scheme in ("http", "https") and bool(parts.hostname)


def is_address(value: object) -> bool:
    """A number, a short code or a name, with a channel before it."""
    return re.fullmatch(r"(whatsapp:)?(\+\d{7,15}|[A-Z]{2}\.\w+|\w{3,11})", str(value)) is not None


def is_twiml(value: object) -> bool:
    """An XML text, of the length that a call can have."""
    return ET.fromstring(str(value)).tag == "Response" and len(str(value)) <= 4000  # noqa: S314


FORMATS = FormatChecker(formats=())
for name, checks in (
    ("uri", is_uri), ("phone-number", is_address), ("endpoint", is_address), ("twiml", is_twiml)
):  # fmt: skip
    FORMATS.checks(name, raises=ET.ParseError)(checks)


def read(form: dict[str, list[str]], properties: dict[str, Any]) -> dict[str, Any]:
    """A form as the values that it stands for: a repeated field is an array."""
    read: dict[str, Any] = {}
    for name, values in form.items():
        kind = properties.get(name, {}).get("type")
        if kind == "array":
            read[name] = values
            continue
        [value] = values
        is_json = kind in ("integer", "number", "boolean")
        read[name] = json.loads(value) if is_json else value
    return read


def check(path: str, form: dict[str, list[str]]) -> dict[str, Any]:
    """A request's form, valid by the description of its path; raises `ValidationError`."""
    spec = json.loads(SPEC.read_text())
    name = path.replace(ACCOUNT, "{AccountSid}")
    assert name != path
    content = spec["paths"][name]["post"]["requestBody"]["content"]
    schema = content["application/x-www-form-urlencoded"]["schema"]
    # Twilio takes no parameter that it does not know; the description does not say so.
    whole = schema | {"additionalProperties": False, "components": spec["components"]}
    values = read(form, schema["properties"])
    Draft202012Validator(whole, format_checker=FORMATS).validate(values)
    return values


@pytest.mark.parametrize(
    ("message", "credentials", "names"),
    [
        (outbound("Hé 😀"), {}, {"To", "From", "Body", "StatusCallback"}),
        (
            outbound("Hi"), SERVICE,
            {"To", "From", "Body", "StatusCallback", "MessagingServiceSid"},
        ),
        (
            outbound("", media=["https://a.org/1.png?x=1&y=2", "https://a.org/2.png"]), {},
            {"To", "From", "Body", "StatusCallback", "MediaUrl"},
        ),
        (
            outbound("Hi", Channel.WHATSAPP, ["https://a.org/1.pdf"]), {},
            {"To", "From", "Body", "StatusCallback", "MediaUrl"},
        ),
        (
            outbound(
                channel=Channel.WHATSAPP,
                template=ProviderTemplate(content_sid="HX" + "b" * 32, variables={"1": "Ann"}),
            ), {},
            {"To", "From", "StatusCallback", "ContentSid", "ContentVariables"},
        ),
        (
            outbound("Hello & hi", Channel.CALL), {},
            {"To", "From", "Twiml", "StatusCallback", "StatusCallbackEvent"},
        ),
        (
            outbound("Press 1", Channel.CALL, call=compose("Press 1", PLAN).call), {},
            {
                "To", "From", "Twiml", "StatusCallback", "StatusCallbackEvent", "Timeout",
                "MachineDetection", "AsyncAmd", "AsyncAmdStatusCallback",
            },
        ),
    ],
    ids=["sms", "service", "mms", "whatsapp", "template", "call", "call-with-all"],
)  # fmt: skip
async def test_requests_are_as_described(
    twilio_api: FakeTwilio,
    session: aiohttp.ClientSession,
    message: Outbound,
    credentials: dict[str, str],
    names: set[str],
) -> None:
    """Every kind of message is sent as Twilio's description of its API has it."""
    twilio_api.says(201, json.dumps({"sid": SID}))
    held = account(twilio_api.url, account_sid=ACCOUNT, **credentials)
    await half.send(held, message, session, CALLBACK)
    [(request, form)] = twilio_api.asked
    values = check(request.path, form)
    assert values.keys() == names


@pytest.mark.parametrize("channel", [Channel.SMS, Channel.CALL])
async def test_questions_are_as_described(
    twilio_api: FakeTwilio, session: aiohttp.ClientSession, channel: Channel
) -> None:
    """What was taken is asked for with parameters that Twilio describes."""
    twilio_api.says(200, json.dumps({"messages": [], "calls": []}))
    held = account(twilio_api.url, account_sid=ACCOUNT)
    assert await half.find(held, outbound(channel=channel), session, SINCE) == []
    spec = json.loads(SPEC.read_text())
    for request, _ in twilio_api.asked:
        path = request.path.replace(ACCOUNT, "{AccountSid}")
        described = spec["paths"][path]["get"]["parameters"]
        assert request.query.keys() <= {each["name"] for each in described}


@pytest.mark.parametrize(
    "wrong",
    [{"Nonsense": ["1"]}, {"To": []}, {"ContentSid": ["HX1"]}, {"StatusCallback": ["no url"]}],
)
def test_the_check_can_fail(wrong: dict[str, list[str]]) -> None:
    """What Twilio's description does not allow is noticed."""
    form = {"To": ["+15550002222"], "From": ["+15550001111"], "Body": ["Hi"]}
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    check(path, form)
    with pytest.raises((ValidationError, ValueError)):
        check(path, form | wrong)
