"""Real processes that use a data folder; what they leave running is found in /proc."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path

from gateway.embedded.server import EmbeddedServer

# Prints its DSN when the server answers, then runs until its standard input is closed.
USER = """
import asyncio, sys
from pathlib import Path
from gateway.embedded.server import EmbeddedServer

async def main() -> None:
    server = EmbeddedServer(Path(sys.argv[1]))
    server._settings = tuple(sys.argv[2:])
    async with server:
        keeper = asyncio.create_task(server.keep())
        print(server.dsn, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        keeper.cancel()

asyncio.run(main())
"""


# Seconds that one look at all processes, with the pause after it, takes on an idle machine.
LOOK = 0.05
# No power is cut in these tests, and syncing to a busy disk would be most of their time.
FAST = ("fsync=off",)


class Machine:
    """A data folder, the processes that use it, and those that serve it."""

    def __init__(self, data: Path, stack: ExitStack) -> None:
        self.data = data
        self._stack = stack

    def server(self) -> EmbeddedServer:
        """A user in this process, not started."""
        server = EmbeddedServer(self.data)
        server._settings = FAST
        self._stack.callback(server.stop)
        return server

    def spawn(
        self, *prefix: str, python: str = sys.executable, env: dict[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """A user in a process of its own, which is starting."""
        user = subprocess.Popen(
            [*prefix, python, "-c", USER, str(self.data), *FAST],
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stack.enter_context(user)
        self._stack.callback(user.kill)
        return user

    def user(
        self, *prefix: str, python: str = sys.executable, env: dict[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """A user in a process of its own, whose server answers."""
        user = self.spawn(*prefix, python=python, env=env)
        assert user.stdout is not None
        assert user.stdout.readline().startswith("postgres://"), user.communicate()[1]
        return user

    def processes(self) -> dict[int, str]:
        """Holder, postmaster, initdb and backends of the folder, with their command lines."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                place = (folder / "cwd").readlink()
            except OSError:
                continue
            if place.is_relative_to(self.data / "pgdata") or (
                f"{self.data}" in words and ("embedded/holder.py" in words or "/bin/" in words)
            ):
                found[int(folder.name)] = words
        mine = {os.getpid(), *self._users()}
        return {pid: words for pid, words in found.items() if pid not in mine}

    def _users(self) -> set[int]:
        return {
            int(folder.name)
            for folder in Path("/proc").glob("[0-9]*")
            if b"gateway.embedded import" in _read(folder / "cmdline")
        }

    def holder(self) -> int:
        """The pid of the only holder."""
        return self._only("embedded/holder.py")

    def postmaster(self) -> int:
        """The pid of the only postmaster."""
        return self._only("/bin/postgres -D")

    def _only(self, program: str) -> int:
        """The pid of the only process that runs this program.

        Its children do not count: they have the same command line until they run another program.
        """
        parents = {pid: _parent(pid) for pid, words in self.processes().items() if program in words}
        (pid,) = [pid for pid, parent in parents.items() if parent and parent not in parents]
        return pid

    def seconds_until_gone(self) -> float:
        """How long it takes until nothing serves the folder.

        A look that takes longer than usual counts only as a usual one: on a busy machine the
        processes of the folder have to wait, too.
        """
        looks: list[float] = []

        def is_gone() -> bool:
            looks.append(time.monotonic())
            return not self.processes()

        wait_until(is_gone)
        looks.append(time.monotonic())
        assert looks[-1] - looks[0] < 10, "no machine is so busy"
        return sum(min(after - before, LOOK) for before, after in pairwise(looks))

    def kill(self, *pids: int) -> None:
        """Kill -9 all of them; some may have ended already because of the ones before."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int | None:
    """The pid of a process's parent; None if the process has ended."""
    words = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return int(words[1]) if words else None


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that becomes true within a moment."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never was"
        time.sleep(0.01)


def new_machine(data: Path) -> Iterator[Machine]:
    """A machine; at the end waits until nobody uses the folder, and removes sockets elsewhere."""
    with ExitStack() as stack:
        machine = Machine(data, stack)
        yield machine
    machine.seconds_until_gone()
    sockets = machine.server()._layout.socket_folder
    if sockets.parent != data:
        shutil.rmtree(sockets, ignore_errors=True)
