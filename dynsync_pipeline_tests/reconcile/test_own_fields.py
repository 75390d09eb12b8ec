"""Type and creation date of a linked person are the sync's, as its key is: put back where people alter them (R18)."""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.errors import RequestRefused
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import PERSON_TYPES, RecordType
from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map("title,jobtitle,text,both,true")
CREATED = "2020-01-01T00:00:00Z"


def own(world: MemoryWorld, person_id: int) -> tuple[str | None, str | None]:
    """Type and creation date that the person bears."""
    values = world.marketo.rows[person_id].values
    return values.get(KEYS.person_type), values.get(KEYS.created_on)


def test_what_people_empty_or_alter_is_put_back_with_the_edits_beside_it_and_told_once() -> None:
    world = MemoryWorld(FIELDS)
    people = {kind: [world.link(kind, f"{kind}{n}", title="A") for n in range(3)] for kind in PERSON_TYPES}
    world.settled()
    for kind, (first, second, third) in people.items():
        world.marketo.put(first, **{KEYS.person_type: None})
        world.marketo.put(second, **{KEYS.person_type: "Friend", KEYS.created_on: "2001-01-01T00:00:00Z", "title": "M"})
        world.marketo.put(third, **{KEYS.created_on: None})
        world.dynamics.put(kind, f"{kind}2", jobtitle="D")
    assert world.settled() == 1
    for kind, linked in people.items():
        assert [own(world, person_id) for person_id in linked] == [(kind.capitalize(), CREATED)] * 3
        assert [world.both(person_id, "title") for person_id in linked] == [("A", "A"), ("M", "M"), ("D", "D")]
    told = [(*row[:2], *row[3:]) for row in world.errors()]
    names = ((0, KEYS.person_type), (1, KEYS.person_type), (1, KEYS.created_on), (2, KEYS.created_on))
    assert sorted(told) == sorted(
        (f"{kind}{n}", name, "own_field_altered", 1, "resolved") for kind in PERSON_TYPES for n, name in names
    )
    assert world.ledger()["collisions"] == []


def test_whoever_is_linked_by_a_key_gets_both_and_nobody_is_blamed() -> None:
    """Also where the write is cut, or Marketo refuses it for a while."""
    for cut_after in (None, 9):
        world = MemoryWorld(FIELDS)
        for kind, key in ((CONTACT, KEYS.contact_id), (LEAD, KEYS.lead_id)):
            world.dynamics.put(kind, f"r-{kind}", jobtitle="A")
            world.marketo.put(world.marketo.next_id, **{key: f"r-{kind}", "title": "A"})
        if cut_after:
            world.cycle(cut_after=cut_after)
        else:
            world.marketo.refuses = lambda key, values: (
                RequestRefused("no", system="marketo", request="POST", code="1003", field=KEYS.person_type)
                if KEYS.person_type in values
                else None
            )
            world.cycle()
            world.marketo.refuses = lambda key, values: None
            world.marketo.put(1001, title="B")
        world.settled(6)
        world.cycle()
        assert [own(world, person_id) for person_id in (1001, 1002)] == [("Contact", CREATED), ("Lead", CREATED)]
        assert not [row for row in world.errors() if row[3] == "own_field_altered"]
        assert world.rows("select distinct rule_code from ledger.changes where field like 'dynamics%'") == [
            ("linked_by_key",)
        ]


def test_whoever_is_linked_by_a_key_while_the_record_is_kept_out_gets_both_when_it_is_let_in_and_nobody_is_blamed() -> (
    None
):
    world = MemoryWorld(FIELDS)
    world.dynamics.put(CONTACT, "r", jobtitle="A", new_synctomkto="false")
    world.marketo.put(1001, **{KEYS.contact_id: "r", "title": "A"})
    world.settled()
    assert own(world, 1001) == (None, None)
    world.dynamics.put(CONTACT, "r", new_synctomkto="true")
    world.settled()
    assert own(world, 1001) == ("Contact", CREATED)
    assert world.errors() == []


def test_an_alteration_between_our_read_and_our_write_is_put_back_with_the_next_one() -> None:
    world = MemoryWorld(FIELDS)
    person_id = world.link(CONTACT, "r", title="A")
    world.settled()
    world.dynamics.put(CONTACT, "r", jobtitle="B")
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        world.marketo.put(person_id, **{KEYS.person_type: "Friend"})
        cycle.write_dynamics()
        cycle.write_marketo()
    world.settled()
    assert (own(world, person_id), world.both(person_id, "title")) == (("Contact", CREATED), ("B", "B"))


def test_a_person_whose_record_is_deleted_keeps_what_people_make_of_it() -> None:
    """R84."""
    world = MemoryWorld(FIELDS)
    person_id = world.link(CONTACT, "r", title="A")
    world.settled()
    world.dynamics.delete(CONTACT, "r")
    world.settled()
    world.marketo.put(person_id, **{KEYS.person_type: "Friend"})
    assert world.settled() == 0
    assert own(world, person_id)[0] == "Friend"


@deep
def test_a_company_a_flag_and_a_former_id_that_do_not_stay_are_written_at_growing_gaps_and_told() -> None:
    """R12, R116: as of key, type and creation date, and edits of the same people go on."""
    world = MemoryWorld(FIELDS)
    lost = {COMPANY_KEY: None, KEYS.is_deleted: "false", KEYS.lead_id: "merged"}
    for account in ("a", "b"):
        world.dynamics.put(RecordType.ACCOUNT, account, name="Firm", statecode="0")
    people = {name: world.link(CONTACT, name, title="A") for name in ("deleted", "moved", "merged into", "steady")}
    lead = world.link(LEAD, "merged", title="A")
    world.settled()
    world.marketo.keeps = lambda name, value: lost.get(name, value)
    world.dynamics.delete(CONTACT, "deleted")
    world.dynamics.put(CONTACT, "moved", _parentcustomerid_value="a")
    world.marketo.merge(people["merged into"], lead)
    world.marketo.put(people["merged into"], **{KEYS.lead_id: "merged"})
    world.marketo.writes.clear()
    for _ in range(9):
        world.cycle()
    assert len(world.marketo.writes) == 3 * 5, "twice, and then after 5, 10 and 20 minutes"
    fields = [("deleted", KEYS.is_deleted), ("merged into", KEYS.lead_id), ("moved", COMPANY_KEY)]
    assert sorted(world.errors()) == [(*field, "to_marketo", "own_field_altered", 4, "waiting") for field in fields]
    world.dynamics.put(CONTACT, "moved", jobtitle="B", _parentcustomerid_value="b")
    world.marketo.keeps = lambda name, value: value
    world.clock += timedelta(days=1)
    world.settled()
    assert world.marketo.rows[people["moved"]].values[COMPANY_KEY] == "b"
    assert world.marketo.rows[people["moved"]].values["title"] == "B"
    assert world.marketo.rows[people["deleted"]].values[KEYS.is_deleted] == "true"
    assert world.marketo.rows[people["merged into"]].values[KEYS.lead_id] is None
    world.cycle()
    assert {row[-1] for row in world.errors()} == {"resolved"}
    assert world.rows("from state.unsettled") == []
    for account in ("a", "b", "a"):
        world.dynamics.put(CONTACT, "steady", _parentcustomerid_value=account)
        world.settled()
    assert len(world.errors()) == 3, "what moves to and fro is altered by nobody"
