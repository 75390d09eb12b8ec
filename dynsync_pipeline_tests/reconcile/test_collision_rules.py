"""Who wins where the field map says so: `dynamics`, `marketo`, `newest`, `restrictive`, `never_clear` (docs/field-map.md).

Not here: what waits for a person (`test_reviews.py`), the original's rule (`test_worked_cases.py`).
"""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
KINDS = (CONTACT, LEAD)
COLUMNS = {"title": "jobtitle", "phone": "telephone1", "doNotCall": "donotphone", "city": "address1_city"}
MINUTE = timedelta(minutes=1)


def ruled(rule: str) -> MemoryWorld:
    """A world whose title, or checkbox, goes by this rule."""
    title = "" if rule.startswith("restrictive") else rule
    box = rule if rule.startswith("restrictive") else ""
    return MemoryWorld(
        field_map(
            f"title,jobtitle,text,both,true,{title}",
            f"doNotCall,donotphone,boolean,both,true,{box}",
            "city,address1_city,text,both,true",
        )
    )


def linked(world: MemoryWorld, name: str, **values: str | None) -> dict[RecordType, int]:
    """A contact and a lead that agree on these values."""
    return {kind: world.link(kind, f"{name}-{kind}", **values) for kind in KINDS}


def edit(world: MemoryWorld, people: dict[RecordType, int], name: str, field: str, *sides: str | None) -> None:
    """Both sides of a field are edited, to Dynamics' value and Marketo's."""
    for kind, person_id in people.items():
        world.dynamics.put(kind, f"{name}-{kind}", **{COLUMNS[field]: sides[0]})
        world.marketo.put(person_id, **{field: sides[1]})


def collisions(world: MemoryWorld) -> list[tuple[object, ...]]:
    return world.rows(
        "select record_type, field, dynamics_value, marketo_value, winner, rule_code from ledger.collisions order by all"
    )


NAMED = field_map(
    "title,jobtitle,text,both,true,dynamics",
    "phone,telephone1,text,both,true,marketo",
    "city,address1_city,text,both,true",
)
WINS = {"title": "dynamics", "phone": "marketo"}


@story
def test_the_side_that_the_map_names_wins_of_contacts_and_leads_and_at_a_first_meeting() -> None:
    """The edit of one side alone goes to the other all the same, and other fields keep the original's rule."""
    world = MemoryWorld(NAMED)
    people = linked(world, "met", title="A", phone="A", city="A")
    alone = linked(world, "alone", title="A", phone="A")
    world.settled()
    strangers = {kind: world.link(kind, f"new-{kind}", title="D", phone="D") for kind in KINDS}
    for person_id in strangers.values():
        world.marketo.rows[person_id].values.update(title="M", phone="M")
    for field in ("title", "phone", "city"):
        edit(world, people, "met", field, "D", "M")
    world.marketo.put(alone[CONTACT], title="one-sided")
    world.dynamics.put(LEAD, "alone-lead", telephone1="one-sided")
    world.settled()
    for person_id in (*people.values(), *strangers.values()):
        assert world.both(person_id, "title") == ("D", "D")
        assert world.both(person_id, "phone") == ("M", "M")
    assert world.both(alone[CONTACT], "title") == ("one-sided", "one-sided")
    assert world.both(alone[LEAD], "phone") == ("one-sided", "one-sided")
    assert [world.both(people[kind], "city")[0] for kind in KINDS] == ["D", "M"]
    assert collisions(world) == [
        (kind, *row)
        for kind, winner in ((CONTACT, "dynamics"), (LEAD, "marketo"))
        for row in (
            ("city", "D", "M", winner, f"{winner}_wins"),
            *[("phone", "D", "M", "marketo", "map_marketo_wins")] * 2,
            *[("title", "D", "M", "dynamics", "map_dynamics_wins")] * 2,
        )
    ]
    assert world.settled() == 0


@story
def test_an_edit_that_our_write_overwrote_unseen_goes_by_the_same_rule() -> None:
    world = MemoryWorld(NAMED)
    people = linked(world, "met", title="A", phone="A")
    world.settled()
    for kind in KINDS:
        world.dynamics.put(kind, f"met-{kind}", jobtitle="D", telephone1="D")
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        for person_id in people.values():
            world.marketo.put(person_id, title="unseen", phone="unseen")
        cycle.write_dynamics()
        cycle.write_marketo()
    world.settled()
    for person_id in people.values():
        assert world.both(person_id, "title") == ("D", "D")
        assert world.both(person_id, "phone") == ("unseen", "unseen")
    assert collisions(world) == [
        (kind, field, "D", "unseen", side, f"map_{side}_wins") for kind in KINDS for field, side in sorted(WINS.items())
    ]


@story
def test_an_edit_that_our_write_overwrote_unseen_meets_a_later_edit_in_dynamics_and_is_not_lost() -> None:
    """Whoever wins; a later edit in Marketo itself is all there is of that side."""
    world = MemoryWorld(NAMED)
    people, again = (linked(world, name, title="A", phone="A") for name in ("met", "again"))
    world.settled()
    for kind in KINDS:
        for name in ("met", "again"):
            world.dynamics.put(kind, f"{name}-{kind}", jobtitle="D", telephone1="D")
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        for person_id in (*people.values(), *again.values()):
            world.marketo.put(person_id, title="unseen", phone="unseen")
        cycle.write_dynamics()
        cycle.write_marketo()
    for kind in KINDS:
        for name in ("met", "again"):
            world.dynamics.put(kind, f"{name}-{kind}", jobtitle="D2", telephone1="D2")
        world.marketo.put(again[kind], title="M2", phone="M2")
    world.settled()
    for kind in KINDS:
        assert world.both(people[kind], "title") == world.both(again[kind], "title") == ("D2", "D2")
        assert world.both(people[kind], "phone") == ("unseen", "unseen")
        assert world.both(again[kind], "phone") == ("M2", "M2")
    assert collisions(world) == [
        (kind, *row)
        for kind in KINDS
        for row in (
            ("phone", "D", "unseen", "marketo", "map_marketo_wins"),
            ("phone", "D2", "M2", "marketo", "map_marketo_wins"),
            ("phone", "D2", "unseen", "marketo", "map_marketo_wins"),
            ("title", "D", "unseen", "dynamics", "map_dynamics_wins"),
            ("title", "D2", "M2", "dynamics", "map_dynamics_wins"),
        )
    ]
    assert world.settled() == 0


def test_of_a_consent_the_value_that_forbids_wins_at_a_first_meeting_and_an_opt_in_of_one_side_passes() -> None:
    """R132, whichever value forbids and whichever side holds it."""
    for forbids, allows in (("true", "false"), ("false", "true")):
        world = ruled(f"restrictive:{forbids}")
        by_dynamics = {kind: world.link(kind, f"d-{kind}", doNotCall=forbids) for kind in KINDS}
        by_marketo = {kind: world.link(kind, f"m-{kind}", doNotCall=allows) for kind in KINDS}
        for people, held in ((by_dynamics, allows), (by_marketo, forbids)):
            for person_id in people.values():
                world.marketo.rows[person_id].values["doNotCall"] = held
        world.settled()
        for person_id in (*by_dynamics.values(), *by_marketo.values()):
            assert world.both(person_id, "doNotCall") == (forbids, forbids)
        # A false that true gives way to is a blank that is filled; one that true had to give way to is a value that won.
        expected = [] if forbids == "true" else ["dynamics", "dynamics", "marketo", "marketo"]
        assert sorted(str(row[4]) for row in collisions(world)) == expected
        assert {row[5] for row in collisions(world)} <= {"stricter_wins"}
        for kind in KINDS:
            world.dynamics.put(kind, f"d-{kind}", donotphone=allows)
            world.marketo.put(by_marketo[kind], doNotCall=allows)
        world.settled()
        for person_id in (*by_dynamics.values(), *by_marketo.values()):
            assert world.both(person_id, "doNotCall") == (allows, allows)
        assert world.settled() == 0


@story
def test_of_a_consent_that_stood_unequal_and_was_edited_on_both_sides_the_value_that_forbids_wins() -> None:
    """Dynamics keeps the contrary of what it is sent, so that both sides can be edited to unequal values."""
    world = MemoryWorld(
        field_map(
            "doNotCall,donotphone,boolean,both,true,restrictive:true",
            "mayMail,new_maymail,boolean,both,true,restrictive:false",
        )
    )
    people = linked(world, "met", doNotCall="false", mayMail="false")
    world.settled()
    world.dynamics.keeps = lambda name, value: "false"
    for person_id in people.values():
        world.marketo.put(person_id, doNotCall="true", mayMail="true")
    world.settled()
    world.dynamics.keeps = lambda name, value: value
    assert [world.both(person_id, "doNotCall") for person_id in people.values()] == [("false", "true")] * 2
    for kind, person_id in people.items():
        world.dynamics.put(kind, f"met-{kind}", donotphone="true", new_maymail="true")
        world.marketo.put(person_id, doNotCall="false", mayMail="false")
    world.settled()
    assert [world.both(person_id, "doNotCall") for person_id in people.values()] == [("true", "true")] * 2
    assert [world.both(person_id, "mayMail") for person_id in people.values()] == [("false", "false")] * 2
    assert [(row[1], *row[4:]) for row in collisions(world)] == [
        ("doNotCall", "dynamics", "stricter_wins"),
        ("mayMail", "marketo", "stricter_wins"),
    ] * 2


def test_what_is_emptied_on_one_side_stays_on_the_other_until_either_is_edited() -> None:
    """R48: a standing difference, whichever side was emptied; a fill of either side goes to the other."""
    world = ruled("never_clear")
    by_dynamics, by_marketo = linked(world, "d", title="A", city="A"), linked(world, "m", title="A")
    both = linked(world, "b", title="A")
    world.settled()
    for kind in KINDS:
        world.dynamics.put(kind, f"d-{kind}", jobtitle=None, address1_city=None)
        world.marketo.put(by_marketo[kind], title=None)
    edit(world, both, "b", "title", None, None)
    world.settled()
    for kind in KINDS:
        assert world.both(by_dynamics[kind], "title") == (None, "A")
        assert world.both(by_dynamics[kind], "city") == (None, None), "other fields are emptied as ever"
        assert world.both(by_marketo[kind], "title") == ("A", None)
        assert world.base(both[kind], "title") is None
    assert world.rows("select distinct reason_code from state.standing_differences") == [("clear_stands",)]
    world.dynamics.put(LEAD, "d-lead", address1_city="another field")
    assert world.settled() <= 1
    assert world.both(by_dynamics[LEAD], "title") == (None, "A")
    # Either side of either pair is edited.
    world.dynamics.put(CONTACT, "d-contact", jobtitle="new")
    world.marketo.put(by_dynamics[LEAD], title="new")
    world.dynamics.put(LEAD, "m-lead", jobtitle="new")
    world.marketo.put(by_marketo[CONTACT], title="new")
    world.settled()
    for person_id in (*by_dynamics.values(), *by_marketo.values()):
        assert world.both(person_id, "title") == ("new", "new")
    assert world.standing() == []
    assert collisions(world) == []


@story
def test_a_value_wins_over_a_side_that_was_emptied_meanwhile_and_two_values_go_by_the_original_rule() -> None:
    world = ruled("never_clear")
    emptied, both = linked(world, "e", title="A"), linked(world, "b", title="A")
    world.settled()
    world.dynamics.put(CONTACT, "e-contact", jobtitle=None)
    world.marketo.put(emptied[CONTACT], title="M")
    world.dynamics.put(LEAD, "e-lead", jobtitle="D")
    world.marketo.put(emptied[LEAD], title=None)
    edit(world, both, "b", "title", "D", "M")
    world.settled()
    assert [world.both(emptied[kind], "title")[0] for kind in KINDS] == ["M", "D"]
    assert [world.both(both[kind], "title")[0] for kind in KINDS] == ["D", "M"]
    assert collisions(world) == [
        ("contact", "title", "D", "M", "dynamics", "dynamics_wins"),
        ("contact", "title", None, "M", "marketo", "value_over_clear"),
        ("lead", "title", "D", "M", "marketo", "marketo_wins"),
        ("lead", "title", "D", None, "dynamics", "value_over_clear"),
    ]


@story
def test_the_newest_edit_wins_where_it_is_more_than_a_minute_outside_of_what_dynamics_tells() -> None:
    """Dynamics tells of a record and not of a field, so its edit fell anywhere between two sightings; else R35 decides."""
    world = ruled("newest")
    names = ("before", "after", "between", "near")
    people = {name: linked(world, name, title="A", city="A") for name in names}
    world.settled()
    # The last sighting of the old value is as of now, for another field was edited; the first of the new one ten minutes on.
    start = world.clock
    for name in names:
        for kind in KINDS:
            world.dynamics.put(kind, f"{name}-{kind}", address1_city="B")
    world.cycle()
    seen = world.clock
    in_marketo = {"before": -2.0, "between": 5.0, "near": 10.9, "after": 11.2}
    edits = [*((at, "marketo", name) for name, at in in_marketo.items()), *((10.0, "dynamics", name) for name in names)]
    for at, side, name in sorted(edits):
        world.clock = start + at * MINUTE
        for kind in KINDS:
            if side == "dynamics":
                world.dynamics.put(kind, f"{name}-{kind}", jobtitle="D")
            else:
                world.marketo.put(people[name][kind], title="M")
    world.clock = max(seen, start + 12 * MINUTE)
    world.settled()
    assert {row[4:] for row in collisions(world)} == {
        ("dynamics", "newest_dynamics_wins"),
        ("marketo", "newest_marketo_wins"),
        ("dynamics", "newest_unknown_dynamics_wins"),
        ("marketo", "newest_unknown_marketo_wins"),
    }
    won = {name: [world.both(people[name][kind], "title")[0] for kind in KINDS] for name in names}
    assert won == {"before": ["D", "D"], "after": ["M", "M"], "between": ["D", "M"], "near": ["D", "M"]}
    assert world.rows("select count(*) from state.dynamics_edits") == [(0,)]
    assert world.rows("select count(*) from state.marketo_edits") == [(0,)]


@story
def test_the_clocks_of_the_two_systems_are_brought_together_before_edits_are_compared() -> None:
    """Marketo's clock is ten minutes behind, and its later edit looks like an earlier one."""
    world = ruled("newest")
    people = linked(world, "met", title="A")
    world.settled()
    behind = 10 * MINUTE
    world.marketo.now = lambda: world.clock - behind
    start = world.clock
    for kind in KINDS:
        world.dynamics.put(kind, f"met-{kind}", jobtitle="D")
    world.clock = start + 3 * MINUTE
    for person_id in people.values():
        world.marketo.put(person_id, title="M")
    world.settled()
    assert [world.both(person_id, "title")[0] for person_id in people.values()] == ["M", "M"]
    assert {row[5] for row in collisions(world)} == {"newest_marketo_wins"}


@story
def test_without_times_the_original_rule_decides_and_says_so() -> None:
    """At a first meeting, and where the field went by another rule when it was edited."""
    world = ruled("")
    people = linked(world, "met", title="A")
    world.settled()
    edit(world, people, "met", "title", "D", "M")
    strangers = {kind: world.link(kind, f"new-{kind}", title="D") for kind in KINDS}
    for person_id in strangers.values():
        world.marketo.rows[person_id].values["title"] = "M"
    world.map_to(ruled("newest").fields)
    with world.opened() as cycle:
        read_all(cycle)
        world.rows("delete from state.dynamics_edits")
        cycle.reconcile()
        cycle.write_dynamics()
        cycle.write_marketo()
    assert collisions(world) == [
        *[("contact", "title", "D", "M", "dynamics", "newest_unknown_dynamics_wins")] * 2,
        *[("lead", "title", "D", "M", "marketo", "newest_unknown_marketo_wins")] * 2,
    ]
