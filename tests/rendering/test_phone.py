"""Numbers as people write them, and as they are stored and compared."""

import random
import tracemalloc

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.phone import (
    COUNTRIES,
    canonical,
    sms_sender,
    tail,
    to_e164,
    variants,
    with_plus,
)


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("+14155552671", None, "+14155552671"),
        (" +1 (415) 555-2671 ", None, "+14155552671"),
        ("+1.415.555.2671", "DE", "+14155552671"),
        ("\u202a+1 415 555 2671\u202c", None, "+14155552671"),
        ("\u2066415-555-2671\u2069\u200e", "US", "+14155552671"),
        ("+33\u202f6\u200912\u200734\u00a056\u300078", None, "+33612345678"),
        ("\u202f06\u202f12\u202f34\u202f56\u202f78", "FR", "+33612345678"),
        ("+15005550006", None, "+15005550006"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("415‑555‑2671", "us", "+14155552671"),
        ("0171 1234567", "DE", "+491711234567"),
        ("+39 06 698 12345", None, "+390669812345"),
        ("001 415 555 2671", "DE", "+14155552671"),
        ("+00447700900123", "GB", "+447700900123"),
        ("+00 44 7700 900123", "GB", "+447700900123"),
        ("+0044 7700 900123", "DE", "+447700900123"),
        ("+011 44 7700 900123", "US", "+447700900123"),
        ("4155552671", None, None),
        ("4155552671", "ZZ", None),
        ("+14155552671", "ZZ", "+14155552671"),
        ("", "US", None),
        ("+", "US", None),
        ("12", "US", None),
        ("+1415555267100000000", None, None),
        ("+999123456789", None, None),
        ("hello +14155552671", None, None),
        ("+14155552671 ext. 5", None, None),
        ("+1800FLOWERS", "US", None),
        ("tel:+14155552671", None, None),
        ("a@example.org", "US", None),
    ],
)
def test_numbers_become_e164(text: str, country: str | None, number: str | None) -> None:
    """What is possibly a number becomes E.164, a national one in its country; the rest is none."""
    assert to_e164(text, country) == number


@given(st.text(max_size=50), st.none() | st.text(max_size=3))
def test_anything_is_a_number_or_none(text: str, country: str | None) -> None:
    """No text makes the reading fail, and a number read once reads as itself again."""
    number = to_e164(text, country)
    assert number is None or to_e164(number, None) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("14155552671", "+14155552671"),
        ("15557659955", "+15557659955"),
        ("447700900123", "+447700900123"),
        ("6591234567", "+6591234567"),
        ("3125550100", "3125550100"),
        ("4155552671", "4155552671"),
        ("384387", "384387"),
        ("123456789", "123456789"),
        ("014155552671", "014155552671"),
        ("999123456789", "999123456789"),
        ("1415555267100000", "1415555267100000"),
        ("+14155552671", "+14155552671"),
        ("1 415 555 2671", "1 415 555 2671"),
        ("CLINIC24", "CLINIC24"),
        ("", ""),
    ],
)
def test_numbers_without_their_plus(text: str, number: str) -> None:
    """What can only be a number in E.164 gets its +; a short code or a national number does not."""
    assert with_plus(text) == number


@pytest.mark.parametrize(
    ("number", "expected"),
    [("+14155552671", "5552671"), ("(415) 555-2671", "5552671"), ("12345", "12345"), ("ACME", "")],
)
def test_tails(number: str, expected: str) -> None:
    """The tail is the last seven digits, fewer where there are fewer."""
    assert tail(number) == expected


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        ("+14155552671", "+14155552671"),
        ("384387", "384387"),
        ("123", "123"),
        ("ACME", "ACME"),
        (" My Shop-24 ", "My Shop-24"),
        ("12", None),
        ("123456789", None),
        ("TWELVELETTER", None),
        ("ACMÉ", None),
        ("", None),
    ],
)
def test_senders(text: str, sender: str | None) -> None:
    """An SMS is sent from a number, a short code, or a name of at most eleven characters."""
    assert sms_sender(text) == sender


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+5511987654321", ("+551187654321", "+5511987654321")),
        ("+551187654321", ("+551187654321", "+5511987654321")),
        ("+55 11 98765-4321", ("+551187654321", "+5511987654321")),
        ("+551132654321", ("+551132654321",)),
        ("+5511932654321", ("+5511932654321",)),
        ("+525512345678", ("+525512345678", "+5215512345678")),
        ("+5215512345678", ("+525512345678", "+5215512345678")),
        ("+541123456789", ("+541123456789", "+5491123456789")),
        ("+5491123456789", ("+541123456789", "+5491123456789")),
        ("+14155552671", ("+14155552671",)),
        (" 5511987654321 ", ("5511987654321",)),
        ("US.1234", ("US.1234",)),
        ("", ("",)),
    ],
)
def test_variants(number: str, expected: tuple[str, ...]) -> None:
    """A mobile number of Brazil, Mexico or Argentina has two forms; everything else has one."""
    assert variants(number) == expected
    assert canonical(number) == expected[0]


@given(
    st.sampled_from(["52", "521", "54", "549", "5511", "55119", "1", "49"]),
    st.text("0123456789", min_size=8, max_size=10),
)
def test_every_variant_has_the_same_canonical_form(start: str, rest: str) -> None:
    """Whichever form a number comes in, its variants are the same, and it is among them."""
    number = f"+{start}{rest}"
    assert {variants(each) for each in variants(number)} == {variants(number)}
    assert number in variants(number)


def _by_the_library(text: str, country: str | None) -> str | None:
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def test_read_as_by_the_library() -> None:
    """A number in E.164 is what `phonenumbers` reads, also where its own reading is not needed:
    behind every code that a country has, and every other."""
    chance = random.Random(1)  # noqa: S311 - nothing is secret
    for code in range(1001):
        for length in (chance.randint(1, 8), chance.randint(7, 14)):
            text = f"+{code}{''.join(chance.choices('0123456789', k=length))}"
            assert _by_the_library(text, "GB") == to_e164(text, "GB"), text


@pytest.mark.parametrize("country", sorted(COUNTRIES))
def test_examples_of_every_country(country: str) -> None:
    """The library's example of each kind of number, also behind its country's own prefixes."""
    for kind in phonenumbers.PhoneNumberType.values():
        example = phonenumbers.example_number_for_type(country, kind)
        if example is None:
            continue
        national = str(example.national_number)
        for prefix in ("", "0", "1", "8", "06", "9", "15", "01"):
            text = f"+{example.country_code}{prefix}{national}"
            assert _by_the_library(text, None) == to_e164(text, None)


def test_what_is_no_number_takes_no_memory() -> None:
    """Texts that are too long for any number are not remembered, whoever sends many of them."""
    tracemalloc.start()
    try:
        for n in range(2000):
            assert to_e164(f"{n:04}" + "\U0001f600" * 996, "GB") is None
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2**20
