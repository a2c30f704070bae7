"""The command line: `gateway demo`, `web`, `worker`, `migrate`, `simulator`, `org`, `staff` ..."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from gateway.cli import database, organization, replay, resealing, sending, serving, why
from gateway.cli.output import err, guard

# Errors that the user can fix: printed as one line, without a traceback. Listed by name, so that
# each command imports only what it needs, and only when it runs.
MENDABLE = frozenset(
    {
        "channels.errors.SendError",
        "gateway.cli.client.ApiError",
        "gateway.cli.output.NotShownError",
        "gateway.cli.why.NothingFoundError",
        "gateway.config.SettingsError",
        "gateway.demo.story.NotAsPlannedError",
        "gateway.embedded.files.EmbeddedError",
        "gateway.media.store.MediaStoreError",
        "gateway.serve.PortTakenError",
        "gateway.manage.setup.SetupError",
        "gateway.schema.dbmate.MigrationError",
        "gateway.store.errors.DatabaseAwayError",
        "gateway.store.errors.RefusedError",
        "gateway.vault.VaultError",
    }
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
    replay.add_to,
    resealing.add_to,
]
for _add in _commands:
    _add(app)


def _tell_version(is_wanted: bool) -> None:  # noqa: FBT001 - typer's
    if is_wanted:
        from importlib.metadata import version  # this import takes as long as all of the help

        typer.echo(version("omnichannel-gateway"))
        raise typer.Exit


@app.callback()
def _of_all(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which it is."),
    ] = False,
) -> None:
    """Options without a command."""


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:  # Python turned bytes that it could not decode into lone surrogates
        return False
    return True


def _is_mendable(error: Exception) -> bool:
    return any(f"{kind.__module__}.{kind.__qualname__}" in MENDABLE for kind in type(error).__mro__)


def run() -> int:
    """Run the command line; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Characters that the terminal's encoding lacks are escaped: printing must not fail.
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = guard(sys.stdout)
    if any(not _is_text(argument) for argument in sys.argv):
        err.print("gateway: an argument is not valid UTF-8")
        return 1
    try:
        app()
    except Exception as error:
        if not _is_mendable(error):
            raise
        err.print(f"gateway: {error}", markup=False)
        return 1
    return 0
