"""channels/filenames.py: what a file that goes out may be called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels import filenames


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, None),
        ("", None),
        (" . ", None),
        ("Rechnung März.pdf", "Rechnung März.pdf"),
        ("Reports/2024.pdf", "Reports_2024.pdf"),
        ('The "best".pdf', "The _best_.pdf"),
        ("a\\b\r\n\u2028.txt", "a_b___.txt"),
        ("x" * 300, "x" * 255),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("x" * 250 + "." + "y" * 50, "x" * 250 + ".yyyy"),
        (" " * 300 + "x", None),
    ],
)
def test_the_nearest_name(name: str | None, expected: str | None) -> None:
    """What no name may have is replaced, and what is too long is cut before its ending."""
    assert expected == filenames.nearest(name)


@given(st.text(st.sampled_from('ab ./\\"\0\r\ud800'), max_size=300))
def test_every_name_becomes_one(name: str) -> None:
    """Whatever a file was called, the nearest name is taken, and stays what it is."""
    found = filenames.nearest(name)
    filenames.check(found)
    assert found == filenames.nearest(found)
