"""A letter's text is all that is written in its parts, in order, and none of it twice."""

from __future__ import annotations

import pytest

from tests.costs import cpu_seconds
from webhooks import mail
from webhooks.mail import flowed, mime
from webhooks.model import Inbound

HEAD = "From: Ann <ann@customer.example>\nMessage-ID: <1@customer.example>\n"
PDF = "Content-Type: application/pdf; name=a.pdf\n\n%PDF"
LONG = "We would like to come on Tuesday\nat ten, if that is possible."
PAGE = "<html><body>{}</body></html>"
AB = "<p>One &amp; <b>two</b></p>"


def plain(text: str) -> str:
    return f"Content-Type: text/plain\n\n{text}"


def page(text: str) -> str:
    return f"Content-Type: text/html\n\n{text}"


def of(kind: str, *parts: str) -> str:
    """Parts together; a boundary for each depth of them."""
    name = f"B{max((each.count('boundary=') for each in parts), default=0)}{kind[:3]}"
    inside = "".join(f"--{name}\n{each}\n" for each in parts)
    return f"Content-Type: multipart/{kind}; boundary={name}\n\n{inside}--{name}--"


@pytest.mark.parametrize(
    ("parts", "body"),
    [
        (of("mixed", page("<p>Are you open?"), plain("A list's footer")),
         "Are you open?\nA list's footer"),
        (of("mixed", plain("See below"), page("<p>NEWS</p>")), "See below\nNEWS"),
        (of("mixed", page("<p>On Tuesday?"), PDF, plain("From my phone")),
         "On Tuesday?\nFrom my phone"),
        (of("mixed", page("<p>a"), PDF, page("<p>b"), plain("c")), "a\nb\nc"),
        (of("mixed", of("related", page("<p>Letter")), plain("Footer")), "Letter\nFooter"),
        (of("mixed", of("alternative", page("<p>Letter")), plain("Footer")), "Letter\nFooter"),
        (of("mixed", of("alternative", plain(" "), page("<p>Letter")), plain("Footer")),
         "Letter\nFooter"),
        (of("mixed", of("alternative", plain("Letter"), page("<p>Letter, nice")), plain("Footer")),
         "Letter\nFooter"),
        (of("mixed", of("alternative", plain("Letter"), page("<p>Letter!")), page("<p>Footer")),
         "Letter\nFooter"),
        (of("alternative", plain("All"), of("mixed", page("<p>Al"), PDF, page("<p>l"))), "All"),
        (of("mixed", plain("One & two\nthree"), page(AB)), "One & two\nthree"),
        (of("mixed", plain("Letter"), PDF, page("<html><body></body></html>")), "Letter"),
        (of("alternative", plain(" \n"), page("<p>Letter")), "Letter"),
        (of("mixed", page("<p>Letter"), PDF, page("<p>more")), "Letter\n\nmore"),
        (of("mixed", page(PAGE.format("")), PDF, page(PAGE.format("Letter"))), "Letter"),
        (of("alternative", plain("\n"), of("mixed", page(PAGE.format("")), PDF,
         page(PAGE.format("Letter")))), "Letter"),
        (of("mixed", PDF), ""),
        # what is short is within many a text
        (of("mixed", page("<p>Yes"), plain("Yesterday the terms changed.")),
         "Yes\nYesterday the terms changed."),
        (of("mixed", plain("Call 555"), page("<p>5")), "Call 555\n5"),
        (of("mixed", page("<p>👍"), plain("Footer")), "👍\nFooter"),
        (of("mixed", plain("👍"), page("<p>Please call me")), "👍\nPlease call me"),
        (of("mixed", plain(f"{LONG}\nFooter"), page("<p>" + " ".join(LONG.split()))),
         f"{LONG}\nFooter"),
    ],
)  # fmt: skip
def test_parts_of_a_letter(parts: str, body: str) -> None:
    """HTML beside plain text is text as well, where it is no other form of that."""
    [found] = mail.events(f"{HEAD}{parts}".encode(), provider="smtp")
    assert isinstance(found, Inbound)
    assert body == "\n".join(
        filter(None, [found.body, str(found.detail.get("quoted_text", "")).strip()])
    )


FLOWED = (
    "See https://example.com/aa \n bb?x=1  \nnow\n From here\n\n日本 \n語 \nです \n\n"
    "end \n> quoted \n> more \nafter \n-- \nAnn"
)
BROKEN = (
    "See https://example.com/aabb?x=1 now\nFrom here\n\n日本語です \n\nend \n> quoted \n> more"
    " \nafter \n-- \nAnn"
)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("format=flowed; delsp=yes", BROKEN),
        ("Format=Flowed; DelSp=Yes", BROKEN),
        ("format=flowed; delsp=no", FLOWED),
        ("format=flowed", FLOWED),
        ("name*=a''b; name*1=c; delsp=yes", FLOWED),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_that_were_broken(kind: str, text: str, end: str) -> None:
    """Words and addresses that were broken into lines are whole again; quoted lines stay."""
    raw = f"{HEAD}Content-Type: text/plain; charset=utf-8; {kind}\n\n{FLOWED}"
    assert text == (mime.parse(raw.replace("\n", end).encode()).text or "").replace(end, "\n")


def test_html_has_no_broken_lines() -> None:
    """Lines of HTML are as they are, whatever its type says of them: in some, spaces count."""
    raw = f"{HEAD}Content-Type: text/html; format=flowed; delsp=yes\n\n<p>Hello \nworld</p>"
    assert "<p>Hello \nworld</p>" == mime.parse(raw.encode()).html


def test_the_cost_of_broken_lines() -> None:
    """Very many are put together within a moment."""
    for line in ("x \n", " \n", "x", " ", "> \n"):
        given = line * (10**6 // len(line))
        assert cpu_seconds(lambda: flowed.unbroken(given), runs=1) < 0.5  # noqa: B023
