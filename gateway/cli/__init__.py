"""The commands: `gateway demo`, `web`, `worker`, `migrate`, `simulator`, `org`, `staff` ..."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from channels.errors import SendError
from gateway.cli import database, organization, sending, serving, why
from gateway.cli.output import err
from gateway.config import SettingsError
from gateway.embedded.server import EmbeddedError
from gateway.migrate import MigrationError
from gateway.setup import SetupError
from gateway.store.errors import DatabaseAwayError, RefusedError
from gateway.vault import VaultError

# What a user can mend: one line, no traceback.
_MENDABLE = (
    SettingsError,
    EmbeddedError,
    MigrationError,
    SetupError,
    DatabaseAwayError,
    RefusedError,
    VaultError,
    SendError,
    sending.ApiError,
    why.NothingFoundError,
    serving.PortTakenError,
)

app = typer.Typer(
    name="gateway",
    help="A messaging gateway: e-mail, SMS, WhatsApp and phone calls, for many organizations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_commands: list[Callable[[typer.Typer], None]] = [
    serving.add_to,
    database.add_to,
    organization.add_to,
    sending.add_to,
    why.add_to,
]
for _add in _commands:
    _add(app)


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:  # bytes that Python could not read became lone surrogates
        return False
    return True


def run() -> int:
    """Run the command line; the exit code."""
    if any(not _is_text(argument) for argument in sys.argv):
        err.print("gateway: an argument is not valid UTF-8")
        return 1
    try:
        app()
    except _MENDABLE as error:
        err.print(f"gateway: {error}", markup=False)
        return 1
    return 0
