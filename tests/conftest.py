"""One PostgreSQL for the whole test run, a fresh database for each test that asks for one.

The server is the embedded one, started by the first test that needs it and shared by all xdist
workers; or that of DATABASE_URL (a superuser's DSN), if set. The embedded one ends with the last
process that uses it, even if pytest is killed.
"""

import asyncio
import fcntl
import gc
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import hypothesis
import pytest
import structlog
import uvloop

from gateway.embedded.server import EmbeddedServer

# Nothing of a test run has to survive a power cut.
SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")
PREFIX = "gateway-tests-"
pytest_plugins = ("tests.measured",)
# Tests that wait for minutes for locks, while the processors are free.
WAITING = ("tests/service/test_service_hindrances.py", "tests/service/test_service_held.py")
# No example fails because the machine is busy. The rest is the default, which has the same examples
# each time in CI.
hypothesis.settings.register_profile(
    "patient",
    hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")
# By default structlog prints tracebacks with all local variables, which takes half a second each.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)
RUN_LOCK = pytest.StashKey[AbstractContextManager[None]]()


class Shared(NamedTuple):
    """A database that others are copied from, and the text that its `fill` has returned."""

    name: str
    said: str


MakeShared = Callable[[str, str, Callable[[str], Coroutine[Any, Any, str]]], Shared]


def pytest_configure(config: pytest.Config) -> None:
    """Choose the run's folder in the controller; its workers find it in their environment.

    Garbage is collected as rarely as in the gateway's own processes: with Python's defaults it
    takes a tenth of the time that the tests spend in Python.
    """
    gc.set_threshold(20_000, 20, 20)
    if not hasattr(config, "workerinput"):
        _remove_old_runs()
        run = os.environ["GATEWAY_TEST_RUN"] = tempfile.mkdtemp(prefix=PREFIX)
        config.stash[RUN_LOCK] = _only_one(Path(run) / "run.lock")
        config.stash[RUN_LOCK].__enter__()
        # Removed, because the code under test must use only what the test passes to it.
        os.environ["GATEWAY_TEST_SERVER"] = os.environ.pop("DATABASE_URL", "")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests on the event loop of web and worker: it orders callbacks differently."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(trylast=True)  # when it is known which tests run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker after the other run its part of the tests that wait, while the rest are busy.

    pytest-xdist's `worksteal` gives each worker a block of the list.
    """
    waiting = [item for item in items if item.nodeid.startswith(WAITING)]
    others = [item for item in items if not item.nodeid.startswith(WAITING)]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items.clear()
    for n in range(workers):
        block = _part(others, n, workers)
        first = len(block) * n // workers
        items += [*block[:first], *_part(waiting, n, workers), *block[first:]]


def _part(items: list[pytest.Item], n: int, of: int) -> list[pytest.Item]:
    return items[len(items) * n // of : len(items) * (n + 1) // of]


def pytest_collection_finish() -> None:
    """Exclude the five thousand tests from garbage collections from here on.

    Visiting them would block the event loop for as long as tests of blocking allow.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove everything that the run has made; all its workers have ended."""
    if not hasattr(config, "workerinput"):
        run = Path(os.environ["GATEWAY_TEST_RUN"])
        external = os.environ["GATEWAY_TEST_SERVER"]
        if external and (made := list(run.glob("*.made"))):
            with _Admin(external) as admin:
                for kind in made:
                    admin.run(f'DROP DATABASE IF EXISTS "{_shared(kind.stem)}" WITH (FORCE)')
        _wait_for_holder(run)
        config.stash[RUN_LOCK].__exit__(None, None, None)
        shutil.rmtree(run, ignore_errors=True)


def dsn_for(server_dsn: str, database: str) -> str:
    """The DSN of another database on the same server."""
    return urlunsplit(urlsplit(server_dsn)._replace(path=f"/{database}"))


class _Admin:
    """A connection to the server in a thread with a loop of its own, for sync and async tests."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn_for(dsn, "postgres")

    def __enter__(self) -> "_Admin":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="admin", daemon=True)
        self._thread.start()
        self._connection: asyncpg.Connection[asyncpg.Record] = self.wait(asyncpg.connect(self.dsn))
        return self

    def __exit__(self, *_: object) -> None:
        self.wait(self._connection.close(timeout=5))
        self.wait(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the thread; returns its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def run(self, statement: str) -> None:
        """Run one statement outside of a transaction."""
        self.wait(self._connection.execute(statement))


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """A superuser's DSN of the maintenance database of the test server."""
    external = os.environ["GATEWAY_TEST_SERVER"]
    if external:
        yield dsn_for(external, "postgres")
        return
    server = EmbeddedServer(Path(os.environ["GATEWAY_TEST_RUN"]))
    server._settings = SETTINGS
    with server:
        yield dsn_for(server.dsn, "postgres")


@pytest.fixture(scope="session")
def _admin(server_dsn: str) -> Iterator[_Admin]:
    with _Admin(server_dsn) as admin:
        yield admin


@pytest.fixture(scope="session")
def make_shared(_admin: _Admin) -> MakeShared:
    """A function that makes a database for the whole run, to be copied; the first call fills it.

    Its arguments are a kind, the template to start from, and the coroutine function that fills it.
    It returns the name, and the text that filling it returned. Nobody is connected to the database.
    """

    def make(kind: str, template: str, fill: Callable[[str], Coroutine[Any, Any, str]]) -> Shared:
        name = _shared(kind)
        made = Path(os.environ["GATEWAY_TEST_RUN"]) / f"{kind}.made"
        with _only_one(made.with_suffix(".lock")):
            if not made.exists():
                _admin.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                _admin.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
                said = _admin.wait(fill(dsn_for(_admin.dsn, name)))
                _admin.run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
                made.write_text(said)
            return Shared(name, made.read_text())

    return make


@pytest.fixture(scope="session")
def template(make_shared: MakeShared) -> str:
    """The name of a migrated database."""

    async def migrated(dsn: str) -> str:
        from gateway.schema import migrate

        return " ".join(await migrate.up(dsn))

    return make_shared("template", "template0", migrated).name


@pytest.fixture
def make_database(_admin: _Admin) -> Iterator[Callable[[str], str]]:
    """A function that makes a new database from a template, and returns its DSN; dropped later."""
    names: list[str] = []

    def make(template: str = "template0") -> str:
        names.append(f"test_{uuid.uuid4().hex[:16]}")
        # For the migrated template, file_copy takes 29 ms and wal_log 43.
        _admin.run(f'CREATE DATABASE "{names[-1]}" TEMPLATE "{template}" STRATEGY file_copy')
        return dsn_for(_admin.dsn, names[-1])

    yield make
    for name in names:
        _admin.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def empty_database(make_database: Callable[[str], str]) -> str:
    """The DSN of a new, empty database."""
    return make_database("template0")


@pytest.fixture
def database(make_database: Callable[[str], str], template: str) -> str:
    """The DSN of a new database with the whole schema."""
    return make_database(template)


def _shared(kind: str) -> str:
    run = os.environ["GATEWAY_TEST_RUN"].rpartition(PREFIX)[2]
    return f"{kind}_{run}"


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold an exclusive lock."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _wait_for_holder(run: Path) -> None:
    """Wait until the server of a run has ended: at most a second after its last user."""
    lock = run / "holder.lock"
    deadline = time.monotonic() + 10
    while lock.exists() and not _is_free(lock) and time.monotonic() < deadline:
        time.sleep(0.02)


def _is_free(lock: Path) -> bool:
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _remove_old_runs() -> None:
    """Remove the folders of runs that were killed."""
    for run in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = run / "run.lock"
        if os.access(lock, os.W_OK) and _is_free(lock):
            shutil.rmtree(run, ignore_errors=True)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """The HTTP session for all requests of a test."""
    async with aiohttp.ClientSession() as session:
        yield session
