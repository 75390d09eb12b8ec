"""What all commands share: the application, the two consoles, exit codes. Not here: any one command."""

from __future__ import annotations

import logging
import os
import sys
from enum import IntEnum
from typing import Annotated, Any

import typer
import typer.core
from rich import box
from rich.console import Console
from rich.table import Table

from dynsync_pipeline import __version__
from dynsync_pipeline.cli.json_logs import log_as_json
from dynsync_pipeline.errors import (
    AdoptionWrong,
    CycleRunning,
    DynSyncError,
    FieldMapWrong,
    GuardStopped,
    SettingsWrong,
)

PAIR = "DYNSYNC_PAIR"
OF_NO_PAIR = frozenset({"demo", "dev", "emulate", "pairs"})


def _name_pair(name: str | None) -> str | None:
    """Let this process work for a pair: whoever loads settings finds it there. Raises: typer.BadParameter for an empty name,
    as an unset variable of a shell gives it, or the pair of the environment or of .env would be meant.
    """
    if name is not None:
        if not name.strip():
            raise typer.BadParameter("names no pair; `dynsync pairs` shows those that are there.")
        os.environ[PAIR] = name
    return name


def _of_pair(
    pair: Annotated[
        str | None,
        typer.Option(
            callback=_name_pair,
            expose_value=False,
            metavar="NAME",
            help="The pair that it is for, where there are several (docs/pairs.md).",
        ),
    ] = None,
) -> None:
    """Has the option that each command for a pair gets."""


def _pair_option() -> Any:
    options_of = typer.Typer(add_completion=False)
    options_of.command()(_of_pair)
    return typer.main.get_command(options_of).params[0]


class _Commands(typer.core.TyperGroup):
    """All commands; a wrong choice is told in a sentence of one piece."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, with `--pair` if it is for one."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and cmd_name not in OF_NO_PAIR and "pair" not in {each.name for each in command.params}:
            command.params.append(_pair_option())
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named. Raises: typer.BadParameter, and whatever the command does."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # pydantic's, which Typer asks
            raise


app = typer.Typer(
    name="dynsync",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


class PlainConsole(Console):
    """A console whose tables are of plain characters, and not narrow, where no terminal shows them."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as `Console` does."""
        for each in objects:
            if isinstance(each, Table) and each.box is not None and not self.is_terminal:
                each.box = box.ASCII
        super().print(*objects, **options)


_WITHOUT_TERMINAL = 120  # characters a line, where nobody says how many fit


def _width() -> int | None:
    """The width of a line; None: that of the terminal, or as COLUMNS says."""
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    is_told = "COLUMNS" in os.environ or any(stream and not stream.closed and stream.isatty() for stream in streams)
    return None if is_told else _WITHOUT_TERMINAL


prints_to = PlainConsole(width=_width())
# No class of ours: logging keeps it to the end of the process, and with it whatever its module reaches.
errors_to = Console(stderr=True, width=_width())


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        prints_to.print(__version__, highlight=False)
        raise typer.Exit


@app.callback()
def options(
    is_debug: Annotated[
        bool, typer.Option("--debug", help="Tell each request and each SQL statement, with rows and milliseconds.")
    ] = False,
    is_json: Annotated[
        bool, typer.Option("--json-logs", help="Write the log as JSON, one object a line, on the standard error.")
    ] = False,
    shows_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Tell the version and end.")
    ] = False,
) -> None:
    """Two-way sync between Microsoft Dynamics 365 and Adobe Marketo Engage."""
    if is_json:
        log_as_json()
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
