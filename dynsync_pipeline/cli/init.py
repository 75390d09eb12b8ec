"""`dynsync init`: makes what a server needs before its first cycle. Not here: what that is (`operate/installation.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynsync_pipeline.cli.looking import cell
from dynsync_pipeline.cli.output import app, prints_to
from dynsync_pipeline.defs.development import POSTGRES_URL, prepare_home
from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.operate.installation import prepare_installation, prepare_pair, prepare_pairs
from dynsync_pipeline.pairs import pair_folder
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.settings_sources import load_installation
from dynsync_pipeline.warehouse.connection import storage_errors


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where; else here.")] = Path(),
    has_postgres: Annotated[
        bool, typer.Option("--postgres", help=f"Let Dagster keep its runs in the PostgreSQL that {POSTGRES_URL} names.")
    ] = False,
) -> None:
    """Make what a server needs: .env, the field map, workspace.yaml, and Dagster's home in the data folder.

    Where .env names a folder of pairs, that is made instead of a field map; --pair NAME makes .env and field map of a pair in it.
    Files that are there stay as they are, but for Dagster's own, which this version writes anew.

    Exit codes: 0 made, 1 failed, 2 options wrong, or the .env that is there.
    """
    env_file = folder / ".env"
    installation = load_installation(env_file)
    if installation.pair:
        made = prepare_pair(pair_folder(folder / _pairs_dir(installation), installation.pair))
        _tell(made)
        told = f"Now fill in its .env, and ask `dynsync check --pair {installation.pair}` until every line is green."
        prints_to.print(told, highlight=False)
        return
    if installation.pairs_dir is None:
        made = prepare_installation(folder)
    else:
        made = prepare_pairs(folder, folder / installation.pairs_dir)
    settings = load_installation(env_file)
    if not settings.data_dir.is_absolute():
        settings = settings.model_copy(update={"data_dir": folder / settings.data_dir})
    with storage_errors(settings.data_dir):
        home = prepare_home(settings, has_postgres=has_postgres or None)
    _tell(made)
    prints_to.print("Dagster's home:", cell(str(home)), soft_wrap=True)
    prints_to.print(
        "Now fill in .env, ask `dynsync check` until every line is green, and start the two services: docs/operate.md."
        if settings.pairs_dir is None
        else "Now make pairs with `dynsync init --pair NAME`, and start the two services: docs/pairs.md.",
        highlight=False,
    )


def _pairs_dir(installation: Settings) -> Path:
    if installation.pairs_dir is None:
        raise SettingsWrong(
            f"Pair {installation.pair}: DYNSYNC_PAIRS_DIR names no folder of pairs.",
            next_step="Set it in .env first (docs/pairs.md).",
        )
    return installation.pairs_dir


def _tell(made: dict[Path, bool]) -> None:
    for file, is_new in made.items():
        prints_to.print("Made:" if is_new else "Kept as it is:", cell(str(file)), soft_wrap=True)
