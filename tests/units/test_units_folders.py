"""gateway/folders.py: whose the files are that root makes in the folder of another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway import runtime
from gateway.demo.run import alone
from gateway.media.folder import FolderStore
from gateway.media.store import storage_key
from gateway.observability.metrics_files import ReservedFile
from tests.media.test_media_stores import MEDIA, ORGANIZATION

NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that are another's")
async def test_root_in_the_folder_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key, shared numbers, files of messages and a demo's folder are the folder's owner's."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, NOBODY, NOBODY)

    runtime._own_key(data)
    for part in ((), ("demo",)):
        os.close(runtime.share_metrics(data, *part))
    ReservedFile(str(data / "metrics" / "counter_1.db")).close()  # type: ignore[no-untyped-call]
    await FolderStore.at(data / "media").put(storage_key(ORGANIZATION, MEDIA), b"x", "text/plain")
    with alone(data / "demo"):
        pass

    made = {str(path.relative_to(data)): path.lstat() for path in data.rglob("*")}
    assert {"secret.key", "metrics/lock", "metrics/counter_1.db", "demo/metrics/lock"} < set(made)
    assert {"demo/demo.lock", "media"} < set(made)
    assert {} == {name: found.st_uid for name, found in made.items() if found.st_uid != NOBODY} | {
        name: found.st_gid for name, found in made.items() if found.st_gid != NOBODY
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that are another's")
def test_what_was_there_stays_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that somebody has set up is not given away."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    data = tmp_path / "data"
    (data / "metrics").mkdir(parents=True)
    os.chown(data, NOBODY, NOBODY)

    os.close(runtime.share_metrics(data))

    assert 0 == (data / "metrics").stat().st_uid
