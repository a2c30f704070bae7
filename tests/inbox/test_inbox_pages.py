"""What every page of the inbox has in common: headers, files, errors, times."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from gateway.app import build_app
from gateway.config import Settings
from gateway.inbox import assets
from gateway.inbox.attempts import client_of
from gateway.inbox.clock import clock
from gateway.inbox.guard import is_own
from gateway.inbox.session import Cookie
from gateway.inbox.words import field_name, sentence
from tests.inbox.conftest import Inbox

ROOT = Path(__file__).resolve().parents[2]
VENDOR = ROOT / "gateway" / "inbox" / "static" / "vendor"
OPEN = ("/sign-in", "/link/x", "/nothing")
PAGES = (
    "", "/templates", "/templates/new", "/templates/new?channel=email", "/senders", "/senders/new",
    "/suppressions", "/suppressions/new", "/nothing", "/templates/x", "/templates?cursor=x",
)  # fmt: skip


async def test_every_page_is_fenced(inbox: Inbox) -> None:
    """Nothing from other hosts, nothing inline, no frame around it, nothing kept."""
    visitor, owner = inbox.browser(), await inbox.signed_in()
    shown = [await visitor.get(path) for path in OPEN]
    shown += [await owner.get(path) for path in PAGES]

    for page in shown:
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "nosniff" == page.headers["X-Content-Type-Options"]
        assert "same-origin" == page.headers["Referrer-Policy"]
        if page.status != 303:
            assert "no-store" == page.headers["Cache-Control"]
            assert page.headers["Content-Type"].startswith("text/html")
            assert not re.findall(r"<style|<script(?![^>]* src=)|\sstyle=|\son\w+=", page.text)
            assert not re.findall(r'(?:src|href|action)="(?!/gw/inbox|#)', page.text)


async def test_head_is_answered(inbox: Inbox) -> None:
    """Programs that look at a link before they open it get an answer."""
    path = await inbox.link("member@alpha.example.com")
    async with inbox.http.head(f"/inbox{path}") as response:
        assert 200 == response.status
    assert 200 == (await inbox.browser().get(path)).status


async def test_pages_behind_the_prefix_too(inbox: Inbox) -> None:
    """A proxy may strip the path of PUBLIC_URL or leave it."""
    async with inbox.http.get("/gw/inbox/sign-in") as response:
        assert 200 == response.status
    async with inbox.http.get("/gw/inbox/templates?a=b", allow_redirects=False) as response:
        assert "/gw/inbox/sign-in?next=%2Ftemplates%3Fa%3Db" == response.headers["Location"]
    async with inbox.http.get("/gw/inbox/", allow_redirects=False) as response:
        assert "/gw/inbox/sign-in?next=%2F" == response.headers["Location"]
    async with inbox.http.get("/inboxes") as response:
        assert "application/problem+json" == response.content_type


async def test_errors_are_pages(inbox: Inbox) -> None:
    """They say what is wrong and lead back; a part of a page gets their words alone."""
    owner, member = await inbox.signed_in(), await inbox.signed_in("member@alpha.example.com")

    missing = await owner.get("/nothing")
    first = await owner.get("/")
    part = await owner.get("/nothing", HX_Request="true")
    whole = await owner.get("/nothing", HX_Request="true", HX_History_Restore_Request="true")
    refused = await member.get("/senders")
    method = await owner.post("/nothing")

    assert (404, True) == (missing.status, "Back to the inbox" in missing.words)
    assert (303, "/gw/inbox") == (first.status, first.location)
    assert (404, False) == (part.status, "<html" in part.text)
    assert (404, True) == (whole.status, "<html" in whole.text)
    assert (403, True) == (refused.status, "owner or admin" in refused.words)
    assert "Templates" not in refused.words
    assert 404 == method.status


async def test_the_database_is_away(settings: Settings) -> None:
    """Also then it is a page, and nobody is signed out."""
    gone = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"})
    cookie = f"{Cookie.of(gone).name}=some-token"
    async with (
        TestServer(build_app(gone)) as server,
        aiohttp.ClientSession(server.make_url("/"), headers={"Cookie": cookie}) as http,
        http.get("/inbox/templates") as response,
    ):
        text = await response.text()

    assert (503, "1") == (response.status, response.headers["Retry-After"])
    assert "text/html" == response.content_type
    assert "try again" in text
    assert "Set-Cookie" not in response.headers


async def test_files_are_kept_for_a_year_by_their_content(inbox: Inbox) -> None:
    """Each file of a page has its type; an old name is asked for anew; nothing else is served."""
    page = await inbox.browser().get("/sign-in")
    paths = re.findall(r'(?:src|href)="/gw/inbox(/static/[^"]+)"', page.text)
    assert 8 == len(paths)
    for path in paths:
        shown = await inbox.browser().get(path)
        assert 200 == shown.status
        assert "immutable" in shown.headers["Cache-Control"]
        kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
        assert shown.headers["Content-Type"].startswith(kind[path.rpartition(".")[2]])
        again = await inbox.browser().get(path, If_None_Match=shown.headers["ETag"])
        assert (304, "") == (again.status, again.text)
    old = await inbox.browser().get(re.sub(r"/static/\w+/", "/static/0/", paths[0]))
    assert (200, "no-cache") == (old.status, old.headers["Cache-Control"])
    for name in ("../routes.py", "vendor/SHA256SUMS", "vendor/htmx.LICENSE", "%2e%2e/visit.py"):
        assert (await inbox.browser().get(f"/static/0/{name}")).status in (303, 404)


def test_vendored_files_are_what_was_looked_at() -> None:
    """Their sums are those of SHA256SUMS, each with its licence, and nothing else is there."""
    listed = {}
    for line in (VENDOR / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        listed[name] = digest
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.name != "SHA256SUMS"
    }

    assert listed == found
    assert {"htmx.LICENSE", "pico.LICENSE.md"} < found.keys()
    assert assets.assets()["vendor/htmx.min.js"].digest == found["htmx.min.js"][:16]


NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "moment", "short"),
    [
        (datetime(2026, 3, 10, 9, 5, tzinfo=UTC), "10:05", "10:05"),
        (datetime(2026, 3, 9, 23, 30, tzinfo=UTC), "00:30", "00:30"),
        (datetime(2026, 3, 9, 22, 30, tzinfo=UTC), "Yesterday, 23:30", "9 Mar"),
        (datetime(2026, 3, 11, 9, 0, tzinfo=UTC), "Wednesday 11 March, 10:00", "11 Mar"),
        (datetime(2025, 12, 31, 12, 0, tzinfo=UTC), "Wednesday 31 December 2025, 13:00",
         "31 Dec 2025"),
    ],
)  # fmt: skip
def test_times_are_the_viewers(at: datetime, moment: str, short: str) -> None:
    """In their zone, the nearer the shorter, with the moment itself for machines."""
    theirs = clock("Europe/Berlin", "Asia/Tokyo", NOW)

    assert f">{moment}</time>" in theirs.moment(at)
    assert f">{short}</time>" in theirs.short(at)
    assert f'datetime="{at:%Y-%m-%dT%H:%M:%S}Z"' in theirs.time(at)
    assert "(Europe/Berlin)" in theirs.moment(at)


@pytest.mark.parametrize(
    ("theirs", "of_organization", "name"),
    [
        ("Europe/Berlin", "Asia/Tokyo", "Europe/Berlin"),
        (None, "Asia/Tokyo", "Asia/Tokyo"),
        ("../../etc/passwd", None, "UTC"),
        ("/etc/localtime", "Nowhere/Town", "UTC"),
        ("Europe", None, "UTC"),
        ("x" * 65, None, "UTC"),
        ("<b>", None, "UTC"),
        ("\x00", None, "UTC"),
    ],
)
def test_zones(theirs: str | None, of_organization: str | None, name: str) -> None:
    """The browser's, else the organization's, else UTC; whatever somebody puts into the cookie."""
    found = clock(theirs, of_organization, NOW)

    assert (name, name == theirs) == (found.name, found.is_theirs)
    assert (UTC if name == "UTC" else ZoneInfo(name)) == found.zone


async def test_pages_name_their_zone(inbox: Inbox) -> None:
    """The organization's where no browser has told its own."""
    browser = await inbox.signed_in()
    await inbox.change(
        'UPDATE organizations SET settings = \'{"timezone": "Asia/Tokyo"}\' WHERE id = $1',
        inbox.gateway.a.organization_id,
    )
    told = await browser.get("")
    browser.cookies["gateway_zone"] = "Europe/London"

    assert "Times are in Asia/Tokyo." in told.words
    assert "Times are in Europe/London." in (await browser.get("")).words


@pytest.mark.parametrize(
    ("public_url", "name", "path"),
    [
        (None, "gateway_session", "/inbox"),
        ("http://msg.example.org/gw", "gateway_session", "/gw/inbox"),
        ("https://msg.example.org", "__Host-gateway_session", "/"),
        ("https://msg.example.org/gw", "__Secure-gateway_session", "/gw/inbox"),
    ],
)
def test_the_cookie_by_public_url(public_url: str | None, name: str, path: str) -> None:
    """As narrow as the address allows."""
    cookie = Cookie.of(Settings(public_url=public_url))

    assert (name, path, name.startswith("__")) == (cookie.name, cookie.path, cookie.is_secure)


@pytest.mark.parametrize(
    ("site", "origin", "is_ours"),
    [
        (None, None, True),
        ("none", None, True),
        ("same-origin", "http://127.0.0.1:8080", True),
        (None, "http://127.0.0.1:8080", True),
        (None, "http://localhost:8080", True),
        (None, "http://localhost:9090", False),
        (None, "https://localhost:8080", False),
        ("cross-site", "http://localhost:8080", False),
    ],
)
def test_forms_on_this_machine(site: str | None, origin: str | None, is_ours: bool) -> None:  # noqa: FBT001
    """Without PUBLIC_URL our own pages are at any name of this machine, on our port."""
    assert is_ours == is_own(Settings(), site, origin)


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("198.51.100.7", [], "198.51.100.7"),
        ("8.8.8.8", ["192.0.2.1"], "8.8.8.8"),
        ("10.0.0.1", ["192.0.2.1, 8.8.4.4"], "8.8.4.4"),
        ("10.0.0.1", ["8.8.4.4", "192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.1, 8.8.4.4:51234"], "8.8.4.4"),
        ("10.0.0.1", ["[2a00:1450:4001:81b::200e]:443"], "2a00:1450:4001:81b::/64"),
        ("10.0.0.1", ["[2a00:1450:4001:81b::200e]"], "2a00:1450:4001:81b::/64"),
        ("10.0.0.1", ["8.8.4.4:"], "10.0.0.1"),
        ("100.64.0.3", ["192.0.2.1, 8.8.4.4"], "8.8.4.4"),
        ("100.64.0.3", [], "100.64.0.3"),
        ("::ffff:8.8.8.8", [], "8.8.8.8"),
        ("2a00:1450:4001:81b::200e", [], "2a00:1450:4001:81b::/64"),
        ("", [], "unknown"),
        (None, [], "unknown"),
    ],
)
def test_who_is_counted(remote: str | None, forwarded: list[str], client: str) -> None:
    """The last that a proxy of ours says; nobody else is believed about themselves."""
    assert client == client_of(remote, forwarded)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("is required", "This is required."),
        ("must be a list", "This must be a list."),
        ("are at most 20 on email", "These are at most 20 on email."),
        ("Too long.", "Too long."),
        ("", ""),
    ],
)
def test_findings_are_sentences(text: str, said: str) -> None:
    """What /v1 says after a field's name stands alone on a page."""
    assert said == sentence(text)


def test_field_names() -> None:
    """As the labels say them."""
    names = ["options.reply_to", "account_id", "variables.first_name", "all"]
    assert ["Reply to", "Account", "first_name", "The form"] == [field_name(name) for name in names]
