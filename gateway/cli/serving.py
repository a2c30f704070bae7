"""`gateway web`, `worker`, `simulator` and `demo`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.output import err, out

if TYPE_CHECKING:
    from gateway.config import Settings
    from gateway.media.store import MediaStore

SMTP_PORT = 9025

Host = Annotated[str, typer.Option(help="The address to listen on.")]


def web(host: Host = "0.0.0.0") -> None:  # noqa: S104 - behind a proxy it has to
    """Serve the API, the webhooks and the inbox on PORT, with WEB_CONCURRENCY processes."""
    from gateway.runtime import database_of
    from gateway.serve import WebProcesses, bind, claim, run_loop, serve_web, stop_on_signals

    settings = _started()

    async def run() -> None:
        async with database_of(settings) as ready:
            if settings.web_concurrency == 1:
                bound = bind(host, settings.port)
                await serve_web(ready, bound, stop_on_signals())
                return
            with claim(host, settings.port):
                await WebProcesses(ready, host, settings.port).run(stop_on_signals())

    run_loop(run())


def worker() -> None:
    """Send what is due, up to WORKER_CONCURRENCY messages at the same time."""
    from gateway.runtime import database_of
    from gateway.serve import run_loop, serve_worker, stop_on_signals

    settings = _started()

    async def run() -> None:
        async with database_of(settings) as ready:
            await serve_worker(ready, stop_on_signals())

    run_loop(run())


def simulator(
    port: Annotated[
        int, typer.Option(help="The port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = 9090,
    host: Host = "127.0.0.1",
    seed: Annotated[
        int | None, typer.Option(help="Makes its ids and its random choices repeatable.")
    ] = None,
    smtp_port: Annotated[
        int | None,
        typer.Option(
            help="The port of its mail server; 0 takes a free one. Default: 9025, or a free one "
            "if that is taken.",
            min=0,
            max=65535,
        ),
    ] = None,
) -> None:
    """Simulate the providers: their APIs, signed callbacks, and faults on request."""
    from gateway import simulator as providers
    from gateway.serve import PortTakenError, run_loop, stop_on_signals

    async def run() -> None:
        stop = stop_on_signals()
        serving = asyncio.create_task(
            providers.run(
                host,
                port,
                lambda url: out.print(f"The simulator is at {url}"),
                seed=seed,
                smtp_port=SMTP_PORT if smtp_port is None else smtp_port,
                smtp_else_any=smtp_port is None,
                mail_ready=lambda smtp: out.print(f"Its mail server is at {smtp}"),
            )
        )
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not serving.done():
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        else:
            serving.result()

    try:
        run_loop(run())
    except OSError as error:
        ports = f"{port}" if smtp_port is None else f"{port} or {smtp_port}"
        raise PortTakenError(f"cannot listen on {host}:{ports}: {error.strerror}") from None


def demo(
    once: Annotated[bool, typer.Option("--once", help="Show the conversation and exit.")] = False,
    port: Annotated[int, typer.Option(help="The port of the gateway.", min=0, max=65535)] = 8080,
) -> None:
    """Run everything on this machine, with simulated providers: nothing leaves it."""
    from gateway.config import read_settings
    from gateway.demo.run import alone, run_demo
    from gateway.observability.logs import configure
    from gateway.runtime import share_metrics
    from gateway.serve import run_loop

    settings = read_settings()
    folder = settings.gateway_data / "demo"
    share_metrics(settings.gateway_data, folder.name)
    configure("error" if once else "warning", "console")
    failed = False

    async def run() -> None:
        nonlocal failed
        failed = not await run_demo(settings, once=once, port=port, out=out, err=err)

    with alone(folder):
        run_loop(run())
    if failed:
        raise typer.Exit(1)


def _started() -> Settings:
    from gateway.config import read_settings
    from gateway.observability.logs import configure
    from gateway.runtime import share_metrics

    settings = read_settings()
    share_metrics(settings.gateway_data)
    store_of(settings)
    configure(settings.log_level, settings.log_format)
    return settings


def store_of(settings: Settings) -> MediaStore:
    """The store for files; raises `SettingsError` if it cannot be used."""
    from gateway.config import SettingsError
    from gateway.media.store import MediaStoreError, open_store

    try:
        return open_store(settings.gateway_media_url, settings.gateway_data)
    except MediaStoreError as error:
        raise SettingsError(f"GATEWAY_MEDIA_URL: {error}") from None


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (demo, web, worker, simulator):
        app.command()(command)
