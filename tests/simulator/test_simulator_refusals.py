"""What Twilio refuses: wrong messages, wrong credentials; and every address that it takes."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.simulator.conftest import Sim

SID = "AC" + "0" * 31 + "1"
TOKEN = "0123456789abcdef0123456789abcdef"
MESSAGES = f"/2010-04-01/Accounts/{SID}/Messages.json"
SERVICE = "MG" + "a" * 32
TO, FROM = "+15551230001", "+15551230002"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"To": None}, 21604),
        ({"To": "abc"}, 21211),
        ({"To": "+15005550001"}, 21211),
        ({"To": "messenger:123"}, 21211),
        ({"To": "+15005550002"}, 21612),
        ({"To": "+15005550003"}, 21408),
        ({"To": "+15005550004"}, 21610),
        ({"To": "+15005550009"}, 21614),
        ({"From": None}, 21603),
        ({"From": "+15005550001"}, 21212),
        ({"From": "!"}, 21212),
        ({"From": "+15005550007"}, 21606),
        ({"From": "+15005550008"}, 21611),
        ({"From": "whatsapp:+15551230002"}, 21910),
        ({"Body": None}, 21602),
        ({"Body": ""}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"Body": "x", "ValidityPeriod": "36001"}, 21624),
        ({"Body": "x", "ValidityPeriod": "0"}, 21624),
        ({"MediaUrl": ["https://a.test/1"] * 11}, 21623),
        ({"MediaUrl": "ftp://a.test/1"}, 21620),
        ({"StatusCallback": "nowhere"}, 21609),
        ({"StatusCallback": "https://under_score.test/"}, 21609),
        ({"StatusCallback": "http://[::1/"}, 21609),
        ({"Body": None, "ContentSid": "HX1"}, 21655),
        ({"ContentVariables": "[1"}, 21656),
        ({"MessagingServiceSid": "MG1"}, 21701),
        ({"ScheduleType": "fixed", "SendAt": "2030-01-01T00:00:00Z"}, 35118),
        ({"ScheduleType": "fixed", "MessagingServiceSid": SERVICE}, 35111),
        ({"ScheduleType": "fixed", "MessagingServiceSid": SERVICE, "SendAt": "soon"}, 35115),
    ],
)
async def test_a_wrong_message_is_refused_with_twilios_code(
    sim: Sim, params: dict[str, Any], code: int
) -> None:
    """What is missing or wrong, and every magic number, has its code; nothing is accepted."""
    status, answer = await sim.send(**params)

    assert (status, answer) == (
        400,
        {
            "code": code,
            "message": answer["message"],
            "more_info": f"https://www.twilio.com/docs/errors/{code}",
            "status": 400,
        },
    )
    assert answer["message"]
    assert "{" not in answer["message"]
    assert await sim.data("messages") == []
    assert [asked["error_code"] for asked in await sim.data("requests")] == [code]


@pytest.mark.parametrize(
    ("params", "to", "from_"),
    [
        ({"From": "+15005550006"}, TO, "+15005550006"),
        ({"From": "Clinic"}, TO, "Clinic"),
        ({"From": "2020"}, TO, "2020"),
        ({"To": "(555) 123-0001"}, TO, FROM),
        ({"Body": "x" * 1600}, TO, FROM),
        ({"Body": None, "MediaUrl": "https://a.test/1"}, TO, FROM),
        ({"Body": None, "ContentSid": "HX" + "a" * 32}, TO, FROM),
        (
            {"To": "whatsapp:+15551230001", "From": "whatsapp:+15551230002"},
            "whatsapp:+15551230001",
            "whatsapp:+15551230002",
        ),
        ({"From": None, "MessagingServiceSid": SERVICE}, TO, None),
        ({"From": SERVICE}, TO, None),
    ],
)
async def test_every_kind_of_address_is_accepted(
    sim: Sim, params: dict[str, Any], to: str, from_: str | None
) -> None:
    """Numbers, short codes, names, WhatsApp addresses and services are answered as given."""
    status, answer = await sim.send(**params)

    assert (status, answer["to"], answer["from"]) == (201, to, from_)
    assert answer["status"] == ("accepted" if from_ is None else "queued")


async def test_only_own_numbers_send_where_they_are_given(bare_sim: Sim) -> None:
    """An account with `numbers` refuses every other From, but for the magic one."""
    await bare_sim.ask(
        "POST",
        "/_sim/accounts",
        json={
            "provider": "twilio",
            "credentials": {"account_sid": SID, "auth_token": TOKEN},
            "numbers": ["+1 555 123 0002"],
        },
    )

    codes = [
        (await bare_sim.send(From=sender))[1].get("code")
        for sender in (FROM, "+15005550006", "+15551230003")
    ]
    whatsapp = await bare_sim.send(From="whatsapp:+15551230003", To=f"whatsapp:{TO}")

    assert codes == [None, None, 21606]
    assert whatsapp[1]["code"] == 63007


@pytest.mark.parametrize(
    ("login", "path", "status", "code"),
    [
        (None, MESSAGES, 401, 20003),
        ((SID, "wrong"), MESSAGES, 401, 20003),
        (("AC9", TOKEN), MESSAGES, 401, 20003),
        (("SK1", "wrong"), MESSAGES, 401, 20003),
        (("SK1", "secret"), MESSAGES, 200, None),
        ((SID, "second"), MESSAGES, 200, None),
        ((SID, TOKEN), MESSAGES.replace(SID, "AC9"), 404, 20404),
        ((SID, TOKEN), MESSAGES.replace(".json", "/SM1.json"), 404, 20404),
        ((SID, TOKEN), "/2010-04-01/Nothing.json", 404, 20404),
    ],
)
async def test_credentials_are_checked(
    bare_sim: Sim, login: tuple[str, str] | None, path: str, status: int, code: int | None
) -> None:
    """The token, the secondary token or an API key opens its own account and no other."""
    await bare_sim.ask(
        "POST",
        "/_sim/accounts",
        json={
            "provider": "twilio",
            "account_sid": SID,
            "auth_token": TOKEN,
            "auth_token_secondary": "second",
            "api_key_sid": "SK1",
            "api_key_secret": "secret",
        },
    )

    answered, answer = await bare_sim.ask("GET", path, login)

    assert (answered, answer.get("code")) == (status, code)


@pytest.mark.parametrize(
    "header",
    [
        "Bearer x",
        "Basic",
        "Basic !",
        "Basic " + base64.b64encode(b"nocolon").decode(),
        "Basic /w==",
    ],
)
async def test_an_unreadable_authorization_is_401(sim: Sim, header: str) -> None:
    """A header that is not HTTP Basic is refused like a wrong password."""
    status, answer = await sim.ask("GET", MESSAGES, headers={"Authorization": header})

    assert (status, answer["code"]) == (401, 20003)


async def test_a_body_that_is_no_form_has_no_parameters(sim: Sim) -> None:
    """JSON is not read: Twilio's API takes forms only."""
    status, answer = await sim.ask("POST", MESSAGES, (SID, TOKEN), json={"To": TO})

    assert (status, answer["code"]) == (400, 21604)
