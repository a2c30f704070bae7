"""Media and recordings that Twilio keeps: served only with the account's credentials.

https://www.twilio.com/docs/voice/api/recording#fetch-a-recordings-media-file,
https://www.twilio.com/docs/messaging/api/media-resource
"""

from __future__ import annotations

import struct

from aiohttp import web

from gateway.simulator.files import File
from gateway.simulator.intake import ProviderError
from gateway.simulator.state import State
from gateway.simulator.twilio_accounts import Accounts, TwilioAccount
from gateway.simulator.twilio_book import API_VERSION
from gateway.simulator.twilio_errors import ApiError

_ACCOUNT = f"/{API_VERSION}/Accounts/{{account_sid}}"
_RATE = 8000


def _wav(seconds: int) -> bytes:
    """Silence in telephone quality: 8 kHz, 8 bits, one channel."""
    samples = b"\x80" * (_RATE * seconds)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _RATE, _RATE, 1, 8)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data


def _mp3(seconds: int) -> bytes:
    """Silence: empty frames of MPEG 1 layer III, 128 kbit/s at 44.1 kHz, 26 ms each."""
    return (b"\xff\xfb\x90\x00" + bytes(413)) * max(seconds * 1000 // 26, 1)


class TwilioFiles:
    """The files of all accounts, by path."""

    def __init__(self, state: State, accounts: Accounts) -> None:
        """Start with none."""
        self._state = state
        self._accounts = accounts
        self._files: dict[str, File] = {}

    def add_routes(self, app: web.Application) -> None:
        """Answer on the paths of media and recordings."""
        app.router.add_get(f"{_ACCOUNT}/Messages/{{message}}/Media/{{sid}}", self._fetch)
        app.router.add_get(f"{_ACCOUNT}/Recordings/{{sid}}", self._fetch)

    def clear(self) -> None:
        """Drop all."""
        self._files.clear()

    def keep_media(self, account: TwilioAccount, message_sid: str, file: File) -> str:
        """Keep a file that came with a message; returns its URL."""
        sid = f"ME{self._state.hex_id()}"
        account_sid = account.account_sid
        path = f"/{API_VERSION}/Accounts/{account_sid}/Messages/{message_sid}/Media/{sid}"
        self._files[path] = file
        return self._state.base + path

    def keep_recording(self, account: TwilioAccount, sid: str, seconds: int) -> str:
        """Keep a recording; returns its URL, which gives WAV, or MP3 with `.mp3` appended."""
        path = f"/{API_VERSION}/Accounts/{account.account_sid}/Recordings/{sid}"
        wav = File(content=_wav(seconds), content_type="audio/x-wav")
        self._files[path] = self._files[f"{path}.wav"] = wav
        self._files[f"{path}.mp3"] = File(content=_mp3(seconds), content_type="audio/mpeg")
        return self._state.base + path

    async def _fetch(self, request: web.Request) -> web.Response:
        try:
            self._accounts.open(request)
            file = self._files.get(request.path)
            if file is None:
                raise ApiError(20404, {"path": request.path})
        except ProviderError as error:
            return error.response()
        return web.Response(body=file.content, headers={"Content-Type": file.content_type})
