"""One record that cannot be read is set aside alone; everything else of its page goes on in the same cycle (R116)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

import duckdb
import pytest

from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.reading.poison import POISON
from dynsync_pipeline_tests.worlds.bending import Bend
from dynsync_pipeline_tests.worlds.http import HttpWorld

pytestmark = story

NUMBERS = count(1)
KINDS = {f"POISON{number}E": poison for number, poison in enumerate(POISON.values())}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorld]:
    """A world with a synced contact for each poison, by its mark, and one called Fine."""
    with HttpWorld(tmp_path_factory.mktemp("world")) as world:
        world.environment |= {"DYNSYNC_LARGEST_SHARE": "1", "DYNSYNC_RETRY_LIMIT_S": "0"}
        for name in ("Fine", *KINDS):
            world.create_record("contact", lastname=name, jobtitle="-")
        world.sync()
        yield world


@pytest.fixture(autouse=True)
def _straight_answers(world: HttpWorld) -> Iterator[None]:
    yield
    world.dynamics.bends, world.marketo.bends = [], []


@pytest.fixture
def contacts(world: HttpWorld) -> dict[str, tuple[str, int]]:
    """Ids of the contacts and their people, by last name."""
    return {
        name: (record, person)
        for name, record, person in world.query(
            "select c.lastname, c.contactid, p.person_id_marketo from contacts c join people p "
            "on p.contact_id_dynamics = c.contactid"
        )
    }


def poisoned(request: str) -> list[Bend]:
    """Bends that put each poison where its mark stands."""
    return [Bend(request, f'"{mark}[^"]*"'.encode(), poison.replace(b"\\", rb"\\")) for mark, poison in KINDS.items()]


def unread(world: HttpWorld) -> set[str | int]:
    rows = world.query(
        "select coalesce(record_id_dynamics, person_id_marketo::varchar) from sync_errors "
        "where code = 'unread' and state <> 'resolved'"
    )
    return {int(row[0]) if row[0] and row[0].isdigit() else row[0] for row in rows}


def let_time_pass(world: HttpWorld) -> None:
    with duckdb.connect(world.data_dir / "dynsync.duckdb") as working:
        working.execute("update state.unread set next_look_at = next_look_at - interval 1 day")


def test_whatever_a_record_holds_that_cannot_be_read_costs_that_record_alone(
    world: HttpWorld, contacts: dict[str, tuple[str, int]]
) -> None:
    told = f"{next(NUMBERS)}"
    for name, (record, person) in contacts.items():
        world.edit_record("contact", record, jobtitle=f"{name} {told}")
        world.edit_person(person, phone=told)
    world.dynamics.bends = poisoned("contacts|batch")
    world.sync()
    fine, fine_person = contacts.pop("Fine")
    assert world.person(fine_person, "title")["title"] == f"Fine {told}"
    assert world.record("contact", fine)["telephone1"] == told
    assert unread(world) == {record for record, _ in contacts.values()}
    assert all(world.record("contact", record)["telephone1"] != told for record, _ in contacts.values())
    world.dynamics.bends = []
    let_time_pass(world)
    world.sync()
    for name, (record, person) in contacts.items():
        assert (world.person(person, "title")["title"], world.record("contact", record)["telephone1"]) == (
            f"{name} {told}",
            told,
        )
    assert unread(world) == set()
    with world.writes_nothing():
        world.sync()


def test_whatever_a_person_holds_that_cannot_be_read_costs_that_person_alone(
    world: HttpWorld, contacts: dict[str, tuple[str, int]]
) -> None:
    told = f"{next(NUMBERS)}"
    for name, (record, person) in contacts.items():
        world.edit_person(person, city=f"{name} {told}")
        world.edit_record("contact", record, telephone1=told)
    world.marketo.bends = poisoned("leads.json")
    world.sync()
    fine, fine_person = contacts.pop("Fine")
    assert world.record("contact", fine)["address1_city"] == f"Fine {told}"
    assert world.person(fine_person, "phone")["phone"] == told
    assert unread(world) == {person for _, person in contacts.values()}
    assert all(world.person(person, "phone")["phone"] != told for _, person in contacts.values())
    world.marketo.bends = []
    let_time_pass(world)
    world.sync()
    for name, (record, person) in contacts.items():
        assert (world.record("contact", record)["address1_city"], world.person(person, "phone")["phone"]) == (
            f"{name} {told}",
            told,
        )
    assert unread(world) == set()


def test_entries_of_the_feed_that_cannot_be_read_cost_a_read_of_their_people(
    world: HttpWorld, contacts: dict[str, tuple[str, int]]
) -> None:
    told = f"{next(NUMBERS)}"
    for name, (_, person) in contacts.items():
        world.edit_person(person, city=f"{name} {told}")
    world.marketo.bends = poisoned("leadchanges.json")
    world.sync()
    assert {bend.n_bent for bend in world.marketo.bends if bend.old.startswith(b'"POISON0E')} != {0}
    for name, (record, _) in contacts.items():
        assert world.record("contact", record)["address1_city"] == f"{name} {told}"
    assert unread(world) == set()


def test_a_quote_that_swallows_a_page_is_found_by_asking_for_fewer_rows(
    world: HttpWorld, contacts: dict[str, tuple[str, int]]
) -> None:
    told = f"{next(NUMBERS)}"
    names = sorted(contacts)
    for name in names:
        world.edit_record("contact", contacts[name][0], jobtitle=f"{name} {told}")
        world.edit_person(contacts[name][1], city=f"{name} {told}")
    bad_record, bad_person = names[2], names[4]
    world.dynamics.bends = [Bend("contacts|batch", f'"{bad_record} '.encode(), b'"a " quote ')]
    world.marketo.bends = [Bend("leads.json|leadchanges.json", f'"{bad_person} '.encode(), b'"a " quote ')]
    world.dynamics.forget()
    world.marketo.forget()
    world.sync()
    assert unread(world) == {contacts[bad_record][0], contacts[bad_person][1]}
    for name in names[5:]:
        record, person = contacts[name]
        assert world.person(person, "title")["title"] == f"{name} {told}"
        assert world.record("contact", record)["address1_city"] == f"{name} {told}"
    n_reads = sum(1 for path in world.dynamics.paths if re.search("contacts$", path))
    assert n_reads < 40, "a few reads to find it"


@pytest.mark.parametrize(
    ("old", "new"),
    [(rb"^(.{300}).*$", rb"\1"), (rb'"@odata.deltaLink":"([^"]*)"', rb'"@odata.nextLink":"\1"')],
    ids=["cut short", "a circle"],
)
def test_a_table_whose_changes_lead_nowhere_waits_alone(
    world: HttpWorld, contacts: dict[str, tuple[str, int]], old: bytes, new: bytes
) -> None:
    """R128. It is read as a whole once, and then left out; accounts and people go on."""
    told = f"{next(NUMBERS)}"
    account = world.create_record("account", name=told)
    world.edit_record("contact", contacts["Fine"][0], jobtitle=told)
    world.dynamics.bends = [Bend("GET .*contacts", old, new)]
    world.dynamics.forget()
    world.sync()
    assert sum(1 for path in world.dynamics.paths if path.endswith("contacts")) < 30
    assert world.query("select 1 from accounts where accountid = ?", account)
    world.dynamics.bends = []
    with duckdb.connect(world.data_dir / "dynsync.duckdb") as working:
        working.execute("delete from state.refused_links")
    world.sync()
    assert world.person(contacts["Fine"][1], "title")["title"] == told


def test_a_definition_that_cannot_be_read_parks_its_field_alone(
    world: HttpWorld, contacts: dict[str, tuple[str, int]]
) -> None:
    """A label of an option, and a field's name in Marketo; users whose names cannot be read hold nothing up either."""
    told = f"{next(NUMBERS)}"
    fine, fine_person = contacts["Fine"]
    parked = []
    for bends in (
        ([Bend("Metadata", rb'"Label":"Web"', b'"Label":"HA\xff"')], [Bend("describe", b'"City"', rb'"HA\\ud83d"')]),
        ([], []),
    ):
        told += "x"
        world.edit_record("contact", fine, jobtitle=told)
        world.edit_person(fine_person, phone=told)
        with duckdb.connect(world.data_dir / "dynsync.duckdb") as working:
            working.execute("delete from state.definitions_read")
        world.dynamics.bends, world.marketo.bends = bends
        world.sync()
        assert world.person(fine_person, "title")["title"] == told
        assert world.record("contact", fine)["telephone1"] == told
        parked.append({row[0] for row in world.query("select dynamics_column from parked_fields")})
    assert parked[0] - parked[1] == {"leadsourcecode", "address1_city"}
