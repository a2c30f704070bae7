"""Phone numbers: to E.164, how they are compared, and what an SMS may be sent from."""

from __future__ import annotations

import re
from functools import cache, lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumber, PhoneNumberFormat

# The countries whose national numbers can be read, by two-letter code.
COUNTRIES = frozenset(phonenumbers.SUPPORTED_REGIONS)

TAIL_DIGITS = 7

# The characters of written numbers. The library itself would find a number inside any sentence.
_WRITTEN = re.compile(r"[+＋]?[\d\s().\-/\u2010-\u2015\u2212]{2,40}")
# Spaces of other widths, as in typeset numbers: the library knows few of them.
_BLANKS = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# Marks of text direction: contact apps put them around a number that is copied.
_DIRECTIONS = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LONGEST = 41
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_WITHOUT_PLUS = re.compile(r"[1-9][0-9]{9,14}")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
# https://www.twilio.com/docs/glossary/what-alphanumeric-sender-id
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 +\-_&.]{1,11}")

# Mobile numbers that are written with and without one digit; WhatsApp's ids and the networks'
# numbers differ in it (https://github.com/chatwoot/chatwoot/issues/5840).
# For each: the pattern, the form without the digit, which is the canonical one, and that with it.
_OPTIONAL_DIGIT = (
    (re.compile(r"52(?:1)?(\d{10})"), r"52\1", r"521\1"),
    (re.compile(r"54(?:9)?(\d{10})"), r"54\1", r"549\1"),
    # A landline's eight digits begin with 2 to 5, and never had a ninth.
    (re.compile(r"55(\d{2})(?:9)?([6-9]\d{7})"), r"55\1\2", r"55\g<1>9\2"),
)
# Côte d'Ivoire (2021) and Benin (2024) went from eight digits to ten; WhatsApp still identifies
# people by the number that they registered with.
_FORMER = re.compile(r"\+22[59][0-9]{8}")
_OPTIONAL_DIGIT_CODES = ("+52", "+54", "+55")


def to_e164(text: str, country: str | None) -> str | None:
    """The number in E.164, or None if `phonenumbers.is_possible_number` says that it is none.

    A number without + is read as one of `country`, an ISO 3166 code of two letters.
    """
    text = (text if text.isascii() else _DIRECTIONS.sub("", _BLANKS.sub(" ", text))).strip()
    if len(text) > _LONGEST:  # nothing longer is kept in the cache
        return None
    # A number in E.164 is the same in every country, so it is cached once. For others the country
    # may matter even after a +: some write 00 44 as +00 44.
    return _to_e164(text, None if _E164.fullmatch(text) else country)


@lru_cache(maxsize=65_536)
def _to_e164(text: str, country: str | None) -> str | None:
    if (plain := _plain(text)) is not None:
        return text if phonenumbers.is_possible_number(plain) else None
    if _WRITTEN.fullmatch(text) is None:
        return None
    try:
        number = phonenumbers.parse(text, country.upper() if country else None)
    except NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _plain(text: str) -> PhoneNumber | None:
    """What `phonenumbers.parse` returns for a number in E.164, in a fifth of the time.

    None if it may change the number: a national prefix (0, 1 in some countries, and others
    depending on what follows) may come after the country code.
    """
    if _E164.fullmatch(text) is None:
        return None
    for end in (2, 3, 4):
        code, national = int(text[1:end]), text[end:]
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            if national.startswith("0") or _national_prefix(code).match(national):
                return None
            return PhoneNumber(country_code=code, national_number=int(national))
    return None


@cache
def _national_prefix(code: int) -> re.Pattern[str]:
    region = phonenumbers.region_code_for_country_code(code)
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    prefix = metadata.national_prefix_for_parsing if metadata else None
    return re.compile(prefix or "(?!)")  # (?!) matches nothing


def with_plus(text: str) -> str:
    """A number that is E.164 but for its missing +, with the +; anything else as it is.

    Fewer than ten digits may be a short code. North America also writes its own numbers with ten
    digits, so these only get a + if that makes a valid number, which then is abroad.
    """
    number = f"+{text}"
    if _WITHOUT_PLUS.fullmatch(text) is None or to_e164(number, None) != number:
        return text
    is_sure = len(text) > 10 or phonenumbers.is_valid_number(phonenumbers.parse(number))
    return number if is_sure else text


def tail(number: str) -> str:
    """The last seven digits, which all forms of a number have in common, for an index."""
    return _digits(number)[-TAIL_DIGITS:]


def variants(number: str) -> tuple[str, ...]:
    """The forms in which the same person on WhatsApp may appear, the canonical one first.

    Brazil's ninth digit, Mexico's 1 and Argentina's 9 of mobile numbers are sometimes left out. An
    address that does not begin with + has only itself.
    """
    number = number.strip()
    if number.startswith(_OPTIONAL_DIGIT_CODES):
        for pattern, without, with_it in _OPTIONAL_DIGIT:
            if match := pattern.fullmatch(_digits(number)):
                return "+" + match.expand(without), "+" + match.expand(with_it)
    return (number,)


def canonical(number: str) -> str:
    """The same form for all variants of a number: to compare with, not to send to."""
    return variants(number)[0]


def is_former(number: str) -> bool:
    """Whether it is a number from before its country added two digits to all numbers."""
    return _FORMER.fullmatch(number) is not None


def sms_sender(text: str) -> str | None:
    """The address an SMS may be sent from: E.164, a short code (3 to 8 digits), or a name.

    A name has at most 11 characters and at least one letter. None if it is none of these.
    """
    text = text.strip()
    if _SHORT_CODE.fullmatch(text) or _ALPHANUMERIC.fullmatch(text):
        return text
    return to_e164(text, None)


def _digits(text: str) -> str:
    if text.isascii():
        return "".join(filter(str.isdigit, text))
    return "".join(str(int(character)) for character in text if character.isdecimal())
