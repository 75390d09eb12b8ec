"""What the emulator looks for, it finds: it is never what a benchmark measures."""

from __future__ import annotations

from dynsync_pipeline_tests.emulators.dataverse.conftest import Dataverse


def test_lookups_keys_and_deltas_are_served_by_indexes(dataverse: Dataverse) -> None:
    """Otherwise an idle cycle would cost more with every row."""
    for sql in (
        'select 1 from contact t where (t."parentcustomerid" = ?) order by t.contactid limit 5001',
        "select 1 from contact t where t.versionnumber > ? order by t.versionnumber limit 5001",
        'select contactid from contact where "new_extid" is ? collate nocase',
        "select id from deleted where entity = 'contact' and version > ? order by version",
    ):
        with dataverse.store.read() as connection:
            plan = " ".join(row[3] for row in connection.execute(f"explain query plan {sql}", ("x",)))
        assert "SEARCH" in plan, plan
        assert "SCAN" not in plan, plan
