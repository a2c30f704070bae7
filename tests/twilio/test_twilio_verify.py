"""Which requests are Twilio's: the signature in all its forms, and what is refused."""

import hashlib
import hmac
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from tests.twilio.values import FORM, TOKEN, URL, account, request, signature
from webhooks import twilio
from webhooks.model import InvalidSignature

STATUS = [("MessageSid", "SM1"), ("MessageStatus", "sent"), ("To", "+1 é '"), ("Empty", "")]
JSON = b'{"property": "value", "boolean": true}'
HASH = hashlib.sha256(JSON).hexdigest()
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def is_valid(**parts: object) -> bool:
    """Whether the request that `request` makes of these parts is verified."""
    credentials = parts.pop("credentials", {})
    assert isinstance(credentials, dict)
    try:
        twilio.verify(request(**parts), account(**credentials))  # type: ignore[arg-type]
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize(
    ("url", "signed_url"),
    [
        (URL, URL),
        (URL + "?a=1&b=%7E%3A%2F", URL + "?a=1&b=%7E%3A%2F"),
        (URL + "#rc=5", URL),
        ("https://a.org:1234/x?y=1", "https://a.org:1234/x?y=1"),
        ("https://a.org:1234/x?y=1", "https://a.org/x?y=1"),
        ("https://a.org/x?y=1", "https://a.org:443/x?y=1"),
        ("http://a.org/x", "http://a.org:80/x"),
        ("https://a.org?y=1", "https://a.org:443?y=1"),
        ("https://a.org", "https://a.org:443"),
        ("HTTPS://A.org/x", "HTTPS://A.org:443/x"),
        ("https://user:pass@a.org:8443/x", "https://user:pass@a.org/x"),
        ("https://user:pass@a.org/x", "https://user:pass@a.org:443/x"),
        ("https://[::1]:8443/x", "https://[::1]/x"),
        ("https://[::1]/x", "https://[::1]:443/x"),
        ("https://a.org/it's?y=it's", "https://a.org/it's?y=it%27s"),
        ("https://a.org:1/?y='", "https://a.org/?y=%27"),
        ("https://a.org/España?año=1", "https://a.org/España?año=1"),
    ],
)
def test_urls_in_their_forms(url: str, signed_url: str) -> None:
    """The URL counts as it is, without its port, with the default one, and with ' as %27."""
    assert is_valid(form=STATUS, url=url, signed=signature(signed_url, STATUS))


@pytest.mark.parametrize(
    ("url", "signed_url"),
    [
        (URL, URL + "/"),
        (URL, URL.replace("https", "http")),
        (URL, URL.upper()),
        ("https://a.org/x", "https://a.org:8443/x"),
        ("https://a.org:8443/x", "https://a.org:443/x"),
        ("https://user:pass@a.org/x", "https://a.org/x"),
        ("https://a.org/x?y=%7E", "https://a.org/x?y=~"),
        ("https://a.org/it's", "https://a.org/it%27s"),
    ],
)
def test_other_urls_are_refused(url: str, signed_url: str) -> None:
    """A signature of another URL is not one of ours."""
    assert not is_valid(form=STATUS, url=url, signed=signature(signed_url, STATUS))


def test_repeated_parameters() -> None:
    """Of a parameter that comes more than once, each distinct value counts, in order."""
    form = [("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234"), ("DigitsMore", "0")]
    text = "Digits1234Digits5678DigitsMore0"
    assert is_valid(form=form, signed=signature(URL, [(text, "")]))
    assert not is_valid(form=form, signed=signature(URL, [("Digits1234Digits1234" + text, "")]))


def test_parameters_are_sorted_by_name() -> None:
    """A name that begins another goes before it, whatever its value."""
    form = [("ReasonConferenceEnded", "test"), ("Reason", "Participant")]
    right = "ReasonParticipantReasonConferenceEndedtest"
    assert is_valid(form=form, signed=signature(URL, [(right, "")]))
    wrong = "ReasonConferenceEndedtestReasonParticipant"
    assert not is_valid(form=form, signed=signature(URL, [(wrong, "")]))


@pytest.mark.parametrize("part", ["form", "token", "url", "value"])
def test_whatever_is_changed_is_noticed(part: str) -> None:
    """A parameter more, another token, another query, another value: refused."""
    changed: dict[str, dict[str, object]] = {
        "form": {"form": [*STATUS, ("More", "1")]},
        "token": {"credentials": {"auth_token": "other"}},
        "url": {"url": URL + "?more=1"},
        "value": {"form": [("MessageSid", "SM2"), *STATUS[1:]]},
    }
    parts: dict[str, object] = {"form": STATUS, "signed": signature(URL, STATUS)}
    assert is_valid(**parts)
    assert not is_valid(**(parts | changed[part]))


def test_a_refusal_is_no_oracle() -> None:
    """What is said of a wrong signature holds neither the right one nor the token."""
    with pytest.raises(InvalidSignature) as raised:
        twilio.verify(request(STATUS, signed="wrong"), account())
    assert signature(URL, STATUS) not in str(raised.value)
    assert TOKEN not in str(raised.value)


def test_two_tokens_during_rotation() -> None:
    """While tokens are changed, the primary and the secondary one both count."""
    both = {"auth_token": "old", "auth_token_secondary": "new"}
    for token in ("old", "new"):
        assert is_valid(form=STATUS, signed=signature(URL, STATUS, token), credentials=both)
    assert not is_valid(form=STATUS, signed=signature(URL, STATUS, "none"), credentials=both)


def test_no_token_is_a_refusal() -> None:
    """An account without an auth token verifies nothing, not even an empty key's signature."""
    none = {"auth_token": "", "auth_token_secondary": ""}
    assert not is_valid(form=STATUS, signed=signature(URL, STATUS, ""), credentials=none)


@pytest.mark.parametrize("signed", ["", "WRONG", "é", "\udcff\ud800", "=" * 28])
def test_a_bad_header_is_a_refusal(signed: str) -> None:
    """A signature that is missing, short, or not even ASCII is refused like any wrong one."""
    assert not is_valid(form=STATUS, signed=signed)


def test_a_missing_header_is_a_refusal() -> None:
    """Without the header there is nothing to verify."""
    bare = request(STATUS)
    stripped = {name: value for name, value in bare.headers.items() if "signature" not in name}
    with pytest.raises(InvalidSignature):
        twilio.verify(
            type(bare)(
                method=bare.method, url=bare.url, event="status", headers=stripped, body=bare.body
            ),
            account(),
        )


def test_get_signs_only_the_url() -> None:
    """A GET's parameters are in its URL, and that is all that is signed."""
    url = URL + "?MessageSid=SM1&Body=a+b"
    assert is_valid(url=url, method="GET", signed=signature(url), content_type=None)
    assert is_valid(url=url, method="GET", signed=signature(url), content_type=FORM)
    assert not is_valid(url=url, method="GET", signed=signature(URL), content_type=None)


@pytest.mark.parametrize(
    ("query", "body", "content_type", "valid"),
    [
        (f"?bodySHA256={HASH}", JSON, "application/json", True),
        (f"?a=1&bodySHA256={HASH}&b=2", JSON, "application/json", True),
        (f"?bodySHA256={HASH}", JSON + b" ", "application/json", False),
        (f"?bodySHA256={HASH[:-1]}", JSON, "application/json", False),
        (f"?bodySHA256={HASH.upper()}", JSON, "application/json", False),
        ("?bodySHA256=", JSON, "application/json", False),
        ("?bodySHA256=é", JSON, "application/json", False),
        (f"?bodySHA256={HASH}", b"MessageSid=SM1", FORM, False),
        (f"?bodySHA256={HASH}", b"", FORM, False),
        ("?a=1", JSON, "application/json", False),
        ("?a=1", JSON, None, False),
        ("?a=1", b"--x\r\n", "multipart/form-data; boundary=x", False),
        ("?a=1", b"", None, True),
    ],
)
def test_what_is_no_form_is_signed_by_its_hash(
    query: str,
    body: bytes,
    content_type: str | None,
    valid: bool,  # noqa: FBT001
) -> None:
    """A body that is no form counts only with its right hash in the signed URL."""
    url = URL + query
    assert is_valid(url=url, body=body, content_type=content_type, signed=signature(url)) is valid


def test_content_types_of_forms() -> None:
    """A form is known by its type, in any case and with a charset."""
    for content_type in (FORM.upper(), FORM + "; charset=UTF-8", f" {FORM} ;x"):
        assert is_valid(form=STATUS, content_type=content_type)


@pytest.mark.parametrize(
    ("url", "body", "signed"),
    [
        (URL, b"a=%FF&b=%C3%A9", URL.encode() + b"a\xffb\xc3\xa9"),
        (URL, b"a=\xff", URL.encode() + b"a\xff"),
        (URL + "?y=\udcff", b"", URL.encode() + b"?y=\xff"),
    ],
)
def test_bytes_that_are_no_utf8_are_signed_as_they_are(
    url: str, body: bytes, signed: bytes
) -> None:
    """Other bytes are verified as bytes; what they mean is the parser's question."""
    digest = b64encode(hmac.digest(TOKEN.encode(), signed, "sha1")).decode()
    assert is_valid(url=url, body=body, signed=digest)
    assert not is_valid(url=url + "\ud800", body=body, signed=digest)


@pytest.mark.parametrize("body", [b"a=1&" * 1000, b"a=" + b"x" * 2**20])
def test_huge_forms_of_strangers_cost_nothing(body: bytes) -> None:
    """A form far larger than Twilio's is refused before it is taken apart."""
    assert not is_valid(body=body)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=8), st.text("abc%7E=&'+é", max_size=20))
def test_agrees_with_the_library(form: list[tuple[str, str]], query: str) -> None:
    """What Twilio's own library signs is valid, for any form and query."""
    form = [(name, value) for name, value in form if name or value]
    values: dict[str, list[str]] = {}
    for name, value in form:
        values.setdefault(name, []).append(value)

    class Repeated(dict[str, list[str]]):
        """The library asks a form for all values of a name by this method."""

        def getall(self, name: str) -> list[str]:
            return self[name]

    url = f"{URL}?{query}"
    signed = RequestValidator(TOKEN).compute_signature(url, Repeated(values))
    assert is_valid(form=form, url=url, signed=signed)
