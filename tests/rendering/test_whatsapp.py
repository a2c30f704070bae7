"""What a WhatsApp message can hold, and to whom it can go."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.errors import ContentError
from channels.model import Attachment, Content, ProviderTemplate
from channels.whatsapp import Kind, compose, is_user_id, kind, to_address

SID = "HX" + "0123456789abcdef" * 2
IMAGE = Attachment(url="https://files.example.org/a.jpg", content_type="image/jpeg")
AUDIO = Attachment(url="https://files.example.org/a.ogg")


def template(**given: Any) -> ProviderTemplate:
    """A template by its name at Meta, with these differences."""
    return ProviderTemplate(**{"name": "order_ready", "language": "en_US", **given})


def refused(*args: Any, **options: Any) -> tuple[str, str]:
    """The field and the reason for which a content is refused."""
    with pytest.raises(ContentError) as raised:
        compose(*args, **options)
    return raised.value.field, raised.value.message


@pytest.mark.parametrize(
    ("text", "country", "address"),
    [
        ("+1 415 555 2671", None, "+14155552671"),
        ("whatsapp:+14155552671", None, "+14155552671"),
        (" WhatsApp: +14155552671", None, "+14155552671"),
        ("0171 1234567", "DE", "+491711234567"),
        ("US.13491208655302741918", None, "US.13491208655302741918"),
        ("whatsapp:US.1234", "US", "US.1234"),
        ("US.ENT.1234aB", None, "US.ENT.1234aB"),
        ("us.1234", "US", None),
        ("US.", None, None),
        ("US.12 34", None, None),
        ("USA.1234", None, None),
        ("US." + "1" * 129, None, None),
        ("whatsapp:", "US", None),
        ("ACME", "US", None),
        ("a@example.org", "US", None),
    ],
)
def test_addresses(text: str, country: str | None, address: str | None) -> None:
    """A person is a number, stored in E.164, or a user id, kept as it is."""
    assert to_address(text, country) == address
    assert is_user_id(address or "") == (address is not None and "." in address)


@given(st.text(max_size=50))
def test_any_address_is_read(text: str) -> None:
    """No text makes the reading fail, and an address read once reads as itself again."""
    address = to_address(text, None)
    assert address is None or to_address(address, None) == address


@pytest.mark.parametrize(
    ("attachment", "expected"),
    [
        (Attachment(content_type="image/png"), Kind.IMAGE),
        (Attachment(content_type="Image/JPEG; x=y"), Kind.IMAGE),
        (Attachment(content_type="image/jpg"), Kind.IMAGE),
        (Attachment(content_type="Audio/MP3"), Kind.AUDIO),
        (Attachment(content_type="audio/x-m4a"), Kind.AUDIO),
        (Attachment(content_type="audio/opus"), Kind.AUDIO),
        (Attachment(content_type="image/gif"), Kind.DOCUMENT),
        (Attachment(content_type="image/webp"), Kind.STICKER),
        (Attachment(content_type="audio/ogg; codecs=opus"), Kind.AUDIO),
        (Attachment(content_type="video/mp4", filename="a.pdf"), Kind.VIDEO),
        (Attachment(content_type="application/pdf"), Kind.DOCUMENT),
        (Attachment(url="https://x/a.JPG?size=1#top"), Kind.IMAGE),
        (Attachment(url="https://x/a", filename="b.mp3"), Kind.AUDIO),
        (Attachment(url="https://x/"), Kind.DOCUMENT),
    ],
)
def test_kinds(attachment: Attachment, expected: Kind) -> None:
    """A file is shown by its type, or by its name; what WhatsApp cannot show is a document."""
    assert kind(attachment) is expected


def test_contents() -> None:
    """Text, a file with its caption, a file alone, a template with what our log shows of it."""
    contents = [
        compose("Hello 😀"),
        compose("x" * 4096),
        compose("Look", [IMAGE]),
        compose("c" * 1024, [IMAGE]),
        compose(None, [AUDIO]),
        compose("Your order is ready.", template=template()),
        compose(None, template=ProviderTemplate(content_sid=SID, variables={"1": "a"})),
    ]
    assert contents == [
        Content(body="Hello 😀"),
        Content(body="x" * 4096),
        Content(body="Look", attachments=(IMAGE,)),
        Content(body="c" * 1024, attachments=(IMAGE,)),
        Content(body="", attachments=(AUDIO,)),
        Content(body="Your order is ready.", template=template()),
        Content(body="", template=ProviderTemplate(content_sid=SID, variables={"1": "a"})),
    ]


@pytest.mark.parametrize(
    ("given_args", "field", "words"),
    [
        ((None,), "body", "empty"),
        ((" \n",), "body", "empty"),
        (("x" * 4097,), "body", "holds 4096"),
        (("😀" * 2049,), "body", "holds 4096"),
        (("x" * 1025, [IMAGE]), "body", "holds 1024"),
        (("a\0",), "body", "cannot be sent"),
        (("a\ud800",), "body", "cannot be sent"),
        (("Listen", [AUDIO]), "body", "audio"),
        (("Look", [Attachment(content_type="image/webp")]), "body", "sticker"),
        (("a", [IMAGE, IMAGE]), "attachments", "one file"),
        ((None, [IMAGE], template()), "attachments", "header"),
    ],
)
def test_contents_that_are_refused(given_args: tuple[Any, ...], field: str, words: str) -> None:
    """What the providers would refuse is refused before, with the field and the reason."""
    at, reason = refused(*given_args)
    assert at == field
    assert words in reason


def test_a_providers_lower_limit() -> None:
    """Twilio takes 1600 characters, and so many only where that is asked for."""
    assert compose("x" * 1600, characters=1600) == Content(body="x" * 1600)
    assert "holds 1600" in refused("x" * 1601, characters=1600)[1]
    assert "holds 1024" in refused("x" * 1601, [IMAGE], characters=1600)[1]


@pytest.mark.parametrize(
    "given_template",
    [
        template(variables={str(n): "x" for n in range(12, 0, -1)}),
        template(variables={"first_name": "Ann", "order": "1"}),
        template(variables={"1": "four    spaces"}),
        template(language="fil"),
        template(content_sid=SID, variables={"1": "a"}),
        ProviderTemplate(content_sid=SID, variables={"2": "b"}),
        ProviderTemplate(content_sid=SID, variables={"1": "a", "3": "c", "firstName": "b"}),
        ProviderTemplate(content_sid=SID, variables={"first_name": "a", "IdName": "b"}),
        template(components=({"type": "header", "parameters": []},), variables={"1": "a"}),
        template(components=({"type": "BODY", "parameters": []},)),
    ],
)
def test_templates(given_template: ProviderTemplate) -> None:
    """Numbers without a gap or names, values on one line, components as Meta takes them; Twilio's
    templates have values of their own for variables that are left out."""
    assert compose(None, template=given_template).template == given_template


@pytest.mark.parametrize(
    ("given_template", "field", "words"),
    [
        (ProviderTemplate(), "template", "neither"),
        (ProviderTemplate(content_sid="HX1"), "template", "HX and 32"),
        (template(name="Order Ready"), "template", "small letters"),
        (template(name=""), "template", "small letters"),
        (template(name="x" * 513), "template", "small letters"),
        (template(language=None), "template", "language"),
        (template(language="english"), "template", "language"),
        (template(components=({},)), "template", "no type"),
        (template(components=({"type": 1},)), "template", "no type"),
        (template(components=({"type": "body"},), variables={"1": "a"}), "template", "body"),
        (template(variables={"2": "a"}), "variables", "neither"),
        (template(variables={"1": "a", "3": "b"}), "variables", "neither"),
        (template(variables={"1": "a", "name": "b"}), "variables", "neither"),
        (template(variables={"Name": "a"}), "variables", "neither"),
        (template(content_sid=SID, variables={"2": "a"}), "variables", "neither"),
        (ProviderTemplate(content_sid=SID, variables={"id name": "a"}), "variables", "id name"),
        (ProviderTemplate(content_sid=SID, variables={"": "a"}), "variables", "16"),
        (ProviderTemplate(content_sid=SID, variables={"x" * 17: "a"}), "variables", "16"),
        (ProviderTemplate(content_sid=SID, variables={"2": ""}), "variables", "2 is empty"),
        (template(variables={"1": " "}), "variables", "1 is empty"),
        (template(variables={"1": "a\nb"}), "variables", "new line"),
        (template(variables={"1": "a\tb"}), "variables", "new line"),
        (template(variables={"name": "a     b"}), "variables", "name has"),
        (template(variables={"1": "a\0"}), "variables", "cannot be sent"),
    ],
)
def test_templates_that_are_refused(
    given_template: ProviderTemplate, field: str, words: str
) -> None:
    """A template that the provider would answer with 132000 or 132012 is refused before."""
    at, reason = refused(None, template=given_template)
    assert at == field
    assert words in reason


def test_all_that_is_wrong_is_told() -> None:
    """Each part that cannot be sent is named at once, every value of a template among them."""
    template = ProviderTemplate(
        name="N", language="x", variables={"1": " ", "2": "fine", "3": "a\nb"}
    )
    with pytest.raises(ContentError) as caught:
        compose("x" * 5000, [Attachment(filename="a/b")], template)
    all_of_them = [caught.value, *caught.value.others]
    assert ["attachments", "body", "template", "template", "variables", "variables"] == [
        each.field for each in all_of_them
    ]
    assert "variable 3 has a new line" in all_of_them[-1].message
