"""Option sets with several choices: their labels in one text in Marketo, numbers in Dynamics, in any order (R29, R33)."""

from __future__ import annotations

from datetime import timedelta

from dynsync_pipeline.model.field_map import parse_field_map
from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import HEADER, MemoryWorld, field_map

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
TYPES = (CONTACT, LEAD)
FIELDS = field_map("topics,new_topics,choices,both,true", "phone,telephone1,text,both,true")


def renamed(world: MemoryWorld, **labels: str) -> None:
    """An administrator renames options; the next cycle learns it."""
    world.dynamics.options.update({name.removeprefix("n"): label for name, label in labels.items()})
    world.clock += timedelta(days=1)


@story
def test_each_system_is_given_its_own_spelling_and_the_ledger_shows_labels() -> None:
    world = MemoryWorld(FIELDS)
    down, up, bare = (world.link(CONTACT, name, topics="1") for name in ("down", "up", "bare"))
    world.dynamics.put(LEAD, "new", new_topics="3,1")
    world.settled()
    world.dynamics.put(CONTACT, "down", new_topics="3,2")
    world.marketo.put(up, topics="Cold;Hot ; Hot")
    world.marketo.put(bare, topics=None)
    assert world.settled() > 0
    assert world.both(down, "topics") == ("3,2", "Warm; Cold")
    assert world.both(up, "topics") == ("1,3", "Cold;Hot ; Hot")
    assert world.both(bare, "topics") == (None, None)
    assert world.both(bare + 1, "topics") == ("3,1", "Hot; Cold")
    assert world.base(up, "topics") == "1,3"
    assert sorted(world.rows("select direction, old_value, new_value from ledger.changes"), key=str) == [
        ("to_dynamics", "Hot", "Hot; Cold"),
        ("to_dynamics", "Hot", None),
        ("to_marketo", "Hot", "Warm; Cold"),
        ("to_marketo", None, "Hot; Cold"),
    ]
    assert world.errors() == world.standing() == []


def test_the_order_of_choices_is_no_edit_and_no_collision() -> None:
    world = MemoryWorld(FIELDS)
    people = {record_type: world.link(record_type, record_type, topics="1,2") for record_type in TYPES}
    world.settled()
    for record_type, person_id in people.items():
        world.dynamics.put(record_type, record_type, new_topics="2,1")
        world.marketo.put(person_id, topics="Warm ;Hot;")
    assert world.settled() == 0
    for record_type, person_id in people.items():
        assert world.both(person_id, "topics") == ("2,1", "Warm ;Hot;")
        world.dynamics.put(record_type, record_type, new_topics="3,1,2")
        world.marketo.put(person_id, topics="Cold; Warm; Hot")
    world.settled()
    assert world.ledger() == {"changes": [], "collisions": []}
    assert {world.base(person_id, "topics") for person_id in people.values()} == {"1,2,3"}


@story
def test_two_edits_collide_as_a_whole() -> None:
    """R35 knows values, and no sets: choices of the two sides are not put together."""
    world = MemoryWorld(FIELDS)
    people = {record_type: world.link(record_type, record_type, topics="1") for record_type in TYPES}
    world.settled()
    for record_type, person_id in people.items():
        world.dynamics.put(record_type, record_type, new_topics="1,2")
        world.marketo.put(person_id, topics="Hot; Cold")
    world.settled()
    assert world.both(people[CONTACT], "topics") == ("1,2", "Hot; Warm")
    assert world.both(people[LEAD], "topics") == ("1,3", "Hot; Cold")
    assert sorted(row[4:8] for row in world.ledger()["collisions"]) == [
        ("Hot", "Hot; Warm", "Hot; Cold", "dynamics"),
        ("Hot", "Hot; Warm", "Hot; Cold", "marketo"),
    ]


@story
def test_a_text_with_one_unknown_label_is_refused_as_a_whole_and_holds_nothing_back() -> None:
    world = MemoryWorld(FIELDS)
    texts = ("Hot; Boiling", "hot; Warm", "Hot, Warm", ";", "1,2")
    people = [world.link(LEAD, f"r{place}", topics="1", phone="1") for place in range(len(texts))]
    world.settled()
    for person_id, text in zip(people, texts, strict=True):
        world.marketo.put(person_id, topics=text, phone="2")
    world.settled()
    assert [world.both(person_id, "topics") for person_id in people] == [("1", text) for text in texts]
    assert {world.both(person_id, "phone") for person_id in people} == {("2", "2")}
    assert {row[1:4] for row in world.errors()} == {("topics", "to_dynamics", "unknown_option")}
    assert len(world.errors()) == len(texts)
    world.marketo.put(people[0], topics="Warm; Hot")
    world.settled()
    assert world.both(people[0], "topics") == ("1,2", "Warm; Hot")
    assert [row[5] for row in world.errors() if row[0] == "r0"] == ["resolved"]


@story
def test_a_renamed_label_reaches_whoever_bears_it_among_others_and_is_no_edit() -> None:
    world = MemoryWorld(FIELDS)
    bearers, others, edited = (
        [world.link(record_type, f"{record_type} {numbers}", topics=numbers) for record_type in TYPES]
        for numbers in ("1,2", "1,3", "2,3")
    )
    world.settled()
    renamed(world, n2="Tepid")
    for person_id in edited:
        world.marketo.put(person_id, topics="Warm; Hot")
    world.settled()
    assert {world.both(person_id, "topics") for person_id in bearers} == {("1,2", "Hot; Tepid")}
    assert {world.both(person_id, "topics") for person_id in others} == {("1,3", "Hot; Cold")}
    assert {world.both(person_id, "topics") for person_id in edited} == {("1,2", "Hot; Tepid")}, (
        "understood, and renewed"
    )
    assert world.ledger()["collisions"] == world.errors() == world.rows("from state.old_labels") == []
    assert [values["new_topics"] for _, values in world.dynamics.writes] == ["1,2", "1,2"]


@story
def test_labels_that_are_swapped_renamed_back_or_removed_move_no_number() -> None:
    world = MemoryWorld(FIELDS)
    both, one = world.link(CONTACT, "r1", topics="1,2"), world.link(LEAD, "r2", topics="1,3")

    def held() -> tuple[tuple[str | None, str | None], ...]:
        return world.both(both, "topics"), world.both(one, "topics")

    world.settled()
    renamed(world, n1="Warm", n2="Hot")
    world.settled()
    assert held() == (("1,2", "Hot; Warm"), ("1,3", "Warm; Cold"))
    renamed(world, n1="Hot", n2="Warm")
    world.settled()
    assert held() == (("1,2", "Hot; Warm"), ("1,3", "Hot; Cold"))
    del world.dynamics.options["3"]
    world.clock += timedelta(days=1)
    assert world.settled() == 0
    assert held() == (("1,2", "Hot; Warm"), ("1,3", "Hot; Cold"))
    assert world.dynamics.writes == world.errors() == world.ledger()["collisions"] == []


@story
def test_a_label_with_a_semicolon_has_a_comma_in_marketo() -> None:
    """Else nobody could tell where it ends."""
    world = MemoryWorld(FIELDS)
    world.dynamics.options["4"] = "Snow; ice "
    down, up = world.link(CONTACT, "down", topics="1"), world.link(CONTACT, "up", topics="1")
    world.settled()
    world.dynamics.put(CONTACT, "down", new_topics="2,4")
    world.marketo.put(up, topics="Snow, ice; Cold")
    world.settled()
    assert world.both(down, "topics") == ("2,4", "Warm; Snow, ice")
    assert world.both(up, "topics") == ("3,4", "Snow, ice; Cold")
    assert world.standing() == world.errors() == []


@story
def test_labels_that_do_not_fit_the_field_wait_and_are_not_cut() -> None:
    """R117: of numbers that is not known before they are labels."""
    world = MemoryWorld(FIELDS)
    world.marketo.lengths["topics"] = len("Hot; Warm")
    person_id = world.link(CONTACT, "r", topics="1", phone="1")
    world.settled()
    world.dynamics.put(CONTACT, "r", new_topics="1,2,3", telephone1="2")
    world.dynamics.put(LEAD, "new", new_topics="1,2,3", telephone1="2")
    world.settled()
    assert world.both(person_id, "topics") == ("1,2,3", "Hot")
    assert world.both(person_id, "phone") == ("2", "2")
    assert sorted(row[:4] for row in world.errors()) == [
        ("new", "topics", "to_marketo", "too_long"),
        ("r", "topics", "to_marketo", "too_long"),
    ]
    world.dynamics.put(CONTACT, "r", new_topics="2,1")
    world.settled()
    assert world.both(person_id, "topics") == ("2,1", "Hot; Warm")


@story
def test_a_cut_while_choices_are_written_loses_and_doubles_nothing() -> None:
    world = MemoryWorld(FIELDS)
    down, up = world.link(CONTACT, "down", topics="1"), world.link(LEAD, "up", topics="1")
    world.settled()
    for cut_after, (numbers, labels) in enumerate((("3,2", "Cold; Warm"), ("1", "Hot"), ("2,1", "Warm; Hot")), 1):
        world.dynamics.put(CONTACT, "down", new_topics=numbers)
        world.marketo.put(up, topics=labels)
        world.cycle(cut_after=cut_after)
        world.settled()
        assert world.base(down, "topics") == world.base(up, "topics") == ",".join(sorted(numbers.split(",")))
        assert len(world.ledger()["changes"]) == 2 * cut_after
    assert world.both(down, "topics") == ("2,1", "Hot; Warm")
    assert world.both(up, "topics") == ("1,2", "Warm; Hot")
    assert world.ledger()["collisions"] == world.standing() == []


@story
def test_a_company_gets_the_labels_of_its_account_and_their_order_is_no_difference() -> None:
    lines = "account,company,name,text,to_marketo,true\naccount,segments,new_segments,choices,to_marketo,true\n"
    world = MemoryWorld(parse_field_map(HEADER + lines + "contact,title,jobtitle,text,both,true\n", "test.csv"))
    world.dynamics.put(RecordType.ACCOUNT, "a1", name="Contoso", new_segments="3,1", statecode="0")
    world.settled()
    assert world.marketo.company_rows["a1"]["segments"] == "Hot; Cold"
    renamed(world, n1="Boiling")
    world.settled()
    assert world.marketo.company_rows["a1"]["segments"] == "Boiling; Cold"
    world.marketo.put_company("a1", segments="Cold; Boiling")
    world.dynamics.put(RecordType.ACCOUNT, "a1", name="Contoso")
    assert world.settled() == 0
