"""Which addresses the gateway may call on behalf of others: public ones, never internal ones.

A name is resolved once, and only the addresses that were checked are connected to, so that the name
cannot point elsewhere a moment later. Internal ranges:
https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from channels.names import OwnThreads

PORTS = (80, 443, 8080, 8443)
# Names that are looked up at a time: far more than one organization has under way, even if none of
# its name servers answers. A look-up goes on after its caller gave up.
LOOK_UPS = 128

_INTERNAL_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # the wire server of Azure, reached from every machine there
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Everything outside is loopback, link-local, unique local, multicast, mapped or reserved.
_GLOBAL_6 = IPv6Network("2000::/3")
_INTERNAL_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, ORCHID and other protocols
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address is inside
        "3fff::/20",
    )
)
# In networks without IPv4, DNS64 maps the IPv4 address of a public name into this range.
_NAT64 = IPv6Network("64:ff9b::/96")

_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)+[a-z0-9-]{2,63}\.?")


class ForbiddenAddress(Exception):
    """A URL that must not be called on behalf of others; the text says why."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _INTERNAL_4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GLOBAL_6 and not any(address in network for network in _INTERNAL_6)


def check_url(url: URL) -> None:
    """Raise `ForbiddenAddress` if the URL itself shows that it must not be called."""
    if url.scheme not in ("http", "https"):
        raise ForbiddenAddress("its URL is neither http nor https")
    if url.user is not None or url.password is not None:
        raise ForbiddenAddress("its URL holds a user name or a password")
    if url.port not in PORTS:
        raise ForbiddenAddress("its URL names an unusual port")
    host = (url.raw_host or "").lower()
    try:
        address = ip_address(host)
    except ValueError:
        # Refuse a single label, which is a name in our own network, and a name that ends in a
        # number, which the resolver may take for an unusual form of an IPv4 address.
        name = host.removesuffix(".")
        if not _NAME.fullmatch(host) or re.fullmatch(r"[0-9]+|0x[0-9a-f]*", name.split(".")[-1]):
            raise ForbiddenAddress("its URL names no public host") from None
    else:
        if getattr(address, "scope_id", None) is not None or not is_public(address):
            raise ForbiddenAddress("its URL leads to an internal address")


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those with any internal address."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or OwnThreads(LOOK_UPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name; raises `ForbiddenAddress`, or `OSError` if it has none."""
        found = await self._resolver.resolve(host, port, family=family)
        for one in found:
            try:
                address = ip_address(one["host"])
            except ValueError:  # an IPv6 address with a zone that Python cannot read
                raise ForbiddenAddress("its host has an address that cannot be read") from None
            if getattr(address, "scope_id", None) is not None or not is_public(address):
                raise ForbiddenAddress("its host has an internal address")
        return found

    async def close(self) -> None:
        """Close the resolver that this one uses."""
        await self._resolver.close()
