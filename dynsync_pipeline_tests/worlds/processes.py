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

LIMIT_S = 120.0
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


def command(
    arguments: tuple[str, ...], environment: dict[str, str], folder: Path, largest_file_bytes: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `dynsync` with these arguments and this environment alone; files it writes may be limited in size."""
    with tempfile.TemporaryDirectory() as outputs:
        files = [Path(outputs) / name for name in ("stdout", "stderr")]
        process = forked(_command, arguments, environment, folder, files, largest_file_bytes)
        process.start()
        process.join(LIMIT_S)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"dynsync {' '.join(arguments)} did not end")
        texts = [file.read_text("utf-8") if file.exists() else "" for file in files]
        return subprocess.CompletedProcess(arguments, process.exitcode, *texts)


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
