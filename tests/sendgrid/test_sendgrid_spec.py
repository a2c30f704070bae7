"""What we send is valid by SendGrid's own OpenAPI description, where that is at hand."""

import json
from pathlib import Path

import aiohttp
import jsonschema  # type: ignore[import-untyped]
import pytest

from channels.model import Attachment, Mail, Outbound
from channels.providers.sendgrid import half
from tests.mails import MAIL
from tests.sendgrid.values import account, outbound
from tests.servers import FakeApi

SPEC = Path(__file__).parents[3] / "shared" / "specs" / "tsg_mail_v3.json"
BODY = "#/components/requestBodies/PostMailSend/content/application~1json/schema"
FILES = [
    Attachment(content=b"\x00", filename="a.png", content_type="image/png", content_id="logo"),
    Attachment(content=b"text", filename="über.txt"),
]

pytestmark = pytest.mark.skipif(not SPEC.exists(), reason="the description is not here")


def validator() -> jsonschema.Draft202012Validator:
    """Checks a body of POST /v3/mail/send."""
    components = json.loads(SPEC.read_text())["components"]
    return jsonschema.Draft202012Validator({"$ref": BODY, "components": components})


@pytest.mark.parametrize(
    "given",
    [
        outbound(),
        outbound(html=None, mail=Mail(message_id="a@example.com")),
        outbound(body="", mail=MAIL, attachments=FILES),
    ],
)
async def test_requests_are_valid(
    api: FakeApi, session: aiohttp.ClientSession, given: Outbound
) -> None:
    """Every kind of mail, as it reaches the server."""
    api.says(202, X_Message_Id="id")
    await half.send(account(api.url), given, session, "")
    [(request, body)] = api.asked
    described = json.loads(SPEC.read_text())["paths"]
    assert request.method.lower() in described[request.path]
    assert [error.message for error in validator().iter_errors(json.loads(body))] == []


def test_the_check_itself() -> None:
    """A body that the description forbids is found out."""
    wrong = {"personalizations": [{"to": "them@example.net"}], "from": {"email": "us@example.com"}}
    assert [error.json_path for error in validator().iter_errors(wrong)] == [
        "$.personalizations[0].to"
    ]
