"""A copy of a large file holds what the file held, and costs next to nothing where the file system can share blocks."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynsync_pipeline.warehouse import copied_file
from dynsync_pipeline.warehouse.copied_file import AT_ONCE, LARGE, copy_file

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


@pytest.mark.parametrize("n_bytes", [4_096, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE + 4_096, 3 * AT_ONCE - 7])
def test_a_large_file_is_copied_to_its_last_byte(tmp_path: Path, n_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copied_file, "LARGE", 1)
    held = os.urandom(n_bytes)
    (tmp_path / "file").write_bytes(held)
    (tmp_path / "copy").write_bytes(b"what was there and is longer" * (n_bytes // 8))
    copy_file(tmp_path / "file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == held


def test_a_large_file_is_copied_where_nothing_can_pass_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copied_file, "LARGE", 1)
    real = os.open

    def refusing(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & copied_file.DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refusing)
    (tmp_path / "file").write_bytes(b"held" * 100_000)
    copy_file(tmp_path / "file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"held" * 100_000


def test_the_copy_of_a_large_file_takes_no_room_from_what_others_read(tmp_path: Path) -> None:
    file, copy = tmp_path / "file", tmp_path / "copy"
    file.write_bytes(os.urandom(LARGE))
    if not can_pass_the_cache(file) or shutil.which("fincore") is None:
        pytest.skip("this file system cannot pass the page cache, or nobody tells what is in it")
    copy_file(file, copy)
    told = subprocess.run(
        ["fincore", "--bytes", "--noheadings", "--output", "RES", copy], check=True, capture_output=True
    )
    assert int(told.stdout) < LARGE / 16


def can_pass_the_cache(file: Path) -> bool:
    try:
        os.close(os.open(file, os.O_RDONLY | copied_file.DIRECT))
    except OSError:
        return False
    return True
