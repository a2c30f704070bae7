"""Who may speak as Meta: signed requests, and the handshake of a new URL."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.meta.values import SECRET, account, request
from webhooks import meta
from webhooks.model import InvalidSignature, Reply, WebhookRequest

BODY = b'{"text": "J\\u00e4ger \\ud83d\\ude00 @"}'


def is_refused(given_request: WebhookRequest, **credentials: str) -> str:
    """The reason for which a request is refused; it never holds a right signature."""
    with pytest.raises(InvalidSignature) as raised:
        meta.verify(given_request, account(**credentials))
    return str(raised.value)


def handshake(**parameters: str) -> WebhookRequest:
    """The GET with which Meta proves a URL."""
    usual = {"mode": "subscribe", "verify_token": "verify-me", "challenge": "1158201444"}
    given_parameters = {f"hub.{name}": value for name, value in (usual | parameters).items()}
    return request(method="GET", query=urlencode(given_parameters), signed="")


def test_the_secret_signs_the_raw_body() -> None:
    """The body is signed as it came, and either of two secrets may sign while they change."""
    meta.verify(request(BODY), account())
    meta.verify(request(b""), account())
    meta.verify(request(BODY), account(app_secret="new", app_secret_secondary=SECRET))


def test_anything_else_is_refused() -> None:
    """Another body, secret or form of the header, and an account without a secret."""
    right = request(BODY).headers["x-hub-signature-256"]
    assert "not that of" in is_refused(request(BODY + b"\n", signed=right))
    assert "not that of" in is_refused(request(BODY), app_secret="another")
    assert "not that of" in is_refused(request(BODY, signed="sha256="))
    assert "not that of" in is_refused(request(BODY, signed="sha256=é"))
    assert "no X-Hub" in is_refused(request(BODY, signed=""))
    assert "no X-Hub" in is_refused(request(BODY, signed=right.removeprefix("sha256=")))
    assert "no app secret" in is_refused(request(BODY), app_secret="")


@given(st.binary(max_size=200), st.text(max_size=80))
def test_no_header_opens_the_door(body: bytes, header: str) -> None:
    """Whatever stands in the header, a request that the secret did not sign is refused."""
    is_refused(request(body, signed=header))


def test_a_handshake() -> None:
    """The right token is answered with the challenge as it came, as text, and stores nothing."""
    asked = handshake(challenge="<a> ü+1")
    meta.verify(asked, account())
    assert list(meta.parse(asked)) == []
    expected = Reply(status=200, content_type="text/plain", body="<a> ü+1")
    assert meta.reply(asked, [], account()) == expected
    # Bytes in the line of the request that are no UTF-8: the server keeps them as surrogates.
    odd = request(method="GET", query="hub.challenge=1\udcff", signed="")
    assert meta.reply(odd, [], account()).body == "1?"


@pytest.mark.parametrize(
    "asked",
    [
        handshake(verify_token="another"),
        handshake(verify_token=""),
        handshake(verify_token="é"),
        handshake(mode="unsubscribe"),
        handshake(mode=""),
        request(method="GET", query="", signed=""),
        request(method="GET", query="hub.verify_token=verify-me"),
        request(
            method="GET",
            query="hub.mode=subscribe&hub.verify_token=verify-me&hub.verify_token=verify-me",
        ),
        request(method="GET", query="&".join(["hub.mode=subscribe"] * 200)),
    ],
)
def test_a_handshake_that_is_refused(asked: WebhookRequest) -> None:
    """Another token, none, two of them, another mode: refused, also with a right signature."""
    assert "not that of" in is_refused(asked)


def test_an_account_without_a_verify_token() -> None:
    """No handshake succeeds where there is nothing to compare with."""
    assert "no verify token" in is_refused(handshake(verify_token=""), verify_token="")


def test_the_answer_to_a_report() -> None:
    """A POST is answered 200 and nothing else."""
    assert meta.reply(request(BODY), [], account()) == Reply(status=200)
