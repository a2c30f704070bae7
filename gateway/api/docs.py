"""/openapi.json describes the API; /docs shows that description, and lets people try the API."""

from __future__ import annotations

from importlib.resources import files
from urllib.parse import quote

import swagger_ui_bundle
from aiohttp import web

from gateway import links
from gateway.api.openapi import describe
from gateway.problems import Problem
from gateway.web.http import respond
from gateway.web.services import SERVICES

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gateway API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#docs", validatorUrl: null});\n'
# The page loads nothing from other hosts.
_POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"


def add_routes(app: web.Application, start: str) -> None:
    """Add the description and its page, below the path `start`."""
    app.router.add_get(start + "/openapi.json", openapi)
    app.router.add_get(start + "/docs", docs)
    app.router.add_get(start + "/docs/{asset}", asset)


async def openapi(request: web.Request) -> web.Response:
    """The description of /v1, and of the endpoints for operators."""
    base_url = links.shown(request.app[SERVICES].settings.base_url)
    return respond(describe(base_url))


async def docs(_: web.Request) -> web.Response:
    """The page that shows the description, without requests to other hosts."""
    return web.Response(
        text=_PAGE, content_type="text/html", headers={"Content-Security-Policy": _POLICY}
    )


async def asset(request: web.Request) -> web.Response:
    """One script or style sheet of that page."""
    name = request.match_info["asset"]
    if name == "start.js":
        return web.Response(text=_START, content_type="text/javascript")
    if name not in _ASSETS:
        raise Problem(404, f"There is no file {quote(name)}.")
    folder = files(swagger_ui_bundle) / "vendor"
    (version,) = (each for each in folder.iterdir() if each.name.startswith("swagger-ui-"))
    return web.Response(
        body=(version / name).read_bytes(),
        content_type=_ASSETS[name],
        headers={"Cache-Control": "max-age=86400"},
    )
