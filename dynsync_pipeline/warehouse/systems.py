"""Which two systems a working file was made with. Not here: talking to them (`clients/systems.py`)."""

from __future__ import annotations

from urllib.parse import urlsplit

from dynsync_pipeline.errors import SettingsWrong
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse


def require_same_systems(warehouse: Warehouse, settings: Settings) -> None:
    """Refuse to sync other systems into this working file: all of its links would be taken for deleted (R111).

    A system that the file does not know yet is noted. Raises: SettingsWrong.
    """
    hosts = {
        "dynamics": urlsplit(settings.dynamics_url).hostname,
        "marketo": urlsplit(settings.marketo_url).hostname,
    }
    with warehouse.transaction() as connection:
        known = dict(connection.execute("select system, host from state.systems").fetchall())
        for system, host in hosts.items():
            if known.get(system, host) != host:
                raise SettingsWrong(
                    f"{warehouse.path} was made with {known[system]}, and the settings name {host}.",
                    next_step=f"Name another folder in DYNSYNC_DATA_DIR, or set DYNSYNC_{system.upper()}_URL back.",
                )
            if system not in known:
                connection.execute("insert into state.systems (system, host) values (?, ?)", [system, host])
