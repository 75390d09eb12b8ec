"""`dynsync`: the command line. One module per command; each prints tables to people and, with --json, JSON to programs.

This file is imported before anything else, so that Ctrl-C is told in one sentence from the first moment on.
Not here: the list of the commands (`commands.py`), what a cycle does (`cycle.py`). Only this folder and the tests start the
emulators.
"""

from __future__ import annotations

import os
import signal
import sys

from dynsync_pipeline.collecting import collect_rarely

_ENDED = "Ended by Ctrl-C. What was committed is kept; the next cycle finds out the rest and goes on."
_INTERRUPTED = 130


class _Interrupted(BaseException):
    """Ctrl-C; a kind of its own, because Typer ends a KeyboardInterrupt with another code and without our sentence."""


class _CtrlC:
    """What Ctrl-C does: the first one lets everything be closed, the second one waits for nothing."""

    is_pressed = False

    def __call__(self, *_: object) -> None:
        if self.is_pressed:
            _end()
        self.is_pressed = True
        raise _Interrupted


def main() -> None:
    """Run one command; an error raised on purpose ends as one sentence and its exit code, Ctrl-C as one and 130."""
    ctrl_c = _CtrlC()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, ctrl_c)
    try:
        _start_lightly()
        from dynsync_pipeline.cli.commands import run

        run()
    except BaseException:
        # Libraries answer Ctrl-C with errors of their own.
        if not ctrl_c.is_pressed:
            raise
        _end()


def _start_lightly() -> None:
    """Spare what a command that only looks would spend a tenth of its time on: collecting while it imports, and pydantic's search
    through all installed packages for plugins, of which we have none.
    """
    collect_rarely()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def _end() -> None:
    """End at once: reads under way may sleep for a minute, and nothing of them needs an end."""
    print(_ENDED, file=sys.stderr, flush=True)  # noqa: T201 (nothing else may be imported yet)
    os._exit(_INTERRUPTED)
