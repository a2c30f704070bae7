"""What HTML in a letter says: its text, and itself made harmless."""

from __future__ import annotations

import re
from functools import cache
from html.entities import html5
from itertools import pairwise
from typing import Final

import nh3

from channels.html import HTML_BYTES, to_text
from channels.styles import is_overgrown
from webhooks.values import stored

URL_SCHEMES: Final = frozenset({"http", "https", "mailto", "tel", "cid"})
DROPPED_WITH_CONTENT: Final = frozenset(
    {"script", "style", "title", "iframe", "object", "embed", "svg", "math", "noscript", "template",
     "textarea", "select", "button"}
)  # fmt: skip
LOOKS: Final = frozenset(
    {"color", "background-color", "font-weight", "font-style", "font-size", "text-align",
     "text-decoration", "vertical-align", "white-space"}
)  # fmt: skip
STYLED: Final = (
    "p", "div", "span", "td", "th", "tr", "table", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5",
    "h6", "b", "i", "u", "a", "blockquote", "pre", "code", "strong", "em", "center",
)  # fmt: skip


# What the parser adds to a text one by one, each time in the time that all of it takes; the names
# and numbers of characters, which cost a tenth; the tags of which each begins another text, though
# not in a table, before which all that is in no cell is put; and how much of it is a moment.
DEAR: Final = re.compile("[&\x80-\xbf]")
WHOLE: Final = re.compile("&([a-z][a-z0-9]{1,30};|#[0-9]{1,7};|#x[0-9a-f]{1,6};)", re.IGNORECASE)
TABLE: Final = re.compile("<table", re.IGNORECASE)
TAG: Final = re.compile("<[^>]*>?")
APART: Final = re.compile(
    r"<(?:a|b|blockquote|br|center|div|em|font|h[1-6]|hr|i|img|li|ol|p|pre|span|strong|u|ul)[\s/>]",
    re.IGNORECASE,
)
DEAR_TIMES_CHARACTERS: Final = 10_000_000_000
DEAR_TIMES_TAGS: Final = 1_000_000_000


def derived(html: str) -> str:
    """The text of a letter that has only HTML; the targets of its links are left out."""
    return stored(to_text(html[:HTML_BYTES], with_links=False))


@cache
def _cleaner() -> nh3.Cleaner:
    attributes = {name: set(values) for name, values in nh3.ALLOWED_ATTRIBUTES.items()}
    for name in STYLED:
        attributes.setdefault(name, set()).add("style")
    attributes["img"] = {"src", "alt", "width", "height", "title"}
    attributes["a"] -= {"hreflang"}
    return nh3.Cleaner(
        tags=(set(nh3.ALLOWED_TAGS) | {"center", "font", "u"}) - DROPPED_WITH_CONTENT,
        clean_content_tags=set(DROPPED_WITH_CONTENT),
        attributes=attributes,
        url_schemes=set(URL_SCHEMES),
        url_relative="deny",
        link_rel="noopener noreferrer",
        filter_style_properties=set(LOOKS),
    )


def sanitised(html: str) -> str | None:
    """HTML that can neither run, nor post, nor lie over the page; None where nothing is left,
    or where nobody would write so much of it.

    Images stay with their `cid:` and http(s) addresses: whoever shows them decides.
    """
    if is_overgrown(html) or _is_dense(html[:HTML_BYTES]):
        return None
    return _cleaner().clean(stored(html[:HTML_BYTES])).strip() or None


def _is_dense(html: str) -> bool:
    """Whether the texts of HTML hold too many characters that are dear, for their length."""
    if _cost(html) <= DEAR_TIMES_CHARACTERS:
        return False
    starts = [tag.start() for tag in TAG.finditer(html) if APART.match(tag[0])]
    if TABLE.search(html) and _dear(html) * len(starts) > DEAR_TIMES_TAGS:
        return True
    texts = (html[start:end] for start, end in pairwise([0, *starts, len(html)]))
    return sum(map(_cost, texts)) > DEAR_TIMES_CHARACTERS


def _cost(text: str) -> float:
    return _dear(text) * len(text)


def _dear(text: str) -> float:
    names: list[str] = WHOLE.findall(text)
    whole = sum(name[0] == "#" or name in html5 for name in names)
    return len(DEAR.findall(text)) - 0.9 * whole
