"""The PostgreSQL that comes with the package: one server for all `gateway` processes on a folder.

A user holds a lock while it needs the server. A detached holder process (`holder.py` lists the
files) runs the server as long as there are users, whoever was first and however they end.
The locks are flock(2): the kernel releases them with the process, so none is ever stale;
descriptors are closed on exec, so programs that a user starts do not count.

What cannot happen, and why:
- two holders: a user that finds none takes its lock and passes it on to the holder that it starts;
- a server that ends under a new user: the holder ends only after it got the users' lock
  exclusively, and releases its own first; a new user waits, then starts another holder;
- an outdated `ready`: the holder itself says so when asked; a killed one answers nothing, even
  before the kernel has released its locks and signaled its server to end.
"""

import asyncio
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from gateway.embedded import holder
from gateway.embedded.files import (
    NO_DATABASE,
    NOT_YET,
    EmbeddedError,
    Layout,
    ask,
    is_there,
    lock,
    probe,
    why,
)

__all__ = ["EmbeddedError", "EmbeddedServer"]

WORK = 900.0  # seconds that a slow disk may need to create a cluster, or to replay its log
KEEP = 0.5  # seconds between two checks of `keep`
BELIEVE = 2.0  # seconds for which `ensure` believes a holder's report that it cannot start

_log = logging.getLogger(__name__)


class EmbeddedServer:
    """One user of the embedded PostgreSQL under `data`, from `start` to `stop`."""

    def __init__(self, data: Path) -> None:
        self._layout = Layout(data.resolve())
        self._users: int | None = None
        self._settings: tuple[str, ...] = ()  # name=value, for the tests' own server

    @property
    def dsn(self) -> str:
        """The DSN of the database `gateway`; clients take what it omits from PGPORT and such."""
        folder = self._layout.socket_folder
        return f"postgres://postgres@/gateway?host={folder}&port=5432&sslmode=disable"

    def start(self, timeout: float = 30.0) -> None:
        """Become a user, and return when the server answers.

        Raises `EmbeddedError` if the server cannot start, or does not answer within `timeout`
        seconds although it is not busy with work that may take long.
        """
        if self._users is not None:
            return
        deadline = time.monotonic() + timeout
        try:
            self._layout.make()
            self._join(deadline)
            self._wait_until_ready(timeout)
        except OSError as error:
            self.stop()
            raise EmbeddedError(why(error, self._layout)) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop being a user; the server ends after the last one."""
        users, self._users = self._users, None
        if users is not None:
            os.close(users)

    def ensure(self) -> None:
        """Start a holder if it was killed; takes microseconds if it was not.

        Raises `EmbeddedError` if the last one could not start the server.
        """
        if self._users is None:
            return
        try:
            started = self._start_holder_if_none(BELIEVE)
        except OSError as error:
            raise EmbeddedError(why(error, self._layout)) from error
        if started:
            _log.warning("the holder of the embedded PostgreSQL was gone; another was started")

    async def keep(self) -> None:
        """Call `ensure` for ever, so that a long-running process has a database after a kill -9."""
        said = ""
        while True:
            await asyncio.sleep(KEEP)
            try:
                await asyncio.to_thread(self.ensure)
            except EmbeddedError as error:
                if str(error) != said:
                    _log.error("the embedded PostgreSQL does not start: %s", error)
                said = str(error)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    def _join(self, deadline: float) -> None:
        """Take the users' lock; a holder that is ending keeps it until it has ended."""
        self._users = os.open(self._layout.users, os.O_RDWR)
        while not lock(self._users, shared=True):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"a holder does not end: end who has {self._layout.users}")
            time.sleep(0.005)

    def _wait_until_ready(self, timeout: float) -> None:
        began = time.monotonic()
        deadline = began + timeout
        believe = 0.0  # what an earlier holder could not do may be possible by now
        while True:
            is_another = self._start_holder_if_none(believe) and believe > 0
            if is_another and self._layout.is_full:
                # The previous holder could not even write down why it ended.
                raise EmbeddedError(self._layout.last_words("PostgreSQL does not start"))
            believe = float("inf")
            if ask(self._layout.door) == "ready" and is_there(probe(self._layout.socket)):
                return
            if (now := time.monotonic()) > deadline:
                if now > began + WORK or not self._is_at_work():
                    raise EmbeddedError(self._layout.last_words("PostgreSQL is not ready in time"))
                _log.warning("the embedded PostgreSQL still starts, see %s", self._layout.log)
                deadline = now + timeout
            time.sleep(0.005)

    def _is_at_work(self) -> bool:
        """Whether the cluster or database is being created, or the log is replayed after a crash.

        If its last user gave up now, that would be ended, and the next user would begin anew.
        """
        if self._layout.half_made.exists():
            return True
        return probe(self._layout.socket) in {NOT_YET, NO_DATABASE}

    def _start_holder_if_none(self, believe: float) -> bool:
        """Start a holder if there is none; raises if one failed less than `believe` s ago."""
        own_lock = os.open(self._layout.holder, os.O_RDWR)
        try:
            if not lock(own_lock):
                return False
            report = os.fstat(own_lock)
            # A report from the future is from before the clock was set back: its age is unknown.
            if report.st_size and 0 <= time.time() - report.st_mtime < believe:
                raise EmbeddedError(os.pread(own_lock, report.st_size, 0).decode())
            os.ftruncate(own_lock, 0)
            self._start_holder(own_lock)
            return True
        finally:
            os.close(own_lock)

    def _start_holder(self, own_lock: int) -> None:
        """Start the holder with its lock; returns when it has forked, which it does at once."""
        program = [sys.executable, "-P", str(Path(holder.__file__).resolve())]
        with self._layout.open_log() as said:
            started = subprocess.run(  # noqa: S603
                [*program, str(self._layout.data), str(own_lock), *self._settings],
                pass_fds=[own_lock],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
                cwd="/",
                check=False,
            )
        if started.returncode > 0:  # if negative, it was killed: the caller tries again
            raise EmbeddedError(self._layout.last_words("the holder does not start"))
