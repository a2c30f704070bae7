"""The processes web (one or several on one port) and worker, until they are told to stop."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import SpawnProcess
from types import FrameType

import aiohttp
from aiohttp import web

from channels import leaving
from channels.names import OwnThreads
from gateway.accept.falling_back import FallingBack
from gateway.config import Settings, metrics_folder
from gateway.dispatch.dispatching import Dispatching
from gateway.dispatch.pace import Pace
from gateway.media.files import Files
from gateway.media.links import MediaLinks
from gateway.media.store import open_store
from gateway.observability.logs import configure, logger
from gateway.observability.metrics import of_process
from gateway.outside.download import Downloader
from gateway.outside.posting import Poster
from gateway.receive.errands import Errands
from gateway.receive.receiving import Receiving
from gateway.receive.unmatched import UnmatchedReports
from gateway.registry import PROVIDERS
from gateway.store.database import Database
from gateway.subscriptions.delivering import Deliveries
from gateway.vault import Vault
from gateway.web.in_flight import IN_FLIGHT
from gateway.web.serving_connections import BACKLOG, listening, most_connections
from gateway.worker import Worker

_log = logger(__name__)

_SHUTDOWN = 10.0
_CONNECTIONS = 1000
_FILES = 65_536
_NEW_OBJECTS = 20_000


class PortTakenError(Exception):
    """Another process listens on the port; the text is one line that says what to do."""


def bind(host: str, port: int, *, shared: bool = False, told_by: str = "PORT") -> socket.socket:
    """A socket to listen on, exclusively or `shared` with our other web processes.

    Raises `PortTakenError`, which names the source of the port (`told_by`). Only processes of one
    parent share a port: two gateways that did so by accident would get half of each other's
    requests.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((host, port))
        if not shared:
            # Only listening reserves the port: until then another process may bind it as well.
            bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        text = f"{told_by}: cannot listen on {host}:{port}: {error.strerror}"
        raise PortTakenError(text) from None
    return bound


def claim(host: str, port: int) -> socket.socket:
    """A socket that reserves a port for our own web processes, which bind it `shared`; it accepts
    no connections itself. Raises `PortTakenError`.

    Without it the port would be free until the first of them has started, and another gateway that
    starts in that second would share it.
    """
    bind(host, port).close()  # checks that nobody listens there
    kept = bind(host, port, shared=True)
    # If both sockets have SO_REUSEADDR, Linux lets another one bind unless somebody listens.
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return kept


async def serve_web(
    settings: Settings,
    bound: socket.socket,
    stop: asyncio.Event,
    ready: Callable[[], None] | None = None,
) -> None:
    """Answer requests on a bound socket until `stop` is set."""
    from gateway.app import build_app  # noqa: PLC0415 - a worker answers no requests

    most = most_connections(_allow_files())
    app = build_app(settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN)
    await runner.setup()
    try:
        async with listening(runner, bound, most):
            _spare_the_collector()
            _log.info("web is ready", port=bound.getsockname()[1])
            if ready:
                ready()
            await stop.wait()
        # Once aiohttp shuts down, it reads no more of a request, so those under way end first.
        app[IN_FLIGHT].stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHUTDOWN):
                await app[IN_FLIGHT].none()
    finally:
        await runner.cleanup()


def _spare_the_collector() -> None:
    """Let the garbage collector run less often, and skip objects that live as long as the process.

    A run over all that is loaded takes 80 ms. Messages and requests under way are thousands of
    objects, which are freed without it; by default it runs after every 700 of them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 20)


def _allow_files() -> int:
    """Raise the limit of open files as far as possible: each event stream, and each message that is
    being sent, is a connection. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


async def serve_worker(settings: Settings, stop: asyncio.Event, pace: Pace | None = None) -> None:
    """Send what is due until `stop` is set."""
    _allow_files()
    database = await Database.connect(str(settings.database_url), pooled=settings.is_pooled)
    # enough for all messages under way, and for errands that fetch files
    names = OwnThreads()
    connector = leaving.connector(
        limit=max(_CONNECTIONS, 2 * settings.worker_concurrency), resolver=names
    )
    jar = aiohttp.DummyCookieJar()  # a cookie of one account must not be sent for another
    try:
        async with (
            aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session,
            Downloader() as downloader,
            Poster(settings.gateway_subscription_origins) as poster,
        ):
            await _work(settings, database, session, downloader, poster, stop, pace)
    finally:
        for provider in PROVIDERS.values():
            if provider.close:
                await provider.close()
        await names.close()
        await database.close()


async def _work(
    settings: Settings,
    database: Database,
    session: aiohttp.ClientSession,
    downloader: Downloader,
    poster: Poster,
    stop: asyncio.Event,
    pace: Pace | None,
) -> None:
    """Build a worker, and run it until `stop`."""
    vault, metrics = Vault(settings.gateway_secret_keys), of_process(metrics_folder())
    store = open_store(settings.gateway_media_url, settings.gateway_data)
    media_links = MediaLinks(vault, settings.base_url)
    files = Files(database, store, media_links, downloader)
    dispatching = Dispatching(
        database,
        vault,
        session,
        metrics,
        base_url=settings.base_url,
        api_urls=settings.provider_api_urls,
        files=files,
        pace=pace,
    )
    receiving = Receiving(database, vault, metrics, files)
    errands = Errands(
        database,
        vault,
        store,
        media_links,
        downloader,
        receiving.fetched,
        api_urls=settings.provider_api_urls,
    )
    falling_back = FallingBack(database, metrics)
    worker = Worker(
        database,
        dispatching,
        errands,
        falling_back,
        Deliveries(database, vault, poster, metrics),
        UnmatchedReports(database, metrics),
        settings.database_direct_url or str(settings.database_url),
        settings.worker_concurrency,
    )
    working = asyncio.create_task(worker.run())
    _spare_the_collector()
    _log.info("worker is ready", concurrency=settings.worker_concurrency)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    worker.stop()
    try:
        await working
    finally:
        await receiving.close()
        await falling_back.close()
        metrics.write()


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


class WebProcesses:
    """Several web processes on one port; one that dies is started again."""

    def __init__(self, settings: Settings, host: str, port: int) -> None:
        self._settings = settings
        self._where = (host, port)
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[SpawnProcess] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Keep as many as WEB_CONCURRENCY says alive until `stop` is set."""
        self._processes = [self._start() for _ in range(self._settings.web_concurrency)]
        try:
            while not stop.is_set():
                await asyncio.sleep(0.5)
                for n, process in enumerate(self._processes):
                    if not process.is_alive() and not stop.is_set():
                        _log.error("a web process ended, another is started", code=process.exitcode)
                        self._processes[n] = self._start()
        finally:
            for process in self._processes:
                process.terminate()
            for process in self._processes:
                await asyncio.to_thread(process.join, _SHUTDOWN + 5)
                if process.is_alive():
                    process.kill()

    def _start(self) -> SpawnProcess:
        process = self._context.Process(target=_web_process, args=(self._settings, *self._where))
        process.daemon = True
        process.start()
        return process


def _web_process(settings: Settings, host: str, port: int) -> None:
    configure(settings.log_level, settings.log_format)
    # Ctrl-C reaches the whole process group: only the parent acts on it.
    signal.signal(signal.SIGINT, _ignore)

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        parent = multiprocessing.parent_process()
        if parent is not None:
            # Readable once the parent has ended, for whatever reason: nobody else would stop us.
            loop.add_reader(parent.sentinel, stop.set)
        await serve_web(settings, bind(host, port, shared=True), stop)

    run_loop(run())


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Leave the signal to the parent."""


def run_loop(main: object) -> None:
    """Run a coroutine on the fastest event loop, uvloop."""
    import uvloop  # noqa: PLC0415 - only the long-running processes need it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)  # type: ignore[arg-type]
