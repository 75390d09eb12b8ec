"""Census and back-fill against the emulators. Not here: what else they find (`test_census.py`, `test_back_fill.py`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.emulators.faults import Fault
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.core import CoreWorld
from dynsync_pipeline_tests.worlds.http import settings_from

pytestmark = story


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreWorld]:
    with CoreWorld(tmp_path_factory.mktemp("world"), n_contacts=2, n_leads=1) as world:
        yield world


def sync_later(world: CoreWorld, ahead: timedelta) -> None:
    """One cycle, by a clock that is so much ahead."""
    with Cycle(
        settings_from(world.environment), warehouse=lambda path: Warehouse(path, lambda: datetime.now(UTC) + ahead)
    ) as cycle:
        cycle.extract()
        cycle.reconcile()
        cycle.write_dynamics()
        cycle.write_marketo()
        cycle.publish()


def let_feed_go_on(world: CoreWorld, passed: timedelta) -> None:
    """As if cycles had read the feed for that long since the last one."""
    with duckdb.connect(world.data_dir / "dynsync.duckdb") as working:
        ((read_until,),) = working.execute(
            "select cursor from state.cursors where stream = 'marketo_people'"
        ).fetchall()
        working.execute(
            "update state.cursors set cursor = ? where stream = 'marketo_people'",
            [(datetime.fromisoformat(read_until) + passed).isoformat()],
        )


@deep
def test_a_back_fill_that_is_killed_while_it_reads_goes_on_and_sends_the_value_once_more(world: CoreWorld) -> None:
    contact, person = world.take("contact")
    world.sync()
    world.edit_person(person, leadStatus="Hers")
    world.settle()
    assert world.values(person, "leadStatus") == ("Hers",)
    begun = world.dynsync("backfill", "--field", "leadStatus", "--start")
    assert begun.returncode == 0, begun.stderr
    read_whole = r"/contacts\?\$select=[^&]*$"
    world.emulators.dataverse_faults.add(Fault(method="GET", path=read_whole, delay_s=60.0))
    process = world.start("sync")
    while "delay_s" in world.sales.get("/emulator/faults").text:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    world.settle()
    assert world.values(person, "leadStatus") == ("Active",)
    told = "select n_records, n_read, n_sent_again, n_set_aside, outcome_code from back_fills where record_type = 'contact'"
    assert world.query(told) == [(2, 2, 1, 0, "done")]
    assert world.columns("contact", contact, "statecode") == (0,)


def test_an_edit_that_the_feed_tells_half_an_hour_late_is_found_within_the_period(world: CoreWorld) -> None:
    contact, person = world.take("contact")
    lead, _ = world.take("lead")
    world.sync()
    world.control("marketo", "behaviour", {"feed_delay_s": 1_800})
    world.edit_person(person, title="Chief")
    world.sync()
    assert world.columns("contact", contact, "jobtitle") == ("Buyer",)
    let_feed_go_on(world, timedelta(minutes=30))
    world.control("marketo", "behaviour", {"feed_delay_s": 0})
    world.sync()  # the entry shows, but further back than is read
    assert world.columns("contact", contact, "jobtitle") == ("Buyer",)

    let_feed_go_on(world, timedelta(minutes=30))
    sync_later(world, timedelta(days=1, minutes=1))
    assert world.columns("contact", contact, "jobtitle") == ("Chief",)
    let_feed_go_on(world, timedelta(minutes=30))
    sync_later(world, timedelta(days=1, minutes=15))
    assert world.query("select finding_code, person_id_marketo, field from audit_findings") == [
        ("edit_untold", person, "title")
    ]
    assert world.columns("lead", lead, "jobtitle") == ("Buyer",)
