"""Folders and files of ours: for one user alone, and on the disk once they are made.

What root makes in somebody's folder is theirs, who could not use it otherwise. The embedded
server's holder uses this, so it has the standard library alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def own(path: Path, folder: Path) -> None:
    """Give what root has just made to the owner of a folder; who may not do that keeps it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        # A link that somebody put there meanwhile leads nowhere.
        with suppress(PermissionError):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it that are not there yet."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        own(folder, folder.parent)
    sync(folder.parent)


def make_file(path: Path) -> None:
    """Make an empty file where there is none."""
    if not path.exists():
        path.touch(mode=0o600)
        own(path, path.parent)


def sync(folder: Path) -> None:
    """Make what was made, renamed or removed in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
