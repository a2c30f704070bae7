"""What somebody may mean by a text that they have found somewhere."""

from __future__ import annotations

import pytest

from gateway.why import Reference, reference

ID = "0190f3c1-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (ID, [ID]),
        (f"  {ID.upper()} ", [ID]),
        (f"<{ID}@clinic.example>", [ID]),
        (f"{ID}@clinic.example", [ID]),
        ("SM" + "3" * 32, []),
        ("", []),
    ],
)
def test_our_ids(text: str, ids: list[str]) -> None:
    """Our id, alone or as the beginning of a Message-ID."""
    assert ids == [str(each) for each in reference(text).ids]


@pytest.mark.parametrize(
    ("text", "external_id"),
    [
        ("wamid.HBgM=", "wamid.HBgM="),
        ("<abc.1@mail.example>", "abc.1@mail.example"),
        ("<0101abc@eu-west-1.amazonses.com>", "0101abc"),
        ("14c5d75ce93.dfd.64b469.filter0001.0", "14c5d75ce93"),
        (f"<{ID}>", ID),
    ],
)
def test_ids_of_providers(text: str, external_id: str) -> None:
    """A provider's id in each of the forms in which it is shown."""
    assert external_id in reference(text).external_ids


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("+44 7700 900123", ["+447700900123"]),
        ("07700 900123", ["+447700900123", "07700 900123"]),
        ("tel:+44-7700-900123", ["+447700900123"]),
        ("whatsapp:+447700900123", ["+447700900123"]),
        ("+5215512345678", ["+5215512345678"]),
        ("US.1234abc", ["US.1234abc"]),
        ("447700", ["+44447700", "447700"]),
        ("+52 1 55 1234 5678", ["+5215512345678"]),
        ("Ada@Example.com", ["ada@example.com"]),
        ("Ada Lovelace <Ada@Example.com>", ["ada@example.com"]),
        ("mailto:ada@example.com", ["ada@example.com"]),
        ("Ada@Bücher.example", ["ada@xn--bcher-kva.example"]),
        ("", []),
    ],
)
def test_addresses(text: str, addresses: list[str]) -> None:
    """An address in any form, national numbers in the countries that are given."""
    assert addresses == list(reference(text, ["GB", None, "GB"]).addresses)


def test_hostile_texts() -> None:
    """What no column can hold, and what is endless, is read as what is left of it."""
    found = reference("\x00" + "x" * 10**6)

    assert Reference(external_ids=("x" * 999,), addresses=("x" * 999,)) == found
