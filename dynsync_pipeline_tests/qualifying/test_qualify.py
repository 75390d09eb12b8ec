"""Qualify turns a lead into a contact; its person stays the same one (R25, R95 to R97). Many people stand side by side."""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import is_deep, story
from dynsync_pipeline_tests.qualifying.qualified import (
    CONTACT,
    FIELDS,
    LEAD,
    VALUES,
    assert_is_contact,
    close_lead,
    make_contact,
    met,
    people_of,
    qualify,
)
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS
from dynsync_pipeline_tests.worlds.requests import RequestWorld

ACCOUNT = RecordType.ACCOUNT


def test_r96_the_leads_person_becomes_the_contacts_in_whatever_order_the_two_are_seen() -> None:
    world, people = met("both", "contact", "lead")
    world.marketo.put(people["both"], leadScore="40")
    world.settled()
    world.dynamics.put(CONTACT, "c-both", createdon="2024-01-01T00:00:00Z")
    qualify(world, "both", "c-both")
    make_contact(world, "contact", "c-contact")
    close_lead(world, "lead", "c-lead")
    world.settled()
    make_contact(world, "lead", "c-lead")
    close_lead(world, "contact", "c-contact")
    # A contact of a lead that was made and qualified between two cycles.
    world.dynamics.put(LEAD, "new", jobtitle="New")
    qualify(world, "new", "c-new")
    world.settled()
    for name in ("both", "contact", "lead"):
        assert_is_contact(world, people[name], name, f"c-{name}")
        assert [world.both(people[name], field) for field in VALUES] == [(v, v) for v in VALUES.values()]
    assert world.both(people["both"], "leadScore") == ("40", "40"), "the score goes on, and reaches the contact"
    (new,) = people_of(world, "new", "c-new")
    assert_is_contact(world, new, "new", "c-new")
    assert world.errors() == []
    assert world.ledger()["collisions"] == []
    assert world.rows("select dynamics_id, side from state.tombstones order by all") == [
        (name, "qualified") for name in ("both", "contact", "lead")
    ]


# What the contact holds, what Marketo holds by then, what stands afterwards; the lead and its person held A.
EDITS = {
    "nobody edits": ("A", "A", "A"),
    "sales edits while qualifying": ("B", "A", "B"),
    "edited in marketo, and the lead never got": ("A", "C", "C"),
    "cleared in marketo, and the lead never got": ("A", None, None),
    "both edit (r35)": ("B", "C", "B"),
    "sales edits and marketo clears": ("B", None, "B"),
    "a column that qualify does not copy": (None, "A", "A"),
    "not copied, and edited in marketo": (None, "C", "C"),
    "not copied, and cleared in marketo": (None, None, None),
}


def test_r96_edits_at_the_moment_of_qualifying_are_settled_as_the_contacts_and_none_is_lost_silently() -> None:
    world, people = met(*EDITS, title="A", doNotCall="true", source="Web")
    for name, (in_dynamics, in_marketo, _) in EDITS.items():
        # Beside the title: consent that Qualify does not copy, and a field that goes to Marketo only.
        qualify(world, name, f"c {name}", jobtitle=in_dynamics, donotphone=None, new_source="Fair")
        if in_marketo != "A":
            world.marketo.put(people[name], title=in_marketo)
    world.settled()
    for name, (_, _, result) in EDITS.items():
        assert_is_contact(world, people[name], name, f"c {name}")
        assert (name, world.both(people[name], "title")) == (name, (result, result))
        assert (name, world.base(people[name], "title")) == (name, result), "the base is that of the contact"
        assert world.both(people[name], "doNotCall") == ("true", "true")
        assert world.both(people[name], "source") == ("Fair", "Fair")
    assert [row[4:] for row in world.ledger()["collisions"]] == [
        ("A", "B", "C", "dynamics", "dynamics_wins"), ("A", "B", None, "dynamics", "dynamics_wins"),
    ], "the losers are kept"  # fmt: skip
    assert world.errors() == []
    assert world.dynamics.rows[LEAD, "nobody edits"].values["jobtitle"] == "A"


@story
def test_r96_numbers_of_options_that_mean_something_else_on_contacts_are_no_base() -> None:
    """What was agreed on of the lead's options says nothing of the contact's; of one option as of several (R29)."""
    lines = (
        "rating,new_rating,choice,both,true",
        "topics,new_topics,choices,both,true",
        "title,jobtitle,text,both,true",
    )
    world = MemoryWorld(field_map(*lines))
    world.dynamics.contact_options = {"1": "Cold", "2": "Warm", "3": "Hot"}
    person_id = world.link(LEAD, "l", title="A", rating="1", topics="1,2")
    world.settled()
    assert world.both(person_id, "topics") == ("1,2", "Hot; Warm")
    world.dynamics.put(CONTACT, "c", jobtitle="A", new_rating="1", new_topics="2,1", _originatingleadid_value="l")
    close_lead(world, "l", "c")
    world.settled()
    assert_is_contact(world, person_id, "l", "c")
    assert world.both(person_id, "rating") == ("1", "Cold")
    assert world.both(person_id, "topics") == ("2,1", "Cold; Warm")
    assert sorted(row[4:8] for row in world.ledger()["collisions"]) == [
        (None, "Cold", "Hot", "dynamics"), (None, "Cold; Warm", "Warm; Hot", "dynamics"),
    ], "as at a first meeting, and the losers are kept"  # fmt: skip


@story
def test_r59_a_contact_that_a_lead_became_logs_what_the_company_that_it_joins_holds() -> None:
    """Also where somebody edited that company, which no feed tells, since its account was updated last (R52)."""
    world, people = met("l")
    world.dynamics.put(ACCOUNT, "a", name="Account")
    world.settled()
    world.marketo.put_company("a", company="Local")
    qualify(world, "l", "c")
    world.dynamics.put(CONTACT, "c", _parentcustomerid_value="a")
    world.settled()
    assert_is_contact(world, people["l"], "l", "c")
    told = "select old_value, new_value from ledger.activities where person_id = ? and field = 'company'"
    assert world.rows(told, people["l"]) == [(None, "Local")]


# What the filters of lead and contact say, and whose person the contact has then.
FILTERS = {
    "a": ("false", "false", "nobody's"),
    "b": ("true", "true", "its lead's"),
    "c": (None, None, "its lead's"),
    "d": ("false", "true", "a new one"),
    "e": ("true", "false", "nobody's"),
}


def test_r95_the_table_of_both_filters() -> None:
    world = MemoryWorld(FIELDS)
    leads = {f"{case} {before}": filters for case, filters in FILTERS.items() for before in ("synced", "out")}
    for lead in leads:
        at_first = "true" if lead.endswith("synced") else "false"
        world.dynamics.put(LEAD, lead, jobtitle="Buyer", new_synctomkto=at_first)
    world.settled()
    before = {lead: world.marketo.bearers(KEYS.lead_id, lead) for lead in leads}
    for lead, (of_lead, of_contact, _) in leads.items():
        world.dynamics.put(LEAD, lead, new_synctomkto=of_lead)
        qualify(world, lead, f"c-{lead}", new_synctomkto=of_contact)
        world.dynamics.put(LEAD, lead, jobtitle="Edited")
    world.settled()
    for lead, (of_lead, _, expected) in leads.items():
        found = world.marketo.bearers(KEYS.contact_id, f"c-{lead}")
        of_the_lead = world.marketo.bearers(KEYS.lead_id, lead)
        if expected == "its lead's":
            assert_is_contact(world, found[0], lead, f"c-{lead}")
            assert before[lead] in ([], found)
        else:
            assert len(found) == (expected == "a new one")
            titles = [world.marketo.rows[person].values["title"] for person in of_the_lead]
            # The lead's own edits reach its person, or it is stale.
            assert titles == (["Edited"] if of_lead == "true" else ["Buyer"] * len(before[lead]))
    # What was edited on a lead whose person is its contact's by now is told.
    assert sorted((error[0], error[3]) for error in world.errors()) == [
        ("b synced", "qualified"),
        ("c synced", "qualified"),
    ]
    world.dynamics.put(CONTACT, "c-e synced", new_synctomkto="true")
    (person,) = world.marketo.bearers(KEYS.lead_id, "e synced")
    world.settled()
    assert_is_contact(world, person, "e synced", "c-e synced")


@story
def test_r97_several_contacts_of_one_lead_and_leads_without_a_person() -> None:
    world, people = met("l", "gone before", "gone at once", "deleted before", "deleted")
    world.dynamics.put(CONTACT, "c2", createdon="2024-01-02T00:00:00Z")
    world.dynamics.put(CONTACT, "c1", createdon="2024-01-01T00:00:00Z")
    for contact in ("c1", "c2"):
        make_contact(world, "l", contact)
    close_lead(world, "l", "c1")
    world.marketo.delete(people["gone before"])
    world.dynamics.delete(LEAD, "deleted before")
    world.cycle()
    qualify(world, "gone before", "c-gone")
    qualify(world, "gone at once", "c-at-once")
    world.marketo.delete(people["gone at once"])
    qualify(world, "deleted", "c-deleted")
    world.dynamics.delete(LEAD, "deleted")
    world.dynamics.put(CONTACT, "c-before", jobtitle="Buyer", _originatingleadid_value="deleted before")
    world.dynamics.put(CONTACT, "c-stranger", jobtitle="Buyer", _originatingleadid_value="never there")
    world.settled()
    assert_is_contact(world, people["l"], "l", "c1")
    others = {
        name: world.marketo.bearers(KEYS.contact_id, name) for name in ("c2", "c-gone", "c-at-once", "c-stranger")
    }
    assert [len(found) for found in others.values()] == [1] * 4, "ordinary new people"
    assert not {person for found in others.values() for person in found} & set(people.values())
    assert_is_contact(world, people["deleted"], "deleted", "c-deleted")
    assert [world.marketo.bearers(KEYS.lead_id, lead) for lead in ("gone before", "gone at once")] == [[], []]
    assert_is_contact(world, people["deleted before"], "deleted before", "c-before")
    assert world.errors() == []


@story
def test_a_contact_whose_lead_cannot_be_read_waits_is_told_and_makes_nobody() -> None:
    world, people = met("hidden", "found")
    world.dynamics.put(LEAD, "strange", jobtitle="Buyer")
    world.dynamics.forbidden = {"hidden", "found", "strange"}
    for lead in people:
        make_contact(world, lead, f"c-{lead}")
    world.settled()
    waiting = [
        ("c-found", None, "to_marketo", "lead_unread", 1, "waiting"),
        ("c-hidden", None, "to_marketo", "lead_unread", 1, "waiting"),
    ]
    assert sorted(world.errors()) == waiting
    assert [world.marketo.bearers(KEYS.contact_id, f"c-{lead}") for lead in people] == [[], []]
    close_lead(world, "found", "c-found")  # which the feed tells
    world.settled()
    assert_is_contact(world, people["found"], "found", "c-found")
    assert world.marketo.bearers(KEYS.contact_id, "c-hidden") == []
    world.dynamics.forbidden = set()
    world.clock += timedelta(days=1)
    world.settled()
    assert_is_contact(world, people["hidden"], "hidden", "c-hidden")
    assert {error[5] for error in world.errors()} == {"resolved"}


@story
def test_edits_of_a_qualified_lead_are_told_once_and_make_nobody_until_its_contact_is_gone() -> None:
    world, people = met("l", "reopened", "before")
    for lead in people:
        qualify(world, lead, f"c-{lead}")
    world.settled()
    world.dynamics.put(LEAD, "l", jobtitle="Edited")
    world.dynamics.put(LEAD, "before", jobtitle="Edited")
    world.dynamics.put(LEAD, "reopened", statecode="0")
    world.settled()
    world.dynamics.put(LEAD, "l", jobtitle="Edited again")
    world.settled()
    told = [(error[0], error[3], error[5]) for error in world.errors()]
    assert sorted(told) == [("before", "qualified", "waiting"), ("l", "qualified", "waiting")]
    for lead, person in people.items():
        assert_is_contact(world, person, lead, f"c-{lead}")
    world.dynamics.put(LEAD, "l", jobtitle="Buyer")
    for lead in ("reopened", "before"):
        world.dynamics.delete(CONTACT, f"c-{lead}")
    world.settled()
    assert {error[5] for error in world.errors()} == {"resolved"}
    assert world.marketo.rows[people["reopened"]].values[KEYS.is_deleted] == "true"
    (other,) = world.marketo.bearers(KEYS.lead_id, "before")
    assert other not in people.values(), "also an edit that was made before the contact was gone (R81)"
    world.dynamics.put(LEAD, "reopened", jobtitle="Lead again")
    world.settled()
    (again,) = world.marketo.bearers(KEYS.lead_id, "reopened")
    assert again not in people.values(), "an edit that no person got (R81)"


@story
def test_a_person_who_is_deleted_as_a_lead_is_qualified_onto_its_contact_leaves_the_other_one_in_its_place() -> None:
    """The contact's in the same cycle; the lead's afterwards, whose later edits are told then."""
    world, people = met("l", "later")
    contacts = {name: world.link(CONTACT, name, title="Head") for name in ("c", "d")}
    world.settled()
    close_lead(world, "l", "c")
    world.marketo.delete(contacts["c"])
    close_lead(world, "later", "d")
    world.settled()
    assert_is_contact(world, people["l"], "l", "c")
    world.marketo.delete(people["later"])
    world.settled()
    assert world.errors() == []
    world.dynamics.put(LEAD, "later", jobtitle="Edited")
    world.settled()
    assert [(error[0], error[3], error[5]) for error in world.errors()] == [("later", "qualified", "waiting")]
    assert people_of(world, "later", "d") == [contacts["d"]]
    world.dynamics.put(LEAD, "later", jobtitle="Buyer")
    world.settled()
    assert [error[5] for error in world.errors()] == ["resolved"]


@story
def test_a_working_file_that_is_lost_before_or_after_the_keys_are_written_makes_no_second_person() -> None:
    world, people = met("before", "after")
    qualify(world, "after", "c-after")
    world.settled()
    qualify(world, "before", "c-before")
    fresh = MemoryWorld(FIELDS)
    fresh.dynamics.rows, fresh.dynamics.version = world.dynamics.rows, world.dynamics.version
    fresh.marketo.rows, fresh.marketo.version = world.marketo.rows, world.marketo.version
    fresh.settled()
    for lead, person in people.items():
        assert_is_contact(fresh, person, lead, f"c-{lead}")


@story
def test_a_cut_at_any_step_leaves_one_person() -> None:
    cuts = {f"l{cut_after}": cut_after for cut_after in range(4, 26, 1 if is_deep() else 12)}
    world, people = met(*cuts)
    for lead, cut_after in cuts.items():
        qualify(world, lead, f"c-{lead}", jobtitle="Head")
        world.marketo.put(people[lead], phone="2")
        assert world.cycle(cut_after=cut_after) is None or is_deep()
        assert len(people_of(world, lead, f"c-{lead}")) == 1
        world.settled()
        assert_is_contact(world, people[lead], lead, f"c-{lead}")
        assert [world.both(people[lead], name) for name in ("title", "phone")] == [("Head", "Head"), ("2", "2")]


@story
def test_a_contact_waits_for_the_lead_that_its_person_asked_for() -> None:
    """The record was made, and the answer to it was lost, when sales qualified it: nobody knew its person."""
    world = RequestWorld(FIELDS)
    boss = world.link(LEAD, "l", title="Boss")
    world.settled()
    person = world.person(title="Buyer")
    lead = world.ask(person, LEAD)
    cut_after = next(
        n for n in range(26, 60) if world.cycle(cut_after=n) is None and world.dynamics.is_there(LEAD, lead)
    )
    assert world.rows("select person_id from state.links") == [(boss,)], f"cut after step {cut_after}, before the link"
    qualify(world, lead, "c")
    world.cycle()  # which serves the request, and plans nothing
    world.settled()
    assert_is_contact(world, person, lead, "c")
    assert world.errors() == []
    assert sorted(i for i in world.marketo.rows if world.marketo.is_there(i)) == [boss, person]
