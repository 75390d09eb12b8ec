"""`dynsync`: the command line. One module per command; each prints tables to people and, with --json, JSON to programs.

Not here: what a cycle does (`cycle.py`). Only this folder and the tests start the emulators.
"""

from __future__ import annotations

import logging
import signal
import sys

from rich.logging import RichHandler

from dynsync_pipeline.cli import adopt, check, demo, develop, emulate, errors, explain, plan, status, sync
from dynsync_pipeline.cli.output import Exit, app, errors_to
from dynsync_pipeline.errors import DynSyncError, SqlFileFailed

__all__ = ["app", "main"]

COMMANDS = (adopt, check, demo, develop, emulate, errors, explain, plan, status, sync)


def main() -> None:
    """Run one command; an error raised on purpose ends as one sentence and its exit code."""
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=errors_to, show_path=False)]
    )
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except DynSyncError as error:
        sys.exit(_report(error))
    except _Interrupted:
        errors_to.print("Ended by Ctrl-C. What was committed is kept; the next cycle finds out the rest and goes on.")
        sys.exit(Exit.INTERRUPTED)


class _Interrupted(BaseException):
    """Ctrl-C; a kind of its own, because Typer ends a KeyboardInterrupt with another code and without our sentence."""


def _interrupt(*_: object) -> None:
    raise _Interrupted


def _report(error: DynSyncError) -> int:
    from dynsync_pipeline.cli.output import exit_code_of

    errors_to.print(f"[bold red]{type(error).__name__}:[/] ", end="")
    errors_to.print(str(error), markup=False, highlight=False)
    if isinstance(error, SqlFileFailed):
        errors_to.print(f"\n{error.statement}", markup=False, highlight=False)
    return exit_code_of(error)
