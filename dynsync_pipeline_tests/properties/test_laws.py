"""Laws of a two-way sync, on random edits of a handful of links from small pools of values, through whole cycles.

Each example brings links of its own into a world that all examples of a test share: opening one costs more than a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynsync_pipeline.model.records import RecordType
from dynsync_pipeline.reconcile.plan import Plan
from dynsync_pipeline_tests.oracles.three_way_merge import compared
from dynsync_pipeline_tests.properties.effort import examples, story, tally
from dynsync_pipeline_tests.worlds.every_type import (
    ENTERED,
    POOLS,
    RULES,
    column_of,
    compared_on_both_sides,
    in_marketo,
    line_of,
)
from dynsync_pipeline_tests.worlds.memory import MemoryWorld, field_map
from dynsync_pipeline_tests.worlds.oracle_companies import (
    OF_COMPANIES,
    company_on,
    edit_company,
    map_with_companies,
    told,
)

CONTACT, LEAD = RecordType.CONTACT, RecordType.LEAD
OF_PEOPLE = {name: rule.type for name, rule in RULES.items()}
SIDES = ("dynamics", "marketo")
KINDS = OF_PEOPLE | {name: rule.type for name, rule in OF_COMPANIES.items()}
BOTH_WAYS = [name for name, rule in (RULES | OF_COMPANIES).items() if rule.direction == "both"]
TURNED = {"both": "both", "to_marketo": "to_dynamics", "to_dynamics": "to_marketo"}
FIELDS = map_with_companies(RULES)
MIRRORED = field_map(*(line_of(name, replace(rule, direction=TURNED[rule.direction])) for name, rule in RULES.items()))


class Edit(NamedTuple):
    """Somebody sets one field of one link on one side; of a contact, that has none, company text is set by nobody."""

    place: int
    side: str
    field: str
    value: str | None


class Start(NamedTuple):
    """A link and the values both sides agree on at first."""

    record_type: RecordType
    values: tuple[str | None, ...]


N_LINKS = 4  # a cycle costs as much for them as for one
starts = st.lists(
    st.tuples(st.sampled_from([LEAD, CONTACT]), *(st.sampled_from(POOLS[kind]) for kind in KINDS.values())).map(
        lambda drawn: Start(drawn[0], drawn[1:])
    ),
    min_size=N_LINKS,
    max_size=N_LINKS,
)


@st.composite
def edit(draw: st.DrawFn, fields: tuple[str, ...] = tuple(KINDS)) -> Edit:
    name, side = draw(st.sampled_from(fields)), draw(st.sampled_from(SIDES))
    return Edit(draw(st.integers(0, N_LINKS - 1)), side, name, draw(entered(side, name)))


def entered(side: str, name: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from(ENTERED[side][KINDS[name]])


@st.composite
def edit_lists(draw: st.DrawFn, fields: tuple[str, ...] = tuple(KINDS)) -> list[Edit]:
    """Edits of some fields, half of them on both sides: by chance alone hardly two would meet."""
    found = []
    for change in draw(st.lists(edit(fields), min_size=1, max_size=8)):
        found.append(change)
        is_contested = not draw(st.booleans())  # the simplest one is
        if is_contested:
            side = "marketo" if change.side == "dynamics" else "dynamics"
            found.append(change._replace(side=side, value=draw(entered(side, change.field))))
    return found


edits = edit_lists()
edits_of_people = edit_lists(tuple(OF_PEOPLE))  # for a law that swaps types


@dataclass
class Stage:
    """A world used by many examples, each with records of its own."""

    world: MemoryWorld
    n_used: int = 0
    people: list[int] = field(default_factory=list)

    def set_up(self, drawn: list[Start]) -> None:
        self.n_used += 1
        self.types = [start.record_type for start in drawn]
        self.people = [
            self.world.link(start.record_type, self.record_id(place), **self.values_of(place, start))
            for place, start in enumerate(drawn)
        ]
        self.world.cycle()
        self.mark = self.world.rows("select coalesce(max(entry_id), 0) from ledger.changes")[0][0]

    def record_id(self, place: int) -> str:
        return f"x{self.n_used}-{place}"

    def names(self, place: int) -> list[str]:
        """The fields of a link; where the map has no company text, no lead has any."""
        known = {f.marketo_field for f in self.world.fields.of(self.types[place])}
        return [name for name in KINDS if name in known]

    def values_of(self, place: int, start: Start) -> dict[str, str | None]:
        values = dict(zip(KINDS, start.values, strict=True))
        return {name: values[name] for name in self.names(place)}

    def cycle(self, *, is_backwards: bool = False) -> Plan:
        """A day later, because no feed tells of edits of companies."""
        self.world.clock += timedelta(days=1)
        plan = self.world.cycle(is_backwards=is_backwards)
        assert plan is not None
        tally(plan.n_collisions)
        return plan

    def make(self, change: Edit) -> None:
        if change.field not in self.names(change.place):
            return
        if change.side == "dynamics":
            record_id = self.record_id(change.place)
            self.world.dynamics.put(self.types[change.place], record_id, **{column_of(change.field): change.value})
        elif change.field in OF_COMPANIES:
            edit_company(self.world.marketo, self.people[change.place], **{change.field: change.value})
        else:
            value = in_marketo(change.value, KINDS[change.field])
            self.world.marketo.put(self.people[change.place], **{change.field: value})

    def held(self, place: int, name: str) -> tuple[str | None, str | None]:
        """Both sides' values of now, as they compare."""
        if name not in OF_COMPANIES:
            return compared_on_both_sides(self.world.both(self.people[place], name), KINDS[name])
        record = self.world.dynamics.rows[LEAD, self.record_id(place)].values
        return compared(record.get(column_of(name)), KINDS[name]), company_on(self.world.marketo, self.people[place])[
            name
        ]

    def held_by_place(self) -> dict[tuple[int, str], tuple[str | None, str | None]]:
        return {(place, name): self.held(place, name) for place in range(N_LINKS) for name in self.names(place)}

    def all_held(self) -> list[tuple[str | None, str | None]]:
        return list(self.held_by_place().values())

    def written(self) -> list[tuple[Any, ...]]:
        """The ledger of the example at hand: link, field, direction, old and new value."""
        rows = self.world.rows(
            "select person_id, field, direction, old_value, new_value from ledger.changes where entry_id > ?", self.mark
        )
        return sorted(
            (
                (self.people.index(person_id), name, direction, *(told(value, KINDS[name]) for value in values))
                for person_id, name, direction, *values in rows
                if name in KINDS
            ),
            key=repr,
        )


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage(MemoryWorld(FIELDS))


@pytest.fixture(scope="module")
def other_stage() -> Stage:
    return Stage(MemoryWorld(FIELDS))


@pytest.fixture(scope="module")
def mirrored_stage() -> Stage:
    return Stage(MemoryWorld(MIRRORED))


@examples(2)
@given(starts=starts, edits=edits)
def test_it_comes_to_rest_and_writes_nothing_but_what_a_side_held(
    stage: Stage, starts: list[Start], edits: list[Edit]
) -> None:
    """One cycle settles everything, the next is quiet; two-way fields end equal; each written value was on the other side."""
    stage.set_up(starts)
    for change in edits:
        stage.make(change)
    before = stage.held_by_place()
    stage.cycle()
    for (_, name), (dynamics, marketo) in stage.held_by_place().items():
        assert dynamics == marketo or name not in BOTH_WAYS
    for place, name, direction, old, new in stage.written():
        source, target = before[place, name] if direction == "to_marketo" else before[place, name][::-1]
        assert new == source
        assert old == target
    n_written = len(stage.written())
    quiet = stage.world.cycle()
    assert quiet is not None
    assert quiet.n_operations == 0
    assert len(stage.written()) == n_written


@examples(2)
@given(starts=starts, edits=edits)
def test_an_edit_that_nobody_contests_survives(stage: Stage, starts: list[Start], edits: list[Edit]) -> None:
    """Whatever else happens to the record: a two-way field edited on one side alone ends there and on the other side."""
    stage.set_up(starts)
    for change in edits:
        stage.make(change)
    sides: dict[tuple[int, str], set[str]] = {}
    last: dict[tuple[int, str], str | None] = {}
    for change in edits:
        sides.setdefault((change.place, change.field), set()).add(change.side)
        last[change.place, change.field] = compared(change.value, KINDS[change.field])
    stage.cycle()
    for (place, name), editors in sides.items():
        if len(editors) == 1 and name in BOTH_WAYS and name in stage.names(place):
            assert stage.held(place, name) == (last[place, name], last[place, name])


@story
@examples(2)
@given(starts=starts, edits=edits_of_people)
def test_swapping_systems_and_types_swaps_the_outcome(
    stage: Stage, mirrored_stage: Stage, starts: list[Start], edits: list[Edit]
) -> None:
    """Nothing in the rules favours a system, but that Marketo has leads and Dynamics has contacts."""
    stage.set_up(starts)
    other = {LEAD: CONTACT, CONTACT: LEAD}
    mirrored_stage.set_up([Start(other[start.record_type], start.values) for start in starts])
    for change in edits:
        stage.make(change)
        mirrored_stage.make(change._replace(side="marketo" if change.side == "dynamics" else "dynamics"))
    stage.cycle()
    mirrored_stage.cycle()
    held = [values for (_, name), values in stage.held_by_place().items() if name in OF_PEOPLE]
    assert held == [values[::-1] for values in mirrored_stage.all_held()]
    turned = {"to_marketo": "to_dynamics", "to_dynamics": "to_marketo"}
    written = [(place, name, turned[direction], *values) for place, name, direction, *values in stage.written()]
    assert sorted(written, key=repr) == mirrored_stage.written()


@story
@examples(2)
@given(starts=starts, edits=edits)
def test_the_order_of_rows_changes_nothing(
    stage: Stage, other_stage: Stage, starts: list[Start], edits: list[Edit]
) -> None:
    """R41 and no ties: the feeds may tell the same changes in any order."""
    stage.set_up(starts)
    other_stage.set_up(starts)
    for change in edits:
        stage.make(change)
        other_stage.make(change)
    stage.cycle()
    other_stage.cycle(is_backwards=True)
    assert stage.all_held() == other_stage.all_held()
    assert stage.written() == other_stage.written()


@story
@examples(2)
@given(starts=starts, edits=edits, cuts=st.sets(st.integers(0, 15), max_size=4))
def test_how_changes_fall_into_cycles_does_not_matter_where_nobody_contests(
    stage: Stage, other_stage: Stage, starts: list[Start], edits: list[Edit], cuts: set[int]
) -> None:
    """With one editing side for each field, many small cycles end like a big one."""
    side_of = {(change.place, change.field): change.side for change in edits}
    side_of |= {(place, "source"): "dynamics" for place in range(N_LINKS)}
    side_of |= {(place, "score"): "marketo" for place in range(N_LINKS)}
    edits = [change._replace(side=side_of[change.place, change.field]) for change in edits]
    stage.set_up(starts)
    other_stage.set_up(starts)
    for number, change in enumerate(edits):
        stage.make(change)
        other_stage.make(change)
        if number in cuts:
            other_stage.cycle()
    stage.cycle()
    other_stage.cycle()
    assert stage.all_held() == other_stage.all_held()
    assert all(dynamics == marketo for dynamics, marketo in stage.all_held())
