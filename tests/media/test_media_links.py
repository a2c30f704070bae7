"""A public link opens one file of one organization, for its time, and cannot be made by others."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.links import BadLinkError, MediaLinks, media_id_of
from gateway.vault import Vault

VAULT = Vault([b"k" * 32])
LINKS = MediaLinks(VAULT, "https://user:pass@msg.example.org/gw")
ORGANIZATION = UUID("0190a0b1-0000-7000-8000-000000000002")
MEDIA = UUID("0190a0b1-0000-7000-8000-000000000001")


def token_of(url: str) -> str:
    """The last part of a link."""
    return url.rpartition("/")[2]


def is_read(token: str, links: MediaLinks = LINKS) -> bool:
    """Whether a token opens something."""
    try:
        links.read(token)
    except BadLinkError:
        return False
    return True


TOKEN = token_of(LINKS.public(ORGANIZATION, MEDIA))


def test_links() -> None:
    """Callers see no password of PUBLIC_URL; a provider's link has it, and a token."""
    assert f"https://msg.example.org/gw/v1/media/{MEDIA}" == LINKS.shown(MEDIA)
    public = LINKS.public(ORGANIZATION, MEDIA)
    assert "https://user:pass@msg.example.org/gw/media" == public.rpartition("/")[0]
    assert (ORGANIZATION, MEDIA) == LINKS.read(TOKEN)


def test_time() -> None:
    """A link ends."""
    assert [True, False] == [
        is_read(token_of(LINKS.public(ORGANIZATION, MEDIA, seconds))) for seconds in (5, -5)
    ]


def test_keys() -> None:
    """A link outlives a change of keys, and opens nowhere else."""
    changed, other = Vault([b"n" * 32, b"k" * 32]), Vault([b"o" * 32])

    assert [True, False] == [
        is_read(TOKEN, MediaLinks(vault, "https://x.example")) for vault in (changed, other)
    ]


def test_every_bit_counts() -> None:
    """A token in which one bit is another opens nothing: no other file, organization or time."""
    raw = base64.urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    read = [
        n
        for n in range(len(raw) * 8)
        if is_read(
            base64.urlsafe_b64encode(
                raw[: n // 8] + bytes([raw[n // 8] ^ 1 << n % 8]) + raw[n // 8 + 1 :]
            )
            .decode()
            .rstrip("=")
        )
    ]

    assert [] == read


@given(st.text() | st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_anything_else(text: str) -> None:
    """What is no token opens nothing."""
    assert not is_read(text)
    assert not is_read(TOKEN[:-2] + "!" + text)


@given(st.binary(min_size=37, max_size=37), st.integers(0, 16))
def test_short_signatures(head: bytes, size: int) -> None:
    """A signature for another purpose, or a part of one, opens nothing."""
    other = VAULT.sign("unsubscribe", head, size)
    part = VAULT.sign("media link", head, min(size, 15))

    assert [False, False] == [
        is_read(base64.urlsafe_b64encode(head + mac).decode()) for mac in (other, part)
    ]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (LINKS.shown(MEDIA), MEDIA),
        (f"http://127.0.0.1:8080/v1/media/{MEDIA}", MEDIA),
        (f"https://msg.example.org/v1/media/{MEDIA}?x", None),
        (f"https://msg.example.org/v1/media/{MEDIA}/x", None),
        ("https://msg.example.org/v1/media/" + "x" * 36, None),
        ("https://example.com/a.jpg", None),
        ("", None),
    ],
)
def test_own_files(url: str, found: UUID | None) -> None:
    """The URL of a file of ours is known again, also when PUBLIC_URL was another."""
    assert found == media_id_of(url)
