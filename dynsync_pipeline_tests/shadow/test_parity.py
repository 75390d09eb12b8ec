"""What parity makes of a native sync's writes: every planted difference is found, and none is invented.

In memory, beside a script in the place of the native sync; what it wrote is there before DynSync looks, unless a test says
otherwise. Not here: that shadow writes nothing (`clients/test_shadow.py`), the switch-over (`test_switch_over.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline_tests.properties.effort import story
from dynsync_pipeline_tests.worlds.memory import SAME_FOR_BOTH_TYPES, MemoryWorld, field_map, read_all
from dynsync_pipeline_tests.worlds.native_sync import SOURCE, USER, Carried, MemoryWire, NativeSync, Pair, Rule
from dynsync_pipeline_tests.worlds.rows import labels_of

pytestmark = story

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
MAP = field_map(
    *SAME_FOR_BOTH_TYPES, "nick,new_nick,text,both,true,marketo", "memo,new_memo,text,both,true,never_clear"
)
COLUMNS = {field.marketo_field: field.dynamics_column for field in MAP.of(CONTACT)}
BEGINNING = {
    "title": "A", "phone": "1", "doNotCall": "false", "revenue": "1.5", "employees": "3", "birth": "2000-01-01",
    "rating": "1", "source": "S", "leadScore": "5", "nick": "N", "memo": "M",
}  # fmt: skip
NOTHING = "nothing is carried over"


class Beside(NamedTuple):
    """A world in shadow, and the script beside it."""

    world: MemoryWorld
    native: NativeSync
    pairs: list[Pair]

    def sales(self, pair: Pair, **values: str | None) -> None:
        """Somebody edits a record."""
        columns = {COLUMNS[name]: value for name, value in values.items()}
        self.world.dynamics.put(pair.record_type, pair.record_id, **columns)

    def marketing(self, pair: Pair, **values: str | None) -> None:
        """Somebody edits a person."""
        shown = {name: labels_of(v) if name == "rating" and v else v for name, v in values.items()}
        with self.world.marketo.told_by("Web form"):
            self.world.marketo.put(pair.person_id, **shown)

    def verdicts(self, verdict: str | None = None) -> list[tuple[int, str]]:
        """Person and field of each row, with that verdict or any."""
        return self.world.rows(
            "select person_id, field from ledger.shadow_changes where verdict = coalesce(?, verdict) order by all",
            verdict,
        )

    def rows(self, pair: Pair) -> list[tuple[Any, ...]]:
        """What is told of a pair: field, our and their direction and value, verdict, rule."""
        return self.world.rows(
            "select field, our_direction, our_value, their_direction, their_value, verdict, rule_code "
            "from ledger.shadow_changes where person_id = ? order by entry_id",
            pair.person_id,
        )


def beside(n_contacts: int = 1, n_leads: int = 1, **settings: object) -> Beside:
    world = MemoryWorld(MAP)
    pairs = []
    for record_type, n in ((CONTACT, n_contacts), (LEAD, n_leads)):
        for number in range(n):
            record_id = f"{record_type}-{number}"
            pairs.append(Pair(world.link(record_type, record_id, **BEGINNING), record_type, record_id))
    world.settled()
    world.allow(mode="shadow", **{"native_source": SOURCE, "native_user": USER} | settings)
    return Beside(world, NativeSync(MemoryWire(world), pairs, BEGINNING), pairs)


def carry(direction: str, value: Callable[[Any, Any], Any]) -> Rule:
    """The script carries `value` of what Dynamics and Marketo hold, whatever the rules; once, where they differ."""

    def rule(pair: Pair, name: str, base: Any, dynamics: Any, marketo: Any) -> Carried | None:
        return None if dynamics == marketo else Carried(direction, value(dynamics, marketo))

    return rule


FROM_DYNAMICS, FROM_MARKETO = carry("to_marketo", lambda d, _: d), carry("to_dynamics", lambda _, m: m)
CUT_SHORT = carry("to_marketo", lambda d, _: d[:5])


def left(pair: Pair, name: str, base: Any, dynamics: Any, marketo: Any) -> Carried | None:
    """The script does not sync the field."""
    return None


# What is planted: field, edit in Dynamics, edit in Marketo, and what the script does of it. Each is decided otherwise by ours.
Plant = tuple[str, str | None, str | None, Rule]
UNSEEN: dict[tuple[RecordType, str], Plant] = {
    (LEAD, "a collision on a lead goes to Dynamics"): ("title", "D", "E", FROM_DYNAMICS),
    (CONTACT, "a collision that the map gives to Marketo goes to Dynamics"): ("nick", "D", "E", FROM_DYNAMICS),
    (CONTACT, "a value arrives cut short"): ("title", "a long title", NOTHING, CUT_SHORT),
    (LEAD, "an edit in Marketo is put back"): ("phone", NOTHING, "2", FROM_DYNAMICS),
    (CONTACT, "what Dynamics owns goes from Marketo to it"): ("source", NOTHING, "T", FROM_MARKETO),
    (LEAD, "what Marketo owns goes from Dynamics to it"): ("leadScore", "6", NOTHING, FROM_DYNAMICS),
    (CONTACT, "a clear is carried that the map lets stand"): ("memo", None, NOTHING, FROM_DYNAMICS),
    (LEAD, "an option goes to Dynamics"): ("rating", "2", "3", FROM_DYNAMICS),
}
# What DynSync sees before the script runs.
SEEN: dict[tuple[RecordType, str], Plant] = {
    (CONTACT, "a collision on a contact goes to Marketo"): ("title", "D", "E", FROM_MARKETO),
    (LEAD, "an edit is never carried over"): ("revenue", NOTHING, "2.5", left),
}
N_OF_EACH = 20
N_PLANTED = N_OF_EACH * (len(UNSEEN) + len(SEEN))


def plant(world: Beside, pair: Pair, planted: Plant) -> tuple[int, str]:
    name, in_dynamics, in_marketo, rule = planted
    if in_dynamics != NOTHING:
        world.sales(pair, **{name: in_dynamics})
    if in_marketo != NOTHING:
        world.marketing(pair, **{name: in_marketo})
    world.native.rules[pair.person_id, name] = rule
    return pair.person_id, name


def edit_as_usual(world: Beside, pair: Pair, number: int) -> None:
    """Edits of which both syncs make the same; of fields that the planted ones leave alone."""
    world.sales(pair, employees=str(10 + number), birth="2001-02-03")
    world.marketing(
        pair, doNotCall="true", employees=str(10 + number) if number % 3 == 0 else "99" if number % 3 == 1 else "3"
    )
    if number % 2:
        world.sales(pair, source=f"T{number}") if pair.record_type is LEAD else world.marketing(pair, leadScore="9")


def test_200_planted_differences_are_all_found_and_none_is_invented() -> None:
    kinds = [*UNSEEN.items(), *SEEN.items()]
    n_of_type = {
        kind: sum(record_type is kind for (record_type, _), _ in kinds) * N_OF_EACH for kind in (CONTACT, LEAD)
    }
    world = beside(n_of_type[CONTACT], n_of_type[LEAD])
    free = {kind: iter([pair for pair in world.pairs if pair.record_type is kind]) for kind in (CONTACT, LEAD)}
    assert N_PLANTED == 200
    expected = {
        plant(world, next(free[kind]), planted) for (kind, _), planted in SEEN.items() for _ in range(N_OF_EACH)
    }
    for number, pair in enumerate(world.pairs):
        edit_as_usual(world, pair, number)
    world.world.cycle()  # sees these before the script runs
    alike = [(pair.person_id, "employees") for number, pair in enumerate(world.pairs) if number % 3 == 0]
    assert world.verdicts() == world.verdicts("cannot_tell") == alike, "people edited both sides alike"
    expected |= {
        plant(world, next(free[kind]), planted) for (kind, _), planted in UNSEEN.items() for _ in range(N_OF_EACH)
    }
    for number, pair in enumerate(world.pairs):
        world.sales(pair, birth="2002-02-03" if number % 2 else "2000-01-01")  # some take their edit back
    n_written = world.native.run()
    world.world.cycle()
    for number, pair in enumerate(world.pairs):  # and of what is settled nothing is told again
        if number % 5 == 0:
            world.sales(pair, birth="2003-03-03")
    n_written += world.native.run()
    world.world.clock += timedelta(hours=1)
    world.world.cycle()
    world.world.cycle()
    assert len(expected) == N_PLANTED
    differing = world.verdicts("differs")
    assert Counter(differing) == Counter(expected), "each once"
    taken_back = [(pair.person_id, "birth") for number, pair in enumerate(world.pairs) if number % 2 == 0]
    assert world.verdicts("cannot_tell") == sorted([*alike, *taken_back]), "before the script wrote another column"
    n_untold = len(alike) + len(taken_back)
    assert len(world.verdicts()) == n_written + N_OF_EACH + n_untold, (
        "one row per write, and one per field that was left"
    )
    assert world.world.marketo.writes == [] == world.world.dynamics.writes


def test_what_cannot_be_rebuilt_says_why_and_invents_nothing_later() -> None:
    world = beside(2, 2)
    twice, unknown, gap, own = world.pairs
    for value in ("B", "C"):  # carried over twice before we look
        world.sales(twice, title=value)
        world.native.run()
    # Both sides come to hold the same, and the feed does not tell from where.
    world.sales(unknown, title="B")
    world.world.marketo.put(unknown.person_id, title="B")
    # The feed tells another value from before than was seen.
    world.sales(gap, title="B")
    world.world.marketo.rows[gap.person_id].values["title"] = "from nowhere"
    world.native.rules[gap.person_id, "title"] = FROM_DYNAMICS
    # Somebody takes back what nobody carried over.
    world.marketing(own, title="B")
    world.marketing(own, title="A")
    world.native.run()
    world.world.cycle()
    reasons = [sorted(row[5:] for row in world.rows(pair)) for pair in world.pairs]
    assert reasons == [
        [("cannot_tell", "several_writes"), ("same", "one_sided")],
        [("cannot_tell", "writer_unknown")],
        [("cannot_tell", "feed_has_gaps")],
        [],
    ]
    for pair in world.pairs:
        world.sales(pair, title="Z")
    world.native.run()
    world.world.cycle()
    assert [world.rows(pair)[-1][5:] for pair in world.pairs] == [("same", "one_sided")] * len(world.pairs)
    assert world.verdicts("differs") == []


def test_a_value_that_was_edited_again_before_we_look_cannot_be_told_and_its_successor_can() -> None:
    world = beside(1, 1)
    for pair in world.pairs:
        world.sales(pair, title="B")
    world.native.run()
    world.world.clock += timedelta(minutes=2)
    for pair in world.pairs:
        world.sales(pair, title="C")
    world.world.cycle()
    assert {row[5:] for pair in world.pairs for row in world.rows(pair)} == {("cannot_tell", "edited_since")}
    world.native.run()
    world.world.cycle()
    assert [world.rows(pair)[-1][1:] for pair in world.pairs] == [
        ("to_marketo", "C", "to_marketo", "C", "same", "one_sided")
    ] * 2


def test_where_nobody_said_who_the_native_sync_is_both_sides_moved_cannot_be_told() -> None:
    world = beside(1, 1, native_source="", native_user="")
    contact, lead = world.pairs
    world.sales(contact, title="B")
    world.marketing(lead, title="C")
    world.native.run()
    world.world.cycle()
    assert [row[5:] for pair in world.pairs for row in world.rows(pair)] == [("cannot_tell", "writer_unknown")] * 2
    # What was seen before it was carried over can be told by the values alone.
    world.sales(contact, title="D")
    world.marketing(lead, title="E")
    world.world.cycle()
    world.native.run()
    world.world.cycle()
    assert [world.rows(pair)[-1][1:] for pair in world.pairs] == [
        ("to_marketo", "D", "to_marketo", "D", "same", "one_sided"),
        ("to_dynamics", "E", "to_dynamics", "E", "same", "one_sided"),
    ]


def test_options_are_decided_by_number_and_told_by_label() -> None:
    world = beside(0, 1)
    (lead,) = world.pairs
    world.sales(lead, rating="2")
    world.marketing(lead, rating="3")
    world.native.rules[lead.person_id, "rating"] = FROM_DYNAMICS
    world.native.run()
    world.world.cycle()
    assert world.rows(lead) == [("rating", "to_dynamics", "Cold", "to_marketo", "Warm", "differs", "marketo_wins")]


def test_what_the_native_sync_left_different_is_settled_once_the_sync_is_live() -> None:
    world = beside(2, 2)
    cut, never, edited, lead = world.pairs
    world.sales(cut, title="a long title")
    world.native.rules[cut.person_id, "title"] = CUT_SHORT
    for pair in (never, edited, lead):
        world.sales(pair, phone="2")
        world.native.rules[pair.person_id, "phone"] = left
    world.world.cycle()
    world.native.run()
    for _ in range(2):
        world.world.clock += timedelta(hours=1)
        world.world.cycle()
    told = [row[3:] for pair in world.pairs for row in world.rows(pair)]
    assert told == [("to_marketo", "a lon", "differs", "one_sided"), *[(None, None, "differs", "one_sided")] * 3]
    # It stands, so that a later edit is one of one side; of which the native sync leaves one, too.
    world.sales(edited, phone="3")
    world.world.cycle()
    assert world.world.rows("select count(*) from reconcile.planned_collisions") == [(0,)]
    world.world.allow(mode="live", first_load="create")
    world.world.settled()
    values = [
        world.world.both(pair.person_id, name) for pair, name in ((cut, "title"), (never, "phone"), (edited, "phone"))
    ]
    assert values == [("a long title",) * 2, ("2", "2"), ("3", "3")]
    assert world.world.both(lead.person_id, "phone") == ("2", "2")
    assert world.world.ledger()["collisions"] == []
    assert world.world.standing() == []


def test_what_a_shadow_read_and_did_not_judge_is_not_judged_by_a_later_one() -> None:
    world = beside(1, 1)
    for pair in world.pairs:
        world.sales(pair, title="B")
    world.native.run()
    with world.world.opened() as cycle:
        read_all(cycle)
    world.world.allow(mode="live", first_load="create")
    world.world.settled()
    world.world.allow(mode="shadow")
    world.world.cycle()
    assert world.verdicts() == []
