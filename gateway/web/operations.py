"""/healthz, /readyz, /metrics, /openapi.json and /docs."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from urllib.parse import quote

import swagger_ui_bundle
from aiohttp import web

from gateway import links, migrate
from gateway.api.openapi import describe
from gateway.logs import logger
from gateway.problems import Problem
from gateway.store import queue, upkeep
from gateway.store.errors import DatabaseAwayError
from gateway.store.values import as_json_bytes
from gateway.web.http import respond
from gateway.web.services import SERVICES

_log = logger(__name__)

# Prometheus gives a scrape up after ten seconds: without the database the rest must still answer.
_COUNT_SECONDS = 3

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
# The page loads what it needs from here and nothing from anywhere else.
_POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"


def add_routes(app: web.Application, start: str) -> None:
    """Add the paths that operators and readers of the API use, behind `start`."""
    app.router.add_get(start + "/healthz", healthz)
    app.router.add_get(start + "/readyz", readyz)
    app.router.add_get(start + "/metrics", metrics)
    app.router.add_get(start + "/openapi.json", openapi)
    app.router.add_get(start + "/docs", docs)
    app.router.add_get(start + "/docs/{asset}", asset)


async def healthz(_: web.Request) -> web.Response:
    """The process answers."""
    return respond({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """The database answers and has every migration; 503 says what is missing."""
    try:
        async with request.app[SERVICES].database.as_service() as db:
            applied = await upkeep.migrations(db)
    except DatabaseAwayError as error:
        raise Problem(503, f"{error}.") from None
    missing = [version for version in migrate.versions() if version not in applied]
    if missing:
        named = ", ".join(missing)
        raise Problem(503, f"Migrations are missing ({named}): run 'gateway migrate up'.")
    return respond({"status": "ok", "migrations": applied})


async def metrics(request: web.Request) -> web.Response:
    """Numbers for Prometheus, of all processes on this machine; also while the database is away.

    Then the queue's are left out, and `gateway_database_up` is 0.
    """
    services = request.app[SERVICES]
    depth = None
    try:
        async with asyncio.timeout(_COUNT_SECONDS), services.database.as_service() as db:
            depth = await queue.depth(db)
    except (DatabaseAwayError, TimeoutError) as error:
        _log.warning("the queue cannot be counted", error=str(error) or "not in time")
    return web.Response(
        body=services.metrics.page(depth),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


async def openapi(request: web.Request) -> web.Response:
    """The description of /v1, and of what operators ask."""
    base_url = links.shown(request.app[SERVICES].settings.base_url)
    return web.Response(body=as_json_bytes(describe(base_url)), content_type="application/json")


async def docs(_: web.Request) -> web.Response:
    """The description, to read and to try, without a request to another host."""
    return web.Response(
        text=_PAGE, content_type="text/html", headers={"Content-Security-Policy": _POLICY}
    )


async def asset(request: web.Request) -> web.Response:
    """One file of the page."""
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
