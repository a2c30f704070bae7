"""The commands that set an organization up, and what they say about mistakes."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import jwt
import pytest
import typer.main
from typer.testing import CliRunner

from gateway.cli import app
from gateway.vault import Vault
from tests.cli.shell import ROOT, SECRET_KEY, Clerk, Done, Shell

SID = "AC" + "0" * 32
TOKEN = "f" * 32
SECRET = "a secret of thirty-two characters or more"
GOING_ON = {"demo", "web", "worker", "simulator"}
MESSAGE = """
INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body)
VALUES ($1, 'sms', 'outbound', '+15551230001', '+447700900123', 'Hello') RETURNING id
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by the words that name it."""

    def walk(path: tuple[str, ...], command: Any) -> Iterator[tuple[str, Any]]:
        yield " ".join(path), command
        for name, child in getattr(command, "commands", {}).items():
            yield from walk((*path, name), child)

    return walk((), typer.main.get_command(app))


def test_the_commands_of_the_contract() -> None:
    """The contract's commands are there; each says what it does, and takes --help."""
    found = dict(commands())

    assert {
        "demo",
        "web",
        "worker",
        "migrate up",
        "migrate down",
        "migrate status",
        "simulator",
        "org create",
        "staff create",
        "staff token",
        "staff link",
        "key create",
        "account add",
        "sender add",
        "send",
        "why",
        "replay",
        "export-supabase",
    } <= found.keys()
    runner = CliRunner()
    for name, command in found.items():
        assert command.help, name
        shown = runner.invoke(app, [*name.split(), "--help"])
        assert (0, True) == (shown.exit_code, "Usage" in shown.stdout), name


def test_what_prints_data_takes_json() -> None:
    """Every command that ends by itself with a result has --json."""
    for name, command in commands():
        if name not in GOING_ON and not hasattr(command, "commands"):
            assert "as_json" in {parameter.name for parameter in command.params}, name


async def test_help_and_usage(lone_shell: Shell) -> None:
    """As processes: --help exits 0, a wrong value exits 2 without a traceback."""
    right, wrong = await asyncio.gather(
        lone_shell.run("account", "add", "--help"),
        lone_shell.run("key", "create", "--org", "nonsense", "--json"),
    )
    clerk = lone_shell.clerk()
    ports = [await clerk.run(name, "--port", "65536") for name in ("simulator", "demo")]

    assert (0, "") == (right.code, right.err)
    assert "--set" in right.out
    for done in (wrong, *ports):
        assert (2, "") == (done.code, done.out)
        assert "Error" in done.err
        assert "Traceback" not in done.err


def test_the_version() -> None:
    """`--version` says it, alone; without a command the help is shown."""
    runner = CliRunner()
    said, without = runner.invoke(app, ["--version"]), runner.invoke(app, [])

    assert (0, f"{version('omnichannel-gateway')}\n") == (said.exit_code, said.stdout)
    assert "A messaging gateway" in without.output
    assert "--version" in without.output


async def test_an_organization_is_set_up(shell: Shell, database: str) -> None:
    """From organization to sender: each --json is data alone, and the rows are there."""
    (shell.folder / "token.txt").write_text(f"{TOKEN}\n")
    clerk = shell.clerk()
    org = await _organization(clerk)
    account = await clerk.run(
        *("account", "add", "--org", org, "--provider", "twilio"),
        *("--set", f"account_sid={SID}", "--set", "auth_token=@token.txt"),
        *("api_key_sid=SK1", "api_key_secret=a=b", "--json"),
        PUBLIC_URL="https://msg.example.org/gw/",
    )
    account_id = account.json["id"]
    adding = ("sender", "add", "--account", account_id, "--channel", "sms", "--address")
    sender = await clerk.run(*adding, "+1 555 123 0001", "--default", "--rate", "2.5", "--json")
    taken = await clerk.run(*adding, "+15551230001")

    old, new = SECRET_KEY, base64.b64encode(bytes(32)).decode()
    resealed = await clerk.run("reseal", "--json", GATEWAY_SECRET_KEYS=f"{new},{old}")
    closed = await clerk.run("reseal", "--json")
    back = await clerk.run("reseal", "--json", GATEWAY_SECRET_KEYS=f"{old},{new}")
    assert {"accounts": 1, "subscriptions": 0, "closed": []} == resealed.json == back.json
    assert (1, [account_id]) == (closed.code, json.loads(closed.out)["closed"])
    assert "put the key that sealed them back" in closed.err
    base = f"https://msg.example.org/gw/webhooks/twilio/{account_id}"
    assert {
        event: f"{base}/{event}#rc=5&rp=all"
        for event in (
            "message",
            "status",
            "call",
            "call-status",
            "recording",
            "transcription",
            "gather",
            "amd",
        )
    } == account.json["webhooks"]
    assert "+15551230001" in taken.complaint
    connection = await asyncpg.connect(database)
    try:
        stored = await connection.fetchrow(
            """
            SELECT o.settings ->> 'country' AS country, a.credentials, s.id, s.address,
              s.is_default, s.rate
            FROM organizations o JOIN gateway.provider_accounts a ON a.organization_id = o.id
            JOIN gateway.senders s ON s.account_id = a.id
            """
        )
        slugs = await connection.fetch("SELECT slug FROM organizations ORDER BY slug")
        keys = await connection.fetch("SELECT name, is_test FROM gateway.api_keys ORDER BY name")
    finally:
        await connection.close()
    assert stored is not None
    assert ("GB", sender.json["id"], "+15551230001", True, 2.5) == (
        stored["country"],
        str(stored["id"]),
        stored["address"],
        stored["is_default"],
        stored["rate"],
    )
    assert {
        "account_sid": SID,
        "auth_token": TOKEN,
        "api_key_sid": "SK1",
        "api_key_secret": "a=b",
    } == Vault([bytes(range(32))]).open(UUID(org), stored["credentials"])
    assert ["uni-clinic", "uni-clinic-2"] == [row["slug"] for row in slugs]
    assert [("API key", True), ("shop", False)] == [(row[0], row[1]) for row in keys]


async def test_every_channel_is_set_up(shell: Shell) -> None:
    """Accounts and senders of e-mail, WhatsApp and calls: the URLs to paste are complete, with the
    secret where the provider does not sign."""
    clerk = shell.clerk()
    org = (await clerk.run("org", "create", "Clinic", "--json")).json["id"]

    async def account(provider: str, *pairs: str) -> Any:
        words = [word for pair in pairs for word in ("--set", pair)]
        return (
            await clerk.run(
                *("account", "add", "--org", org, "--provider", provider, *words, "--json"),
                PUBLIC_URL="https://msg.example.org",
            )
        ).json

    async def sender(account_id: str, channel: str, address: str) -> Any:
        words = ("--account", account_id, "--channel", channel, "--address", address)
        return await clerk.run("sender", "add", *words, "--default")

    mails = await account("sendgrid", "api_key=SG.x", "inbound_secret=open+sesame/1")
    chats = await account(
        "meta", "access_token=EAA1", "phone_number_id=123456789", f"app_secret={TOKEN}"
    )
    calls = await account("twilio", f"account_sid={SID}", f"auth_token={TOKEN}")
    server = await account("smtp", "host=mail.example.org", "webhook_secret=open-sesame")
    done = [
        await sender(mails["id"], "email", "desk@clinic.example"),
        await sender(server["id"], "email", "desk@other.example"),
        await sender(chats["id"], "whatsapp", "+1 555 123 0002"),
        await sender(calls["id"], "call", "+15551230001"),
    ]
    wrong = [
        await sender(mails["id"], "email", "desk"),
        await sender(mails["id"], "sms", "+15551230001"),
        await sender(chats["id"], "whatsapp", "Clinic"),
        await sender(calls["id"], "call", "Clinic"),
    ]

    base = "https://msg.example.org/webhooks"
    assert {
        "events": f"{base}/sendgrid/{mails['id']}/events",
        "inbound": f"{base}/sendgrid/{mails['id']}/inbound?secret=open%2Bsesame%2F1",
    } == mails["webhooks"]
    assert {"events": f"{base}/meta/{chats['id']}/events"} == chats["webhooks"]
    assert {"inbound": f"{base}/smtp/{server['id']}/inbound?secret=open-sesame"} == (
        server["webhooks"]
    )
    assert [(0, "")] * 4 == [(each.code, each.err) for each in done]
    for each, words in zip(
        wrong,
        ("give a mailbox", "sendgrid carries email, not sms", "give its number", "give a number"),
        strict=True,
    ):
        assert words in each.complaint


async def test_a_url_that_lacks_its_secret(shell: Shell) -> None:
    """Where an account has no secret for its inbound URL, a person is told what to set."""
    words = ("--provider", "smtp", "host=mail.example.org")
    clerk = shell.clerk()
    org = (await clerk.run("org", "create", "Clinic", "--json")).json["id"]
    without = await clerk.run("account", "add", "--org", org, *words)
    as_data = await clerk.run("account", "add", "--org", org, *words, "--json")
    sendgrid = ("--provider", "sendgrid", "api_key=SG.x")
    shown = await clerk.run("account", "add", "--org", org, *sendgrid)
    complete = await clerk.run("account", "add", "--org", org, *words, "webhook_secret=open-sesame")

    assert {"id", "webhooks"} == as_data.json.keys()
    urls = [line for line in shown.out.splitlines() if "://" in line]
    assert {len("  inbound  ")} == {line.index("http") for line in urls}  # one below the other
    assert (0, 1, True) == (
        without.code,
        without.err.count("\n"),
        "Set webhook_secret to accept them" in without.err,
    )
    assert (0, "") == (complete.code, complete.err)


async def test_staff_need_an_address(shell: Shell) -> None:
    """What is not an e-mail address is refused: nobody could sign in with it."""
    clerk = shell.clerk()
    org = (await clerk.run("org", "create", "Clinic", "--json")).json["id"]
    refused = await clerk.run("staff", "create", "--org", org, "--email", "not-an-email")

    assert "not-an-email" in refused.complaint


async def test_one_mailbox_is_one_member_of_staff(shell: Shell) -> None:
    """An address that somebody has in other letters is taken, in every organization."""
    clerk = shell.clerk()
    one = (await clerk.run("org", "create", "Clinic", "--json")).json["id"]
    other = (await clerk.run("org", "create", "Shop", "--json")).json["id"]
    await clerk.run("staff", "create", "--org", one, "--email", "ada@clinic.example")
    again = await clerk.run("staff", "create", "--org", other, "--email", "Ada@Clinic.example")

    assert "Ada@Clinic.example already" in again.complaint


async def _organization(clerk: Clerk) -> str:
    """An organization, a second one of its name, its keys and staff; the first one's id."""
    first = await clerk.run("org", "create", "Ünï Clinic", "--country", "gb", "--json")
    second = await clerk.run("org", "create", "Ünï Clinic", "--json")
    org: str = first.json["id"]
    assert org != second.json["id"]
    key = await clerk.run("key", "create", "--org", org, "--name", "shop", "--json")
    test_key = await clerk.run("key", "create", "--org", org, "--test")
    assert "gw_live_" == key.json["key"][:8]
    assert [["id"], ["key"]] == [line.split()[:1] for line in test_key.out.splitlines()]
    assert "gw_test_" == test_key.out.split()[-1][:8]
    return org


async def complaint(shell: Shell, redirected: str, *command: str) -> str:
    """The one line that a command says whose standard output is redirected."""
    words = f'exec "$@" {redirected}', "sh", sys.executable, "-m", "gateway"
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", *words, *command),
        env={**shell.environment, "PYTHONPATH": str(ROOT)},
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await process.communicate()
    done = Done(words=words, code=process.returncode or 0, out=out.decode(), err=err.decode())
    return done.complaint


async def test_a_key_that_cannot_be_shown(shell: Shell) -> None:
    """Where standard output is full, or closed, one line says that the key is made and how it is
    revoked, and the exit code is 1."""
    org = (await shell.clerk().run("org", "create", "Clinic", "--json")).json["id"]
    create = "key", "create", "--org", org
    full = await complaint(shell, ">/dev/full", *create, "--json")
    closed = await complaint(shell, ">&-", *create)

    for said, why in ((full, "No space left on device"), (closed, "it is closed")):
        assert why in said
        assert "revoke this one with DELETE /v1/api-keys/" in said


async def test_what_cannot_be_shown(shell: Shell, database: str, tmp_path: Path) -> None:
    """Where standard output is full, every command says so in one line, and its exit code is 1."""
    clerk, ada = shell.clerk(), "ada@example.com"
    org = (await clerk.run("org", "create", "Clinic", "--json")).json["id"]
    await clerk.run("staff", "create", "--org", org, "--email", ada)
    connection = await asyncpg.connect(database)
    message_id = await connection.fetchval(MESSAGE, UUID(org))
    await connection.close()
    for command in (
        ("--help",),
        ("--version",),
        ("staff", "link", "--email", ada),
        ("replay", "--dry-run"),
        ("migrate", "up"),
        ("export-supabase", str(tmp_path)),
        ("why", str(message_id)),
    ):
        assert "No space left on device" in await complaint(shell, ">/dev/full", *command), command


async def test_staff_and_their_token(shell: Shell) -> None:
    """A token is what Supabase would give: of somebody who is there, for as long as was said."""
    with_secret = {"SUPABASE_JWT_SECRET": SECRET, "SUPABASE_URL": "https://x.supabase.co/"}
    asking = ("staff", "token", "--email", "ada@example.com")
    clerk = shell.clerk()
    org = (await clerk.run("org", "create", "Clinic", "--json")).json["id"]
    creating = ("staff", "create", "--org", org, "--email", "ada@example.com")
    early = await clerk.run(*asking, **with_secret)
    made = await clerk.run(*creating, "--role", "owner", "--json")
    again = await clerk.run(*creating)
    token = await clerk.run(*asking, "--ttl", "60", "--json", **with_secret)
    bare = await clerk.run(*asking, SUPABASE_JWT_SECRET=SECRET)
    secretless = await clerk.run(*asking)

    claims = jwt.decode(
        token.json["token"],
        SECRET,
        algorithms=["HS256"],
        audience="authenticated",
        issuer="https://x.supabase.co/auth/v1",
    )
    assert (made.json["auth_id"], 60) == (claims["sub"], claims["exp"] - claims["iat"])
    assert 3 == len(bare.out.strip().split("."))
    assert "ada@example.com" in early.complaint
    assert "ada@example.com" in again.complaint
    assert "SUPABASE_JWT_SECRET" in secretless.complaint


async def test_a_link_to_sign_in(shell: Shell, database: str) -> None:
    """A link is of somebody who is there and active, at PUBLIC_URL; another one each time."""
    asking = ("staff", "link", "--email", "ada@example.com")
    public = {"PUBLIC_URL": "https://providers:secret@msg.example.org/gw"}
    clerk = shell.clerk()
    org = (await clerk.run("org", "create", "Clinic", "--json")).json["id"]
    early = await clerk.run(*asking)
    await clerk.run("staff", "create", "--org", org, "--email", "ada@example.com")
    first = await clerk.run(*asking, "--json", **public)
    second = await clerk.run(*asking, **public)
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE auth_users SET is_active = false")
    await connection.close()
    dismissed = await clerk.run(*asking)

    start = "https://msg.example.org/gw/inbox/link/"
    assert 900 == first.json["expires_in"]
    assert first.json["url"].startswith(start)
    assert second.out.startswith(start)
    assert first.json["url"] != second.out.strip()
    assert "ada@example.com" in early.complaint
    assert "active" in dismissed.complaint


async def test_mistakes_are_one_line(shell: Shell) -> None:
    """What a person can mend is one line on stderr that names it, and exit code 1."""
    nobody = str(uuid4())
    adding = ("account", "add", "--org", nobody, "--provider")
    staffing = ("staff", "create", "--org", nobody, "--email", "x@example.com")
    sending = ("send", "--channel", "sms", "--to", "+447700900123")
    cases: dict[tuple[str, ...], str] = {
        staffing: nobody,
        ("key", "create", "--org", nobody): nobody,
        (*adding, "twilio", "--set", f"account_sid={SID}", f"auth_token={TOKEN}"): nobody,
        (*adding, "twilio", "--set", "colour=red"): "colour",
        (*adding, "twilio"): "account_sid",
        (*adding, "twilio", "--set", "auth_token"): "auth_token",
        (*adding, "twilio", "--set", "=x"): "=x",
        (*adding, "twilio", "--set", "region=ie1", "region=us1"): "region is given twice",
        (*adding, "twilio", "--set", "auth_token=@no-such-file"): "no-such-file",
        (*adding, "fax"): "fax",
        ("sender", "add", "--account", nobody, "--channel", "sms", "--address", "+1555"): nobody,
        (*sending, "--body", "x"): "GATEWAY_API_KEY",
        ("export-supabase", "/proc/nowhere"): "/proc/nowhere",
        ("org", "create", ""): "name",
        ("org", "create", "\udcff"): "UTF-8",
        ("org", "create", "x" * 201): "200 characters at most, it has 201",
        ("org", "create", "Clinic\x1b[2J"): "U+001B",
        (*staffing, "--name", "Ada\nLovelace"): "U+000A",
        ("key", "create", "--org", nobody, "--name", "x" * 201): "key",
        ("key", "create", "--org", nobody, "--name", ""): "key",
        ("org", "create", "Clinic", "--country", "England"): "England",
    }

    clerk = shell.clerk()
    done = [await clerk.run(*words, "--json") for words in cases]
    unset = await clerk.run(*adding, "twilio", GATEWAY_SECRET_KEYS="")
    bad_variable = await clerk.run(*sending, "--var", "x", GATEWAY_API_KEY="gw_live_x")
    two_names = "--var", "name=Ada", "--var", "name=Eve"
    twice = await clerk.run(*sending, *two_names, GATEWAY_API_KEY="gw_live_x")

    for one, expected in zip(done, cases.values(), strict=True):
        assert expected in one.complaint, one
    assert unset.complaint.startswith("GATEWAY_SECRET_KEYS: ")
    assert "--var" in bad_variable.complaint
    assert "--var name is given twice" in twice.complaint


@pytest.mark.parametrize("path", ["", "/prefix"])
async def test_send_without_an_answer(lone_shell: Shell, path: str) -> None:
    """A gateway that does not answer is one line that names GATEWAY_URL."""
    clerk = lone_shell.clerk()
    done = await clerk.run(
        *("send", "--channel", "sms", "--to", "+447700900123", "--body", "x"),
        GATEWAY_URL=f"http://127.0.0.1:1{path}",
        GATEWAY_API_KEY="gw_live_x",
    )

    assert "GATEWAY_URL" in done.complaint


async def test_commands_before_migrate(new_shell: Shell) -> None:
    """On a database that was not migrated a command says so in one line."""
    clerk = new_shell.clerk()
    done = await clerk.run("org", "create", "Clinic")

    assert "migrate" in done.complaint


async def test_first_command_on_a_new_machine(lone_shell: Shell, folder: Path) -> None:
    """Without DATABASE_URL the embedded server starts, migrates, makes its key, and goes."""
    clerk = lone_shell.clerk()
    org = await clerk.run("org", "create", "Clinic", "--json")
    account = await clerk.run(
        *("account", "add", "--org", org.json["id"], "--provider", "twilio"),
        *("--set", f"account_sid={SID}", f"auth_token={TOKEN}", "--json"),
    )
    status = await clerk.run("migrate", "status", "--json")

    assert account.json["webhooks"]["status"].startswith("http://127.0.0.1:8080/webhooks/twilio/")
    assert [] == status.json["pending"]
    assert 0o600 == (folder / "secret.key").stat().st_mode & 0o777
