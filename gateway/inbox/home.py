"""The first page."""

from __future__ import annotations

from aiohttp import web

from gateway.inbox.visit import Visit


async def show(visit: Visit) -> web.StreamResponse:
    """Who is signed in, and where one can go."""
    return visit.page("home.html")
