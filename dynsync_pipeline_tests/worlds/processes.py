"""Processes that run the pipeline, forked from one that has imported it and run a cycle, so that dozens of them take seconds.

Not here: what they run (`http.py`, `../faults/cut_short.py`).
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

LIMIT_S = 240.0
# All that takes time to import, except the command line itself, which looks at the environment while it is imported.
PRELOADED = [
    "dynsync_pipeline.emulators.running",
    "dynsync_pipeline_tests.worlds.processes",
    "dynsync_pipeline_tests.worlds.warm",
    "rich.logging",
    "rich.table",
    "typer",
]
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(PRELOADED)


def forked(run: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """A process, not yet started, that runs this function of a module."""
    return _processes.Process(target=run, args=arguments)


class Running:
    """`dynsync` with these arguments and this environment alone, begun; files it writes may be limited in size."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        folder: Path,
        largest_file_bytes: int | None = None,
    ) -> None:
        self._arguments = arguments
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        self._process = forked(_command, arguments, environment, folder, self._outputs, largest_file_bytes)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def ended(self) -> subprocess.CompletedProcess[str]:
        """What it said until it ended, by itself or by a signal."""
        self._process.join(LIMIT_S)
        if self._process.exitcode is None:
            self._process.kill()
            raise AssertionError(f"dynsync {' '.join(self._arguments)} did not end")
        texts = [file.read_text("utf-8") if file.exists() else "" for file in self._outputs]
        self._folder.cleanup()
        return subprocess.CompletedProcess(self._arguments, self._process.exitcode, *texts)


def command(
    arguments: tuple[str, ...], environment: dict[str, str], folder: Path, largest_file_bytes: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `dynsync` to its end, as `Running` says."""
    return Running(arguments, environment, folder, largest_file_bytes).ended()


def _command(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    folder: Path,
    outputs: list[Path],
    largest_file_bytes: int | None,
) -> None:
    for number, file in enumerate(outputs, start=1):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["dynsync", *arguments]
    if largest_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, largest_file_bytes))
    from dynsync_pipeline.cli import main

    main()
