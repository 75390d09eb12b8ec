"""All commands, and what becomes of an error that one of them ends with. Not here: Ctrl-C (`__init__.py`), any one command."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from rich.logging import RichHandler

from dynsync_pipeline.cli.output import Exit, app, errors_to, exit_code_of
from dynsync_pipeline.errors import DynSyncError, SqlFileFailed

__all__ = ["app", "run"]

_COMPLETES = "_DYNSYNC_COMPLETE"  # set while a shell asks which commands there are

COMMANDS = (
    "adopt", "assign", "backfill", "check", "demo", "dev", "emulate", "errors", "explain", "filter", "listen", "merge", "plan",
    "push", "setup", "status", "sync", "task",
)  # fmt: skip
_MODULES = {"dev": "develop"}  # of another name than the command


def load(arguments: Sequence[str] = ()) -> None:
    """Register the command that these arguments of the process name, or all of them where they name none.

    A command imports what it needs, which for some is most of what they take: `status` wants neither system.
    """
    named = [argument for argument in arguments if not argument.startswith("-")][:1]
    for name in named if set(named) & set(COMMANDS) else COMMANDS:
        import_module(f"dynsync_pipeline.cli.{_MODULES.get(name, name)}")


def run() -> None:
    """Run the command of the process's arguments. Raises: SystemExit with its exit code."""
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=errors_to, show_path=False)]
    )
    if not all(map(_is_text, sys.argv)):
        errors_to.print("[bold red]Error:[/] an argument is not UTF-8 text. Type it anew.")
        sys.exit(Exit.SETTINGS)
    load(() if _COMPLETES in os.environ else sys.argv[1:])
    try:
        app()
    except DynSyncError as error:
        sys.exit(_report(error))


def _is_text(argument: str) -> bool:
    """Whether no byte of it was none of its encoding, which Python keeps as half a character."""
    return not any("\udc80" <= character <= "\udcff" for character in argument)


def _report(error: DynSyncError) -> int:
    from dynsync_pipeline.cli.looking import cell

    errors_to.print("[bold red]Error:[/] ", end="")
    errors_to.print(cell(str(error)), highlight=False)  # it may quote a file
    if isinstance(error, SqlFileFailed):
        errors_to.print(f"\n{error.statement}", markup=False, highlight=False)
    return exit_code_of(error)
