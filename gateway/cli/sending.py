"""`gateway send`: sends through the API, as an internal service would."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from channels.model import Channel
from gateway.cli.output import Json, show


def send(
    channel: Annotated[Channel, typer.Option(help="How to send it.")],
    to: Annotated[str, typer.Option(help="The recipient's address on that channel.")],
    template: Annotated[str | None, typer.Option(help="The name or id of a template.")] = None,
    var: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the template; repeatable.")
    ] = None,
    body: Annotated[str | None, typer.Option(help="The text, instead of a template.")] = None,
    subject: Annotated[str | None, typer.Option(help="The subject of an e-mail.")] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="The sender's address; default: the channel's default sender."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it is delivered or has failed.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait at most, with --wait.", min=1)
    ] = 60,
    as_json: Json = False,
) -> None:
    """Send a message through the API at GATEWAY_URL, with the key in GATEWAY_API_KEY."""
    from gateway.cli import client
    from gateway.cli.output import err
    from gateway.config import SettingsError, read_settings

    settings = read_settings()
    if settings.gateway_api_key is None:
        raise SettingsError("GATEWAY_API_KEY: is needed; make one with 'gateway key create'")
    given = {
        "channel": str(channel),
        "to": to,
        "from": from_,
        "template": template,
        "body": body,
        "subject": subject,
        "variables": client.variables(var) if var else None,
    }
    request = {name: value for name, value in given.items() if value is not None}
    url = settings.gateway_url or f"http://127.0.0.1:{settings.port}"
    message = asyncio.run(
        client.send(url, settings.gateway_api_key, request, timeout if wait else 0)
    )
    shown = {name: message[name] for name in client.SHOWN if message[name] is not None}
    show(message if as_json else shown, as_json=as_json)
    if wait and message["status"] not in client.FINAL:
        err.print(
            f"It was not delivered within {timeout:g} seconds: it is {message['status']}. "
            f"Look at it later with: gateway why {message['id']}"
        )
    if wait and message["status"] not in ("delivered", "read", "sent"):
        raise typer.Exit(1)


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(send)
