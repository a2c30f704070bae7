"""The HTML of a letter: as text, and sanitised."""

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


# For `_is_dense`: the sanitiser's parser adds these characters to a text one by one, each time
# copying the text; names and numbers of characters cost a tenth of that. These tags each begin a
# new text, except in a table, where everything outside of cells becomes one text before it. And how
# much of that is acceptable.
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
    """The text of a letter that has only HTML, without the targets of links."""
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
    """HTML that can neither run code, nor post, nor cover the page; None if nothing is left, or if
    it is so complex that sanitising it would take long.

    Images keep their `cid:` and http(s) URLs: whoever shows them decides about that.
    """
    if is_overgrown(html) or _is_dense(html[:HTML_BYTES]):
        return None
    return _cleaner().clean(stored(html[:HTML_BYTES])).strip() or None


def _is_dense(html: str) -> bool:
    """Whether texts in HTML have too many expensive characters for their length."""
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
