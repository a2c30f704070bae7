"""Limits on attempts to sign in, counted in the database for all web processes."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Sequence

from gateway.inbox.visit import Visit
from gateway.store import sessions

SECONDS = 900
_FORWARDED = "X-Forwarded-For"
# As some proxies write it: 198.51.100.7:4711, [2001:db8::7]:4711 or [2001:db8::7].
_WITH_PORT = re.compile(r"([0-9.]+):[0-9]+|\[(.+)\](?::[0-9]+)?")


async def is_allowed(
    visit: Visit, what: str, address: str, *, of_address: int, of_client: int
) -> bool:
    """Count an attempt of an e-mail address and of a client; whether neither is over its limit."""
    headers = visit.request.headers
    client = client_of(visit.request.remote, headers.getall(_FORWARDED, []))
    limits = {
        _bucket(what, "address", address.strip().lower()): of_address,
        _bucket(what, "client", client): of_client,
    }
    async with visit.services.database.as_service() as db:
        return await sessions.count_attempts(db, limits, seconds=SECONDS)


def client_of(remote: str | None, forwarded: Sequence[str]) -> str:
    """Where a request comes from: an IPv4 address, or an IPv6 /64, because a household has one.

    A proxy in our own network puts the address last in X-Forwarded-For. Earlier entries, and the
    whole header of a request that comes straight from outside, may be invented. Hosting platforms
    also have proxies in 100.64.0.0/10, which is neither private nor global.
    """
    peer = _ip(remote or "")
    if peer is not None and not peer.is_global:
        told = ",".join(forwarded).rpartition(",")[2]
        peer = _ip(told.strip()) or peer
    if peer is None:
        return "unknown"
    if isinstance(peer, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((peer, 64), strict=False))
    return str(peer)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with_port = _WITH_PORT.fullmatch(text)
    try:
        found = ipaddress.ip_address((with_port[1] or with_port[2]) if with_port else text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _bucket(*parts: str) -> bytes:
    return hashlib.sha256("\x1f".join(parts).encode(errors="replace")).digest()
