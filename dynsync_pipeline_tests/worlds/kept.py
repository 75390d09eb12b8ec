"""A world in memory whose working file is closed after each cycle, so that it is backed up, lost, restored and erased as any
other. Not here: the two systems (`memory.py`).
"""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.model.field_map import FieldMap
from dynsync_pipeline.operate.backup import Backup, make_backup, utc_now
from dynsync_pipeline_tests.worlds.cuts import CutWarehouse
from dynsync_pipeline_tests.worlds.memory import MemorySystems, MemoryWorld, field_map

FEW = (
    "title,jobtitle,text,both,true",
    "phone,telephone1,text,both,true",
    "doNotCall,donotphone,boolean,both,true",
    "source,new_source,text,to_marketo,true",
    "leadScore,mkt_leadscore,integer,to_dynamics,true",
)


class KeptWorld(MemoryWorld):
    """Both systems, and a data folder as an installation has it; contacts and leads have the fields of `FEW`."""

    def __init__(self, fields: FieldMap | None = None) -> None:
        super().__init__(fields or field_map(*FEW), publishes=True)
        self.warehouse.close()

    def opened(self) -> Cycle:
        self.clock += timedelta(minutes=5)
        systems = MemorySystems(self.dynamics, self.marketo)
        return Cycle(self.settings, systems=lambda settings, used: nullcontext(systems), warehouse=self._open)

    def _open(self, path: Path) -> CutWarehouse:
        return CutWarehouse(path, self.steps, lambda: self.now() + self.host_ahead)

    def open(self) -> CutWarehouse:
        """The working file, between two cycles; to be used in `with`."""
        return self._open(self.settings.working_file)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.open() as warehouse, warehouse.reading() as connection:
            return connection.execute(query, list(values)).fetchall()

    def back_up(self) -> Backup:
        """A backup of now."""
        return make_backup(self.settings, utc_now())
