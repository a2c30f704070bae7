"""Mailboxes, subjects, and the two halves of a mail's content."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import email, html
from channels.email import compose, key, looks_like_html, spellings, to_mailbox, topic
from channels.errors import ContentError
from channels.model import Attachment
from tests.costs import cpu_seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bob.Smith+x@Example.COM", "Bob.Smith+x@example.com"),
        ("a@b.test", "a@b.test"), ("a@test", None), ("a@x.localhost", "a@x.localhost"),
        ("a@localhost", "a@localhost"), ("a@x.example", "a@x.example"),
        ("a@x.invalid", "a@x.invalid"), ("a@intranet", None),
        ("jörg@müller.de", "jörg@xn--mller-kva.de"), ("JÖRG@Müller.de", "jörg@xn--mller-kva.de"),
        ("a@müller.de", "a@xn--mller-kva.de"),
        ("", None), ("a", None), ("@b.c", None), ("a@", None), ("a b@c.de", None),
        ("Bob <a@example.com>", None), ("<a@example.com>", None),
        ("a@example.com,b@example.com", None), ("a@example.com\n", None),
        ("a@example.com\r\nBcc: x@y.de", None), (" a@example.com", None), ("a@[127.0.0.1]", None),
        ('"a b"@example.com', None), ("a\0@example.com", None), ("a" * 300 + "@example.com", None),
        ("a\ud800@example.com", None),
    ],
)  # fmt: skip
def test_mailboxes(text: str, expected: str | None) -> None:
    """One bare mailbox has one form; everything else is none."""
    assert to_mailbox(text) == expected


@given(st.text(max_size=60))
def test_a_mailbox_is_stable(text: str) -> None:
    """Whatever is taken is taken again as itself, on one line."""
    found = to_mailbox(text)
    assert found is None or (to_mailbox(found) == found and len(found.split()) == 1)


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ("Ada@Example.com", {"ada@example.com"}),
        ("Ada@Bücher.example", {"ada@bücher.example", "ada@xn--bcher-kva.example"}),
        ("ada@XN--BCHER-KVA.example", {"ada@bücher.example", "ada@xn--bcher-kva.example"}),
        ("müller@example.com", {"müller@example.com"}),
        ("ada@xn--.example", {"ada@xn--.example"}),
        ("no mailbox ü", {"no mailbox ü"}),
    ],
)
def test_spellings(given: str, keys: set[str]) -> None:
    """A domain is known as DNS has it and as people write it; what is no mailbox stays as it is."""
    assert keys == set(spellings(given))


def test_keys() -> None:
    """Mailboxes are compared in lower case."""
    assert key(" Bob@Example.com") == "bob@example.com"


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Re: Hello  World", "hello world"), ("AW: WG: Fwd: RE[2]: Hi", "hi"),
        ("SV:Hi", "hi"), ("回复：Hi", "hi"), ("Re (3): Hi", "hi"),
        ("Regarding: Hi", "regarding: hi"),
        ("", ""), ("Re:", ""), ("x" * 300, "x" * 200),
        ("STRASSE", "strasse"), ("Straße", "strasse"),
    ],
)  # fmt: skip
def test_topics(subject: str, expected: str) -> None:
    """Answers and forwards of a mail have its topic."""
    assert topic(subject) == expected


def test_text_alone() -> None:
    """The HTML half is derived: escaped, with paragraphs, line breaks and links."""
    content = compose(subject=" Hi ", body="a <b>\r\nsee https://x.example/?a=1&b=2.\n\n\nbye")
    assert content.subject == "Hi"
    assert content.body == "a <b>\nsee https://x.example/?a=1&b=2.\n\n\nbye"
    link = '<a href="https://x.example/?a=1&amp;b=2">https://x.example/?a=1&amp;b=2</a>'
    assert f"<p>a &lt;b&gt;<br>\nsee {link}.</p>\n<p>bye</p>" in (content.html_body or "")


def test_html_alone() -> None:
    """The text half is derived, its links with their targets."""
    source = '<h1>Hi</h1><p>Go <a href="https://x.example">there</a> or https://y.example</p>'
    content = compose(subject="s", body=source, is_html=True)
    assert content.html_body == source
    assert content.body == "Hi\n\nGo there (https://x.example) or https://y.example"
    assert content == compose(subject="s", body=None, html_body=source)


def test_both_are_kept() -> None:
    """What is given is not derived."""
    content = compose(subject="s", body="one", html_body="<p>two</p>")
    assert (content.body, content.html_body) == ("one", "<p>two</p>")


def test_styles_are_inlined() -> None:
    """Rules move into the elements, media queries stay, and nothing is fetched or read."""
    source = (
        "<style>p{color:red}@media(max-width:9px){p{color:blue}}</style>"
        '<link rel="stylesheet" href="http://127.0.0.1:9/x.css">'
        '<link rel="stylesheet" href="/etc/passwd"><p>x</p>'
    )
    found = compose(subject="s", body="x", html_body=source).html_body or ""
    assert '<p style="color: red;">x</p>' in found
    assert "@media" in found
    assert "root:" not in found


@pytest.mark.parametrize(
    ("target", "words", "expected"),
    [
        ("https://x.example/", "x.example", "x.example"),
        ("mailto:a@b.example", "a@b.example", "a@b.example"),
        ("https://x.example", "", "https://x.example"),
        ("javascript:alert(1)", "x", "x"), ("#top", "x", "x"), ("", "x", "x"),
        ("https://x.example/a b\n", "x", "x (https://x.example/ab)"),
    ],
)  # fmt: skip
def test_links(target: str, words: str, expected: str) -> None:
    """A link's target is shown where it says more than its words."""
    assert html.to_text(f'<a href="{target}">{words}</a>') == expected


def test_links_of_strangers() -> None:
    """The targets of links can be left out."""
    assert html.to_text('<a href="https://x.example">a</a>', with_links=False) == "a"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"subject": None}, "subject"), ({"subject": "  "}, "subject"),
        ({"subject": "a\r\nBcc: x@y.de"}, "subject"), ({"subject": "a\tb"}, "subject"),
        ({"subject": "a\u2028b"}, "subject"), ({"subject": "x" * 999}, "subject"),
        ({"body": None}, "body"), ({"body": " \n"}, "body"), ({"body": "a\0"}, "body"),
        ({"body": "a\ud800"}, "body"), ({"body": "x" * (2**20 + 1)}, "body"),
        ({"body": "ü" * 2**19 + "xx"}, "body"),
        ({"html_body": "x" * (2**21 + 1)}, "html_body"), ({"html_body": "\0"}, "html_body"),
        ({"body": "<p>\0", "is_html": True}, "body"),
        ({"html_body": "<style>p{}</style>" + "<div>" * 30_000}, "html_body"),
        ({"html_body": "<style>" + "p{}" * 3000 + "</style>" + "<p>" * 3000}, "html_body"),
        ({"attachments": [Attachment()] * 21}, "attachments"),
        ({"attachments": [Attachment(size=2**24)] * 2}, "attachments"),
        ({"attachments": [Attachment(content=b"x" * (20 * 2**20 + 1))]}, "attachments"),
        *(
            ({"attachments": [Attachment(filename=name)]}, "attachments")
            for name in ("", "..", "a/b", "a\\b", "a\nb", 'a"b', "x" * 256, "a.exe", "a.PDF.Js. ")
        ),
        ({"attachments": [Attachment(content_type="pdf")]}, "attachments"),
        ({"attachments": [Attachment(content_type="a/b\r\nX: y")]}, "attachments"),
        ({"attachments": [Attachment(content_id="a b")]}, "attachments"),
    ],
)  # fmt: skip
def test_what_is_refused(fields: dict[str, object], field: str) -> None:
    """The part of the request at fault is named."""
    usual: dict[str, object] = {"subject": "s", "body": "b"}
    with pytest.raises(ContentError) as caught:
        compose(**(usual | fields))  # type: ignore[arg-type]
    assert caught.value.field == field


def test_attachments_are_kept() -> None:
    """Files of the usual kinds pass as they are."""
    files = (
        Attachment(url="https://x.example/a", size=10),
        Attachment(filename="Müller 🎉.pdf", content_type="application/pdf", content=b"x"),
        Attachment(filename="README", content_type='text/plain; charset="utf-8"', content_id="a@b"),
    )
    assert compose(subject="s", body="b", attachments=list(files)).attachments == files


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<!DOCTYPE html><x>", True), ("Hello <b>{{ name }}</b>", True), ("a<br/>b", True),
        ("</p>", True), ("a < b and b > c", False), ("write to <bob@example.com>", False),
        ("<name>, hello", False), ("", False), ("<https://x.example>", False), ("<pre\n>", True),
    ],
)  # fmt: skip
def test_templates_that_are_html(source: str, expected: bool) -> None:  # noqa: FBT001
    """HTML is known by a doctype or the tags that mails are made of."""
    assert looks_like_html(source) is expected


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<html><body>Yes</body></html>\n<p>Footer", "Yes\n\nFooter"),
        ("<html></html>\n<html><head><title>x</title></head><body>Yes</body></html>", "Yes"),
        ("<HTML>Yes</HTML\n>no", "Yes\nno"),
        ("Yes</htmlx>, no", "Yes, no"),
        ("<meta charset=utf-8><article>Yes</article>no", "Yes\nno"),
        ("<style>p {}</style><ins>Yes</ins>, <b>no</b>", "Yes, no"),
    ],
)
def test_pages_beyond_their_rules(source: str, text: str) -> None:
    """What stands below the end of a page, as footers and a second page do, is text of it; so is
    all that follows a style."""
    assert html.to_text(source) == text


@pytest.mark.parametrize(
    "style", ["display:none", "display: none !important", "Display:NONE! IMPORTANT"]
)
def test_what_is_not_shown(style: str) -> None:
    """What a mail hides, as the first line in an inbox, is no text of it."""
    assert html.to_text(f'<p style="{style}">In short</p><p style="">Yes') == "Yes"


@pytest.mark.parametrize(
    "source",
    ["<div>" * 400_000, "<" * 2_000_000, "<a " * 600_000, "<style " * 200_000, "<b><p>" * 100_000,
     "<table><tr><td>" * 6_000, "<script>" * 19_000, "&amp" * 400_000, "<ul><li>" * 9_000],
)  # fmt: skip
def test_hostile_html(source: str) -> None:
    """HTML that is made to be slow costs little."""

    def both() -> None:
        html.to_text(source)
        email.looks_like_html(source)

    assert cpu_seconds(both, runs=1) < 5
