"""Replay: files that were given up are fetched again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from channels.model import Channel
from gateway.media.links import MediaLinks
from gateway.media.store import open_store
from gateway.receive.errands import Errands, Patience
from gateway.vault import Vault
from tests.service.conftest import PUBLIC
from tests.service.losses import INBOUND, PHONE, rows
from tests.service.wires import connect, counts, from_twilio, replay

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.losses import Connection
    from tests.service.wires import Api

TWILIO = "https://api.twilio.com/2010-04-01/Accounts"
CALL = {"CallSid": "CA" + "5" * 32, "AccountSid": "AC" + "a" * 32}


def errands_of(gateway: Gateway, api: Api) -> Errands:
    """What a worker has, without waits between attempts."""

    async def received(*_: object) -> None:
        raise AssertionError("nothing is read like a webhook")

    vault = Vault(gateway.settings.gateway_secret_keys)
    assert api.downloader is not None
    return Errands(
        gateway.database,
        vault,
        open_store(None, gateway.settings.gateway_data),
        MediaLinks(vault, PUBLIC),
        api.downloader,
        received,
        api_urls={"twilio": api.url},
        patience=Patience(waits=(0,) * 7),
    )


async def states(owner: Connection) -> list[tuple[str, str | None]]:
    """What became of the files, in the order in which they came."""
    found = await owner.fetch(
        "SELECT state, reason FROM gateway.media ORDER BY created_at, position"
    )
    return [(row["state"], row["reason"]) for row in found]


async def test_files_that_were_given_up(
    gateway: Gateway, ask: Ask, api: Api, owner: Connection
) -> None:
    """What an account's credentials did not open, a picture and a recording, is fetched when they
    are right again, and its message shows it; what leads inside is refused once more, without a
    request. A dry run, and a file that is there or on its way, change nothing."""
    picture = {
        "Body": "Look",
        "NumMedia": "2",
        "MediaUrl0": f"{TWILIO}/Media/ME1",
        "MediaUrl1": "http://169.254.169.254/",
        "MediaContentType1": "image/png",
    }
    await from_twilio(gateway, "message", INBOUND | picture)
    account = await connect(gateway, "twilio", Channel.CALL)
    called = {"From": PHONE, "To": "+15551230008", "Direction": "inbound", "CallStatus": "ringing"}
    recorded = {
        "RecordingSid": "RE1",
        "RecordingStatus": "completed",
        "RecordingUrl": f"{TWILIO}/Recordings/RE1",
    }
    await from_twilio(gateway, "call", CALL | called, account_id=account)
    await from_twilio(gateway, "recording", CALL | recorded, account_id=account)
    on_its_way = await rows(owner)
    assert (0, 3, 0, 0) == counts(await replay(gateway))
    assert on_its_way == await rows(owner)
    errands = errands_of(gateway, api)

    async def work() -> list[tuple[str, str | None]]:
        while await errands.run_next():
            pass
        return await states(owner)

    wrong = ("failed", "Its server answered 401.")
    inside = ("failed", "It is not fetched: its URL leads to an internal address.")
    api.answers = lambda _: web.Response(status=401)
    assert [wrong, inside, wrong] == await work()
    given_up = await rows(owner)
    assert (0, 3, 0, 0) == counts(await replay(gateway, is_trial=True))
    assert given_up == await rows(owner)

    assert (0, 3, 0, 0) == counts(await replay(gateway))
    waiting: Any = ("waiting", None)
    assert [waiting, waiting, waiting] == await states(owner)
    api.asked.clear()
    api.answers = lambda _: web.Response(body=b"\xff\xd8\xff\xe0 a picture")
    stored: Any = ("stored", None)
    assert [stored, inside, stored] == await work()
    assert 2 == len(api.asked)
    shown = [one["attachments"] for one in (await ask("GET", "/v1/messages")).body["data"]]
    urls = [file["url"].rpartition("/v1/media/")[0] for files in shown for file in files]
    assert [True, True, False] == [url.startswith(PUBLIC) for url in urls]

    await replay(gateway)
    assert [stored, inside, stored] == await work()
    assert 2 == len(api.asked)
