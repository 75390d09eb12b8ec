"""What all commands share: the application, the two consoles, exit codes. Not here: any one command."""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import Annotated

import typer
from rich.console import Console

from dynsync_pipeline.errors import (
    AdoptionWrong,
    CycleRunning,
    DynSyncError,
    FieldMapWrong,
    GuardStopped,
    SettingsWrong,
)

app = typer.Typer(
    name="dynsync",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
prints_to = Console()
errors_to = Console(stderr=True)


@app.callback()
def options(
    is_debug: Annotated[
        bool, typer.Option("--debug", help="Tell each request and each SQL statement, with rows and milliseconds.")
    ] = False,
) -> None:
    """Two-way sync between Microsoft Dynamics 365 and Adobe Marketo Engage."""
    if is_debug:
        logging.getLogger("dynsync_pipeline").setLevel(logging.DEBUG)


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    SETTINGS = 2
    RUNNING = 3
    GUARD = 4
    INTERRUPTED = 130


EXIT_CODES = (
    "Exit codes: 0 done, 1 failed, 2 settings or field map wrong, 3 another cycle is running, "
    "4 stopped by a guard before any write, 130 ended by Ctrl-C."
)


def exit_code_of(error: DynSyncError) -> int:
    """The exit code that `error` ends a command with."""
    if isinstance(error, SettingsWrong | FieldMapWrong | AdoptionWrong):
        return Exit.SETTINGS
    if isinstance(error, CycleRunning):
        return Exit.RUNNING
    return Exit.GUARD if isinstance(error, GuardStopped) else Exit.FAILED
