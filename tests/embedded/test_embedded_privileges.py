"""As whom the embedded PostgreSQL runs, and what it leaves alone."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.embedded.server import EmbeddedError
from tests.embedded.machine import Machine

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="users are changed by setpriv"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another"),
]

NOBODY = 65534
NAMELESS = 54321


def become(uid: int) -> tuple[str, ...]:
    return ("setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups")


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """What another interpreter needs to find our packages."""
    folders = [str(Path(__file__).resolve().parents[2]), *(f for f in sys.path if "site-" in f)]
    return {"PYTHONPATH": ":".join(folders)}


@pytest.fixture(scope="module")
def python(environment: dict[str, str]) -> str:
    """An interpreter that anybody may run and that finds PostgreSQL's programs."""
    for python in (sys.executable, "/usr/bin/python3"):
        # setpriv still has root's capabilities when it executes the first interpreter.
        program = "import subprocess as s, sys; s.run([sys.executable, '-c', ''], check=True); "
        program += "from gateway.embedded.programs import bin_dir; bin_dir()"
        words = [*become(NOBODY), python, "-c", program]
        if subprocess.run(words, env=environment, capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip("others than root cannot read the virtual environment")


@pytest.fixture
def without_namespaces(folder: Path, python: str) -> dict[str, str]:  # noqa: ARG001 - may skip
    """A machine that forbids user namespaces, as Docker does by default.

    There `nobody` must be able to run PostgreSQL's programs, as it is for `python`.
    """
    programs = folder / "programs"
    programs.mkdir()
    refusal = programs / "unshare"
    refusal.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2; exit 1\n")
    refusal.chmod(0o755)
    return {"PATH": f"{programs}:{os.environ['PATH']}"}


def owners(data: Path) -> set[int]:
    found = set()
    for path in (data, *data.rglob("*")):
        with suppress(FileNotFoundError):  # a file of a server that is just ending
            found.add(path.lstat().st_uid)
    return found


def test_root_changes_nothing_outside(machine: Machine) -> None:
    """As root no user is created and no folder above the data is changed; all files are root's."""
    machine.data.parent.chmod(0o700)
    users = Path("/etc/passwd").read_bytes()
    above = list(machine.data.parents)
    before = [(folder.stat().st_mode, folder.stat().st_uid) for folder in above]
    with machine.server():
        assert Path(f"/proc/{machine.postmaster()}").stat().st_uid == 0
    assert [(folder.stat().st_mode, folder.stat().st_uid) for folder in above] == before
    assert Path("/etc/passwd").read_bytes() == users
    assert owners(machine.data) == {0}


@pytest.mark.parametrize("uid", [NOBODY, NAMELESS])
def test_an_ordinary_user(new: Machine, uid: int, python: str, environment: dict[str, str]) -> None:
    """Anybody may run it on a folder of their own, with a name in /etc/passwd or without."""
    new.data.mkdir()
    os.chown(new.data, uid, uid)
    new.data.parent.chmod(0o755)
    user = new.user(*become(uid), python=python, env=environment)
    user.communicate("")
    assert owners(new.data) == {uid}
    assert new.seconds_until_gone() < 1.5


def test_root_in_the_folder_of_another(
    new: Machine, python: str, environment: dict[str, str]
) -> None:
    """What root makes in somebody's data folder is theirs, so that they can use it afterwards."""
    new.data.mkdir()
    os.chown(new.data, NOBODY, NOBODY)
    new.data.parent.chmod(0o755)
    with new.server():
        assert owners(new.data) == {NOBODY}
        new.user(*become(NOBODY), python=python, env=environment).communicate("")
    new.seconds_until_gone()
    new.user(*become(NOBODY), python=python, env=environment).communicate("")


def test_root_without_user_namespaces(copy: Machine, without_namespaces: dict[str, str]) -> None:
    """Where namespaces are forbidden it is `nobody`, below a folder that only root may enter."""
    copy.data.parent.chmod(0o700)
    user = copy.user(env=without_namespaces)
    assert Path(f"/proc/{copy.postmaster()}").stat().st_uid == NOBODY
    user.communicate("")
    assert copy.data.parent.stat().st_mode & 0o777 == 0o700
    assert copy.seconds_until_gone() < 1.5
    with copy.server():  # and where they are allowed again
        assert Path(f"/proc/{copy.postmaster()}").stat().st_uid == NOBODY
        copy.kill(copy.holder())
    assert copy.seconds_until_gone() < 1.5


def test_a_new_cluster_without_user_namespaces(
    new: Machine, without_namespaces: dict[str, str]
) -> None:
    """A first start works there too."""
    new.user(env=without_namespaces).communicate("")
    assert owners(new.data / "pgdata") == {NOBODY}
    assert owners(new.data) == {0, NOBODY}


def test_a_folder_of_another_in_the_place_of_the_socket(machine: Machine) -> None:
    """A socket folder that somebody else has made, or can enter, is refused in one line."""
    with machine.server() as server:
        place = server._layout.socket_folder
    machine.seconds_until_gone()
    for uid, mode in ((NAMELESS, 0o700), (0, 0o755)):
        os.chown(place, uid, uid)
        place.chmod(mode)
        with pytest.raises(EmbeddedError, match="not a private folder of ours: remove it"):
            machine.server().start()
    os.chown(place, 0, 0)
    place.chmod(0o700)
