"""HTML and plain text into one another, and the styles of a mail put where programs look for them.

Everything here is bounded: HTML comes from templates and from strangers' mails.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from typing import Any, Final

import css_inline
from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig
from inscriptis.model.html_document_state import HtmlDocumentState
from inscriptis.model.tag import CustomHtmlTagHandlerMapping

HTML_BYTES = 2 * 2**20
TEXT_BYTES = 2**20
# What is derived from more HTML than this would take seconds: tags are only cut out of it.
RENDERED_CHARACTERS = 256 * 2**10
RULES_TIMES_ELEMENTS = 4_000_000
# Parsers take quadratic time for elements within elements and for attributes, and one of them
# overflows the stack: a mail has hundreds of the first, a few of the others.
TAGS_AT_MOST, DEPTH_AT_MOST, ATTRIBUTES_AT_MOST = 20_000, 400, 200
# Parsers do not take every end for one, so depth has a bound that no end tag loosens.
OPENED_AT_MOST, ODD_AT_MOST = 8000, 20

TAGS: Final = (
    "html|head|body|p|div|span|br|hr|table|tbody|tr|td|th|ul|ol|li|a|b|i|u|s|strong|em|small|big"
    "|h[1-6]|img|style|center|font|blockquote|pre|code|section|article|header|footer|main|title"
)
IS_HTML = re.compile(rf"<!doctype\s|</?(?:{TAGS})(?:[\s>]|/>)", re.IGNORECASE)
STYLE = re.compile(r"<style[\s>]", re.IGNORECASE)
DROPPED = re.compile(r"<(script|style|title)[\s>]", re.IGNORECASE)
ENDS: Final = {
    name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style", "title")
}
OPENED = re.compile(r"<(/?)([a-zA-Z][^\s<>/]*)([^<>]*)")
FOREIGN = frozenset({"svg", "math"})
QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
# A tag with < or > in it goes on where one without would have ended.
ODD = re.compile(r"<[a-zA-Z][^<>]*(?=<)|=\s*(?:\"[^\"<>]*|'[^'<>]*)>")
BRACKET = re.compile("[<>]")
# Elements that have no end, or whose end goes without saying: they are not within one another.
FLAT = frozenset(
    {
        "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link",
        "meta", "option", "p", "source", "td", "th", "tr", "track", "wbr",
    }
)  # fmt: skip
BREAK = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6])[^<>]{0,200}>", re.IGNORECASE)
TAG = re.compile(r"<[^<>]*>")
URL = re.compile(r"https?://[^\s<>\"]{1,2000}")
AFTER_URL = ".,;:!?'*)]}"

# Around a link in the text that is being derived; no text of others holds them.
LINK_START, LINK_TARGET, LINK_END = "\x02", "\x03", "\x04"
MARKS = str.maketrans("", "", "\0\x02\x03\x04")
LINK = re.compile("\x02([^\x02\x03\x04]*)\x03([^\x02\x03\x04]*)\x04")

INLINER: Final = css_inline.CSSInliner(
    load_remote_stylesheets=False, keep_at_rules=True, keep_style_tags=False
)


class TooComplex(ValueError):
    """HTML whose styles cannot be worked in within bounds."""


def looks_like_html(source: str) -> bool:
    """Whether a template's content is HTML: it has a doctype, or a tag that mails are made of."""
    return IS_HTML.search(source) is not None


def is_overgrown(source: str) -> bool:
    """Whether HTML has more tags, or deeper ones, or more attributes, than are worth parsing."""
    if source.count("<") > TAGS_AT_MOST:
        return True
    if _hides_attributes(source):
        return True
    opened: Counter[str] = Counter()
    depth, starts, is_foreign = 0, 0, False
    for closing, given, rest in OPENED.findall(source):
        name = given.lower()
        if closing:
            # An end of what was never opened takes nothing back.
            if opened[name]:
                opened[name] -= 1
                depth -= 1
            continue
        if len(rest) > ATTRIBUTES_AT_MOST and _attributes(rest) > ATTRIBUTES_AT_MOST:
            return True
        # In drawings and formulas everything can be within everything.
        is_foreign = is_foreign or name in FOREIGN
        if is_foreign or name not in FLAT:
            opened[name] += 1
            depth, starts = depth + 1, starts + 1
            if depth > DEPTH_AT_MOST or starts > OPENED_AT_MOST:
                return True
    return False


def _hides_attributes(source: str) -> bool:
    """Whether what goes on behind < or > within a tag may be too many attributes."""
    for number, odd in enumerate(ODD.finditer(source)):
        end = BRACKET.search(source, odd.end() + 1)
        behind = source[odd.end() + 1 : end.start() if end else None]
        if number >= ODD_AT_MOST or _words(behind) > ATTRIBUTES_AT_MOST:
            return True
    return False


def _attributes(rest: str) -> int:
    return _words(QUOTED.sub("", rest))


def _words(text: str) -> int:
    """How many attributes the text can be at most."""
    return max(len(re.split(r"[\s/]+", text)), text.count("="))


def inline_styles(source: str) -> str:
    """HTML with the rules of its <style> in the elements' own attributes; raises `TooComplex`.

    Media queries stay, nothing is fetched, and HTML without <style> stays as it is.
    """
    if STYLE.search(source) is None:
        return source
    if is_overgrown(source):
        raise TooComplex(
            f"it has more than {TAGS_AT_MOST} tags, {DEPTH_AT_MOST} of them within one another, or "
            f"{ATTRIBUTES_AT_MOST} attributes in one"
        )
    if source.count("{") * source.count("<") > RULES_TIMES_ELEMENTS:
        raise TooComplex("it has too many style rules for its size")
    try:
        return INLINER.inline(source)
    except css_inline.InlineError as error:
        raise TooComplex("its style sheet cannot be read") from error


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
    """One line, escaped, its URLs as links, spaces at its beginning kept."""
    done, at = [], 0
    for match in URL.finditer(line):
        url = match[0].rstrip(AFTER_URL)
        shown = html.escape(url)
        done += [html.escape(line[at : match.start()]), f'<a href="{shown}">{shown}</a>']
        at = match.start() + len(url)
    return "".join([*done, html.escape(line[at:])])


def to_text(source: str, *, with_links: bool = True) -> str:
    """HTML as plain text; with links, a link's target follows its words in brackets."""
    source = source.translate(MARKS)
    if len(source) > RENDERED_CHARACTERS or is_overgrown(source):
        return _without_tags(source)
    try:
        text = get_text(source, _config(with_links=with_links))
    except (RecursionError, ValueError, TypeError, IndexError, AttributeError):
        return _without_tags(source)  # the library is written for well-formed pages
    text = LINK.sub(_link, text).translate(MARKS)
    lines = [line.rstrip() for line in text.replace("\xa0", " ").split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _config(*, with_links: bool) -> ParserConfig:
    mapping = CustomHtmlTagHandlerMapping(
        start_tag_mapping={"a": _start_link}, end_tag_mapping={"a": _end_link}
    )
    return ParserConfig(
        css=CSS_PROFILES["strict"], custom_html_tag_handler_mapping=mapping if with_links else None
    )


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
    """A link as words and target, or once where its words are the target."""
    words, target = match[1].strip(), match[2]
    bare = re.sub(r"^(?:https?://|mailto:|tel:)", "", target, flags=re.IGNORECASE).rstrip("/")
    if words.removeprefix("https://").removeprefix("http://").rstrip("/") == bare:
        return match[1]
    return f"{match[1]} ({target})" if words else target


def _without_tags(source: str) -> str:
    """What is left of HTML without its tags: rough, and linear in time."""
    text = TAG.sub("", BREAK.sub("\n", _without_dropped(source)))
    lines = [" ".join(line.split()) for line in html.unescape(text).translate(MARKS).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _without_dropped(source: str) -> str:
    """HTML without scripts, styles and its title; what has no end takes the rest with it."""
    kept, at = [], 0
    while found := DROPPED.search(source, at):
        kept.append(source[at : found.start()])
        end = ENDS[found[1].lower()].search(source, found.end())
        if end is None:
            return " ".join(kept)
        at = source.find(">", end.end()) + 1 or len(source)
    return " ".join([*kept, source[at:]])
