"""A copy of a large file holds what the file held, and costs next to nothing where the file system can share blocks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynsync_pipeline.warehouse.copied_file import copy_file

SIZE = 32 << 20


@pytest.fixture
def sharing(tmp_path: Path) -> Iterator[Path]:
    """A folder of a file system that can share blocks, which only root can have and where its tools are installed."""
    if os.geteuid() != 0 or shutil.which("mkfs.xfs") is None:
        pytest.skip("nobody but root can mount an XFS, and mkfs.xfs makes it")
    image, folder = tmp_path / "image", tmp_path / "mounted"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, folder], check=False, capture_output=True).returncode:
        pytest.skip("this machine has no loop devices")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_copy_holds_what_the_file_held_whatever_is_written_to_either_later(tmp_path: Path) -> None:
    check_copied(tmp_path)


def test_where_blocks_can_be_shared_a_copy_takes_none(sharing: Path) -> None:
    check_copied(sharing)
    (sharing / "file").write_bytes(os.urandom(SIZE))
    os.sync()
    before = os.statvfs(sharing)
    copy_file(sharing / "file", sharing / "copy")
    os.sync()
    taken = (before.f_bfree - os.statvfs(sharing).f_bfree) * before.f_frsize
    assert taken < SIZE / 16


def check_copied(folder: Path) -> None:
    file, copy = folder / "file", folder / "copy"
    file.write_bytes(b"before" * 10_000)
    copy.write_bytes(b"what was there and is longer" * 10_000)
    copy_file(file, copy)
    assert copy.read_bytes() == b"before" * 10_000
    with file.open("r+b") as changed:
        changed.write(b"AFTER!")
    assert copy.read_bytes() == b"before" * 10_000
    with copy.open("r+b") as changed:
        changed.write(b"COPY!!")
    assert file.read_bytes().startswith(b"AFTER!before")
