"""Who is signed in to the inbox, and until when."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from tests.inbox.conftest import ORIGIN, Inbox
from tests.service.conftest import SECRET, token

MEMBER = "member@alpha.example.com"
OWNER = "owner@alpha.example.com"


async def test_a_link_signs_in_once(inbox: Inbox) -> None:
    """Opening the link changes nothing, its button signs in, and then it no longer works."""
    browser, path = inbox.browser(), await inbox.link(MEMBER)

    opened = [await browser.get(path) for _ in range(2)]
    used = await browser.post(path)
    again = await inbox.browser().post(path)
    reopened = await inbox.browser().get(path)
    home = await browser.get("")

    assert [200, 200] == [shown.status for shown in opened]
    assert MEMBER in opened[0].words
    assert (303, "/gw/inbox") == (used.status, used.location)
    assert [410, 410] == [again.status, reopened.status]
    assert {} == dict(again.cookies)
    assert 200 == home.status
    assert "Alpha" in home.words


async def test_the_cookie_is_for_our_pages_alone(inbox: Inbox) -> None:
    """HttpOnly, SameSite, Secure behind https, on the path of the inbox; another one each time."""
    cookies = []
    for _ in range(2):
        used = await inbox.browser().post(await inbox.link(MEMBER))
        ((name, morsel),) = used.cookies.items()
        cookies.append(morsel.value)

    assert "__Secure-gateway_session" == name
    assert (True, True, "Lax", "/gw/inbox", "") == (
        morsel["httponly"],
        morsel["secure"],
        morsel["samesite"],
        morsel["path"],
        morsel["domain"],
    )
    assert cookies[0] != cookies[1]
    async with inbox.gateway.database.as_service() as db:
        stored = await db.fetch("SELECT digest FROM gateway.staff_sessions")
    assert all(cookie.encode() not in row["digest"] for cookie in cookies for row in stored)


async def test_a_link_of_another_or_of_nobody(inbox: Inbox) -> None:
    """A token that is not ours, of a dismissed person, or out of time signs nobody in."""
    path = await inbox.link(MEMBER)
    forged = path[:-2] + ("AA" if not path.endswith("AA") else "BB")
    late = await inbox.link(MEMBER)
    await inbox.change("UPDATE gateway.staff_links SET expires_at = now() - interval '1 second'")
    dismissed = await inbox.link(MEMBER)
    await inbox.change("UPDATE auth_users SET is_active = false WHERE email = $1", MEMBER)

    shown = [
        await inbox.browser().post(each) for each in (forged, "/link/nonsense", late, dismissed)
    ]

    assert [404, 404, 410, 410] == [each.status for each in shown]
    assert all(not each.cookies for each in shown)


async def test_one_link_ends_the_others_and_the_old_session(inbox: Inbox) -> None:
    """Who signs in anew leaves neither a waiting link nor the old session behind."""
    browser = await inbox.signed_in(MEMBER)
    old = dict(browser.cookies)
    waiting, using = await inbox.link(MEMBER), await inbox.link(MEMBER)

    await browser.post(using)
    over = await inbox.browser().get(waiting)
    other = inbox.browser()
    other.cookies = old

    assert 410 == over.status
    assert 303 == (await other.get("")).status
    assert 200 == (await browser.get("")).status


async def test_signing_out_ends_the_session(inbox: Inbox) -> None:
    """The cookie is taken back, and worth nothing to whoever kept it."""
    browser = await inbox.signed_in(MEMBER)
    kept = dict(browser.cookies)

    out = await browser.post("/sign-out")
    thief = inbox.browser()
    thief.cookies = kept
    after = await thief.get("")

    assert (303, "/gw/inbox/sign-in?bye=1") == (out.status, out.location)
    assert {} == browser.cookies
    assert (303, "/gw/inbox/sign-in") == (after.status, after.location)
    assert "You are signed out." in (await browser.get("/sign-in?bye=1")).words
    assert 303 == (await inbox.browser().post("/sign-out")).status


async def test_a_late_refusal_leaves_the_new_session(inbox: Inbox) -> None:
    """What was asked while nobody was signed in takes no cookie back: when its answer comes, the
    browser may have the one of a new session."""
    browser = await inbox.signed_in(MEMBER)
    await inbox.change("DELETE FROM gateway.staff_sessions")

    refused = [
        await browser.get(""),
        await browser.get("", HX_Request="true", X_By_Itself="1"),
        await browser.get("/live?after="),
        await browser.post("/templates/new"),
        await browser.get("/nowhere"),
    ]

    assert [303, 401, 303, 303, 303] == [each.status for each in refused]
    assert all("Set-Cookie" not in each.headers for each in refused)


async def test_signing_out_everywhere(inbox: Inbox) -> None:
    """Every session of this person ends, and every link; nobody else's."""
    browsers = [await inbox.signed_in(MEMBER) for _ in range(2)]
    owner, waiting = await inbox.signed_in(OWNER), await inbox.link(MEMBER)

    await browsers[0].post("/sign-out-everywhere")

    assert [303, 303, 200] == [(await each.get("")).status for each in (*browsers, owner)]
    assert 410 == (await inbox.browser().get(waiting)).status


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE auth_users SET is_active = false WHERE email = $1",
        "UPDATE auth_users SET organization_id = NULL WHERE email = $1",
        "DELETE FROM auth_users WHERE email = $1",
    ],
)
async def test_dismissed_staff_are_out_at_once(inbox: Inbox, change: str) -> None:
    """The next request of somebody who is no active staff any more finds no session, for good."""
    browser = await inbox.signed_in(MEMBER)
    kept = dict(browser.cookies)
    before = await browser.get("")

    await inbox.change(change, MEMBER)
    after = await browser.get("")
    await inbox.change("UPDATE auth_users SET is_active = true WHERE email = $1", MEMBER)
    browser.cookies = kept
    again = await browser.get("")

    assert [200, 303, 303] == [before.status, after.status, again.status]


async def test_who_moved_to_another_organization_signs_in_anew(inbox: Inbox) -> None:
    """A session is of one organization: it does not open the next one."""
    browser = await inbox.signed_in(MEMBER)

    await inbox.change(
        "UPDATE auth_users SET organization_id = $2 WHERE email = $1",
        MEMBER,
        inbox.gateway.b.organization_id,
    )

    assert 303 == (await browser.get("")).status


async def test_a_role_counts_from_the_next_request(inbox: Inbox) -> None:
    """An owner who is made a member opens the pages of owners no more."""
    browser = await inbox.signed_in(OWNER)
    before = await browser.get("/templates")

    await inbox.change("UPDATE auth_users SET role = 'member' WHERE email = $1", OWNER)

    assert [200, 403] == [before.status, (await browser.get("/templates")).status]


@pytest.mark.parametrize("column", ["last_seen_at", "expires_at"])
async def test_sessions_end_by_themselves(inbox: Inbox, column: str) -> None:
    """After 12 hours without a request, and after 7 days whatever was asked."""
    browser = await inbox.signed_in(MEMBER)
    await inbox.change(
        "UPDATE gateway.staff_sessions SET last_seen_at = now() - interval '11 hours'"
    )
    used = await browser.get("")
    seen = await inbox.value("SELECT max(now() - last_seen_at) FROM gateway.staff_sessions")

    await inbox.change(
        f"UPDATE gateway.staff_sessions SET {column} = {column} - interval '7 days 1 minute'"  # noqa: S608
    )

    assert 200 == used.status
    assert seen.total_seconds() < 60
    assert 303 == (await browser.get("")).status


async def test_a_token_becomes_a_session(inbox: Inbox) -> None:
    """A Supabase token in the form leads on; as a Bearer it answers 204; both give the cookie."""
    row = await inbox.staff(MEMBER)
    jwt = token(row["auth_id"])
    by_form, by_header = inbox.browser(), inbox.browser()

    form = await by_form.post("/session", {"access_token": f" {jwt}\n", "next": "/x?y=1"})
    header = await by_header.post("/session", Authorization=f"Bearer {jwt}")

    assert (303, "/gw/inbox/x?y=1") == (form.status, form.location)
    assert 204 == header.status
    assert [200, 200] == [(await each.get("")).status for each in (by_form, by_header)]


async def test_what_is_no_token_of_staff(inbox: Inbox) -> None:
    """An API key, a token of nobody, of another secret or out of time gives no session."""
    row = await inbox.staff(MEMBER)
    given = [
        "",
        "é",
        inbox.gateway.a.key,
        token("7d9f1a52-0000-4000-8000-000000000000"),
        token(row["auth_id"], "another secret of thirty-two characters"),
        token(row["auth_id"], exp=1),
    ]

    forms = [await inbox.browser().post("/session", {"access_token": each}) for each in given]
    header = await inbox.browser().post("/session", Authorization=f"Bearer {given[-1]}")

    assert [422] * len(given) == [shown.status for shown in forms]
    assert 401 == header.status
    assert all(not shown.cookies for shown in (*forms, header))
    assert all(each not in shown.text for each, shown in zip(given[2:], forms[2:], strict=True))
    assert SECRET not in forms[0].text


async def test_without_supabase_there_is_no_password(inbox: Inbox) -> None:
    """Neither on the page nor behind it."""
    page = await inbox.browser().get("/sign-in")
    form = {"email": MEMBER, "password": "x"}
    shown = await inbox.browser().post("/sign-in/password", form)

    assert "With your password" not in page.words
    assert 404 == shown.status


@pytest.mark.parametrize(
    ("wanted", "leads"),
    [
        ("", "/gw/inbox"),
        ("/templates?channel=sms", "/gw/inbox/templates?channel=sms"),
        ("?q=x", "/gw/inbox?q=x"),
        ("//evil.example", "/gw/inbox//evil.example"),
        ("https://evil.example", "/gw/inbox"),
        ("/\\evil.example", "/gw/inbox"),
        ("/a\r\nSet-Cookie: x=y", "/gw/inbox"),
    ],
)
async def test_the_way_on_stays_in_the_inbox(inbox: Inbox, wanted: str, leads: str) -> None:
    """Where somebody wanted to go is a path of the inbox, or its first page."""
    row = await inbox.staff(MEMBER)

    shown = await inbox.browser().post(
        "/session", {"access_token": token(row["auth_id"]), "next": wanted}
    )

    assert leads == shown.location


@pytest.mark.parametrize(
    ("wanted", "leads"),
    [
        ('/templates?channel=sms&name=a%3Bb;"c', '/gw/inbox/templates?channel=sms&name=a%3Bb;"c'),
        ("/\\evil.example", "/gw/inbox"),
        ("", "/gw/inbox"),
    ],
)
async def test_a_link_leads_on_in_the_browser_that_asked(
    inbox: Inbox, wanted: str, leads: str
) -> None:
    """Where somebody wanted to go is known once, and nowhere but there."""
    browser, other = inbox.browser(), inbox.browser()
    assert (
        'name="next" value="/c/x"'
        in (await browser.get("/sign-in?next=/c/x")).text.split('id="by-link"')[1]
    )
    asked = await browser.post("/sign-in/link", {"email": MEMBER, "next": wanted})
    assert 200 == asked.status
    assert bool(asked.cookies) is (leads != "/gw/inbox")
    for morsel in asked.cookies.values():
        assert (True, "Lax", "/gw/inbox") == (
            morsel["httponly"],
            morsel["samesite"],
            morsel["path"],
        )
        assert morsel["secure"]

    here = await browser.post(await inbox.link(MEMBER))
    there = await other.post(await inbox.link(MEMBER))
    await browser.get("")
    once_more = await browser.post(await inbox.link(MEMBER))

    assert [leads, "/gw/inbox", "/gw/inbox"] == [each.location for each in (here, there, once_more)]


async def test_the_next_who_asks_for_a_link_goes_their_own_way(inbox: Inbox) -> None:
    """Where somebody wanted to go who did not sign in is forgotten when a new link is asked for."""
    browser = inbox.browser()
    await browser.post("/sign-in/link", {"email": OWNER, "next": "/c/x"})
    await browser.post("/sign-in/link", {"email": MEMBER})
    assert "/gw/inbox" == (await browser.post(await inbox.link(MEMBER))).location


async def test_pages_ask_to_sign_in_and_lead_back(inbox: Inbox) -> None:
    """A page leads to the sign-in with the way back; htmx is told that it is needed."""
    browser = inbox.browser()

    page = await browser.get("/templates?channel=sms")
    part = await browser.get("/templates", HX_Request="true")
    posted = await browser.post(f"/m/{uuid4()}/cancel", {"do": "x"})
    signed_in = await (await inbox.signed_in(MEMBER)).get("/sign-in?next=/x")

    assert "/gw/inbox/sign-in?next=%2Ftemplates%3Fchannel%3Dsms" == page.location
    assert 401 == part.status
    assert "Your session has ended." in part.words
    assert 'href="/gw/inbox/sign-in" target="_blank"' in part.text
    assert (303, "/gw/inbox/sign-in") == (posted.status, posted.location)
    assert (303, "/gw/inbox/x") == (signed_in.status, signed_in.location)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{ORIGIN}.evil.example"},
        {"Origin": ORIGIN.replace("https", "http")},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none", "Origin": "https://evil.example"},
    ],
)
async def test_forms_of_other_sites_do_nothing(inbox: Inbox, headers: dict[str, str]) -> None:
    """Not even with the form's own token, nor to sign somebody in."""
    browser, path = await inbox.signed_in(OWNER), await inbox.link(MEMBER)

    out = await browser.post("/sign-out", None, **headers)
    used = await inbox.browser().post(path, None, **headers)

    assert [403, 403] == [out.status, used.status]
    assert not used.cookies
    assert 200 == (await browser.get("")).status


@pytest.mark.parametrize("given", ["", "00" * 32, "zz", None])
async def test_a_form_without_its_token_does_nothing(inbox: Inbox, given: str | None) -> None:
    """A missing token, another session's, or nonsense is refused; htmx sends it as a header."""
    browser, other = await inbox.signed_in(OWNER), await inbox.signed_in(OWNER)
    browser.csrf = ""

    fields = {"csrf": other.csrf if given is None else given}
    refused = await browser.post("/sign-out", fields)
    header = await browser.post("/sign-out", X_CSRF_Token=other.csrf)
    stays = await browser.get("")
    right = await browser.post("/sign-out", {"csrf": "x"}, X_CSRF_Token=browser.csrf)

    assert [403, 403, 200] == [refused.status, header.status, stays.status]
    assert 303 == right.status


async def test_a_body_that_is_no_form(inbox: Inbox) -> None:
    """Bodies that cannot be read are refused; a form with a file needs its token like any other."""
    browser = await inbox.signed_in(OWNER)
    multipart = {"Content_Type": "multipart/form-data; boundary=x"}

    shown = await browser.raw("/sign-out", b"--x\r\nnonsense", **multipart)
    file = b'--x\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\nb\r\n--x--\r\n'
    with_file = await browser.raw("/sign-out", file, **multipart)
    form = {"Content_Type": "application/x-www-form-urlencoded; charset=nonsense"}
    charset = await browser.raw("/sign-out", b"csrf=1", **form)

    assert [400, 403, 400] == [shown.status, with_file.status, charset.status]


@pytest.mark.parametrize(
    "odd",
    [
        "(" * 5000,
        '"' * 8000,
        "text/plain; " + ";" * 8000,
        "=?unicode-escape?q?=5Cud800?=",
        ";\x80*",
    ],
)
async def test_a_type_that_no_form_has(inbox: Inbox, odd: str) -> None:
    """A Content-Type that is slow to parse, or breaks who parses it, is refused at once.

    One of semicolons, as long as a header may be, blocked the process for eight seconds.
    """
    browser = inbox.browser()
    begun = time.process_time()
    shown = await browser.raw("/session", b"access_token=x", Content_Type=odd)

    assert (400, True) == (shown.status, "The form cannot be read." in shown.words)
    assert time.process_time() - begun < 0.3
