"""Folders of pairs: which there are, and what each must hold by itself, so that nothing crosses from one pair to another.

A pair is a Dynamics and a Marketo that belong together. It is a folder in `DYNSYNC_PAIRS_DIR`, named as the pair, with its
`.env`, its field map and its data. Whoever asks for one pair opens no file of another.
Not here: reading its settings (`settings_sources.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from dynsync_pipeline.errors import SettingsWrong

ENV_FILE = ".env"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_MOUNTS = Path("/proc/self/mountinfo")
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
_ESCAPED = re.compile(r"\\([0-7]{3})")
# What Linux calls file systems that other machines serve; their locks keep nobody out reliably.
NETWORK = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
    }
    | {"smb3", "smbfs", "fuse.ceph", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.rclone"}
    | {"fuse.s3fs", "fuse.sshfs"}
)


def pair_names(pairs_dir: Path) -> list[str]:
    """Names of all pairs: folders that hold a `.env`, in order. Raises: SettingsWrong where nobody can look."""
    try:
        folders = sorted(each.name for each in pairs_dir.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise SettingsWrong(
            f"DYNSYNC_PAIRS_DIR: {pairs_dir} cannot be looked at: {error.strerror}.",
            next_step="Make that folder, or name another one.",
        ) from None
    return [name for name in folders if (pairs_dir / name / ENV_FILE).exists()]


def pair_folder(pairs_dir: Path, name: str) -> Path:
    """The folder of a pair, which need not be there. Raises: SettingsWrong for a name that leads elsewhere."""
    if not _NAME.fullmatch(name):
        raise SettingsWrong(
            f"{name!r} is no name of a pair.",
            next_step="Name its folder with at most 63 letters, digits, - and _, the first of them no sign.",
        )
    folder = pairs_dir.resolve() / name
    if folder.is_symlink():
        raise SettingsWrong(
            f"Pair {name}: {folder} is a link, behind which the folder of another pair may be.",
            next_step="Make it a folder of its own; a volume may be mounted there.",
        )
    return folder


def require_own(name: str, folder: Path, places: Mapping[str, Path], *, may_be_elsewhere: Collection[str] = ()) -> None:
    """Raise SettingsWrong where a file or folder that a setting names is not the pair's own.

    Own is what lies in its folder, links followed. The settings `may_be_elsewhere` may name a folder outside of all pairs,
    if it bears the pair's name.
    """
    for setting, place in places.items():
        real = place.resolve()
        is_elsewhere = setting in may_be_elsewhere and real.name == name and not real.is_relative_to(folder.parent)
        if not (real.is_relative_to(folder) or is_elsewhere):
            named = f", or in a folder elsewhere that is named {name}" if setting in may_be_elsewhere else ""
            raise SettingsWrong(
                f"Pair {name}: {setting} leads to {real}, out of the pair's folder, where another pair may be, too.",
                next_step=f"Keep it in {folder}{named}.",
            )


def require_local(name: str, folder: Path, mounts: str | None = None) -> None:
    """Raise SettingsWrong where a folder lies on a file system that another machine serves.

    `mounts`: text in the form of /proc/self/mountinfo; None: that of this process. Where there is none, nothing is known.
    """
    kind = file_system(folder, _mounts() if mounts is None else mounts)
    if kind in NETWORK:
        raise SettingsWrong(
            f"Pair {name}: {folder} lies on a network file system ({kind}), where the lock that keeps cycles apart is not "
            "reliable.",
            next_step="Put it on a disk of this machine; a backup folder may be there.",
        )


def file_system(folder: Path, mounts: str) -> str | None:
    """The kind of file system that a folder, or the next one above that is there, lies on (proc_pid_mountinfo(5))."""
    real = folder.resolve()
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        if len(left.split()) < 5 or not right:
            continue
        point = _ESCAPED.sub(lambda code: chr(int(code[1], 8)), left.split()[4])
        if real.is_relative_to(point) and (found is None or len(point) >= found[0]):  # the last mount lies on top
            found = len(point), right.split()[0]
    return found[1] if found else None


def share_of_machine(n: int) -> tuple[int, int]:
    """Memory in MB and threads for one of `n` cycles that run at a time: half of the memory and all processors, divided."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        whole = min(whole, int(_MEMORY_LIMIT.read_text()))  # of a container
    return max(256, whole // 2 // 1_000_000 // n), max(1, (os.cpu_count() or 1) // n)


def _mounts() -> str:
    try:
        return _MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return ""
