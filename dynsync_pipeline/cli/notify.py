"""`dynsync notify`: tell people what they have to know now, or try the ways there are (docs/operate.md#be-told)."""

from __future__ import annotations

from typing import Annotated

import typer

from dynsync_pipeline.cli.output import Exit, app, prints_to
from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.operate.notify import Way, notify, send_test
from dynsync_pipeline.operate.occasions import kind_of
from dynsync_pipeline.settings_sources import load_settings


@app.command(
    name="notify",
    help="Tell the addresses of DYNSYNC_NOTIFY what is new, once: for cron, where no sensor does it.\n\n"
    "Exit codes: 0 told, or nothing to tell, 1 no address took it, 2 settings wrong.",
)
def notify_command(
    is_test: Annotated[bool, typer.Option("--test", help="Send a line to each address, and tell who took it.")] = False,
) -> None:
    """Tell, or try. Raises: DynSyncError."""
    settings = load_settings()
    if is_test:
        _test(send_test(settings))
        return
    if settings.notify is None:
        raise SettingsWrong(
            "DYNSYNC_NOTIFY is not set.", next_step="Set it to the addresses to tell (docs/operate.md#be-told)."
        )
    codes = [kind_of(key) for key in notify(settings)]
    prints_to.print(f"Told: {', '.join(codes)}." if codes else "Nothing new to tell.", highlight=False)


def _test(ways: list[Way]) -> None:
    for way in ways:
        prints_to.print(f"{way.name}: {'sent' if way.is_sent else 'not sent'}", highlight=False, markup=False)
    if not all(way.is_sent for way in ways):
        raise typer.Exit(Exit.FAILED)
