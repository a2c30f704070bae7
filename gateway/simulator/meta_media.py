"""Files of WhatsApp messages: an id leads to a URL, the URL to the file; both need the token.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media
"""

from __future__ import annotations

import hashlib
from urllib.parse import urlencode

import orjson
from aiohttp import web

from gateway.simulator.files import File
from gateway.simulator.intake import ProviderError
from gateway.simulator.meta_accounts import MetaAccounts
from gateway.simulator.meta_errors import MetaError
from gateway.simulator.state import State

PATH = "/whatsapp_business/attachments/"


class MetaMedia:
    """The files of all accounts, by id."""

    def __init__(self, state: State, accounts: MetaAccounts) -> None:
        """Start with none."""
        self._state = state
        self._accounts = accounts
        self._files: dict[str, File] = {}

    def add_routes(self, app: web.Application, version: str) -> None:
        """Answer on the paths of media."""
        app.router.add_get(version + "/{media_id}", self._find)
        app.router.add_get(PATH, self._download)

    def clear(self) -> None:
        """Drop all."""
        self._files.clear()

    def keep(self, file: File) -> str:
        """Keep a file; returns its id."""
        media_id = str(int(self._state.hex_id(), 16))[:16]
        self._files[media_id] = file
        return media_id

    async def _find(self, request: web.Request) -> web.Response:
        """The URL and the metadata of a file."""
        media_id = request.match_info["media_id"]
        try:
            self._accounts.opened(request)
            file = self._files.get(media_id)
            if file is None:
                raise MetaError(33, f"Object with ID '{media_id}' does not exist.")
        except ProviderError as error:
            return error.response()
        answer = {
            "messaging_product": "whatsapp",
            "url": f"{request.url.origin()}{PATH}?{urlencode({'mid': media_id})}",
            "mime_type": file.content_type,
            "sha256": hashlib.sha256(file.content).hexdigest(),
            "file_size": len(file.content),
            "id": media_id,
        }
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    async def _download(self, request: web.Request) -> web.Response:
        """The file itself."""
        try:
            self._accounts.opened(request)
        except ProviderError as error:
            return error.response()
        file = self._files.get(request.query.get("mid", ""))
        if file is None:
            return web.Response(status=404, text="URL signature expired")
        return web.Response(body=file.content, headers={"Content-Type": file.content_type})
