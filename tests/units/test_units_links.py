"""Links that people open tell nobody how providers call us."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from gateway import links
from gateway.ids import new_id
from gateway.vault import Vault

VAULT = Vault([b"k" * 32])


@pytest.mark.parametrize("link", [links.unsubscribe_url, links.sign_in_url])
@pytest.mark.parametrize("user", ["", "user:sesame@", "user:ses@me@"])
def test_no_password_of_ours(link: Callable[[Vault, str, UUID, UUID], str], user: str) -> None:
    """User and password of PUBLIC_URL are the providers': no recipient of a mail gets them."""
    url = link(VAULT, f"https://{user}msg.example.org:8443/gw", new_id(), new_id())
    assert url.startswith("https://msg.example.org:8443/gw/")


@pytest.mark.parametrize("letter", ["\u212a", "\u017f", "\u0131", "a", "7"])
@pytest.mark.parametrize("length", [41, 42, 43])
def test_no_reply_address_of_ours(letter: str, length: int) -> None:
    """What only looks like an address of ours, with letters that Unicode folds to ours, is none."""
    assert links.read_reply(VAULT, new_id(), f"r-{letter * length}@in.example") is None
