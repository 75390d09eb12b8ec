"""Undoing what a cycle wrote: only where it is still ours, never the editor's own side, and once (docs/operate.md#undo-a-cycle).

Not here: the command (`cli/test_undo.py`).
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.errors import ApiError, GuardStopped, RateLimited, RequestRefused
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.reconcile.undo import Undo, stop_on_much_undone, want_undo
from dynsync_pipeline_tests.properties.effort import sampled, story
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map, read_all
from dynsync_pipeline_tests.worlds.rows import Values

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map(
    "title,jobtitle,text,both,true",
    "city,address1_city,text,both,true",
    "rating,new_rating,choice,both,true",
    "doNotCall,donotphone,boolean,both,true",
)
HELD = {"title": "A", "city": "A", "rating": "1", "doNotCall": "false"}


class Undone:
    """A world in which sales edited the title of some people and marketing that of others, in one cycle."""

    def __init__(self, *names: str) -> None:
        self.world = MemoryWorld(FIELDS)
        self.people = {f"{side}-{name}": self.link(f"{side}-{name}") for side in ("d", "m") for name in names}
        self.world.settled()
        for key, person_id in self.people.items():
            if key.startswith("d-"):
                self.world.dynamics.put(LEAD, key, jobtitle="B", new_rating="2", donotphone="true")
            else:
                self.world.marketo.put(person_id, title="B", rating="Warm", doNotCall="true")
        self.world.cycle()
        self.cycle_id = self.world.rows("select max(cycle_id) from ledger.changes")[0][0]
        self.world.settled()

    def link(self, key: str) -> int:
        return self.world.link(LEAD, key, **HELD)

    def ask(self, field: str | None = None, person: str | None = None) -> list[Undo]:
        """Somebody wants it undone."""
        with self.world.warehouse.transaction() as connection:
            return want_undo(connection, self.cycle_id, field, self.people[person] if person else None)

    def titles(self) -> dict[str, tuple[str | None, str | None]]:
        return {key: self.world.both(person_id, "title") for key, person_id in self.people.items()}


def verdicts(undos: list[Undo], undone: Undone, field: str = "title") -> dict[str, str]:
    keys = {person_id: key for key, person_id in undone.people.items()}
    return {keys[each.person_id or 0]: each.verdict for each in undos if each.field == field}


def test_the_other_side_gets_back_what_it_held_and_the_next_cycle_writes_it_neither_way() -> None:
    """Of every type, in both directions; the editor's side and the base stay, and twice does nothing."""
    undone = Undone("x")
    world = undone.world
    assert {each.verdict for each in undone.ask()} == {"ours"}
    world.cycle()
    assert undone.titles() == {"d-x": ("B", "A"), "m-x": ("A", "B")}
    for key, person_id in undone.people.items():
        is_theirs = key == "d-x"
        assert world.both(person_id, "rating") == (("2", "Hot") if is_theirs else ("1", "Warm"))
        assert world.both(person_id, "doNotCall") == (("true", "false") if is_theirs else ("false", "true"))
        assert world.base(person_id, "title") == "B"
    assert {row[0] for row in world.rows("select reason_code from state.standing_differences")} == {"undo"}
    changes = world.rows(
        "select direction, old_value, new_value from ledger.changes where rule_code = 'undo' and field = 'title'"
    )
    assert sorted(changes) == [("to_dynamics", "B", "A"), ("to_marketo", "B", "A")]
    assert world.rows("from state.undoing") == []
    assert world.settled() == 0
    before = world.ledger()
    assert {each.verdict for each in undone.ask()} == {"written_since"}
    undo_cycle, undone.cycle_id = undone.cycle_id, world.rows("select max(cycle_id) from ledger.changes")[0][0]
    assert {each.verdict for each in undone.ask()} == {"edited_since"}, (
        "the two stand unequal, so that nothing is to undo"
    )
    undone.cycle_id = undo_cycle
    assert world.settled() == 0
    assert world.ledger() == before


def test_what_was_undone_ends_when_either_side_is_edited() -> None:
    undone = Undone("dynamics", "marketo", "other")
    world = undone.world
    undone.ask("title")
    world.cycle()
    for side in ("d", "m"):
        world.dynamics.put(LEAD, f"{side}-dynamics", jobtitle="C")
        world.marketo.put(undone.people[f"{side}-marketo"], title="C")
        world.dynamics.put(LEAD, f"{side}-other", address1_city="C")
    world.settled()
    assert undone.titles() == {
        **dict.fromkeys(("d-dynamics", "d-marketo", "m-dynamics", "m-marketo"), ("C", "C")),
        "d-other": ("B", "A"),
        "m-other": ("A", "B"),
    }


def test_what_was_edited_or_written_since_is_left_whenever_that_was() -> None:
    """Before somebody asks, before the cycle reads, or while it writes; on either side."""
    undone = Undone("ours", "written", "edited", "read", "unseen", "back")
    world, people = undone.world, undone.people

    def edit(name: str, value: str) -> None:
        world.dynamics.put(LEAD, f"m-{name}", jobtitle=value)
        world.marketo.put(people[f"d-{name}"], title=value)

    edit("written", "C")
    edit("back", "C")
    world.settled()
    edit("back", "B")
    world.settled()
    edit("edited", "C")
    world.cycle(cut_after=12)
    found = verdicts(undone.ask("title"), undone)
    assert {found[f"{side}-{name}"] for side in "dm" for name in ("written", "back")} == {"written_since"}
    edit("read", "C")
    with world.opened() as cycle:
        read_all(cycle)
        cycle.reconcile()
        edit("unseen", "C")
        cycle.write_dynamics()
        cycle.write_marketo()
    world.settled()
    assert undone.titles() == {
        "d-ours": ("B", "A"),
        "m-ours": ("A", "B"),
        **{f"{side}-{name}": ("C", "C") for side in "dm" for name in ("written", "edited", "read", "unseen")},
        "d-back": ("B", "B"),
        "m-back": ("B", "B"),
    }


def test_an_edit_that_was_taken_back_since_is_an_edit() -> None:
    """Both sides hold our value again, and somebody did that on purpose: what a mirror was seen to hold in between tells it."""
    undone = Undone("x", "y")
    world = undone.world
    world.dynamics.put(LEAD, "m-x", jobtitle="C")
    with world.opened() as cycle:
        read_all(cycle)  # and killed before the plan
    world.dynamics.put(LEAD, "m-x", jobtitle="B")
    world.settled()
    found = verdicts(undone.ask("title"), undone)
    assert found == {"d-x": "ours", "m-x": "edited_since", "d-y": "ours", "m-y": "ours"}


def test_an_undo_that_is_cut_anywhere_is_done_once() -> None:
    undone = Undone("x")
    world = undone.world
    for n, cut_after in enumerate(range(4, 28, 4)):
        world.dynamics.put(LEAD, "d-x", address1_city=f"C{n}")
        world.marketo.put(undone.people["m-x"], city=f"C{n}")
        world.settled()
        undone.cycle_id = world.rows("select max(cycle_id) from ledger.changes where rule_code <> 'undo'")[0][0]
        held = [world.both(person_id, "city")[0] for person_id in undone.people.values()]
        assert held == [f"C{n}"] * 2
        undone.ask("city")
        world.cycle(cut_after=cut_after)
        world.settled()
        found = world.rows(
            "select person_id, old_value, new_value from ledger.changes where rule_code = 'undo' order by entry_id"
        )
        before = "A" if n == 0 else f"C{n - 1}"
        sides = [world.both(person_id, "city") for person_id in undone.people.values()]
        assert sides == [(f"C{n}", before), (before, f"C{n}")], cut_after
        assert len(found) == 2 * (n + 1), cut_after
        assert world.rows("from state.undoing") == []
        # Both sides agree again, for the next cut.
        world.marketo.put(undone.people["d-x"], city=f"C{n}")
        world.dynamics.put(LEAD, "m-x", address1_city=f"C{n}")
        world.settled()


def test_new_people_and_the_syncs_own_fields_are_listed_and_left() -> None:
    world = MemoryWorld(FIELDS)
    world.dynamics.put(LEAD, "new", jobtitle="B")
    world.cycle()
    (cycle_id,) = world.rows("select max(cycle_id) from ledger.changes")[0]
    with world.warehouse.transaction() as connection:
        found = want_undo(connection, cycle_id, None, None)
    assert {each.verdict for each in found} == {"created"}
    assert world.settled() == 0


def test_undoing_for_many_wants_a_word_of_its_own() -> None:
    many = [Undo(number, "lead", "r", "title", "to_marketo", "A", "B", "ours") for number in range(51)]
    world = MemoryWorld(FIELDS)
    with world.warehouse.reading() as connection:
        with pytest.raises(GuardStopped, match="51 people"):
            stop_on_much_undone(connection, many, 0.2)
        stop_on_much_undone(connection, many[:50], 0.2)


def test_a_refused_undo_is_told_and_not_repeated() -> None:
    undone = Undone("x")
    world = undone.world
    undone.ask("title")

    def refuse(key: str, values: Values) -> ApiError | None:
        field = next((name for name, value in values.items() if value == "A"), None)
        return RequestRefused("no", system="dynamics", request="write", code="1", field=field) if field else None

    world.dynamics.refuses = world.marketo.refuses = refuse
    world.cycle()
    assert undone.titles() == {"d-x": ("B", "B"), "m-x": ("B", "B")}
    assert world.rows("from state.undoing") == []
    assert len(world.errors()) == 2
    assert world.settled() == 0


def test_what_was_undone_stands_also_where_the_field_was_parked_or_out_of_the_map_meanwhile() -> None:
    """What it got back is no edit when the field comes back: it would be written to the editor's own side."""
    undone = Undone("x")
    world = undone.world
    undone.ask("title")
    world.settled()
    stood = undone.titles()
    world.dynamics.hidden = {"jobtitle"}
    world.follow(FIELDS)
    world.settled()
    world.dynamics.hidden = set()
    world.follow(FIELDS)
    world.settled()
    assert undone.titles() == stood == {"d-x": ("B", "A"), "m-x": ("A", "B")}
    world.follow(field_map("city,address1_city,text,both,true"))
    for key in undone.people:
        world.dynamics.put(LEAD, key, address1_city="touched")
    world.settled()
    world.follow(FIELDS)
    world.settled()
    assert undone.titles() == stood


def test_what_was_undone_of_a_one_way_field_ends_with_an_edit_of_that_field_and_of_no_other() -> None:
    """Any other difference of such a field gives way as soon as its record moves (R43, R44)."""
    world = MemoryWorld(
        field_map(
            "source,new_source,text,to_marketo,true",
            "leadScore,mkt_leadscore,integer,to_dynamics,true",
            "city,address1_city,text,both,true",
        )
    )
    people = {kind: world.link(kind, f"x-{kind}", source="A", leadScore="1", city="A") for kind in (CONTACT, LEAD)}
    world.settled()
    for kind, person_id in people.items():
        world.dynamics.put(kind, f"x-{kind}", new_source="B")
        world.marketo.put(person_id, leadScore="2")
    world.settled()
    (cycle_id,) = world.rows("select max(cycle_id) from ledger.changes")[0]
    with world.warehouse.transaction() as connection:
        assert {each.verdict for each in want_undo(connection, cycle_id, None, None)} == {"ours"}
    world.settled()
    for city in "BC":
        for kind, person_id in people.items():
            if city == "B":
                world.dynamics.put(kind, f"x-{kind}", address1_city=city)
            else:
                world.marketo.put(person_id, city=city)
        world.settled()
        for person_id in people.values():
            assert (world.both(person_id, "source"), world.both(person_id, "leadScore")) == (("B", "A"), ("1", "2"))
    for kind, person_id in people.items():
        world.dynamics.put(kind, f"x-{kind}", new_source="C")
        world.marketo.put(person_id, leadScore="3")
    world.settled()
    for person_id in people.values():
        assert (world.both(person_id, "source"), world.both(person_id, "leadScore")) == (("C", "C"), ("3", "3"))


@pytest.mark.parametrize(("key", "cut_after"), sampled([("m", 27), ("d", 34), ("m", 28), ("d", 33)], 2))
def test_an_undo_that_was_cut_stands_also_where_its_field_left_the_map_before_the_next_cycle(
    key: str, cut_after: int
) -> None:
    """Nobody reads the field when the cut is looked at: before the answer was kept, and before it was settled."""
    city = "city,address1_city,text,both,true"
    world = MemoryWorld(field_map("title,jobtitle,text,both,true", city))
    people = {name: world.link(LEAD, name, title="A", city="A") for name in "dm"}
    world.settled()
    world.dynamics.put(LEAD, "d", jobtitle="B")
    world.marketo.put(people["m"], title="B")
    world.settled()
    (cycle_id,) = world.rows("select max(cycle_id) from ledger.changes")[0]
    with world.warehouse.transaction() as connection:
        want_undo(connection, cycle_id, None, None)
    world.cycle(cut_after=cut_after)
    stood = world.both(people[key], "title")
    assert stood == {"d": ("B", "A"), "m": ("A", "B")}[key], "it was cut after the write"
    world.follow(field_map(city))
    for name in people:
        world.dynamics.put(LEAD, name, address1_city="touched")
    world.settled()
    world.follow(field_map("title,jobtitle,text,both,true", city))
    world.settled()
    assert world.both(people[key], "title") == stood


def test_an_undo_that_is_put_off_is_tried_at_growing_gaps_and_at_once_where_somebody_asks_again() -> None:
    undone = Undone("x")
    world = undone.world
    undone.ask("title")
    tries: list[str] = []

    def put_off(key: str, values: Values) -> ApiError | None:
        if "A" not in values.values():
            return None
        tries.append(key)
        return RateLimited("slow down", system="dynamics", request="write", code="429", retry_after_s=None)

    world.dynamics.refuses = world.marketo.refuses = put_off
    for n_tries in (2, 4, 4, 6, 6, 6):  # five minutes a cycle
        world.cycle()
        assert len(tries) == n_tries
    undone.ask("title")
    world.cycle()
    assert len(tries) == 8
    world.dynamics.put(LEAD, "d-x", jobtitle="C")
    world.dynamics.refuses = world.marketo.refuses = lambda key, values: None
    world.clock += timedelta(hours=1)
    world.settled()
    assert undone.titles() == {"d-x": ("C", "C"), "m-x": ("A", "B")}
    assert world.rows("from state.undoing") == []


def test_an_undo_follows_the_new_label_of_an_option_that_is_renamed_before_the_next_cycle() -> None:
    """Of the option that was written, or of the one that comes back; the new label is no edit of anybody."""
    undone = Undone("x")
    world = undone.world
    world.dynamics.options.update({"1": "Boiling", "2": "Tepid"})
    undone.ask("rating")
    world.clock += timedelta(days=1)
    world.settled()
    assert world.both(undone.people["d-x"], "rating") == ("2", "Boiling")
    assert world.both(undone.people["m-x"], "rating") == ("1", "Tepid")
    assert world.settled() == 0


def test_an_undo_that_waits_is_dropped_where_its_link_ended_and_the_two_meet_anew() -> None:
    """R83: whose record came back meets as for the first time, and nobody knows any more whose value it is."""
    undone = Undone("x")
    world = undone.world
    person_id = undone.people["d-x"]
    undone.ask("title", "d-x")
    slow = RateLimited("slow", system="marketo", request="write", code="606", retry_after_s=3_600.0)
    world.marketo.refuses = lambda _, values: slow if "title" in values else None
    world.cycle()
    assert world.rows("select person_id from state.undoing") == [(person_id,)]
    world.marketo.refuses = lambda *_: None
    held = dict(world.dynamics.rows[LEAD, "d-x"].values)
    world.dynamics.delete(LEAD, "d-x")
    world.cycle()
    assert (person_id,) not in world.rows("select person_id from state.links")
    world.clock += timedelta(hours=3)
    world.dynamics.rows.pop((LEAD, "d-x"))
    world.dynamics.put(LEAD, "d-x", **held)
    world.settled()
    assert (person_id,) in world.rows("select person_id from state.links")
    assert world.both(person_id, "title") == ("B", "B")
    assert world.rows("from state.undoing") == []
