"""Copying a large file without writing it again, where the file system lets two files share their blocks (XFS, Btrfs).

Elsewhere it goes from disk to disk past the page cache, which takes a fifth of the processor's time and leaves there what
others read. Not here: making the copy take another's place (`../publish/snapshot.py`).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
from contextlib import suppress
from pathlib import Path

FICLONE = 0x40049409  # ioctl_ficlone(2); elsewhere than on Linux this number means nothing, which is an OSError, too
DIRECT = getattr(os, "O_DIRECT", 0)  # open(2), which Linux alone has
LARGE = 64 << 20  # bytes; with less, waiting for the disk takes longer than it saves
AT_ONCE = 8 << 20  # bytes


def copy_file(source: Path, target: Path) -> None:
    """Make `target` a file with what `source` holds; what is written to either later is not in the other.

    Blocks are shared where they can be, so that it costs nothing; else each byte is copied. Raises: OSError.
    """
    with source.open("rb") as read, target.open("wb") as written, suppress(OSError):
        fcntl.ioctl(written, FICLONE, read.fileno())
        return
    if DIRECT and source.stat().st_size >= LARGE:
        with suppress(OSError):  # not every file system can; and of what else is wrong the other way tells again
            _copy_past_cache(source, target)
            return
    shutil.copyfile(source, target)  # to another file system, or in one that shares nothing


def _copy_past_cache(source: Path, target: Path) -> None:
    with (
        open(source, "rb", buffering=0, opener=_directly) as read,
        open(target, "wb", buffering=0, opener=_directly) as written,
        mmap.mmap(-1, AT_ONCE) as piece,  # begins at a page, as the kernel wants it
        memoryview(piece) as whole,
    ):
        while n_bytes := read.readinto(piece):
            if n_bytes % mmap.PAGESIZE:  # the end, which the kernel does not take so
                fcntl.fcntl(written, fcntl.F_SETFL, fcntl.fcntl(written, fcntl.F_GETFL) & ~DIRECT)
            n_written = 0
            while n_written < n_bytes:
                n_written += written.write(whole[n_written:n_bytes])


def _directly(path: str, flags: int) -> int:
    return os.open(path, flags | DIRECT, 0o666)
