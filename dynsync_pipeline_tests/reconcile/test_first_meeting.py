"""First meetings: links found by id (R16, R17), people created (R15, R19), and fields without a base (R42)."""

from __future__ import annotations

import pytest

from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.own_fields import COMPANY_KEY
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import HEADER, MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS
from dynsync_pipeline_tests.worlds.rows import Values

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map(
    "email,emailaddress1,text,both,true",
    "title,jobtitle,text,both,true",
    "doNotCall,donotphone,boolean,both,true",
    "source,new_source,text,to_marketo,true",
    "leadScore,mkt_leadscore,integer,to_dynamics,true",
)
TYPES = (LEAD, CONTACT)


KEYS_OF = {LEAD: KEYS.lead_id, CONTACT: KEYS.contact_id}


def meet(world: MemoryWorld, record_type: RecordType, record_id: str, dynamics: Values, marketo: Values) -> int:
    """A record, and a person that bears its key and was never linked; returns the person."""
    world.dynamics.put(record_type, record_id, **dynamics)
    person_id = world.marketo.next_id
    world.marketo.put(
        person_id, **{KEYS_OF[record_type]: record_id}, **world.told_of(record_type, record_id), **marketo
    )
    return person_id


def test_a_new_record_becomes_one_person_with_key_type_and_values() -> None:
    """R15. One-way fields go down if Dynamics owns them, and stay if Marketo does (R43, R44) (R20)."""
    world = MemoryWorld(FIELDS)
    for record_type in TYPES:
        world.dynamics.put(record_type, "r", jobtitle="A", donotphone="true", new_source="web", mkt_leadscore="5")
    assert world.settled() == 1
    assert sorted((values for _, values in world.marketo.writes), key=lambda each: str(each[KEYS.person_type])) == [
        {
            KEYS_OF[record_type]: "r",
            KEYS.person_type: record_type.value.capitalize(),
            KEYS.is_deleted: "false",
            KEYS.created_on: "2020-01-01T00:00:00Z",
            "title": "A",
            "doNotCall": "true",
            "source": "web",
        }
        for record_type in (CONTACT, LEAD)
    ]
    assert world.dynamics.writes == [], "a score that Marketo has not computed yet clears nothing"
    links = world.rows("select record_type, dynamics_id from state.links order by all")
    assert links == [(CONTACT, "r"), (LEAD, "r")]
    assert [world.base(person_id, "title") for person_id in (1001, 1002)] == ["A", "A"]


@story
def test_after_a_creation_each_side_s_edits_are_one_sided() -> None:
    world = MemoryWorld(FIELDS)
    for record_type in TYPES:
        world.dynamics.put(record_type, "r", jobtitle="A", emailaddress1="a@x.example")
    world.settled()
    for record_type, person_id in zip(TYPES, world.marketo.rows, strict=True):
        world.marketo.put(person_id, title="M", leadScore="7")
        world.dynamics.put(record_type, "r", emailaddress1="b@x.example")
    world.settled()
    for person_id in world.marketo.rows:
        assert [world.both(person_id, f) for f in ("title", "email", "leadScore")] == [
            ("M", "M"),
            ("b@x.example", "b@x.example"),
            ("7", "7"),
        ]
    assert world.ledger()["collisions"] == []


def test_a_person_that_only_marketo_knows_is_never_pushed() -> None:
    """R19."""
    world = MemoryWorld(FIELDS)
    world.marketo.put(1001, title="A", email="a@x.example")
    plan = world.cycle()
    assert plan is not None
    assert (plan.n_operations, world.rows("select count(*) from state.links")) == (0, [(0,)])


def test_equal_e_mail_never_links() -> None:
    """R16, R17: one address in a lead, a contact and a Marketo person are three people."""
    world = MemoryWorld(FIELDS)
    world.marketo.put(1001, email="a@x.example")
    world.dynamics.put(LEAD, "l", emailaddress1="a@x.example")
    world.dynamics.put(CONTACT, "c", emailaddress1="a@x.example")
    world.settled()
    assert sorted(world.marketo.rows) == [1001, 1002, 1003]
    assert world.rows("select count(*) from state.links") == [(2,)]


def test_a_person_that_bears_the_id_in_any_case_is_linked_and_not_created() -> None:
    """R16: ids compare without case."""
    world = MemoryWorld(FIELDS)
    record_id = "a0000000-0000-4000-8000-00000000000b"
    for person_id, record_type in enumerate(TYPES, start=1001):
        world.dynamics.put(record_type, record_id, jobtitle="A")
        told = world.told_of(record_type, record_id)
        world.marketo.put(person_id, **{KEYS_OF[record_type]: record_id.upper(), "title": "A"}, **told)
    assert world.settled() == 0
    links = world.rows("select person_id, dynamics_id from state.links order by all")
    assert links == [(1001, record_id), (1002, record_id)]


@story
def test_a_record_that_appears_after_its_person_is_linked_too() -> None:
    world = MemoryWorld(FIELDS)
    world.marketo.put(1001, **{KEYS.lead_id: "l", "title": "A"})
    world.settled()
    world.dynamics.put(LEAD, "l", jobtitle="A")
    assert world.settled() == 1, "its type and creation date (R18)"
    assert world.settled() == 0
    assert world.rows("select person_id, dynamics_id from state.links") == [(1001, "l")]


@story
def test_of_several_people_with_one_id_the_oldest_is_linked_once_and_for_all() -> None:
    """The answer must not depend on the order of rows, and a link is never taken over (R18)."""
    world = MemoryWorld(FIELDS)
    world.dynamics.put(CONTACT, "c", jobtitle="A")
    for person_id in (1003, 1001, 1002):
        world.marketo.put(person_id, **{KEYS.contact_id: "c", "title": "A"})
    world.settled()
    world.marketo.put(1000, **{KEYS.contact_id: "c", "title": "A"})
    world.settled()
    assert world.rows("select person_id, dynamics_id from state.links") == [(1001, "c")]


def test_a_person_with_both_ids_is_its_contact() -> None:
    """R25, R18: at most one record per person, the contact before the lead."""
    world = MemoryWorld(FIELDS)
    world.dynamics.put(CONTACT, "c", jobtitle="C")
    world.dynamics.put(LEAD, "l", jobtitle="L")
    world.marketo.put(1001, **{KEYS.contact_id: "c", KEYS.lead_id: "l", "title": "C"})
    world.cycle()
    assert (1001, "contact", "c") in world.rows("select person_id, record_type, dynamics_id from state.links")
    assert world.rows("select count(*) from state.links where person_id = 1001") == [(1,)]


def test_a_link_found_for_a_refused_creation_leaves_no_backlog() -> None:
    """The record that waited to be created has its person now."""
    from dynsync_pipeline.errors import RequestRefused

    world = MemoryWorld(FIELDS)
    world.dynamics.put(CONTACT, "c", jobtitle="A")
    world.marketo.refuses = lambda key, values: RequestRefused("no", system="marketo", request="POST", code="1006")
    world.cycle()
    assert world.rows("select count(*) from state.unsettled") == [(1,)]
    world.marketo.put(1001, **{KEYS.contact_id: "c", "title": "A"}, **world.told_of(CONTACT, "c"))
    world.cycle()
    assert world.rows("select person_id, dynamics_id from state.links") == [(1001, "c")]
    assert world.rows("select count(*) from state.unsettled") == [(0,)]


MEETINGS = (
    (LEAD, "D", None, "D", None),
    (LEAD, None, "M", "M", None),
    (CONTACT, "D", None, "D", None),
    (CONTACT, None, "M", "M", None),
    (LEAD, "D", "M", "M", "marketo"),
    (CONTACT, "D", "M", "D", "dynamics"),
    (CONTACT, "E", "E", "E", None),
    (CONTACT, None, None, None, None),
)


def test_without_a_base_a_blank_is_filled_and_two_values_collide() -> None:
    """R42; the decision says that it had no base."""
    world = MemoryWorld(FIELDS)
    people = [
        meet(world, record_type, f"r{n}", {"jobtitle": dynamics}, {"title": marketo})
        for n, (record_type, dynamics, marketo, _, _) in enumerate(MEETINGS)
    ]
    world.settled()
    for person_id, (*_, result, _) in zip(people, MEETINGS, strict=True):
        assert world.both(person_id, "title") == (result, result)
        assert world.base(person_id, "title") == result
    codes = dict(world.rows("select person_id, rule_code from ledger.changes where field = 'title'"))
    wins = {"marketo": "first_meeting_marketo_wins", "dynamics": "first_meeting_dynamics_wins"}
    assert [codes.get(person_id) for person_id in people] == [
        wins[winner] if winner else "blank_filled" if dynamics != marketo else None
        for _, dynamics, marketo, _, winner in MEETINGS
    ]
    assert sorted(row[1:2] + row[4:] for row in world.ledger()["collisions"]) == [
        (person_id, None, dynamics, marketo, winner, wins[winner])
        for person_id, (_, dynamics, marketo, _, winner) in zip(people, MEETINGS, strict=True)
        if winner
    ]


@story
def test_without_a_base_a_false_is_as_blank_as_a_null() -> None:
    """For booleans null and false are one value, so neither is evidence that somebody said no."""
    world = MemoryWorld(FIELDS)
    for record_type in TYPES:
        meet(world, record_type, "true there", {"donotphone": "true"}, {"doNotCall": "false"})
        meet(world, record_type, "true here", {"donotphone": "false"}, {"doNotCall": "true"})
    world.settled()
    assert [world.both(person_id, "doNotCall") for person_id in world.marketo.rows] == [("true", "true")] * 4
    assert world.ledger()["collisions"] == []


@story
def test_without_a_base_one_way_fields_take_the_owner_s_value() -> None:
    """R43 and R44 never collide, also at a first meeting; a blank owner clears nothing (R42)."""
    world = MemoryWorld(FIELDS)
    for record_type in TYPES:
        full: Values = {"new_source": "web", "mkt_leadscore": "1"}
        meet(world, record_type, "full", full, {"source": "typed", "leadScore": "9"})
        meet(world, record_type, "blank", {"mkt_leadscore": "1"}, {"source": "typed"})
    world.settled()
    held = [(world.both(each, "source"), world.both(each, "leadScore")) for each in world.marketo.rows]
    assert held == [(("web", "web"), ("9", "9")), ((None, "typed"), ("1", None))] * 2
    assert world.ledger()["collisions"] == []


def test_a_record_deleted_before_its_person_was_created_leaves_no_backlog() -> None:
    """Nothing is left to create."""
    from dynsync_pipeline.errors import RequestRefused

    world = MemoryWorld(FIELDS)
    world.dynamics.put(CONTACT, "c", jobtitle="A")
    world.marketo.refuses = lambda key, values: RequestRefused("no", system="marketo", request="POST", code="1006")
    world.cycle()
    world.dynamics.delete(CONTACT, "c")
    world.cycle()
    assert world.marketo.rows == {}
    assert world.rows("select count(*) from state.unsettled") == [(0,)]


@story
@pytest.mark.parametrize("is_later", [False, True])
def test_the_company_of_a_lead_that_is_found_by_its_key_is_read_before_anything_fills_it(is_later: bool) -> None:
    """R42, R35: after a lost working file, or when somebody filled the key again."""
    lines = ("account,company,name,text,to_marketo,true", "lead,company,companyname,text,both,true",
             "lead,title,jobtitle,text,both,true")  # fmt: skip
    world = MemoryWorld(parse_field_map(HEADER + "\n".join(lines), "test.csv"))
    if is_later:
        world.settled()
    person = world.link(LEAD, "r", title="A")
    world.dynamics.put(LEAD, "r", companyname="Entered in Dynamics")
    world.marketo.put(person, **{COMPANY_KEY: "lead:r"})
    world.marketo.put_company("lead:r", company="Entered in Marketo")
    world.settled()
    assert world.marketo.company_rows["lead:r"]["company"] == "Entered in Marketo"
    assert world.dynamics.rows[LEAD, "r"].values["companyname"] == "Entered in Marketo"
    assert [(row[3], row[5], row[6]) for row in world.ledger()["collisions"]] == [
        ("company", "Entered in Dynamics", "Entered in Marketo")
    ]
    assert [row[4:7] for row in world.ledger()["changes"]] == [("company", "Entered in Dynamics", "Entered in Marketo")]
