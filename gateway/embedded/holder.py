"""The holder: one detached process that owns the embedded PostgreSQL of a data folder.

The data folder contains:

    users.lock   each user has a shared lock; whoever gets an exclusive one knows that there is none
    holder.lock  the holder has an exclusive lock, which a user takes first and passes on to it;
                 content: nothing, or why the last holder could not start its server
    server.lock  inherited by PostgreSQL and its children; free if none of them is alive
    pgdata/      the cluster; `pgdata.new` while initdb runs, so that no half-made one is used
    socket/      the unix sockets of PostgreSQL and of the holder, where only a living one answers
                 (in /tmp if this path would be too long for a socket)
    server.log   the output of PostgreSQL and the holder

It is run by its path and uses only the standard library, so that it starts in 40 ms.
"""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

if __name__ == "__main__":
    # For a checkout that is not installed; at the end, so that it hides no library.
    sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from gateway.embedded.files import NO_DATABASE, EmbeddedError, Layout, is_there, lock, probe, why
from gateway.embedded.programs import (
    createdb_words,
    holders_of,
    initdb_words,
    postgres_words,
    runs_on,
    spawn,
)
from gateway.folders import own, sync

POLL = 0.1  # seconds between two checks of users and server
# Seconds for an orderly end; then the server is killed, and the next start replays the log. With
# POLL, it ends a second at most after the last user.
END = ((signal.SIGINT, 0.7), (signal.SIGQUIT, 0.15), (signal.SIGKILL, 5.0))
ASK, KILL, GIVE_UP = 1.0, 2.0, 10.0  # seconds of waiting for the processes of a dead holder
TRIES = 3  # of what can fail because a process was killed


class Unused(Exception):
    """Nobody uses the server any more, or the holder was told to end."""


class Holder:
    """Creates the cluster if there is none, runs its server, and ends after the last user."""

    def __init__(self, layout: Layout, own_lock: int, settings: Sequence[str]) -> None:
        self._layout = layout
        self._lock = own_lock
        self._settings = settings
        self._users = os.open(layout.users, os.O_RDWR)
        self._door = socket.socket(socket.AF_UNIX)
        self._is_ready = False
        self._child: subprocess.Popen[bytes] | None = None
        self._told_to_end = False

    def run(self) -> None:
        """Run the server while it is used; an error is written to `holder.lock`."""
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            self._open_door()
            self._make_cluster()
            while True:
                self._serve()
        except Unused:
            return
        except EmbeddedError as error:
            self._report(str(error))
        except OSError as error:
            self._report(why(error, self._layout))
        finally:
            self._door.close()
            self._stop()
            # A user gets the users' lock when this process ends, and must then find this one free.
            os.close(self._lock)

    def _open_door(self) -> None:
        self._layout.door.unlink(missing_ok=True)
        self._door.bind(str(self._layout.door))
        own(self._layout.door, self._layout.data)
        self._door.listen(64)

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        self._told_to_end = True

    def _report(self, failure: str) -> None:
        os.pwrite(self._lock, failure.encode(), 0)

    def _pause(self, seconds: float) -> None:
        """Wait and answer users; raises `Unused` if none is left: new ones wait until we ended."""
        if select.select([self._door], [], [], seconds)[0]:
            self._answer()
        if self._told_to_end or lock(self._users):
            raise Unused

    def _answer(self) -> None:
        user, _ = self._door.accept()
        with user, suppress(OSError):  # the user was killed while it waited
            user.send(b"ready" if self._is_ready else b"not yet", socket.MSG_DONTWAIT)

    def _serve(self) -> None:
        """Run one postmaster until it ends, which it never does unless it is killed."""
        for _ in range(TRIES):  # a kill -9 during the start does not mean that the cluster is bad
            server = self._start()
            if self._takes_connections(server):
                break
        else:
            raise EmbeddedError(self._layout.last_words("PostgreSQL does not start"))
        self._is_ready = True
        self._wait_for(server, POLL)
        self._is_ready = False

    def _start(self) -> subprocess.Popen[bytes]:
        """Start a postmaster, after the last process of the previous one has ended."""
        server_lock = self._wait_for_server_lock()
        try:
            self._remove_stale_files()
            words = postgres_words(self._layout, self._settings)
            self._child = spawn(words, self._layout, server_lock)
        finally:
            os.close(server_lock)
        return self._child

    def _takes_connections(self, server: subprocess.Popen[bytes]) -> bool:
        """Wait until the server answers and has our database; false if it ended before."""
        creations = 0
        while server.poll() is None:
            state = probe(self._layout.socket) if self._layout.is_ready(server.pid) else ""
            if state == NO_DATABASE:
                if creations == TRIES:
                    raise EmbeddedError(self._layout.last_words("the database cannot be created"))
                creations += 1
                self._wait_for(spawn(createdb_words(self._layout), self._layout))
            elif is_there(state):
                return True
            else:
                self._pause(0.01)
        return False

    def _wait_for(self, child: subprocess.Popen[bytes], pause: float = 0.01) -> int:
        while child.poll() is None:
            self._pause(pause)
        return child.returncode

    def _stop(self) -> None:
        child = self._child
        if child is None:
            return
        for number, seconds in END:
            child.send_signal(number)
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return

    def _wait_for_server_lock(self) -> int:
        """Take the server's lock, after processes that a killed holder or postmaster left end."""
        server_lock = os.open(self._layout.server, os.O_RDWR)
        began, asked = time.monotonic(), False
        while not lock(server_lock):
            waited = time.monotonic() - began
            if waited > GIVE_UP:
                raise EmbeddedError(
                    f"an old server does not end: end who has {self._layout.server}"
                )
            if waited > ASK and not asked:
                asked = True
                self._ask_to_end()
            if waited > (KILL if self._postmaster() else ASK):
                # A backend in a long loop does not notice that its postmaster has ended.
                for pid in holders_of(self._layout.server):
                    send(pid, signal.SIGKILL)
            self._pause(0.01)
        return server_lock

    def _postmaster(self) -> int:
        """The pid of the postmaster that runs on the cluster, whoever started it; else 0."""
        pid = self._layout.postmaster_pid()
        return pid if pid and runs_on(self._layout.pgdata, pid) else 0

    def _ask_to_end(self) -> None:
        """Send the signal that the kernel sends on the death of the parent, except on macOS.

        Only to the postmaster: PostgreSQL 18's checkpointer would end before the others.
        """
        if pid := self._postmaster():
            send(pid, signal.SIGINT)

    def _remove_stale_files(self) -> None:
        """Remove the pid file and sockets of a server that has ended; its pid may be reused."""
        pid = self._layout.postmaster_pid()
        if pid and runs_on(self._layout.pgdata, pid):
            raise EmbeddedError(
                f"stop the PostgreSQL (pid {pid}) that runs on {self._layout.pgdata}"
            )
        (self._layout.pgdata / "postmaster.pid").unlink(missing_ok=True)
        for leftover in self._layout.socket_folder.glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)

    def _make_cluster(self) -> None:
        cluster, half_made = self._layout.pgdata, self._layout.half_made
        if (cluster / "PG_VERSION").exists():
            return
        if cluster.exists():
            raise EmbeddedError(f"{cluster} is no PostgreSQL cluster: move it away")
        for _ in range(TRIES):
            if self._wait_for(self._start_initdb()) == 0:
                half_made.rename(cluster)
                sync(self._layout.data)
                return
        raise EmbeddedError(self._layout.last_words("initdb failed"))

    def _start_initdb(self) -> subprocess.Popen[bytes]:
        """Start initdb, after one that a killed holder left has ended."""
        half_made = self._layout.half_made
        server_lock = self._wait_for_server_lock()
        try:
            if half_made.exists():
                shutil.rmtree(half_made)
            half_made.mkdir(mode=0o700)
            own(half_made, self._layout.data)
            words = initdb_words(half_made, self._settings)
            self._child = spawn(words, self._layout, server_lock)
        finally:
            os.close(server_lock)
        return self._child


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def main(data: str, own_lock: str, *settings: str) -> None:
    """Become a daemon; the caller waits for the process that forks, so that no zombie is left."""
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    Holder(Layout(Path(data)), int(own_lock), settings).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
