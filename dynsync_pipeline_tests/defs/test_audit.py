"""The audit finds what the cycles missed, hands it to the next one, and tells what looking again cannot mend."""

import sys

import dagster as dg
import pytest

from dynsync_pipeline.defs.audit import by_record_type
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycle_lock import CycleLock
from dynsync_pipeline_tests.defs.conftest import QuietCycle, checks, cycles_told, failures, run_job
from dynsync_pipeline_tests.properties.effort import story

pytestmark = story

LINKED = """
insert into mirror.dynamics_contacts by name select 'c1' as contactid, false as is_deleted, 'Boss' as jobtitle;
insert into mirror.marketo_people by name
    select 1 as person_id, 'c1' as dynamics_contact_id, false as is_deleted, 'Boss' as title;
insert into state.links values (1, 'contact', 'c1', timestamp '2026-01-01');
insert into state.base by name select 1 as person_id, 'Boss' as title;
"""


def prepared(settings: Settings, sql: str) -> None:
    """A working file with one settled link, then `sql`."""
    cycle = QuietCycle(settings)
    with cycle:
        cycle.prepare()
        with cycle.warehouse.transaction() as connection:
            connection.execute(LINKED + sql)


def audited(settings: Settings, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return run_job(settings, instance, job="daily_audit")


def findings(result: dg.ExecuteInProcessResult) -> str:
    [materialization] = result.asset_materializations_for_node("audit")
    shown = materialization.metadata["preview"]
    rows = shown.records if isinstance(shown, dg.TableMetadataValue) else []
    return "\n".join(" | ".join(str(value) for value in row.data.values()) for row in rows) or str(shown.value)


def touched(settings: Settings) -> list[tuple[str | None, str | None, int | None]]:
    with Warehouse(settings.working_file) as warehouse, warehouse.reading() as connection:
        return connection.execute("select record_type, dynamics_id, person_id from inbox.touched").fetchall()


def test_a_settled_database_passes(settings: Settings, instance: dg.DagsterInstance) -> None:
    prepared(settings, "")
    result = audited(settings, instance)
    assert checks(result) == {"audit_finds_nothing": True}
    assert findings(result) == "Nothing."
    assert len(cycles_told(settings)) == 1  # it is no cycle of its own


def test_a_missed_difference_is_handed_to_the_next_cycle_once(settings: Settings, instance: dg.DagsterInstance) -> None:
    prepared(settings, "update mirror.marketo_people set title = 'Chief'")
    result = audited(settings, instance)
    assert checks(result) == {"audit_finds_nothing": False}
    assert findings(result) == "difference that no cycle looks at | title | 1"
    assert "Chief" not in findings(result)
    assert touched(settings) == [(None, None, 1)]
    assert checks(audited(settings, instance)) == {"audit_finds_nothing": True}  # it is known of now


def test_what_it_finds_stands_in_the_ledger_once_a_week(settings: Settings, instance: dg.DagsterInstance) -> None:
    prepared(settings, "delete from state.base")
    for _ in range(2):
        audited(settings, instance)
    with Warehouse(settings.working_file) as warehouse, warehouse.reading() as connection:
        found = connection.execute(
            "select found_by, code, dynamics_id, person_id from ledger.audit_findings"
        ).fetchall()
    assert found == [("audit", "link_without_base", "c1", 1)]


def test_what_is_unsettled_or_stands_is_no_finding(settings: Settings, instance: dg.DagsterInstance) -> None:
    prepared(
        settings,
        """update mirror.marketo_people set title = 'Chief', city = 'Oslo';
           insert into state.unsettled by name select 'contact' as record_type, 'c1' as dynamics_id, 1 as person_id,
               'title' as field, 'refused' as reason_code, 1 as attempts, timestamp '2026-01-01' as since,
               timestamp '2026-01-01' as next_look_at;
           insert into state.standing_differences by name
               select 1 as person_id, 'city' as field, null as dynamics_value, 'Oslo' as marketo_value,
                   'one_way_edited' as reason_code, timestamp '2026-01-01' as since""",
    )
    assert findings(audited(settings, instance)) == "Nothing."


def test_a_lapsed_standing_difference_is_a_finding(settings: Settings, instance: dg.DagsterInstance) -> None:
    prepared(
        settings,
        """update mirror.marketo_people set city = 'Bergen';
           insert into state.standing_differences by name
               select 1 as person_id, 'city' as field, null as dynamics_value, 'Oslo' as marketo_value,
                   'one_way_edited' as reason_code, timestamp '2026-01-01' as since""",
    )
    assert "difference that no cycle looks at" in findings(audited(settings, instance))


def test_a_record_that_was_never_created_in_marketo_is_handed_on(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    prepared(settings, "insert into mirror.dynamics_leads by name select 'l1' as leadid, false as is_deleted")
    assert "record without a person that no cycle looks at" in findings(audited(settings, instance))
    assert touched(settings) == [("lead", "l1", None)]


def test_damage_is_told_and_nothing_is_repaired(settings: Settings, instance: dg.DagsterInstance) -> None:
    prepared(
        settings,
        """delete from state.base;
           insert into state.links values (2, 'contact', 'c1', timestamp '2026-01-01');
           insert into state.links values (1, 'lead', 'l9', timestamp '2026-01-01')""",
    )
    told = findings(audited(settings, instance))
    for finding in (
        "link without a base",
        "link without its person in the mirror",
        "link without its record in the mirror",
        "person with several links",
        "record with several links",
    ):
        assert finding in told
    assert touched(settings) == []


def test_before_the_first_cycle_it_says_what_to_do(settings: Settings, instance: dg.DagsterInstance) -> None:
    assert "Start the job sync_cycle" in failures(audited(settings, instance))["audit"]


def test_the_setting_says_which_engine(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spark wants a folder of Parquet files, which no other engine asks for."""
    prepared(settings, "")
    monkeypatch.setitem(sys.modules, "pyspark", pytest)
    told = failures(audited(settings.model_copy(update={"audit_engine": "spark"}), instance))["audit"]
    assert "DYNSYNC_PARQUET_DIR names no folder" in told


def test_under_a_running_cycle_it_asks_to_be_tried_again(settings: Settings) -> None:
    from dynsync_pipeline.defs.cycle_run import CycleRun

    with CycleLock(settings.lock_file):
        try:
            with CycleRun(settings).looking():
                raise AssertionError("the lock is held")
        except dg.Failure as failure:
            assert failure.allow_retries
            assert (failure.description or "").startswith("Another cycle is running")


def test_findings_are_shown_by_record_type_and_none_is_left_out() -> None:
    shown = by_record_type([("a", "contact", "title", 7), ("a", "lead", "title", 2), ("b", None, None, 3)])
    assert isinstance(shown, dg.TableMetadataValue)
    assert [dict(row.data) for row in shown.records] == [
        {"finding": "a", "field": "title", "contact": 7, "lead": 2, "no record": 0},
        {"finding": "b", "field": "", "contact": 0, "lead": 0, "no record": 3},
    ]
