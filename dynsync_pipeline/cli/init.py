"""`dynsync init`: makes what a server needs before its first cycle. Not here: what that is (`operate/installation.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynsync_pipeline.cli.looking import cell
from dynsync_pipeline.cli.output import app, prints_to
from dynsync_pipeline.defs.development import POSTGRES_URL, prepare_home
from dynsync_pipeline.operate.installation import prepare_installation
from dynsync_pipeline.settings import load_settings
from dynsync_pipeline.warehouse.connection import storage_errors


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where; else here.")] = Path(),
    has_postgres: Annotated[
        bool, typer.Option("--postgres", help=f"Let Dagster keep its runs in the PostgreSQL that {POSTGRES_URL} names.")
    ] = False,
) -> None:
    """Make what a server needs: .env, the field map, workspace.yaml, and Dagster's home in the data folder.

    Files that are there stay as they are, but for Dagster's own, which this version writes anew.

    Exit codes: 0 made, 1 failed, 2 options wrong, or the .env that is there.
    """
    made = prepare_installation(folder)
    settings = load_settings(folder / ".env")
    if not settings.data_dir.is_absolute():
        settings = settings.model_copy(update={"data_dir": folder / settings.data_dir})
    with storage_errors(settings.data_dir):
        home = prepare_home(settings, has_postgres=has_postgres or None)
    for file, is_new in made.items():
        prints_to.print("Made:" if is_new else "Kept as it is:", cell(str(file)), soft_wrap=True)
    prints_to.print("Dagster's home:", cell(str(home)), soft_wrap=True)
    prints_to.print(
        "Now fill in .env, ask `dynsync check` until every line is green, and start the two services: docs/operate.md.",
        highlight=False,
    )
