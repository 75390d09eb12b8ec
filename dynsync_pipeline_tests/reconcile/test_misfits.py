"""A value that its column is known to refuse is found before anything is sent, waits alone and is told by its field (R116)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
EMOJI = "\U0001f600"
FITTING = {
    "title": EMOJI * 5, "phone": "1234567890", "employees": "100", "revenue": "99.5", "birth": "1753-01-01",
    "seen": "2020-01-01T00:00:00Z", "extra": "kept", "city": None,
}  # fmt: skip
MISFITS = {
    "title": (EMOJI * 6, "too_long"),
    "phone": ("12345678901", "too_long"),
    "employees": ("101", "out_of_range"),
    "revenue": ("99.51", "out_of_range"),
    "birth": ("1752-12-31", "out_of_range"),
    "seen": ("yesterday", "wrong_type"),
    "extra": (None, "required"),
    "city": ("Rome", "not_writable"),
}


def limited_world() -> MemoryWorld:
    """Its Dynamics has columns with limits, and says which; its Marketo takes whole numbers as revenue."""
    world = MemoryWorld(
        field_map(*SAME_FOR_BOTH_TYPES, "extra,new_extra,text,both,true", "city,new_city,text,both,true")
    )
    world.marketo.data_types = {"revenue": "integer"}
    world.dynamics.lengths = {"jobtitle": 10, "telephone1": 10, "new_extra": 4}
    world.dynamics.limits = {
        "new_employees": {"maximum": 100},  # Dynamics may tell one bound alone
        "new_revenue": {"minimum": -1.0, "maximum": 99.5},
        "new_extra": {"is_required": True},
        "new_city": {"is_updatable": False},
    }
    return world


def test_each_value_that_cannot_be_held_waits_alone_and_what_was_edited_beside_it_arrives() -> None:
    world = limited_world()
    people = {kind: world.link(kind, kind, title="A", extra="B") for kind in (LEAD, CONTACT)}
    collided = {kind: world.link(kind, f"{kind} collided", title="A", phone="1") for kind in (LEAD, CONTACT)}
    other = world.link(CONTACT, "other", title="A")
    world.settled()

    def errors_of(record_id: str) -> list[tuple[str, str, str, str]]:
        return sorted((row[1], row[2], row[3], row[5]) for row in world.errors() if row[0] == record_id)

    for kind in people:
        values = {name: value for name, (value, _) in MISFITS.items()}
        world.marketo.put(people[kind], doNotCall="true", **values)
        world.marketo.put(collided[kind], title="longer than ten")
        world.dynamics.put(kind, f"{kind} collided", jobtitle="D", telephone1="2")
    world.dynamics.put(CONTACT, "other", new_revenue="1.5", new_source="S")
    world.marketo.put(other, title="longer than ten")
    world.settled()

    for kind, person in people.items():
        assert world.both(person, "doNotCall") == ("true", "true")
        assert world.both(person, "title") == ("A", EMOJI * 6)
        assert errors_of(kind) == sorted((n, "to_dynamics", code, "waiting") for n, (_, code) in MISFITS.items())
        told = dict(world.rows("select field, message from ledger.activities where person_id = ?", person))
        assert set(told) == set(MISFITS)
        assert "10 characters that jobtitle in Dynamics holds" in told["title"]
        assert "1752" not in told["birth"]
        assert "yesterday" not in told["seen"]
    assert [list(values) for _, values in world.dynamics.writes] == [["donotphone"]] * 2, "nothing else was sent"
    for person in collided.values():
        assert world.both(person, "phone") == ("2", "2")
    assert world.both(collided[LEAD], "title") == ("D", "longer than ten"), (
        "a winner that cannot be held settles nothing"
    )
    assert errors_of("lead collided") == [("title", "to_dynamics", "too_long", "waiting")]
    assert world.both(collided[CONTACT], "title") == ("D", "D")
    assert [row[0] for row in world.ledger()["collisions"]] == [CONTACT]
    assert world.both(other, "source") == ("S", "S")
    assert errors_of("other") == [
        ("revenue", "to_marketo", "wrong_type", "waiting"), ("title", "to_dynamics", "too_long", "waiting"),
    ]  # fmt: skip

    for person in people.values():
        world.marketo.put(person, **FITTING)
    world.dynamics.lengths["jobtitle"] = 100
    world.clock += timedelta(days=1)
    world.settled()
    for kind, person in people.items():
        assert {name: world.both(person, name)[0] for name in FITTING} == FITTING
        assert {error[3] for error in errors_of(kind)} == {"resolved"}
    assert world.both(other, "title") == ("longer than ten", "longer than ten"), "a wider column takes what waited"
    assert world.both(collided[LEAD], "title") == ("longer than ten", "longer than ten")


@pytest.mark.parametrize("value", ["inf", "-infinity", "epoch", "0001-01-01 (BC)", "294247-01-10"])
def test_words_that_only_a_database_takes_for_a_time_wait_alone(value: str) -> None:
    """In text of Marketo, which is mapped as a date or time."""
    world = MemoryWorld()
    world.dynamics.behaviors, world.dynamics.zone = {"birthdate": "UserLocal"}, "Europe/Berlin"
    people = {name: world.link(CONTACT, name, title="A") for name in ("r", "other")}
    world.settled()
    world.marketo.put(people["r"], birth=value, seen=value, title="B")
    world.marketo.put(people["other"], title="B")
    world.settled()
    assert [world.both(person, "title") for person in people.values()] == [("B", "B")] * 2
    assert sorted((row[0], row[1], row[5]) for row in world.errors()) == [
        ("r", "birth", "waiting"), ("r", "seen", "waiting"),
    ]  # fmt: skip
    assert world.both(people["r"], "birth") == (None, value)


def test_a_number_too_large_to_be_rounded_waits_alone() -> None:
    world = MemoryWorld()
    world.dynamics.places = {"new_revenue": 2}
    world.dynamics.limits = {"new_revenue": {"minimum": -1e11, "maximum": 1e11}}
    people = {name: world.link(CONTACT, name, title="A") for name in ("r", "other")}
    world.settled()
    world.marketo.put(people["r"], revenue="9" * 28 + ".999", title="B")
    world.marketo.put(people["other"], title="B")
    world.settled()
    assert [world.both(person, "title") for person in people.values()] == [("B", "B")] * 2
    assert [(row[0], row[1], row[3]) for row in world.errors()] == [("r", "revenue", "out_of_range")]


@pytest.mark.parametrize(("zone", "first"), [("Europe/Berlin", "1753-01-02"), ("America/New_York", "1753-01-01")])
def test_the_first_day_of_a_column_of_instants_is_that_of_its_zone(zone: str, first: str) -> None:
    """A day goes out as its midnight in UTC, which Dynamics takes from 1753 on."""
    world = MemoryWorld()
    world.dynamics.behaviors, world.dynamics.zone = {"birthdate": "UserLocal"}, zone
    days = ("1753-01-01", "1753-01-02", "9999-12-31")
    people = {day: world.link(CONTACT, day, title="A") for day in days}
    world.settled()
    for day, person in people.items():
        world.marketo.put(person, birth=day)
    world.settled()
    assert [(row[0], row[3]) for row in world.errors()] == [(day, "out_of_range") for day in days if day < first]
    assert min(str(values["birthdate"]) for _, values in world.dynamics.writes) > "1753"


def test_what_marketo_is_known_to_refuse_of_a_new_person_waits_alone_and_is_no_edit_of_anybody() -> None:
    """R15, R116, R117: a text longer than Marketo's field, a broken number, a field that is read only."""
    world = limited_world()
    world.marketo.lengths, world.marketo.read_only = {"title": 10}, {"source"}
    values = {"jobtitle": EMOJI * 6, "new_revenue": "1.5", "new_source": "S", "telephone1": "1"}
    codes = [("revenue", "wrong_type"), ("source", "not_writable"), ("title", "too_long")]
    keys = {LEAD: KEYS.lead_id, CONTACT: KEYS.contact_id}
    for kind in keys:
        world.dynamics.put(kind, "new", **values)
    world.settled()
    people = {}
    for kind, key in keys.items():
        (person,) = world.marketo.bearers(key, "new")
        people[kind] = person
        assert {name: world.both(person, name)[1] for name in ("title", "revenue", "source", "phone")} == {
            "title": None, "revenue": None, "source": None, "phone": "1",
        }  # fmt: skip
        told = world.rows("select field, code, direction, state from ledger.sync_errors where person_id = ?", person)
        assert sorted(told) == [(name, code, "to_marketo", "waiting") for name, code in codes]
        said = dict(world.rows("select field, message from ledger.activities where person_id = ?", person))
        assert "10 characters that title in Marketo holds" in said["title"]
    assert [sorted(v) for _, v in world.marketo.writes if "title" in v or "revenue" in v] == []
    world.marketo.put(people[LEAD], title="by hand")
    world.dynamics.put(CONTACT, "new", jobtitle="short", new_revenue="2")
    world.clock += timedelta(days=1)
    world.settled()
    assert world.both(people[CONTACT], "title") == ("short", "short")
    assert world.both(people[CONTACT], "revenue") == ("2", "2")
    # A first meeting, at which a lead takes Marketo's value: the two never agreed on it.
    assert world.both(people[LEAD], "title") == ("by hand", "by hand")
    assert [row[0] for row in world.ledger()["collisions"]] == [LEAD]
