"""What users and the holder of the embedded PostgreSQL share: its files, and errors."""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import socket
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from gateway.folders import make_file, own

LOG_LIMIT = 8 * 2**20  # bytes; then the log is renamed to server.log.1
FULL = 2**16  # bytes; with less no server starts, and the reason cannot be logged
# SQLSTATEs: the server does not accept connections yet, or any more; it lacks our database.
NOT_YET, NO_DATABASE = "57P03", "3D000"
SOCKET_LIMIT = 100  # bytes of the whole path; the kernel accepts 107 on Linux, 103 on macOS


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be used; the text is one line: why, and what to do."""


class Layout:
    """The files of one data folder; all are inside, except sockets if their path is too long."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.users = data / "users.lock"
        self.holder = data / "holder.lock"
        self.server = data / "server.lock"
        self.log = data / "server.log"
        self.pgdata = data / "pgdata"
        self.half_made = data / "pgdata.new"
        self.socket_folder = data / "socket"
        path = str(self.socket)
        # A comma separates hosts in a DSN; clients escape quotes, spaces and % differently.
        if len(os.fsencode(path)) > SOCKET_LIMIT or not re.fullmatch(r"[\w./@-]+", path, re.ASCII):
            # Not TMPDIR: two users of one data folder may have different ones.
            name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
            self.socket_folder = Path("/tmp") / f"gateway-{name}"  # noqa: S108 (`make` checks it)

    @property
    def socket(self) -> Path:
        """The unix socket of the server."""
        return self.socket_folder / ".s.PGSQL.5432"

    @property
    def door(self) -> Path:
        """The unix socket of the holder."""
        return self.socket_folder / "holder"

    def make(self) -> None:
        """Create what is missing; if root does, it belongs to the owner of the data folder."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self.socket_folder.mkdir(mode=0o700)
        except FileExistsError:
            self._check_socket_folder()
        else:
            own(self.socket_folder, self.data)
        for file in (self.users, self.holder, self.server, self.log):
            make_file(file)

    def _check_socket_folder(self) -> None:
        found = self.socket_folder.lstat()
        ours = found.st_uid in {0, os.geteuid(), self.data.stat().st_uid}
        if not (stat.S_ISDIR(found.st_mode) and ours) or found.st_mode & 0o077:
            raise EmbeddedError(f"{self.socket_folder} is not a private folder of ours: remove it")

    def open_log(self) -> BinaryIO:
        """The log, opened for appending; first renamed if it has become long."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_name("server.log.1"))
            make_file(self.log)
        return self.log.open("ab")

    @property
    def is_full(self) -> bool:
        """Whether the disk is full: then the log may lack the reason of a failure."""
        return shutil.disk_usage(self.data).free < FULL

    def last_words(self, failure: str) -> str:
        """One line of a failure and what the last lines of the log say about it."""
        with self.log.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
            lines = log.read().decode(errors="replace").splitlines() or ["it said nothing"]
        telling = re.compile("FATAL|PANIC|[Ee]rror|could not|cannot|unrecognized|invalid")
        words = "; ".join([line.strip() for line in lines[-5:] if telling.search(line)][-2:])
        if "No space left on device" in words or self.is_full:
            return f"{failure}: the disk is full, free some space under {self.data}"
        if "incompatible with server" in words:
            version = (self.pgdata / "PG_VERSION").read_text().strip()
            return f"{failure}: {self.pgdata} was made by PostgreSQL {version}; move it away"
        return f"{failure}: {words or lines[-1]} (more in {self.log})"

    def postmaster_pid(self) -> int:
        """The pid in postmaster.pid, else 0; that process may have ended, or be another by now."""
        first = "".join(self._postmaster_lines()[:1]).strip()
        return int(first) if first.isdigit() else 0

    def is_ready(self, pid: int) -> bool:
        """Whether this postmaster has written to line 8 that it accepts connections."""
        lines = self._postmaster_lines()
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].startswith("ready")

    def _postmaster_lines(self) -> list[str]:
        try:
            return (self.pgdata / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []


def lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock of an open file if it is free."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def why(error: OSError, layout: Layout) -> str:
    """One line about a failed system call on the data folder, and what to do."""
    where, said = error.filename or layout.data, error.strerror or error
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"the disk is full: free some space under {layout.data}"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{said}: {where}; set GATEWAY_DATA to a folder of yours, or run as its owner"
    if error.errno in {errno.ENOLCK, errno.EOPNOTSUPP}:
        return f"{said}: {where}; set GATEWAY_DATA to a folder on a local disk"
    return f"{said}: {where}; set GATEWAY_DATA to another folder"


def ask(door: Path) -> str:
    """What the holder says about its server: `ready` or `not yet`; "" if there is no holder."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(door))
            return connection.recv(16).decode()
        except OSError:
            return ""


def probe(path: Path) -> str:
    """How the server answers a connection: `ok`, a SQLSTATE, or "".

    The start of https://www.postgresql.org/docs/18/protocol-flow.html. psql would need 20 ms for
    this instead of 3, and only `gateway/store` and `gateway/schema` may use asyncpg.
    """
    words = b"user\0postgres\0database\0gateway\0\0"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(path))
            connection.sendall(struct.pack("!ii", len(words) + 8, 196608) + words)
            with connection.makefile("rb") as answer:
                while head := answer.read(5):
                    body = answer.read(struct.unpack("!i", head[1:])[0] - 4)
                    if head[:1] == b"Z":  # ready for a query
                        connection.sendall(b"X\0\0\0\4")
                        return "ok"
                    if head[:1] == b"E":
                        return next(f[1:].decode() for f in body.split(b"\0") if f[:1] == b"C")
        except OSError:
            return ""
    return ""


def is_there(state: str) -> bool:
    """Whether this answer to `probe` is that of a server which is up.

    It is, too, if it has no connection left (53300), or lacks our database.
    """
    return state not in {"", NOT_YET}
