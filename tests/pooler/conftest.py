"""A real PgBouncer in front of the test server: few server connections, used in turn."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from tests.conftest import dsn_for
from tests.faults.stage import Stage, new_stage

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
PORT = 6432
PATIENCE = 20.0

SETTINGS = """\
[databases]
* = host={host} port={port}
[pgbouncer]
unix_socket_dir = {folder}
listen_port = {listen_port}
pool_mode = {mode}
default_pool_size = {size}
server_round_robin = 1
max_client_conn = 500
auth_type = trust
auth_file = {folder}/users
logfile = {folder}/log
"""


class Bouncer:
    """A PgBouncer, and how to reach databases through it."""

    def __init__(self, folder: Path, server: str, mode: str, size: int, settings: str) -> None:
        self._folder = folder
        self._server = urlsplit(server)
        self._process: subprocess.Popen[bytes] | None = None
        query = parse_qs(self._server.query)
        found = settings.format(
            host=query.get("host", [self._server.hostname])[0],
            port=query.get("port", [self._server.port or 5432])[0],
            folder=folder,
            listen_port=PORT,
            mode=mode,
            size=size,
        )
        (folder / "pgbouncer.ini").write_text(found)
        name = unquote(self._server.username or "postgres")
        password = unquote(self._server.password or "")
        (folder / "users").write_text(f'"{name}" "{password}"\n')

    def dsn(self, database: str) -> str:
        """The DSN through the pooler for a direct DSN."""
        path = urlsplit(database).path
        user = quote(unquote(self._server.username or "postgres"))
        return f"postgresql://{user}@{path}?host={self._folder}&port={PORT}"

    @property
    def log(self) -> str:
        """Its log."""
        return (self._folder / "log").read_text()

    def start(self) -> None:
        """Run it; as `nobody` if we are root, because it refuses to run as root."""
        words: list[str] = []
        if shutil.which("setpriv"):
            words = ["setpriv", "--pdeathsig", "KILL"]
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            words += [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
            # It needs folders that only root may open: its own, and that of PostgreSQL's socket.
            words += ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
        self._process = subprocess.Popen(
            [*words, str(PROGRAM), "-q", str(self._folder / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def stop(self) -> None:
        """Kill it: its clients and its server lose their connections."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(self._folder / f".s.PGSQL.{PORT}"))
            return True
        return False


@pytest.fixture
def make_bouncer(server_dsn: str) -> Iterator[Callable[..., Bouncer]]:
    """A function that starts a PgBouncer, in transaction mode and with few connections."""
    if PROGRAM is None:
        pytest.skip("there is no pgbouncer: install the package of that name")
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    made: list[Bouncer] = []

    def make(mode: str = "transaction", size: int = 3, settings: str = SETTINGS) -> Bouncer:
        own = folder / str(len(made))
        own.mkdir()
        bouncer = Bouncer(own, dsn_for(server_dsn, "postgres"), mode, size, settings)
        made.append(bouncer)
        bouncer.start()
        return bouncer

    yield make
    for each in made:
        each.stop()
    shutil.rmtree(folder)


@pytest.fixture
def bouncer(make_bouncer: Callable[..., Bouncer]) -> Bouncer:
    """A PgBouncer in transaction mode."""
    return make_bouncer()


@pytest.fixture
async def stage(database: str, bouncer: Bouncer) -> AsyncIterator[Stage]:
    """Web and simulator in this loop, through a pooler; the test starts workers."""
    async with new_stage(database, through=bouncer.dsn(database)) as stage:
        yield stage
