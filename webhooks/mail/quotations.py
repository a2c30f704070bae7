"""The new text of a letter, separated from what it quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from mailparser_reply.constants import MAIL_LANGUAGES
from mailparser_reply.parser import EmailMessage

from webhooks.mail.headers import UNSEEN

# How far the beginning of a quotation is searched; expressions are quadratic in a line's length.
LINES, LINE_CHARACTERS, AT_ONCE = 400, 160, 30
# And how many lines below an introduction its first quoted line.
BELOW = 10
COLONS: Final = (":", "：")
ENDS: Final = (*COLONS, ".", "!", "?", "。", "！", "？")
QUOTED = re.compile(r"\s*>")
SIGNATURE = re.compile(r"--\s*|_{5,}|-{5,}")
# Parts of the line with which mail programs say when and by whom the quoted mail was written.
ADDRESS, TIME = re.compile("@"), re.compile(r"(?<![\d.])\d{1,2}[:.h]\d\d(?![\d.])")
WHEN = re.compile(rf"{TIME.pattern}|\d[./-]\d{{1,2}}[./-]\d{{4}}")
NAMES_MAIL = re.compile(f"{ADDRESS.pattern}|-{{3}}")
# An address as programs write it, and people seldom do; and Zoho's line, which ends as it begins,
# with a time as people never write it.
WRITTEN_BY = re.compile(r"<[^\s<>@]+@[^\s<>@]+\.[^\s<>@]+>")
# Thunderbird and Roundcube name no address, and say in some languages no more than this: in digits
# when, and who, by a name. People say more, and write some of what stands for a name in capitals.
DAY: Final = r"\d{1,4}[./-]\d\d?[./-]\d{2,4}"
HOUR: Final = r"\d\d?:\d\d(?:\s[ap]\.\s?m\.)?"
ON: Final = rf"{DAY}(?: a las| às| om| o)? {HOUR}"
WROTE = re.compile(
    rf"(?:(?:El|Em|A|W dniu) {ON}|Às {HOUR} de {DAY}), "
    r"(\S.*) (?:escribió|escreveu|pisze|napisał\(a\))\s?:"
    rf"|Op {ON} schreef (\S.*):|(\S.*) schreef op {ON}:"
)
NO_NAME = {"Usted", "Ustedes", "Ud.", "Uds.", "Você", "Vocês", "U", "Ik", "Je", "Jij", "Hij", "Ze"}
NO_NAME |= {"Zij", "We", "Wij", "Pan", "Pani", "Państwo"}
BETWEEN_RULES = re.compile(r"-{3}.*:\d\d [+-]\d{4} .*-{3}")
# How many words a line has at most if a program broke it before "wrote:", or within <>.
LAST_WORDS = 3
RULE = re.compile(r"_{5,200}|-{3,40}[^-\n](?:[^\n]{0,78}[^-\n])?-{3,40}")
# Outlook's lines above a quotation, in any language: by whom, when, and to whom.
LABEL = re.compile(r"[^\w<>@]{0,3}[^\W\d_][^:：@<>]{0,24}[:：]")
MAILBOX, YEAR = re.compile(r"[<\[][^\s<\[@]{1,80}@"), re.compile(r"(?:19|20|25)\d\d")
# A day, a month (perhaps in letters) and a year (2569 in Thailand), in any order.
DATE = re.compile(
    rf"(?<!\d)(?:\d{{1,2}}(?!\d)\D{{1,25}}{YEAR.pattern}|{YEAR.pattern}\D{{1,25}}\d{{1,2}}"
    r"|\d{1,2}[./-]\d{1,2}[./-]\d\d)(?!\d)"
)
PASSES_ON = re.compile(
    r"forwarded message|weitergeleiteten? (?:nachricht|e-mail)"
    r"|message (?:transf[ée]r[ée]|réexpédié)|mensaje reenviado|mensagem (?:re)?encaminhada"
    r"|messaggio inoltrato|doorgestuurd bericht",
    re.IGNORECASE,
)
# Outlook marks a forwarded mail only in its subject.
PASSES_ON_SUBJECT = re.compile(
    r"\s*(?:fwd?|wg|tr|rv|enc|i|vl|vb|pd|ilt|doorst|továbbítás|转发|轉寄|πρθ)\s*[:：]",
    re.IGNORECASE,
)
# Re:, AW:, Réf. :, Re[2]:, 回复：; a form on a web site may well begin its own with a longer word.
ANSWERS_SUBJECT = re.compile(r"\s*[^\W\d_]{1,4}\.?\s?(?:\[\d{1,3}\]|\(\d{1,3}\))?\s*[:：]")


def new_text(whole: str, subject: str = "", *, is_answer: bool = False) -> tuple[str, str]:
    """The new text of a letter, and what it quotes; the whole text and "" if that is not clear.

    A quotation stays in its place if there is new text between or below its lines. A forwarded mail
    is no quotation. `is_answer`: the letter names a mail that it answers, which not every answer
    does.
    """
    lines = whole.split("\n")
    is_answer = is_answer or not subject or ANSWERS_SUBJECT.match(subject) is not None
    start = None if PASSES_ON_SUBJECT.match(subject) else _quotation(lines, is_answer=is_answer)
    if start is None:
        return whole.strip("\n").rstrip(), ""
    new = "\n".join(lines[:start]).strip("\n").rstrip()
    quoted = "\n".join(lines[start:]).strip("\n").rstrip()
    return (new, quoted) if new.strip() else (whole.strip("\n").rstrip(), "")


def _quotation(lines: list[str], *, is_answer: bool) -> int | None:
    """The first line of the quotation at the end of the letter."""
    found = [_header(lines, is_answer=is_answer)]
    if is_answer:
        found += [_outlooks(lines), _anyones(lines)]
    header = min((line for line in found if line is not None), default=None)
    if header is not None:
        if any(map(_passes_on, lines[: header + 1][-3:])):
            return None
        marked = [number for number in range(header, len(lines)) if QUOTED.match(lines[number])]
        if not marked or _is_one_block(lines, marked[0], marked[-1] + 1):
            return header
    end = _trailing_quotes(lines)
    return _introduced(lines, end) if end < len(lines) else None


def _passes_on(line: str) -> bool:
    """Whether a mail program, not a person, says in this line that a mail is forwarded."""
    said = line[:LINE_CHARACTERS].strip()
    is_set_apart = said.startswith("--") or said.endswith(COLONS)
    return is_set_apart and PASSES_ON.search(said) is not None


def _is_one_block(lines: list[str], start: int, end: int) -> bool:
    """Whether all these lines are quoted, and only a signature follows."""
    is_quoted = all(QUOTED.match(line) or not line.strip() for line in lines[start:end])
    rest = [line.strip() for line in lines[end:] if line.strip()]
    return is_quoted and (not rest or SIGNATURE.fullmatch(rest[0]) is not None)


def _trailing_quotes(lines: list[str]) -> int:
    """Where the block of lines with > at the end of the letter begins; its length if none."""
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    start = end
    while start and (QUOTED.match(lines[start - 1]) or not lines[start - 1].strip()):
        start -= 1
    has_quote = any(QUOTED.match(line) for line in lines[start:end])
    return start if has_quote else len(lines)


def _introduced(lines: list[str], start: int) -> int:
    """The line or two above a block of > that say in any language who wrote it, and when.

    Thunderbird names no address.
    """
    first, last = ["", "", *map(_seen, lines[max(0, start - 2) : start])][-2:]
    if last.endswith(COLONS):
        both = f"{first} {last}"
        who = both if len(last.split()) <= LAST_WORDS else last
        if _is_dated(last) or (WHEN.search(last) and ADDRESS.search(last)):
            return start - 1
        if WHEN.search(both) and ADDRESS.search(who) and not first.endswith(ENDS):
            return start - 2
    return start


def _anyones(lines: list[str]) -> int | None:
    """The line, or the first of two, that says on which day and at what time somebody wrote the
    text below: in any language if it has an address."""
    before = ""
    for number, line in enumerate(lines[:LINES]):
        said = _seen(line)
        is_zohos = BETWEEN_RULES.fullmatch(said) is not None
        if (is_zohos or said.endswith(COLONS)) and not QUOTED.match(said):
            if _is_dated(said) and (is_zohos or _is_written(said)):
                return number
            both = f"{before} {said}"
            is_end = len(said.split()) <= LAST_WORDS and not before.endswith(ENDS)
            if is_end and _is_written(both) and _is_dated(both):
                return number - 1
        before = said
    return None


def _is_written(said: str) -> bool:
    wrote = WROTE.fullmatch(said)
    return WRITTEN_BY.search(said) is not None or (
        wrote is not None and _is_name(wrote[wrote.lastindex or 0].split())
    )


def _is_name(words: list[str]) -> bool:
    ends = [each.lstrip("\"'(") for each in (words[0], words[-1])]
    is_mailbox = len(words) == 1 and "@" in words[0]
    return is_mailbox or not any(each[:1].islower() or each in NO_NAME for each in ends)


def _seen(line: str) -> str:
    """A line without invisible characters: in Hebrew it ends with marks of its direction.

    Empty if it is too long for an introduction: cut, it would seem to end in its middle.
    """
    return UNSEEN.sub("", line).strip() if len(line) <= LINE_CHARACTERS else ""


@cache
def _headers() -> re.Pattern[str]:
    """How mail programs introduce quotations, in many languages."""
    languages = sorted(MAIL_LANGUAGES)
    pattern: re.Pattern[str] = EmailMessage(text="", languages=languages).HEADER_REGEX
    return pattern


def _header(lines: list[str], *, is_answer: bool) -> int | None:
    """The line of the first introduction ("On ... wrote:", "-----Original Message-----").

    People and forms on web sites write such words, too: they count where a rule stands, or > below
    them, and in an answer if they name a mail: by an address, or by a date and a time.
    """
    for start, end, said in _introductions(lines[:LINES]):
        below = next((line for line in lines[end : end + BELOW] if line.strip()), "")
        is_ruled = start > 0 and _is_rule(lines[start - 1])
        is_plain = is_ruled or _is_rule(lines[start]) or QUOTED.match(below) is not None
        if is_plain or (is_answer and _names_mail(said)):
            return start - is_ruled
    return None


def _names_mail(said: str) -> bool:
    """Whether an introduction identifies the mail; people may write when they said something."""
    return _is_dated(said) or NAMES_MAIL.search(said) is not None


def _is_dated(said: str) -> bool:
    """Whether a text has a date with its year, and a time."""
    return TIME.search(said) is not None and DATE.search(TIME.sub("", said)) is not None


def _outlooks(lines: list[str]) -> int | None:
    """The first line of Outlook's header, which is in the language of its user.

    Zimbra says last when a mail was written, GMX first, and Samsung's of the year its last digits.
    People tell their address, number and a time, too: these count below a rule with words, or where
    an address is told of whom it went to, too.
    """
    short = [line[:LINE_CHARACTERS].strip() for line in lines[:LINES]]
    for start, header in enumerate(zip(short, short[1:], short[2:], strict=False)):
        if not all(map(LABEL.match, header)):
            continue
        first, second, third = header
        is_ruled = start > 0 and _is_rule(short[start - 1])
        is_headed = is_ruled and short[start - 1].startswith("-")
        orders = ((first, second, third), (first, third, second), (second, first, third))
        if (_names(first, second) and YEAR.search(second)) or any(
            _names(who, when) and (is_headed or ADDRESS.search(whom)) for who, when, whom in orders
        ):
            return start - is_ruled
    return None


def _names(who: str, when: str) -> bool:
    """Whether these lines of a header say by whom a mail was written, and when."""
    has_day = YEAR.search(when) is not None or _is_dated(when)
    return MAILBOX.search(who) is not None and TIME.search(when) is not None and has_day


def _is_rule(line: str) -> bool:
    return RULE.fullmatch(line.strip()) is not None


def _introductions(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """What looks like an introduction: its first line, the line below it, and its text.

    Searches some lines at a time, with those into which an introduction may continue: during one
    search no other thread runs.
    """
    short = [line.strip()[:LINE_CHARACTERS] for line in lines]
    for first in range(0, len(short), AT_ONCE):
        seen = "\n".join(short[first : first + AT_ONCE + BELOW])
        for match in _headers().finditer(seen):
            start = seen.count("\n", 0, match.start() + len(_space(match[0])))
            yield first + start, first + seen.count("\n", 0, match.end()) + 1, match[0]


def _space(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]
