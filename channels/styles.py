"""The styles of a mail, inlined into its elements, where mail programs look for them.

The library takes time for each pair of a selector and an element, for some selectors much more, and
blocks the whole process meanwhile: what is not certainly cheap is done in a child process
(`Renderer.inline`).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import css_inline

RULES_TIMES_ELEMENTS = 4_000_000
# Up to these it takes milliseconds: characters; selectors × tags; that × declarations squared.
CHEAP_CHARACTERS, CHEAP_MATCHES, CHEAP_MERGES = 32 * 2**10, 10_000, 20_000_000
# Parsers take quadratic time for nested elements and for attributes, and one parser overflows the
# stack. A mail has hundreds of nested elements at most, and few attributes.
TAGS_AT_MOST, DEPTH_AT_MOST, ATTRIBUTES_AT_MOST = 20_000, 400, 200
# Parsers ignore some end tags, so the number of start tags is limited as well.
OPENED_AT_MOST, ODD_AT_MOST = 8000, 20

STYLE = re.compile(r"<style[\s>]", re.IGNORECASE)
OPENED = re.compile(r"<(/?)([a-zA-Z][^\s<>/]*)([^<>]*)")
FOREIGN = frozenset({"svg", "math"})
QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
# A tag with < or > in it goes on where it seems to end.
ODD = re.compile(r"<[a-zA-Z][^<>]*(?=<)|=\s*(?:\"[^\"<>]*|'[^'<>]*)>")
BRACKET = re.compile("[<>]")
# Elements that have no end tag, or need none: they do not nest.
FLAT = frozenset(
    {
        "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link",
        "meta", "option", "p", "source", "td", "th", "tr", "track", "wbr",
    }
)  # fmt: skip

INLINER: Final = css_inline.CSSInliner(
    load_remote_stylesheets=False, keep_at_rules=True, keep_style_tags=False
)


# Selectors that look at all siblings, or contain selectors; and \, which can hide one.
DEAR: Final = re.compile(r"[~\\]|(?:any|has|is|matches|not|where)\(", re.IGNORECASE)


class TooComplex(ValueError):
    """HTML whose styles cannot be inlined within the limits."""


def is_styled(source: str) -> bool:
    """Whether HTML has a style sheet of its own."""
    return STYLE.search(source) is not None


def is_cheap(source: str) -> bool:
    """Whether the styles of HTML are certainly inlined within milliseconds."""
    matches = source.count("<") * (source.count("{") + source.count(","))
    return (
        len(source) <= CHEAP_CHARACTERS
        and matches <= CHEAP_MATCHES
        and matches * source.count(":") ** 2 <= CHEAP_MERGES
        and DEAR.search(source) is None
    )


def is_overgrown(source: str) -> bool:
    """Whether HTML has too many tags, too deeply nested ones, or too many attributes to parse."""
    if source.count("<") > TAGS_AT_MOST:
        return True
    if _hides_attributes(source):
        return True
    opened: Counter[str] = Counter()
    depth, starts, is_foreign = 0, 0, False
    for closing, given, rest in OPENED.findall(source):
        name = given.lower()
        if closing:
            # The end tag of an element that was not opened does not count.
            if opened[name]:
                opened[name] -= 1
                depth -= 1
            continue
        if len(rest) > ATTRIBUTES_AT_MOST and _attributes(rest) > ATTRIBUTES_AT_MOST:
            return True
        # In drawings and formulas every element can nest.
        is_foreign = is_foreign or name in FOREIGN
        if is_foreign or name not in FLAT:
            opened[name] += 1
            depth, starts = depth + 1, starts + 1
            if depth > DEPTH_AT_MOST or starts > OPENED_AT_MOST:
                return True
    return False


def _hides_attributes(source: str) -> bool:
    """Whether tags that contain < or > may have too many attributes after it."""
    for number, odd in enumerate(ODD.finditer(source)):
        end = BRACKET.search(source, odd.end() + 1)
        behind = source[odd.end() + 1 : end.start() if end else None]
        if number >= ODD_AT_MOST or _words(behind) > ATTRIBUTES_AT_MOST:
            return True
    return False


def _attributes(rest: str) -> int:
    return _words(QUOTED.sub("", rest))


def _words(text: str) -> int:
    """How many attributes the text can have at most."""
    return max(len(re.split(r"[\s/]+", text)), text.count("="))


def inline_styles(source: str) -> str:
    """HTML with the rules of its <style> in the `style` of its elements; raises `TooComplex`.

    Media queries stay, nothing is fetched, and HTML without <style> stays as it is.
    """
    if not is_styled(source):
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
