"""What SES is asked, and how its answers are read."""

import base64
import json
from datetime import UTC, datetime
from email import message_from_bytes, policy

import aiohttp
import pytest

from channels.aws import Signer
from channels.errors import (
    AnswerLost,
    CannotAsk,
    InvalidCredentials,
    Refused,
    RefusedForNow,
    SendError,
)
from channels.http import Answer
from channels.model import Attachment, Channel, Sent
from channels.providers import ses
from tests.mails import ID, MAIL, answer, outbound
from tests.servers import FakeApi
from tests.ses.values import EXTERNAL_ID, SINCE, account


def test_a_mail() -> None:
    """The mail goes as MIME with all its headers, our id as a tag."""
    file = Attachment(filename="a.bin", content_type="application/pdf", content=b"\x00\xff")
    body = json.loads(ses.build(account(configuration_set="main"), outbound([file])))
    raw = base64.b64decode(body.pop("Content")["Raw"]["Data"])
    expected = {
        "FromEmailAddress": "us@example.com",
        "Destination": {"ToAddresses": ["them@example.net"]},
        "EmailTags": [{"Name": "message_id", "Value": str(ID)}],
        "ConfigurationSetName": "main",
    }
    assert expected == body
    message = message_from_bytes(raw, policy=policy.default)
    assert "Grüße 😀" == message["Subject"]
    assert f"<{ID}@example.com>" == message["Message-ID"]
    assert "<a@example.net> <b@example.net>" == message["References"]
    assert f"<{MAIL.unsubscribe_url}>" == message["List-Unsubscribe"]
    assert [b"\x00\xff"] == [part.get_content() for part in message.iter_attachments()]


def test_no_configuration_set() -> None:
    """Without a configuration set none is named: that of the identity counts."""
    assert "ConfigurationSetName" not in json.loads(ses.build(account(), outbound()))


def test_another_channel() -> None:
    """SES carries nothing but e-mail."""
    with pytest.raises(Refused) as raised:
        ses.build(account(), outbound(channel=Channel.SMS))
    assert "channel" == raised.value.code


@pytest.mark.parametrize(("region", "domain"), [("eu-west-1", "eu-west-1"), ("us-east-1", "email")])
def test_a_mail_that_was_taken(region: str, domain: str) -> None:
    """An id is a mail that SES has; it tells the Message-ID that the recipient sees."""
    expected = Sent(
        external_id=EXTERNAL_ID, detail={"message_id": f"{EXTERNAL_ID}@{domain}.amazonses.com"}
    )
    assert expected == ses.read(answer(200, {"MessageId": EXTERNAL_ID}), region)


def error(status: int, name: str, message: str | None = None) -> Answer:
    """An error as SES answers it."""
    payload = {"message": message} if message else {}
    return answer(status, payload, x_amzn_errortype=f"{name}:http://internal.amazon.com/x/")


@pytest.mark.parametrize(
    ("given", "kind", "code", "message"),
    [
        (error(400, "MessageRejected", "Email address is not  verified."), Refused,
         "MessageRejected", "Email address is not verified."),
        (error(400, "MailFromDomainNotVerifiedException"), Refused, "MailFromDomainNotVerified",
         ses.REASONS["MailFromDomainNotVerified"]),
        (error(400, "AccountSuspendedException"), Refused, "AccountSuspended",
         ses.REASONS["AccountSuspended"]),
        (error(400, "SendingPausedException"), Refused, "SendingPaused",
         ses.REASONS["SendingPaused"]),
        (answer(403, {"__type": "com.amazonaws.ses#AccessDeniedException", "Message": "No."}),
         Refused, "AccessDenied", "No."),
        (answer(403, {"__type": "InvalidSignatureException"}), Refused, "InvalidSignature",
         ses.REASONS["InvalidSignature"]),
        (answer(400, {"__type": 5, "message": 5}), Refused, "http-400",
         "SES answered with HTTP status 400."),
        (answer(302, "[]"), Refused, "http-302", "SES answered with HTTP status 302."),
        (error(429, "TooManyRequestsException"), RefusedForNow, "TooManyRequests",
         ses.REASONS["TooManyRequests"]),
        (error(400, "ThrottlingException"), RefusedForNow, "Throttling",
         ses.REASONS["Throttling"]),
        (error(400, "LimitExceededException"), RefusedForNow, "LimitExceeded",
         ses.REASONS["LimitExceeded"]),
        (answer(429, "<html>"), RefusedForNow, None, "SES answered with HTTP status 429."),
        (error(503, "ThrottlingException"), RefusedForNow, "Throttling",
         ses.REASONS["Throttling"]),
        (error(503, "ServiceUnavailableException", "Away."), RefusedForNow, "ServiceUnavailable",
         "Away."),
        (error(503, "InternalFailure", "Oh."), AnswerLost, "InternalFailure", "Oh."),
        (error(500, "InternalFailure", "Oh."), AnswerLost, "InternalFailure", "Oh."),
        (answer(408, ""), AnswerLost, "http-408", "SES answered with HTTP status 408."),
        (answer(502, "<html>"), AnswerLost, "http-502", "SES answered with HTTP status 502."),
        (answer(200, "<html>"), AnswerLost, "unreadable", "The answer of SES names no message."),
        (answer(200, {}), AnswerLost, "unreadable", "The answer of SES names no message."),
        (answer(200, {"MessageId": "a@b"}), AnswerLost, "unreadable",
         "The answer of SES names no message."),
    ],
)  # fmt: skip
def test_every_other_answer(
    given: Answer, kind: type[SendError], code: str | None, message: str
) -> None:
    """What is final, what is for now, and what nobody knows."""
    with pytest.raises(SendError) as raised:
        ses.read(given, "eu-west-1")
    assert (kind, code, message) == (type(raised.value), raised.value.code, raised.value.message)


def test_a_wish_to_wait() -> None:
    """Retry-After is handed on."""
    with pytest.raises(RefusedForNow) as raised:
        ses.read(answer(429, "", retry_after="7"), "eu-west-1")
    assert 7 == raised.value.retry_after


@pytest.mark.parametrize("token", ["", "session"])
async def test_the_whole_way(ses_api: FakeApi, session: aiohttp.ClientSession, token: str) -> None:
    """A mail goes out as one POST, signed for SES in the account's region."""
    ses_api.text = json.dumps({"MessageId": EXTERNAL_ID})
    held = account(ses_api.url + "/", session_token=token)
    sent = await ses.half.send(held, outbound(), session, "")
    assert EXTERNAL_ID == sent.external_id
    [(asked, body)] = ses_api.asked
    assert ("POST", "/v2/email/outbound-emails") == (asked.method, asked.path_qs)
    signer = Signer(
        access_key_id="AKIDEXAMPLE",
        secret_access_key="secret",
        region="eu-west-1",
        service="ses",
        session_token=token or None,
    )
    moment = datetime.strptime(asked.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    signed = signer.sign(
        "POST",
        f"http://{asked.headers['Host']}{asked.path}",
        {"Content-Type": asked.headers["Content-Type"]},
        body,
        moment,
    )
    assert signed == {name: asked.headers[name] for name in signed}


@pytest.mark.parametrize("name", ["access_key_id", "secret_access_key", "region"])
async def test_no_credentials(session: aiohttp.ClientSession, name: str) -> None:
    """Without credentials nobody is asked."""
    with pytest.raises(Refused) as raised:
        await ses.half.send(account(**{name: ""}), outbound(), session, "")
    assert "credentials" == raised.value.code


async def test_nobody_can_be_asked(session: aiohttp.ClientSession) -> None:
    """SES has no list of what it took."""
    with pytest.raises(CannotAsk):
        await ses.half.find(account(), outbound(), session, SINCE)


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-central-1", "https://email.eu-central-1.amazonaws.com"),
        ("cn-north-1", "https://email.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_endpoints(region: str, url: str) -> None:
    """Each region has its own address."""
    assert url == ses.endpoint(region)


GOOD = {"access_key_id": "AKID", "secret_access_key": "a/b+c=", "region": "us-gov-west-1"}


def test_credentials() -> None:
    """Keys and region are needed, the rest is not; spaces around are cut off."""
    more = {
        "topic_arn": "arn:aws-us-gov:sns:us-gov-west-1:123456789012:mails",
        "inbound_topic_arn": "arn:aws:sns:eu-west-1:123456789012:mails-in",
        "session_token": "x==",
        "configuration_set": "main_1",
    }
    given = {name: f" {value} " for name, value in (GOOD | more).items()}
    assert GOOD | more == ses.validate_credentials(given)
    assert GOOD == ses.validate_credentials(GOOD | {"topic_arn": ""})


def test_wrong_credentials() -> None:
    """Every problem is named at once; a region cannot name another host."""
    form = "has characters, or a length, that it cannot have"
    given = {"region": "evil.example/", "access_key_id": "a b", "topic_arn": "mails", "x": "1"}
    with pytest.raises(InvalidCredentials) as raised:
        ses.validate_credentials(given)
    assert (
        ("access_key_id", form),
        ("region", form),
        ("secret_access_key", "is missing"),
        ("topic_arn", form),
        ("x", "is not a name that SES accounts have"),
    ) == raised.value.problems
