"""What a server needs before its first cycle: settings to fill in, a field map, Dagster's home. Nothing that is there is changed.

Not here: what Dagster's home holds (`defs/development.py`), the services themselves (`deploy/` in the repository).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from dynsync_pipeline.model.field_map import default_map_text
from dynsync_pipeline.settings import PREFIX, Settings
from dynsync_pipeline.settings_sources import INSTALLATION
from dynsync_pipeline.warehouse.connection import OWNER_ONLY, OWNERS_FOLDER, storage_errors

WORKSPACE = """# What Dagster loads.
load_from:
  - python_module: dynsync_pipeline.definitions
"""


ALL = "# Every setting of DynSync with its default. Copy this file to .env and fill in what is empty and needed."


def settings_text(*, first_line: str = ALL, but_not: Collection[str] = (), **values: str) -> str:
    """Every setting with its default, or the value given for it, as a `.env` file to fill in."""
    lines = [first_line]
    for name, field in Settings.model_fields.items():
        if name in but_not:
            continue
        default = "" if field.default is None else field.default
        lines += ["", f"# {field.description}", f"{PREFIX}{name.upper()}={values.get(name, default)}"]
    return "\n".join(lines) + "\n"


def prepare_installation(folder: Path) -> dict[Path, bool]:
    """Make settings, field map and workspace in a folder, its owner's alone; returns each file, and whether it is new.

    Raises: StorageFailed.
    """
    texts = {
        folder / ".env": settings_text(data_dir="data", field_map="fields.csv", backup_hours="24"),
        folder / "fields.csv": default_map_text(),
        folder / "workspace.yaml": WORKSPACE,
    }
    return _all_made(folder, texts)


def prepare_pairs(folder: Path, pairs_dir: Path) -> dict[Path, bool]:
    """Make the folder of pairs and the workspace; returns as `prepare_installation`. Raises: StorageFailed."""
    with storage_errors(pairs_dir):
        is_new = not pairs_dir.exists()
        pairs_dir.mkdir(mode=OWNERS_FOLDER, parents=True, exist_ok=True)
    return {pairs_dir: is_new, **_all_made(folder, {folder / "workspace.yaml": WORKSPACE})}


def prepare_pair(folder: Path) -> dict[Path, bool]:
    """Make settings and field map of a pair in its folder; returns as `prepare_installation`. Raises: StorageFailed."""
    first_line = (
        "# Every setting of this pair with its default. Fill in what is empty and needed; paths begin at this folder."
    )
    values = {"data_dir": "data", "field_map": "fields.csv", "backup_hours": "24"}
    texts = {
        folder / ".env": settings_text(first_line=first_line, but_not=INSTALLATION, **values),
        folder / "fields.csv": default_map_text(),
    }
    return _all_made(folder, texts)


def _all_made(folder: Path, texts: Mapping[Path, str]) -> dict[Path, bool]:
    with storage_errors(folder):
        folder.mkdir(mode=OWNERS_FOLDER, parents=True, exist_ok=True)
        return {file: _made(file, text) for file, text in texts.items()}


def _made(file: Path, text: str) -> bool:
    """Write a file that is not there; returns whether it was not."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    return True
