"""HTML as plain text, and the reverse.

Time and memory are bounded: HTML comes from templates and from strangers' mails.
"""

from __future__ import annotations

import html
import re
from typing import Any, Final

from inscriptis.model.html_document_state import HtmlDocumentState

from channels.layout import laid_out
from channels.styles import is_overgrown

HTML_BYTES = 2 * 2**20
TEXT_BYTES = 2**20
# Laying out more HTML than this would take seconds: only its tags are removed.
RENDERED_CHARACTERS = 256 * 2**10
# A text longer than this, compared with its HTML, consists mostly of the spaces of tables.
GROWN_BY, GROWN_TIMES = 2**16, 4

TAGS: Final = (
    "html|head|body|p|div|span|br|hr|table|tbody|tr|td|th|ul|ol|li|a|b|i|u|s|strong|em|small|big"
    "|h[1-6]|img|style|center|font|blockquote|pre|code|section|article|header|footer|main|title"
)
IS_HTML = re.compile(rf"<!doctype\s|</?(?:{TAGS})(?:[\s>]|/>)", re.IGNORECASE)
DROPPED = re.compile(r"<(script|style|title)[\s>]", re.IGNORECASE)
ENDS: Final = {
    name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style", "title")
}
BREAK = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6])[^<>]{0,200}>", re.IGNORECASE)
CELL = re.compile(r"<t[dh]\b[^<>]*>", re.IGNORECASE)
TAG = re.compile(r"<[^<>]*>")
# Browsers show what follows </html>, such as footers and second pages; the library stops there.
PAGE_END = re.compile(r"</html(?:\s[^<>]{0,200})?>", re.IGNORECASE)
BODY = re.compile(r"<body[\s>]", re.IGNORECASE)
# No character has so large a number, and Python refuses to parse thousands of digits.
NO_CHARACTER = re.compile(r"&#[0-9]{10,};?")
URL = re.compile(r"https?://[^\s<>\"]{1,2000}")
AFTER_URL = ".,;:!?'*)]}"

# Marks around a link while a text is derived; they are removed from given texts first.
LINK_START, LINK_TARGET, LINK_END = "\x02", "\x03", "\x04"
MARKS: Final = ("\0", LINK_START, LINK_TARGET, LINK_END)
LINK = re.compile("\x02([^\x02\x03\x04]*)\x03([^\x02\x03\x04]*)\x04")


def looks_like_html(source: str) -> bool:
    """Whether a template's content is HTML: it has a doctype, or a tag that is usual in mails."""
    return IS_HTML.search(source) is not None


def from_text(text: str) -> str:
    """Plain text as HTML: paragraphs, line breaks, links."""
    paragraphs = re.split(r"\n(?:[ \t]*\n)+", text.strip("\n"))
    body = "\n".join(
        "<p>" + "<br>\n".join(_linked(line) for line in paragraph.split("\n")) + "</p>"
        for paragraph in paragraphs
    )
    head = '<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head>'
    return f"{head}<body>\n{body}\n</body></html>\n"


def _linked(line: str) -> str:
    """One line, escaped, with its URLs as links."""
    done, at = [], 0
    for match in URL.finditer(line):
        url = match[0].rstrip(AFTER_URL)
        shown = html.escape(url)
        done += [html.escape(line[at : match.start()]), f'<a href="{shown}">{shown}</a>']
        at = match.start() + len(url)
    return "".join([*done, html.escape(line[at:])])


def to_text(source: str, *, with_links: bool = True) -> str:
    """HTML as plain text, cut to `TEXT_BYTES` of UTF-8.

    `with_links`: the target of a link follows its text in parentheses.
    """
    source = PAGE_END.sub("<div></div>", _unmarked(source))
    # Without <body> the library takes much of what follows a style or charset for the head.
    source = source if BODY.search(source) else f"<body>{source}"
    if len(source) > RENDERED_CHARACTERS or is_overgrown(source):
        return _cut(_without_tags(source))
    starts, ends = ({"a": _start_link}, {"a": _end_link}) if with_links else ({}, {})
    try:
        text = laid_out(source, starts, ends)
    except (ValueError, TypeError, IndexError, AttributeError):
        return _cut(_without_tags(source))  # over budget, or too malformed for the library
    text = _unmarked(LINK.sub(_link, text))
    lines = [line.rstrip() for line in text.replace("\xa0", " ").split("\n")]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
    is_blown_up = len(text) > GROWN_BY + GROWN_TIMES * len(source)
    return _cut(_without_tags(source) if is_blown_up else text)


def _unmarked(text: str) -> str:
    """The text without marks; `str.translate` takes ten times as long if it is not ASCII."""
    for mark in MARKS:
        text = text.replace(mark, "")
    return text


def _cut(text: str) -> str:
    """As much of a text as may be stored and sent."""
    if len(text) <= TEXT_BYTES // 4:
        return text
    written = text.encode(errors="replace")
    return text if len(written) <= TEXT_BYTES else written[:TEXT_BYTES].decode(errors="ignore")


def _start_link(state: HtmlDocumentState, attributes: dict[str, Any]) -> None:
    target = str(attributes.get("href") or "").strip()
    is_shown = target.lower().startswith(("http://", "https://", "mailto:", "tel:"))
    state.link_target = "".join(target.split()) if is_shown else ""
    if state.link_target:
        state.tags[-1].write(LINK_START)


def _end_link(state: HtmlDocumentState) -> None:
    if state.link_target:
        state.tags[-1].write(f"{LINK_TARGET}{state.link_target}{LINK_END}")
        state.link_target = ""


def _link(match: re.Match[str]) -> str:
    """A link as its text and target; only one of them if they are the same."""
    words, target = match[1].strip(), match[2]
    bare = re.sub(r"^(?:https?://|mailto:|tel:)", "", target, flags=re.IGNORECASE).rstrip("/")
    if words.removeprefix("https://").removeprefix("http://").rstrip("/") == bare:
        return match[1]
    return f"{match[1]} ({target})" if words else target


def _without_tags(source: str) -> str:
    """HTML with its tags removed: rough, but in linear time."""
    text = TAG.sub("", CELL.sub(" ", BREAK.sub("\n", _without_dropped(source))))
    text = _unmarked(html.unescape(NO_CHARACTER.sub("\ufffd", text)))
    lines = [" ".join(line.split()) for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _without_dropped(source: str) -> str:
    """HTML without scripts, styles and title; one that has no end tag drops all that follows."""
    kept, at = [], 0
    while found := DROPPED.search(source, at):
        kept.append(source[at : found.start()])
        end = ENDS[found[1].lower()].search(source, found.end())
        if end is None:
            return " ".join(kept)
        at = source.find(">", end.end()) + 1 or len(source)
    return " ".join([*kept, source[at:]])
