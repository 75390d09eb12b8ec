"""Which two systems a working file was made with. Not here: talking to them (`clients/systems.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse


class OtherSystem(NamedTuple):
    """A system that is not the one of before: which, where it was, and where the settings say that it is."""

    system: str
    known: str
    named: str


def other_system(known: Mapping[str, str], settings: Settings) -> OtherSystem | None:
    """The first system that the settings name at another address than `known` has it."""
    for system, named in settings.addresses.items():
        if known.get(system, named) != named:
            return OtherSystem(system, known[system], named)
    return None


def require_same_systems(warehouse: Warehouse, settings: Settings) -> None:
    """Refuse to sync other systems into this working file: all of its links would be taken for deleted (R111).

    A system that the file does not know yet is noted. Raises: SettingsWrong.
    """
    with warehouse.transaction() as connection:
        known = dict(connection.execute("select system, host from state.systems").fetchall())
        if other := other_system(known, settings):
            raise SettingsWrong(
                f"{warehouse.path} was made with {other.known}, and the settings name {other.named}.",
                next_step=f"Name another folder in DYNSYNC_DATA_DIR, or set DYNSYNC_{other.system.upper()}_URL back.",
            )
        for system, named in settings.addresses.items():
            if system not in known:
                connection.execute("insert into state.systems (system, host) values (?, ?)", [system, named])
