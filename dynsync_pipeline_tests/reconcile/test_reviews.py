"""What both sides edited and the field map leaves to a person: nothing is written until somebody has decided, and edits go on.

Not here: the command (`cli/test_review.py`).
"""

from __future__ import annotations

import duckdb
import pytest

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.reviews import decide
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
KINDS = (CONTACT, LEAD)
FIELDS = field_map(
    "title,jobtitle,text,both,true,review",
    "rating,new_rating,choice,both,true,review",
    "city,address1_city,text,both,true",
)
ORIGINAL = field_map(
    "title,jobtitle,text,both,true", "rating,new_rating,choice,both,true", "city,address1_city,text,both,true"
)


@pytest.fixture
def world() -> MemoryWorld:
    return MemoryWorld(FIELDS)


def linked(world: MemoryWorld, name: str, **values: str | None) -> dict[RecordType, int]:
    return {kind: world.link(kind, f"{name}-{kind}", **values) for kind in KINDS}


def collide(
    world: MemoryWorld, people: dict[RecordType, int], name: str, dynamics: str = "D", marketo: str = "M"
) -> None:
    for kind, person_id in people.items():
        world.dynamics.put(kind, f"{name}-{kind}", jobtitle=dynamics)
        world.marketo.put(person_id, title=marketo)


def reviews(world: MemoryWorld) -> list[tuple[object, ...]]:
    return world.rows(
        "select record_type, field, base_shown, dynamics_shown, marketo_shown, choice from state.reviews order by all"
    )


def take(world: MemoryWorld, side: str) -> None:
    """Somebody decides all that waits."""
    with world.warehouse.transaction() as connection:
        ids = [row[0] for row in connection.execute("select review_id from state.reviews").fetchall()]
        decide(connection, dict.fromkeys(ids, side), "somebody", world.warehouse.now())


def collisions(world: MemoryWorld) -> list[tuple[object, ...]]:
    return world.rows(
        "select record_type, field, base_value, dynamics_value, marketo_value, winner, rule_code from ledger.collisions "
        "order by entry_id"
    )


def test_nothing_is_written_until_somebody_decides_and_then_either_value_may_stand(world: MemoryWorld) -> None:
    """Also at a first meeting of two values; options are shown by their labels, and other fields go on."""
    one, two = linked(world, "one", title="A", rating="1", city="A"), linked(world, "two", title="A")
    world.settled()
    met = {kind: world.link(kind, f"met-{kind}", title="D") for kind in KINDS}
    for person_id in met.values():
        world.marketo.rows[person_id].values["title"] = "M"
    collide(world, one, "one")
    collide(world, two, "two")
    for kind in KINDS:
        world.dynamics.put(kind, f"one-{kind}", new_rating="2", address1_city="B")
        world.marketo.put(one[kind], rating="Cold")
    world.settled()
    waiting = [
        (kind, *row, None)
        for kind in KINDS
        for row in (
            ("rating", "Hot", "Warm", "Cold"),
            ("title", "A", "D", "M"),
            ("title", "A", "D", "M"),
            ("title", None, "D", "M"),
        )
    ]
    assert reviews(world) == waiting
    assert collisions(world) == []
    for kind in KINDS:
        assert world.both(one[kind], "title") == ("D", "M")
        assert world.both(one[kind], "city") == ("B", "B")
        assert world.base(met[kind], "title") == "missing"
    assert world.settled() == 0
    assert reviews(world) == waiting
    with world.warehouse.transaction() as connection:
        rows = connection.execute("select review_id, person_id from state.reviews").fetchall()
        of_two = {*two.values(), met[LEAD]}
        choices = {number: "marketo" if person in of_two else "dynamics" for number, person in rows}
        decide(connection, choices, "somebody", world.warehouse.now())
    assert world.settled() == 1
    assert reviews(world) == []
    assert world.standing() == []
    for kind in KINDS:
        assert world.both(one[kind], "title") == ("D", "D")
        assert world.both(one[kind], "rating") == ("2", "Warm")
        assert world.both(two[kind], "title") == ("M", "M")
        assert world.base(two[kind], "title") == "M"
    assert [world.both(met[kind], "title")[0] for kind in KINDS] == ["D", "M"]
    assert len(collisions(world)) == 8
    assert {row[-1] for row in collisions(world)} == {"reviewed"}


@pytest.mark.parametrize("side", ["dynamics", "marketo"])
def test_a_word_that_was_carried_out_is_shown_as_waiting_no_more(side: str) -> None:
    world = MemoryWorld(FIELDS, publishes=True)
    collide(world, linked(world, "one", title="A"), "one")
    world.cycle()
    world.cycle()
    take(world, side)
    world.cycle()
    assert reviews(world) == []
    with duckdb.connect(world.settings.snapshot_file, read_only=True) as snapshot:
        assert snapshot.execute("select count(*) from reviews").fetchall() == [(0,)]


def test_an_edit_of_either_side_opens_the_review_anew_and_a_word_on_the_old_values_does_not_count(
    world: MemoryWorld,
) -> None:
    """Edited before the word or after it, in Dynamics or Marketo; what is edited back to what it was is settled."""
    names = ("before", "after", "back", "equal")
    people = {name: linked(world, name, title="A") for name in names}
    world.settled()
    for name in names:
        collide(world, people[name], name)
    world.settled()
    numbers = {row[0] for row in world.rows("select review_id from state.reviews")}
    world.dynamics.put(CONTACT, "before-contact", jobtitle="D2")
    world.marketo.put(people["before"][LEAD], title="M2")
    world.settled()
    opened_anew = world.rows(
        "select review_id, dynamics_value, marketo_value from state.reviews order by review_id desc"
    )[:2]
    assert sorted(row[1:] for row in opened_anew) == [("D", "M2"), ("D2", "M")]
    assert not numbers & {row[0] for row in opened_anew}
    take(world, "dynamics")
    world.dynamics.put(LEAD, "after-lead", jobtitle="D3")
    world.marketo.put(people["after"][CONTACT], title="M3")
    world.marketo.put(people["back"][CONTACT], title="A")  # as it was: only Dynamics' edit is left
    world.dynamics.put(LEAD, "back-lead", jobtitle="A")
    world.dynamics.put(LEAD, "equal-lead", jobtitle="M")  # both sides agree
    world.marketo.put(people["equal"][CONTACT], title="D")
    world.settled()
    assert reviews(world) == [("contact", "title", "A", "D", "M3", None), ("lead", "title", "A", "D3", "M", None)]
    assert [world.both(people["before"][kind], "title")[1] for kind in KINDS] == ["D2", "D"]
    assert [world.both(people["back"][kind], "title") for kind in KINDS] == [("D", "D"), ("M", "M")]
    assert [world.both(people["equal"][kind], "title") for kind in KINDS] == [("D", "D"), ("M", "M")]
    assert [row[4:] for row in collisions(world)] == [("M", "dynamics", "reviewed"), ("M2", "dynamics", "reviewed")]


def test_an_edit_that_the_decided_value_overwrote_unseen_is_put_back_and_opens_the_review_anew(
    world: MemoryWorld,
) -> None:
    """And one in Dynamics, which our write meets with its version, does too; so does one that an ordinary edit overwrote."""
    decided, plain = linked(world, "decided", title="A"), linked(world, "plain", title="A")
    versioned = linked(world, "versioned", title="A")
    world.settled()
    collide(world, decided, "decided")
    collide(world, versioned, "versioned")
    world.settled()
    with world.warehouse.transaction() as connection:
        rows = connection.execute("select review_id, person_id from state.reviews").fetchall()
        choices = {number: "dynamics" if person in decided.values() else "marketo" for number, person in rows}
        decide(connection, choices, "somebody", world.warehouse.now())
    for kind in KINDS:
        world.dynamics.put(kind, f"plain-{kind}", jobtitle="D")
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        for person_id in (*decided.values(), *plain.values()):
            world.marketo.put(person_id, title="unseen")
        for kind in KINDS:
            world.dynamics.put(kind, f"versioned-{kind}", jobtitle="unseen")
        cycle.write_dynamics()
        cycle.write_marketo()
    world.settled()
    for person_id in (*decided.values(), *plain.values()):
        assert world.both(person_id, "title") == ("D", "unseen")
    for person_id in versioned.values():
        assert world.both(person_id, "title") == ("unseen", "M")
    assert [row[2:5] for row in reviews(world) if row[0] == "lead"] == [
        ("A", "D", "unseen"),
        ("A", "unseen", "M"),
        ("M", "D", "unseen"),
    ]
    take(world, "marketo")
    world.settled()
    for person_id in (*decided.values(), *plain.values()):
        assert world.both(person_id, "title") == ("unseen", "unseen")


def test_another_rule_settles_what_waits_and_a_link_that_ends_closes_its_reviews(world: MemoryWorld) -> None:
    stay, gone, away = (linked(world, name, title="A") for name in ("stay", "gone", "away"))
    world.settled()
    for people, name in ((stay, "stay"), (gone, "gone"), (away, "away")):
        collide(world, people, name)
    world.settled()
    assert len(reviews(world)) == 6
    world.dynamics.delete(CONTACT, "gone-contact")
    world.dynamics.delete(LEAD, "gone-lead")
    for person_id in away.values():
        world.marketo.delete(person_id)
    world.settled()
    assert len(reviews(world)) == 2
    world.map_to(ORIGINAL)
    world.settled()
    assert reviews(world) == []
    assert [world.both(stay[kind], "title") for kind in KINDS] == [("D", "D"), ("M", "M")]


def test_a_decision_that_is_cut_anywhere_is_carried_out_once(world: MemoryWorld) -> None:
    for cut_after in range(3, 30, 5):
        people = linked(world, f"c{cut_after}", title="A")
        world.settled()
        collide(world, people, f"c{cut_after}")
        world.settled()
        n_before = len(collisions(world))
        take(world, "marketo" if cut_after % 2 else "dynamics")
        world.cycle(cut_after=cut_after)
        world.settled()
        stands = "M" if cut_after % 2 else "D"
        assert [world.both(person_id, "title") for person_id in people.values()] == [(stands, stands)] * 2
        assert reviews(world) == []
        assert len(collisions(world)) == n_before + 2


def test_a_word_on_a_field_that_is_parked_before_the_next_cycle_counts_once_it_is_back(world: MemoryWorld) -> None:
    """Also without a word the review stays, under its number; that of a field which left the map is closed."""
    one, two = linked(world, "one", title="A"), linked(world, "two", title="A")
    world.settled()
    collide(world, one, "one")
    collide(world, two, "two")
    world.settled()
    numbers = world.rows("select review_id from state.reviews order by all")
    with world.warehouse.transaction() as connection:
        found = connection.execute("select review_id, person_id from state.reviews").fetchall()
        choices = {number: "marketo" for number, person_id in found if person_id in one.values()}
        decide(connection, choices, "somebody", world.warehouse.now())
    world.dynamics.hidden = {"jobtitle"}
    world.follow(FIELDS)
    for name in ("one", "two"):
        for kind in KINDS:
            world.dynamics.put(kind, f"{name}-{kind}", address1_city="touched")
    world.settled()
    assert world.rows("select review_id from state.reviews order by all") == numbers
    world.dynamics.hidden = set()
    world.follow(FIELDS)
    world.settled()
    for kind in KINDS:
        assert world.both(one[kind], "title") == ("M", "M")
        assert world.both(two[kind], "title") == ("D", "M")
    assert set(world.rows("select review_id from state.reviews")) < set(numbers)
    world.follow(field_map("city,address1_city,text,both,true"))
    world.settled()
    assert reviews(world) == []
