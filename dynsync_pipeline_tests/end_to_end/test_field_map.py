"""The field map as an operator changes it: a field that joins is back-filled, one that leaves keeps its values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from dynsync_pipeline_tests.properties.effort import deep, story
from dynsync_pipeline_tests.worlds.http import HttpWorld

HEAD = "record_type,marketo_field,dynamics_column,type,direction,enabled"
SMALL = (
    "account,company,name,text,to_marketo,true",
    "contact,lastName,lastname,text,both,true",
    "contact,title,jobtitle,text,both,true",
    "lead,lastName,lastname,text,both,true",
)
CITY = "contact,city,address1_city,text,both,true"
CITY_DOWN = "contact,city,address1_city,text,to_marketo,true"


def use_map(world: HttpWorld, *lines: str) -> None:
    """From now on the world syncs these fields."""
    file = Path(world.folder) / "fields.csv"
    file.write_text("\n".join((HEAD, *lines, "")), "utf-8")
    world.environment["DYNSYNC_FIELD_MAP"] = str(file)


@story
def test_only_mapped_fields_cross_and_several_choices_do_as_labels(make_world: Callable[..., HttpWorld]) -> None:
    """R29: one text in Marketo, numbers with commas in Dynamics."""
    world = make_world()
    use_map(world, *SMALL, "contact,leadSource,new_interests,choices,both,true")
    values = {"jobtitle": "T", "address1_city": "Not mapped", "new_interests": "3,1"}
    record_id = world.create_record("contact", lastname="A", **values)
    world.sync()
    person_id = world.person_of("contact", record_id)
    expected = {"id": person_id, "title": "T", "city": None, "leadSource": "Events; Training"}
    assert world.person(person_id, "title", "city", "leadSource") == expected
    world.edit_person(person_id, city="Elsewhere")
    with world.writes_nothing():
        world.sync()
    world.edit_person(person_id, leadSource="Papers;Events")
    world.sync()
    assert world.record("contact", record_id)["new_interests"] == "1,2"
    with world.writes_nothing():
        world.sync()


def test_a_field_added_later_is_back_filled_on_existing_links(make_world: Callable[..., HttpWorld]) -> None:
    """R100: of few people in the same cycle, and also on a day whose bulk exports are used up."""
    world = make_world()
    use_map(world, *SMALL)
    cities = {
        "blank here": (None, "M"),
        "blank there": ("D", None),
        "both": ("D", "M"),
        "same": ("S", "S"),
        "none": (None, None),
    }
    ids = {
        name: world.create_record("contact", lastname=name, address1_city=there) for name, (there, _) in cities.items()
    }
    world.sync()
    persons = {name: world.person_of("contact", record_id) for name, record_id in ids.items()}
    for name, (_, here) in cities.items():
        if here:
            world.edit_person(persons[name], city=here)
    world.sync()
    world.control("marketo", "behaviour", {"export_bytes_per_day": 0})
    use_map(world, *SMALL, CITY)
    world.sync()
    # A blank is no evidence of an edit at a first meeting (R42); two values are a collision of a contact (R35).
    for name, expected in {"blank here": "M", "blank there": "D", "both": "D", "same": "S", "none": None}.items():
        in_dynamics = world.record("contact", ids[name])["address1_city"]
        in_marketo = world.person(persons[name], "city")["city"]
        assert (name, in_dynamics, in_marketo) == (name, expected, expected)
    rules = dict(world.query("select record_id_dynamics, rule from changes where field = 'city'"))
    assert {name: rules.get(ids[name], "")[:3] for name in cities} == {
        "blank here": "R42", "blank there": "R42", "both": "R42", "same": "", "none": "",
    }  # fmt: skip
    assert world.query("select count(*) from people where city is not null") == [(4,)]
    with world.writes_nothing():
        world.sync()
    world.edit_person(persons["none"], city="Later")
    world.sync()
    assert world.record("contact", ids["none"])["address1_city"] == "Later"


def test_a_field_taken_out_keeps_its_values_and_coming_back_it_meets_anew(make_world: Callable[..., HttpWorld]) -> None:
    """R103."""
    world = make_world()
    use_map(world, *SMALL, CITY)
    record_id = world.create_record("contact", lastname="A", address1_city="One")
    world.sync()
    person_id = world.person_of("contact", record_id)
    use_map(world, *SMALL)
    world.edit_record("contact", record_id, address1_city="Two", jobtitle="T")
    world.sync()
    assert world.person(person_id, "city", "title") == {"id": person_id, "city": "One", "title": "T"}
    use_map(world, *SMALL, CITY)
    world.sync()
    assert world.person(person_id, "city")["city"] == "Two"
    assert world.record("contact", record_id)["address1_city"] == "Two"
    with world.writes_nothing():
        world.sync()


@story
def test_a_field_that_becomes_one_way_is_no_longer_written_back(make_world: Callable[..., HttpWorld]) -> None:
    world = make_world()
    use_map(world, *SMALL, CITY)
    record_id = world.create_record("contact", lastname="A", address1_city="One")
    world.sync()
    person_id = world.person_of("contact", record_id)
    use_map(world, *SMALL, CITY_DOWN)
    world.edit_person(person_id, city="Mine")
    with world.writes_nothing():
        world.sync()
    world.edit_record("contact", record_id, address1_city="Two")
    world.sync()
    assert world.person(person_id, "city")["city"] == "Two"
    assert world.query("select count(*) from collisions") == [(0,)]


@deep
def test_r107_a_column_that_was_dropped_and_made_anew_is_filled_and_clears_nobody(
    make_world: Callable[..., HttpWorld],
) -> None:
    """Everything it held is gone from Dynamics; that is no edit by anybody (R49)."""
    world = make_world()
    use_map(world, *SMALL)
    record_id = world.create_record("contact", lastname="A", jobtitle="T")
    world.sync()
    person_id = world.person_of("contact", record_id)
    world.control("dataverse", "schema", {"action": "drop", "table": "contact", "column": "jobtitle"})
    world.sync()
    assert world.query("select field from parked_fields") == [("title",)]
    world.control(
        "dataverse",
        "schema",
        {"action": "add", "table": "contact", "column": "jobtitle", "kind": "text", "max_length": 100},
    )
    with duckdb.connect(world.data_dir / "dynsync.duckdb") as working:  # a day later, the schema is read again
        working.execute("update state.columns set read_at = read_at - interval 2 day")
    world.sync()
    world.sync()
    assert world.person(person_id, "title") == {"id": person_id, "title": "T"}
    assert world.record("contact", record_id)["jobtitle"] == "T"
    with world.writes_nothing():
        world.sync()


@story
def test_a_type_that_does_not_fit_is_parked_and_loses_nothing_until_it_is_corrected(
    make_world: Callable[..., HttpWorld],
) -> None:
    """R109."""
    world = make_world()
    wrong = (line.replace("jobtitle,text", "jobtitle,integer") for line in SMALL)
    use_map(world, *wrong)
    record_id = world.create_record("contact", lastname="A", jobtitle="XL")
    world.sync()
    person_id = world.person_of("contact", record_id)
    ((reason,),) = world.query("select reason from parked_fields")
    assert "text would fit" in reason
    world.edit_person(person_id, lastName="B")
    world.sync()
    record = world.record("contact", record_id)
    assert (record["lastname"], record["jobtitle"]) == ("B", "XL")
    use_map(world, *SMALL)
    world.sync()
    assert world.person(person_id, "title")["title"] == "XL"
    with world.writes_nothing():
        world.sync()


@story
def test_a_column_that_was_dropped_and_made_anew_between_two_cycles_clears_nobody(
    make_world: Callable[..., HttpWorld],
) -> None:
    """R107, R109: its definition bears another id, by which it is known."""
    world = make_world()
    use_map(world, *SMALL)
    ids = [world.create_record("contact", lastname=f"A{n}", jobtitle="T") for n in range(2)]
    world.sync()
    people = [world.person_of("contact", record_id) for record_id in ids]
    column = {"table": "contact", "column": "jobtitle"}
    world.control("dataverse", "schema", {"action": "drop", **column})
    world.control("dataverse", "schema", {"action": "add", **column, "kind": "text", "max_length": 100})
    world.edit_person(people[1], title="M")
    world.sync()
    assert [world.person(person_id, "title")["title"] for person_id in people] == ["T", "M"]
    assert [world.record("contact", record_id)["jobtitle"] for record_id in ids] == ["T", "M"]
    with world.writes_nothing():
        world.sync()
