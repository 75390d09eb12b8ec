"""What reaches more people than may be unasked waits until somebody approves it, and everything else goes on.

Not here: the command (`cli/test_approve.py`).
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.warehouse.approvals import approve_causes, approve_values
from dynsync_pipeline_tests.properties.effort import deep, sampled, story
from dynsync_pipeline_tests.worlds.memory import WITH_COLLISION, MemoryWorld, field_map

pytestmark = story

ACCOUNT, CONTACT, LEAD = RecordType.ACCOUNT, RecordType.CONTACT, RecordType.LEAD
FIELDS = field_map(
    "title,jobtitle,text,both,true",
    "city,address1_city,text,both,true",
    "rating,new_rating,choice,both,true",
    "unsubscribed,donotbulkemail,boolean,both,true,restrictive:true",
)
HELD = {"title": "A", "city": "A", "rating": "1", "unsubscribed": "false"}
OF_ACCOUNTS = parse_field_map(
    f"{WITH_COLLISION}account,company,name,text,to_marketo,true,\naccount,billingCity,address1_city,text,to_marketo,true,\n"
    "contact,title,jobtitle,text,both,true,\nlead,title,jobtitle,text,both,true,\n",
    "map",
)
COUNTED = (
    "select cause, cause_name, direction, n_people, count(*) from state.approvals where approved_at is null "
    "group by all order by all"
)


def asking(limit: int | None, *names: str) -> tuple[MemoryWorld, dict[str, int]]:
    """A world with such a limit, in which these leads are linked and agree in all fields."""
    world = MemoryWorld(FIELDS, publishes=True)
    people = {name: world.link(LEAD, name, **HELD) for name in names}
    world.settled()
    world.allow(ask_above=limit)
    return world, people


def yes(world: MemoryWorld) -> int:
    """Somebody approves all that waits."""
    with world.warehouse.transaction() as connection:
        return approve_causes(connection, None, "somebody", world.warehouse.now())


def titles(world: MemoryWorld, people: dict[str, int]) -> dict[str, tuple[str | None, str | None]]:
    return {name: world.both(person_id, "title") for name, person_id in people.items()}


def test_only_what_is_above_the_limit_waits_and_once_approved_it_is_written() -> None:
    """By field and direction: other fields of the same people go on, and as many people as the limit, and what forbids."""
    world, people = asking(2, *"abcdef")
    for name in "abc":
        world.dynamics.put(LEAD, name, jobtitle="B", new_rating="2", donotbulkemail="true")
        world.marketo.put(people[name], city="C")
    for name in "de":
        world.marketo.put(people[name], title="B")
    world.cycle()
    assert world.rows(COUNTED) == [
        ("field", "city", "to_dynamics", 3, 3),
        ("field", "rating", "to_marketo", 3, 3),
        ("field", "title", "to_marketo", 3, 3),
    ]
    waiting = dict.fromkeys("abc", ("B", "A")) | dict.fromkeys("de", ("B", "B")) | {"f": ("A", "A")}
    assert titles(world, people) == waiting
    assert world.both(people["a"], "unsubscribed") == ("true", "true")
    assert world.rows("select distinct reason_code, code from state.unsettled") == [("waiting_for_approval", None)]
    assert world.rows("select distinct old_value, new_value from state.approvals where field = 'rating'") == [
        ("Hot", "Warm")
    ]
    world.dynamics.put(LEAD, "a", description="touched")
    assert world.settled() == 0
    numbers = world.rows("select distinct approval_id from state.approvals where field = 'title'")
    with world.warehouse.transaction() as connection:
        assert approve_causes(connection, [numbers[0][0]], "somebody", world.warehouse.now()) == 3
    assert world.settled() == 1
    assert titles(world, people) == waiting | dict.fromkeys("abc", ("B", "B"))
    assert world.both(people["a"], "rating") == ("2", "Hot")
    assert yes(world) == 6
    assert world.settled() == 1
    assert [world.both(people["b"], name) for name in ("city", "rating")] == [("C", "C"), ("2", "Warm")]
    assert world.rows("from state.approvals") == []
    assert world.rows("from state.unsettled") == []


def test_what_was_edited_since_is_decided_anew_and_asked_of_only_where_it_is_too_large_by_itself() -> None:
    """Before the word or after it, on either side; what is taken back waits no more; a part may be approved by itself."""
    world, people = asking(2, *"abcdefgh")
    for name in "abcdefgh":
        world.dynamics.put(LEAD, name, jobtitle="B")
    world.cycle()
    (number,) = world.rows("select distinct approval_id from state.approvals")[0]
    world.dynamics.put(LEAD, "a", jobtitle="C")
    world.dynamics.put(LEAD, "b", jobtitle="A")
    world.marketo.put(people["c"], title="M")
    world.cycle()
    assert {name: titles(world, people)[name] for name in "abcd"} == {
        "a": ("C", "C"), "b": ("A", "A"), "c": ("M", "M"), "d": ("B", "A"),
    }  # fmt: skip
    world.dynamics.put(LEAD, "h", jobtitle="D")
    world.settled()
    assert world.rows(COUNTED) == [("field", "title", "to_marketo", 8, 4)]
    value = ("lead", "d", "title", "to_marketo", "A", "B")
    with world.warehouse.transaction() as connection:
        chosen = [value, ("lead", "e", "title", "to_marketo", "A", "other"), ("lead", "a", *value[2:])]
        assert approve_values(connection, chosen, "somebody", world.warehouse.now()) == 1
    world.settled()
    assert titles(world, people)["d"] == ("B", "B")
    yes(world)
    for name in "efg":
        world.dynamics.put(LEAD, name, jobtitle="E")
    world.settled()
    assert {titles(world, people)[name] for name in "efg"} == {("E", "A")}
    assert world.rows(COUNTED) == [("field", "title", "to_marketo", 3, 3)]
    assert number not in [row[0] for row in world.rows("select distinct approval_id from state.approvals")]


def test_a_limit_that_is_raised_or_taken_away_lets_go_what_waits() -> None:
    world, people = asking(2, *"abc")
    for limit, value in ((3, "B"), (None, "C")):
        world.allow(ask_above=2)
        for name in "abc":
            world.dynamics.put(LEAD, name, jobtitle=value)
        world.settled()
        assert world.both(people["a"], "title")[1] != value
        world.allow(ask_above=limit)
        world.settled()
        assert world.both(people["a"], "title") == (value, value)


@deep
def test_a_field_that_is_parked_before_the_next_cycle_keeps_its_word() -> None:
    world, people = asking(2, *"abc")
    for name in "abc":
        world.dynamics.put(LEAD, name, jobtitle="B")
    world.settled()
    yes(world)
    world.dynamics.hidden = {"jobtitle"}
    world.follow(FIELDS)
    world.settled()
    assert world.both(people["a"], "title") == ("B", "A")
    world.dynamics.hidden = set()
    world.follow(FIELDS)
    world.settled()
    assert world.both(people["a"], "title") == ("B", "B")
    assert world.rows("from state.approvals") == []


@pytest.mark.parametrize("cut_after", sampled([26, 20, 22, 24, 28, 30, 32], 1))
def test_a_cut_neither_asks_twice_nor_writes_what_nobody_approved(cut_after: int) -> None:
    world, people = asking(2, *"abcd")
    for name in "abc":
        world.dynamics.put(LEAD, name, jobtitle="B")
        world.marketo.put(people[name], city="B")
    world.cycle(cut_after=cut_after)
    world.settled()
    assert [world.both(people["a"], name) for name in ("title", "city")] == [("B", "A"), ("A", "B")]
    yes(world)
    world.dynamics.put(LEAD, "d", jobtitle="D")
    world.cycle(cut_after=cut_after)
    world.settled()
    assert [world.both(people["a"], name) for name in ("title", "city")] == [("B", "B"), ("B", "B")]
    assert world.rows("from state.approvals") == []
    assert world.rows("select count(*) from ledger.changes where field in ('title', 'city')") == [(7,)]


WAITING = [("account", "large", "to_marketo", 3, 1), ("create", "contact", "to_marketo", 3, 3)]


def waiting(cut_after: int) -> MemoryWorld:
    """An account of three contacts and three new contacts wait, though the cycle that found them was killed."""
    world = MemoryWorld(OF_ACCOUNTS, publishes=True)
    world.dynamics.put(ACCOUNT, "large", name="A", address1_city="A", statecode="0")
    for number in range(3):
        world.dynamics.put(CONTACT, f"c{number}", jobtitle="A", _parentcustomerid_value="large")
    world.settled()
    world.allow(ask_above=2)
    world.dynamics.put(ACCOUNT, "large", name="B")
    for number in range(3):
        world.dynamics.put(CONTACT, f"new{number}", jobtitle="N")
    world.cycle(cut_after=cut_after)
    world.settled()
    assert (world.rows(COUNTED), len(world.marketo.rows)) == (WAITING, 3)
    return world


@pytest.mark.parametrize("cut_after", sampled([24, 16, 20, 28, 32, 36], 1))
def test_a_cut_writes_neither_an_account_nor_new_people_unasked_and_none_of_them_twice(cut_after: int) -> None:
    world = waiting(cut_after)
    assert world.marketo.company_rows["large"]["company"] == "A"
    yes(world)
    world.dynamics.put(CONTACT, "c0", jobtitle="B")
    world.cycle(cut_after=cut_after)
    world.settled()
    assert (world.marketo.company_rows["large"]["company"], len(world.marketo.rows)) == ("B", 6)
    assert world.rows("from state.approvals") == []
    assert world.rows("select count(*) from ledger.account_changes where new_value = 'B'") == [(1,)]


def test_new_people_wait_each_with_its_whole_record_and_approved_ones_pass_the_guards() -> None:
    world, _ = asking(2, "a")
    world.allow(max_creates=2, largest_share=0.2)
    for name in ("new", "newer", "newest"):
        world.dynamics.put(LEAD, name, jobtitle="N")
    world.settled()
    assert world.rows(COUNTED) == [("create", "lead", "to_marketo", 3, 3)]
    assert len(world.marketo.rows) == 1
    world.dynamics.put(LEAD, "new", jobtitle="M")
    world.dynamics.put(LEAD, "single", jobtitle="S")
    world.dynamics.delete(LEAD, "newest")
    assert world.settled() == 1
    assert len(world.marketo.rows) == 2, "one alone is not above the limit; an edit makes nobody of who waits"
    assert world.rows(COUNTED) == [("create", "lead", "to_marketo", 3, 2)]
    world.dynamics.put(LEAD, "another", jobtitle="N")
    assert yes(world) == 2
    assert world.settled() == 1
    assert len(world.marketo.rows) == 5
    assert world.rows("from state.approvals") == world.rows("from state.unsettled") == []


def test_an_account_waits_with_its_whole_row_where_it_or_one_field_of_many_reaches_too_many() -> None:
    world = MemoryWorld(OF_ACCOUNTS, publishes=True)
    for name, n in {"large": 3, "one": 2, "two": 2, "empty": 0}.items():
        world.dynamics.put(ACCOUNT, name, name=name, address1_city="A", statecode="0")
        for number in range(n):
            world.dynamics.put(CONTACT, f"{name}{number}", jobtitle="A", _parentcustomerid_value=name)
    world.settled()
    world.allow(ask_above=2)

    def company(key: str) -> tuple[str | None, str | None]:
        values = world.marketo.company_rows[key]
        return values.get("company"), values.get("billingCity")

    world.dynamics.put(ACCOUNT, "large", name="Large")
    world.dynamics.put(ACCOUNT, "empty", name="Empty")
    world.dynamics.put(ACCOUNT, "one", name="One")
    world.cycle()
    assert world.rows(COUNTED) == [("account", "large", "to_marketo", 3, 1), ("field", "company", "to_marketo", 5, 1)]
    assert company("empty") == ("Empty", "A")
    assert company("one") == ("one", "A")
    world.dynamics.put(ACCOUNT, "one", address1_city="B")
    world.dynamics.put(ACCOUNT, "two", address1_city="B")
    world.settled()
    assert world.rows("select dynamics_id, field from state.approvals order by all") == [
        ("large", "company"), ("one", "billingCity"), ("one", "company"), ("two", "billingCity"),
    ]  # fmt: skip
    with world.warehouse.transaction() as connection:
        chosen = [("account", "one", "company", "to_marketo", "one", "One")]
        assert approve_values(connection, chosen, "somebody", world.warehouse.now()) == 1
    world.settled()
    assert company("one") == ("one", "A"), "a company is written whole"
    yes(world)
    world.dynamics.put(ACCOUNT, "large", name="Larger")
    world.settled()
    assert [company(key) for key in ("one", "two", "large")] == [("One", "B"), ("two", "B"), ("large", "A")]
    assert world.rows(COUNTED) == [("account", "large", "to_marketo", 3, 1)]
    yes(world)
    world.settled()
    assert company("large") == ("Larger", "A")
    assert world.rows("from state.approvals") == world.rows("from state.unsettled") == []


def test_a_word_on_a_new_label_is_none_on_the_label_after_it() -> None:
    """R33: the number stays, so that only what would be written tells one renaming from the next."""
    world, people = asking(2, *"abc")
    for label in ("Chilly", "Frosty"):
        world.dynamics.options["1"] = label
        world.clock += timedelta(days=1)  # after which the next cycle learns it
        world.settled()
        assert world.rows(COUNTED) == [("field", "rating", "to_marketo", 3, 3)]
        assert {world.marketo.rows[person].values["rating"] for person in people.values()} == {"Hot"}
        yes(world)
    world.settled()
    assert {world.marketo.rows[person].values["rating"] for person in people.values()} == {"Frosty"}
    assert world.rows("from state.approvals") == []


def test_what_many_lose_waits_like_what_they_get_and_is_emptied_once_approved() -> None:
    world, people = asking(2, *"abc")
    for name in people:
        world.dynamics.put(LEAD, name, jobtitle=None)
    world.settled()
    assert set(titles(world, people).values()) == {(None, "A")}
    assert yes(world) == 3
    world.settled()
    assert set(titles(world, people).values()) == {(None, None)}
    assert world.rows("from state.approvals") == world.rows("from state.unsettled") == []
