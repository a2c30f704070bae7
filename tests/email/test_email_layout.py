"""What the text of an HTML mail may cost and how long it may be, whatever the HTML asks for."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inscriptis.css_profiles import STRICT_CSS_PROFILE

from channels import email, html
from tests.costs import cpu_seconds

NINES = "9" * 4000

BOMBS = {
    "padding": "<p style='padding-left:99999em'>" + "x<br>" * 6000,
    "padding, by another name": "<p style='-webkit-padding-start:99999em'>" + "x<br>" * 6000,
    "margins": "<p style='margin-top:99999em;margin-after:99999em'>x" * 300,
    "styles of styles": "<p style='" + "style:" * 5000 + "padding-left:9em'>x",
    "a wide cell": "<table>" + "<tr><td>x" * 3000 + "<tr><td>" + "y" * 100_000,
    "a high cell": "<table><tr>" + "<td>x" * 3000 + "<td><pre>" + "x\n" * 10_000,
    "a wide row, many rows": "<table><tr>" + "<td>x" * 5000 + "<tr><td>x" * 5000,
    "tables in tables": "<table><tr><td>" * 80 + "<pre>" + "x\n" * 50_000,
    "texts outside of cells": "<table>" * 200 + "x" * 200_000,
    "lists in lists": "<ul>" * 200 + "<pre>" + "\n" * 200_000 + "x",
    "empty items, far in": "<ul>" * 200 + "<li></li>" * 9000,
    "a long number": f"<ol><li value={NINES}>x" + "<li>x" * 5000,
    "elements far in": "<div>" * 200 + "x<br>" * 9000,
    "pieces of a line": "\U0001f600" * 150_000 + "y<b></b>" * 9000,
}  # fmt: skip


@pytest.mark.no_cover  # it measures time
@pytest.mark.parametrize("page", BOMBS.values(), ids=BOMBS.keys())
def test_bombs(page: str) -> None:
    """No HTML takes longer, or gives more text, than its own length accounts for."""
    assert len(html.to_text(page)) <= html.GROWN_BY + html.GROWN_TIMES * len(page)
    assert cpu_seconds(lambda: html.to_text(page), runs=2) < 1


OPENED = st.sampled_from(
    [
        "<table>", "<tr>", "<td>", "<th>", "<ul>", "<ol>", "<li>", "<li value=999999>", "<pre>",
        "<blockquote>", "<div>", "<q>", "<a href='https://x.example/a'>",
        "<dl><dd>", "<table><tr><td>", "<p style='padding-left:99999em'>",
        "<div style='margin-top:9999em;padding-left:500px'>",
        "<span style='display:block;padding-start:99999rem;white-space:pre'>",
    ]
)  # fmt: skip
REPEATED = st.sampled_from(
    [
        "x<br>",
        "x\n",
        "\n",
        "<tr><td>x",
        "<td>",
        "<li>x",
        "<p>x",
        "word ",
        "x<b></b>",
        "</table>",
        "é",
    ]
)
NESTS = st.lists(
    st.tuples(
        st.lists(OPENED, max_size=4).map("".join), st.integers(1, 40),
        REPEATED, st.integers(0, 1500),
    ),
    min_size=1, max_size=4,
).map(lambda parts: "".join(o * deep + unit * times for o, deep, unit, times in parts))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(NESTS)
def test_nests(page: str) -> None:
    """Tables, lists and styles within one another give a text in proportion to their HTML."""
    assert len(html.to_text(page)) <= html.GROWN_BY + html.GROWN_TIMES * len(page)


@pytest.mark.parametrize("page", ["é" * 2**20, "<b>x" + "é" * 2**19, "x" * 2**21])
def test_long_texts(page: str) -> None:
    """The text that is derived from HTML is cut where one that is given would be refused."""
    derived = email.compose(subject="s", body=None, html_body=page).body or ""
    assert 2**19 < len(derived.encode()) <= html.TEXT_BYTES
    assert email.compose(subject="s", body=derived).body == derived


def test_ordinary_tables() -> None:
    """The tables that people write keep their columns, with hundreds of rows and a long cell."""
    rows = "<tr><td>a</td><td>b</td></tr>" * 400
    text = html.to_text(f"<table><tr><td>{'long ' * 20}</td><td>wide</td></tr>{rows}</table>")
    assert 400 == text.count("\na" + " " * 100 + "b")


def test_ordinary_styles() -> None:
    """A style may hide, indent a little, and part with a blank line."""
    page = (
        "<div style='display:none'>preheader</div><p style='margin:0;margin-top:40px'>one"
        "<div style='padding-left:20px'>two</div><ol><li value=7>three<li>four</ol>"
    )
    assert "one\n\n  two\n 7. three\n 8. four" == html.to_text(page)


def test_strays() -> None:
    """Rows, cells, items and ends that belong to nothing keep their words."""
    page = "one <td>two</td><div><th>three</div></table> <tr>four<li>five</ol>"
    assert ["one", "two", "three", "four", "five"] == re.findall("[a-z]+", html.to_text(page))


def test_rough_cells() -> None:
    """Of a table that is too much to be laid out, each cell stands apart from the next."""
    page = "<table>" + "<tr><td>a<td>b</tr>" * 3000 + f"<tr><td>{'wide' * 300}"
    assert html.to_text(page).startswith("a b\na b\n")


def test_pages_are_apart() -> None:
    """What the library keeps between pages, for all threads, holds nothing of any of them."""
    html.to_text("<p>of one organization")
    assert STRICT_CSS_PROFILE["body"].canvas is None


def test_numbers_of_no_character() -> None:
    """A number that names no character, however long, is read as one that is not known."""
    rough = "<b>" * 500
    assert "a\ufffdb" == html.to_text(f"{rough}a&#{NINES}{NINES};b")
    assert "b" in html.to_text(f"<p>a&amp;#{NINES}{NINES};b")
