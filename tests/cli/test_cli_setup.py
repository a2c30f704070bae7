"""The commands that set an organization up, and what they say about mistakes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import click
import jwt
import pytest
import typer.main

from gateway.cli import app
from gateway.vault import Vault
from tests.cli.shell import SECRET_KEY, Shell, shell_in

SID = "AC" + "0" * 32
TOKEN = "f" * 32
SECRET = "a secret of thirty-two characters or more"


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by the words that name it."""

    def walk(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield " ".join(path), command
        children = getattr(command, "commands", {})
        for name, child in children.items():
            yield from walk((*path, name), child)

    return walk((), typer.main.get_command(app))


def test_every_command_explains_itself() -> None:
    """The contract's commands are there; each says what it does, as does each group."""
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
        "key create",
        "account add",
        "sender add",
        "send",
        "export-supabase",
    } <= found.keys()
    for name, command in found.items():
        assert command.help, name
        assert "Usage" in command.get_help(click.Context(command, info_name=name)), name


def test_what_prints_data_takes_json() -> None:
    """Every command that ends by itself with a result has --json."""
    going_on = {"demo", "web", "worker", "simulator"}
    for name, command in commands():
        if name not in going_on and not hasattr(command, "commands"):
            assert "as_json" in {parameter.name for parameter in command.params}, name


async def test_help_and_usage(lone_shell: Shell) -> None:
    """`gateway --help` and a command's exit 0; a wrong option exits 2 without a traceback."""
    top, one, wrong = await asyncio.gather(
        lone_shell.run("--help"),
        lone_shell.run("account", "add", "--help"),
        lone_shell.run("key", "create", "--org", "nonsense"),
    )

    assert (0, 0, 2) == (top.code, one.code, wrong.code)
    assert "account" in top.out
    assert "--set" in one.out
    assert "nonsense" in wrong.err
    assert "Traceback" not in wrong.err
    assert "" == wrong.out


async def test_an_organization_is_set_up(shell: Shell, database: str, folder: Path) -> None:
    """From organization to sender: each --json is data alone, and the rows are there."""
    (folder / "token.txt").write_text(f"{TOKEN}\n")
    first, second = await asyncio.gather(
        shell.run("org", "create", "Ünï Clinic", "--country", "gb", "--json"),
        shell.run("org", "create", "Ünï Clinic", "--json"),
    )
    org = first.json["id"]
    assert first.json["id"] != second.json["id"]
    staff, key, test_key, account = await asyncio.gather(
        shell.run(
            *("staff", "create", "--org", org, "--email", "ada@example.com"),
            *("--role", "owner", "--json"),
        ),
        shell.run("key", "create", "--org", org, "--name", "shop", "--json"),
        shell.run("key", "create", "--org", org, "--test", "--json"),
        shell.run(
            *("account", "add", "--org", org, "--provider", "twilio"),
            *("--set", f"account_sid={SID}", "--set", "auth_token=@token.txt"),
            *("api_key_sid=SK1", "api_key_secret=a=b", "--json"),
            PUBLIC_URL="https://msg.example.org/gw/",
        ),
    )
    account_id = account.json["id"]
    base = f"https://msg.example.org/gw/webhooks/twilio/{account_id}"
    assert {
        "message": f"{base}/message#rc=5&rp=all",
        "status": f"{base}/status#rc=5&rp=all",
    } == account.json["webhooks"]
    assert ("gw_live_", "gw_test_") == (key.json["key"][:8], test_key.json["key"][:8])
    words = ("sender", "add", "--account", account_id, "--channel", "sms", "--address")
    sender, token = await asyncio.gather(
        shell.run(*words, "+1 (555) 123-0001", "--default", "--rate", "2.5", "--json"),
        shell.run(
            *("staff", "token", "--email", "ada@example.com", "--ttl", "60", "--json"),
            SUPABASE_JWT_SECRET=SECRET,
            SUPABASE_URL="https://x.supabase.co",
        ),
    )

    claims = jwt.decode(
        token.json["token"],
        SECRET,
        algorithms=["HS256"],
        audience="authenticated",
        issuer="https://x.supabase.co/auth/v1",
    )
    assert (staff.json["auth_id"], 60) == (claims["sub"], claims["exp"] - claims["iat"])
    connection = await asyncpg.connect(database)
    try:
        slugs = await connection.fetch("SELECT slug FROM organizations ORDER BY slug")
        assert ["uni-clinic", "uni-clinic-2"] == [row["slug"] for row in slugs]
        stored = await connection.fetchrow(
            """
            SELECT o.settings ->> 'country' AS country, u.role, a.credentials, s.id,
              s.address, s.is_default, s.rate
            FROM organizations o JOIN auth_users u ON u.organization_id = o.id
            JOIN gateway.provider_accounts a ON a.organization_id = o.id
            JOIN gateway.senders s ON s.account_id = a.id
            """
        )
        names = await connection.fetch("SELECT name, is_test FROM gateway.api_keys ORDER BY name")
    finally:
        await connection.close()
    assert stored is not None
    assert ("GB", "owner") == (stored["country"], stored["role"])
    assert (UUID(sender.json["id"]), "+15551230001", True, 2.5) == (
        stored["id"],
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
    assert [("API key", True), ("shop", False)] == [(row[0], row[1]) for row in names]

    taken_email, taken_sender, for_people, bare = await asyncio.gather(
        shell.run("staff", "create", "--org", org, "--email", "ada@example.com"),
        shell.run(*words, "+15551230001"),
        shell.run("key", "create", "--org", org),
        shell.run("staff", "token", "--email", "ada@example.com", SUPABASE_JWT_SECRET=SECRET),
    )
    assert "ada@example.com" in taken_email.complaint
    assert "+15551230001" in taken_sender.complaint
    assert (0, "") == (for_people.code, for_people.err)
    assert ["id ", "key"] == [line[:3] for line in for_people.out.splitlines()]
    assert 3 == len(bare.out.strip().split("."))


async def test_mistakes_are_one_line(shell: Shell) -> None:
    """What a person can mend is one line on stderr that names it, and exit code 1."""
    nobody = str(uuid4())
    adding = ("account", "add", "--org", nobody, "--provider", "twilio")
    sending = ("send", "--channel", "sms", "--to", "+447700900123")
    cases: dict[tuple[str, ...], str] = {
        ("staff", "create", "--org", nobody, "--email", "x@example.com"): nobody,
        ("staff", "token", "--email", "x@example.com"): "SUPABASE_JWT_SECRET",
        ("key", "create", "--org", nobody): nobody,
        (*adding, "--set", f"account_sid={SID}", "--set", f"auth_token={TOKEN}"): nobody,
        (*adding, "--set", "colour=red"): "colour",
        (*adding, "--set", "auth_token"): "auth_token",
        (*adding, "--set", "auth_token=@no-such-file"): "no-such-file",
        ("account", "add", "--org", nobody, "--provider", "fax"): "fax",
        ("sender", "add", "--account", nobody, "--channel", "sms", "--address", "+1555"): nobody,
        (*sending, "--body", "x"): "GATEWAY_API_KEY",
    }

    done = await asyncio.gather(*(shell.run(*words, "--json") for words in cases))

    for one, expected in zip(done, cases.values(), strict=True):
        assert expected in one.complaint, one


async def test_unknown_staff_has_no_token(shell: Shell) -> None:
    """A token is made for somebody who is there, or not at all."""
    done = await shell.run(
        "staff", "token", "--email", "nobody@example.com", SUPABASE_JWT_SECRET=SECRET
    )

    assert "nobody@example.com" in done.complaint


@pytest.mark.parametrize("path", ["", "/prefix"])
async def test_send_without_an_answer(lone_shell: Shell, path: str) -> None:
    """A gateway that does not answer is one line that names GATEWAY_URL."""
    done = await lone_shell.run(
        *("send", "--channel", "sms", "--to", "+447700900123", "--body", "x"),
        GATEWAY_URL=f"http://127.0.0.1:1{path}",
        GATEWAY_API_KEY="gw_live_x",
    )

    assert "GATEWAY_URL" in done.complaint


async def test_commands_before_migrate(new_shell: Shell) -> None:
    """On a database that was not migrated a command says so in one line."""
    done = await new_shell.run("org", "create", "Clinic")

    assert "migrate" in done.complaint


async def test_first_command_on_a_new_machine(lone_shell: Shell, folder: Path) -> None:
    """Without DATABASE_URL the embedded server starts, migrates, makes its key, and goes."""
    org = await lone_shell.run("org", "create", "Clinic", "--json")
    account, status = await asyncio.gather(
        lone_shell.run(
            *("account", "add", "--org", org.json["id"], "--provider", "twilio"),
            *("--set", f"account_sid={SID}", f"auth_token={TOKEN}", "--json"),
        ),
        lone_shell.run("migrate", "status", "--json"),
    )

    assert account.json["webhooks"]["status"].startswith("http://127.0.0.1:8080/webhooks/twilio/")
    assert [] == status.json["pending"]
    assert 0o600 == (folder / "secret.key").stat().st_mode & 0o777
    assert SECRET_KEY != (folder / "secret.key").read_text().strip()


async def test_folder_that_cannot_be(tmp_path: Path) -> None:
    """A GATEWAY_DATA that cannot be made is one line that says so."""
    (tmp_path / "file").write_text("")
    shell = shell_in(tmp_path / "here")

    done = await shell.run("org", "create", "x", GATEWAY_DATA=str(tmp_path / "file" / "data"))

    assert str(tmp_path / "file") in done.complaint
