"""All commands, and what becomes of an error that one of them ends with. Not here: Ctrl-C (`__init__.py`), any one command."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module

from rich.logging import RichHandler

from dynsync_pipeline.cli.output import PAIR, Exit, app, errors_to, exit_code_of
from dynsync_pipeline.errors import DynSyncError, SqlFileFailed

__all__ = ["app", "run"]

_COMPLETES = "_DYNSYNC_COMPLETE"  # set while a shell asks which commands there are

# By name, and what the list of them says, which is how each command's own help begins (`dynsync --help` imports none).
COMMANDS = {
    "adopt": "Link people whom Marketo already holds with the contacts and leads that they are",
    "approve": "Show what waits because its cause reaches more people than DYNSYNC_ASK_ABOVE",
    "assign": "Give the leads and contacts of people of Marketo another owner in Dynamics",
    "audit": "Compare all links and all that is unsettled in full",
    "backfill": "Fill fields of many records again",
    "backup": "Make a backup",
    "case": "Pack one person's case into a file that may be shared",
    "check": "Ask both systems whether a sync can run",
    "demo": "Sync two emulated systems with sample data",
    "dev": "Serve Dagster's UI, with the sensor that keeps syncing",
    "emulate": "Serve a local Dataverse and a local Marketo",
    "errors": "Show what a system refused",
    "explain": "Show one person",
    "filter": "Show whom the column new_synctomkto keeps out",
    "forget": "Erase a person",
    "init": "Make what a server needs",
    "listen": "Listen for Marketo's flow step Call Webhook",
    "merge": "Show which people may be merged in Marketo",
    "pairs": "Show all pairs",
    "parity": "Show where DynSync in shadow decides otherwise than the native sync beside it",
    "pause": "Hold the sync: cycles, requests and the watchdog",
    "notify": "Tell the addresses of DYNSYNC_NOTIFY what is new",
    "plan": "Show what the next cycle would write, and change nothing",
    "push": "Ask that people of Marketo become leads or contacts in Dynamics",
    "resume": "End a pause",
    "requests": "Show requests that came back from a backup",
    "restore": "Put a backup back",
    "review": "Show fields that both sides edited and that wait for somebody's word",
    "rules": "Test the rules of the field map",
    "setup": "Show what the sync needs of its own in Marketo and lacks",
    "status": "Show backlog, last full hour, last cycle, call budgets, cursors, errors",
    "sync": "Run one cycle",
    "task": "Make a task in Dynamics for each of these people of Marketo",
    "undo": "Take back what one cycle wrote",
    "whatif": "Decide past collisions, and what differs now, again under the rules of another field map",
}
_MODULES = {"dev": "develop", "rules": "rule_tests"}  # of another name than the command


def load(names: Iterable[str]) -> None:
    """Register these commands. Each imports what it needs, which for some is most of what they take."""
    for name in names:
        import_module(f"dynsync_pipeline.cli.{_MODULES.get(name, name)}")


def _load_named(arguments: Sequence[str]) -> None:
    """Register the command that these arguments of the process name; where they name none, all by name and summary alone."""
    named = [argument for argument in arguments if not argument.startswith("-")][:1]
    if named and named[0] in COMMANDS:
        load(named)
        return
    for name, summary in COMMANDS.items():
        app.command(name, help=f"{summary}.")(_listed)


def _listed() -> None:
    """Stand in for a command that is listed and not run."""
    raise NotImplementedError


def run() -> None:
    """Run the command of the process's arguments. Raises: SystemExit with its exit code."""
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=errors_to, show_path=False)]
    )
    if not all(map(_is_text, sys.argv)):
        errors_to.print("[bold red]Error:[/] an argument is not UTF-8 text. Type it anew.")
        sys.exit(Exit.SETTINGS)
    if _COMPLETES in os.environ:
        load(COMMANDS)
    else:
        _load_named(sys.argv[1:])
    try:
        app()
    except DynSyncError as error:
        sys.exit(_report(error))


def _is_text(argument: str) -> bool:
    """Whether no byte of it was none of its encoding, which Python keeps as half a character."""
    return not any("\udc80" <= character <= "\udcff" for character in argument)


def _report(error: DynSyncError) -> int:
    from rich.text import Text

    from dynsync_pipeline.cli.looking import cell

    name = os.environ.get(PAIR)
    said = cell(
        f"pair {name}: {error}" if name and not str(error).startswith("Pair ") else str(error)
    )  # it may quote a file
    errors_to.print(Text.assemble(("Error: ", "bold red"), said), highlight=False)
    if isinstance(error, SqlFileFailed):
        errors_to.print(f"\n{error.statement}", markup=False, highlight=False)
    return exit_code_of(error)
