"""DynSync's own first step, alone: settings of the environment, definitions of columns, cursors, types and a mirror."""

from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.settings_sources import load_settings

if __name__ == "__main__":
    with Cycle(load_settings()) as cycle:
        cycle.prepare()
        cycle.extract_records(RecordType.CONTACT)
