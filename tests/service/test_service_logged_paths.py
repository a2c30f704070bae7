"""What stands in the log of a request that failed for our own reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from gateway import links
from gateway.media.links import MediaLinks
from gateway.vault import Vault
from tests.service.conftest import KEYS, PUBLIC

if TYPE_CHECKING:
    from tests.service.conftest import Ask
    from tests.service.losses import Connection

IDS = UUID(int=1), UUID(int=2**128 - 1)
VAULT = Vault(KEYS)
# PUBLIC_URL's own path is there or stripped.
MEDIA = MediaLinks(VAULT, PUBLIC).public(*IDS).removeprefix("https://msg.example.org")
UNSUBSCRIBE = links.unsubscribe_url(VAULT, PUBLIC, *IDS).removeprefix(PUBLIC)
SIGN_IN = links.sign_in_url(VAULT, PUBLIC, *IDS).removeprefix(PUBLIC)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", MEDIA),
        ("HEAD", MEDIA),
        ("GET", MEDIA.replace("_", "%2F")),  # the decoder takes it as well
        ("POST", UNSUBSCRIBE),
        ("GET", SIGN_IN),
        ("POST", SIGN_IN),
    ],
    ids=["file", "head", "slashes", "unsubscribe", "sign-in", "signing-in"],
)
async def test_links_are_not_logged(ask: Ask, owner: Connection, method: str, path: str) -> None:
    """Where the database is away, the log names a link's path without what opens it."""
    await owner.execute("ALTER TABLE messages RENAME TO elsewhere")
    await owner.execute("ALTER SCHEMA gateway RENAME TO elsewhere")
    start, _, token = path.rpartition("/")
    origin = {"Origin": "https://msg.example.org"}
    with capture_logs() as logs:
        answer = await ask(method, path, key="", headers=origin)

    assert 500 <= answer.status
    assert [f"{start}/***"] == [line["path"] for line in logs if "path" in line]
    assert token[:20] not in str(logs)
