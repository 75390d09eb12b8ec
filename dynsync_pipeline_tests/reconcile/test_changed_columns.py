"""R109: what changes at the source about a column is noticed at the next read of the definitions, and no value moves by it."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from dynsync_pipeline.errors import RequestRefused
from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.records import PERSON_TYPES, RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import HEADER, MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS

pytestmark = story

CONTACT = RecordType.CONTACT
FIELDS = field_map("title,jobtitle,text,both,true", "phone,telephone1,text,both,true")


def made_anew(world: MemoryWorld, column: str) -> None:
    """An administrator drops a column and makes it anew; a day later its definition is read again."""
    world.dynamics.ids[column] = f"{column} made anew"
    for row in world.dynamics.rows.values():
        row.values[column] = None
    world.clock += timedelta(days=1)


def test_a_column_that_was_dropped_and_made_anew_unseen_is_filled_and_clears_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Between two reads of the definitions, so that it was never parked; with an edit on either side beside it."""
    world = MemoryWorld(FIELDS)
    people = {kind: [world.link(kind, f"{kind}{n}", title="T", phone="1") for n in range(3)] for kind in PERSON_TYPES}
    world.settled()
    made_anew(world, "jobtitle")
    for kind, (_, second, _) in people.items():
        world.marketo.put(second, title="M")
        world.dynamics.put(kind, f"{kind}2", jobtitle="D", telephone1="2")
    world.settled()
    for linked in people.values():
        assert [world.both(person_id, "title") for person_id in linked] == [("T", "T"), ("M", "M"), ("D", "D")]
        assert world.both(linked[2], "phone") == ("2", "2")
    assert "jobtitle of contacts in Dynamics was dropped and made anew" in caplog.text


def test_a_yes_that_a_new_column_lost_is_no_no() -> None:
    """Nothing and *false* are one value of a boolean, and neither is an answer that anybody gave."""
    world = MemoryWorld(field_map("doNotCall,donotphone,boolean,both,true"))
    people = [world.link(kind, f"r-{kind}", doNotCall="true") for kind in PERSON_TYPES]
    gone = world.link(CONTACT, "gone", doNotCall="true")
    world.settled()
    world.marketo.delete(gone)
    world.settled()
    made_anew(world, "donotphone")
    world.dynamics.put(CONTACT, "gone")
    world.settled()
    assert [world.both(person_id, "doNotCall") for person_id in people] == [("true", "true")] * 2
    assert len(world.marketo.bearers(KEYS.contact_id, "gone")) == 0, "nobody edited anything"


def test_what_a_new_column_lost_is_no_clear_either_where_the_write_that_fills_it_fails() -> None:
    world = MemoryWorld(FIELDS)
    people = [world.link(kind, f"r-{kind}", title="T") for kind in PERSON_TYPES]
    world.settled()
    made_anew(world, "jobtitle")
    world.dynamics.refuses = lambda key, values: RequestRefused("no", system="dynamics", request="PATCH", code="0x1")
    world.cycle()
    world.dynamics.refuses = lambda key, values: None
    for kind in PERSON_TYPES:
        world.dynamics.put(kind, f"r-{kind}", telephone1="2")
    for _ in range(2):
        world.clock += timedelta(hours=1)
        world.cycle()
    assert [world.both(person_id, "title") for person_id in people] == [("T", "T")] * 2


def test_a_column_of_accounts_that_comes_back_empty_clears_no_company() -> None:
    """Nor does the account's next update, which applies its whole row; a value entered anew goes on."""
    lines = "account,company,name,text,to_marketo,true\naccount,site,websiteurl,text,to_marketo,true\n"
    world = MemoryWorld(parse_field_map(HEADER + lines + "contact,title,jobtitle,text,both,true\n", "test.csv"))
    for n in range(3):
        world.dynamics.put(RecordType.ACCOUNT, f"a{n}", name="Contoso", websiteurl="w", statecode="0")
    world.settled()
    made_anew(world, "websiteurl")
    world.settled()
    assert [world.marketo.company_rows[f"a{n}"]["site"] for n in range(3)] == ["w"] * 3
    world.dynamics.put(RecordType.ACCOUNT, "a1", name="Fabrikam")
    world.dynamics.put(RecordType.ACCOUNT, "a2", websiteurl="new")
    world.settled()
    told = [(row["company"], row["site"]) for row in world.marketo.company_rows.values()]
    assert told == [("Contoso", "w"), ("Fabrikam", "w"), ("Contoso", "new")]
    world.dynamics.put(RecordType.ACCOUNT, "a2", websiteurl=None)
    world.settled()
    assert world.marketo.company_rows["a2"]["site"] is None, "that is a clear"


def test_another_length_is_told_in_a_sentence_and_what_was_refused_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = MemoryWorld(FIELDS)
    world.dynamics.lengths["jobtitle"] = 3
    person_id = world.link(RecordType.LEAD, "r", title="A")
    world.settled()
    world.dynamics.refuses = lambda key, values: (
        RequestRefused("too long", system="dynamics", request="PATCH", code="0x80044331", field="jobtitle")
        if len(values.get("jobtitle") or "") > world.dynamics.lengths["jobtitle"]
        else None
    )
    world.marketo.put(person_id, title="Engineer")
    world.settled()
    assert world.both(person_id, "title") == ("A", "Engineer")
    world.dynamics.lengths["jobtitle"] = 10
    world.clock += timedelta(days=1)
    with caplog.at_level(logging.WARNING):
        world.settled()
    assert world.both(person_id, "title") == ("Engineer", "Engineer")
    assert "jobtitle of leads in Dynamics is text, of 10 characters, and was text, of 3 characters" in caplog.text


def test_a_corrected_type_reads_both_systems_again_and_is_no_edit() -> None:
    """R109: what was cut to a date is read as the time that it is, on both sides, before anything is compared."""
    world = MemoryWorld(field_map("seen,new_seen,date,both,true"))
    people = [world.link(kind, f"r-{kind}", seen="2030-06-01T10:00:00Z") for kind in PERSON_TYPES]
    world.settled()
    world.follow(field_map("seen,new_seen,datetime,both,true"))
    for _ in range(4):
        world.cycle()
    mirrored = "select distinct seen from mirror.marketo_people union select distinct new_seen from mirror."
    for table in ("dynamics_contacts", "dynamics_leads"):
        assert world.rows(mirrored + table) == [("2030-06-01T10:00:00Z",)]
    assert world.rows("select count(*) from state.parked_fields") == [(0,)]
    assert world.ledger() == {"changes": [], "collisions": []}
    for person_id in people:
        world.marketo.put(person_id, seen="2030-06-01T12:00:00Z")
    world.settled()
    assert [world.both(person_id, "seen")[0] for person_id in people] == ["2030-06-01T12:00:00Z"] * 2
    assert world.ledger()["collisions"] == []


def test_every_change_of_a_synced_column_is_listed_once_with_its_day_and_what_it_meant() -> None:
    """R106 to R109. A column that nobody maps is nobody's business, and nothing is written by any of it."""
    lines = (
        "title,jobtitle,text,both,true",
        "rating,new_rating,choice,both,true",
        "revenue,new_revenue,decimal,both,true",
    )
    world = MemoryWorld(field_map(*lines, "phone,telephone1,text,both,true"))
    world.dynamics.lengths = {"jobtitle": 100}
    world.marketo.lengths = {"phone": 20}
    world.link(CONTACT, "c", title="A", rating="1", revenue="1", phone="1")
    world.settled()
    assert world.rows("from ledger.schema_changes") == [], "at the first read nothing has changed"

    def listed() -> list[tuple[object, ...]]:
        found = world.rows(
            "select c.system, c.record_type, c.name, c.code, c.old_value, c.new_value, seen_at = (select max(seen_at) from "
            "ledger.schema_changes) as is_of_today from ledger.schema_changes c join codes using (code) order by entry_id"
        )
        return [row[:-1] for row in found if row[-1] and row[1] != "lead"]

    world.dynamics.lengths = {"jobtitle": 50}
    world.dynamics.places = {"new_revenue": 2}
    world.dynamics.options |= {"2": "Tepid", "4": "Icy"}
    del world.dynamics.options["3"]
    world.marketo.lengths = {"phone": 30}
    world.clock += timedelta(days=1)
    assert world.settled() == 0
    assert listed() == [
        ("dynamics", "contact", "jobtitle", "column_shortened", "100", "50"),
        ("dynamics", "contact", "new_rating", "option_added", None, "Icy"),
        ("dynamics", "contact", "new_rating", "option_relabelled", "Warm", "Tepid"),
        ("dynamics", "contact", "new_rating", "option_removed", "Cold", None),
        ("dynamics", "contact", "new_revenue", "column_places", None, "2"),
        ("marketo", None, "phone", "column_widened", "20", "30"),
    ]
    n_changes = len(world.rows("from ledger.schema_changes"))
    world.clock += timedelta(days=1)
    world.settled()
    assert len(world.rows("from ledger.schema_changes")) == n_changes, "once"

    world.dynamics.hidden = {"jobtitle", "new_rating"}
    world.dynamics.limits = {"telephone1": {"is_secured": True}}
    world.clock += timedelta(days=1)
    world.settled()
    assert [row[2:4] for row in listed()] == [
        ("jobtitle", "column_gone"), ("new_rating", "column_gone"), ("telephone1", "column_hidden"),
    ]  # fmt: skip
    world.dynamics.hidden = set()
    world.dynamics.limits = {"telephone1": {"is_updatable": False, "is_required": True}}
    world.clock += timedelta(days=1)
    world.settled()
    assert [row[2:4] for row in listed()] == [
        ("jobtitle", "column_back"), ("new_rating", "column_back"), ("telephone1", "column_closed"),
        ("telephone1", "column_required"), ("telephone1", "column_shown"),
    ]  # fmt: skip
