"""Protection against CSRF: requests that change something must come from our own pages. This module
checks what the browser says, and `visit.check_form` the token in the form.

https://owasp.org/www-community/attacks/csrf: every browser since 2023 sends Sec-Fetch-Site over
https and to this machine, and Origin with every POST. A client that sends neither is not a browser,
so it has no cookie that another site's page could use.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from gateway.config import Settings
from gateway.problems import Problem

SAFE = ("GET", "HEAD")
HEADER = "X-CSRF-Token"
FIELD = "csrf"
_HERE = ("localhost", "127.0.0.1", "[::1]")


def check_origin(settings: Settings, request: web.Request) -> None:
    """Raise `Problem` 403 for a request that another site's page sent."""
    headers = request.headers
    if not is_own(settings, headers.get("Sec-Fetch-Site"), headers.get("Origin")):
        raise Problem(
            403, "This was sent from another site. Open the inbox at its own address and try again."
        )


def is_own(settings: Settings, site: str | None, origin: str | None) -> bool:
    """Whether a request with these headers comes from our own page, or not from a browser."""
    if site == "same-origin":
        return True
    return site in (None, "none") and (origin is None or origin in _origins(settings))


def _origins(settings: Settings) -> tuple[str, ...]:
    parts = urlsplit(settings.base_url)
    own = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if settings.public_url is not None:
        return (own,)
    # Without PUBLIC_URL the inbox is on this machine, and may be opened under any of its names.
    return (own, *(f"http://{host}:{settings.port}" for host in _HERE))
