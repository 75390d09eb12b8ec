"""Folders of processes that hold no lock of cycles: they stay while their process lives, and go once it does not."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from dynsync_pipeline.warehouse.leftovers import ON_SPARK, own_folder, remove_leftovers, remove_unused
from dynsync_pipeline_tests.properties.effort import story

pytestmark = story


def test_only_what_no_process_uses_goes(tmp_path: Path) -> None:
    (tmp_path / "on-spark-without-lock").mkdir()
    (tmp_path / "on-spark-defaults.conf").touch()
    with own_folder(tmp_path, ON_SPARK) as one, own_folder(tmp_path, ON_SPARK) as other:
        (one / "value").touch()
        remove_leftovers(tmp_path)
        assert {each.name for each in tmp_path.iterdir()} == {one.name, other.name, "on-spark-defaults.conf"}
        assert (one / "value").exists()
        assert one.stat().st_mode & 0o077 == 0
    assert [each.name for each in tmp_path.iterdir()] == ["on-spark-defaults.conf"]


def test_what_a_killed_process_leaves_goes_with_the_next_look(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from dynsync_pipeline.warehouse.leftovers import own_folder\n"
        "with own_folder(Path(sys.argv[1]), 'on-spark-*'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list(tmp_path.glob(ON_SPARK))) == 1
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_at_the_same_time_nobody_removes_what_another_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look between each two steps of whoever makes a folder."""
    import fcntl

    lock = fcntl.flock

    def watched(descriptor: int, how: int) -> None:
        if how == fcntl.LOCK_EX:
            remove_unused(tmp_path, ON_SPARK)
        lock(descriptor, how)

    with ExitStack() as open_folders:
        monkeypatch.setattr(fcntl, "flock", watched)
        folder = open_folders.enter_context(own_folder(tmp_path, ON_SPARK))
        assert folder.exists()
