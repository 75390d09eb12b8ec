"""The census against the emulators, by a clock that is moved. Not here: what else it finds (`test_census.py`)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from dynsync_pipeline.cycle import Cycle
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline_tests.worlds.core import CoreWorld
from dynsync_pipeline_tests.worlds.http import settings_from


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


def let_feed_go_on(world: CoreWorld, time: timedelta) -> None:
    """As if cycles had read the feed for that long since the last one."""
    with duckdb.connect(world.data_dir / "dynsync.duckdb") as working:
        ((read_until,),) = working.execute(
            "select cursor from state.cursors where stream = 'marketo_people'"
        ).fetchall()
        working.execute(
            "update state.cursors set cursor = ? where stream = 'marketo_people'",
            [(datetime.fromisoformat(read_until) + time).isoformat()],
        )


def test_an_edit_that_the_feed_tells_half_an_hour_late_is_found_within_the_period(tmp_path: Path) -> None:
    with CoreWorld(tmp_path, n_contacts=1, n_leads=1) as world:
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
