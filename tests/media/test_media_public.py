"""No internal address is called for others, however it is written or named."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gateway.outside.public import ForbiddenAddress, PublicResolver, check_url, is_public
from tests.media.conftest import Names

INTERNAL = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
]
INTERNAL_6 = [
    "::/128",
    "::1/128",
    "::/96",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]


def inside(network: IPv4Network | IPv6Network) -> st.SearchStrategy[str]:
    """Addresses of a network, as text."""
    first = int(network.network_address)
    kind: type[IPv4Address | IPv6Address] = (
        IPv4Address if isinstance(network, IPv4Network) else IPv6Address
    )
    return st.integers(first, first + network.num_addresses - 1).map(lambda n: str(kind(n)))


internal_4 = st.one_of([inside(IPv4Network(text)) for text in INTERNAL])
internal_6 = st.one_of([inside(IPv6Network(text)) for text in INTERNAL_6])


def notations(text: str) -> list[str]:
    """An IPv4 address in every way that some resolver or library takes for it."""
    address = IPv4Address(text)
    number, (a, b, c, d) = int(address), address.packed
    return [
        text,
        f"{text}.",
        str(number),
        hex(number),
        f"0{number:o}",
        f"{a}.{b}.{c * 256 + d}",
        f"{a}.{b * 65536 + c * 256 + d}",
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"0x{a:x}.{b}.{c}.{d}",
        f"{a}.{b}.{c}.0x{d:x}",
        f"[::ffff:{text}]",
        f"[::{text}]",
        f"[::ffff:0:{text}]",
        f"[64:ff9b::{text}]",
        f"[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1]",
    ]


def refusal(text: str) -> str | None:
    """Why a URL is refused; None when it is not."""
    try:
        url = URL(text, encoded=True)
    except ValueError:
        return "no URL"
    try:
        check_url(url)
    except ForbiddenAddress as error:
        return str(error)
    return None


@given(internal_4)
def test_internal_addresses_in_every_notation(text: str) -> None:
    """An internal IPv4 address is refused however a URL writes it."""
    accepted = [
        form for form in notations(text) if refusal(f"http://{form}/latest/meta-data") is None
    ]

    assert [] == accepted


@given(internal_6)
def test_internal_addresses_of_version_6(text: str) -> None:
    """An internal IPv6 address is refused, with a zone too."""
    assert (False, True, True) == (
        is_public(ip_address(text)),
        refusal(f"https://[{text}]/") is not None,
        refusal(f"https://[{text}%25eth0]/") is not None,
    )


@given(st.one_of(internal_4, internal_6), st.sampled_from([[], ["8.8.8.8"]]))
async def test_names_of_internal_addresses(text: str, also: list[str]) -> None:
    """A name is refused when any of its addresses is internal."""
    names = Names()
    names.lead("cdn.example.com", *also, text)

    with pytest.raises(ForbiddenAddress):
        await PublicResolver(names).resolve("cdn.example.com", 443)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "64:ff9b::808:808"]
)
async def test_public_addresses(address: str) -> None:
    """Names of public addresses are resolved, also through a DNS64."""
    names = Names()
    names.lead("cdn.example.com", address)
    resolver = PublicResolver(names)
    found = await resolver.resolve("cdn.example.com", 443)
    await resolver.close()

    assert [address] == [one["host"] for one in found]


@pytest.mark.parametrize("address", ["fe80::1%eth0", "2606:4700::1111%1", "what is this"])
async def test_addresses_that_cannot_be_judged(address: str) -> None:
    """An address with a zone, or one that nobody can read, is not public."""
    names = Names()
    names.lead("cdn.example.com", address)

    with pytest.raises(ForbiddenAddress):
        await PublicResolver(names).resolve("cdn.example.com", 443)


async def test_own_resolver() -> None:
    """The machine's own resolver is asked where no other is given."""
    with pytest.raises(ForbiddenAddress):
        await PublicResolver().resolve("localhost", 80, socket.AF_INET)


HOST = "its URL names no public host"
PORT = "its URL names an unusual port"
USER = "its URL holds a user name or a password"
INSIDE = "its URL leads to an internal address"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://api.example.com/a", None),
        ("http://api.example.com:8080/a?b=c", None),
        ("https://api.example.com.:8443/a", None),
        ("https://xn--bcher-kva.example/a", None),
        ("https://93.184.215.14/a", None),
        ("https://[2606:4700::1111]/a", None),
        ("http://localhost/a", HOST),
        ("http://LOCALHOST./a", HOST),
        ("http://postgres/a", HOST),
        ("http://127.1/a", HOST),
        ("http://1.2.3.0x4/a", HOST),
        ("http://example.com%00.localhost/a", HOST),
        ("http://ⓛocalhost.example/a", HOST),
        ("http://127.0.0.1/a", INSIDE),
        ("http://[::1]/a", INSIDE),
        ("http://169.254.169.254/latest", INSIDE),
        ("http://api.example.com:22/a", PORT),
        ("http://api.example.com:6379/a", PORT),
        ("http://user@api.example.com/a", USER),
        ("http://:secret@api.example.com/a", USER),
        ("http://api.example.com@127.0.0.1/a", USER),
        ("ftp://api.example.com/a", "its URL is neither http nor https"),
        ("file:///etc/passwd", "its URL is neither http nor https"),
        ("gopher://api.example.com/a", "its URL is neither http nor https"),
    ],
)
def test_urls(url: str, why: str | None) -> None:
    """What a URL alone gives away is judged before any name is resolved."""
    assert why == refusal(url)
