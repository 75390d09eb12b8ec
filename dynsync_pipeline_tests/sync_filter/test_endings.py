"""The filter next to deletions, merges in Marketo, requests, keys and whatever else ends or makes a link (R79 to R84, R92)."""

from __future__ import annotations

from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.sync_filter.filtered import (
    CONTACT,
    LEAD,
    NO,
    YES,
    filtered_world,
    kept_out,
    people_of,
    rests,
    starts,
)
from dynsync_pipeline_tests.worlds.memory_marketo import KEYS


@story
def test_a_person_who_is_deleted_in_marketo_comes_back_only_when_its_record_is_let_in() -> None:
    """R81 rests with the filter; letting a record in is itself an edit that its person never got (R89). A deletion on either side
    may come with the yes.
    """
    world = filtered_world()
    names = ("edited", "same", "together", "unlinked")
    people = {name: world.link(LEAD, name, title="A") for name in names}
    late, gone = (world.link(LEAD, name, title="A") for name in ("late", "gone"))
    world.settled()
    world.marketo.delete(people["unlinked"])
    for name in (*names[:2], "late", "gone"):
        world.dynamics.put(LEAD, name, **NO)
    world.settled()
    for name in names[:2]:
        world.marketo.delete(people[name])
    world.dynamics.put(LEAD, "edited", jobtitle="B")
    world.marketo.delete(people["together"])
    world.dynamics.put(LEAD, "together", **NO, jobtitle="B")
    world.dynamics.put(LEAD, "unlinked", **NO, jobtitle="B")
    world.settled()
    assert [people_of(world, name) for name in names] == [[]] * 4
    assert world.rows("from state.unsettled") == []
    rests(world)
    for name in names:
        world.dynamics.put(LEAD, name, **YES)
    for name in ("late", "gone"):
        world.dynamics.put(LEAD, name, **YES, jobtitle="B")
    world.marketo.delete(late)
    world.dynamics.delete(LEAD, "gone")
    world.settled()
    assert world.marketo.rows[gone].values[KEYS.is_deleted] == "true"
    (anew,) = people_of(world, "late")
    assert world.both(anew, "title") == ("B", "B")
    made = [person for name in names for person in people_of(world, name)]
    assert len(made) == 4
    assert not set(made) & set(people.values())
    assert [world.both(person, "title") for person in made] == [("B", "B"), ("A", "A"), ("B", "B"), ("B", "B")]
    assert sorted(starts(world)) == sorted([*made, anew])


@story
def test_a_record_that_is_deleted_while_it_is_kept_out_flags_its_person_and_starts_nobody() -> None:
    """That it is gone is no edit of it (R79). Entered again and let in, it takes its person back (R83)."""
    world = filtered_world()
    people = {name: world.link(CONTACT, name, title="A") for name in ("stale", "together")}
    world.dynamics.put(CONTACT, "never", **NO)
    world.settled()
    world.dynamics.put(CONTACT, "stale", **NO, jobtitle="B")
    world.settled()
    world.dynamics.delete(CONTACT, "stale")
    world.dynamics.put(CONTACT, "together", **NO, jobtitle="B")
    world.dynamics.delete(CONTACT, "together")
    world.dynamics.delete(CONTACT, "never")
    world.settled()
    for person in people.values():
        values = world.marketo.rows[person].values
        assert (values[KEYS.is_deleted], values["title"]) == ("true", "A")
    world.rows("insert into inbox.touched (record_type, dynamics_id, is_receipt) values ('contact', 'stale', false)")
    assert world.settled() == 0
    assert kept_out(world) == []
    for name in people:
        del world.dynamics.rows[CONTACT, name]
    world.dynamics.put(CONTACT, "stale", **NO, jobtitle="C")
    world.dynamics.put(CONTACT, "together", **YES, jobtitle="C")
    world.settled()
    assert world.both(people["together"], "title") == ("C", "C")
    assert starts(world) == [], "what was gone was kept out of nothing"
    assert kept_out(world) == [("contact", "stale")]
    assert world.marketo.rows[people["stale"]].values["title"] == "A"
    world.dynamics.put(CONTACT, "stale", **YES)
    world.settled()
    values = world.marketo.rows[people["stale"]].values
    assert (values[KEYS.is_deleted], values["title"]) == ("false", "C")
    assert starts(world) == [people["stale"]]


@story
def test_people_who_are_merged_in_marketo_follow_the_filter_of_the_record_that_is_left() -> None:
    """R25: the person is its contact. Where that is kept out nothing is written; let in, the merge is Marketo's edit."""
    world = filtered_world()
    contacts, leads = {}, {}
    for name in ("stale contact", "stale lead", "unedited"):
        contacts[name] = world.link(CONTACT, f"c {name}", title="A")
        leads[name] = world.link(LEAD, f"l {name}", title="A", phone="1")
    world.settled()
    world.dynamics.put(CONTACT, "c stale contact", **NO)
    for name in ("stale lead", "unedited"):
        world.dynamics.put(LEAD, f"l {name}", **NO)
    world.settled()
    n_writes = len(world.marketo.writes)
    for name, winner in leads.items():
        world.marketo.put(winner, **{KEYS.contact_id: f"c {name}"})
        world.marketo.merge(winner, contacts[name])
    world.cycle()
    written = {person for person, _ in world.marketo.writes[n_writes:]}
    assert written == {leads["stale lead"], leads["unedited"]}
    world.settled()
    world.dynamics.put(CONTACT, "c stale contact", **YES)
    world.settled()
    values = world.marketo.rows[leads["stale contact"]].values
    assert (values[KEYS.contact_id], values[KEYS.lead_id]) == ("c stale contact", None)
    assert world.both(leads["stale contact"], "phone") == ("1", "1")
    world.dynamics.put(LEAD, "l stale lead", jobtitle="B")
    world.settled()
    assert world.errors() == []
    for name in ("stale lead", "unedited"):
        world.dynamics.put(LEAD, f"l {name}", **YES)
    world.settled()
    assert [people_of(world, f"l {name}") for name in ("stale lead", "unedited")] == [[], []], (
        "a merged lead creates nobody, which is told when it is let in"
    )
    assert [(error[0], error[3]) for error in world.errors()] == [("l stale lead", "merged_in_marketo")]
