"""Folders of pairs for tests and benches: settings that reach emulators, written as a person would fill them in."""

from __future__ import annotations

from pathlib import Path

from dynsync_pipeline.emulators.running import Emulators
from dynsync_pipeline.settings import PREFIX


def write_pair(folder: Path, emulators: Emulators, **settings: str) -> None:
    """Make the folder of a pair whose systems are these emulators; `settings` by their variables."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {name: value for name, value in emulators.environment.items() if name.startswith(PREFIX)} | settings
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
