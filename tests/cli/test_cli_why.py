"""`gateway why`: what an operator reads on a terminal, and what programs get."""

# ruff: noqa: S608 (the names are those of this file)

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import pytest

from tests.cli.shell import Clerk, Done, Shell

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

ORG, OTHER = (f"{letter}0000000-0000-4000-8000-000000000000" for letter in "ab")
FAILED = "0190f3c1-0000-7000-8000-000000000001"
LATER = "0190f3c1-0000-7000-8000-000000000002"
ELSEWHERE = "0190f3c1-0000-7000-8000-000000000003"
SID = "SM" + "3" * 32
ROWS = f"""
INSERT INTO organizations (id, name, settings) VALUES
  ('{ORG}', 'Clinic', '{{"country": "GB"}}'), ('{OTHER}', 'Shop', '{{}}');
INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address, body,
  status, failed_at, error_code, error_message, external_id, created_at) VALUES
  ('{FAILED}', '{ORG}', 'sms', 'outbound', '+15551230001', '+447700900123', 'Hello', 'failed',
    '2026-11-26 13:58:02Z', '99999', 'Odd' || chr(27) || '[2J [bold]words[/bold]', '{SID}',
    '2026-11-26 13:57Z'),
  ('{LATER}', '{ORG}', 'whatsapp', 'inbound', '+447700900123', '+15551230001', 'Hi', 'received',
    NULL, NULL, NULL, 'wamid.1', '2026-11-26 14:30Z'),
  ('{ELSEWHERE}', '{OTHER}', 'sms', 'outbound', '+15551230002', '+447700900123', 'Hello', NULL,
    NULL, NULL, NULL, NULL, '2026-11-20 09:00Z');
INSERT INTO gateway.message_events (organization_id, message_id, id, type, status, occurred_at,
  recorded_at, source, detail) VALUES
  ('{ORG}', '{FAILED}', md5('1')::uuid, 'accepted', 'pending', '2026-11-25 23:59:59Z',
    '2026-11-25 23:59:59Z', 'api', '{{}}'),
  ('{ORG}', '{FAILED}', md5('2')::uuid, 'undelivered', 'failed', '2026-11-26 13:58:02Z',
    '2026-11-26 13:58:03Z', 'twilio',
    '{{"error_code": "30003", "error_message": "Unreachable destination handset"}}');
"""
SHOWN = f"""\
sms outbound · failed · {FAILED} · organization
{ORG}

This SMS to +447700900123 failed on 26 Nov 2026, 13:58 UTC and was not
delivered. Twilio gave a reason that the gateway has no words for (code 99999):
Odd [2J [bold]words[/bold].

What to do: Try once more, or reach the person another way. If it happens again,
show an administrator this page: the code says more to them.

2026-11-25 (UTC)
"""


@pytest.fixture
async def rows(database: str) -> AsyncIterator[Connection]:
    """Messages of two organizations with one person."""
    connection = await asyncpg.connect(database)
    await connection.execute(ROWS)
    yield connection
    await connection.close()


async def ask(clerk: Clerk, *words: str, **variables: str) -> Done:
    """`gateway why` on a terminal of 80 columns."""
    return await clerk.run("why", *words, **({"COLUMNS": "80"} | variables))


@pytest.mark.usefixtures("rows")
async def test_a_terminal_without_unicode(shell: Shell) -> None:
    """What a terminal's encoding lacks is escaped, and the rest is there."""
    done = await shell.run("why", FAILED, COLUMNS="80", PYTHONIOENCODING="ascii")

    assert (0, "") == (done.code, done.err)
    assert f"sms outbound \\xb7 failed \\xb7 {FAILED}" in done.out
    assert "What to do: Try once more" in done.out


@pytest.mark.usefixtures("rows")
async def test_one_message(shell: Shell) -> None:
    """State, advice and timeline of a message, in 80 columns; what a stranger wrote does nothing to
    the terminal."""
    clerk = shell.clerk()
    by_id, by_sid, narrow = [
        await ask(clerk, FAILED),
        await ask(clerk, SID),
        await ask(clerk, FAILED, COLUMNS="20"),
    ]

    assert (0, "") == (by_id.code, by_id.err)
    assert by_id.out == by_sid.out
    assert SHOWN in by_id.out
    assert by_id.out.endswith(
        "23:59:59  The gateway stored it, to be sent at once.\n"
        "2026-11-26 (UTC)\n"
        "13:58:02  Twilio reports a failure. The phone could not be reached: switched\n"
        "          off, or out of range.\n"
        '          twilio: undelivered, error_code 30003, "Unreachable destination\n'
        '          handset"\n'
        "14:30:00  They wrote to us after this.\n"
        f"          message_id {LATER}\n"
    )
    assert "\x1b" not in by_id.out
    assert max(len(line) for line in by_id.out.splitlines()) <= 80
    assert max(len(line) for line in narrow.out.splitlines()) <= 47  # ids are not cut


@pytest.mark.usefixtures("rows")
async def test_an_address(shell: Shell) -> None:
    """Of an address all its messages are listed, and the latest is explained; `--org` looks in one
    organization; a national number is read where the organization is."""
    clerk = shell.clerk()
    everywhere = await ask(clerk, "+44 7700 900123")
    national = await ask(clerk, "07700 900123", "--org", ORG)
    other = await ask(clerk, "+447700900123", "--org", OTHER)

    assert everywhere.out.startswith(
        "3 messages, the latest first (times are UTC):\n"
        f"2026-11-26 14:30 whatsapp in  received  {LATER}\n"
        f"2026-11-26 13:57 sms      out failed    {FAILED}\n"
        f"2026-11-20 09:00 sms      out pending   {ELSEWHERE}\n"
        "\n"
        f"whatsapp inbound · received · {LATER} ·\n"
    )
    assert "This WhatsApp message from +447700900123 came in" in everywhere.out
    assert national.out.startswith("2 messages")
    assert "not in the queue" in " ".join(other.out.split())
    assert OTHER in other.out


async def test_messages_without_a_time(shell: Shell, rows: Connection) -> None:
    """What another program stored without a time is listed, and what is known of it is told."""
    await rows.execute("UPDATE messages SET created_at = NULL WHERE organization_id = $1", ORG)
    clerk = shell.clerk()
    done = await ask(clerk, "+447700900123", "--org", ORG)

    assert f"without a time   whatsapp in  received  {LATER}\n" in done.out
    assert "This WhatsApp message from +447700900123 came in" in done.out


@pytest.mark.usefixtures("rows")
async def test_json(shell: Shell) -> None:
    """For programs: the message, its explanation, and the others that are meant."""
    clerk = shell.clerk()
    found: Any = (await ask(clerk, "+447700900123", "--org", ORG, "--json")).json

    assert ["message", "summary", "advice", "timeline", "others"] == list(found)
    assert (LATER, [FAILED]) == (found["message"]["id"], [one["id"] for one in found["others"]])
    assert "2026-11-26T14:30:00Z" == found["message"]["created_at"]


async def test_nothing_to_do(shell: Shell, rows: Connection) -> None:
    """Where all is well no advice is given."""
    await rows.execute("UPDATE messages SET status = 'delivered' WHERE id = $1", ELSEWHERE)
    clerk = shell.clerk()
    done = await ask(clerk, ELSEWHERE)

    assert "arrived on the phone." in done.out
    assert "What to do" not in done.out


@pytest.mark.usefixtures("rows")
async def test_nothing(shell: Shell) -> None:
    """What means no message is said in one line, with exit code 1; a wrong --org with 2."""
    clerk = shell.clerk()
    nothing = [
        await ask(clerk, *words)
        for words in (("nobody",), ("",), (FAILED, "--org", OTHER), (SID, "--org", OTHER))
    ]
    wrong = await ask(clerk, SID, "--org", "nonsense")

    for done in nothing:
        assert done.complaint.startswith("no message has this id")
    assert 2 == wrong.code


async def test_nothing_but_a_suppression(shell: Shell, rows: Connection) -> None:
    """Of an address that nothing was ever sent to it says why nothing is, in any form of it."""
    await rows.execute(
        """INSERT INTO gateway.suppressions
          (organization_id, id, channel, address, reason, source, created_at)
        SELECT id, gen_random_uuid(), 'whatsapp', '+5511987654321', 'stop', 'webhook', '2026-11-20'
        FROM organizations ORDER BY id LIMIT 1"""
    )
    clerk = shell.clerk()
    here = await rows.fetchval("SELECT organization_id FROM gateway.suppressions")

    for words in (("+55 11 8765-4321",), ("whatsapp:+5511987654321", "--org", str(here))):
        said = (await ask(clerk, *words)).complaint
        assert said.startswith("no message has this id")
        assert "by whatsapp: it has asked for no more messages" in said
        assert f"2026-11-20 (told by: webhook; organization {here};" in said
    assert "Nothing is sent" not in (await ask(clerk, "+5511987654322")).complaint


async def test_a_sender_of_ours(shell: Shell, rows: Connection) -> None:
    """Of an address that messages are sent from it says whose that is, in any form of it, and not
    that nothing was sent from it."""
    await rows.execute(
        """INSERT INTO gateway.provider_accounts (organization_id, id, provider, credentials)
          SELECT id, id, 'twilio', '' FROM organizations;
        INSERT INTO gateway.senders (organization_id, account_id, channel, address)
          SELECT id, id, channel, '+15551230001'
          FROM organizations, unnest('{whatsapp,sms}'::text[]) AS channel;
        INSERT INTO gateway.senders (organization_id, account_id, channel, address)
          SELECT id, id, 'email', 'Desk@clinic.example' FROM organizations ORDER BY id LIMIT 1"""
    )
    clerk = shell.clerk()
    everywhere, one, mail = [
        (await ask(clerk, *words)).complaint
        for words in (
            ("+1 555 123 0001",),
            ("whatsapp:+15551230001", "--org", OTHER),
            ("Clinic <desk@CLINIC.example>",),
        )
    ]

    assert everywhere == (
        "no message has this id, here or at a provider, and the address is our own: organization "
        f"{ORG} sends from it (sms, whatsapp), organization {OTHER} sends from it (sms, whatsapp); "
        "name a message's id, or somebody's address"
    )
    assert ORG not in one
    assert f"organization {OTHER} sends from it (sms, whatsapp); name" in one
    assert f"organization {ORG} sends from it (email); name" in mail
