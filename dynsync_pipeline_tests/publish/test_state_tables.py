"""The published state is the working file's state after every cycle, and publishing it costs what changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dynsync_pipeline.model.field_map import load_field_map
from dynsync_pipeline.publish.snapshot import publish_snapshot
from dynsync_pipeline.warehouse.connection import Warehouse
from dynsync_pipeline.warehouse.cycles import ended
from dynsync_pipeline.warehouse.follow_map import move_base
from dynsync_pipeline.whole_cycle import run_cycle
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld, settings_from

PAIRS = {
    "links": "select person_id, record_type, dynamics_id, linked_at from state.links",
    "standing_differences": "select s.* exclude (since), sentence, since from state.standing_differences s "
    "join codes on code = reason_code",
    "unsettled": "select u.* exclude (attempts, since, next_look_at), concat_ws(': ', sentence, u.code), attempts, since, "
    "next_look_at from state.unsettled u join codes on codes.code = reason_code",
    "tombstones": "select record_type, dynamics_id, person_id, side, ended_at from state.tombstones",
    "parked_fields": "from state.parked_fields",
    "cursors": "select stream, moved_at, is_loaded, waits_because from state.cursors "
    "left join state.refused_links using (stream)",
    "options": "from state.options",
    "field_map": "select record_type, field, dynamics_column, type, direction, collision, forbids from reconcile.fields",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorld]:
    with HttpWorld(tmp_path_factory.mktemp("published")) as world:
        yield world


def assert_published_as_stored(world: HttpWorld) -> None:
    with Warehouse(world.data_dir / "dynsync.duckdb") as warehouse, warehouse.reading() as working:
        for table, stored in PAIRS.items():
            assert sorted(map(str, world.query(f"from {table}"))) == sorted(
                map(str, working.execute(stored).fetchall())
            ), table
        columns = [row[0] for row in world.query("select column_name from (describe base)")][2:]
        names = ", ".join(f'"{name}"' for name in columns)
        base = working.execute(f"select person_id, {names} from state.base order by person_id").fetchall()
        missing = working.execute("select person_id, field from state.base_missing order by all").fetchall()
    assert world.query(f"select person_id_marketo, {names} from base order by person_id_marketo") == base
    assert (
        world.query("select person_id_marketo, unnest(fields_without_base) as field from base order by all") == missing
    )


@story
def test_after_every_cycle_the_published_state_is_the_stored_one(world: HttpWorld) -> None:
    contact_id = world.create_record("contact", lastname="Contact", jobtitle="A")
    lead_id = world.create_record("lead", lastname="Lead", subject="Fair")
    world.create_record("contact", lastname="Refused", emailaddress1="grüße@example.com")
    world.sync()
    assert_published_as_stored(world)
    contact, lead = world.person_of("contact", contact_id), world.person_of("lead", lead_id)

    world.edit_record("contact", contact_id, jobtitle="B")
    world.edit_person(lead, title="C" * 200, city="Bern")  # the title is refused
    world.sync()
    assert_published_as_stored(world)

    world.edit_person(contact, leadStatus="Inactive")  # stands: only Dynamics may say so
    world.sync()
    assert world.query("select field from standing_differences") == [("leadStatus",)]
    assert_published_as_stored(world)

    world.edit_person(contact, leadStatus="Active")
    world.edit_person(lead, title=None)  # taken back
    world.sync()
    assert world.query("select field from standing_differences") == []
    assert_published_as_stored(world)

    assert world.sales.delete(f"/api/data/v9.2/leads({lead_id})").status_code == 204
    world.sync()
    assert world.query("select person_id_marketo from tombstones") == [(lead,)]
    assert world.query("select person_id_marketo from links where record_type = 'lead'") == []
    assert_published_as_stored(world)


@story
def test_a_base_that_moves_without_anything_being_read_is_published(world: HttpWorld) -> None:
    contact_id = world.create_record("contact", lastname="Unread")
    for _ in range(3):
        world.sync()
    person = world.person_of("contact", contact_id)
    with Warehouse(world.data_dir / "dynsync.duckdb") as warehouse:
        with warehouse.transaction() as connection:
            connection.execute("insert into state.base_moves values (?, 'city', 'Bern')", [person])
            move_base(connection)
        settings = settings_from(world.environment)
        end = ended(0, warehouse.now(), is_whole=False, failures=[])
        publish_snapshot(warehouse, settings, load_field_map(settings.field_map), end)
    assert world.query("select city from base where person_id_marketo = ?", person) == [("Bern",)]


@story
def test_an_idle_cycle_writes_nothing_into_the_snapshot(world: HttpWorld) -> None:
    """R3."""
    for _ in range(3):
        published = run_cycle(settings_from(world.environment)).published
    assert published.n_rows == {}
    assert published.n_people == world.query("select count(*) from people")[0][0]


def test_one_edit_rewrites_one_link(world: HttpWorld) -> None:
    """R3."""
    world.create_record("contact", lastname="Other")
    for _ in range(3):
        world.sync()
    (record_id,) = world.query("select contactid from contacts where lastname = 'Other'")[0]
    world.edit_record("contact", str(record_id), jobtitle="Once")
    n_rows = run_cycle(settings_from(world.environment)).published.n_rows
    assert (n_rows["links"], n_rows["base"]) == (1, 1)


def test_every_published_table_and_column_says_what_it_is(world: HttpWorld) -> None:
    silent = world.query(
        "select table_name, null from duckdb_tables() where coalesce(comment, '') = '' and not internal "
        "union all select table_name, column_name from duckdb_columns() where coalesce(comment, '') = '' and not internal"
    )
    assert silent == []
