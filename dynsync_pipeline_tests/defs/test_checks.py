"""Each check can fail, and tells which rows are at fault by id and never by value. The one before the writes stops them."""

from collections.abc import Iterator

import dagster as dg
import pytest

from dynsync_pipeline.publish.snapshot import Published
from dynsync_pipeline.reconcile.offences import Offences, find_offences
from dynsync_pipeline.reconcile.plan import Plan
from dynsync_pipeline.settings import Settings
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.write_back.receipts import Written
from dynsync_pipeline_tests.defs.conftest import QuietCycle, checks, cycles_told, failures, materialized, run_job
from dynsync_pipeline_tests.properties.effort import story

pytestmark = story

EMAIL = "ada@example.com"


@pytest.fixture
def warehouse(settings: Settings) -> Iterator[Warehouse]:
    """A working file in which one contact is linked to one person, and the last plan wrote to both."""
    cycle = QuietCycle(settings)
    with cycle:
        cycle.prepare()
    with Warehouse(settings.working_file) as warehouse:
        _run(
            warehouse,
            "insert into mirror.dynamics_contacts (contactid, is_deleted) values ('c1', false)",
            "insert into mirror.marketo_people (person_id, dynamics_contact_id, is_deleted) values (1, 'c1', false)",
            "insert into state.links values (1, 'contact', 'c1', timestamp '2026-01-01')",
            "insert into state.base (person_id) values (1)",
            f"""insert into reconcile.operations by name
                select 1 as operation_id, 1 as cycle_id, 'marketo' as system, 'update' as action,
                    'contact' as record_type, 'c1' as dynamics_id, 1 as person_id, '{EMAIL}' as body""",
            """insert into reconcile.receipts by name
               select 1 as operation_id, 'applied' as outcome, 1 as person_id, true as is_settled,
                   timestamp '2026-01-01' as received_at""",
        )
        yield warehouse


def _run(warehouse: Warehouse, *statements: str) -> None:
    with warehouse.transaction() as connection:
        for statement in statements:
            connection.execute(statement)


def _offences(warehouse: Warehouse, name: str) -> Offences:
    with warehouse.reading() as connection:
        return find_offences(connection, name)


@pytest.mark.parametrize("name", ["doubled_links", "unsettled_without_reason", "lost_writes"])
def test_a_cycle_in_order_breaks_no_rule(warehouse: Warehouse, name: str) -> None:
    assert _offences(warehouse, name).shown == []


@pytest.mark.parametrize(
    ("name", "damage", "offence"),
    [
        (
            "doubled_links",
            "insert into state.links values (1, 'lead', 'l1', timestamp '2026-01-01')",
            "person with several links: person 1",
        ),
        (
            "doubled_links",
            "insert into state.links values (2, 'contact', 'c1', timestamp '2026-01-01')",
            "record with several links: contact c1",
        ),
        (
            "doubled_links",
            "update state.links set dynamics_id = 'c2'",
            "update of a pair that is not linked: contact c1, person 1",
        ),
        (
            "doubled_links",
            "update reconcile.operations set action = 'create', person_id = null",
            "creation of a person whose record is linked: contact c1",
        ),
        (
            "unsettled_without_reason",
            """insert into state.unsettled by name select 'contact' as record_type, 'c1' as dynamics_id, 1 as person_id,
               'title' as field, 'refused' as reason_code, 0 as attempts, timestamp '2026-01-01' as since""",
            "no next time to look: contact c1, person 1, title",
        ),
        (
            "unsettled_without_reason",
            """insert into state.unsettled by name select 'lead' as record_type, 'l1' as dynamics_id,
               0 as attempts, timestamp '2026-01-01' as since, timestamp '2026-01-01' as next_look_at""",
            "no reason: lead l1",
        ),
        (
            "lost_writes",
            "delete from reconcile.receipts",
            "write without receipt that is not in the backlog: contact c1",
        ),
        ("lost_writes", "update reconcile.receipts set is_settled = false", "receipt that was not settled: contact c1"),
        ("lost_writes", "delete from state.links", "confirmed write without a link: contact c1"),
        ("lost_writes", "delete from state.base", "0 rows instead of one in base: person 1"),
        (
            "lost_writes",
            "insert into mirror.marketo_people (person_id, is_deleted) values (1, false)",
            "2 rows instead of one in Marketo: person 1",
        ),
        ("lost_writes", "delete from mirror.dynamics_contacts", "0 rows instead of one in Dynamics: person 1"),
    ],
)
def test_every_rule_that_is_broken_is_found(warehouse: Warehouse, name: str, damage: str, offence: str) -> None:
    _run(warehouse, damage)
    assert _offences(warehouse, name).shown == [offence]


def test_the_flag_of_a_deletion_is_no_write_past_a_link(warehouse: Warehouse) -> None:
    """The person stays in Marketo when the record is gone (R79); the tombstone says whose it was."""
    _run(
        warehouse,
        "delete from state.links",
        """insert into state.tombstones by name select 1 as person_id, 'contact' as record_type, 'c1' as dynamics_id,
           'dynamics' as side, timestamp '2026-01-01' as ended_at""",
    )
    assert _offences(warehouse, "doubled_links").shown == []
    assert _offences(warehouse, "lost_writes").shown == []


def test_only_the_keys_that_the_cycle_touched_are_looked_at(warehouse: Warehouse) -> None:
    """Damage elsewhere is the audit's to find; a check must not grow with the database."""
    _run(
        warehouse,
        "insert into state.links values (8, 'contact', 'c8', timestamp '2026-01-01')",
        "insert into state.links values (8, 'lead', 'l8', timestamp '2026-01-01')",
    )
    assert _offences(warehouse, "doubled_links").n_rows == 0
    assert _offences(warehouse, "lost_writes").n_rows == 0


def test_a_plan_that_goes_past_its_link_writes_nothing_and_ends_as_stopped(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    class Astray(QuietCycle):
        """Plans an update of a pair that is not linked."""

        def reconcile(self) -> Plan:
            plan = super().reconcile()
            _run(
                self.warehouse,
                f"""insert into reconcile.operations by name
                    select 1 as operation_id, {self.cycle_id} as cycle_id, 'dynamics' as system, 'update' as action,
                        'contact' as record_type, 'c1' as dynamics_id, 1 as person_id, '{EMAIL}' as body""",
            )
            return plan

        def write_dynamics(self) -> Written:
            raise AssertionError("the check must have stopped this")

    result = run_job(settings, instance, cycles=Astray)
    assert checks(result) == {"one_link_per_person_and_record": False}
    assert "dynamics_writes" not in materialized(result)
    assert "dynamics_writes" not in failures(result)
    [(status, message)] = cycles_told(settings)
    assert (status, (message or "")[:42]) == ("stopped_by_guard", "The plan touches 1 links that are not one ")
    events = "".join(str(entry) for entry in instance.all_logs(result.run_id))
    assert "contact c1, person 1" in events
    assert EMAIL not in events


def test_a_snapshot_that_lacks_somebody_is_noticed(settings: Settings, instance: dg.DagsterInstance) -> None:
    class Forgetful(QuietCycle):
        """Takes in a person without telling the publisher."""

        def write_marketo(self) -> Written:
            written = super().write_marketo()
            if self.cycle_id > 1:
                _run(self.warehouse, "insert into mirror.marketo_people (person_id, is_deleted) values (5, false)")
            return written

    assert checks(run_job(settings, instance, cycles=Forgetful))["snapshot_holds_everybody"]
    assert not checks(run_job(settings, instance, cycles=Forgetful))["snapshot_holds_everybody"]


def test_a_run_whose_writes_a_system_failed_does_all_else_and_fails_at_its_end(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    class Down(QuietCycle):
        """Cannot write to Dynamics."""

        def write_dynamics(self) -> Written:
            return self._written("write_dynamics", Written(failure="Dynamics is down."))

    result = run_job(settings, instance, cycles=Down)
    assert not result.success
    assert not checks(result)["everything_was_written"]
    assert {"marketo_writes", "snapshot"} <= {*materialized(result)}
    [(status, message)] = cycles_told(settings)
    assert (status, (message or "")[-17:]) == ("failed", "Dynamics is down.")


def test_all_checks_pass_on_an_idle_cycle(settings: Settings, instance: dg.DagsterInstance) -> None:
    result = run_job(settings, instance)
    assert checks(result) == dict.fromkeys(
        [
            "edits_arrive_within_an_hour",
            "everything_was_written",
            "feeds_tell_everything",
            "nothing_is_refused",
            "nothing_lost",
            "one_link_per_person_and_record",
            "snapshot_holds_everybody",
            "unsettled_has_reason_and_next_look",
        ],
        True,
    )


def test_what_waits_for_too_long_or_is_refused_is_a_warning_and_fails_no_run(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    class Behind(QuietCycle):
        """Leaves an edit that waits since the year before, one that began to wait just now, and one that is refused."""

        def publish(self) -> Published:
            waiting = (
                "insert into state.unsettled (record_type, dynamics_id, field, reason_code, attempts, since, next_look_at) "
                "values "
                "('contact', 'c1', 'title', 'waiting', 0, '2025-01-01', '2025-01-01'), "
                "('contact', 'c2', 'title', 'waiting', 0, now() at time zone 'UTC', '2025-01-01'), "
                "('lead', 'l1', 'city', 'refused', 1, '2025-01-01', '2025-01-01')"
            )
            refused = (
                "insert into ledger.sync_errors (error_id, cycle_id, happened_at, last_seen_at, record_type, dynamics_id, field, "
                f"operation, direction, code, message, attempts, state) select i, 1, '2025-01-01', '2025-01-01', 'lead', i, "
                f"'city', 'update', 'to_marketo', '1003', '{EMAIL}', 1, s from values (1, 'waiting'), (2, 'resolved') as t(i, s)"
            )
            _run(self.warehouse, waiting, refused)
            return super().publish()

    result = run_job(settings, instance, cycles=Behind)
    assert result.success
    told = {each.check_name: each for each in result.get_asset_check_evaluations()}
    for name in ("edits_arrive_within_an_hour", "nothing_is_refused"):
        assert not told[name].passed
        assert told[name].severity == dg.AssetCheckSeverity.WARN
        assert told[name].metadata["rows"].value == 1, name
        assert EMAIL not in str(told[name])
