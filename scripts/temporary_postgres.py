"""A temporary cluster of the system's PostgreSQL for one test run, removed afterwards."""

# ruff: noqa: S603 - it starts the programs that it is for

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Nothing in it has to survive a power cut.
SETTINGS = (
    "listen_addresses=",
    "max_connections=300",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "jit=off",  # as in all of the gateway's transactions; for the tests' own it costs a tenth
)
PATIENCE = 30.0


@contextmanager
def temporary_postgres(programs: Path, parent: str | None = None) -> Iterator[str]:
    """The DSN of a superuser on a new cluster below `parent`, made with these `programs`.

    PostgreSQL refuses to run as root: then it runs as `nobody`. It ends with this process, even if
    that is killed; for this, enter the block from the main thread.
    """
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=parent))
    try:
        words: list[str] = []
        if shutil.which("setpriv"):
            words = ["setpriv", "--pdeathsig", "INT"]
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            who = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
            words += who
        data, log = folder / "data", folder / "log"
        initdb = ["initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"]
        _run([*words, str(programs / initdb[0]), *initdb[1:], "--locale=C.UTF-8"])
        options = [word for setting in SETTINGS for word in ("-c", setting)]
        with log.open("wb") as output:
            server = subprocess.Popen(
                [*words, str(programs / "postgres"), "-D", str(data), "-k", str(folder), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
            )
        try:
            _wait_until_ready(server, programs, folder, log)
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGQUIT)  # an immediate shutdown, because nothing is kept
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(words: list[str]) -> None:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")


def _wait_until_ready(
    server: subprocess.Popen[bytes], programs: Path, folder: Path, log: Path
) -> None:
    deadline = time.monotonic() + PATIENCE
    ask = [str(programs / "pg_isready"), "-q", "-h", str(folder)]
    while subprocess.run(ask, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.1)
