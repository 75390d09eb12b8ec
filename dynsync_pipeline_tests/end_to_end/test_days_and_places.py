"""Dates and numbers as columns of Dynamics keep them, over HTTP: the day of the sync's user, and the column's places (R45)."""

from __future__ import annotations

from collections.abc import Callable

from dynsync_pipeline_tests.end_to_end.test_field_map import use_map
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.http import HttpWorld

pytestmark = story

BERLIN = 110


def test_a_day_and_a_number_are_the_same_on_both_sides_whatever_the_column_keeps(
    make_world: Callable[..., HttpWorld],
) -> None:
    world = make_world()
    world.control("dataverse", "time_zone", {"user": "sync", "code": BERLIN})
    for column, kind in (("new_day", "datetime"), ("new_amount", "decimal")):
        world.control("dataverse", "schema", {"action": "add", "table": "contact", "column": column, "kind": kind})
    day, amount = "contact,dateOfBirth,new_day,date,both,true", "contact,urgency,new_amount,decimal,both,true"
    use_map(world, "contact,lastName,lastname,text,both,true", day, amount)
    record_id = world.create_record("contact", lastname="A", new_day="2030-05-31T22:00:00Z", new_amount=1.25)
    world.sync()
    person_id = world.person_of("contact", record_id)
    person = world.person(person_id, "dateOfBirth", "urgency")
    assert (person["dateOfBirth"], float(person["urgency"])) == ("2030-06-01", 1.25)
    with world.writes_nothing():
        world.sync()
    world.edit_person(person_id, dateOfBirth="2030-12-24", urgency=2.34567)
    world.sync()
    record = world.record("contact", record_id)
    assert (record["new_day"], record["new_amount"]) == ("2030-12-23T23:00:00Z", 2.35)
    world.edit_person(person_id, urgency=2.351)
    with world.writes_nothing():
        world.sync()
    assert float(world.person(person_id, "urgency")["urgency"]) == 2.351
    assert world.query("select count(*) from collisions") == [(0,)]
