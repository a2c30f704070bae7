"""gateway/runtime.py: the embedded database's own key, and the folder of shared numbers."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from gateway import runtime
from gateway.config import Settings, SettingsError, metrics_folder


def test_the_key_is_made_once(tmp_path: Path) -> None:
    """The first call makes 32 random bytes for the owner alone; the next ones read them."""
    first = runtime._own_key(tmp_path)

    assert (32, first) == (len(first), runtime._own_key(tmp_path))
    assert ["secret.key"] == [path.name for path in tmp_path.iterdir()]
    assert 0o600 == (tmp_path / "secret.key").stat().st_mode & 0o777
    assert first != runtime._own_key(_made(tmp_path / "other"))


def test_the_key_is_one_for_all(tmp_path: Path) -> None:
    """Processes that make it at the same moment agree on one."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = set(pool.map(runtime._own_key, [tmp_path] * 40))

    assert 1 == len(found)
    assert ["secret.key"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("text", ["", "nonsense", "AAAA"])
def test_a_key_that_was_spoilt(tmp_path: Path, text: str) -> None:
    """A file that holds no key is left alone and reported: a new key would open nothing."""
    (tmp_path / "secret.key").write_text(text)

    with pytest.raises(SettingsError, match=r"secret\.key"):
        runtime._own_key(tmp_path)

    assert text == (tmp_path / "secret.key").read_text()


async def test_what_a_process_stands_on() -> None:
    """With DATABASE_URL the settings are taken as they are; the keys are asked for where needed."""
    settings = Settings(database_url="postgresql://nobody@127.0.0.1:1/nothing")

    async with runtime.database_of(settings, needs_keys=False) as ready:
        assert settings == ready
    with pytest.raises(SettingsError, match="GATEWAY_SECRET_KEYS"):
        async with runtime.database_of(settings):
            raise AssertionError


def test_the_first_process_empties_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of a former run go with the first process; the later ones leave them."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    folder = _made(tmp_path / "metrics")
    (folder / "counter_1.db").write_bytes(b"old")
    first = runtime.share_metrics(tmp_path)
    emptied = not (folder / "counter_1.db").exists()
    (folder / "counter_2.db").write_bytes(b"new")
    second = runtime.share_metrics(tmp_path)
    kept = (folder / "counter_2.db").exists()
    os.close(first)
    os.close(second)

    assert emptied
    assert kept
    assert folder == metrics_folder()
    third = runtime.share_metrics(tmp_path)
    os.close(third)
    assert not (folder / "counter_2.db").exists()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
